//! What the gateway says to one client: replies and statuses, as complete frames. Pure; the clock comes in as
//! Unix milliseconds.
//!
//! Fields are written in the order that clients already parse (see the protocol in the README).

use std::fmt::Display;

use serde_json::Value;

use crate::market::{EventType, Name, Subject, Symbol};
use crate::protocol::refusal::Refusal;
use crate::protocol::request::Id;
use crate::websocket::header;

/// The reply to a subscribe: `names` of the request, `held` all that the client holds now in the order in which it was
/// first subscribed, and for each symbol to be resumed whether it is.
pub fn subscribed(
    names: &[Name],
    held: &[&Subject],
    recovered: &[(Symbol, bool)],
    id: Option<&Id>,
    now_ms: u64,
) -> Vec<u8> {
    let mut json = success(&format!("Successfully subscribed to {} symbol(s)", names.len()));
    push_list(&mut json, "subscribed", names.iter());
    json.push(',');
    push_held(&mut json, held);
    push_recovered(&mut json, recovered);
    json.push('}');
    finish(json, id, now_ms)
}

/// The reply to an unsubscribe: `left` are those that the client did hold, without repeats.
pub fn unsubscribed(left: &[&Name], held: &[&Subject], id: Option<&Id>, now_ms: u64) -> Vec<u8> {
    let mut json = success(&format!("Successfully unsubscribed from {} symbol(s)", left.len()));
    push_list(&mut json, "unsubscribed", left.iter().copied());
    json.push(',');
    push_held(&mut json, held);
    json.push('}');
    finish(json, id, now_ms)
}

/// The reply to a list.
pub fn list(held: &[&Subject], id: Option<&Id>, now_ms: u64) -> Vec<u8> {
    let trades = held.iter().filter(|subject| subject.event_type == EventType::Trade).count();
    let mut json = success(&format!("Subscribed to {trades} symbol(s)"));
    push_held(&mut json, held);
    json.push('}');
    finish(json, id, now_ms)
}

/// A client's own figures, as a `pong` tells them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientStats {
    /// Bytes that wait to be written.
    pub queued_bytes: u64,
    /// Events skipped since it connected.
    pub skipped: u64,
    /// Events replaced by a newer one since it connected.
    pub conflated: u64,
    /// How long the oldest waiting event has waited, in milliseconds.
    pub lag_ms: u64,
}

