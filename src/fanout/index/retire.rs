//! Topics that live by patterns alone, bounded: an upstream may publish ever new symbols.
//!
//! Over the bound a second-chance search of a few steps takes those that were not heard of since it last came by. Twice over it,
//! it takes whatever it comes upon. They begin to leave; see [`Index`]'s module for what that means.

use slotmap::Key;

use super::{Index, Interest};
use crate::bus::TopicId;
use crate::limits;

/// Where a topic is listed while nothing but patterns wants it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PatternOnly {
    /// Which pattern lists it: the one that is so long a beginning of its name.
    pub(super) prefix_bytes: u8,
    /// Its place among what that pattern lists.
    pub(super) place: u32,
    /// Its place in the ring.
    pub(super) ring_place: u32,
}

/// All topics that are listed, and where the search for an idle one goes on.
#[derive(Debug)]
pub(super) struct ClockRing {
    topics: Vec<TopicId>,
    hand: usize,
    max: usize,
}

impl ClockRing {
    pub(super) fn new(max: usize) -> Self {
        Self { topics: Vec::new(), hand: 0, max }
    }

    /// Returns the topic's place.
    pub(super) fn push(&mut self, id: TopicId) -> u32 {
        self.topics.push(id);
        self.topics.len() as u32 - 1
    }

    /// Where the search goes on, and whether what is there has a second chance; `None` within the bound.
    fn next(&mut self) -> Option<(TopicId, bool)> {
        let count = self.topics.len();
        if count <= self.max {
            return None;
        }
        self.hand = (self.hand + 1) % count;
        Some((self.topics[self.hand], count <= limits::OPENED_TOPICS_FACTOR * self.max))
    }
}

impl<K: Key> Index<K> {
    /// The topics that have begun to leave since the last time this was asked: ingest is to be told, and will answer with
    /// [`Index::topic_retired`].
    pub fn take_retiring(&mut self) -> Vec<TopicId> {
        std::mem::take(&mut self.retiring)
    }

    /// Ingest has ceased to send a topic that was given back: nothing comes under `id` any more, unless it is opened or granted
    /// anew.
    pub fn topic_retired(&mut self, id: TopicId) {
        let Some(topic) = self.topics.get(id) else { return };
        let Some(interest) = self.by_subject.get_mut(&topic.subject) else { return };
        let Interest::Retiring { holds } = *interest else { return };
        if holds > 0 {
            *interest = Interest::Asked { holds };
        } else {
            self.by_subject.remove(&topic.subject);
        }
        self.topics.remove(id);
    }

    /// Over the bound, a few topics are looked at, and those that are idle begin to leave.
    pub(super) fn retire_idle(&mut self) {
        for _ in 0..limits::FORGET_STEPS {
            let Some((id, has_second_chance)) = self.ring.next() else { return };
            let Some(topic) = self.topics.get_mut(id) else { continue };
            if std::mem::take(&mut topic.recent) && has_second_chance {
                continue;
            }
            if let Some(interest) = self.by_subject.get_mut(&topic.subject) {
                *interest = Interest::Retiring { holds: 0 };
            }
            self.unlist(id);
            self.retiring.push(id);
        }
    }

    /// Takes a topic off the lists of those that nothing but patterns wants, if it is there.
    pub(super) fn unlist(&mut self, id: TopicId) {
        let Self { topics, patterns, ring, .. } = self;
        let Some(topic) = topics.get_mut(id) else { return };
        let Some(PatternOnly { prefix_bytes, place, ring_place }) = topic.pattern_only.take() else { return };
        let symbol = topic.subject.name.symbol().map_or(&[][..], |symbol| symbol.as_bytes());
        let prefix = symbol.get(..prefix_bytes as usize).unwrap_or_default();
        // Without its pattern if that is just ending.
        let entry = patterns.of_prefix_mut(topic.subject.event_type, prefix);
        if let Some(moved) = entry.and_then(|entry| swap_remove(&mut entry.listed, place))
            && let Some(pattern_only) = topics.get_mut(moved).and_then(|topic| topic.pattern_only.as_mut())
        {
            pattern_only.place = place;
        }
        if let Some(moved) = swap_remove(&mut ring.topics, ring_place)
            && let Some(pattern_only) = topics.get_mut(moved).and_then(|topic| topic.pattern_only.as_mut())
        {
            pattern_only.ring_place = ring_place;
        }
    }
}

#[cfg(test)]
impl<K: Key> Index<K> {
    /// The lists have exactly the topics that are live and wanted by nothing but patterns, and each knows its places.
    pub(super) fn check_lists(&mut self) {
        for (place, id) in self.ring.topics.iter().enumerate() {
            let topic = &self.topics[*id];
            assert!(matches!(self.by_subject[&topic.subject], Interest::Live(live) if live == *id));
            let pattern_only = topic.pattern_only.expect("listed");
            assert_eq!(pattern_only.ring_place as usize, place);
            let symbol = topic.subject.name.symbol().expect("no pattern").as_bytes();
            let prefix = &symbol[..pattern_only.prefix_bytes as usize];
            let entry =
                self.patterns.of_prefix_mut(topic.subject.event_type, prefix).expect("a live pattern");
            assert_eq!(entry.listed[pattern_only.place as usize], *id);
        }
        let live = self.by_subject.values().filter_map(|interest| match interest {
            Interest::Live(id) => Some(&self.topics[*id]),
            Interest::Asked { .. } | Interest::Retiring { .. } => None,
        });
        assert_eq!(live.filter(|topic| topic.is_unwanted()).count(), self.ring.topics.len());
    }
}

