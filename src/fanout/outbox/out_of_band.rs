//! Ping and pong frames that overtake the queue, counts of skipped events to announce, and the message that is partly written. Most clients
//! have none of them at most times, so they are in a box of their own. Clients whose events are parts of messages always have the box: what
//! is particular to them is behind the same test, and costs the others nothing.

use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::RandomState;

use super::super::batch::Batch;
use super::messages::Begun;
use super::{Announce, Outbox, Run, Scratch};
use crate::bus::TopicId;
use crate::protocol::wrapping::Wrapping;

/// What a client has beside its queue.
#[derive(Debug, Default)]
pub(super) struct OutOfBand {
    /// Complete ping and pong frames.
    control: Vec<u8>,
    control_written_bytes: usize,
    /// How many events of each topic are skipped and not announced yet.
    skipped: HashMap<TopicId, u64, RandomState>,
    /// The announcement that is the last chunk. Until its first byte is written it is not queued, and its count may grow.
    offered: Option<(TopicId, Rc<Batch>)>,
    /// The topic of an announcement that is written and stands directly before the first event of the queue, until that is begun. Nothing
    /// may skip or replace the event.
    announced: Option<TopicId>,
    /// How the client's events become messages; `None` if each is one.
    wrapping: Option<Wrapping>,
    /// These messages may be compressed.
    pub(super) deflate: bool,
    /// The message of several events of which a byte is written.
    pub(super) begun: Option<Begun>,
}

impl OutOfBand {
    /// That of a client whose events are parts of messages, which may be compressed.
    pub(super) fn of_messages(wrapping: Wrapping, deflate: bool) -> Self {
        Self { wrapping: Some(wrapping), deflate, ..Self::default() }
    }

    /// Whether nothing in here is needed any more.
    pub(super) fn is_needless(&self) -> bool {
        self.is_idle() && self.wrapping.is_none()
    }

    /// Whether nothing of it waits.
    pub(super) fn is_idle(&self) -> bool {
        self.control.is_empty() && self.skipped.is_empty() && self.begun.is_none()
    }

    /// Bytes of pings and pongs not yet written.
    pub(super) fn control_bytes(&self) -> usize {
        self.control.len() - self.control_written_bytes
    }

    /// The topics of skipped events that are not announced yet.
    pub(super) fn skipped(&self) -> impl Iterator<Item = TopicId> {
        self.skipped.keys().copied()
    }

    /// Drops the counts, and pings and pongs unless they are partly written; `false` if none of it is needed then.
    pub(super) fn clear(&mut self) -> bool {
        self.skipped.clear();
        self.offered = None;
        self.announced = None;
        if self.control_written_bytes == 0 {
            self.control = Vec::new();
        }
        !self.is_needless()
    }

    /// Whether pings or pongs are next: they overtake, but only at a frame boundary.
    fn control_is_due(&self, at_boundary: bool) -> bool {
        !self.control.is_empty() && (at_boundary || self.control_written_bytes > 0)
    }

    /// A topic whose skipped events have to be announced before `head`. With an empty queue that is any topic.
    fn due_announcement(&self, head: Option<&Run>) -> Option<TopicId> {
        if self.skipped.is_empty() {
            return None;
        }
        let Some(head) = head else { return self.skipped.keys().next().copied() };
        let topic = head.batch.topic(head.from);
        if self.skipped.contains_key(&topic) {
            return Some(topic);
        }
        head.batch.ended_topics().iter().copied().find(|ended| self.skipped.contains_key(ended))
    }

    /// Whether skipped events must be announced before the first frame of `run`.
    pub(super) fn announces_before(&self, run: &Run) -> bool {
        self.due_announcement(Some(run)).is_some()
    }

    /// Whether something has to come before a frame of `run`, which is none of the first that are written next.
    pub(super) fn is_due_before(&self, run: &Run, frame: u32) -> bool {
        let is_event = !run.batch.is_own();
        !self.control.is_empty()
            || (!self.skipped.is_empty()
                && if is_event {
                    self.skipped.contains_key(&run.batch.topic(frame))
                } else {
                    self.announces_before(run)
                })
    }
}

impl Outbox {
    /// Queues a ping or pong frame, to leave at the next frame boundary.
    pub fn push_control(&mut self, frame: &[u8]) {
        self.out_of_band().control.extend_from_slice(frame);
    }

    /// The topics of skipped events that are not announced yet.
    pub fn skipped(&self) -> impl Iterator<Item = TopicId> {
        self.out_of_band.iter().flat_map(|out_of_band| out_of_band.skipped())
    }

    /// How many topics have skipped events that are not announced yet.
    pub fn skipped_topics(&self) -> usize {
        self.out_of_band.as_ref().map_or(0, |out_of_band| out_of_band.skipped.len())
    }

    /// Counts events as skipped. They are announced even if they were never queued.
    pub fn note_skipped(&mut self, topic: TopicId, count: u64) {
        *self.out_of_band().skipped.entry(topic).or_default() += count;
    }

