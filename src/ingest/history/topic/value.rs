//! A topic's last value, from the feed or looked up where workers keep it.

use bytes::Bytes;

use super::super::sequence::Timestamp;
use crate::bus::LastEvent;
use crate::limits;
use crate::market::event::Event;
use crate::protocol::native::event::{Marker, write_event};

/// The last value of a topic, and how it is looked up.
#[derive(Debug, Default)]
pub(super) struct LastValue {
    stored: Option<Stored>,
    /// Its frame, once somebody has asked for it.
    frame: Option<Bytes>,
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
        self.frame = None;
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

    /// The last event; `opening` is that of its type.
    pub(super) fn last(&mut self, opening: &[u8]) -> Option<LastEvent> {
        let Stored { seq, arrived_ms, .. } = *self.stored.as_ref()?;
        Some(LastEvent { frame: self.snapshot(opening)?, seq, arrived_ms })
    }

    /// The frame, marked as a snapshot; `opening` is that of its type. Built once and shared until the value changes.
    pub(super) fn snapshot(&mut self, opening: &[u8]) -> Option<Bytes> {
        if self.frame.is_none() {
            let Stored { object, arrived_ms, .. } = self.stored.as_ref()?;
            let object = std::str::from_utf8(object).ok()?;
            let mut out = Vec::with_capacity(object.len() + limits::FRAME_OVERHEAD_MAX_BYTES);
            write_event(&mut out, opening, object, *arrived_ms, Marker::Snapshot);
            out.shrink_to_fit();
            self.frame = Some(out.into());
        }
        self.frame.clone()
    }
}
