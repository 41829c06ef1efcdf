//! How threads of the data path are spoken to: a queue with a waker, bounded in bytes where the content is.
//!
//! One wake-up per sleep of the receiver, not one per message: the receiver says when it goes to sleep, and only the
//! first sender after that pays for the system call.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::mpsc;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

/// The token of the inbox's waker in its owner's `Poll`.
pub const WAKER: Token = Token(usize::MAX);

/// Creates the two ends; `poll` is the receiver's.
///
/// # Errors
/// When the system has no descriptor left for the waker.
pub fn inbox<T>(poll: &Poll) -> io::Result<(Sender<T>, Inbox<T>)> {
    let (tx, rx) = mpsc::channel();
    let shared = Arc::new(Shared {
        waker: Waker::new(poll.registry(), WAKER)?,
        asleep: AtomicBool::new(false),
        bytes: AtomicUsize::new(0),
    });
    Ok((Sender { tx, shared: Arc::clone(&shared) }, Inbox { rx, shared }))
}

#[derive(Debug)]
struct Shared {
    waker: Waker,
    asleep: AtomicBool,
    /// Bytes of payload in the queue: what senders bound themselves by.
    bytes: AtomicUsize,
}

/// The sending end, for any number of threads.
#[derive(Debug)]
pub struct Sender<T> {
    tx: mpsc::Sender<T>,
    shared: Arc<Shared>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { tx: self.tx.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<T> Sender<T> {
    /// Queues a message that stands for `bytes` of payload and wakes the receiver if it sleeps. Returns the message
    /// if the receiver has ended.
    pub fn send(&self, message: T, bytes: usize) -> Result<(), T> {
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tx.send(message).map_err(|unsent| unsent.0)?;
        // Pairs with the fence in `Inbox::sleep`: either we see that it sleeps, or it sees the message.
        fence(Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::Relaxed) && self.shared.asleep.swap(false, Ordering::AcqRel) {
            // The only way for this to fail is a closed eventfd, which lives as long as `shared`.
            let _ = self.shared.waker.wake();
        }
        Ok(())
    }

    /// Bytes of payload that wait.
    pub fn bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::Relaxed)
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Inbox<T> {
    rx: mpsc::Receiver<T>,
    shared: Arc<Shared>,
}

impl<T> Inbox<T> {
    /// The next message, if there is one.
    pub fn pop(&self) -> Option<T> {
        self.rx.try_recv().ok()
    }

    /// Says that `bytes` of payload have been taken off.
    pub fn consumed(&self, bytes: usize) {
        self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Waits for readiness of `poll`, a message or the timeout. Returns a message if one has come before the
    /// sleep; the poll is then done without waiting.
    ///
    /// # Errors
    /// As `Poll::poll`; an interrupted wait is no error.
    pub fn sleep(
        &self,
        poll: &mut Poll,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<Option<T>> {
        self.shared.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let early = self.pop();
        let timeout = if early.is_some() { Some(Duration::ZERO) } else { timeout };
        let outcome = poll.poll(events, timeout);
        self.shared.asleep.store(false, Ordering::Relaxed);
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(early),
        }
    }
}
