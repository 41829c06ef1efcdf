//! Redis' glob patterns: `*`, `?`, `[a-z]`, `[^…]`, and `\` before a literal character.
//!
//! They match as in `stringmatchlen` of redis-server 7.0 (`util.c`), including its oddities: `*` does not match an
//! empty text, a class may lack its `]`, a range may be written backwards.
//!
//! Redis recurses at every star. This matcher remembers only the last star: if the rest of the pattern fails behind
//! it, it fails behind every earlier star as well, because an earlier star could only leave it less of the text. That
//! makes the work O(pattern × text), and [`STEPS_MAX`] bounds it where both are long.

/// The most comparisons of one match. A sensible pattern needs about one for each byte of the text. A match that
/// needs more fails.
const STEPS_MAX: usize = 100_000;

/// Whether the whole of `text` matches `pattern`.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut pattern_left, mut text_left) = (pattern, text);
    // The pattern behind the last star, and the text at which it was last tried.
    let mut star: Option<(&[u8], &[u8])> = None;
    for _ in 0..STEPS_MAX {
        let Some((&byte, text_rest)) = text_left.split_first() else {
            // An earlier star can't help: every element but a star takes exactly one byte.
            return pattern_left.iter().all(|&byte| byte == b'*');
        };
        if let Some(rest) = skip_stars(pattern_left) {
            if rest.is_empty() {
                return true;
            }
            star = Some((rest, text_left));
            pattern_left = rest;
        } else if let Some(rest) = match_one(pattern_left, byte) {
            pattern_left = rest;
            text_left = text_rest;
        } else {
            let Some((after_star, tried)) = star else { return false };
            pattern_left = after_star;
            text_left = tried.get(1..).unwrap_or_default();
            star = Some((after_star, text_left));
            if text_left.is_empty() {
                return false;
            }
        }
    }
    false
}

/// The pattern behind the stars at its front; `None` if it doesn't begin with one.
fn skip_stars(pattern: &[u8]) -> Option<&[u8]> {
    let stars = pattern.iter().take_while(|&&byte| byte == b'*').count();
    if stars == 0 { None } else { pattern.get(stars..) }
}

/// The pattern behind its first element, if that matches `byte`.
fn match_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', class @ ..] => match_class(class, byte),
        [b'\\', escaped, rest @ ..] => (*escaped == byte).then_some(rest),
        [literal, rest @ ..] => (*literal == byte).then_some(rest),
        [] => None,
    }
}

/// As [`match_one`], for a class; `class` is the pattern behind its `[`.
fn match_class(class: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut left) = match class {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    loop {
        left = match left {
            [b'\\', escaped, rest @ ..] => {
                found |= *escaped == byte;
                rest
            }
            [b']', rest @ ..] => {
                left = rest;
                break;
            }
            [] => break,
            [a, b'-', b, rest @ ..] => {
                // Redis compares `char`, which is signed on its common platforms.
                let (a, b, byte) = (a.cast_signed(), b.cast_signed(), byte.cast_signed());
                found |= (a.min(b)..=a.max(b)).contains(&byte);
                rest
            }
            [single, rest @ ..] => {
                found |= *single == byte;
                rest
            }
        };
    }
    (found != negated).then_some(left)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `stringmatchlen` in its simplest form: recursion at each star, one element otherwise.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|skipped| model(rest, &text[skipped..])),
            (_, []) => pattern.is_empty(),
            (_, [byte, text_rest @ ..]) => {
                match_one(pattern, *byte).is_some_and(|rest| model(rest, text_rest))
            }
        }
    }

    #[test]
    fn patterns_match_as_in_redis() {
        // tests/guarantees/embedded_broker_answers_as_redis.rs asks a real server about the odd forms among these.
        for (pattern, text, expected) in [
            ("channel:trade:*", "channel:trade:AAPL", true),
            ("channel:trade:*", "channel:trade:", true),
            ("channel:trade:*", "channel:trade", false),
            ("*", "x", true),
            ("*", "", false),
            ("", "", true),
            ("", "x", false),
            ("a**b", "ab", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-", "h-", true),
            ("h[", "hx", false),
            ("h[^", "hx", true),
            ("h[]]", "h]", false),
            ("h[\\]]", "h]", true),
            ("h\\*", "h*", true),
            ("h\\*", "hx", false),
            ("h\\", "h\\", true),
            ("[\\a-z]", "b", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn a_pattern_made_to_blow_up_is_answered_within_the_bound() {
        let text = vec![b'a'; 10_000];
        let mut pattern = b"*a".repeat(1_000);
        pattern.push(b'b');
        assert!(!matches(&pattern, &text));
    }

    proptest! {
        #[test]
        fn agrees_with_the_recursive_model(
            pattern in "[ab*?\\[\\]^\\\\-]{0,8}",
            text in "[ab\\[\\]^\\\\*-]{1,8}",
        ) {
            prop_assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                model(pattern.as_bytes(), text.as_bytes())
            );
        }
    }
}
