//! Batches on their way into the shards' inboxes, and what becomes of those that don't fit.
//!
//! An inbox is bounded in bytes. Ingest waits for room for a few milliseconds, once; if the shard doesn't get on,
//! its batches are dropped, counted by topic, and the shard is told as soon as it has room again, before
//! anything else, so that it can announce the loss to its clients exactly.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;

use super::router::Router;
use crate::bus::{
    Frames, HistoryReply, ReplayBudget, SeqChange, SeqNotice, ShardPort, Ticket, ToShard, TopicId,
};
use crate::limits;
use crate::market::Subject;
use crate::state::State;

#[derive(Debug)]
pub(super) struct Handover {
    shards: Vec<Shard>,
    state: Arc<State>,
}

#[derive(Debug)]
struct Shard {
    port: ShardPort,
    /// Events dropped that the shard does not know of yet. At most one entry a topic.
    owed: HashMap<TopicId, u64, RandomState>,
    /// Changes of sequence numbers that were dropped with them.
    owed_changes: HashMap<TopicId, OwedChanges, RandomState>,
}

/// Changes of sequence numbers between events that were dropped. Several gaps are told as one: nothing in between was delivered.
#[derive(Debug, Default)]
struct OwedChanges {
    gap: Option<(u64, u64)>,
    restarted: bool,
}

impl Handover {
    pub(super) fn new(ports: Vec<ShardPort>, state: Arc<State>) -> Self {
        let shards = ports
            .into_iter()
            .map(|port| Shard { port, owed: HashMap::default(), owed_changes: HashMap::default() })
            .collect();
        Self { shards, state }
    }

    /// Whether some shard has yet to be told of a loss.
    pub(super) fn owes(&self) -> bool {
        self.shards.iter().any(|shard| !shard.owed.is_empty())
    }

    /// How much of what clients have missed a shard has room for.
    pub(super) fn replay_budget(&self, shard: usize) -> &ReplayBudget {
        &self.shards[shard].port.replay_budget
    }

    /// Hands every shard what has been framed for it.
    pub(super) fn hand_over(&mut self, router: &mut Router, arrived_us: u64) {
        for (id, shard) in self.shards.iter_mut().enumerate() {
            shard.settle();
            shard.open(router.take_opened(id));
            let changes = router.take_notices(id);
            let Some(frames) = router.take(id, arrived_us) else { continue };
            if shard.has_room_for(&frames) {
                self.state.metrics.ingest.batches.add(1);
                let bytes = frames.bytes.len();
                let command = match changes.is_empty() {
                    true => ToShard::Batch(frames),
                    false => ToShard::BatchWithChanges(frames, changes),
                };
                shard.send(command, bytes);
            } else {
                shard.owe_changes(changes);
                self.state.metrics.ingest.events_dropped.add(frames.table.len() as u64);
                frames.table.iter().for_each(|entry| *shard.owed.entry(entry.topic).or_default() += 1);
            }
        }
    }

    /// Answers a shard's wish: behind the topics that were opened to it before, so that it sees everything about an
    /// id in the order in which it happened.
    pub(super) fn grant(
        &mut self,
        router: &mut Router,
        shard: usize,
        ticket: Ticket,
        topics: Vec<(Subject, TopicId)>,
        history: Option<Box<HistoryReply>>,
    ) {
        if let Some(to) = self.shards.get_mut(shard) {
            to.open(router.take_opened(shard));
        }
        self.tell(shard, ToShard::Granted { ticket, topics, history });
    }

    /// Takes back topics that a shard has given back. What is framed under their ids goes first; events that come later open them
    /// anew.
    pub(super) fn close(&mut self, router: &mut Router, shard: usize, topics: Vec<TopicId>, arrived_us: u64) {
        self.hand_over(router, arrived_us);
        topics.iter().for_each(|topic| router.retire(shard, *topic));
        self.tell(shard, ToShard::Closed(topics));
    }

