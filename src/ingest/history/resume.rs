//! What a client has missed, from the log.

use super::log::Position;
use super::{History, Slot, read_claims, topic_at};
use crate::bus::{Entry, TopicId};
use crate::limits::SEQ_WINDOW;
use crate::market::{Form, Numbering};
use crate::protocol::form::{self, EventParts};
use crate::protocol::native::event::Marker;

/// How far a client that has seen a certain `seq` of a topic can be helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// All that it has missed is in the replay; that may be nothing.
    Whole,
    /// The client has seen more than this gateway: it is not to be sent what it has seen.
    Ahead,
    /// The log doesn't reach back, or has a hole, or the worker has restarted its numbers, or there is no room: nothing is replayed.
    Lost,
}

/// Frames for one client, topic by topic.
#[derive(Debug)]
pub struct Replay {
    /// How many bytes of them there is room for.
    room_bytes: usize,
    /// The form of all of them.
    form: Form,
    /// Events as their form has them, one behind the other.
    pub bytes: Vec<u8>,
    /// One entry a frame, ends ascending.
    pub table: Vec<Entry>,
}

impl Replay {
    /// An empty replay in a form, with room for `room_bytes` bytes.
    pub fn with_room(room_bytes: usize, form: Form) -> Self {
        Self { room_bytes, form, bytes: Vec::new(), table: Vec::new() }
    }
}

impl History {
    /// Appends every event of a pinned topic behind `seen` to `replay`, under `id`: all of them or none.
    pub fn resume(&mut self, slot: Slot, seen: u64, id: TopicId, replay: &mut Replay) -> Resumed {
        let Some(topic) = topic_at(&mut self.topics, slot) else { return Resumed::Lost };
        if topic.has_claims {
            read_claims(topic, &mut self.log, &self.reader);
        }
        let Some(last) = topic.sequence.last_seq() else { return Resumed::Lost };
        if topic.sequence.is_ambiguous(seen) {
            return Resumed::Lost;
        }
        let (kind, symbol) = (topic.kind, topic.symbol.clone());
        if seen >= last {
            return if seen > last { Resumed::Ahead } else { Resumed::Whole };
        }
        let Some(missed) = self.missed(slot, seen, last) else { return Resumed::Lost };
        let room_bytes = replay.room_bytes.min(self.config.max_replay_bytes);
        let (bytes_before, frames_before) = (replay.bytes.len(), replay.table.len());
        for position in missed {
            let entry = self.log.get(position);
            let object = entry.and_then(|entry| std::str::from_utf8(entry.payload.trim_ascii()).ok());
            let is_written = entry.zip(object).is_some_and(|(entry, object)| {
                let (symbol, seq) = (&symbol, Some(entry.seq));
                let marker = Marker::REPLAY.delayed(self.config.delayed_ms);
                let event = EventParts { kind, symbol, seq, object, at_ms: entry.arrived_ms, marker };
                form::write(&mut replay.bytes, replay.form, &self.openings, &event)
            });
            if replay.bytes.len() > room_bytes || !is_written {
                replay.bytes.truncate(bytes_before);
                replay.table.truncate(frames_before);
                return Resumed::Lost;
            }
            replay.table.push(Entry { end: replay.bytes.len() as u32, topic: id });
        }
        Resumed::Whole
    }

    /// The entries behind `seen`, in the order of their numbers; `None` if one is missing, or may be.
    fn missed(&mut self, slot: Slot, seen: u64, last: u64) -> Option<Vec<Position>> {
        let topic = topic_at(&mut self.topics, slot)?;
        let is_contiguous = self.reader.numbering == Numbering::Contiguous;
        let count = usize::try_from(last - seen).ok()?;
        if is_contiguous && count > self.config.events_per_topic {
            return None;
        }
        let mut missed: Vec<(u64, Position)> = Vec::new();
        let mut at = topic.newest;
        // Entries that turn out to be bad are passed over; they count as well, so that the way has an end.
        for _ in 0..self.config.events_per_topic {
            let entry = self.log.get(at)?;
            let (checked, previous) = (entry.checked, entry.previous);
            let seq = match checked {
                true => Some(entry.seq),
                false => topic.read(entry.payload, &self.reader).and_then(|event| event.seq),
            };
            if let Some(seq) = seq {
                if !checked {
                    self.log.set_checked(at, seq);
                }
                if seq > seen {
                    missed.push((seq, at));
                }
                let is_whole = if is_contiguous { missed.len() == count } else { seq == seen };
                if is_whole {
                    // Late ones lie behind newer ones.
                    missed.sort_unstable_by_key(|(seq, _)| *seq);
                    missed.dedup_by_key(|(seq, _)| *seq);
                    let is_whole = !is_contiguous || missed.len() == count;
                    return is_whole.then(|| missed.into_iter().map(|(_, position)| position).collect());
                }
                // Before an event so far below no higher one has come: it would have been below the window.
                if seq + SEQ_WINDOW <= seen {
                    return None;
                }
            }
            at = previous;
        }
        None
    }
}
