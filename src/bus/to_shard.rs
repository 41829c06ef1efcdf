//! What a shard is told, by ingest and by the control side.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::inbox::Sender;
use super::{Arrival, DeskNews, Frames, ReplayBudget, SeqChange, SeqNotice, Ticket, TopicId, UserSeat};
use crate::identity::Identity;
use crate::market::{Delay, Subject};
use crate::protocol::refusal::ErrorCode;

/// What ingest holds of a shard.
#[derive(Debug, Clone)]
pub struct ShardPort {
    /// Where the shard is spoken to.
    pub inbox: Sender<ToShard>,
    /// How much of what clients have missed it has room for.
    pub replay_budget: Arc<ReplayBudget>,
}

impl ShardPort {
    /// A shard with an inbox that nothing has been sent to.
    pub fn new(inbox: Sender<ToShard>) -> Self {
        Self { inbox, replay_budget: Arc::default() }
    }
}

/// What a shard is told. Each variant says what bounds it. [`ToShard::Batch`], [`ToShard::Opened`] and [`ToShard::Lost`] share one bound in bytes
/// ([`ToShard::queued_bytes`], [`limits::SHARD_INBOX_BYTES`](crate::limits::SHARD_INBOX_BYTES)). Ingest sends a shard that is behind only answers
/// that the shard waits for, each after a report of the shard's losses so far.
#[derive(Debug)]
pub enum ToShard {
    /// Events, in order. Bounded in bytes.
    Batch(Frames),
    /// Events, and the changes of sequence numbers between them, in order. Bounded as [`ToShard::Batch`]: one change before each
    /// event at most.
    BatchWithChanges(Frames, Box<[SeqNotice]>),
    /// Last values that clients of this shard wait for ([`HistoryReply::awaited`]) have been looked up. One for each topic that waits.
    LookedUp(Vec<LookedUp>),
    /// A change of sequence numbers among the [`ToShard::Lost`]: at most two for each of their topics.
    SeqChange(TopicId, SeqChange),
    /// Events that ingest had to drop because this shard was behind: counts by topic, each topic once. Told when the shard has caught
    /// up, or before an answer that it waits for. Bounded in bytes and by the topics that the shard knows.
    Lost(Vec<(TopicId, u64)>),
    /// While the shard was behind, more new topics came up than ingest counts losses for. Clients that are subscribed to these patterns can't
    /// be told what they have missed. Bounded by the shard's patterns.
    LostUncounted(Vec<TopicId>),
    /// Topics that a pattern of this shard matches: their events come under these ids from now on, until the shard releases them.
    /// Bounded in bytes: an event of each follows, in a batch or among the lost ones.
    Opened(Vec<(Subject, TopicId)>),
    /// The answer to [`Wish::Retire`](super::Wish::Retire): no event comes under these ids any more, unless they are opened or granted again.
    /// Bounded by the topics that the shard knows.
    Retired(Vec<TopicId>),
    /// The answer to a [`Wish::Want`](super::Wish::Want). At most one for each connection that waits.
    Granted {
        /// That of the wish.
        ticket: Ticket,
        /// What the shard wanted. Events of these topics come under these ids from now on.
        topics: Vec<(Subject, TopicId)>,
        /// What the request asked of their history. Its replay is bounded by the shard's [`ReplayBudget`], its snapshots are shared.
        history: Option<Box<HistoryReply>>,
    },
    /// A feed's upstream was lost or is back. Two at most of each feed for each time that the shard was behind; else told as it happens.
    Feed(Delay, Feed),
    /// The answer to a [`ToControl::Verify`](super::ToControl::Verify). At most one for each connection that waits.
    Verified {
        /// That of the question.
        ticket: Ticket,
        /// Who the client is, or why it is not let in.
        result: Result<Verified, Denied>,
    },
    /// A newer connection of its user has taken the place of the one with this number ([`UserSeat::number`]). At most one for each user in
    /// [`limits::USER_REPLACED_INTERVAL`](crate::limits::USER_REPLACED_INTERVAL).
    Replaced(u64),
    /// Something of the desk: see [`DeskNews`].
    Desk(Box<DeskNews>),
    /// The connection of that token may be read and written: its bytes come over HTTP, and no poll reports them. At most two for each request.
    Ready(usize),
    /// Close the connections that have missed a pong, and tell how many. One for each order of the operator's.
    Clean(oneshot::Sender<usize>),
    /// New clients. Bounded by `MAX_CONNECTIONS`: each has a seat.
    Adopt(Vec<Arrival>),
    /// Tell every client to go elsewhere, and end with the last of them, at the latest after the time given. Told once.
    Drain(Duration),
}

/// A client whose token holds.
#[derive(Debug)]
pub struct Verified {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// Its place among the connections of its user; `None` if it has one already, or no user.
    pub seat: Option<Arc<UserSeat>>,
}

/// Why a client is not let in, for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// [`ErrorCode::Unauthorized`] or [`ErrorCode::TooManyConnections`].
    pub code: ErrorCode,
    /// In words.
    pub why: String,
}

impl Denied {
    /// A token doesn't hold.
    pub fn token(why: impl Into<String>) -> Self {
        Self { code: ErrorCode::Unauthorized, why: why.into() }
    }
}

impl ToShard {
    /// Bytes that it counts for in the inbox, as long as it waits there.
    pub fn queued_bytes(&self) -> usize {
        match self {
            Self::Batch(frames) | Self::BatchWithChanges(frames, _) => frames.bytes.len(),
            Self::Opened(topics) => size_of_val(topics.as_slice()),
            Self::Lost(counts) => size_of_val(counts.as_slice()),
            Self::Desk(news) => news.queued_bytes(),
            _ => 0,
        }
    }
}

/// What a request has asked of the history: everything up to this place among the events. Later events come live.
#[derive(Debug, Default)]
pub struct HistoryReply {
    /// For each topic that was to be resumed, in the request's order, whether it is.
    pub recovered: Vec<bool>,
    /// Topics of which the client has seen more than this gateway: the last `seq` that it has seen.
    pub floors: Vec<(TopicId, u64)>,
    /// What the client has missed.
    pub replay: Frames,
    /// Last values, framed; shared with whoever else asks before the topic's next event.
    pub snapshots: Vec<(TopicId, Bytes)>,
    /// Topics whose last values are being looked up: a [`ToShard::LookedUp`] follows.
    pub awaited: Vec<TopicId>,
}

/// A topic whose last value was looked up, or the symbol of candles.
#[derive(Debug, Clone)]
pub struct LookedUp {
    /// What waited for it: see [`HistoryReply::awaited`].
    pub awaited: TopicId,
    /// The topic that the value is of: what waited, or of a symbol of candles the interval that was found.
    pub topic: TopicId,
    /// The value as a snapshot; `None` if there is none.
    pub frame: Option<Bytes>,
    /// Its `seq`: the events up to it may still come live, and whoever has the snapshot has seen them.
    pub seq: Option<u64>,
}

/// The upstream as clients are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// Lost, or not reached yet.
    Down,
    /// There.
    Up {
        /// For how long it was not, in milliseconds.
        gap_ms: u64,
    },
}
