//! A shard: one thread, one `mio::Poll`, a part of the connections.
//!
//! A turn of the loop, in this order: take what the inbox has (batches are applied to outboxes, nothing is written yet), read
//! the sockets that have input, fire what is due, and then write each dirty socket once. So everything that came in
//! one turn leaves each socket in one write, and a lone trade leaves at once.
//!
//! What may stand still here: nothing but `Poll::poll`. Reads and writes are non-blocking and have budgets; what is left
//! over is taken up in the next turn, which then doesn't sleep.

mod clients;
mod conn;
mod delivery;
mod history;
mod requests;
mod terms;
mod timers;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Events, Poll, Token};
use slotmap::{Key, KeyData, SlotMap};

use self::conn::{Conn, ConnKey};
use self::requests::Pending;
use super::batch::{BacklogBytes, EndedNames};
use super::index::Index;
use super::wheel::{RATE_TICK_MS, TICK_MS, Wheel};
use crate::bus::inbox::{Inbox, WAKER};
use crate::bus::{Feed, ReplayBudget, Ticket, ToShard, WishSender};
use crate::limits;
use crate::metrics::ShardMetrics;
use crate::protocol::request::Offer;
use crate::protocol::terms::SlowClientPolicy;
use crate::state::State;

/// Readiness events taken from one poll.
const EVENTS_MAX: usize = 1_024;

/// The scratch buffer that runs are gathered into: about what a socket takes at once.
const GATHER_BYTES: usize = 64 * 1024;

/// A shard turns its loop at least so often, so that health can tell an idle one from one that is stuck.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What a shard needs to know of the configuration.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// What clients may ask for.
    pub offer: Offer,
    /// Most clients that this shard will have at a time: its part of `MAX_CONNECTIONS`.
    pub max_clients: usize,
    /// `MAX_SYMBOLS_PER_CLIENT`.
    pub max_symbols: usize,
    /// Topics that live by patterns alone before idle ones are given back: [`limits::OPENED_TOPICS_MAX`], or more.
    pub max_opened_topics: usize,
    /// `MAX_MESSAGE_SIZE`.
    pub max_message_bytes: usize,
    /// `MAX_MESSAGES_PER_SECOND`; 0 = no limit.
    pub max_messages_per_second: u32,
    /// `MAX_OUTBOX_BYTES`.
    pub max_outbox_bytes: u32,
    /// `SLOW_CLIENT_POLICY`.
    pub slow_client_policy: SlowClientPolicy,
    /// This shard's part of `MAX_BACKLOG_BYTES`.
    pub max_backlog_bytes: usize,
    /// `PING_INTERVAL`.
    pub ping_interval: Duration,
    /// `PONG_TIMEOUT`, at most the ping interval.
    pub pong_timeout: Duration,
    /// `MAX_MISSED_PONGS`.
    pub max_missed_pongs: u32,
    /// `STALL_TIMEOUT`.
    pub stall_timeout: Duration,
    /// `FLUSH_INTERVAL`; zero = every turn.
    pub flush_interval: Duration,
}

/// What ties a shard to the rest of the process.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) id: usize,
    pub(super) wishes: WishSender,
    pub(super) replay_budget: Arc<ReplayBudget>,
    pub(super) state: Arc<State>,
    pub(super) load: Arc<AtomicUsize>,
}

/// The time as of the current turn.
#[derive(Debug)]
struct Clock {
    started: Instant,
    /// Microseconds since the gateway was built.
    now_us: u64,
    /// Unix milliseconds.
    unix_ms: u64,
}

impl Clock {
    fn new(started: Instant) -> Self {
        let mut clock = Self { started, now_us: 0, unix_ms: 0 };
        clock.update();
        clock
    }

    fn update(&mut self) {
        self.now_us = self.started.elapsed().as_micros() as u64;
        self.unix_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    }

    fn tick(&self) -> u32 {
        (self.now_us / (TICK_MS * 1_000)) as u32
    }

    fn rate_tick(&self) -> u64 {
        self.now_us / (RATE_TICK_MS * 1_000)
    }
}

/// Ticks of the wheel that a time takes, at least one.
fn ticks(time: Duration) -> u32 {
    (time.as_millis() as u64).div_ceil(TICK_MS).clamp(1, u64::from(u32::MAX / 4)) as u32
}

pub(super) struct Shard {
    config: ShardConfig,
    links: Links,
    metrics: Arc<ShardMetrics>,
    poll: Poll,
    inbox: Inbox<ToShard>,
    clock: Clock,
    conns: SlotMap<ConnKey, Conn>,
    index: Index<ConnKey>,
    /// How often something has been offered to a topic's subscribers: see [`is_first_offer`](super::extras::Extras::is_first_offer).
    offers: u64,
    wheel: Wheel<ConnKey>,
    /// The boundaries of phases, each of a client and a period in microseconds.
    rates: Wheel<(ConnKey, u32)>,
    /// Phases that have begun in this turn: their first boundary is at its end.
    opened: Vec<(ConnKey, u32)>,
    ledger: BacklogBytes,
    ended_names: EndedNames,
    /// Bytes of replays that ingest has sent.
    replay_bytes_taken: u64,
    /// Requests that wait for ingest, in the order in which it will answer.
    pending: VecDeque<Pending>,
    /// The ticket of the last request to ingest.
    last_ticket: Ticket,
    /// Connections with something to write.
    dirty: VecDeque<ConnKey>,
    /// Connections with something left to read.
    unfinished: Vec<ConnKey>,
    feed: Feed,
    flushed_us: u64,
    /// The last round of writing reached every dirty connection.
    flushed_all: bool,
    /// While draining: when the rest is cut off, in microseconds since the gateway was built.
    drain_until_us: Option<u64>,
    read_scratch: Vec<u8>,
    gather_scratch: Vec<u8>,
}

