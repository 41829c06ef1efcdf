//! The market's terms: symbols, topics, and the events that workers publish about them.
//!
//! Everything here is pure and borrowed: bad upstream data is a counted value ([`Reject`]), never a panic and
//! never an allocation.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

/// The longest symbol, in bytes.
pub const SYMBOL_BYTES_MAX: usize = 64;

/// An instrument's name: 1–64 bytes of `A-Z 0-9 . _ - / : = ^ + @ #`, already upper-cased.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(SmallVec<[u8; 16]>);

impl Symbol {
    /// Upper-cases (ASCII) and checks a name that a client or a channel gave; `None` if it is no symbol.
    pub fn parse(name: &[u8]) -> Option<Self> {
        if name.is_empty() || name.len() > SYMBOL_BYTES_MAX {
            return None;
        }
        let mut upper = SmallVec::with_capacity(name.len());
        for &byte in name {
            upper.push(symbol_byte(byte)?);
        }
        Some(Self(upper))
    }

    /// The symbol as text; it is ASCII.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The symbol as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a byte of a name is in a symbol: upper-cased if it is allowed there.
fn symbol_byte(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' | b'0'..=b'9' => Some(byte),
        b'a'..=b'z' => Some(byte.to_ascii_uppercase()),
        b'.' | b'_' | b'-' | b'/' | b':' | b'=' | b'^' | b'+' | b'@' | b'#' => Some(byte),
        _ => None,
    }
}

/// Writes the symbol of a channel into `buffer` and returns it, upper-cased, without allocating; `None` if the
/// name is no symbol. The hot path's form of [`Symbol::parse`].
pub fn normalize_symbol<'b>(name: &[u8], buffer: &'b mut [u8; SYMBOL_BYTES_MAX]) -> Option<&'b [u8]> {
    if name.is_empty() || name.len() > SYMBOL_BYTES_MAX {
        return None;
    }
    let out = &mut buffer[..name.len()];
    for (to, &from) in out.iter_mut().zip(name) {
        *to = symbol_byte(from)?;
    }
    Some(out)
}

/// Why an upstream event was dropped. One label value each in `ws_events_rejected_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reject {
    /// The channel's last part is no symbol.
    BadSymbol,
    /// The payload is longer than `MAX_EVENT_BYTES`.
    TooLarge,
    /// The payload is not UTF-8 or not JSON.
    NotJson,
    /// The payload is JSON but not an object.
    NotObject,
    /// A required field is missing or has the wrong type.
    BadField,
    /// `symbol` is not the channel's.
    WrongSymbol,
}

impl Reject {
    /// All reasons, in the order of their discriminants.
    pub const ALL: [Self; 6] =
        [Self::BadSymbol, Self::TooLarge, Self::NotJson, Self::NotObject, Self::BadField, Self::WrongSymbol];

    /// The reason as metrics and logs name it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadSymbol => "bad_symbol",
            Self::TooLarge => "too_large",
            Self::NotJson => "not_json",
            Self::NotObject => "not_object",
            Self::BadField => "bad_field",
            Self::WrongSymbol => "wrong_symbol",
        }
    }
}

/// Checks a trade's payload against the contract and returns the object's bytes, without the white space around it.
///
/// Required: `symbol` (string, equal to `symbol` ignoring ASCII case), `price`, `volume` and `timestamp` (numbers).
/// Everything else is carried unseen, every number as it was written. A field that occurs twice must be good twice.
///
/// # Errors
/// The first [`Reject`] that applies.
pub fn check_trade<'p>(payload: &'p [u8], symbol: &[u8], max_event_bytes: usize) -> Result<&'p str, Reject> {
    if payload.len() > max_event_bytes {
        return Err(Reject::TooLarge);
    }
    let text = std::str::from_utf8(payload).map_err(|_| Reject::NotJson)?;
    let object = text.trim_matches([' ', '\t', '\n', '\r']);
    let mut json = serde_json::Deserializer::from_str(object);
    let fields = json.deserialize_map(TradeVisitor);
    let fields = match fields {
        Ok(fields) => fields,
        Err(_) if object.starts_with('{') => return Err(Reject::NotJson),
        Err(_) => return Err(not_an_object(object)),
    };
    json.end().map_err(|_| Reject::NotJson)?;
    match fields.symbol {
        Some(Cow::Borrowed(name)) if name.as_bytes().eq_ignore_ascii_case(symbol) => {}
        Some(Cow::Owned(name)) if name.as_bytes().eq_ignore_ascii_case(symbol) => {}
        Some(_) if !fields.bad => return Err(Reject::WrongSymbol),
        _ => return Err(Reject::BadField),
    }
    if fields.bad || fields.numbers != ALL_NUMBERS {
        return Err(Reject::BadField);
    }
    Ok(object)
}

/// Tells JSON that isn't an object from what isn't JSON at all; only bad events come here.
fn not_an_object(text: &str) -> Reject {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Reject::NotObject,
        Err(_) => Reject::NotJson,
    }
}

/// The bits of [`TradeFields::numbers`] that a whole trade sets.
const ALL_NUMBERS: u8 = 0b111;

