//! Why a request changes nothing, and the words for it: they name the field, its value and what is allowed.

use super::desk::{Concern, RequestId};
use super::request::Id;
use crate::market::Name;

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;

/// How much of a bad value an error message repeats.
const QUOTED_BYTES_MAX: usize = 80;

/// How much of a parser's error a refusal repeats.
const FAULT_BYTES_MAX: usize = 160;

/// The `code` of an error reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The message is not JSON.
    InvalidJson,
    /// A field is missing, of the wrong type or has a value that is not allowed.
    InvalidInput,
    /// `action` is none of those we know.
    UnknownAction,
    /// The client would hold more symbols than `MAX_SYMBOLS_PER_CLIENT`.
    SymbolLimitExceeded,
    /// The client sends messages faster than `MESSAGE_RATE_LIMIT`.
    RateLimitExceeded,
    /// The client hasn't shown who it is, or its token doesn't hold.
    Unauthorized,
    /// The client's rights don't cover what it asks for.
    Forbidden,
    /// The client's user has `MAX_CONNECTIONS_PER_USER` others, or a newer connection has taken its place.
    TooManyConnections,
    /// The message is longer than `MAX_MESSAGE_SIZE`.
    MessageTooLarge,
    /// The client does not read fast enough for `SLOW_CLIENT_POLICY=disconnect`.
    SlowClient,
    /// The upstream can't take it now, or has not said that it has.
    Unavailable,
    /// There is no such user.
    NotFound,
    /// The client's user is in `MAX_ROOMS_PER_USER` rooms.
    RoomLimitExceeded,
    /// No worker has answered within `REQUEST_TIMEOUT`.
    Timeout,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::InvalidJson,
        Self::InvalidInput,
        Self::UnknownAction,
        Self::SymbolLimitExceeded,
        Self::RateLimitExceeded,
        Self::Unauthorized,
        Self::Forbidden,
        Self::TooManyConnections,
        Self::MessageTooLarge,
        Self::SlowClient,
        Self::Unavailable,
        Self::NotFound,
        Self::RoomLimitExceeded,
        Self::Timeout,
    ];

    /// The code as clients parse it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "INVALID_JSON",
            Self::InvalidInput => "INVALID_INPUT",
            Self::UnknownAction => "UNKNOWN_ACTION",
            Self::SymbolLimitExceeded => "SYMBOL_LIMIT_EXCEEDED",
            Self::RateLimitExceeded => "RATE_LIMIT_EXCEEDED",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Forbidden => "FORBIDDEN",
            Self::TooManyConnections => "TOO_MANY_CONNECTIONS",
            Self::MessageTooLarge => "MESSAGE_TOO_LARGE",
            Self::SlowClient => "SLOW_CLIENT",
            Self::Unavailable => "UNAVAILABLE",
            Self::NotFound => "NOT_FOUND",
            Self::RoomLimitExceeded => "ROOM_LIMIT_EXCEEDED",
            Self::Timeout => "TIMEOUT",
        }
    }
}

/// Why a request changes nothing. The client gets it as an error reply and may go on.
#[derive(Debug, PartialEq)]
pub struct Refusal {
    /// The kind of mistake.
    pub code: ErrorCode,
    /// The field, its value and what is allowed.
    pub message: String,
    /// Whole seconds after which the client may try again; for [`ErrorCode::RateLimitExceeded`].
    pub retry_after_s: Option<u64>,
    /// What the client may not have; for [`ErrorCode::Forbidden`].
    pub forbidden: Option<Box<Forbidden>>,
    /// What of the desk it is about.
    pub concern: Option<Box<Concern>>,
    /// That of a question to the workers.
    pub request_id: Option<Box<RequestId>>,
    /// The request's `id`, if it could be read.
    pub id: Option<Id>,
    /// What the code alone doesn't tell.
    pub cause: Cause,
}

