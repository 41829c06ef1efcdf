//! What a shard tells the control side.

use super::Ticket;
use super::fn_sender::FnSender;
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
pub type ControlSender = FnSender<ToControl>;
