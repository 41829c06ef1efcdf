//! Topics that a shard learns of because its patterns match them.

use super::{Bits, Router, Topic};
use crate::bus::TopicId;
use crate::market::{Delay, Form, Kind, Subject};

impl Router {
    /// The shards that want a pattern of a feed that matches a symbol, in any form, one bit each.
    pub(super) fn matched_by(&self, delay: Delay, kind: Kind, symbol: &[u8]) -> u64 {
        let forms = self.passes[delay.index()].forms();
        forms.fold(0, |shards, form| shards | self.matched_in(kind, form, symbol))
    }

    pub(in crate::ingest) fn matched_in(&self, kind: Kind, form: Form, symbol: &[u8]) -> u64 {
        let by_pattern = &self.passes[form.delay().index()].by_pattern;
        let patterns = by_pattern.matching(kind, form.undelayed(), symbol);
        patterns.filter_map(|id| self.topics.get(*id)).fold(0, |shards, pattern| shards | pattern.wanted_by)
    }

    /// Opens a topic to the shards whose patterns match it in its form and that don't know it yet.
    pub(in crate::ingest) fn open(&mut self, id: TopicId) {
        let Some(Topic { subject, wanted_by, .. }) = self.topics.get(id) else { return };
        let Some(symbol) = subject.name.symbol() else { return };
        let missing = self.matched_in(subject.kind, subject.form, symbol.as_bytes()) & !wanted_by;
        self.open_to(id, missing);
    }

    /// Opens a symbol's topics, in each form, to the shards whose patterns match them, but not to the shards of this mask, which has one
    /// bit each. `first` is the first of its topics.
    pub(super) fn open_in_each_form(&mut self, first: TopicId, except: u64) {
        let Some(Topic { subject: Subject { kind, form, name }, .. }) = self.topics.get(first) else {
            return;
        };
        let (kind, delay, Some(symbol)) = (*kind, form.delay(), name.symbol().cloned()) else { return };
        let current = self.passes[delay.index()].epoch;
        let mut epoch = current;
        for form in self.passes[delay.index()].forms() {
            let known = self.in_form(first, form);
            let wanted_by = known.and_then(|id| self.topics.get(id)).map_or(0, |topic| topic.wanted_by);
            let missing = self.matched_in(kind, form, symbol.as_bytes()) & !wanted_by;
            if missing & except != 0 {
                // The epoch stays behind: the next event finds those shards again.
                epoch = current.wrapping_sub(1);
                self.note_uncounted(missing & except, kind, form, symbol.as_bytes());
            }
            let new = missing & !except;
            if new != 0 {
                let id = known.unwrap_or_else(|| self.add_to(first, form));
                self.open_to(id, new);
            }
        }
        if let Some(topic) = self.topics.get_mut(first) {
            topic.epoch = epoch;
        }
    }

    fn open_to(&mut self, id: TopicId, shards: u64) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        topic.wanted_by |= shards;
        for shard in Bits(shards) {
            self.building[shard].opened.push((topic.subject.clone(), id));
        }
    }
}
