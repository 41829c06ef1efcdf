//! What gateways publish on the desk's channels: a JSON object with a version. Pure.
//!
//! A client's words never become a channel or a field of their own: the gateway writes the envelope, with the user that it knows, and takes
//! the room from the channel. So nobody speaks for another user or into another room.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::inbox::{EntryId, Kept};
use super::{DESK_CHANNELS, DeskId, GatewayId, Origin, PublicId, ROOM, USER};
use crate::market::event::any_value;

/// The version of the envelope. A gateway passes over those that it doesn't know.
pub const VERSION: u32 = 1;

/// What an envelope takes beside a message and the names in it, in bytes, at most.
pub const OVERHEAD_BYTES: usize = 256;

/// An envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Envelope<'e> {
    /// A member has written into the room.
    Message {
        /// Who.
        from: DeskId,
        /// By which connection; `None` from gateways that don't say so.
        connection: Option<PublicId>,
        /// When, in Unix milliseconds.
        at_ms: u64,
        /// What: any JSON, as the client wrote it.
        message: &'e str,
    },
    /// A member is writing.
    Typing {
        /// Who.
        user: DeskId,
        /// By which connection; `None` from gateways that don't say so.
        connection: Option<PublicId>,
    },
    /// A connection has joined, or left.
    Moved(Moved),
    /// A user has written to another.
    Chat {
        /// Who.
        from: DeskId,
        /// To whom.
        to: DeskId,
        /// When, in Unix milliseconds.
        at_ms: u64,
        /// What.
        message: &'e str,
        /// Which entry of the recipient's inbox it is, if it is in there.
        kept: Option<Kept>,
    },
    /// A worker has put something into a user's inbox, and the user is here.
    Kept {
        /// Whose.
        user: DeskId,
        /// The worker's object.
        object: &'e str,
        /// Which entry it is.
        kept: Kept,
    },
}

/// A connection has joined a room, or left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Whose.
    pub user: DeskId,
    /// It has joined; else left.
    pub has_joined: bool,
    /// The other members are told: the user wasn't there before, or isn't any more.
    pub is_told: bool,
    /// The gateway that has, or had, the connection.
    pub gateway: GatewayId,
    /// Whether the user is in the room at that gateway from now on.
    pub is_there: bool,
    /// Which of that gateway's requests this is: [`Mark`].
    pub asked: Option<Mark>,
    /// The connection, and how many users the room has from then on.
    pub origin: Origin,
}

/// Names a request of a connection to the gateway that has it: its shard, and the shard's ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The shard.
    #[serde(rename = "s")]
    pub shard: u32,
    /// The ticket's number.
    #[serde(rename = "k")]
    pub ticket: u32,
}

/// The fields of every envelope. Names need no escapes, so they are read as they stand.
#[derive(Serialize, Deserialize)]
struct Wire<'e> {
    v: u32,
    t: &'e str,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    u: Option<&'e str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    to: Option<&'e str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    g: Option<GatewayId>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    all: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    here: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<Mark>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<PublicId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<u32>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    l: Option<&'e str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none", deserialize_with = "any_value")]
    m: Option<&'e RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<(u64, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<u32>,
}

impl<'e> Wire<'e> {
    const fn new(t: &'e str) -> Self {
        Self {
            v: VERSION,
            t,
            u: None,
            to: None,
            at: None,
            g: None,
            all: false,
            here: false,
            by: None,
            c: None,
            p: None,
            l: None,
            m: None,
            id: None,
            n: None,
        }
    }
}

