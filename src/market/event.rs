//! A worker's event, held to the contract of its type: one pass over the JSON that validates it and finds what the
//! gateway needs. Borrowed: bad upstream data is a counted value ([`Reject`]), never a panic and never an allocation.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::EventType;

/// Sequence numbers are below 2^53, so that every JSON reader carries them exactly.
pub const SEQ_END: u64 = 1 << 53;

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

/// An event that keeps the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'p> {
    /// The worker's object, byte for byte, without the white space around it.
    pub object: &'p str,
    /// Its `timestamp`, as the worker wrote it.
    pub timestamp: &'p str,
    /// Its `seq`, where it has one that is an integer below [`SEQ_END`].
    pub seq: Option<u64>,
}

/// Checks a payload against the contract of its type.
///
/// | type | required |
/// |---|---|
/// | trade | `symbol`, `price`, `volume`, `timestamp` |
/// | quote | `symbol`, `bidPrice`, `askPrice`, `timestamp` |
/// | candle | `symbol`, `open`, `high`, `low`, `close`, `volume`, `timestamp`, `interval` |
/// | news | `headline`, `timestamp` |
/// | halt | `symbol`, `status`, `timestamp` |
///
/// `symbol` is a string equal to `symbol` ignoring ASCII case, `headline` and `status` are strings, `interval` is a string
/// or a number, the others are numbers. Everything else is carried unseen, every number as it was written. A field that
/// occurs twice must be good twice.
///
/// # Errors
/// The first [`Reject`] that applies.
pub fn check<'p>(
    event_type: EventType,
    payload: &'p [u8],
    symbol: &[u8],
    max_event_bytes: usize,
) -> Result<Event<'p>, Reject> {
    if payload.len() > max_event_bytes {
        return Err(Reject::TooLarge);
    }
    let text = std::str::from_utf8(payload).map_err(|_| Reject::NotJson)?;
    let object = text.trim_matches([' ', '\t', '\n', '\r']);
    let mut json = serde_json::Deserializer::from_str(object);
    let fields = match json.deserialize_map(FieldsVisitor(event_type)) {
        Ok(fields) => fields,
        Err(_) if object.starts_with('{') => return Err(Reject::NotJson),
        Err(_) => return Err(not_an_object(object)),
    };
    json.end().map_err(|_| Reject::NotJson)?;
    if event_type != EventType::News {
        match &fields.symbol {
            Some(name) if name.as_bytes().eq_ignore_ascii_case(symbol) => {}
            Some(_) if !fields.bad => return Err(Reject::WrongSymbol),
            _ => return Err(Reject::BadField),
        }
    }
    if fields.bad || fields.found != all_found(event_type) {
        return Err(Reject::BadField);
    }
    Ok(Event { object, timestamp: fields.timestamp, seq: fields.seq })
}

/// Tells JSON that isn't an object from what isn't JSON at all; only bad events come here.
fn not_an_object(text: &str) -> Reject {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Reject::NotObject,
        Err(_) => Reject::NotJson,
    }
}

/// What the contract says of a field.
#[derive(Clone, Copy)]
enum Rule {
    /// The channel's symbol.
    Symbol,
    Seq,
    /// The first of the required fields that have a bit in [`Fields::found`].
    Timestamp,
    /// A required number, and its bit.
    Number(u8),
    /// A required string, and its bit.
    Text(u8),
    /// A required string or number, and its bit.
    Label(u8),
    /// None of ours: carried.
    Carried,
}

/// The bit of `timestamp` in [`Fields::found`].
const TIMESTAMP: u8 = 1;

#[inline]
fn rule(event_type: EventType, key: &str) -> Rule {
    use EventType::{Candle, Halt, News, Quote, Trade};
    match (event_type, key) {
        (Trade | Quote | Candle | Halt, "symbol") => Rule::Symbol,
        (_, "timestamp") => Rule::Timestamp,
        (_, "seq") => Rule::Seq,
        (Trade, "price") | (Quote, "bidPrice") | (Candle, "open") => Rule::Number(1 << 1),
        (Trade, "volume") | (Quote, "askPrice") | (Candle, "high") => Rule::Number(1 << 2),
        (Candle, "low") => Rule::Number(1 << 3),
        (Candle, "close") => Rule::Number(1 << 4),
        (Candle, "volume") => Rule::Number(1 << 5),
        (Candle, "interval") => Rule::Label(1 << 6),
        (News, "headline") | (Halt, "status") => Rule::Text(1 << 1),
        _ => Rule::Carried,
    }
}

