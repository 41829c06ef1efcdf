//! An outbox: the queue of what waits to be written to one client. Pure: no socket, no clock.
//!
//! The shard asks for the next [`Outbox::chunk`], writes as much of it as the socket takes, and reports that to [`Outbox::advance`].
//! An outbox doesn't bound itself: the shard watches [`Outbox::limited_bytes`] and uses the tools in `policies.rs`.
//!
//! The queue is one of *runs*. A run is a range of adjacent frames of one batch, so a burst costs a client one entry, and frames are
//! never copied into the queue. The first run is inline: a lone trade allocates nothing, and an empty outbox owns no memory.
//!
//! Order:
//! - Frames leave in the order in which they were queued.
//! - Pings and pongs overtake at the next frame boundary.
//! - Skipped events are announced with their count, at the first of these places: directly before the next queued event of their topic;
//!   at the [mark](Batch::mark) of the topic's end, which is queued before the reply to an unsubscribe; once the queue is
//!   empty. The count is fixed when the first byte of the announcement is written.

mod deflated;
mod messages;
mod out_of_band;
mod policies;

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use foldhash::fast::RandomState;
use slotmap::Key;

use self::deflated::DeflatedMessages;
use self::messages::Messages;
use self::out_of_band::OutOfBand;
use super::batch::{BacklogBytes, Batch};
use crate::bus::TopicId;
use crate::limits;
use crate::protocol::wrapping::Wrapping;

/// Frames `from..to` of a batch. The batch may be a mark: then the run is one frame of 0 bytes, of which nothing is sent.
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

/// One client's queue.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The front of the queue.
    head: Option<Run>,
    /// The runs behind the head.
    #[expect(clippy::box_collection, reason = "8 bytes instead of 32 in every connection, and rarely there")]
    tail: Option<Box<VecDeque<Run>>>,
    /// How many bytes of the head's first frame have been written. 0 = at a frame boundary.
    head_written_bytes: u32,
    event_bytes: u32,
    own_bytes: u32,
    /// How many runs have been queued at the back so far, wrapping. The next one gets this [`Position`].
    pushed: u32,
    out_of_band: Option<Box<OutOfBand>>,
}

/// Names a queued run by the number of runs that were queued at the back before it, wrapping. Runs that are written in front of it, and
/// announcements that are put there, don't change it. Dropping events does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(u32);

/// Where a run is now: how many runs are in front of it. The head is at 0.
#[derive(Debug, Clone, Copy)]
struct FromFront(usize);

/// What one write offers is put together in here. A shard has one, for all its clients.
#[derive(Debug)]
pub struct Scratch {
    bytes: Vec<u8>,
    messages: Messages,
}

/// What a write has completed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Frames of which the last byte was written, pings and pongs not counted.
    pub frames: u64,
}

/// Makes the batch that announces how many events of a topic were skipped.
pub type Announce<'a> = &'a dyn Fn(TopicId, u64) -> Rc<Batch>;

impl Scratch {
    /// For chunks of at most so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), messages: Messages::default() }
    }

    /// The same, for messages that are compressed as that backlog's compressor does.
    #[must_use]
    pub fn with_backlog(mut self, backlog: &BacklogBytes) -> Self {
        self.messages.deflated = DeflatedMessages::new(backlog.clone());
        self
    }

    /// A turn begins, or has written to everybody for whom something waited: messages are no longer kept, or there may be as many again.
    pub fn end_turn(&mut self, is_all_written: bool) {
        if is_all_written {
            self.messages.clear();
        }
        self.messages.deflated.end_turn(is_all_written);
    }

    /// The same, with other limits for a message of events.
    #[cfg(test)]
    pub(super) fn with_messages_limited(mut self, events_max: u32, bytes_max: u32) -> Self {
        let limited = Messages::limited(events_max, bytes_max);
        let deflated = std::mem::replace(&mut self.messages, limited).deflated;
        self.messages.deflated = deflated;
        self
    }
}

impl Outbox {
    /// The outbox of a client whose events become messages so, which may be compressed, or of one that gets each as it is. An empty one of the
    /// latter owns no memory.
    pub fn new(wrapping: Option<Wrapping>, deflate: bool) -> Self {
        let out_of_band = wrapping.map(|wrapping| Box::new(OutOfBand::of_messages(wrapping, deflate)));
        Self { out_of_band, ..Self::default() }
    }

