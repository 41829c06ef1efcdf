//! Decides when the simulated market trades: computes times in µs since its start. Pure.
//!
//! A steady schedule computes the time of its n-th trade from n. So a caller that is late once doesn't delay later trades, and
//! the average rate holds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::RangeInclusive;

use fastrand::Rng;

/// The time between two trades of a symbol in a random schedule: 1–3 s.
pub const INTERVAL_US: RangeInclusive<u64> = 1_000_000..=3_000_000;

/// The time of a symbol's first trade in a random schedule: within the first second, so that there is something to see.
const FIRST_US: RangeInclusive<u64> = 0..=1_000_000;

/// The times at which symbols trade. Symbols are numbered from 0.
#[derive(Debug, Clone)]
pub struct Schedule {
    kind: Kind,
    rng: Rng,
    /// How much all times are postponed.
    delay_us: u64,
}

#[derive(Debug, Clone)]
enum Kind {
    /// One entry for each symbol: (due, symbol), the earliest on top.
    Random(BinaryHeap<Reverse<(u64, usize)>>),
    Steady {
        symbols: usize,
        per_second: f64,
        taken: u64,
    },
}

impl Schedule {
    /// Each of `symbols` symbols trades at random intervals of [`INTERVAL_US`].
    pub fn random(symbols: usize, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let heap = (0..symbols).map(|symbol| Reverse((rng.u64(FIRST_US), symbol))).collect();
        Self { kind: Kind::Random(heap), rng, delay_us: 0 }
    }

    /// There are `per_second` trades a second, evenly spaced, each of a symbol drawn at random. With a rate that isn't a
    /// positive number there are none.
    pub fn steady(symbols: usize, per_second: f64, seed: u64) -> Self {
        Self { kind: Kind::Steady { symbols, per_second, taken: 0 }, rng: Rng::with_seed(seed), delay_us: 0 }
    }

    /// When the next trade is due, in µs since the start; `None` if there never is one.
    pub fn due_us(&self) -> Option<u64> {
        let due_us = match &self.kind {
            Kind::Random(heap) => heap.peek()?.0.0,
            Kind::Steady { symbols, per_second, taken } => {
                if *symbols == 0 || per_second.is_nan() || *per_second <= 0.0 {
                    return None;
                }
                (*taken as f64 * 1e6 / per_second) as u64
            }
        };
        Some(due_us.saturating_add(self.delay_us))
    }

    /// Takes the next trade, if it is due at `elapsed_us`, and returns its symbol's number.
    pub fn take(&mut self, elapsed_us: u64) -> Option<usize> {
        if self.due_us()? > elapsed_us {
            return None;
        }
        match &mut self.kind {
            Kind::Random(heap) => {
                let Reverse((due_us, symbol)) = heap.pop()?;
                heap.push(Reverse((due_us + self.rng.u64(INTERVAL_US), symbol)));
                Some(symbol)
            }
            Kind::Steady { symbols, taken, .. } => {
                *taken += 1;
                Some(self.rng.usize(0..*symbols))
            }
        }
    }

    /// Postpones all trades so that the next one is due at `elapsed_us` at the earliest.
    pub fn resume(&mut self, elapsed_us: u64) {
        if let Some(due_us) = self.due_us() {
            self.delay_us = self.delay_us.saturating_add(elapsed_us.saturating_sub(due_us));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_intervals_stay_between_one_and_three_seconds() {
        let mut schedule = Schedule::random(3, 42);
        let mut last_us = [None; 3];
        for _ in 0..3_000 {
            let due_us = schedule.due_us().unwrap();
            let symbol = schedule.take(due_us).unwrap();
            match last_us[symbol] {
                None => assert!(FIRST_US.contains(&due_us)),
                Some(last_us) => assert!(INTERVAL_US.contains(&(due_us - last_us))),
            }
            last_us[symbol] = Some(due_us);
        }
    }

    #[test]
    fn nothing_is_taken_before_it_is_due() {
        let mut schedule = Schedule::steady(1, 10.0, 1);
        assert_eq!(schedule.take(0), Some(0));
        assert_eq!(schedule.take(99_999), None);
        assert_eq!(schedule.take(100_000), Some(0));
    }

    #[test]
    fn a_steady_rate_does_not_drift() {
        // A third of a microsecond a trade is no whole number: adding intervals up would drift.
        let mut schedule = Schedule::steady(1, 3_000_000.0, 1);
        let mut taken = 0;
        while schedule.take(999_999).is_some() {
            taken += 1;
        }
        assert_eq!((taken, schedule.due_us()), (3_000_000, Some(1_000_000)));
    }

    #[test]
    fn trades_of_an_outage_are_postponed_and_come_in_no_burst() {
        let mut schedule = Schedule::steady(1, 10.0, 1);
        assert_eq!(schedule.take(0), Some(0));
        schedule.resume(5_000_000);
        assert_eq!(schedule.due_us(), Some(5_000_000));
        assert_eq!(schedule.take(5_000_000), Some(0));
        assert_eq!(schedule.take(5_099_999), None);
        schedule.resume(5_000_000);
        assert_eq!(schedule.due_us(), Some(5_100_000));
    }

    #[test]
    fn an_absurd_rate_never_trades() {
        for rate in [0.0, -1.0, f64::NAN] {
            assert_eq!(Schedule::steady(1, rate, 1).due_us(), None);
        }
    }
}
