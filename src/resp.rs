//! The Redis serialization protocol (RESP): parses bytes into borrowed values, and writes values. Pure.
//!
//! | function | reads or writes | module |
//! |---|---|---|
//! | [`FeedParser`] | the messages of a subscribed server; on the hot path | `feed` |
//! | [`parse_reply`] | any RESP2 or RESP3 reply | `reply` |
//! | [`parse_command`] | the commands of the embedded broker's clients | `command` |
//! | `write_*` | replies and commands | `write` |
//!
//! Invariants: parsing copies nothing and, inline commands aside, allocates nothing. Every announced length is checked
//! against a limit before it is used, and none reserves memory. Nothing recurses.
//!
//! A parser starts at the front of its input every time, so a caller that parsed again after every read would parse a
//! frame of n bytes n times. [`Progress::Incomplete`] prevents that: it gives the least length of input with which
//! the parser can get further, counting every announced byte and the least size of every announced element. So the
//! work is O(n log n), however small the pieces are in which a frame arrives.
//!
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>, and redis-server 7.0.15 where that
//! is silent.

mod command;
mod feed;
mod reply;
mod write;

use memchr::memchr;
use thiserror::Error;

pub use command::{Args, Command, CommandError, CommandLimits, parse_command};
pub use feed::{Feed, FeedLimits, FeedParser, Message, Step};
pub use reply::{Elements, Reply, ReplyLimits, parse_reply};
pub use write::{
    Protocol, write_array_header, write_bulk, write_command, write_error, write_integer, write_map_header,
    write_null, write_push_header, write_simple, write_verbatim,
};

/// The result of parsing the front of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<T> {
    /// The frame is whole.
    Done {
        /// Its content.
        value: T,
        /// Its length in the input, in bytes.
        used_bytes: usize,
    },
    /// The frame is not whole yet. The parser can't get further before the input holds `needed_bytes` in all (always more
    /// than it holds now).
    Incomplete {
        /// The least total length of input, from the frame's first byte on.
        needed_bytes: usize,
    },
}

/// Why bytes from a server are no reply. What follows them can't be understood either, so the caller drops the link.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RespError {
    /// A reply begins with a byte that is no type of RESP2 or RESP3.
    #[error("a reply begins with byte 0x{0:02x}, which is no RESP type")]
    UnknownType(u8),
    /// A length or a number is malformed.
    #[error("a reply's length or number is malformed: {0:?}")]
    BadNumber(String),
    /// A value that has a fixed form (null, boolean, double, verbatim string) is malformed.
    #[error("a reply of type {0:?} is malformed")]
    Malformed(char),
    /// CR without LF, or a bulk that doesn't end where it was announced to.
    #[error("a reply lacks its CRLF where it was announced to end")]
    MissingCrlf,
    /// A line is longer than the limit.
    #[error("a reply's line is longer than {max_bytes} bytes")]
    LineTooLong {
        /// The limit.
        max_bytes: usize,
    },
    /// A bulk string is longer than the limit.
    #[error("a reply announces a string of {bytes} bytes; at most {max_bytes} are accepted")]
    BulkTooLong {
        /// The announced length, in bytes.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// An aggregate has more elements than the limit.
    #[error("a reply announces {elements} elements; at most {max} are accepted")]
    TooManyElements {
        /// The announced count.
        elements: usize,
        /// The limit.
        max: usize,
    },
    /// Aggregates are nested deeper than [`DEPTH_MAX`].
    #[error("a reply is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// The whole reply would be longer than the limit.
    #[error("a reply needs at least {bytes} bytes; at most {max_bytes} are accepted")]
    ReplyTooLong {
        /// The least length of the reply, as far as it is known.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
}

/// How deep aggregates of a reply may be nested. Redis' own replies reach 4 (`COMMAND DOCS`).
pub const DEPTH_MAX: usize = 8;

/// The longest string that Redis accepts, and therefore may send (`proto-max-bulk-len`'s default): 512 MiB.
pub const REDIS_BULK_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The content of the line at `start` without CRLF, and where the next line begins. `None` if the line is not whole yet.
fn line(input: &[u8], start: usize, max_bytes: usize) -> Result<Option<(&[u8], usize)>, RespError> {
    let rest = input.get(start..).unwrap_or_default();
    let window = &rest[..rest.len().min(max_bytes + 1)];
    let Some(end) = memchr(b'\r', window) else {
        return if window.len() > max_bytes { Err(RespError::LineTooLong { max_bytes }) } else { Ok(None) };
    };
    match rest.get(end + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some((&rest[..end], start + end + 2))),
        Some(_) => Err(RespError::MissingCrlf),
    }
}

/// A decimal number as Redis' `string2ll` takes it: an optional minus, digits, no leading zero, no plus, in the
/// range of `i64`.
pub(crate) fn decimal(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 19 || (digits[0] == b'0' && text.len() > 1) {
        return None;
    }
    let mut value: i64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Counted downwards, because i64::MIN has no positive counterpart.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// The error for a malformed number. It quotes 32 bytes at most.
fn bad_number(text: &[u8]) -> RespError {
    RespError::BadNumber(String::from_utf8_lossy(&text[..text.len().min(32)]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_those_of_redis() {
        for value in [0, 1, 9, 10, -1, 42, i64::MAX, i64::MIN] {
            assert_eq!(decimal(value.to_string().as_bytes()), Some(value));
        }
        for bad in
            ["", "-", "+1", "01", "-0", "00", " 1", "1 ", "1a", "9223372036854775808", "99999999999999999999"]
        {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_line_ends_at_crlf_and_nowhere_else() {
        assert_eq!(line(b"+OK\r\nx", 1, 10), Ok(Some((&b"OK"[..], 5))));
        assert_eq!(line(b"+OK\r", 1, 10), Ok(None));
        assert_eq!(line(b"+OK", 1, 10), Ok(None));
        assert_eq!(line(b"+OK\rx", 1, 10), Err(RespError::MissingCrlf));
        assert_eq!(line(b"abc\r\n", 0, 3), Ok(Some((&b"abc"[..], 5))));
        assert_eq!(line(b"abcd\r\n", 0, 3), Err(RespError::LineTooLong { max_bytes: 3 }));
    }
}
