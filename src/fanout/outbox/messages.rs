//! Messages of several events: for clients whose events are parts of an array, as [`Form::JSON_BATCH`](crate::market::Form::JSON_BATCH) is.
//!
//! The queue has the events as parts, each with a separator before it. A message is *begun* when the shard asks for bytes to write: it takes
//! whatever events wait, up to its limits, and header and opening take the place of the first separator. So the bytes of a run are
//! copied as they are, and only what is around them ([`Wrapping`]) is each client's own. Replies and statuses are complete frames, and end a message.
//!
//! A message of which a byte is written is finished, whatever the policies do meanwhile: its events are *locked*. All that is kept of it
//! is its length and how many of its events are still to be written.

use std::collections::VecDeque;
use std::rc::Rc;

use super::deflated::{BegunDeflated, DeflatedMessages};
use super::out_of_band::OutOfBand;
use super::{FromFront, Outbox, Progress, Run};
use crate::fanout::batch::Batch;
use crate::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};
use crate::protocol::wrapping::Wrapping;
use crate::websocket::header::header_bytes;

/// The messages of the last chunk, and how much a message may have.
#[derive(Debug)]
pub(super) struct Messages {
    parts: Vec<Part>,
    events_max: u32,
    /// Of the payload, with what is around the events.
    bytes_max: u32,
    /// Those that are compressed.
    pub(super) deflated: DeflatedMessages,
}

/// A part of a chunk.
#[derive(Debug)]
enum Part {
    /// So many bytes of a frame that is no event.
    Own(u32),
    /// A message of events. Its end may be beyond the end of the chunk.
    Message(Message),
    /// The same, compressed: this frame.
    Deflated(Message, Rc<Batch>),
}

/// Adjacent events of the queue as a message.
#[derive(Debug, Clone, Copy)]
struct Message {
    wrapping: Wrapping,
    events: u32,
    /// Bytes of the events in the queue.
    queued_bytes: u32,
}

/// A message of which a byte is written.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    message: Message,
    /// Bytes of header and opening that are written.
    opening_written_bytes: usize,
    /// Its events that are not written, or only in part: the first ones of the queue. Behind them comes the closing.
    events_left: u32,
    /// Bytes of the closing that are written.
    closing_written_bytes: usize,
    /// Of a compressed message: its events are written with its last byte, all together.
    deflated: Option<BegunDeflated>,
}

/// A place in the queue: a run, and a frame of its batch.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    run: FromFront,
    frame: u32,
}

impl Default for Messages {
    fn default() -> Self {
        Self::limited(BATCH_EVENTS_MAX, BATCH_BYTES_MAX as u32)
    }
}

impl Messages {
    /// Messages of at most so many events, and payloads of at most so many bytes.
    pub(super) fn limited(events_max: u32, bytes_max: u32) -> Self {
        Self { parts: Vec::new(), events_max, bytes_max, deflated: DeflatedMessages::default() }
    }

    pub(super) fn clear(&mut self) {
        self.parts.clear();
    }
}

impl Message {
    /// Opening and closing, and no separator before the first event.
    const fn payload_bytes(self) -> usize {
        let Self { wrapping, events, queued_bytes } = self;
        let events_bytes = (queued_bytes - wrapping.separator_bytes()) as usize;
        wrapping.opening_bytes(events) + events_bytes + wrapping.closing().len()
    }

    /// Header and opening.
    const fn opening_bytes(self) -> usize {
        header_bytes(self.payload_bytes()) + self.wrapping.opening_bytes(self.events)
    }

    /// Its length on the wire.
    const fn bytes(self) -> usize {
        header_bytes(self.payload_bytes()) + self.payload_bytes()
    }

    fn write_opening(self, out: &mut Vec<u8>) {
        self.wrapping.write_opening(out, self.events, self.payload_bytes());
    }
}

