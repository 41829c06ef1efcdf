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

pub mod form;
pub mod native;
pub mod refusal;
pub mod reply;
pub mod request;
pub mod terms;

use self::refusal::Refusal;
use self::reply::Reply;
use self::request::{Grammar, Request, Subscribe};
use crate::market::{Form, Kinds};

/// How a connection's requests are read and its replies written; `http::upgrade` decides on it. Events are not among
/// them: they are written once in each form ([`form`]), for all clients together. A closed set, so that a connection keeps one byte of it and nothing is looked up
/// where messages are read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The gateway's own protocol: see [`native`].
    #[default]
    Native,
}

impl Dialect {
    /// The form that events have.
    pub const fn form(self) -> Form {
        match self {
            Self::Native => Form::JSON,
        }
    }

    /// Reads a text message of the client.
    ///
    /// # Errors
    /// A [`Refusal`] for the client; nothing has changed then.
    pub fn read(self, message: &str, grammar: &Grammar) -> Result<Request, Refusal> {
        match self {
            Self::Native => native::read::parse(message, grammar),
        }
    }

    /// Reads the symbols of a `?symbols=` query as those of a subscribe without options.
    ///
    /// # Errors
    /// A [`Refusal`] that names the first bad symbol.
    pub fn read_query<S: AsRef<str>>(self, symbols: &[S], grammar: &Grammar) -> Result<Subscribe, Refusal> {
        match self {
            Self::Native => native::read::parse_query(symbols, grammar),
        }
    }

    /// Writes a reply or status: a complete frame. `kinds` has the names of the types.
    pub fn reply(self, reply: &Reply<'_>, kinds: &Kinds, now_ms: u64) -> Vec<u8> {
        match self {
            Self::Native => native::write::reply(reply, kinds, now_ms),
        }
    }
}
