//! A worker's event, held to the contract of its type: one pass over the JSON that validates it and finds what the
//! gateway needs. Borrowed: bad upstream data is a counted value ([`Reject`]), never a panic and never an allocation.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

pub use self::reject::{Reason, Reject};
use super::symbol::{interval_of, name_of};
use super::{INTERVAL_BYTES_MAX, Kind, Symbol, SymbolCase, TOPIC_KEY_BYTES_MAX};

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
    /// Its `interval`, where it is a candle, as the worker wrote it.
    interval: &'p str,
}

impl Event<'_> {
    /// Writes the key of a candle's topic into `buffer`: `symbol`, which is the channel's, and the interval. The number `1` and the string
    /// `"1"` are one interval.
    pub(crate) fn key_with_interval<'b>(
        &self,
        symbol: &[u8],
        buffer: &'b mut [u8; TOPIC_KEY_BYTES_MAX],
    ) -> &'b [u8] {
        Symbol::key_with_interval(symbol, &label(self.interval).unwrap_or_default(), buffer)
    }

    /// Whether a candle has the interval of a topic.
    pub(crate) fn is_of_topic(&self, key: &[u8]) -> bool {
        let interval = label(self.interval);
        interval_of(key).zip(interval).is_some_and(|(key, interval)| key == interval.as_bytes())
    }
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
/// `symbol` is a string, the channel's symbol, `headline` and `status` are strings, `interval` is a string or a number of at most
/// [`INTERVAL_BYTES_MAX`] bytes, the others are numbers. A `symbol` or `timestamp` that no contract requires has to be the same where it
/// stands. Everything else is carried unseen, every number as it was written. Readers of JSON differ in what they make of a field that stands twice, of half a surrogate pair and of very
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

    /// Checks a payload against the contract of its type. `symbol` is the channel's, normalised; that of a topic, with an interval, is
    /// taken as well.
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
        let symbol = if kind.has_intervals() { name_of(symbol) } else { symbol };
        if fields.symbol.is_some_and(|name| !case.matches(&name, symbol)) {
            return Err(Reject::WrongSymbol);
        }
        match required(kind).iter().find(|field| fields.found & field.bit == 0) {
            Some(field) => Err(Reject::Missing(field.name)),
            None => {
                let Fields { timestamp, seq, interval, found, .. } = fields;
                let has_odd_seq = seq.is_none() && found & Field::SEQ.bit != 0;
                Ok(Event { object, timestamp, seq, has_odd_seq, interval })
            }
        }
    }
}

/// Checks that a payload is a JSON object that every reader takes, and not longer than `max_bytes`; returns it without the white space around it.
///
/// # Errors
/// The first [`Reject`] that applies.
pub fn check_object(payload: &[u8], max_bytes: usize) -> Result<&str, Reject> {
    if payload.len() > max_bytes {
        return Err(Reject::TooLarge);
    }
    let text = std::str::from_utf8(payload).map_err(|_| Reject::NotJson)?;
    let object = text.trim_matches([' ', '\t', '\n', '\r']);
    let is_json = serde_json::from_str::<IgnoredAny>(object).is_ok();
    match is_json && object.starts_with('{') {
        true => check_value(object).map(|()| object),
        false => Err(why_unreadable(object)),
    }
}

/// Checks of a text that is JSON that every reader takes it: no half of a surrogate pair, and no nesting deeper than 128 levels.
///
/// # Errors
/// The first [`Reject`] that applies.
pub fn check_value(json: &str) -> Result<(), Reject> {
    portable::check(json)
}

/// Reads a field that may have any value, `null` as well, for `deserialize_with`: serde takes `null` for a field that isn't there.
///
/// # Errors
/// Those of the reader.
pub fn any_value<'de: 'r, 'r, D: Deserializer<'de>>(json: D) -> Result<Option<&'r RawValue>, D::Error> {
    <&RawValue>::deserialize(json).map(Some)
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
    /// Its bit in [`Fields::found`], of its own among the fields of one type.
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
    /// A string or a number, not too long: the interval of a candle.
    Interval,
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
    const INTERVAL: Self = Self { name: "interval", bit: 1 << 9, shape: Shape::Interval };
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
    interval: &'p str,
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
            Shape::Interval => {
                self.interval = raw;
                let fits = label(raw).is_some_and(|label| label.len() <= INTERVAL_BYTES_MAX);
                (fits && (is_number || is_text), "a string or a number, of at most 32 bytes")
            }
        };
        if !is_good {
            self.fault.get_or_insert(Reject::Wrong { field: field.name, must_be });
        }
    }
}

/// What a JSON string says, or a number as it is written.
fn label(raw: &str) -> Option<Cow<'_, str>> {
    if raw.starts_with('"') { text(raw) } else { Some(Cow::Borrowed(raw)) }
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

impl<'p> Deserialize<'p> for Key<'p> {
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
mod tests;
