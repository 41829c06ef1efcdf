//! What clients say, on its way to the upstream: one task that knows who is in which room, and another that publishes.
//!
//! | part | what it is |
//! |---|---|
//! | this file | takes what shards ask and ingest hears, asks presence, and answers |
//! | `early` | joins that come before the gateway has heard who is where |
//! | `cluster` | which node of a Redis Cluster to publish over |
//! | `inboxes` | what is said to users, kept until they have it |
//! | [`redis`] | a connection of its own to Redis, or to the embedded broker: pipelined `PUBLISH`, each confirmed by its reply |
//!
//! Everything goes out in the order in which it was asked, and comes back through ingest like any event. What isn't confirmed within
//! [`limits::OUTGOING_TIMEOUT`] is refused, and the connection is given up with all that it had not sent: nothing is sent later.

mod cluster;
mod early;
mod inboxes;
pub mod redis;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::early::Early;
use self::inboxes::Inboxes;
pub use self::inboxes::{InboxPurpose, InboxesConfig};
use self::redis::{Connected, Done, Job, Work};
use crate::bus::{DeskAnswer, DeskAsk, DeskHeard, DeskNews, DeskOrder, OutgoingHeld, Ticket};
use crate::desk::envelope::{Envelope, Mark, Moved, room_channel};
use crate::desk::presence::{Change, Gossip, Presence, PresenceConfig, QUIET_MS, Say, TooManyRooms};
use crate::desk::{DESK_CHANNELS, DeskId, GatewayId, Origin, PRESENCE, PublicId};
use crate::fanout::Fanout;
use crate::ingest::publisher::Publisher;
use crate::ingest::redis::Server;
use crate::limits;
use crate::state::State;

/// How often presence is looked at.
const TICK: Duration = Duration::from_millis(200);

/// What a join or leave may take to come back, from when it was asked.
const COMES_BACK: Duration = Duration::from_millis(990);

const _: () = assert!(
    QUIET_MS as u128 > COMES_BACK.as_millis(),
    "what members believe is judged once all has come back"
);

/// What it takes to publish.
#[derive(Debug)]
pub struct OutgoingConfig {
    /// This run of the gateway.
    pub me: GatewayId,
    /// `CHANNEL_PREFIX`.
    pub channel_prefix: String,
    /// The limits of presence.
    pub presence: PresenceConfig,
    /// `OFFLINE_QUEUE`; `None` if nothing is kept for users who are away.
    pub inboxes: Option<InboxesConfig>,
    /// Where to publish; `None` if the gateway has no upstream but itself.
    pub server: Option<Server>,
}

/// How it reaches the rest of the process.
#[derive(Debug)]
pub struct Handles {
    /// What shards ask. Bounded by [`OutgoingSpace`](crate::bus::OutgoingSpace).
    pub asks: UnboundedReceiver<DeskAsk>,
    /// What ingest has heard of other gateways.
    pub heard: mpsc::Receiver<DeskHeard>,
    /// The shards.
    pub fanout: Arc<Fanout>,
    /// What the process knows of itself.
    pub state: Arc<State>,
    /// Where events are published without an upstream.
    pub publisher: Publisher,
    /// Dropped once the first attempt to connect is over.
    pub attempted: oneshot::Sender<()>,
}

/// What a job was for.
#[derive(Debug)]
pub enum Purpose {
    /// A client's message.
    Message(usize, Ticket),
    /// A client's join.
    Join(usize, Ticket, Change),
    /// A client's leave.
    Leave(usize, Option<Ticket>, Change),
    /// What members are told by the gateway itself.
    Told(Change),
    /// Anything else that it says by itself.
    Own,
    /// Inboxes.
    Inbox(InboxPurpose),
}

impl Purpose {
    /// Whether it is better late than refused: no client waits for it, and it would be asked again.
    const fn may_be_late(&self) -> bool {
        matches!(self, Self::Inbox(purpose) if !matches!(purpose, InboxPurpose::Chat { .. }))
    }
}

struct Task {
    config: OutgoingConfig,
    presence: Presence,
    inboxes: Option<Inboxes>,
    jobs: UnboundedSender<Job>,
    fanout: Arc<Fanout>,
    state: Arc<State>,
    connected: Connected,
    /// Joins and leaves that have yet to come back, the oldest first; some may have.
    coming_back: VecDeque<(Instant, usize, Ticket)>,
    /// Joins that wait until it is known who is where; `None` once it is.
    early: Option<Early>,
}

