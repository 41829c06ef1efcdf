//! A connection of a user: what it shares with the user's other connections.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::rate::SharedAllowance;

/// What the connections of one user to this gateway share.
#[derive(Debug)]
pub struct UserShare {
    /// What is left of `MESSAGE_RATE_LIMIT`.
    pub messages: SharedAllowance,
    connections: AtomicUsize,
    /// Users with a connection, of whom this may be one.
    online: Arc<AtomicU64>,
}

impl UserShare {
    /// A user without a connection, who counts among `online` as long as there is one.
    pub fn new(online: &Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            messages: SharedAllowance::default(),
            connections: AtomicUsize::new(0),
            online: Arc::clone(online),
        })
    }

    /// Whether the user has a connection.
    pub fn is_online(&self) -> bool {
        self.connections.load(Ordering::Relaxed) > 0
    }
}

/// A connection's place among those of its user; given back when dropped, on whatever thread that happens.
#[derive(Debug)]
pub struct UserSeat {
    /// Its number; no other connection to this gateway has it.
    pub number: u64,
    share: Arc<UserShare>,
    /// How many connections the user may have, once this is one too many.
    replaced: OnceLock<usize>,
}

impl UserSeat {
    /// One more connection of a user.
    pub fn new(number: u64, share: Arc<UserShare>) -> Arc<Self> {
        if share.connections.fetch_add(1, Ordering::Relaxed) == 0 {
            share.online.fetch_add(1, Ordering::Relaxed);
        }
        Arc::new(Self { number, share, replaced: OnceLock::new() })
    }

    /// What the connection shares with the user's others.
    pub fn share(&self) -> &UserShare {
        &self.share
    }

    /// Whether a newer connection has taken its place: the connection is to be closed.
    pub fn is_replaced(&self) -> bool {
        self.replaced().is_some()
    }

    /// If so, how many connections the user may have.
    pub fn replaced(&self) -> Option<usize> {
        self.replaced.get().copied()
    }

    /// A newer connection takes its place, as the user may have no more than `max`.
    pub fn replace(&self, max: usize) {
        // It has been replaced for the same reason before, if it has.
        let _ = self.replaced.set(max);
    }
}

impl Drop for UserSeat {
    fn drop(&mut self) {
        if self.share.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.share.online.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
