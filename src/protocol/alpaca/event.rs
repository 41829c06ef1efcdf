//! A worker's event as an object of Alpaca's. Pure.
//!
//! | `T` | type | fields |
//! |---|---|---|
//! | `t` | trade | `S i x p s t c z tks`; `i` is the worker's integer `id`, or else `seq`; `tks` is `B` or `S` for a `side` of `buy` or `sell` |
//! | `q` | quote | `S bx bp bs ax ap as t c z`; sizes that the worker doesn't send are 0, as SDKs need them |
//! | `b` `u` `d` | candle | `S o h l c v n vw t`; `n` (`trades`) and `vw` (`vwap`) are `null` where the worker doesn't send them |
//! | `s` | halt | `S sc sm rc rm t z`: all are there, as SDKs need them |
//! | `n` | news | `id headline summary author created_at updated_at url content symbols source`: likewise; the event's symbol is among `symbols` |
//!
//! Fields that are not listed as needed are left out where the worker doesn't send them, or sends something of another type.

use std::borrow::Cow;
use std::hash::Hasher;

use super::channel::Wire;
use crate::market::event::SEQ_END;
use crate::market::spelling::Spelling;
use crate::market::{AlpacaChannel, Kind};
use crate::protocol::form::EventParts;
use crate::protocol::found::Found;
use crate::protocol::native::event::Past;
use crate::protocol::object::{Object, Value, write_json, write_msgpack};
use crate::protocol::worker::{elements, integer, taker_sells, text};

/// Appends an event as an element of an array: in JSON with the comma before it. `false`, and nothing is appended: Alpaca's API has no words for
/// it. Its time is outside the years 1 to 9999, or, in MessagePack, a number is beyond 64 bits; or it is of another type.
pub fn write(
    out: &mut Vec<u8>,
    wire: Wire,
    channel: AlpacaChannel,
    event: &EventParts<'_>,
    spelling: &Spelling,
) -> bool {
    let found = Found::of(event.object, fields(event.kind));
    let Some(object) = object(channel, event, &found, spelling) else { return false };
    match wire {
        Wire::Json => {
            out.push(b',');
            write_json(out, &object);
            true
        }
        Wire::Msgpack => {
            let start = out.len();
            let is_written = write_msgpack(out, &object).is_some();
            if !is_written {
                out.truncate(start);
            }
            is_written
        }
    }
}

/// The fields of each type that mean something here, by place.
const fn fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::TRADE => &["price", "volume", "timestamp", "id", "exchange", "conditions", "tape", "side"],
        Kind::QUOTE => &[
            "bidPrice",
            "askPrice",
            "timestamp",
            "bidSize",
            "askSize",
            "bidExchange",
            "askExchange",
            "conditions",
            "tape",
        ],
        Kind::CANDLE => &["open", "high", "timestamp", "low", "close", "volume", "trades", "vwap"],
        Kind::HALT => &["status", "statusCode", "timestamp", "reason", "reasonCode", "tape"],
        Kind::NEWS => &[
            "headline",
            "id",
            "timestamp",
            "summary",
            "author",
            "createdAt",
            "updatedAt",
            "url",
            "content",
            "symbols",
            "source",
        ],
        _ => &[],
    }
}

