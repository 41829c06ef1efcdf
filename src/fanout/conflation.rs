//! Conflation: fewer events for a client that asks for them. At most one waiting event of a topic, a limited number of them a second, or
//! the totals of several trades. Pure; time comes in as microseconds.
//!
//! # Words
//!
//! - The **terms** of a subscription say how its events are delivered: with `aggregate` or without, and the *period*, which is the least
//!   time between two events of a topic. Events of a subscription without terms are queued at once, each of them.
//! - A **pending** event is the last one queued of a conflated topic. As long as no byte of it is written, a newer event of the topic
//!   replaces it, in its place.
//! - A **held** event is not queued yet: it waits for a boundary of its phase, because its terms have a period. A newer event of the
//!   topic replaces it.
//! - A **phase** is the rhythm of all topics of one client that have the same period. At each of its **boundaries** the held events are
//!   queued. It begins with the first event that it holds: the first boundary is at the end of that turn, the next ones one period
//!   apart. It ends at a boundary at which nothing is held.
//!
//! ```text
//!                  has a period           boundary
//!  event ──terms──────────────► held ───────────────────┐
//!    │       │                 (newest of its topic)    ▼
//!    │       └──no period─────────────────────────► pending ──► written
//!    │                                             (newest of its topic)
//!    └──no terms──► queued, behind what is held of its topic
//! ```
//!
//! So the events of a topic leave at least a period apart, none waits longer than a period, and the last event of a burst always
//! arrives.
//!
//! A **late** event is older than one of its topic that came before it. It replaces nothing and isn't delivered by itself: it counts as
//! replaced, and with `aggregate` it is added to the event that waits, or else to the next one (see `late.rs`).
//!
//! A **cap** is the highest rate that a client may have, whatever it asks for. Its subscriptions then have a period at least as long; what
//! it asked for is kept, and counts again where the cap is raised or lifted.
//!
//! With [`Conflate::Aggregate`] an event that replaces another carries the totals of both (see `event.rs` and `aggregate.rs`), so no trade
//! is missing from the sums. A trade that can't be added up exactly neither replaces another nor is replaced: it is queued by itself.

mod aggregate;
mod event;
mod late;
mod run;
mod slow;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use foldhash::fast::RandomState;

use self::event::{Event, SharedAggregate};
use self::late::LateTrades;
pub use self::run::TopicRun;
use super::outbox::{Outbox, Position};
use crate::bus::TopicId;
use crate::market::{Form, Kind};
use crate::protocol::terms::{Conflate, MaxRate};

/// With fewer pending events than this it is never checked which of them have been written.
const PENDING_MIN: usize = 64;

/// How the events of a subscription are delivered, if not all of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    aggregate: bool,
    /// The least time between two events of a topic, in microseconds; 0 = an event is queued at once.
    period_us: u32,
}

impl Terms {
    /// The terms of `"conflate":true`, and of a client that is too slow for every event.
    const LATEST: Self = Self { aggregate: false, period_us: 0 };
}

/// The last queued event of a conflated topic.
#[derive(Debug)]
struct Pending {
    position: Position,
    /// Whether it was queued under terms with `aggregate`.
    is_aggregated: bool,
    /// The trades that the queued frame tells of; `None` = it tells of one event.
    aggregate: Option<Rc<SharedAggregate>>,
}

/// An event that waits for a boundary of its phase.
#[derive(Debug)]
struct Held {
    event: Event,
    subscription: TopicId,
    terms: Terms,
}

/// The rhythm of all topics of one client that have the same period.
#[derive(Debug, Default)]
struct Phase {
    /// The next boundary is not before this time, in microseconds; 0 = at the end of this turn.
    boundary_us: u64,
    /// The topics of what is held, in the order in which their first events came. Some may have changed to another phase since.
    topics: Vec<TopicId>,
}

/// What a subscribe says of conflation; `None` = it stays as it is.
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

/// The conflated topics of one client.
#[derive(Debug, Default)]
pub struct Conflation {
    /// What the client has asked for, by subscription: a topic, or a pattern.
    asked: HashMap<TopicId, Terms, RandomState>,
    /// The least period of every subscription, asked for or not, in microseconds; 0 = none.
    cap_us: u32,
    /// By topic. Some may have been written already.
    pending: HashMap<TopicId, Pending, RandomState>,
    /// With more pending events than this, those that have been written are removed.
    pending_max: usize,
    /// By topic.
    held: HashMap<TopicId, Held, RandomState>,
    /// Late trades that wait for the next event, by topic.
    late: HashMap<TopicId, LateTrades, RandomState>,
    /// By period in microseconds.
    phases: HashMap<u32, Phase, RandomState>,
    /// The periods of phases that have begun since [`Conflation::take_phases_begun`].
    phases_begun: Vec<u32>,
    /// The client is too slow for every event: topics without terms have [`Terms::LATEST`].
    is_fallback: bool,
    replaced: u64,
    replaced_taken: u64,
}

impl Conflation {
    /// Whether every event is queued at once.
    #[inline]
    pub fn is_idle(&self) -> bool {
        let has_terms = !self.asked.is_empty() || self.cap_us > 0 || self.is_fallback;
        !has_terms && self.held.is_empty() && self.pending.is_empty()
    }

