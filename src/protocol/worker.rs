//! Fields of a worker's object, for forms that write them in other words. Pure.
//!
//! The object keeps its contract ([`market::event`](crate::market::event)), so this is a scan and no parser: it borrows what it finds, as it is
//! written. Of what is no JSON it makes something or nothing, and never more than that.

use std::borrow::Cow;

use memchr::memchr2;

/// The members of an object: name and value, as JSON. A name with escapes is decoded.
#[derive(Debug, Clone)]
pub struct Members<'o> {
    scan: Scan<'o>,
}

/// The elements of an array, as JSON.
#[derive(Debug, Clone)]
pub struct Elements<'o> {
    scan: Scan<'o>,
}

#[derive(Debug, Clone)]
struct Scan<'o> {
    text: &'o str,
    at: usize,
}

/// The members of a JSON object; none if it is no object.
pub fn members(object: &str) -> Members<'_> {
    Members { scan: Scan::behind(object, b'{') }
}

/// The elements of a JSON array; `None` if it is no array.
pub fn elements(array: &str) -> Option<Elements<'_>> {
    array.trim_start().starts_with('[').then(|| Elements { scan: Scan::behind(array, b'[') })
}

/// What a JSON string says; `None` if the value is no string.
pub fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw).ok().map(Cow::Owned)
}

/// Whether a value is a string.
pub fn is_text(raw: &str) -> bool {
    raw.starts_with('"')
}

/// Whether a value is a number.
pub fn is_number(raw: &str) -> bool {
    matches!(raw.as_bytes().first(), Some(b'-' | b'0'..=b'9'))
}

/// A value that is an integer, however it is written.
pub fn integer(raw: &str) -> Option<i64> {
    raw.parse().ok().or_else(|| {
        let number: f64 = raw.parse().ok().filter(|_| is_number(raw))?;
        (number.fract() == 0.0 && number.abs() < EXACT_END).then_some(number as i64)
    })
}

/// Whether the side of a trade that took, by its first letter, is the seller.
pub fn taker_sells(raw: &str) -> Option<bool> {
    match text(raw)?.as_bytes().first()? {
        b'b' | b'B' => Some(false),
        b's' | b'S' => Some(true),
        _ => None,
    }
}

/// Beyond it not every integer is a number of 64 bits.
const EXACT_END: f64 = (1_u64 << 53) as f64;

impl<'o> Iterator for Members<'o> {
    type Item = (Cow<'o, str>, &'o str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let scan = &mut self.scan;
        scan.pass(b',');
        let name = scan.value().filter(|name| is_text(name))?;
        scan.pass(b':').then_some(())?;
        let value = scan.value()?;
        Some((text(name)?, value))
    }
}

impl<'o> Iterator for Elements<'o> {
    type Item = &'o str;

    fn next(&mut self) -> Option<&'o str> {
        self.scan.pass(b',');
        self.scan.value()
    }
}

impl<'o> Scan<'o> {
    /// Behind the opening bracket of a text, or at its end.
    fn behind(text: &'o str, opening: u8) -> Self {
        let mut scan = Self { text, at: 0 };
        if !scan.pass(opening) {
            scan.at = text.len();
        }
        scan
    }

    fn bytes(&self) -> &'o [u8] {
        self.text.as_bytes()
    }

    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes().get(self.at) {
            if !byte.is_ascii_whitespace() {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Goes past a byte if it is next.
    fn pass(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// The value that is next.
    #[inline]
    fn value(&mut self) -> Option<&'o str> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => self.pass_string()?,
            b'{' | b'[' => self.pass_nested()?,
            b'}' | b']' | b',' | b':' => return None,
            _ => {
                let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
                let rest = &self.bytes()[start..];
                self.at += rest.iter().position(is_end).unwrap_or(rest.len());
            }
        }
        self.text.get(start..self.at)
    }

    /// Goes past a string, whose opening quote is next.
    fn pass_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            let rest = self.bytes().get(self.at..)?;
            let found = memchr2(b'"', b'\\', rest)?;
            self.at += found + 1;
            if rest[found] == b'"' {
                return Some(());
            }
            self.at += 1;
        }
    }

    /// Goes past an object or array, whose opening bracket is next.
    fn pass_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.bytes().get(self.at)? {
                b'"' => {
                    self.pass_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1_000_000..1_000_000_i32).prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn members_are_those_that_serde_reads(value in json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.unwrap();
            let found: Vec<_> = members(&text)
                .map(|(name, raw)| (name.into_owned(), serde_json::from_str::<Value>(raw).unwrap()))
                .collect();
            let expected: Vec<_> = value.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
            prop_assert_eq!(found, expected);
            let found: Option<Vec<Value>> = elements(&text).map(|all| all.map(|raw| serde_json::from_str(raw).unwrap()).collect());
            prop_assert_eq!(found.as_ref(), value.as_array());
        }

        #[test]
        fn nothing_makes_it_fail(text in "[{}\\[\\]\",:\\\\ a1]{0,40}") {
            prop_assert!(members(&text).count() <= text.len());
            prop_assert!(elements(&text).map_or(0, Iterator::count) <= text.len());
        }
    }

    #[test]
    fn integers_are_known_however_they_are_written() {
        assert_eq!((integer("100"), integer("1e2"), integer("-100.0")), (Some(100), Some(100), Some(-100)));
        for none in ["1.5", "\"1\"", "null", "1e400", "9007199254740993.5", "inf", ""] {
            assert_eq!(integer(none), None, "{none}");
        }
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
    }
}
