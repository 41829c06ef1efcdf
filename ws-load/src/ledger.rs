//! The bookkeeping: whether every connection got every event of its symbols once, in order. Pure.
//!
//! Each (connection, symbol) is a slot that knows the next sequence number. One that jumps leaves a hole, counted as
//! missing; one that falls into a hole was out of order, one that doesn't was repeated. An announced loss moves the
//! slot on by as many.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Range};

use serde::{Deserialize, Serialize};

use super::crowd::Crowd;

/// Holes that are remembered, to tell late events from repeated ones. Beyond it late ones count as repeated (and stay
/// missing): there is nothing left to be fine about then.
const HOLES_MAX: usize = 65_536;

/// What became of the events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Came, for the first time.
    pub delivered: u64,
    /// Should have come, and didn't; nobody said so.
    pub missing: u64,
    /// Came again.
    pub repeated: u64,
    /// Came, but after a later one of the same symbol. They are among the delivered.
    pub out_of_order: u64,
    /// Didn't come, and the server said how many.
    pub announced: u64,
    /// Came to a connection that wasn't subscribed, or before the reply to its subscribe.
    pub uninvited: u64,
}

impl Counts {
    /// Whether the server kept what it promises: nothing lost in silence, nothing twice, nothing late, nothing strange.
    pub fn is_clean(&self) -> bool {
        let Self { missing, repeated, out_of_order, uninvited, .. } = *self;
        missing + repeated + out_of_order + uninvited == 0
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.missing += other.missing;
        self.repeated += other.repeated;
        self.out_of_order += other.out_of_order;
        self.announced += other.announced;
        self.uninvited += other.uninvited;
    }
}

/// Where a connection stands with its churned symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// Not subscribed: no event may come.
    Off,
    /// Subscribe sent, no reply yet: no event may come, unless the dialect allows it.
    Joining,
    /// Subscribed: every event has to come, from the first one on.
    On,
    /// Unsubscribe sent: events may still come.
    Leaving,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    symbol: u32,
    holding: Holding,
    /// The next sequence number; 0 = whatever comes, after joining under way.
    next: u64,
}

/// The books of a range of connections.
#[derive(Debug)]
pub struct Ledger {
    slots: Vec<Slot>,
    /// Slots of a connection: the fixed ones in the order of their symbols, then the churned one.
    fixed: usize,
    width: usize,
    /// Whether an event may come before the reply to its subscribe.
    has_early_events: bool,
    counts: Counts,
    /// Those of the announced whose symbols weren't named.
    unnamed: u64,
    holes: Holes,
}

impl Ledger {
    /// Opens the books of `connections` of a crowd; they are numbered from 0 here. `has_early_events`: an event may come before
    /// the reply to its subscribe.
    pub fn new(crowd: &Crowd, connections: Range<u32>, has_early_events: bool) -> Self {
        let mut slots = Vec::new();
        let (mut fixed, mut width) = (0, 0);
        for connection in connections {
            let (symbols, churned) = crowd.symbols_of(connection);
            fixed = symbols.len();
            width = fixed + usize::from(churned.is_some());
            slots.extend(symbols.iter().map(|&symbol| Slot { symbol, holding: Holding::On, next: 1 }));
            slots.extend(churned.map(|symbol| Slot { symbol, holding: Holding::Off, next: 0 }));
        }
        let counts = Counts::default();
        Self { slots, fixed, width, has_early_events, counts, unnamed: 0, holes: Holes::default() }
    }

    /// An event has come. True if it is a delivery: expected, and for the first time.
    #[inline]
    pub fn event(&mut self, connection: usize, symbol: u32, seq: u64) -> bool {
        let slot = self.slot(connection, symbol).filter(|&slot| self.is_invited(slot));
        let Some(slot) = slot else {
            self.counts.uninvited += 1;
            return false;
        };
        let next = &mut self.slots[slot].next;
        if seq == *next {
            *next += 1;
            self.counts.delivered += 1;
            return true;
        }
        self.odd_event(slot, seq)
    }

    #[cold]
    fn odd_event(&mut self, slot: usize, seq: u64) -> bool {
        let next = self.slots[slot].next;
        if next == 0 || seq > next {
            if next != 0 {
                self.counts.missing += seq - next;
                self.holes.dig(slot, next..seq);
            }
            self.slots[slot].next = seq + 1;
        } else if self.holes.fill(slot, seq) {
            self.counts.missing -= 1;
            self.counts.out_of_order += 1;
        } else {
            self.counts.repeated += 1;
            return false;
        }
        self.counts.delivered += 1;
        true
    }

    /// The server announced that it left out `count` events of a symbol.
    pub fn skipped(&mut self, connection: usize, symbol: u32, count: u64) {
        match self.slot(connection, symbol) {
            Some(slot) => {
                self.counts.announced += count;
                if self.slots[slot].next != 0 {
                    self.slots[slot].next += count;
                }
            }
            None => self.counts.uninvited += 1,
        }
    }

    /// The server announced that it left out `count` events, of whichever symbols.
    pub fn skipped_of_any(&mut self, count: u64) {
        self.counts.announced += count;
        self.unnamed += count;
    }

