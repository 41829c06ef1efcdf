//! The last value of each topic, and the recent events of topics whose workers send `seq`, for clients that come later or come back.
//! Pure; the clock comes in as Unix milliseconds.
//!
//! Topics are remembered whether anybody wants them or not, so an event that nobody wants has to cost next to nothing:
//! its bytes are set aside and looked into only when many of its topic have come, or their memory is needed, and
//! then only the newest of them; or when somebody asks. An invalid event is passed over then, so it never
//! displaces a valid one. Events with a `seq` also go into a circular log that all topics share.
//!
//! An event that is set aside seems to have the `seq` that a search for the key finds. That is enough as long as numbers rise. A number
//! at or below the last one has to be judged exactly: was it missing, or has it come? So before it is judged, the events of the topic
//! that have not been looked into are read from the log.
//!
//! | bound | what happens at it |
//! |---|---|
//! | [`HistoryConfig::max_topics`] | of the topics that nobody wants, one that was not heard of for long is forgotten |
//! | [`HistoryConfig::max_bytes`] | the log overwrites its oldest events |
//! | [`HistoryConfig::events_per_topic`] | older events of the topic are out of reach |
//! | [`limits::PENDING_EVENTS`] of a topic, [`limits::ASIDE_MAX_BYTES`] of all | the newest good one of the topic's events set aside is kept, the rest dropped |

mod aside;
mod log;
mod reader;
mod resume;
mod sequence;
mod topic;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::ops::Bound;
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::fast::RandomState;
use smallvec::SmallVec;

use self::aside::Aside;
use self::log::{Entry, Log, Position};
use self::reader::{Hint, Reader};
pub use self::resume::{Replay, Resumed};
pub use self::sequence::Verdict;
use self::topic::{Arrival, Topic};
pub use self::topic::{LookUp, LookingUp};
use crate::bus::LastEvent;
use crate::limits;
use crate::market::event::{Checker, Event};
use crate::market::spelling::Spelling;
use crate::market::{Form, Kind, KindSet, Kinds, Name, Numbering, Pattern, Subject, Symbol};
use crate::protocol::native::event::Openings;
use crate::websocket::deflate::{Compression, Compressor};

/// How much is remembered.
#[derive(Debug, Clone)]
pub struct HistoryConfig {
    /// `CHANNEL_TYPES`.
    pub kinds: Kinds,
    /// `LAST_VALUE_MAX_TOPICS`; 0 = nothing is remembered.
    pub max_topics: usize,
    /// `REPLAY_EVENTS_PER_TOPIC`; 0 = no event can be resumed.
    pub events_per_topic: usize,
    /// `REPLAY_MAX_BYTES`; 0 = no event can be resumed.
    pub max_bytes: usize,
    /// Frames that one request is resumed with at most; beyond it a topic counts as not recovered.
    pub max_replay_bytes: usize,
    /// Holds events to their contract.
    pub checker: Checker,
    /// `SEQ`.
    pub numbering: Numbering,
    /// How events are compressed for clients that have agreed on it; `None` = not at all.
    pub compression: Option<Compression>,
    /// The types whose last values workers keep in Redis; `None` without `LAST_VALUE_KEY`.
    pub look_up: Option<KindSet>,
    /// `DIALECT_SYMBOL_MAP`.
    pub spelling: Spelling,
    /// The delay of the feed, if it has one.
    pub delayed_ms: Option<NonZeroU32>,
}

impl HistoryConfig {
    /// The same for a delayed feed. What workers keep of a topic is as of now, so it is not looked up.
    #[must_use]
    pub(super) fn delayed(&self, delayed_ms: NonZeroU32) -> Self {
        Self { look_up: None, delayed_ms: Some(delayed_ms), ..self.clone() }
    }
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            kinds: Kinds::default(),
            max_topics: limits::LAST_VALUE_TOPICS_DEFAULT as usize,
            events_per_topic: limits::REPLAY_EVENTS_DEFAULT as usize,
            max_bytes: limits::REPLAY_DEFAULT_BYTES,
            max_replay_bytes: limits::MAX_OUTBOX_DEFAULT_BYTES / 2,
            checker: Checker::with_max_bytes(limits::MAX_EVENT_DEFAULT_BYTES),
            numbering: Numbering::default(),
            compression: None,
            look_up: None,
            spelling: Spelling::default(),
            delayed_ms: None,
        }
    }
}

/// How many entries [`read_claims`] looks at: more than a window of numbers has, also where some events are bad or late.
const CLAIMS_READ_MAX: usize = 4 * limits::SEQ_WINDOW as usize;

/// A topic's place in the history, as long as it is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

