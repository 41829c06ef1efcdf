//! Events that nobody has asked for, as they came: those of all topics, one behind the other in a ring. Pure.
//!
//! Memory of each topic's own would be written so rarely that the processor waits for most of it. The ring is written from one end
//! to the other, and is no larger than the topics' rates call for. Before the ring writes over an event, the history has its topic look
//! into what is set aside of it, if it still is. When that happens to many events, the ring doubles.

use std::collections::VecDeque;

use super::Slot;
use crate::limits::{ASIDE_MAX_BYTES, ASIDE_MIN_BYTES, PENDING_BYTES};

const _: () = assert!(HEADER_BYTES + PENDING_BYTES <= ASIDE_MIN_BYTES, "the largest event fits");
const _: () = assert!(ASIDE_MIN_BYTES.is_power_of_two() && ASIDE_MAX_BYTES.is_power_of_two());

/// The place before it, the arrival, the payload's length, the topic's slot.
const HEADER_BYTES: usize = 24;

/// After so many events that were let go the ring judges its size.
const JUDGED_EVENTS: u32 = 1_024;
/// The ring doubles if more than one in so many of them was let go early.
const EARLY_PART: u32 = 16;

/// Where an event lies: bytes written to the ring before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

impl Place {
    /// No event: behind all others.
    pub(super) const NONE: Self = Self(u64::MAX);
}

impl Place {
    /// When the event came that lies here.
    pub(super) fn order(self) -> Order {
        Order { ring: self.0.saturating_add(1), counted: 0 }
    }
}

/// When an event came, compared to others of all topics: no clock's time, which may stand still or go back. An event that is set aside
/// comes behind all that came before the ring had reached its place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    /// How far the ring was written.
    ring: u64,
    /// Among the events that came meanwhile and were not set aside.
    counted: u64,
}

/// An event as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventAside<'r> {
    /// Its topic.
    pub(super) slot: Slot,
    /// The event of its topic before it.
    pub(super) previous: Place,
    /// When it arrived, in Unix milliseconds.
    pub(super) arrived_ms: u64,
    /// The worker's bytes.
    pub(super) payload: &'r [u8],
}

/// The ring.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// As many as the ring is large; none before the first event.
    bytes: Vec<u8>,
    /// Where the oldest event lies.
    begin: u64,
    /// Bytes ever written, gaps at the end of a round included.
    end: u64,
    /// Events that came and were not set aside.
    counted: u64,
    /// The bytes at the ends of rounds that no event fitted into: from where to where, the oldest first.
    gaps: VecDeque<(u64, u64)>,
    /// Events let go since the ring last judged its size, and those of them that their topics had not looked into.
    let_go: u32,
    let_go_early: u32,
}

impl Aside {
    /// When an event comes that is taken now without being set aside.
    pub(super) fn order_now(&mut self) -> Order {
        self.counted += 1;
        Order { ring: self.end, counted: self.counted }
    }

    /// Whether an event of so many bytes, below [`PENDING_BYTES`], fits without that an older one is let go.
    pub(super) fn has_room(&self, payload_bytes: usize) -> bool {
        let len = (HEADER_BYTES + payload_bytes) as u64;
        self.start_of(len) + len - self.begin <= self.capacity()
    }

    /// The oldest event: where it lies, and its topic.
    pub(super) fn oldest(&self) -> Option<(Place, Slot)> {
        (self.begin < self.end).then(|| (Place(self.begin), self.get(Place(self.begin)).slot))
    }

    /// Lets the oldest event go. `is_early`: its topic had not looked into it yet.
    pub(super) fn let_oldest_go(&mut self, is_early: bool) {
        if self.begin == self.end {
            return;
        }
        self.begin += (HEADER_BYTES + self.get(Place(self.begin)).payload.len()) as u64;
        if let Some((_, to)) = self.gaps.pop_front_if(|(from, _)| *from == self.begin) {
            self.begin = to;
        }
        self.let_go += 1;
        self.let_go_early += u32::from(is_early);
        if self.let_go == JUDGED_EVENTS {
            if self.let_go_early > JUDGED_EVENTS / EARLY_PART && self.bytes.len() < ASIDE_MAX_BYTES {
                self.grow(2 * self.bytes.len());
            }
            (self.let_go, self.let_go_early) = (0, 0);
        }
    }

    /// Sets an event aside, for which there has to be room.
    pub(super) fn push(&mut self, event: &EventAside<'_>) -> Place {
        if self.bytes.is_empty() {
            self.bytes = vec![0; ASIDE_MIN_BYTES];
        }
        let len = HEADER_BYTES + event.payload.len();
        let start = self.start_of(len as u64);
        if self.begin == self.end {
            self.begin = start;
        } else if start != self.end {
            self.gaps.push_back((self.end, start));
        }
        let at = self.offset(start);
        let (header, payload) = self.bytes[at..at + len].split_at_mut(HEADER_BYTES);
        header[..8].copy_from_slice(&event.previous.0.to_le_bytes());
        header[8..16].copy_from_slice(&event.arrived_ms.to_le_bytes());
        header[16..20].copy_from_slice(&(event.payload.len() as u32).to_le_bytes());
        header[20..].copy_from_slice(&event.slot.0.to_le_bytes());
        payload.copy_from_slice(event.payload);
        self.end = start + len as u64;
        Place(start)
    }

