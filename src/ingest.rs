//! From the upstream to the shards: one thread that reads, checks, frames and hands over, and never waits for a client.
//!
//! | part | what it is |
//! |---|---|
//! | `delayed` | what delayed feeds keep until it is due; pure |
//! | [`router`] | interest, and event → frame → batches; pure |
//! | [`desk`] | what comes of rooms and users |
//! | [`history`] | last values and recent events, for clients that come later; pure |
//! | [`look_up`] | last values that workers keep in Redis, on the control side |
//! | [`recall`] | answers a request from the history; pure |
//! | [`link`] | an established subscription as bytes: TCP, TLS or unix socket |
//! | `upstream` | reads the link; tells clients when it is lost, and when there is another |
//! | [`redis`] | the supervisor on the control side: connects, subscribes, hands the link over, comes back after a loss |
//! | [`publisher`] | how events enter without a link: from the embedded broker, `--demo`, programs that embed the gateway |
//!
//! A turn of the loop: take what the inbox has (wishes of shards, published events), read what the link has, at most
//! [`limits::INGEST_READ_BUDGET_BYTES`] or [`limits::INGEST_READ_BUDGET`] of it, and hand each shard one batch. Then do the same with what
//! delayed feeds have due. A shard's answer to a wish travels
//! through the same queue as the events, so its place among them is exact.

pub mod desk;
pub mod history;
pub mod link;
pub mod look_up;
pub mod publisher;
pub mod recall;
pub mod redis;
pub mod router;

mod answer;
mod delayed;
mod events;
mod handover;
mod losses;
mod pace;
mod upstream;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Registry, Token};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use self::delayed::DelayedFeeds;
use self::desk::{Desk, DeskIngest};
use self::handover::Handover;
use self::history::HistoryConfig;
use self::link::{Link, Lost};
use self::look_up::Found;
use self::pace::ReadPace;
use self::publisher::EventBatch;
use self::router::Router;
use crate::bus::inbox::{Inbox, Sender};
use crate::bus::{LastQuestion, LastSender, ShardPort, Wish, WishSender};
use crate::limits;
use crate::market::event::Reason;
use crate::market::{Delay, Delays, Kind, Subject};
use crate::state::State;
use crate::unix_time::unix_ms;

/// The link's token in its thread's poll.
pub(crate) const LINK: Token = Token(0);

/// What the ingest thread is told. Each variant says what bounds it.
#[derive(Debug)]
pub enum Command {
    /// What a shard asks for. Bounded as [`Wish`] says.
    Wish(Wish),
    /// Events that come through the process itself. Bounded in bytes ([`limits::INGEST_INBOX_BYTES`]) by [`publisher`].
    Publish(EventBatch),
    /// The control side asks for last events. Bounded by [`LastQuestion::place`].
    Last(LastQuestion),
    /// What was found of the last values that were asked for. Each topic that is remembered is asked for once at a time.
    LookedUp {
        /// The topics and the bytes of their keys.
        found: Vec<Found>,
        /// Redis was not reached: the next request may ask again.
        failed: bool,
    },
    /// The upstream subscription stands. The next one is made when this one is lost.
    Connected {
        /// Where events come from; `None` with the embedded broker.
        link: Option<Box<Link>>,
        /// Dropped once the shards have been told.
        told: Option<oneshot::Sender<()>>,
    },
    /// End.
    Stop,
}

/// What the ingest thread needs to know of the configuration.
#[derive(Debug, Clone)]
pub struct IngestConfig {
    /// What channels start with, up to the type: `channel:`.
    pub channel_prefix: String,
    /// `DEDUPLICATE`.
    pub deduplicate: bool,
    /// How much is remembered, of the real-time feed and of each that is delayed.
    pub history: HistoryConfig,
    /// `FEED_DELAYS`.
    pub delays: Delays,
    /// `DELAY_MAX_BYTES`, for each of them.
    pub delay_max_bytes: usize,
    /// `STALE_AFTER`; `None` = never.
    pub stale_after: Option<Duration>,
    /// A shard's part of `MAX_BACKLOG_BYTES`.
    pub max_backlog_bytes: usize,
    /// For the desk; `None` without `DESK`.
    pub desk: Option<DeskIngest>,
}

impl IngestConfig {
    /// The patterns that cover our channels: one a type, `channel:trade:*`, and those of the desk, if there is one.
    pub fn patterns(&self) -> Vec<String> {
        let kinds = &self.history.kinds;
        let of_types = kinds.carried().map(|kind| format!("{}{}:*", self.channel_prefix, kinds.name(kind)));
        let of_desk =
            self.desk.iter().flat_map(|desk| crate::desk::patterns(&self.channel_prefix, desk.has_requests));
        of_types.chain(of_desk).collect()
    }