/// What is remembered.
#[derive(Debug)]
pub struct History {
    config: HistoryConfig,
    topics: Vec<Option<Topic>>,
    free: Vec<Slot>,
    by_symbol: Vec<HashMap<Symbol, Slot, RandomState>>,
    /// Candles' topics in order, so that those of one symbol are found together.
    intervals: BTreeMap<Symbol, Slot>,
    /// Topics that count towards the bound.
    kept: usize,
    /// Where the search for a topic to forget goes on.
    hand: usize,
    /// Events of topics that nobody wants, until they are looked into.
    aside: Aside,
    log: Log,
    /// How events are written.
    pub(super) openings: Openings,
    reader: Reader,
}

impl History {
    /// Nothing is remembered yet.
    pub fn new(config: HistoryConfig) -> Self {
        let log_bytes = if config.events_per_topic == 0 { 0 } else { config.max_bytes };
        Self {
            reader: Reader::new(config.checker, config.numbering),
            topics: Vec::new(),
            free: Vec::new(),
            intervals: BTreeMap::new(),
            by_symbol: vec![HashMap::default(); config.kinds.len()],
            openings: Openings::new(&config.kinds)
                .spelled(config.spelling.clone())
                .with_compressor(Compressor::new(config.compression)),
            config,
            kept: 0,
            hand: 0,
            aside: Aside::default(),
            log: Log::new(log_bytes),
        }
    }

    /// Takes an event of a topic that nobody wants, as it came. `symbol` is normalised.
    pub fn keep(&mut self, kind: Kind, symbol: &[u8], payload: &[u8], now_ms: u64) {
        if payload.len() > self.config.checker.max_event_bytes {
            return;
        }
        let slot = match self.by_symbol[kind.index()].get(symbol) {
            Some(slot) => *slot,
            None => match self.admit(kind, symbol) {
                Some(slot) => slot,
                None => return,
            },
        };
        let hint = self.reader.hint(payload);
        let Some(topic) = topic_at(&mut self.topics, slot) else { return };
        topic.heard();
        if payload.len() >= limits::PENDING_BYTES {
            return self.look_into(slot, payload, now_ms);
        }
        let claimed_seq = match hint {
            Hint::None => None,
            Hint::Seq(seq) if topic.seems_to_follow(seq) => {
                let previous = topic.newest;
                let entry = Entry { previous, arrived_ms: now_ms, seq, checked: false, payload };
                topic.newest = self.log.append(&entry);
                Some(seq)
            }
            // A late one, a repeat, a worker that has restarted its numbers, or something odd: rare, so it is looked into at once.
            Hint::Seq(_) | Hint::Unsure => return self.look_into(slot, payload, now_ms),
        };
        self.make_room_aside(payload.len());
        let Some(topic) = topic_at(&mut self.topics, slot) else { return };
        topic.set_aside(slot, payload, claimed_seq, now_ms, &mut self.aside, &self.reader);
    }

    /// Makes room for an event among those that are set aside. Of topics whose oldest ones are in the way the newest good one is kept.
    fn make_room_aside(&mut self, payload_bytes: usize) {
        while !self.aside.has_room(payload_bytes)
            && let Some((place, slot)) = self.aside.oldest()
        {
            let topic = topic_at(&mut self.topics, slot).filter(|topic| topic.needs(place));
            let is_early = topic.is_some();
            topic.into_iter().for_each(|topic| topic.condense(&self.aside, &self.reader));
            self.aside.let_oldest_go(is_early);
        }
    }

    /// Takes an event of a pinned topic that is known to keep the contract. A repeat leaves no trace.
    pub fn take(&mut self, slot: Slot, event: &Event<'_>, now_ms: u64) -> Verdict {
        if topic_at(&mut self.topics, slot).is_some_and(|topic| !topic.kept) && self.make_room() {
            self.kept += 1;
            if let Some(topic) = topic_at(&mut self.topics, slot) {
                topic.kept = true;
            }
        }
        let Some(topic) = topic_at(&mut self.topics, slot) else { return Verdict::Next };
        topic.heard();
        if topic.has_claims && event.seq.is_some() && event.seq <= topic.sequence.last_seq() {
            read_claims(topic, &mut self.log, &self.reader);
        }
        let arrival = Arrival { ms: now_ms, order: self.aside.order_now() };
        let verdict = topic.take(event, arrival, &self.reader);
        if let Some(seq) = event.seq.filter(|_| verdict != Verdict::Repeat && topic.kept) {
            let previous = if verdict == Verdict::Restart { Position::NONE } else { topic.newest };
            let payload = event.object.as_bytes();
            let entry = Entry { previous, arrived_ms: now_ms, seq, checked: true, payload };
            topic.newest = self.log.append(&entry);
            topic.has_claims &= verdict != Verdict::Restart;
        }
        verdict
    }