impl Outbox {
    /// The part of [`Outbox::advance`] that concerns the queue of a client whose events are parts of messages.
    pub(super) fn advance_messages(&mut self, messages: &Messages, mut written: usize) -> Progress {
        if self.begun().is_some() {
            return self.advance_begun(written);
        }
        if messages.parts.is_empty() {
            // An announcement, which has become the head.
            return self.take_off(written);
        }
        let mut progress = Progress::default();
        for part in &messages.parts {
            if written == 0 {
                break;
            }
            let (taken, part_progress) = match part {
                Part::Own(bytes) => {
                    let taken = written.min(*bytes as usize);
                    (taken, self.take_off(taken))
                }
                Part::Message(message) if written >= message.bytes() => {
                    (message.bytes(), self.take_off(message.queued_bytes as usize))
                }
                Part::Message(message) => (written, self.begin(message, None, written)),
                Part::Deflated(message, frame) => match written.checked_sub(frame.start(1) as usize) {
                    Some(_) => (frame.start(1) as usize, self.take_off(message.queued_bytes as usize)),
                    None => (written, self.begin(message, Some(BegunDeflated::new(frame)), written)),
                },
            };
            progress.frames += part_progress.frames;
            written -= taken;
        }
        progress
    }

    /// How many events at the front of the queue nothing may skip, as bytes of them, or of their message, are written, or an announcement
    /// that has to stand directly before them.
    pub(super) fn locked_events(&self) -> u32 {
        match (self.begun(), &self.head) {
            (Some(begun), _) => begun.events_left,
            (None, Some(head)) if self.head_written_bytes > 0 && !head.batch.is_own() => 1,
            (None, _) => u32::from(self.is_first_event_announced()),
        }
    }

    /// Whether the run at a place has a locked event.
    pub(super) fn is_locked(&self, place: FromFront) -> bool {
        let locked = self.locked_events();
        if locked == 0 {
            return false;
        }
        let before = self.runs().take(place.0).filter(|run| !run.batch.is_own());
        before.map(|run| run.to - run.from).sum::<u32>() < locked
    }

    fn begun(&self) -> Option<&Begun> {
        self.out_of_band.as_ref()?.begun.as_ref()
    }

    /// The place behind another one: the next frame, or the first one of the next run.
    fn next_run(&self, at: Cursor) -> Cursor {
        let run = FromFront(at.run.0 + 1);
        Cursor { run, frame: self.run_at(run).map_or(0, |run| run.from) }
    }

    /// Puts messages together, and frames that are no events between them, until one doesn't fit any more or something of `out_of_band` is due.
    pub(super) fn gather_messages(
        &self,
        scratch: &mut Vec<u8>,
        messages: &mut Messages,
        wrapping: Wrapping,
        out_of_band: &OutOfBand,
    ) {
        let mut at = Cursor { run: FromFront(0), frame: self.head.as_ref().map_or(0, |head| head.from) };
        let mut skip_bytes = self.head_written_bytes;
        while let Some(run) = self.run_at(at.run) {
            let room_bytes = scratch.capacity() - scratch.len();
            let is_first = scratch.is_empty();
            if !is_first && out_of_band.is_due_before(run, at.frame) {
                return;
            }
            if run.batch.is_own() {
                let frame = run.batch.slice(std::mem::take(&mut skip_bytes), run.batch.start(1));
                if !is_first && frame.len() > room_bytes {
                    return;
                }
                let frame = &frame[..frame.len().min(room_bytes)];
                scratch.extend_from_slice(frame);
                if !frame.is_empty() {
                    messages.parts.push(Part::Own(frame.len() as u32));
                }
                at = self.next_run(at);
                continue;
            }
            let (message, behind) = self.next_message(at, wrapping, messages, out_of_band);
            if out_of_band.deflate
                && let Some(frame) = self.deflate(at, message, &mut messages.deflated)
            {
                let fits = frame.start(1) as usize <= room_bytes;
                if !is_first && !fits {
                    return;
                }
                scratch.extend_from_slice(frame.slice(0, frame.start(1).min(room_bytes as u32)));
                messages.parts.push(Part::Deflated(message, frame));
                if !fits {
                    return;
                }
                at = behind;
                continue;
            }
            let fits = message.bytes() <= room_bytes;
            if !is_first && !fits {
                return;
            }
            messages.parts.push(Part::Message(message));
            message.write_opening(scratch);
            self.gather_events(scratch, at, wrapping.separator_bytes(), message.events);
            if !fits {
                return;
            }
            scratch.extend_from_slice(wrapping.closing());
            at = behind;
        }
    }

