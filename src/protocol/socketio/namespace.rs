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

    /// Where a client is told what concerns its connection; `None` if it is in no namespace.
    pub fn home(self) -> Option<Namespace> {
        Namespace::ALL.into_iter().find(|namespace| self.has(*namespace))
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
        for namespace in Namespace::ALL {
            assert_eq!(find(name(namespace)), Some(namespace));
        }
        assert_eq!((find("/nope"), find("")), (None, None));
    }
}
