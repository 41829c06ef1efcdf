//! What becomes of a queue that is too long, and of an event that a newer one replaces.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use foldhash::fast::RandomState;

use super::super::batch::Batch;
use super::{Outbox, Position, Run};
use crate::bus::TopicId;

impl Outbox {
    /// The event at `position`, if it is still queued there, alone in its run, of `topic`, and nothing of it is written.
    pub fn pending(&self, position: Position, topic: TopicId) -> Option<(&Rc<Batch>, u32)> {
        let index = self.index(position)?;
        let run = match index.checked_sub(1) {
            Some(behind) => self.tail.as_ref()?.get(behind),
            None => self.head.as_ref().filter(|_| self.head_written_bytes == 0),
        }?;
        let is_pending = run.to - run.from == 1 && run.batch.topic(run.from) == topic;
        is_pending.then_some((&run.batch, run.from))
    }

    /// Puts frame `index` of `batch` in the place of the one at `position`, which is [`Outbox::pending`].
    pub fn replace(&mut self, position: Position, batch: &Rc<Batch>, index: u32) {
        let Some(at) = self.index(position) else { return };
        let place = match (at.checked_sub(1), &mut self.tail) {
            (Some(behind), Some(tail)) => tail.get_mut(behind),
            _ => self.head.as_mut(),
        };
        let Some(place) = place else { return };
        let new = Run { batch: Rc::clone(batch), from: index, to: index + 1 };
        self.event_bytes += new.bytes();
        self.event_bytes -= place.bytes();
        *place = new;
    }

    /// Counted from the front, the head being 0; `None` if what was there has gone. Positions are counted from the back, where
    /// nothing is ever taken out or put in between.
    fn index(&self, position: Position) -> Option<usize> {
        let from_back = self.pushed.wrapping_sub(position.0) as usize;
        let len = usize::from(self.head.is_some()) + self.tail.as_ref().map_or(0, |tail| tail.len());
        len.checked_sub(from_back).filter(|_| from_back > 0)
    }

    /// Where the newest event of each topic is queued, if it is [`Outbox::pending`] there.
    pub fn newest(&self) -> Vec<(TopicId, Position)> {
        let mut seen = HashSet::<TopicId, RandomState>::default();
        let mut newest = Vec::new();
        for (from_back, run) in
            (1..).zip(self.tail.iter().flat_map(|tail| tail.iter().rev()).chain(&self.head))
        {
            let position = Position(self.pushed.wrapping_sub(from_back));
            for index in (run.from..run.to).rev().filter(|_| !run.batch.is_own()) {
                let topic = run.batch.topic(index);
                if seen.insert(topic) && self.pending(position, topic).is_some() {
                    newest.push((topic, position));
                }
            }
        }
        newest
    }

    /// Drops every event behind which a newer one of its topic is queued, but spares a partly written one and all events of the
    /// topics in `spared`; returns how many. `status` comes to stand before the first of the others. What stays is copied out of
    /// its batch, so that it keeps nothing else alive. Positions change.
    pub fn reduce_to_latest(&mut self, spared: &HashSet<TopicId, RandomState>, status: Rc<Batch>) -> u64 {
        let partly_written = self.head_written_bytes > 0;
        let runs = self.take_runs();
        let mut kept = VecDeque::with_capacity(runs.len());
        let mut seen = HashSet::<TopicId, RandomState>::default();
        let mut dropped = 0;
        for (at, run) in runs.into_iter().enumerate().rev() {
            if run.batch.is_own() {
                kept.push_front(run);
                continue;
            }
            for index in (run.from..run.to).rev() {
                let topic = run.batch.topic(index);
                let is_partly_written = partly_written && at == 0 && index == run.from;
                if is_partly_written || seen.insert(topic) || spared.contains(&topic) {
                    kept.push_front(run.alone(index));
                } else {
                    self.event_bytes -= run.batch.start(index + 1) - run.batch.start(index);
                    dropped += 1;
                }
            }
        }
        let untouched = usize::from(partly_written);
        let events = kept.iter().skip(untouched).position(|run| !run.batch.is_own());
        self.own_bytes += status.start(1);
        kept.insert(events.map_or(kept.len(), |at| at + untouched), Run { batch: status, from: 0, to: 1 });
        self.put_runs(kept);
        dropped
    }

    /// Skips the oldest events until at most `target_bytes` of them are queued, sparing a partly written frame;
    /// returns how many were skipped.
    pub fn skip_oldest(&mut self, target_bytes: u32) -> u64 {
        self.skip_oldest_of(target_bytes, |_| true)
    }

    /// The same with the events of some topics only. Positions change.
    pub fn skip_oldest_of(&mut self, target_bytes: u32, may_skip: impl Fn(TopicId) -> bool) -> u64 {
        let mut kept = VecDeque::new();
        let mut partly_written = self.head_written_bytes > 0;
        let mut skipped = 0;
        for run in self.take_runs() {
            if run.batch.is_own() {
                kept.push_back(run);
                partly_written = false;
                continue;
            }
            let mut first = run.from;
            if std::mem::take(&mut partly_written) {
                kept.push_back(run.alone(first));
                first += 1;
            }
            let mut from = first;
            for index in first..run.to {
                let topic = run.batch.topic(index);
                if self.event_bytes <= target_bytes || !may_skip(topic) {
                    continue;
                }
                if from < index {
                    kept.push_back(Run { batch: Rc::clone(&run.batch), from, to: index });
                }
                from = index + 1;
                self.event_bytes -= run.batch.start(index + 1) - run.batch.start(index);
                self.note_skipped(topic, run.batch.event_count());
                skipped += run.batch.event_count();
            }
            if from < run.to {
                kept.push_back(Run { from, ..run });
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
        if self.out_of_band.as_mut().is_some_and(|out_of_band| !out_of_band.clear()) {
            self.out_of_band = None;
        }
        if let Some(run) = first {
            let rest = Run { batch: run.batch, from: run.from, to: run.from + 1 };
            let left_bytes = rest.bytes() - self.head_written_bytes;
            *self.account(rest.batch.is_own()) += left_bytes;
            self.head = Some(rest);
        }
    }
}

impl Run {
    /// Frame `index` of the run as a run that keeps no other frame alive.
    fn alone(&self, index: u32) -> Self {
        if self.batch.table().len() == 1 {
            return Self { batch: Rc::clone(&self.batch), from: 0, to: 1 };
        }
        Self { batch: self.batch.extract(index), from: 0, to: 1 }
    }
}
