//! What clients ask of the desk, and what they are answered, whatever the dialect.

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

/// The `requestId` of a question to the workers: a JSON string of at most 64 bytes, or a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Box<str>);

/// The longest text of a [`RequestId`], in bytes.
const REQUEST_ID_BYTES_MAX: usize = 64;

impl RequestId {
    /// Reads a JSON value; `None` if it is none. Two ways to write one text are the same.
    pub fn parse(json: &str) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(json).ok()?;
        let fits = match &value {
            serde_json::Value::String(text) => text.len() <= REQUEST_ID_BYTES_MAX,
            serde_json::Value::Number(_) => true,
            _ => false,
        };
        fits.then(|| Self(value.to_string().into()))
    }

    /// As JSON.
    pub fn as_json(&self) -> &str {
        &self.0
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
