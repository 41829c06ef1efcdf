//! Entries that are to be deleted and of which Redis could not be told. Pure.

use std::collections::{BTreeMap, VecDeque};

use crate::desk::DeskId;
use crate::desk::inbox::Kept;
use crate::limits;

/// The entries, the oldest first; bounded.
#[derive(Debug, Default)]
pub(super) struct Undeleted(VecDeque<(DeskId, Kept)>);

impl Undeleted {
    /// Keeps entries of a user until they can be deleted. Returns how many there is no room for: the oldest.
    pub(super) fn keep(&mut self, user: &DeskId, entries: Vec<Kept>) -> usize {
        self.0.extend(entries.into_iter().map(|entry| (user.clone(), entry)));
        let beyond = self.0.len().saturating_sub(limits::INBOX_UNDELETED_MAX);
        self.0.drain(..beyond).count()
    }

    /// Takes all of them, by user.
    pub(super) fn take(&mut self) -> BTreeMap<DeskId, Vec<Kept>> {
        let mut by_user = BTreeMap::<_, Vec<_>>::new();
        for (user, entry) in self.0.drain(..) {
            by_user.entry(user).or_default().push(entry);
        }
        by_user
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
    fn entries_are_taken_once_in_order_by_user() {
        let [a, b] = ["a", "b"].map(|name| DeskId::parse(name).unwrap());
        let mut undeleted = Undeleted::default();
        assert_eq!(undeleted.keep(&b, entries(0..2)) + undeleted.keep(&a, entries(5..6)), 0);
        assert_eq!(undeleted.keep(&b, entries(2..3)), 0);
        assert_eq!(undeleted.take(), BTreeMap::from([(a, entries(5..6)), (b, entries(0..3))]));
        assert_eq!(undeleted.take(), BTreeMap::new());
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_is_no_room() {
        let (max, user) = (limits::INBOX_UNDELETED_MAX as u64, DeskId::parse("a").unwrap());
        let mut undeleted = Undeleted::default();
        assert_eq!(undeleted.keep(&user, entries(0..max - 1)), 0);
        assert_eq!(undeleted.keep(&user, entries(max - 1..max + 2)), 2);
        assert_eq!(undeleted.take(), BTreeMap::from([(user, entries(2..max + 2))]));
    }
}
