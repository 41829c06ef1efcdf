//! The tools of the policies for slow clients and of conflation: dropping events from the queue, and replacing one by a newer one.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use foldhash::fast::RandomState;

use super::super::batch::Batch;
use super::{FromFront, Outbox, Position, Run};
use crate::bus::TopicId;

impl Outbox {
    /// The event at `position`, as frame of a batch, if it may be replaced: it is still queued, no byte of it is written, and its run
    /// is one event of `topic`.
    pub fn pending(&self, position: Position, topic: TopicId) -> Option<(&Rc<Batch>, u32)> {
        let place = self.find(position).filter(|place| !self.is_locked(*place))?;
        let run = self.run_at(place)?;
        let is_pending = run.to - run.from == 1 && run.batch.topic(run.from) == topic;
        is_pending.then_some((&run.batch, run.from))
    }

    /// Replaces the event at `position`, which is [`Outbox::pending`], by frame `index` of `batch`.
    pub fn replace(&mut self, position: Position, batch: &Rc<Batch>, index: u32) {
        let Some(place) = self.find(position) else { return };
        let run = match (place.0.checked_sub(1), &mut self.tail) {
            (Some(behind_head), Some(tail)) => tail.get_mut(behind_head),
            _ => self.head.as_mut(),
        };
        let Some(run) = run else { return };
        let new = Run { batch: Rc::clone(batch), from: index, to: index + 1 };
        self.event_bytes += new.bytes();
        self.event_bytes -= run.bytes();
        *run = new;
    }

    /// Where the run of that position is now; `None` if it has been written. A run's distance from the back is known: runs are taken
    /// out and put in only in front of it.
    fn find(&self, position: Position) -> Option<FromFront> {
        let from_back = self.pushed.wrapping_sub(position.0) as usize;
        let len = usize::from(self.head.is_some()) + self.tail.as_ref().map_or(0, |tail| tail.len());
        len.checked_sub(from_back).filter(|_| from_back > 0).map(FromFront)
    }

    /// The positions of the newest queued event of each topic, where that is [`Outbox::pending`].
    pub fn newest(&self) -> Vec<(TopicId, Position)> {
        let runs = usize::from(self.head.is_some()) + self.tail.as_ref().map_or(0, |tail| tail.len());
        let newest = newest_events(self.runs()).into_iter().map(|(topic, newest)| {
            let from_back = (runs - newest.run.0) as u32;
            (topic, Position(self.pushed.wrapping_sub(from_back)))
        });
        newest.filter(|(topic, position)| self.pending(*position, *topic).is_some()).collect()
    }

    /// Drops each event than which a newer one of its topic is queued, but neither a locked one nor any of the topics in
    /// `spared`. Returns how many were dropped. `status` is queued before the first event that is not locked. The events
    /// that stay are copied out of their batches, which then don't live on for them. Positions change.
    pub fn reduce_to_latest(&mut self, spared: &HashSet<TopicId, RandomState>, status: Rc<Batch>) -> u64 {
        let mut locked = self.locked_events();
        let mut untouched = usize::from(self.head_written_bytes > 0);
        let runs = self.take_runs();
        let newest = newest_events(runs.iter());
        let mut kept = VecDeque::with_capacity(runs.len());
        let mut dropped = 0;
        for (at, run) in runs.into_iter().enumerate() {
            if run.batch.is_own() {
                kept.push_back(run);
                continue;
            }
            let first = run.to.min(run.from + locked);
            if first > run.from {
                locked -= first - run.from;
                kept.push_back(run.copied(run.from, first));
                untouched = kept.len();
            }
            for index in first..run.to {
                let topic = run.batch.topic(index);
                let is_newest = newest.get(&topic).is_some_and(|newest| newest.is_at(at, index));
                if is_newest || spared.contains(&topic) || topic.is_desk() {
                    kept.push_back(run.copied(index, index + 1));
                } else {
                    self.event_bytes -= run.batch.start(index + 1) - run.batch.start(index);
                    dropped += 1;
                }
            }
        }
        let events = kept.iter().skip(untouched).position(|run| !run.batch.is_own());
        self.own_bytes += status.start(1);
        kept.insert(events.map_or(kept.len(), |at| at + untouched), Run { batch: status, from: 0, to: 1 });
        self.put_runs(kept);
        dropped
    }

    /// Skips the oldest events, but no locked one, until at most `target_bytes` of events are queued, beside a message that is begun. They
    /// will be announced. Returns how many were skipped. Positions change.
    pub fn skip_oldest(&mut self, target_bytes: u32) -> u64 {
        self.skip_oldest_of(target_bytes, |_| true)
    }

    /// [`Outbox::skip_oldest`] with the events of some topics only.
    pub fn skip_oldest_of(&mut self, target_bytes: u32, may_skip: impl Fn(TopicId) -> bool) -> u64 {
        let mut kept = VecDeque::new();
        let mut locked = self.locked_events();
        // Such a message may be larger than the target: what is behind it must not all be skipped for that.
        let target_bytes = target_bytes + self.begun_bytes();
        let mut skipped = 0;
        for run in self.take_runs() {
            if run.batch.is_own() {
                kept.push_back(run);
                continue;
            }
            let first = run.to.min(run.from + locked);
            if first > run.from {
                locked -= first - run.from;
                kept.push_back(run.copied(run.from, first));
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

    /// Drops everything but a partly written frame or message, without announcing it: the client is about to be closed.
    pub fn clear(&mut self) {
        self.event_bytes = 0;
        self.own_bytes = 0;
        if self.out_of_band.as_mut().is_some_and(|out_of_band| !out_of_band.clear()) {
            self.out_of_band = None;
        }
        self.drop_unlocked();
    }
}

/// Where the newest queued event of a topic is.
struct Newest {
    run: FromFront,
    index: u32,
    is_late: bool,
}

impl Newest {
    fn is_at(&self, run: usize, index: u32) -> bool {
        (self.run.0, self.index) == (run, index)
    }
}

/// The newest event of each topic. That is the last one that isn't late; if all are late, the last one.
fn newest_events<'r>(runs: impl Iterator<Item = &'r Run>) -> HashMap<TopicId, Newest, RandomState> {
    let mut newest = HashMap::<_, Newest, _>::default();
    for (at, run) in runs.enumerate().filter(|(_, run)| !run.batch.is_own()) {
        for index in run.from..run.to {
            let is_late = run.batch.is_late(index);
            let event = Newest { run: FromFront(at), index, is_late };
            match newest.entry(run.batch.topic(index)) {
                Entry::Vacant(first) => _ = first.insert(event),
                Entry::Occupied(older) if is_late && !older.get().is_late => {}
                Entry::Occupied(mut older) => *older.get_mut() = event,
            }
        }
    }
    newest
}

impl Run {
    /// Frames `from..to` of the run, as a run whose batch has no others.
    fn copied(&self, from: u32, to: u32) -> Self {
        if self.batch.table().len() as u32 == to - from {
            return Self { batch: Rc::clone(&self.batch), from, to };
        }
        Self { batch: self.batch.extract(from, to), from: 0, to: to - from }
    }
}
