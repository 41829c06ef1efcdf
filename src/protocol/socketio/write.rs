//! Answers and statuses: an acknowledgement where the client has asked for one, else an event. Pure.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::engine::{PING_INTERVAL, PING_TIMEOUT};
use super::event::write_named;
use super::mark::{Mark, Verb};
use super::namespace::{Joined, name};
use super::packet::{Kind, Packet};
use crate::desk::DeskId;
use crate::market::{Name, Namespace};
use crate::protocol::desk::Concern;
use crate::protocol::native;
use crate::protocol::refusal::{Cause, ErrorCode, Refusal};
use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::{Grammar, Id};
use crate::websocket::header;

/// The first packet, as text: the terms of a connection.
pub fn open(sid: &str, can_upgrade: bool, max_payload_bytes: usize) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Open<'m> {
        sid: &'m str,
        upgrades: &'m [&'m str],
        ping_interval: u64,
        ping_timeout: u64,
        max_payload: usize,
    }
    let (ping_interval, ping_timeout) = (PING_INTERVAL.as_millis() as u64, PING_TIMEOUT.as_millis() as u64);
    let upgrades: &[&str] = if can_upgrade { &["websocket"] } else { &[] };
    let open = Open { sid, upgrades, ping_interval, ping_timeout, max_payload: max_payload_bytes };
    format!("0{}", json(&open))
}

/// The frame of Engine.IO's ping.
pub fn ping() -> Vec<u8> {
    header::text(b"2")
}

/// The frame that answers a probe.
pub fn probed() -> Vec<u8> {
    header::text(b"3probe")
}

/// The event that tells a client who it is: behind the answer to its `CONNECT`.
pub fn connected(namespace: Namespace, user: Option<&str>, server_id: &str) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Connected<'m> {
        user_id: Option<&'m str>,
        server_id: &'m str,
    }
    event(namespace, "connected", &Connected { user_id: user, server_id })
}

/// Acknowledges a question with a worker's response; `None` if its client wants no acknowledgement.
pub fn response(id: &Id, object: &[u8]) -> Option<Vec<u8>> {
    let Mark { namespace, ack, .. } = Mark::of_id(id)?;
    let object = std::str::from_utf8(object).ok()?;
    Some(packet(Kind::Ack, name(namespace), Some(ack?), &format!("[{object}]")))
}

