//! Bounds the number of clients: each holds a seat.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bus::Seat;

/// The seats of one gateway.
#[derive(Debug)]
pub struct Admission {
    max: usize,
    taken: Arc<AtomicUsize>,
}

impl Admission {
    /// `max` seats (`MAX_CONNECTIONS`), all free.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: Arc::default() })
    }

    /// Takes a seat; `None` if all are taken.
    pub fn admit(&self) -> Option<Seat> {
        let one_more = |taken| (taken < self.max).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.is_ok().then(|| Seat::counted_by(Arc::clone(&self.taken)))
    }

    /// How many seats are taken, including those of handshakes under way.
    pub fn open(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// How many seats there are.
    pub const fn max(&self) -> usize {
        self.max
    }

    /// Whether the next client would be refused.
    pub fn is_full(&self) -> bool {
        self.open() >= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_and_come_back() {
        let admission = Admission::new(2);
        let first = admission.admit().unwrap();
        assert!(!admission.is_full());
        let second = admission.admit().unwrap();
        assert!(admission.is_full());
        assert!(admission.admit().is_none());
        assert_eq!(admission.open(), 2, "a refusal takes nothing");
        drop(first);
        let third = admission.admit().unwrap();
        drop((second, third));
        assert_eq!(admission.open(), 0);
    }

    #[test]
    fn many_threads_never_take_more_than_there_are() {
        let admission = Admission::new(100);
        let seats: Vec<Seat> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..50).filter_map(|_| admission.admit()).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(seats.len(), 100);
        assert!(admission.is_full());
    }
}
