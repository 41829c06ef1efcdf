//! Who is subscribed to what on one shard: topic → clients and client → topics. Pure.
//!
//! A *topic* is an event type with a symbol or a pattern, in a form ([`Subject`]). Ingest gives it an id while any shard wants it, and all its
//! events come under that id. A *hold* is a request under way that names the topic: the topic stays until the request is answered.
//!
//! An operation costs what its own client holds or names, never what other clients hold. A subscription is stored on both sides,
//! each with its place on the other, so that ending one is a `swap_remove` and one correction.
//!
//! # The life of a topic
//!
//! ```text
//!          hold                grant or topic_opened
//!  gone ─────────► Asked ───────────────────────────────► Live
//!   │ ▲              ▲                                    ▲ │ │
//!   │ │              │ topic_retired, and a request waits │ │ │
//!   │ │              └──────────────────┐                 │ │ │
//!   │ │  topic_retired                  │   idle          │ │ │
//!   │ ├──────────────────────────── Retiring ◄────────────┼─┘ │
//!   │ │  nobody wants it                                  │   │
//!   │ └───────────────────────────────────────────────────┼───┘
//!   │    topic_opened                                     │
//!   └─────────────────────────────────────────────────────┘
//! ```
//!
//! - **Asked**: a request names the topic, and ingest has been asked for its id ([`Index::hold`] returned `true`).
//! - **Live**: events come under its id, by ingest's answer ([`Index::grant`]) or because ingest found that a pattern of this shard
//!   matches the topic ([`Index::topic_opened`]). [`Index::subscribe`] turns holds of live topics into subscriptions.
//! - A live topic ends when it has no subscriber and no hold left and no pattern matches it. The caller tells ingest
//!   ([`Index::take_unwanted`]).
//! - **Retiring**: only patterns want the topic, there are too many of those, and this one is idle (see `retire.rs`). The caller gives
//!   the id back to ingest ([`Index::take_retiring`]). Events that were on their way still come under it and are delivered,
//!   until ingest says that none is left ([`Index::topic_retired`]). A request that names it meanwhile asks ingest again.
//!
//! Patterns pass through the same states but never retire. They have subscribers like any topic; [`Index::touch`] finds those that
//! match a symbol.

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

/// Up to this many subscriptions of a client, scanning them beats a hash map.
const SCAN_MAX: usize = 32;

/// The subscriptions of one shard; `K` names a client.
#[derive(Debug)]
pub struct Index<K: Key> {
    /// The state of each topic that is not gone.
    by_subject: HashMap<Subject, Interest, RandomState>,
    /// The topics that are live or retiring.
    topics: SecondaryMap<TopicId, Topic<K>>,
    subscriptions: SecondaryMap<K, SmallVec<[Subscription; 1]>>,
    subscription_count: usize,
    patterns: Patterns<PatternEntry>,
    /// Cached `!patterns.is_empty()`; read once for every run of events.
    has_patterns: bool,
    /// Goes up when a pattern becomes live or ends. A topic begins with 0, so that its patterns are looked up at first use.
    epoch: u64,
    /// Topics that only patterns want.
    ring: ClockRing,
    /// Topics that have ended and of which ingest has not been told yet.
    unwanted: Vec<TopicId>,
    /// Topics that are retiring and of which ingest has not been told yet.
    retiring: Vec<TopicId>,
}

/// The state of a topic that is not gone: see the module's drawing.
#[derive(Debug)]
enum Interest {
    /// Ingest has been asked, and `holds` requests wait for its answer.
    Asked {
        holds: u32,
    },
    Live(TopicId),
    /// The id was given back, and ingest has not confirmed it yet. `holds` requests wait for a new id; the first of them asked for it.
    Retiring {
        holds: u32,
    },
}

#[derive(Debug)]
struct Topic<K> {
    subject: Subject,
    subscribers: Vec<K>,
    /// For each subscriber, the topic's place among that client's subscriptions.
    places: Vec<u32>,
    /// Requests under way that name the topic.
    holds: u32,
    /// Where the topic is listed, while only patterns want it.
    pattern_only: Option<PatternOnly>,
    /// An event has come since the clock hand last passed (see `retire.rs`).
    recent: bool,
    /// The patterns that match the topic, as they were when [`Index::epoch`] was `epoch`.
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

