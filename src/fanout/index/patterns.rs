//! Patterns on one shard: which of them match a topic, and which topics are live only because of them.
//!
//! A topic that is live without subscribers and holds of its own is *listed* with the longest pattern that matches it. So the end of a
//! pattern costs a walk over its list, and nothing else.

use slotmap::Key;
use smallvec::SmallVec;

use super::retire::PatternOnly;
use super::{Index, Interest, Topic};
use crate::bus::TopicId;
use crate::market::{Name, Subject};

/// A pattern that is live or asked for.
#[derive(Debug)]
pub(super) struct PatternEntry {
    /// Null until ingest has granted the pattern.
    id: TopicId,
    /// Length of the pattern's prefix: with a topic's name it leads back to this entry.
    prefix_bytes: u8,
    /// The topics listed with this pattern.
    pub(super) listed: Vec<TopicId>,
}

impl<K: Key> Index<K> {
    /// Whether any pattern is live or asked for. If not, a topic's events go to its own subscribers only.
    #[inline]
    pub fn has_patterns(&self) -> bool {
        self.has_patterns
    }

    /// An event of a topic has come. Returns the live patterns that match the topic, the longest first, and protects the topic from
    /// retiring for a while. What matches is looked up only if a pattern has come or gone since the topic's last event.
    #[inline]
    pub fn touch(&mut self, topic: TopicId) -> &[TopicId] {
        let Some(topic) = self.topics.get_mut(topic) else { return &[] };
        topic.recent = true;
        if topic.epoch != self.epoch {
            topic.epoch = self.epoch;
            topic.patterns.clear();
            if let Some(symbol) = topic.subject.name.symbol() {
                let entries =
                    self.patterns.matching(topic.subject.kind, topic.subject.form, symbol.as_bytes());
                topic.patterns.extend(entries.map(|entry| entry.id).filter(|id| !id.is_null()));
            }
        }
        &topic.patterns
    }

    /// The live patterns that match a topic, the longest first, looked up for this call. For bookkeeping: the topic is not
    /// protected from retiring.
    pub fn patterns_of(&self, topic: TopicId) -> SmallVec<[TopicId; 2]> {
        let subject = self.subject(topic);
        let entries = subject.and_then(|subject| {
            Some(self.patterns.matching(subject.kind, subject.form, subject.name.symbol()?.as_bytes()))
        });
        entries.into_iter().flatten().map(|entry| entry.id).filter(|id| !id.is_null()).collect()
    }

    /// Ingest has found a topic that a pattern of this shard matches: its events come under `id` from now on. If the pattern
    /// has ended meanwhile, the topic ends at once ([`Index::take_unwanted`]).
    pub fn topic_opened(&mut self, subject: Subject, id: TopicId) {
        let Name::Symbol(symbol) = &subject.name else { return };
        match self.by_subject.get_mut(&subject) {
            // Ingest opens a retiring topic again only after it has confirmed that it is retired.
            Some(Interest::Live(_) | Interest::Retiring { .. }) => {}
            Some(interest @ Interest::Asked { .. }) => {
                let Interest::Asked { holds } = *interest else { return };
                *interest = Interest::Live(id);
                self.topics.insert(id, Topic::new(subject, holds));
            }
            None if self
                .patterns
                .matching(subject.kind, subject.form, symbol.as_bytes())
                .next()
                .is_none() =>
            {
                self.unwanted.push(id);
            }
            None => {
                self.by_subject.insert(subject.clone(), Interest::Live(id));
                self.topics.insert(id, Topic::new(subject, 0));
                self.list_with_pattern(id);
            }
        }
    }

