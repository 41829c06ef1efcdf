//! Finnhub's stream of trades: two verbs and no answers. Pure.
//!
//! A message of trades is `{"data":[{"c":["1"],"p":122.1,"s":"TSLA","t":1672348887195,"v":1}],"type":"trade"}`; conditions are left out where the worker
//! sends none as texts. Errors are `{"type":"error","msg":"…"}`, and statuses those of the gateway's own protocol, whose `type` is none of
//! Finnhub's.

use serde::Deserialize;

use super::form::EventParts;
use super::found::Found;
use super::native;
use super::native::event::Past;
use super::object::{Object, Value, write_json};
use super::refusal::{ErrorCode, Refusal, invalid, missing};
use super::reply::Reply;
use super::request::{Action, Grammar, Request, Selection, Subscribe};
use super::terms::Options;
use crate::market::spelling::Spelling;
use crate::market::{Form, Kind, Kinds, Name};
use crate::websocket::header;

const TYPES: &str = "\"subscribe\" or \"unsubscribe\"";

/// Appends a trade as an element of an array, with the comma before it. `false`, and nothing is appended: it is none, or its time is in no year
/// that can be written.
pub fn write_event(out: &mut Vec<u8>, event: &EventParts<'_>, spelling: &Spelling) -> bool {
    let found = Found::of(event.object, &["price", "volume", "timestamp", "conditions"]);
    let Some(object) = object(event, &found, spelling) else { return false };
    out.push(b',');
    write_json(out, &object);
    true
}

fn object<'e>(event: &'e EventParts<'_>, found: &Found<'e>, spelling: &'e Spelling) -> Option<Object<'e>> {
    if event.kind != Kind::TRADE {
        return None;
    }
    let mut object = Object::new();
    object.extend(found.texts(3).map(|raw| ("c", Value::RawTexts(raw, None))));
    object.push(("p", found.number(0)?));
    object.push(("s", Value::Plain(spelling.of(event.symbol))));
    object.push(("t", Value::Integer(found.moment(2)?.ms())));
    object.push(("v", found.number(1)?));
    let marker = event.marker;
    match marker.past() {
        Past::No => {}
        Past::Snapshot => object.push(("snapshot", Value::True)),
        Past::Replay => object.push(("replay", Value::True)),
    }
    if let Some(delayed_ms) = marker.delayed_ms() {
        object.push(("delayedMs", Value::Integer(delayed_ms.get().into())));
    }
    if let Some(totals) = marker.totals() {
        object.push(("conflated", Value::Numbers(totals)));
    }
    Some(object)
}

#[derive(Deserialize)]
struct Ask {
    r#type: Option<String>,
    symbol: Option<String>,
}

/// Reads a message.
///
/// # Errors
/// A [`Refusal`] for the client; nothing has changed then.
pub fn parse(message: &str, grammar: &Grammar) -> Result<Request, Refusal> {
    let is_object = message.trim_start().starts_with('{');
    let ask: Option<Ask> = serde_json::from_str(message).ok().filter(|_| is_object);
    let ask = ask.ok_or_else(|| {
        Refusal::new(
            ErrorCode::InvalidJson,
            "Invalid message: an object with the texts type and symbol is expected",
        )
    })?;
    let verb = ask.r#type.ok_or_else(|| missing("type", TYPES))?;
    let selection = || {
        let symbol = ask.symbol.as_deref().ok_or_else(|| missing("symbol", "a symbol"))?;
        let name = Name::parse(symbol.as_bytes(), Kind::TRADE.case(grammar.symbol_case));
        let name =
            name.ok_or_else(|| invalid("symbol", &serde_json::Value::from(symbol).to_string(), "a symbol"))?;
        let name = match name {
            Name::Symbol(symbol) => Name::Symbol(grammar.spelling.symbol(symbol)),
            pattern @ Name::Pattern(_) => pattern,
        };
        if !grammar.kinds.carries(Kind::TRADE) {
            return Err(Refusal::new(ErrorCode::InvalidInput, "This gateway carries no trades"));
        }
        Ok(Selection::of_channels([(Kind::TRADE, Form::FINNHUB, name)]))
    };
    let action = match verb.as_str() {
        "subscribe" => Action::Subscribe(Subscribe {
            selection: selection()?,
            options: Options::default(),
            resume: Vec::new(),
            is_return: false,
        }),
        "unsubscribe" => Action::Unsubscribe(selection()?),
        other => {
            let other = serde_json::Value::from(other).to_string();
            return Err(Refusal { code: ErrorCode::UnknownAction, ..invalid("type", &other, TYPES) });
        }
    };
    Ok(Request { action, id: None })
}

