//! What only a client has that asked for more than every event of its symbols, live and in order. Pure.
//!
//! A connection has a box of this from the moment on when it names one of the terms, or loses an event; one that never does
//! pays a null pointer for them. So everything here is aside of the common path: a shard looks once whether there is a box.

use std::rc::Rc;

use super::backfill::Backfill;
use super::batch::{Batch, Ledger, TopicId};
use super::conflation::Conflation;
use super::outbox::Outbox;
use crate::config::SlowClientPolicy;

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
    pub fn refill(&mut self, outbox: &mut Outbox, room_bytes: u32, ledger: &Ledger, now_us: u64) {
        if let Some(backfill) = &mut self.backfill {
            backfill.refill(outbox, room_bytes, ledger, now_us);
            if backfill.is_done() {
                self.backfill = None;
            }
        }
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
            return self.queue_frames(outbox, batch, subscription, topic, (from, to));
        };
        if backfill.has_floor(topic) {
            for index in from..to {
                if backfill.is_news(topic, batch.slice(batch.start(index), batch.start(index + 1))) {
                    backfill.forget(topic);
                    self.queue_frames(outbox, batch, subscription, topic, (index, index + 1));
                }
            }
        } else {
            backfill.forget(topic);
            self.queue_frames(outbox, batch, subscription, topic, (from, to));
        }
        self.backfill = Some(backfill);
    }

    /// Takes frames that the client has not seen, on its terms.
    fn queue_frames(
        &mut self,
        outbox: &mut Outbox,
        batch: &Rc<Batch>,
        subscription: TopicId,
        topic: TopicId,
        (from, to): (u32, u32),
    ) {
        if self.conflation.is_idle() {
            outbox.push_events(batch, from, to, batch.start(to) - batch.start(from));
        } else {
            self.conflation.queue(outbox, batch, subscription, topic, (from, to));
        }
    }

    /// When the oldest queued event was read (see [`Batch::arrived_us`]); `None` if no event is queued.
    pub fn oldest_arrival_us(&self, outbox: &Outbox) -> Option<u64> {
        // In order, unless events have taken the places of others; then there are few.
        if self.conflation.is_idle() { outbox.first_arrival_us() } else { outbox.arrivals_us().min() }
    }
}
