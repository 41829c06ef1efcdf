//! Reads published messages from a subscribed connection's bytes. This is on the hot path.
//!
//! Every published message begins with the same few bytes, so the parser compares them as a whole; three lengths and
//! three slices follow. Everything else on such a connection is rare and goes through [`parse_reply`].
//!
//! Anyone may publish 512 MiB through Redis. Such a message must cost neither the link nor a buffer of that size. So the
//! parser reports a channel or payload beyond the limit as soon as it has read its length and an excerpt, and then
//! discards it piece by piece.

use super::{Progress, REDIS_BULK_BYTES_MAX, Reply, ReplyLimits, RespError, bad_number, parse_reply};

/// A `pmessage` up to its pattern's length. RESP3 has `>` for the `*`.
const PMESSAGE: &[u8; 18] = b"*4\r\n$8\r\npmessage\r\n";
/// A `message` up to its channel's length. RESP3 has `>` for the `*`.
const MESSAGE: &[u8; 17] = b"*3\r\n$7\r\nmessage\r\n";
/// The longest bulk header that can be good: `$536870912\r\n`.
const BULK_HEADER_BYTES_MAX: usize = 12;
/// The shortest bulk: `$0\r\n\r\n`.
const BULK_BYTES_MIN: usize = 6;

/// How long the strings of a message may be; longer ones are discarded.
#[derive(Debug, Clone, Copy)]
pub struct FeedLimits {
    /// The longest channel or pattern, in bytes.
    pub name_bytes_max: usize,
    /// The longest payload, in bytes.
    pub payload_bytes_max: usize,
    /// The length of the excerpt from the beginning of a longer payload, for the log. Below `payload_bytes_max`.
    pub excerpt_bytes: usize,
}

impl FeedLimits {
    /// How many bytes of input a caller must be able to hold, so that every message within the limits fits.
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
    /// The published bytes.
    pub payload: &'a [u8],
}

/// A published message, or another reply or push of a subscribed server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed<'a> {
    /// A message.
    Message(Message<'a>),
    /// A message beyond the limits, which is being discarded.
    TooLarge {
        /// Its channel; `None` if the channel is too long.
        channel: Option<&'a [u8]>,
        /// The length of the string beyond the limits: the payload's, or the channel's if there is no `channel`.
        bytes: usize,
        /// The first [`FeedLimits::excerpt_bytes`] bytes of the payload; empty if there is no `channel`.
        excerpt: &'a [u8],
    },
    /// A channel or pattern is subscribed to.
    Subscribed(&'a [u8]),
    /// A channel or pattern is not subscribed to any more. If the gateway didn't ask for that, the server ended the subscription.
    Unsubscribed(&'a [u8]),
    /// The answer to `PING`, in any of its three forms.
    Pong,
    /// An error reply; its text begins with a code.
    Error(&'a [u8]),
    /// Another reply or push, such as the answers to `HELLO` and `AUTH`.
    Other(Reply<'a>),
}

/// The result of [`FeedParser::next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A whole message, reply or push.
    Said {
        /// Its content.
        feed: Feed<'a>,
        /// How many bytes of input the caller drops.
        used_bytes: usize,
    },
    /// The input begins with bytes of a message that is too large.
    Discarded {
        /// How many bytes of input the caller drops.
        used_bytes: usize,
    },
    /// See [`Progress::Incomplete`].
    Incomplete {
        /// The least total length of input with which the parser can get further.
        needed_bytes: usize,
    },
}

/// Parses a feed. It keeps no input, only the count of bytes that are still to be discarded.
#[derive(Debug)]
pub struct FeedParser {
    limits: FeedLimits,
    /// Bytes still to be discarded.
    discard_bytes: usize,
    /// Whether to discard one more bulk behind these bytes: the payload of a message whose channel was too long.
    discard_bulk: bool,
}

/// The place of a bulk's content in the input.
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

    /// Parses the front of `input`. The caller drops `used_bytes` of it and calls again with the rest.
    ///
    /// # Errors
    /// The bytes are no RESP, or something else than a message is beyond [`ReplyLimits::DEFAULT`]. The caller drops the link.
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
                // The gateway subscribed to no pattern of that length.
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

    /// Reports a message; the content of `bulk` and its CRLF are discarded by the next calls.
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
/// Nearly all are `$`, one to five digits and CRLF, with more input behind them: these are read with one bounds check.
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

/// As [`bulk`], for any header: a long one, one that is not whole yet, a malformed one.
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

/// Asks for `needed_bytes`, and for one byte more than there is at least.
#[cold]
fn incomplete<'a>(input: &[u8], needed_bytes: usize) -> Step<'a> {
    Step::Incomplete { needed_bytes: needed_bytes.max(input.len() + 1) }
}

/// Parses everything but a published message.
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