    /// Whether nobody names the topic itself. A pattern may match it.
    fn is_unnamed(&self) -> bool {
        self.subscribers.is_empty() && self.holds == 0
    }
}

/// One entry of a client's list.
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
            subscriptions: SecondaryMap::new(),
            subscription_count: 0,
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
    /// An empty index with room for `clients` clients. Idle topics retire once patterns alone want more than `max_opened_topics`
    /// ([`limits::OPENED_TOPICS_MAX`]).
    pub fn bounded(clients: usize, max_opened_topics: usize) -> Self {
        Self {
            subscriptions: SecondaryMap::with_capacity(clients),
            ring: ClockRing::new(max_opened_topics),
            ..Self::default()
        }
    }

    /// The clients that are subscribed to exactly this topic or pattern, in no particular order.
    #[inline]
    pub fn subscribers(&self, topic: TopicId) -> &[K] {
        self.topics.get(topic).map_or(&[], |topic| &topic.subscribers)
    }

    /// What a live or retiring topic is.
    pub fn subject(&self, topic: TopicId) -> Option<&Subject> {
        self.topics.get(topic).map(|topic| &topic.subject)
    }

    /// The id of a live topic.
    pub fn topic(&self, subject: &Subject) -> Option<TopicId> {
        self.live(subject)
    }

    /// What a client is subscribed to, in the order in which it subscribed.
    pub fn subjects_of(&self, client: K) -> impl Iterator<Item = &Subject> {
        self.list_of(client).iter().filter_map(|subscription| self.subject(subscription.topic))
    }

    /// The ids of what a client is subscribed to.
    pub fn topics_of(&self, client: K) -> HashSet<TopicId, RandomState> {
        self.list_of(client).iter().map(|subscription| subscription.topic).collect()
    }

    /// How many subscriptions a client would have if it subscribed to `subjects` (which have no repeats).
    pub fn count_with(&self, client: K, subjects: &[Subject]) -> usize {
        let list = self.list_of(client);
        let lookup = Lookup::new(list, subjects.len());
        let known = |subject| self.live(subject).is_some_and(|topic| lookup.find(list, topic).is_some());
        list.len() + subjects.iter().filter(|subject| !known(subject)).count()
    }

    /// How many (client, topic) pairs there are.
    pub fn subscriptions(&self) -> usize {
        self.subscription_count
    }

    /// How many topics and patterns are live or retiring.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Holds each of `subjects` for a request under way. Returns those that ingest must be asked for.
    pub fn hold_all(&mut self, subjects: &[Subject]) -> Vec<Subject> {
        let mut to_ask = Vec::new();
        for subject in subjects {
            if self.hold(subject) {
                to_ask.push(subject.clone());
            }
        }
        to_ask
    }

    /// Holds a subject for a request under way. `true`: ingest must be asked for it.
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

    /// Whether each of `subjects` is live: a request for them needs no answer from ingest.
    pub fn all_live(&self, subjects: &[Subject]) -> bool {
        subjects.iter().all(|subject| self.live(subject).is_some())
    }

    /// Ingest's answer: events of `subject` come under `topic` from now on. Changes nothing if the topic was opened meanwhile, as it has
    /// the same id then.
    pub fn grant(&mut self, subject: Subject, topic: TopicId) {
        let Some(interest) = self.by_subject.get_mut(&subject) else { return };
        let Interest::Asked { holds } = *interest else { return };
        *interest = Interest::Live(topic);
        self.pattern_granted(&subject, topic);
        self.topics.insert(topic, Topic::new(subject, holds));
    }

    /// Turns the holds of a request into subscriptions. All of `subjects` (no repeats) are live.
    pub fn subscribe(&mut self, client: K, subjects: &[Subject]) {
        if self.subscriptions.get(client).is_none() {
            self.subscriptions.insert(client, SmallVec::new());
        }
        let lookup = Lookup::new(self.list_of(client), subjects.len());
        for subject in subjects {
            let Some(Interest::Live(id)) = self.by_subject.get(subject) else { continue };
            let (Some(topic), Some(list)) = (self.topics.get_mut(*id), self.subscriptions.get_mut(client))
            else {
                continue;
            };
            topic.holds -= 1;
            if lookup.find(list, *id).is_none() {
                list.push(Subscription { topic: *id, place: topic.subscribers.len() as u32 });
                topic.subscribers.push(client);
                topic.places.push(list.len() as u32 - 1);
                self.subscription_count += 1;
            }
        }
    }

    /// Drops the holds of an answered request whose client has gone.
    pub fn drop_holds(&mut self, subjects: &[Subject]) {
        for subject in subjects {
            let Some(id) = self.live(subject) else { continue };
            let Some(topic) = self.topics.get_mut(id) else { continue };
            topic.holds -= 1;
            self.end_if_unwanted(id);
        }
    }

    /// Takes the topics that have ended since the last call. The caller tells ingest that this shard doesn't want them any more.
    pub fn take_unwanted(&mut self) -> Vec<TopicId> {
        std::mem::take(&mut self.unwanted)
    }

    /// Ends the client's subscriptions to `subjects` (no repeats), as far as it has them; returns those, in that order.
    pub fn unsubscribe(&mut self, client: K, subjects: &[Subject]) -> Vec<Left> {
        let list = self.list_of(client);
        let lookup = Lookup::new(list, subjects.len());
        let found = subjects.iter().filter_map(|subject| lookup.find(list, self.live(subject)?));
        let positions: Vec<usize> = found.collect();
        let left = positions.iter().filter_map(|position| self.leave(client, *position)).collect();
        self.close_gaps(client, &positions);
        left
    }

    /// Ends all subscriptions of a client.
    pub fn disconnect(&mut self, client: K) {
        for position in 0..self.list_of(client).len() {
            self.leave(client, position);
        }
        self.subscriptions.remove(client);
    }

    /// Takes the client off the topic at `position` of its list. The caller takes the entry off the list.
    fn leave(&mut self, client: K, position: usize) -> Option<Left> {
        let Subscription { topic: id, place } = *self.subscriptions.get(client)?.get(position)?;
        let topic = self.topics.get_mut(id)?;
        let place = place as usize;
        topic.subscribers.swap_remove(place);
        topic.places.swap_remove(place);
        if let (Some(moved), Some(at)) = (topic.subscribers.get(place), topic.places.get(place))
            && let Some(list) = self.subscriptions.get_mut(*moved)
        {
            list[*at as usize].place = place as u32;
        }
        self.subscription_count -= 1;
        let subject = topic.subject.clone();
        self.end_if_unwanted(id);
        Some(Left { topic: id, subject })
    }

    /// Removes the entries at `positions` from the client's list, keeping the order of the rest.
    fn close_gaps(&mut self, client: K, positions: &[usize]) {
        let Some(list) = self.subscriptions.get_mut(client) else { return };
        let mut gone = positions.to_vec();
        gone.sort_unstable();
        let Some(&first) = gone.first() else { return };
        let mut gone = gone.into_iter().peekable();
        let mut to = first;
        for from in first..list.len() {
            if gone.next_if_eq(&from).is_some() {
                continue;
            }
            list[to] = list[from];
            if let Some(topic) = self.topics.get_mut(list[to].topic) {
                topic.places[list[to].place as usize] = to as u32;
            }
            to += 1;
        }
        list.truncate(to);
        if list.len() <= list.inline_size() {
            list.shrink_to_fit();
        }
    }

    /// Ends a live topic without subscribers and holds, unless a pattern matches it: then it is listed with that pattern.
    fn end_if_unwanted(&mut self, id: TopicId) {
        if !self.topics.get(id).is_some_and(Topic::is_unnamed) || self.list_with_pattern(id) {
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

    fn list_of(&self, client: K) -> &[Subscription] {
        self.subscriptions.get(client).map_or(&[], |list| list)
    }
}

/// Finds a topic in a client's list: a short list is scanned, for a long one the request makes a map.
struct Lookup(Option<HashMap<TopicId, usize, RandomState>>);

impl Lookup {
    fn new(list: &[Subscription], lookups: usize) -> Self {
        if list.len() <= SCAN_MAX || lookups <= 1 {
            return Self(None);
        }
        let positions =
            list.iter().enumerate().map(|(position, subscription)| (subscription.topic, position));
        Self(Some(positions.collect()))
    }

    fn find(&self, list: &[Subscription], topic: TopicId) -> Option<usize> {
        match &self.0 {
            Some(map) => map.get(&topic).copied(),
            None => list.iter().position(|subscription| subscription.topic == topic),
        }
    }
}

#[cfg(test)]
mod model_tests;
