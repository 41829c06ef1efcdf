//! How the history reads events: in full, or only so far as to see what their `seq` seems to be.

use memchr::memmem::Finder;

use crate::market::Numbering;
use crate::market::event::{Checker, SEQ_END};

/// What all topics' events are read with.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) checker: Checker,
    /// `SEQ`.
    pub(super) numbering: Numbering,
    seq_key: Finder<'static>,
}

/// What a search for `"seq"` says of an event that is not looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    /// It has no `seq`, unless one that is written with escapes.
    None,
    /// It seems to have this one.
    Seq(u64),
    /// Only a look can tell.
    Unsure,
}

impl Reader {
    pub(super) fn new(checker: Checker, numbering: Numbering) -> Self {
        Self { checker, numbering, seq_key: Finder::new(b"\"seq\"") }
    }

    /// A quote inside a JSON string has a backslash before it, so `"seq"` is a whole string: nearly always the key.
    pub(super) fn hint(&self, payload: &[u8]) -> Hint {
        let Some(at) = self.seq_key.find(payload) else { return Hint::None };
        let rest = payload[at + self.seq_key.needle().len()..].trim_ascii_start();
        let Some(rest) = rest.strip_prefix(b":") else { return Hint::Unsure };
        let rest = rest.trim_ascii_start();
        let mut seq: u64 = 0;
        for (place, byte) in rest.iter().enumerate() {
            match byte {
                b'0'..=b'9' if seq < SEQ_END => seq = seq * 10 + u64::from(byte - b'0'),
                b',' | b'}' | b' ' | b'\t' | b'\n' | b'\r' if place > 0 && seq < SEQ_END => {
                    return Hint::Seq(seq);
                }
                _ => return Hint::Unsure,
            }
        }
        Hint::Unsure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seq_is_seen_without_a_look() {
        let reader = Reader::new(Checker::with_max_bytes(65_536), Numbering::Contiguous);
        let hint = |text: &str| reader.hint(text.as_bytes());
        assert_eq!(hint(r#"{"a":1}"#), Hint::None);
        assert_eq!(hint(r#"{"seq":17}"#), Hint::Seq(17));
        assert_eq!(hint("{\"seq\" :\t17 ,"), Hint::Seq(17));
        assert_eq!(hint(r#"{"x":"\"seq\":5","seq":6}"#), Hint::Seq(6));
        assert_eq!(hint(r#"{"seq":9007199254740991}"#), Hint::Seq(SEQ_END - 1));
        for odd in ["9007199254740992", "99999999999999999999999", "1.5", "-1", "\"1\"", "1e3", "", "1"] {
            let end = if odd == "1" { "" } else { "}" };
            assert_eq!(hint(&format!(r#"{{"seq":{odd}{end}"#)), Hint::Unsure, "{odd}");
        }
        assert_eq!(hint(r#"{"a":"seq","seq":1}"#), Hint::Unsure);
    }
}
