//! What a text frame of the gateway says. Borrowed from the frame: numbers stay as they were written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::people::is_of_desk;
use crate::trade::Trade;

/// A frame that was understood.
#[derive(Debug)]
pub enum Frame<'t> {
    /// An event of the market.
    Event {
        /// Its type.
        kind: Cow<'t, str>,
        /// The worker's object as it came.
        data: &'t str,
        /// The same, if it is a trade.
        trade: Option<Trade<'t>>,
        /// Whether it is history (`snapshot`, `replay`), stands for several (`conflated`) or is of a delayed feed (`delayedMs`).
        marks: Marks<'t>,
    },
    /// A request was done.
    Success {
        /// The gateway's words.
        message: Cow<'t, str>,
        /// What we hold now.
        held: Held,
        /// Of the request.
        id: Option<u64>,
    },
    /// A request was refused.
    Error {
        /// One of the protocol's error codes.
        code: Cow<'t, str>,
        /// The gateway's words.
        message: Cow<'t, str>,
        /// Seconds after which it may be tried again.
        retry_after_s: Option<u64>,
        /// Of the request.
        id: Option<u64>,
    },
    /// The answer to a ping of the application.
    Pong {
        /// Our own figures, if we asked for them.
        stats: Option<Stats>,
    },
    /// Somebody is in a room, or says something.
    Desk {
        /// Its type.
        kind: Cow<'t, str>,
        /// The message as it came.
        message: Value,
    },
    /// The gateway speaks of itself or of the feed.
    Status {
        /// Which event.
        event: Cow<'t, str>,
        /// Its fields.
        data: Value,
    },
}

/// The markers behind an event's outer timestamp.
#[derive(Debug, Clone, Copy, Default)]
pub struct Marks<'t> {
    /// The last known event, from before the subscription.
    pub snapshot: bool,
    /// An event from before the connection was lost.
    pub replay: bool,
    /// What the event stands for, as it came.
    pub conflated: Option<&'t str>,
    /// How old a delayed feed makes everything.
    pub delayed_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'t> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'t, str>,
    #[serde(borrow)]
    data: Option<&'t RawValue>,
    #[serde(borrow)]
    message: Option<&'t RawValue>,
    code: Option<String>,
    event: Option<String>,
    retry_after: Option<u64>,
    #[serde(default)]
    snapshot: bool,
    #[serde(default)]
    replay: bool,
    #[serde(borrow)]
    conflated: Option<&'t RawValue>,
    delayed_ms: Option<u64>,
    stats: Option<Stats>,
    id: Option<Value>,
}

/// What a success says that we hold.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Held {
    /// Symbols and patterns of trades.
    pub current_subscriptions: Vec<String>,
    /// Those of other types.
    pub current_by_type: BTreeMap<String, Vec<String>>,
    /// Whether what we have missed of a symbol follows.
    pub recovered: BTreeMap<String, bool>,
}

/// How far behind the gateway says we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Bytes that wait for us.
    pub queued_bytes: u64,
    /// Events that we were too slow for.
    pub skipped: u64,
    /// Events that newer ones have replaced.
    pub conflated: u64,
    /// How long the oldest event has waited.
    pub lag_ms: u64,
}

/// Where an event stands among its symbol's: what a client remembers that resumes.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Place<'t> {
    /// Of the event's object.
    #[serde(borrow)]
    pub symbol: Cow<'t, str>,
    /// The worker's number.
    pub seq: u64,
}

impl<'t> Place<'t> {
    /// The place of an event by its object; `None` if its worker doesn't number events.
    pub fn of(data: &'t str) -> Option<Self> {
        serde_json::from_str(data).ok()
    }
}

impl<'t> Frame<'t> {
    /// Understands a text frame.
    ///
    /// # Errors
    /// If it isn't JSON, or not of the protocol's shape.
    pub fn parse(text: &'t str) -> Result<Self, serde_json::Error> {
        let Envelope {
            kind,
            data,
            message,
            code,
            event,
            retry_after,
            snapshot,
            replay,
            conflated,
            delayed_ms,
            stats,
            id,
        } = serde_json::from_str(text)?;
        let id = id.as_ref().and_then(Value::as_u64);
        // What a worker tells a user need not have data: then it is the message itself.
        let told = data.map_or(text, RawValue::get);
        let data = data.map_or("null", RawValue::get);
        if is_of_desk(&kind) {
            return Ok(Self::Desk { kind, message: serde_json::from_str(text)? });
        }
        let message: Option<String> =
            message.map(|message| serde_json::from_str(message.get())).transpose()?;
        let message = || Cow::Owned(message.unwrap_or_default());
        Ok(match &*kind {
            "success" => {
                let held: Option<Held> = serde_json::from_str(data)?;
                Self::Success { message: message(), held: held.unwrap_or_default(), id }
            }
            "error" => Self::Error {
                code: Cow::Owned(code.unwrap_or_default()),
                message: message(),
                retry_after_s: retry_after,
                id,
            },
            "pong" => Self::Pong { stats },
            "status" => Self::Status {
                event: Cow::Owned(event.unwrap_or_default()),
                data: serde_json::from_str(data)?,
            },
            _ => Self::Event {
                trade: if kind == "trade" { Some(serde_json::from_str(data)?) } else { None },
                kind,
                data: told,
                marks: Marks { snapshot, replay, conflated: conflated.map(RawValue::get), delayed_ms },
            },
        })
    }
}
