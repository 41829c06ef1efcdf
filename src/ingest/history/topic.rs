//! One topic's part of the history.

use std::time::{Duration, Instant};

use bytes::Bytes;
use memchr::memmem::Finder;

use super::line::{Line, Timestamp, Verdict};
use super::log::Position;
use super::{Hint, hint};
use crate::limits;
use crate::market::event::{Checker, Event};
use crate::market::{EventType, Symbol};
use crate::protocol::native::event::{Marker, write_event};

/// What is remembered of one topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) event_type: EventType,
    pub(super) symbol: Symbol,
    /// Somebody wants it.
    pub(super) pinned: bool,
    /// It counts towards the bound; only a pinned topic may not, and then nothing but its line is remembered.
    pub(super) kept: bool,
    /// Heard of since the search for a topic to forget last came by.
    pub(super) recent: bool,
    /// An event has come since [`Topic::silence`] last looked.
    heard: bool,
    /// When [`Topic::silence`] last found that an event had come, or first looked.
    silent_since: Option<Instant>,
    /// Its newest entry in the log.
    pub(super) newest: Position,
    /// The highest `seq` that the events set aside seem to have; the line's last one while there are none.
    pub(super) seems_at: Option<u64>,
    pub(super) line: Line,
    value: Option<Value>,
    looked_up: LookedUp,
    /// The `seq` and `timestamp` of a value that was looked up, until the first event.
    found: Option<(u64, Timestamp)>,
    /// The value's frame, once somebody has asked for it.
    frame: Option<Bytes>,
    /// Events that arrived since and have not been looked into.
    pending: Pending,
}

/// Events as they came, back to back.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    /// For each where it ends and when it arrived, in Unix milliseconds.
    ends: Vec<(u32, u64)>,
}

impl Pending {
    fn push(&mut self, payload: &[u8], now_ms: u64) {
        self.bytes.extend_from_slice(payload);
        self.ends.push((self.bytes.len() as u32, now_ms));
    }

    fn get(&self, index: usize) -> (&[u8], u64) {
        let start = index.checked_sub(1).map_or(0, |previous| self.ends[previous].0 as usize);
        let (end, arrived_ms) = self.ends[index];
        (&self.bytes[start..end as usize], arrived_ms)
    }

    fn is_full(&self) -> bool {
        self.ends.len() >= limits::PENDING_EVENTS || self.bytes.len() >= limits::PENDING_BYTES
    }

    fn clear(&mut self) {
        self.ends.clear();
        self.bytes.clear();
        // One large event must not keep its memory for ever.
        self.bytes.shrink_to(limits::PENDING_BYTES);
    }
}

/// Whether the last value was looked up where workers keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LookedUp {
    Not,
    UnderWay,
    Done,
}

/// The newest valid event.
#[derive(Debug)]
struct Value {
    object: Vec<u8>,
    arrived_ms: u64,
}

impl Topic {
    pub(super) fn new(event_type: EventType, symbol: Symbol, kept: bool) -> Self {
        Self {
            event_type,
            symbol,
            pinned: false,
            kept,
            recent: true,
            heard: false,
            silent_since: None,
            newest: Position::NONE,
            seems_at: None,
            line: Line::default(),
            value: None,
            looked_up: LookedUp::Not,
            found: None,
            frame: None,
            pending: Pending::default(),
        }
    }

    pub(super) fn heard(&mut self) {
        self.heard = true;
        self.recent = true;
    }

    /// For how long no event has come, as precisely as this is asked regularly. That spares each event a look at the
    /// clock, and the worker's or the wall's clock has no say in it.
    pub(super) fn silence(&mut self, now: Instant) -> Duration {
        if std::mem::take(&mut self.heard) {
            self.silent_since = Some(now);
        }
        now.saturating_duration_since(*self.silent_since.get_or_insert(now))
    }

    /// Whether an event with that `seq` needs no look: it is above all others.
    pub(super) fn seems_to_follow(&self, seq: u64) -> bool {
        self.seems_at.is_none_or(|last| seq > last)
    }

    /// Judges a good event, and counts it in the line unless it is a repeat.
    pub(super) fn judge(&mut self, event: &Event<'_>) -> Verdict {
        let found = self.found.take();
        let verdict = event.seq.map_or(Verdict::Next, |seq| self.line.judge(seq, event.timestamp));
        self.seems_at = self.line.last_seq();
        match (found, event.seq) {
            // What was found is from before a restart: whoever has it has not seen this.
            (Some((before, then)), Some(seq))
                if seq <= before && Timestamp::parse(event.timestamp) > then =>
            {
                Verdict::Restart
            }
            _ => verdict,
        }
    }

