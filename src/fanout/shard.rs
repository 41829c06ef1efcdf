//! A shard: one thread and its share of the connections.
//!
//! | part | what it does |
//! |---|---|
//! | `clock` | the time, and what is to happen by it |
//! | `conn` | the state of one connection |
//! | `clients` | takes clients in, closes them, lets them go |
//! | `input` | reads sockets, takes messages off the input |
//! | `requests` | answers what clients ask for |
//! | `subscriptions` | asks ingest for topics, and takes its answers |
//! | `history` | queues what clients have missed, and last values |
//! | `terms` | conflation, rates, heartbeats and figures of clients that asked for them |
//! | `delivery` | applies events to the outboxes of their subscribers |
//! | `output` | queues replies and statuses to outboxes, and lists the connections with something to write |
//! | `delays` | how long events took to be written, put together for a round |
//! | `flush` | writes the outboxes of these connections to their sockets |
//! | `slow` | the policies for clients that are too slow |
//! | `timers` | pings, deadlines, the drain |
//! | `auth` | who the clients are: their tokens, and when these end |
//! | `renewal` | what a new token changes |
//! | `desk` | rooms, users and what clients write |
//! | `socketio` | the namespaces of clients that speak Socket.IO |
//!
//! A turn goes in this order: take what the inbox has (events are applied to outboxes, nothing is written yet), read
//! the sockets that have input, go on with input that an earlier turn left, fire the timers that are due, queue what conflation has held back
//! for long enough, tell clients whose questions to workers have timed out, and then write each socket with output once. So everything that
//! came in one turn leaves each socket in one write, and a lone trade leaves at once.
//!
//! Nothing in a turn blocks. Reads and writes are non-blocking and have budgets; what is left over is taken up in the next
//! turn, which then follows without sleep. A turn reads no clock but the one it is given, so tests drive it step by step.

mod auth;
#[cfg(test)]
mod auth_tests;
mod clients;
mod clock;
mod conn;
#[cfg(test)]
mod delay_tests;
mod delays;
mod delivery;
mod desk;
#[cfg(test)]
mod desk_tests;
mod flush;
mod history;
mod input;
mod output;
mod renewal;
mod requests;
mod slow;
mod socketio;
mod subscriptions;
mod terms;
mod timers;
#[cfg(test)]
mod turn_tests;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mio::event::Event;
use mio::{Registry, Token};
use slotmap::{Key, KeyData, SlotMap};

use self::auth::Newcomers;
use self::clock::{Clocks, Source};
use self::conn::{Conn, ConnKey};
use self::desk::Desk;
pub use self::desk::{DeskConfig, Workers};
use self::input::Input;
use self::output::Output;
use self::subscriptions::Subscriptions;
use crate::bus::{ControlSender, Feed, ReplayBudget, ToShard, WishSender};
use crate::market::Delay;
use crate::metrics::ShardMetrics;
use crate::protocol::request::Grammar;
use crate::protocol::terms::SlowClientPolicy;
use crate::rate::Rate;
use crate::state::State;
use crate::websocket::deflate::Compression;

/// A shard takes a turn at least so often, so that health can tell an idle one from one that is stuck.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What a shard needs to know of the configuration.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// How requests are read.
    pub grammar: Grammar,
    /// Most clients that this shard will have at a time: its part of `MAX_CONNECTIONS`.
    pub max_clients: usize,
    /// Most topics that only patterns want; beyond it, idle ones go back to ingest. [`OPENED_TOPICS_MAX`](crate::limits::OPENED_TOPICS_MAX), or more.
    pub max_opened_topics: usize,
    /// `AUTH_TIMEOUT`.
    pub auth_timeout: Duration,
    /// Clients that have yet to show who they are, at a time; beyond that the oldest makes room. The engine is told of all shards' together,
    /// and tells each its part.
    pub max_unauthenticated: usize,
    /// `MAX_MESSAGE_SIZE`.
    pub max_message_bytes: usize,
    /// `MESSAGE_WARN_SIZE`; `None` = no warning.
    pub message_warn_bytes: Option<NonZeroUsize>,
    /// `MESSAGE_RATE_LIMIT`; `None` = no limit.
    pub message_rate: Option<Rate>,
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
    /// How messages are compressed for clients that have agreed on it; `None` = nobody has.
    pub compression: Option<Compression>,
    /// `FLUSH_INTERVAL`; without one, sockets are written at the end of every turn.
    pub flush_interval: Option<Duration>,
    /// For the desk; `None` without `DESK`.
    pub desk: Option<DeskConfig>,
}

