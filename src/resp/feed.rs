//! The hot path: published messages out of a subscribed connection's bytes.
//!
//! A published message always has the same few bytes in front, so they are compared as a whole, and what follows
//! is three lengths and three slices. Everything else on such a connection is rare and goes through
//! [`parse_reply`].
//!
//! Anyone may publish 512 MiB through Redis. Such a message must cost neither the link nor a buffer of that size,
//! so a channel or payload beyond the limit is reported as soon as its length is read, and then discarded as it
//! comes in.

use super::{Progress, REDIS_BULK_BYTES_MAX, Reply, ReplyLimits, RespError, bad_number, parse_reply};

/// A `pmessage` up to its pattern's length. RESP3 has `>` for the `*`.
const PMESSAGE: &[u8; 18] = b"*4\r\n$8\r\npmessage\r\n";
/// A `message` up to its channel's length. RESP3 has `>` for the `*`.
const MESSAGE: &[u8; 17] = b"*3\r\n$7\r\nmessage\r\n";
/// The longest bulk header that can be good: `$536870912\r\n`.
const BULK_HEADER_BYTES_MAX: usize = 12;
/// The shortest bulk: `$0\r\n\r\n`.
const BULK_BYTES_MIN: usize = 6;

/// What is handed out of a feed; longer strings are discarded.
#[derive(Debug, Clone, Copy)]
pub struct FeedLimits {
    /// The longest channel or pattern, in bytes.
    pub name_bytes_max: usize,
    /// The longest payload, in bytes.
    pub payload_bytes_max: usize,
    /// How much of a longer payload is handed out, in bytes: its beginning, for the log. Below `payload_bytes_max`.
    pub excerpt_bytes: usize,
}

impl FeedLimits {
    /// How much of the input a caller must be able to hold for every message within the limits.
    pub const fn input_bytes_max(&self) -> usize {
        let message = PMESSAGE.len()
            + 3 * (BULK_HEADER_BYTES_MAX + 2)
            + 2 * self.name_bytes_max
            + self.payload_bytes_max;
        let reply = ReplyLimits::DEFAULT.total_bytes_max;
        if message > reply { message } else { reply }
    }
}

/// A published message, borrowed from the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The pattern that the channel matched; `None` for a subscription to the channel itself.
    pub pattern: Option<&'a [u8]>,
    /// The channel it was published to.
    pub channel: &'a [u8],
    /// What was published.
    pub payload: &'a [u8],
}

