//! A worker's event as an object of Binance's, in a text frame. Pure.
//!
//! | stream | type | fields |
//! |---|---|---|
//! | `trade` | trade | `e E s t p q T m` |
//! | `aggTrade` | trade | `e E s a p q f l T m` |
//! | `bookTicker` | quote | `u s b B a A` |
//! | `kline_…` | candle | `e E s k`; `k` has `t T s i o c h l v n x q` |
//!
//! Prices and quantities are the worker's numbers, byte for byte, in quotes. `E` is the gateway's clock. `t`, or `a`, `f` and `l`, are the worker's
//! integer `id`, or else `seq`; `m` says that the seller took, and is left out where the worker sends no `side`. Fields are left out where the worker
//! doesn't send them.

use super::stream::{Length, length, write_name};
use crate::market::event::SEQ_END;
use crate::market::spelling::Spelling;
use crate::market::{BinanceShape, BinanceStream, Kind};
use crate::protocol::form::EventParts;
use crate::protocol::found::Found;
use crate::protocol::moment::Moment;
use crate::protocol::native::event::Past;
use crate::protocol::object::{Field, Object, Value, write_json};
use crate::protocol::worker::{integer, taker_sells};
use crate::websocket::header;

/// What stands before a stream's name in a combined event, between it and the object, and behind the object.
const OPENING: &[u8] = br#"{"stream":""#;
const MIDDLE: &[u8] = br#"","data":"#;

/// Appends an event as a text frame. `false`, and nothing is appended: Binance's API has no words for it, or its time is in no year that can be
/// written.
pub fn write(
    out: &mut Vec<u8>,
    shape: BinanceShape,
    of: BinanceStream,
    event: &EventParts<'_>,
    spelling: &Spelling,
) -> bool {
    let start = out.len();
    let found = Found::of(event.object, fields(event.kind));
    let is_written = write_payload(out, shape, of, event, &found, spelling.of(event.symbol)).is_some();
    match is_written {
        true => header::insert(out, start),
        false => out.truncate(start),
    }
    is_written
}

fn write_payload(
    out: &mut Vec<u8>,
    shape: BinanceShape,
    of: BinanceStream,
    event: &EventParts<'_>,
    found: &Found<'_>,
    symbol: &str,
) -> Option<()> {
    if shape.is_combined() {
        out.extend_from_slice(OPENING);
        write_name(out, event.kind, of, event.symbol, symbol).then_some(())?;
        out.extend_from_slice(MIDDLE);
    }
    let times = Times { is_micros: shape.is_micros() };
    match (event.kind, of) {
        (Kind::TRADE, BinanceStream::Trades | BinanceStream::AggTrades) => {
            write_json(out, &trade(of, event, found, symbol, times)?);
        }
        (Kind::QUOTE, BinanceStream::Others) => write_json(out, &book_ticker(event, found, symbol)?),
        (Kind::CANDLE, BinanceStream::Others) => {
            let candle = candle(event, found, symbol, times)?;
            let mut object = head("kline", event, symbol, times);
            object.push(("k", Value::Nested(&candle)));
            mark(&mut object, event);
            write_json(out, &object);
        }
        _ => return None,
    }
    if shape.is_combined() {
        out.push(b'}');
    }
    Some(())
}

/// The fields of each type that mean something here, by place.
const fn fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::TRADE => &["price", "volume", "timestamp", "id", "side"],
        Kind::QUOTE => &["bidPrice", "askPrice", "timestamp", "bidSize", "askSize"],
        Kind::CANDLE => {
            &["open", "high", "timestamp", "low", "close", "volume", "trades", "closed", "quoteVolume"]
        }
        _ => &[],
    }
}

/// How a connection has times.
#[derive(Debug, Clone, Copy)]
struct Times {
    is_micros: bool,
}

impl Times {
    fn of_clock(self, at_ms: u64) -> Value<'static> {
        let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
        Value::Integer(if self.is_micros { at_ms.saturating_mul(1_000) } else { at_ms })
    }

    fn of(self, moment: Moment) -> Value<'static> {
        Value::Integer(if self.is_micros { moment.us() } else { moment.ms() })
    }

    /// The last moment before that one.
    fn before(self, moment: Moment) -> Value<'static> {
        Value::Integer(if self.is_micros { moment.us() - 1 } else { moment.ms() - 1 })
    }
}

