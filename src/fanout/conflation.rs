//! At most one pending event for each topic, and rates: what a client has that asked for fewer events. Pure; time comes in as
//! microseconds.
//!
//! An event of a topic that is conflated is queued apart; while nothing of it is written, a newer one takes its place in the
//! queue. With a rate, events are *held* until the boundary of their *phase*, the newest of each topic, and then
//! queued together. A client has one phase for each rate, however many topics have that rate; it runs only while there is
//! something to hold. So a topic's events are at least a period apart and none waits longer, and the last one of a burst is
//! never lost.
//!
//! With [`Conflate::Aggregate`] nothing is lost to the sums either: an event that takes the place of others is marked with
//! what they all were. A trade that can't be added up exactly replaces nothing and isn't replaced: it gets a place of its own.

mod aggregate;
mod event;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use foldhash::fast::RandomState;

use self::aggregate::Aggregate;
use self::event::Event;
use super::batch::Batch;
use super::outbox::{Outbox, Position};
use crate::bus::TopicId;
use crate::market::EventType;
use crate::protocol::terms::{Conflate, MaxRate};

/// So many topics with a pending event are remembered before it is asked which of them are written.
const PENDING_MIN: usize = 64;

/// How a subscription's events are delivered, where that is not all of them and at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Terms {
    aggregate: bool,
    /// Microseconds between two events of a topic; 0 = as soon as the client takes them.
    period_us: u32,
}

impl Terms {
    /// Of a client that is too slow for every event.
    const LATEST: Self = Self { aggregate: false, period_us: 0 };
}

/// The last queued event of a conflated topic.
#[derive(Debug)]
struct Pending {
    position: Position,
    aggregate: bool,
    /// What the queued frame stands for, if that is more than one event.
    fold: Option<Box<Aggregate>>,
}

/// An event that waits for its phase's boundary.
#[derive(Debug)]
struct Held {
    event: Event,
    subscription: TopicId,
    terms: Terms,
}

/// The rhythm in which a client gets all its topics of one rate.
#[derive(Debug, Default)]
struct Phase {
    /// Not before then, in microseconds; 0 = as soon as everything that came in this turn is in.
    boundary_us: u64,
    /// What is held, in the order in which it first was. Topics that moved on to another phase are still named.
    topics: Vec<TopicId>,
}

/// What a subscribe says of conflation; `None` = as it was.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// `conflate`.
    pub conflate: Option<Conflate>,
    /// `maxRate`.
    pub max_rate: Option<MaxRate>,
}

impl Change {
    /// Whether it changes nothing.
    pub fn is_none(&self) -> bool {
        self.conflate.is_none() && self.max_rate.is_none()
    }
}

/// A client's conflated topics.
#[derive(Debug, Default)]
pub struct Conflation {
    /// By subscription: a topic, or a pattern.
    terms: HashMap<TopicId, Terms, RandomState>,
    /// By topic; some may be written already.
    pending: HashMap<TopicId, Pending, RandomState>,
    /// How many of them there may be before those that are written are looked for.
    pending_max: usize,
    /// By topic.
    held: HashMap<TopicId, Held, RandomState>,
    /// By period, those that run.
    phases: HashMap<u32, Phase, RandomState>,
    /// Phases that have begun since they were last asked for.
    phases_begun: Vec<u32>,
    /// The client is too slow for every event: all its topics are conflated.
    is_fallback: bool,
    replaced: u64,
    replaced_told: u64,
}