/// Publishes what clients say, and keeps who is where, until `ending`; then says that this gateway ends.
pub async fn run(mut config: OutgoingConfig, handles: Handles, ending: CancellationToken) {
    let Handles { mut asks, mut heard, fanout, state, publisher, attempted } = handles;
    // Bounded by what clients may have on its way, and by what gateways say of themselves.
    let (jobs_tx, jobs) = mpsc::unbounded_channel();
    let (done_tx, mut done) = mpsc::unbounded_channel();
    let connected = Connected::default();
    let writer = redis::run(config.server.clone(), publisher, jobs, done_tx, connected.clone(), attempted);
    let writer = tokio::spawn(writer);
    let presence = Presence::new(config.me, config.presence);
    let inboxes = config.inboxes.take().map(Inboxes::new);
    let (coming_back, early) = (VecDeque::new(), config.server.is_some().then(Early::default));
    let jobs = jobs_tx;
    let mut task = Task { config, presence, inboxes, jobs, fanout, state, connected, coming_back, early };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = ending.cancelled() => break,
            Some(done) = done.recv() => task.on_done(done),
            Some(heard) = heard.recv() => task.on_heard(heard),
            Some(ask) = asks.recv() => task.on_ask(ask),
            _ = ticks.tick() => task.tick(),
        }
    }
    // Those that the shards said on their way out.
    while let Ok(ask) = asks.try_recv() {
        task.on_ask(ask);
    }
    task.gossip(&task.presence.bye());
    // The writer ends behind its last job.
    drop(task);
    let _ = tokio::time::timeout(limits::OUTGOING_TIMEOUT, writer).await;
}

impl Task {
    fn on_ask(&mut self, ask: DeskAsk) {
        let Some(ask) = self.unless_early(ask) else { return };
        let DeskAsk { shard, ticket, order, held } = ask;
        match order {
            DeskOrder::Publish { channel, payload } => {
                let purpose = ticket.map_or(Purpose::Own, |ticket| Purpose::Message(shard, ticket));
                self.publish(channel, payload, purpose, held);
            }
            DeskOrder::Join { room, user, connection, label } => {
                let Some(ticket) = ticket else { return };
                match self.presence.join(&room, &user) {
                    Err(TooManyRooms { current }) => {
                        self.answer(shard, ticket, DeskAnswer::TooManyRooms(current));
                    }
                    Ok(is_told) => {
                        let origin = Origin { label, ..self.origin(&room, connection) };
                        let moved = self.moved(&user, true, is_told, true, Some((shard, ticket)), origin);
                        let purpose = Purpose::Join(shard, ticket, Change::of(&room, &moved));
                        self.publish_moved(&room, moved, purpose, held);
                    }
                }
            }
            DeskOrder::Leave { room, user, connection } => {
                let (is_told, is_there) = self.presence.leave(&room, &user);
                let asked = ticket.map(|ticket| (shard, ticket));
                let origin = self.origin(&room, connection);
                let moved = self.moved(&user, false, is_told, is_there, asked, origin);
                let purpose = Purpose::Leave(shard, ticket, Change::of(&room, &moved));
                self.publish_moved(&room, moved, purpose, held);
            }
            DeskOrder::Chat { to, payload, at_ms } => {
                if let Some(ticket) = ticket {
                    self.put((shard, ticket), to, payload, at_ms, held);
                }
            }
            DeskOrder::Inbox { user, connection, behind } => {
                self.read_inbox(shard, connection, user, behind);
            }
            DeskOrder::InboxLeft { user, connection } => {
                if let Some(inboxes) = &mut self.inboxes {
                    inboxes.left(&user, (shard, connection));
                }
            }
            DeskOrder::Confirmed { user, entries } => {
                self.state.metrics.control.inbox_entries_confirmed.add(entries.len() as u64);
                self.delete(&user, entries);
            }
            DeskOrder::Gone { room, user, connection } => {
                self.presence.gone(&room, &user, connection, self.now_ms());
            }
            DeskOrder::Presence { room } => {
                if let Some(ticket) = ticket {
                    let (users, count) = self.presence.users(&room);
                    self.answer(shard, ticket, DeskAnswer::Presence { users, count });
                }
            }
            DeskOrder::Settled { change, has_come } => self.on_settled(&change, has_come),
        }
    }

    /// The upstream has taken something, or not.
    fn on_done(&mut self, done: Done) {
        let Done { purpose, is_confirmed, may_have_come, said, asked, held } = done;
        let purpose = match purpose {
            Purpose::Inbox(purpose) => return self.on_inbox_done(purpose, is_confirmed, said, asked, held),
            Purpose::Join(shard, ticket, change) | Purpose::Leave(shard, Some(ticket), change)
                if may_have_come =>
            {
                // If it has come back, its client has been told that it is done: only the shard knows.
                return self.answer(shard, ticket, DeskAnswer::Unsure(change));
            }
            purpose => purpose,
        };
        self.count_published(is_confirmed);
        match (purpose, is_confirmed) {
            (Purpose::Message(shard, ticket), true) => self.answer(shard, ticket, DeskAnswer::Done),
            (Purpose::Message(shard, ticket), false) => self.answer(shard, ticket, DeskAnswer::Unavailable),
            (Purpose::Join(shard, ticket, change) | Purpose::Leave(shard, Some(ticket), change), true) => {
                self.presence.confirmed(&change);
                self.coming_back.push_back((asked + COMES_BACK, shard, ticket));
            }
            (Purpose::Leave(_, None, change) | Purpose::Told(change), true) => {
                self.presence.confirmed(&change);
            }
            (Purpose::Join(shard, ticket, change), false) => {
                self.presence.unjoin(&change, false);
                self.answer(shard, ticket, DeskAnswer::Unavailable);
            }
            (Purpose::Leave(shard, Some(ticket), change), false) => {
                self.presence.unleave(&change, false);
                self.answer(shard, ticket, DeskAnswer::Unavailable);
            }
            (Purpose::Leave(_, None, change) | Purpose::Told(change), false) => {
                self.presence.unsaid(&change, may_have_come);
            }
            (Purpose::Own | Purpose::Inbox(_), _) => {}
        }
    }

