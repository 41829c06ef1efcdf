//! What waits to be written to one client: a bounded queue of runs of shared frames, and the policies' tools.
//!
//! Pure: no socket, no clock. The shard asks for the next [`Outbox::chunk`], writes as much of it as the socket takes
//! and reports that to [`Outbox::advance`]. A *run* is a range of adjacent frames of one batch, so a burst costs
//! a client one entry and shared bytes are never copied into the queue. The first run lives inline: a lone trade
//! allocates nothing, and an empty outbox owns no memory.
//!
//! Order: frames leave in the order in which they were queued. Pings and pongs overtake at the next frame boundary.
//! What was skipped is announced directly before the topic's next event, before the reply that ends its subscription,
//! or once the queue is empty; the count is fixed when the announcement's first byte is written.

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use foldhash::fast::RandomState;
use slotmap::Key;

use super::batch::{Batch, TopicId};
use crate::market::Subject;

/// Frames `from..to` of a batch.
#[derive(Debug)]
struct Run {
    batch: Rc<Batch>,
    from: u32,
    to: u32,
}

impl Run {
    fn bytes(&self) -> u32 {
        self.batch.start(self.to) - self.batch.start(self.from)
    }
}

/// One client's queue. Sizes are of frames, in bytes.
#[derive(Debug, Default)]
pub struct Outbox {
    head: Option<Run>,
    #[expect(clippy::box_collection, reason = "8 bytes instead of 32 in every connection, and rarely there")]
    tail: Option<Box<VecDeque<Run>>>,
    /// How much of the head's first frame has been written. 0 = at a frame boundary.
    head_written_bytes: u32,
    event_bytes: u32,
    own_bytes: u32,
    aside: Option<Box<Aside>>,
}

/// What only clients in trouble, or just being pinged, have.
#[derive(Debug, Default)]
struct Aside {
    /// Pings and pongs, complete frames.
    urgent: Vec<u8>,
    urgent_written_bytes: usize,
    skipped: HashMap<TopicId, u64, RandomState>,
    /// Topics that were unsubscribed while events of theirs may have been queued: their names outlive the index.
    former: Vec<(TopicId, Subject)>,
    /// The announcement that [`Outbox::chunk`] has offered and of which nothing is written yet.
    offered: Option<(TopicId, Rc<Batch>)>,
}

impl Aside {
    fn is_idle(&self) -> bool {
        self.urgent.is_empty() && self.skipped.is_empty()
    }

    /// Pings and pongs overtake, but only at a frame boundary.
    fn urgent_is_due(&self, at_boundary: bool) -> bool {
        !self.urgent.is_empty() && (at_boundary || self.urgent_written_bytes > 0)
    }

    /// The topic whose skipped events have to be announced before `head`, or with nothing queued at all.
    fn due_announcement(&self, head: Option<&Run>) -> Option<TopicId> {
        let Some(head) = head else { return self.skipped.keys().next().copied() };
        let topic = head.batch.topic(head.from);
        if self.skipped.contains_key(&topic) {
            return Some(topic);
        }
        head.batch.ends().iter().copied().find(|ended| self.skipped.contains_key(ended))
    }

    /// Whether something skipped must be announced before the first frame of `run`.
    fn announces_before(&self, run: &Run) -> bool {
        self.due_announcement(Some(run)).is_some()
    }
}

/// What a write has got done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Frames of which the last byte was written, pings and pongs not counted.
    pub frames: u64,
}

/// Makes the batch that announces a skip: topic, its name if it was unsubscribed meanwhile, how many events.
pub type Announce<'a> = &'a dyn Fn(TopicId, Option<&Subject>, u64) -> Rc<Batch>;

impl Outbox {
    /// Whether nothing at all waits.
    pub fn is_empty(&self) -> bool {
        self.head.is_none() && self.aside.as_ref().is_none_or(|aside| aside.is_idle())
    }

    /// Bytes of queued events not yet written.
    pub fn event_bytes(&self) -> u32 {
        self.event_bytes
    }

    /// Bytes of queued replies, statuses, pings and pongs not yet written.
    pub fn own_bytes(&self) -> u32 {
        let urgent = self.aside.as_ref().map_or(0, |aside| aside.urgent.len() - aside.urgent_written_bytes);
        self.own_bytes + urgent as u32
    }

    /// Queues frames `from..to` of a batch of events, `bytes` in all.
    #[inline]
    pub fn push_events(&mut self, batch: &Rc<Batch>, from: u32, to: u32, bytes: u32) {
        self.event_bytes += bytes;
        if let Some(last) = self.last_mut()
            && last.to == from
            && Rc::ptr_eq(&last.batch, batch)
        {
            last.to = to;
            return;
        }
        self.push(Run { batch: Rc::clone(batch), from, to });
    }

    /// Queues a frame of this client's own: a reply, a status, a close.
    pub fn push_own(&mut self, frame: Rc<Batch>) {
        self.own_bytes += frame.start(1);
        self.push(Run { batch: frame, from: 0, to: 1 });
    }

    /// Queues a ping or pong frame, to leave at the next frame boundary.
    pub fn push_urgent(&mut self, frame: &[u8]) {
        self.aside().urgent.extend_from_slice(frame);
    }