/// A reply or status for a client that is in these namespaces, as frames; empty if there is nothing to say.
pub fn reply(reply: &Reply<'_>, joined: Joined, grammar: &Grammar, now_ms: u64) -> Vec<u8> {
    match reply {
        Reply::Subscribed { selection, recovered, id, .. } => {
            let recovered = recovered.iter().map(|(name, is)| (name.to_string(), Value::from(*is)));
            let recovered: serde_json::Map<_, _> = recovered.collect();
            let recovered = (!recovered.is_empty()).then_some(recovered);
            acknowledge_status("subscribed", *id, &selection.names(), recovered)
        }
        Reply::Unsubscribed { left, id, .. } => {
            let names: Vec<_> = left.iter().map(|left| &left.name).collect();
            acknowledge_status("unsubscribed", *id, &names, None)
        }
        Reply::Authenticated { user, expires_ms, id, .. } => authenticated(*user, *expires_ms, *id),
        Reply::Pong { id, .. } => acknowledge(*id, &format!(r#"{{"status":"pong","timestamp":{now_ms}}}"#)),
        Reply::Desk { id, .. } => acknowledge(Some(id), r#"{"success":true}"#),
        Reply::Presence { room, users, count, id } => {
            let users: Vec<_> = users.iter().map(DeskId::as_str).collect();
            let room = json(room.as_str());
            let answer =
                format!(r#"{{"success":true,"room":{room},"users":{},"count":{count}}}"#, json(&users));
            acknowledge(*id, &answer)
        }
        Reply::PresenceCount { room, count } => joined.home().map_or_else(Vec::new, |home| {
            let value = format!(r#"{{"room":{},"count":{count}}}"#, json(room.as_str()));
            let mut out = Vec::new();
            write_named(&mut out, home, "presence", value.as_bytes());
            out
        }),
        // Nobody can ask for them.
        Reply::List { .. } | Reply::CombinedSet { .. } | Reply::Combined { .. } => Vec::new(),
        Reply::Refused(refusal) => refused(refusal, joined),
        Reply::Status(told) => {
            let own = namespace_of(told).filter(|namespace| joined.has(*namespace));
            let Some(namespace) = own.or_else(|| joined.home()) else { return Vec::new() };
            let mut out = Vec::new();
            write_named(&mut out, namespace, "status", &native::write::reply(reply, &grammar.kinds, now_ms));
            out
        }
    }
}

/// The namespace of the subscription that a status is about, if it is about one.
fn namespace_of(status: &Status<'_>) -> Option<Namespace> {
    match status {
        Status::Skipped { subject, .. } | Status::Gap { subject, .. } => subject.form.namespace(),
        Status::SnapshotEnd { form, .. } | Status::ReplayEnd { form, .. } => form.namespace(),
        Status::FeedDown
        | Status::FeedUp { .. }
        | Status::SkippedAtDesk { .. }
        | Status::FellBack { .. }
        | Status::CaughtUp
        | Status::Heartbeat { .. }
        | Status::TokenExpiring { .. }
        | Status::Shutdown { .. } => None,
    }
}

/// The answer to a `CONNECT`, or to a token that takes the place of another.
fn authenticated(user: Option<&str>, expires_ms: Option<u64>, id: Option<&Id>) -> Vec<u8> {
    if let Some(Mark { verb: Verb::Connect, namespace, text, .. }) = id.and_then(Mark::of_id) {
        return packet(Kind::Connect, name(namespace), None, &format!(r#"{{"sid":{}}}"#, json(text)));
    }
    let ends = expires_ms.map(|expires_ms| format!(r#","expiresAt":{expires_ms}"#)).unwrap_or_default();
    acknowledge(id, &format!(r#"{{"status":"authenticated","user":{}{ends}}}"#, json(&user)))
}

/// Acknowledges what was asked for: the symbols, each once, or the one topic as the request named it.
fn acknowledge_status(
    status: &str,
    id: Option<&Id>,
    names: &[&Name],
    recovered: Option<serde_json::Map<String, Value>>,
) -> Vec<u8> {
    let mark = id.and_then(Mark::of_id);
    let what = match mark {
        Some(Mark { verb: Verb::Topic, text, .. }) => text.to_owned(),
        _ => {
            let mut seen = HashSet::new();
            let symbols = names.iter().map(ToString::to_string).filter(|name| seen.insert(name.clone()));
            format!(r#""symbols":{}"#, json(&symbols.collect::<Vec<_>>()))
        }
    };
    let recovered = recovered.map(|recovered| format!(r#","recovered":{}"#, json(&recovered)));
    acknowledge(id, &format!(r#"{{"status":"{status}",{what}{}}}"#, recovered.unwrap_or_default()))
}

/// What a client is told of a refusal, in the event `error`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Error<'m> {
    code: &'static str,
    message: &'m str,
    #[serde(flatten)]
    more: More<'m>,
}

/// The same in the acknowledgement of a request.
#[derive(Serialize)]
struct Failed<'m> {
    status: &'static str,
    error: &'m str,
    code: &'static str,
    #[serde(flatten)]
    more: More<'m>,
}

/// What only some refusals have.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct More<'m> {
    #[serde(skip_serializing_if = "Option::is_none")]
    current_room_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'m RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<NotAllowed<'m>>,
}

#[derive(Serialize)]
struct NotAllowed<'m> {
    symbols: &'m [Name],
    types: &'m [Box<str>],
}

impl<'m> More<'m> {
    fn of(refusal: &'m Refusal) -> Self {
        let current_room_count = match (refusal.concern.as_deref(), refusal.cause) {
            (Some(Concern::Current(current)), _) => Some(*current),
            // To its clients a symbol is a room as well.
            (_, Cause::TooManySymbols { held, .. }) => Some(held),
            _ => None,
        };
        let forbidden = refusal.forbidden.as_deref();
        let data =
            forbidden.map(|forbidden| NotAllowed { symbols: &forbidden.symbols, types: &forbidden.types });
        let request_id = refusal.request_id.as_deref().and_then(|id| serde_json::from_str(id.as_json()).ok());
        Self { current_room_count, retry_after: refusal.retry_after_s, request_id, data }
    }
}

/// Why something doesn't come about: `CONNECT_ERROR`, an acknowledgement or the event `error`; of the desk both of the latter, as its clients
/// look at either.
fn refused(refusal: &Refusal, joined: Joined) -> Vec<u8> {
    let mark = refusal.id.as_ref().and_then(Mark::of_id);
    let code = refusal.code.as_str();
    let error = || Error { code, message: &refusal.message, more: More::of(refusal) };
    match mark {
        Some(Mark { verb: Verb::Nowhere, text, .. }) => {
            packet(Kind::ConnectError, text, None, r#"{"message":"Invalid namespace"}"#)
        }
        Some(Mark { verb: Verb::Connect, namespace, .. }) => {
            let is_token = refusal.code == ErrorCode::Unauthorized;
            let message = json(if is_token { "Unauthorized" } else { &refusal.message });
            let error = format!(r#"{{"message":{message},"data":{{"code":"{code}"}}}}"#);
            packet(Kind::ConnectError, name(namespace), None, &error)
        }
        Some(Mark { verb: Verb::Desk, ack: Some(_), namespace, .. }) => {
            let answer = format!(r#"{{"success":false,"error":{}}}"#, json(&refusal.message));
            let mut out = acknowledge(refusal.id.as_ref(), &answer);
            out.extend(event(namespace, "error", &error()));
            out
        }
        Some(Mark { ack: Some(_), .. }) => {
            let failed = Failed { status: "error", error: &refusal.message, code, more: More::of(refusal) };
            acknowledge(refusal.id.as_ref(), &json(&failed))
        }
        mark => {
            let namespace = mark.map(|mark| mark.namespace).or_else(|| joined.home());
            namespace.map_or_else(Vec::new, |namespace| event(namespace, "error", &error()))
        }
    }
}

/// The acknowledgement that a request has asked for; nothing if it hasn't.
fn acknowledge(id: Option<&Id>, answer: &str) -> Vec<u8> {
    let mark = id.and_then(Mark::of_id);
    let Some((mark, ack)) = mark.and_then(|mark| Some((mark, mark.ack?))) else { return Vec::new() };
    packet(Kind::Ack, name(mark.namespace), Some(ack), &format!("[{answer}]"))
}

fn event(namespace: Namespace, name: &str, value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    write_named(&mut out, namespace, name, json(value).as_bytes());
    out
}

fn packet(kind: Kind, namespace: &str, ack: Option<u64>, data: &str) -> Vec<u8> {
    let mut message = vec![b'4'];
    Packet { kind, attachments: 0, namespace, ack, data: Some(data) }.write(&mut message);
    header::text(&message)
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    // Texts, numbers and structs of them can always be written.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
