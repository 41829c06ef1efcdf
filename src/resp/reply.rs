//! Replies of a Redis server, in RESP2 and RESP3.
//!
//! [`parse_reply`] first walks the frame to its end without recursion, checking every length, and then hands out
//! a borrowed view. The elements of an aggregate are parsed as the caller iterates over its [`Elements`], so a reply
//! of any shape costs no allocation.

use super::{DEPTH_MAX, Progress, RespError, bad_number, decimal, line};

/// The least bytes an element can have: a type and CRLF (`_\r\n`).
const ELEMENT_BYTES_MIN: usize = 3;

/// The limits beyond which a reply is refused.
#[derive(Debug, Clone, Copy)]
pub struct ReplyLimits {
    /// The longest bulk string, in bytes.
    pub bulk_bytes_max: usize,
    /// The longest line (simple strings, errors, numbers), in bytes.
    pub line_bytes_max: usize,
    /// The most elements of one aggregate; a map's pair is two.
    pub elements_max: usize,
    /// The longest reply, in bytes: how large the caller's buffer may have to become.
    pub total_bytes_max: usize,
}

impl ReplyLimits {
    /// Enough for the reply to every command that the gateway sends, and to `INFO`.
    pub const DEFAULT: Self = Self {
        bulk_bytes_max: 1024 * 1024,
        line_bytes_max: 16 * 1024,
        elements_max: 16 * 1024,
        total_bytes_max: 2 * 1024 * 1024,
    };

    /// For bytes that were checked before.
    const CHECKED: Self = Self {
        bulk_bytes_max: usize::MAX / 8,
        line_bytes_max: usize::MAX / 8,
        elements_max: usize::MAX / 8,
        total_bytes_max: usize::MAX,
    };
}

