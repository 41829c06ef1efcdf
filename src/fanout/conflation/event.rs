//! One event on its way to a client that conflates, and what it may stand for. Pure.

use std::rc::Rc;

use super::aggregate::Aggregate;
use crate::fanout::batch::Batch;

/// An event: frame `index` of `batch`, and what it stands for if that is more than itself.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) batch: Rc<Batch>,
    pub(super) index: u32,
    pub(super) fold: Option<Box<Aggregate>>,
}

impl Event {
    pub(super) fn new(batch: &Rc<Batch>, index: u32) -> Self {
        Self { batch: Rc::clone(batch), index, fold: None }
    }

    /// What the event stands for; `None` if that can't be told.
    fn fold(&self) -> Option<Aggregate> {
        self.fold.as_deref().cloned().or_else(|| Aggregate::of(self.batch.frame(self.index)))
    }

    /// The event, newer than `older`, marked with what both stand for; `None` if they can't be added up.
    pub(super) fn absorb(&self, older: &Self) -> Option<Self> {
        let fold = older.fold()?.join(self.fold()?);
        Some(Self { batch: Rc::clone(&self.batch), index: self.index, fold: Some(Box::new(fold)) })
    }

    /// The frame to send, as it was shared if it stands for nothing more.
    pub(super) fn frame(&self) -> (Rc<Batch>, u32) {
        let Some(fold) = &self.fold else { return (Rc::clone(&self.batch), self.index) };
        match fold.mark(self.batch.frame(self.index)) {
            Some(marked) => (self.batch.with_frame(self.index, marked, fold.count()), 0),
            None => (Rc::clone(&self.batch), self.index),
        }
    }
}
