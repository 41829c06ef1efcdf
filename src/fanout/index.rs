//! Who wants what, on one shard: topic → subscribers and client → topics. Pure.
//!
//! Every operation costs what the client itself holds or names, never what others do: a subscriber's place in a
//! topic's list is known from both sides, so leaving is a `swap_remove` and one fix-up.
//!
//! A topic comes to life in two steps, because ingest owns interest: [`Index::hold`] for a request that is under way
//! (`true` = ingest must be asked), [`Index::grant`] with ingest's answer, then [`Index::subscribe`]. It ends with its last
//! subscriber or hold, and the caller tells ingest.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use slotmap::{Key, SecondaryMap};
use smallvec::SmallVec;

use super::batch::TopicId;
use crate::market::Symbol;

/// Below so many held or named topics a scan beats a hash map.
const SCAN_MAX: usize = 32;

/// The subscriptions of one shard; `K` names a client.
#[derive(Debug)]
pub struct Index<K: Key> {
    by_symbol: HashMap<Symbol, Interest, RandomState>,
    topics: SecondaryMap<TopicId, Topic<K>>,
    held: SecondaryMap<K, SmallVec<[Held; 1]>>,
    subscriptions: usize,
}

/// Where a symbol stands with ingest.
#[derive(Debug)]
enum Interest {
    /// Asked for; so many requests wait for the answer.
    Asked {
        holds: u32,
    },
    Live(TopicId),
}

#[derive(Debug)]
struct Topic<K> {
    symbol: Symbol,
    subscribers: Vec<K>,
    /// For each subscriber, where the topic stands among what that client holds.
    places: Vec<u32>,
    /// Requests under way that name the topic.
    holds: u32,
}

impl<K> Topic<K> {
    fn is_unwanted(&self) -> bool {
        self.subscribers.is_empty() && self.holds == 0
    }
}

/// One subscription as its client sees it.
#[derive(Debug, Clone, Copy)]
struct Held {
    topic: TopicId,
    /// The client's place among the topic's subscribers.
    place: u32,
}

/// A subscription that has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    /// The topic's id.
    pub topic: TopicId,
    /// The topic's name.
    pub symbol: Symbol,
    /// Nobody on this shard wants the topic any more: ingest is to be told.
    pub last: bool,
}

impl<K: Key> Default for Index<K> {
    fn default() -> Self {
        Self {
            by_symbol: HashMap::default(),
            topics: SecondaryMap::new(),
            held: SecondaryMap::new(),
            subscriptions: 0,
        }
    }
}

impl<K: Key> Index<K> {
    /// The clients that want a topic, in no particular order.
    #[inline]
    pub fn subscribers(&self, topic: TopicId) -> &[K] {
        self.topics.get(topic).map_or(&[], |topic| &topic.subscribers)
    }

    /// A live topic's name.
    pub fn symbol(&self, topic: TopicId) -> Option<&Symbol> {
        self.topics.get(topic).map(|topic| &topic.symbol)
    }

    /// What a client holds, in the order in which it was first subscribed.
    pub fn symbols_of(&self, client: K) -> impl Iterator<Item = &Symbol> {
        self.held_by(client).iter().filter_map(|held| self.symbol(held.topic))
    }

    /// How many topics a client would hold if it subscribed to `symbols` (which have no repeats).
    pub fn count_with(&self, client: K, symbols: &[Symbol]) -> usize {
        let held = self.held_by(client);
        let lookup = Lookup::new(held, symbols.len());
        let known = |symbol| self.live(symbol).is_some_and(|topic| lookup.find(held, topic).is_some());
        held.len() + symbols.iter().filter(|symbol| !known(symbol)).count()
    }

    /// How many (client, topic) pairs there are.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// How many topics have a subscriber or a request under way, with ingest's consent.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Keeps a symbol for a request under way. `true`: ingest must be asked for it.
    pub fn hold(&mut self, symbol: &Symbol) -> bool {
        match self.by_symbol.get_mut(symbol) {
            Some(Interest::Asked { holds }) => *holds += 1,
            Some(Interest::Live(topic)) => {
                if let Some(topic) = self.topics.get_mut(*topic) {
                    topic.holds += 1;
                }
            }
            None => {
                self.by_symbol.insert(symbol.clone(), Interest::Asked { holds: 1 });
                return true;
            }
        }
        false
    }

    /// Whether every one of `symbols` is live: a request for them needs no answer from ingest.
    pub fn all_live(&self, symbols: &[Symbol]) -> bool {
        symbols.iter().all(|symbol| self.live(symbol).is_some())
    }

