//! What clients ask of the desk, by events: `emit("join_room", {room}, ack)`. Pure.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::desk::DeskRequest;
use crate::protocol::native::desk::{any_json, name_in};
use crate::protocol::refusal::{Refusal, invalid};

const EVENTS: [&str; 6] = ["join_room", "leave_room", "send_message", "typing", "presence", "chat"];

#[derive(Deserialize)]
struct Fields<'m> {
    #[serde(borrow)]
    room: Option<&'m RawValue>,
    #[serde(borrow)]
    to: Option<&'m RawValue>,
    #[serde(borrow)]
    message: Option<&'m RawValue>,
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
    let Fields { room, to, message } = fields.ok_or_else(|| invalid("data", object, "an object"))?;
    let room = || name_in("room", room);
    Ok(match name {
        "join_room" => DeskRequest::Join(room()?),
        "leave_room" => DeskRequest::Leave(room()?),
        "send_message" => DeskRequest::Message { room: room()?, message: any_json(message)? },
        "typing" => DeskRequest::Typing(room()?),
        "presence" => DeskRequest::Presence(room()?),
        _ => DeskRequest::Chat { to: name_in("to", to)?, message: any_json(message)? },
    })
}
