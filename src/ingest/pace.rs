//! How closely ingest's reads of the link follow each other. Pure; the clock comes in as microseconds.
//!
//! A read costs a wake-up, two system calls and a hand-over, however few events it brings. So when reads come one directly behind
//! the other, ingest pauses after each of them, and the next one brings several events. An event then waits for the pause at
//! most. When a read behind a pause brings one event or none, events don't come that fast any more, and ingest no longer pauses.
//! Below that rate no event waits.

use std::time::Duration;

use crate::limits::{READ_PAUSE, READS_CLOSE_UNTIL_PAUSE, READS_CLOSE_US};

/// The pace of the reads of one link.
#[derive(Debug, Default)]
pub(super) struct ReadPace {
    /// When the last read ended, in microseconds since the gateway was built.
    read_us: u64,
    /// How many reads in a row have ended at most [`READS_CLOSE_US`] behind the one before.
    close: u32,
}

impl ReadPace {
    /// A read has ended that brought `events`. Returns how long ingest pauses now; zero = not at all.
    pub(super) fn after_read(&mut self, now_us: u64, events: usize) -> Duration {
        let since_us = now_us.saturating_sub(std::mem::replace(&mut self.read_us, now_us));
        let is_fast = if self.is_paused() { events > 1 } else { events > 0 && since_us <= READS_CLOSE_US };
        self.close = if is_fast { READS_CLOSE_UNTIL_PAUSE.min(self.close + 1) } else { 0 };
        if self.is_paused() { READ_PAUSE } else { Duration::ZERO }
    }

    fn is_paused(&self) -> bool {
        self.close == READS_CLOSE_UNTIL_PAUSE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads at these intervals, each with the events that came meanwhile; returns after which of them ingest paused.
    fn pauses(pace: &mut ReadPace, reads: impl IntoIterator<Item = (u64, usize)>) -> Vec<bool> {
        let mut now_us = pace.read_us;
        let pause = |(since_us, events)| {
            now_us += since_us;
            !pace.after_read(now_us, events).is_zero()
        };
        reads.into_iter().map(pause).collect()
    }

    #[test]
    fn a_slow_feed_is_never_made_to_wait() {
        let mut pace = ReadPace { read_us: 1_000_000, close: 0 };
        let one_each = std::iter::repeat_n((READS_CLOSE_US + 1, 1), 1_000);
        assert!(!pauses(&mut pace, one_each).contains(&true));
        // Some events at once are no fast feed, and neither is a packet in many parts.
        let burst =
            [(5_000, 100), (10, 100), (10, 100), (READS_CLOSE_US + 1, 1)].into_iter().cycle().take(1_000);
        assert!(!pauses(&mut pace, burst).contains(&true));
        let nothing = std::iter::repeat_n((1, 0), 1_000);
        assert!(!pauses(&mut pace, nothing).contains(&true));
    }

    #[test]
    fn a_fast_feed_is_read_at_a_pace_until_it_slows_down() {
        let mut pace = ReadPace { read_us: 1_000_000, close: 0 };
        let fast =
            pauses(&mut pace, std::iter::repeat_n((READS_CLOSE_US, 1), READS_CLOSE_UNTIL_PAUSE as usize));
        assert_eq!(fast.iter().position(|paused| *paused), Some(fast.len() - 1));
        let paced = pauses(&mut pace, std::iter::repeat_n((150, 2), 100));
        assert!(!paced.contains(&false), "each read brings several events");
        assert_eq!(pauses(&mut pace, [(150, 1), (150, 2)]), [false, false]);
    }
}