impl<'e> Envelope<'e> {
    /// Reads one; `None` if it is none, or of a version that isn't known here.
    pub fn parse(payload: &'e [u8]) -> Option<Self> {
        let wire: Wire<'e> =
            serde_json::from_slice(payload).ok().filter(|wire: &Wire<'_>| wire.v == VERSION)?;
        let user = DeskId::parse(wire.u?)?;
        let message = wire.m.map(RawValue::get);
        let entry = wire.id.map(|(ms, seq)| EntryId { ms, seq });
        Some(match wire.t {
            "message" => Self::Message { from: user, connection: wire.c, at_ms: wire.at?, message: message? },
            "typing" => Self::Typing { user, connection: wire.c },
            "chat" => {
                let (to, at_ms) = (DeskId::parse(wire.to?)?, wire.at?);
                let kept = entry.map(|id| Kept { id, bytes: wire.n.unwrap_or_default(), counted_ms: at_ms });
                Self::Chat { from: user, to, at_ms, message: message?, kept }
            }
            "kept" => {
                let object = message.filter(|message| message.starts_with('{'))?;
                Self::Kept { user, object, kept: Kept::of_worker(entry?) }
            }
            "joined" | "left" => Self::Moved(Moved {
                user,
                has_joined: wire.t == "joined",
                is_told: wire.all,
                gateway: wire.g?,
                is_there: wire.here,
                asked: wire.by,
                origin: Origin { connection: wire.c, users: wire.p, label: wire.l.and_then(DeskId::parse) },
            }),
            _ => return None,
        })
    }

    /// Where the event comes from, if it is one of a room.
    pub fn origin(&self) -> Origin {
        match self {
            Self::Message { connection, .. } | Self::Typing { connection, .. } => Origin::of(*connection),
            Self::Moved(moved) => moved.origin.clone(),
            Self::Chat { .. } | Self::Kept { .. } => Origin::default(),
        }
    }

    /// Writes it.
    pub fn write(&self) -> Vec<u8> {
        let wire = match self {
            Self::Message { from, connection, at_ms, message } => Wire {
                u: Some(from.as_str()),
                c: *connection,
                at: Some(*at_ms),
                m: raw(message),
                ..Wire::new("message")
            },
            Self::Typing { user, connection } => {
                Wire { u: Some(user.as_str()), c: *connection, ..Wire::new("typing") }
            }
            Self::Chat { from, to, at_ms, message, kept } => Wire {
                u: Some(from.as_str()),
                to: Some(to.as_str()),
                at: Some(*at_ms),
                m: raw(message),
                id: kept.map(|kept| (kept.id.ms, kept.id.seq)),
                n: kept.map(|kept| kept.bytes),
                ..Wire::new("chat")
            },
            Self::Kept { user, object, kept } => Wire {
                u: Some(user.as_str()),
                m: raw(object),
                id: Some((kept.id.ms, kept.id.seq)),
                ..Wire::new("kept")
            },
            Self::Moved(moved) => Wire {
                u: Some(moved.user.as_str()),
                g: Some(moved.gateway),
                all: moved.is_told,
                here: moved.is_there,
                by: moved.asked,
                c: moved.origin.connection,
                p: moved.origin.users,
                l: moved.origin.label.as_ref().map(DeskId::as_str),
                ..Wire::new(if moved.has_joined { "joined" } else { "left" })
            },
        };
        serde_json::to_vec(&wire).unwrap_or_default()
    }
}

fn raw(message: &str) -> Option<&RawValue> {
    serde_json::from_str(message).ok()
}

/// The channel of a room, between gateways.
pub fn room_channel(channel_prefix: &str, room: &DeskId) -> String {
    format!("{channel_prefix}{DESK_CHANNELS}{ROOM}{room}")
}

/// The channel of a user, between gateways.
pub fn user_channel(channel_prefix: &str, user: &DeskId) -> String {
    format!("{channel_prefix}{DESK_CHANNELS}{USER}{user}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> DeskId {
        DeskId::parse(name).unwrap()
    }

    #[test]
    fn envelopes_read_as_they_are_written() {
        let moved = Moved {
            user: id("u"),
            has_joined: true,
            is_told: true,
            gateway: GatewayId::of(7),
            is_there: true,
            asked: Some(Mark { shard: 3, ticket: 9 }),
            origin: Origin { label: Some(id("Zoë")), ..Origin::of_move(Some(PublicId::of(7)), 3) },
        };
        let counted = Kept { id: EntryId { ms: 1_700_000_000_000, seq: 3 }, bytes: 300, counted_ms: 5 };
        for envelope in [
            Envelope::Message {
                from: id("Zoë"),
                connection: Some(PublicId::of(1)),
                at_ms: 5,
                message: r#"{"a" : [1.50, "\u00e9"]}"#,
            },
            Envelope::Message { from: id("u"), connection: None, at_ms: 5, message: "1" },
            Envelope::Message { from: id("u"), connection: None, at_ms: 5, message: "null" },
            Envelope::Typing { user: id("u"), connection: None },
            Envelope::Typing { user: id("u"), connection: Some(PublicId::of(2)) },
            Envelope::Chat { from: id("a"), to: id("b"), at_ms: 5, message: r#""type""#, kept: None },
            Envelope::Chat { from: id("a"), to: id("b"), at_ms: 5, message: "1", kept: Some(counted) },
            Envelope::Kept { user: id("a"), object: r#"{"type":"task"}"#, kept: Kept::of_worker(counted.id) },
            Envelope::Moved(moved.clone()),
            Envelope::Moved(Moved {
                has_joined: false,
                is_told: false,
                is_there: false,
                asked: None,
                origin: Origin::default(),
                ..moved
            }),
        ] {
            let written = envelope.write();
            assert_eq!(Envelope::parse(&written), Some(envelope), "{}", String::from_utf8_lossy(&written));
        }
    }

    #[test]
    fn what_is_no_envelope_is_none() {
        for bad in [
            "",
            "{}",
            "[1]",
            r#"{"v":2,"t":"typing","u":"a"}"#,
            r#"{"v":1,"t":"typing"}"#,
            r#"{"v":1,"t":"typing","u":"a","c":"xyz"}"#,
            r#"{"v":1,"t":"typing","u":"a\u0062"}"#,
            r#"{"v":1,"t":"typing","u":"a\nb"}"#,
            r#"{"v":1,"t":"message","u":"a","at":1}"#,
            r#"{"v":1,"t":"message","u":"a","u":"b","at":1,"m":1}"#,
            r#"{"v":1,"t":"joined","u":"a","g":"xyz"}"#,
            r#"{"v":1,"t":"trade","u":"a"}"#,
            r#"{"v":1,"t":"kept","u":"a","m":{}}"#,
            r#"{"v":1,"t":"kept","u":"a","m":[],"id":[1,0]}"#,
            r#"{"v":1,"t":"chat","u":"a","to":"b","at":1,"m":1,"id":"1-0"}"#,
        ] {
            assert_eq!(Envelope::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn the_overhead_covers_the_longest_envelope() {
        let name = DeskId::parse(&"n".repeat(super::super::id::ID_BYTES_MAX)).unwrap();
        let kept = Kept { id: EntryId { ms: u64::MAX, seq: u64::MAX }, bytes: u32::MAX, counted_ms: 0 };
        let (from, to) = (name.clone(), name);
        let chat = Envelope::Chat { from, to, at_ms: u64::MAX, message: "1", kept: Some(kept) }.write();
        assert!(chat.len() <= 2 * super::super::id::ID_BYTES_MAX + 1 + OVERHEAD_BYTES, "{}", chat.len());
        let user = DeskId::parse(&"n".repeat(super::super::id::ID_BYTES_MAX)).unwrap();
        let kept = Envelope::Kept { user, object: "{}", kept }.write();
        assert!(kept.len() <= super::super::id::ID_BYTES_MAX + 2 + OVERHEAD_BYTES, "{}", kept.len());
    }
}
