//! A worker's event, held to the contract of its type: one pass over the JSON that validates it and finds what the
//! gateway needs. Borrowed: bad upstream data is a counted value ([`Reject`]), never a panic and never an allocation.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

pub use self::reject::{Reason, Reject};
use super::{Kind, SymbolCase};

mod portable;
mod reject;

/// Sequence numbers are below 2^53, so that every JSON reader carries them exactly.
pub const SEQ_END: u64 = 1 << 53;

/// An event that keeps the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'p> {
    /// The worker's object, byte for byte, without the white space around it.
    pub object: &'p str,
    /// Its `timestamp`, as the worker wrote it; empty where it has none, as events of custom types may.
    pub timestamp: &'p str,
    /// Its `seq`, where it has one that is an integer below [`SEQ_END`].
    pub seq: Option<u64>,
    /// It has something else by that name.
    pub has_odd_seq: bool,
}

/// Holds events to the contract of their type.
///
/// | type | required |
/// |---|---|
/// | trade | `symbol`, `price`, `volume`, `timestamp` |
/// | quote | `symbol`, `bidPrice`, `askPrice`, `timestamp` |
/// | candle | `symbol`, `open`, `high`, `low`, `close`, `volume`, `timestamp`, `interval` |
/// | news | `headline`, `timestamp` |
/// | halt | `symbol`, `status`, `timestamp` |
/// | custom | nothing |
///
/// `symbol` is a string, the channel's symbol, `headline` and `status` are strings, `interval` is a string or a number, the others are
/// numbers; so are a `symbol` and a `timestamp` that no contract requires, where an event has them. Everything else is carried unseen, every number as it was
/// written. Readers of JSON differ in what they make of a field that stands twice, of half a surrogate pair and of very
/// deep nesting. So none of the fields above and no `seq` may stand twice, and the other two may be nowhere.
#[derive(Debug, Clone, Copy)]
pub struct Checker {
    /// `MAX_EVENT_BYTES`.
    pub max_event_bytes: usize,
    /// `SYMBOL_CASE`.
    pub symbol_case: SymbolCase,
}

impl Checker {
    /// A checker with that `MAX_EVENT_BYTES` and upper-cased symbols.
    pub const fn with_max_bytes(max_event_bytes: usize) -> Self {
        Self { max_event_bytes, symbol_case: SymbolCase::Upper }
    }

    /// Checks a payload against the contract of its type. `symbol` is the channel's, normalised.
    ///
    /// # Errors
    /// The first [`Reject`] that applies.
    pub fn check<'p>(&self, kind: Kind, payload: &'p [u8], symbol: &[u8]) -> Result<Event<'p>, Reject> {
        if payload.len() > self.max_event_bytes {
            return Err(Reject::TooLarge);
        }
        let text = std::str::from_utf8(payload).map_err(|_| Reject::NotJson)?;
        let object = text.trim_matches([' ', '\t', '\n', '\r']);
        let mut json = serde_json::Deserializer::from_str(object);
        let fields = json.deserialize_map(FieldsVisitor(kind)).map_err(|_| why_unreadable(object))?;
        json.end().map_err(|_| Reject::NotJson)?;
        portable::check(object)?;
        if let Some(fault) = fields.fault {
            return Err(fault);
        }
        let case = kind.case(self.symbol_case);
        if fields.symbol.is_some_and(|name| !case.matches(&name, symbol)) {
            return Err(Reject::WrongSymbol);
        }
        match required(kind).iter().find(|field| fields.found & field.bit == 0) {
            Some(field) => Err(Reject::Missing(field.name)),
            None => {
                let Fields { timestamp, seq, found, .. } = fields;
                let has_odd_seq = seq.is_none() && found & Field::SEQ.bit != 0;
                Ok(Event { object, timestamp, seq, has_odd_seq })
            }
        }
    }
}

/// Why a text could not be read as an object of fields; only bad events come here.
#[cold]
fn why_unreadable(text: &str) -> Reject {
    match serde_json::from_str::<IgnoredAny>(text) {
        Err(_) => Reject::NotJson,
        Ok(_) if !text.starts_with('{') => Reject::NotObject,
        // The grammar is kept, so it is a field's name that is no text.
        Ok(_) => Reject::LoneSurrogate,
    }
}

/// A field that the contract names.
#[derive(Debug, Clone, Copy)]
struct Field {
    name: &'static str,
    /// Its bit in [`Fields::found`].
    bit: u16,
    shape: Shape,
}

/// What the value of a field has to be.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// The channel's symbol.
    Symbol,
    /// Anything; only an integer below [`SEQ_END`] counts.
    Seq,
    Timestamp,
    Number,
    Text,
    /// A string or a number.
    Label,
}

