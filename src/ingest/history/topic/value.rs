//! A topic's last value, from the feed or looked up where workers keep it.

use std::num::NonZeroU32;

use bytes::Bytes;
use smallvec::SmallVec;

use super::super::aside::Order;
use super::super::sequence::Timestamp;
use super::Arrival;
use crate::bus::LastEvent;
use crate::limits;
use crate::market::event::Event;
use crate::market::{Form, Kind, Symbol};
use crate::protocol::form::{self, EventParts};
use crate::protocol::native::event::{Marker, Openings};

/// The last value of a topic, and how it is looked up.
#[derive(Debug, Default)]
pub(super) struct LastValue {
    stored: Option<Stored>,
    /// As a snapshot, in each form that somebody has asked for.
    snapshots: SmallVec<[(Form, Bytes); 1]>,
    looking_up: LookingUp,
    /// A value that was looked up, until the feed has passed it.
    found: Option<FoundSeq>,
}

/// The place of a value that was looked up among the events of the feed.
#[derive(Debug)]
struct FoundSeq {
    seq: u64,
    timestamp: Timestamp,
    /// When it was found, in Unix milliseconds.
    found_ms: u64,
}

/// The newest valid event.
#[derive(Debug, Default)]
struct Stored {
    object: Vec<u8>,
    seq: Option<u64>,
    arrival: Arrival,
}

/// Whether a last value was looked up where workers keep it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LookingUp {
    /// It was not, or that has failed.
    #[default]
    NotYet,
    /// It is being looked up.
    UnderWay,
    /// It was.
    Done,
}

impl LookingUp {
    /// Somebody asks for the value.
    pub fn begin(&mut self) -> LookUp {
        match self {
            Self::Done => LookUp::Unavailable,
            Self::UnderWay => LookUp::UnderWay,
            Self::NotYet => {
                *self = Self::UnderWay;
                LookUp::Begin
            }
        }
    }

    /// The look-up has ended. After a failure somebody else may begin another.
    pub fn end(&mut self, failed: bool) {
        *self = if failed { Self::NotYet } else { Self::Done };
    }
}

/// What becomes of a wish for a value that has to be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookUp {
    /// It has to be looked up now.
    Begin,
    /// It is being looked up for somebody else.
    UnderWay,
    /// Workers keep none, or it has been looked up.
    Unavailable,
}

/// How an event of the feed stands to a value that was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BesideFound {
    /// It is newer, or there is none.
    Newer,
    /// It was published before the value.
    Older,
    /// The value is from before a restart of the worker's numbers.
    Restarted,
}

impl LastValue {
    pub(super) fn is_some(&self) -> bool {
        self.stored.is_some()
    }

    /// A good event becomes the last value.
    pub(super) fn store(&mut self, event: &Event<'_>, arrival: Arrival) {
        self.snapshots.clear();
        let object = event.object.as_bytes();
        let stored = self.stored.get_or_insert_with(Stored::default);
        stored.arrival = arrival;
        stored.seq = event.seq;
        stored.object.clear();
        // One large event must not keep its memory for ever.
        stored.object.shrink_to(limits::PENDING_BYTES.max(object.len()));
        stored.object.extend_from_slice(object);
    }

    /// Compares an event of the feed to a value that was looked up, if there is one. Whoever has that value has seen none of what
    /// follows a restart. A value that the feed hasn't passed within [`limits::AHEAD_MAX_US`] is from before one.
    pub(super) fn compare_found(&mut self, event: &Event<'_>, arrived_ms: u64) -> BesideFound {
        let Some(FoundSeq { seq: before, timestamp, found_ms }) = &self.found else {
            return BesideFound::Newer;
        };
        let is_over = arrived_ms.abs_diff(*found_ms) >= limits::AHEAD_MAX_US / 1_000;
        let beside = match event.seq {
            Some(seq) if seq <= *before && Timestamp::parse(event.timestamp) > *timestamp => {
                BesideFound::Restarted
            }
            Some(seq) if seq < *before && !is_over => return BesideFound::Older,
            _ => BesideFound::Newer,
        };
        self.found = None;
        beside
    }

    /// See [`History::look_up`](super::super::History::look_up).
    pub(super) fn begin_look_up(&mut self) -> LookUp {
        self.looking_up.begin()
    }

    /// The look-up has ended. After a failure the next request may begin another.
    pub(super) fn end_look_up(&mut self, failed: bool) {
        self.looking_up.end(failed);
    }

    /// An event that was looked up becomes the last value.
    pub(super) fn store_found(&mut self, event: &Event<'_>, arrival: Arrival) {
        self.store(event, arrival);
        let timestamp = Timestamp::parse(event.timestamp);
        self.found = event.seq.map(|seq| FoundSeq { seq, timestamp, found_ms: arrival.ms });
    }

    /// The last event, and when it came; `frame` is it as a snapshot.
    pub(super) fn last(&self, frame: Bytes) -> Option<(Order, LastEvent)> {
        let Stored { seq, arrival, .. } = *self.stored.as_ref()?;
        Some((arrival.order, LastEvent { frame, seq }))
    }

    /// The last event of that topic in a form, marked as a snapshot. Built once and shared until the value changes.
    pub(super) fn snapshot(
        &mut self,
        form: Form,
        kind: Kind,
        symbol: &Symbol,
        openings: &Openings,
        delayed_ms: Option<NonZeroU32>,
    ) -> Option<Bytes> {
        if let Some((_, snapshot)) = self.snapshots.iter().find(|(known, _)| *known == form) {
            return Some(snapshot.clone());
        }
        let Stored { object, seq, arrival } = self.stored.as_ref()?;
        let object = std::str::from_utf8(object).ok()?;
        let mut out = Vec::with_capacity(object.len() + limits::FRAME_OVERHEAD_MAX_BYTES);
        let marker = Marker::SNAPSHOT.delayed(delayed_ms);
        let event = EventParts { kind, symbol, seq: *seq, object, at_ms: arrival.ms, marker };
        if !form::write(&mut out, form, openings, &event) {
            return None;
        }
        out.shrink_to_fit();
        let snapshot = Bytes::from(out);
        self.snapshots.push((form, snapshot.clone()));
        Some(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;
    use crate::market::Kinds;
    use crate::market::event::Checker;

    /// In a type whose events have no `timestamp`, no restart is seen by it.
    #[test]
    fn a_value_that_the_feed_does_not_pass_in_time_is_from_before_a_restart() {
        let checker = Checker::with_max_bytes(1_000);
        let custom = Kinds::from_str("funding").unwrap().carried().next().unwrap();
        let [old, third, fourth] = [50_000, 3, 4].map(|seq| format!(r#"{{"seq":{seq}}}"#));
        let [old, third, fourth] =
            [&old, &third, &fourth].map(|payload| checker.check(custom, payload.as_bytes(), b"A").unwrap());
        let mut value = LastValue::default();
        value.store_found(&old, Arrival { ms: 1_000, order: Order::default() });
        let end_ms = 1_000 + limits::AHEAD_MAX_US / 1_000;
        assert_eq!(value.compare_found(&third, end_ms - 1), BesideFound::Older);
        assert_eq!(value.compare_found(&fourth, end_ms), BesideFound::Newer);
        assert_eq!(value.compare_found(&third, end_ms), BesideFound::Newer, "it is forgotten");
    }
}