    /// Whether the client is too slow for every event ([`Conflation::fall_back`]).
    pub fn is_fallback(&self) -> bool {
        self.is_fallback
    }

    /// How many events newer ones have replaced since the client connected, and late ones that were not delivered by themselves.
    pub fn replaced(&self) -> u64 {
        self.replaced
    }

    /// How many of them since the last call.
    pub fn take_replaced(&mut self) -> u64 {
        self.replaced - std::mem::replace(&mut self.replaced_taken, self.replaced)
    }

    /// Takes the periods of the phases that have begun since the last call. For each, [`Conflation::boundary`] is due at the end of this
    /// turn.
    pub fn take_phases_begun(&mut self) -> impl Iterator<Item = u32> {
        self.phases_begun.drain(..)
    }

    /// Takes the events of a run, under the terms of `subscription`.
    pub fn queue(&mut self, outbox: &mut Outbox, run: &TopicRun<'_>, subscription: TopicId) {
        let &TopicRun { batch, topic, from, to, bytes, .. } = run;
        if self.is_idle() {
            return outbox.push_events(batch, from, to, bytes);
        }
        let Some(terms) = self.terms(subscription) else {
            self.flush_held(outbox, topic);
            outbox.push_apart(batch, from, to);
            return;
        };
        if run.is_late {
            self.add_late(outbox, run, subscription, terms);
        } else if terms.aggregate {
            for (event, count) in run.aggregated() {
                self.replaced += count - 1;
                self.offer(outbox, topic, Held { event, subscription, terms });
            }
        } else {
            self.replaced += u64::from(to - from - 1);
            self.offer(outbox, topic, Held { event: run.newest(), subscription, terms });
        }
    }

    /// A boundary of a phase may be due: what the phase holds is queued. Returns the time of the next boundary; `None` if this one is
    /// not due yet, or if nothing was held and the phase has ended.
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

    /// Changes the terms of subscriptions. What is held of them comes under the new terms at once.
    pub fn change(
        &mut self,
        outbox: &mut Outbox,
        subscriptions: impl Iterator<Item = (TopicId, Kind, Form)>,
        change: Change,
    ) {
        let changed = subscriptions
            .filter(|(subscription, kind, form)| self.set_terms(*subscription, *kind, *form, change))
            .map(|(subscription, ..)| subscription)
            .collect();
        let held = self.topics_held_by(&changed);
        self.apply(outbox, held);
    }

    /// Holds every subscription to a rate from now on, or to none: those that asked for a higher rate, or for none, come at this one. What
    /// they asked for counts again under the next cap.
    pub fn cap(&mut self, outbox: &mut Outbox, max_rate: Option<MaxRate>) {
        let cap_us = max_rate.map_or(0, period_us);
        if std::mem::replace(&mut self.cap_us, cap_us) == cap_us {
            return;
        }
        let is_changed = |held: &Held| self.terms(held.subscription) != Some(held.terms);
        let held = self.held.iter().filter(|(_, held)| is_changed(held));
        let changed = held.map(|(topic, _)| *topic).collect();
        self.apply(outbox, changed);
    }

    /// What was asked for of a subscription, for another one that takes its place.
    pub fn terms_of(&self, subscription: TopicId) -> Option<Terms> {
        self.asked.get(&subscription).copied()
    }

    /// Gives a new subscription the terms of one whose place it takes.
    pub fn inherit(&mut self, subscription: TopicId, terms: Terms) {
        self.asked.insert(subscription, terms);
    }