    /// Somebody wants a topic: from now on it is not forgotten, and its events come through [`History::take`].
    pub fn pin(&mut self, kind: Kind, symbol: &Symbol) -> Slot {
        let slot = match self.by_symbol[kind.index()].get(symbol) {
            Some(slot) => *slot,
            None => {
                let kept = self.make_room();
                self.insert(kind, symbol.clone(), kept)
            }
        };
        if let Some(topic) = topic_at(&mut self.topics, slot) {
            topic.pinned = true;
            topic.condense(&self.aside, &self.reader);
        }
        slot
    }

    /// Nobody wants a topic any more.
    pub fn unpin(&mut self, slot: Slot) {
        let Some(topic) = topic_at(&mut self.topics, slot) else { return };
        topic.pinned = false;
        if !topic.kept {
            self.forget(slot);
        }
    }

    /// A pinned topic's last event in a form, marked as a snapshot. Built once and shared until the next event.
    pub fn snapshot(&mut self, slot: Slot, form: Form) -> Option<Bytes> {
        topic_at(&mut self.topics, slot)?.snapshot(form, &self.openings, self.config.delayed_ms)
    }

    /// The last event of a subject; of a symbol of candles, that which came last, of whatever interval. Patterns have none.
    pub fn last(&mut self, subject: &Subject) -> Option<LastEvent> {
        let slots: SmallVec<[Slot; 1]> = match &subject.name {
            Name::Symbol(symbol) => {
                self.by_symbol[subject.kind.index()].get(symbol).copied().into_iter().collect()
            }
            Name::Pattern(of) if of.is_of_intervals() => {
                beginning_with(&self.intervals, of.prefix()).map(|(_, slot)| *slot).collect()
            }
            Name::Pattern(_) => return None,
        };
        let Self { topics, aside, reader, openings, config, .. } = self;
        let last = |slot| topic_at(topics, slot)?.last(aside, reader, openings, config.delayed_ms);
        let events = slots.into_iter().filter_map(last);
        events.max_by_key(|(order, _)| *order).map(|(_, event)| event)
    }

    /// Events of a topic have been lost unseen: its numbers begin again with the next one, so that no gap is told of what is announced as
    /// lost, and nothing before it is replayed.
    pub fn lose(&mut self, kind: Kind, symbol: &[u8]) {
        if let Some(slot) = self.by_symbol[kind.index()].get(symbol)
            && let Some(topic) = topic_at(&mut self.topics, *slot)
        {
            topic.read_pending(&self.aside, &self.reader);
            topic.begin_again();
        }
    }

    /// Begins to look up the last value of a pinned topic that has none.
    pub fn look_up(&mut self, slot: Slot) -> LookUp {
        let Some(types) = self.config.look_up else { return LookUp::Unavailable };
        match topic_at(&mut self.topics, slot) {
            Some(topic) if topic.kept && types.contains(topic.kind) => topic.begin_look_up(),
            _ => LookUp::Unavailable,
        }
    }

    /// Takes what was looked up, unless an event came first; returns the `seq` of what is now the last value.
    pub fn looked_up(
        &mut self,
        kind: Kind,
        symbol: &Symbol,
        payload: Option<&[u8]>,
        failed: bool,
        now_ms: u64,
    ) -> Option<u64> {
        let slot = *self.by_symbol[kind.index()].get(symbol)?;
        let arrival = Arrival { ms: now_ms, order: self.aside.order_now() };
        topic_at(&mut self.topics, slot)?.end_look_up(payload, failed, arrival, &self.reader)
    }

    /// The symbols that begin with `prefix` and have a last value, in order.
    pub fn known(&mut self, kind: Kind, prefix: &[u8]) -> Vec<Symbol> {
        if kind.has_intervals() {
            let Self { intervals, topics, aside, reader, .. } = self;
            let slots = beginning_with(intervals, prefix);
            let known = slots.filter_map(|(symbol, slot)| {
                let topic = topic_at(topics, *slot)?;
                topic.condense(aside, reader);
                topic.has_value().then(|| symbol.clone())
            });
            return known.collect();
        }
        let of_type = self.topics.iter_mut().flatten().filter(|topic| topic.kind == kind);
        let matching = of_type.filter(|topic| topic.symbol.as_bytes().starts_with(prefix));
        let known = matching.filter_map(|topic| {
            topic.condense(&self.aside, &self.reader);
            topic.has_value().then(|| topic.symbol.clone())
        });
        let mut known: Vec<_> = known.collect();
        known.sort_unstable();
        known
    }

    /// The topics of a symbol of candles, one for each interval, in order; also those without a last value.
    pub fn intervals<'h>(&'h self, symbol: &'h Pattern) -> impl Iterator<Item = &'h Symbol> {
        beginning_with(&self.intervals, symbol.prefix()).map(|(symbol, _)| symbol)
    }

