//! Conflation for a client that is too slow for every event, and its part in what all clients keep alive.

use std::rc::Rc;

use super::{Conflation, Pending};
use crate::fanout::batch::Batch;
use crate::fanout::outbox::Outbox;

impl Conflation {
    /// The client is too slow for every event: of each topic only the newest queued event stays, and so it is from now on, until the
    /// client has caught up. Topics with `aggregate` have one event with all totals already. `status` is queued in front.
    pub fn fall_back(&mut self, outbox: &mut Outbox, status: Rc<Batch>) {
        self.is_fallback = true;
        self.forget_written(outbox);
        let aggregated = self.pending.iter().filter(|(_, pending)| pending.is_aggregated);
        let spared = aggregated.map(|(topic, _)| *topic).collect();
        self.replaced += outbox.reduce_to_latest(&spared, status);
        for (topic, position) in outbox.newest().into_iter().filter(|(topic, _)| !topic.is_desk()) {
            let lossless = Pending { position, is_aggregated: false, aggregate: None };
            self.pending.entry(topic).or_insert(lossless).position = position;
        }
    }

    /// Nothing is queued any more. `true`: the client was too slow for every event, and now gets them all again.
    pub fn caught_up(&mut self) -> bool {
        self.pending.clear();
        std::mem::take(&mut self.is_fallback)
    }

    /// Skips events until at most `target_bytes` of them are queued, the oldest first. Pending events are in the places of older ones,
    /// so they are skipped only when no other events are left. Returns how many events were skipped.
    pub fn skip_oldest(&mut self, outbox: &mut Outbox, target_bytes: u32) -> u64 {
        self.forget_written(outbox);
        let mut skipped = 0;
        if !self.pending.is_empty() {
            skipped = outbox.skip_oldest_of(target_bytes, |topic| !self.pending.contains_key(&topic));
            for (topic, position) in outbox.newest() {
                self.pending.entry(topic).and_modify(|pending| pending.position = position);
            }
        }
        skipped + outbox.skip_oldest(target_bytes)
    }

    /// Copies held events out of their batches, which then don't live on for them.
    pub fn compact(&mut self) {
        for held in self.held.values_mut().filter(|held| held.event.batch.table().len() > 1) {
            held.event.batch = held.event.batch.extract(held.event.index, held.event.index + 1);
            held.event.index = 0;
        }
    }
}
