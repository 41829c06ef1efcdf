//! Events that have been set aside as they came, because nobody has asked for them.

use crate::limits;

/// Events back to back.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where the event ends in the bytes.
    end: u32,
    /// When it arrived, in Unix milliseconds.
    arrived_ms: u64,
    /// Its `seq`, as far as that can be seen without a look into it.
    claimed_seq: Option<u64>,
}

/// An event as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingEvent<'p> {
    pub(super) payload: &'p [u8],
    /// When it arrived, in Unix milliseconds.
    pub(super) arrived_ms: u64,
    /// Its `seq`, as far as that can be seen without a look into it.
    pub(super) claimed_seq: Option<u64>,
}

impl Pending {
    pub(super) fn push(&mut self, event: PendingEvent<'_>) {
        let PendingEvent { payload, arrived_ms, claimed_seq } = event;
        self.bytes.extend_from_slice(payload);
        self.entries.push(Entry { end: self.bytes.len() as u32, arrived_ms, claimed_seq });
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn get(&self, index: usize) -> PendingEvent<'_> {
        let start = index.checked_sub(1).map_or(0, |previous| self.entries[previous].end as usize);
        let Entry { end, arrived_ms, claimed_seq } = self.entries[index];
        PendingEvent { payload: &self.bytes[start..end as usize], arrived_ms, claimed_seq }
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= limits::PENDING_EVENTS || self.bytes.len() >= limits::PENDING_BYTES
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        // One large event must not keep its memory for ever.
        self.bytes.shrink_to(limits::PENDING_BYTES);
    }
}