    /// The last number that a connection has heard of a symbol that it holds throughout.
    pub fn heard(&self, connection: usize, symbol: u32) -> u64 {
        self.slot(connection, symbol).map_or(0, |slot| self.slots[slot].next.saturating_sub(1))
    }

    /// Where a connection stands with its churned symbol, and which one that is.
    pub fn churned(&self, connection: usize) -> Option<(u32, Holding)> {
        let slot = &self.slots[self.churned_slot(connection)?];
        Some((slot.symbol, slot.holding))
    }

    /// The connection's relation to its churned symbol has changed.
    pub fn turn(&mut self, connection: usize, holding: Holding) {
        if let Some(slot) = self.churned_slot(connection) {
            self.slots[slot].holding = holding;
            if holding == Holding::Joining {
                self.slots[slot].next = 0;
            }
        }
    }

    /// Whether everything has come that was published; `last` has each symbol's last sequence number.
    pub fn is_complete(&self, last: &[u64]) -> bool {
        self.slots.iter().all(|slot| slot.lacks(last) == 0)
    }

    /// Closes the books: what hasn't come by now is missing.
    pub fn close(mut self, last: &[u64]) -> Counts {
        self.counts.missing += self.slots.iter().map(|slot| slot.lacks(last)).sum::<u64>();
        // What was announced without a symbol is among what is missing.
        self.counts.missing = self.counts.missing.saturating_sub(self.unnamed);
        self.counts
    }

    /// How things stand.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many deliveries the held symbols call for in all; the churned ones come on top.
    pub fn expected(&self, last: &[u64]) -> u64 {
        let fixed = self.slots.chunks(self.width.max(1)).flat_map(|slots| &slots[..self.fixed]);
        fixed.map(|slot| last.get(slot.symbol as usize).copied().unwrap_or_default()).sum()
    }

    fn is_invited(&self, slot: usize) -> bool {
        match self.slots[slot].holding {
            Holding::On | Holding::Leaving => true,
            Holding::Joining => self.has_early_events,
            Holding::Off => false,
        }
    }

    fn slot(&self, connection: usize, symbol: u32) -> Option<usize> {
        let begin = connection * self.width;
        let fixed = self.slots.get(begin..begin + self.fixed)?;
        match fixed.binary_search_by_key(&symbol, |slot| slot.symbol) {
            Ok(at) => Some(begin + at),
            Err(_) => self.churned_slot(connection).filter(|&slot| self.slots[slot].symbol == symbol),
        }
    }

    fn churned_slot(&self, connection: usize) -> Option<usize> {
        (self.width > self.fixed).then(|| connection * self.width + self.fixed)
    }
}

impl Slot {
    /// How many events behind `last` it is.
    fn lacks(&self, last: &[u64]) -> u64 {
        let last = last.get(self.symbol as usize).copied().unwrap_or_default();
        match (self.holding, self.next) {
            (Holding::On, next @ 1..) => (last + 1).saturating_sub(next),
            _ => 0,
        }
    }
}

/// Sequence numbers that were jumped over: (slot, first) → last.
#[derive(Debug, Default)]
struct Holes(BTreeMap<(usize, u64), u64>);

impl Holes {
    fn dig(&mut self, slot: usize, seqs: Range<u64>) {
        if self.0.len() < HOLES_MAX {
            self.0.insert((slot, seqs.start), seqs.end - 1);
        }
    }