    /// Whether nothing at all waits.
    pub fn is_empty(&self) -> bool {
        self.head.is_none() && self.out_of_band.as_ref().is_none_or(|out_of_band| out_of_band.is_idle())
    }

    /// Bytes of queued events not yet written.
    pub fn event_bytes(&self) -> u32 {
        self.event_bytes
    }

    /// Bytes of queued replies, statuses, pings and pongs not yet written.
    pub fn own_bytes(&self) -> u32 {
        let control_bytes = self.out_of_band.as_ref().map_or(0, |out_of_band| out_of_band.control_bytes());
        self.own_bytes + control_bytes as u32
    }

    /// The bytes that count towards `MAX_OUTBOX_BYTES`: events, and of the rest what exceeds [`limits::CONTROL_RESERVE_BYTES`].
    pub fn limited_bytes(&self) -> u32 {
        self.event_bytes() + self.own_bytes().saturating_sub(limits::CONTROL_RESERVE_BYTES as u32)
    }

    /// Bytes of everything that waits.
    pub fn queued_bytes(&self) -> u64 {
        u64::from(self.event_bytes()) + u64::from(self.own_bytes())
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

    /// Queues frames `from..to` of a batch of events as a run of their own, which [`Outbox::pending`] finds by the position
    /// returned.
    pub fn push_apart(&mut self, batch: &Rc<Batch>, from: u32, to: u32) -> Position {
        self.event_bytes += batch.start(to) - batch.start(from);
        let position = Position(self.pushed);
        self.push(Run { batch: Rc::clone(batch), from, to });
        position
    }

    /// Queues a frame that is no event: a reply, a status, a close.
    pub fn push_own(&mut self, frame: Rc<Batch>) {
        self.own_bytes += frame.start(1);
        self.push(Run { batch: frame, from: 0, to: 1 });
    }

    /// Queues a mark of the end of topics, unless nothing waits. A mark is the head only while something has to be announced before
    /// it.
    pub fn push_mark(&mut self, mark: &Rc<Batch>) {
        if !self.is_empty() {
            self.push(Run { batch: Rc::clone(mark), from: 0, to: 1 });
            self.pass_marks();
        }
    }

    /// When the first queued event was read (see [`Batch::arrived_us`]): that is the oldest one, unless events have replaced others.
    /// `None` if no event is queued.
    pub fn first_arrival_us(&self) -> Option<u64> {
        self.arrivals_us().next()
    }

    /// When the events of each queued run were read, from the front on.
    pub fn arrivals_us(&self) -> impl Iterator<Item = u64> {
        self.runs().filter(|run| !run.batch.is_own()).map(|run| run.batch.arrived_us())
    }

    /// The topics of the queued events, and of the skipped events that are not announced yet.
    pub fn topics(&self) -> HashSet<TopicId, RandomState> {
        let queued = self.runs().flat_map(|run| &run.batch.table()[run.from as usize..run.to as usize]);
        queued.map(|entry| entry.topic).filter(|topic| !topic.is_null()).chain(self.skipped()).collect()
    }

    /// When the events of the first run were read (see [`Batch::arrived_us`]); 0 if it is no run of events.
    pub fn head_arrival_us(&self) -> u64 {
        self.head.as_ref().map_or(0, |run| run.batch.arrived_us())
    }

    /// The next bytes to write, in one piece; empty when nothing waits. If one run waits, they are its batch's own bytes. Several runs
    /// are copied into `scratch`, as far as its capacity reaches.
    pub fn chunk<'o>(&'o mut self, scratch: &'o mut Scratch, announce: Announce<'_>) -> &'o [u8] {
        if self.has_more_than_queue() {
            return self.chunk_with_out_of_band(scratch, announce);
        }
        self.chunk_of_queue(scratch)
    }

    /// Whether there may be more to write than what is queued, or other than just as it is queued. Rare.
    pub fn has_more_than_queue(&self) -> bool {
        self.out_of_band.is_some()
    }

    /// Takes off the queue the first `written` bytes of the last chunk, which `scratch` was given for: the socket has taken them.
    pub fn advance(&mut self, scratch: &Scratch, written: usize) -> Progress {
        if self.out_of_band.is_some() {
            return self.advance_with_out_of_band(scratch, written);
        }
        // Mostly one run waits, and the socket takes all of it.
        if self.tail.is_none()
            && self.head_written_bytes == 0
            && let Some(run) = self.head.take_if(|run| run.bytes() as usize == written)
        {
            *self.account(run.batch.is_own()) = 0;
            return Progress { frames: u64::from(run.to - run.from) };
        }
        let progress = self.advance_queue(written);
        self.pass_marks();
        progress
    }

    /// [`Outbox::advance`] of a client that has [`OutOfBand`].
    #[cold]
    fn advance_with_out_of_band(&mut self, scratch: &Scratch, written: usize) -> Progress {
        if self.advance_out_of_band(written) {
            return Progress::default();
        }
        let event_bytes = self.event_bytes;
        let progress = match self.has_messages_of_events() {
            true => self.advance_messages(&scratch.messages, written),
            false => self.take_off(written),
        };
        if self.event_bytes != event_bytes {
            self.forget_announced();
        }
        self.pass_marks();
        progress
    }

    /// Takes the first `written` bytes off the queue. It is a part of every write of every client, so there it is inlined; all others call
    /// [`Outbox::take_off`].
    #[inline(always)]
    fn advance_queue(&mut self, mut written: usize) -> Progress {
        let mut progress = Progress::default();
        while written > 0 {
            let Some(head) = &mut self.head else { break };
            let own = head.batch.is_own();
            let left_bytes = head.bytes() - self.head_written_bytes;
            let taken_bytes = left_bytes.min(written.try_into().unwrap_or(u32::MAX));
            written -= taken_bytes as usize;
            if taken_bytes == left_bytes {
                // A mark is never sent.
                progress.frames += if left_bytes > 0 { u64::from(head.to - head.from) } else { 0 };
                self.pop();
            } else {
                let reached = head.batch.start(head.from) + self.head_written_bytes + taken_bytes;
                let table = &head.batch.table()[head.from as usize..head.to as usize];
                let complete = table.partition_point(|entry| entry.end <= reached) as u32;
                progress.frames += u64::from(complete);
                head.from += complete;
                self.head_written_bytes = reached - head.batch.start(head.from);
            }
            if own {
                self.own_bytes -= taken_bytes;
            } else {
                self.event_bytes -= taken_bytes;
            }
        }
        progress
    }

    /// Takes the first `written` bytes off the queue.
    #[inline(never)]
    fn take_off(&mut self, written: usize) -> Progress {
        self.advance_queue(written)
    }

    /// Whether the last frame or message of which a byte is written is written whole.
    fn is_at_boundary(&self) -> bool {
        self.head_written_bytes == 0
            && self.out_of_band.as_ref().is_none_or(|out_of_band| out_of_band.begun.is_none())
    }

    /// Takes marks off the front, up to one before which something has to be announced.
    #[inline]
    fn pass_marks(&mut self) {
        while let Some(head) = &self.head
            && head.bytes() == 0
            && self.out_of_band.as_ref().is_none_or(|out_of_band| !out_of_band.announces_before(head))
        {
            self.pop();
        }
    }

    /// [`Outbox::chunk`], unless [`Outbox::has_more_than_queue`].
    pub fn chunk_of_queue<'o>(&'o self, scratch: &'o mut Scratch) -> &'o [u8] {
        let scratch = &mut scratch.bytes;
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

    /// Frees the memory of [`OutOfBand`] once nothing waits any more.
    fn shrink(&mut self) {
        if self.head.is_none()
            && self.out_of_band.as_ref().is_some_and(|out_of_band| out_of_band.is_needless())
        {
            self.out_of_band = None;
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

    /// How many events of a topic are queued.
    #[cfg(test)]
    pub(super) fn events_of(&self, topic: TopicId) -> usize {
        let of_topic =
            |run: &Run| (run.from..run.to).filter(|index| run.batch.topic(*index) == topic).count();
        self.runs().map(of_topic).sum()
    }

    fn run_at(&self, place: FromFront) -> Option<&Run> {
        match place.0.checked_sub(1) {
            Some(behind_head) => self.tail.as_ref()?.get(behind_head),
            None => self.head.as_ref(),
        }
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        self.head.iter().chain(self.tail.iter().flat_map(|tail| tail.iter()))
    }

    fn push(&mut self, run: Run) {
        self.pushed = self.pushed.wrapping_add(1);
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
            self.shrink();
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
        self.pass_marks();
    }
}

#[cfg(test)]
mod model_tests;
