//! The gateway's desk on the command line: a room to be in, a user to write to, and what workers tell.

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::term::clean;

/// More of a message isn't shown.
const TEXT_CHARS_MAX: usize = 400;

/// What of the desk is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    /// To be in this room; lines of standard input are said there.
    pub room: Option<String>,
    /// Lines of standard input are said to this user.
    pub chat: Option<String>,
    /// To get what workers tell everyone.
    pub notifications: bool,
}

impl People {
    /// Whether anything is.
    pub fn is_any(&self) -> bool {
        self.room.is_some() || self.chat.is_some() || self.notifications
    }

    /// The address to connect to.
    pub fn address(&self, url: &str) -> String {
        let separator = if url.contains('?') { '&' } else { '?' };
        if self.notifications { format!("{url}{separator}desk=1") } else { url.to_owned() }
    }

    /// What to ask on each connection.
    pub fn requests(&self) -> Vec<String> {
        let join = |room| json!({"type": "join_room", "payload": {"room_id": room}}).to_string();
        self.room.iter().map(join).collect()
    }

    /// What to ask for a line that a person has written, unless it is empty.
    pub fn say(&self, line: &str) -> Option<String> {
        let line = line.trim_end_matches(['\r', '\n']);
        let request = match (&self.room, &self.chat) {
            _ if line.is_empty() => return None,
            (Some(room), _) => {
                json!({"type": "room_message", "payload": {"room_id": room, "message": line}})
            }
            (None, Some(user)) => json!({"type": "chat", "payload": {"to": user, "message": line}}),
            (None, None) => return None,
        };
        Some(request.to_string())
    }

    /// Lines of standard input, if they are for somebody. They are read in a thread of their own, as nothing else can wait for them.
    pub(super) fn lines(&self) -> Option<mpsc::Receiver<String>> {
        let is_for_somebody = self.room.is_some() || self.chat.is_some();
        is_for_somebody.then(|| {
            let (lines, read) = mpsc::channel(1);
            std::thread::spawn(move || {
                for line in std::io::stdin().lines().map_while(Result::ok) {
                    if lines.blocking_send(line).is_err() {
                        return;
                    }
                }
            });
            read
        })
    }
}

/// Whether messages of this type are the desk's.
pub fn is_of_desk(kind: &str) -> bool {
    matches!(kind, "room_message" | "chat" | "typing" | "user_joined" | "user_left" | "presence" | "response")
}

/// A message of the desk for people.
pub fn row(kind: &str, message: &Value) -> String {
    let text = |field: &str| match &message[field] {
        Value::String(text) => clean(text, TEXT_CHARS_MAX),
        other => clean(&other.to_string(), TEXT_CHARS_MAX),
    };
    let queued = if message["queued"] == true { " (while away)" } else { "" };
    match kind {
        "room_message" => format!("[{}] {}: {}", text("room_id"), text("from"), text("message")),
        "chat" => format!("{} to {}: {}{queued}", text("from"), text("to"), text("message")),
        "typing" => format!("-- {} is writing in {}", text("user_id"), text("room_id")),
        "user_joined" => format!("-- {} has joined {}", text("user_id"), text("room_id")),
        "user_left" => format!("-- {} has left {}", text("user_id"), text("room_id")),
        "presence" => format!("-- {} users are in {}", text("count"), text("room_id")),
        _ => clean(&message.to_string(), TEXT_CHARS_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_to_the_room_or_the_user() {
        let room = People { room: Some("r".to_owned()), ..People::default() };
        assert_eq!(room.requests(), [r#"{"payload":{"room_id":"r"},"type":"join_room"}"#]);
        let said: Value = serde_json::from_str(&room.say("a \"b\"\n").unwrap()).unwrap();
        assert_eq!(said, json!({"type": "room_message", "payload": {"room_id": "r", "message": "a \"b\""}}));
        let chat = People { chat: Some("bob".to_owned()), ..People::default() };
        let said: Value = serde_json::from_str(&chat.say("hi").unwrap()).unwrap();
        assert_eq!(said, json!({"type": "chat", "payload": {"to": "bob", "message": "hi"}}));
        assert_eq!((chat.say("\n"), chat.requests().len()), (None, 0));
    }

    #[test]
    fn who_wants_notifications_says_so_in_the_address() {
        let people = People { notifications: true, ..People::default() };
        assert_eq!(people.address("ws://h/ws"), "ws://h/ws?desk=1");
        assert_eq!(people.address("ws://h/ws?token=x"), "ws://h/ws?token=x&desk=1");
        assert_eq!(People::default().address("ws://h/ws"), "ws://h/ws");
    }

    #[test]
    fn messages_are_one_line_whatever_is_in_them() {
        for (message, expected) in [
            (json!({"type": "room_message", "room_id": "r", "from": "a", "message": "x\ny"}), "[r] a: x"),
            (
                json!({"type": "room_message", "room_id": "r", "from": "a", "message": {"n": [1]}}),
                r#"[r] a: {"n":[1]}"#,
            ),
            (
                json!({"type": "chat", "from": "a", "to": "b", "message": "hi", "queued": true}),
                "a to b: hi (while away)",
            ),
            (json!({"type": "user_left", "user_id": "a", "room_id": "r"}), "-- a has left r"),
            (json!({"type": "presence", "room_id": "r", "count": 201}), "-- 201 users are in r"),
        ] {
            let row = row(message["type"].as_str().unwrap(), &message);
            assert!(row.starts_with(expected) && !row.contains('\n'), "{row:?}");
        }
    }
}
