//! What has been: the last value of each topic and the recent events of those that count, for clients that come (back) later.
//! Pure; the clock comes in as Unix milliseconds.
//!
//! Topics are remembered whether anybody wants them or not, so an event that nobody wants has to cost next to nothing:
//! its bytes are set aside (a handful for each topic) and looked into only when these are full, and
//! then only the newest of them, or when somebody asks. An invalid event is passed over then, so it never
//! displaces a valid one. Events with a `seq` also go into a circular log that all topics share.
//!
//! | bound | what happens at it |
//! |---|---|
//! | [`HistoryConfig::max_topics`] | of the topics that nobody wants, one that was not heard of for long is forgotten |
//! | [`HistoryConfig::max_bytes`] | the log overwrites its oldest events |
//! | [`HistoryConfig::events_per_topic`] | older events of the topic are out of reach |
//! | [`limits::PENDING_EVENTS`], [`limits::PENDING_BYTES`] | the newest of the bytes set aside is checked, the rest dropped |

mod line;
mod log;
mod resume;
mod topic;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::fast::RandomState;
use memchr::memmem::Finder;

pub use self::line::{Timestamp, Verdict};
use self::log::{Entry, Log, Position};
pub use self::resume::{Replay, Resumed};
use self::topic::Topic;
use crate::limits;
use crate::market::event::{Checker, Event, SEQ_END};
use crate::market::{EventType, EventTypes, Symbol, SymbolCase};

/// How much is remembered.
#[derive(Debug, Clone)]
pub struct HistoryConfig {
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
    /// The types whose last values workers keep in Redis; `None` without `LAST_VALUE_KEY`.
    pub look_up: Option<EventTypes>,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            max_topics: limits::LAST_VALUE_TOPICS_DEFAULT as usize,
            events_per_topic: limits::REPLAY_EVENTS_DEFAULT as usize,
            max_bytes: limits::REPLAY_DEFAULT_BYTES,
            max_replay_bytes: limits::MAX_OUTBOX_DEFAULT_BYTES / 2,
            checker: Checker::with_max_bytes(limits::MAX_EVENT_DEFAULT_BYTES),
            look_up: None,
        }
    }
}

/// A topic's place in the history, as long as it is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

/// What is remembered.
#[derive(Debug)]
pub struct History {
    config: HistoryConfig,
    topics: Vec<Option<Topic>>,
    free: Vec<Slot>,
    by_symbol: [HashMap<Symbol, Slot, RandomState>; EventType::ALL.len()],
    /// Topics that count towards the bound.
    kept: usize,
    /// Where the search for a topic to forget goes on.
    hand: usize,
    log: Log,
    /// Finds a `seq` without a look at the rest of the event.
    seq_key: Finder<'static>,
}

/// What a search for `"seq"` says of an event that is not looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hint {
    /// It has no `seq`, unless one that is written with escapes.
    None,
    /// It seems to have this one.
    Seq(u64),
    /// Only a look can tell.
    Unsure,
}

impl History {
    /// Nothing is remembered yet.
    pub fn new(config: HistoryConfig) -> Self {
        let log_bytes = if config.events_per_topic == 0 { 0 } else { config.max_bytes };
        Self {
            config,
            topics: Vec::new(),
            free: Vec::new(),
            by_symbol: Default::default(),
            kept: 0,
            hand: 0,
            log: Log::new(log_bytes),
            seq_key: Finder::new(b"\"seq\""),
        }
    }

    /// Takes an event of a topic that nobody wants, as it came. `symbol` is normalised.
    pub fn keep(&mut self, event_type: EventType, symbol: &[u8], payload: &[u8], now_ms: u64) {
        if payload.len() > self.config.checker.max_event_bytes {
            return;
        }
        let slot = match self.by_symbol[event_type as usize].get(symbol) {
            Some(slot) => *slot,
            None => match self.admit(event_type, symbol) {
                Some(slot) => slot,
                None => return,
            },
        };
        let hint = hint(&self.seq_key, payload);
        let Some(topic) = topic_at(&mut self.topics, slot) else { return };
        topic.heard();
        match hint {
            Hint::None => {}
            Hint::Seq(seq) if topic.seems_to_follow(seq) => {
                let previous = topic.newest;
                let entry = Entry { previous, arrived_ms: now_ms, seq, checked: false, payload };
                topic.newest = self.log.append(&entry);
                topic.seems_at = Some(seq);
            }
            // A repeat, a worker that counts anew, or something odd: rare, so it is looked into at once.
            Hint::Seq(_) | Hint::Unsure => return self.look_into(slot, payload, now_ms),
        }
        topic.set_aside(payload, now_ms, &self.config.checker, &self.seq_key);
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
        let verdict = topic.judge(event);
        if verdict != Verdict::Repeat && topic.kept {
            topic.store(event.object.as_bytes(), now_ms);
            if let Some(seq) = event.seq {
                let previous = if verdict == Verdict::Restart { Position::NONE } else { topic.newest };
                let payload = event.object.as_bytes();
                let entry = Entry { previous, arrived_ms: now_ms, seq, checked: true, payload };
                topic.newest = self.log.append(&entry);
            }
        }
        verdict
    }

