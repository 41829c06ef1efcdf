//! Text of a client of the desk. Nothing may panic; what is accepted reaches others as what it is: in the sender's name, in the room or for
//! the user that it names, with the message as it was written, and nothing else of what the client has sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::value::RawValue;
use ws_gateway::desk::envelope::{Envelope, room_channel, user_channel};
use ws_gateway::desk::event::{self, Addressee, write_for_room, write_for_user};
use ws_gateway::desk::{DeskId, Origin};
use ws_gateway::market::Namespace;
use ws_gateway::market::event::any_value;
use ws_gateway::protocol::desk::DeskRequest;
use ws_gateway::protocol::native::desk;
use ws_gateway::protocol::request::Action;
use ws_gateway::protocol::socketio::desk as socketio;
use ws_gateway::websocket::header;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told<'t> {
    r#type: &'t str,
    from: Option<String>,
    user_id: Option<String>,
    room_id: Option<String>,
    to: Option<String>,
    #[serde(borrow, default, deserialize_with = "any_value")]
    message: Option<&'t RawValue>,
    timestamp: Option<u64>,
}

fuzz_target!(|message: &str| {
    let Some(Ok(request)) = desk::parse(message) else { return };
    any_message_is_taken(message);
    let Action::Desk(request) = request.action else { return };
    let me = DeskId::parse("me").expect("a name");
    let mut object = Vec::new();
    match *request {
        DeskRequest::Message { room, message } => {
            let envelope = Envelope::Message { from: me, connection: None, at_ms: 7, message: &message };
            let written = envelope.write();
            let envelope = Envelope::parse(&written).expect("it reads as it is written");
            let to = write_for_room(&mut object, &room, &envelope).expect("it is for a room");
            assert_eq!(to, Addressee::Room { room: room.clone(), except: None });
            let told: Told<'_> = serde_json::from_slice(&object).expect("an object");
            assert_eq!((told.r#type, told.from.as_deref()), ("room_message", Some("me")));
            assert_eq!((told.room_id.as_deref(), told.timestamp), (Some(room.as_str()), Some(7)));
            assert_eq!(told.message.map(RawValue::get), Some(&*message));
            assert!(told.to.is_none() && told.user_id.is_none());
            is_an_event(&object, &room, &message);
            is_plain(&room_channel("channel:", &room), "channel:desk:room:");
        }
        DeskRequest::Chat { to, message } => {
            let envelope =
                Envelope::Chat { from: me.clone(), to: to.clone(), at_ms: 7, message: &message, kept: None };
            let written = envelope.write();
            let envelope = Envelope::parse(&written).expect("it reads as it is written");
            let addressee = write_for_user(&mut object, &envelope).expect("it is for a user");
            assert_eq!(addressee, Addressee::User { user: to.clone(), from: Some(me), kept: None });
            let told: Told<'_> = serde_json::from_slice(&object).expect("an object");
            assert_eq!((told.r#type, told.from.as_deref()), ("chat", Some("me")));
            assert_eq!(told.to.as_deref(), Some(to.as_str()));
            assert_eq!(told.message.map(RawValue::get), Some(&*message));
            is_plain(&user_channel("channel:", &to), "channel:desk:user:");
        }
        DeskRequest::Typing(room) => {
            write_for_room(&mut object, &room, &Envelope::Typing { user: me, connection: None })
                .expect("it is for a room");
            let told: Told<'_> = serde_json::from_slice(&object).expect("an object");
            assert_eq!((told.r#type, told.user_id.as_deref()), ("typing", Some("me")));
            assert_eq!(told.room_id.as_deref(), Some(room.as_str()));
        }
        DeskRequest::Workers { .. }
        | DeskRequest::Join { .. }
        | DeskRequest::Leave(_)
        | DeskRequest::Presence(_) => {}
    }
});

/// The message itself is taken as well where another was, and so is `null`.
fn any_message_is_taken(request: &str) {
    for message in [request.trim(), "null"] {
        let chat = format!(r#"{{"type":"chat","payload":{{"to":"b","message":{message}}}}}"#);
        let taken = desk::parse(&chat).expect("a type").map(|request| request.action);
        let is_the_message = |action: &Action| matches!(action, Action::Desk(request) if matches!(&**request, DeskRequest::Chat { message: read, .. } if **read == *message));
        // What was read as a request is JSON; it may be nested too deep or have half of a surrogate pair.
        assert!(taken.as_ref().map_or(message != "null", is_the_message), "{chat}");
    }
}

/// A client of Socket.IO gets one event with the same message, and the room behind it.
fn is_an_event(object: &[u8], room: &DeskId, message: &str) {
    let mut frame = Vec::new();
    let told = event::Told { object, room: Some(room), origin: &Origin::default() };
    socketio::write_event(&mut frame, Namespace::Root, &told);
    let packet = std::str::from_utf8(header::payload(&frame)).expect("text");
    let elements: Vec<&RawValue> =
        serde_json::from_str(packet.strip_prefix("42").expect("an event")).expect("JSON");
    assert_eq!((elements.len(), elements[0].get()), (3, "\"message\""));
    assert_eq!(serde_json::from_str::<String>(elements[2].get()).ok().as_deref(), Some(room.as_str()));
    assert!(elements[1].get().contains(message));
}

fn is_plain(channel: &str, beginning: &str) {
    assert!(channel.starts_with(beginning) && !channel.contains(char::is_control), "{channel:?}");
}
