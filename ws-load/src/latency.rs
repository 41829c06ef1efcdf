//! Latencies in an HDR histogram: nanoseconds, three digits, from 1 µs to 2 minutes; also between processes.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// What is told apart at the low end.
const LOW_NS: u64 = 1_000;
/// Longer ones count as this.
const HIGH_NS: u64 = 120_000_000_000;

/// A distribution of times in nanoseconds. Recording never allocates. On its way to another process it is a list of values and how
/// often each was recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Vec<(u64, u64)>", from = "Vec<(u64, u64)>")]
pub struct Latency(Histogram<u64>);

/// The figures of a distribution that people read, in µs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quantiles {
    /// How many values there were.
    pub count: u64,
    /// The median.
    pub p50: f64,
    /// Nine of ten were at most this.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
    /// The largest.
    pub max: f64,
}

impl Latency {
    /// No times yet.
    #[allow(clippy::missing_panics_doc, reason = "the bounds are constants, and good ones")]
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(LOW_NS, HIGH_NS, 3).expect("1 ≤ LOW_NS, 2 × LOW_NS ≤ HIGH_NS"))
    }

    /// One time more.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// Everything that another one recorded.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds, so it can't fail.
        let _ = self.0.add(&other.0);
    }

    /// The figures, or `None` if nothing was recorded.
    pub fn quantiles(&self) -> Option<Quantiles> {
        if self.0.is_empty() {
            return None;
        }
        let us = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e3;
        Some(Quantiles {
            count: self.0.len(),
            p50: us(0.5),
            p90: us(0.9),
            p99: us(0.99),
            p999: us(0.999),
            max: self.0.max() as f64 / 1e3,
        })
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Latency> for Vec<(u64, u64)> {
    fn from(Latency(histogram): Latency) -> Self {
        histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
    }
}

impl From<Vec<(u64, u64)>> for Latency {
    fn from(counted: Vec<(u64, u64)>) -> Self {
        let mut latency = Self::new();
        counted.into_iter().for_each(|(ns, times)| latency.0.saturating_record_n(ns, times));
        latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut latency = Latency::new();
        assert_eq!(latency.quantiles(), None);
        for us in 1..=1000 {
            latency.record(us * 1_000);
        }
        let quantiles = latency.quantiles().unwrap();
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.01;
        assert_eq!(quantiles.count, 1000);
        assert!(near(quantiles.p50, 500.0) && near(quantiles.p99, 990.0), "{quantiles:?}");
        assert!(near(quantiles.p999, 999.0) && near(quantiles.max, 1000.0), "{quantiles:?}");
    }

    #[test]
    fn nothing_is_too_long_or_too_short() {
        let mut latency = Latency::new();
        latency.record(0);
        latency.record(u64::MAX);
        let quantiles = latency.quantiles().unwrap();
        assert_eq!(quantiles.count, 2);
        assert!(quantiles.max >= 119e6, "{quantiles:?}");
    }

    #[test]
    fn a_sum_of_parts_is_the_whole() {
        let (mut all, mut sum) = (Latency::new(), Latency::new());
        for part in 0..3_u64 {
            let mut latency = Latency::new();
            for n in 0..500 {
                let ns = (part + 1) * 37_000 * (n + 1);
                latency.record(ns);
                all.record(ns);
            }
            let json = serde_json::to_string(&latency).unwrap();
            sum.add(&serde_json::from_str(&json).unwrap());
        }
        assert_eq!(sum.quantiles(), all.quantiles());
    }
}
