//! One topic's part of the history.

mod pending;
mod value;

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::pending::Pending;
use self::value::{BesideFound, LastValue};
pub use self::value::{LookUp, LookingUp};
use super::Slot;
use super::aside::{Aside, EventAside, Order, Place};
use super::log::Position;
use super::reader::Reader;
use super::sequence::{Sequence, Verdict};
use crate::bus::LastEvent;
use crate::market::event::Event;
use crate::market::{Form, Kind, Symbol};
use crate::protocol::native::event::Openings;

/// When an event arrived.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Arrival {
    /// In Unix milliseconds.
    pub(super) ms: u64,
    /// Among those of all topics.
    pub(super) order: Order,
}

/// What is remembered of one topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) kind: Kind,
    pub(super) symbol: Symbol,
    /// Somebody wants it.
    pub(super) pinned: bool,
    /// It counts towards the bound; only a pinned topic may not, and then nothing but its sequence is remembered.
    pub(super) kept: bool,
    /// Heard of since the search for a topic to forget last came by.
    pub(super) recent: bool,
    /// An event has come since [`Topic::silence`] last looked.
    heard: bool,
    /// When [`Topic::silence`] last found that an event had come, or first looked.
    silent_since: Option<Instant>,
    /// Its newest entry in the log.
    pub(super) newest: Position,
    /// The newest entry in the log that has been looked into with all before it.
    pub(super) read_up_to: Position,
    /// Some events are in the log alone and have not been looked into: what they seem to be is claimed in the sequence.
    pub(super) has_claims: bool,
    /// The highest `seq` that the events set aside seem to have; the sequence's last one while there are none.
    claimed_seq: Option<u64>,
    pub(super) sequence: Sequence,
    value: LastValue,
    /// Events that arrived since and have not been looked into.
    pending: Pending,
}

impl Topic {
    pub(super) fn new(kind: Kind, symbol: Symbol, kept: bool) -> Self {
        Self {
            kind,
            symbol,
            pinned: false,
            kept,
            recent: true,
            heard: false,
            silent_since: None,
            newest: Position::NONE,
            read_up_to: Position::NONE,
            has_claims: false,
            claimed_seq: None,
            sequence: Sequence::default(),
            value: LastValue::default(),
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

    /// Whether an event with that `seq` needs no look: it seems to be above all others.
    pub(super) fn seems_to_follow(&self, seq: u64) -> bool {
        self.claimed_seq.is_none_or(|last| seq > last)
    }

    /// Judges a good event, counts it in the sequence unless it is a repeat, and makes it the last value if it is the newest and
    /// the topic is kept.
    pub(super) fn take(&mut self, event: &Event<'_>, arrival: Arrival, reader: &Reader) -> Verdict {
        let is_first = self.sequence.last_seq().is_none();
        let judge = |seq| self.sequence.judge(seq, event.timestamp, reader.numbering);
        let verdict = event.seq.map_or(Verdict::Next, judge);
        self.claimed_seq = self.sequence.last_seq();
        let beside = self.value.compare_found(event, arrival.ms);
        if verdict.is_newest() && beside != BesideFound::Older && self.kept {
            self.value.store(event, arrival);
        }
        if is_first && beside == BesideFound::Restarted { Verdict::Restart } else { verdict }
    }

    /// Whether the topic still needs one of its events that is set aside.
    pub(super) fn needs(&self, place: Place) -> bool {
        self.pending.includes(place)
    }

    /// Sets an event aside that nobody has asked for. Its `seq` seems to be `claimed_seq`, which is above all others. There has to be room
    /// for it. `slot` is the topic's own.
    pub(super) fn set_aside(
        &mut self,
        slot: Slot,
        payload: &[u8],
        claimed_seq: Option<u64>,
        arrived_ms: u64,
        aside: &mut Aside,
        reader: &Reader,
    ) {
        self.claimed_seq = claimed_seq.or(self.claimed_seq);
        let previous = self.pending.newest();
        let place = aside.push(&EventAside { slot, previous, arrived_ms, payload });
        self.pending.push(place, claimed_seq);
        if self.pending.is_full() {
            self.condense(aside, reader);
        }
    }

    /// Looks into the newest good one of the events that are set aside: it stands for all of them. That is one check in
    /// [`PENDING_EVENTS`](crate::limits::PENDING_EVENTS) events, unless events are bad or their `seq` isn't what it seems.
    pub(super) fn condense(&mut self, aside: &Aside, reader: &Reader) {
        if self.pending.is_empty() {
            return;
        }
        let is_numbered = self.claimed_seq > self.sequence.last_seq();
        let mut older = self.pending.len();
        let mut at = self.pending.newest();
        while older > 0 {
            let EventAside { payload, arrived_ms, previous, .. } = aside.get(at);
            let arrival = Arrival { ms: arrived_ms, order: at.order() };
            (at, older) = (previous, older - 1);
            let Some(event) = self.read(payload, reader) else { continue };
            let is_as_it_seems = match event.seq {
                Some(seq) => {
                    self.pending.claimed()[older] == Some(seq) && self.sequence.last_seq() < Some(seq)
                }
                None => !is_numbered,
            };
            if is_as_it_seems {
                self.take(&event, arrival, reader);
                for claimed_seq in self.pending.claimed()[..older].iter().flatten() {
                    self.sequence.claim(*claimed_seq);
                    self.has_claims = true;
                }
                self.pending.clear();
            }
            break;
        }
        self.read_pending(aside, reader);
    }

    /// Looks into all events that are set aside, in order.
    pub(super) fn read_pending(&mut self, aside: &Aside, reader: &Reader) {
        for (at, EventAside { payload, arrived_ms, .. }) in self.pending.newest_first(aside).rev() {
            if let Some(event) = self.read(payload, reader) {
                self.take(&event, Arrival { ms: arrived_ms, order: at.order() }, reader);
            }
        }
        self.claimed_seq = self.sequence.last_seq();
        self.pending.clear();
    }

    /// The event that a payload is, if it is a good one.
    pub(super) fn read<'p>(&self, payload: &'p [u8], reader: &Reader) -> Option<Event<'p>> {
        reader.checker.check(self.kind, payload, self.symbol.as_bytes()).ok()
    }

