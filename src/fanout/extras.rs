//! What only a client has that asked for more than every event of its symbols, live and in order. Pure.
//!
//! A connection has a box of this from the moment on when it names one of the terms; one that never does pays a null pointer
//! for them. So everything here is aside of the common path: a shard looks once whether there is a box.

use std::rc::Rc;

use super::batch::{Batch, TopicId};
use super::outbox::Outbox;
use crate::config::SlowClientPolicy;

/// One client's terms and what keeping them takes.
#[derive(Debug, Default)]
pub struct Extras {
    /// `onSlow`, where the client has said it.
    pub on_slow: Option<SlowClientPolicy>,
    /// Whether the client wants a `heartbeat` status each second.
    pub heartbeat: bool,
    /// The last offer that was seen.
    offer: u64,
}

impl Extras {
    /// Whether the client hears of something for the first time. What concerns a topic is offered to the subscribers of the
    /// topic and of each pattern that matches it, under one number; a client that holds any pattern has extras.
    pub fn is_first_offer(&mut self, offer: u64) -> bool {
        std::mem::replace(&mut self.offer, offer) != offer
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
        let _ = (subscription, topic);
        outbox.push_events(batch, from, to, batch.start(to) - batch.start(from));
    }
}