impl Shard {
    pub(super) fn new(poll: Poll, inbox: Inbox<ToShard>, config: ShardConfig, links: Links) -> Self {
        let clock = Clock::new(links.state.metrics.started);
        Self {
            metrics: Arc::clone(&links.state.metrics.shards[links.id]),
            wheel: Wheel::new(u64::from(clock.tick())),
            // Room for all from the beginning: the kernel gives a page when it is first used, so nothing is held by clients
            // that never come, and no growing ever copies all that are there or leaves its old memory behind.
            conns: SlotMap::with_capacity_and_key(config.max_clients),
            index: Index::bounded(config.max_clients, config.max_opened_topics),
            rates: Wheel::new(clock.rate_tick()),
            opened: Vec::new(),
            config,
            links,
            poll,
            inbox,
            clock,
            offers: 0,
            ledger: BacklogBytes::default(),
            ended_names: EndedNames::default(),
            replay_bytes_taken: 0,
            pending: VecDeque::new(),
            last_ticket: Ticket::default(),
            dirty: VecDeque::new(),
            unfinished: Vec::new(),
            feed: Feed::Down,
            flushed_us: 0,
            flushed_all: true,
            drain_until_us: None,
            read_scratch: vec![0; limits::READ_BUFFER_BYTES],
            gather_scratch: Vec::with_capacity(GATHER_BYTES),
        }
    }

    /// Turns the loop until the shard is drained; returns how many clients were cut off.
    pub(super) fn run(mut self) -> usize {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.is_drained() {
            let timeout = self.sleep_time();
            let early = match self.inbox.sleep(&mut self.poll, &mut events, Some(timeout)) {
                Ok(early) => early,
                Err(error) => {
                    tracing::error!(shard = self.links.id, %error, "poll failed: the shard ends");
                    break;
                }
            };
            self.clock.update();
            self.metrics.tick_ms.set(self.clock.now_us / 1_000);
            self.take_commands(early);
            for event in &events {
                if event.token() != WAKER {
                    self.socket_ready(event);
                }
            }
            self.resume_reading();
            self.fire_timers();
            self.fire_boundaries();
            self.flush_dirty();
            self.publish_gauges();
        }
        self.conns.len()
    }

    /// How long the shard may sleep: not at all with work left over, else until the next timer.
    fn sleep_time(&self) -> Duration {
        if !self.unfinished.is_empty() {
            return Duration::ZERO;
        }
        let mut sleep = SLEEP_MAX;
        if !self.dirty.is_empty() {
            let flush_us = self.flushed_us + self.config.flush_interval.as_micros() as u64;
            sleep = sleep.min(Duration::from_micros(flush_us.saturating_sub(self.clock.now_us)));
        }
        let timer = self.wheel.next_tick().map(|tick| tick * TICK_MS);
        let boundary = self.rates.next_tick().map(|tick| tick * RATE_TICK_MS);
        if let Some(at_ms) = timer.into_iter().chain(boundary).min() {
            sleep = sleep.min(Duration::from_micros((at_ms * 1_000).saturating_sub(self.clock.now_us)));
        }
        if let Some(until_us) = self.drain_until_us {
            sleep = sleep.min(Duration::from_micros(until_us.saturating_sub(self.clock.now_us)));
        }
        sleep
    }

    fn take_commands(&mut self, early: Option<ToShard>) {
        let mut next = early;
        while let Some(command) = next.take().or_else(|| self.inbox.pop()) {
            match command {
                ToShard::Batch(frames) => {
                    self.inbox.consumed(frames.bytes.len());
                    self.apply(frames, &[]);
                }
                ToShard::BatchWithChanges(frames, changes) => {
                    self.inbox.consumed(frames.bytes.len());
                    self.apply(frames, &changes);
                }
                ToShard::LookedUp(values) => self.looked_up(&values),
                ToShard::SeqChange(topic, change) => self.tell_seq_change(topic, change),
                ToShard::Lost(counts) => self.note_lost(&counts),
                ToShard::Opened(topics) => self.opened(topics),
                ToShard::Closed(topics) => self.closed(&topics),
                ToShard::Granted { ticket, topics, history } => self.granted(ticket, topics, history),
                ToShard::Feed(feed) => self.tell_feed(feed),
                ToShard::Adopt(clients) => clients.into_iter().for_each(|client| self.adopt(client)),
                ToShard::Drain(timeout) => self.drain(timeout),
            }
        }
    }

    fn is_drained(&self) -> bool {
        self.drain_until_us.is_some_and(|until_us| self.conns.is_empty() || self.clock.now_us >= until_us)
    }

    fn publish_gauges(&self) {
        self.metrics.subscriptions.set(self.index.subscriptions() as u64);
        self.metrics.topics.set(self.index.topics() as u64);
        self.metrics.backlog_bytes.set(self.ledger.bytes() as u64);
        self.links.replay_budget.publish(self.ledger.bytes() as u64, self.replay_bytes_taken);
    }

    /// Marks a connection as having something to write.
    fn mark_dirty(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.get_mut(key)
            && !conn.dirty
        {
            conn.dirty = true;
            self.dirty.push_back(key);
        }
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.links.load.fetch_sub(self.conns.len(), Ordering::Relaxed);
    }
}

fn token_of(key: ConnKey) -> Token {
    Token(key.data().as_ffi() as usize)
}

fn key_of(token: Token) -> ConnKey {
    KeyData::from_ffi(token.0 as u64).into()
}
