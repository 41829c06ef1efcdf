//! From an upstream event to the shards that want its topic. Pure; the clock comes in as Unix milliseconds.
//!
//! Ingest owns interest: the router knows which shard wants which topic, gives topics their ids and takes them back. An
//! event of a topic that nobody wants costs one look-up and is not looked into. One that is wanted is checked and
//! framed once, into the buffer of the first shard that wants it, and copied into those of the others: a few
//! hundred bytes, where sharing them would have cores fight over a reference count.
//!
//! The same symbol in another form is another topic. The *first* topic of a symbol, in whatever form, is the one that a look-up finds; it has
//! the ids of the *others*. So where only one form is wanted, forms cost an event a look at an empty list. An event is framed once in
//! each form, into a buffer of that form.
//!
//! Before the first event of a topic that a pattern of a shard matches, the topic is *opened* to the shard: the router hands over its id. From
//! then on the shard wants the topic, until it releases the id or, when it has too many, retires it ([`Router::retire`]). The epoch counts
//! new patterns; a topic remembers the epoch at which it was last held against them. So patterns cost an event one comparison.
//!
//! A delayed feed is a *pass* of its own: the same symbol with a delay is another topic, found, opened and remembered apart. What is framed for a
//! shard lies together with the real-time events of the same form.
//!
//! For a shard that is behind ([`Router::fall_behind`]) nothing is framed: its events are counted as lost, until it has caught up.

mod behind;
mod building;
mod interest;
mod opened;
mod pass;

use bytes::Bytes;
use slotmap::SlotMap;

pub use self::behind::Reported;
pub use self::building::{Batch, Handoff};
use self::building::{Building, Framing};
use self::pass::Pass;
use super::history::{History, HistoryConfig, LookingUp, Slot, Verdict};
use crate::bus::TopicId;
use crate::limits;
use crate::market::event::{Checker, Event, Reject};
use crate::market::{
    self, Delay, Delays, Form, Kind, Name, Pattern, SYMBOL_BYTES_MAX, Subject, Symbol, TOPIC_KEY_BYTES_MAX,
};
use crate::websocket::deflate::Counts;

const _: () = assert!(limits::SHARDS_MAX <= u64::BITS as usize, "the interest mask has one bit a shard");

/// A topic (or pattern) that at least one shard wants.
#[derive(Debug)]
struct Topic {
    subject: Subject,
    /// The shards that know the id, one bit each.
    wanted_by: u64,
    /// Of the first topic of a symbol: [`Pass::epoch`] when its topics were last opened to the shards whose patterns match them.
    epoch: u64,
    /// Of the first topic of a symbol: its topics in other forms.
    others: Box<[TopicId]>,
    /// What is remembered of it; patterns have no history of their own.
    history: Option<Slot>,
    /// For the intervals of a candle's symbol: whether the value that workers keep of the symbol has been looked up.
    looking_up: LookingUp,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routed {
    /// Framed for the shards that want it.
    Framed,
    /// Framed, after this many missing events of its topic.
    FramedBehindGap(u64),
    /// Framed, and its number was missing: newer ones have come.
    FramedLate,
    /// Framed without a look at its `seq`, which is no integer below [`SEQ_END`](crate::market::event::SEQ_END).
    FramedWithOddSeq,
    /// Its topic's `seq` has been there already: dropped.
    Duplicate,
    /// Nobody wants its topic.
    Unwanted,
    /// It is against the contract.
    Rejected(Reject),
}

/// Interest, and the batches under construction.
#[derive(Debug)]
pub struct Router {
    topics: SlotMap<TopicId, Topic>,
    /// By delay: the real-time feed, and those that are delayed.
    passes: Vec<Pass>,
    building: Vec<Building>,
    /// The shards that are behind, one bit each.
    behind: u64,
    /// Most topics that are opened to a shard while it is behind: no client could be told the losses of more.
    pub(super) opened_behind_max: usize,
    /// Events lost by shards that are behind, since it was last asked.
    lost_events: u64,
    /// Events that a form has no words for, once for each such form, since it was last asked.
    unwritten: u64,
    checker: Checker,
    deduplicate: bool,
    /// Topics whose last values are to be looked up.
    pub(super) look_ups: Vec<Subject>,
}

impl Router {
    /// A router that nobody wants anything of yet; repeats are dropped.
    pub fn new(shards: usize, max_event_bytes: usize) -> Self {
        let checker = Checker::with_max_bytes(max_event_bytes);
        Self::with_history(shards, true, &HistoryConfig { checker, ..HistoryConfig::default() })
    }

    /// The same with `DEDUPLICATE` and a history of its own measures.
    pub fn with_history(shards: usize, deduplicate: bool, history: &HistoryConfig) -> Self {
        Self::with_delays(shards, deduplicate, history, &Delays::default())
    }

