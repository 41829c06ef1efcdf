//! Patterns on one shard: what they match beyond the exact subscriptions, and which topics live only by them.
//!
//! A topic that nothing but patterns wants is *listed* by one of them, so that a pattern's end costs a walk over what it lists
//! and nothing else. It is so exactly as long as it has neither subscribers nor holds of its own.

use slotmap::Key;

use super::retire::PatternOnly;
use super::{Index, Interest, Topic};
use crate::bus::TopicId;
use crate::market::{Name, Subject};

/// A pattern that is live or asked for.
#[derive(Debug)]
pub(super) struct PatternEntry {
    /// Null as long as ingest has not granted it.
    id: TopicId,
    /// Length of the pattern's prefix, by which a topic's name leads here.
    prefix_bytes: u8,
    /// Topics that nothing but patterns wants.
    pub(super) listed: Vec<TopicId>,
}

impl<K: Key> Index<K> {
    /// Whether any pattern is live or asked for: without one a topic's subscribers are all there is to it.
    #[inline]
    pub fn has_patterns(&self) -> bool {
        self.has_patterns
    }

    /// The live patterns that match a topic, the longest first. Looked up again only after a pattern has come or gone. As this is
    /// asked for each run of events, it also notes that the topic isn't idle.
    #[inline]
    pub fn patterns_of(&mut self, topic: TopicId) -> &[TopicId] {
        let Some(topic) = self.topics.get_mut(topic) else { return &[] };
        topic.recent = true;
        if topic.epoch != self.epoch {
            topic.epoch = self.epoch;
            topic.patterns.clear();
            if let Some(symbol) = topic.subject.name.symbol() {
                let entries = self.patterns.matching(topic.subject.event_type, symbol.as_bytes());
                topic.patterns.extend(entries.map(|entry| entry.id).filter(|id| !id.is_null()));
            }
        }
        &topic.patterns
    }

    /// Ingest has found a topic that a pattern of this shard matches: its events come under `id` from now on. If the pattern
    /// has ended meanwhile, the topic is [unwanted](Index::take_unwanted).
    pub fn topic_opened(&mut self, subject: Subject, id: TopicId) {
        let Name::Symbol(symbol) = &subject.name else { return };
        match self.by_subject.get_mut(&subject) {
            // A leaving one is opened again only behind its `closed`.
            Some(Interest::Live(_) | Interest::Retiring { .. }) => {}
            Some(interest @ Interest::Asked { .. }) => {
                let Interest::Asked { holds } = *interest else { return };
                *interest = Interest::Live(id);
                self.topics.insert(id, Topic::new(subject, holds));
            }
            None if self.patterns.matching(subject.event_type, symbol.as_bytes()).next().is_none() => {
                self.unwanted.push(id);
            }
            None => {
                self.by_subject.insert(subject.clone(), Interest::Live(id));
                self.topics.insert(id, Topic::new(subject, 0));
                self.list(id);
            }
        }
    }

    /// Has the longest pattern that matches a topic keep it; `false` if none does.
    pub(super) fn list(&mut self, id: TopicId) -> bool {
        if !self.has_patterns {
            return false;
        }
        let Some(topic) = self.topics.get_mut(id) else { return false };
        let Some(symbol) = topic.subject.name.symbol() else { return false };
        let Some(entry) = self.patterns.longest_mut(topic.subject.event_type, symbol.as_bytes()) else {
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

    /// A pattern is asked for: from now on topics that it matches stay.
    pub(super) fn pattern_asked(&mut self, subject: &Subject) {
        if let Name::Pattern(pattern) = &subject.name {
            let prefix_bytes = pattern.prefix().len() as u8;
            let entry = PatternEntry { id: TopicId::null(), prefix_bytes, listed: Vec::new() };
            self.patterns.insert(subject.event_type, pattern.clone(), entry);
            self.has_patterns = true;
        }
    }

    /// A pattern is live.
    pub(super) fn pattern_granted(&mut self, subject: &Subject, id: TopicId) {
        if let Name::Pattern(pattern) = &subject.name
            && let Some(entry) = self.patterns.get_mut(subject.event_type, pattern)
        {
            entry.id = id;
            self.epoch += 1;
        }
    }

    /// A pattern has ended: what it lists goes, unless another pattern lists it then.
    pub(super) fn pattern_ended(&mut self, subject: &Subject) {
        let Name::Pattern(pattern) = &subject.name else { return };
        let Some(entry) = self.patterns.remove(subject.event_type, pattern) else { return };
        self.has_patterns = !self.patterns.is_empty();
        self.epoch += 1;
        // All of them first: what another pattern lists from now on may make others of them leave.
        entry.listed.iter().for_each(|id| self.unlist(*id));
        entry.listed.iter().for_each(|id| self.end_if_unwanted(*id));
    }
}

#[cfg(test)]
mod tests {
    use slotmap::{DefaultKey, SlotMap};

    use super::*;
    use crate::market::EventType;

    #[test]
    fn a_pattern_lists_a_topic_once_however_often_subscribers_come_and_go() {
        let mut clients: SlotMap<DefaultKey, ()> = SlotMap::new();
        let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
        let mut index = Index::default();
        let [pattern, symbol] =
            ["A*", "AAPL"].map(|name| Subject::parse(EventType::Trade, name.as_bytes()).unwrap());
        let (faithful, fickle) = (clients.insert(()), clients.insert(()));
        assert!(index.hold(&pattern));
        index.grant(pattern.clone(), ids.insert(()));
        index.subscribe(faithful, std::slice::from_ref(&pattern));
        let id = ids.insert(());
        let Name::Pattern(name) = &pattern.name else { panic!("no pattern") };
        let listed =
            |index: &Index<DefaultKey>| index.patterns.get(EventType::Trade, name).unwrap().listed.clone();
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
