//! Exponential back-off: the pause before a failed action is tried again. Pure.

use std::time::Duration;

use fastrand::Rng;

/// The pauses between attempts. They double with each failure, and begin again with the shortest after a success.
#[derive(Debug, Clone)]
pub struct Backoff {
    shortest: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Pauses from `shortest` to `longest`.
    pub const fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, failures: 0 }
    }

    /// Notes a failure. Returns the pause before the next attempt.
    pub fn next_pause(&mut self) -> Duration {
        let doubled = self.shortest.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        doubled.min(self.longest)
    }

    /// As [`Backoff::next_pause`], but drawn at random between `least` (0.0 to 1.0) times that pause and all of it. So many
    /// clients that lose a server at once don't return at once.
    pub fn next_pause_between(&mut self, least: f64, rng: &mut Rng) -> Duration {
        self.next_pause().mul_f64(least + (1.0 - least) * rng.f64())
    }

    /// Notes a success: the next pause is the shortest again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Notes that the action worked for `time` before it failed. Only if that is at least the longest pause, the pauses begin again
    /// with the shortest. So an action that fails soon after each success is repeated less and less often.
    pub fn worked_for(&mut self, time: Duration) {
        if time >= self.longest {
            self.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff::new(Duration::from_millis(100), Duration::from_secs(5))
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again() {
        let mut backoff = backoff();
        let pauses_ms: Vec<u128> = (0..8).map(|_| backoff.next_pause().as_millis()).collect();
        assert_eq!(pauses_ms, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.failures = u32::MAX;
        assert_eq!(backoff.next_pause().as_millis(), 5000);
        backoff.reset();
        assert_eq!(backoff.next_pause().as_millis(), 100);
    }

    #[test]
    fn what_works_for_a_moment_only_is_a_failure() {
        let mut backoff = backoff();
        let mut pause_ms_after = |time_ms| {
            backoff.worked_for(Duration::from_millis(time_ms));
            backoff.next_pause().as_millis()
        };
        assert_eq!([0, 1, 4999, 5000, 0].map(&mut pause_ms_after), [100, 200, 400, 100, 200]);
    }

    #[test]
    fn drawn_pauses_spread_over_their_range() {
        for (least, from_ms) in [(0.0, 0), (0.5, 50)] {
            let first_ms = |seed| {
                let mut rng = Rng::with_seed(seed);
                backoff().next_pause_between(least, &mut rng).as_millis()
            };
            let mut pauses_ms: Vec<_> = (0..200).map(first_ms).collect();
            pauses_ms.sort_unstable();
            assert!(pauses_ms[0] >= from_ms && pauses_ms[199] <= 100, "{pauses_ms:?}");
            let tenth = (100 - from_ms) / 10;
            assert!(pauses_ms[0] <= from_ms + tenth && pauses_ms[199] >= 100 - tenth, "{pauses_ms:?}");
        }
    }
}