    /// A join or leave that the upstream has not confirmed has come back to its shard, or is refused.
    fn on_settled(&mut self, change: &Change, has_come: bool) {
        self.count_published(has_come);
        match has_come {
            true => self.presence.confirmed(change),
            false if change.has_joined => self.presence.unjoin(change, true),
            false => self.presence.unleave(change, true),
        }
    }

    fn count_published(&self, is_confirmed: bool) {
        let metrics = &self.state.metrics.control;
        if is_confirmed { &metrics.desk_published } else { &metrics.desk_unconfirmed }.add(1);
    }

    fn on_heard(&mut self, heard: DeskHeard) {
        let now_ms = self.now_ms();
        match heard {
            DeskHeard::Moved(room, moved) => self.presence.heard_moved(&room, &moved, now_ms),
            DeskHeard::Kept(user, entry) => {
                if let Some(inboxes) = &mut self.inboxes {
                    inboxes.heard(&user, entry);
                }
            }
            DeskHeard::Gossip(gossip) => {
                if let Some(asks) = self.presence.heard(gossip, now_ms) {
                    self.gossip(&asks);
                }
            }
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        while self.coming_back.front().is_some_and(|(until, ..)| *until <= now) {
            if let Some((_, shard, ticket)) = self.coming_back.pop_front() {
                self.answer(shard, ticket, DeskAnswer::Overdue);
            }
        }
        let now_ms = self.now_ms();
        let Some(connection) = self.connected.number().filter(|_| self.state.feed_up()) else {
            self.presence.heard_nobody(now_ms);
            return self.take_early(false);
        };
        self.take_early(true);
        for say in self.presence.tick(now_ms) {
            match say {
                Say::Moved { room, moved } => {
                    let purpose = Purpose::Told(Change::of(&room, &moved));
                    self.publish_moved(&room, moved, purpose, None);
                }
                Say::Gossip(gossip) => self.gossip(&gossip),
                Say::Count { room, count } => self.fanout.tell_count(&room, count),
            }
        }
        self.state.set_rooms_open(self.presence.rooms() as u64);
        self.tick_inboxes(connection);
    }

    /// Where a join or leave comes from that presence knows of already.
    fn origin(&self, room: &DeskId, connection: Option<PublicId>) -> Origin {
        Origin::of_move(connection, self.presence.count(room))
    }

    fn moved(
        &self,
        user: &DeskId,
        has_joined: bool,
        is_told: bool,
        is_there: bool,
        asked: Option<(usize, Ticket)>,
        origin: Origin,
    ) -> Moved {
        let mark = |(shard, ticket): (usize, Ticket)| Mark { shard: shard as u32, ticket: ticket.number() };
        let gateway = self.config.me;
        Moved { user: user.clone(), has_joined, is_told, gateway, is_there, asked: asked.map(mark), origin }
    }

    fn publish_moved(&self, room: &DeskId, moved: Moved, purpose: Purpose, held: Option<OutgoingHeld>) {
        let channel = room_channel(&self.config.channel_prefix, room);
        self.publish(channel, Envelope::Moved(moved).write(), purpose, held);
    }

    fn gossip(&self, gossip: &Gossip) {
        let channel = format!("{}{DESK_CHANNELS}{PRESENCE}", self.config.channel_prefix);
        self.publish(channel, gossip.write(), Purpose::Own, None);
    }

    fn publish(&self, channel: String, payload: Vec<u8>, purpose: Purpose, held: Option<OutgoingHeld>) {
        // The writer ends after this task.
        let work = Work::Publish { channel, payload };
        let _ = self.jobs.send(Job { work, purpose, asked: Instant::now(), held });
    }

    fn answer(&self, shard: usize, ticket: Ticket, answer: DeskAnswer) {
        self.fanout.tell_desk(shard, DeskNews::Answer { ticket, answer });
    }

    fn now_ms(&self) -> u64 {
        self.state.metrics.uptime_ms()
    }
}
