//! Keeps what is too large out of replies, while they come in: it is in no memory. Pure.
//!
//! Workers write entries of any size into inboxes. What stands in the place of one that is too large, or of one for which the reply has no room left, is
//! small, so that the reply can be read like any other, and so can those behind it.

use crate::resp::decimal;

/// What a reply may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The longest string, in bytes.
    pub(super) bulk_bytes_max: usize,
    /// The most elements of one aggregate.
    pub(super) elements_max: usize,
    /// All strings of one reply together, in bytes.
    pub(super) reply_bytes_max: usize,
}

/// Stands in the place of a string or an aggregate that is too large by itself.
const TOO_LARGE: &[u8] = b"-TOOLARGE\r\n";

/// Stands in the place of a string for which the reply has no room left.
const CUT: &[u8] = b"$-1\r\n";

/// The longest line whose end is waited for. A longer one is passed on: it is no reply.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Where it is in what comes in.
#[derive(Debug)]
pub(super) struct Sieve {
    bounds: Bounds,
    /// The beginning of a line.
    line: Vec<u8>,
    /// What is left of a string, in bytes, with the end of its line.
    rest_bytes: usize,
    /// The string is kept.
    is_kept: bool,
    /// What stands in the place of the string or aggregate that is being left out. It is passed on when that is over: until then the reply isn't whole.
    stand_in: &'static [u8],
    /// Elements that are left of the reply.
    left: usize,
    /// Elements that are left of an aggregate that is too large.
    skipped: usize,
    /// A line of the reply has come, and not its last.
    has_begun: bool,
    /// Strings of the reply that are kept, in bytes.
    kept_bytes: usize,
}

