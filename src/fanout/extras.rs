//! Per-client state that exists only once a client uses an optional feature or loses an event. Pure.
//!
//! Most clients get every event of their symbols and never have this: they cost a null pointer each, and one look at it for a run of
//! events.

use super::backfill::Backfill;
use super::batch::BacklogBytes;
use super::conflation::{Conflation, TopicRun};
use super::outbox::Outbox;
use crate::bus::TopicId;
use crate::protocol::terms::SlowClientPolicy;

/// The state of one client's optional features.
#[derive(Debug, Default)]
pub struct Extras {
    /// `onSlow`, if the client has set it.
    pub on_slow: Option<SlowClientPolicy>,
    /// When the next `heartbeat` status is due, in microseconds since the gateway was built, for a client that wants them.
    pub heartbeat_us: Option<u64>,
    /// `conflate` and `maxRate`.
    pub conflation: Conflation,
    /// Events skipped since the client connected, announced or yet to be announced.
    pub skipped: u64,
    /// Snapshots and floors, as long as there are any.
    pub backfill: Option<Box<Backfill>>,
    /// The number of the last offer to this client.
    last_offer: u64,
}

impl Extras {
    /// True on the first call with this `offer`. A client reached by symbol and by patterns is offered each run of events once per
    /// subscription, under one number; only the first offer counts. Every client with a wildcard has extras.
    pub fn is_first_offer(&mut self, offer: u64) -> bool {
        std::mem::replace(&mut self.last_offer, offer) != offer
    }

    /// Queues waiting snapshots as far as there is room: see [`Backfill::refill`].
    #[inline]
    pub fn refill(&mut self, outbox: &mut Outbox, room_bytes: u32, backlog: &BacklogBytes, now_us: u64) {
        if let Some(backfill) = &mut self.backfill {
            backfill.refill(outbox, room_bytes, backlog, now_us);
            if backfill.is_done() {
                self.backfill = None;
            }
        }
    }

    /// A topic's id ends, and its symbol's next event may come under another id: what waits here under this id is queued.
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

    /// Takes the events of a run. The client gets them by `subscription`: their topic itself, or a pattern that matches it. A late event
    /// is older than a snapshot that waits, which stays. Returns how many earlier events turn out to have been withheld from a client that
    /// had not seen them; they will be announced as skipped.
    pub fn queue(&mut self, outbox: &mut Outbox, run: &TopicRun<'_>, subscription: TopicId) -> u64 {
        let &TopicRun { batch, topic, from, to, is_late, .. } = run;
        let Some(backfill) = &mut self.backfill else {
            self.conflation.queue(outbox, run, subscription);
            return 0;
        };
        let withheld = backfill.end_floor(topic, batch.arrived_us());
        if backfill.floor(topic).is_none() {
            if !is_late {
                backfill.forget(topic);
            }
            self.note_withheld(outbox, topic, withheld);
            self.conflation.queue(outbox, run, subscription);
            return withheld;
        }
        for index in from..to {
            if backfill.is_new(topic, batch.seq(index)) {
                if !is_late {
                    backfill.forget(topic);
                }
                let event = TopicRun::new(batch, topic, index, index + 1);
                self.conflation.queue(outbox, &event, subscription);
            }
        }
        0
    }

    /// A topic's worker has restarted its sequence numbers: no floor holds. Returns what [`Extras::queue`] does.
    pub fn seq_restarted(&mut self, outbox: &mut Outbox, topic: TopicId) -> u64 {
        let withheld = self.backfill.as_mut().map_or(0, |backfill| backfill.clear_floor(topic));
        self.note_withheld(outbox, topic, withheld);
        withheld
    }

    /// Counts events that were withheld from a client that had not seen them as skipped: they will be announced.
    fn note_withheld(&mut self, outbox: &mut Outbox, topic: TopicId, withheld: u64) {
        if withheld > 0 {
            outbox.note_skipped(topic, withheld);
            self.skipped += withheld;
        }
    }

