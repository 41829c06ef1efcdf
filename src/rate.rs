//! Rate limits: how often something may happen, and how much of that is left. Pure; time comes in as microseconds.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number of times in a period, as in `100/1m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    per: Duration,
}

impl Rate {
    /// `count` times in `per`; `None` if either is zero.
    pub const fn new(count: u32, per: Duration) -> Option<Self> {
        match NonZeroU32::new(count) {
            Some(count) if !per.is_zero() => Some(Self { count, per }),
            _ => None,
        }
    }

    /// How many times. All of them may come at once.
    pub const fn count(self) -> u32 {
        self.count.get()
    }

    /// The period.
    pub const fn per(self) -> Duration {
        self.per
    }

    /// The time in which one more is allowed, in nanoseconds, at least 1.
    fn one_ns(self) -> u64 {
        let per_ns = u64::try_from(self.per.as_nanos()).unwrap_or(u64::MAX);
        (per_ns / u64::from(self.count.get())).max(1)
    }
}

/// In words: `100 a minute`, `100 in 15 minutes`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.count)?;
        match self.per.as_millis() {
            1_000 => f.write_str("a second"),
            60_000 => f.write_str("a minute"),
            3_600_000 => f.write_str("an hour"),
            ms if ms.is_multiple_of(3_600_000) => write!(f, "in {} hours", ms / 3_600_000),
            ms if ms.is_multiple_of(60_000) => write!(f, "in {} minutes", ms / 60_000),
            ms if ms.is_multiple_of(1_000) => write!(f, "in {} seconds", ms / 1_000),
            ms => write!(f, "in {ms} milliseconds"),
        }
    }
}

/// How much of a rate is left, by the generic cell rate algorithm: it keeps only the time at which all of it is left. Of two, the
/// lesser has more left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allowance {
    whole_at_ns: u64,
}

impl Allowance {
    /// Takes one of `rate` at `now_us`.
    ///
    /// # Errors
    /// When none is left: the number of whole seconds after which one is. A refusal takes nothing.
    pub fn take(&mut self, rate: Rate, now_us: u64) -> Result<(), u64> {
        let now_ns = now_us.saturating_mul(1_000);
        let one_ns = rate.one_ns();
        let whole_at_ns = self.whole_at_ns.max(now_ns).saturating_add(one_ns);
        match (whole_at_ns - now_ns).checked_sub(one_ns.saturating_mul(u64::from(rate.count()))) {
            Some(over_ns @ 1..) => Err(over_ns.div_ceil(1_000_000_000)),
            _ => {
                self.whole_at_ns = whole_at_ns;
                Ok(())
            }
        }
    }

    /// Gives one of `rate` back that was taken.
    pub fn give_back(&mut self, rate: Rate) {
        self.whole_at_ns = self.whole_at_ns.saturating_sub(rate.one_ns());
    }
}

/// An [`Allowance`] that several threads take from.
#[derive(Debug, Default)]
pub struct SharedAllowance(AtomicU64);

impl SharedAllowance {
    /// Takes one of `rate` at `now_us`, as [`Allowance::take`] does.
    ///
    /// # Errors
    /// When none is left: the number of whole seconds after which one is. A refusal takes nothing.
    pub fn take(&self, rate: Rate, now_us: u64) -> Result<(), u64> {
        let mut taken = Ok(());
        let take = |whole_at_ns| {
            let mut allowance = Allowance { whole_at_ns };
            taken = allowance.take(rate, now_us);
            taken.is_ok().then_some(allowance.whole_at_ns)
        };
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken
    }

    /// What is left, to be compared.
    pub fn get(&self) -> Allowance {
        Allowance { whole_at_ns: self.0.load(Ordering::Relaxed) }
    }

