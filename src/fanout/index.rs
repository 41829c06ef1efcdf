//! Who wants what, on one shard: topic → subscribers and client → topics. Pure.
//!
//! Every operation costs what the client itself holds or names, never what others do: a subscriber's place in a
//! topic's list is known from both sides, so leaving is a `swap_remove` and one fix-up.
//!
//! A topic comes to life in two steps, because ingest owns interest: [`Index::hold`] for a request that is under way
//! (`true` = ingest must be asked), [`Index::grant`] with ingest's answer, then [`Index::subscribe`]. Or ingest finds it because
//! a pattern matches it ([`Index::topic_opened`]). It ends with its last subscriber or hold, once no pattern matches it either,
//! and the caller tells ingest what [`Index::take_unwanted`] has.
//!
//! Topics that live by patterns alone are bounded: one that is idle is given back ([`Index::take_retiring`], and see
//! `retire.rs`). It is *leaving* then: events that were on their way still come under its id and are delivered, until
//! ingest says that none is left ([`Index::topic_retired`]). Who asks for it meanwhile has to ask ingest, as for one that is not there.
//!
//! Patterns are topics as well, with subscribers like any other; see [`Index::patterns_of`].

mod patterns;
mod retire;

use std::collections::{HashMap, HashSet};

use foldhash::quality::RandomState;
use slotmap::{Key, SecondaryMap};
use smallvec::SmallVec;

use self::patterns::PatternEntry;
use self::retire::{ClockRing, PatternOnly};
use crate::bus::TopicId;
use crate::limits;
use crate::market::Subject;
use crate::market::patterns::Patterns;

/// Below so many held or named topics a scan beats a hash map.
const SCAN_MAX: usize = 32;

/// The subscriptions of one shard; `K` names a client.
#[derive(Debug)]
pub struct Index<K: Key> {
    by_subject: HashMap<Subject, Interest, RandomState>,
    topics: SecondaryMap<TopicId, Topic<K>>,
    held: SecondaryMap<K, SmallVec<[Subscription; 1]>>,
    subscriptions: usize,
    patterns: Patterns<PatternEntry>,
    /// That `patterns` has any, at hand for every run of events.
    has_patterns: bool,
    /// Goes up when a pattern comes to life or ends. Topics begin with 0: nothing is known of them.
    epoch: u64,
    /// Topics that nothing but patterns wants.
    ring: ClockRing,
    /// Ended, and ingest has yet to be told.
    unwanted: Vec<TopicId>,
    /// Retiring, and ingest has yet to be told.
    retiring: Vec<TopicId>,
}

/// Where a subject stands with ingest.
#[derive(Debug)]
enum Interest {
    /// Asked for; so many requests wait for the answer.
    Asked {
        holds: u32,
    },
    Live(TopicId),
    /// Given back to ingest, which has yet to say that no event comes under the old id any more. So many requests wait for its
    /// answer behind that; the first of them has asked.
    Retiring {
        holds: u32,
    },
}

#[derive(Debug)]
struct Topic<K> {
    subject: Subject,
    subscribers: Vec<K>,
    /// For each subscriber, where the topic stands among what that client holds.
    places: Vec<u32>,
    /// Requests under way that name the topic.
    holds: u32,
    /// Where it is listed while nothing but patterns wants it.
    pattern_only: Option<PatternOnly>,
    /// Heard of since the search for an idle topic last came by.
    recent: bool,
    /// The patterns that match the topic, as of [`Index::epoch`].
    patterns: SmallVec<[TopicId; 2]>,
    epoch: u64,
}

impl<K> Topic<K> {
    fn new(subject: Subject, holds: u32) -> Self {
        Self {
            subject,
            subscribers: Vec::new(),
            places: Vec::new(),
            holds,
            pattern_only: None,
            recent: true,
            patterns: SmallVec::new(),
            epoch: 0,
        }
    }

    fn is_unwanted(&self) -> bool {
        self.subscribers.is_empty() && self.holds == 0
    }
}

/// One subscription as its client sees it.
#[derive(Debug, Clone, Copy)]
struct Subscription {
    topic: TopicId,
    /// The client's place among the topic's subscribers.
    place: u32,
}

/// A subscription that has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    /// The topic's id.
    pub topic: TopicId,
    /// What the client had subscribed to.
    pub subject: Subject,
}

impl<K: Key> Default for Index<K> {
    fn default() -> Self {
        Self {
            by_subject: HashMap::default(),
            topics: SecondaryMap::new(),
            held: SecondaryMap::new(),
            subscriptions: 0,
            patterns: Patterns::default(),
            has_patterns: false,
            epoch: 1,
            ring: ClockRing::new(limits::OPENED_TOPICS_MAX),
            unwanted: Vec::new(),
            retiring: Vec::new(),
        }
    }
}