/// What one pass over a trade's object has found.
#[derive(Default)]
struct TradeFields<'p> {
    symbol: Option<Cow<'p, str>>,
    /// One bit each for price, volume and timestamp.
    numbers: u8,
    /// A required field had the wrong type.
    bad: bool,
}

struct TradeVisitor;

impl<'p> Visitor<'p> for TradeVisitor {
    type Value = TradeFields<'p>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'p>>(self, mut map: A) -> Result<TradeFields<'p>, A::Error> {
        let mut fields = TradeFields::default();
        while let Some(Key(key)) = map.next_key()? {
            let bit = match &*key {
                "symbol" => {
                    let raw: &RawValue = map.next_value()?;
                    match serde_json::from_str::<Key<'p>>(raw.get()) {
                        Ok(Key(symbol)) => {
                            // Readers differ in which of two they take, so both have to say the same.
                            let first = fields.symbol.as_deref().unwrap_or(&symbol);
                            fields.bad |= !first.eq_ignore_ascii_case(&symbol);
                            fields.symbol = Some(symbol);
                        }
                        Err(_) => fields.bad = true,
                    }
                    continue;
                }
                "price" => 0b001,
                "volume" => 0b010,
                "timestamp" => 0b100,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let raw: &RawValue = map.next_value()?;
            match raw.get().as_bytes().first() {
                Some(b'-' | b'0'..=b'9') => fields.numbers |= bit,
                _ => fields.bad = true,
            }
        }
        Ok(fields)
    }
}

/// A JSON string, borrowed unless it has escapes.
struct Key<'p>(Cow<'p, str>);

impl<'p> serde::Deserialize<'p> for Key<'p> {
    fn deserialize<D: Deserializer<'p>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'p> Visitor<'p> for KeyVisitor {
            type Value = Key<'p>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'p str) -> Result<Key<'p>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'p>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        r#"{"symbol":"AAPL","price":150.250,"volume":9007199254740993,"timestamp":1234567890}"#;

    fn check(payload: &str) -> Result<&str, Reject> {
        check_trade(payload.as_bytes(), b"AAPL", 65_536)
    }

    #[test]
    fn a_good_trade_is_returned_byte_for_byte() {
        assert_eq!(check(GOOD), Ok(GOOD));
        assert_eq!(check(&format!(" \n{GOOD}\r\n")), Ok(GOOD));
        let lower = GOOD.replace("AAPL", "aapl");
        assert_eq!(check(&lower), Ok(&*lower));
        let escaped = GOOD.replace("AAPL", r"\u0041APL");
        assert_eq!(check(&escaped), Ok(&*escaped));
    }

    #[test]
    fn bad_trades_are_told_apart() {
        assert_eq!(check("nonsense"), Err(Reject::NotJson));
        assert_eq!(check(""), Err(Reject::NotJson));
        assert_eq!(check("[1]"), Err(Reject::NotObject));
        assert_eq!(check("42"), Err(Reject::NotObject));
        assert_eq!(check(&GOOD[..GOOD.len() - 1]), Err(Reject::NotJson));
        assert_eq!(check(&format!("{GOOD}x")), Err(Reject::NotJson));
        assert_eq!(check(&GOOD.replace("price", "prize")), Err(Reject::BadField));
        assert_eq!(check(&GOOD.replace("150.250", "\"150\"")), Err(Reject::BadField));
        assert_eq!(check(&GOOD.replace("150.250", "null")), Err(Reject::BadField));
        assert_eq!(check(&GOOD.replace("150.250", "01")), Err(Reject::NotJson));
        assert_eq!(check(&GOOD.replace("\"AAPL\"", "7")), Err(Reject::BadField));
        assert_eq!(check(&GOOD.replace("AAPL", "MSFT")), Err(Reject::WrongSymbol));
        for (first, second) in [("MSFT", "AAPL"), ("AAPL", "MSFT")] {
            let twice = GOOD.replace(r#""AAPL""#, &format!(r#""{first}","symbol":"{second}""#));
            assert_eq!(check(&twice), Err(Reject::BadField));
        }
        assert_eq!(check_trade(GOOD.as_bytes(), b"AAPL", 10), Err(Reject::TooLarge));
        assert_eq!(check_trade(b"{\"symbol\":\"\xff\"}", b"AAPL", 100), Err(Reject::NotJson));
    }

    #[test]
    fn symbols_are_upper_cased_and_bounded() {
        assert_eq!(Symbol::parse(b"btc-usd").unwrap().as_str(), "BTC-USD");
        assert_eq!(Symbol::parse(b"A/B:C=^+@#._-9").unwrap().as_str(), "A/B:C=^+@#._-9");
        for bad in [&b""[..], b"A B", b"A*", b"\xc3\xa4", &[b'A'; 65]] {
            assert!(Symbol::parse(bad).is_none(), "{bad:?}");
            assert!(normalize_symbol(bad, &mut [0; SYMBOL_BYTES_MAX]).is_none());
        }
        assert!(Symbol::parse(&[b'a'; 64]).is_some());
    }
}
