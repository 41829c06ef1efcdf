//! Who is too slow: judged over time, not by one burst. Pure; the clock comes in as ticks of the shard's wheel.
//!
//! A burst larger than an outbox is no reason to skip events for a client that is reading it. So while more than
//! `MAX_OUTBOX_BYTES` wait, windows of `WINDOW_TICKS` are judged: a client that takes less than a quarter of that limit in
//! one of them would need more than four to catch up, and is slow. Once it is, its limit holds at once, until it
//! has caught up entirely. And no outbox ever holds more than `BURST_FACTOR` times its limit, however fast it drains.

use super::wheel::TICK_MS;

/// How long a window is: one second.
const WINDOW_TICKS: u32 = 1_000 / TICK_MS as u32;

/// How many times its limit an outbox may hold while its client reads on. What that costs in memory is bounded by
/// `MAX_BACKLOG_BYTES` for all clients together, as frames are shared.
const BURST_FACTOR: u32 = 32;

/// One client's record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Slowness {
    /// When the window under way ends; `None` while the outbox is within its limit.
    window_end_tick: Option<u32>,
    taken_bytes: u32,
    is_slow: bool,
}

impl Slowness {
    /// The client's socket has taken so many bytes, and so many that count towards its limit still wait.
    pub fn took(&mut self, taken_bytes: u32, queued_bytes: u32) {
        self.taken_bytes = self.taken_bytes.saturating_add(taken_bytes);
        if queued_bytes == 0 {
            *self = Self::default();
        }
    }

    /// Whether the policy is due for a client for which so many bytes wait that count towards its limit.
    pub fn is_due(&mut self, queued_bytes: u32, limit_bytes: u32, now_tick: u32) -> bool {
        if queued_bytes <= limit_bytes {
            self.window_end_tick = None;
            return false;
        }
        if self.is_slow || queued_bytes > limit_bytes.saturating_mul(BURST_FACTOR) {
            self.is_slow = true;
            return true;
        }
        if let Some(end_tick) = self.window_end_tick {
            if now_tick < end_tick {
                return false;
            }
            if self.taken_bytes < limit_bytes / 4 {
                self.is_slow = true;
                return true;
            }
        }
        self.window_end_tick = Some(now_tick.saturating_add(WINDOW_TICKS));
        self.taken_bytes = 0;
        false
    }

    /// When to judge again, if nothing happens before.
    pub fn deadline_tick(&self) -> Option<u32> {
        self.window_end_tick.filter(|_| !self.is_slow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u32 = 1_000;

    #[test]
    fn a_silent_client_is_slow_after_one_window() {
        let mut client = Slowness::default();
        assert!(!client.is_due(LIMIT, LIMIT, 10));
        assert_eq!(client.deadline_tick(), None);
        assert!(!client.is_due(5 * LIMIT, LIMIT, 10));
        assert_eq!(client.deadline_tick(), Some(10 + WINDOW_TICKS));
        assert!(!client.is_due(6 * LIMIT, LIMIT, 9 + WINDOW_TICKS));
        assert!(client.is_due(6 * LIMIT, LIMIT, 10 + WINDOW_TICKS));
        assert!(!client.is_due(LIMIT / 2, LIMIT, 11 + WINDOW_TICKS), "within the limit nothing is due");
        assert!(client.is_due(LIMIT + 1, LIMIT, 12 + WINDOW_TICKS), "no second grace");
        client.took(LIMIT + 1, 0);
        assert!(!client.is_due(LIMIT + 1, LIMIT, 13 + WINDOW_TICKS), "it has caught up");
    }

    #[test]
    fn a_client_that_reads_on_is_not_slow_but_bounded() {
        let mut client = Slowness::default();
        for window in 0..100 {
            assert!(!client.is_due(20 * LIMIT, LIMIT, window * WINDOW_TICKS));
            client.took(LIMIT / 4, 20 * LIMIT);
        }
        assert!(client.is_due(BURST_FACTOR * LIMIT + 1, LIMIT, 100 * WINDOW_TICKS));
    }
}
