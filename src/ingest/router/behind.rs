//! Shards that are behind: their events are counted as lost until they have caught up.

use smallvec::SmallVec;

use super::{Bits, Building, Router};
use crate::bus::{SeqChange, TopicId};
use crate::ingest::router::Batch;
use crate::market::{Delay, Form, Kind, Subject};

/// What a shard that is behind has to be told, in this order.
#[derive(Debug, Default)]
pub struct Reported {
    /// Topics that its patterns match and that came up meanwhile.
    pub opened: Vec<(Subject, TopicId)>,
    /// Events lost: counts by topic, each topic once.
    pub counts: Vec<(TopicId, u64)>,
    /// Changes of sequence numbers among the lost events.
    pub changes: Vec<(TopicId, SeqChange)>,
    /// Patterns whose clients have lost events of further topics, more than are counted.
    pub uncounted: Vec<TopicId>,
}

impl Router {
    /// A shard has no room for these events: they are lost, and so is all that comes until [`Router::catch_up`].
    pub fn fall_behind(&mut self, shard: usize, batches: impl IntoIterator<Item = Batch>) {
        self.behind |= 1 << shard;
        let Some(Building { losses, .. }) = self.building.get_mut(shard) else { return };
        for Batch { frames, notices } in batches {
            self.lost_events += frames.table.len() as u64;
            frames.table.iter().for_each(|entry| losses.count(entry.topic));
            notices.into_iter().for_each(|notice| losses.note_change(notice.topic, notice.change));
        }
    }

    /// Whether events for a shard are counted as lost.
    pub fn is_behind(&self, shard: usize) -> bool {
        self.behind & (1 << shard) != 0
    }

    /// Whether events for any shard are counted as lost.
    pub fn is_any_behind(&self) -> bool {
        self.behind != 0
    }

    /// Takes what a shard has lost and has not been told of. It stays behind.
    pub fn report(&mut self, shard: usize) -> Reported {
        let Some(Building { opened, losses, .. }) = self.building.get_mut(shard) else {
            return Reported::default();
        };
        Reported {
            opened: std::mem::take(opened),
            counts: losses.take_counts(),
            changes: losses.take_changes(),
            uncounted: losses.take_uncounted(),
        }
    }

    /// A shard has room again, and has been told of its losses: events are framed for it from now on.
    pub fn catch_up(&mut self, shard: usize) {
        self.behind &= !(1 << shard);
    }

    /// How many events were lost since this was last asked: each as often as shards have lost it, in each form.
    pub fn take_lost_events(&mut self) -> u64 {
        std::mem::take(&mut self.lost_events)
    }

    /// So many events of a topic are lost to a feed, unseen. The shards are to be told at once ([`Router::report`]), those that are behind once
    /// they have caught up. `key` is the topic's symbol, with its interval if it has one.
    pub fn lose(&mut self, delay: Delay, kind: Kind, key: &[u8], count: u64) {
        self.history(delay).lose(kind, key);
        let first = match self.first_of(delay, kind, key) {
            Some(first) => first,
            None if self.matched_by(delay, kind, key) & !self.full() != 0 => {
                self.add_matched(delay, kind, key)
            }
            None => {
                for form in self.passes[delay.index()].forms() {
                    self.note_uncounted(self.matched_in(kind, form, key), kind, form, key);
                }
                return;
            }
        };
        if self.topics.get(first).is_some_and(|topic| topic.epoch != self.passes[delay.index()].epoch) {
            self.open_in_each_form(first, self.full());
        }
        for id in self.with_others(first).collect::<SmallVec<[TopicId; 1]>>() {
            let wanted_by = self.topics.get(id).map_or(0, |topic| topic.wanted_by);
            for shard in Bits(wanted_by) {
                self.building[shard].losses.add(id, count);
            }
        }
    }

    /// Events of a feed are lost of which nobody knows the topics: whoever is subscribed to anything of it can't be told what it has missed.
    pub fn lose_uncounted(&mut self, delay: Delay) {
        for (id, topic) in self.topics.iter().filter(|(_, topic)| topic.subject.form.delay() == delay) {
            for shard in Bits(topic.wanted_by) {
                self.building[shard].losses.note_uncounted(id);
            }
        }
    }

    /// The shards that are behind and have no room for further topics, one bit each.
    pub(super) fn full(&self) -> u64 {
        let is_full = |shard: &usize| self.building[*shard].opened.len() >= self.opened_behind_max;
        Bits(self.behind).filter(is_full).fold(0, |full, shard| full | (1 << shard))
    }

    /// Records that these shards, which have no room for the topic, lose one event of it in a form.
    pub(super) fn note_uncounted(&mut self, shards: u64, kind: Kind, form: Form, symbol: &[u8]) {
        self.lost_events += u64::from(shards.count_ones());
        let by_pattern = &self.passes[form.delay().index()].by_pattern;
        for id in by_pattern.matching(kind, form.undelayed(), symbol) {
            let wanted_by = self.topics.get(*id).map_or(0, |pattern| pattern.wanted_by);
            for shard in Bits(wanted_by & shards) {
                self.building[shard].losses.note_uncounted(*id);
            }
        }
    }
}
