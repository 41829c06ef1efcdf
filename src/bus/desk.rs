//! What shards, ingest and the control side say to each other of the desk.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::Ticket;
use crate::desk::envelope::Moved;
use crate::desk::event::{Addressee, Lost};
use crate::desk::inbox::{EntryId, Kept};
use crate::desk::presence::{Change, Gossip};
use crate::desk::{DeskId, Origin, PublicId};
use crate::limits::OUTGOING_OVERHEAD_BYTES;
use crate::protocol::desk::RequestId;

/// What a shard is told of the desk. Each variant says what bounds it.
#[derive(Debug)]
pub enum DeskNews {
    /// Events, in order. Bounded in bytes, with the other events of the inbox.
    Events(DeskEvents),
    /// Events that ingest had to drop because this shard was behind: counts of each kind. Bounded by
    /// [`limits::DESK_LOSSES_MAX`](crate::limits::DESK_LOSSES_MAX).
    Lost {
        /// How many of each kind.
        counts: Vec<(Lost, u64)>,
        /// There were more kinds, which were not counted.
        is_uncounted: bool,
    },
    /// A connection of this shard has joined a room, or left it: its request has come back, in its place among the room's events. One for each
    /// connection that waits.
    Moved {
        /// That of the request.
        ticket: Ticket,
        /// The room.
        room: DeskId,
        /// It has joined; else left.
        has_joined: bool,
        /// What it alone is told; `None` if that comes with the events.
        object: Option<Bytes>,
        /// Where it comes from.
        origin: Origin,
    },
    /// The control side answers a request. One for each connection that waits, and one that is too late.
    Answer {
        /// That of the request.
        ticket: Ticket,
        /// The answer.
        answer: DeskAnswer,
    },
    /// A worker has answered a question of a connection. Bounded in bytes.
    Response {
        /// The connection, by the number that the shard has given it.
        connection: u64,
        /// The question.
        request_id: RequestId,
        /// The worker's object, byte for byte.
        object: Bytes,
    },
    /// The next entries of the inbox of a client's user. One for each connection that waits; bounded by `INBOX_BATCH_BYTES`, unless one entry alone is
    /// larger.
    Inbox {
        /// The connection, by the number that the shard has given it.
        connection: u64,
        /// The objects that its client gets, and which entries they are.
        entries: Vec<(Bytes, Kept)>,
        /// The last one that was looked at.
        upto: EntryId,
        /// There are no more.
        is_last: bool,
    },
    /// How many users are in a large room. One a second for each room.
    Count {
        /// The room.
        room: DeskId,
        /// How many.
        count: usize,
    },
}

impl DeskNews {
    /// Bytes that it counts for in the inbox.
    pub fn queued_bytes(&self) -> usize {
        match self {
            Self::Events(events) => events.queued_bytes(),
            Self::Lost { counts, .. } => size_of_val(counts.as_slice()),
            Self::Response { object, .. } => object.len(),
            Self::Inbox { entries, .. } => entries.iter().map(|(object, _)| object.len()).sum(),
            _ => 0,
        }
    }
}

/// Events of the desk: objects back to back.
#[derive(Debug, Default)]
pub struct DeskEvents {
    /// The objects.
    pub bytes: Bytes,
    /// What each is.
    pub events: Vec<DeskEvent>,
    /// When the first of them was read, in microseconds since the gateway was built.
    pub arrived_us: u64,
}

/// An event of the desk.
#[derive(Debug)]
pub struct DeskEvent {
    /// Where its object ends; it begins where the one before ends.
    pub end: u32,
    /// Who gets it.
    pub to: Addressee,
    /// Where it comes from.
    pub origin: Origin,
}

impl DeskEvents {
    /// The events, each with its object.
    pub fn iter(&self) -> impl Iterator<Item = (&DeskEvent, &[u8])> {
        let mut start = 0;
        self.events.iter().map(move |event| {
            let object = &self.bytes[start..event.end as usize];
            start = event.end as usize;
            (event, object)
        })
    }

    /// Bytes that they count for.
    pub fn queued_bytes(&self) -> usize {
        self.bytes.len() + size_of_val(self.events.as_slice())
    }
}

/// The control side's answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeskAnswer {
    /// The upstream has taken it.
    Done,
    /// Who is in the room.
    Presence {
        /// Some of them.
        users: Vec<DeskId>,
        /// How many.
        count: usize,
    },
    /// The upstream doesn't take it, or has not said so in time. Nothing of it is sent later.
    Unavailable,
    /// The upstream has not said in time whether it has taken a join or leave. The shard knows whether it has come back, and says so: [`DeskOrder::Settled`].
    Unsure(Change),
    /// The user is in so many rooms, and may be in no more.
    TooManyRooms(usize),
    /// A join or leave should have come back by now.
    Overdue,
    /// The user that it is for has not been connected for longer than inboxes are kept.
    NoUser,
    /// There is no room for it in the inboxes.
    Full,
}

