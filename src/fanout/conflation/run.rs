//! A run of events on its way to the topic's subscribers, and what all of them have in common. Pure.

use std::cell::OnceCell;
use std::rc::Rc;

use smallvec::{SmallVec, smallvec};

use super::aggregate::Aggregate;
use super::event::{Event, SharedAggregate};
use crate::bus::TopicId;
use crate::fanout::batch::Batch;

/// Adjacent events of one topic in a batch, as they are offered to one subscriber after another. What is worked out for the first
/// subscriber is kept for the others; a subscriber that conflates nothing asks for none of it.
#[derive(Debug)]
pub struct TopicRun<'b> {
    /// The batch that has the events.
    pub batch: &'b Rc<Batch>,
    /// The topic of all of them.
    pub topic: TopicId,
    /// The first frame of the run.
    pub from: u32,
    /// The frame behind its last.
    pub to: u32,
    /// The size of its frames.
    pub bytes: u32,
    /// Whether its event, which is the only one then, is older than one of the topic that came before it.
    pub is_late: bool,
    parts: OnceCell<SmallVec<[Part; 1]>>,
}

/// Events of a run that are added up, or one that can't be.
#[derive(Debug)]
pub(super) struct Part {
    /// The frame of the newest of them.
    newest: u32,
    aggregate: Rc<SharedAggregate>,
}

impl<'b> TopicRun<'b> {
    /// Frames `from..to` of a batch, at least one, all of `topic`; a late event is a run of its own.
    #[inline]
    pub fn new(batch: &'b Rc<Batch>, topic: TopicId, from: u32, to: u32) -> Self {
        let bytes = batch.start(to) - batch.start(from);
        Self { batch, topic, from, to, bytes, is_late: batch.is_late(from), parts: OnceCell::new() }
    }

    /// The newest event, which tells of itself alone.
    pub(super) fn newest(&self) -> Event {
        Event { batch: Rc::clone(self.batch), index: self.to - 1, aggregate: None }
    }

    /// The events with `aggregate`: adjacent ones are added up as far as they can be. Each comes with the number of events in it.
    pub(super) fn aggregated(&self) -> impl Iterator<Item = (Event, u64)> {
        let parts = self.parts.get_or_init(|| self.add_up());
        parts.iter().map(|Part { newest, aggregate }| {
            let batch = Rc::clone(self.batch);
            let event = Event { batch, index: *newest, aggregate: Some(Rc::clone(aggregate)) };
            (event, aggregate.count())
        })
    }

    fn add_up(&self) -> SmallVec<[Part; 1]> {
        if self.to - self.from == 1 {
            // Nothing may have to be added to it, so it isn't parsed yet.
            return smallvec![Part { newest: self.from, aggregate: SharedAggregate::unread() }];
        }
        let mut parts = SmallVec::new();
        let mut sum: Option<Aggregate> = None;
        let part = |newest: u32, sum: Option<Aggregate>| Part { newest, aggregate: SharedAggregate::of(sum) };
        for index in self.from..self.to {
            match (Aggregate::of(self.batch.form(), self.batch.frame(index)), &mut sum) {
                (Some(trade), Some(sum)) => sum.add(&trade),
                (Some(trade), None) => sum = Some(trade),
                (None, sum) => {
                    parts.extend(sum.take().map(|sum| part(index - 1, Some(sum))));
                    parts.push(part(index, None));
                }
            }
        }
        parts.extend(sum.map(|sum| part(self.to - 1, Some(sum))));
        parts
    }
}