/// The bits that a whole event sets in [`Fields::found`].
const fn all_found(event_type: EventType) -> u8 {
    match event_type {
        EventType::Trade | EventType::Quote => 0b111,
        EventType::Candle => 0b111_1111,
        EventType::News | EventType::Halt => 0b11,
    }
}

/// What one pass over an event's object has found.
#[derive(Default)]
struct Fields<'p> {
    symbol: Option<Cow<'p, str>>,
    timestamp: &'p str,
    seq: Option<u64>,
    /// One bit for each required field but the symbol.
    found: u8,
    /// A field of ours had the wrong type, or two values.
    bad: bool,
}

impl<'p> Fields<'p> {
    fn take(&mut self, rule: Rule, raw: &'p str) {
        let first = raw.as_bytes().first();
        let is_number = matches!(first, Some(b'-' | b'0'..=b'9'));
        let is_text = first == Some(&b'"');
        let (good, bit) = match rule {
            Rule::Symbol => return self.take_symbol(raw),
            Rule::Seq => return self.take_seq(raw),
            Rule::Timestamp => {
                self.timestamp = raw;
                (is_number, TIMESTAMP)
            }
            Rule::Number(bit) => (is_number, bit),
            Rule::Text(bit) => (is_text, bit),
            Rule::Label(bit) => (is_number || is_text, bit),
            Rule::Carried => return,
        };
        self.found |= bit;
        self.bad |= !good;
    }

    /// Readers differ in which of two they take, so both have to say the same.
    fn take_symbol(&mut self, raw: &'p str) {
        match serde_json::from_str::<Key<'p>>(raw) {
            Ok(Key(symbol)) => {
                self.bad |= self.symbol.as_ref().is_some_and(|first| !first.eq_ignore_ascii_case(&symbol));
                self.symbol = Some(symbol);
            }
            Err(_) => self.bad = true,
        }
    }

    /// A `seq` that is no integer below [`SEQ_END`] is a field like any other.
    fn take_seq(&mut self, raw: &str) {
        let seq = raw.parse().ok().filter(|seq| *seq < SEQ_END);
        self.bad |= self.seq.is_some() && self.seq != seq;
        self.seq = seq;
    }
}

struct FieldsVisitor(EventType);

impl<'p> Visitor<'p> for FieldsVisitor {
    type Value = Fields<'p>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'p>>(self, mut map: A) -> Result<Fields<'p>, A::Error> {
        let mut fields = Fields::default();
        while let Some(Key(key)) = map.next_key()? {
            match rule(self.0, &key) {
                Rule::Carried => {
                    map.next_value::<IgnoredAny>()?;
                }
                rule => fields.take(rule, map.next_value::<&RawValue>()?.get()),
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

    fn check_as_trade<'p>(payload: &'p [u8], symbol: &[u8], max: usize) -> Result<&'p str, Reject> {
        check(EventType::Trade, payload, symbol, max).map(|event| event.object)
    }

    fn trade(payload: &str) -> Result<&str, Reject> {
        check_as_trade(payload.as_bytes(), b"AAPL", 65_536)
    }

    #[test]
    fn a_good_trade_is_returned_byte_for_byte() {
        assert_eq!(trade(GOOD), Ok(GOOD));
        assert_eq!(trade(&format!(" \n{GOOD}\r\n")), Ok(GOOD));
        let lower = GOOD.replace("AAPL", "aapl");
        assert_eq!(trade(&lower), Ok(&*lower));
        let escaped = GOOD.replace("AAPL", r"\u0041APL");
        assert_eq!(trade(&escaped), Ok(&*escaped));
    }

