//! One event on its way to a client that conflates, and the aggregate that it carries. Pure.
//!
//! Many clients wait for the same trades of a busy symbol: those since the last write, or the last boundary of a rate. So an aggregate
//! is worked out for the first client that needs it, and shared by all others ([`SharedAggregate`]). Parsing, summing and framing are
//! paid once for each range of trades that anybody waits for, not once for each client.

use std::cell::{OnceCell, RefCell};
use std::rc::{Rc, Weak};

use super::aggregate::Aggregate;
use crate::fanout::batch::Batch;

/// An event: frame `index` of `batch`.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) batch: Rc<Batch>,
    pub(super) index: u32,
    /// The trades that the event tells of, itself among them. `None` without `aggregate`: it tells of itself alone.
    pub(super) aggregate: Option<Rc<SharedAggregate>>,
}

impl Event {
    /// Takes over the trades of an older event of the topic. `false`: they can't be added up exactly, and nothing has changed.
    pub(super) fn absorb(&mut self, older: &Self) -> bool {
        // The usual case first: another client has needed the same sum.
        let known = match (&older.aggregate, &self.aggregate) {
            (Some(older), Some(newer)) => older.known_sum(newer),
            _ => None,
        };
        let both = known.or_else(|| older.aggregate().sum(older, &self.aggregate(), self));
        self.become_sum(both)
    }

    /// Adds late trades of the topic, which are older than this event. `false`: they can't be added up exactly, and nothing has changed.
    pub(super) fn add_late(&mut self, late: &Rc<SharedAggregate>) -> bool {
        let aggregate = self.aggregate();
        let both = aggregate.sums(self).and_then(|_| aggregate.with_late(late));
        self.become_sum(both)
    }

    fn become_sum(&mut self, sum: Option<Rc<SharedAggregate>>) -> bool {
        let is_sum = sum.is_some();
        if is_sum {
            self.aggregate = sum;
        }
        is_sum
    }

    /// The trades that the event tells of, parsed; `None` if they can't be added up exactly.
    pub(super) fn trades(&self) -> Option<Rc<SharedAggregate>> {
        let aggregate = self.aggregate();
        aggregate.sums(self).is_some().then_some(aggregate)
    }

    /// The frame to send: the shared one, or one with the totals if the event tells of several trades.
    pub(super) fn frame(&self) -> (Rc<Batch>, u32) {
        let marked = self.aggregate.as_ref().and_then(|aggregate| aggregate.marked(self));
        marked.map_or_else(|| (Rc::clone(&self.batch), self.index), |batch| (batch, 0))
    }

    fn aggregate(&self) -> Rc<SharedAggregate> {
        match &self.aggregate {
            Some(aggregate) => Rc::clone(aggregate),
            None if self.batch.event_count() == 1 => SharedAggregate::unread(),
            // A frame with totals of which the sums are gone: the client had left `aggregate` meanwhile.
            None => SharedAggregate::of(None),
        }
    }
}

/// The aggregate of one or more adjacent trades of a topic, shared by the clients that wait for exactly these.
#[derive(Debug)]
pub(super) struct SharedAggregate {
    count: u64,
    /// Worked out when first needed; `None` in it if the trade's numbers can't be added up exactly.
    sums: OnceCell<Option<Aggregate>>,
    /// The frame with the totals, as long as an outbox has it.
    marked: RefCell<Weak<Batch>>,
    /// The last sum of this and newer trades. One is enough: all clients that wait for these trades get the same newer ones.
    next: RefCell<Next>,
}

/// The newer trades of a sum, and the aggregate of both. The weak reference keeps the address of the newer trades from being used
/// again, so equal addresses mean the same trades.
#[derive(Debug, Default)]
struct Next {
    newer: Weak<SharedAggregate>,
    both: Weak<SharedAggregate>,
}

impl SharedAggregate {
    /// The aggregate of one trade that is parsed when it is needed.
    pub(super) fn unread() -> Rc<Self> {
        Self::new(1, OnceCell::new())
    }

    /// A known aggregate; `None` for one trade that can't be added to others.
    pub(super) fn of(sums: Option<Aggregate>) -> Rc<Self> {
        Self::new(sums.as_ref().map_or(1, Aggregate::count), OnceCell::from(sums))
    }

    fn new(count: u64, sums: OnceCell<Option<Aggregate>>) -> Rc<Self> {
        Rc::new(Self { count, sums, marked: RefCell::default(), next: RefCell::default() })
    }

    /// How many trades it has.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The aggregate of these trades and newer ones, if it is there already.
    fn known_sum(&self, newer: &Rc<Self>) -> Option<Rc<Self>> {
        let next = self.next.borrow();
        if std::ptr::eq(next.newer.as_ptr(), Rc::as_ptr(newer)) { next.both.upgrade() } else { None }
    }

    /// The aggregate of these trades and newer ones, which are those of the two events. `None` if they can't be added up exactly.
    fn sum(&self, event: &Event, newer: &Rc<Self>, newer_event: &Event) -> Option<Rc<Self>> {
        Some(self.add_up(newer, [self.sums(event)?, newer.sums(newer_event)?], Aggregate::add))
    }

    /// The aggregate of these trades and late ones, which came after them. `None` if either are not parsed yet, or can't be added up
    /// exactly.
    pub(super) fn with_late(&self, late: &Rc<Self>) -> Option<Rc<Self>> {
        self.known_sum(late)
            .or_else(|| Some(self.add_up(late, [self.parsed()?, late.parsed()?], Aggregate::add_late)))
    }

    fn parsed(&self) -> Option<&Aggregate> {
        self.sums.get()?.as_ref()
    }

    /// Works out the aggregate of these trades and others that came after them, from the sums of both, and remembers it.
    fn add_up(
        &self,
        newer: &Rc<Self>,
        [sums, newer_sums]: [&Aggregate; 2],
        add: fn(&mut Aggregate, &Aggregate),
    ) -> Rc<Self> {
        let mut sums = sums.clone();
        add(&mut sums, newer_sums);
        let both = Self::of(Some(sums));
        self.next.replace(Next { newer: Rc::downgrade(newer), both: Rc::downgrade(&both) });
        both
    }

    fn sums(&self, event: &Event) -> Option<&Aggregate> {
        self.sums.get_or_init(|| Aggregate::of(event.batch.form(), event.batch.frame(event.index))).as_ref()
    }

    /// The frame of `event`, which is the newest of the trades, with the totals of all; `None` if there is but one.
    fn marked(&self, event: &Event) -> Option<Rc<Batch>> {
        if self.count == 1 {
            return None;
        }
        if let Some(marked) = self.marked.borrow().upgrade() {
            return Some(marked);
        }
        let frame = self.sums(event)?.mark(event.batch.form(), event.batch.frame(event.index))?;
        let marked = event.batch.with_frame(event.index, frame, self.count);
        self.marked.replace(Rc::downgrade(&marked));
        Some(marked)
    }
}
