//! What a shard tells the control side.

use std::fmt;
use std::sync::Arc;

use super::Ticket;
use crate::identity::User;
use crate::protocol::request::Token;

/// What a shard tells the control side. Not bounded by itself: a connection has at most one `Verify` under way, as its further requests
/// wait for the answer, and it comes and goes once.
#[derive(Debug)]
pub enum ToControl {
    /// A client has sent a token. Answered with [`ToShard::Verified`](super::ToShard::Verified).
    Verify {
        /// The shard that asks.
        shard: usize,
        /// Repeated in the answer.
        ticket: Ticket,
        /// What the client has sent.
        token: Token,
    },
    /// A user has one connection more.
    Came(User),
    /// A user has one connection less.
    Gone(User),
}

/// How shards speak to the control side. A shard knows nothing else of it.
#[derive(Clone)]
pub struct ControlSender(Arc<dyn Fn(ToControl) + Send + Sync>);

impl ControlSender {
    /// A sender that calls `send`, which must not block.
    pub fn new(send: impl Fn(ToControl) + Send + Sync + 'static) -> Self {
        Self(Arc::new(send))
    }

    /// Tells the control side; when that has ended, the gateway ends, and nobody waits for an answer.
    pub fn send(&self, told: ToControl) {
        (self.0)(told);
    }
}

impl fmt::Debug for ControlSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ControlSender")
    }
}
