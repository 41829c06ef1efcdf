//! Names of rooms and users at the desk.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use icu_normalizer::ComposingNormalizerBorrowed;

/// The longest name, in bytes.
pub const ID_BYTES_MAX: usize = 128;

/// What a name must be, for messages.
pub const ID_RULE: &str = r#"1-128 bytes in NFC without control, bidi and zero-width characters, " and \"#;

const _: () = assert!(ID_BYTES_MAX == 128, "ID_RULE names it");

/// What the users of open gateways, and others without a token, are called: this and 16 hex digits.
pub const ANONYMOUS_PREFIX: &str = "anon-";

/// The name of a room or a user: see [`ID_RULE`]. Two names that look alike are the same, as far as Unicode's NFC goes, and none of their
/// characters needs an escape in JSON. It is never folded.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeskId(Arc<str>);

impl DeskId {
    /// Checks a name; `None` if it is none.
    pub fn parse(name: &str) -> Option<Self> {
        let fits = (1..=ID_BYTES_MAX).contains(&name.len());
        (fits && name.chars().all(is_visible) && is_composed(name)).then(|| Self(name.into()))
    }

    /// The user of a connection that has no token.
    pub fn anonymous(number: u64) -> Self {
        Self(format!("{ANONYMOUS_PREFIX}{number:016x}").into())
    }

    /// Whether it is called as users are that have no token.
    pub fn is_anonymous(&self) -> bool {
        self.0.starts_with(ANONYMOUS_PREFIX)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character may be in a name: it is no control character, doesn't turn the direction of text, has a width, and needs no
/// escape in JSON.
const fn is_visible(char: char) -> bool {
    !matches!(
        char,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '"' | '\\'
        // Bidi controls.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Zero width, or no mark of their own.
        | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2028}' | '\u{2029}'
        | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

fn is_composed(name: &str) -> bool {
    name.is_ascii() || ComposingNormalizerBorrowed::new_nfc().is_normalized(name)
}

impl Borrow<str> for DeskId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for DeskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for DeskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rooms_and_users() {
        for name in
            ["r", "room-123", "Zoë 🙂", "a:b", "*", "room*", "?[x]", "channel:trade:AAPL", &"x".repeat(128)]
        {
            assert_eq!(DeskId::parse(name).as_ref().map(DeskId::as_str), Some(name));
        }
        let decomposed = "Zoe\u{308}";
        for bad in [
            "",
            "a\nb",
            "a\0",
            "a\r\nPUBLISH x y",
            "a\u{7f}",
            "a\u{85}",
            "a\"b",
            "a\\b",
            "a\u{202e}b",
            "a\u{200b}",
            "\u{feff}a",
            "a\u{2066}b",
            decomposed,
            &"x".repeat(129),
            &"é".repeat(65),
        ] {
            assert_eq!(DeskId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn who_has_no_token_is_told_by_the_name() {
        let anonymous = DeskId::anonymous(0xab);
        assert_eq!(anonymous.as_str(), "anon-00000000000000ab");
        assert!(anonymous.is_anonymous());
        assert!(!DeskId::parse("anonymous").unwrap().is_anonymous());
    }
}