    /// See [`super::History::look_up`].
    pub(super) fn begin_look_up(&mut self) -> LookUp {
        self.value.begin_look_up()
    }

    /// See [`super::History::looked_up`].
    pub(super) fn end_look_up(
        &mut self,
        payload: Option<&[u8]>,
        failed: bool,
        arrival: Arrival,
        reader: &Reader,
    ) -> Option<u64> {
        self.value.end_look_up(failed);
        if self.value.is_some() || !self.pending.is_empty() {
            return None;
        }
        let event = self.read(payload?, reader).filter(|event| {
            // Workers keep one value of a symbol, whatever its interval.
            !self.kind.has_intervals() || event.is_of_topic(self.symbol.as_bytes())
        })?;
        self.value.store_found(&event, arrival);
        event.seq
    }

    pub(super) fn has_value(&self) -> bool {
        self.value.is_some()
    }

    /// The last event, also if it was only set aside so far, and when it came.
    pub(super) fn last(
        &mut self,
        aside: &Aside,
        reader: &Reader,
        openings: &Openings,
        delayed_ms: Option<NonZeroU32>,
    ) -> Option<(Order, LastEvent)> {
        self.condense(aside, reader);
        let frame = self.snapshot(Form::JSON, openings, delayed_ms)?;
        self.value.last(frame)
    }

    /// The last value in a form, marked as a snapshot, and with the delay of the feed, if it has one.
    pub(super) fn snapshot(
        &mut self,
        form: Form,
        openings: &Openings,
        delayed_ms: Option<NonZeroU32>,
    ) -> Option<Bytes> {
        self.value.snapshot(form, self.kind, &self.symbol, openings, delayed_ms)
    }

    /// Events of the topic have been lost: its numbers begin again with the next one, and nothing before it is replayed.
    pub(super) fn begin_again(&mut self) {
        self.sequence = Sequence::default();
        (self.newest, self.read_up_to) = (Position::NONE, Position::NONE);
        (self.has_claims, self.claimed_seq) = (false, None);
    }
}
