//! The desk: what clients ask of it, by events, as `emit("join_room", {room}, ack)`, and the events by which they are told of it. Pure.

use std::io::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::write_named;
use super::packet::RESERVED;
use crate::desk::Origin;
use crate::desk::event::Told;
use crate::market::Namespace;
use crate::market::event::any_value;
use crate::protocol::desk::DeskRequest;
use crate::protocol::found::Found;
use crate::protocol::native::desk::{any_json, name_in, question};
use crate::protocol::refusal::{Refusal, invalid};

const EVENTS: [&str; 7] =
    ["join_room", "leave_room", "send_message", "typing", "presence", "chat", "request"];

/// The name of a worker's event whose type is a name that libraries use themselves.
const RENAMED: &str = "event";

#[derive(Deserialize)]
struct Fields<'m> {
    #[serde(borrow)]
    room: Option<&'m RawValue>,
    #[serde(borrow)]
    to: Option<&'m RawValue>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    message: Option<&'m RawValue>,
    #[serde(borrow, rename = "requestId")]
    request_id: Option<&'m RawValue>,
    #[serde(borrow, rename = "userId")]
    user_id: Option<&'m RawValue>,
    #[serde(borrow)]
    payload: Option<&'m RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'m RawValue>,
}

/// Whether an event is one of the desk.
pub fn is_one(name: &str) -> bool {
    EVENTS.contains(&name)
}

/// Reads what came with an event of the desk.
///
/// # Errors
/// A [`Refusal`] that names the first bad field.
pub fn read(name: &str, object: &str) -> Result<DeskRequest, Refusal> {
    // serde would take an array for a struct.
    let is_object = object.starts_with('{');
    let fields: Option<Fields<'_>> = serde_json::from_str(object).ok().filter(|_| is_object);
    let Fields { room, to, message, request_id, user_id, payload, timestamp } =
        fields.ok_or_else(|| invalid("data", object, "an object"))?;
    let room = || name_in("room", room);
    Ok(match name {
        "join_room" => DeskRequest::Join {
            room: room()?,
            label: user_id.and_then(|label| name_in("userId", Some(label)).ok()),
        },
        "leave_room" => DeskRequest::Leave(room()?),
        "send_message" => DeskRequest::Message { room: room()?, message: any_json(message)? },
        "typing" => DeskRequest::Typing(room()?),
        "presence" => DeskRequest::Presence(room()?),
        "request" => question(request_id, payload, timestamp)?,
        _ => DeskRequest::Chat { to: name_in("to", to)?, message: any_json(message)? },
    })
}

/// Appends an event. What members say and do has shapes of its own here; everything else comes as it is, under its `type`. Behind an event of a room
/// stands the room, as a second value.
pub fn write_event(out: &mut Vec<u8>, namespace: Namespace, told: &Told<'_>) {
    // The gateway has written the object, or checked it.
    let object = std::str::from_utf8(told.object).unwrap_or_default();
    let found = Found::of(object, &["type", "from", "user_id", "message", "timestamp"]);
    let raw_type = found.at(0).unwrap_or("\"\"");
    let mut value = Vec::with_capacity(object.len() + 128);
    let name = match raw_type {
        r#""room_message""# => {
            write_message(&mut value, &found, told.origin);
            "message"
        }
        r#""typing""# | r#""user_joined""# | r#""user_left""# => {
            write_person(&mut value, &found, told.origin);
            raw_type.trim_matches('"')
        }
        _ => {
            value.extend_from_slice(object.as_bytes());
            match serde_json::from_str::<String>(raw_type) {
                Ok(name) if !RESERVED.contains(&name.as_str()) => &raw_type[1..raw_type.len() - 1],
                _ => RENAMED,
            }
        }
    };
    if let Some(room) = told.room {
        // No room's name needs an escape; writing to a Vec cannot fail.
        let _ = write!(value, ",\"{room}\"");
    }
    write_named(out, namespace, name, &value);
}

/// `{"from","userId","message","timestamp"}`.
fn write_message(out: &mut Vec<u8>, found: &Found<'_>, origin: &Origin) {
    write_connection(out, "from", origin);
    let (user, message) = (found.at(1).unwrap_or("null"), found.at(3).unwrap_or("null"));
    let _ = write!(out, ",\"userId\":{user},\"message\":{message},\"timestamp\":");
    match found.moment(4) {
        Some(moment) => {
            out.push(b'"');
            moment.write_iso_8601(out);
            out.extend_from_slice(b"\"}");
        }
        None => out.extend_from_slice(b"null}"),
    }
}

/// `{"socketId","userId"}`, with the label in place of the user where there is one, and `participantCount` of those that join or leave.
fn write_person(out: &mut Vec<u8>, found: &Found<'_>, origin: &Origin) {
    write_connection(out, "socketId", origin);
    let _ = match &origin.label {
        // No name needs an escape.
        Some(label) => write!(out, ",\"userId\":\"{label}\""),
        None => write!(out, ",\"userId\":{}", found.at(2).unwrap_or("null")),
    };
    if let Some(users) = origin.users {
        let _ = write!(out, ",\"participantCount\":{users}");
    }
    out.push(b'}');
}

