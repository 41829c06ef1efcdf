//! Exponential back-off with full jitter, for Redis and for the gateway.
//!
//! The wait is drawn from zero up to a ceiling that doubles with each failure. Of all the usual forms this one spreads
//! a crowd that lost the same server most evenly.

use std::time::Duration;

use fastrand::Rng;

/// The ceiling of the first wait.
pub const CEILING_MIN: Duration = Duration::from_millis(250);

/// The ceiling that no wait exceeds.
pub const CEILING_MAX: Duration = Duration::from_secs(30);

/// How often something has failed in a row, and the dice.
#[derive(Debug, Clone)]
pub struct Backoff {
    failures: u32,
    rng: Rng,
}

impl Backoff {
    /// Nothing has failed yet.
    pub fn new(rng: Rng) -> Self {
        Self { failures: 0, rng }
    }

    /// It has failed once more: how long to wait before the next attempt.
    pub fn next_wait(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        Duration::from_micros(self.rng.u64(0..=ceiling.as_micros() as u64))
    }

    /// The most that the next wait can be.
    pub fn ceiling(&self) -> Duration {
        CEILING_MIN.saturating_mul(2u32.saturating_pow(self.failures)).min(CEILING_MAX)
    }

    /// It worked: the next failure is a first one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_up_to_the_cap_and_for_ever() {
        let mut backoff = Backoff::new(Rng::with_seed(1));
        let mut ceilings_ms = Vec::new();
        for _ in 0..10 {
            ceilings_ms.push(backoff.ceiling().as_millis());
            backoff.next_wait();
        }
        assert_eq!(ceilings_ms, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        backoff.failures = u32::MAX;
        backoff.next_wait();
        assert_eq!(backoff.ceiling(), CEILING_MAX);
        backoff.reset();
        assert_eq!(backoff.ceiling(), CEILING_MIN);
    }

    #[test]
    fn waits_spread_over_the_whole_range() {
        let first_waits_ms: Vec<_> =
            (0..200).map(|seed| Backoff::new(Rng::with_seed(seed)).next_wait().as_millis()).collect();
        assert!(first_waits_ms.iter().all(|&ms| ms <= 250));
        assert!(first_waits_ms.iter().any(|&ms| ms < 50));
        assert!(first_waits_ms.iter().any(|&ms| ms > 200));
    }
}
