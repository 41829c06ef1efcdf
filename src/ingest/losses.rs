//! What a shard that is behind has lost and has not been told of yet. Pure.
//!
//! A shard is *behind* from the first batch that its inbox had no room for, until the inbox is half empty again. Meanwhile
//! nothing is framed for it: its events are counted here. It costs the other shards nothing, and what is kept for it is
//! bounded: one entry for each topic that it knows, and of topics that its patterns match and that come up meanwhile at most
//! as many as one client may be owed announcements of ([`limits::SKIPPED_TOPICS_FACTOR`](crate::limits::SKIPPED_TOPICS_FACTOR)).

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::bus::{SeqChange, TopicId};

/// The losses of one shard.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Events lost of each topic.
    counts: HashMap<TopicId, u64, RandomState>,
    /// Changes of sequence numbers that were lost with them.
    changes: HashMap<TopicId, LostChanges, RandomState>,
    /// Patterns by which the shard would have learned of further topics: events of these are lost uncounted.
    uncounted: HashSet<TopicId, RandomState>,
}

/// Most gaps of a topic that are told one by one. Further ones are told as one with the last, so what is kept for a shard stays bounded.
const GAPS_MAX: usize = 16;

/// Changes of one topic's sequence numbers between lost events.
#[derive(Debug, Default)]
struct LostChanges {
    /// Each gap's first and last number, in order. What came between two of them is counted as lost, so it is in neither.
    gaps: SmallVec<[(u64, u64); 1]>,
    restarted: bool,
}

impl LostChanges {
    fn note_gap(&mut self, from: u64, to: u64) {
        let is_full = self.gaps.len() == GAPS_MAX;
        match self.gaps.last_mut().filter(|_| is_full) {
            Some((_, last)) => *last = to,
            None => self.gaps.push((from, to)),
        }
    }
}

impl Losses {
    /// An event of a topic that the shard knows, or is about to be told of, is lost.
    pub(super) fn count(&mut self, topic: TopicId) {
        self.add(topic, 1);
    }

    /// So many are.
    pub(super) fn add(&mut self, topic: TopicId, count: u64) {
        *self.counts.entry(topic).or_default() += count;
    }

    /// A change of sequence numbers is lost, behind the events counted so far.
    pub(super) fn note_change(&mut self, topic: TopicId, change: SeqChange) {
        let lost = self.changes.entry(topic).or_default();
        match change {
            SeqChange::Gap { from, to } => lost.note_gap(from, to),
            SeqChange::Restarted => *lost = LostChanges { restarted: true, ..LostChanges::default() },
        }
    }

    /// An event that would have come by this pattern is lost, of a topic that there is no room for.
    pub(super) fn note_uncounted(&mut self, pattern: TopicId) {
        self.uncounted.insert(pattern);
    }

    /// Takes the counts by topic, each topic once.
    pub(super) fn take_counts(&mut self) -> Vec<(TopicId, u64)> {
        std::mem::take(&mut self.counts).into_iter().collect()
    }

    /// Takes the changes of sequence numbers, those of one topic in order.
    pub(super) fn take_changes(&mut self) -> Vec<(TopicId, SeqChange)> {
        let changes = std::mem::take(&mut self.changes).into_iter().flat_map(|(topic, lost)| {
            let restarted = lost.restarted.then_some(SeqChange::Restarted);
            let gaps = lost.gaps.into_iter().map(|(from, to)| SeqChange::Gap { from, to });
            restarted.into_iter().chain(gaps).map(move |change| (topic, change))
        });
        changes.collect()
    }

    /// Takes the patterns by which events were lost uncounted, each once.
    pub(super) fn take_uncounted(&mut self) -> Vec<TopicId> {
        std::mem::take(&mut self.uncounted).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use slotmap::SlotMap;

    use super::*;

    #[test]
    fn each_gap_behind_the_last_restart_is_told() {
        let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
        let (a, b, c) = (ids.insert(()), ids.insert(()), ids.insert(()));
        let mut losses = Losses::default();
        for (topic, change) in [
            (a, SeqChange::Gap { from: 3, to: 4 }),
            (a, SeqChange::Gap { from: 9, to: 9 }),
            (b, SeqChange::Gap { from: 7, to: 7 }),
            (b, SeqChange::Restarted),
            (c, SeqChange::Restarted),
            (c, SeqChange::Gap { from: 2, to: 5 }),
        ] {
            losses.note_change(topic, change);
        }
        let changes = losses.take_changes();
        let of = |wanted| {
            let of_topic = changes.iter().filter(|(topic, _)| *topic == wanted);
            of_topic.map(|(_, change)| *change).collect::<Vec<_>>()
        };
        assert_eq!(of(a), [SeqChange::Gap { from: 3, to: 4 }, SeqChange::Gap { from: 9, to: 9 }]);
        assert_eq!(of(b), [SeqChange::Restarted]);
        assert_eq!(of(c), [SeqChange::Restarted, SeqChange::Gap { from: 2, to: 5 }]);
        assert_eq!(losses.take_changes(), []);
    }

    #[test]
    fn gaps_are_bounded() {
        let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
        let (topic, mut losses) = (ids.insert(()), Losses::default());
        let last = 2 * GAPS_MAX as u64 + 9;
        for seq in (1..=last).step_by(2) {
            losses.note_change(topic, SeqChange::Gap { from: seq, to: seq });
        }
        let changes = losses.take_changes();
        assert_eq!(changes.len(), GAPS_MAX);
        let from = 2 * GAPS_MAX as u64 - 1;
        assert_eq!(changes.last(), Some(&(topic, SeqChange::Gap { from, to: last })));
    }
}
