//! A count, and a histogram of durations, that one thread writes and any thread reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the thread that owns the block may call this: it is not an atomic increment.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Replaces the value; for gauges of the owning thread.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds `n` from any thread: for the control side, where several tasks count the same thing.
    #[inline]
    pub fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The value as last written.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many power-of-two buckets a [`Histogram`] has. Bucket `i` counts values up to 2^i µs, the last one the rest
/// (2^25 µs = 33 s, longer than anything waits under the default `STALL_TIMEOUT`).
pub const HISTOGRAM_BUCKETS: usize = 26;

/// Counts durations in power-of-two buckets of microseconds. One thread writes it, as a [`Counter`].
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; HISTOGRAM_BUCKETS],
    sum_us: Counter,
}

impl Histogram {
    /// Records that `n` things took `us` microseconds each.
    #[inline]
    pub fn record(&self, us: u64, n: u64) {
        let bucket = (64 - us.saturating_sub(1).leading_zeros() as usize).min(HISTOGRAM_BUCKETS - 1);
        self.buckets[bucket].add(n);
        self.sum_us.add(us.saturating_mul(n));
    }

    /// The count of each bucket, not cumulative, and the sum in microseconds.
    pub fn read(&self) -> ([u64; HISTOGRAM_BUCKETS], u64) {
        (std::array::from_fn(|i| self.buckets[i].get()), self.sum_us.get())
    }
}