    /// Somebody wants a topic: from now on it is not forgotten, and its events come through [`History::take`].
    pub fn pin(&mut self, event_type: EventType, symbol: &Symbol) -> Slot {
        let slot = match self.by_symbol[event_type as usize].get(symbol) {
            Some(slot) => *slot,
            None => {
                let kept = self.make_room();
                self.insert(event_type, symbol.clone(), kept)
            }
        };
        if let Some(topic) = topic_at(&mut self.topics, slot) {
            topic.pinned = true;
            topic.condense(&self.config.checker, &self.seq_key);
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

    /// The frame of a pinned topic's last event, marked as a snapshot. Built once and shared until the next event.
    pub fn snapshot(&mut self, slot: Slot) -> Option<Bytes> {
        topic_at(&mut self.topics, slot)?.snapshot()
    }

    /// Begins to look up the last value of a pinned topic that has none: `Some` while that is under way, and whether it had been
    /// already. `None` where workers keep none, or it has been looked up.
    pub fn look_up(&mut self, slot: Slot) -> Option<bool> {
        let types = self.config.look_up?;
        let topic = topic_at(&mut self.topics, slot).filter(|topic| types.contains(topic.event_type))?;
        topic.kept.then(|| topic.begin_look_up())?
    }

    /// Takes what was looked up, unless an event came first; returns the `seq` of what is now the last value.
    pub fn looked_up(
        &mut self,
        event_type: EventType,
        symbol: &Symbol,
        payload: Option<&[u8]>,
        failed: bool,
        now_ms: u64,
    ) -> Option<u64> {
        let slot = *self.by_symbol[event_type as usize].get(symbol)?;
        let checker = self.config.checker;
        topic_at(&mut self.topics, slot)?.end_look_up(payload, failed, now_ms, &checker)
    }

    /// The symbols that begin with `prefix` and have a last value, in order.
    pub fn known(&mut self, event_type: EventType, prefix: &[u8]) -> Vec<Symbol> {
        let checker = self.config.checker;
        let of_type = self.topics.iter_mut().flatten().filter(|topic| topic.event_type == event_type);
        let matching = of_type.filter(|topic| topic.symbol.as_bytes().starts_with(prefix));
        let known = matching.filter_map(|topic| {
            topic.condense(&checker, &self.seq_key);
            topic.has_value().then(|| topic.symbol.clone())
        });
        let mut known: Vec<_> = known.collect();
        known.sort_unstable();
        known
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
        let checker = self.config.checker;
        let Some(topic) = topic_at(&mut self.topics, slot) else { return };
        topic.settle(&checker);
        let (event_type, symbol) = (topic.event_type, topic.symbol.clone());
        if let Ok(event) = checker.check(event_type, payload, symbol.as_bytes()) {
            self.take(slot, &event, now_ms);
        }
    }

    /// A place for a topic that is heard of for the first time, if there is one.
    fn admit(&mut self, event_type: EventType, symbol: &[u8]) -> Option<Slot> {
        if !self.make_room() {
            return None;
        }
        let symbol = Symbol::parse(symbol, SymbolCase::Exact)?;
        Some(self.insert(event_type, symbol, true))
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

    fn insert(&mut self, event_type: EventType, symbol: Symbol, kept: bool) -> Slot {
        self.kept += usize::from(kept);
        let topic = Topic::new(event_type, symbol.clone(), kept);
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.topics.push(None);
                Slot(self.topics.len() as u32 - 1)
            }
        };
        self.topics[slot.0 as usize] = Some(topic);
        self.by_symbol[event_type as usize].insert(symbol, slot);
        slot
    }

    fn forget(&mut self, slot: Slot) {
        let Some(topic) = self.topics.get_mut(slot.0 as usize).and_then(Option::take) else { return };
        self.kept -= usize::from(topic.kept);
        self.by_symbol[topic.event_type as usize].remove(&topic.symbol);
        self.free.push(slot);
    }
}

fn topic_at(topics: &mut [Option<Topic>], slot: Slot) -> Option<&mut Topic> {
    topics.get_mut(slot.0 as usize)?.as_mut()
}

/// A quote inside a JSON string has a backslash before it, so `"seq"` is a whole string: nearly always the key.
fn hint(seq_key: &Finder<'_>, payload: &[u8]) -> Hint {
    let Some(at) = seq_key.find(payload) else { return Hint::None };
    let rest = payload[at + seq_key.needle().len()..].trim_ascii_start();
    let Some(rest) = rest.strip_prefix(b":") else { return Hint::Unsure };
    let rest = rest.trim_ascii_start();
    let mut seq: u64 = 0;
    for (place, byte) in rest.iter().enumerate() {
        match byte {
            b'0'..=b'9' if seq < SEQ_END => seq = seq * 10 + u64::from(byte - b'0'),
            b',' | b'}' | b' ' | b'\t' | b'\n' | b'\r' if place > 0 && seq < SEQ_END => {
                return Hint::Seq(seq);
            }
            _ => return Hint::Unsure,
        }
    }
    Hint::Unsure
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
