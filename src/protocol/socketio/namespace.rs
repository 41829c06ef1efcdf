//! The namespaces, and which of them a client is in. Pure.
//!
//! A namespace is a form of events ([`Form::socketio`](crate::market::Form::socketio)): a client that is in several holds each subscription in
//! one of them, and an event is written once for each namespace that somebody wants it in.

use crate::market::Namespace;

/// The name of a namespace.
pub const fn name(namespace: Namespace) -> &'static str {
    match namespace {
        Namespace::Root => "/",
        Namespace::Events => "/events",
        Namespace::Messaging => "/messaging",
    }
}

/// The namespace of that name.
pub fn find(text: &str) -> Option<Namespace> {
    Namespace::ALL.into_iter().find(|namespace| name(*namespace) == text)
}

/// A set of namespaces: those that a client is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Joined(u8);

impl Joined {
    /// None.
    pub const NONE: Self = Self(0);
    /// All.
    pub const ALL: Self = Self::NONE.with(Namespace::Root).with(Namespace::Events).with(Namespace::Messaging);

    /// Whether a namespace is among them.
    pub const fn has(self, namespace: Namespace) -> bool {
        self.0 & (1 << namespace as u8) != 0
    }

    /// The same with one more.
    #[must_use]
    pub const fn with(self, namespace: Namespace) -> Self {
        Self(self.0 | (1 << namespace as u8))
    }

    /// The same without one.
    #[must_use]
    pub const fn without(self, namespace: Namespace) -> Self {
        Self(self.0 & !(1 << namespace as u8))
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Namespace> {
        Namespace::ALL.into_iter().filter(move |namespace| self.has(*namespace))
    }

    /// Where a client is told what concerns its connection; `None` if it is in no namespace.
    pub fn home(self) -> Option<Namespace> {
        self.iter().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_joined_and_left() {
        let both = Joined::default().with(Namespace::Messaging).with(Namespace::Events);
        assert_eq!((both.home(), Joined::default().home()), (Some(Namespace::Events), None));
        let left = both.without(Namespace::Events);
        assert_eq!((left.has(Namespace::Events), left.home()), (false, Some(Namespace::Messaging)));
        assert_eq!(both.and(Joined::ALL.without(Namespace::Events)), left);
        assert_eq!(Joined::ALL.iter().collect::<Vec<_>>(), Namespace::ALL);
        for namespace in Namespace::ALL {
            assert_eq!(find(name(namespace)), Some(namespace));
        }
        assert_eq!((find("/nope"), find("")), (None, None));
    }
}
