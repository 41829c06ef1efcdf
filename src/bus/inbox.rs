//! How threads that sleep in a poll are spoken to: a queue with a waker. The queue counts its bytes; a sender that has to keep within a bound asks for
//! them first.
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

/// What wakes a thread: one for all the inboxes of the thread.
#[derive(Debug, Clone)]
pub struct Alarm(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waker: Waker,
    asleep: AtomicBool,
}

impl Alarm {
    /// An alarm for the thread that sleeps in `poll`.
    ///
    /// # Errors
    /// When the system has no descriptor left for the waker.
    pub fn new(poll: &Poll) -> io::Result<Self> {
        let waker = Waker::new(poll.registry(), WAKER)?;
        Ok(Self(Arc::new(Shared { waker, asleep: AtomicBool::new(false) })))
    }

    /// The two ends of an inbox of the thread.
    pub fn inbox<T>(&self) -> (Sender<T>, Inbox<T>) {
        let (tx, rx) = mpsc::channel();
        let bytes = Arc::new(AtomicUsize::new(0));
        (Sender { tx, alarm: self.clone(), bytes: Arc::clone(&bytes) }, Inbox { rx, bytes })
    }

    /// Waits for readiness of `poll`, a message or the timeout, if there is one. `early` looks into the inboxes; what it finds is returned, and the
    /// poll is then done without waiting.
    ///
    /// # Errors
    /// As `Poll::poll`; an interrupted wait is no error.
    pub fn sleep<E>(
        &self,
        poll: &mut Poll,
        events: &mut Events,
        timeout: impl Into<Option<Duration>>,
        early: impl FnOnce() -> Option<E>,
    ) -> io::Result<Option<E>> {
        self.0.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `wake`.
        fence(Ordering::SeqCst);
        let early = early();
        let timeout = if early.is_some() { Some(Duration::ZERO) } else { timeout.into() };
        let outcome = poll.poll(events, timeout);
        self.0.asleep.store(false, Ordering::Relaxed);
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(early),
        }
    }

    /// Ends the thread's sleep, if it sleeps.
    pub fn wake(&self) {
        // Pairs with the fence in `sleep`: either we see that the thread sleeps, or it sees the message.
        fence(Ordering::SeqCst);
        if self.0.asleep.load(Ordering::Relaxed) && self.0.asleep.swap(false, Ordering::AcqRel) {
            // The only way for this to fail is a closed eventfd, which lives as long as the alarm.
            let _ = self.0.waker.wake();
        }
    }
}

/// The sending end, for any number of threads.
#[derive(Debug)]
pub struct Sender<T> {
    tx: mpsc::Sender<T>,
    alarm: Alarm,
    /// Bytes of payload in the queue: what senders bound themselves by.
    bytes: Arc<AtomicUsize>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { tx: self.tx.clone(), alarm: self.alarm.clone(), bytes: Arc::clone(&self.bytes) }
    }
}

impl<T> Sender<T> {
    /// Queues a message that stands for `bytes` of payload and wakes the receiver if it sleeps. Returns the message
    /// if the receiver has ended.
    pub fn send(&self, message: T, bytes: usize) -> Result<(), T> {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tx.send(message).map_err(|unsent| unsent.0)?;
        self.alarm.wake();
        Ok(())
    }

    /// Bytes of payload that wait.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Inbox<T> {
    rx: mpsc::Receiver<T>,
    bytes: Arc<AtomicUsize>,
}

impl<T> Inbox<T> {
    /// The next message, if there is one.
    pub fn pop(&self) -> Option<T> {
        self.rx.try_recv().ok()
    }

    /// Says that `bytes` of payload have been taken off.
    pub fn consumed(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