    /// Whether workers keep a last value of symbols of a type.
    pub(super) fn is_looked_up(&self, kind: Kind) -> bool {
        self.config.look_up.is_some_and(|kinds| kinds.contains(kind))
    }

    /// How many of the pinned topics have been silent for `silence` at least, counted in the times at which this is asked.
    /// One that was never heard of counts from the first of them.
    pub fn silent(&mut self, silence: Duration, now: Instant) -> usize {
        let pinned = self.topics.iter_mut().flatten().filter(|topic| topic.pinned);
        pinned.filter_map(|topic| (topic.silence(now) >= silence).then_some(())).count()
    }

    /// How many topics are remembered.
    pub fn topics(&self) -> usize {
        self.kept
    }

    /// Checks an event at once, and takes it if it is good and no repeat.
    fn look_into(&mut self, slot: Slot, payload: &[u8], now_ms: u64) {
        let Some(topic) = topic_at(&mut self.topics, slot) else { return };
        topic.read_pending(&self.aside, &self.reader);
        if let Some(event) = topic.read(payload, &self.reader) {
            self.take(slot, &event, now_ms);
        }
    }

    /// A place for a topic that is heard of for the first time, if there is one.
    fn admit(&mut self, kind: Kind, symbol: &[u8]) -> Option<Slot> {
        if !self.make_room() {
            return None;
        }
        Some(self.insert(kind, Symbol::of_topic(symbol), true))
    }

    /// Makes room for one topic more, by forgetting one if need be: `false` if there is none. The search is short, so that
    /// it costs little even if it fails.
    fn make_room(&mut self) -> bool {
        if self.kept < self.config.max_topics {
            return true;
        }
        for _ in 0..limits::FORGET_STEPS.min(self.topics.len()) {
            self.hand = (self.hand + 1) % self.topics.len();
            let Some(topic) = &mut self.topics[self.hand] else { continue };
            if topic.kept && !topic.pinned && !std::mem::take(&mut topic.recent) {
                self.forget(Slot(self.hand as u32));
                return self.kept < self.config.max_topics;
            }
        }
        false
    }

    fn insert(&mut self, kind: Kind, symbol: Symbol, kept: bool) -> Slot {
        self.kept += usize::from(kept);
        let topic = Topic::new(kind, symbol.clone(), kept);
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.topics.push(None);
                Slot(self.topics.len() as u32 - 1)
            }
        };
        self.topics[slot.0 as usize] = Some(topic);
        if kind.has_intervals() {
            self.intervals.insert(symbol.clone(), slot);
        }
        self.by_symbol[kind.index()].insert(symbol, slot);
        slot
    }

    fn forget(&mut self, slot: Slot) {
        let Some(topic) = self.topics.get_mut(slot.0 as usize).and_then(Option::take) else { return };
        self.kept -= usize::from(topic.kept);
        self.by_symbol[topic.kind.index()].remove(&topic.symbol);
        if topic.kind.has_intervals() {
            self.intervals.remove(&topic.symbol);
        }
        self.free.push(slot);
    }
}

/// The entries whose symbol begins so, in order.
fn beginning_with<'m>(
    intervals: &'m BTreeMap<Symbol, Slot>,
    prefix: &'m [u8],
) -> impl Iterator<Item = (&'m Symbol, &'m Slot)> {
    let from = (Bound::Included(prefix), Bound::Unbounded);
    intervals.range::<[u8], _>(from).take_while(move |(symbol, _)| symbol.as_bytes().starts_with(prefix))
}

fn topic_at(topics: &mut [Option<Topic>], slot: Slot) -> Option<&mut Topic> {
    topics.get_mut(slot.0 as usize)?.as_mut()
}

/// Looks into the events of a topic that have only been seen from outside, so that its sequence knows exactly which numbers have
/// come. What the log has lost counts as what it seemed to be.
fn read_claims(topic: &mut Topic, log: &mut Log, reader: &Reader) {
    topic.has_claims = false;
    let read_up_to = std::mem::replace(&mut topic.read_up_to, topic.newest);
    let mut at = topic.newest;
    for _ in 0..CLAIMS_READ_MAX {
        if at == Position::NONE || at == read_up_to {
            return topic.sequence.end_claims(false);
        }
        let Some(entry) = log.get(at) else { break };
        let previous = entry.previous;
        if !entry.checked
            && let Some(Event { seq: Some(seq), timestamp, .. }) = topic.read(entry.payload, reader)
        {
            topic.sequence.confirm(seq, timestamp);
            log.set_checked(at, seq);
        }
        at = previous;
    }
    topic.sequence.end_claims(true);
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