    /// Of these topics, what is held comes under the terms that count now.
    fn apply(&mut self, outbox: &mut Outbox, topics: Vec<TopicId>) {
        self.forget_late();
        for topic in topics {
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

    /// Ends subscriptions. `is_still_wanted` says whether another subscription has a topic as well: what is held of it is queued then,
    /// and dropped otherwise.
    pub fn leave(
        &mut self,
        outbox: &mut Outbox,
        subscriptions: impl Iterator<Item = TopicId>,
        mut is_still_wanted: impl FnMut(TopicId) -> bool,
    ) {
        let left: HashSet<TopicId, RandomState> = subscriptions.collect();
        self.asked.retain(|subscription, _| !left.contains(subscription));
        for topic in self.topics_held_by(&left) {
            if is_still_wanted(topic) {
                self.flush_held(outbox, topic);
            } else {
                self.held.remove(&topic);
            }
        }
        self.forget_late();
        // An event that comes after the client has subscribed again must not be put in front of the reply to that.
        self.pending.retain(|topic, _| is_still_wanted(*topic));
    }

    /// A snapshot of the topic is about to be queued. A held event is older than the snapshot, so it is dropped, unless it has the totals
    /// of trades: then it is queued first. Later events must not replace anything queued in front of the snapshot.
    pub fn supersede(&mut self, outbox: &mut Outbox, topic: TopicId) {
        match self.held.remove(&topic) {
            Some(held) if held.terms.aggregate => self.enqueue(outbox, topic, held),
            Some(_) => self.replaced += 1,
            None => {}
        }
        self.pending.remove(&topic);
    }

    /// Queues what is held of a topic. Later events of the topic are queued behind it and replace nothing. Late trades that wait for the
    /// next event are dropped.
    pub fn flush_held(&mut self, outbox: &mut Outbox, topic: TopicId) {
        self.late.remove(&topic);
        if let Some(held) = self.held.remove(&topic) {
            self.enqueue(outbox, topic, held);
        }
        self.pending.remove(&topic);
    }

    /// The terms that count: those that were asked for, within the cap.
    fn terms(&self, subscription: TopicId) -> Option<Terms> {
        if subscription.is_desk() {
            // What people write to each other is never replaced by something newer.
            return None;
        }
        let asked = self.asked.get(&subscription).copied();
        let without = (self.is_fallback || self.cap_us > 0).then_some(Terms::LATEST);
        asked.or(without).map(|terms| Terms { period_us: terms.period_us.max(self.cap_us), ..terms })
    }

    /// Changes what was asked for of one subscription; `false` if it stays the same.
    fn set_terms(&mut self, subscription: TopicId, kind: Kind, form: Form, change: Change) -> bool {
        let old = self.asked.get(&subscription).copied();
        let mut new = old;
        match change.conflate {
            None => {}
            Some(Conflate::Off) => new = None,
            Some(mode) => {
                let aggregate = (mode == Conflate::Aggregate || form.adds_up()) && kind == Kind::TRADE;
                new.get_or_insert(Terms::LATEST).aggregate = aggregate;
            }
        }
        if let Some(rate) = change.max_rate {
            let first = Terms { aggregate: form.adds_up() && kind == Kind::TRADE, ..Terms::LATEST };
            new.get_or_insert(first).period_us = period_us(rate);
        }
        match new {
            Some(terms) => self.asked.insert(subscription, terms),
            None => self.asked.remove(&subscription),
        };
        old != new
    }

    fn topics_held_by(&self, subscriptions: &HashSet<TopicId, RandomState>) -> Vec<TopicId> {
        let held = self.held.iter().filter(|(_, held)| subscriptions.contains(&held.subscription));
        held.map(|(topic, _)| *topic).collect()
    }

    /// Takes an event under terms: it is held if they have a period, else queued. It replaces the held event of its topic.
    fn offer(&mut self, outbox: &mut Outbox, topic: TopicId, mut new: Held) {
        self.add_waiting_late(topic, &mut new);
        let period_us = new.terms.period_us;
        let mut is_in_phase = false;
        if let Some(older) = self.held.get_mut(&topic) {
            is_in_phase = older.terms.period_us == period_us;
            if new.replace(&older.event) {
                self.replaced += 1;
                if is_in_phase {
                    *older = new;
                    return;
                }
                self.held.remove(&topic);
            } else if let Some(older) = self.held.remove(&topic) {
                self.enqueue(outbox, topic, older);
            }
        }
        if period_us == 0 {
            return self.enqueue(outbox, topic, new);
        }
        self.held.insert(topic, new);
        if !is_in_phase {
            let phase = self.phases.entry(period_us).or_insert_with(|| {
                self.phases_begun.push(period_us);
                Phase::default()
            });
            phase.topics.push(topic);
        }
    }

    /// Queues an event: in the place of the topic's pending event if it may be replaced, else at the back.
    fn enqueue(&mut self, outbox: &mut Outbox, topic: TopicId, mut new: Held) {
        let mut pending = self.pending.entry(topic);
        let mut place = None;
        if let Entry::Occupied(older) = &mut pending {
            let older = older.get_mut();
            if let Some((batch, index)) = outbox.pending(older.position, topic) {
                let event = Event { batch: Rc::clone(batch), index, aggregate: older.aggregate.take() };
                if new.replace(&event) {
                    place = Some(older.position);
                }
            }
        }
        let (batch, index) = new.event.frame();
        let position = match place {
            Some(position) => {
                outbox.replace(position, &batch, index);
                self.replaced += 1;
                position
            }
            None => outbox.push_apart(&batch, index, index + 1),
        };
        let Held { event: Event { aggregate, .. }, terms, .. } = new;
        pending.insert_entry(Pending { position, is_aggregated: terms.aggregate, aggregate });
        // A client that never catches up must not have an entry for every topic that it ever got.
        if self.pending.len() > self.pending_max {
            self.forget_written(outbox);
            self.pending_max = PENDING_MIN.max(2 * self.pending.len());
        }
    }

    fn forget_written(&mut self, outbox: &Outbox) {
        self.pending.retain(|topic, pending| outbox.pending(pending.position, *topic).is_some());
    }
}

impl Held {
    /// Takes over the trades of an older event of the topic, if the terms are with `aggregate`. `false`: they can't be added up, so this
    /// must not replace the older event.
    fn replace(&mut self, older: &Event) -> bool {
        !self.terms.aggregate || self.event.absorb(older)
    }
}

/// At most 10 s: the lowest rate is 0.1.
fn period_us(rate: MaxRate) -> u32 {
    rate.period_us() as u32
}

#[cfg(test)]
mod model_tests;

#[cfg(test)]
mod sharing_tests;
