//! What clients ask of the desk, and what they are answered, whatever the dialect.

use std::hash::{Hash, Hasher};

use crate::desk::DeskId;

/// A request to the desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeskRequest {
    /// Become a member of a room.
    Join {
        /// The room.
        room: DeskId,
        /// What the client calls itself, for the event that tells of it; not who it is.
        label: Option<DeskId>,
    },
    /// Be one no longer.
    Leave(DeskId),
    /// Write into a room.
    Message {
        /// The room.
        room: DeskId,
        /// Any JSON, as the client wrote it.
        message: Box<str>,
    },
    /// Tell a room that one is writing.
    Typing(DeskId),
    /// Write to a user.
    Chat {
        /// The user.
        to: DeskId,
        /// Any JSON, as the client wrote it.
        message: Box<str>,
    },
    /// Ask who is in a room.
    Presence(DeskId),
    /// Ask the workers something.
    Workers {
        /// The client's own id of the question.
        request_id: RequestId,
        /// Any JSON, as the client wrote it.
        payload: Box<str>,
        /// Any JSON, as the client wrote it, if it did.
        timestamp: Option<Box<str>>,
    },
}

/// The `requestId` of a question to the workers: a JSON string or number of at most 64 bytes.
///
/// A number goes to the workers as the client wrote it. Many of them read it into 64 bits with a binary point, and write it in their own way: so two
/// numbers are the same `requestId` if those bits are.
#[derive(Debug, Clone)]
pub struct RequestId {
    json: Box<str>,
    /// The bits of a number.
    number: Option<u64>,
}

/// The longest text of a [`RequestId`], in bytes.
const REQUEST_ID_BYTES_MAX: usize = 64;

impl RequestId {
    /// Reads a JSON value; `None` if it is none. Two ways to write one text, or one number, are the same.
    pub fn parse(json: &str) -> Option<Self> {
        let json = json.trim();
        match serde_json::from_str(json).ok()? {
            serde_json::Value::String(text) if text.len() <= REQUEST_ID_BYTES_MAX => {
                Some(Self { json: serde_json::Value::from(text).to_string().into(), number: None })
            }
            serde_json::Value::Number(_) if json.len() <= REQUEST_ID_BYTES_MAX => {
                // The nearest, which serde_json doesn't promise; and 0 is -0.
                let number = json.parse::<f64>().ok()? + 0.0;
                Some(Self { json: json.into(), number: Some(number.to_bits()) })
            }
            _ => None,
        }
    }

    /// As JSON.
    pub fn as_json(&self) -> &str {
        &self.json
    }

    fn value(&self) -> Result<u64, &str> {
        self.number.ok_or(&self.json)
    }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

impl Eq for RequestId {}

impl Hash for RequestId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value().hash(state);
    }
}

impl DeskRequest {
    /// Whom or what it concerns, for a refusal.
    pub fn concern(&self) -> Option<Concern> {
        Some(match self {
            Self::Join { room, .. }
            | Self::Leave(room)
            | Self::Message { room, .. }
            | Self::Typing(room)
            | Self::Presence(room) => Concern::Room(room.clone()),
            Self::Chat { to, .. } => Concern::User(to.clone()),
            Self::Workers { .. } => return None,
        })
    }
}

/// What a refusal of the desk is about: its `data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// `{"room_id":…}`
    Room(DeskId),
    /// `{"to":…}`
    User(DeskId),
    /// `{"current":…}`: the rooms that the user is in.
    Current(usize),
}

/// A request to the desk that has been carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The client is a member of the room.
    Joined(DeskId),
    /// The client isn't.
    Left(DeskId),
    /// Written into the room.
    SentToRoom(DeskId),
    /// Written to the user.
    SentToUser(DeskId),
    /// The room has been told.
    Typing(DeskId),
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn id(json: &str) -> RequestId {
        RequestId::parse(json).unwrap()
    }

    #[test]
    fn a_number_stays_as_it_is_written_and_is_known_by_its_value() {
        for written in ["12345678901234567890123", "1.0", "-0", "1e2", "18446744073709551616", "0.10"] {
            assert_eq!(id(written).as_json(), written);
        }
        let same = [
            ("12345678901234567890123", "1.2345678901234568e+22"),
            ("1", "1.0"),
            ("100", "1E+2"),
            ("0", "-0.0"),
            ("9007199254740993", "9007199254740992"),
            (r#""\u0061""#, r#""a""#),
        ];
        for (one, other) in same {
            assert_eq!(id(one), id(other));
            assert_eq!(HashSet::from([id(one), id(other)]).len(), 1);
        }
        for (one, other) in [("1", r#""1""#), ("1", "2"), ("0.1", "0.2"), (r#""a""#, r#""A""#)] {
            assert_ne!(id(one), id(other));
        }
    }

    #[test]
    fn it_is_bounded() {
        let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
        assert_eq!(id(&text(64)).as_json(), text(64));
        let digits = "1".repeat(65);
        for bad in [&text(65), &digits, "1e400", "null", "true", "{}", "[]", "", "01", "+1", "inf"] {
            assert!(RequestId::parse(bad).is_none(), "{bad}");
        }
    }
}
