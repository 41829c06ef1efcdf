//! What came, in order and with its time, until it is due: bounded in bytes. Pure; the clock comes in as milliseconds.
//!
//! The bytes lie in chunks, of which the oldest is freed once it has been read. So memory is taken as it fills, and a full ring has room again
//! for some thousand events at a time.

use std::collections::VecDeque;

/// Most chunks have this size.
pub(super) const CHUNK_BYTES: usize = 1024 * 1024;

/// A chunk beyond the bound has this size.
const URGENT_BYTES: usize = 4 * 1024;

/// Bytes of an entry beside its name and its content.
const HEADER_BYTES: usize = 1 + 1 + 1 + 4 + 4;

/// What an entry is of: the owner's own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label {
    /// What it is.
    pub(super) tag: u8,
    /// The event's type, if it is of one.
    pub(super) kind: u8,
}

/// An entry, as it was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'r> {
    pub(super) label: Label,
    pub(super) name: &'r [u8],
    pub(super) content: &'r [u8],
}

#[derive(Debug)]
pub(super) struct Ring {
    chunks: VecDeque<Chunk>,
    /// The capacity of all chunks.
    bytes: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    /// The time from which its entries count theirs.
    from_ms: u64,
    bytes: Vec<u8>,
    /// How much of it has been read.
    read: usize,
}

impl Ring {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { chunks: VecDeque::new(), bytes: 0, max_bytes }
    }

    /// Bytes of memory that it has taken.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is no room for another chunk.
    pub(super) fn is_full(&self) -> bool {
        self.bytes + CHUNK_BYTES > self.max_bytes
    }

    /// Puts an entry in, behind all others; `false` if there is no room for it. What has to be known whatever comes is put in beyond the
    /// bound, if it is `urgent`.
    pub(super) fn push(
        &mut self,
        label: Label,
        name: &[u8],
        content: &[u8],
        now_ms: u64,
        urgent: bool,
    ) -> bool {
        let (Ok(name_bytes), Ok(content_bytes)) = (u8::try_from(name.len()), u32::try_from(content.len()))
        else {
            return false;
        };
        let entry_bytes = HEADER_BYTES + name.len() + content.len();
        let has_room = |chunk: &Chunk| {
            chunk.bytes.capacity() - chunk.bytes.len() >= entry_bytes
                && now_ms.checked_sub(chunk.from_ms).is_some_and(|since| since <= u64::from(u32::MAX))
        };
        if !self.chunks.back().is_some_and(has_room) {
            let mut capacity = entry_bytes.max(CHUNK_BYTES);
            if self.bytes + capacity > self.max_bytes {
                if !urgent {
                    return false;
                }
                // Room for a few of these, and not for the events that come behind them.
                capacity = entry_bytes.max(URGENT_BYTES);
            }
            let bytes = Vec::with_capacity(capacity);
            self.bytes += bytes.capacity();
            self.chunks.push_back(Chunk { from_ms: now_ms, bytes, read: 0 });
        }
        let Some(chunk) = self.chunks.back_mut() else { return false };
        let since_ms = (now_ms - chunk.from_ms) as u32;
        chunk.bytes.extend_from_slice(&[label.tag, label.kind, name_bytes]);
        chunk.bytes.extend_from_slice(&since_ms.to_le_bytes());
        chunk.bytes.extend_from_slice(&content_bytes.to_le_bytes());
        chunk.bytes.extend_from_slice(name);
        chunk.bytes.extend_from_slice(content);
        true
    }

    /// When the oldest entry was put in.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        let chunk = self.chunks.iter().find(|chunk| chunk.read < chunk.bytes.len())?;
        let at = chunk.read + 3;
        Some(chunk.from_ms + u64::from(number(&chunk.bytes, at)))
    }

    /// Takes the oldest entry, if it was put in at `until_ms` or before.
    pub(super) fn pop(&mut self, until_ms: u64) -> Option<Entry<'_>> {
        while self.chunks.front().is_some_and(|chunk| chunk.read == chunk.bytes.len()) {
            let freed = self.chunks.pop_front();
            self.bytes -= freed.map_or(0, |chunk| chunk.bytes.capacity());
        }
        if self.oldest_ms()? > until_ms {
            return None;
        }
        let Chunk { bytes, read, .. } = self.chunks.front_mut()?;
        let label = Label { tag: bytes[*read], kind: bytes[*read + 1] };
        let name_at = *read + HEADER_BYTES;
        let content_at = name_at + usize::from(bytes[*read + 2]);
        let end = content_at + number(bytes, *read + 7) as usize;
        *read = end;
        Some(Entry { label, name: &bytes[name_at..content_at], content: &bytes[content_at..end] })
    }
}