impl<K: Key> Index<K> {
    /// An empty index with room for so many clients, and for so many topics that nothing but patterns wants
    /// ([`limits::OPENED_TOPICS_MAX`]).
    pub fn bounded(clients: usize, max_opened_topics: usize) -> Self {
        Self {
            held: SecondaryMap::with_capacity(clients),
            ring: ClockRing::new(max_opened_topics),
            ..Self::default()
        }
    }

    /// The clients that are subscribed to a topic (or pattern) itself, in no particular order.
    #[inline]
    pub fn subscribers(&self, topic: TopicId) -> &[K] {
        self.topics.get(topic).map_or(&[], |topic| &topic.subscribers)
    }

    /// A live topic's name.
    pub fn subject(&self, topic: TopicId) -> Option<&Subject> {
        self.topics.get(topic).map(|topic| &topic.subject)
    }

    /// The id of a live topic.
    pub fn topic(&self, subject: &Subject) -> Option<TopicId> {
        self.live(subject)
    }

    /// What a client holds, in the order in which it was first subscribed.
    pub fn subjects_of(&self, client: K) -> impl Iterator<Item = &Subject> {
        self.held_by(client).iter().filter_map(|held| self.subject(held.topic))
    }

    /// The ids of what a client holds.
    pub fn topics_of(&self, client: K) -> HashSet<TopicId, RandomState> {
        self.held_by(client).iter().map(|held| held.topic).collect()
    }

    /// How many topics a client would hold if it subscribed to `subjects` (which have no repeats).
    pub fn count_with(&self, client: K, subjects: &[Subject]) -> usize {
        let held = self.held_by(client);
        let lookup = Lookup::new(held, subjects.len());
        let known = |subject| self.live(subject).is_some_and(|topic| lookup.find(held, topic).is_some());
        held.len() + subjects.iter().filter(|subject| !known(subject)).count()
    }

    /// How many (client, topic) pairs there are.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// How many topics and patterns are live, wanted by somebody here with ingest's consent, or leaving.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Keeps subjects for a request under way. Returns those that ingest must be asked for.
    pub fn hold_all(&mut self, subjects: &[Subject]) -> Vec<Subject> {
        let mut to_ask = Vec::new();
        for subject in subjects {
            if self.hold(subject) {
                to_ask.push(subject.clone());
            }
        }
        to_ask
    }

    /// Keeps a subject for a request under way. `true`: ingest must be asked for it.
    pub fn hold(&mut self, subject: &Subject) -> bool {
        match self.by_subject.get_mut(subject) {
            Some(Interest::Asked { holds }) => *holds += 1,
            Some(Interest::Live(id)) => {
                let id = *id;
                if let Some(topic) = self.topics.get_mut(id) {
                    topic.holds += 1;
                }
                self.unlist(id);
            }
            Some(Interest::Retiring { holds }) => {
                *holds += 1;
                return *holds == 1;
            }
            None => {
                self.by_subject.insert(subject.clone(), Interest::Asked { holds: 1 });
                self.pattern_asked(subject);
                return true;
            }
        }
        false
    }

    /// Whether every one of `subjects` is live: a request for them needs no answer from ingest.
    pub fn all_live(&self, subjects: &[Subject]) -> bool {
        subjects.iter().all(|subject| self.live(subject).is_some())
    }

    /// Ingest's answer: events of `subject` will come under `topic` from now on. Nothing new if the topic was opened
    /// meanwhile.
    pub fn grant(&mut self, subject: Subject, topic: TopicId) {
        let Some(interest) = self.by_subject.get_mut(&subject) else { return };
        let Interest::Asked { holds } = *interest else { return };
        *interest = Interest::Live(topic);
        self.pattern_granted(&subject, topic);
        self.topics.insert(topic, Topic::new(subject, holds));
    }

    /// Turns the holds of a request into subscriptions. All of `subjects` (no repeats) are live.
    pub fn subscribe(&mut self, client: K, subjects: &[Subject]) {
        if self.held.get(client).is_none() {
            self.held.insert(client, SmallVec::new());
        }
        let lookup = Lookup::new(self.held_by(client), subjects.len());
        for subject in subjects {
            let Some(Interest::Live(id)) = self.by_subject.get(subject) else { continue };
            let (Some(topic), Some(held)) = (self.topics.get_mut(*id), self.held.get_mut(client)) else {
                continue;
            };
            topic.holds -= 1;
            if lookup.find(held, *id).is_none() {
                held.push(Subscription { topic: *id, place: topic.subscribers.len() as u32 });
                topic.subscribers.push(client);
                topic.places.push(held.len() as u32 - 1);
                self.subscriptions += 1;
            }
        }
    }

