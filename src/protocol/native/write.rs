//! Replies and statuses as JSON objects, each a complete frame. Pure; the clock comes in as Unix milliseconds.
//!
//! Fields stand in the order of the contract (`docs/protocol.md`), which clients parse: the structs below declare them in it.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::market::{Kind, Kinds, Name, Subject, Symbol};
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::{ClientStats, Reply, Status};
use crate::protocol::request::Id;
use crate::websocket::header;

/// A reply or status as a text frame. `kinds` has the names of the types.
pub fn reply(reply: &Reply<'_>, kinds: &Kinds, now_ms: u64) -> Vec<u8> {
    match reply {
        Reply::Subscribed { names, held, recovered, id } => {
            let message = format!("Successfully subscribed to {} symbol(s)", names.len());
            let recovered = (!recovered.is_empty()).then_some(Recovered(recovered));
            success(
                &message,
                Subscribed { subscribed: names, held: Held::new(held, kinds), recovered },
                *id,
                now_ms,
            )
        }
        Reply::Unsubscribed { left, held, id } => {
            let message = format!("Successfully unsubscribed from {} symbol(s)", left.len());
            success(&message, Unsubscribed { unsubscribed: left, held: Held::new(held, kinds) }, *id, now_ms)
        }
        Reply::List { held, id } => {
            let held = Held::new(held, kinds);
            let message = format!("Subscribed to {} symbol(s)", held.current_subscriptions.len());
            success(&message, held, *id, now_ms)
        }
        Reply::Pong { stats, id } => {
            let stats = stats.as_ref().map(Stats::from);
            frame(&Pong { r#type: "pong", timestamp: now_ms, stats, id: id.and_then(raw) })
        }
        Reply::Refused(refusal) => error(refusal, now_ms),
        Reply::Status(told) => status(told, kinds, now_ms),
    }
}

fn status(status: &Status<'_>, kinds: &Kinds, now_ms: u64) -> Vec<u8> {
    match *status {
        Status::FeedDown => tell("feed", FeedState { state: "down", gap_ms: None }, now_ms),
        Status::FeedUp { gap_ms } => tell("feed", FeedState { state: "up", gap_ms: Some(gap_ms) }, now_ms),
        Status::Skipped { subject, count } => {
            let &Subject { kind, ref name } = subject;
            tell("skipped", Skipped { symbol: name, r#type: kinds.name(kind), count }, now_ms)
        }
        Status::FellBack { queued_bytes } => tell("slow", Slow { policy: "conflate", queued_bytes }, now_ms),
        Status::CaughtUp => tell("slow", Slow { policy: "lossless", queued_bytes: 0 }, now_ms),
        Status::Heartbeat { feed_up, last_event_age_ms } => tell(
            "heartbeat",
            Heartbeat { feed: if feed_up { "up" } else { "down" }, last_event_age_ms },
            now_ms,
        ),
        Status::Gap { subject, from, to } => {
            let &Subject { kind, ref name } = subject;
            tell("gap", Gap { symbol: name, r#type: kinds.name(kind), from, to }, now_ms)
        }
        Status::SnapshotEnd { names, kind } => {
            tell("snapshotEnd", Through { symbols: names, r#type: kinds.name(kind) }, now_ms)
        }
        Status::ReplayEnd { names, kind } => {
            tell("replayEnd", Through { symbols: names, r#type: kinds.name(kind) }, now_ms)
        }
        Status::Shutdown { reconnect_after_ms } => {
            tell("shutdown", Shutdown { reason: "shutdown", reconnect_after_ms }, now_ms)
        }
    }
}

#[derive(Serialize)]
struct Success<'m, D> {
    r#type: &'static str,
    message: &'m str,
    data: D,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'m RawValue>,
}

fn success(message: &str, data: impl Serialize, id: Option<&Id>, now_ms: u64) -> Vec<u8> {
    frame(&Success { r#type: "success", message, data, timestamp: now_ms, id: id.and_then(raw) })
}

#[derive(Serialize)]
struct Subscribed<'m> {
    subscribed: &'m [&'m Name],
    #[serde(flatten)]
    held: Held<'m>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<Recovered<'m>>,
}

#[derive(Serialize)]
struct Unsubscribed<'m> {
    unsubscribed: &'m [&'m Name],
    #[serde(flatten)]
    held: Held<'m>,
}

/// What a client holds: its trades, and the other types only where it has any.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Held<'m> {
    current_subscriptions: Vec<&'m Name>,
    #[serde(skip_serializing_if = "ByType::is_empty")]
    current_by_type: ByType<'m>,
}

impl<'m> Held<'m> {
    fn new(held: &[&'m Subject], kinds: &'m Kinds) -> Self {
        let of_type = |kind| -> Vec<&Name> {
            held.iter().filter(|held| held.kind == kind).map(|held| &held.name).collect()
        };
        let others = kinds.iter().filter(|kind| *kind != Kind::TRADE);
        let by_type = others.map(|kind| (kinds.name(kind), of_type(kind)));
        Self {
            current_subscriptions: of_type(Kind::TRADE),
            current_by_type: ByType(by_type.filter(|(_, names)| !names.is_empty()).collect()),
        }
    }
}

struct ByType<'m>(Vec<(&'m str, Vec<&'m Name>)>);

impl ByType<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for ByType<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, names)| (name, names)))
    }
}

struct Recovered<'m>(&'m [(Symbol, bool)]);

impl Serialize for Recovered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (symbol, whole) in self.0 {
            map.serialize_entry(symbol.as_str(), whole)?;
        }
        map.end()
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Serialize)]
struct Pong<'m> {
    r#type: &'static str,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<Stats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'m RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    queued_bytes: u64,
    skipped: u64,
    conflated: u64,
    lag_ms: u64,
}

