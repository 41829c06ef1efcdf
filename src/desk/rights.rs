//! The rooms that a client may join. Pure.

use super::DeskId;

/// The claim `rooms`: names, and beginnings with a star behind. A star that is meant as such has a backslash before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomScope(Box<[Box<str>]>);

impl RoomScope {
    /// The scope of names as a token has them.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// Whether a room is one of them.
    pub fn has(&self, room: &DeskId) -> bool {
        self.0.iter().any(|name| covers(name, room.as_str()))
    }
}

fn covers(name: &str, room: &str) -> bool {
    if let Some(beginning) = name.strip_suffix(r"\*") {
        return room.strip_suffix('*') == Some(beginning);
    }
    match name.strip_suffix('*') {
        Some(beginning) => room.starts_with(beginning),
        None => room == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_beginnings() {
        let scope = RoomScope::new(["desk-7", "team-*", r"all\*", r"x\"]);
        for (room, is_allowed) in [
            ("desk-7", true),
            ("desk-70", false),
            ("Desk-7", false),
            ("team-", true),
            ("team-*", true),
            ("team-a", true),
            ("team", false),
            ("all*", true),
            ("all", false),
            ("allx", false),
            ("x", false),
            ("*", false),
        ] {
            assert_eq!(scope.has(&DeskId::parse(room).unwrap()), is_allowed, "{room}");
        }
        assert!(RoomScope::new(["*"]).has(&DeskId::parse("anything").unwrap()));
        assert!(!RoomScope::new([]).has(&DeskId::parse("anything").unwrap()));
        assert!(!RoomScope::new([""]).has(&DeskId::parse("anything").unwrap()));
    }
}
