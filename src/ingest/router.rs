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
//! For a shard that is behind ([`Router::fall_behind`]) nothing is framed: its events are counted as lost, until it has caught up.

mod behind;
mod building;
mod opened;

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::quality::RandomState;
use slotmap::{Key, SlotMap};
use smallvec::SmallVec;

pub use self::behind::Reported;
pub use self::building::{Batch, Handoff};
use self::building::{Building, Framing};
use super::history::{History, HistoryConfig, LookingUp, Slot, Verdict};
use crate::bus::TopicId;
use crate::limits;
use crate::market::event::{Checker, Event, Reject};
use crate::market::patterns::Patterns;
use crate::market::{
    self, Form, Kind, Name, Pattern, SYMBOL_BYTES_MAX, Subject, Symbol, TOPIC_KEY_BYTES_MAX,
};
use crate::protocol::native::event::Openings;

const _: () = assert!(limits::SHARDS_MAX <= u64::BITS as usize, "the interest mask has one bit a shard");

/// A topic (or pattern) that at least one shard wants.
#[derive(Debug)]
struct Topic {
    subject: Subject,
    /// The shards that know the id, one bit each.
    wanted_by: u64,
    /// Of the first topic of a symbol: [`Router::epoch`] when its topics were last opened to the shards whose patterns match them.
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
    /// The first topic of each symbol, in whatever form. By type, so that a look-up needs no more than the symbol's bytes.
    by_symbol: Vec<HashMap<Symbol, TopicId, RandomState>>,
    by_pattern: Patterns<TopicId>,
    /// Goes up when a shard begins to want a pattern: topics may have to be opened to it.
    epoch: u64,
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
    openings: Openings,
    deduplicate: bool,
    pub(super) history: History,
    /// Topics whose last values are to be looked up.
    pub(super) look_ups: Vec<Subject>,
}

impl Router {
    /// A router that nobody wants anything of yet; repeats are dropped.
    pub fn new(shards: usize, max_event_bytes: usize) -> Self {
        let checker = Checker::with_max_bytes(max_event_bytes);
        Self::with_history(shards, true, HistoryConfig { checker, ..HistoryConfig::default() })
    }

    /// The same with `DEDUPLICATE` and a history of its own measures.
    pub fn with_history(shards: usize, deduplicate: bool, history: HistoryConfig) -> Self {
        Self {
            topics: SlotMap::with_key(),
            by_symbol: vec![HashMap::default(); history.kinds.len()],
            by_pattern: Patterns::default(),
            epoch: 0,
            building: (0..shards).map(|_| Building::default()).collect(),
            behind: 0,
            opened_behind_max: limits::SKIPPED_TOPICS_FACTOR
                * limits::OPENED_TOPICS_MAX.max(history.max_topics),
            lost_events: 0,
            unwritten: 0,
            checker: history.checker,
            openings: Openings::new(&history.kinds).spelled(history.spelling.clone()),
            deduplicate,
            history: History::new(history),
            look_ups: Vec::new(),
        }
    }

    /// A shard wants a subject: its events come under the id returned from now on. Those that a pattern matches come under
    /// their topics' ids, which [`Router::take`] returns.
    pub fn want(&mut self, shard: usize, subject: &Subject) -> TopicId {
        let id = self.topic_or_new(subject);
        let Some(topic) = self.topics.get_mut(id) else { return id };
        let bit = 1 << shard;
        if topic.wanted_by & bit == 0 && matches!(subject.name, Name::Pattern(_)) {
            self.epoch += 1;
        }
        topic.wanted_by |= bit;
        id
    }

    pub(super) fn topic_or_new(&mut self, subject: &Subject) -> TopicId {
        let &Subject { kind, form, ref name } = subject;
        let known = match name {
            Name::Symbol(symbol) => match self.first_of(kind, symbol.as_bytes()) {
                Some(first) => return self.in_form(first, form).unwrap_or_else(|| self.add_to(first, form)),
                None => None,
            },
            Name::Pattern(pattern) => self.pattern_of(kind, form, pattern),
        };
        known.unwrap_or_else(|| self.add(subject.clone()))
    }

    /// The first topic of a symbol that is wanted.
    #[inline]
    fn first_of(&self, kind: Kind, symbol: &[u8]) -> Option<TopicId> {
        self.by_symbol[kind.index()].get(symbol).copied()
    }

    /// A symbol's topic in a form, if it is wanted in it. `first` is the first of its topics.
    fn in_form(&self, first: TopicId, form: Form) -> Option<TopicId> {
        self.with_others(first)
            .find(|id| self.topics.get(*id).is_some_and(|topic| topic.subject.form == form))
    }