    /// Whether a number lay in a hole; then it does no longer.
    fn fill(&mut self, slot: usize, seq: u64) -> bool {
        let Some((&(of, first), &last)) = self.0.range(..=(slot, seq)).next_back() else { return false };
        if of != slot || last < seq {
            return false;
        }
        self.0.remove(&(of, first));
        if first < seq {
            self.0.insert((slot, first), seq - 1);
        }
        if seq < last {
            self.0.insert((slot, seq + 1), last);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::crowd::tests::crowd;
    use super::*;

    /// Two connections, both on symbols 0 and 1 of two.
    fn ledger() -> Ledger {
        Ledger::new(&crowd(2, 2, 2), 0..2, false)
    }

    #[test]
    fn everything_once_and_in_order_is_clean() {
        let mut ledger = ledger();
        for connection in 0..2 {
            for seq in 1..=3 {
                assert!(ledger.event(connection, 0, seq) && ledger.event(connection, 1, seq));
            }
        }
        assert!(ledger.is_complete(&[3, 3]) && !ledger.is_complete(&[3, 4]));
        assert_eq!(ledger.expected(&[3, 3]), 12);
        let counts = ledger.close(&[3, 3]);
        assert_eq!(counts, Counts { delivered: 12, ..Counts::default() });
        assert!(counts.is_clean());
    }

    #[test]
    fn a_gap_and_a_missing_end_are_missing() {
        let mut ledger = ledger();
        for seq in [1, 2, 5] {
            ledger.event(0, 0, seq);
        }
        assert_eq!(ledger.counts().missing, 2);
        let counts = ledger.close(&[6, 0]);
        assert_eq!((counts.delivered, counts.missing), (3, 2 + 1 + 6));
        assert!(!counts.is_clean());
    }

    #[test]
    fn late_is_not_repeated() {
        let mut ledger = ledger();
        for seq in [1, 5, 3, 3, 2, 1, 4] {
            ledger.event(0, 0, seq);
        }
        let counts = ledger.counts();
        assert_eq!((counts.delivered, counts.missing, counts.out_of_order, counts.repeated), (5, 0, 3, 2));
        assert!(!counts.is_clean());
    }

    #[test]
    fn an_announced_loss_is_no_silent_one() {
        let mut ledger = ledger();
        ledger.event(0, 0, 1);
        ledger.skipped(0, 0, 10);
        assert!(ledger.event(0, 0, 12));
        let counts = ledger.counts();
        assert_eq!((counts.delivered, counts.announced, counts.missing), (2, 10, 0));
        assert!(counts.is_clean());
    }

    #[test]
    fn a_loss_may_be_announced_without_a_symbol() {
        let mut ledger = ledger();
        ledger.event(0, 0, 1);
        ledger.event(0, 0, 4);
        ledger.skipped_of_any(3);
        assert_eq!((ledger.heard(0, 0), ledger.heard(0, 1)), (4, 0));
        let counts = ledger.close(&[4, 1]);
        assert_eq!((counts.announced, counts.missing), (3, 2 + 1 + 4 + 1 - 3));
    }

    #[test]
    fn a_wrong_announcement_shows() {
        let mut ledger = ledger();
        ledger.event(0, 0, 1);
        ledger.skipped(0, 0, 2);
        ledger.event(0, 0, 5);
        assert_eq!(ledger.counts().missing, 1);
        ledger.skipped(0, 0, 2);
        ledger.event(0, 0, 7);
        assert_eq!(ledger.counts().repeated, 1);
    }

    #[test]
    fn other_peoples_events_are_uninvited() {
        let mut ledger = Ledger::new(&crowd(1, 100, 1), 0..1, false);
        let (held, _) = crowd(1, 100, 1).symbols_of(0);
        assert!(!ledger.event(0, (held[0] + 1) % 100, 1));
        ledger.skipped(0, (held[0] + 1) % 100, 1);
        assert_eq!(ledger.counts(), Counts { uninvited: 2, ..Counts::default() });
    }

    #[test]
    fn a_symbol_that_comes_and_goes_counts_from_its_first_event() {
        let crowd = Crowd { churn_per_second: 1, ..crowd(1, 3, 2) };
        let mut ledger = Ledger::new(&crowd, 0..1, false);
        let (symbol, holding) = ledger.churned(0).unwrap();
        assert_eq!(holding, Holding::Off);
        ledger.event(0, symbol, 10);
        ledger.turn(0, Holding::Joining);
        ledger.event(0, symbol, 11);
        assert_eq!(ledger.counts().uninvited, 2, "neither before the subscribe nor before its reply");
        ledger.turn(0, Holding::On);
        assert!(ledger.event(0, symbol, 50) && ledger.event(0, symbol, 52));
        ledger.turn(0, Holding::Leaving);
        assert!(ledger.event(0, symbol, 53));
        ledger.turn(0, Holding::Off);
        assert!(!ledger.event(0, symbol, 54), "not after the reply to the unsubscribe");
        ledger.turn(0, Holding::Joining);
        ledger.turn(0, Holding::On);
        assert!(ledger.is_complete(&[0, 0, 0]), "what was published before it joined is not owed");
        assert!(ledger.event(0, symbol, 80));
        let counts = ledger.counts();
        assert_eq!((counts.delivered, counts.missing, counts.uninvited), (4, 1, 3));
        let mut last = [0; 3];
        last[symbol as usize] = 82;
        assert_eq!(ledger.expected(&last), 0);
        assert_eq!(ledger.close(&last).missing, 1 + 2);
    }

    #[test]
    fn early_events_are_a_matter_of_the_dialect() {
        let crowd = Crowd { churn_per_second: 1, ..crowd(1, 3, 2) };
        let mut ledger = Ledger::new(&crowd, 0..1, true);
        let (symbol, _) = ledger.churned(0).unwrap();
        ledger.turn(0, Holding::Joining);
        assert!(ledger.event(0, symbol, 11));
        ledger.turn(0, Holding::On);
        assert!(ledger.event(0, symbol, 12));
        assert!(ledger.counts().is_clean());
    }

    #[test]
    fn a_part_of_a_crowd_has_its_own_symbols() {
        let crowd = crowd(100, 1000, 3);
        let mut ledger = Ledger::new(&crowd, 40..60, false);
        let (symbols, _) = crowd.symbols_of(59);
        assert!(symbols.iter().all(|&symbol| ledger.event(19, symbol, 1)));
    }

    #[test]
    fn the_memory_of_holes_is_bounded() {
        let mut ledger = Ledger::new(&crowd(1, 1, 1), 0..1, false);
        for n in 1..=(HOLES_MAX as u64 + 10) {
            ledger.event(0, 0, 2 * n);
        }
        assert_eq!(ledger.holes.0.len(), HOLES_MAX);
        assert_eq!(ledger.counts().missing, HOLES_MAX as u64 + 10);
    }
}