impl Field {
    const SYMBOL: Self = Self { name: "symbol", bit: 1 << 0, shape: Shape::Symbol };
    const SEQ: Self = Self { name: "seq", bit: 1 << 1, shape: Shape::Seq };
    const TIMESTAMP: Self = Self { name: "timestamp", bit: 1 << 2, shape: Shape::Timestamp };
    const PRICE: Self = Self::number("price", 3);
    const VOLUME: Self = Self::number("volume", 4);
    const BID_PRICE: Self = Self::number("bidPrice", 3);
    const ASK_PRICE: Self = Self::number("askPrice", 4);
    const OPEN: Self = Self::number("open", 5);
    const HIGH: Self = Self::number("high", 6);
    const LOW: Self = Self::number("low", 7);
    const CLOSE: Self = Self::number("close", 8);
    const INTERVAL: Self = Self { name: "interval", bit: 1 << 9, shape: Shape::Label };
    const HEADLINE: Self = Self { name: "headline", bit: 1 << 3, shape: Shape::Text };
    const STATUS: Self = Self { name: "status", bit: 1 << 3, shape: Shape::Text };

    const fn number(name: &'static str, place: u32) -> Self {
        Self { name, bit: 1 << place, shape: Shape::Number }
    }
}

/// The fields that an event must have, in the order in which missing ones are named.
const fn required(kind: Kind) -> &'static [Field] {
    match kind {
        Kind::TRADE => &[Field::SYMBOL, Field::PRICE, Field::VOLUME, Field::TIMESTAMP],
        Kind::QUOTE => &[Field::SYMBOL, Field::BID_PRICE, Field::ASK_PRICE, Field::TIMESTAMP],
        Kind::CANDLE => &[
            Field::SYMBOL,
            Field::OPEN,
            Field::HIGH,
            Field::LOW,
            Field::CLOSE,
            Field::VOLUME,
            Field::TIMESTAMP,
            Field::INTERVAL,
        ],
        Kind::NEWS => &[Field::HEADLINE, Field::TIMESTAMP],
        Kind::HALT => &[Field::SYMBOL, Field::STATUS, Field::TIMESTAMP],
        _ => &[],
    }
}

/// The field of that name, if the contract names it. A `match` rather than a search of [`required`]: it compares machine
/// words, for every field of every event.
#[inline]
fn field(kind: Kind, name: &str) -> Option<Field> {
    Some(match (kind, name) {
        (_, "symbol") => Field::SYMBOL,
        (_, "seq") => Field::SEQ,
        (_, "timestamp") => Field::TIMESTAMP,
        (Kind::TRADE, "price") => Field::PRICE,
        (Kind::TRADE | Kind::CANDLE, "volume") => Field::VOLUME,
        (Kind::QUOTE, "bidPrice") => Field::BID_PRICE,
        (Kind::QUOTE, "askPrice") => Field::ASK_PRICE,
        (Kind::CANDLE, "open") => Field::OPEN,
        (Kind::CANDLE, "high") => Field::HIGH,
        (Kind::CANDLE, "low") => Field::LOW,
        (Kind::CANDLE, "close") => Field::CLOSE,
        (Kind::CANDLE, "interval") => Field::INTERVAL,
        (Kind::NEWS, "headline") => Field::HEADLINE,
        (Kind::HALT, "status") => Field::STATUS,
        _ => return None,
    })
}

/// What one pass over an event's object has found.
#[derive(Default)]
struct Fields<'p> {
    symbol: Option<Cow<'p, str>>,
    timestamp: &'p str,
    seq: Option<u64>,
    /// One bit for each field that was there.
    found: u16,
    /// The first field that stands twice or has the wrong type.
    fault: Option<Reject>,
}

impl<'p> Fields<'p> {
    #[inline]
    fn take(&mut self, field: Field, raw: &'p str) {
        if self.found & field.bit != 0 {
            self.fault.get_or_insert(Reject::Twice(field.name));
            return;
        }
        self.found |= field.bit;
        let first = raw.as_bytes().first();
        let is_number = matches!(first, Some(b'-' | b'0'..=b'9'));
        let is_text = first == Some(&b'"');
        let (is_good, must_be) = match field.shape {
            Shape::Symbol => {
                self.symbol = is_text.then(|| text(raw)).flatten();
                (self.symbol.is_some(), "a string")
            }
            Shape::Seq => {
                self.seq = raw.parse().ok().filter(|seq| *seq < SEQ_END);
                (true, "")
            }
            Shape::Timestamp => {
                self.timestamp = raw;
                (is_number, "a number")
            }
            Shape::Number => (is_number, "a number"),
            Shape::Text => (is_text, "a string"),
            Shape::Label => (is_number || is_text, "a string or a number"),
        };
        if !is_good {
            self.fault.get_or_insert(Reject::Wrong { field: field.name, must_be });
        }
    }
}