impl Conflation {
    /// Whether every event is delivered, at once.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.terms.is_empty() && self.held.is_empty() && self.pending.is_empty() && !self.is_fallback
    }

    /// Whether the client is too slow for every event ([`Conflation::fall_back`]).
    pub fn is_fallback(&self) -> bool {
        self.is_fallback
    }

    /// Events replaced by newer ones, ever.
    pub fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Of these, those since the last call.
    pub fn take_replaced(&mut self) -> u64 {
        self.replaced - std::mem::replace(&mut self.replaced_told, self.replaced)
    }

    /// Phases that have begun since the last call, by their periods: for each, [`Conflation::boundary`] is due at the end of
    /// this turn.
    pub fn take_phases_begun(&mut self) -> impl Iterator<Item = u32> {
        self.phases_begun.drain(..)
    }

    /// Takes frames `from..to` of a batch, all of `topic`, which come under the terms of `subscription`.
    pub fn queue(
        &mut self,
        outbox: &mut Outbox,
        batch: &Rc<Batch>,
        subscription: TopicId,
        topic: TopicId,
        (from, to): (u32, u32),
    ) {
        if self.is_idle() {
            return outbox.push_events(batch, from, to, batch.start(to) - batch.start(from));
        }
        let Some(terms) = self.terms(subscription) else {
            self.flush_held(outbox, topic);
            outbox.push_apart(batch, from, to);
            return;
        };
        let mut first = from;
        if !terms.aggregate {
            first = to - 1;
            self.replaced += u64::from(first - from);
        }
        for index in first..to {
            self.offer(outbox, topic, Held { event: Event::new(batch, index), subscription, terms });
        }
    }

    /// The boundary of a phase: what it holds is queued. Returns when it is due again; `None` if that is not now, or if
    /// nothing was held and the phase has ended.
    pub fn boundary(&mut self, outbox: &mut Outbox, period_us: u32, now_us: u64) -> Option<u64> {
        let phase = self.phases.get_mut(&period_us).filter(|phase| now_us >= phase.boundary_us)?;
        let topics = std::mem::take(&mut phase.topics);
        let boundary_us = now_us + u64::from(period_us);
        phase.boundary_us = boundary_us;
        let mut is_over = true;
        for topic in topics {
            if self.held.get(&topic).is_some_and(|held| held.terms.period_us == period_us)
                && let Some(held) = self.held.remove(&topic)
            {
                self.enqueue(outbox, topic, held);
                is_over = false;
            }
        }
        if is_over {
            self.phases.remove(&period_us);
            return None;
        }
        Some(boundary_us)
    }

    /// Changes the terms of subscriptions. What is held comes under the new ones at once.
    pub fn change(
        &mut self,
        outbox: &mut Outbox,
        subscriptions: impl Iterator<Item = (TopicId, EventType)>,
        change: Change,
    ) {
        let changed: HashSet<TopicId, RandomState> = subscriptions
            .filter(|(subscription, event_type)| self.set(*subscription, *event_type, change))
            .map(|(subscription, _)| subscription)
            .collect();
        for topic in self.held_of(&changed) {
            let Some(held) = self.held.remove(&topic) else { continue };
            match self.terms(held.subscription) {
                Some(terms) => self.offer(outbox, topic, Held { terms, ..held }),
                None => {
                    self.enqueue(outbox, topic, held);
                    self.pending.remove(&topic);
                }
            }
        }
    }

    /// Ends subscriptions. `still_wanted` says of a topic whether another one covers it: what is held of it is queued then,
    /// and dropped otherwise.
    pub fn leave(
        &mut self,
        outbox: &mut Outbox,
        subscriptions: impl Iterator<Item = TopicId>,
        mut still_wanted: impl FnMut(TopicId) -> bool,
    ) {
        let left: HashSet<TopicId, RandomState> = subscriptions.collect();
        self.terms.retain(|subscription, _| !left.contains(subscription));
        for topic in self.held_of(&left) {
            if still_wanted(topic) {
                self.flush_held(outbox, topic);
            } else {
                self.held.remove(&topic);
            }
        }
        // What comes after another subscribe must not take a place before its reply.
        self.pending.retain(|topic, _| still_wanted(*topic));
    }

    /// The client is too slow for every event: of what is queued the newest of each topic stays, and so it will be from now on.
    /// `status` comes to stand before it.
    pub fn fall_back(&mut self, outbox: &mut Outbox, status: Rc<Batch>) {
        self.is_fallback = true;
        self.forget_written(outbox);
        let aggregated = self.pending.iter().filter(|(_, pending)| pending.aggregate);
        let spared = aggregated.map(|(topic, _)| *topic).collect();
        self.replaced += outbox.reduce_to_latest(&spared, status);
        for (topic, position) in outbox.newest() {
            let unknown = Pending { position, aggregate: false, fold: None };
            self.pending.entry(topic).or_insert(unknown).position = position;
        }
    }

    /// Events are skipped until at most `target_bytes` of them are queued, the oldest first: those of conflated topics, which stand
    /// where older ones did, only if nothing else is left. Returns how many.
    pub fn skip_oldest(&mut self, outbox: &mut Outbox, target_bytes: u32) -> u64 {
        self.forget_written(outbox);
        let mut skipped = 0;
        if !self.pending.is_empty() {
            skipped = outbox.skip_oldest_of(target_bytes, |topic| !self.pending.contains_key(&topic));
            for (topic, position) in outbox.newest() {
                self.pending.entry(topic).and_modify(|pending| pending.position = position);
            }
        }
        skipped + outbox.skip_oldest(target_bytes)
    }

    /// The topic's last value is going to be queued behind all that is queued of it: what is held is not newer and need not
    /// come as well, unless it stands for others, and nothing that comes takes a place before the last value.
    pub fn supersede(&mut self, outbox: &mut Outbox, topic: TopicId) {
        match self.held.remove(&topic) {
            Some(held) if held.terms.aggregate => self.enqueue(outbox, topic, held),
            Some(_) => self.replaced += 1,
            None => {}
        }
        self.pending.remove(&topic);
    }

    /// Nothing is queued any more. `true`: the client was too slow, and no longer is.
    pub fn caught_up(&mut self) -> bool {
        self.pending.clear();
        std::mem::take(&mut self.is_fallback)
    }

    /// Copies what is held out of its batches, so that it keeps nothing else alive.
    pub fn compact(&mut self) {
        for held in self.held.values_mut().filter(|held| held.event.batch.table().len() > 1) {
            held.event.batch = held.event.batch.extract(held.event.index);
            held.event.index = 0;
        }
    }

    fn terms(&self, subscription: TopicId) -> Option<Terms> {
        self.terms.get(&subscription).copied().or_else(|| self.is_fallback.then_some(Terms::LATEST))
    }

    /// Takes over what a request names; `false` if that changes nothing.
    fn set(&mut self, subscription: TopicId, event_type: EventType, change: Change) -> bool {
        let old = self.terms.get(&subscription).copied();
        let mut new = old;
        match change.conflate {
            None => {}
            Some(Conflate::Off) => new = None,
            Some(mode) => {
                let aggregate = mode == Conflate::Aggregate && event_type == EventType::Trade;
                new.get_or_insert(Terms::LATEST).aggregate = aggregate;
            }
        }
        if let Some(rate) = change.max_rate {
            // At most 10 s: the lowest rate is 0.1.
            new.get_or_insert(Terms::LATEST).period_us = rate.period_us() as u32;
        }
        match new {
            Some(terms) => self.terms.insert(subscription, terms),
            None => self.terms.remove(&subscription),
        };
        old != new
    }

    fn held_of(&self, subscriptions: &HashSet<TopicId, RandomState>) -> Vec<TopicId> {
        let held = self.held.iter().filter(|(_, held)| subscriptions.contains(&held.subscription));
        held.map(|(topic, _)| *topic).collect()
    }

    /// An event under terms: queued, or held if there is a rate.
    fn offer(&mut self, outbox: &mut Outbox, topic: TopicId, new: Held) {
        let older = self.held.remove(&topic);
        let period_us = new.terms.period_us;
        let is_listed = older.as_ref().is_some_and(|older| older.terms.period_us == period_us);
        let new = match older {
            Some(older) => self.replace_held(outbox, topic, older, new),
            None => new,
        };
        if period_us == 0 {
            return self.enqueue(outbox, topic, new);
        }
        self.held.insert(topic, new);
        let phase = self.phases.entry(period_us).or_insert_with(|| {
            self.phases_begun.push(period_us);
            Phase::default()
        });
        if !is_listed {
            phase.topics.push(topic);
        }
    }

    /// The newer of two events of a topic takes the older one's place, or lets it go ahead if they can't be added up.
    fn replace_held(&mut self, outbox: &mut Outbox, topic: TopicId, older: Held, mut new: Held) -> Held {
        if new.terms.aggregate {
            match new.event.absorb(&older.event) {
                Some(both) => new.event = both,
                None => {
                    self.enqueue(outbox, topic, older);
                    return new;
                }
            }
        }
        self.replaced += 1;
        new
    }

    /// Queues an event in the place of the topic's pending one, or at the back.
    fn enqueue(&mut self, outbox: &mut Outbox, topic: TopicId, new: Held) {
        let Held { event, terms: Terms { aggregate, .. }, .. } = new;
        let older = self.pending.remove(&topic).and_then(|pending| {
            let (batch, index) = outbox.pending(pending.position, topic)?;
            Some((pending.position, Event { fold: pending.fold, ..Event::new(batch, index) }))
        });
        let (place, event) = match older {
            Some((position, older)) if aggregate => match event.absorb(&older) {
                Some(both) => (Some(position), both),
                None => (None, event),
            },
            older => (older.map(|(position, _)| position), event),
        };
        let (batch, index) = event.frame();
        let position = match place {
            Some(position) => {
                outbox.replace(position, &batch, index);
                self.replaced += 1;
                position
            }
            None => outbox.push_apart(&batch, index, index + 1),
        };
        self.pending.insert(topic, Pending { position, aggregate, fold: event.fold });
        // Without this a client that never catches up would be remembered every topic it ever got.
        if self.pending.len() > self.pending_max {
            self.forget_written(outbox);
            self.pending_max = PENDING_MIN.max(2 * self.pending.len());
        }
    }

    fn forget_written(&mut self, outbox: &Outbox) {
        self.pending.retain(|topic, pending| outbox.pending(pending.position, *topic).is_some());
    }

    /// A topic's next event will be queued behind what there is of it, whatever id it has: nothing may be held back, or replaced.
    pub fn flush_held(&mut self, outbox: &mut Outbox, topic: TopicId) {
        if let Some(held) = self.held.remove(&topic) {
            self.enqueue(outbox, topic, held);
        }
        self.pending.remove(&topic);
    }
}

#[cfg(test)]
mod model_tests;
