//! Frames on their way from ingest to a shard, and the ids of the topics that they are about.

use bytes::Bytes;
use slotmap::{Key, KeyData, new_key_type};

use crate::market::Form;

new_key_type! {
    /// A topic as the data path knows it. Given out by ingest while any shard wants the topic; generational, so
    /// that an id that is still in some batch never names the topic that came after.
    pub struct TopicId;
}

impl TopicId {
    /// Ids with this bit and not the one above it are no topics of ingest: its own are counted from 0, and have neither.
    const DESK: u32 = 1 << 30;

    /// An id that a shard gives itself, for what it has of the desk: ingest gives out none of these.
    pub fn of_desk(number: u32) -> Self {
        let index = Self::DESK | (number & (Self::DESK - 1));
        KeyData::from_ffi((1 << u32::BITS) | u64::from(index)).into()
    }

    /// Whether it is [`TopicId::of_desk`]. The null id isn't.
    #[inline]
    pub fn is_desk(self) -> bool {
        (self.data().as_ffi() as u32) >> 30 == 1
    }
}

/// Where a frame ends in its batch, and what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Offset of the byte behind the frame.
    pub end: u32,
    /// The event's topic; null if the frame is no event (a reply, a status).
    pub topic: TopicId,
}

/// Frames back to back with a table of them, as it crosses from ingest to a shard. A frame is an event in one form, whether that is a
/// WebSocket frame or not.
#[derive(Debug, Default, Clone)]
pub struct Frames {
    /// The form of all of them.
    pub form: Form,
    /// Events as their form has them, one behind the other.
    pub bytes: Bytes,
    /// One entry a frame, ends ascending.
    pub table: Vec<Entry>,
    /// The events' sequence numbers.
    pub seqs: Seqs,
    /// When the first of the events was read, in microseconds since the gateway was built.
    pub arrived_us: u64,
}

/// The sequence numbers of a batch's events, as ingest has read them from the workers' objects, and which of the events are late. Owns
/// no memory while no event of the batch has a number.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Seqs {
    /// By event: its number, with [`Seqs::LATE`] if it is late.
    numbers: Vec<u64>,
    has_late: bool,
}

impl Seqs {
    /// Stands for an event without a number: numbers are below 2^53.
    const NONE: u64 = u64::MAX;
    /// Set in the number of a late event.
    const LATE: u64 = 1 << 62;

    /// Notes the number of event `index`, which is behind all those noted before. The events between have none. A late event is
    /// older than one of its topic that came before it.
    #[inline]
    pub fn set(&mut self, index: u32, seq: u64, is_late: bool) {
        self.numbers.resize(index as usize, Self::NONE);
        self.numbers.push(if is_late { seq | Self::LATE } else { seq });
        self.has_late |= is_late;
    }

    /// The number of event `index`, if it has one.
    pub fn get(&self, index: u32) -> Option<u64> {
        let seq = self.numbers.get(index as usize).copied().filter(|seq| *seq != Self::NONE)?;
        Some(seq & !Self::LATE)
    }

    /// Whether event `index` is late.
    #[inline]
    pub fn is_late(&self, index: u32) -> bool {
        self.has_late
            && self.numbers.get(index as usize).is_some_and(|seq| *seq != Self::NONE && seq & Self::LATE != 0)
    }

    /// Whether any event is late.
    #[inline]
    pub fn has_late(&self) -> bool {
        self.has_late
    }

    /// An exactly sized copy; this is empty afterwards and keeps its memory.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let copy =
            Self { numbers: self.numbers.as_slice().into(), has_late: std::mem::take(&mut self.has_late) };
        self.numbers.clear();
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