    /// The same with delayed feeds, each with a history of these measures.
    pub fn with_delays(shards: usize, deduplicate: bool, history: &HistoryConfig, delays: &Delays) -> Self {
        let delayed = delays.iter().map(|(delay, delay_ms)| Pass::new(delay, history.delayed(delay_ms)));
        Self {
            topics: SlotMap::with_key(),
            passes: std::iter::once(Pass::new(Delay::NONE, history.clone())).chain(delayed).collect(),
            building: (0..shards).map(|_| Building::default()).collect(),
            behind: 0,
            opened_behind_max: limits::SKIPPED_TOPICS_FACTOR
                * limits::OPENED_TOPICS_MAX.max(history.max_topics),
            lost_events: 0,
            unwritten: 0,
            checker: history.checker,
            deduplicate,
            look_ups: Vec::new(),
        }
    }

    /// What is remembered of a feed.
    pub(super) fn history(&mut self, delay: Delay) -> &mut History {
        &mut self.passes[delay.index()].history
    }

    /// The topic of an event that was found for a symbol of candles; `None` if it is against the contract.
    pub(super) fn interval_of(&self, kind: Kind, of: &Pattern, payload: &[u8]) -> Option<Symbol> {
        let symbol = of.symbol_of_intervals()?;
        let event = self.checker.check(kind, payload, symbol).ok()?;
        Some(Symbol::of_topic(event.key_with_interval(symbol, &mut [0; TOPIC_KEY_BYTES_MAX])))
    }

    /// The last event of a topic as a snapshot, in the topic's form.
    pub(super) fn snapshot(&mut self, id: TopicId) -> Option<Bytes> {
        let topic = self.topics.get(id)?;
        let form = topic.subject.form;
        self.passes[form.delay().index()].history.snapshot(topic.history?, form)
    }

    /// How many topics and patterns any shard wants.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Routes one event of the real-time feed: `name` is the channel's last part, `payload` the worker's JSON.
    #[inline]
    pub fn route(&mut self, kind: Kind, name: &[u8], payload: &[u8], now_ms: u64) -> Routed {
        self.route_in(Delay::NONE, kind, name, payload, now_ms)
    }

    /// Routes one event of a feed: of a delayed one, once it is due.
    pub fn route_in(&mut self, delay: Delay, kind: Kind, name: &[u8], payload: &[u8], now_ms: u64) -> Routed {
        let mut buffer = [0; SYMBOL_BYTES_MAX];
        let Some(symbol) = market::normalize_symbol(name, kind.case(self.checker.symbol_case), &mut buffer)
        else {
            return Routed::Rejected(Reject::BadSymbol);
        };
        if kind.has_intervals() {
            // Which topic it is of shows only when the event has been looked into.
            let mut buffer = [0; TOPIC_KEY_BYTES_MAX];
            return match self.checker.check(kind, payload, symbol) {
                Ok(event) => {
                    let key = event.key_with_interval(symbol, &mut buffer);
                    self.route_to(delay, kind, key, payload, now_ms)
                }
                Err(reject) => Routed::Rejected(reject),
            };
        }
        self.route_to(delay, kind, symbol, payload, now_ms)
    }

    /// The key of the topic that an event is of: its symbol, with its interval if it has one; `None` if it is against the contract.
    pub(super) fn key_of(&self, kind: Kind, name: &[u8], payload: &[u8]) -> Option<Symbol> {
        let mut buffer = [0; SYMBOL_BYTES_MAX];
        let symbol = market::normalize_symbol(name, kind.case(self.checker.symbol_case), &mut buffer)?;
        let event = self.checker.check(kind, payload, symbol).ok()?;
        let has_intervals = kind.has_intervals();
        let mut buffer = [0; TOPIC_KEY_BYTES_MAX];
        let key = if has_intervals { event.key_with_interval(symbol, &mut buffer) } else { symbol };
        Some(Symbol::of_topic(key))
    }

    /// Routes an event of the topic with that symbol and, where it has one, interval.
    #[inline]
    fn route_to(&mut self, delay: Delay, kind: Kind, symbol: &[u8], payload: &[u8], now_ms: u64) -> Routed {
        let known = self.first_of(delay, kind, symbol);
        if known.is_none() {
            let matched = self.matched_by(delay, kind, symbol);
            if matched & !self.full() == 0 {
                if matched != 0 && self.checker.check(kind, payload, symbol).is_ok() {
                    for form in self.passes[delay.index()].forms() {
                        self.note_uncounted(self.matched_in(kind, form, symbol), kind, form, symbol);
                    }
                }
                self.history(delay).keep(kind, symbol, payload, now_ms);
                return Routed::Unwanted;
            }
        }
        match self.checker.check(kind, payload, symbol) {
            Ok(event) => {
                let id = known.unwrap_or_else(|| self.add_matched(delay, kind, symbol));
                self.deliver(delay, id, &event, now_ms)
            }
            Err(reject) => Routed::Rejected(reject),
        }
    }