    /// Tells one shard something that is no event: never dropped.
    pub(super) fn tell(&mut self, shard: usize, command: ToShard) {
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.confess();
            shard.send(command, 0);
        }
    }

    /// Tells all shards something that is no event.
    pub(super) fn tell_all(&mut self, command: impl Fn() -> ToShard) {
        (0..self.shards.len()).for_each(|shard| self.tell(shard, command()));
    }
}

impl Shard {
    fn open(&mut self, opened: Vec<(Subject, TopicId)>) {
        if !opened.is_empty() {
            self.confess();
            self.send(ToShard::Opened(opened), 0);
        }
    }

    /// Tells the shard of its losses once it has room again.
    fn settle(&mut self) {
        if !self.owed.is_empty() && self.port.inbox.bytes() <= limits::SHARD_INBOX_BYTES / 2 {
            self.confess();
        }
    }

    fn confess(&mut self) {
        if !self.owed.is_empty() {
            let owed = std::mem::take(&mut self.owed).into_iter().collect();
            self.send(ToShard::Lost(owed), 0);
        }
        for (topic, owed) in std::mem::take(&mut self.owed_changes) {
            let gap = owed.gap.map(|(from, to)| SeqChange::Gap { from, to });
            for change in gap.into_iter().chain(owed.restarted.then_some(SeqChange::Restarted)) {
                self.send(ToShard::SeqChange(topic, change), 0);
            }
        }
    }

    fn owe_changes(&mut self, notices: Vec<SeqNotice>) {
        for SeqNotice { topic, change, .. } in notices {
            let owed = self.owed_changes.entry(topic).or_default();
            match change {
                SeqChange::Gap { from, to } => {
                    owed.gap = Some((owed.gap.map_or(from, |(first, _)| first), to));
                }
                SeqChange::Restarted => *owed = OwedChanges { gap: None, restarted: true },
            }
        }
    }

    /// Waits for room, but not behind a shard that had none the last time either.
    fn has_room_for(&self, frames: &Frames) -> bool {
        let fits = || self.port.inbox.bytes() + frames.bytes.len() <= limits::SHARD_INBOX_BYTES;
        if !self.owed.is_empty() {
            return false;
        }
        let since = Instant::now();
        while !fits() {
            if since.elapsed() >= limits::HANDOVER_WAIT {
                return false;
            }
            std::thread::sleep(limits::HANDOVER_WAIT / 20);
        }
        true
    }

    fn send(&self, command: ToShard, bytes: usize) {
        // A shard only ends when the gateway drains; then nobody is left to miss this.
        let _ = self.port.inbox.send(command, bytes);
    }
}

#[cfg(test)]
mod tests {
    use mio::Poll;
    use slotmap::SlotMap;

    use super::*;
    use crate::bus::inbox::{Alarm, Inbox};
    use crate::market::{EventType, SymbolCase};

    const TRADE: &[u8] = br#"{"symbol":"AAPL","price":1,"volume":2,"timestamp":3}"#;

    struct World {
        router: Router,
        handover: Handover,
        /// The shards' ends, which nobody empties unless the test does.
        inboxes: Vec<Inbox<ToShard>>,
        _polls: Vec<Poll>,
    }

    fn world(shards: usize) -> World {
        let polls: Vec<Poll> = (0..shards).map(|_| Poll::new().unwrap()).collect();
        let (senders, inboxes): (Vec<_>, Vec<_>) =
            polls.iter().map(|poll| Alarm::new(poll).unwrap().inbox()).unzip();
        let state = Arc::new(State::new("test".to_owned(), shards));
        let ports = senders.into_iter().map(ShardPort::new);
        let router = Router::new(shards, 1_000);
        World { router, handover: Handover::new(ports.collect(), state), inboxes, _polls: polls }
    }

    impl World {
        fn publish(&mut self, count: usize) {
            for _ in 0..count {
                self.router.route(EventType::Trade, b"AAPL", TRADE, 1);
            }
            self.handover.hand_over(&mut self.router, 1);
        }

