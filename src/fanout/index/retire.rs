//! Retiring: a bound on the topics that only patterns want, as an upstream may publish ever new symbols.
//!
//! The algorithm is the second-chance (clock) eviction of page caches. All such topics form a ring, and a hand moves around it, a few
//! steps whenever one is added beyond the bound. The hand passes a topic over once if an event of it has come since its last visit;
//! another topic begins to retire. Beyond [`limits::OPENED_TOPICS_FACTOR`] times the bound, no topic is passed over.
//!
//! For what retiring means, see the states in the module of [`Index`].

use slotmap::Key;

use super::{Index, Interest};
use crate::bus::TopicId;
use crate::limits;

/// Where a topic that only patterns want is listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct PatternOnly {
    /// The pattern that lists the topic is this many bytes of the topic's name.
    pub(super) prefix_bytes: u8,
    /// The topic's place in that pattern's list.
    pub(super) place: u32,
    /// The topic's place in the ring.
    pub(super) ring_place: u32,
}

/// All topics that only patterns want, and the clock hand.
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

    /// Adds a topic; returns its place.
    pub(super) fn push(&mut self, id: TopicId) -> u32 {
        self.topics.push(id);
        self.topics.len() as u32 - 1
    }

    /// Advances the clock hand. Returns the topic there, and whether a recent event protects it; `None` within the bound.
    fn advance(&mut self) -> Option<(TopicId, bool)> {
        let count = self.topics.len();
        if count <= self.max {
            return None;
        }
        self.hand = (self.hand + 1) % count;
        Some((self.topics[self.hand], count <= limits::OPENED_TOPICS_FACTOR * self.max))
    }
}

impl<K: Key> Index<K> {
    /// Takes the topics that have begun to retire since the last call. The caller gives their ids back to ingest, which answers with
    /// [`Index::topic_retired`].
    pub fn take_retiring(&mut self) -> Vec<TopicId> {
        std::mem::take(&mut self.retiring)
    }

    /// Ingest has taken a retiring topic's id back: no event comes under `id` any more, unless ingest opens or grants it again.
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

    /// While the ring is over its bound, moves the hand a few steps: idle topics begin to retire.
    pub(super) fn retire_idle(&mut self) {
        for _ in 0..limits::FORGET_STEPS {
            let Some((id, is_protected_if_recent)) = self.ring.advance() else { return };
            let Some(topic) = self.topics.get_mut(id) else { continue };
            if std::mem::take(&mut topic.recent) && is_protected_if_recent {
                continue;
            }
            if let Some(interest) = self.by_subject.get_mut(&topic.subject) {
                *interest = Interest::Retiring { holds: 0 };
            }
            self.unlist(id);
            self.retiring.push(id);
        }
    }

    /// Takes a topic off its pattern's list and the ring, if it is there.
    pub(super) fn unlist(&mut self, id: TopicId) {
        let Self { topics, patterns, ring, .. } = self;
        let Some(topic) = topics.get_mut(id) else { return };
        let Some(PatternOnly { prefix_bytes, place, ring_place }) = topic.pattern_only.take() else { return };
        let symbol = topic.subject.name.symbol().map_or(&[][..], |symbol| symbol.as_bytes());
        let prefix = symbol.get(..prefix_bytes as usize).unwrap_or_default();
        // There is no entry if the pattern is just ending.
        let entry = patterns.of_prefix_mut(topic.subject.kind, topic.subject.form, prefix);
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
    /// Checks that the ring and the patterns' lists have exactly the live topics that only patterns want, each at its place.
    pub(super) fn check_lists(&mut self) {
        for (place, id) in self.ring.topics.iter().enumerate() {
            let topic = &self.topics[*id];
            assert!(matches!(self.by_subject[&topic.subject], Interest::Live(live) if live == *id));
            let pattern_only = topic.pattern_only.expect("listed");
            assert_eq!(pattern_only.ring_place as usize, place);
            let symbol = topic.subject.name.symbol().expect("no pattern").as_bytes();
            let prefix = &symbol[..pattern_only.prefix_bytes as usize];
            let entry = self
                .patterns
                .of_prefix_mut(topic.subject.kind, topic.subject.form, prefix)
                .expect("a live pattern");
            assert_eq!(entry.listed[pattern_only.place as usize], *id);
        }
        let live = self.by_subject.values().filter_map(|interest| match interest {
            Interest::Live(id) => Some(&self.topics[*id]),
            Interest::Asked { .. } | Interest::Retiring { .. } => None,
        });
        assert_eq!(live.filter(|topic| topic.is_unnamed()).count(), self.ring.topics.len());
    }
}

/// Takes the topic at `place` out of a list; returns the one that is there now.
fn swap_remove(list: &mut Vec<TopicId>, place: u32) -> Option<TopicId> {
    list.swap_remove(place as usize);
    list.get(place as usize).copied()
}

#[cfg(test)]
mod tests {
    use slotmap::{DefaultKey, SlotMap};

