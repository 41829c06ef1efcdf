//! `--demo`: publishes the simulated market inside the process.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::events::Events;
use super::{DEMO_SYMBOLS, Market};
use crate::ingest::publisher::{EventBatch, Publisher};
use crate::market::{KindSet, Symbol, SymbolCase};
use crate::unix_time::unix_ms;

/// Events a second of all symbols together: on average one a second for each symbol.
const EVENTS_PER_SECOND: f64 = DEMO_SYMBOLS.len() as f64;

/// How long the market has traded when the gateway starts. With all types that is 360 trades of a symbol on average, of which the live page
/// asks for the last 250 to fill its chart; with trades alone it is 900. Both are fewer than
/// [`REPLAY_EVENTS_DEFAULT`](crate::limits::REPLAY_EVENTS_DEFAULT).
const PAST_MS: u64 = 15 * 60 * 1_000;

/// The market of `--demo`: events of [`DEMO_SYMBOLS`]. They have a `seq`, so clients can resume. It counts from the time of the start in Unix
/// microseconds: a demo that is started again goes on above its earlier numbers, so a client that comes back is told that it can't resume.
#[derive(Debug)]
pub struct Feed {
    publisher: Publisher,
    /// `CHANNEL_PREFIX`.
    prefix: String,
    market: Market,
    events: Events,
    started: Instant,
    started_ms: u64,
}

impl Feed {
    /// A market that has traded the market types among `types` for `PAST_MS`, and of which nothing is published yet.
    /// `prefix` is `CHANNEL_PREFIX`.
    pub fn new(publisher: Publisher, prefix: String, types: KindSet) -> Self {
        let symbols = DEMO_SYMBOLS
            .iter()
            .filter_map(|name| Symbol::parse(name.as_bytes(), SymbolCase::Upper))
            .collect();
        let started_ms = unix_ms();
        Self {
            publisher,
            prefix,
            market: Market::steady(symbols, EVENTS_PER_SECOND, fastrand::u64(..)),
            events: Events::new(types, Some(started_ms * 1_000), fastrand::u64(..)),
            started: Instant::now(),
            started_ms,
        }
    }

    /// Publishes what was traded before the start, with the times of then. It fills the history before any client is there: no client gets
    /// these events as new ones, and none of them counts as delivered late.
    pub async fn publish_past(&mut self) {
        let begun_ms = self.started_ms.saturating_sub(PAST_MS);
        let mut past = EventBatch::default();
        while let Some(due_us) = self.market.due_us().filter(|due_us| *due_us < PAST_MS * 1_000) {
            self.take_due(due_us, begun_ms + due_us / 1_000, &mut past);
        }
        self.publisher.publish_all(past).await;
    }

    /// Publishes what is traded from the start on, until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let past = Duration::from_millis(PAST_MS);
        while let Some(due_us) = self.market.due_us() {
            let due = self.started + Duration::from_micros(due_us).saturating_sub(past);
            if shutdown.run_until_cancelled(tokio::time::sleep_until(due)).await.is_none() {
                return;
            }
            let elapsed_us = (past + self.started.elapsed()).as_micros() as u64;
            let mut events = EventBatch::default();
            self.take_due(elapsed_us, unix_ms(), &mut events);
            self.publisher.publish_all(events).await;
        }
    }

    /// Appends the events that are due `elapsed_us` after the market's begin, stamped `now_ms`.
    fn take_due(&mut self, elapsed_us: u64, now_ms: u64, due: &mut EventBatch) {
        while let Some(trade) = self.market.next(elapsed_us, now_ms) {
            let mut payload = Vec::new();
            let kind = self.events.next(&trade, &mut payload);
            let channel =
                format!("{}{}:{}", self.prefix, kind.market_name().unwrap_or_default(), trade.symbol);
            due.push(channel.as_bytes(), &payload);
        }
    }
}