    /// Whether all of it is left at `now_us`.
    pub fn is_whole(&self, now_us: u64) -> bool {
        self.get().whole_at_ns <= now_us.saturating_mul(1_000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_whole_count_at_once_then_the_rate() {
        let rate = Rate::new(10, SECOND).unwrap();
        let mut allowance = Allowance::default();
        let now_us = 5_000_000;
        for _ in 0..10 {
            assert_eq!(allowance.take(rate, now_us), Ok(()));
        }
        assert_eq!(allowance.take(rate, now_us), Err(1));
        assert_eq!(allowance.take(rate, now_us + 100_000), Ok(()));
        assert_eq!(allowance.take(rate, now_us + 100_000), Err(1));
        assert_eq!(allowance.take(rate, now_us + 10_000_000), Ok(()));
    }

    #[test]
    fn a_refusal_says_when_to_try_again() {
        let rate = Rate::new(3, MINUTE).unwrap();
        let mut allowance = Allowance::default();
        for _ in 0..3 {
            assert_eq!(allowance.take(rate, 0), Ok(()));
        }
        assert_eq!(allowance.take(rate, 0), Err(20));
        assert_eq!(allowance.take(rate, 19_000_001), Err(1));
        assert_eq!(allowance.take(rate, 20_000_000), Ok(()));
    }

    #[test]
    fn a_rate_is_told_as_it_was_set() {
        let words = [
            (3, 1_000, "3 a second"),
            (100, 60_000, "100 a minute"),
            (10, 3_600_000, "10 an hour"),
            (100, 900_000, "100 in 15 minutes"),
            (5, 90_000, "5 in 90 seconds"),
            (5, 1_500, "5 in 1500 milliseconds"),
            (1, 86_400_000, "1 in 24 hours"),
        ];
        for (count, ms, text) in words {
            assert_eq!(Rate::new(count, Duration::from_millis(ms)).unwrap().to_string(), text);
        }
        assert_eq!((Rate::new(0, SECOND), Rate::new(1, Duration::ZERO)), (None, None));
    }

    #[test]
    fn several_threads_take_no_more_than_one() {
        let rate = Rate::new(1_000, MINUTE).unwrap();
        let allowance = SharedAllowance::default();
        assert!(allowance.is_whole(0));
        let taken: usize = std::thread::scope(|scope| {
            let take = || (0..1_000).filter(|_| allowance.take(rate, 0).is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1_000);
        assert!(!allowance.is_whole(59_000_000) && allowance.is_whole(60_000_000));
    }

    /// A bucket that holds `count` and gets one back each `per / count`.
    struct Bucket {
        full_ns: u64,
        level_ns: u64,
        at_us: u64,
    }

    impl Bucket {
        fn take(&mut self, rate: Rate, now_us: u64) -> bool {
            self.level_ns = self.full_ns.min(self.level_ns + (now_us - self.at_us) * 1_000);
            self.at_us = now_us;
            let is_enough = self.level_ns >= rate.one_ns();
            self.level_ns -= if is_enough { rate.one_ns() } else { 0 };
            is_enough
        }
    }

    proptest! {
        #[test]
        fn it_is_a_bucket_that_fills_again(
            count in 1u32..1_000,
            per_ms in 1_000u64..3_600_000,
            waits_us in prop::collection::vec(prop_oneof![Just(0), 0u64..1_000, 0u64..10_000_000], 1..300),
        ) {
            let rate = Rate::new(count, Duration::from_millis(per_ms)).unwrap();
            let full_ns = rate.one_ns() * u64::from(count);
            let mut bucket = Bucket { full_ns, level_ns: full_ns, at_us: 0 };
            let (mut allowance, mut now_us) = (Allowance::default(), 0);
            for wait_us in waits_us {
                now_us += wait_us;
                let taken = allowance.take(rate, now_us);
                prop_assert_eq!(taken.is_ok(), bucket.take(rate, now_us), "at {}", now_us);
                if let Err(seconds) = taken {
                    let mut later = allowance;
                    prop_assert!(later.take(rate, now_us + seconds * 1_000_000).is_ok(), "after {} s", seconds);
                }
            }
        }
    }
}
