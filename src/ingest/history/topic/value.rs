//! A topic's last value, from the feed or looked up where workers keep it.

use std::num::NonZeroU32;

use bytes::Bytes;
use smallvec::SmallVec;

use super::super::sequence::Timestamp;
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
    /// The `seq` and `timestamp` of a value that was looked up, until the feed has passed it.
    found: Option<(u64, Timestamp)>,
}

/// The newest valid event.
#[derive(Debug, Default)]
struct Stored {
    object: Vec<u8>,
    seq: Option<u64>,
    /// When it arrived, in Unix milliseconds.
    arrived_ms: u64,
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
    pub(super) fn store(&mut self, event: &Event<'_>, arrived_ms: u64) {
        self.snapshots.clear();
        let object = event.object.as_bytes();
        let stored = self.stored.get_or_insert_with(Stored::default);
        stored.arrived_ms = arrived_ms;
        stored.seq = event.seq;
        stored.object.clear();
        // One large event must not keep its memory for ever.
        stored.object.shrink_to(limits::PENDING_BYTES.max(object.len()));
        stored.object.extend_from_slice(object);
    }

    /// Compares an event of the feed to a value that was looked up, if there is one. Whoever has that value has seen none of what
    /// follows a restart.
    pub(super) fn compare_found(&mut self, event: &Event<'_>) -> BesideFound {
        let Some((before, then)) = self.found else { return BesideFound::Newer };
        let beside = match event.seq {
            Some(seq) if seq <= before && Timestamp::parse(event.timestamp) > then => BesideFound::Restarted,
            Some(seq) if seq < before => return BesideFound::Older,
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
    pub(super) fn store_found(&mut self, event: &Event<'_>, now_ms: u64) {
        self.store(event, now_ms);
        self.found = event.seq.map(|seq| (seq, Timestamp::parse(event.timestamp)));
    }

    /// The last event; `frame` is it as a snapshot.
    pub(super) fn last(&self, frame: Bytes) -> Option<LastEvent> {
        let Stored { seq, arrived_ms, .. } = *self.stored.as_ref()?;
        Some(LastEvent { frame, seq, arrived_ms })
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
        let Stored { object, seq, arrived_ms } = self.stored.as_ref()?;
        let object = std::str::from_utf8(object).ok()?;
        let mut out = Vec::with_capacity(object.len() + limits::FRAME_OVERHEAD_MAX_BYTES);
        let marker = Marker::SNAPSHOT.delayed(delayed_ms);
        let event = EventParts { kind, symbol, seq: *seq, object, at_ms: *arrived_ms, marker };
        if !form::write(&mut out, form, openings, &event) {
            return None;
        }
        out.shrink_to_fit();
        let snapshot = Bytes::from(out);
        self.snapshots.push((form, snapshot.clone()));
        Some(snapshot)
    }
}