    /// Takes a channel's name apart: type and symbol; `None` if it is none of ours.
    fn split<'c>(&self, channel: &'c [u8]) -> Option<(Kind, &'c [u8])> {
        let rest = channel.strip_prefix(self.channel_prefix.as_bytes())?;
        let (type_name, name) = rest.split_at_checked(rest.iter().position(|byte| *byte == b':')?)?;
        Some((self.history.kinds.find(type_name)?, &name[1..]))
    }
}

/// Where shards speak to ingest.
pub(crate) fn wishes(ingest: &Sender<Command>) -> WishSender {
    let ingest = ingest.clone();
    // Ingest ends after the shards do.
    WishSender::new(move |wish| drop(ingest.send(Command::Wish(wish), 0)))
}

/// Where the control side asks ingest for last events.
pub(crate) fn last_questions(ingest: &Sender<Command>) -> LastSender {
    let ingest = ingest.clone();
    // Once ingest has ended, whoever asks learns it from the answer's channel.
    LastSender::new(move |question| drop(ingest.send(Command::Last(question), 0)))
}

/// What ingest asks of the control side.
#[derive(Debug)]
pub struct Helpers {
    /// Told when a link is lost; the supervisor makes another.
    pub lost: UnboundedSender<Lost>,
    /// Asked for last values, if [`HistoryConfig::look_up`] says so.
    pub look_ups: UnboundedSender<Vec<Subject>>,
}

pub(crate) struct Ingest {
    config: IngestConfig,
    /// Where the link is registered for readiness.
    registry: Registry,
    inbox: Inbox<Command>,
    router: Router,
    delayed: DelayedFeeds,
    handover: Handover,
    /// Where there is a desk.
    desk: Option<Box<Desk>>,
    /// Bytes of replays ever sent to each shard: see [`ReplayBudget`](crate::bus::ReplayBudget).
    replay_bytes_sent: Vec<u64>,
    link: Option<Box<Link>>,
    pace: ReadPace,
    /// How long ingest pauses before it reads the link again.
    pause: Duration,
    helpers: Helpers,
    /// Since when events may be missing, while there is no link: since the last byte of the last one.
    down_since: Instant,
    /// When each reason for dropping events was last logged.
    logged: [Option<Instant>; Reason::ALL.len()],
    /// When the gauges of the history were last set.
    gauged: Instant,
    state: Arc<State>,
}

impl Ingest {
    /// Ingest without a link yet, for the shards behind these ports. It registers its link with `registry` under [`LINK`].
    pub(crate) fn new(
        registry: Registry,
        inbox: Inbox<Command>,
        config: IngestConfig,
        ports: Vec<ShardPort>,
        state: Arc<State>,
        helpers: Helpers,
    ) -> Self {
        Self {
            router: Router::with_delays(ports.len(), config.deduplicate, &config.history, &config.delays),
            delayed: DelayedFeeds::new(&config.delays, config.delay_max_bytes, &config.history.kinds),
            replay_bytes_sent: vec![0; ports.len()],
            desk: config.desk.clone().map(|desk| {
                let HistoryConfig { kinds, checker, .. } = &config.history;
                Box::new(Desk::new(desk, ports.len(), checker.max_event_bytes, kinds.clone()))
            }),
            handover: Handover::new(ports, Arc::clone(&state)),
            config,
            registry,
            inbox,
            link: None,
            pace: ReadPace::default(),
            pause: Duration::ZERO,
            helpers,
            down_since: Instant::now(),
            logged: [None; Reason::ALL.len()],
            gauged: Instant::now(),
            state,
        }
    }

    /// The next command, for the thread that is about to sleep.
    pub(crate) fn pop(&self) -> Option<Command> {
        self.inbox.pop()
    }

    /// The link's socket is ready. `read_closed`: the peer has closed its side.
    pub(crate) fn link_ready(&mut self, read_closed: bool) {
        if let Some(link) = &mut self.link {
            link.set_readable(read_closed);
        }
    }

    /// One turn: does what the inbox says, `early` first, reads what the link has, and hands it over. `Break`: ingest is to end.
    pub(crate) fn turn(&mut self, early: Option<Command>) -> ControlFlow<()> {
        let begun = Instant::now();
        self.state.metrics.ingest.tick_ms.set(self.state.metrics.uptime_ms_at(begun));
        let published = self.take_commands(early, begun)?;
        let read = self.read_link();
        self.pause = self.pause_after(read);
        let has_read = Instant::now();
        if published + read > 0 {
            // 0 would say that none has come yet.
            self.state.metrics.ingest.last_event_ms.set(self.state.metrics.uptime_ms_at(has_read).max(1));
        }
        self.hand_over();
        if !self.delayed.is_empty() {
            self.release_due();
        }
        if self.config.history.compression.is_some() {
            self.state.metrics.ingest.compression.set(self.router.compressed());
        }
        self.watch_link(has_read);
        self.publish_gauges(has_read);
        ControlFlow::Continue(())
    }

