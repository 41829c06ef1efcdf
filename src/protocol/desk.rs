//! What clients ask of the desk, and what they are answered, whatever the dialect.

use crate::desk::DeskId;

/// A request to the desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeskRequest {
    /// Become a member of a room.
    Join(DeskId),
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
}

impl DeskRequest {
    /// Whom or what it concerns, for a refusal.
    pub fn concern(&self) -> Concern {
        match self {
            Self::Join(room)
            | Self::Leave(room)
            | Self::Message { room, .. }
            | Self::Typing(room)
            | Self::Presence(room) => Concern::Room(room.clone()),
            Self::Chat { to, .. } => Concern::User(to.clone()),
        }
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