/// One reply, borrowed from the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `+`: a short text such as `OK`.
    Simple(&'a [u8]),
    /// `-` or `!`: an error's text, its code first.
    Error(&'a [u8]),
    /// `:`
    Integer(i64),
    /// `$`: a binary-safe string.
    Bulk(&'a [u8]),
    /// `=`: a string with a format of three bytes (`txt`, `mkd`).
    Verbatim {
        /// The format.
        format: &'a [u8],
        /// The string itself.
        text: &'a [u8],
    },
    /// `_`, `$-1` or `*-1`.
    Null,
    /// `#`
    Boolean(bool),
    /// `,`: a floating-point number as it was written.
    Double(&'a [u8]),
    /// `(`: an integer of any size as it was written.
    BigNumber(&'a [u8]),
    /// `*`
    Array(Elements<'a>),
    /// `~`
    Set(Elements<'a>),
    /// `%`: keys and values in turn.
    Map(Elements<'a>),
    /// `>`: a push, which answers no command.
    Push(Elements<'a>),
}

/// The elements of an aggregate, parsed as they are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elements<'a> {
    /// The elements that the iterator has not returned yet, whole and checked.
    bytes: &'a [u8],
    len: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Reply<'a>;

    fn next(&mut self) -> Option<Reply<'a>> {
        self.len = self.len.checked_sub(1)?;
        // The bytes were checked when the whole reply was, so this is always `Done`.
        let Ok(Progress::Done { value, used_bytes }) = parse_reply(self.bytes, &ReplyLimits::CHECKED) else {
            return None;
        };
        self.bytes = self.bytes.get(used_bytes..).unwrap_or_default();
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl ExactSizeIterator for Elements<'_> {}

/// Parses the reply at the front of `input`. RESP3 attributes (`|`), which annotate a reply, are skipped.
///
/// # Errors
/// The bytes are no reply, or a reply beyond `limits`: see [`RespError`]. The caller drops the link.
pub fn parse_reply<'a>(input: &'a [u8], limits: &ReplyLimits) -> Result<Progress<Reply<'a>>, RespError> {
    let mut walk = Walk::new(input, limits);
    loop {
        match walk.element()? {
            Walked::More => {}
            Walked::Incomplete { needed_bytes } => {
                let needed_bytes = needed_bytes.max(input.len() + 1);
                if needed_bytes > limits.total_bytes_max {
                    return Err(RespError::ReplyTooLong {
                        bytes: needed_bytes,
                        max_bytes: limits.total_bytes_max,
                    });
                }
                return Ok(Progress::Incomplete { needed_bytes });
            }
            Walked::Whole => {
                let used_bytes = walk.at;
                if used_bytes > limits.total_bytes_max {
                    return Err(RespError::ReplyTooLong {
                        bytes: used_bytes,
                        max_bytes: limits.total_bytes_max,
                    });
                }
                return Ok(Progress::Done { value: view(&input[walk.value_at..used_bytes])?, used_bytes });
            }
        }
    }
}

/// One aggregate that is being walked through.
#[derive(Clone, Copy, Default)]
struct Open {
    /// Elements still to come.
    left: usize,
    /// An attribute precedes an element and is none itself.
    attribute: bool,
}

/// A walk over a frame, element by element, to find its end.
struct Walk<'a> {
    input: &'a [u8],
    limits: &'a ReplyLimits,
    /// Where the next element begins.
    at: usize,
    /// Where the reply itself begins, behind attributes.
    value_at: usize,
    open: [Open; DEPTH_MAX],
    depth: usize,
    /// How many elements on all levels haven't been begun.
    elements_left: usize,
}

enum Walked {
    More,
    Whole,
    Incomplete { needed_bytes: usize },
}

impl<'a> Walk<'a> {
    fn new(input: &'a [u8], limits: &'a ReplyLimits) -> Self {
        Self { input, limits, at: 0, value_at: 0, open: Default::default(), depth: 0, elements_left: 1 }
    }

    /// Walks over one scalar or over one aggregate's header.
    fn element(&mut self) -> Result<Walked, RespError> {
        let Some(&kind) = self.input.get(self.at) else {
            return Ok(self.incomplete(self.at, self.elements_left));
        };
        if !b"+-:$*_#,(=!%~>|".contains(&kind) {
            return Err(RespError::UnknownType(kind));
        }
        let Some((text, next)) = line(self.input, self.at + 1, self.limits.line_bytes_max)? else {
            return Ok(self.incomplete(self.at, self.elements_left));
        };
        match kind {
            b'$' | b'=' | b'!' => {
                if let Some(bytes) = self.length(kind, text)? {
                    if bytes > self.limits.bulk_bytes_max {
                        return Err(RespError::BulkTooLong { bytes, max_bytes: self.limits.bulk_bytes_max });
                    }
                    let end = next + bytes;
                    match self.input.get(end..end + 2) {
                        None => return Ok(self.incomplete(end + 2, self.elements_left - 1)),
                        Some(b"\r\n") => {}
                        Some(_) => return Err(RespError::MissingCrlf),
                    }
                    if kind == b'=' && (bytes < 4 || self.input[next + 3] != b':') {
                        return Err(RespError::Malformed('='));
                    }
                    self.at = end + 2;
                    return Ok(self.close());
                }
            }
            b'*' | b'~' | b'>' | b'%' | b'|' => {
                if let Some(len) = self.length(kind, text)? {
                    self.at = next;
                    return self.descend(kind, len);
                }
            }
            _ => check_scalar(kind, text)?,
        }
        self.at = next;
        Ok(self.close())
    }

    /// An announced length; `None` is the null of RESP2.
    fn length(&self, kind: u8, text: &[u8]) -> Result<Option<usize>, RespError> {
        match decimal(text) {
            Some(-1) if matches!(kind, b'$' | b'*') => Ok(None),
            Some(len) => usize::try_from(len).map(Some).map_err(|_| bad_number(text)),
            None => Err(bad_number(text)),
        }
    }

    /// Enters an aggregate whose header was just read.
    fn descend(&mut self, kind: u8, len: usize) -> Result<Walked, RespError> {
        let max = self.limits.elements_max;
        let elements = if matches!(kind, b'%' | b'|') { len.saturating_mul(2) } else { len };
        if elements > max {
            return Err(RespError::TooManyElements { elements, max });
        }
        let attribute = kind == b'|';
        if elements == 0 {
            if attribute {
                self.mark_value();
                return Ok(Walked::More);
            }
            return Ok(self.close());
        }
        let Some(open) = self.open.get_mut(self.depth) else { return Err(RespError::TooDeep) };
        *open = Open { left: elements, attribute };
        self.depth += 1;
        self.elements_left = (self.elements_left - usize::from(!attribute)).saturating_add(elements);
        Ok(Walked::More)
    }

    /// Counts one whole element, and every aggregate that is whole with it.
    fn close(&mut self) -> Walked {
        self.elements_left -= 1;
        while let Some(level) = self.depth.checked_sub(1) {
            let open = &mut self.open[level];
            open.left -= 1;
            if open.left > 0 {
                return Walked::More;
            }
            let attribute = open.attribute;
            self.depth = level;
            if attribute {
                self.mark_value();
                return Walked::More;
            }
        }
        Walked::Whole
    }

    /// Notes that an attribute of the reply itself ends here.
    fn mark_value(&mut self) {
        if self.depth == 0 {
            self.value_at = self.at;
        }
    }

    fn incomplete(&self, from: usize, elements: usize) -> Walked {
        Walked::Incomplete { needed_bytes: from.saturating_add(elements.saturating_mul(ELEMENT_BYTES_MIN)) }
    }
}

/// Checks a type that is one line.
fn check_scalar(kind: u8, text: &[u8]) -> Result<(), RespError> {
    let good = match kind {
        b':' => return decimal(text).map(|_| ()).ok_or_else(|| bad_number(text)),
        b'_' => text.is_empty(),
        b'#' => matches!(text, b"t" | b"f"),
        b',' | b'(' => !text.is_empty(),
        _ => true,
    };
    if good { Ok(()) } else { Err(RespError::Malformed(char::from(kind))) }
}

/// The value of a whole frame that has been checked; `frame` begins behind its attributes.
fn view(frame: &[u8]) -> Result<Reply<'_>, RespError> {
    let kind = frame.first().copied().unwrap_or_default();
    let (text, next) = line(frame, 1, ReplyLimits::CHECKED.line_bytes_max)?.unwrap_or_default();
    let body = frame.get(next..).unwrap_or_default();
    let string = body.strip_suffix(b"\r\n").unwrap_or_default();
    let null = text == b"-1";
    let elements = |per: usize| Elements { bytes: body, len: element_count(text).saturating_mul(per) };
    Ok(match kind {
        b'+' => Reply::Simple(text),
        b'-' => Reply::Error(text),
        b'!' => Reply::Error(string),
        b':' => Reply::Integer(decimal(text).ok_or_else(|| bad_number(text))?),
        b'$' | b'*' if null => Reply::Null,
        b'$' => Reply::Bulk(string),
        b'=' => match string.split_at_checked(4) {
            Some((format, text)) => Reply::Verbatim { format: &format[..3], text },
            None => return Err(RespError::Malformed('=')),
        },
        b'_' => Reply::Null,
        b'#' => Reply::Boolean(text == b"t"),
        b',' => Reply::Double(text),
        b'(' => Reply::BigNumber(text),
        b'*' => Reply::Array(elements(1)),
        b'~' => Reply::Set(elements(1)),
        b'%' => Reply::Map(elements(2)),
        b'>' => Reply::Push(elements(1)),
        other => return Err(RespError::UnknownType(other)),
    })
}

fn element_count(text: &[u8]) -> usize {
    decimal(text).and_then(|len| usize::try_from(len).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