/// One thing that a subscribed server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed<'a> {
    /// A message.
    Message(Message<'a>),
    /// A message beyond the limits, which is being discarded.
    TooLarge {
        /// Its channel; `None` if that is what is too long.
        channel: Option<&'a [u8]>,
        /// The length of the string beyond the limits: the payload's, or the channel's if there is no `channel`.
        bytes: usize,
        /// The first [`FeedLimits::excerpt_bytes`] bytes of the payload; empty if there is no `channel`.
        excerpt: &'a [u8],
    },
    /// A channel or pattern is subscribed to.
    Subscribed(&'a [u8]),
    /// A channel or pattern is not subscribed to any more. Unasked for, it means that the server took it away.
    Unsubscribed(&'a [u8]),
    /// The answer to `PING`, in any of its three forms.
    Pong,
    /// An error; its text begins with a code.
    Error(&'a [u8]),
    /// Another reply or push, such as the answers to `HELLO` and `AUTH`.
    Other(Reply<'a>),
}

/// What [`FeedParser::next`] made of the front of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Something was said, in `used_bytes` of the input.
    Said {
        /// What.
        feed: Feed<'a>,
        /// How many bytes of the input are done with.
        used_bytes: usize,
    },
    /// `used_bytes` of the input belong to a message that is too large: drop them.
    Discarded {
        /// How many bytes of the input are done with.
        used_bytes: usize,
    },
    /// See [`Progress::Incomplete`].
    Incomplete {
        /// The least total length of input at which it is worth while to ask again.
        needed_bytes: usize,
    },
}

/// Takes a feed apart. It keeps no input, only how much of it is to be discarded.
#[derive(Debug)]
pub struct FeedParser {
    limits: FeedLimits,
    /// Bytes still to be discarded.
    discard_bytes: usize,
    /// Whether behind those a whole bulk is to be discarded too (the payload of a channel that was too long).
    discard_bulk: bool,
}

/// Where a bulk's content lies.
struct Bulk {
    start: usize,
    len: usize,
}

impl Bulk {
    /// Where the next element begins.
    const fn end(&self) -> usize {
        self.start + self.len + 2
    }
}

impl FeedParser {
    /// A parser at the beginning of a connection's stream.
    pub const fn new(limits: FeedLimits) -> Self {
        Self { limits, discard_bytes: 0, discard_bulk: false }
    }

    /// Takes the next thing off the front of `input`. The caller drops `used_bytes` and comes back with the rest.
    ///
    /// # Errors
    /// The stream is no RESP, or goes beyond [`ReplyLimits::DEFAULT`] elsewhere than in a message: the link must
    /// be dropped.
    #[inline]
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, RespError> {
        if self.discard_bytes > 0 || self.discard_bulk {
            return self.discard(input);
        }
        // Past its first byte a message is the same in RESP2 and RESP3.
        if let Some(b'*' | b'>') = input.first() {
            if input.get(1..PMESSAGE.len()) == Some(&PMESSAGE[1..]) {
                return self.message(input, PMESSAGE.len(), true);
            }
            if input.get(1..MESSAGE.len()) == Some(&MESSAGE[1..]) {
                return self.message(input, MESSAGE.len(), false);
            }
        }
        other(input)
    }

    #[inline]
    fn message<'a>(&mut self, input: &'a [u8], at: usize, has_pattern: bool) -> Result<Step<'a>, RespError> {
        let (name_max, payload_max) = (self.limits.name_bytes_max, self.limits.payload_bytes_max);
        let mut at = at;
        let mut pattern = None;
        if has_pattern {
            let Some(bulk) = bulk(input, at)? else { return Ok(incomplete(input, at + 3 * BULK_BYTES_MIN)) };
            if bulk.len > name_max {
                // Patterns are those that we subscribed to ourselves.
                return Err(RespError::BulkTooLong { bytes: bulk.len, max_bytes: name_max });
            }
            let Some(bytes) = content(input, &bulk)? else {
                return Ok(incomplete(input, bulk.end() + 2 * BULK_BYTES_MIN));
            };
            pattern = Some(bytes);
            at = bulk.end();
        }
        let Some(bulk_channel) = bulk(input, at)? else {
            return Ok(incomplete(input, at + 2 * BULK_BYTES_MIN));
        };
        if bulk_channel.len > name_max {
            self.discard_bulk = true;
            return Ok(self.too_large(None, &bulk_channel, &[]));
        }
        let Some(channel) = content(input, &bulk_channel)? else {
            return Ok(incomplete(input, bulk_channel.end() + BULK_BYTES_MIN));
        };
        at = bulk_channel.end();
        let Some(bulk_payload) = bulk(input, at)? else { return Ok(incomplete(input, at + BULK_BYTES_MIN)) };
        if bulk_payload.len > payload_max {
            let excerpt_end = bulk_payload.start + self.limits.excerpt_bytes.min(bulk_payload.len);
            let Some(excerpt) = input.get(bulk_payload.start..excerpt_end) else {
                return Ok(incomplete(input, excerpt_end));
            };
            return Ok(self.too_large(Some(channel), &bulk_payload, excerpt));
        }
        let Some(payload) = content(input, &bulk_payload)? else {
            return Ok(incomplete(input, bulk_payload.end()));
        };
        let feed = Feed::Message(Message { pattern, channel, payload });
        Ok(Step::Said { feed, used_bytes: bulk_payload.end() })
    }

    /// Reports a message and leaves the content of `bulk`, and what follows it, to be discarded.
    #[cold]
    fn too_large<'a>(&mut self, channel: Option<&'a [u8]>, bulk: &Bulk, excerpt: &'a [u8]) -> Step<'a> {
        self.discard_bytes = bulk.len + 2;
        Step::Said { feed: Feed::TooLarge { channel, bytes: bulk.len, excerpt }, used_bytes: bulk.start }
    }

    #[cold]
    fn discard<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, RespError> {
        if input.is_empty() {
            return Ok(Step::Incomplete { needed_bytes: 1 });
        }
        if self.discard_bytes > 0 {
            let used_bytes = self.discard_bytes.min(input.len());
            self.discard_bytes -= used_bytes;
            return Ok(Step::Discarded { used_bytes });
        }
        let Some(bulk) = bulk(input, 0)? else { return Ok(incomplete(input, BULK_BYTES_MIN)) };
        self.discard_bulk = false;
        self.discard_bytes = bulk.len + 2;
        Ok(Step::Discarded { used_bytes: bulk.start })
    }
}

/// The header of the bulk at `at`; `None` if it is not whole yet.
///
/// Nearly all are `$`, one to five digits and CRLF with more behind them: those are read without a bound in sight.
#[inline]
fn bulk(input: &[u8], at: usize) -> Result<Option<Bulk>, RespError> {
    if let Some(&[b'$', ref digits @ ..]) = input.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let mut len = 0;
        for i in 0..digits.len() - 1 {
            let digit = digits[i].wrapping_sub(b'0');
            if digit > 9 {
                if i > 0 && digits[i] == b'\r' && digits[i + 1] == b'\n' {
                    return Ok(Some(Bulk { start: at + i + 3, len }));
                }
                break;
            }
            len = len * 10 + usize::from(digit);
        }
    }
    any_bulk(input, at)
}

