//! The output that waits for one client of the broker, bounded as by Redis' `client-output-buffer-limit pubsub`.
//!
//! Publishers append under a short lock and never wait for the client. The client's own task takes all pending bytes at
//! once and writes them. When a client exceeds its limit, the outbox frees the pending bytes and the client's task is
//! woken to end the connection.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// A written buffer larger than this is freed instead of reused.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// How many bytes may wait for a client.
#[derive(Debug, Clone, Copy)]
pub struct OutputLimits {
    /// A client with more bytes waiting is disconnected at once.
    pub hard_bytes: usize,
    /// A client with more bytes waiting for as long as `soft_for` is disconnected too.
    pub soft_bytes: usize,
    /// See `soft_bytes`.
    pub soft_for: Duration,
}

impl OutputLimits {
    /// Redis' default for subscribers, `pubsub 32mb 8mb 60`.
    pub const REDIS: Self =
        Self { hard_bytes: 32 * 1024 * 1024, soft_bytes: 8 * 1024 * 1024, soft_for: Duration::from_secs(60) };
}

/// Why the broker ends a client's connection without another byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// The client exceeded its [`OutputLimits`].
    TooSlow {
        /// How many bytes waited at that moment.
        queued_bytes: usize,
    },
    /// Another client sent `CLIENT KILL`.
    Killed,
}

/// One client's output.
#[derive(Debug)]
pub(super) struct Outbox {
    limits: OutputLimits,
    state: Mutex<State>,
    /// Signalled when there are bytes to write, or the connection must end.
    ready: Notify,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    /// Bytes that the client's task has taken and not yet written.
    in_flight_bytes: usize,
    /// When more than `soft_bytes` began to wait; `None` while fewer do.
    soft_since: Option<Instant>,
    cut: Option<Cut>,
}

impl State {
    fn queued_bytes(&self) -> usize {
        self.pending.len() + self.in_flight_bytes
    }

    /// Applies the limits after a change.
    fn judge(&mut self, limits: &OutputLimits, now: Instant) {
        if self.cut.is_some() {
            return;
        }
        let queued_bytes = self.queued_bytes();
        if queued_bytes <= limits.soft_bytes {
            self.soft_since = None;
            return;
        }
        let since = *self.soft_since.get_or_insert(now);
        let too_long = now.saturating_duration_since(since) >= limits.soft_for;
        if queued_bytes > limits.hard_bytes || too_long {
            self.cut(Cut::TooSlow { queued_bytes });
        }
    }

    /// Ends the connection's output: frees the pending bytes and takes no more.
    fn cut(&mut self, cut: Cut) {
        self.cut = Some(cut);
        self.pending = Vec::new();
    }
}

impl Outbox {
    pub(super) fn new(limits: OutputLimits) -> Self {
        Self { limits, state: Mutex::default(), ready: Notify::new() }
    }

    /// Lets `write` append at `now`. Returns whether the caller must wake the client's task with [`Self::wake`]; the
    /// caller can do that once for many pushes.
    pub(super) fn push(&self, now: Instant, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.lock();
        if state.cut.is_some() {
            return false;
        }
        let (was_empty, was_within) = (state.pending.is_empty(), state.soft_since.is_none());
        write(&mut state.pending);
        state.judge(&self.limits, now);
        // A task that waits for its socket must learn of the soft limit to start its timer.
        was_empty || (was_within && state.soft_since.is_some()) || state.cut.is_some()
    }

    /// Ends the client's connection. The caller must wake its task.
    pub(super) fn kill(&self) {
        self.lock().cut(Cut::Killed);
    }

    /// How many bytes wait, including those being written.
    pub(super) fn queued_bytes(&self) -> usize {
        self.lock().queued_bytes()
    }

    /// Wakes the client's task.
    pub(super) fn wake(&self) {
        self.ready.notify_one();
    }

    /// Waits for pending bytes and swaps them into `empty`. Safe to cancel: nothing is lost.
    pub(super) async fn take(&self, empty: &mut Vec<u8>) -> Result<(), Cut> {
        loop {
            if self.try_take(empty)? {
                return Ok(());
            }
            self.ready.notified().await;
        }
    }

