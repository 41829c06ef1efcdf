//! Requests to the desk: a `type` and a `payload`, with names as the systems have them that clients come from. Pure.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::read;
use crate::desk::DeskId;
use crate::desk::id::ID_RULE;
use crate::market::event::{Reject, any_value, check_value};
use crate::protocol::desk::{DeskRequest, RequestId};
use crate::protocol::refusal::{ErrorCode, Refusal, invalid, missing, quoted};
use crate::protocol::request::{Action, Request};

const TYPES: &str = r#""join_room", "leave_room", "room_message", "typing", "presence", "chat" or "ping""#;

#[derive(Deserialize)]
struct Fields<'m> {
    #[serde(borrow)]
    action: Option<&'m RawValue>,
    #[serde(borrow)]
    r#type: Option<&'m RawValue>,
    #[serde(borrow)]
    payload: Option<&'m RawValue>,
    #[serde(borrow)]
    id: Option<&'m RawValue>,
    #[serde(borrow, rename = "requestId")]
    request_id: Option<&'m RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'m RawValue>,
}

#[derive(Deserialize)]
struct Payload<'m> {
    #[serde(borrow)]
    room_id: Option<&'m RawValue>,
    #[serde(borrow)]
    to: Option<&'m RawValue>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    message: Option<&'m RawValue>,
}

/// Reads a message as a request to the desk; `None` if it has an `action` or no `type`, so that it is none.
pub fn parse(message: &str) -> Option<Result<Request, Refusal>> {
    // serde would take an array for a struct.
    let is_object = message.trim_start().starts_with('{');
    let fields: Fields<'_> = is_object.then(|| serde_json::from_str(message).ok()).flatten()?;
    let name = fields.r#type.filter(|_| fields.action.is_none())?;
    let id = match fields.id.map(read::id).transpose() {
        Ok(id) => id,
        Err(refusal) => return Some(Err(refusal)),
    };
    Some(match action(name, &fields) {
        Ok(action) => Ok(Request { action, id }),
        Err(refusal) => Err(Refusal { id, ..refusal }),
    })
}

fn action(name: &RawValue, fields: &Fields<'_>) -> Result<Action, Refusal> {
    let text: String = serde_json::from_str(name.get()).map_err(|_| invalid("type", name.get(), TYPES))?;
    if text == "ping" {
        return Ok(Action::Ping { stats: false });
    }
    if text == "request" {
        let request = question(fields.request_id, fields.payload, fields.timestamp)?;
        return Ok(Action::Desk(Box::new(request)));
    }
    if !["join_room", "leave_room", "room_message", "typing", "presence", "chat"].contains(&text.as_str()) {
        let message = format!("Unknown type {}: use {TYPES}", quoted(name.get()));
        return Err(Refusal::new(ErrorCode::UnknownAction, message));
    }
    let raw = fields.payload.ok_or_else(|| missing("payload", "an object"))?;
    let payload: Option<Payload<'_>> =
        raw.get().starts_with('{').then(|| serde_json::from_str(raw.get()).ok()).flatten();
    let Payload { room_id, to, message } =
        payload.ok_or_else(|| invalid("payload", raw.get(), "an object"))?;
    let room = || name_in("room_id", room_id);
    let request = match text.as_str() {
        "join_room" => DeskRequest::Join { room: room()?, label: None },
        "leave_room" => DeskRequest::Leave(room()?),
        "room_message" => DeskRequest::Message { room: room()?, message: any_json(message)? },
        "typing" => DeskRequest::Typing(room()?),
        "presence" => DeskRequest::Presence(room()?),
        _ => DeskRequest::Chat { to: name_in("to", to)?, message: any_json(message)? },
    };
    Ok(Action::Desk(Box::new(request)))
}

/// A question to the workers. Whether there are any to ask is not known here.
pub(in crate::protocol) fn question(
    request_id: Option<&RawValue>,
    payload: Option<&RawValue>,
    timestamp: Option<&RawValue>,
) -> Result<DeskRequest, Refusal> {
    let allowed = "a string or a number of at most 64 bytes";
    let raw = request_id.ok_or_else(|| missing("requestId", allowed))?;
    let request_id = RequestId::parse(raw.get()).ok_or_else(|| invalid("requestId", raw.get(), allowed))?;
    let checked = |field: &str, raw: Option<&RawValue>| {
        let raw = raw.map(RawValue::get);
        raw.map(|raw| readable(field, raw)).transpose()
    };
    let refused = |refusal| Refusal { request_id: Some(Box::new(request_id.clone())), ..refusal };
    let payload = checked("payload", payload).map_err(refused)?.unwrap_or_else(|| "null".into());
    let timestamp = checked("timestamp", timestamp).map_err(refused)?;
    Ok(DeskRequest::Workers { request_id, payload, timestamp })
}

pub(in crate::protocol) fn name_in(field: &'static str, raw: Option<&RawValue>) -> Result<DeskId, Refusal> {
    let raw = raw.ok_or_else(|| missing(field, ID_RULE))?;
    let name = serde_json::from_str::<String>(raw.get()).ok();
    name.and_then(|name| DeskId::parse(&name)).ok_or_else(|| invalid(field, raw.get(), ID_RULE))
}