fn write_connection(out: &mut Vec<u8>, field: &str, origin: &Origin) {
    let _ = match origin.connection {
        Some(connection) => write!(out, "{{\"{field}\":\"{connection}\""),
        None => write!(out, "{{\"{field}\":null"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::{DeskId, PublicId};
    use crate::websocket::header;

    fn told(object: &str, room: Option<&str>, origin: &Origin) -> String {
        let mut out = Vec::new();
        let room = room.map(|room| DeskId::parse(room).unwrap());
        let told = Told { object: object.as_bytes(), room: room.as_ref(), origin };
        write_event(&mut out, Namespace::Events, &told);
        assert_eq!(out, header::text(header::payload(&out)), "one frame");
        String::from_utf8(header::payload(&out).to_vec()).unwrap()
    }

    #[test]
    fn what_members_say_and_do_has_the_shapes_of_its_clients() {
        let origin = Origin::of(Some(PublicId::of(0xc1)));
        let object = r#"{"type":"room_message","from":"u","room_id":"r","message":{"type":"x", "a":1.50},"timestamp":1614009104000}"#;
        let expected = r#"42/events,["message",{"from":"c1c1c1c1c1c1c1c1c1c1","userId":"u","message":{"type":"x", "a":1.50},"timestamp":"2021-02-22T15:51:44.000Z"},"r"]"#;
        assert_eq!(told(object, Some("r"), &origin), expected);
        let typing = r#"{"type":"typing","user_id":"u","room_id":"r"}"#;
        let expected = r#"42/events,["typing",{"socketId":"c1c1c1c1c1c1c1c1c1c1","userId":"u"},"r"]"#;
        assert_eq!(told(typing, Some("r"), &origin), expected);
        let joined = r#"{"type":"user_joined","user_id":"u","room_id":"r"}"#;
        let expected = r#"42/events,["user_joined",{"socketId":"c1c1c1c1c1c1c1c1c1c1","userId":"u","participantCount":2},"r"]"#;
        assert_eq!(told(joined, Some("r"), &Origin { users: Some(2), ..origin.clone() }), expected);
        let labelled = Origin { users: Some(2), label: DeskId::parse("me"), ..origin };
        assert_eq!(told(joined, Some("r"), &labelled), expected.replace(r#""u""#, r#""me""#));
        let expected = r#"42/events,["user_left",{"socketId":null,"userId":"u","participantCount":0},"r"]"#;
        let left = joined.replace("joined", "left");
        assert_eq!(told(&left, Some("r"), &Origin::of_move(None, 0)), expected);
    }

    #[test]
    fn everything_else_comes_as_it_is() {
        for object in [
            r#"{"type":"task_status_update","event_id":"1"}"#,
            r#"{"type":"chat","from":"a","to":"b","message":1,"timestamp":7}"#,
            r#"{"type":"response","requestId":"1","payload":{}}"#,
        ] {
            let name = object.split('"').nth(3).unwrap();
            assert_eq!(told(object, None, &Origin::default()), format!(r#"42/events,["{name}",{object}]"#));
        }
        let object = r#"{"a":1,"type":"case_\"upd\"ated"}"#;
        let expected = format!(r#"42/events,["case_\"upd\"ated",{object},"r"]"#);
        assert_eq!(told(object, Some("r"), &Origin::default()), expected);
        for object in [r#"{"type":"disconnect"}"#, r#"{"type":"dis\u0063onnect"}"#] {
            assert_eq!(told(object, None, &Origin::default()), format!(r#"42/events,["event",{object}]"#));
        }
    }

    #[test]
    fn requests_are_read() {
        let room = DeskId::parse("r").unwrap();
        let object =
            r#"{"room":"r","userId":"somebody else","to":"b","message": [1.50] ,"requestId":7,"payload":{}}"#;
        let message = || "[1.50]".into();
        for (name, expected) in [
            ("join_room", DeskRequest::Join { room: room.clone(), label: DeskId::parse("somebody else") }),
            ("leave_room", DeskRequest::Leave(room.clone())),
            ("send_message", DeskRequest::Message { room: room.clone(), message: message() }),
            ("typing", DeskRequest::Typing(room.clone())),
            ("presence", DeskRequest::Presence(room)),
            ("chat", DeskRequest::Chat { to: DeskId::parse("b").unwrap(), message: message() }),
        ] {
            assert!(is_one(name));
            assert_eq!(read(name, object), Ok(expected));
        }
        let null = read("send_message", r#"{"room":"r","message":null}"#);
        let room = DeskId::parse("r").unwrap();
        assert_eq!(null, Ok(DeskRequest::Message { room, message: "null".into() }));
        // What is no name is no label, and costs nobody the room.
        let unlabelled = read("join_room", r#"{"room":"r","userId":7}"#);
        assert_eq!(unlabelled, Ok(DeskRequest::Join { room: DeskId::parse("r").unwrap(), label: None }));
        assert!(matches!(read("request", object), Ok(DeskRequest::Workers { .. })));
        for (name, object, part) in [
            ("join_room", "[]", "Invalid data []"),
            ("join_room", "{}", "Missing field room"),
            ("send_message", r#"{"room":"r"}"#, "Missing field message"),
            ("chat", r#"{"to":7}"#, "Invalid to 7"),
            ("request", "{}", "Missing field requestId"),
        ] {
            let refusal = read(name, object).unwrap_err();
            assert!(refusal.message.contains(part), "{}", refusal.message);
        }
    }
}