/// What a JSON string says; `None` if that is no text (half a surrogate pair).
fn text(raw: &str) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return raw.get(1..raw.len() - 1).map(Cow::Borrowed);
    }
    serde_json::from_str(raw).ok().map(Cow::Owned)
}

struct FieldsVisitor(Kind);

impl<'p> Visitor<'p> for FieldsVisitor {
    type Value = Fields<'p>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'p>>(self, mut map: A) -> Result<Fields<'p>, A::Error> {
        let mut fields = Fields::default();
        while let Some(Key(key)) = map.next_key()? {
            match field(self.0, &key) {
                Some(field) => fields.take(field, map.next_value::<&RawValue>()?.get()),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
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
    use crate::market::Kinds;

    const CHECKER: Checker = Checker { max_event_bytes: 65_536, symbol_case: SymbolCase::Upper };
    const GOOD: &str =
        r#"{"symbol":"AAPL","price":150.250,"volume":9007199254740993,"timestamp":1234567890}"#;

    fn check_as_trade<'p>(payload: &'p [u8], symbol: &[u8], max: usize) -> Result<&'p str, Reject> {
        Checker { max_event_bytes: max, ..CHECKER }
            .check(Kind::TRADE, payload, symbol)
            .map(|event| event.object)
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

    fn wrong(field: &'static str, must_be: &'static str) -> Result<&'static str, Reject> {
        Err(Reject::Wrong { field, must_be })
    }

    #[test]
    fn bad_trades_are_told_apart() {
        assert_eq!(trade("nonsense"), Err(Reject::NotJson));
        assert_eq!(trade(""), Err(Reject::NotJson));
        assert_eq!(trade("[1]"), Err(Reject::NotObject));
        assert_eq!(trade("42"), Err(Reject::NotObject));
        assert_eq!(trade(&GOOD[..GOOD.len() - 1]), Err(Reject::NotJson));
        assert_eq!(trade(&format!("{GOOD}x")), Err(Reject::NotJson));
        assert_eq!(trade(&GOOD.replace("price", "prize")), Err(Reject::Missing("price")));
        assert_eq!(trade(&GOOD.replace("150.250", "\"150\"")), wrong("price", "a number"));
        assert_eq!(trade(&GOOD.replace("150.250", "null")), wrong("price", "a number"));
        assert_eq!(trade(&GOOD.replace("150.250", "01")), Err(Reject::NotJson));
        assert_eq!(trade(&GOOD.replace("\"AAPL\"", "7")), wrong("symbol", "a string"));
        assert_eq!(trade(&GOOD.replace("AAPL", "MSFT")), Err(Reject::WrongSymbol));
        assert_eq!(trade("{}"), Err(Reject::Missing("symbol")));
        assert_eq!(check_as_trade(GOOD.as_bytes(), b"AAPL", 10), Err(Reject::TooLarge));
        assert_eq!(check_as_trade(b"{\"symbol\":\"\xff\"}", b"AAPL", 100), Err(Reject::NotJson));
    }

