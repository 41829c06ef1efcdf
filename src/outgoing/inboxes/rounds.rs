//! Whose inbox is looked through next. Pure.
//!
//! Once in a while comes everybody's turn, many with one command. An inbox that has more than was asked for is looked through further by itself, in turn with the
//! others of which that is so; so one that is full for good holds up neither them nor the next round.

use std::collections::VecDeque;

use crate::desk::DeskId;
use crate::limits;

/// Inboxes that are looked through with one command.
#[derive(Debug, PartialEq, Eq)]
pub struct Look {
    pub(super) users: Vec<DeskId>,
    /// The one inbox is looked through further.
    pub(super) is_further: bool,
}

/// The round, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    round: VecDeque<DeskId>,
    further: VecDeque<DeskId>,
    /// Whose turn comes after the next command.
    was_round: bool,
    under_way: usize,
    /// Those of them that are of a round.
    of_round: usize,
}

impl Rounds {
    /// Begins a round, unless the last one is not over: nothing is asked for twice, also if it takes Redis seconds to send.
    pub(super) fn begin(&mut self, users: impl Iterator<Item = DeskId>) {
        if self.round.is_empty() && self.of_round == 0 {
            self.round.extend(users);
        }
    }

    /// An inbox has more.
    pub(super) fn has_more(&mut self, user: DeskId) {
        self.further.push_back(user);
    }

    /// What is to be looked through now, `at_once` inboxes at most; it is under way from then on.
    pub(super) fn next(&mut self, at_once: usize) -> Option<Look> {
        if self.under_way >= limits::INBOX_SWEEPS_MAX {
            return None;
        }
        let is_further = !self.further.is_empty() && (self.was_round || self.round.is_empty());
        let users = match is_further {
            true => self.further.pop_front().into_iter().collect(),
            false => self.round.drain(..at_once.min(self.round.len())).collect::<Vec<_>>(),
        };
        self.was_round = !is_further;
        if users.is_empty() {
            return None;
        }
        self.under_way += 1;
        self.of_round += usize::from(!is_further);
        Some(Look { users, is_further })
    }

    /// Something is no longer under way.
    pub(super) fn is_done(&mut self, look: &Look) {
        self.under_way = self.under_way.saturating_sub(1);
        self.of_round = self.of_round.saturating_sub(usize::from(!look.is_further));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(names: &[&str]) -> Vec<DeskId> {
        names.iter().map(|name| DeskId::parse(name).unwrap()).collect()
    }

    fn next(rounds: &mut Rounds) -> Option<String> {
        let look = rounds.next(2)?;
        rounds.is_done(&look);
        let names: Vec<_> = look.users.iter().map(DeskId::as_str).collect();
        Some(names.join(" ") + if look.is_further { " further" } else { "" })
    }

    #[test]
    fn the_round_and_those_that_have_more_come_in_turn() {
        let mut rounds = Rounds::default();
        rounds.begin(users(&["a", "b", "c", "d", "e"]).into_iter());
        assert_eq!(next(&mut rounds).unwrap(), "a b");
        for user in users(&["a", "b"]) {
            rounds.has_more(user);
        }
        rounds.begin(users(&["x"]).into_iter());
        assert_eq!(next(&mut rounds).unwrap(), "a further");
        rounds.has_more(users(&["a"]).remove(0));
        for expected in ["c d", "b further", "e", "a further"] {
            assert_eq!(next(&mut rounds).unwrap(), expected);
        }
        assert_eq!(next(&mut rounds), None);
        rounds.begin(users(&["x"]).into_iter());
        assert_eq!(next(&mut rounds).unwrap(), "x");
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        let mut rounds = Rounds::default();
        rounds.begin(users(&["a"; 100]).into_iter());
        let under_way: Vec<_> = std::iter::from_fn(|| rounds.next(1)).collect();
        assert_eq!(under_way.len(), limits::INBOX_SWEEPS_MAX);
        rounds.is_done(&under_way[0]);
        assert!(rounds.next(1).is_some() && rounds.next(1).is_none());
    }

    #[test]
    fn nobody_is_looked_at_in_two_rounds_at_a_time() {
        let mut rounds = Rounds::default();
        rounds.begin(users(&["a"]).into_iter());
        let look = rounds.next(1).unwrap();
        rounds.begin(users(&["a"]).into_iter());
        assert_eq!(rounds.next(1), None);
        rounds.is_done(&look);
        rounds.begin(users(&["a"]).into_iter());
        assert_eq!(rounds.next(1), Some(look));
    }
}
