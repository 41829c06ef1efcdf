//! Events of the desk: what clients get, byte for byte, and who gets it. Pure.

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::envelope::Envelope;
use super::inbox::{Kept, mark};
use super::{DeskId, Origin};
use crate::market::event::{Reject, check_object};
use crate::market::{Kind, Kinds, RESERVED_TYPES};

/// Who gets an event of the desk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Addressee {
    /// The members of a room, but for the connections of one user.
    Room {
        /// The room.
        room: DeskId,
        /// The user that doesn't get it.
        except: Option<DeskId>,
    },
    /// All connections of a user, and of the one who has written to it.
    User {
        /// The user.
        user: DeskId,
        /// Who has written, if that is a client.
        from: Option<DeskId>,
        /// Which entry of the user's inbox it is, if it is in there.
        kept: Option<Kept>,
    },
    /// Every client of the desk.
    Everyone,
}

/// What an event counts as that a client doesn't get: as clients are told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Lost {
    /// An event of a room.
    Room(DeskId),
    /// An event for one of these users.
    User(DeskId),
    /// A broadcast.
    Everyone,
}

/// Of an event of no room.
static NOWHERE: Origin = Origin { connection: None, users: None, label: None };

/// An event as it is told to clients.
#[derive(Debug, Clone, Copy)]
pub struct Told<'e> {
    /// The object that clients of the gateway's own protocol get.
    pub object: &'e [u8],
    /// The room that it is of, if it is of one.
    pub room: Option<&'e DeskId>,
    /// Where it comes from.
    pub origin: &'e Origin,
}

impl<'e> Told<'e> {
    /// An event of no room.
    pub fn plain(object: &'e [u8]) -> Self {
        Self { object, room: None, origin: &NOWHERE }
    }
}

impl Addressee {
    /// The room that an event for it is of.
    pub const fn room(&self) -> Option<&DeskId> {
        match self {
            Self::Room { room, .. } => Some(room),
            Self::User { .. } | Self::Everyone => None,
        }
    }

    /// What is lost with an event.
    pub fn lost(&self) -> impl Iterator<Item = Lost> {
        let (first, second) = match self {
            Self::Room { room, .. } => (Lost::Room(room.clone()), None),
            Self::User { user, from, .. } => {
                let other = from.as_ref().filter(|from| *from != user);
                (Lost::User(user.clone()), other.cloned().map(Lost::User))
            }
            Self::Everyone => (Lost::Everyone, None),
        };
        std::iter::once(first).chain(second)
    }
}

/// Writes what members of a room get of an envelope on its channel, and returns who gets it. `None` for an envelope of users.
pub fn write_for_room(out: &mut Vec<u8>, room: &DeskId, envelope: &Envelope<'_>) -> Option<Addressee> {
    let mut except = None;
    match envelope {
        Envelope::Message { from, at_ms, message, .. } => write_all(
            out,
            &[
                br#"{"type":"room_message","from":""#,
                from.as_str().as_bytes(),
                br#"","room_id":""#,
                room.as_str().as_bytes(),
                br#"","message":"#,
                message.as_bytes(),
                br#","timestamp":"#,
                itoa::Buffer::new().format(*at_ms).as_bytes(),
                b"}",
            ],
        ),
        Envelope::Typing { user, .. } => {
            write_of_user(out, "typing", user, room);
            except = Some(user.clone());
        }
        Envelope::Moved(moved) => write_moved(out, room, &moved.user, moved.has_joined),
        Envelope::Chat { .. } | Envelope::Kept { .. } => return None,
    }
    Some(Addressee::Room { room: room.clone(), except })
}

/// Writes `user_joined` or `user_left`.
pub fn write_moved(out: &mut Vec<u8>, room: &DeskId, user: &DeskId, has_joined: bool) {
    write_of_user(out, if has_joined { "user_joined" } else { "user_left" }, user, room);
}

fn write_of_user(out: &mut Vec<u8>, name: &str, user: &DeskId, room: &DeskId) {
    write_all(
        out,
        &[
            br#"{"type":""#,
            name.as_bytes(),
            br#"","user_id":""#,
            user.as_str().as_bytes(),
            br#"","room_id":""#,
            room.as_str().as_bytes(),
            br#""}"#,
        ],
    );
}

