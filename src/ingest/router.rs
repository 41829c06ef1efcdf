//! From an upstream event to the shards that want its topic. Pure; the clock comes in as Unix milliseconds.
//!
//! Ingest owns interest: the router knows which shard wants which topic, gives topics their ids and takes them back. An
//! event of a topic that nobody wants costs one look-up and is not looked into. One that is wanted is checked and
//! framed once, into the buffer of the first shard that wants it, and copied into those of the others: a few
//! hundred bytes, where sharing them would have cores fight over a reference count.
//!
//! Before the first event of a topic that a pattern of a shard matches, the topic is *opened* to the shard: the router hands over its id. From
//! then on the shard wants the topic, until it releases the id or, when it has too many, retires it ([`Router::retire`]). The epoch counts
//! new patterns; a topic remembers the epoch at which it was last held against them. So patterns cost an event one comparison.
//!
//! For a shard that is behind ([`Router::fall_behind`]) nothing is framed: its events are counted as lost, until it has caught up.

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::quality::RandomState;
use slotmap::SlotMap;

use super::history::{History, HistoryConfig, LookingUp, Slot, Verdict};
use super::losses::Losses;
use crate::bus::{Entry, Frames, SeqChange, SeqNotice, Seqs, TopicId};
use crate::limits;
use crate::market::event::{Checker, Event, Reject};
use crate::market::patterns::Patterns;
use crate::market::{self, Kind, Name, Pattern, SYMBOL_BYTES_MAX, Subject, Symbol, TOPIC_KEY_BYTES_MAX};
use crate::protocol::native::event::{Marker, Openings, write_event};

const _: () = assert!(limits::SHARDS_MAX <= u64::BITS as usize, "the interest mask has one bit a shard");

/// A topic (or pattern) that at least one shard wants.
#[derive(Debug)]
struct Topic {
    subject: Subject,
    /// The shards that know the id, one bit each.
    wanted_by: u64,
    /// [`Router::epoch`] when the topic was last opened to the shards whose patterns match it.
    epoch: u64,
    /// What is remembered of it; patterns have no history of their own.
    history: Option<Slot>,
    /// For the intervals of a candle's symbol: whether the value that workers keep of the symbol has been looked up.
    looking_up: LookingUp,
}

/// Frames for one shard since the last hand-over.
#[derive(Debug, Default)]
struct Building {
    bytes: Vec<u8>,
    table: Vec<Entry>,
    seqs: Seqs,
    /// Topics that the shard's patterns match and that it has to learn of before the frames.
    opened: Vec<(Subject, TopicId)>,
    /// Changes of sequence numbers between the frames.
    notices: Vec<SeqNotice>,
    /// While the shard is behind: what it has lost, in place of all the others.
    losses: Losses,
}

impl Building {
    /// The bytes appended since the last frame are a frame of `topic`.
    #[inline]
    fn end_frame(&mut self, topic: TopicId, seq: Option<u64>, verdict: Verdict) {
        if let Some(seq) = seq {
            self.seqs.set(self.table.len() as u32, seq, !verdict.is_newest());
        }
        self.table.push(Entry { end: self.bytes.len() as u32, topic });
    }
}

/// What a shard is handed at the end of a turn, in the order in which it has to learn of it.
#[derive(Debug, Default)]
pub struct Handoff {
    /// Topics that the shard's patterns match and whose events come from now on.
    pub opened: Vec<(Subject, TopicId)>,
    /// Events; `None` if there are none.
    pub frames: Option<Frames>,
    /// Changes of sequence numbers between the events.
    pub notices: Vec<SeqNotice>,
}

