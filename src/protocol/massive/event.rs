//! A worker's event as an object of Massive's. Pure.
//!
//! | `ev` | type | fields |
//! |---|---|---|
//! | `T` | trade of a stock | `sym x i z p s c t q` |
//! | `XT` | trade of a crypto pair | `pair p t s c i x` |
//! | `Q` | quote of a stock | `sym bx bp bs ax ap as c i t q z` |
//! | `XQ` | quote of a crypto pair | `pair bp bs ap as t x` |
//! | `C` | quote of two currencies | `p x a b t` |
//! | `AM` `A` | candle of a stock, of a minute or a second | `sym v vw o c h l z s e` |
//! | `XA` `XAS` `CA` `CAS` | the same of a pair | `pair o c h l v vw s e z` |
//!
//! Fields are left out where the worker doesn't send them, or sends something of another type: an `exchange` by its name has no place in `x`,
//! which is a number.

use super::channel::Channel;
use crate::market::event::SEQ_END;
use crate::market::spelling::Spelling;
use crate::market::{Form, Kind, MassiveChannel, MassiveMarket};
use crate::protocol::form::EventParts;
use crate::protocol::found::Found;
use crate::protocol::native::event::Past;
use crate::protocol::object::{Object, Value, write_json};

/// Appends an event as an element of an array, with the comma before it. `false`, and nothing is appended: Massive's API has no words for it.
pub fn write(
    out: &mut Vec<u8>,
    market: MassiveMarket,
    channel: MassiveChannel,
    event: &EventParts<'_>,
    spelling: &Spelling,
) -> bool {
    let found = Found::of(event.object, fields(event.kind));
    let Some(object) = object(market, channel, event, &found, spelling) else { return false };
    out.push(b',');
    write_json(out, &object);
    true
}

/// The fields of each type that mean something here, by place.
const fn fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::TRADE => &["price", "volume", "timestamp", "id", "exchange", "conditions", "tape"],
        Kind::QUOTE => &[
            "bidPrice",
            "askPrice",
            "timestamp",
            "bidSize",
            "askSize",
            "bidExchange",
            "askExchange",
            "condition",
            "indicators",
            "tape",
            "exchange",
        ],
        Kind::CANDLE => &["open", "high", "timestamp", "low", "close", "volume", "averageSize", "vwap"],
        _ => &[],
    }
}

fn object<'e>(
    market: MassiveMarket,
    of: MassiveChannel,
    event: &'e EventParts<'_>,
    found: &Found<'e>,
    spelling: &'e Spelling,
) -> Option<Object<'e>> {
    let channel = Channel::of(event.kind, Form::massive(market, of))?;
    let ms = found.moment(2)?.ms();
    let is_stock = market == MassiveMarket::Stocks;
    let symbol = Some(Value::Plain(spelling.of(event.symbol)));
    let seq = event.seq.filter(|seq| *seq < SEQ_END).map(|seq| Value::Integer(seq as i64));
    let mut object = Object::from_slice(&[("ev", Value::Plain(channel.name))]);
    let mut put = |name, value: Option<Value<'e>>| object.extend(value.map(|value| (name, value)));
    let name = if is_stock { "sym" } else { "pair" };
    match event.kind {
        Kind::TRADE => {
            put(name, symbol);
            put("x", found.integer(4));
            put("i", found.text(3));
            put("z", found.integer(6).filter(|_| is_stock));
            put("p", Some(found.number(0)?));
            put("s", Some(found.number(1)?));
            put("c", found.integers(5));
            put("t", Some(Value::Integer(ms)));
            put("q", seq.filter(|_| is_stock));
        }
        Kind::QUOTE if market == MassiveMarket::Forex => {
            put("p", symbol);
            put("x", found.integer(10));
            put("a", Some(found.number(1)?));
            put("b", Some(found.number(0)?));
            put("t", Some(Value::Integer(ms)));
        }
        Kind::QUOTE => {
            put(name, symbol);
            put("bx", found.integer(5).filter(|_| is_stock));
            put("bp", Some(found.number(0)?));
            put("bs", found.number(3));
            put("ax", found.integer(6).filter(|_| is_stock));
            put("ap", Some(found.number(1)?));
            put("as", found.number(4));
            put("x", found.integer(10).filter(|_| !is_stock));
            put("c", found.integer(7).filter(|_| is_stock));
            put("i", found.integers(8).filter(|_| is_stock));
            put("t", Some(Value::Integer(ms)));
            put("q", seq.filter(|_| is_stock));
            put("z", found.integer(9).filter(|_| is_stock));
        }
        Kind::CANDLE => {
            put(name, symbol);
            put("v", Some(found.number(5)?));
            put("vw", found.number(7));
            for (name, place) in [("o", 0), ("c", 4), ("h", 1), ("l", 3)] {
                put(name, Some(found.number(place)?));
            }
            put("z", found.number(6));
            put("s", Some(Value::Integer(ms)));
            put("e", Some(Value::Integer(ms + length_ms(of)?)));
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

/// The length of a channel's candles.
const fn length_ms(channel: MassiveChannel) -> Option<i64> {
    match channel {
        MassiveChannel::Others => None,
        MassiveChannel::Minutes => Some(60_000),
        MassiveChannel::Seconds => Some(1_000),
    }
}