/// Writes a chat as both users get it, or what a worker has put into an inbox, and returns who gets it; `None` for an envelope of a room.
pub fn write_for_user(out: &mut Vec<u8>, envelope: &Envelope<'_>) -> Option<Addressee> {
    let (user, from, kept) = match envelope {
        Envelope::Chat { from, to, at_ms, message, kept } => {
            write_chat(out, from, to, *at_ms, message);
            (to.clone(), Some(from.clone()), *kept)
        }
        Envelope::Kept { user, object, kept } => {
            out.extend_from_slice(object.as_bytes());
            (user.clone(), None, Some(*kept))
        }
        _ => return None,
    };
    if let Some(kept) = kept {
        mark(out, kept.id, false);
    }
    Some(Addressee::User { user, from, kept })
}

/// Writes a chat.
pub(super) fn write_chat(out: &mut Vec<u8>, from: &DeskId, to: &DeskId, at_ms: u64, message: &str) {
    write_all(
        out,
        &[
            br#"{"type":"chat","from":""#,
            from.as_str().as_bytes(),
            br#"","to":""#,
            to.as_str().as_bytes(),
            br#"","message":"#,
            message.as_bytes(),
            br#","timestamp":"#,
            itoa::Buffer::new().format(at_ms).as_bytes(),
            b"}",
        ],
    );
}

fn write_all(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Types of objects that only the gateway writes, beside those of [`RESERVED_TYPES`] and the types of events.
const OWN_TYPES: [&str; 2] = ["message", "connected"];

/// What workers may not say in a worker's object.
const TYPE_RULE: &str = "a string that is no type of the gateway's own messages or events";

/// Checks an object that a worker publishes to a room, a user or everyone: its `type` says what it is, and is none of the gateway's own.
/// Returns it without the white space around it.
///
/// # Errors
/// The first [`Reject`] that applies.
pub fn check_of_worker<'p>(payload: &'p [u8], max_bytes: usize, kinds: &Kinds) -> Result<&'p str, Reject> {
    let object = check_object(payload, max_bytes)?;
    let mut json = serde_json::Deserializer::from_str(object);
    let name = json.deserialize_map(TypeVisitor).map_err(|_| Reject::NotJson)?;
    let name = match name {
        TypeFound::None => return Err(Reject::Missing("type")),
        TypeFound::Twice => return Err(Reject::Twice("type")),
        TypeFound::NoText => return Err(Reject::Wrong { field: "type", must_be: "a string" }),
        TypeFound::Text(name) => name,
    };
    let is_of_market = Kind::MARKET.iter().any(|kind| kind.market_name() == Some(&name));
    let is_reserved = RESERVED_TYPES.contains(&&*name) || OWN_TYPES.contains(&&*name);
    match is_of_market || is_reserved || kinds.find(name.as_bytes()).is_some() {
        true => Err(Reject::Wrong { field: "type", must_be: TYPE_RULE }),
        false => Ok(object),
    }
}

enum TypeFound {
    None,
    Twice,
    NoText,
    Text(String),
}

struct TypeVisitor;

