//! Statuses: what a client is told unasked.

use serde::Serialize;

use super::object;
use crate::desk::event::Lost;
use crate::market::{Kinds, Name, Subject};
use crate::protocol::reply::Status;

/// A status as an object.
pub(super) fn status(status: &Status<'_>, kinds: &Kinds, now_ms: u64) -> Vec<u8> {
    match *status {
        Status::FeedDown => tell("feed", FeedState { state: "down", gap_ms: None }, now_ms),
        Status::FeedUp { gap_ms } => tell("feed", FeedState { state: "up", gap_ms: Some(gap_ms) }, now_ms),
        Status::Skipped { subject, count } => {
            let &Subject { kind, ref name, .. } = subject;
            tell("skipped", Skipped { symbol: name, r#type: kinds.name(kind), count }, now_ms)
        }
        Status::SkippedAtDesk { lost, count } => {
            let (symbol, r#type) = match lost {
                Lost::Room(room) => (room.as_str(), "room"),
                Lost::User(user) => (user.as_str(), "user"),
                Lost::Everyone => ("*", "broadcast"),
            };
            tell("skipped", SkippedAtDesk { symbol, r#type, count }, now_ms)
        }
        Status::FellBack { queued_bytes } => tell("slow", Slow { policy: "conflate", queued_bytes }, now_ms),
        Status::CaughtUp => tell("slow", Slow { policy: "lossless", queued_bytes: 0 }, now_ms),
        Status::Heartbeat { feed_up, last_event_age_ms } => tell(
            "heartbeat",
            Heartbeat { feed: if feed_up { "up" } else { "down" }, last_event_age_ms },
            now_ms,
        ),
        Status::Gap { subject, from, to } => {
            let &Subject { kind, ref name, .. } = subject;
            tell("gap", Gap { symbol: name, r#type: kinds.name(kind), from, to }, now_ms)
        }
        Status::SnapshotEnd { names, kind, .. } => {
            tell("snapshotEnd", Through { symbols: names, r#type: kinds.name(kind) }, now_ms)
        }
        Status::ReplayEnd { names, kind, .. } => {
            tell("replayEnd", Through { symbols: names, r#type: kinds.name(kind) }, now_ms)
        }
        Status::TokenExpiring { expires_in_ms } => {
            tell("tokenExpiring", TokenExpiring { expires_in_ms }, now_ms)
        }
        Status::Shutdown { reason, reconnect_after_ms } => {
            tell("shutdown", Shutdown { reason: reason.word(), reconnect_after_ms }, now_ms)
        }
    }
}

#[derive(Serialize)]
struct StatusMessage<D> {
    r#type: &'static str,
    event: &'static str,
    data: D,
    timestamp: u64,
}

fn tell(event: &'static str, data: impl Serialize, now_ms: u64) -> Vec<u8> {
    object(&StatusMessage { r#type: "status", event, data, timestamp: now_ms })
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
struct SkippedAtDesk<'m> {
    symbol: &'m str,
    r#type: &'static str,
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
struct TokenExpiring {
    expires_in_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shutdown {
    reason: &'static str,
    reconnect_after_ms: u64,
}