    /// The event at a place that [`Aside::push`] returned, as long as it has not been let go.
    pub(super) fn get(&self, place: Place) -> EventAside<'_> {
        debug_assert!((self.begin..self.end).contains(&place.0), "an event that is there");
        let at = self.offset(place.0);
        let number = |from: usize| {
            let bytes = self.bytes[at + from..at + from + 8].try_into();
            bytes.map_or(0, u64::from_le_bytes)
        };
        let (length_and_slot, previous, arrived_ms) = (number(16), Place(number(0)), number(8));
        let payload_bytes = length_and_slot as u32 as usize;
        EventAside {
            slot: Slot((length_and_slot >> 32) as u32),
            previous,
            arrived_ms,
            payload: &self.bytes[at + HEADER_BYTES..at + HEADER_BYTES + payload_bytes],
        }
    }

    /// Where an event of so many bytes would lie: in one piece, so perhaps at the beginning of the next round.
    fn start_of(&self, len: u64) -> u64 {
        let left = self.capacity() - self.end % self.capacity();
        if len <= left { self.end } else { self.end + left }
    }

    /// Makes the ring twice as large. What lay in one piece still does, as each round becomes half of one.
    fn grow(&mut self, bytes: usize) {
        let old = std::mem::replace(&mut self.bytes, vec![0; bytes]);
        let old_bytes = old.len() as u64;
        let mut from = self.begin;
        while from < self.end {
            let at = (from % old_bytes) as usize;
            let len = (self.end - from).min(old_bytes - at as u64) as usize;
            let to = self.offset(from);
            self.bytes[to..to + len].copy_from_slice(&old[at..at + len]);
            from += len as u64;
        }
    }

    fn capacity(&self) -> u64 {
        self.bytes.len().max(ASIDE_MIN_BYTES) as u64
    }

    fn offset(&self, position: u64) -> usize {
        (position % self.capacity()) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| (0..PENDING_BYTES + 256).map(|at| at as u8).collect());

    /// An event of `len` bytes: the `n`th of all.
    fn payload(n: usize, len: usize) -> &'static [u8] {
        let start = n * 31 % 256;
        &BYTES[start..start + len]
    }

    fn event(n: usize, previous: Place, payload: &[u8]) -> EventAside<'_> {
        let slot = Slot(n as u32 % 7);
        EventAside { slot, previous, arrived_ms: n as u64, payload }
    }

    proptest! {
        #[test]
        fn what_is_not_let_go_is_as_it_was(
            sizes in proptest::collection::vec(prop_oneof![1 => 0..PENDING_BYTES, 3 => 100..200_usize], 1..3_000),
            early_part in prop::sample::select(&[1_usize, 8, 1_000][..]),
        ) {
            let mut ring = Aside::default();
            let mut held: VecDeque<(usize, Place, Place)> = VecDeque::new();
            let mut previous = Place::NONE;
            for (n, len) in sizes.iter().enumerate() {
                while !ring.has_room(*len) {
                    let (oldest, at, before) = held.pop_front().expect("an event in the way");
                    let bytes = payload(oldest, sizes[oldest]);
                    prop_assert_eq!(ring.oldest(), Some((at, Slot(oldest as u32 % 7))));
                    prop_assert_eq!(ring.get(at), event(oldest, before, bytes));
                    ring.let_oldest_go(oldest.is_multiple_of(early_part));
                }
                let bytes = payload(n, *len);
                let at = ring.push(&event(n, previous, bytes));
                held.push_back((n, at, previous));
                previous = at;
            }
            let held_bytes: usize = held.iter().map(|(n, ..)| sizes[*n]).sum();
            prop_assert!(held_bytes <= ring.bytes.len() && ring.bytes.len() <= ASIDE_MAX_BYTES);
            for (n, at, before) in held {
                let bytes = payload(n, sizes[n]);
                prop_assert_eq!(ring.get(at), event(n, before, bytes));
            }
        }
    }

    /// Sets events of a hundred bytes aside, of which one in `early_part` is let go early; returns how large the ring is then.
    fn size_after(events: usize, early_part: usize) -> usize {
        let mut ring = Aside::default();
        let bytes = payload(0, 100);
        for n in 0..events {
            while !ring.has_room(bytes.len()) {
                ring.let_oldest_go(n.is_multiple_of(early_part));
            }
            ring.push(&event(n, Place::NONE, bytes));
        }
        ring.bytes.len()
    }

    #[test]
    fn the_ring_is_as_large_as_it_has_to_be() {
        assert_eq!(Aside::default().bytes.len(), 0);
        assert_eq!(size_after(100_000, 20), ASIDE_MIN_BYTES, "a slow topic or two among others");
        assert_eq!(size_after(500_000, 1), ASIDE_MAX_BYTES);
    }
}