    /// Gives up the holds of a request whose client has gone.
    pub fn drop_holds(&mut self, subjects: &[Subject]) {
        for subject in subjects {
            let Some(id) = self.live(subject) else { continue };
            let Some(topic) = self.topics.get_mut(id) else { continue };
            topic.holds -= 1;
            self.end_if_unwanted(id);
        }
    }

    /// The topics that nobody here wants any more, since the last time this was asked: ingest is to be told.
    pub fn take_unwanted(&mut self) -> Vec<TopicId> {
        std::mem::take(&mut self.unwanted)
    }

    /// Ends the subscriptions to those of `subjects` (no repeats) that the client holds; returns them in that order.
    pub fn unsubscribe(&mut self, client: K, subjects: &[Subject]) -> Vec<Left> {
        let held = self.held_by(client);
        let lookup = Lookup::new(held, subjects.len());
        let wanted = subjects.iter().filter_map(|subject| lookup.find(held, self.live(subject)?));
        let positions: Vec<usize> = wanted.collect();
        let left = positions.iter().filter_map(|position| self.leave(client, *position)).collect();
        self.close_gaps(client, &positions);
        left
    }

    /// Ends everything a client holds.
    pub fn disconnect(&mut self, client: K) {
        for position in 0..self.held_by(client).len() {
            self.leave(client, position);
        }
        self.held.remove(client);
    }

    /// Takes the client off the topic that it holds at `position`; its own list is left to the caller.
    fn leave(&mut self, client: K, position: usize) -> Option<Left> {
        let Subscription { topic: id, place } = *self.held.get(client)?.get(position)?;
        let topic = self.topics.get_mut(id)?;
        let place = place as usize;
        topic.subscribers.swap_remove(place);
        topic.places.swap_remove(place);
        if let (Some(moved), Some(at)) = (topic.subscribers.get(place), topic.places.get(place))
            && let Some(held) = self.held.get_mut(*moved)
        {
            held[*at as usize].place = place as u32;
        }
        self.subscriptions -= 1;
        let subject = topic.subject.clone();
        self.end_if_unwanted(id);
        Some(Left { topic: id, subject })
    }

    /// Removes the entries at `positions` from the client's list, keeping the order of the rest.
    fn close_gaps(&mut self, client: K, positions: &[usize]) {
        let Some(held) = self.held.get_mut(client) else { return };
        let mut gone = positions.to_vec();
        gone.sort_unstable();
        let Some(&first) = gone.first() else { return };
        let mut gone = gone.into_iter().peekable();
        let mut to = first;
        for from in first..held.len() {
            if gone.next_if_eq(&from).is_some() {
                continue;
            }
            held[to] = held[from];
            if let Some(topic) = self.topics.get_mut(held[to].topic) {
                topic.places[held[to].place as usize] = to as u32;
            }
            to += 1;
        }
        held.truncate(to);
        if held.len() <= held.inline_size() {
            held.shrink_to_fit();
        }
    }

    fn end_if_unwanted(&mut self, id: TopicId) {
        if !self.topics.get(id).is_some_and(Topic::is_unwanted) || self.list(id) {
            return;
        }
        if let Some(topic) = self.topics.remove(id) {
            self.by_subject.remove(&topic.subject);
            self.unwanted.push(id);
            self.pattern_ended(&topic.subject);
        }
    }

    fn live(&self, subject: &Subject) -> Option<TopicId> {
        match self.by_subject.get(subject)? {
            Interest::Live(topic) => Some(*topic),
            Interest::Asked { .. } | Interest::Retiring { .. } => None,
        }
    }

    fn held_by(&self, client: K) -> &[Subscription] {
        self.held.get(client).map_or(&[], |held| held)
    }
}

/// Finds a topic among what a client holds: by scanning a short list, by a map made for the request for a long one.
struct Lookup(Option<HashMap<TopicId, usize, RandomState>>);

impl Lookup {
    fn new(held: &[Subscription], lookups: usize) -> Self {
        if held.len() <= SCAN_MAX || lookups <= 1 {
            return Self(None);
        }
        Self(Some(held.iter().enumerate().map(|(position, held)| (held.topic, position)).collect()))
    }

    fn find(&self, held: &[Subscription], topic: TopicId) -> Option<usize> {
        match &self.0 {
            Some(map) => map.get(&topic).copied(),
            None => held.iter().position(|held| held.topic == topic),
        }
    }
}

#[cfg(test)]
mod model_tests;
