//! From ingest's batches to the outboxes of the subscribers. Nothing is written yet.

use std::rc::Rc;

use smallvec::SmallVec;

use super::super::batch::Batch;
use super::super::conflation::TopicRun;
use super::Shard;
use super::conn::{Conn, ConnKey, FeedNews};
use crate::bus::{Feed, Frames, SeqNotice, TopicId};
use crate::market::Delay;
use crate::protocol::reply::{Reply, Status};

impl Shard {
    /// Queues a batch to the outboxes of the subscribers. Adjacent frames of one topic are queued as one run, but a late event by
    /// itself. A change of sequence numbers is told in its place between them.
    pub(super) fn apply(&mut self, frames: Frames, changes: &[SeqNotice]) {
        let batch = Batch::shared(frames, &self.output.backlog);
        let table = batch.table();
        let mut changes = changes.iter().peekable();
        let mut from = 0;
        while let Some(entry) = table.get(from) {
            while let Some(notice) = changes.next_if(|notice| notice.before as usize <= from) {
                self.tell_seq_change(notice.topic, notice.change);
            }
            let until = changes.peek().map_or(table.len(), |notice| notice.before as usize);
            let same = table[from..until].iter().take_while(|next| next.topic == entry.topic).count();
            let to = batch.end_of_run(from as u32, (from + same) as u32);
            self.queue_run(&batch, entry.topic, from as u32, to);
            from = to as usize;
        }
    }

    /// Queues frames `from..to` of a batch, all of one topic, to its subscribers.
    fn queue_run(&mut self, batch: &Rc<Batch>, topic: TopicId, from: u32, to: u32) {
        let run = TopicRun::new(batch, topic, from, to);
        let (mut phases_begun, mut replaced, mut skipped) = (Vec::new(), 0, 0);
        self.for_each_subscriber(topic, |key, conn, subscription| match &mut conn.extras {
            None => conn.outbox.push_events(batch, from, to, run.bytes),
            Some(extras) => {
                skipped += extras.queue(&mut conn.outbox, &run, subscription);
                replaced += extras.conflation.take_replaced();
                phases_begun.extend(extras.conflation.take_phases_begun().map(|period_us| (key, period_us)));
            }
        });
        self.clocks.phases_begun.append(&mut phases_begun);
        self.metrics.events_conflated.add(replaced);
        self.metrics.events_skipped.add(skipped);
    }

    /// Counts events that ingest dropped as skipped: they are announced like those skipped from an outbox.
    pub(super) fn note_lost(&mut self, counts: &[(TopicId, u64)]) {
        for &(topic, count) in counts {
            let mut skipped = 0;
            self.for_each_subscriber(topic, |_, conn, _| {
                conn.outbox.note_skipped(topic, count);
                conn.extras.get_or_insert_default().skipped += count;
                skipped += count;
            });
            self.metrics.events_skipped.add(skipped);
        }
    }

    /// Calls `queue` once with each client that gets a topic's events, and with its most specific subscription to them: the
    /// topic itself, or else the longest pattern. A client with something to write afterwards is written this turn.
    pub(super) fn for_each_subscriber(
        &mut self,
        topic: TopicId,
        mut queue: impl FnMut(ConnKey, &mut Conn, TopicId),
    ) {
        let Self { conns, subscriptions, output, .. } = self;
        subscriptions.offers += 1;
        let patterns = match subscriptions.index.has_patterns() {
            true => SmallVec::<[TopicId; 2]>::from_slice(subscriptions.index.touch(topic)),
            false => SmallVec::new(),
        };
        let mut offer_to = |subscription: TopicId| {
            for &key in subscriptions.index.subscribers(subscription) {
                let Some(conn) = conns.get_mut(key) else { continue };
                if conn.extras.as_mut().is_some_and(|extras| !extras.is_first_offer(subscriptions.offers)) {
                    continue;
                }
                queue(key, conn, subscription);
                if !conn.dirty && conn.has_output() {
                    output.mark_dirty(key, conn);
                }
            }
        };
        offer_to(topic);
        patterns.into_iter().for_each(offer_to);
    }

    /// Tells every client of a feed that its upstream was lost or is back.
    pub(super) fn tell_feed(&mut self, delay: Delay, feed: Feed) {
        self.feeds[delay.index()] = feed;
        let status = match feed {
            Feed::Down => Status::FeedDown,
            Feed::Up { gap_ms } => Status::FeedUp { gap_ms },
        };
        let is_told =
            |conn: &Conn| conn.is_live() && conn.feed_news == FeedNews::Told && conn.delay() == delay;
        let told = self.conns.iter().filter(|(_, conn)| is_told(conn));
        let told = told.map(|(key, _)| key).collect::<Vec<_>>();
        self.say_to_all(&told, &Reply::Status(status));
    }
}
