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
    /// The events' sequence numbers.
    pub seqs: Seqs,
    /// When the first of the events was read, in microseconds since the gateway was built.
    pub arrived_us: u64,
}

/// The sequence numbers of a batch's events, as ingest has read them from the workers' objects. Owns no memory while no event of the
/// batch has one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Seqs(Vec<u64>);

impl Seqs {
    /// Stands for an event without a number: numbers are below 2^53.
    const NONE: u64 = u64::MAX;

    /// Notes the number of event `index`, which is behind all those noted before. The events between have none.
    #[inline]
    pub fn set(&mut self, index: u32, seq: u64) {
        self.0.resize(index as usize, Self::NONE);
        self.0.push(seq);
    }

    /// The number of event `index`, if it has one.
    pub fn get(&self, index: u32) -> Option<u64> {
        self.0.get(index as usize).copied().filter(|seq| *seq != Self::NONE)
    }

    /// An exactly sized copy; this is empty afterwards and keeps its memory.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let copy = Self(self.0.as_slice().into());
        self.0.clear();
        copy
    }
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
