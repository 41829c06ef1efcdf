//! Whether a client is too slow, judged over time. Pure; the clock comes in as ticks of the shard's wheel.
//!
//! A burst larger than the limit of an outbox (`MAX_OUTBOX_BYTES`) is no reason to skip events for a client that is reading it. So while
//! more than the limit waits, the client is judged in windows of one second. If it takes less than a quarter of the limit in a
//! window, it would need more than four seconds to catch up, and is slow: the policy for slow clients is due now, and whenever more than
//! the limit waits, until the client has taken everything. A client for which more than `BURST_FACTOR` times the limit waits is slow
//! without a window.

use super::wheel::TICK_MS;

/// The length of a window: one second.
const WINDOW_TICKS: u32 = 1_000 / TICK_MS as u32;

/// How many times the limit may wait for a client that reads fast enough. The memory for it is bounded by `MAX_BACKLOG_BYTES` for all
/// clients together, as frames are shared.
const BURST_FACTOR: u32 = 32;

/// How fast one client has been reading.
#[derive(Debug, Clone, Copy, Default)]
pub struct Slowness {
    /// When the present window ends; `None` while no more than the limit waits.
    window_end_tick: Option<u32>,
    /// Bytes that the client's socket has taken in the window.
    taken_bytes: u32,
    is_slow: bool,
}

impl Slowness {
    /// Whether the client is being judged, or has been found slow: then what its socket takes has to be told to [`Slowness::took`].
    pub fn is_watched(&self) -> bool {
        self.window_end_tick.is_some() || self.is_slow
    }

    /// The client's socket has taken `taken_bytes`. Of the bytes that count towards the limit, `queued_bytes` still wait.
    pub fn took(&mut self, taken_bytes: u32, queued_bytes: u32) {
        self.taken_bytes = self.taken_bytes.saturating_add(taken_bytes);
        if queued_bytes == 0 {
            *self = Self::default();
        }
    }

    /// Whether the policy for slow clients is due while `queued_bytes` wait.
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

    /// When [`Slowness::is_due`] has to be asked again, if nothing happens before.
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
        assert!(client.is_due(LIMIT + 1, LIMIT, 12 + WINDOW_TICKS), "a slow client gets no second window");
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
