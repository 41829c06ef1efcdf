//! What a shard tells the control side.

use super::Ticket;
use super::desk::DeskAsk;
use super::fn_sender::FnSender;
use crate::protocol::request::Token;

/// What a shard tells the control side. Not bounded by itself: a connection has at most one `Verify` under way, as its further requests
/// wait for the answer.
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
        /// Whether the client has its place among its user's connections already.
        has_seat: bool,
    },
    /// Something of the desk: see [`DeskAsk`].
    Desk(DeskAsk),
}

/// How shards speak to the control side. A shard knows nothing else of it.
pub type ControlSender = FnSender<ToControl>;
