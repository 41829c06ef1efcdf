//! `--demo`: publishes the simulated market inside the process.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::events::Events;
use super::{DEMO_SYMBOLS, Market};
use crate::ingest::publisher::Publisher;
use crate::market::{KindSet, Symbol, SymbolCase};
use crate::unix_time::unix_ms;

/// Events a second of all symbols together: on average one a second for each symbol.
const EVENTS_PER_SECOND: f64 = DEMO_SYMBOLS.len() as f64;

/// Publishes events of [`DEMO_SYMBOLS`] and of the market types among `types`, until `shutdown`. They have a `seq`, so clients can resume. It
/// counts from the time of the start in Unix milliseconds: a demo that is started again goes on above its earlier numbers, so a client that comes back is told
/// that it can't resume.
/// `prefix` is `CHANNEL_PREFIX`.
pub async fn run(publisher: Publisher, prefix: String, types: KindSet, shutdown: CancellationToken) {
    let symbols =
        DEMO_SYMBOLS.iter().filter_map(|name| Symbol::parse(name.as_bytes(), SymbolCase::Upper)).collect();
    let mut market = Market::steady(symbols, EVENTS_PER_SECOND, fastrand::u64(..));
    let mut events = Events::new(types, Some(unix_ms()), fastrand::u64(..));
    let started = Instant::now();
    while let Some(due_us) = market.due_us() {
        let due = tokio::time::sleep_until(started + Duration::from_micros(due_us));
        if shutdown.run_until_cancelled(due).await.is_none() {
            return;
        }
        let now_ms = unix_ms();
        let elapsed_us = started.elapsed().as_micros() as u64;
        while let Some(trade) = market.next(elapsed_us, now_ms) {
            let mut payload = Vec::new();
            let kind = events.next(&trade, &mut payload);
            let channel = format!("{prefix}{}:{}", kind.market_name().unwrap_or_default(), trade.symbol);
            publisher.publish(channel.as_bytes(), &payload).await;
        }
    }
}
