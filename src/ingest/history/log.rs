//! A circular log of bytes that all topics share: what one topic doesn't use, another does. Pure.
//!
//! Entries of one topic are chained backwards. Writing on overwrites the oldest entries of all; a position is a count of bytes
//! ever written, so whether an entry is still there is one comparison, and nothing has to be cleared when it goes.

/// Where an entry begins: bytes written to the log before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position(u64);

impl Position {
    /// No entry: the beginning of a chain.
    pub(super) const NONE: Self = Self(u64::MAX);
    /// An entry that was too large to be kept.
    pub(super) const LOST: Self = Self(u64::MAX - 1);
}

/// The previous entry of the topic, the arrival, the sequence number with [`CHECKED`], the payload's length.
const HEADER_BYTES: usize = 28;

/// Set in the stored sequence number of an entry that is known to keep the contract; sequence numbers are below 2^53.
const CHECKED: u64 = 1 << 63;

/// An entry as it lies in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'l> {
    /// The topic's entry before it.
    pub(super) previous: Position,
    /// When it arrived, in Unix milliseconds.
    pub(super) arrived_ms: u64,
    /// Its sequence number; only a guess unless `checked`.
    pub(super) seq: u64,
    /// Whether it is known to keep the contract.
    pub(super) checked: bool,
    /// The worker's bytes.
    pub(super) payload: &'l [u8],
}

/// The log. Its memory is asked for with the first entry, and the system gives pages only as they are written.
#[derive(Debug)]
pub(super) struct Log {
    bytes: Vec<u8>,
    capacity_bytes: usize,
    /// Bytes ever written, gaps at the end of a round included.
    end: u64,
}

impl Log {
    /// A log of at most `capacity_bytes` bytes; 0 = nothing is ever kept.
    pub(super) fn new(capacity_bytes: usize) -> Self {
        Self { bytes: Vec::new(), capacity_bytes, end: 0 }
    }

    /// Writes an entry behind `entry.previous` of its chain; [`Position::LOST`] if it is larger than the whole log.
    pub(super) fn append(&mut self, entry: &Entry<'_>) -> Position {
        let len = HEADER_BYTES + entry.payload.len();
        if len > self.capacity_bytes {
            return Position::LOST;
        }
        if self.bytes.is_empty() {
            self.bytes = vec![0; self.capacity_bytes];
        }
        let mut at = self.offset(self.end);
        if at + len > self.capacity_bytes {
            // An entry lies in one piece: the rest of the round stays unused.
            self.end += (self.capacity_bytes - at) as u64;
            at = 0;
        }
        let position = Position(self.end);
        let seq = entry.seq | if entry.checked { CHECKED } else { 0 };
        let (header, payload) = self.bytes[at..at + len].split_at_mut(HEADER_BYTES);
        header[..8].copy_from_slice(&entry.previous.0.to_le_bytes());
        header[8..16].copy_from_slice(&entry.arrived_ms.to_le_bytes());
        header[16..24].copy_from_slice(&seq.to_le_bytes());
        header[24..].copy_from_slice(&(entry.payload.len() as u32).to_le_bytes());
        payload.copy_from_slice(entry.payload);
        self.end += len as u64;
        position
    }

    /// The entry at a position that [`Log::append`] returned; `None` once it is overwritten.
    pub(super) fn get(&self, position: Position) -> Option<Entry<'_>> {
        let at = self.intact(position)?;
        let number = |from: usize| {
            let bytes = self.bytes[at + from..at + from + 8].try_into();
            bytes.map_or(0, u64::from_le_bytes)
        };
        let len = (number(20) >> 32) as usize;
        let seq = number(16);
        Some(Entry {
            previous: Position(number(0)),
            arrived_ms: number(8),
            seq: seq & !CHECKED,
            checked: seq & CHECKED != 0,
            payload: &self.bytes[at + HEADER_BYTES..at + HEADER_BYTES + len],
        })
    }

    /// Notes what a look at an entry has found: that it is good, and its sequence number.
    pub(super) fn set_checked(&mut self, position: Position, seq: u64) {
        if let Some(at) = self.intact(position) {
            self.bytes[at + 16..at + 24].copy_from_slice(&(seq | CHECKED).to_le_bytes());
        }
    }

    fn intact(&self, position: Position) -> Option<usize> {
        let oldest = self.end.saturating_sub(self.capacity_bytes as u64);
        (oldest..self.end).contains(&position.0).then(|| self.offset(position.0))
    }

    fn offset(&self, position: u64) -> usize {
        (position % self.capacity_bytes as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(previous: Position, n: u64, payload: &[u8]) -> Entry<'_> {
        Entry { previous, arrived_ms: n + 7, seq: n, checked: n.is_multiple_of(2), payload }
    }

    proptest! {
        #[test]
        fn an_entry_is_whole_or_gone(
            capacity in 0_usize..400,
            sizes in proptest::collection::vec(0_usize..120, 0..200),
        ) {
            let mut log = Log::new(capacity);
            let mut written: Vec<(Position, Position, Vec<u8>)> = Vec::new();
            let mut previous = Position::NONE;
            for (n, size) in sizes.into_iter().enumerate() {
                let payload = vec![n as u8; size];
                let at = log.append(&entry(previous, n as u64, &payload));
                if at != Position::LOST {
                    written.push((at, previous, payload));
                    previous = at;
                }
                // From the newest backwards: all there until the first that is gone, then none.
                let mut bytes = 0;
                let mut gone = false;
                for (n, (at, previous, payload)) in written.iter().enumerate().rev() {
                    match log.get(*at) {
                        Some(found) => {
                            prop_assert!(!gone);
                            prop_assert_eq!(found.previous, *previous);
                            prop_assert_eq!(found.payload, payload.as_slice());
                            bytes += HEADER_BYTES + found.payload.len();
                            prop_assert_eq!(found.arrived_ms, found.seq + 7);
                            prop_assert!(n < 256);
                        }
                        None => gone = true,
                    }
                }
                prop_assert!(bytes <= capacity);
            }
        }
    }

    #[test]
    fn what_a_look_has_found_is_kept() {
        let mut log = Log::new(1_000);
        assert_eq!(log.get(Position::NONE), None);
        let at = log.append(&entry(Position::NONE, 1, b"x"));
        assert!(!log.get(at).unwrap().checked);
        log.set_checked(at, 42);
        let found = log.get(at).unwrap();
        assert!(found.checked && found.seq == 42 && found.payload == b"x");
    }

    #[test]
    fn an_entry_beyond_the_log_is_not_kept() {
        assert_eq!(Log::new(10).append(&entry(Position::NONE, 1, b"")), Position::LOST);
        assert_eq!(Log::new(10).get(Position::LOST), None);
        assert_eq!(Log::new(0).get(Position(0)), None);
    }
}
