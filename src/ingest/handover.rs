//! Batches on their way into the shards' inboxes, and what becomes of those that don't fit.
//!
//! A shard's inbox is bounded in bytes. When a batch doesn't fit, ingest waits for room, once and for a few milliseconds. A shard
//! that makes no room in that time is *behind*: ingest drops the batch and counts its events by topic, and does so with all
//! that comes for this shard, until the inbox is half empty again (see `losses`). Meanwhile ingest doesn't wait for this shard, and
//! sends it nothing but answers that it waits for. Then it tells the shard of its losses, so that the shard can announce them to
//! its clients exactly, and events follow.

mod held;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use self::held::HeldFeed;
use super::router::{Batch, Reported, Router};
use crate::bus::{DeskNews, Feed, HistoryReply, LookedUp, ReplayBudget, ShardPort, Ticket, ToShard, TopicId};
use crate::limits;
use crate::market::{Delay, Subject};
use crate::state::State;

pub(super) struct Handover {
    shards: Vec<ShardState>,
    /// How large an inbox may become: [`limits::SHARD_INBOX_BYTES`].
    inbox_bytes_max: usize,
    /// How many times ingest sleeps for a shard that has no room, before the shard is behind.
    pauses: u32,
    /// Sleeps; tests count it.
    pause: Box<dyn FnMut(Duration) + Send>,
    state: Arc<State>,
}

/// Ingest's state for one shard.
#[derive(Debug)]
struct ShardState {
    port: ShardPort,
    /// Topics whose last values the shard waits for.
    awaited: HashSet<TopicId, RandomState>,
    /// By delay.
    feeds: [HeldFeed; Delay::COUNT],
}

impl Handover {
    pub(super) fn new(ports: Vec<ShardPort>, state: Arc<State>) -> Self {
        let shard = |port| ShardState { port, awaited: HashSet::default(), feeds: Default::default() };
        Self {
            // The only shard runs on ingest's own thread: it makes no room while ingest sleeps.
            pauses: if ports.len() > 1 { limits::HANDOVER_PAUSES } else { 0 },
            shards: ports.into_iter().map(shard).collect(),
            inbox_bytes_max: limits::SHARD_INBOX_BYTES,
            pause: Box::new(std::thread::sleep),
            state,
        }
    }

    /// How much of what clients have missed a shard has room for.
    pub(super) fn replay_budget(&self, shard: usize) -> &ReplayBudget {
        &self.shards[shard].port.replay_budget
    }

    /// Tells a shard something of the desk, whatever room there is.
    pub(super) fn tell_desk(&self, shard: usize, news: DeskNews) {
        self.shards[shard].send(ToShard::Desk(Box::new(news)));
    }

    /// Whether a shard has room for so many bytes more, without waiting for it.
    pub(super) fn fits(&self, shard: usize, bytes: usize) -> bool {
        self.shards[shard].port.inbox.bytes() + bytes <= self.inbox_bytes_max
    }

    /// Whether a shard that was behind has caught up.
    pub(super) fn is_half_empty(&self, shard: usize) -> bool {
        self.shards[shard].port.inbox.bytes() <= self.inbox_bytes_max / 2
    }

    /// Hands every shard what has been framed for it.
    pub(super) fn hand_over(&mut self, router: &mut Router, arrived_us: u64) {
        for shard in 0..self.shards.len() {
            if router.is_behind(shard) {
                self.catch_up_if_room(router, shard);
            } else {
                self.hand_to(router, shard, arrived_us);
            }
        }
        self.state.metrics.ingest.events_dropped.add(router.take_lost_events());
        self.state.metrics.ingest.events_unwritten.add(router.take_unwritten());
    }

    fn hand_to(&mut self, router: &mut Router, shard: usize, arrived_us: u64) {
        self.shards[shard].open(router.take_opened(shard));
        let bytes = router.bytes_for(shard);
        if bytes == 0 {
            return;
        }
        if !self.has_room_for(shard, bytes) {
            let lost = router.take(shard, arrived_us).batches;
            return router.fall_behind(shard, lost);
        }
        self.state.metrics.ingest.batches.add(1);
        for form in router.forms_for(shard) {
            let Some(Batch { frames, notices }) = router.take_in_form(shard, form, arrived_us) else {
                continue;
            };
            self.shards[shard].send(match notices.is_empty() {
                true => ToShard::Batch(frames),
                false => ToShard::BatchWithChanges(frames, notices.into()),
            });
        }
    }

    /// Once the inbox of a shard that is behind is half empty, the shard is told all that it has to know, and gets events again.
    fn catch_up_if_room(&mut self, router: &mut Router, shard: usize) {
        if self.shards[shard].port.inbox.bytes() <= self.inbox_bytes_max / 2 {
            self.shards[shard].report(router.report(shard));
            self.shards[shard].release_feed();
            router.catch_up(shard);
        }
    }

