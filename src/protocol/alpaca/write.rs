//! Replies and statuses in Alpaca's words: each an array of one object, in a message of its own. Pure.

use super::channel::{CHANNELS, Channel, LISTED, WITH_TRADES, Wire};
use crate::market::{Kind, Name, Subject};
use crate::protocol::object::{Object, Value, alone_json, alone_msgpack};
use crate::protocol::refusal::{Cause, ErrorCode, Refusal};
use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::Grammar;

/// What the server says first, and behind it that the client has shown who it is, if it has done so in a header.
pub fn greeting(wire: Wire, is_authenticated: bool) -> Vec<u8> {
    let mut greeting = success(wire, "connected");
    if is_authenticated {
        greeting.extend_from_slice(&success(wire, "authenticated"));
    }
    greeting
}

/// A reply or status as a frame; empty if Alpaca's API has none.
pub fn reply(reply: &Reply<'_>, wire: Wire, grammar: &Grammar) -> Vec<u8> {
    match reply {
        Reply::Subscribed { held, .. } | Reply::Unsubscribed { held, .. } | Reply::List { held, .. } => {
            subscription(held, wire, grammar)
        }
        Reply::Authenticated { .. } => success(wire, "authenticated"),
        // There is no desk for its clients.
        Reply::Pong { .. }
        | Reply::CombinedSet { .. }
        | Reply::Combined { .. }
        | Reply::Desk { .. }
        | Reply::Presence { .. }
        | Reply::PresenceCount { .. } => Vec::new(),
        Reply::Refused(refusal) => error(refusal, wire),
        Reply::Status(told) => status(told, wire, grammar),
    }
}

fn success(wire: Wire, message: &str) -> Vec<u8> {
    alone(wire, &[("T", Value::Plain("success")), ("msg", Value::Plain(message))])
}

/// Everything that the client holds, channel by channel. Those that the gateway doesn't carry are there as well: SDKs replace their lists by
/// these, and one fails where it misses a list.
fn subscription(held: &[&Subject], wire: Wire, grammar: &Grammar) -> Vec<u8> {
    let names = |channel: Channel| -> Vec<String> {
        let of_channel = held
            .iter()
            .filter(|subject| subject.kind == channel.kind && subject.form.undelayed() == channel.form(wire));
        of_channel.map(|subject| spelled(&subject.name, grammar)).collect()
    };
    let names = CHANNELS.map(names);
    let names: Vec<Vec<&str>> =
        names.iter().map(|names| names.iter().map(String::as_str).collect()).collect();
    let mut object = Object::from_slice(&[("T", Value::Plain("subscription"))]);
    for name in LISTED {
        let carried = if WITH_TRADES.contains(&name) { "trades" } else { name };
        let channel = CHANNELS.iter().position(|channel| channel.name == carried);
        object.push((name, Value::Names(channel.map_or(&[], |channel| names[channel].as_slice()))));
    }
    alone(wire, &object)
}

/// A name as dialects spell it.
fn spelled(name: &Name, grammar: &Grammar) -> String {
    name.symbol().map_or_else(|| name.to_string(), |symbol| grammar.spelling.of(symbol).to_owned())
}

fn error(refusal: &Refusal, wire: Wire) -> Vec<u8> {
    let (code, message) = code(refusal);
    let detail = match refusal.cause {
        Cause::NotAuthenticated => r#"Send {"action":"auth","key":"YOUR_KEY","secret":"YOUR_SECRET"} first"#,
        _ => &refusal.message,
    };
    alone(
        wire,
        &[
            ("T", Value::Plain("error")),
            ("code", Value::Integer(code)),
            ("msg", Value::Plain(message)),
            // Not theirs: what exactly is wrong.
            ("detail", Value::Text(detail)),
        ],
    )
}

