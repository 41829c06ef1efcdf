//! Which events of a topic are set aside: they came, nobody has asked for them, and nobody has looked into them.

use smallvec::SmallVec;

use super::super::aside::{Aside, EventAside, Place};
use crate::limits;

/// A topic's events that are set aside, the newest first; each knows the one before it.
#[derive(Debug)]
pub(super) struct Pending {
    newest: Place,
    oldest: Place,
    /// What they seem to have as their `seq`, as far as that can be seen without a look into them; the oldest first.
    claimed: Vec<Option<u64>>,
}

impl Default for Pending {
    fn default() -> Self {
        Self { newest: Place::NONE, oldest: Place::NONE, claimed: Vec::new() }
    }
}

impl Pending {
    /// The newest of them.
    pub(super) fn newest(&self) -> Place {
        self.newest
    }

    /// Whether the event at that place, which is one of the topic's, is among them.
    pub(super) fn includes(&self, place: Place) -> bool {
        self.oldest <= place
    }

    /// An event has been set aside behind the others.
    pub(super) fn push(&mut self, place: Place, claimed_seq: Option<u64>) {
        if self.is_empty() {
            self.oldest = place;
        }
        self.newest = place;
        self.claimed.push(claimed_seq);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.claimed.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.claimed.len() >= limits::PENDING_EVENTS
    }

    pub(super) fn clear(&mut self) {
        (self.newest, self.oldest) = (Place::NONE, Place::NONE);
        self.claimed.clear();
    }

    /// From the newest to the oldest.
    pub(super) fn newest_first<'r>(
        &self,
        aside: &'r Aside,
    ) -> impl DoubleEndedIterator<Item = (Place, EventAside<'r>)> + use<'r> {
        let mut at = self.newest;
        let events = self.claimed.iter().map(|_| {
            let event = aside.get(at);
            (std::mem::replace(&mut at, event.previous), event)
        });
        events.collect::<SmallVec<[_; limits::PENDING_EVENTS]>>().into_iter()
    }

    /// What they seem to have as their `seq`, the oldest first.
    pub(super) fn claimed(&self) -> &[Option<u64>] {
        &self.claimed
    }

    pub(super) fn len(&self) -> usize {
        self.claimed.len()
    }
}
