//! An event of `@aggTrade` that stands for several trades, as it does for clients that conflate. Pure.
//!
//! It is the newest trade's, with the quantity of all in `q`, the first one's id in `f`, no `m` if they were not all on one side, and behind all that
//! the totals as every form has them (`conflated`).

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::sums::{Totals, Trade};
use crate::protocol::worker::members;
use crate::websocket::header;

/// What is added up of an event.
#[derive(Deserialize)]
struct Summed<'e> {
    p: &'e str,
    q: &'e str,
    #[serde(rename = "T", borrow)]
    at: &'e RawValue,
    #[serde(borrow)]
    f: Option<&'e RawValue>,
    m: Option<bool>,
}

/// The trade of an event.
pub fn read(event: &[u8]) -> Option<Trade<'_>> {
    let (_, object) = parts(event)?;
    let Summed { p, q, at, f, m } = serde_json::from_str(object).ok()?;
    Some(Trade { price: p, volume: q, timestamp: at.get(), first_id: f.map(RawValue::get), taker_sells: m })
}

/// The event of the newest of several trades with the totals of all.
pub fn with_totals(newest: &[u8], totals: &Totals<'_>) -> Option<Vec<u8>> {
    let (stream, object) = parts(newest)?;
    let volume = format!("\"{}\"", totals.volume);
    let mut payload = String::with_capacity(2 * newest.len());
    if let Some(stream) = stream {
        payload.extend([r#"{"stream":"#, stream, r#","data":"#]);
    }
    for (at, (name, raw)) in members(object).enumerate() {
        let raw = match &*name {
            "q" => &volume,
            "f" => totals.first_id.unwrap_or(raw),
            "m" if totals.taker_sells.is_none() => continue,
            _ => raw,
        };
        payload.extend([if at == 0 { "{\"" } else { ",\"" }, &name, "\":", raw]);
    }
    payload.extend([r#","conflated":"#, &totals.object(), "}"]);
    if stream.is_some() {
        payload.push('}');
    }
    Some(header::text(payload.as_bytes()))
}

/// The stream's name, if it stands around the object, as JSON; and the object.
fn parts(event: &[u8]) -> Option<(Option<&str>, &str)> {
    let payload = std::str::from_utf8(header::payload(event)).ok()?;
    let mut all = members(payload);
    match all.next()? {
        (name, stream) if name == "stream" => Some((Some(stream), all.next()?.1)),
        _ => Some((None, payload)),
    }
}