    #[test]
    fn bad_trades_are_told_apart() {
        assert_eq!(trade("nonsense"), Err(Reject::NotJson));
        assert_eq!(trade(""), Err(Reject::NotJson));
        assert_eq!(trade("[1]"), Err(Reject::NotObject));
        assert_eq!(trade("42"), Err(Reject::NotObject));
        assert_eq!(trade(&GOOD[..GOOD.len() - 1]), Err(Reject::NotJson));
        assert_eq!(trade(&format!("{GOOD}x")), Err(Reject::NotJson));
        assert_eq!(trade(&GOOD.replace("price", "prize")), Err(Reject::BadField));
        assert_eq!(trade(&GOOD.replace("150.250", "\"150\"")), Err(Reject::BadField));
        assert_eq!(trade(&GOOD.replace("150.250", "null")), Err(Reject::BadField));
        assert_eq!(trade(&GOOD.replace("150.250", "01")), Err(Reject::NotJson));
        assert_eq!(trade(&GOOD.replace("\"AAPL\"", "7")), Err(Reject::BadField));
        assert_eq!(trade(&GOOD.replace("AAPL", "MSFT")), Err(Reject::WrongSymbol));
        for (first, second) in [("MSFT", "AAPL"), ("AAPL", "MSFT")] {
            let twice = GOOD.replace(r#""AAPL""#, &format!(r#""{first}","symbol":"{second}""#));
            assert_eq!(trade(&twice), Err(Reject::BadField));
        }
        assert_eq!(check_as_trade(GOOD.as_bytes(), b"AAPL", 10), Err(Reject::TooLarge));
        assert_eq!(check_as_trade(b"{\"symbol\":\"\xff\"}", b"AAPL", 100), Err(Reject::NotJson));
    }

    #[test]
    fn each_type_has_its_own_fields() {
        let good = [
            (EventType::Quote, r#"{"symbol":"A","bidPrice":1,"askPrice":2,"timestamp":3}"#),
            (
                EventType::Candle,
                r#"{"symbol":"A","open":1,"high":2,"low":3,"close":4,"volume":5,"timestamp":6,"interval":"1m"}"#,
            ),
            (EventType::News, r#"{"headline":"\u00e4","timestamp":3}"#),
            (EventType::Halt, r#"{"symbol":"a","status":"halted","timestamp":3}"#),
        ];
        for (event_type, payload) in good {
            assert_eq!(check(event_type, payload.as_bytes(), b"A", 1_000).unwrap().object, payload);
            let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(payload).unwrap();
            for field in value.keys() {
                let mut without = value.clone();
                without.remove(field);
                let without = serde_json::to_vec(&without).unwrap();
                let mut wrong = value.clone();
                wrong.insert(field.clone(), serde_json::Value::Bool(true));
                let wrong = serde_json::to_vec(&wrong).unwrap();
                for bad in [without, wrong] {
                    assert_eq!(check(event_type, &bad, b"A", 1_000), Err(Reject::BadField), "{field}");
                }
            }
        }
        let news_elsewhere = r#"{"headline":"x","timestamp":3,"symbol":7}"#;
        assert!(check(EventType::News, news_elsewhere.as_bytes(), b"A", 1_000).is_ok());
    }

    #[test]
    fn a_sequence_number_is_a_small_integer() {
        let seq = |text: &str| {
            let payload = GOOD.replace("\"price\"", &format!("\"seq\":{text},\"price\""));
            check(EventType::Trade, payload.as_bytes(), b"AAPL", 65_536).map(|event| event.seq)
        };
        assert_eq!(seq("0"), Ok(Some(0)));
        assert_eq!(seq("9007199254740991"), Ok(Some(SEQ_END - 1)));
        for other in ["9007199254740992", "-1", "1.0", "1e3", "\"7\"", "null"] {
            assert_eq!(seq(other), Ok(None), "{other}");
        }
        assert_eq!(seq("1,\"seq\":1"), Ok(Some(1)));
        assert_eq!(seq("1,\"seq\":2"), Err(Reject::BadField));
    }
}