    /// The first topic of a symbol and those in other forms.
    fn with_others(&self, first: TopicId) -> impl Iterator<Item = TopicId> {
        let others = self.topics.get(first).map_or(&[][..], |topic| &topic.others);
        std::iter::once(first).chain(others.iter().copied())
    }

    /// Adds the first topic of a symbol, or a pattern.
    fn add(&mut self, subject: Subject) -> TopicId {
        let Subject { kind, form, name } = subject.clone();
        let history = name.symbol().map(|symbol| self.history.pin(kind, symbol));
        // Behind the epoch: its first event finds out which patterns match.
        let epoch = self.epoch.wrapping_sub(1);
        let id = self.topics.insert(Topic {
            subject,
            wanted_by: 0,
            epoch,
            others: Box::default(),
            history,
            looking_up: LookingUp::default(),
        });
        match name {
            Name::Symbol(symbol) => {
                self.by_symbol[kind.index()].insert(symbol, id);
            }
            Name::Pattern(pattern) => self.by_pattern.insert(kind, form, pattern, id),
        }
        id
    }

    /// Adds a symbol's topic in another form. `first` is the first of its topics.
    fn add_to(&mut self, first: TopicId, form: Form) -> TopicId {
        let Some(Topic { subject, history, .. }) = self.topics.get(first) else { return TopicId::null() };
        let id = self.topics.insert(Topic {
            subject: subject.clone().in_form(form),
            wanted_by: 0,
            epoch: 0,
            others: Box::default(),
            history: *history,
            looking_up: LookingUp::default(),
        });
        if let Some(topic) = self.topics.get_mut(first) {
            topic.others = topic.others.iter().copied().chain([id]).collect();
        }
        id
    }

    /// A shard does not want a topic any more. The last one's leave frees the id.
    pub fn release(&mut self, shard: usize, id: TopicId) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        topic.wanted_by &= !(1 << shard);
        if topic.wanted_by == 0 {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: TopicId) {
        let Some(Topic { subject, others, history, .. }) = self.topics.remove(id) else { return };
        let Subject { kind, form, name } = subject;
        let symbol = match &name {
            Name::Symbol(symbol) => symbol,
            Name::Pattern(pattern) => {
                self.by_pattern.remove(kind, form, pattern);
                return;
            }
        };
        let Some(first) = self.by_symbol[kind.index()].get_mut(symbol) else { return };
        let (new_first, others) = match (*first == id, others.split_first()) {
            (true, None) => {
                self.by_symbol[kind.index()].remove(symbol);
                return history.into_iter().for_each(|slot| self.history.unpin(slot));
            }
            (true, Some((next, rest))) => (*next, rest.into()),
            (false, _) => {
                let others = self.topics.get(*first).into_iter().flat_map(|topic| &topic.others);
                (*first, others.copied().filter(|other| *other != id).collect())
            }
        };
        *first = new_first;
        if let Some(topic) = self.topics.get_mut(new_first) {
            // Its next event finds out which patterns match.
            topic.epoch = self.epoch.wrapping_sub(1);
            topic.others = others;
        }
    }

    /// A shard gives a topic back that its patterns still match: it is not sent to it until its next event opens it anew, perhaps
    /// under the same id. What is framed for the shard already has to be handed over before it is told so.
    pub fn retire(&mut self, shard: usize, id: TopicId) {
        let symbol =
            self.topics.get(id).and_then(|topic| Some((topic.subject.kind, topic.subject.name.symbol()?)));
        let first = symbol.and_then(|(kind, symbol)| self.first_of(kind, symbol.as_bytes()));
        if let Some(topic) = first.and_then(|first| self.topics.get_mut(first)) {
            topic.epoch = self.epoch.wrapping_sub(1);
        }
        self.release(shard, id);
    }

    /// A live topic's id and its place in the history.
    pub(super) fn topic_of(&self, subject: &Subject) -> Option<(TopicId, Slot)> {
        let first = self.first_of(subject.kind, subject.name.symbol()?.as_bytes())?;
        let id = self.in_form(first, subject.form)?;
        Some((id, self.topics.get(id)?.history?))
    }

    /// A live topic's place in the history.
    pub(super) fn slot_of(&self, id: TopicId) -> Option<Slot> {
        self.topics.get(id)?.history
    }

