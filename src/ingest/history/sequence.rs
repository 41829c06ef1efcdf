//! The sequence numbers of one topic: what follows, what is missing, what comes late, what is a repeat. Pure.
//!
//! A topic has a window of the last [`SEQ_WINDOW`] numbers, one bit each. What is in it and has not come yet may still come. Below it
//! nothing is known, so an event there is a repeat, or its worker has restarted its numbers: its `timestamp` decides.

use crate::limits::SEQ_WINDOW;
use crate::market::Numbering;

/// A worker's `timestamp`, comparable: whole part and billionths. Integers of 64 bits are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timestamp(i64, u32);

impl Timestamp {
    /// Reads a JSON number.
    pub(super) fn parse(number: &str) -> Self {
        if let Ok(whole) = number.parse() {
            return Self(whole, 0);
        }
        let value: f64 = number.parse().unwrap_or_default();
        // `as` saturates: numbers beyond 64 bits are all equally far away.
        Self(value.floor() as i64, ((value - value.floor()) * 1e9) as u32)
    }
}

/// How an event follows those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The next one, the first one, or one without a `seq`.
    Next,
    /// Sequence numbers are missing before it.
    Gap {
        /// The first one missing.
        from: u64,
        /// The last one missing.
        to: u64,
    },
    /// It was missing, and newer ones have come.
    Late,
    /// The worker has restarted its numbers.
    Restart,
    /// It has been there already.
    Repeat,
}

impl Verdict {
    /// Whether the event is newer than all before it.
    pub fn is_newest(self) -> bool {
        match self {
            Self::Next | Self::Gap { .. } | Self::Restart => true,
            Self::Late | Self::Repeat => false,
        }
    }
}

/// Which numbers of a topic have come since its worker last restarted them.
#[derive(Debug, Clone, Default)]
pub(super) struct Sequence {
    window: Option<Window>,
    /// The highest number from before the last restart that was seen.
    ended: Option<u64>,
}

#[derive(Debug, Clone)]
struct Window {
    last: u64,
    /// Bit n: the event `last - n` has come.
    seen: u64,
    /// Bit n: an event that seems to be `last - n` has come, and has not been looked into.
    claimed: u64,
    /// The newest `timestamp` of all that have come.
    newest: Timestamp,
}

impl Window {
    fn beginning_with(seq: u64, timestamp: Timestamp) -> Self {
        Self { last: seq, seen: 1, claimed: 0, newest: timestamp }
    }

    /// The bit of a number; `None` if it is outside.
    fn bit(&self, seq: u64) -> Option<u64> {
        let behind = self.last.checked_sub(seq)?;
        (behind < SEQ_WINDOW).then(|| 1 << behind)
    }

    /// Moves on to a higher number.
    fn advance(&mut self, seq: u64) {
        let by = seq - self.last;
        let moved = |bits: u64| if by < SEQ_WINDOW { bits << by } else { 0 };
        self.seen = moved(self.seen) | 1;
        self.claimed = moved(self.claimed);
        self.last = seq;
    }
}

impl Sequence {
    /// The last number.
    pub(super) fn last_seq(&self) -> Option<u64> {
        self.window.as_ref().map(|window| window.last)
    }

    /// Whether a number may be from before a restart: then it says nothing about what its owner has missed.
    pub(super) fn is_ambiguous(&self, seq: u64) -> bool {
        self.ended.is_some_and(|ended| seq <= ended)
    }

    /// Judges an event, and counts it unless it is a repeat. An event without a `timestamp` counts as old as the newest before it.
    pub(super) fn judge(&mut self, seq: u64, timestamp: &str, numbering: Numbering) -> Verdict {
        let newest = self.window.as_ref().map(|window| window.newest);
        let timestamp =
            newest.filter(|_| timestamp.is_empty()).unwrap_or_else(|| Timestamp::parse(timestamp));
        let Some(window) = &mut self.window else {
            self.window = Some(Window::beginning_with(seq, timestamp));
            return Verdict::Next;
        };
        if let Some(from) = seq.checked_sub(window.last).and_then(|by| (by > 0).then_some(window.last + 1)) {
            window.advance(seq);
            window.newest = window.newest.max(timestamp);
            let is_gap = seq > from && numbering == Numbering::Contiguous;
            return if is_gap { Verdict::Gap { from, to: seq - 1 } } else { Verdict::Next };
        }
        let has_restarted = match window.bit(seq) {
            Some(bit) if window.seen & bit == 0 => {
                window.seen |= bit;
                window.newest = window.newest.max(timestamp);
                return Verdict::Late;
            }
            Some(_) => timestamp > window.newest,
            None => timestamp >= window.newest,
        };
        if !has_restarted {
            return Verdict::Repeat;
        }
        self.ended = self.ended.max(Some(window.last));
        self.window = Some(Window::beginning_with(seq, timestamp));
        Verdict::Restart
    }