    use super::*;
    use crate::market::{Kind, Subject, SymbolCase};

    struct World {
        index: Index<DefaultKey>,
        ids: SlotMap<TopicId, ()>,
        client: DefaultKey,
    }

    fn subject(name: &str) -> Subject {
        Subject::parse(Kind::TRADE, name.as_bytes(), SymbolCase::Upper).unwrap()
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
    fn the_idle_retire_and_the_busy_stay() {
        let mut world = world(100);
        let busy: Vec<_> = (0..50).map(|n| world.open(&format!("BUSY{n}"))).collect();
        let mut retired = 0;
        for n in 0..10_000 {
            world.open(&format!("ONCE{n}"));
            busy.iter().for_each(|id| assert_eq!(world.index.touch(*id).len(), 1));
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

    /// What a client is told or asks of a topic is no event of it.
    #[test]
    fn looking_up_the_patterns_of_an_idle_topic_does_not_protect_it() {
        let mut world = world(100);
        let [idle, busy] = ["IDLE", "BUSY"].map(|name| world.open(name));
        let mut retired = Vec::new();
        for n in 0..1_000 {
            world.index.touch(busy);
            assert_eq!(world.index.patterns_of(idle).len(), usize::from(world.index.subject(idle).is_some()));
            world.open(&format!("ONCE{n}"));
            retired.append(&mut world.index.take_retiring());
            retired.iter().for_each(|id| world.index.topic_retired(*id));
        }
        assert!(retired.contains(&idle) && !retired.contains(&busy));
    }

    #[test]
    fn a_retiring_topic_is_delivered_until_it_is_retired_and_asked_for_again_meanwhile() {
        let mut world = world(0);
        let old = world.open("A");
        let symbol = [subject("A")];
        assert_eq!(world.index.take_retiring(), [old]);
        assert_eq!(world.index.touch(old).len(), 1);
        assert_eq!(world.index.subject(old), Some(&symbol[0]));
        assert!(!world.index.all_live(&symbol));
        assert!(world.index.hold(&symbol[0]), "ingest doesn't send it any more");
        assert!(!world.index.hold(&symbol[0]), "ingest has been asked already");
        world.index.topic_retired(old);
        assert_eq!((world.index.subject(old), world.index.topics()), (None, 1));
        let new = world.grant(&symbol[0]);
        world.index.subscribe(world.client, &symbol);
        world.index.drop_holds(&symbol);
        world.index.topic_retired(new);
        assert_eq!(world.index.subscribers(new), [world.client], "the new id was not given back");
        assert_eq!(world.index.take_retiring(), []);
        world.index.unsubscribe(world.client, &symbol);
        assert_eq!(world.index.take_retiring(), [new], "now only the pattern wants it");
        assert_eq!(world.index.take_unwanted(), []);
    }

    #[test]
    fn a_topic_that_another_pattern_takes_over_is_listed_once() {
        let mut world = world(20);
        let pattern = [subject("A*")];
        assert!(world.index.hold(&pattern[0]));
        world.grant(&pattern[0]);
        world.index.subscribe(world.client, &pattern);
        // One over the bound, after which most of them count as idle.
        (0..21).for_each(|n| _ = world.open(&format!("A{n}")));
        world.index.check_lists();
        world.index.unsubscribe(world.client, &pattern);
        world.index.check_lists();
    }

    #[test]
    fn a_pattern_may_end_while_topics_of_it_retire() {
        let mut world = world(1);
        let ids: Vec<_> = ["A", "B", "C", "D"].map(|name| world.open(name)).into();
        let retiring = world.index.take_retiring();
        assert!(!retiring.is_empty() && retiring.len() < ids.len());
        world.index.disconnect(world.client);
        let ended = world.index.take_unwanted();
        assert_eq!(ended.len(), 1 + ids.len() - retiring.len());
        assert!(retiring.iter().all(|id| !ended.contains(id)), "given back once");
        retiring.into_iter().for_each(|id| world.index.topic_retired(id));
        assert_eq!((world.index.topics(), world.index.has_patterns()), (0, false));
        assert_eq!(world.index.take_unwanted(), []);
    }
}
