//! A client on its way from the control side to its shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::identity::Rights;
use crate::protocol::Dialect;
use crate::transport::Transport;

/// A client whose handshake is done.
#[derive(Debug)]
pub struct Arrival {
    /// The socket, behind its 101 answer, with the options that it has from the listening one.
    pub transport: Transport,
    /// How its messages are written.
    pub dialect: Dialect,
    /// What the client may subscribe to.
    pub rights: Arc<Rights>,
    /// Bytes that came behind the upgrade request: the first of the client's frames.
    pub early: Bytes,
    /// `?symbols=` of the URL, as the client wrote them.
    pub symbols: Option<Vec<String>>,
    /// The client's place in `MAX_CONNECTIONS`.
    pub seat: Seat,
}

/// The only way for new clients into the data path.
pub trait Adopt: Send + Sync + 'static {
    /// Takes the clients over for life.
    fn adopt(&self, clients: Vec<Arrival>);
}

/// A place among the connections that admission counts; given back when dropped, on whatever thread that happens.
#[derive(Debug)]
pub struct Seat(Arc<AtomicUsize>);

impl Seat {
    /// A place that `taken` counts already.
    pub const fn counted_by(taken: Arc<AtomicUsize>) -> Self {
        Self(taken)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

const _: () = assert!(size_of::<Seat>() == 8, "a connection keeps one for life");
