//! What waits to be written to one client of the broker: bounded as Redis' `client-output-buffer-limit pubsub`.
//!
//! Publishers append under a short lock and never wait for the client; the client's own task takes everything that
//! is there at once and writes it. A client over its limit is marked, its backlog freed, and its task woken to cut it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// A written-out buffer larger than this is given back instead of kept for next time.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// How far behind a client may fall.
#[derive(Debug, Clone, Copy)]
pub struct OutputLimits {
    /// Over this many bytes it is cut at once.
    pub hard_bytes: usize,
    /// Over this many bytes for `soft_for` it is cut too.
    pub soft_bytes: usize,
    /// See `soft_bytes`.
    pub soft_for: Duration,
}

impl OutputLimits {
    /// Redis' default for subscribers, `pubsub 32mb 8mb 60`.
    pub const REDIS: Self =
        Self { hard_bytes: 32 * 1024 * 1024, soft_bytes: 8 * 1024 * 1024, soft_for: Duration::from_secs(60) };
}

/// Why a client's connection is ended without another byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// It has fallen further behind than it may.
    TooSlow {
        /// How many bytes waited when it did.
        queued_bytes: usize,
    },
    /// Another client said `CLIENT KILL` of it.
    Killed,
}

/// One client's output.
#[derive(Debug)]
pub(super) struct Outbox {
    limits: OutputLimits,
    state: Mutex<State>,
    /// Signalled when there is something to write, or the client is to be cut.
    ready: Notify,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    /// Taken by the client's task, but not written yet.
    in_flight_bytes: usize,
    /// Since when more than `soft_bytes` wait.
    soft_since: Option<Instant>,
    cut: Option<Cut>,
}

impl State {
    fn queued_bytes(&self) -> usize {
        self.pending.len() + self.in_flight_bytes
    }

    /// Compares with the limits after a change.
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

    /// Nothing that waits is sent any more.
    fn cut(&mut self, cut: Cut) {
        self.cut = Some(cut);
        self.pending = Vec::new();
    }
}

impl Outbox {
    pub(super) fn new(limits: OutputLimits) -> Self {
        Self { limits, state: Mutex::default(), ready: Notify::new() }
    }

    /// Lets `write` append at `now`. Returns whether the client's task must be woken with [`Self::wake`]: that
    /// is left to the caller, so that a batch wakes it once.
    pub(super) fn push(&self, now: Instant, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.lock();
        if state.cut.is_some() {
            return false;
        }
        let (was_empty, was_within) = (state.pending.is_empty(), state.soft_since.is_none());
        write(&mut state.pending);
        state.judge(&self.limits, now);
        // A task that waits for its socket must hear of the soft limit to begin to count the time.
        was_empty || (was_within && state.soft_since.is_some()) || state.cut.is_some()
    }

    /// Ends the client's connection. Its task must be woken.
    pub(super) fn kill(&self) {
        self.lock().cut(Cut::Killed);
    }

    /// How many bytes wait, those that are being written among them.
    pub(super) fn queued_bytes(&self) -> usize {
        self.lock().queued_bytes()
    }

    /// Wakes the client's task.
    pub(super) fn wake(&self) {
        self.ready.notify_one();
    }

    /// Waits until something is to be written and swaps it into `empty`. Safe to cancel: nothing is lost.
    pub(super) async fn take(&self, empty: &mut Vec<u8>) -> Result<(), Cut> {
        loop {
            if self.try_take(empty)? {
                return Ok(());
            }
            self.ready.notified().await;
        }
    }

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

    /// Notes that `bytes` of what was taken are written.
    pub(super) fn wrote(&self, bytes: usize, now: Instant) {
        let mut state = self.lock();
        state.in_flight_bytes = state.in_flight_bytes.saturating_sub(bytes);
        state.judge(&self.limits, now);
    }

    /// Waits, while the client's socket takes nothing, until the client is to be cut. Safe to cancel.
    pub(super) async fn cut(&self) -> Cut {
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
                    // Whichever comes first; the state is looked at again either way.
                    let _ = tokio::time::timeout_at(end, self.ready.notified()).await;
                }
                None => self.ready.notified().await,
            }
        }
    }

    /// Whether everything is written, and not cut off.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.cut.is_none() && state.queued_bytes() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; if something did, the state would still be whole.
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
        outbox.wrote(2, now);
        assert!(outbox.is_empty());
        assert!(push(&outbox, 1, now));
    }

    #[test]
    fn the_hard_limit_counts_what_is_being_written_too() {
        let (outbox, now) = (Outbox::new(LIMITS), Instant::now());
        push(&outbox, 60, now);
        let mut taken = Vec::new();
        assert_eq!(outbox.try_take(&mut taken), Ok(true));
        assert!(push(&outbox, 41, now), "the task is woken to cut the client");
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
    fn the_soft_limit_takes_its_time_and_forgives_who_catches_up() {
        let (outbox, start) = (Outbox::new(LIMITS), Instant::now());
        let mut taken = Vec::new();
        push(&outbox, 11, start);
        assert_eq!(outbox.try_take(&mut taken), Ok(true));
        outbox.wrote(11, start + Duration::from_secs(59));
        push(&outbox, 11, start + Duration::from_secs(60));
        push(&outbox, 1, start + Duration::from_secs(119));
        assert_eq!(outbox.lock().cut, None);
        push(&outbox, 1, start + Duration::from_secs(120));
        assert_eq!(outbox.lock().cut, Some(Cut::TooSlow { queued_bytes: 13 }));
    }
}