    #[test]
    fn each_type_has_its_own_fields() {
        let good = [
            (Kind::QUOTE, r#"{"symbol":"A","bidPrice":1,"askPrice":2,"timestamp":3}"#),
            (
                Kind::CANDLE,
                r#"{"symbol":"A","open":1,"high":2,"low":3,"close":4,"volume":5,"timestamp":6,"interval":"1m"}"#,
            ),
            (Kind::NEWS, r#"{"headline":"\u00e4","timestamp":3}"#),
            (Kind::HALT, r#"{"symbol":"a","status":"halted","timestamp":3}"#),
        ];
        for (kind, payload) in good {
            assert_eq!(CHECKER.check(kind, payload.as_bytes(), b"A").unwrap().object, payload);
            let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(payload).unwrap();
            for field in value.keys() {
                let mut without = value.clone();
                without.remove(field);
                let without = serde_json::to_vec(&without).unwrap();
                let mut wrong = value.clone();
                wrong.insert(field.clone(), serde_json::Value::Bool(true));
                let wrong = serde_json::to_vec(&wrong).unwrap();
                let twice = payload.replacen('{', &format!("{{\"{field}\":{},", value[field]), 1);
                let twice = twice.into_bytes();
                for (bad, fault) in [(without, "missing"), (wrong, "must be"), (twice, "twice")] {
                    let reject = CHECKER.check(kind, &bad, b"A").unwrap_err();
                    assert_eq!(reject.field(), Some(field.as_str()), "{kind:?} {field}");
                    assert_eq!(reject.reason(), Reason::BadField);
                    assert!(reject.to_string().contains(fault), "{reject}");
                }
            }
        }
    }

    #[test]
    fn a_custom_type_has_any_object() {
        let mine = "mine".parse::<Kinds>().unwrap().find(b"mine").unwrap();
        let check = |payload: &str| CHECKER.check(mine, payload.as_bytes(), b"a").map(|_| ());
        for good in [
            "{}",
            r#"{"price":"x","price":[],"interval":null,"headline":1}"#,
            r#"{"symbol":"a","seq":"odd","timestamp":1e3}"#,
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert_eq!(check(r#"{"symbol":"A"}"#), Err(Reject::WrongSymbol), "its names are never folded");
        assert_eq!(check("[]"), Err(Reject::NotObject));
        assert_eq!(check(r#"{"symbol":"a","symbol":"a"}"#), Err(Reject::Twice("symbol")));
        assert_eq!(check(r#"{"timestamp":1,"timestamp":1}"#), Err(Reject::Twice("timestamp")));
        assert_eq!(check(r#"{"timestamp":"1"}"#).unwrap_err().field(), Some("timestamp"));
        assert_eq!(check(r#"{"x":"\ud800"}"#), Err(Reject::LoneSurrogate));
        let event = CHECKER.check(mine, br#"{"seq":7}"#, b"a").unwrap();
        assert_eq!((event.seq, event.timestamp), (Some(7), ""));
    }

    #[test]
    fn a_symbol_is_the_channels_also_where_none_is_needed() {
        let news = |symbol: &str| {
            let payload = format!(r#"{{"headline":"x","timestamp":3,"symbol":{symbol}}}"#);
            CHECKER.check(Kind::NEWS, payload.as_bytes(), b"A").map(|_| ())
        };
        assert_eq!(news(r#""a""#), Ok(()));
        assert_eq!(news(r#""B""#), Err(Reject::WrongSymbol));
        let exact = Checker { symbol_case: SymbolCase::Exact, ..CHECKER };
        let trade = GOOD.replace("AAPL", "AMpB");
        assert!(exact.check(Kind::TRADE, trade.as_bytes(), b"AMpB").is_ok());
        assert_eq!(exact.check(Kind::TRADE, trade.as_bytes(), b"AMPB"), Err(Reject::WrongSymbol));
        assert_eq!(news("7").unwrap_err().field(), Some("symbol"));
    }

    #[test]
    fn what_readers_take_in_different_ways_is_bad() {
        let with = |field: &str| GOOD.replacen('{', &format!("{{{field},"), 1);
        for (field, expected) in [
            (r#""seq":1,"seq":1"#, Err(Reject::Twice("seq"))),
            (r#""seq":"x","seq":1"#, Err(Reject::Twice("seq"))),
            (r#""symbol":"AAPL""#, Err(Reject::Twice("symbol"))),
            (r#""pr\u0069ce":1"#, Err(Reject::Twice("price"))),
            (r#""x":"\ud800""#, Err(Reject::LoneSurrogate)),
            (r#""\udc00":1"#, Err(Reject::LoneSurrogate)),
            (r#""x":"\ud83d\ude00","y":"\\ud800""#, Ok(())),
            (r#""exchange":"A","exchange":"B""#, Ok(())),
        ] {
            assert_eq!(trade(&with(field)).map(|_| ()), expected, "{field}");
        }
        let nested = |levels: usize| with(&format!(r#""x":{}{}"#, "[".repeat(levels), "]".repeat(levels)));
        assert!(trade(&nested(127)).is_ok());
        assert_eq!(trade(&nested(128)), Err(Reject::TooDeep));
        assert_eq!(trade(&nested(20_000)), Err(Reject::TooDeep));
    }

    #[test]
    fn a_sequence_number_is_a_small_integer() {
        let seq = |text: &str| {
            let payload = GOOD.replace("\"price\"", &format!("\"seq\":{text},\"price\""));
            let event = CHECKER.check(Kind::TRADE, payload.as_bytes(), b"AAPL");
            event.map(|event| (event.seq, event.has_odd_seq))
        };
        assert_eq!(seq("0"), Ok((Some(0), false)));
        assert_eq!(seq("9007199254740991"), Ok((Some(SEQ_END - 1), false)));
        assert!(!CHECKER.check(Kind::TRADE, GOOD.as_bytes(), b"AAPL").unwrap().has_odd_seq);
        for other in ["9007199254740992", "-1", "1.0", "1e3", "\"7\"", "null"] {
            assert_eq!(seq(other), Ok((None, true)), "{other}");
        }
    }
}