/// The four bytes there.
fn number(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    u32::from_le_bytes(four.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::DELAY_MAX_DEFAULT_BYTES;

    const EVENT: Label = Label { tag: 0, kind: 3 };

    #[test]
    fn entries_come_out_in_order_once_they_are_due() {
        let mut ring = Ring::new(2 * CHUNK_BYTES);
        assert_eq!((ring.oldest_ms(), ring.pop(u64::MAX)), (None, None));
        assert!(ring.push(EVENT, b"A", b"first", 1_000, false) && ring.push(EVENT, b"", b"", 1_001, false));
        assert_eq!((ring.oldest_ms(), ring.pop(999)), (Some(1_000), None));
        assert_eq!(ring.pop(1_000), Some(Entry { label: EVENT, name: b"A", content: b"first" }));
        assert_eq!(ring.pop(1_000), None);
        assert_eq!(ring.pop(5_000).map(|entry| entry.name.len()), Some(0));
    }

    #[test]
    fn a_full_ring_takes_what_is_urgent_alone_until_a_chunk_is_free() {
        let mut ring = Ring::new(2 * CHUNK_BYTES);
        let content = vec![7; 1_000];
        let kept = (0..10_000).take_while(|n| ring.push(EVENT, b"A", &content, *n, false)).count();
        assert!((2_000..2_100).contains(&kept), "{kept}");
        assert_eq!(ring.bytes(), 2 * CHUNK_BYTES);
        assert!(ring.push(EVENT, b"", &content, 10_000, true));
        assert_eq!(ring.bytes(), 2 * CHUNK_BYTES + URGENT_BYTES);
        for n in 0..kept as u64 {
            assert!(ring.pop(n).is_some() && ring.pop(n).is_none(), "{n}");
        }
        assert!(ring.push(EVENT, b"B", &content, 10_000, false));
        assert_eq!(ring.bytes(), URGENT_BYTES);
    }

    /// The arithmetic of `DELAY_MAX_BYTES`, which the documents repeat: 15 minutes of 2,000 trades a second. Of the oldest chunk a part may be
    /// read already, and the newest is being filled.
    #[test]
    fn by_default_there_is_room_for_a_quarter_of_an_hour() {
        const EVENTS: usize = 15 * 60 * 2_000;
        let (name, payload) = (b"SYM42", [b' '; 130]);
        let entry_bytes = HEADER_BYTES + name.len() + payload.len();
        assert_eq!((HEADER_BYTES, EVENTS * entry_bytes), (11, 262_800_000));
        let mut ring = Ring::new(4 * CHUNK_BYTES);
        let kept = (0..).take_while(|n| ring.push(EVENT, name, &payload, *n, false)).count();
        let of_chunk = CHUNK_BYTES / entry_bytes;
        assert_eq!(kept, 4 * of_chunk, "nothing is lost but the rest of each chunk");
        let chunks = DELAY_MAX_DEFAULT_BYTES / CHUNK_BYTES;
        assert!((chunks - 2) * of_chunk >= EVENTS, "{chunks} chunks of {of_chunk}");
        assert!((chunks - 2) * of_chunk < EVENTS + EVENTS / 50, "and for little more");
    }

    #[test]
    fn an_entry_larger_than_a_chunk_has_one_of_its_own() {
        let mut ring = Ring::new(4 * CHUNK_BYTES);
        let content = vec![7; CHUNK_BYTES];
        assert!(ring.push(EVENT, b"A", &content, 1, false) && ring.push(EVENT, b"B", b"", 2, false));
        assert_eq!(ring.pop(1).map(|entry| entry.content.len()), Some(CHUNK_BYTES));
        assert_eq!(ring.pop(2).map(|entry| entry.name.len()), Some(1));
    }

    proptest! {
        /// Against a queue.
        #[test]
        fn it_is_a_queue(steps in prop::collection::vec((any::<bool>(), 0..3_u64, 0..200_000_usize), 1..200)) {
            let mut ring = Ring::new(8 * CHUNK_BYTES);
            let mut queue = VecDeque::new();
            let mut now_ms = 0;
            for (push, later_ms, length) in steps {
                now_ms += later_ms;
                let content = vec![length as u8; length];
                if push {
                    if ring.push(EVENT, b"name", &content, now_ms, false) {
                        queue.push_back((now_ms, content));
                    }
                } else {
                    let until_ms = now_ms.saturating_sub(4);
                    let due = queue.front().is_some_and(|(at_ms, _)| *at_ms <= until_ms);
                    let expected = if due { queue.pop_front() } else { None };
                    let found = ring.pop(until_ms).map(|entry| entry.content.to_vec());
                    prop_assert_eq!(found, expected.map(|(_, content)| content));
                }
                prop_assert_eq!(ring.oldest_ms(), queue.front().map(|(at_ms, _)| *at_ms));
                prop_assert!(ring.bytes() <= 8 * CHUNK_BYTES);
            }
        }
    }
}