    /// The frame of a message whose first event is at a place of the queue, if it is compressed.
    fn deflate(&self, from: Cursor, message: Message, deflated: &mut DeflatedMessages) -> Option<Rc<Batch>> {
        deflated.frame(message.payload_bytes(), self.runs_of(from, message.events), |plain| {
            plain.reserve_exact(message.bytes());
            message.write_opening(plain);
            self.gather_events(plain, from, message.wrapping.separator_bytes(), message.events);
            plain.extend_from_slice(message.wrapping.closing());
        })
    }

    /// The runs of so many events from a place of the queue on: each, and which frames of its batch.
    fn runs_of(&self, from: Cursor, events: u32) -> impl Iterator<Item = (&Run, u32, u32)> + Clone {
        let (mut at, mut left) = (from, events);
        std::iter::from_fn(move || {
            loop {
                let run = self.run_at(at.run).filter(|_| left > 0)?;
                let from = at.frame;
                at = self.next_run(at);
                if !run.batch.is_own() {
                    let to = run.to.min(from + left);
                    left -= to - from;
                    return Some((run, from, to));
                }
            }
        })
    }

    /// The message that begins with an event of the queue, and the place behind it.
    fn next_message(
        &self,
        from: Cursor,
        wrapping: Wrapping,
        limits: &Messages,
        out_of_band: &OutOfBand,
    ) -> (Message, Cursor) {
        let around_bytes = wrapping.opening_bytes(limits.events_max) + wrapping.closing().len();
        let events_bytes_max = limits.bytes_max - around_bytes as u32 + wrapping.separator_bytes();
        let (mut events, mut queued_bytes, mut at) = (0, 0, from);
        while let Some(run) = self.run_at(at.run) {
            if run.batch.is_own() {
                if run.bytes() > 0 || out_of_band.is_due_before(run, 0) {
                    break;
                }
                at = self.next_run(at);
                continue;
            }
            let (batch, start) = (&run.batch, run.batch.start(at.frame));
            let room_bytes = events_bytes_max.saturating_sub(queued_bytes);
            let most = run.to.min(at.frame.saturating_add(limits.events_max - events));
            let table = &batch.table()[at.frame as usize..most as usize];
            let mut count = table.partition_point(|entry| entry.end - start <= room_bytes) as u32;
            if events == 0 && count == 0 {
                // An event that is larger than a message may be goes alone.
                count = 1;
            }
            if !out_of_band.is_idle() {
                let is_due = |ahead: &u32| out_of_band.is_due_before(run, at.frame + ahead);
                // What is due before the first event has come before this message.
                let first = u32::from(events == 0);
                count = (first..count).find(is_due).unwrap_or(count);
            }
            events += count;
            queued_bytes += batch.start(at.frame + count) - start;
            at.frame += count;
            if at.frame < run.to {
                break;
            }
            at = self.next_run(at);
        }
        (Message { wrapping, events, queued_bytes }, at)
    }

    /// Appends the bytes of events from a place of the queue on, without the first `skip_bytes`, as far as `scratch` has room. `true`: all of
    /// them.
    fn gather_events(&self, scratch: &mut Vec<u8>, from: Cursor, mut skip_bytes: u32, events: u32) -> bool {
        let (mut at, mut left) = (from, events);
        while let Some(run) = self.run_at(at.run).filter(|_| left > 0) {
            if !run.batch.is_own() {
                let to = run.to.min(at.frame + left);
                left -= to - at.frame;
                let start = run.batch.start(at.frame) + std::mem::take(&mut skip_bytes);
                let bytes = run.batch.slice(start, run.batch.start(to));
                let room_bytes = scratch.capacity() - scratch.len();
                scratch.extend_from_slice(&bytes[..bytes.len().min(room_bytes)]);
                if bytes.len() > room_bytes {
                    return false;
                }
            }
            at = self.next_run(at);
        }
        true
    }