/// What the objects of most streams begin with.
fn head<'e>(name: &'static str, event: &EventParts<'_>, symbol: &'e str, times: Times) -> Object<'e> {
    Object::from_slice(&[
        ("e", Value::Plain(name)),
        ("E", times.of_clock(event.at_ms)),
        ("s", Value::Plain(symbol)),
    ])
}

fn trade<'e>(
    of: BinanceStream,
    event: &EventParts<'e>,
    found: &Found<'e>,
    symbol: &'e str,
    times: Times,
) -> Option<Object<'e>> {
    let number = found.at(3).and_then(integer).or_else(|| seq(event)).map(Value::Integer);
    let is_aggregate = of == BinanceStream::AggTrades;
    let (name, number_name) = if is_aggregate { ("aggTrade", "a") } else { ("trade", "t") };
    let mut object = head(name, event, symbol, times);
    let mut put = |name, value: Option<Value<'e>>| object.extend(value.map(|value| (name, value)));
    put(number_name, number);
    put("p", Some(found.quoted(0)?));
    put("q", Some(found.quoted(1)?));
    put("f", number.filter(|_| is_aggregate));
    put("l", number.filter(|_| is_aggregate));
    put("T", Some(times.of(found.moment(2)?)));
    put("m", found.at(4).and_then(taker_sells).map(|sells| if sells { Value::True } else { Value::False }));
    mark(&mut object, event);
    Some(object)
}

fn book_ticker<'e>(event: &EventParts<'e>, found: &Found<'e>, symbol: &'e str) -> Option<Object<'e>> {
    let mut object = Object::new();
    let mut put = |name, value: Option<Value<'e>>| object.extend(value.map(|value| (name, value)));
    put("u", seq(event).map(Value::Integer));
    put("s", Some(Value::Plain(symbol)));
    put("b", Some(found.quoted(0)?));
    put("B", found.quoted(3));
    put("a", Some(found.quoted(1)?));
    put("A", found.quoted(4));
    mark(&mut object, event);
    Some(object)
}

/// The candle within its object.
fn candle<'e>(
    event: &EventParts<'e>,
    found: &Found<'e>,
    symbol: &'e str,
    times: Times,
) -> Option<Object<'e>> {
    let interval = event.symbol.interval()?;
    let begin = found.moment(2)?;
    let end = match length(interval)? {
        Length::Seconds(seconds) => begin.later(seconds)?,
        Length::Month => begin.a_month_later()?,
    };
    let mut object = Object::from_slice(&[
        ("t", times.of(begin)),
        ("T", times.before(end)),
        ("s", Value::Plain(symbol)),
        ("i", Value::Plain(interval)),
    ]);
    for (name, place) in [("o", 0), ("c", 4), ("h", 1), ("l", 3), ("v", 5)] {
        object.push((name, found.quoted(place)?));
    }
    object.extend(found.integer(6).map(|trades| ("n", trades)));
    object.push(("x", if found.at(7) == Some("true") { Value::True } else { Value::False }));
    object.extend(found.quoted(8).map(|volume| ("q", volume)));
    Some(object)
}

/// What says that an event isn't an ordinary live one.
fn mark(object: &mut Object<'_>, event: &EventParts<'_>) {
    let marker = event.marker;
    let past = match marker.past() {
        Past::No => None,
        Past::Snapshot => Some("snapshot"),
        Past::Replay => Some("replay"),
    };
    object.extend(past.map(|past| -> Field<'_> { (past, Value::True) }));
    let delayed_ms = marker.delayed_ms().map(|delayed_ms| Value::Integer(delayed_ms.get().into()));
    object.extend(delayed_ms.map(|delayed_ms| ("delayedMs", delayed_ms)));
}

fn seq(event: &EventParts<'_>) -> Option<i64> {
    event.seq.filter(|seq| *seq < SEQ_END).map(|seq| seq as i64)
}