impl From<&ClientStats> for Stats {
    fn from(stats: &ClientStats) -> Self {
        let ClientStats { queued_bytes, skipped, conflated, lag_ms } = *stats;
        Self { queued_bytes, skipped, conflated, lag_ms }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Error<'m> {
    r#type: &'static str,
    message: &'m str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'m RawValue>,
}

fn error(refusal: &Refusal, now_ms: u64) -> Vec<u8> {
    frame(&Error {
        r#type: "error",
        message: &refusal.message,
        code: refusal.code.as_str(),
        retry_after: refusal.retry_after_s,
        timestamp: now_ms,
        id: refusal.id.as_ref().and_then(raw),
    })
}

#[derive(Serialize)]
struct StatusMessage<D> {
    r#type: &'static str,
    event: &'static str,
    data: D,
    timestamp: u64,
}

fn tell(event: &'static str, data: impl Serialize, now_ms: u64) -> Vec<u8> {
    frame(&StatusMessage { r#type: "status", event, data, timestamp: now_ms })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FeedState {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap_ms: Option<u64>,
}

#[derive(Serialize)]
struct Skipped<'m> {
    symbol: &'m Name,
    r#type: &'m str,
    count: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Slow {
    policy: &'static str,
    queued_bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Heartbeat {
    feed: &'static str,
    last_event_age_ms: Option<u64>,
}

#[derive(Serialize)]
struct Gap<'m> {
    symbol: &'m Name,
    r#type: &'m str,
    from: u64,
    to: u64,
}

#[derive(Serialize)]
struct Through<'m> {
    symbols: &'m [&'m Name],
    r#type: &'m str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shutdown {
    reason: &'static str,
    reconnect_after_ms: u64,
}

/// A request's `id` as the client wrote it: it was read as JSON, so it is JSON.
fn raw(id: &Id) -> Option<&RawValue> {
    serde_json::from_str(id.as_str()).ok()
}

fn frame(message: &impl Serialize) -> Vec<u8> {
    // These types have string keys and no failing parts, so serde_json can write them all.
    header::text(&serde_json::to_vec(message).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::read::parse;
    use super::*;
    use crate::market::SymbolCase;
    use crate::protocol::refusal::ErrorCode;
    use crate::protocol::request::Grammar;

    fn kinds() -> Kinds {
        "trade,quote,halt,mine".parse().unwrap()
    }

    fn text(reply: &Reply<'_>, now_ms: u64) -> String {
        String::from_utf8(header::payload(&super::reply(reply, &kinds(), now_ms)).to_vec()).unwrap()
    }

    fn told(status: Status<'_>) -> String {
        text(&Reply::Status(status), 1)
    }

    fn subject(kind: Kind, name: &str) -> Subject {
        Subject::parse(kind, name.as_bytes(), SymbolCase::Upper).unwrap()
    }

    #[test]
    fn replies_are_those_of_the_contract() {
        let both = [subject(Kind::TRADE, "AAPL"), subject(Kind::TRADE, "GOOGL")];
        let held = [&both[0], &both[1]];
        let names = both.each_ref().map(|subject| &subject.name);
        assert_eq!(
            text(&Reply::Subscribed { names: &names, held: &held, recovered: &[], id: None }, 1234567890),
            r#"{"type":"success","message":"Successfully subscribed to 2 symbol(s)","data":{"subscribed":["AAPL","GOOGL"],"currentSubscriptions":["AAPL","GOOGL"]},"timestamp":1234567890}"#
        );
        assert_eq!(
            text(&Reply::Unsubscribed { left: &names[..1], held: &held[1..], id: None }, 1234567890),
            r#"{"type":"success","message":"Successfully unsubscribed from 1 symbol(s)","data":{"unsubscribed":["AAPL"],"currentSubscriptions":["GOOGL"]},"timestamp":1234567890}"#
        );
        assert_eq!(
            text(&Reply::Pong { stats: None, id: None }, 1234567890),
            r#"{"type":"pong","timestamp":1234567890}"#
        );
        assert_eq!(
            text(&Reply::Refused(&Refusal::symbol_limit(5, None)), 1234567890),
            r#"{"type":"error","message":"Cannot subscribe: would exceed maximum of 5 symbols","code":"SYMBOL_LIMIT_EXCEEDED","timestamp":1234567890}"#
        );
        let grammar = Grammar { kinds: kinds(), symbol_case: SymbolCase::Upper };
        let id = parse(r#"{"action":"ping","id":"x"}"#, &grammar).unwrap().id;
        assert_eq!(
            text(&Reply::Pong { stats: None, id: id.as_ref() }, 1),
            r#"{"type":"pong","timestamp":1,"id":"x"}"#
        );
        let limited =
            Refusal { retry_after_s: Some(2), id, ..Refusal::new(ErrorCode::RateLimitExceeded, "a \"b\"") };
        assert_eq!(
            text(&Reply::Refused(&limited), 1),
            r#"{"type":"error","message":"a \"b\"","code":"RATE_LIMIT_EXCEEDED","retryAfter":2,"timestamp":1,"id":"x"}"#
        );
        assert_eq!(
            told(Status::Skipped { subject: &both[0], count: 7 }),
            r#"{"type":"status","event":"skipped","data":{"symbol":"AAPL","type":"trade","count":7},"timestamp":1}"#
        );
    }
    #[test]
    fn the_extensions_are_those_of_the_contract() {
        let held = [
            subject(Kind::QUOTE, "AAPL"),
            subject(Kind::TRADE, "BTC-*"),
            subject(Kind::HALT, "*"),
            subject(Kind::QUOTE, "MSFT"),
            subject(kinds().find(b"mine").unwrap(), "aapl"),
        ];
        let held: Vec<_> = held.iter().collect();
        let aapl = Symbol::parse(b"AAPL", SymbolCase::Upper).unwrap();
        let msft = Symbol::parse(b"MSFT", SymbolCase::Upper).unwrap();
        assert_eq!(
            text(
                &Reply::Subscribed {
                    names: &[&held[0].name],
                    held: &held,
                    recovered: &[(aapl, true), (msft, false)],
                    id: None
                },
                1
            ),
            r#"{"type":"success","message":"Successfully subscribed to 1 symbol(s)","data":{"subscribed":["AAPL"],"currentSubscriptions":["BTC-*"],"currentByType":{"quote":["AAPL","MSFT"],"halt":["*"],"mine":["aapl"]},"recovered":{"AAPL":true,"MSFT":false}},"timestamp":1}"#
        );
        assert_eq!(
            text(&Reply::List { held: &held, id: None }, 1),
            r#"{"type":"success","message":"Subscribed to 1 symbol(s)","data":{"currentSubscriptions":["BTC-*"],"currentByType":{"quote":["AAPL","MSFT"],"halt":["*"],"mine":["aapl"]}},"timestamp":1}"#
        );
        assert_eq!(
            text(&Reply::Pong { stats: Some(ClientStats::default()), id: None }, 1),
            r#"{"type":"pong","timestamp":1,"stats":{"queuedBytes":0,"skipped":0,"conflated":0,"lagMs":0}}"#
        );
        for (status, data) in [
            (Status::FellBack { queued_bytes: 7 }, r#""slow","data":{"policy":"conflate","queuedBytes":7}"#),
            (Status::CaughtUp, r#""slow","data":{"policy":"lossless","queuedBytes":0}"#),
            (
                Status::Heartbeat { feed_up: true, last_event_age_ms: Some(5) },
                r#""heartbeat","data":{"feed":"up","lastEventAgeMs":5}"#,
            ),
            (
                Status::Heartbeat { feed_up: false, last_event_age_ms: None },
                r#""heartbeat","data":{"feed":"down","lastEventAgeMs":null}"#,
            ),
        ] {
            let expected = format!(r#"{{"type":"status","event":{data},"timestamp":1}}"#);
            assert_eq!(told(status), expected);
        }
        assert_eq!(
            told(Status::Skipped { subject: held[0], count: 7 }),
            r#"{"type":"status","event":"skipped","data":{"symbol":"AAPL","type":"quote","count":7},"timestamp":1}"#
        );
        assert_eq!(
            told(Status::Gap { subject: held[0], from: 7, to: 9 }),
            r#"{"type":"status","event":"gap","data":{"symbol":"AAPL","type":"quote","from":7,"to":9},"timestamp":1}"#
        );
        let names = [&held[0].name, &held[1].name];
        assert_eq!(
            told(Status::SnapshotEnd { names: &names, kind: Kind::QUOTE }),
            r#"{"type":"status","event":"snapshotEnd","data":{"symbols":["AAPL","BTC-*"],"type":"quote"},"timestamp":1}"#
        );
        assert_eq!(
            told(Status::ReplayEnd { names: &names, kind: Kind::TRADE }),
            r#"{"type":"status","event":"replayEnd","data":{"symbols":["AAPL","BTC-*"],"type":"trade"},"timestamp":1}"#
        );
    }
}
