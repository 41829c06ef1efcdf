//! What only a client has that asked for more than every event of its symbols, live and in order. Pure.
//!
//! A connection has a box of this from the moment on when it names one of the terms, or loses an event; one that never does
//! pays a null pointer for them. So everything here is aside of the common path: a shard looks once whether there is a box.

use std::rc::Rc;

use super::backfill::Backfill;
use super::batch::{BacklogBytes, Batch};
use super::conflation::Conflation;
use super::outbox::Outbox;
use crate::bus::TopicId;
use crate::protocol::terms::SlowClientPolicy;

/// One client's terms and what keeping them takes.
#[derive(Debug, Default)]
pub struct Extras {
    /// `onSlow`, where the client has said it.
    pub on_slow: Option<SlowClientPolicy>,
    /// When the next `heartbeat` status is due, in microseconds since the gateway was built, for a client that wants them.
    pub heartbeat_us: Option<u64>,
    /// `conflate` and `maxRate`.
    pub conflation: Conflation,
    /// Events announced as skipped, or to be announced, since the client connected.
    pub skipped: u64,
    /// What the client asked for of the past, as long as some of it is on its way.
    pub backfill: Option<Box<Backfill>>,
    /// The last offer that was seen.
    offer: u64,
}

impl Extras {
    /// Whether the client hears of something for the first time. What concerns a topic is offered to the subscribers of the
    /// topic and of each pattern that matches it, under one number; a client that holds any pattern has extras.
    pub fn is_first_offer(&mut self, offer: u64) -> bool {
        std::mem::replace(&mut self.offer, offer) != offer
    }

    /// Queues what was asked for of the past, as far as there is room: see [`Backfill::refill`].
    #[inline]
    pub fn refill(&mut self, outbox: &mut Outbox, room_bytes: u32, backlog: &BacklogBytes, now_us: u64) {
        if let Some(backfill) = &mut self.backfill {
            backfill.refill(outbox, room_bytes, backlog, now_us);
            if backfill.is_done() {
                self.backfill = None;
            }
        }
    }

    /// A topic's id ends, and its symbol may come again under another: all that is kept here by the id is queued.
    pub fn topic_retired(
        &mut self,
        outbox: &mut Outbox,
        topic: TopicId,
        backlog: &BacklogBytes,
        now_us: u64,
    ) {
        if let Some(backfill) = &mut self.backfill {
            backfill.topic_retired(outbox, topic, backlog, now_us);
        }
        self.conflation.flush_held(outbox, topic);
    }

    /// Takes frames `from..to` of a batch, all of `topic`, to which the client is subscribed as `subscription`: the topic
    /// itself, or a pattern that matches it.
    pub fn queue(
        &mut self,
        outbox: &mut Outbox,
        batch: &Rc<Batch>,
        subscription: TopicId,
        topic: TopicId,
        (from, to): (u32, u32),
    ) {
        let Some(mut backfill) = self.backfill.take() else {
            return self.conflation.queue(outbox, batch, subscription, topic, (from, to));
        };
        if backfill.has_floor(topic) {
            for index in from..to {
                if backfill.is_news(topic, batch.slice(batch.start(index), batch.start(index + 1))) {
                    backfill.forget(topic);
                    self.conflation.queue(outbox, batch, subscription, topic, (index, index + 1));
                }
            }
        } else {
            backfill.forget(topic);
            self.conflation.queue(outbox, batch, subscription, topic, (from, to));
        }
        self.backfill = Some(backfill);
    }

    /// When the oldest queued event was read (see [`Batch::arrived_us`]); `None` if no event is queued.
    pub fn oldest_arrival_us(&self, outbox: &Outbox) -> Option<u64> {
        // In order, unless events have taken the places of others; then there are few.
        if self.conflation.is_idle() { outbox.first_arrival_us() } else { outbox.arrivals_us().min() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use slotmap::SlotMap;

    use super::*;
    use crate::bus::{Entry, Frames};
    use crate::fanout::conflation::Change;
    use crate::market::EventType;
    use crate::protocol::terms::{Conflate, MaxRate};

    /// What is kept back when a topic's id ends goes out before the next event of its symbol, which comes under another.
    #[test]
    fn nothing_is_kept_back_by_an_id_that_has_ended() {
        let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
        let [pattern, old, new] = [(); 3].map(|()| ids.insert(()));
        let backlog = BacklogBytes::default();
        let event = |topic, bytes: &'static [u8]| {
            let table = vec![Entry { end: bytes.len() as u32, topic }];
            Batch::shared(Frames { bytes: Bytes::from_static(bytes), table, arrived_us: 1 }, &backlog)
        };
        for max_rate in [None, MaxRate::new(4.0)] {
            let (mut extras, mut outbox) = (Extras::default(), Outbox::default());
            let change = Change { conflate: Some(Conflate::Latest), max_rate };
            extras.conflation.change(&mut outbox, [(pattern, EventType::Trade)].into_iter(), change);
            let backfill = extras.backfill.insert(Box::new(Backfill::new(&backlog)));
            backfill.push(vec![(old, Bytes::from_static(b"value,"))], Vec::new(), Vec::new());
            extras.topic_retired(&mut outbox, old, &backlog, 1);
            extras.queue(&mut outbox, &event(old, b"1,"), pattern, old, (0, 1));
            extras.queue(&mut outbox, &event(old, b"2,"), pattern, old, (0, 1));
            extras.topic_retired(&mut outbox, old, &backlog, 1);
            // Under the same terms, or none.
            extras.queue(&mut outbox, &event(new, b"3,"), new, new, (0, 1));
            extras.refill(&mut outbox, 1_000, &backlog, 1);
            assert!(extras.backfill.is_none(), "nothing is left to wait for");
            let mut scratch = Vec::with_capacity(100);
            let written = outbox.chunk(&mut scratch, &|_, _| panic!("nothing is skipped"));
            assert_eq!(std::str::from_utf8(written), Ok("value,2,3,"));
        }
    }
}