    /// The ids of a symbol's live topics, one for each form that it is wanted in.
    pub(super) fn topics_of(&self, kind: Kind, symbol: &Symbol) -> SmallVec<[TopicId; 1]> {
        let first = self.first_of(kind, symbol.as_bytes());
        first.into_iter().flat_map(|first| self.with_others(first)).collect()
    }

    /// The id of a live pattern.
    pub(super) fn pattern_of(&self, kind: Kind, form: Form, pattern: &Pattern) -> Option<TopicId> {
        self.by_pattern.get(kind, form, pattern).copied()
    }

    /// Whether the value that workers keep of a symbol of candles has been looked up.
    pub(super) fn looking_up(&mut self, id: TopicId) -> Option<&mut LookingUp> {
        self.topics.get_mut(id).map(|topic| &mut topic.looking_up)
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
        self.history.snapshot(topic.history?, topic.subject.form)
    }

    /// How many topics and patterns any shard wants.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Routes one event: `name` is the channel's last part, `payload` the worker's JSON.
    pub fn route(&mut self, kind: Kind, name: &[u8], payload: &[u8], now_ms: u64) -> Routed {
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
                    self.route_to(kind, event.key_with_interval(symbol, &mut buffer), payload, now_ms)
                }
                Err(reject) => Routed::Rejected(reject),
            };
        }
        self.route_to(kind, symbol, payload, now_ms)
    }

    /// Routes an event of the topic with that symbol and, where it has one, interval.
    #[inline]
    fn route_to(&mut self, kind: Kind, symbol: &[u8], payload: &[u8], now_ms: u64) -> Routed {
        let known = self.first_of(kind, symbol);
        if known.is_none() {
            let matched = self.matched_by(kind, symbol);
            if matched & !self.full() == 0 {
                if matched != 0 && self.checker.check(kind, payload, symbol).is_ok() {
                    for form in self.by_pattern.forms() {
                        self.note_uncounted(self.matched_in(kind, form, symbol), kind, form, symbol);
                    }
                }
                self.history.keep(kind, symbol, payload, now_ms);
                return Routed::Unwanted;
            }
        }
        match self.checker.check(kind, payload, symbol) {
            Ok(event) => {
                let id = known.unwrap_or_else(|| self.add_matched(kind, symbol));
                self.deliver(id, &event, now_ms)
            }
            Err(reject) => Routed::Rejected(reject),
        }
    }

    /// Frames an event, after the gap or restart that its `seq` reveals. A repeat is dropped.
    fn deliver(&mut self, id: TopicId, event: &Event<'_>, now_ms: u64) -> Routed {
        let slot = self.topics.get(id).and_then(|topic| topic.history);
        let verdict = slot.map_or(Verdict::Next, |slot| self.history.take(slot, event, now_ms));
        if verdict == Verdict::Repeat && self.deduplicate {
            return Routed::Duplicate;
        }
        self.frame(id, event, now_ms, verdict);
        match verdict {
            Verdict::Next if event.has_odd_seq => Routed::FramedWithOddSeq,
            Verdict::Next | Verdict::Restart | Verdict::Repeat => Routed::Framed,
            Verdict::Late => Routed::FramedLate,
            Verdict::Gap { from, to } => Routed::FramedBehindGap(to - from + 1),
        }
    }

    /// Adds a symbol of which only patterns know, in a form in which one is wanted by a shard that has room for it.
    fn add_matched(&mut self, kind: Kind, symbol: &[u8]) -> TopicId {
        let full = self.full();
        let is_wanted = |form: &Form| self.matched_in(kind, *form, symbol) & !full != 0;
        let form = self.by_pattern.forms().find(is_wanted).unwrap_or_default();
        self.add(Subject::literal(kind, Name::Symbol(Symbol::of_topic(symbol))).in_form(form))
    }

    /// Frames an event in each form that its symbol is wanted in. `first` is the first of its topics.
    fn frame(&mut self, first: TopicId, event: &Event<'_>, now_ms: u64, verdict: Verdict) {
        if self.topics.get(first).is_some_and(|topic| topic.epoch != self.epoch) {
            self.open_in_each_form(first, self.full());
        }
        let Self { topics, building, behind, lost_events, unwritten, openings, .. } = self;
        let Some(topic) = topics.get(first) else { return };
        let behind = *behind;
        let mut framing =
            Framing { building, behind, lost_events, unwritten, openings, event, now_ms, verdict };
        framing.frame(first, topic);
        for id in &topic.others {
            if let Some(topic) = topics.get(*id) {
                framing.frame(*id, topic);
            }
        }
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
