//! The sequence numbers of one topic: what follows, what is missing, what is a repeat. Pure.

/// A worker's `timestamp`, comparable: whole part and billionths. Integers of 64 bits are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64, u32);

impl Timestamp {
    /// Reads a JSON number.
    pub fn parse(number: &str) -> Self {
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
    /// The worker counts anew.
    Restart,
    /// It has been there already.
    Repeat,
}

/// Where a topic's worker stands in its counting.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    last: Option<(u64, Timestamp)>,
    /// The highest `seq` from before the last restart that was seen.
    ended: Option<u64>,
}

impl Line {
    /// The last sequence number.
    pub(super) fn last_seq(&self) -> Option<u64> {
        self.last.map(|(seq, _)| seq)
    }

    /// Whether a sequence number may be from before a restart: then it says nothing about what its owner has missed.
    pub(super) fn is_ambiguous(&self, seq: u64) -> bool {
        self.ended.is_some_and(|ended| seq <= ended)
    }

    /// Judges the next event, and counts it unless it is a repeat.
    pub(super) fn judge(&mut self, seq: u64, timestamp: &str) -> Verdict {
        let timestamp = Timestamp::parse(timestamp);
        let verdict = match self.last {
            None => Verdict::Next,
            Some((last, _)) if seq == last + 1 => Verdict::Next,
            Some((last, _)) if seq > last => Verdict::Gap { from: last + 1, to: seq - 1 },
            Some((last, then)) if timestamp > then => {
                self.ended = self.ended.max(Some(last));
                Verdict::Restart
            }
            Some(_) => return Verdict::Repeat,
        };
        self.last = Some((seq, timestamp));
        verdict
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_line_tells_gaps_repeats_and_restarts_apart() {
        let mut line = Line::default();
        assert_eq!(line.judge(7, "100"), Verdict::Next, "nothing is known of what was before the first");
        assert_eq!(line.judge(8, "100"), Verdict::Next);
        assert_eq!(line.judge(8, "100"), Verdict::Repeat);
        assert_eq!(line.judge(3, "99"), Verdict::Repeat);
        assert_eq!(line.judge(12, "101"), Verdict::Gap { from: 9, to: 11 });
        assert_eq!(line.judge(10, "101"), Verdict::Repeat, "late is too late");
        assert!(!line.is_ambiguous(12));
        assert_eq!(line.judge(1, "102"), Verdict::Restart);
        assert!(line.is_ambiguous(12) && !line.is_ambiguous(13));
        assert_eq!(line.judge(1, "102"), Verdict::Repeat);
        assert_eq!(line.judge(2, "102"), Verdict::Next);
        assert_eq!(line.judge(0, "103"), Verdict::Restart);
        assert!(line.is_ambiguous(12), "the restart before is not forgotten");
        assert_eq!(line.last_seq(), Some(0));
    }
}