    /// Waits a moment for more events if they come fast, so that a read brings several; see [`pace`].
    pub(crate) fn pause(&self) {
        if !self.pause.is_zero() {
            std::thread::sleep(self.pause);
        }
    }

    fn pause_after(&mut self, events: usize) -> Duration {
        let has_more = self.link.as_ref().is_some_and(|link| link.is_readable());
        if events == 0 || has_more { Duration::ZERO } else { self.pace.after_read(self.now_us(), events) }
    }

    /// How long ingest may sleep.
    pub(crate) fn sleep_time(&self) -> Duration {
        if self.link.as_ref().is_some_and(|link| link.is_readable()) {
            return Duration::ZERO;
        }
        let is_desk_behind = self.desk.as_ref().is_some_and(|desk| desk.is_any_behind());
        if self.router.is_any_behind() || is_desk_behind {
            return limits::HANDOVER_RETRY;
        }
        let due_ms = self.delayed.next_ms();
        let until_due =
            due_ms.map(|due_ms| Duration::from_micros((due_ms * 1_000).saturating_sub(self.now_us())));
        until_due.map_or(limits::INGEST_SLEEP_MAX, |until_due| until_due.min(limits::INGEST_SLEEP_MAX))
    }

    /// Does what the inbox says; returns how many events of ours were published through it. `Break`: ingest is to end.
    fn take_commands(&mut self, early: Option<Command>, begun: Instant) -> ControlFlow<(), usize> {
        let (mut published, mut published_bytes) = (0, 0);
        let mut next = early;
        while let Some(command) = next.take().or_else(|| self.inbox.pop()) {
            match command {
                Command::Wish(Wish::Want { shard, ticket, subjects, history: None }) => {
                    self.grant(shard, ticket, subjects);
                }
                Command::Wish(Wish::Want { shard, ticket, subjects, history: Some(request) }) => {
                    self.grant_with_history(shard, ticket, subjects, &request);
                    // A crowd that comes back must not keep us from the link; what is left waits for the next turn.
                    if begun.elapsed() >= limits::INGEST_READ_BUDGET {
                        break;
                    }
                }
                Command::Wish(Wish::Release { shard, topics }) => {
                    topics.into_iter().for_each(|topic| self.router.release(shard, topic));
                }
                Command::Wish(Wish::Retire { shard, topics }) => {
                    let arrived_us = self.now_us();
                    self.handover.retire(&mut self.router, shard, topics, arrived_us);
                }
                Command::Wish(Wish::Desk(wish)) => {
                    if let Some(desk) = &mut self.desk {
                        desk.wish(wish);
                    }
                }
                Command::Last(LastQuestion { subjects, answer, place: _place }) => {
                    let last = |subject: &Subject| self.router.history(subject.form.delay()).last(subject);
                    let events = subjects.iter().map(last).collect();
                    // Whoever has asked may be gone.
                    let _ = answer.send(events);
                }
                Command::LookedUp { found, failed } => self.looked_up(&found, failed),
                Command::Publish(events) => {
                    self.inbox.consumed(events.bytes());
                    let now_ms = unix_ms();
                    for (channel, payload) in events.iter() {
                        published += usize::from(self.event(channel, payload, now_ms));
                        // A transaction may be many times as large as what a shard is handed at once.
                        if self.router.building_bytes() >= limits::INGEST_READ_BUDGET_BYTES {
                            self.hand_over();
                        }
                    }
                    // Where the shard runs on this thread, it empties its inbox before ingest takes more.
                    published_bytes += events.bytes();
                    if published_bytes >= limits::INGEST_READ_BUDGET_BYTES {
                        break;
                    }
                }
                Command::Connected { link, told } => {
                    self.connected(link);
                    drop(told);
                }
                Command::Stop => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Continue(published)
    }

    /// Sets the gauges that take a scan, at most once a second.
    fn publish_gauges(&mut self, now: Instant) {
        if now.saturating_duration_since(self.gauged) < limits::GAUGE_INTERVAL {
            return;
        }
        self.gauged = now;
        let metrics = &self.state.metrics.ingest;
        metrics.topics_remembered.set(self.router.history(Delay::NONE).topics() as u64);
        metrics.delayed_waiting.set(self.delayed.events() as u64);
        metrics.delayed_bytes.set(self.delayed.bytes() as u64);
        if let Some(stale_after) = self.config.stale_after {
            let stale = self.router.history(Delay::NONE).silent(stale_after, self.gauged);
            metrics.topics_stale.set(stale as u64);
        }
    }

    fn hand_over(&mut self) {
        let arrived_us = self.now_us();
        self.handover.hand_over(&mut self.router, arrived_us);
        if let Some(desk) = &mut self.desk {
            desk.hand_over(&self.handover, arrived_us);
        }
    }

    fn now_us(&self) -> u64 {
        self.state.metrics.uptime_us()
    }
}