    /// Keeps the name of a topic that the client has just left, for as long as events of it may be queued.
    pub fn remember(&mut self, topic: TopicId, subject: Subject) {
        if !self.is_empty() {
            self.aside().former.push((topic, subject));
        }
    }

    /// The topics of what is queued, and of what is skipped and not announced yet.
    pub fn topics(&self) -> HashSet<TopicId, RandomState> {
        let runs = self.head.iter().chain(self.tail.iter().flat_map(|tail| tail.iter()));
        let queued = runs.flat_map(|run| &run.batch.table()[run.from as usize..run.to as usize]);
        queued.map(|entry| entry.topic).filter(|topic| !topic.is_null()).chain(self.skipped()).collect()
    }

    /// The topics of what is skipped and not announced yet.
    pub fn skipped(&self) -> impl Iterator<Item = TopicId> {
        self.aside.iter().flat_map(|aside| aside.skipped.keys().copied())
    }

    /// Counts events that never reached the queue, to be announced like those skipped from it.
    pub fn note_skipped(&mut self, topic: TopicId, count: u64) {
        *self.aside().skipped.entry(topic).or_default() += count;
    }

    /// Skips the oldest events until at most `target_bytes` of them are queued, sparing a partly written frame;
    /// returns how many were skipped.
    pub fn skip_oldest(&mut self, target_bytes: u32) -> u64 {
        let mut kept = VecDeque::new();
        let mut partly_written = self.head_written_bytes > 0;
        let mut skipped = 0;
        for mut run in self.take_runs() {
            if run.batch.is_own() {
                kept.push_back(run);
                partly_written = false;
                continue;
            }
            if std::mem::take(&mut partly_written) {
                kept.push_back(Run { batch: run.batch.extract(run.from), from: 0, to: 1 });
                run.from += 1;
            }
            while run.from < run.to && self.event_bytes > target_bytes {
                self.event_bytes -= run.batch.start(run.from + 1) - run.batch.start(run.from);
                self.note_skipped(run.batch.topic(run.from), 1);
                skipped += 1;
                run.from += 1;
            }
            if run.from < run.to {
                kept.push_back(run);
            }
        }
        self.put_runs(kept);
        skipped
    }

    /// Drops everything but a partly written frame: the client is about to be closed.
    pub fn clear(&mut self) {
        let partly_written = self.head_written_bytes > 0;
        let first = self.take_runs().into_iter().next().filter(|_| partly_written);
        self.event_bytes = 0;
        self.own_bytes = 0;
        let urgent_started = self.aside.as_ref().is_some_and(|aside| aside.urgent_written_bytes > 0);
        if urgent_started {
            self.aside().skipped.clear();
        } else {
            self.aside = None;
        }
        if let Some(run) = first {
            let rest = Run { batch: run.batch, from: run.from, to: run.from + 1 };
            let left_bytes = rest.bytes() - self.head_written_bytes;
            *self.account(rest.batch.is_own()) += left_bytes;
            self.head = Some(rest);
        }
    }

    /// When the oldest queued event was read (see [`Batch::arrived_us`]); `None` if no event is queued.
    pub fn oldest_arrival_us(&self) -> Option<u64> {
        let mut runs = self.head.iter().chain(self.tail.iter().flat_map(|tail| tail.iter()));
        runs.find(|run| !run.batch.is_own()).map(|run| run.batch.arrived_us())
    }

    /// When the events of the head were read (see [`Batch::arrived_us`]); 0 if the head is no event.
    pub fn head_arrival_us(&self) -> u64 {
        self.head.as_ref().map_or(0, |run| run.batch.arrived_us())
    }