    /// [`Outbox::chunk`] of a client that has [`OutOfBand`]. The chunk ends where an announcement, ping or pong is due, so it is always
    /// copied into `scratch`.
    #[cold]
    pub(super) fn chunk_with_out_of_band<'o>(
        &mut self,
        scratch: &'o mut Scratch,
        announce: Announce<'_>,
    ) -> &'o [u8] {
        let at_boundary = self.is_at_boundary();
        let Scratch { bytes, messages } = scratch;
        let Some(mut out_of_band) = self.out_of_band.take() else { return &[] };
        bytes.clear();
        messages.clear();
        if !self.offer(&mut out_of_band, at_boundary, bytes, announce) {
            match (&out_of_band.begun, out_of_band.wrapping) {
                (Some(begun), _) => self.gather_rest(begun, bytes),
                (None, Some(wrapping)) => self.gather_messages(bytes, messages, wrapping, &out_of_band),
                (None, None) => self.gather_frames(bytes, |frame| {
                    !out_of_band.control.is_empty() || out_of_band.announces_before(frame)
                }),
            }
        }
        self.out_of_band = Some(out_of_band);
        bytes
    }

    /// Whether the client's events are parts of messages.
    pub(super) fn has_messages_of_events(&self) -> bool {
        self.out_of_band.as_ref().is_some_and(|out_of_band| out_of_band.wrapping.is_some())
    }

    /// Puts pings and pongs into `scratch`, or an announcement, if one of them is next. `false`: the queue is.
    fn offer(
        &self,
        out_of_band: &mut OutOfBand,
        at_boundary: bool,
        scratch: &mut Vec<u8>,
        announce: Announce<'_>,
    ) -> bool {
        out_of_band.offered = None;
        if out_of_band.control_is_due(at_boundary) {
            scratch.extend_from_slice(&out_of_band.control[out_of_band.control_written_bytes..]);
            return true;
        }
        // What was skipped since an announcement is behind the event that it stands before.
        let may_announce = at_boundary && out_of_band.announced.is_none();
        let due = out_of_band.due_announcement(self.head.as_ref()).filter(|_| may_announce);
        let Some(topic) = due else { return false };
        let batch = announce(topic, out_of_band.skipped[&topic]);
        scratch.extend_from_slice(batch.slice(0, batch.start(1)));
        out_of_band.offered = Some((topic, batch));
        true
    }

    /// The part of [`Outbox::advance`] that concerns [`OutOfBand`]. `true`: what was written were pings and pongs, and nothing of the
    /// queue. An offered announcement of which a byte was written becomes the head.
    pub(super) fn advance_out_of_band(&mut self, written: usize) -> bool {
        let at_boundary = self.is_at_boundary();
        let Some(out_of_band) = &mut self.out_of_band else { return false };
        if out_of_band.control_is_due(at_boundary) {
            out_of_band.control_written_bytes += written;
            if out_of_band.control_written_bytes >= out_of_band.control.len() {
                out_of_band.control = Vec::new();
                out_of_band.control_written_bytes = 0;
            }
            self.shrink();
            return true;
        }
        // An announcement that nobody could name has no bytes. It counts as written, or it would be offered for ever.
        if let Some((topic, batch)) = out_of_band.offered.take()
            && (written > 0 || batch.start(1) == 0)
        {
            out_of_band.skipped.remove(&topic);
            let is_before_event = self.head.as_ref().is_some_and(|head| head.batch.topic(head.from) == topic);
            out_of_band.announced = is_before_event.then_some(topic);
            self.own_bytes += batch.start(1);
            let old_head = self.head.replace(Run { batch, from: 0, to: 1 });
            if let Some(run) = old_head {
                self.tail.get_or_insert_default().push_front(run);
            }
        }
        false
    }

    /// Whether an announcement is written that stands directly before the first event of the queue.
    pub(super) fn is_first_event_announced(&self) -> bool {
        self.out_of_band.as_ref().is_some_and(|out_of_band| out_of_band.announced.is_some())
    }

    /// An event is begun.
    pub(super) fn forget_announced(&mut self) {
        if let Some(out_of_band) = &mut self.out_of_band {
            out_of_band.announced = None;
        }
    }

    /// Copies the head's first frame and those behind it into `scratch`, until one doesn't fit or `stop_before` is true of it.
    fn gather_frames(&self, scratch: &mut Vec<u8>, stop_before: impl Fn(&Run) -> bool) {
        scratch.clear();
        let mut skip_bytes = self.head_written_bytes;
        for run in self.runs() {
            for index in run.from..run.to {
                let frame = Run { batch: Rc::clone(&run.batch), from: index, to: index + 1 };
                let full = scratch.len() + frame.bytes() as usize > scratch.capacity();
                if !scratch.is_empty() && (full || stop_before(&frame)) {
                    return;
                }
                let start = run.batch.start(index) + std::mem::take(&mut skip_bytes);
                scratch.extend_from_slice(run.batch.slice(start, run.batch.start(index + 1)));
            }
        }
    }

    pub(super) fn out_of_band(&mut self) -> &mut OutOfBand {
        self.out_of_band.get_or_insert_default()
    }
}