/// The reply to a ping action.
pub fn pong(stats: Option<&ClientStats>, id: Option<&Id>, now_ms: u64) -> Vec<u8> {
    let mut json = format!(r#"{{"type":"pong","timestamp":{now_ms}"#);
    if let Some(ClientStats { queued_bytes, skipped, conflated, lag_ms }) = stats {
        json.push_str(&format!(
            r#","stats":{{"queuedBytes":{queued_bytes},"skipped":{skipped},"conflated":{conflated},"lagMs":{lag_ms}}}"#
        ));
    }
    end(json, id)
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

/// The status `skipped`: this client was too slow for `count` events of a topic.
pub fn skipped(topic: &Subject, count: u64, now_ms: u64) -> Vec<u8> {
    let Subject { event_type, name } = topic;
    let data = format_args!(r#"{{"symbol":"{name}","type":"{event_type}","count":{count}}}"#);
    status("skipped", data, now_ms)
}

/// The status `slow`: this client gets the latest event of each topic from here on.
pub fn slow_conflate(queued_bytes: u64, now_ms: u64) -> Vec<u8> {
    status("slow", format_args!(r#"{{"policy":"conflate","queuedBytes":{queued_bytes}}}"#), now_ms)
}

/// The status `slow`: this client has caught up and gets every event again.
pub fn slow_lossless(now_ms: u64) -> Vec<u8> {
    status("slow", r#"{"policy":"lossless","queuedBytes":0}"#, now_ms)
}

/// The status `heartbeat`: whether the upstream is there, and how long ago its last event came, if one has.
pub fn heartbeat(up: bool, last_event_age_ms: Option<u64>, now_ms: u64) -> Vec<u8> {
    let feed = if up { "up" } else { "down" };
    let age_ms = last_event_age_ms.map_or_else(|| "null".to_owned(), |age_ms| age_ms.to_string());
    status("heartbeat", format_args!(r#"{{"feed":"{feed}","lastEventAgeMs":{age_ms}}}"#), now_ms)
}

/// The status `gap`: the workers' sequence numbers `from..=to` of a topic are missing.
pub fn gap(topic: &Subject, from: u64, to: u64, now_ms: u64) -> Vec<u8> {
    let Subject { event_type, name } = topic;
    let data = format_args!(r#"{{"symbol":"{name}","type":"{event_type}","from":{from},"to":{to}}}"#);
    status("gap", data, now_ms)
}

/// The status `snapshotEnd`: the last values of `names` are through; what follows of them is live.
pub fn snapshot_end<'n>(
    names: impl Iterator<Item = &'n Name>,
    event_type: EventType,
    now_ms: u64,
) -> Vec<u8> {
    through("snapshotEnd", names, event_type, now_ms)
}

/// The status `replayEnd`: what was missed of `symbols` is through, as far as they are recovered.
pub fn replay_end<'n>(
    symbols: impl Iterator<Item = &'n Name>,
    event_type: EventType,
    now_ms: u64,
) -> Vec<u8> {
    through("replayEnd", symbols, event_type, now_ms)
}

fn through<'n>(
    event: &str,
    names: impl Iterator<Item = &'n Name>,
    event_type: EventType,
    now_ms: u64,
) -> Vec<u8> {
    let mut data = "{".to_owned();
    push_list(&mut data, "symbols", names);
    data.push_str(&format!(r#","type":"{event_type}"}}"#));
    status(event, data, now_ms)
}

/// The status `shutdown`: the gateway ends, and this client should come back after `reconnect_after_ms`.
pub fn shutdown(reconnect_after_ms: u64, now_ms: u64) -> Vec<u8> {
    let data = format_args!(r#"{{"reason":"shutdown","reconnectAfterMs":{reconnect_after_ms}}}"#);
    status("shutdown", data, now_ms)
}

/// The beginning of a success, up to and with the brace of its `data`.
fn success(message: &str) -> String {
    format!(r#"{{"type":"success","message":"{message}","data":{{"#)
}

fn status(event: &str, data: impl Display, now_ms: u64) -> Vec<u8> {
    finish(format!(r#"{{"type":"status","event":"{event}","data":{data}"#), None, now_ms)
}

/// A field with a list of names; their characters need no escapes.
fn push_list(json: &mut String, field: &str, names: impl Iterator<Item = impl Display>) {
    json.push_str(&format!(r#""{field}":["#));
    for (position, name) in names.enumerate() {
        json.push_str(if position == 0 { "\"" } else { ",\"" });
        json.push_str(&name.to_string());
        json.push('"');
    }
    json.push(']');
}

/// What the client holds: its trades, and the other types only where it has any.
fn push_held(json: &mut String, held: &[&Subject]) {
    let of_type = |event_type| {
        held.iter().filter(move |subject| subject.event_type == event_type).map(|subject| &subject.name)
    };
    push_list(json, "currentSubscriptions", of_type(EventType::Trade));
    let others = EventType::ALL.into_iter().filter(|event_type| *event_type != EventType::Trade);
    let mut opening = r#","currentByType":{"#;
    for event_type in others.filter(|event_type| of_type(*event_type).next().is_some()) {
        json.push_str(opening);
        push_list(json, event_type.as_str(), of_type(event_type));
        opening = ",";
    }
    if opening == "," {
        json.push('}');
    }
}

fn push_recovered(json: &mut String, recovered: &[(Symbol, bool)]) {
    let mut opening = r#","recovered":{"#;
    for (symbol, whole) in recovered {
        json.push_str(&format!(r#"{opening}"{symbol}":{whole}"#));
        opening = ",";
    }
    if opening == "," {
        json.push('}');
    }
}

/// `timestamp` and `id` end nearly every message.
fn finish(mut json: String, id: Option<&Id>, now_ms: u64) -> Vec<u8> {
    json.push_str(&format!(r#","timestamp":{now_ms}"#));
    end(json, id)
}

fn end(mut json: String, id: Option<&Id>) -> Vec<u8> {
    if let Some(id) = id {
        json.push_str(&format!(r#","id":{id}"#));
    }
    json.push('}');
    header::text(json.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::read::parse;
    use super::*;
    use crate::market::EventTypes;
    use crate::protocol::refusal::ErrorCode;
    use crate::protocol::request::Offer;

    fn payload(frame: &[u8]) -> &str {
        let header = if frame[1] == 126 { 4 } else { 2 };
        std::str::from_utf8(&frame[header..]).unwrap()
    }

    fn subject(event_type: EventType, name: &str) -> Subject {
        Subject::parse(event_type, name.as_bytes()).unwrap()
    }

    #[test]
    fn replies_are_those_of_the_contract() {
        let both = [subject(EventType::Trade, "AAPL"), subject(EventType::Trade, "GOOGL")];
        let held = [&both[0], &both[1]];
        let names = both.clone().map(|subject| subject.name);
        assert_eq!(
            payload(&subscribed(&names, &held, &[], None, 1234567890)),
            r#"{"type":"success","message":"Successfully subscribed to 2 symbol(s)","data":{"subscribed":["AAPL","GOOGL"],"currentSubscriptions":["AAPL","GOOGL"]},"timestamp":1234567890}"#
        );
        assert_eq!(
            payload(&unsubscribed(&[&names[0]], &held[1..], None, 1234567890)),
            r#"{"type":"success","message":"Successfully unsubscribed from 1 symbol(s)","data":{"unsubscribed":["AAPL"],"currentSubscriptions":["GOOGL"]},"timestamp":1234567890}"#
        );
        assert_eq!(payload(&pong(None, None, 1234567890)), r#"{"type":"pong","timestamp":1234567890}"#);
        assert_eq!(
            payload(&error(&Refusal::symbol_limit(5, None), 1234567890)),
            r#"{"type":"error","message":"Cannot subscribe: would exceed maximum of 5 symbols","code":"SYMBOL_LIMIT_EXCEEDED","timestamp":1234567890}"#
        );
        let offer = Offer { types: EventTypes::TRADE, allow_wildcard: true };
        let id = parse(r#"{"action":"ping","id":"x"}"#, &offer).unwrap().id;
        assert_eq!(payload(&pong(None, id.as_ref(), 1)), r#"{"type":"pong","timestamp":1,"id":"x"}"#);
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
    #[test]
    fn the_extensions_are_those_of_the_contract() {
        let held = [
            subject(EventType::Quote, "AAPL"),
            subject(EventType::Trade, "BTC-*"),
            subject(EventType::Halt, "*"),
            subject(EventType::Quote, "MSFT"),
        ];
        let held: Vec<_> = held.iter().collect();
        let aapl = Symbol::parse(b"AAPL").unwrap();
        let msft = Symbol::parse(b"MSFT").unwrap();
        assert_eq!(
            payload(&subscribed(&[held[0].name.clone()], &held, &[(aapl, true), (msft, false)], None, 1)),
            r#"{"type":"success","message":"Successfully subscribed to 1 symbol(s)","data":{"subscribed":["AAPL"],"currentSubscriptions":["BTC-*"],"currentByType":{"quote":["AAPL","MSFT"],"halt":["*"]},"recovered":{"AAPL":true,"MSFT":false}},"timestamp":1}"#
        );
        assert_eq!(
            payload(&list(&held, None, 1)),
            r#"{"type":"success","message":"Subscribed to 1 symbol(s)","data":{"currentSubscriptions":["BTC-*"],"currentByType":{"quote":["AAPL","MSFT"],"halt":["*"]}},"timestamp":1}"#
        );
        assert_eq!(
            payload(&pong(Some(&ClientStats::default()), None, 1)),
            r#"{"type":"pong","timestamp":1,"stats":{"queuedBytes":0,"skipped":0,"conflated":0,"lagMs":0}}"#
        );
        for (status, data) in [
            (slow_conflate(7, 1), r#""slow","data":{"policy":"conflate","queuedBytes":7}"#),
            (slow_lossless(1), r#""slow","data":{"policy":"lossless","queuedBytes":0}"#),
            (heartbeat(true, Some(5), 1), r#""heartbeat","data":{"feed":"up","lastEventAgeMs":5}"#),
            (heartbeat(false, None, 1), r#""heartbeat","data":{"feed":"down","lastEventAgeMs":null}"#),
        ] {
            let expected = format!(r#"{{"type":"status","event":{data},"timestamp":1}}"#);
            assert_eq!(payload(&status), expected);
        }
        assert_eq!(
            payload(&skipped(held[0], 7, 1)),
            r#"{"type":"status","event":"skipped","data":{"symbol":"AAPL","type":"quote","count":7},"timestamp":1}"#
        );
        assert_eq!(
            payload(&gap(held[0], 7, 9, 1)),
            r#"{"type":"status","event":"gap","data":{"symbol":"AAPL","type":"quote","from":7,"to":9},"timestamp":1}"#
        );
        let names = || held[..2].iter().map(|subject| &subject.name);
        assert_eq!(
            payload(&snapshot_end(names(), EventType::Quote, 1)),
            r#"{"type":"status","event":"snapshotEnd","data":{"symbols":["AAPL","BTC-*"],"type":"quote"},"timestamp":1}"#
        );
        assert_eq!(
            payload(&replay_end(names(), EventType::Trade, 1)),
            r#"{"type":"status","event":"replayEnd","data":{"symbols":["AAPL","BTC-*"],"type":"trade"},"timestamp":1}"#
        );
    }
}
