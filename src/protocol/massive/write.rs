//! Replies and statuses in Massive's words: arrays of statuses, each with a message. Pure.

use super::channel::written;
use crate::market::{Form, Subject};
use crate::protocol::object::{Object, Value, write_json};
use crate::protocol::refusal::{Cause, ErrorCode, Refusal};
use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::Grammar;
use crate::websocket::header;

/// What the server says first.
pub fn greeting() -> Vec<u8> {
    alone("connected", "Connected Successfully", &[])
}

/// A reply or status as a frame; empty if Massive's API has none.
pub fn reply(reply: &Reply<'_>, grammar: &Grammar) -> Vec<u8> {
    match reply {
        Reply::Subscribed { selection, .. } => {
            // Each of its names has a form of its own.
            all("subscribed to", &selection.subjects(Form::JSON), grammar)
        }
        Reply::Unsubscribed { left, .. } => all("unsubscribed to", left, grammar),
        Reply::Authenticated { .. } => alone("auth_success", "authenticated", &[]),
        Reply::List { .. }
        | Reply::Pong { .. }
        | Reply::CombinedSet { .. }
        | Reply::Combined { .. }
        | Reply::Desk { .. }
        | Reply::Presence { .. }
        | Reply::PresenceCount { .. } => Vec::new(),
        Reply::Refused(refusal) => alone(word(refusal), said(refusal), &[]),
        Reply::Status(told) => status(told, grammar),
    }
}

/// One status for each subject, all in one array, as theirs are.
fn all(what: &str, subjects: &[Subject], grammar: &Grammar) -> Vec<u8> {
    let messages = subjects.iter().map(|subject| format!("{what}: {}", written(subject, grammar)));
    let messages: Vec<_> = messages.collect();
    let objects: Vec<_> = messages.iter().map(|message| object("success", message, &[])).collect();
    if objects.is_empty() { Vec::new() } else { array(&objects) }
}

/// The refusal in words. What a client has to send first is particular to the API.
fn said(refusal: &Refusal) -> &str {
    match refusal.cause {
        Cause::NotAuthenticated => r#"Not authenticated: send {"action":"auth","params":"YOUR_KEY"} first"#,
        _ => &refusal.message,
    }
}

fn word(refusal: &Refusal) -> &'static str {
    match (refusal.cause, refusal.code) {
        (Cause::NotAuthenticated, _) => "auth_required",
        (Cause::AuthTimeout, _) => "auth_timeout",
        (_, ErrorCode::Unauthorized) => "auth_failed",
        (_, ErrorCode::TooManyConnections) => "max_connections",
        (_, ErrorCode::SlowClient) => "slow_consumer",
        _ => "error",
    }
}

fn status(status: &Status<'_>, grammar: &Grammar) -> Vec<u8> {
    let number = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    match *status {
        Status::FeedDown => alone("feed_down", "The gateway has lost its feed", &[]),
        Status::FeedUp { gap_ms } => {
            let message = format!("The gateway has its feed again, after {gap_ms} ms");
            alone("feed_up", &message, &[("gapMs", number(gap_ms))])
        }
        Status::Skipped { subject, count } => {
            let of = written(subject, grammar);
            let message = format!("{count} events of {of} were skipped: this client was too slow");
            alone("skipped", &message, &[("channel", Value::Plain(&of)), ("n", number(count))])
        }
        Status::Gap { subject, from, to } => {
            let of = written(subject, grammar);
            let message = format!("Events {from} to {to} of {of} are missing");
            let fields = [("channel", Value::Plain(&of)), ("from", number(from)), ("to", number(to))];
            alone("gap", &message, &fields)
        }
        // There is no desk for its clients.
        Status::SkippedAtDesk { .. } => Vec::new(),
        Status::FellBack { .. } => {
            alone("conflating", "This client is too slow for every event: it gets the latest of each", &[])
        }
        Status::CaughtUp => alone("lossless", "This client gets every event again", &[]),
        Status::SnapshotEnd { .. } => alone("snapshot_end", "What follows is live", &[]),
        Status::TokenExpiring { expires_in_ms } => {
            let message = format!("The key ends in {expires_in_ms} ms");
            alone("key_expiring", &message, &[("expiresInMs", number(expires_in_ms))])
        }
        Status::Shutdown { reconnect_after_ms, .. } => {
            let message = format!("The gateway restarts: come back in {reconnect_after_ms} ms");
            alone("force_disconnect", &message, &[("reconnectAfterMs", number(reconnect_after_ms))])
        }
        Status::ReplayEnd { .. } | Status::Heartbeat { .. } => Vec::new(),
    }
}

fn object<'o>(status: &'o str, message: &'o str, more: &[(&'static str, Value<'o>)]) -> Object<'o> {
    let mut object = Object::from_slice(&[
        ("ev", Value::Plain("status")),
        ("status", Value::Plain(status)),
        ("message", Value::Text(message)),
    ]);
    object.extend_from_slice(more);
    object
}

fn alone(status: &str, message: &str, more: &[(&'static str, Value<'_>)]) -> Vec<u8> {
    array(&[object(status, message, more)])
}

fn array(objects: &[Object<'_>]) -> Vec<u8> {
    let mut payload = vec![b'['];
    for (at, object) in objects.iter().enumerate() {
        if at > 0 {
            payload.push(b',');
        }
        write_json(&mut payload, object);
    }
    payload.push(b']');
    header::text(&payload)
}