    /// The rest of a message of which a byte is written.
    pub(super) fn gather_rest(&self, begun: &Begun, scratch: &mut Vec<u8>) {
        if let Some(deflated) = &begun.deflated {
            let rest = deflated.rest();
            return scratch.extend_from_slice(&rest[..rest.len().min(scratch.capacity())]);
        }
        begun.message.write_opening(scratch);
        scratch.drain(..begun.opening_written_bytes);
        let from = Cursor { run: FromFront(0), frame: self.head.as_ref().map_or(0, |head| head.from) };
        let is_whole = self.gather_events(scratch, from, self.head_written_bytes, begun.events_left);
        if is_whole {
            let closing = &begun.message.wrapping.closing()[begun.closing_written_bytes..];
            let room_bytes = scratch.capacity() - scratch.len();
            scratch.extend_from_slice(&closing[..closing.len().min(room_bytes)]);
        }
    }

    /// The first bytes of a message are written, but not all.
    fn begin(&mut self, message: &Message, deflated: Option<BegunDeflated>, written: usize) -> Progress {
        // Nothing is to be announced before these marks, or the message would not have been put together.
        while self.head.as_ref().is_some_and(|head| head.bytes() == 0) {
            self.pop();
        }
        let (message, events_left) = (*message, message.events);
        if deflated.is_none() {
            self.head_written_bytes = message.wrapping.separator_bytes();
            self.event_bytes -= message.wrapping.separator_bytes();
        }
        let begun =
            Begun { message, opening_written_bytes: 0, events_left, closing_written_bytes: 0, deflated };
        self.out_of_band().begun = Some(begun);
        self.advance_begun(written)
    }

    /// More bytes of the message that is begun are written.
    fn advance_begun(&mut self, mut written: usize) -> Progress {
        let Some(mut begun) = self.begun().cloned() else { return Progress::default() };
        if let Some(deflated) = &mut begun.deflated {
            let is_done = deflated.advance(written);
            let queued_bytes = if is_done { begun.message.queued_bytes as usize } else { 0 };
            self.out_of_band().begun = (!is_done).then_some(begun);
            return self.take_off(queued_bytes);
        }
        let opening_bytes = written.min(begun.message.opening_bytes() - begun.opening_written_bytes);
        begun.opening_written_bytes += opening_bytes;
        written -= opening_bytes;
        let event_bytes = written.min(self.locked_bytes() as usize);
        let progress = self.take_off(event_bytes);
        begun.events_left -= progress.frames as u32;
        written -= event_bytes;
        // What is left is the closing.
        begun.closing_written_bytes += written;
        let is_written = begun.closing_written_bytes == begun.message.wrapping.closing().len();
        let is_done = is_written && begun.events_left == 0;
        self.out_of_band().begun = (!is_done).then_some(begun);
        self.shrink();
        progress
    }

    /// Bytes of the events of a message that is begun, as far as they are not written.
    pub(super) fn begun_bytes(&self) -> u32 {
        if self.begun().is_some() { self.locked_bytes() } else { 0 }
    }

    /// Bytes of the locked events that are not written.
    fn locked_bytes(&self) -> u32 {
        let mut left = self.locked_events();
        let mut bytes = 0;
        for run in self.runs().filter(|run| !run.batch.is_own()) {
            let to = run.to.min(run.from + left);
            bytes += run.batch.start(to) - run.batch.start(run.from);
            left -= to - run.from;
            if left == 0 {
                break;
            }
        }
        bytes.saturating_sub(self.head_written_bytes)
    }

    /// Drops everything but the rest of a message or frame of which a byte is written.
    pub(super) fn drop_unlocked(&mut self) {
        let mut left = self.locked_events();
        let written_bytes = self.head_written_bytes;
        let mut kept = VecDeque::new();
        for run in self.take_runs() {
            if run.batch.is_own() {
                // Only the head can be partly written without being locked.
                if written_bytes > 0 && left == 0 && kept.is_empty() {
                    kept.push_back(run);
                    break;
                }
                continue;
            }
            let to = run.to.min(run.from + left);
            if to == run.from {
                break;
            }
            left -= to - run.from;
            kept.push_back(Run { to, ..run });
        }
        for run in &kept {
            *self.account(run.batch.is_own()) += run.bytes();
        }
        if let Some(head) = kept.front() {
            *self.account(head.batch.is_own()) -= written_bytes;
        }
        self.put_runs(kept);
    }
}