    /// As [`Self::take`] without waiting; `false` if nothing is pending.
    pub(super) fn try_take(&self, empty: &mut Vec<u8>) -> Result<bool, Cut> {
        let mut state = self.lock();
        if let Some(cut) = state.cut {
            return Err(cut);
        }
        if state.pending.is_empty() {
            return Ok(false);
        }
        if empty.capacity() > KEPT_BYTES_MAX {
            *empty = Vec::new();
        }
        std::mem::swap(&mut state.pending, empty);
        state.in_flight_bytes = empty.len();
        Ok(true)
    }

    /// Notes that the socket took `bytes` of the bytes in flight.
    pub(super) fn note_written(&self, bytes: usize, now: Instant) {
        let mut state = self.lock();
        state.in_flight_bytes = state.in_flight_bytes.saturating_sub(bytes);
        state.judge(&self.limits, now);
    }

    /// Waits until the connection must end. For use while the client's socket takes nothing. Safe to cancel.
    pub(super) async fn wait_for_cut(&self) -> Cut {
        loop {
            let (cut, soft_since) = {
                let mut state = self.lock();
                state.judge(&self.limits, Instant::now());
                (state.cut, state.soft_since)
            };
            if let Some(cut) = cut {
                return cut;
            }
            match soft_since {
                Some(since) => {
                    let end = tokio::time::Instant::from_std(since + self.limits.soft_for);
                    // The loop looks at the state again, whichever of the two came first.
                    let _ = tokio::time::timeout_at(end, self.ready.notified()).await;
                }
                None => self.ready.notified().await,
            }
        }
    }

    /// Whether everything is written. `false` for a client that was cut.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.cut.is_none() && state.queued_bytes() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock; even then the state would be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: OutputLimits =
        OutputLimits { hard_bytes: 100, soft_bytes: 10, soft_for: Duration::from_secs(60) };

    fn push(outbox: &Outbox, bytes: usize, now: Instant) -> bool {
        outbox.push(now, |out| out.resize(out.len() + bytes, b'x'))
    }

    #[test]
    fn only_the_first_push_asks_for_a_wake_up() {
        let (outbox, now) = (Outbox::new(LIMITS), Instant::now());
        assert!(push(&outbox, 1, now));
        assert!(!push(&outbox, 1, now));
        let mut taken = Vec::new();
        assert_eq!(outbox.try_take(&mut taken), Ok(true));
        assert_eq!(taken.len(), 2);
        assert!(!outbox.is_empty(), "taken is not yet written");
        outbox.note_written(2, now);
        assert!(outbox.is_empty());
        assert!(push(&outbox, 1, now));
    }

    #[test]
    fn the_hard_limit_counts_what_is_being_written_too() {
        let (outbox, now) = (Outbox::new(LIMITS), Instant::now());
        push(&outbox, 60, now);
        let mut taken = Vec::new();
        assert_eq!(outbox.try_take(&mut taken), Ok(true));
        assert!(push(&outbox, 41, now), "the task is woken to end the connection");
        assert_eq!(outbox.try_take(&mut Vec::new()), Err(Cut::TooSlow { queued_bytes: 101 }));
        assert!(!push(&outbox, 1, now), "nothing more is kept for it");
    }

    #[test]
    fn a_killed_client_gets_nothing_more() {
        let (outbox, now) = (Outbox::new(LIMITS), Instant::now());
        push(&outbox, 5, now);
        outbox.kill();
        assert!(!push(&outbox, 200, now));
        assert_eq!(outbox.try_take(&mut Vec::new()), Err(Cut::Killed));
        assert_eq!((outbox.queued_bytes(), outbox.is_empty()), (0, false));
    }

    #[test]
    fn the_soft_limit_ends_a_connection_only_if_it_is_exceeded_all_the_time() {
        let (outbox, start) = (Outbox::new(LIMITS), Instant::now());
        let mut taken = Vec::new();
        push(&outbox, 11, start);
        assert_eq!(outbox.try_take(&mut taken), Ok(true));
        outbox.note_written(11, start + Duration::from_secs(59));
        push(&outbox, 11, start + Duration::from_secs(60));
        push(&outbox, 1, start + Duration::from_secs(119));
        assert_eq!(outbox.lock().cut, None);
        push(&outbox, 1, start + Duration::from_secs(120));
        assert_eq!(outbox.lock().cut, Some(Cut::TooSlow { queued_bytes: 13 }));
    }
}
