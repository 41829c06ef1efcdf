//! Batches under construction: what is framed for each shard until it is handed over. Pure.
//!
//! A shard has one buffer for each form, so that the events of a form lie side by side, and a client's run of them is one slice.

use std::num::NonZeroU32;

use bytes::Bytes;

use super::{Bits, Topic};
use crate::bus::{Entry, Frames, SeqChange, SeqNotice, Seqs, TopicId};
use crate::ingest::history::Verdict;
use crate::ingest::losses::Losses;
use crate::market::event::Event;
use crate::market::{Form, Subject};
use crate::protocol::form::{self, EventParts};
use crate::protocol::native::event::{Marker, Openings};

const _: () = assert!(Form::COUNT <= u64::BITS as usize, "a shard has one bit for each form");

/// What has come up for one shard since the last hand-over.
#[derive(Debug)]
pub(super) struct Building {
    /// By form.
    parts: [Part; Form::COUNT],
    /// The forms of which something is framed, one bit each.
    filled: u64,
    /// Topics that the shard's patterns match and that it has to learn of before the frames.
    pub(super) opened: Vec<(Subject, TopicId)>,
    /// While the shard is behind: what it has lost, in place of all the others.
    pub(super) losses: Losses,
}

/// Frames of one form.
#[derive(Debug, Default)]
struct Part {
    bytes: Vec<u8>,
    table: Vec<Entry>,
    seqs: Seqs,
    /// Changes of sequence numbers between the frames.
    notices: Vec<SeqNotice>,
}

/// What a shard is handed at the end of a turn, in the order in which it has to learn of it.
#[derive(Debug, Default)]
pub struct Handoff {
    /// Topics that the shard's patterns match and whose events come from now on.
    pub opened: Vec<(Subject, TopicId)>,
    /// Events, those of each form by themselves.
    pub batches: Vec<Batch>,
}

/// Events of one form, at least one.
#[derive(Debug)]
pub struct Batch {
    /// The events.
    pub frames: Frames,
    /// Changes of sequence numbers between them.
    pub notices: Vec<SeqNotice>,
}

impl Part {
    /// The bytes appended since the last frame are a frame of `topic`.
    #[inline]
    fn end_frame(&mut self, topic: TopicId, seq: Option<u64>, verdict: Verdict) {
        if let Some(seq) = seq {
            self.seqs.set(self.table.len() as u32, seq, !verdict.is_newest());
        }
        self.table.push(Entry { end: self.bytes.len() as u32, topic });
    }
}

impl Default for Building {
    fn default() -> Self {
        Self {
            parts: std::array::from_fn(|_| Part::default()),
            filled: 0,
            opened: Vec::new(),
            losses: Losses::default(),
        }
    }
}

impl Building {
    /// Bytes framed.
    pub(super) fn bytes(&self) -> usize {
        Bits(self.filled).map(|place| self.parts[place].bytes.len()).sum()
    }

    /// The forms of which something is framed, in the order of their numbers.
    pub(super) fn forms(&self) -> impl Iterator<Item = Form> + use<> {
        Bits(self.filled).map(|place| Form::ALL[place])
    }

    /// Takes what is framed in a form.
    #[inline]
    pub(super) fn take(&mut self, form: Form, arrived_us: u64) -> Option<Batch> {
        self.filled &= !(1 << form.index());
        let Part { bytes, table, seqs, notices } = &mut self.parts[form.index()];
        if table.is_empty() {
            return None;
        }
        // Exactly sized copies: what an outbox keeps alive for long has no slack, and the buffers here stay warm.
        let frames = Frames {
            form,
            bytes: Bytes::copy_from_slice(bytes),
            table: table.as_slice().into(),
            seqs: seqs.take(),
            arrived_us,
        };
        bytes.clear();
        table.clear();
        Some(Batch { frames, notices: std::mem::take(notices) })
    }
}

/// An event on its way into the buffers of the shards that want it.
pub(super) struct Framing<'r, 'p> {
    pub(super) building: &'r mut [Building],
    /// The shards that are behind, one bit each.
    pub(super) behind: u64,
    pub(super) lost_events: &'r mut u64,
    /// Events, once for each form that has no words for one.
    pub(super) unwritten: &'r mut u64,
    pub(super) openings: &'r Openings,
    pub(super) event: &'r Event<'p>,
    pub(super) now_ms: u64,
    /// Of a delayed feed.
    pub(super) delayed_ms: Option<NonZeroU32>,
    pub(super) verdict: Verdict,
}

impl Framing<'_, '_> {
    /// Frames the event in the form of a topic, once, for all shards that want that. A shard that is behind loses it.
    #[inline]
    pub(super) fn frame(&mut self, id: TopicId, topic: &Topic) {
        let Self { building, behind, openings, event, verdict, .. } = self;
        let change = change_of(*verdict);
        for shard in Bits(topic.wanted_by & *behind) {
            let losses = &mut building[shard].losses;
            change.into_iter().for_each(|change| losses.note_change(id, change));
            losses.count(id);
            *self.lost_events += 1;
        }
        let form = topic.subject.form;
        let wanted_by = topic.wanted_by & !*behind;
        if let Some(change) = change {
            for shard in Bits(wanted_by) {
                let Part { table, notices, .. } = &mut building[shard].parts[form.index()];
                notices.push(SeqNotice { before: table.len() as u32, topic: id, change });
            }
        }
        let mut shards = Bits(wanted_by);
        let (Some(first), Some(symbol)) = (shards.next(), topic.subject.name.symbol()) else { return };
        let part = &mut building[first].parts[form.index()];
        let start = part.bytes.len();
        let Event { object, seq, .. } = **event;
        let kind = topic.subject.kind;
        let marker = Marker::NONE.delayed(self.delayed_ms);
        let parts = EventParts { kind, symbol, seq, object, at_ms: self.now_ms, marker };
        if !form::write(&mut part.bytes, form, openings, &parts) {
            *self.unwritten += 1;
            return;
        }
        part.end_frame(id, seq, *verdict);
        building[first].filled |= 1 << form.index();
        for shard in shards {
            let [from, to] = building.get_disjoint_mut([first, shard]).unwrap_or_else(|_| unreachable!());
            let (from, to) = (&from.parts[form.index()], &mut to.parts[form.index()]);
            to.bytes.extend_from_slice(&from.bytes[start..]);
            to.end_frame(id, seq, *verdict);
            building[shard].filled |= 1 << form.index();
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
