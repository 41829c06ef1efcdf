//! What a text frame of the gateway says. Borrowed from the frame: numbers stay as they were written.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::trade::Trade;

/// A frame that was understood.
#[derive(Debug)]
pub enum Frame<'t> {
    /// A trade.
    Trade {
        /// The worker's object.
        trade: Trade<'t>,
        /// Whether it is history (`snapshot`, `replay`) or stands for several (`conflated`).
        marks: Marks<'t>,
    },
    /// A request was done.
    Success {
        /// The gateway's words.
        message: Cow<'t, str>,
        /// What we hold now.
        holding: Vec<String>,
    },
    /// A request was refused.
    Error {
        /// One of the protocol's error codes.
        code: Cow<'t, str>,
        /// The gateway's words.
        message: Cow<'t, str>,
        /// Seconds after which it may be tried again.
        retry_after_s: Option<u64>,
    },
    /// The answer to a ping of the application.
    Pong,
    /// The gateway speaks of itself or of the feed.
    Status {
        /// Which event.
        event: Cow<'t, str>,
        /// Its fields.
        data: Value,
    },
    /// An event that is no trade (`quote`, `news`, …).
    Other {
        /// Its type.
        kind: Cow<'t, str>,
        /// Its data as it came.
        data: &'t str,
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
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'t> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'t, str>,
    #[serde(borrow)]
    data: Option<&'t RawValue>,
    message: Option<String>,
    code: Option<String>,
    event: Option<String>,
    retry_after: Option<u64>,
    #[serde(default)]
    snapshot: bool,
    #[serde(default)]
    replay: bool,
    #[serde(borrow)]
    conflated: Option<&'t RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Holding {
    #[serde(default)]
    current_subscriptions: Vec<String>,
}

impl<'t> Frame<'t> {
    /// Understands a text frame.
    ///
    /// # Errors
    /// If it isn't JSON, or not of the protocol's shape.
    pub fn parse(text: &'t str) -> Result<Self, serde_json::Error> {
        let Envelope { kind, data, message, code, event, retry_after, snapshot, replay, conflated } =
            serde_json::from_str(text)?;
        let data = data.map_or("null", RawValue::get);
        let message = || Cow::Owned(message.unwrap_or_default());
        Ok(match &*kind {
            "trade" => Self::Trade {
                trade: serde_json::from_str(data)?,
                marks: Marks { snapshot, replay, conflated: conflated.map(RawValue::get) },
            },
            "success" => {
                let holding: Option<Holding> = serde_json::from_str(data)?;
                Self::Success {
                    message: message(),
                    holding: holding.map(|holding| holding.current_subscriptions).unwrap_or_default(),
                }
            }
            "error" => Self::Error {
                code: Cow::Owned(code.unwrap_or_default()),
                message: message(),
                retry_after_s: retry_after,
            },
            "pong" => Self::Pong,
            "status" => Self::Status {
                event: Cow::Owned(event.unwrap_or_default()),
                data: serde_json::from_str(data)?,
            },
            _ => Self::Other { kind, data },
        })
    }
}