    /// An event that has not been looked into seems to have a number at or below the last one.
    pub(super) fn claim(&mut self, seq: u64) {
        if let Some(window) = &mut self.window {
            window.claimed |= window.bit(seq).unwrap_or_default() & !window.seen;
        }
    }

    /// An event that came before and is looked into now is good, and has that number.
    pub(super) fn confirm(&mut self, seq: u64, timestamp: &str) {
        if let Some(window) = &mut self.window
            && let Some(bit) = window.bit(seq)
        {
            window.seen |= bit;
            window.newest = window.newest.max(Timestamp::parse(timestamp));
        }
    }

    /// All events that came have been looked into, or, if `is_lost`, can't be any more: then they count as what they seemed to be,
    /// as nearly all of them were.
    pub(super) fn end_claims(&mut self, is_lost: bool) {
        if let Some(window) = &mut self.window {
            let claimed = std::mem::take(&mut window.claimed);
            window.seen |= if is_lost { claimed } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timestamps_compare_as_numbers() {
        let ordered =
            ["-1e300", "-2", "-1.5", "0", "0.25", "1", "9007199254740993", "9007199254740994", "1e300"];
        for pair in ordered.windows(2) {
            assert!(Timestamp::parse(pair[0]) < Timestamp::parse(pair[1]), "{pair:?}");
        }
        assert_eq!(Timestamp::parse("1"), Timestamp::parse("1.0"));
        assert_eq!(Timestamp::parse("1e3"), Timestamp::parse("1000"));
    }

    /// Numbers with their timestamps, and what becomes of each.
    fn judged(numbering: Numbering, events: &[(u64, u64)]) -> Vec<Verdict> {
        let mut sequence = Sequence::default();
        let judge = |(seq, timestamp): &(u64, u64)| sequence.judge(*seq, &timestamp.to_string(), numbering);
        events.iter().map(judge).collect()
    }

    #[test]
    fn gaps_late_ones_repeats_and_restarts_are_told_apart() {
        use Verdict::{Gap, Late, Next, Repeat, Restart};
        let contiguous = |events: &[_]| judged(Numbering::Contiguous, events);
        let ordered = [(7, 100), (8, 100), (8, 100), (12, 101), (10, 101), (10, 101), (13, 101)];
        let verdicts = [Next, Next, Repeat, Gap { from: 9, to: 11 }, Late, Repeat, Next];
        assert_eq!(contiguous(&ordered), verdicts);
        // Two that overtake each other: 3 was delivered, so nothing is missing before 4.
        assert_eq!(contiguous(&[(1, 1), (3, 1), (2, 1), (4, 1)]), [Next, Gap { from: 2, to: 2 }, Late, Next]);
        // A worker that restarts within the timestamp of its last event.
        assert_eq!(contiguous(&[(100, 5), (1, 5), (2, 5)]), [Next, Restart, Next]);
        // In the window only a newer one shows a restart, below it an older one a repeat.
        assert_eq!(contiguous(&[(9, 5), (9, 6), (10, 6)]), [Next, Restart, Next]);
        assert_eq!(contiguous(&[(100, 5), (36, 4), (37, 4), (37, 4)]), [Next, Repeat, Late, Repeat]);
    }

    /// Custom types need no `timestamp`.
    #[test]
    fn an_event_without_a_timestamp_is_as_old_as_the_newest() {
        use Verdict::{Next, Repeat, Restart};
        let mut sequence = Sequence::default();
        for (seq, timestamp, verdict) in [
            (100, "", Next),
            (1, "", Restart),
            (1, "", Repeat),
            (100, "5", Next),
            (100, "", Repeat),
            (101, "", Next),
            (2, "", Restart),
            (2, "5", Repeat),
            (2, "6", Restart),
        ] {
            let judged = sequence.judge(seq, timestamp, Numbering::Monotonic);
            assert_eq!(judged, verdict, "{seq} at {timestamp:?}");
        }
    }

    #[test]
    fn monotonic_numbers_have_no_gaps() {
        use Verdict::{Late, Next, Repeat, Restart};
        let events = [(5_000, 1), (9_000, 2), (8_990, 2), (8_990, 2), (60, 2), (70, 3)];
        assert_eq!(judged(Numbering::Monotonic, &events), [Next, Next, Late, Repeat, Restart, Next]);
    }

    #[test]
    fn what_was_before_a_restart_is_ambiguous() {
        let mut sequence = Sequence::default();
        for (seq, timestamp, is_restart) in
            [(12, "1", false), (12, "2", true), (1, "2", false), (1, "3", true)]
        {
            let verdict = sequence.judge(seq, timestamp, Numbering::Contiguous);
            assert_eq!(verdict == Verdict::Restart, is_restart, "{seq} at {timestamp}");
        }
        assert!(sequence.is_ambiguous(12) && !sequence.is_ambiguous(13));
        assert_eq!(sequence.last_seq(), Some(1));
    }

    #[test]
    fn what_only_seems_to_have_come_is_settled_by_a_look() {
        for (is_lost, expected) in [(false, Verdict::Late), (true, Verdict::Repeat)] {
            let mut sequence = Sequence::default();
            for seq in [1, 4] {
                sequence.judge(seq, "9", Numbering::Monotonic);
            }
            sequence.claim(2);
            sequence.claim(3);
            sequence.confirm(2, "9");
            sequence.end_claims(is_lost);
            assert_eq!(sequence.judge(2, "9", Numbering::Monotonic), Verdict::Repeat);
            assert_eq!(sequence.judge(3, "9", Numbering::Monotonic), expected);
        }
    }

    /// The contract's words, with a set of all numbers instead of a window of bits.
    #[derive(Default)]
    struct Naive {
        seen: BTreeSet<u64>,
        newest: u64,
    }

    impl Naive {
        fn judge(&mut self, seq: u64, timestamp: u64, numbering: Numbering) -> Verdict {
            let Some(last) = self.seen.last().copied() else {
                return self.count(seq, timestamp, Verdict::Next);
            };
            if seq > last {
                let is_gap = numbering == Numbering::Contiguous && seq > last + 1;
                let verdict =
                    if is_gap { Verdict::Gap { from: last + 1, to: seq - 1 } } else { Verdict::Next };
                return self.count(seq, timestamp, verdict);
            }
            let is_in_window = seq + 63 >= last;
            if is_in_window && !self.seen.contains(&seq) {
                return self.count(seq, timestamp, Verdict::Late);
            }
            let is_repeat = if is_in_window { timestamp <= self.newest } else { timestamp < self.newest };
            if is_repeat {
                return Verdict::Repeat;
            }
            *self = Self::default();
            self.count(seq, timestamp, Verdict::Restart)
        }

        fn count(&mut self, seq: u64, timestamp: u64, verdict: Verdict) -> Verdict {
            self.seen.insert(seq);
            self.newest = self.newest.max(timestamp);
            verdict
        }
    }

    proptest! {
        #[test]
        fn verdicts_are_those_of_the_contract(
            numbering in prop::sample::select(vec![Numbering::Contiguous, Numbering::Monotonic]),
            steps in prop::collection::vec((prop_oneof![4 => 1_i64..3, 2 => -5_i64..6, 1 => -70_i64..70, 1 => -500_i64..500], 0_u64..4), 1..200),
        ) {
            let (mut sequence, mut naive) = (Sequence::default(), Naive::default());
            let mut at = 300_u64;
            let mut announced = BTreeSet::new();
            let mut delivered = BTreeSet::new();
            for (n, (step, lag)) in steps.into_iter().enumerate() {
                at = at.saturating_add_signed(step);
                let timestamp = (n as u64 / 3).saturating_sub(lag);
                let verdict = sequence.judge(at, &timestamp.to_string(), numbering);
                prop_assert_eq!(verdict, naive.judge(at, timestamp, numbering), "{} at {}", at, timestamp);
                match verdict {
                    Verdict::Restart => {
                        announced.clear();
                        delivered.clear();
                    }
                    Verdict::Gap { from, to } => {
                        for missing in from..=to {
                            prop_assert!(announced.insert(missing), "a gap is announced once");
                            prop_assert!(!delivered.contains(&missing), "and never for what was delivered");
                        }
                    }
                    _ => {}
                }
                if verdict != Verdict::Repeat {
                    prop_assert!(delivered.insert(at), "each number is delivered once");
                }
                at = sequence.last_seq().unwrap();
            }
        }
    }
}
