//! Replies and statuses in Binance's words, each an object in a text message of its own. Pure.

use super::stream::written;
use crate::market::{BinanceShape, Kind, Name, Subject};
use crate::protocol::object::{Field, Object, Value, write_json};
use crate::protocol::refusal::{Cause, ErrorCode, Refusal};
use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::{Grammar, Id};
use crate::websocket::header;

/// The stream of what the gateway says that Binance's API doesn't know.
const GATEWAY: &str = "!gateway";

/// A reply or status as a frame; empty if Binance's API has none.
pub fn reply(reply: &Reply<'_>, shape: BinanceShape, grammar: &Grammar, now_ms: u64) -> Vec<u8> {
    match reply {
        // What a URL names is subscribed to without a word.
        Reply::Subscribed { id, .. } | Reply::Unsubscribed { id, .. } | Reply::CombinedSet { id } => {
            id.map_or_else(Vec::new, |id| result(Value::Null, id))
        }
        Reply::Combined { id } => {
            let is_combined = if shape.is_combined() { Value::True } else { Value::False };
            id.map_or_else(Vec::new, |id| result(is_combined, id))
        }
        Reply::List { held, id } => {
            let names: Vec<_> = held.iter().map(|subject| written(subject, grammar)).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            id.map_or_else(Vec::new, |id| result(Value::Names(&names), id))
        }
        Reply::Refused(refusal) => error(refusal),
        Reply::Status(told) => status(told, shape, grammar, now_ms),
        // Who a client is, its handshake says, and there is no desk for it.
        Reply::Authenticated { .. }
        | Reply::Pong { .. }
        | Reply::Desk { .. }
        | Reply::Presence { .. }
        | Reply::PresenceCount { .. } => Vec::new(),
    }
}

fn result(value: Value<'_>, id: &Id) -> Vec<u8> {
    message(&[("result", value), ("id", Value::Raw(id.as_str()))])
}

fn error(refusal: &Refusal) -> Vec<u8> {
    let code = match (refusal.cause, refusal.code) {
        (Cause::UnknownProperty, _) => 0,
        (Cause::NotBoolean, _) => 1,
        (_, ErrorCode::InvalidJson) => 3,
        _ => 2,
    };
    let text = match refusal.cause {
        Cause::TooManySymbols { max: limit, .. } => {
            format!("Invalid request: too many streams, the limit is {limit}")
        }
        // As the reader says it.
        _ if code != 2 || refusal.message.starts_with(INVALID) => refusal.message.clone(),
        _ => format!("{INVALID}{}", refusal.message),
    };
    let mut object = Object::from_slice(&[("code", Value::Integer(code)), ("msg", Value::Text(&text))]);
    object.extend(refusal.id.as_ref().map(|id| ("id", Value::Raw(id.as_str()))));
    message(&object)
}

const INVALID: &str = "Invalid request: ";

fn status(status: &Status<'_>, shape: BinanceShape, grammar: &Grammar, now_ms: u64) -> Vec<u8> {
    let number = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let unit = if shape.is_micros() { 1_000 } else { 1 };
    let at = number(now_ms.saturating_mul(unit));
    let tell = |name: &'static str, fields: &[Field<'_>]| {
        let head = [("e", Value::Plain(name)), ("E", at)];
        let fields: Object<'_> = head.into_iter().chain(fields.iter().copied()).collect();
        if shape.is_combined() { in_stream(GATEWAY, &fields) } else { Vec::new() }
    };
    let of_stream = |subject: &Subject| (spelled(&subject.name, grammar), written(subject, grammar));
    match *status {
        Status::Shutdown { .. } => {
            let fields = [("e", Value::Plain("serverShutdown")), ("E", at)];
            if shape.is_combined() { in_stream("!serverShutdown", &fields) } else { message(&fields) }
        }
        Status::FeedDown => tell("feed", &[("state", Value::Plain("down"))]),
        Status::FeedUp { gap_ms } => {
            tell("feed", &[("state", Value::Plain("up")), ("gapMs", number(gap_ms))])
        }
        Status::Skipped { subject, count } => {
            let (symbol, stream) = of_stream(subject);
            let fields =
                [("s", Value::Plain(&symbol)), ("stream", Value::Plain(&stream)), ("count", number(count))];
            tell("skipped", &fields)
        }
        Status::Gap { subject, from, to } => {
            let (symbol, stream) = of_stream(subject);
            let fields = [
                ("s", Value::Plain(&symbol)),
                ("stream", Value::Plain(&stream)),
                ("from", number(from)),
                ("to", number(to)),
            ];
            tell("gap", &fields)
        }
        Status::FellBack { queued_bytes } => {
            tell("slow", &[("policy", Value::Plain("conflate")), ("queuedBytes", number(queued_bytes))])
        }
        Status::CaughtUp => tell("slow", &[("policy", Value::Plain("lossless"))]),
        Status::SnapshotEnd { names, kind, .. } => {
            let (symbols, of_type) = through(names, kind, grammar);
            let symbols: Vec<_> = symbols.iter().map(String::as_str).collect();
            tell("snapshotEnd", &[("symbols", Value::Names(&symbols)), ("type", Value::Plain(of_type))])
        }
        Status::TokenExpiring { expires_in_ms } => {
            tell("tokenExpiring", &[("expiresInMs", number(expires_in_ms))])
        }
        // There is no desk for its clients, and they don't ask for the other two.
        Status::SkippedAtDesk { .. } | Status::ReplayEnd { .. } | Status::Heartbeat { .. } => Vec::new(),
    }
}

fn through<'g>(names: &[&Name], kind: Kind, grammar: &'g Grammar) -> (Vec<String>, &'g str) {
    let mut symbols: Vec<_> = names.iter().map(|name| spelled(name, grammar)).collect();
    // A symbol may have several streams of a type.
    symbols.dedup();
    (symbols, grammar.kinds.name(kind))
}

/// A symbol as Binance spells it.
fn spelled(name: &Name, grammar: &Grammar) -> String {
    name.symbol().map_or_else(String::new, |symbol| grammar.spelling.of(symbol).to_owned())
}

fn in_stream(name: &str, fields: &[Field<'_>]) -> Vec<u8> {
    message(&[("stream", Value::Plain(name)), ("data", Value::Nested(fields))])
}

fn message(fields: &[Field<'_>]) -> Vec<u8> {
    let mut payload = Vec::new();
    write_json(&mut payload, fields);
    header::text(&payload)
}