    /// Lists a topic with the longest pattern that matches it; `false` if none does.
    pub(super) fn list_with_pattern(&mut self, id: TopicId) -> bool {
        if !self.has_patterns {
            return false;
        }
        let Some(topic) = self.topics.get_mut(id) else { return false };
        let Some(symbol) = topic.subject.name.symbol() else { return false };
        let Subject { kind, form, .. } = topic.subject;
        let Some(entry) = self.patterns.longest_mut(kind, form, symbol.as_bytes()) else {
            return false;
        };
        if topic.pattern_only.is_none() {
            topic.pattern_only = Some(PatternOnly {
                prefix_bytes: entry.prefix_bytes,
                place: entry.listed.len() as u32,
                ring_place: self.ring.push(id),
            });
            topic.recent = true;
            entry.listed.push(id);
            self.retire_idle();
        }
        true
    }

    /// If the subject is a pattern, ingest is about to be asked for it: from now on the topics that it matches stay live.
    pub(super) fn pattern_asked(&mut self, subject: &Subject) {
        if let Name::Pattern(pattern) = &subject.name {
            let prefix_bytes = pattern.prefix().len() as u8;
            let entry = PatternEntry { id: TopicId::null(), prefix_bytes, listed: Vec::new() };
            self.patterns.insert(subject.kind, subject.form, pattern.clone(), entry);
            self.has_patterns = true;
        }
    }

    /// If the subject is a pattern, it is live from now on.
    pub(super) fn pattern_granted(&mut self, subject: &Subject, id: TopicId) {
        if let Name::Pattern(pattern) = &subject.name
            && let Some(entry) = self.patterns.get_mut(subject.kind, subject.form, pattern)
        {
            entry.id = id;
            self.epoch += 1;
        }
    }

    /// If the subject is a pattern, it has ended: each topic of its list ends too, unless another pattern matches it.
    pub(super) fn pattern_ended(&mut self, subject: &Subject) {
        let Name::Pattern(pattern) = &subject.name else { return };
        let Some(entry) = self.patterns.remove(subject.kind, subject.form, pattern) else { return };
        self.has_patterns = !self.patterns.is_empty();
        self.epoch += 1;
        // Two passes: listing a topic with another pattern may make others retire, which must not be on the removed list any more.
        entry.listed.iter().for_each(|id| self.unlist(*id));
        entry.listed.iter().for_each(|id| self.end_if_unwanted(*id));
    }
}

#[cfg(test)]
mod tests {
    use slotmap::{DefaultKey, SlotMap};

    use super::*;
    use crate::market::{Form, Kind, SymbolCase};

    #[test]
    fn a_pattern_lists_a_topic_once_however_often_subscribers_come_and_go() {
        let mut clients: SlotMap<DefaultKey, ()> = SlotMap::new();
        let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
        let mut index = Index::default();
        let [pattern, symbol] = ["A*", "AAPL"]
            .map(|name| Subject::parse(Kind::TRADE, name.as_bytes(), SymbolCase::Upper).unwrap());
        let (faithful, fickle) = (clients.insert(()), clients.insert(()));
        assert!(index.hold(&pattern));
        index.grant(pattern.clone(), ids.insert(()));
        index.subscribe(faithful, std::slice::from_ref(&pattern));
        let id = ids.insert(());
        let Name::Pattern(name) = &pattern.name else { panic!("no pattern") };
        let listed = |index: &Index<DefaultKey>| {
            index.patterns.get(Kind::TRADE, Form::JSON, name).unwrap().listed.clone()
        };
        index.topic_opened(symbol.clone(), id);
        for _ in 0..10 {
            assert!(!index.hold(&symbol), "opened, so ingest need not be asked");
            assert_eq!(listed(&index), [], "wanted by more than the pattern");
            index.subscribe(fickle, std::slice::from_ref(&symbol));
            index.unsubscribe(fickle, std::slice::from_ref(&symbol));
        }
        assert_eq!(listed(&index), [id]);
        assert_eq!(index.take_unwanted(), []);
        index.disconnect(faithful);
        assert_eq!(index.take_unwanted().len(), 2);
        assert_eq!(index.topics(), 0);
    }
}
