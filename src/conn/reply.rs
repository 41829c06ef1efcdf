//! What the gateway says to one client: replies and statuses, as complete frames. Pure; the clock comes in as
//! Unix milliseconds.
//!
//! Fields are written in the order that clients already parse (see the protocol in the README).

use std::fmt::Display;

use serde_json::Value;

use super::session::{Id, Refusal};
use crate::frame;
use crate::market::Symbol;

/// The reply to a subscribe: `symbols` of the request, `current` all that the client holds now.
pub fn subscribed<'s>(
    symbols: &[Symbol],
    current: impl Iterator<Item = &'s Symbol>,
    id: Option<&Id>,
    now_ms: u64,
) -> Vec<u8> {
    let message = format!("Successfully subscribed to {} symbol(s)", symbols.len());
    success(&message, "subscribed", symbols.iter(), current, id, now_ms)
}

/// The reply to an unsubscribe: `left` are those that the client did hold.
pub fn unsubscribed<'s>(
    left: &[&Symbol],
    current: impl Iterator<Item = &'s Symbol>,
    id: Option<&Id>,
    now_ms: u64,
) -> Vec<u8> {
    let message = format!("Successfully unsubscribed from {} symbol(s)", left.len());
    success(&message, "unsubscribed", left.iter().copied(), current, id, now_ms)
}

/// The reply to a ping action.
pub fn pong(id: Option<&Id>, now_ms: u64) -> Vec<u8> {
    finish(r#"{"type":"pong""#.to_owned(), id, now_ms)
}

/// An error reply.
pub fn error(refusal: &Refusal, now_ms: u64) -> Vec<u8> {
    let message = Value::from(refusal.message.as_str());
    let mut json = format!(r#"{{"type":"error","message":{message},"code":"{}""#, refusal.code.as_str());
    if let Some(seconds) = refusal.retry_after_s {
        json.push_str(&format!(r#","retryAfter":{seconds}"#));
    }
    finish(json, refusal.id.as_ref(), now_ms)
}

/// The status `feed`: the upstream was lost.
pub fn feed_down(now_ms: u64) -> Vec<u8> {
    status("feed", r#"{"state":"down"}"#, now_ms)
}

/// The status `feed`: the upstream is back after `gap_ms`.
pub fn feed_up(gap_ms: u64, now_ms: u64) -> Vec<u8> {
    status("feed", format_args!(r#"{{"state":"up","gapMs":{gap_ms}}}"#), now_ms)
}

/// The status `skipped`: this client was too slow for `count` events of a symbol.
pub fn skipped(symbol: &Symbol, count: u64, now_ms: u64) -> Vec<u8> {
    let data = format_args!(r#"{{"symbol":"{symbol}","type":"trade","count":{count}}}"#);
    status("skipped", data, now_ms)
}

/// The status `shutdown`: the gateway ends, and this client should come back after `reconnect_after_ms`.
pub fn shutdown(reconnect_after_ms: u64, now_ms: u64) -> Vec<u8> {
    let data = format_args!(r#"{{"reason":"shutdown","reconnectAfterMs":{reconnect_after_ms}}}"#);
    status("shutdown", data, now_ms)
}

fn success<'a, 'b>(
    message: &str,
    verb: &str,
    symbols: impl Iterator<Item = &'a Symbol>,
    current: impl Iterator<Item = &'b Symbol>,
    id: Option<&Id>,
    now_ms: u64,
) -> Vec<u8> {
    let mut json = format!(r#"{{"type":"success","message":"{message}","data":{{"{verb}":"#);
    push_list(&mut json, symbols);
    json.push_str(r#","currentSubscriptions":"#);
    push_list(&mut json, current);
    json.push('}');
    finish(json, id, now_ms)
}

fn status(event: &str, data: impl Display, now_ms: u64) -> Vec<u8> {
    finish(format!(r#"{{"type":"status","event":"{event}","data":{data}"#), None, now_ms)
}

/// A list of symbols; their characters need no escapes.
fn push_list<'s>(json: &mut String, symbols: impl Iterator<Item = &'s Symbol>) {
    json.push('[');
    for (position, symbol) in symbols.enumerate() {
        json.push_str(if position == 0 { "\"" } else { ",\"" });
        json.push_str(symbol.as_str());
        json.push('"');
    }
    json.push(']');
}

/// `timestamp` and `id` end every message.
fn finish(mut json: String, id: Option<&Id>, now_ms: u64) -> Vec<u8> {
    json.push_str(&format!(r#","timestamp":{now_ms}"#));
    if let Some(id) = id {
        json.push_str(&format!(r#","id":{id}"#));
    }
    json.push('}');
    frame::text(json.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::session::{ErrorCode, parse};
    use super::*;

    fn payload(frame: &[u8]) -> &str {
        let header = if frame[1] == 126 { 4 } else { 2 };
        std::str::from_utf8(&frame[header..]).unwrap()
    }

    fn symbols(names: &[&str]) -> Vec<Symbol> {
        names.iter().map(|name| Symbol::parse(name.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn replies_are_those_of_the_contract() {
        let both = symbols(&["AAPL", "GOOGL"]);
        assert_eq!(
            payload(&subscribed(&both, both.iter(), None, 1234567890)),
            r#"{"type":"success","message":"Successfully subscribed to 2 symbol(s)","data":{"subscribed":["AAPL","GOOGL"],"currentSubscriptions":["AAPL","GOOGL"]},"timestamp":1234567890}"#
        );
        assert_eq!(
            payload(&unsubscribed(&[&both[0]], both[1..].iter(), None, 1234567890)),
            r#"{"type":"success","message":"Successfully unsubscribed from 1 symbol(s)","data":{"unsubscribed":["AAPL"],"currentSubscriptions":["GOOGL"]},"timestamp":1234567890}"#
        );
        assert_eq!(payload(&pong(None, 1234567890)), r#"{"type":"pong","timestamp":1234567890}"#);
        assert_eq!(
            payload(&error(&Refusal::symbol_limit(5, None), 1234567890)),
            r#"{"type":"error","message":"Cannot subscribe: would exceed maximum of 5 symbols","code":"SYMBOL_LIMIT_EXCEEDED","timestamp":1234567890}"#
        );
        let id = parse(r#"{"action":"ping","id":"x"}"#).unwrap().id;
        assert_eq!(payload(&pong(id.as_ref(), 1)), r#"{"type":"pong","timestamp":1,"id":"x"}"#);
        let limited =
            Refusal { retry_after_s: Some(2), id, ..Refusal::new(ErrorCode::RateLimitExceeded, "a \"b\"") };
        assert_eq!(
            payload(&error(&limited, 1)),
            r#"{"type":"error","message":"a \"b\"","code":"RATE_LIMIT_EXCEEDED","retryAfter":2,"timestamp":1,"id":"x"}"#
        );
        assert_eq!(
            payload(&skipped(&both[0], 7, 1)),
            r#"{"type":"status","event":"skipped","data":{"symbol":"AAPL","type":"trade","count":7},"timestamp":1}"#
        );
    }
}
