//! Where an event of a room comes from: the connection that caused it, and how many users the room then has. For clients whose protocol tells it. Pure.

use super::{DeskId, PublicId};

/// Where an event of a room comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The connection that has caused it; `None` if a worker or a gateway has.
    pub connection: Option<PublicId>,
    /// How many users are in the room from then on, as the gateway of that connection knows it; of joins and leaves only.
    pub users: Option<u32>,
    /// What the one that joins has called itself, for this event alone; on a gateway that knows no users.
    pub label: Option<DeskId>,
}

impl Origin {
    /// An event that a connection has caused, or nobody.
    pub fn of(connection: Option<PublicId>) -> Self {
        Self { connection, ..Self::default() }
    }

    /// A join or leave, after which the room has so many users.
    pub fn of_move(connection: Option<PublicId>, users: usize) -> Self {
        Self { users: Some(users as u32), ..Self::of(connection) }
    }
}
