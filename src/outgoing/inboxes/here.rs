//! A user who is here, and what of its inbox all gateways know. Pure.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use super::entries::Entry;
use crate::desk::inbox::{Content, EntryId};

/// Entries of a user who is here that all gateways were told of, as far as they are behind what was looked through.
const HEARD_MAX: usize = 512;

/// A connection that gets its user's inbox: its shard, and its number there.
pub(super) type Reader = (usize, u64);

/// A user with connections to this gateway.
#[derive(Debug, Default)]
pub(super) struct Here {
    pub(super) connections: SmallVec<[Reader; 1]>,
    /// Up to where the inbox was looked through; `None` until it was read once.
    pub(super) swept: Option<EntryId>,
    /// The last entry that was looked at, if what is behind it waits to be looked at.
    pub(super) further: Option<EntryId>,
    /// Entries behind that which all gateways were told of.
    heard: BTreeSet<EntryId>,
    /// Chats behind that which they may be told of any moment.
    expected: BTreeSet<EntryId>,
}

impl Here {
    /// All gateways have been told of an entry.
    pub(super) fn heard(&mut self, entry: EntryId) {
        if self.swept.is_none_or(|swept| entry > swept) {
            self.heard.insert(entry);
            if self.heard.len() > HEARD_MAX {
                self.heard.pop_first();
            }
        }
    }

    /// Looks at entries in order: those behind what was looked through, or with `is_further` those behind others that were looked at since. Returns those
    /// that nobody has told of.
    pub(super) fn look_through<'e>(&mut self, entries: &'e [Entry], is_further: bool) -> Vec<&'e Entry> {
        let Some(known) = self.swept else { return Vec::new() };
        let has_gap = is_further && self.expected.iter().any(|chat| !self.heard.contains(chat));
        let (mut swept, mut untold, mut is_through) = (known, Vec::new(), !has_gap);
        for entry in entries.iter().filter(|entry| entry.id > known) {
            // A chat is told by the gateway that has put it there, unless that has died meanwhile.
            let is_early =
                matches!(entry.content(), Some(Content::Chat(_))) && self.expected.insert(entry.id);
            if !self.heard.contains(&entry.id) && is_early {
                is_through = false;
                continue;
            }
            if self.heard.insert(entry.id) {
                untold.push(entry);
            }
            if is_through {
                swept = entry.id;
            }
        }
        self.swept = Some(swept);
        self.heard.retain(|entry| *entry > swept);
        self.expected.retain(|entry| *entry > swept);
        untold
    }

    /// Whether so many more may be looked at before those looked at last are settled.
    pub(super) fn may_look_further(&self, entries: usize) -> bool {
        self.heard.len() + entries <= HEARD_MAX
    }

    /// Redis has lost the inbox: whatever comes into the next one is new.
    pub(super) fn has_lost_inbox(&mut self) {
        self.swept = self.swept.map(|_| EntryId::default());
        self.heard.clear();
        self.expected.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    fn untold(here: &mut Here, entries: &[Entry]) -> Vec<u64> {
        here.look_through(entries, false).into_iter().map(|entry| entry.id.ms).collect()
    }

    #[test]
    fn what_workers_put_there_is_told_at_once_and_once() {
        let mut here = Here { swept: Some(id(5)), ..Here::default() };
        let entries = [Entry::of(id(5), "message"), Entry::of(id(6), "message"), Entry::of(id(7), "message")];
        here.heard(id(6));
        assert_eq!(untold(&mut here, &entries), [7]);
        assert_eq!(here.swept, Some(id(7)));
        assert_eq!(untold(&mut here, &entries), [0; 0]);
        assert!(here.heard.is_empty() && here.expected.is_empty());
    }

    #[test]
    fn a_chat_is_told_by_who_has_put_it_there_or_else_the_second_time() {
        let mut here = Here { swept: Some(id(0)), ..Here::default() };
        let entries = [Entry::of(id(1), "chat"), Entry::of(id(2), "message"), Entry::of(id(3), "chat")];
        assert_eq!(untold(&mut here, &entries), [2], "the chats may be told any moment");
        assert_eq!(here.swept, Some(id(0)), "they are looked at again");
        here.heard(id(1));
        assert_eq!(untold(&mut here, &entries), [3], "its gateway has died");
        assert_eq!(here.swept, Some(id(3)));
    }

    #[test]
    fn nothing_is_told_before_the_inbox_was_read_and_what_is_known_is_bounded() {
        let mut here = Here::default();
        assert_eq!(untold(&mut here, &[Entry::of(id(1), "message")]), [0; 0]);
        (0..2 * HEARD_MAX as u64).for_each(|ms| here.heard(id(ms)));
        assert_eq!(here.heard.len(), HEARD_MAX);
    }
    #[test]
    fn a_chat_that_is_not_told_yet_is_not_passed_by_what_is_looked_at_further() {
        let mut here = Here { swept: Some(id(0)), ..Here::default() };
        assert_eq!(untold(&mut here, &[Entry::of(id(1), "chat"), Entry::of(id(2), "message")]), [2]);
        let further = [Entry::of(id(3), "message"), Entry::of(id(4), "message")];
        assert_eq!(here.look_through(&further, true).len(), 2);
        assert_eq!(here.swept, Some(id(0)));
        here.heard(id(1));
        assert_eq!(here.look_through(&[Entry::of(id(5), "message")], true).len(), 1);
        assert_eq!(here.swept, Some(id(5)));
        assert!(here.heard.is_empty() && here.expected.is_empty());
    }

    #[test]
    fn no_more_is_looked_at_further_than_can_be_remembered() {
        let mut here = Here { swept: Some(id(0)), ..Here::default() };
        let entries: Vec<_> = (1..=HEARD_MAX as u64).map(|ms| Entry::of(id(ms), "message")).collect();
        assert_eq!(untold(&mut here, &[Entry::of(id(1), "chat")]), [0; 0]);
        assert!(here.may_look_further(HEARD_MAX));
        assert_eq!(here.look_through(&entries[1..], true).len(), HEARD_MAX - 1);
        assert!(here.may_look_further(1) && !here.may_look_further(2));
    }

    #[test]
    fn in_an_inbox_that_was_made_again_all_is_new() {
        let mut here = Here { swept: Some(id(9)), ..Here::default() };
        here.has_lost_inbox();
        assert_eq!(untold(&mut here, &[Entry::of(id(5), "message")]), [5]);
        let mut unread = Here::default();
        unread.has_lost_inbox();
        assert_eq!(unread.swept, None);
    }
}