impl<'de> Visitor<'de> for TypeVisitor {
    type Value = TypeFound;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TypeFound, A::Error> {
        let mut found = TypeFound::None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key != "type" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value::<serde_json::Value>()?;
            found = match (found, value) {
                (TypeFound::None, serde_json::Value::String(name)) => TypeFound::Text(name),
                (TypeFound::None, _) => TypeFound::NoText,
                _ => TypeFound::Twice,
            };
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::GatewayId;
    use crate::desk::envelope::Moved;
    use crate::desk::inbox::EntryId;

    fn id(name: &str) -> DeskId {
        DeskId::parse(name).unwrap()
    }

    fn in_room(envelope: &Envelope<'_>) -> (String, Addressee) {
        let mut out = Vec::new();
        let addressee = write_for_room(&mut out, &id("room-123"), envelope).unwrap();
        (String::from_utf8(out).unwrap(), addressee)
    }

    #[test]
    fn clients_get_the_shapes_of_the_contract() {
        let all = Addressee::Room { room: id("room-123"), except: None };
        let message = Envelope::Message {
            from: id("user-123"),
            connection: None,
            at_ms: 1_234_567_890,
            message: r#""Hello everyone!""#,
        };
        let expected = r#"{"type":"room_message","from":"user-123","room_id":"room-123","message":"Hello everyone!","timestamp":1234567890}"#;
        assert_eq!(in_room(&message), (expected.to_owned(), all.clone()));
        let expected = r#"{"type":"typing","user_id":"user-123","room_id":"room-123"}"#;
        let others = Addressee::Room { room: id("room-123"), except: Some(id("user-123")) };
        let typing = Envelope::Typing { user: id("user-123"), connection: None };
        assert_eq!(in_room(&typing), (expected.to_owned(), others));
        let moved = Moved {
            user: id("user-123"),
            has_joined: true,
            is_told: true,
            gateway: GatewayId::of(1),
            is_there: true,
            asked: None,
            origin: Origin::default(),
        };
        let expected = r#"{"type":"user_joined","user_id":"user-123","room_id":"room-123"}"#;
        assert_eq!(in_room(&Envelope::Moved(moved.clone())), (expected.to_owned(), all.clone()));
        let left = Moved { has_joined: false, ..moved };
        let expected = r#"{"type":"user_left","user_id":"user-123","room_id":"room-123"}"#;
        assert_eq!(in_room(&Envelope::Moved(left)), (expected.to_owned(), all));
        let chat = Envelope::Chat {
            from: id("user-123"),
            to: id("user-456"),
            at_ms: 1_234_567_890,
            message: r#""Hi there!""#,
            kept: None,
        };
        let mut out = Vec::new();
        let both = Addressee::User { user: id("user-456"), from: Some(id("user-123")), kept: None };
        assert_eq!(write_for_user(&mut out, &chat), Some(both));
        let expected = r#"{"type":"chat","from":"user-123","to":"user-456","message":"Hi there!","timestamp":1234567890}"#;
        assert_eq!(std::str::from_utf8(&out), Ok(expected));
    }

    #[test]
    fn what_is_in_an_inbox_says_which_entry_it_is() {
        let kept = Kept { id: EntryId { ms: 1_700_000_000_000, seq: 0 }, bytes: 200, counted_ms: 5 };
        let (from, to) = (id("a"), id("b"));
        let chat =
            Envelope::Chat { from: from.clone(), to: to.clone(), at_ms: 5, message: "{}", kept: Some(kept) };
        let mut out = Vec::new();
        let both = Addressee::User { user: to.clone(), from: Some(from), kept: Some(kept) };
        assert_eq!(write_for_user(&mut out, &chat), Some(both));
        let expected = r#"{"type":"chat","from":"a","to":"b","message":{},"timestamp":5,"message_id":"1700000000000-0"}"#;
        assert_eq!(std::str::from_utf8(&out), Ok(expected));
        out.clear();
        let object = r#"{"type":"task","data":{}}"#;
        let to_user = write_for_user(&mut out, &Envelope::Kept { user: to.clone(), object, kept });
        assert_eq!(to_user, Some(Addressee::User { user: to.clone(), from: None, kept: Some(kept) }));
        let expected = r#"{"type":"task","data":{},"message_id":"1700000000000-0"}"#;
        assert_eq!(std::str::from_utf8(&out), Ok(expected));
    }

    #[test]
    fn workers_say_what_only_they_can_say() {
        let kinds: Kinds = "trade,order_book".parse().unwrap();
        let check = |payload: &str| check_of_worker(payload.as_bytes(), 200, &kinds).map(str::to_owned);
        let good = r#"{"type":"task_status_update","event_id":"1","data":{"seq":-1,"symbol":7}}"#;
        assert_eq!(check(&format!(" {good}\n")), Ok(good.to_owned()));
        for reserved in
            ["trade", "quote", "order_book", "chat", "room_message", "success", "status", "user_left"]
        {
            let refused = check(&format!(r#"{{"type":"{reserved}"}}"#));
            assert!(matches!(refused, Err(Reject::Wrong { field: "type", .. })), "{reserved}: {refused:?}");
        }
        assert!(check(r#"{"type":"\u0063hat"}"#).is_err(), "however it is written");
        assert_eq!(check(r#"{"data":1}"#), Err(Reject::Missing("type")));
        assert_eq!(check(r#"{"type":"x","ty\u0070e":"y"}"#), Err(Reject::Twice("type")));
        assert!(matches!(check(r#"{"type":7}"#), Err(Reject::Wrong { field: "type", .. })));
        assert_eq!(check(r#"["type"]"#), Err(Reject::NotObject));
        assert_eq!(check("nonsense"), Err(Reject::NotJson));
        assert_eq!(check(r#"{"type":"x","y":"\ud800"}"#), Err(Reject::LoneSurrogate));
        assert_eq!(check(&format!(r#"{{"type":"x","y":"{}"}}"#, "y".repeat(200))), Err(Reject::TooLarge));
    }
}
