//! Replies and statuses as JSON objects. Pure; the clock comes in as Unix milliseconds.
//!
//! Fields stand in the order of the contract (`docs/protocol.md`), which clients parse: the structs below declare them in it.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::held::{self, Held};
use crate::desk::DeskId;
use crate::market::{Kinds, Name};
use crate::protocol::desk::{Concern, Done};
use crate::protocol::refusal::{Forbidden, Refusal};
use crate::protocol::reply::{ClientStats, Reply};
use crate::protocol::request::Id;

mod status;

use self::status::status;

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;

/// A reply or status as an object. `kinds` has the names of the types.
pub fn reply(reply: &Reply<'_>, kinds: &Kinds, now_ms: u64) -> Vec<u8> {
    match reply {
        Reply::Subscribed { selection, held, recovered, id } => {
            held::subscribed(selection, Held { subjects: held, kinds }, recovered, *id, now_ms)
        }
        Reply::Unsubscribed { left, held, id } => {
            held::unsubscribed(left, Held { subjects: held, kinds }, *id, now_ms)
        }
        Reply::List { held, id } => held::list(Held { subjects: held, kinds }, *id, now_ms),
        Reply::Pong { stats, id } => {
            let stats = stats.as_ref().map(Stats::from);
            object(&Pong { r#type: "pong", timestamp: now_ms, stats, id: id.and_then(raw) })
        }
        Reply::Authenticated { user, expires_ms, held, id } => {
            let held = held.map(|subjects| Held { subjects, kinds });
            held::authenticated(*user, *expires_ms, held, *id, now_ms)
        }
        Reply::Desk { done, id } => done_at_desk(done, id, now_ms),
        Reply::Presence { room, users, count, id } => object(&Presence {
            r#type: "presence",
            room_id: room.as_str(),
            users: Some(users.iter().map(DeskId::as_str).collect()),
            count: *count,
            id: id.and_then(raw),
        }),
        Reply::PresenceCount { room, count } => object(&Presence {
            r#type: "presence",
            room_id: room.as_str(),
            users: None,
            count: *count,
            id: None,
        }),
        // Not to be asked for here.
        Reply::CombinedSet { .. } | Reply::Combined { .. } => Vec::new(),
        Reply::Refused(refusal) => error(refusal, now_ms),
        Reply::Status(told) => status(told, kinds, now_ms),
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
    object(&Success { r#type: "success", message, data, timestamp: now_ms, id: id.and_then(raw) })
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

fn done_at_desk(done: &Done, id: &Id, now_ms: u64) -> Vec<u8> {
    let (message, data) = match done {
        Done::Joined(room) => (format!("Joined {room}"), AboutDesk::Room { room_id: room.as_str() }),
        Done::Left(room) => (format!("Left {room}"), AboutDesk::Room { room_id: room.as_str() }),
        Done::SentToRoom(room) => (format!("Sent to {room}"), AboutDesk::Room { room_id: room.as_str() }),
        Done::Typing(room) => (format!("Typing in {room}"), AboutDesk::Room { room_id: room.as_str() }),
        Done::SentToUser(to) => (format!("Sent to {to}"), AboutDesk::User { to: to.as_str() }),
    };
    success(&message, data, Some(id), now_ms)
}

/// Names of fields as the systems have them that the desk's clients come from.
#[derive(Serialize)]
struct Presence<'m> {
    r#type: &'static str,
    room_id: &'m str,
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<Vec<&'m str>>,
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'m RawValue>,
}

/// What a reply of the desk is about.
#[derive(Serialize)]
#[serde(untagged)]
enum AboutDesk<'m> {
    Room { room_id: &'m str },
    User { to: &'m str },
    Current { current: usize },
}

impl<'m> From<&'m Concern> for AboutDesk<'m> {
    fn from(concern: &'m Concern) -> Self {
        match concern {
            Concern::Room(room) => Self::Room { room_id: room.as_str() },
            Concern::User(user) => Self::User { to: user.as_str() },
            Concern::Current(current) => Self::Current { current: *current },
        }
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
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<ErrorData<'m>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'m RawValue>,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'m RawValue>,
}

/// What a refusal is about.
#[derive(Serialize)]
#[serde(untagged)]
enum ErrorData<'m> {
    NotAllowed(NotAllowed<'m>),
    Desk(AboutDesk<'m>),
}

/// What of a request the client may not have: each only where there is something.
#[derive(Serialize)]
struct NotAllowed<'m> {
    #[serde(skip_serializing_if = "<[Name]>::is_empty")]
    symbols: &'m [Name],
    #[serde(skip_serializing_if = "<[Box<str>]>::is_empty")]
    types: &'m [Box<str>],
}

impl<'m> From<&'m Forbidden> for NotAllowed<'m> {
    fn from(forbidden: &'m Forbidden) -> Self {
        Self { symbols: &forbidden.symbols, types: &forbidden.types }
    }
}

fn error(refusal: &Refusal, now_ms: u64) -> Vec<u8> {
    let not_allowed = refusal.forbidden.as_deref().map(NotAllowed::from).map(ErrorData::NotAllowed);
    let about_desk = refusal.concern.as_deref().map(AboutDesk::from).map(ErrorData::Desk);
    object(&Error {
        r#type: "error",
        message: &refusal.message,
        code: refusal.code.as_str(),
        retry_after: refusal.retry_after_s,
        data: not_allowed.or(about_desk),
        request_id: refusal.request_id.as_ref().and_then(|id| serde_json::from_str(id.as_json()).ok()),
        timestamp: now_ms,
        id: refusal.id.as_ref().and_then(raw),
    })
}

/// A request's `id` as the client wrote it: it was read as JSON, so it is JSON.
fn raw(id: &Id) -> Option<&RawValue> {
    serde_json::from_str(id.as_str()).ok()
}

fn object(message: &impl Serialize) -> Vec<u8> {
    // These types have string keys and no failing parts, so serde_json can write them all.
    serde_json::to_vec(message).unwrap_or_default()
}