/// What a code alone doesn't tell, for dialects that have a code for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cause {
    /// The code says it all.
    #[default]
    Code,
    /// The client hasn't shown who it is.
    NotAuthenticated,
    /// It hasn't in time.
    AuthTimeout,
    /// It has already.
    AlreadyAuthenticated,
    /// It asks for a type of events that the gateway doesn't carry, or that nobody has.
    NotCarried,
    /// It would hold more symbols than it may.
    TooManySymbols {
        /// How many it may hold.
        max: usize,
        /// How many it holds.
        held: usize,
    },
    /// It asks for a property of its connection that there is none of.
    UnknownProperty,
    /// It sets a property to what is neither true nor false.
    NotBoolean,
}

/// What of a request the client may not have.
#[derive(Debug, PartialEq)]
pub struct Forbidden {
    /// The names.
    pub symbols: Vec<Name>,
    /// The types, by name.
    pub types: Vec<Box<str>>,
}

impl Forbidden {
    /// Whether the client may have everything.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty() && self.types.is_empty()
    }
}

impl Refusal {
    /// A refusal without `id`.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after_s: None,
            forbidden: None,
            concern: None,
            request_id: None,
            id: None,
            cause: Cause::Code,
        }
    }

    /// A request that would take the client over `MAX_SYMBOLS_PER_CLIENT`.
    pub fn symbol_limit(max_symbols: usize, held: usize, id: Option<Id>) -> Self {
        let message = format!("Cannot subscribe: would exceed maximum of {max_symbols} symbols");
        let cause = Cause::TooManySymbols { max: max_symbols, held };
        Self { id, cause, ..Self::new(ErrorCode::SymbolLimitExceeded, message) }
    }

    /// A request for what the client may not have.
    pub fn forbidden(forbidden: Forbidden) -> Self {
        let symbols = forbidden.symbols.iter().map(ToString::to_string);
        let names: Vec<_> = symbols.chain(forbidden.types.iter().map(ToString::to_string)).collect();
        let message = format!("Not allowed: the client's rights don't cover {}", quoted(&names.join(", ")));
        Self { forbidden: Some(Box::new(forbidden)), ..Self::new(ErrorCode::Forbidden, message) }
    }

    /// A request of a client that has to show first who it is.
    pub fn unauthenticated(id: Option<Id>) -> Self {
        let message = r#"Not authenticated: send {"action":"auth","token":"..."} first"#;
        Self { id, cause: Cause::NotAuthenticated, ..Self::new(ErrorCode::Unauthorized, message) }
    }

    /// A pattern where patterns aren't allowed.
    pub fn no_wildcards(pattern: &Name) -> Self {
        // None of a name's characters needs an escape.
        invalid(
            "symbols",
            &format!("\"{pattern}\""),
            "a symbol: this gateway has no wildcards (ALLOW_WILDCARD)",
        )
    }

    /// A request to the desk that the client's rights don't cover.
    pub fn not_at_desk(concern: Option<Concern>, message: &str, id: Option<Id>) -> Self {
        Self { concern: concern.map(Box::new), id, ..Self::new(ErrorCode::Forbidden, message) }
    }

    /// A binary frame: the protocol is text only.
    pub fn binary() -> Self {
        Self::new(ErrorCode::InvalidInput, "Binary frames are not supported: send JSON in text frames")
    }
}

pub(super) fn missing(field: &str, allowed: &str) -> Refusal {
    Refusal::new(ErrorCode::InvalidInput, format!("Missing field {field}: must be {allowed}"))
}

pub(super) fn invalid(field: &str, value: &str, allowed: &str) -> Refusal {
    let message = format!("Invalid {field} {}: must be {allowed}", quoted(value));
    Refusal::new(ErrorCode::InvalidInput, message)
}

/// A value as an error repeats it: cut to a readable length.
pub(super) fn quoted(value: &str) -> String {
    cut(value, QUOTED_BYTES_MAX)
}

/// What serde_json has found wrong with a message. It repeats a value of the wrong type whole, so this is cut to a readable length.
pub(super) fn fault(error: &serde_json::Error) -> String {
    cut(&error.to_string(), FAULT_BYTES_MAX)
}

fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    format!("{}...", &text[..text.floor_char_boundary(bytes_max)])
}