/// What a shard asks of the control side. Bounded by [`OutgoingSpace`]; what only says that a connection has gone is bounded by the rooms
/// that it was in.
#[derive(Debug)]
pub struct DeskAsk {
    /// The shard.
    pub shard: usize,
    /// Repeated in the answer; without one there is none.
    pub ticket: Option<Ticket>,
    /// What is asked.
    pub order: DeskOrder,
    /// Its place among what is on its way out.
    pub held: Option<OutgoingHeld>,
}

/// What is to be done.
#[derive(Debug)]
pub enum DeskOrder {
    /// Publish an envelope.
    Publish {
        /// The channel.
        channel: String,
        /// The envelope.
        payload: Vec<u8>,
    },
    /// Put an envelope into a user's inbox, and tell it to both users.
    Chat {
        /// To whom.
        to: DeskId,
        /// The envelope, which says who and when.
        payload: Vec<u8>,
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
    /// What is in the inbox of a connection's user, from its beginning on or behind an entry? From the first time on the user is here.
    Inbox {
        /// The user.
        user: DeskId,
        /// The connection, by the number that the shard has given it.
        connection: u64,
        /// The entry.
        behind: Option<EntryId>,
    },
    /// A connection has gone that had asked for its user's inbox.
    InboxLeft {
        /// The user.
        user: DeskId,
        /// The connection.
        connection: u64,
    },
    /// A client has got entries of its user's inbox.
    Confirmed {
        /// The user.
        user: DeskId,
        /// Those.
        entries: Vec<Kept>,
    },
    /// A connection of the user joins.
    Join {
        /// The room.
        room: DeskId,
        /// The user.
        user: DeskId,
        /// By what others know the connection.
        connection: Option<PublicId>,
        /// What the user is called where its join is told.
        label: Option<DeskId>,
    },
    /// A connection of the user leaves.
    Leave {
        /// The room.
        room: DeskId,
        /// The user.
        user: DeskId,
        /// By what others know the connection.
        connection: Option<PublicId>,
    },
    /// A connection of the user has gone without leaving.
    Gone {
        /// The room.
        room: DeskId,
        /// The user.
        user: DeskId,
        /// By what others know the connection.
        connection: Option<PublicId>,
    },
    /// Who is in the room?
    Presence {
        /// The room.
        room: DeskId,
    },
    /// What has become of a join or leave that the upstream has not confirmed.
    Settled {
        /// That of [`DeskAnswer::Unsure`].
        change: Change,
        /// It has come back, and its client has been told that it is done; else it is refused.
        has_come: bool,
    },
}

/// What ingest has heard of other gateways, for the control side. What doesn't fit into the queue is lost, and told again by them.
#[derive(Debug)]
pub enum DeskHeard {
    /// A connection has joined a room, or left it.
    Moved(DeskId, Moved),
    /// An entry of a user's inbox has been told to all gateways.
    Kept(DeskId, EntryId),
    /// Something else.
    Gossip(Gossip),
}

/// How much of what clients have written may be on its way to the upstream, over all shards.
#[derive(Debug, Clone)]
pub struct OutgoingSpace {
    taken_bytes: Arc<AtomicUsize>,
    max_bytes: usize,
}

/// A part of an [`OutgoingSpace`]; given back when dropped.
#[derive(Debug)]
pub struct OutgoingHeld {
    bytes: usize,
    taken_bytes: Arc<AtomicUsize>,
}

impl OutgoingSpace {
    /// Nothing is on its way.
    pub fn of(max_bytes: usize) -> Self {
        Self { taken_bytes: Arc::default(), max_bytes }
    }

    /// Takes room for a message of so many bytes; `None` if there is none.
    pub fn take(&self, bytes: usize) -> Option<OutgoingHeld> {
        let bytes = bytes + OUTGOING_OVERHEAD_BYTES;
        let more = |taken: usize| (taken + bytes <= self.max_bytes).then_some(taken + bytes);
        self.taken_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(OutgoingHeld { bytes, taken_bytes: Arc::clone(&self.taken_bytes) })
    }
}

impl Drop for OutgoingHeld {
    fn drop(&mut self) {
        self.taken_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a shard wants of the desk's events.
#[derive(Debug)]
pub enum DeskWish {
    /// The shard has users whose events it wants, or has none any more.
    Users {
        /// The shard.
        shard: usize,
        /// Whether there are any.
        are_there: bool,
    },
    /// One member less: each that came with [`DeskNews::Moved`] is given back once.
    Left {
        /// The shard.
        shard: usize,
        /// The room.
        room: DeskId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_taken_and_given_back() {
        let space = OutgoingSpace::of(2 * OUTGOING_OVERHEAD_BYTES + 100);
        let first = space.take(60).unwrap();
        assert!(space.take(41).is_none());
        let second = space.take(40).unwrap();
        assert!(space.take(0).is_none());
        drop(first);
        assert!(space.take(60).is_some());
        drop(second);
    }
}