/// A message, byte for byte, if every reader of JSON takes it.
pub(in crate::protocol) fn any_json(raw: Option<&RawValue>) -> Result<Box<str>, Refusal> {
    readable("message", raw.ok_or_else(|| missing("message", "any JSON"))?.get())
}

fn readable(field: &str, raw: &str) -> Result<Box<str>, Refusal> {
    match check_value(raw) {
        Ok(()) => Ok(raw.into()),
        Err(Reject::LoneSurrogate) => Err(invalid(field, raw, "without half a surrogate pair")),
        Err(_) => Err(invalid(field, raw, "nested no deeper than 128 levels")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> DeskId {
        DeskId::parse(name).unwrap()
    }

    fn desk(message: &str) -> DeskRequest {
        match parse(message).unwrap().unwrap().action {
            Action::Desk(request) => *request,
            other => panic!("{other:?}"),
        }
    }

    fn refused(message: &str) -> (ErrorCode, String) {
        let refusal = parse(message).unwrap().unwrap_err();
        (refusal.code, refusal.message)
    }

    #[test]
    fn requests_are_read() {
        let r = || room("room-123");
        let payload = r#""payload":{"room_id":"room-123","message": {"a":[1.50]} ,"to":"room-123"}"#;
        let read = |name: &str| desk(&format!(r#"{{"type":"{name}",{payload}}}"#));
        assert_eq!(read("join_room"), DeskRequest::Join { room: r(), label: None });
        assert_eq!(read("leave_room"), DeskRequest::Leave(r()));
        let message: Box<str> = r#"{"a":[1.50]}"#.into();
        assert_eq!(read("room_message"), DeskRequest::Message { room: r(), message: message.clone() });
        assert_eq!(read("typing"), DeskRequest::Typing(r()));
        assert_eq!(read("presence"), DeskRequest::Presence(r()));
        assert_eq!(read("chat"), DeskRequest::Chat { to: r(), message });
        let null = desk(r#"{"type":"chat","payload":{"to":"room-123","message":null}}"#);
        assert_eq!(null, DeskRequest::Chat { to: r(), message: "null".into() });
        let ping = parse(r#"{"type":"ping","id":7}"#).unwrap().unwrap();
        assert_eq!((ping.action, ping.id.unwrap().as_str()), (Action::Ping { stats: false }, "7"));
    }

    #[test]
    fn an_action_wins_and_without_a_type_it_is_none() {
        for none in [
            r#"{"action":"ping","type":"join_room"}"#,
            r#"{"action":7,"type":"ping"}"#,
            r#"{"payload":{}}"#,
            "[]",
            r#"["x","ping"]"#,
            "nonsense",
            "{",
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn refusals_name_field_value_and_rule() {
        use ErrorCode::{InvalidInput, UnknownAction};
        let (code, message) = refused(r#"{"type":"trade","payload":{}}"#);
        assert_eq!(code, UnknownAction);
        assert!(message.starts_with(r#"Unknown type "trade": use "join_room""#), "{message}");
        for (request, part) in [
            (r#"{"type":7}"#, "Invalid type 7: must be"),
            (r#"{"type":"typing"}"#, "Missing field payload"),
            (r#"{"type":"typing","payload":[]}"#, "Invalid payload []"),
            (r#"{"type":"typing","payload":{}}"#, "Missing field room_id"),
            (r#"{"type":"typing","payload":{"room_id":7}}"#, "Invalid room_id 7"),
            (r#"{"type":"typing","payload":{"room_id":""}}"#, "Invalid room_id \"\""),
            (r#"{"type":"typing","payload":{"room_id":"a\nb"}}"#, "Invalid room_id"),
            (r#"{"type":"typing","payload":{"room_id":"a\u202eb"}}"#, "Invalid room_id"),
            (r#"{"type":"typing","payload":{"room_id":"e\u0301"}}"#, "Invalid room_id"),
            (r#"{"type":"typing","payload":{"room_id":"\ud800"}}"#, "Invalid room_id"),
            (r#"{"type":"chat","payload":{"message":1}}"#, "Missing field to"),
            (r#"{"type":"chat","payload":{"to":"b"}}"#, "Missing field message"),
            (r#"{"type":"chat","payload":{"to":"b","message":"\ud800"}}"#, "half a surrogate pair"),
            (r#"{"type":"ping","id":{}}"#, "Invalid id"),
        ] {
            let (code, message) = refused(request);
            assert!(code == InvalidInput && message.contains(part), "{request}: {message}");
        }
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let chat = |levels| format!(r#"{{"type":"chat","payload":{{"to":"b","message":{}}}}}"#, deep(levels));
        assert_eq!(refused(&chat(129)).0, InvalidInput);
        assert!(parse(&chat(128)).unwrap().is_ok());
        let refusal = parse(r#"{"type":"typing","payload":{},"id":"x"}"#).unwrap().unwrap_err();
        assert_eq!(refusal.id.unwrap().as_str(), r#""x""#, "it is echoed");
    }
}
