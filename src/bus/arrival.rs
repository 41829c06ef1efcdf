//! A client on its way from the control side to its shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Denied, UserSeat};
use crate::identity::Identity;
use crate::protocol::Dialect;
use crate::protocol::request::FirstRequest;
use crate::protocol::terms::Options;
use crate::transport::{Probe, Transport};

/// A client whose handshake is done.
#[derive(Debug)]
pub struct Arrival {
    /// The socket, behind its 101 answer or before its greeting, with the options that it has from the listening one.
    pub transport: Transport,
    /// Bytes that came behind the upgrade request: the first of the client's frames.
    pub early: Bytes,
    /// The client.
    pub client: Newcomer,
}

/// A client that is let in: what its shard has to know, but for its connection.
#[derive(Debug)]
pub struct Newcomer {
    /// How its messages are written.
    pub dialect: Dialect,
    /// Whether messages may be compressed: permessage-deflate is agreed on.
    pub deflate: bool,
    /// What is known of the client.
    pub standing: Standing,
    /// What the client is sent before anything else: the head of an HTTP answer, or nothing.
    pub greeting: Box<[u8]>,
    /// What the client asks for in its URL.
    pub request: Option<FirstRequest>,
    /// On which terms it is served where its requests name none.
    pub terms: Option<Box<Options>>,
    /// It is at the desk from the beginning, where there is one: it gets broadcasts.
    pub at_desk: bool,
    /// The session whose place it is to take, if it comes for that.
    pub probe: Option<Probe>,
    /// The client's place in `MAX_CONNECTIONS`.
    pub seat: Seat,
    /// Its place among the connections of its user, if it is known to have one.
    pub user_seat: Option<Arc<UserSeat>>,
}

impl Newcomer {
    /// A client that speaks `dialect`, of which nothing else is particular.
    pub fn new(dialect: Dialect, standing: Standing, seat: Seat, user_seat: Option<Arc<UserSeat>>) -> Self {
        Self {
            dialect,
            deflate: false,
            standing,
            greeting: Box::default(),
            request: None,
            terms: None,
            at_desk: false,
            probe: None,
            seat,
            user_seat,
        }
    }
}

/// What the control side knows of a client that arrives.
#[derive(Debug)]
pub enum Standing {
    /// Who it is and what it may have.
    Known(Arc<Identity>),
    /// Nothing yet: the client has to send a token first.
    Unknown,
    /// Its token doesn't hold, or its user has too many connections: the client is told why and closed.
    Refused {
        /// For the client.
        denied: Box<Denied>,
        /// Its place among those of this kind, which are bounded.
        place: Seat,
    },
}

/// The only way for new clients into the data path.
pub trait Adopt: Send + Sync + 'static {
    /// Takes the clients over for life.
    fn adopt(&self, clients: Vec<Arrival>);

    /// Closes the connection with that number ([`UserSeat::number`]), whose place a newer one of its user has taken.
    fn replace(&self, number: u64);

    /// Closes the connections that have missed a pong. Each shard tells how many.
    fn clean(&self) -> Vec<oneshot::Receiver<usize>>;
}

/// How many of something are taken, of as many as there are. It may be a part of another count, such as the clients of one network
/// among all clients: what is taken of it is taken of the whole as well.
#[derive(Debug)]
pub struct Count {
    max: usize,
    taken: AtomicUsize,
    whole: Option<Arc<Self>>,
}

impl Count {
    /// `max` places, all free.
    pub fn of(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: AtomicUsize::new(0), whole: None })
    }

    /// At most `max` of the places of `whole`.
    pub fn within(max: usize, whole: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self { max, taken: AtomicUsize::new(0), whole: Some(Arc::clone(whole)) })
    }

    /// Takes a place; `None` if there is none, here or in the whole.
    pub fn take(self: &Arc<Self>) -> Option<Seat> {
        self.add_one().then(|| Seat(Arc::clone(self)))
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// How many there are.
    pub const fn max(&self) -> usize {
        self.max
    }

    /// Whether all are taken; of the whole more may be.
    pub fn is_full(&self) -> bool {
        self.taken() >= self.max
    }

    fn add_one(&self) -> bool {
        let one_more = |taken| (taken < self.max).then_some(taken + 1);
        let is_added = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        if is_added && self.whole.as_ref().is_some_and(|whole| !whole.add_one()) {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        is_added
    }

    fn remove_one(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.remove_one();
        }
    }
}

/// A place of a [`Count`]; given back when dropped, on whatever thread that happens.
#[derive(Debug)]
pub struct Seat(Arc<Count>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.remove_one();
    }
}

const _: () = assert!(size_of::<Seat>() == 8, "a connection keeps one for life");