/// How a shard reaches the rest of the process.
#[derive(Debug)]
pub(crate) struct ShardHandles {
    /// The shard's number.
    pub(crate) id: usize,
    /// How it asks ingest for topics.
    pub(crate) wishes: WishSender,
    /// How it asks the control side who a client is.
    pub(crate) control: ControlSender,
    /// How it tells ingest how much replay data it can take.
    pub(crate) replay_budget: Arc<ReplayBudget>,
    /// What the whole process knows of itself.
    pub(crate) state: Arc<State>,
    /// Connections handed over to this shard and not gone yet.
    pub(crate) load: Arc<AtomicUsize>,
}

/// What became ready of one connection's socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    key: ConnKey,
    readable: bool,
    writable: bool,
    /// The peer has closed its side.
    read_closed: bool,
}

pub(crate) struct Shard {
    config: ShardConfig,
    handles: ShardHandles,
    metrics: Arc<ShardMetrics>,
    /// Where sockets are registered for readiness.
    registry: Registry,
    conns: SlotMap<ConnKey, Conn>,
    clocks: Clocks,
    subscriptions: Subscriptions,
    newcomers: Newcomers,
    input: Input,
    output: Output,
    /// By delay: whether the upstream is there, or was, as far as ingest has said.
    feeds: [Feed; Delay::COUNT],
    /// Rooms and users, where there is a desk.
    desk: Option<Box<Desk>>,
    /// While draining: when the rest is cut off, in microseconds since the gateway was built.
    drain_until_us: Option<u64>,
}

impl From<&Event> for Ready {
    /// What the poll says of one of the shard's sockets.
    fn from(event: &Event) -> Self {
        Self {
            key: key_of(event.token()),
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
        }
    }
}

impl Ready {
    /// A long-polling connection, whose bytes come from HTTP requests: always ready.
    fn of(token: usize) -> Self {
        Self { key: key_of(Token(token)), readable: true, writable: true, read_closed: false }
    }
}

impl Shard {
    /// A shard by the system's clocks, without a client yet. It registers its sockets with `registry`, each under a token that is
    /// none of [`WAKER`](crate::bus::inbox::WAKER) and 0.
    pub(crate) fn start(registry: Registry, config: ShardConfig, handles: ShardHandles) -> Self {
        let time = clock::system(handles.state.metrics.started);
        Self::new(registry, config, handles, time)
    }

    fn new(registry: Registry, config: ShardConfig, handles: ShardHandles, time: Source) -> Self {
        Self {
            metrics: Arc::clone(&handles.state.metrics.shards[handles.id]),
            // Room for all from the beginning: the kernel gives a page when it is first used, so nothing is held by clients
            // that never come, and no growing ever copies all that are there or leaves its old memory behind.
            conns: SlotMap::with_capacity_and_key(config.max_clients),
            subscriptions: Subscriptions::new(config.max_clients, config.max_opened_topics),
            newcomers: Newcomers::default(),
            clocks: Clocks::new(time),
            input: Input::new(),
            output: Output::new(config.grammar.clone(), config.compression),
            feeds: [Feed::Down; Delay::COUNT],
            desk: config.desk.clone().map(|config| Box::new(Desk::new(config))),
            drain_until_us: None,
            config,
            handles,
            registry,
        }
    }

