//! What the gateway says to one client, whatever the dialect writes for it.
//!
//! A new status is a variant of [`Status`]. Its bytes are in `native::write::status`, and the `write.rs` of each vendor's protocol says what
//! becomes of it there. Unasked, the shard sends it with `Shard::tell`, or to the subscribers of a topic as `Shard::tell_seq_change` does.
//! `docs/asyncapi.yaml` describes it; the page (`web/src`), the clients (`clients/`) and the example client (`tools/src/client/view.rs`) show it.

use super::desk::Done;
use super::refusal::Refusal;
use super::request::{Id, Selection};
use crate::desk::DeskId;
use crate::desk::event::Lost;
use crate::market::{Form, Kind, Name, Subject};

/// The answer to a request, or a status.
#[derive(Debug, Clone)]
pub enum Reply<'r> {
    /// A subscribe succeeded.
    Subscribed {
        /// What the request names.
        selection: &'r Selection,
        /// Everything that the client holds now, in the order in which it was first subscribed.
        held: &'r [&'r Subject],
        /// For each name that was to be resumed, whether it is.
        recovered: &'r [(Name, bool)],
        /// That of the request.
        id: Option<&'r Id>,
    },
    /// An unsubscribe succeeded.
    Unsubscribed {
        /// Those subjects of the request that the client did hold.
        left: &'r [Subject],
        /// As in [`Reply::Subscribed`].
        held: &'r [&'r Subject],
        /// That of the request.
        id: Option<&'r Id>,
    },
    /// What the client is subscribed to.
    List {
        /// As in [`Reply::Subscribed`].
        held: &'r [&'r Subject],
        /// That of the request.
        id: Option<&'r Id>,
    },
    /// The answer to a ping action.
    Pong {
        /// The client's own figures, if it asked for them.
        stats: Option<ClientStats>,
        /// That of the request.
        id: Option<&'r Id>,
    },
    /// A client has shown who it is.
    Authenticated {
        /// The user; `None` where nobody has to show who they are.
        user: Option<&'r str>,
        /// When the token ends, in Unix milliseconds, if it does.
        expires_ms: Option<u64>,
        /// What the client holds now, as in [`Reply::Subscribed`], if its new rights have taken something away.
        held: Option<&'r [&'r Subject]>,
        /// That of the request.
        id: Option<&'r Id>,
    },
    /// Whether the stream's name stands around each event is as the client wants it.
    CombinedSet {
        /// That of the request.
        id: Option<&'r Id>,
    },
    /// Whether it stands there: the dialect says so.
    Combined {
        /// That of the request.
        id: Option<&'r Id>,
    },
    /// A request to the desk has been carried out.
    Desk {
        /// Which.
        done: &'r Done,
        /// That of the request: without one, nothing is said.
        id: &'r Id,
    },
    /// Who is in a room.
    Presence {
        /// The room.
        room: &'r DeskId,
        /// The names of some of its users.
        users: &'r [DeskId],
        /// How many there are.
        count: usize,
        /// That of the request.
        id: Option<&'r Id>,
    },
    /// How many users are in a large room.
    PresenceCount {
        /// The room.
        room: &'r DeskId,
        /// How many.
        count: usize,
    },
    /// A request was refused, or the client is about to be closed.
    Refused(&'r Refusal),
    /// Something happened that the client did not ask for.
    Status(Status<'r>),
}

/// A client's own figures, as a `pong` tells them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientStats {
    /// Bytes that wait to be written.
    pub queued_bytes: u64,
    /// Events skipped since it connected.
    pub skipped: u64,
    /// Events replaced by a newer one since it connected.
    pub conflated: u64,
    /// How long the oldest waiting event has waited, in milliseconds.
    pub lag_ms: u64,
}

/// Something that happened to the feed, to a topic or to the client. In order with the events around it.
#[derive(Debug, Clone)]
pub enum Status<'s> {
    /// The upstream was lost.
    FeedDown,
    /// The upstream is back.
    FeedUp {
        /// For how long events may be missing, in milliseconds.
        gap_ms: u64,
    },
    /// This client was too slow for `count` events of a topic.
    Skipped {
        /// The topic.
        subject: &'s Subject,
        /// How many of its events this client does not get.
        count: u64,
    },
    /// This client was too slow for `count` events of the desk.
    SkippedAtDesk {
        /// Of what.
        lost: &'s Lost,
        /// How many this client does not get.
        count: u64,
    },
    /// This client was too slow for every event: from here on it gets the latest of each topic.
    FellBack {
        /// Bytes that waited when that was decided.
        queued_bytes: u64,
    },
    /// This client has caught up and gets every event again.
    CaughtUp,
    /// Whether the feed lives, each second for a client that asked for it.
    Heartbeat {
        /// Whether the upstream is there.
        feed_up: bool,
        /// How long ago its last event came, in milliseconds, if one has.
        last_event_age_ms: Option<u64>,
    },
    /// Sequence numbers of a topic are missing.
    Gap {
        /// The topic.
        subject: &'s Subject,
        /// The first missing number.
        from: u64,
        /// The last missing number.
        to: u64,
    },
    /// The last values of these names are through; what follows of them is live.
    SnapshotEnd {
        /// The names that a type of the request has.
        names: &'s [&'s Name],
        /// That type.
        kind: Kind,
        /// The form of its events.
        form: Form,
    },
    /// What was missed of these symbols is through, as far as they are recovered.
    ReplayEnd {
        /// The symbols to be resumed.
        names: &'s [&'s Name],
        /// The type of the request.
        kind: Kind,
        /// The form of its events.
        form: Form,
    },
    /// The client's token ends soon.
    TokenExpiring {
        /// In how many milliseconds.
        expires_in_ms: u64,
    },
    /// The connection ends; the client should come back after the time given.
    Shutdown {
        /// Why.
        reason: ShutdownReason,
        /// In milliseconds.
        reconnect_after_ms: u64,
    },
}

/// Why a client is told to connect again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownReason {
    /// The gateway ends.
    Shutdown,
    /// Its new token has another delay than what it is subscribed to.
    Delay,
}

impl ShutdownReason {
    /// As clients are told it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Delay => "delay",
        }
    }
}
