//! What a shard asks of ingest, which owns interest: the one that knows which shard wants which topic. And what the control side asks
//! of it.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::TopicId;
use super::arrival::Seat;
use super::desk::DeskWish;
use super::fn_sender::FnSender;
use crate::market::Subject;

/// Pairs an answer of ingest, or of the control side, with the request of the shard that it answers. Counted by the shard, wrapping around.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Ticket(u32);

impl Ticket {
    /// Its number, for whoever can carry nothing else.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The ticket of that number.
    pub const fn of_number(number: u32) -> Self {
        Self(number)
    }

    /// The ticket of the shard's next request.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// What a shard asks of ingest. Not bounded by itself: a connection has at most one `Want` under way, as its further requests
/// wait for the answer, and a shard releases and retires only topics that it was granted or opened.
#[derive(Debug)]
pub enum Wish {
    /// The shard wants topics. Ingest answers each of these with [`ToShard::Granted`](super::ToShard::Granted), in the order of asking.
    Want {
        /// The shard that asks.
        shard: usize,
        /// Repeated in the answer.
        ticket: Ticket,
        /// What it wants; may be empty.
        subjects: Vec<Subject>,
        /// What it asks of their history.
        history: Option<Box<HistoryRequest>>,
    },
    /// The shard does not want topics any more.
    Release {
        /// The shard that says so.
        shard: usize,
        /// What it was granted.
        topics: Vec<TopicId>,
    },
    /// The shard gives idle topics back that its patterns still match. Ingest answers with [`ToShard::Retired`](super::ToShard::Retired): behind
    /// it no event comes under these ids.
    Retire {
        /// The shard that says so.
        shard: usize,
        /// What was opened to it, or granted.
        topics: Vec<TopicId>,
    },
    /// What the shard wants of the desk. One for each of its connections that comes, goes, or leaves a room.
    Desk(DeskWish),
}

/// What a client's request asks of the history of its topics.
#[derive(Debug, Clone, Default)]
pub struct HistoryRequest {
    /// `"snapshot":true`: the last value of each subject that is not recovered.
    pub snapshot: bool,
    /// The last `seq` that the client has seen of these.
    pub resume: Vec<(Subject, u64)>,
}

/// The control side asks for last events. Ingest answers at once; whoever has gone meanwhile misses the answer.
#[derive(Debug)]
pub struct LastQuestion {
    /// Of what: symbols, no patterns of clients.
    pub subjects: Vec<Subject>,
    /// Where the answer goes: one element for each subject, `None` where no event is known.
    pub answer: oneshot::Sender<Vec<Option<LastEvent>>>,
    /// The question's place among those that wait, which are bounded.
    pub place: Seat,
}

/// The last event of a topic.
#[derive(Debug, Clone)]
pub struct LastEvent {
    /// Its frame, marked as a snapshot.
    pub frame: Bytes,
    /// Its number, if it has one.
    pub seq: Option<u64>,
}

/// How the control side asks ingest for last events.
pub type LastSender = FnSender<LastQuestion>;

/// How shards speak to ingest. A shard knows nothing else of it.
pub type WishSender = FnSender<Wish>;