        /// Empties a shard's inbox: events delivered, events told of as lost.
        fn take(&self, shard: usize) -> (u64, u64) {
            let (mut delivered, mut lost) = (0, 0);
            while let Some(command) = self.inboxes[shard].pop() {
                match command {
                    ToShard::Batch(frames) => {
                        delivered += frames.table.len() as u64;
                        self.inboxes[shard].consumed(frames.bytes.len());
                    }
                    ToShard::Lost(counts) => lost += counts.iter().map(|(_, count)| count).sum::<u64>(),
                    other => panic!("{other:?}"),
                }
            }
            (delivered, lost)
        }
    }

    #[test]
    fn a_shard_that_stands_still_loses_batches_and_is_told_exactly() {
        let mut world = world(2);
        let subject = Subject::parse(EventType::Trade, b"AAPL", SymbolCase::Upper).unwrap();
        world.router.want(0, &subject);
        world.router.want(1, &subject);
        let (mut stuck, mut healthy, mut published) = ((0, 0), (0, 0), 0);
        while !world.handover.owes() {
            world.publish(10_000);
            published += 10_000;
            let taken = world.take(1);
            healthy = (healthy.0 + taken.0, healthy.1 + taken.1);
        }
        world.publish(10_000);
        published += 10_000;
        let taken = world.take(1);
        healthy = (healthy.0 + taken.0, healthy.1 + taken.1);
        assert_eq!(healthy, (published, 0), "another shard misses nothing");
        assert!(world.handover.shards[0].port.inbox.bytes() <= limits::SHARD_INBOX_BYTES);

        // The shard gets on: first it learns what it has lost, then events follow.
        let taken = world.take(0);
        stuck = (stuck.0 + taken.0, stuck.1 + taken.1);
        world.publish(1);
        assert!(!world.handover.owes());
        assert!(matches!(world.inboxes[0].pop(), Some(ToShard::Lost(counts)) if {
            stuck.1 += counts.iter().map(|(_, count)| count).sum::<u64>();
            true
        }));
        let taken = world.take(0);
        stuck = (stuck.0 + taken.0, stuck.1 + taken.1);
        assert_eq!(stuck.0 + stuck.1, published + 1, "delivered + lost = published");
        assert_eq!(world.handover.state.metrics.ingest.events_dropped.get(), stuck.1);
    }

    #[test]
    fn a_topic_is_closed_behind_its_events_and_before_it_is_opened_again() {
        let mut world = world(1);
        world.router.want(0, &Subject::parse(EventType::Trade, b"*", SymbolCase::Upper).unwrap());
        world.router.route(EventType::Trade, b"AAPL", TRADE, 1);
        world.handover.hand_over(&mut world.router, 1);
        let opened = |command| match command {
            Some(ToShard::Opened(topics)) => topics[0].1,
            other => panic!("{other:?}"),
        };
        let id = opened(world.inboxes[0].pop());
        assert!(matches!(world.inboxes[0].pop(), Some(ToShard::Batch(_))));
        world.router.route(EventType::Trade, b"AAPL", TRADE, 1);
        world.handover.close(&mut world.router, 0, vec![id], 1);
        assert_eq!(world.router.topics(), 1, "the pattern alone");
        world.router.route(EventType::Trade, b"AAPL", TRADE, 1);
        world.handover.hand_over(&mut world.router, 1);
        let of_id =
            |command, id| matches!(command, Some(ToShard::Batch(frames)) if frames.table[0].topic == id);
        assert!(of_id(world.inboxes[0].pop(), id));
        assert!(matches!(world.inboxes[0].pop(), Some(ToShard::Closed(topics)) if topics == [id]));
        let again = opened(world.inboxes[0].pop());
        assert!(of_id(world.inboxes[0].pop(), again));
    }

    #[test]
    fn an_answer_overtakes_no_loss() {
        let mut world = world(1);
        let topic: TopicId = SlotMap::with_key().insert(());
        world.handover.shards[0].owed.insert(topic, 7);
        world
            .handover
            .tell(0, ToShard::Granted { ticket: Ticket::default(), topics: Vec::new(), history: None });
        assert!(matches!(world.inboxes[0].pop(), Some(ToShard::Lost(counts)) if counts == [(topic, 7)]));
        assert!(matches!(world.inboxes[0].pop(), Some(ToShard::Granted { .. })));
    }
}