fn object<'e>(
    channel: AlpacaChannel,
    event: &'e EventParts<'_>,
    found: &Found<'e>,
    spelling: &'e Spelling,
) -> Option<Object<'e>> {
    let symbol = Value::Plain(spelling.of(event.symbol));
    let moment = found.moment(2)?;
    let mut object = Object::new();
    let mut put = |name, value: Option<Value<'e>>| object.extend(value.map(|value| (name, value)));
    match event.kind {
        Kind::TRADE => {
            put("T", Some(Value::Plain("t")));
            put("S", Some(symbol));
            let id = found.at(3).and_then(integer);
            let seq = event.seq.filter(|seq| *seq < SEQ_END).map(|seq| seq as i64);
            put("i", id.or(seq).map(Value::Integer));
            put("x", found.text(4));
            put("p", Some(found.number(0)?));
            put("s", Some(found.amount(1)?));
            put("t", Some(Value::Moment(moment)));
            put("c", found.texts(5).map(|raw| Value::RawTexts(raw, None)));
            put("z", found.text(6));
            let tks = |sells| Value::Plain(if sells { "S" } else { "B" });
            put("tks", found.at(7).and_then(taker_sells).map(tks));
        }
        Kind::QUOTE => {
            put("T", Some(Value::Plain("q")));
            put("S", Some(symbol));
            put("bx", found.text(5));
            put("bp", Some(found.number(0)?));
            put("bs", Some(found.amount(3).unwrap_or(Value::Integer(0))));
            put("ax", found.text(6));
            put("ap", Some(found.number(1)?));
            put("as", Some(found.amount(4).unwrap_or(Value::Integer(0))));
            put("t", Some(Value::Moment(moment)));
            put("c", found.texts(7).map(|raw| Value::RawTexts(raw, None)));
            put("z", found.text(8));
        }
        Kind::CANDLE => {
            put("T", Some(Value::Plain(letter(channel)?)));
            put("S", Some(symbol));
            for (name, place) in [("o", 0), ("h", 1), ("l", 3), ("c", 4)] {
                put(name, Some(found.number(place)?));
            }
            put("v", Some(found.amount(5)?));
            put("n", Some(found.amount(6).unwrap_or(Value::Null)));
            put("vw", Some(found.number(7).unwrap_or(Value::Null)));
            put("t", Some(Value::Moment(moment)));
        }
        Kind::HALT => {
            put("T", Some(Value::Plain("s")));
            put("S", Some(symbol));
            let none = Value::Plain("");
            let status = found.text(0)?;
            put("sc", Some(found.text(1).unwrap_or_else(|| Value::Plain(status_code(found.at(0))))));
            put("sm", Some(status));
            put("rc", Some(found.text(4).unwrap_or(none)));
            put("rm", Some(found.text(3).unwrap_or(none)));
            put("t", Some(Value::Moment(moment)));
            put("z", Some(found.text(5).unwrap_or(none)));
        }
        Kind::NEWS => {
            let none = Value::Plain("");
            put("T", Some(Value::Plain("n")));
            let id = found.at(1).and_then(integer).unwrap_or_else(|| hash(event));
            put("id", Some(Value::Integer(id)));
            put("headline", Some(found.text(0)?));
            put("summary", Some(found.text(3).unwrap_or(none)));
            put("author", Some(found.text(4).unwrap_or(none)));
            put("created_at", Some(Value::Moment(found.moment(5).unwrap_or(moment))));
            put("updated_at", Some(Value::Moment(found.moment(6).unwrap_or(moment))));
            put("url", Some(found.text(7).unwrap_or(none)));
            put("content", Some(found.text(8).unwrap_or(none)));
            // SDKs give an article to the handlers of its symbols.
            let spelled = spelling.of(event.symbol);
            let symbols = found.texts(9).unwrap_or("[]");
            let is_named = elements(symbols)
                .into_iter()
                .flatten()
                .any(|raw| text(raw).is_some_and(|text| text == spelled));
            put("symbols", Some(Value::RawTexts(symbols, (!is_named).then_some(spelled))));
            put("source", Some(found.text(10).unwrap_or(none)));
        }
        _ => return None,
    }
    let marker = event.marker;
    put("snapshot", (marker.past() == Past::Snapshot).then_some(Value::True));
    put("replay", (marker.past() == Past::Replay).then_some(Value::True));
    put("delayedMs", marker.delayed_ms().map(|delayed_ms| Value::Integer(delayed_ms.get().into())));
    put("conflated", marker.totals().map(Value::Numbers));
    Some(object)
}

/// The `T` of a candle.
const fn letter(channel: AlpacaChannel) -> Option<&'static str> {
    match channel {
        AlpacaChannel::Others => None,
        AlpacaChannel::Bars => Some("b"),
        AlpacaChannel::UpdatedBars => Some("u"),
        AlpacaChannel::DailyBars => Some("d"),
    }
}

/// Alpaca's code for a status of which the worker says only the word.
fn status_code(raw: Option<&str>) -> &'static str {
    let status = raw.and_then(text).unwrap_or(Cow::Borrowed(""));
    let begins =
        |word: &str| status.get(..word.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(word));
    match () {
        () if begins("halt") || begins("suspend") => "H",
        () if begins("resum") || begins("trading") => "T",
        () => "",
    }
}

/// A number for an article of which the worker sends none: the same for the same article, below 2^53.
fn hash(event: &EventParts<'_>) -> i64 {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    hasher.write(event.symbol.as_bytes());
    hasher.write(event.object.as_bytes());
    (hasher.finish() >> 11) as i64
}

/// FNV-1a, which is the same on every gateway and in every version.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
