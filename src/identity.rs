//! Who a client is and what it may have. Pure.
//!
//! | part | what it is |
//! |---|---|
//! | [`claims`] | what a token's claims say of its user and of its rights |
//! | [`rights`] | what a client may subscribe to |
//! | [`scope`] | the names among it |
//!
//! The control side decides who a client is and sends that along with its connection. The client's shard intersects each subscribe
//! with the rights. Nothing is filtered when events are delivered.

pub mod claims;
pub mod rights;
pub mod scope;

use std::fmt;
use std::sync::Arc;

pub use self::rights::{Grant, Granted, Rights};

/// The longest name of a user, in bytes.
const USER_BYTES_MAX: usize = 128;

/// Who a client is, what it may have, and until when. Clients without a token share one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// The user; `None` for a client without a token.
    pub user: Option<User>,
    /// What the client may subscribe to.
    pub rights: Rights,
    /// When the token ends, if it does.
    pub expiry: Option<Expiry>,
}

impl Identity {
    /// A client without a token that has these rights.
    pub const fn anonymous(rights: Rights) -> Self {
        Self { user: None, rights, expiry: None }
    }
}

/// When a token ends, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// As the token says.
    pub expires_ms: u64,
    /// When the gateway acts on it: later by `JWT_LEEWAY`.
    pub ends_ms: u64,
}

/// The name of a user: 1 to 128 bytes of UTF-8 without control characters, `"` and `\`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct User(Arc<str>);

impl User {
    /// Checks a name; `None` if it is none.
    pub fn parse(name: &str) -> Option<Self> {
        let fits = (1..=USER_BYTES_MAX).contains(&name.len());
        let is_plain = |char: char| !char.is_control() && char != '"' && char != '\\';
        (fits && name.chars().all(is_plain)).then(|| Self(name.into()))
    }

    /// The name as text. It needs no escape in JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_users() {
        for name in ["u", "user-123", "Zoë 🙂", "a@b.example", "'", "7", &"x".repeat(128)] {
            assert_eq!(User::parse(name).as_ref().map(User::as_str), Some(name));
        }
        for bad in ["", "a\"b", "a\\b", "a\nb", "\u{7f}", "a\u{85}b", &"x".repeat(129), &"é".repeat(65)] {
            assert_eq!(User::parse(bad), None, "{bad:?}");
        }
    }
}