/// The same for every header: long, cut off, or wrong.
#[cold]
fn any_bulk(input: &[u8], at: usize) -> Result<Option<Bulk>, RespError> {
    let header = input.get(at..).unwrap_or_default();
    let mut len = 0;
    for (i, &byte) in header.iter().take(BULK_HEADER_BYTES_MAX).enumerate() {
        match (i, byte) {
            (0, b'$') => {}
            (0, other) => return Err(RespError::UnknownType(other)),
            (_, b'0'..=b'9') => len = len * 10 + usize::from(byte - b'0'),
            (2.., b'\r') => {
                return match header.get(i + 1) {
                    None => Ok(None),
                    Some(b'\n') if len <= REDIS_BULK_BYTES_MAX => Ok(Some(Bulk { start: at + i + 2, len })),
                    Some(b'\n') => {
                        Err(RespError::BulkTooLong { bytes: len, max_bytes: REDIS_BULK_BYTES_MAX })
                    }
                    Some(_) => Err(RespError::MissingCrlf),
                };
            }
            // Quoted up to the bad byte only, so that the error is the same however much has arrived.
            _ => return Err(bad_number(&header[1..=i])),
        }
    }
    if header.len() < BULK_HEADER_BYTES_MAX {
        return Ok(None);
    }
    Err(bad_number(&header[1..BULK_HEADER_BYTES_MAX]))
}

/// The content of a bulk; `None` if it is not whole yet.
#[inline]
fn content<'a>(input: &'a [u8], bulk: &Bulk) -> Result<Option<&'a [u8]>, RespError> {
    let Some(bytes) = input.get(bulk.start..bulk.end()) else { return Ok(None) };
    match bytes.split_at(bulk.len) {
        (content, b"\r\n") => Ok(Some(content)),
        _ => Err(RespError::MissingCrlf),
    }
}

/// `needed_bytes` is what the caller knows of; at least one more byte is always needed.
#[cold]
fn incomplete<'a>(input: &[u8], needed_bytes: usize) -> Step<'a> {
    Step::Incomplete { needed_bytes: needed_bytes.max(input.len() + 1) }
}

/// Whatever isn't a message as every server writes it.
#[cold]
fn other(input: &[u8]) -> Result<Step<'_>, RespError> {
    Ok(match parse_reply(input, &ReplyLimits::DEFAULT)? {
        Progress::Incomplete { needed_bytes } => Step::Incomplete { needed_bytes },
        Progress::Done { value, used_bytes } => Step::Said { feed: classify(value), used_bytes },
    })
}

fn classify(reply: Reply<'_>) -> Feed<'_> {
    match reply {
        Reply::Simple(b"PONG") => Feed::Pong,
        Reply::Error(text) => Feed::Error(text),
        Reply::Array(mut elements) | Reply::Push(mut elements) => match (elements.next(), elements.next()) {
            (Some(Reply::Bulk(b"subscribe" | b"psubscribe")), Some(Reply::Bulk(name))) => {
                Feed::Subscribed(name)
            }
            (Some(Reply::Bulk(b"unsubscribe" | b"punsubscribe")), Some(Reply::Bulk(name))) => {
                Feed::Unsubscribed(name)
            }
            (Some(Reply::Bulk(b"pong")), Some(Reply::Bulk(_))) => Feed::Pong,
            _ => Feed::Other(reply),
        },
        _ => Feed::Other(reply),
    }
}

#[cfg(test)]
mod tests;
