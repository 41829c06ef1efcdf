//! Commands of clients, as redis-server accepts them: arrays of bulk strings, or lines that a human types.
//!
//! The limits and the texts of the errors are redis-server's (`networking.c` of 7.0), down to its leniency: of a
//! line's and a bulk's CRLF only the CR is looked for.

use std::borrow::Cow;

use memchr::memchr;
use smallvec::SmallVec;
use thiserror::Error;

use super::{Progress, decimal};

/// The longest inline command (Redis' `PROTO_INLINE_MAX_SIZE`).
const LINE_BYTES_MAX: usize = 64 * 1024;
/// The longest header of an array or bulk. Redis waits for 64 KiB before it says that such a line is no number.
const HEADER_BYTES_MAX: usize = 64;
/// The shortest argument: `$0\r\n\r\n`.
const ARG_BYTES_MIN: usize = 6;

/// A command's words, the first of them its name. Four are kept without an allocation.
pub type Args<'a> = SmallVec<[&'a [u8]; 4]>;

/// A command, borrowed from the input where that is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// An array of bulk strings. An empty one is no command and gets no answer.
    Array(Args<'a>),
    /// A line. Quoted words are unescaped, so they are owned. An empty one is no command either.
    Inline(Vec<Cow<'a, [u8]>>),
}

impl Command<'_> {
    /// The command's words.
    pub fn args(&self) -> Args<'_> {
        match self {
            Self::Array(args) => args.iter().copied().collect(),
            Self::Inline(words) => words.iter().map(AsRef::as_ref).collect(),
        }
    }
}

/// The bounds of a client's commands.
#[derive(Debug, Clone, Copy)]
pub struct CommandLimits {
    /// The most arguments of a command.
    pub args_max: usize,
    /// The longest argument, in bytes.
    pub bulk_bytes_max: usize,
    /// The longest command, in bytes: how large the caller's buffer may have to become.
    pub total_bytes_max: usize,
    /// Whether the client has yet to give the password; only the error's text depends on it.
    pub unauthenticated: bool,
}

impl CommandLimits {
    /// Redis' bounds before `AUTH`: enough for `AUTH` and `HELLO`, too little to fill the memory.
    pub const UNAUTHENTICATED: Self = Self {
        args_max: 10,
        bulk_bytes_max: 16 * 1024,
        total_bytes_max: 10 * (16 * 1024 + 16),
        unauthenticated: true,
    };
}

/// Why bytes from a client are no command. The text is what Redis answers (after `ERR Protocol error: `) before
/// it closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommandError {
    /// A line without an end.
    #[error("too big inline request")]
    InlineTooLong,
    /// A quoted word without an end, or with something right behind it.
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    /// An array's header without an end.
    #[error("too big mbulk count string")]
    ArrayHeaderTooLong,
    /// The number of arguments is malformed or above the limit.
    #[error("invalid multibulk length")]
    BadArrayLength,
    /// More arguments than a client may send before it has given the password.
    #[error("unauthenticated multibulk length")]
    UnauthenticatedArrayLength,
    /// A bulk's header without an end.
    #[error("too big bulk count string")]
    BulkHeaderTooLong,
    /// An argument is no bulk string.
    #[error("expected '$', got '{}'", .0.escape_ascii())]
    NotABulk(u8),
    /// An argument's length is malformed or above the limit.
    #[error("invalid bulk length")]
    BadBulkLength,
    /// A longer argument than a client may send before it has given the password.
    #[error("unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// The whole command is above the limit (Redis' `client-query-buffer-limit`).
    #[error("too big request")]
    CommandTooLong,
}

/// Parses the command at the front of `input`.
///
/// # Errors
/// The bytes are no command, or a command beyond `limits`. The caller answers with the error and closes.
pub fn parse_command<'a>(
    input: &'a [u8],
    limits: &CommandLimits,
) -> Result<Progress<Command<'a>>, CommandError> {
    let progress = match input.first() {
        None => Progress::Incomplete { needed_bytes: 1 },
        Some(b'*') => parse_array(input, limits)?,
        Some(_) => parse_inline(input)?,
    };
    let bytes = match progress {
        Progress::Done { used_bytes, .. } => used_bytes,
        Progress::Incomplete { needed_bytes } => needed_bytes,
    };
    if bytes > limits.total_bytes_max { Err(CommandError::CommandTooLong) } else { Ok(progress) }
}

fn parse_array<'a>(input: &'a [u8], limits: &CommandLimits) -> Result<Progress<Command<'a>>, CommandError> {
    let incomplete =
        |needed_bytes: usize| Ok(Progress::Incomplete { needed_bytes: needed_bytes.max(input.len() + 1) });
    let Some((count, mut at)) = header(input, 0, CommandError::ArrayHeaderTooLong)? else {
        return incomplete(0);
    };
    let count = match decimal(count) {
        Some(count) if count <= 0 => 0,
        Some(count) => usize::try_from(count).map_err(|_| CommandError::BadArrayLength)?,
        None => return Err(CommandError::BadArrayLength),
    };
    if count > limits.args_max {
        return Err(if limits.unauthenticated {
            CommandError::UnauthenticatedArrayLength
        } else {
            CommandError::BadArrayLength
        });
    }
    let mut args = Args::new();
    while args.len() < count {
        let left = count - args.len();
        let Some((len, start)) = header(input, at, CommandError::BulkHeaderTooLong)? else {
            return incomplete(at + left * ARG_BYTES_MIN);
        };
        let len = arg_length(input[at], len, limits)?;
        let Some(arg) = input.get(start..start + len) else {
            return incomplete(start + len + 2 + (left - 1) * ARG_BYTES_MIN);
        };
        at = start + len + 2;
        if at > input.len() {
            return incomplete(at + (left - 1) * ARG_BYTES_MIN);
        }
        args.push(arg);
    }
    Ok(Progress::Done { value: Command::Array(args), used_bytes: at })
}