/// Takes out what is at `place`; returns what has moved there.
fn swap_remove(list: &mut Vec<TopicId>, place: u32) -> Option<TopicId> {
    list.swap_remove(place as usize);
    list.get(place as usize).copied()
}

#[cfg(test)]
mod tests {
    use slotmap::{DefaultKey, SlotMap};

    use super::*;
    use crate::market::{EventType, Subject};

    struct World {
        index: Index<DefaultKey>,
        ids: SlotMap<TopicId, ()>,
        client: DefaultKey,
    }

    fn subject(name: &str) -> Subject {
        Subject::parse(EventType::Trade, name.as_bytes()).unwrap()
    }

    /// A client is subscribed to everything.
    fn world(max: usize) -> World {
        let mut world = World {
            index: Index::bounded(2, max),
            ids: SlotMap::with_key(),
            client: SlotMap::new().insert(()),
        };
        let everything = subject("*");
        assert!(world.index.hold(&everything));
        world.grant(&everything);
        world.index.subscribe(world.client, &[everything]);
        world
    }

    impl World {
        fn grant(&mut self, subject: &Subject) -> TopicId {
            let id = self.ids.insert(());
            self.index.grant(subject.clone(), id);
            id
        }

        fn open(&mut self, name: &str) -> TopicId {
            let id = self.ids.insert(());
            self.index.topic_opened(subject(name), id);
            id
        }
    }

    #[test]
    fn the_idle_leave_and_the_busy_stay() {
        let mut world = world(100);
        let busy: Vec<_> = (0..50).map(|n| world.open(&format!("BUSY{n}"))).collect();
        let mut retired = 0;
        for n in 0..10_000 {
            world.open(&format!("ONCE{n}"));
            busy.iter().for_each(|id| assert_eq!(world.index.patterns_of(*id).len(), 1));
            for id in world.index.take_retiring() {
                assert!(!busy.contains(&id));
                world.index.topic_retired(id);
                retired += 1;
            }
            assert!(world.index.topics() <= 1 + limits::OPENED_TOPICS_FACTOR * 100);
        }
        assert_eq!(world.index.topics(), 1 + 50 + 10_000 - retired);
        assert_eq!(world.index.take_unwanted(), []);
    }

    #[test]
    fn what_leaves_is_delivered_until_it_is_closed_and_asked_for_anew_meanwhile() {
        let mut world = world(0);
        let old = world.open("A");
        let symbol = [subject("A")];
        assert_eq!(world.index.take_retiring(), [old]);
        assert_eq!(world.index.patterns_of(old).len(), 1);
        assert_eq!(world.index.subject(old), Some(&symbol[0]));
        assert!(!world.index.all_live(&symbol));
        assert!(world.index.hold(&symbol[0]), "ingest has ceased to send it");
        assert!(!world.index.hold(&symbol[0]), "and has been asked");
        world.index.topic_retired(old);
        assert_eq!((world.index.subject(old), world.index.topics()), (None, 1));
        let new = world.grant(&symbol[0]);
        world.index.subscribe(world.client, &symbol);
        world.index.drop_holds(&symbol);
        world.index.topic_retired(new);
        assert_eq!(world.index.subscribers(new), [world.client], "nobody has given that back");
        assert_eq!(world.index.take_retiring(), []);
        world.index.unsubscribe(world.client, &symbol);
        assert_eq!(world.index.take_retiring(), [new], "now nothing but the pattern wants it");
        assert_eq!(world.index.take_unwanted(), []);
    }

    #[test]
    fn what_another_pattern_takes_over_is_listed_once() {
        let mut world = world(20);
        let pattern = [subject("A*")];
        assert!(world.index.hold(&pattern[0]));
        world.grant(&pattern[0]);
        world.index.subscribe(world.client, &pattern);
        // One more than there should be, and most of them seem to be idle by now.
        (0..21).for_each(|n| _ = world.open(&format!("A{n}")));
        world.index.check_lists();
        world.index.unsubscribe(world.client, &pattern);
        world.index.check_lists();
    }

    #[test]
    fn a_pattern_may_end_while_topics_of_it_leave() {
        let mut world = world(1);
        let ids: Vec<_> = ["A", "B", "C", "D"].map(|name| world.open(name)).into();
        let leaving = world.index.take_retiring();
        assert!(!leaving.is_empty() && leaving.len() < ids.len());
        world.index.disconnect(world.client);
        let ended = world.index.take_unwanted();
        assert_eq!(ended.len(), 1 + ids.len() - leaving.len());
        assert!(leaving.iter().all(|id| !ended.contains(id)), "given back once");
        leaving.into_iter().for_each(|id| world.index.topic_retired(id));
        assert_eq!((world.index.topics(), world.index.has_patterns()), (0, false));
        assert_eq!(world.index.take_unwanted(), []);
    }
}