    /// A good event becomes the last value.
    pub(super) fn store(&mut self, object: &[u8], arrived_ms: u64) {
        self.frame = None;
        let value = self.value.get_or_insert_with(|| Value { object: Vec::new(), arrived_ms });
        value.arrived_ms = arrived_ms;
        value.object.clear();
        // One large event must not keep its memory for ever.
        value.object.shrink_to(limits::PENDING_BYTES.max(object.len()));
        value.object.extend_from_slice(object);
    }

    /// Sets an event aside that nobody has asked for.
    pub(super) fn set_aside(&mut self, payload: &[u8], now_ms: u64, checker: &Checker, seq_key: &Finder<'_>) {
        self.pending.push(payload, now_ms);
        if self.pending.is_full() {
            self.condense(checker, seq_key);
        }
    }

    /// Makes room among the events set aside: the newest good one stands for all of them. That is one check in
    /// [`limits::PENDING_EVENTS`] events, unless events are bad or their `seq` isn't what it seems.
    pub(super) fn condense(&mut self, checker: &Checker, seq_key: &Finder<'_>) {
        let mut pending = std::mem::take(&mut self.pending);
        let numbered = self.seems_at > self.line.last_seq();
        for index in (0..pending.ends.len()).rev() {
            let (payload, arrived_ms) = pending.get(index);
            let Ok(event) = checker.check(self.event_type, payload, self.symbol.as_bytes()) else {
                continue;
            };
            let as_it_seems = match event.seq {
                Some(seq) => hint(seq_key, payload) == Hint::Seq(seq) && self.line.last_seq() < Some(seq),
                None => !numbered,
            };
            if as_it_seems {
                self.judge(&event);
                self.store(event.object.as_bytes(), arrived_ms);
                pending.clear();
            }
            break;
        }
        self.pending = pending;
        self.settle(checker);
    }

    /// Looks into all events that are set aside, in order.
    pub(super) fn settle(&mut self, checker: &Checker) {
        let mut pending = std::mem::take(&mut self.pending);
        for index in 0..pending.ends.len() {
            let (payload, arrived_ms) = pending.get(index);
            let Ok(event) = checker.check(self.event_type, payload, self.symbol.as_bytes()) else {
                continue;
            };
            if self.judge(&event) != Verdict::Repeat {
                self.store(event.object.as_bytes(), arrived_ms);
            }
        }
        self.seems_at = self.line.last_seq();
        pending.clear();
        self.pending = pending;
    }

    /// See [`super::History::look_up`].
    pub(super) fn begin_look_up(&mut self) -> Option<bool> {
        if self.looked_up == LookedUp::Done {
            return None;
        }
        Some(std::mem::replace(&mut self.looked_up, LookedUp::UnderWay) == LookedUp::UnderWay)
    }

    /// See [`super::History::looked_up`].
    pub(super) fn end_look_up(
        &mut self,
        payload: Option<&[u8]>,
        failed: bool,
        now_ms: u64,
        checker: &Checker,
    ) -> Option<u64> {
        self.looked_up = if failed { LookedUp::Not } else { LookedUp::Done };
        if self.value.is_some() || !self.pending.ends.is_empty() {
            return None;
        }
        let event = checker.check(self.event_type, payload?, self.symbol.as_bytes()).ok()?;
        self.store(event.object.as_bytes(), now_ms);
        self.found = event.seq.map(|seq| (seq, Timestamp::parse(event.timestamp)));
        event.seq
    }

    pub(super) fn has_value(&self) -> bool {
        self.value.is_some()
    }

    /// The last value's frame, marked as a snapshot.
    pub(super) fn snapshot(&mut self) -> Option<Bytes> {
        if self.frame.is_none() {
            let Value { object, arrived_ms } = self.value.as_ref()?;
            let object = std::str::from_utf8(object).ok()?;
            let mut out = Vec::with_capacity(object.len() + limits::FRAME_OVERHEAD_MAX_BYTES);
            write_event(&mut out, self.event_type, object, *arrived_ms, Marker::Snapshot);
            out.shrink_to_fit();
            self.frame = Some(out.into());
        }
        self.frame.clone()
    }
}