    /// Ingest's answer: events of `symbol` will come under `topic` from now on.
    pub fn grant(&mut self, symbol: Symbol, topic: TopicId) {
        let Some(interest) = self.by_symbol.get_mut(&symbol) else { return };
        let Interest::Asked { holds } = *interest else { return };
        *interest = Interest::Live(topic);
        self.topics.insert(topic, Topic { symbol, subscribers: Vec::new(), places: Vec::new(), holds });
    }

    /// Turns the holds of a request into subscriptions. All of `symbols` (no repeats) are live.
    pub fn subscribe(&mut self, client: K, symbols: &[Symbol]) {
        if self.held.get(client).is_none() {
            self.held.insert(client, SmallVec::new());
        }
        let lookup = Lookup::new(self.held_by(client), symbols.len());
        for symbol in symbols {
            let Some(Interest::Live(id)) = self.by_symbol.get(symbol) else { continue };
            let (Some(topic), Some(held)) = (self.topics.get_mut(*id), self.held.get_mut(client)) else {
                continue;
            };
            topic.holds -= 1;
            if lookup.find(held, *id).is_none() {
                held.push(Held { topic: *id, place: topic.subscribers.len() as u32 });
                topic.subscribers.push(client);
                topic.places.push(held.len() as u32 - 1);
                self.subscriptions += 1;
            }
        }
    }

    /// Gives up the holds of a request whose client has gone; returns the topics that nobody wants any more.
    pub fn release(&mut self, symbols: &[Symbol]) -> Vec<TopicId> {
        let mut unwanted = Vec::new();
        for symbol in symbols {
            let Some(id) = self.live(symbol) else { continue };
            let Some(topic) = self.topics.get_mut(id) else { continue };
            topic.holds -= 1;
            if self.end_if_unwanted(id).is_some() {
                unwanted.push(id);
            }
        }
        unwanted
    }

    /// Ends the subscriptions to those of `symbols` (no repeats) that the client holds; returns them in that order.
    pub fn unsubscribe(&mut self, client: K, symbols: &[Symbol]) -> Vec<Left> {
        let held = self.held_by(client);
        let lookup = Lookup::new(held, symbols.len());
        let wanted = symbols.iter().filter_map(|symbol| lookup.find(held, self.live(symbol)?));
        let positions: Vec<usize> = wanted.collect();
        let left = positions.iter().filter_map(|position| self.leave(client, *position)).collect();
        self.close_gaps(client, &positions);
        left
    }

    /// Ends everything a client holds; returns the topics that nobody wants any more.
    pub fn disconnect(&mut self, client: K) -> Vec<TopicId> {
        let count = self.held_by(client).len();
        let left = (0..count).filter_map(|position| self.leave(client, position));
        let unwanted = left.filter(|left| left.last).map(|left| left.topic).collect();
        self.held.remove(client);
        unwanted
    }

    /// Takes the client off the topic that it holds at `position`; its own list is left to the caller.
    fn leave(&mut self, client: K, position: usize) -> Option<Left> {
        let Held { topic: id, place } = *self.held.get(client)?.get(position)?;
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
        let symbol = topic.symbol.clone();
        let last = self.end_if_unwanted(id).is_some();
        Some(Left { topic: id, symbol, last })
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

    fn end_if_unwanted(&mut self, id: TopicId) -> Option<()> {
        self.topics.get(id).filter(|topic| topic.is_unwanted())?;
        let topic = self.topics.remove(id)?;
        self.by_symbol.remove(&topic.symbol);
        Some(())
    }

    fn live(&self, symbol: &Symbol) -> Option<TopicId> {
        match self.by_symbol.get(symbol)? {
            Interest::Live(topic) => Some(*topic),
            Interest::Asked { .. } => None,
        }
    }

    fn held_by(&self, client: K) -> &[Held] {
        self.held.get(client).map_or(&[], |held| held)
    }
}

/// Finds a topic among what a client holds: by scanning a short list, by a map made for the request for a long one.
struct Lookup(Option<HashMap<TopicId, usize, RandomState>>);

impl Lookup {
    fn new(held: &[Held], lookups: usize) -> Self {
        if held.len() <= SCAN_MAX || lookups <= 1 {
            return Self(None);
        }
        Self(Some(held.iter().enumerate().map(|(position, held)| (held.topic, position)).collect()))
    }

    fn find(&self, held: &[Held], topic: TopicId) -> Option<usize> {
        match &self.0 {
            Some(map) => map.get(&topic).copied(),
            None => held.iter().position(|held| held.topic == topic),
        }
    }
}

#[cfg(test)]
mod model_tests;
