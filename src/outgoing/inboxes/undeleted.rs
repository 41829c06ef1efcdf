//! Entries that are to be deleted and of which Redis could not be told. Pure.

use std::collections::VecDeque;

use crate::desk::DeskId;
use crate::desk::inbox::Kept;
use crate::limits;

/// The entries, those first that were to be deleted first; bounded.
#[derive(Debug, Default)]
pub(super) struct Undeleted {
    entries: VecDeque<(DeskId, Kept)>,
    /// Some had to be forgotten since all were taken.
    is_over: bool,
}

impl Undeleted {
    /// Keeps entries of a user until they can be deleted. Returns whether the first had to be forgotten, for the first time since all were
    /// taken.
    pub(super) fn keep(&mut self, user: &DeskId, entries: Vec<Kept>) -> bool {
        self.entries.extend(entries.into_iter().map(|entry| (user.clone(), entry)));
        let beyond = self.entries.len().saturating_sub(limits::INBOX_UNDELETED_MAX);
        self.entries.drain(..beyond);
        beyond > 0 && !std::mem::replace(&mut self.is_over, true)
    }

    /// Takes all of them, in order; those of one user together that stand behind each other.
    pub(super) fn take(&mut self) -> Vec<(DeskId, Vec<Kept>)> {
        self.is_over = false;
        let mut taken = Vec::<(DeskId, Vec<Kept>)>::new();
        for (user, entry) in self.entries.drain(..) {
            match taken.last_mut().filter(|(last, _)| *last == user) {
                Some((_, entries)) => entries.push(entry),
                None => taken.push((user, vec![entry])),
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::inbox::EntryId;

    fn entries(ids: std::ops::Range<u64>) -> Vec<Kept> {
        ids.map(|ms| Kept::of_worker(EntryId { ms, seq: 0 })).collect()
    }

    #[test]
    fn entries_are_taken_once_and_in_order() {
        let [a, b] = ["a", "b"].map(|name| DeskId::parse(name).unwrap());
        let mut undeleted = Undeleted::default();
        for (user, ids) in [(&b, 0..2), (&b, 2..3), (&a, 5..6), (&b, 3..4)] {
            assert!(!undeleted.keep(user, entries(ids)));
        }
        assert_eq!(undeleted.take(), [(b.clone(), entries(0..3)), (a, entries(5..6)), (b, entries(3..4))]);
        assert_eq!(undeleted.take(), []);
    }

    #[test]
    fn the_first_are_forgotten_when_there_is_no_room() {
        let (max, user) = (limits::INBOX_UNDELETED_MAX as u64, DeskId::parse("a").unwrap());
        let mut undeleted = Undeleted::default();
        for _ in 0..2 {
            assert!(!undeleted.keep(&user, entries(0..max - 1)));
            assert!(undeleted.keep(&user, entries(max - 1..max + 1)));
            assert!(!undeleted.keep(&user, entries(max + 1..max + 2)), "that is said once");
            assert_eq!(undeleted.take(), [(user.clone(), entries(2..max + 2))]);
        }
    }
}