    /// The next bytes to write, in one piece. Frames of one run are handed out where they lie; several runs are gathered
    /// into `scratch`, as far as its capacity reaches. Empty when nothing waits.
    pub fn chunk<'o>(&'o mut self, scratch: &'o mut Vec<u8>, announce: Announce<'_>) -> &'o [u8] {
        if self.aside.is_some() {
            return self.chunk_with_aside(scratch, announce);
        }
        self.gather(scratch)
    }

    /// Reports that the first `written` bytes of the last chunk are on their way.
    pub fn advance(&mut self, mut written: usize) -> Progress {
        let mut progress = Progress::default();
        if self.aside.is_some() && self.advance_aside(&mut written) {
            return progress;
        }
        while written > 0 {
            let Some(head) = &mut self.head else { break };
            let own = head.batch.is_own();
            let left_bytes = head.bytes() - self.head_written_bytes;
            let taken_bytes = left_bytes.min(written.try_into().unwrap_or(u32::MAX));
            written -= taken_bytes as usize;
            if taken_bytes == left_bytes {
                progress.frames += u64::from(head.to - head.from);
                self.pop();
            } else {
                let reached = head.batch.start(head.from) + self.head_written_bytes + taken_bytes;
                let table = &head.batch.table()[head.from as usize..head.to as usize];
                let complete = table.partition_point(|entry| entry.end <= reached) as u32;
                progress.frames += u64::from(complete);
                head.from += complete;
                self.head_written_bytes = reached - head.batch.start(head.from);
            }
            *self.account(own) -= taken_bytes;
        }
        progress
    }

    /// [`Outbox::chunk`] for a client that has something in [`Aside`]: each frame has to be looked at, because the chunk
    /// ends where something else is due. Always gathered, as it is rare.
    fn chunk_with_aside<'o>(&mut self, scratch: &'o mut Vec<u8>, announce: Announce<'_>) -> &'o [u8] {
        let Some(mut aside) = self.aside.take() else { return &[] };
        scratch.clear();
        aside.offered = None;
        let at_boundary = self.head_written_bytes == 0;
        if aside.urgent_is_due(at_boundary) {
            scratch.extend_from_slice(&aside.urgent[aside.urgent_written_bytes..]);
        } else if at_boundary && let Some(topic) = aside.due_announcement(self.head.as_ref()) {
            let former = aside.former.iter().rev().find(|(id, _)| *id == topic).map(|(_, subject)| subject);
            let batch = announce(topic, former, aside.skipped[&topic]);
            scratch.extend_from_slice(batch.slice(0, batch.start(1)));
            aside.offered = Some((topic, batch));
        } else {
            self.gather_frames(scratch, |frame| !aside.urgent.is_empty() || aside.announces_before(frame));
        }
        self.aside = Some(aside);
        scratch
    }

    /// Takes what was written off the urgent frames or the offered announcement; `true` if that was all of it.
    fn advance_aside(&mut self, written: &mut usize) -> bool {
        let at_boundary = self.head_written_bytes == 0;
        let Some(aside) = &mut self.aside else { return false };
        if aside.urgent_is_due(at_boundary) {
            aside.urgent_written_bytes += *written;
            if aside.urgent_written_bytes >= aside.urgent.len() {
                aside.urgent = Vec::new();
                aside.urgent_written_bytes = 0;
            }
            self.settle();
            return true;
        }
        if let Some((topic, batch)) = aside.offered.take()
            && *written > 0
        {
            aside.skipped.remove(&topic);
            self.own_bytes += batch.start(1);
            let old_head = self.head.replace(Run { batch, from: 0, to: 1 });
            if let Some(run) = old_head {
                self.tail.get_or_insert_default().push_front(run);
            }
        }
        false
    }

    /// Contiguous bytes from the head on; runs are copied together only if there are several.
    fn gather<'o>(&'o self, scratch: &'o mut Vec<u8>) -> &'o [u8] {
        let Some(head) = &self.head else { return &[] };
        let start = head.batch.start(head.from) + self.head_written_bytes;
        let first = head.batch.slice(start, head.batch.start(head.to));
        let Some(tail) = self.tail.as_ref().filter(|tail| !tail.is_empty()) else { return first };
        if first.len() >= scratch.capacity() {
            return first;
        }
        scratch.clear();
        scratch.extend_from_slice(first);
        for run in tail.iter() {
            if scratch.len() + run.bytes() as usize > scratch.capacity() {
                break;
            }
            scratch.extend_from_slice(run.batch.slice(run.batch.start(run.from), run.batch.start(run.to)));
        }
        scratch
    }

    /// Like [`Outbox::gather`], frame by frame; at least the head's first frame.
    fn gather_frames(&self, scratch: &mut Vec<u8>, stop_before: impl Fn(&Run) -> bool) {
        scratch.clear();
        let mut skip_bytes = self.head_written_bytes;
        for run in self.head.iter().chain(self.tail.iter().flat_map(|tail| tail.iter())) {
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

    fn aside(&mut self) -> &mut Aside {
        self.aside.get_or_insert_default()
    }

    /// Gives memory back once nothing waits any more.
    fn settle(&mut self) {
        if self.head.is_none() && self.aside.as_ref().is_some_and(|aside| aside.is_idle()) {
            self.aside = None;
        }
    }

    fn account(&mut self, own: bool) -> &mut u32 {
        if own { &mut self.own_bytes } else { &mut self.event_bytes }
    }

    fn last_mut(&mut self) -> Option<&mut Run> {
        match &mut self.tail {
            Some(tail) if !tail.is_empty() => tail.back_mut(),
            _ => self.head.as_mut(),
        }
    }

    fn push(&mut self, run: Run) {
        if self.head.is_none() {
            self.head = Some(run);
        } else {
            self.tail.get_or_insert_default().push_back(run);
        }
    }

    fn pop(&mut self) {
        self.head_written_bytes = 0;
        self.head = self.tail.as_mut().and_then(|tail| tail.pop_front());
        if self.head.is_none() {
            self.tail = None;
            self.settle();
        }
    }

    fn take_runs(&mut self) -> VecDeque<Run> {
        let mut runs = self.tail.take().map(|tail| *tail).unwrap_or_default();
        if let Some(head) = self.head.take() {
            runs.push_front(head);
        }
        runs
    }

    fn put_runs(&mut self, mut runs: VecDeque<Run>) {
        self.head = runs.pop_front();
        self.tail = (!runs.is_empty()).then(|| Box::new(runs));
    }
}

#[cfg(test)]
mod model_tests;