impl Sieve {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            line: Vec::new(),
            rest_bytes: 0,
            is_kept: false,
            stand_in: &[],
            left: 1,
            skipped: 0,
            has_begun: false,
            kept_bytes: 0,
        }
    }

    /// Takes bytes as they have come in, and adds what is kept of them to `out`.
    pub(super) fn pass(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            if self.rest_bytes > 0 {
                let (of_string, behind) = bytes.split_at(self.rest_bytes.min(bytes.len()));
                if self.is_kept {
                    out.extend_from_slice(of_string);
                }
                self.rest_bytes -= of_string.len();
                bytes = behind;
                self.stand_in(out);
                continue;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            let (of_line, behind) = bytes.split_at(end);
            self.line.extend_from_slice(of_line);
            bytes = behind;
            if self.line.ends_with(b"\r\n") || self.line.len() > LINE_BYTES_MAX {
                let line = std::mem::take(&mut self.line);
                self.on_line(&line, out);
                self.stand_in(out);
                self.line = line;
                self.line.clear();
            }
        }
    }

    /// Whether a part of a reply has come, and not all of it.
    pub(super) fn is_in_a_reply(&self) -> bool {
        self.has_begun || self.rest_bytes > 0 || !self.line.is_empty()
    }

    /// Passes on what stands for something that is over.
    fn stand_in(&mut self, out: &mut Vec<u8>) {
        if self.rest_bytes == 0 && self.skipped == 0 {
            out.extend_from_slice(std::mem::take(&mut self.stand_in));
        }
    }

    fn on_line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let number = line.get(1..line.len() - 2).and_then(decimal);
        let length = number.and_then(|number| usize::try_from(number).ok());
        match (line[0], length) {
            (b'$' | b'=' | b'!', Some(length)) => self.on_string(line, length, out),
            (b'*' | b'~' | b'>', Some(length)) => self.on_aggregate(line, length, out),
            (b'%', Some(length)) => self.on_aggregate(line, length.saturating_mul(2), out),
            _ => {
                if self.skipped == 0 {
                    out.extend_from_slice(line);
                }
                self.is_through(0);
            }
        }
    }

    fn on_string(&mut self, line: &[u8], length: usize, out: &mut Vec<u8>) {
        let Bounds { bulk_bytes_max, reply_bytes_max, .. } = self.bounds;
        self.rest_bytes = length.saturating_add(2);
        self.is_kept = false;
        if self.skipped > 0 {
            // Nothing stands for it alone.
        } else if length > bulk_bytes_max {
            self.stand_in = TOO_LARGE;
        } else if self.kept_bytes + length > reply_bytes_max {
            self.stand_in = CUT;
        } else {
            out.extend_from_slice(line);
            self.is_kept = true;
            self.kept_bytes += length;
        }
        self.is_through(0);
    }

    fn on_aggregate(&mut self, line: &[u8], elements: usize, out: &mut Vec<u8>) {
        if self.skipped == 0 && elements > self.bounds.elements_max {
            self.stand_in = TOO_LARGE;
            self.skipped = elements;
            self.left -= 1;
            self.has_begun = true;
            return;
        }
        if self.skipped == 0 {
            out.extend_from_slice(line);
        }
        self.is_through(elements);
    }

    /// One element is whole, apart from so many that are in it.
    fn is_through(&mut self, inside: usize) {
        let left = if self.skipped > 0 { &mut self.skipped } else { &mut self.left };
        *left = (*left - 1).saturating_add(inside);
        self.has_begun = self.left > 0 || self.skipped > 0;
        if !self.has_begun {
            // The next is another reply.
            self.left = 1;
            self.kept_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resp::{Progress, Reply, ReplyLimits, parse_reply};

    const ALL: Bounds =
        Bounds { bulk_bytes_max: usize::MAX, elements_max: usize::MAX, reply_bytes_max: usize::MAX / 2 };

    fn passed(bounds: Bounds, bytes: &[u8], part: usize) -> Vec<u8> {
        let (mut sieve, mut out) = (Sieve::new(bounds), Vec::new());
        bytes.chunks(part).for_each(|part| sieve.pass(part, &mut out));
        out
    }

    fn check(bounds: Bounds, bytes: &str, expected: &str) {
        for part in 1..=bytes.len() {
            let out = passed(bounds, bytes.as_bytes(), part);
            assert_eq!(String::from_utf8_lossy(&out), expected, "in parts of {part}");
        }
    }

    #[test]
    fn a_string_that_is_too_large_is_left_out() {
        let bounds = Bounds { bulk_bytes_max: 4, ..ALL };
        check(
            bounds,
            "*3\r\n$1\r\na\r\n$5\r\n\r\n*9\r\r\n$4\r\nabcd\r\n:1\r\n",
            "*3\r\n$1\r\na\r\n-TOOLARGE\r\n$4\r\nabcd\r\n:1\r\n",
        );
    }

    #[test]
    fn an_aggregate_that_is_too_large_is_left_out_whole() {
        let bounds = Bounds { elements_max: 2, ..ALL };
        let large = "*3\r\n*1\r\n*4\r\n:1\r\n$-1\r\n$0\r\n\r\n*0\r\n$2\r\n\r\n\r\n:3\r\n";
        check(
            bounds,
            &format!("*2\r\n{large}:2\r\n+OK\r\n{large}:5\r\n"),
            "*2\r\n-TOOLARGE\r\n:2\r\n+OK\r\n-TOOLARGE\r\n:5\r\n",
        );
    }

    #[test]
    fn what_has_no_room_in_a_reply_is_cut_and_the_next_reply_has_its_own() {
        let bounds = Bounds { reply_bytes_max: 5, ..ALL };
        let reply = "%1\r\n$3\r\nabc\r\n*2\r\n$3\r\ndef\r\n$2\r\ngh\r\n";
        let cut = "%1\r\n$3\r\nabc\r\n*2\r\n$-1\r\n$2\r\ngh\r\n";
        check(bounds, &format!("{reply}{reply}"), &format!("{cut}{cut}"));
    }

    /// Any reply, as text.
    fn reply() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            (0..100_i64).prop_map(|number| format!(":{number}\r\n")),
            Just("$-1\r\n".to_owned()),
            Just("*-1\r\n".to_owned()),
            Just("-ERR no\r\n".to_owned()),
            "[a-z\r\n*$:]{0,40}".prop_map(|text| format!("${}\r\n{text}\r\n", text.len())),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            proptest::collection::vec(inner, 0..8)
                .prop_map(|inner| format!("*{}\r\n{}", inner.len(), inner.concat()))
        })
    }

    proptest! {
        #[test]
        fn what_fits_is_passed_as_it_is_and_the_rest_leaves_whole_replies(
            replies in proptest::collection::vec(reply(), 1..5),
            part in 1_usize..50,
            bulk_bytes_max in 0_usize..40,
            elements_max in 1_usize..8,
            reply_bytes_max in 0_usize..200,
        ) {
            let all = replies.concat();
            let whole = passed(ALL, all.as_bytes(), part);
            prop_assert_eq!(whole.as_slice(), all.as_bytes());
            let bounds = Bounds { bulk_bytes_max, elements_max, reply_bytes_max };
            let out = passed(bounds, all.as_bytes(), part);
            let (mut sieve, ends) = (Sieve::new(bounds), Vec::from_iter(ends(&replies)));
            let mut not_parsed = Vec::new();
            for (at, byte) in all.bytes().enumerate() {
                sieve.pass(&[byte], &mut not_parsed);
                let is_end = ends.contains(&(at + 1));
                prop_assert_eq!(sieve.is_in_a_reply(), !is_end);
                let parsed = parse_reply(&not_parsed, &ReplyLimits::DEFAULT);
                prop_assert_eq!(matches!(parsed, Ok(Progress::Done { .. })), is_end, "whole when its last byte has come");
                if is_end {
                    not_parsed.clear();
                }
            }
            let mut rest = &out[..];
            for _ in &replies {
                let Ok(Progress::Done { value, used_bytes }) = parse_reply(rest, &ReplyLimits::DEFAULT) else {
                    return Err(TestCaseError::fail("no whole reply"));
                };
                let mut bytes = 0;
                sum(&value, &mut bytes, bulk_bytes_max, elements_max);
                prop_assert!(bytes <= reply_bytes_max);
                rest = &rest[used_bytes..];
            }
            prop_assert!(rest.is_empty());
        }
    }

    /// Where each reply ends.
    fn ends(replies: &[String]) -> impl Iterator<Item = usize> {
        replies.iter().scan(0, |end, reply| {
            *end += reply.len();
            Some(*end)
        })
    }

    fn sum(value: &Reply<'_>, bytes: &mut usize, bulk_bytes_max: usize, elements_max: usize) {
        match value {
            Reply::Bulk(text) => {
                assert!(text.len() <= bulk_bytes_max);
                *bytes += text.len();
            }
            Reply::Array(elements) => {
                assert!(elements.len() <= elements_max);
                elements.for_each(|element| sum(&element, bytes, bulk_bytes_max, elements_max));
            }
            _ => {}
        }
    }
}