fn arg_length(kind: u8, text: &[u8], limits: &CommandLimits) -> Result<usize, CommandError> {
    if kind != b'$' {
        return Err(CommandError::NotABulk(kind));
    }
    match decimal(text).and_then(|len| usize::try_from(len).ok()) {
        Some(len) if len <= limits.bulk_bytes_max => Ok(len),
        Some(_) if limits.unauthenticated => Err(CommandError::UnauthenticatedBulkLength),
        _ => Err(CommandError::BadBulkLength),
    }
}

/// The line at `at` without its first byte and its end, and where the next one begins. `None` if it is not whole.
#[inline]
fn header(input: &[u8], at: usize, too_long: CommandError) -> Result<Option<(&[u8], usize)>, CommandError> {
    let rest = input.get(at..).unwrap_or_default();
    let window = &rest[..rest.len().min(HEADER_BYTES_MAX + 1)];
    // Lengths have a few digits: looking for the CR byte by byte is quicker than a search for long distances.
    let Some(end) = window.iter().position(|&byte| byte == b'\r') else {
        return if window.len() > HEADER_BYTES_MAX { Err(too_long) } else { Ok(None) };
    };
    if end + 1 >= rest.len() {
        return Ok(None);
    }
    Ok(Some((rest.get(1..end).unwrap_or_default(), at + end + 2)))
}

fn parse_inline(input: &[u8]) -> Result<Progress<Command<'_>>, CommandError> {
    let window = &input[..input.len().min(LINE_BYTES_MAX + 1)];
    let Some(end) = memchr(b'\n', window) else {
        return if window.len() > LINE_BYTES_MAX {
            Err(CommandError::InlineTooLong)
        } else {
            Ok(Progress::Incomplete { needed_bytes: input.len() + 1 })
        };
    };
    let text = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
    let words = split_words(text).ok_or(CommandError::UnbalancedQuotes)?;
    Ok(Progress::Done { value: Command::Inline(words), used_bytes: end + 1 })
}

/// Splits a line as Redis' `sdssplitargs` does: words may be quoted, `"…"` with escapes, `'…'` with `\'` only.
/// `None` if a quoted word does not end, or something other than white space follows it.
fn split_words(line: &[u8]) -> Option<Vec<Cow<'_, [u8]>>> {
    let mut words = Vec::new();
    let mut rest = skip_space(line);
    // A NUL ends the line: Redis takes it for a C string.
    while let Some(&first) = rest.first().filter(|&&byte| byte != 0) {
        let plain = rest.iter().position(|&byte| is_space(byte) || matches!(byte, 0 | b'"' | b'\''));
        let end = plain.unwrap_or(rest.len());
        if first != b'"' && first != b'\'' && !matches!(rest.get(end), Some(b'"' | b'\'')) {
            words.push(Cow::Borrowed(&rest[..end]));
            rest = &rest[end..];
        } else {
            let (word, used) = quoted_word(rest)?;
            words.push(Cow::Owned(word));
            rest = &rest[used..];
        }
        rest = skip_space(rest);
    }
    Some(words)
}

fn skip_space(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|&&byte| is_space(byte)).count();
    &text[spaces..]
}

/// A word with quotes in it, unescaped, and its length in the input.
fn quoted_word(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut word = Vec::new();
    let mut quote = None;
    let mut at = 0;
    loop {
        let byte = text.get(at).copied().unwrap_or_default();
        match (quote, byte) {
            (Some(_), 0) => return None,
            (None, 0) => return Some((word, at)),
            (None, byte) if is_space(byte) => return Some((word, at)),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if byte == open => {
                let follower = text.get(at + 1).copied().unwrap_or_default();
                return (follower == 0 || is_space(follower)).then_some((word, at + 1));
            }
            (Some(b'"'), b'\\') => {
                let (unescaped, used) = escape(&text[at..]);
                word.push(unescaped);
                at += used;
                continue;
            }
            (Some(_), b'\\') if text.get(at + 1) == Some(&b'\'') => {
                word.push(b'\'');
                at += 1;
            }
            (_, byte) => word.push(byte),
        }
        at += 1;
    }
}

/// The byte that an escape in double quotes stands for, and the escape's length.
fn escape(text: &[u8]) -> (u8, usize) {
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if let [b'\\', b'x', high, low, ..] = *text
        && let (Some(high), Some(low)) = (hex(high), hex(low))
    {
        return (high * 16 + low, 4);
    }
    match text.get(1) {
        None | Some(0) => (b'\\', 1),
        Some(b'n') => (b'\n', 2),
        Some(b'r') => (b'\r', 2),
        Some(b't') => (b'\t', 2),
        Some(b'b') => (8, 2),
        Some(b'a') => (7, 2),
        Some(&other) => (other, 2),
    }
}

/// C's `isspace`.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

#[cfg(test)]
mod tests;
