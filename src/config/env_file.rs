//! Reads the file `.env`: lines of `NAME=value`. Other programs may share it, so lines with faults are ignored with a warning;
//! only a secret that can't be read stops the start. Pure, but for [`EnvFile::read`].
//!
//! Values are literal: `$` and backslash have no meaning. A value may be enclosed in quotes, single or double. The closing quote
//! is the first one that only a comment follows on its line; it may be lines later. Without quotes the value ends with the line,
//! or with a blank and `#`.

use std::io::ErrorKind;
use std::path::Path;

use crate::files::{ReadError, read_at_most};

/// The longest file that is read; one with forty settings has 2 KiB.
const BYTES_MAX: u64 = 256 * 1024;

/// The most lines of one value in quotes: a key with its chain of certificates.
const VALUE_LINES_MAX: usize = 100;

/// The most ignored lines that have a warning each. Further ones are only counted.
const WARNINGS_MAX: usize = 10;

/// The file's variables.
#[derive(Debug, Default)]
pub(super) struct EnvFile {
    variables: Vec<Variable>,
    /// Names of other programs' variables, and their lines.
    pub(super) others: Vec<(String, usize)>,
    /// A warning for each line that was ignored.
    pub(super) warnings: Vec<String>,
}

/// A variable of the gateway.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    /// The number of its line, from 1.
    pub(super) line: usize,
    /// `Err` says why a secret can't be read. The start has to stop then: without the secret the gateway would be less safe than
    /// its operator believes.
    pub(super) value: Result<String, &'static str>,
}

/// Whose variable it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The gateway's.
    Gateway,
    /// The gateway's, and never shown.
    Secret,
    /// Another program's.
    Other,
}

const NO_VARIABLE: &str = "it is not NAME=value";
const NOT_UTF8: &str = "it is not UTF-8";
const NOT_CLOSED: &str = "its quote is not closed";

impl EnvFile {
    /// Reads the file. One that doesn't exist counts as empty; one that can't be read is ignored with a warning.
    pub(super) fn read(path: &Path, owner: impl Fn(&str) -> Owner) -> Self {
        let shown = path.display();
        match read_at_most(path, BYTES_MAX) {
            Ok(bytes) => Self::parse(&bytes, &shown.to_string(), owner),
            Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotFound => Self::default(),
            Err(error) => Self::ignored(format!("{shown} is ignored: {error}")),
        }
    }

    /// The first variable of this name that has a value.
    pub(super) fn get(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|variable| variable.name == name)
    }

    fn ignored(warning: String) -> Self {
        Self { warnings: vec![warning], ..Self::default() }
    }

    /// Parses the file's bytes; `file` is its name in warnings.
    fn parse(bytes: &[u8], file: &str, owner: impl Fn(&str) -> Owner) -> Self {
        let mut parsed = Self::default();
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Self::ignored(format!("{file} is ignored: it is UTF-16, save it as UTF-8"));
        }
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if text.len() < bytes.len() {
            let warning = "begins with a byte order mark, which is ignored: save it as UTF-8 without one";
            parsed.warnings.push(format!("{file} line 1 {warning}"));
        }
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        let (mut at, mut unreported) = (0, 0);
        while let Some(line) = lines.get(at) {
            let number = at + 1;
            at += 1;
            if line.trim_ascii().is_empty() || line.trim_ascii_start().starts_with(b"#") {
                continue;
            }
            let (name, written) = name_and_rest(line).unzip();
            let value = written.ok_or(NO_VARIABLE).and_then(|written| {
                let (value, more_lines) = value(written, &lines[at..], &owner)?;
                at += more_lines;
                Ok(value)
            });
            let owner = name.map_or(Owner::Other, &owner);
            if let Err(reason) = value
                && owner != Owner::Secret
            {
                unreported += usize::from(parsed.warnings.len() >= WARNINGS_MAX);
                if parsed.warnings.len() < WARNINGS_MAX {
                    let name = name.filter(|_| owner == Owner::Gateway);
                    let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
                    parsed.warnings.push(format!("{file} line {number}{name} is ignored: {reason}"));
                }
            } else if let Some(name) = name.filter(|_| owner == Owner::Other) {
                parsed.others.push((name.to_owned(), number));
            } else if let Some(name) = name
                && value.as_ref().map_or(true, |value| !value.is_empty())
            {
                parsed.variables.push(Variable { name: name.to_owned(), line: number, value });
            }
        }
        if unreported > 0 {
            parsed.warnings.push(format!("{file}: {unreported} more lines are ignored"));
        }
        parsed
    }
}

/// Splits `NAME=…`, with or without `export` before it, into the name and the rest.
fn name_and_rest(line: &[u8]) -> Option<(&str, &[u8])> {
    let equals = line.iter().position(|byte| *byte == b'=')?;
    let name = str::from_utf8(&line[..equals]).ok()?.trim();
    let name = match name.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => name,
    };
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    (is_name && !name.is_empty()).then_some((name, &line[equals + 1..]))
}

/// The value behind `=`, and how many of the following lines belong to it.
fn value(
    written: &[u8],
    following: &[&[u8]],
    owner: impl Fn(&str) -> Owner,
) -> Result<(String, usize), &'static str> {
    let written = str::from_utf8(written).map_err(|_| NOT_UTF8)?;
    let trimmed = written.trim();
    let Some(quote) = trimmed.chars().next().filter(|first| ['"', '\''].contains(first)) else {
        return Ok((without_comment(written).to_owned(), 0));
    };
    let mut value = String::new();
    let mut line = &written.trim_start()[1..];
    for more_lines in 0..VALUE_LINES_MAX {
        line = line.strip_suffix('\r').unwrap_or(line);
        if let Some(end) = closing(line, quote) {
            value.push_str(&line[..end]);
            return Ok((value, more_lines));
        }
        value.push_str(line);
        value.push('\n');
        let next = following.get(more_lines).ok_or(NOT_CLOSED)?;
        // The next line is a setting, so the closing quote was forgotten.
        if name_and_rest(next).is_some_and(|(name, _)| owner(name) != Owner::Other) {
            break;
        }
        line = str::from_utf8(next).map_err(|_| NOT_UTF8)?;
    }
    Err(NOT_CLOSED)
}

/// The text before a blank and `#`, without blanks around it.
fn without_comment(text: &str) -> &str {
    let is_comment = |(at, _): &(usize, &str)| text[..*at].ends_with(char::is_whitespace);
    let comment = text.match_indices('#').find(is_comment);
    text[..comment.map_or(text.len(), |(at, _)| at)].trim()
}

/// The index of the first quote that nothing but a comment follows.
fn closing(line: &str, quote: char) -> Option<usize> {
    let mut quotes = line.match_indices(quote);
    quotes.find(|(at, _)| without_comment(&line[at + 1..]).is_empty()).map(|(at, _)| at)
}

#[cfg(test)]
mod tests;
