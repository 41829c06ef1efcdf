//! Late trades of topics with `aggregate`.
//!
//! They are added to the event of the topic that waits to be written. If there is none, or they can't be added to it, they wait for
//! the next event. They never go out by themselves: what the client has of the topic is newer.

use std::collections::hash_map::Entry;
use std::rc::Rc;

use super::event::{Event, SharedAggregate};
use super::{Conflation, Held, Terms, TopicRun};
use crate::bus::TopicId;
use crate::fanout::outbox::Outbox;

/// Late trades that wait for the next event of their topic.
#[derive(Debug)]
pub(super) struct LateTrades {
    subscription: TopicId,
    trades: Rc<SharedAggregate>,
}

impl Conflation {
    /// Takes a late event, the only one of its run. A trade that can't be added up exactly is left out of the sums.
    pub(super) fn add_late(
        &mut self,
        outbox: &mut Outbox,
        run: &TopicRun<'_>,
        subscription: TopicId,
        terms: Terms,
    ) {
        self.replaced += 1;
        if !terms.aggregate {
            return;
        }
        let topic = run.topic;
        for late in run.aggregated().filter_map(|(event, _)| event.trades()) {
            let is_added = match self.held.get_mut(&topic) {
                Some(held) => held.event.add_late(&late),
                None => self.add_late_to_pending(outbox, topic, &late),
            };
            if is_added {
                continue;
            }
            match self.late.entry(topic) {
                Entry::Occupied(mut waiting) => {
                    if let Some(both) = waiting.get().trades.with_late(&late) {
                        waiting.get_mut().trades = both;
                    }
                }
                Entry::Vacant(none) => {
                    none.insert(LateTrades { subscription, trades: late });
                }
            }
        }
    }

    /// `false` if no event of the topic waits that the trades can be added to.
    fn add_late_to_pending(
        &mut self,
        outbox: &mut Outbox,
        topic: TopicId,
        late: &Rc<SharedAggregate>,
    ) -> bool {
        let Some(pending) = self.pending.get_mut(&topic) else { return false };
        let Some((batch, index)) = outbox.pending(pending.position, topic) else { return false };
        let mut event = Event { batch: Rc::clone(batch), index, aggregate: pending.aggregate.clone() };
        let is_added = event.add_late(late);
        if is_added {
            let (batch, index) = event.frame();
            outbox.replace(pending.position, &batch, index);
            pending.aggregate = event.aggregate;
        }
        is_added
    }

    /// The next event of a topic has come: the late trades that wait for it are added to it, if they can be.
    #[inline]
    pub(super) fn add_waiting_late(&mut self, topic: TopicId, new: &mut Held) {
        if new.terms.aggregate
            && let Some(late) = self.late.get(&topic)
            && new.event.add_late(&late.trades)
        {
            self.late.remove(&topic);
        }
    }

    /// Drops the late trades of subscriptions that have no `aggregate` any more.
    pub(super) fn forget_late(&mut self) {
        let Self { asked, late, .. } = self;
        late.retain(|_, late| asked.get(&late.subscription).is_some_and(|terms| terms.aggregate));
    }
}
