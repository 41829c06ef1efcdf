//! What clients and the gateway say to each other, and how it is written. Pure.
//!
//! | part | what it is |
//! |---|---|
//! | [`request`] | what clients ask for |
//! | [`terms`] | on which terms they are served |
//! | [`reply`] | what the gateway says to one client |
//! | [`refusal`] | why a request changes nothing |
//! | [`native`] | the gateway's own protocol: JSON in text frames |
//! | [`form`] | events in each form |
//! | [`sse`] | server-sent events |

pub mod form;
pub mod native;
pub mod refusal;
pub mod reply;
pub mod request;
pub mod sse;
pub mod terms;

use self::refusal::Refusal;
use self::reply::Reply;
use self::request::{Grammar, Request};
use crate::market::{Form, Kinds};
use crate::websocket::header;

/// How a connection's requests are read and its replies written; `http::upgrade` decides on it. Events are not among
/// them: they are written once in each form ([`form`]), for all clients together. A closed set, so that a connection keeps one byte of it and nothing is looked up
/// where messages are read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The gateway's own protocol: see [`native`].
    #[default]
    Native,
    /// The same with arrays of objects: several events in one, replies and statuses each in one of its own.
    Batch,
    /// Server-sent events: see [`sse`]. The client says nothing behind its HTTP request.
    Sse,
}

impl Dialect {
    /// The form that events have.
    pub const fn form(self) -> Form {
        match self {
            Self::Native => Form::JSON,
            Self::Batch => Form::JSON_BATCH,
            Self::Sse => Form::SSE,
        }
    }

    /// Whether the connection is a WebSocket: its client sends messages, answers pings and is closed by a frame.
    #[inline]
    pub const fn is_web_socket(self) -> bool {
        !matches!(self, Self::Sse)
    }

    /// Whether events are parts of messages, which are begun when they are written.
    #[inline]
    pub const fn has_messages_of_events(self) -> bool {
        matches!(self, Self::Batch)
    }

    /// Reads a text message of the client, which speaks WebSocket.
    ///
    /// # Errors
    /// A [`Refusal`] for the client; nothing has changed then.
    pub fn read(self, message: &str, grammar: &Grammar) -> Result<Request, Refusal> {
        match self {
            Self::Native | Self::Batch | Self::Sse => native::read::parse(message, grammar),
        }
    }

    /// Writes a reply or status: a complete frame, or server-sent event. `kinds` has the names of the types.
    pub fn reply(self, reply: &Reply<'_>, kinds: &Kinds, now_ms: u64) -> Vec<u8> {
        let object = native::write::reply(reply, kinds, now_ms);
        match self {
            Self::Native => header::text(&object),
            Self::Batch => header::text(&[&b"["[..], &object, b"]"].concat()),
            Self::Sse => sse::reply(reply, &object),
        }
    }
}