/// A reply or status as a frame; empty if Finnhub's API has none.
pub fn reply(reply: &Reply<'_>, kinds: &Kinds, now_ms: u64) -> Vec<u8> {
    match reply {
        Reply::Refused(refusal) => {
            let message = match refusal.code {
                ErrorCode::SymbolLimitExceeded => "Subscribing to too many symbols",
                _ => &refusal.message,
            };
            let mut payload = Vec::new();
            let object =
                Object::from_slice(&[("type", Value::Plain("error")), ("msg", Value::Text(message))]);
            write_json(&mut payload, &object);
            header::text(&payload)
        }
        Reply::Status(_) => header::text(&native::write::reply(reply, kinds, now_ms)),
        Reply::Subscribed { .. }
        | Reply::Unsubscribed { .. }
        | Reply::List { .. }
        | Reply::Pong { .. }
        | Reply::CombinedSet { .. }
        | Reply::Combined { .. }
        | Reply::Desk { .. }
        | Reply::Presence { .. }
        | Reply::PresenceCount { .. }
        | Reply::Authenticated { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::{Symbol, SymbolCase};
    use crate::protocol::native::event::Marker;

    fn grammar() -> Grammar {
        Grammar::new(Kinds::default(), SymbolCase::Upper)
    }

    #[test]
    fn a_trade_has_five_fields() {
        let symbol = Symbol::parse(b"BINANCE:BTCUSDT", SymbolCase::Upper).unwrap();
        let written = |object: &str| {
            let event = EventParts {
                kind: Kind::TRADE,
                symbol: &symbol,
                seq: None,
                object,
                at_ms: 1,
                marker: Marker::NONE,
            };
            let mut out = Vec::new();
            write_event(&mut out, &event, &Spelling::default()).then(|| String::from_utf8(out).unwrap())
        };
        assert_eq!(
            written(r#"{"price":122.10,"volume":1,"timestamp":1672348887195,"conditions":["1","8"]}"#)
                .as_deref(),
            Some(r#",{"c":["1","8"],"p":122.10,"s":"BINANCE:BTCUSDT","t":1672348887195,"v":1}"#)
        );
        assert_eq!(written(r#"{"price":1,"volume":1,"timestamp":1e300}"#), None);
    }

    #[test]
    fn two_verbs_are_read_and_refusals_answered() {
        let subscribe = parse(r#"{"type":"subscribe","symbol":"IC MARKETS:1"}"#, &grammar()).unwrap();
        let Action::Subscribe(Subscribe { selection, .. }) = subscribe.action else { panic!() };
        assert_eq!(selection.subjects(Form::JSON)[0].form, Form::FINNHUB);
        assert!(parse(r#"{"type":"unsubscribe","symbol":"A"}"#, &grammar()).is_ok());
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"type":"subscribe"}"#,
            r#"{"type":"x","symbol":"A"}"#,
            r#"{"type":"subscribe","symbol":"A\"B"}"#,
        ] {
            assert!(parse(bad, &grammar()).is_err(), "{bad}");
        }
        let refused = reply(&Reply::Refused(&Refusal::symbol_limit(30, 29, None)), &Kinds::default(), 1);
        assert_eq!(header::payload(&refused), br#"{"type":"error","msg":"Subscribing to too many symbols"}"#);
    }
}
