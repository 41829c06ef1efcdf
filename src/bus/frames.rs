//! Frames on their way from ingest to a shard, and the ids of the topics that they are about.

use bytes::Bytes;
use slotmap::new_key_type;

new_key_type! {
    /// A topic as the data path knows it. Given out by ingest while any shard wants the topic; generational, so
    /// that an id that is still in some batch never names the topic that came after.
    pub struct TopicId;
}

/// Where a frame ends in its batch, and what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Offset of the byte behind the frame.
    pub end: u32,
    /// The event's topic; null for a frame that is one client's own (a reply, a status).
    pub topic: TopicId,
}

/// Frames back to back with a table of them, as it crosses from ingest to a shard.
#[derive(Debug, Default, Clone)]
pub struct Frames {
    /// Complete WebSocket frames, one behind the other.
    pub bytes: Bytes,
    /// One entry a frame, ends ascending.
    pub table: Vec<Entry>,
    /// When the first of the events was read, in microseconds since the gateway was built.
    pub arrived_us: u64,
}

/// A change in a topic's sequence numbers between two of its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeqChange {
    /// The worker's sequence numbers `from..=to` are missing.
    Gap {
        /// The first one missing.
        from: u64,
        /// The last one missing.
        to: u64,
    },
    /// The worker restarted its sequence numbers.
    Restarted,
}

/// A [`SeqChange`] and its place among the events of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeqNotice {
    /// The frame before which it happened.
    pub before: u32,
    /// The topic that it concerns.
    pub topic: TopicId,
    /// What happened.
    pub change: SeqChange,
}