    /// Frames an event, after the gap or restart that its `seq` reveals. A repeat is dropped.
    fn deliver(&mut self, delay: Delay, id: TopicId, event: &Event<'_>, now_ms: u64) -> Routed {
        let slot = self.topics.get(id).and_then(|topic| topic.history);
        let verdict = slot.map_or(Verdict::Next, |slot| self.history(delay).take(slot, event, now_ms));
        if verdict == Verdict::Repeat && self.deduplicate {
            return Routed::Duplicate;
        }
        self.frame(delay, id, event, now_ms, verdict);
        match verdict {
            Verdict::Next if event.has_odd_seq => Routed::FramedWithOddSeq,
            Verdict::Next | Verdict::Restart | Verdict::Repeat => Routed::Framed,
            Verdict::Late => Routed::FramedLate,
            Verdict::Gap { from, to } => Routed::FramedBehindGap(to - from + 1),
        }
    }

    /// Adds a symbol of which only patterns know, in a form in which one is wanted by a shard that has room for it.
    fn add_matched(&mut self, delay: Delay, kind: Kind, symbol: &[u8]) -> TopicId {
        let full = self.full();
        let is_wanted = |form: &Form| self.matched_in(kind, *form, symbol) & !full != 0;
        let form = self.passes[delay.index()].forms().find(is_wanted);
        let form = form.unwrap_or_else(|| Form::JSON.delayed(delay));
        self.add(Subject::literal(kind, Name::Symbol(Symbol::of_topic(symbol))).in_form(form))
    }

    /// Frames an event in each form that its symbol is wanted in. `first` is the first of its topics.
    fn frame(&mut self, delay: Delay, first: TopicId, event: &Event<'_>, now_ms: u64, verdict: Verdict) {
        let epoch = self.passes[delay.index()].epoch;
        if self.topics.get(first).is_some_and(|topic| topic.epoch != epoch) {
            self.open_in_each_form(first, self.full());
        }
        let Self { topics, passes, building, behind, lost_events, unwritten, .. } = self;
        let Pass { delayed_ms, history, .. } = &passes[delay.index()];
        let Some(topic) = topics.get(first) else { return };
        let (behind, delayed_ms, openings) = (*behind, *delayed_ms, &history.openings);
        let mut framing = Framing {
            building,
            behind,
            lost_events,
            unwritten,
            openings,
            event,
            now_ms,
            delayed_ms,
            verdict,
        };
        framing.frame(first, topic);
        for id in &topic.others {
            if let Some(topic) = topics.get(*id) {
                framing.frame(*id, topic);
            }
        }
    }

    /// What of the events was compressed so far, each once in its form.
    pub fn compressed(&self) -> Counts {
        self.passes
            .iter()
            .fold(Counts::default(), |sum, pass| sum + pass.history.openings.compressor().counts())
    }

    /// Bytes framed for the shard that has most, since the last hand-over.
    pub fn building_bytes(&self) -> usize {
        self.building.iter().map(Building::bytes).max().unwrap_or(0)
    }

    /// Takes the topics that have been opened to a shard and that [`Router::take`] has not handed over yet. The shard has to learn of
    /// them before it is answered a wish.
    pub fn take_opened(&mut self, shard: usize) -> Vec<(Subject, TopicId)> {
        self.building.get_mut(shard).map_or_else(Vec::new, |building| std::mem::take(&mut building.opened))
    }

    /// Bytes framed for a shard since the last hand-over.
    pub fn bytes_for(&self, shard: usize) -> usize {
        self.building.get(shard).map_or(0, Building::bytes)
    }

    /// The forms in which something is framed for a shard since the last hand-over.
    #[inline]
    pub fn forms_for(&self, shard: usize) -> impl Iterator<Item = Form> + use<> {
        self.building.get(shard).map(Building::forms).into_iter().flatten()
    }

    /// How many events a form had no words for since this was last asked, once for each such form.
    pub fn take_unwritten(&mut self) -> u64 {
        std::mem::take(&mut self.unwritten)
    }

    /// Takes what is framed for a shard in a form. The shard has to learn of [`Router::take_opened`] before.
    #[inline]
    pub fn take_in_form(&mut self, shard: usize, form: Form, arrived_us: u64) -> Option<Batch> {
        self.building.get_mut(shard)?.take(form, arrived_us)
    }

    /// Takes all that has come up for a shard since the last hand-over.
    pub fn take(&mut self, shard: usize, arrived_us: u64) -> Handoff {
        let opened = self.take_opened(shard);
        let batches = self.forms_for(shard).filter_map(|form| self.take_in_form(shard, form, arrived_us));
        Handoff { opened, batches: batches.collect() }
    }
}

/// The set bits of a mask.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let place = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(place)
    }
}

#[cfg(test)]
mod model_tests;

#[cfg(test)]
mod tests;
