//! Escapes text from outside (channel names, payloads, a server's messages) to fit one line of a log. Pure.

use std::fmt::{self, Display, Formatter, Write};

/// Bytes from outside as printable text on one line.
///
/// Control characters, line separators and characters that reorder text are written as escapes (`\n`, `\u{1b}`), bytes
/// that are no UTF-8 as `\xff`, and a backslash as `\\`. So text from outside can neither begin a line of its own nor
/// move a terminal's cursor, and different texts look different. Text that is cut off ends with `…`.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'t> {
    shown: &'t [u8],
    cut_off: bool,
}

impl<'t> Escaped<'t> {
    /// The first `max_bytes` bytes of `text`; a character that `max_bytes` would split is left out.
    pub fn new(text: &'t (impl AsRef<[u8]> + ?Sized), max_bytes: usize) -> Self {
        let text = text.as_ref();
        Self { shown: &text[..text.len().min(max_bytes)], cut_off: text.len() > max_bytes }
    }
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut chunks = self.shown.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            chunk.valid().chars().try_for_each(|character| write_escaped(f, character))?;
            let is_split = self.cut_off && chunks.peek().is_none() && is_prefix_of_character(chunk.invalid());
            if !is_split {
                chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
            }
        }
        if self.cut_off { f.write_char('…') } else { Ok(()) }
    }
}

/// Writes one character. Quotes stay as they are, because JSON payloads are full of them.
fn write_escaped(out: &mut impl Write, character: char) -> fmt::Result {
    match character {
        '"' | '\'' => out.write_char(character),
        _ => write!(out, "{}", character.escape_debug()),
    }
}

/// A writer that keeps its text on one printable line. Backslashes stay as they are, so output of [`Escaped`] passes
/// unchanged.
#[derive(Debug)]
pub struct OneLine<W>(pub W);

impl<W: Write> Write for OneLine<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| match character {
            '\\' => self.0.write_char(character),
            _ => write_escaped(&mut self.0, character),
        })
    }
}

/// Whether `bytes` are the beginning of a UTF-8 character.
fn is_prefix_of_character(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &[u8], max_bytes: usize) -> String {
        Escaped::new(text, max_bytes).to_string()
    }

    #[test]
    fn plain_text_stays_as_it_is() {
        for text in ["", "channel:trade:AAPL", r#"{"price":1,"name":"Börse 'A' €"}"#] {
            assert_eq!(escaped(text.as_bytes(), 1000), text);
        }
    }

    #[test]
    fn control_characters_are_written_as_escapes() {
        let cases: [(&[u8], &str); 8] = [
            (b"a\r\nWARN b", r"a\r\nWARN b"),
            (b"\x1b[2J\x07\x00\x7f", r"\u{1b}[2J\u{7}\0\u{7f}"),
            ("\u{9b}2J".as_bytes(), r"\u{9b}2J"),
            ("\u{2028}\u{2029}".as_bytes(), r"\u{2028}\u{2029}"),
            ("\u{202e}".as_bytes(), r"\u{202e}"),
            (b"a\\nb", r"a\\nb"),
            (b"\xff\xfea", r"\xff\xfea"),
            (b"a\xe2\x82", r"a\xe2\x82"),
        ];
        for (text, shown) in cases {
            assert_eq!(escaped(text, 1000), shown);
        }
    }

    #[test]
    fn long_text_is_cut_off_between_characters() {
        assert_eq!(escaped(b"abcd", 4), "abcd");
        assert_eq!(escaped(b"abcde", 4), "abcd…");
        assert_eq!(escaped("ab€".as_bytes(), 4), "ab…");
        assert_eq!(escaped("ab€".as_bytes(), 5), "ab€");
        assert_eq!(escaped(b"ab\xff\xff\xff", 4), r"ab\xff\xff…");
    }

    #[test]
    fn one_line_escapes_nothing_twice() {
        let mut line = String::new();
        write!(OneLine(&mut line), "a\n\x1b{}", Escaped::new("b\n\\", 10)).unwrap();
        assert_eq!(line, r"a\n\u{1b}b\n\\");
    }

    proptest! {
        #[test]
        fn it_is_one_printable_line_of_bounded_length(text in prop::collection::vec(any::<u8>(), 0..200), max in 0..200_usize) {
            let shown = escaped(&text, max);
            prop_assert!(shown.chars().all(|c| c == '…' || c.escape_debug().count() == 1 || "\\\"'".contains(c)), "{shown:?}");
            // `\u{1b}` is the longest escape in relation to what it stands for.
            prop_assert!(shown.chars().count() <= 6 * max + 1);
        }

        #[test]
        fn different_text_is_shown_differently(a in "[a\\\\nxu{}0-9\n\u{1b}]{0,6}", b in "[a\\\\nxu{}0-9\n\u{1b}]{0,6}") {
            prop_assert_eq!(a == b, escaped(a.as_bytes(), 100) == escaped(b.as_bytes(), 100));
        }
    }
}