/// What a shard that is behind has to be told, in this order.
#[derive(Debug, Default)]
pub struct Reported {
    /// Topics that its patterns match and that came up meanwhile.
    pub opened: Vec<(Subject, TopicId)>,
    /// Events lost: counts by topic, each topic once.
    pub counts: Vec<(TopicId, u64)>,
    /// Changes of sequence numbers among the lost events.
    pub changes: Vec<(TopicId, SeqChange)>,
    /// Patterns whose clients have lost events of further topics, more than are counted.
    pub uncounted: Vec<TopicId>,
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
    /// By type, so that a look-up needs no more than the symbol's bytes.
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
            checker: history.checker,
            openings: Openings::new(&history.kinds),
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
        let known = match &subject.name {
            Name::Symbol(symbol) => self.by_symbol[subject.kind.index()].get(symbol).copied(),
            Name::Pattern(pattern) => self.by_pattern.get(subject.kind, pattern).copied(),
        };
        known.unwrap_or_else(|| self.add(subject.clone()))
    }

    fn add(&mut self, subject: Subject) -> TopicId {
        let Subject { kind, name } = subject.clone();
        let history = name.symbol().map(|symbol| self.history.pin(kind, symbol));
        // Behind the epoch: its first event finds out which patterns match.
        let epoch = self.epoch.wrapping_sub(1);
        let id = self.topics.insert(Topic {
            subject,
            wanted_by: 0,
            epoch,
            history,
            looking_up: LookingUp::default(),
        });
        match name {
            Name::Symbol(symbol) => {
                self.by_symbol[kind.index()].insert(symbol, id);
            }
            Name::Pattern(pattern) => self.by_pattern.insert(kind, pattern, id),
        }
        id
    }

    /// A shard does not want a topic any more. The last one's leave frees the id.
    pub fn release(&mut self, shard: usize, id: TopicId) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        topic.wanted_by &= !(1 << shard);
        if topic.wanted_by == 0
            && let Some(Topic { subject: Subject { kind, name }, history, .. }) = self.topics.remove(id)
        {
            if let Some(slot) = history {
                self.history.unpin(slot);
            }
            match &name {
                Name::Symbol(symbol) => self.by_symbol[kind.index()].remove(symbol),
                Name::Pattern(pattern) => self.by_pattern.remove(kind, pattern),
            };
        }
    }

    /// A shard gives a topic back that its patterns still match: it is not sent to it until its next event opens it anew, perhaps
    /// under the same id. What is framed for the shard already has to be handed over before it is told so.
    pub fn retire(&mut self, shard: usize, id: TopicId) {
        if let Some(topic) = self.topics.get_mut(id) {
            topic.epoch = self.epoch.wrapping_sub(1);
        }
        self.release(shard, id);
    }

    /// A live topic's id and its place in the history.
    pub(super) fn topic_of(&self, subject: &Subject) -> Option<(TopicId, Slot)> {
        let id = *self.by_symbol[subject.kind.index()].get(subject.name.symbol()?)?;
        Some((id, self.topics.get(id)?.history?))
    }

    /// The id of a live pattern.
    pub(super) fn pattern_of(&self, kind: Kind, pattern: &Pattern) -> Option<TopicId> {
        self.by_pattern.get(kind, pattern).copied()
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

    /// The last event of a topic, framed as a snapshot.
    pub(super) fn snapshot(&mut self, id: TopicId) -> Option<Bytes> {
        self.history.snapshot(self.topics.get(id)?.history?)
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
        let known = self.by_symbol[kind.index()].get(symbol).copied();
        if known.is_none() {
            let matched = self.matched_by(kind, symbol);
            if matched & !self.full() == 0 {
                if matched != 0 && self.checker.check(kind, payload, symbol).is_ok() {
                    self.note_uncounted(matched, kind, symbol);
                }
                self.history.keep(kind, symbol, payload, now_ms);
                return Routed::Unwanted;
            }
        }
        match self.checker.check(kind, payload, symbol) {
            Ok(event) => {
                let id = known.unwrap_or_else(|| self.add_symbol(kind, symbol));
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

    fn add_symbol(&mut self, kind: Kind, symbol: &[u8]) -> TopicId {
        self.add(Subject { kind, name: Name::Symbol(Symbol::of_topic(symbol)) })
    }

    /// The shards that want a pattern that matches a symbol, one bit each.
    fn matched_by(&self, kind: Kind, symbol: &[u8]) -> u64 {
        let patterns = self.by_pattern.matching(kind, symbol);
        patterns.filter_map(|id| self.topics.get(*id)).fold(0, |shards, pattern| shards | pattern.wanted_by)
    }

    /// Opens a topic to the shards whose patterns match it and that don't know it yet.
    pub(super) fn open(&mut self, id: TopicId) {
        self.open_except(id, 0);
    }

    /// Opens a topic, but not to the shards of this mask, which has one bit each.
    fn open_except(&mut self, id: TopicId, except: u64) {
        let Some(Topic { subject, wanted_by, .. }) = self.topics.get(id) else { return };
        let Some(symbol) = subject.name.symbol() else { return };
        let missing = self.matched_by(subject.kind, symbol.as_bytes()) & !wanted_by;
        let new = missing & !except;
        for shard in Shards(new) {
            self.building[shard].opened.push((subject.clone(), id));
        }
        if missing & except != 0 {
            // The epoch stays behind: the next event finds those shards again.
            let (kind, symbol) = (subject.kind, symbol.clone());
            self.note_uncounted(missing & except, kind, symbol.as_bytes());
        }
        let epoch = if missing == new { self.epoch } else { self.epoch.wrapping_sub(1) };
        if let Some(topic) = self.topics.get_mut(id) {
            topic.wanted_by |= new;
            topic.epoch = epoch;
        }
    }

    fn frame(&mut self, id: TopicId, event: &Event<'_>, now_ms: u64, verdict: Verdict) {
        let change = change_of(verdict);
        if self.topics.get(id).is_some_and(|topic| topic.epoch != self.epoch) {
            self.open_except(id, self.full());
        }
        let Some(topic) = self.topics.get(id) else { return };
        for shard in Shards(topic.wanted_by & self.behind) {
            let losses = &mut self.building[shard].losses;
            change.into_iter().for_each(|change| losses.note_change(id, change));
            losses.count(id);
            self.lost_events += 1;
        }
        let wanted_by = topic.wanted_by & !self.behind;
        if let Some(change) = change {
            for shard in Shards(wanted_by) {
                let Building { table, notices, .. } = &mut self.building[shard];
                notices.push(SeqNotice { before: table.len() as u32, topic: id, change });
            }
        }
        let mut shards = Shards(wanted_by);
        let Some(first) = shards.next() else { return };
        let building = &mut self.building[first];
        let start = building.bytes.len();
        let opening = self.openings.of(topic.subject.kind);
        write_event(&mut building.bytes, opening, event.object, now_ms, Marker::None);
        building.end_frame(id, event.seq, verdict);
        for shard in shards {
            let [from, to] =
                self.building.get_disjoint_mut([first, shard]).unwrap_or_else(|_| unreachable!());
            to.bytes.extend_from_slice(&from.bytes[start..]);
            to.end_frame(id, event.seq, verdict);
        }
    }

    /// Bytes framed for the shard that has most, since the last hand-over.
    pub fn building_bytes(&self) -> usize {
        self.building.iter().map(|building| building.bytes.len()).max().unwrap_or(0)
    }

    /// Takes the topics that have been opened to a shard and that [`Router::take`] has not handed over yet. The shard has to learn of
    /// them before it is answered a wish.
    pub fn take_opened(&mut self, shard: usize) -> Vec<(Subject, TopicId)> {
        self.building.get_mut(shard).map_or_else(Vec::new, |building| std::mem::take(&mut building.opened))
    }

    /// Takes what has come up for a shard since the last hand-over.
    pub fn take(&mut self, shard: usize, arrived_us: u64) -> Handoff {
        let Some(building) = self.building.get_mut(shard) else { return Handoff::default() };
        let Building { bytes, table, seqs, .. } = building;
        // Exactly sized copies: what an outbox keeps alive for long has no slack, and the buffers here stay warm.
        let frames = (!table.is_empty()).then(|| Frames {
            bytes: Bytes::copy_from_slice(bytes),
            table: table.as_slice().into(),
            seqs: seqs.take(),
            arrived_us,
        });
        bytes.clear();
        table.clear();
        let opened = std::mem::take(&mut building.opened);
        Handoff { opened, frames, notices: std::mem::take(&mut building.notices) }
    }

    /// A shard has no room for these events: they are lost, and so is all that comes until [`Router::catch_up`].
    pub fn fall_behind(&mut self, shard: usize, frames: &Frames, notices: Vec<SeqNotice>) {
        self.behind |= 1 << shard;
        self.lost_events += frames.table.len() as u64;
        let Some(Building { losses, .. }) = self.building.get_mut(shard) else { return };
        frames.table.iter().for_each(|entry| losses.count(entry.topic));
        notices.into_iter().for_each(|notice| losses.note_change(notice.topic, notice.change));
    }

    /// Whether events for a shard are counted as lost.
    pub fn is_behind(&self, shard: usize) -> bool {
        self.behind & (1 << shard) != 0
    }

    /// Whether events for any shard are counted as lost.
    pub fn is_any_behind(&self) -> bool {
        self.behind != 0
    }

    /// Takes what a shard has lost and has not been told of. It stays behind.
    pub fn report(&mut self, shard: usize) -> Reported {
        let Some(Building { opened, losses, .. }) = self.building.get_mut(shard) else {
            return Reported::default();
        };
        Reported {
            opened: std::mem::take(opened),
            counts: losses.take_counts(),
            changes: losses.take_changes(),
            uncounted: losses.take_uncounted(),
        }
    }

    /// A shard has room again, and has been told of its losses: events are framed for it from now on.
    pub fn catch_up(&mut self, shard: usize) {
        self.behind &= !(1 << shard);
    }

    /// How many events were lost since this was last asked: each as often as shards have lost it.
    pub fn take_lost_events(&mut self) -> u64 {
        std::mem::take(&mut self.lost_events)
    }

    /// The shards that are behind and have no room for further topics, one bit each.
    fn full(&self) -> u64 {
        let is_full = |shard: &usize| self.building[*shard].opened.len() >= self.opened_behind_max;
        Shards(self.behind).filter(is_full).fold(0, |full, shard| full | (1 << shard))
    }

    /// Records that these shards, which have no room for the topic, lose one event of it.
    fn note_uncounted(&mut self, shards: u64, kind: Kind, symbol: &[u8]) {
        self.lost_events += u64::from(shards.count_ones());
        for id in self.by_pattern.matching(kind, symbol) {
            let wanted_by = self.topics.get(*id).map_or(0, |pattern| pattern.wanted_by);
            for shard in Shards(wanted_by & shards) {
                self.building[shard].losses.note_uncounted(*id);
            }
        }
    }
}

/// What shards have to be told before an event.
fn change_of(verdict: Verdict) -> Option<SeqChange> {
    match verdict {
        Verdict::Gap { from, to } => Some(SeqChange::Gap { from, to }),
        Verdict::Restart => Some(SeqChange::Restarted),
        Verdict::Next | Verdict::Late | Verdict::Repeat => None,
    }
}

/// The set bits of an interest mask.
struct Shards(u64);

impl Iterator for Shards {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let shard = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(shard)
    }
}

#[cfg(test)]
mod model_tests;

#[cfg(test)]
mod tests;
