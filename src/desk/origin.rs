//! Where an event of a room comes from: the connection that caused it, and how many users the room then has. For clients whose protocol tells it. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::DeskId;

/// By what others know a connection. It opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicId([u8; 10]);

/// Hexadecimal digits of a [`PublicId`].
pub const PUBLIC_ID_DIGITS: usize = 20;

impl PublicId {
    /// One that no other connection has.
    pub fn random() -> Self {
        Self(std::array::from_fn(|_| fastrand::u8(..)))
    }

    /// One of a test.
    pub const fn of(byte: u8) -> Self {
        Self([byte; 10])
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() != PUBLIC_ID_DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        let mut id = Self([0; 10]);
        for (place, byte) in id.0.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).map_err(|_| ())?;
        }
        Ok(id)
    }
}

impl Serialize for PublicId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("no name of a connection"))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for _ in 0..100 {
            let id = PublicId::random();
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(PublicId::of(0xa5).to_string(), "a5a5a5a5a5a5a5a5a5a5");
        for none in
            ["", "a5a5a5a5a5a5a5a5a5a", "a5a5a5a5a5a5a5a5a5a5a", "+5a5a5a5a5a5a5a5a5a5", "ä5a5a5a5a5a5a5a5a5"]
        {
            assert_eq!(none.parse::<PublicId>(), Err(()), "{none}");
        }
    }
}
