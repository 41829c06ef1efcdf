//! What JSON's grammar allows and readers of JSON don't agree on: halves of surrogate pairs and very deep nesting. Pure.
//!
//! Nearly every event has neither a backslash nor 128 brackets, which a search for bytes shows. Only the others are
//! looked through.

use memchr::{memchr, memchr2, memchr2_iter};

use super::Reject;

/// How deep arrays and objects may be nested, the event's own object included: what serde_json and others read by default.
pub(super) const DEPTH_MAX: usize = 128;

/// Looks for both faults in a text that is JSON.
#[inline]
pub(super) fn check(json: &str) -> Result<(), Reject> {
    let bytes = json.as_bytes();
    // An opening bracket that is closed again takes two bytes.
    let may_be_deep = bytes.len() > 2 * DEPTH_MAX && memchr2_iter(b'{', b'[', bytes).nth(DEPTH_MAX).is_some();
    if may_be_deep || memchr(b'\\', bytes).is_some() {
        return look_through(bytes);
    }
    Ok(())
}

fn look_through(mut rest: &[u8]) -> Result<(), Reject> {
    let mut depth = 0;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => rest = behind_string(rest)?,
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(Reject::TooDeep);
        }
    }
    Ok(())
}

/// What stands behind a string, given all behind its opening quote.
fn behind_string(mut rest: &[u8]) -> Result<&[u8], Reject> {
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        let (byte, after) = (rest[at], &rest[at + 1..]);
        if byte == b'"' {
            return Ok(after);
        }
        rest = match code_unit(&rest[at..]) {
            None => after.get(1..).unwrap_or_default(),
            Some(0xd800..0xdc00) => match code_unit(&rest[at + ESCAPE_BYTES..]) {
                Some(0xdc00..0xe000) => &rest[at + 2 * ESCAPE_BYTES..],
                _ => return Err(Reject::LoneSurrogate),
            },
            Some(0xdc00..0xe000) => return Err(Reject::LoneSurrogate),
            Some(_) => &rest[at + ESCAPE_BYTES..],
        };
    }
    Ok(&[])
}

/// The length of `\u0041`.
const ESCAPE_BYTES: usize = 6;

/// The UTF-16 code unit of the escape that a text begins with; `None` if it begins with none or another one.
fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.get(..ESCAPE_BYTES)?.strip_prefix(br"\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn brackets_in_strings_are_no_nesting() {
        let shut = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(check(&shut(DEPTH_MAX)), Ok(()));
        assert_eq!(check(&shut(DEPTH_MAX + 1)), Err(Reject::TooDeep));
        assert_eq!(check(&format!(r#"["{}"]"#, "[".repeat(1_000))), Ok(()));
        assert_eq!(check(&format!(r#"["\"{}"]"#, "{".repeat(1_000))), Ok(()));
        assert_eq!(check(&format!("[{}1]", "[],".repeat(1_000))), Ok(()), "beside one another");
    }

    proptest! {
        /// Against serde_json, which reads a string's escapes in full.
        #[test]
        fn halves_of_pairs_are_found(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    r"\ud800", r"\uDBFF", r"\udc00", r"\uDFFF", r"\ud7ff", r"\ue000", r"\u0041", r"\\", r#"\""#, r"\n", "u", "d800", "x",
                ]),
                0..8,
            ),
        ) {
            let json = format!("[\"{}\"]", parts.concat());
            let is_text = serde_json::from_str::<Vec<String>>(&json).is_ok();
            prop_assert_eq!(check(&json), if is_text { Ok(()) } else { Err(Reject::LoneSurrogate) });
        }
    }
}