/// Alpaca's code and message for a refusal.
pub fn code(refusal: &Refusal) -> (i64, &'static str) {
    match (refusal.cause, refusal.code) {
        (Cause::NotAuthenticated, _) => (401, "not authenticated"),
        (Cause::AuthTimeout, _) => (404, "auth timeout"),
        (Cause::AlreadyAuthenticated, _) => (403, "already authenticated"),
        (Cause::NotCarried, _) => (410, "invalid subscribe action for this feed"),
        (_, code) => match code {
            ErrorCode::InvalidJson
            | ErrorCode::InvalidInput
            | ErrorCode::UnknownAction
            | ErrorCode::MessageTooLarge => (400, "invalid syntax"),
            ErrorCode::Unauthorized => (402, "auth failed"),
            ErrorCode::SymbolLimitExceeded => (405, "symbol limit exceeded"),
            ErrorCode::TooManyConnections => (406, "connection limit exceeded"),
            ErrorCode::SlowClient => (407, "slow client"),
            ErrorCode::Forbidden => (409, "insufficient subscription"),
            ErrorCode::RateLimitExceeded => (429, "too many requests"),
            ErrorCode::Unavailable
            | ErrorCode::NotFound
            | ErrorCode::RoomLimitExceeded
            | ErrorCode::Timeout => (500, "internal error"),
        },
    }
}

fn status(status: &Status<'_>, wire: Wire, grammar: &Grammar) -> Vec<u8> {
    let number = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let of_topic = |subject: &Subject| {
        let channel = Channel::of(subject.kind, subject.form).map_or("", |channel| channel.name);
        (spelled(&subject.name, grammar), channel)
    };
    match *status {
        Status::FeedDown => alone(wire, &[("T", Value::Plain("feed")), ("state", Value::Plain("down"))]),
        Status::FeedUp { gap_ms } => alone(
            wire,
            &[("T", Value::Plain("feed")), ("state", Value::Plain("up")), ("gapMs", number(gap_ms))],
        ),
        Status::Skipped { subject, count } => {
            let (symbol, channel) = of_topic(subject);
            alone(
                wire,
                &[
                    ("T", Value::Plain("skipped")),
                    ("S", Value::Plain(&symbol)),
                    ("n", number(count)),
                    ("channel", Value::Plain(channel)),
                ],
            )
        }
        Status::SkippedAtDesk { .. } => Vec::new(),
        Status::Gap { subject, from, to } => {
            let (symbol, channel) = of_topic(subject);
            alone(
                wire,
                &[
                    ("T", Value::Plain("gap")),
                    ("S", Value::Plain(&symbol)),
                    ("from", number(from)),
                    ("to", number(to)),
                    ("channel", Value::Plain(channel)),
                ],
            )
        }
        Status::FellBack { queued_bytes } => alone(
            wire,
            &[
                ("T", Value::Plain("slow")),
                ("policy", Value::Plain("conflate")),
                ("queuedBytes", number(queued_bytes)),
            ],
        ),
        Status::CaughtUp => alone(wire, &[("T", Value::Plain("slow")), ("policy", Value::Plain("lossless"))]),
        Status::SnapshotEnd { names, kind, .. } => through("snapshotEnd", names, kind, wire, grammar),
        Status::ReplayEnd { names, kind, .. } => through("replayEnd", names, kind, wire, grammar),
        Status::TokenExpiring { expires_in_ms } => {
            alone(wire, &[("T", Value::Plain("tokenExpiring")), ("expiresInMs", number(expires_in_ms))])
        }
        Status::Shutdown { reconnect_after_ms, .. } => {
            alone(wire, &[("T", Value::Plain("shutdown")), ("reconnectAfterMs", number(reconnect_after_ms))])
        }
        Status::Heartbeat { .. } => Vec::new(),
    }
}

fn through(status: &str, names: &[&Name], kind: Kind, wire: Wire, grammar: &Grammar) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|name| spelled(name, grammar)).collect();
    let mut names: Vec<_> = names.iter().map(String::as_str).collect();
    // The same symbol may be in several channels of bars.
    names.dedup();
    alone(
        wire,
        &[
            ("T", Value::Plain(status)),
            ("type", Value::Plain(grammar.kinds.name(kind))),
            ("symbols", Value::Names(&names)),
        ],
    )
}

fn alone(wire: Wire, fields: &[(&'static str, Value<'_>)]) -> Vec<u8> {
    let object = fields.iter().copied().collect();
    match wire {
        Wire::Json => alone_json(&object),
        Wire::Msgpack => alone_msgpack(&object),
    }
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