    /// Answers a shard's request for topics: behind the topics that were opened to it before, so that it sees everything about an
    /// id in the order in which it happened.
    pub(super) fn grant(
        &mut self,
        router: &mut Router,
        shard: usize,
        ticket: Ticket,
        topics: Vec<(Subject, TopicId)>,
        history: Option<Box<HistoryReply>>,
    ) {
        if let Some(state) = self.shards.get_mut(shard) {
            state.awaited.extend(history.iter().flat_map(|history| &history.awaited));
        }
        self.tell(router, shard, ToShard::Granted { ticket, topics, history });
    }

    /// Takes back topics that a shard has given back. What is framed under their ids goes first; events that come later open them
    /// again.
    pub(super) fn retire(
        &mut self,
        router: &mut Router,
        shard: usize,
        topics: Vec<TopicId>,
        arrived_us: u64,
    ) {
        self.hand_over(router, arrived_us);
        topics.iter().for_each(|topic| router.retire(shard, *topic));
        self.tell(router, shard, ToShard::Retired(topics));
    }

    /// Tells the shards whose clients wait for these last values. Each value is told once.
    pub(super) fn tell_looked_up(&mut self, router: &mut Router, values: &[LookedUp]) {
        for shard in 0..self.shards.len() {
            let awaited = &mut self.shards[shard].awaited;
            let values: Vec<_> =
                values.iter().filter(|value| awaited.remove(&value.awaited)).cloned().collect();
            if !values.is_empty() {
                self.tell(router, shard, ToShard::LookedUp(values));
            }
        }
    }

    /// Tells the shards of losses that are no shard's own; a shard that is behind hears of them once it has caught up.
    pub(super) fn tell_losses(&mut self, router: &mut Router) {
        for (id, shard) in self.shards.iter().enumerate() {
            if !router.is_behind(id) {
                shard.report(router.report(id));
            }
        }
    }

    /// Tells all shards that a feed's upstream was lost or is back; a shard that is behind hears of it once it has caught up.
    pub(super) fn tell_feed(&mut self, router: &Router, delay: Delay, feed: Feed) {
        for (id, shard) in self.shards.iter_mut().enumerate() {
            shard.feeds[delay.index()].hold(feed);
            if !router.is_behind(id) {
                shard.release_feed();
            }
        }
    }

    /// Tells one shard something that it waits for. That is never dropped; the shard's losses and newly opened topics are sent first. A shard waits for at most
    /// one answer for each of its connections, and for one to each topic that it gives back.
    fn tell(&mut self, router: &mut Router, shard: usize, command: ToShard) {
        let Some(state) = self.shards.get_mut(shard) else { return };
        if router.is_behind(shard) {
            state.report(router.report(shard));
        } else {
            state.open(router.take_opened(shard));
        }
        state.send(command);
    }

    /// Waits for room in the inbox of a shard that is not behind.
    fn has_room_for(&mut self, shard: usize, bytes: usize) -> bool {
        let inbox = &self.shards[shard].port.inbox;
        let fits = || inbox.bytes() + bytes <= self.inbox_bytes_max;
        for _ in 0..self.pauses {
            if fits() {
                return true;
            }
            (self.pause)(limits::HANDOVER_WAIT / limits::HANDOVER_PAUSES);
        }
        fits()
    }
}

impl ShardState {
    fn open(&self, opened: Vec<(Subject, TopicId)>) {
        if !opened.is_empty() {
            self.send(ToShard::Opened(opened));
        }
    }

    fn report(&self, reported: Reported) {
        let Reported { opened, counts, changes, uncounted } = reported;
        self.open(opened);
        if !counts.is_empty() {
            self.send(ToShard::Lost(counts));
        }
        changes.into_iter().for_each(|(topic, change)| self.send(ToShard::SeqChange(topic, change)));
        if !uncounted.is_empty() {
            self.send(ToShard::LostUncounted(uncounted));
        }
    }

    fn release_feed(&mut self) {
        for (delay, held) in Delay::ALL.into_iter().zip(&mut self.feeds) {
            let held = held.release();
            held.into_iter().for_each(|feed| {
                let _ = self.port.inbox.send(ToShard::Feed(delay, feed), 0);
            });
        }
    }

    fn send(&self, command: ToShard) {
        let bytes = command.queued_bytes();
        // A shard only ends when the gateway drains; then nobody is left to miss this.
        let _ = self.port.inbox.send(command, bytes);
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover").field("shards", &self.shards).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