    /// When the oldest queued event was read (see [`Batch::arrived_us`](super::batch::Batch::arrived_us)); `None` if no event is queued.
    pub fn oldest_arrival_us(&self, outbox: &Outbox) -> Option<u64> {
        // The first queued event is the oldest, unless events have replaced others; then few are queued.
        if self.conflation.is_idle() { outbox.first_arrival_us() } else { outbox.arrivals_us().min() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use slotmap::SlotMap;

    use super::*;
    use crate::bus::{Entry, Frames, Seqs};
    use crate::fanout::batch::Batch;
    use crate::fanout::conflation::Change;
    use crate::fanout::outbox::Scratch;
    use crate::market::{Form, Kind};
    use crate::protocol::terms::{Conflate, MaxRate};

    /// What waits under an id that ends is queued before the symbol's next event, which comes under another id.
    #[test]
    fn nothing_is_held_back_under_an_id_that_has_ended() {
        let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
        let [pattern, old, new] = [(); 3].map(|()| ids.insert(()));
        let backlog = BacklogBytes::default();
        let event = |topic, bytes: &'static [u8]| {
            let table = vec![Entry { end: bytes.len() as u32, topic }];
            Batch::shared(
                Frames { bytes: Bytes::from_static(bytes), table, arrived_us: 1, ..Frames::default() },
                &backlog,
            )
        };
        for max_rate in [None, MaxRate::new(4.0)] {
            let (mut extras, mut outbox) = (Extras::default(), Outbox::default());
            let change = Change { conflate: Some(Conflate::Latest), max_rate };
            extras.conflation.change(&mut outbox, [(pattern, Kind::TRADE, Form::JSON)].into_iter(), change);
            let backfill = extras.backfill.insert(Box::new(Backfill::new(&backlog)));
            backfill.push(vec![(old, Bytes::from_static(b"value,"))], Vec::new(), Vec::new());
            extras.topic_retired(&mut outbox, old, &backlog, 1);
            extras.queue(&mut outbox, &TopicRun::new(&event(old, b"1,"), old, 0, 1), pattern);
            extras.queue(&mut outbox, &TopicRun::new(&event(old, b"2,"), old, 0, 1), pattern);
            extras.topic_retired(&mut outbox, old, &backlog, 1);
            // Under the new id, with the same terms or none.
            extras.queue(&mut outbox, &TopicRun::new(&event(new, b"3,"), new, 0, 1), new);
            extras.refill(&mut outbox, 1_000, &backlog, 1);
            assert!(extras.backfill.is_none(), "nothing is left to wait for");
            let mut scratch = Scratch::with_capacity(100);
            let written = outbox.chunk(&mut scratch, &|_, _| panic!("nothing is skipped"));
            assert_eq!(std::str::from_utf8(written), Ok("value,2,3,"));
        }
    }

    /// A late event is older than the last value: it comes before a snapshot that waits, and doesn't take its place.
    #[test]
    fn a_late_event_leaves_a_waiting_snapshot_in_its_place() {
        let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
        let topic = ids.insert(());
        let backlog = BacklogBytes::default();
        let (mut extras, mut outbox) = (Extras::default(), Outbox::default());
        let backfill = extras.backfill.insert(Box::new(Backfill::new(&backlog)));
        backfill.push(vec![(topic, Bytes::from_static(b"value,"))], Vec::new(), Vec::new());
        let table = vec![Entry { end: 5, topic }];
        let mut seqs = Seqs::default();
        seqs.set(0, 7, true);
        let batch = Batch::shared(
            Frames { bytes: Bytes::from_static(b"late,"), table, seqs, arrived_us: 1, ..Frames::default() },
            &backlog,
        );
        extras.queue(&mut outbox, &TopicRun::new(&batch, topic, 0, 1), topic);
        extras.refill(&mut outbox, 1_000, &backlog, 1);
        let mut scratch = Scratch::with_capacity(100);
        let written = outbox.chunk(&mut scratch, &|_, _| panic!("nothing is skipped"));
        assert_eq!(std::str::from_utf8(written), Ok("late,value,"));
    }
}