    /// One turn: takes what was told, reads what is `ready`, fires what is due, writes what waits.
    pub(crate) fn turn(&mut self, told: impl Iterator<Item = ToShard>, ready: impl Iterator<Item = Ready>) {
        self.clocks.update();
        self.metrics.tick_ms.set(self.clocks.now.us / 1_000);
        told.for_each(|command| self.take(command));
        ready.for_each(|ready| self.socket_ready(ready));
        self.resume_reading();
        self.fire_timers();
        self.fire_boundaries();
        self.time_out_questions();
        self.flush_dirty();
        self.publish_gauges();
    }

    /// How long the shard may sleep: not at all with input left over, else until the next flush or timer.
    pub(crate) fn sleep_time(&self) -> Duration {
        if !self.input.unfinished.is_empty() {
            return Duration::ZERO;
        }
        let flush_us = (!self.output.dirty.is_empty()).then(|| self.flush_due_us());
        let due_us = [flush_us, self.clocks.next_us(), self.drain_until_us, self.next_question_us()]
            .into_iter()
            .flatten()
            .min();
        due_us.map_or(SLEEP_MAX, |due_us| self.clocks.until(due_us).min(SLEEP_MAX))
    }

    /// How many clients there are.
    pub(crate) fn clients(&self) -> usize {
        self.conns.len()
    }

    fn take(&mut self, command: ToShard) {
        match command {
            ToShard::Batch(frames) => self.apply(frames, &[]),
            ToShard::BatchWithChanges(frames, changes) => self.apply(frames, &changes),
            ToShard::LookedUp(values) => self.on_looked_up(&values),
            ToShard::SeqChange(topic, change) => self.tell_seq_change(topic, change),
            ToShard::Lost(counts) => self.note_lost(&counts),
            ToShard::LostUncounted(patterns) => self.close_uncounted(&patterns),
            ToShard::Opened(topics) => self.open_topics(topics),
            ToShard::Retired(topics) => self.retire_topics(&topics),
            ToShard::Granted { ticket, topics, history } => self.on_granted(ticket, topics, history),
            ToShard::Verified { ticket, result } => self.on_verified(ticket, result),
            ToShard::Replaced(number) => self.on_replaced(number),
            ToShard::Feed(delay, feed) => self.tell_feed(delay, feed),
            ToShard::Desk(news) => self.on_desk_news(*news),
            ToShard::Ready(token) => self.socket_ready(Ready::of(token)),
            // Whoever has asked may have gone.
            ToShard::Clean(told) => drop(told.send(self.clean())),
            ToShard::Adopt(clients) => clients.into_iter().for_each(|client| self.adopt(client)),
            ToShard::Drain(timeout) => self.drain(timeout),
        }
    }

    /// Whether the shard has been drained: its last client has gone, or the time for it is up.
    pub(crate) fn is_drained(&self) -> bool {
        self.drain_until_us.is_some_and(|until_us| self.conns.is_empty() || self.clocks.now.us >= until_us)
    }

    fn publish_gauges(&self) {
        let backlog_bytes = self.output.backlog.bytes() as u64;
        self.metrics.subscriptions.set(self.subscriptions.index.subscriptions() as u64);
        self.metrics.topics.set(self.subscriptions.index.topics() as u64);
        self.metrics.backlog_bytes.set(backlog_bytes);
        if self.config.compression.is_some() {
            self.metrics.compression.set(self.output.backlog.compressor().counts());
        }
        self.handles.replay_budget.publish(backlog_bytes, self.subscriptions.replay_bytes_taken);
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.handles.load.fetch_sub(self.conns.len(), Ordering::Relaxed);
    }
}

fn token_of(key: ConnKey) -> Token {
    Token(key.data().as_ffi() as usize)
}

fn key_of(token: Token) -> ConnKey {
    KeyData::from_ffi(token.0 as u64).into()
}
