//! Backfill: snapshots that wait for room in one client's outbox, and sequence floors of a client that resumed ahead of us. Pure.
//!
//! A *snapshot* is a topic's last value. It waits here, not in the outbox, so that a subscribe to thousands of topics doesn't fill the
//! outbox at once. A live event of the topic makes a waiting snapshot obsolete. The frame is the one that ingest remembers, shared by all
//! clients that wait for it; the memory for the order of snapshots is each client's own, and counted in the shard's [`BacklogBytes`].
//!
//! A *floor* is the highest `seq` of a topic that the client has seen on another gateway, where this gateway has not seen it yet. Live
//! events up to the floor are withheld: the client has them. Once the topic has passed its floor, that stays until none of them can come
//! any more, not even late. A topic that doesn't pass it within [`limits::AHEAD_MAX_US`] has begun its numbers anew where this gateway didn't
//! see it: the floor ends, and what was withheld is announced as skipped.

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use foldhash::fast::RandomState;

use super::batch::{BacklogBytes, BacklogShare, Batch};
use super::outbox::Outbox;
use crate::bus::{Entry, Frames, LookedUp, TopicId};
use crate::limits;

/// One client's backfill.
#[derive(Debug)]
pub struct Backfill {
    /// What is to be queued, in order. A topic is in it once at most, however often it is asked for.
    steps: VecDeque<Step>,
    /// The snapshots of the steps. A step without one, and not awaited, is passed over: a live event has made its snapshot obsolete, or
    /// its subscription has ended.
    values: HashMap<TopicId, Bytes, RandomState>,
    /// Topics whose snapshots are being looked up. Their steps wait.
    awaited: HashSet<TopicId, RandomState>,
    floors: HashMap<TopicId, Floor, RandomState>,
    share: BacklogShare,
}

/// What a client has seen of a topic, if its `seq` is from the run of numbers that comes.
#[derive(Debug, Clone, Copy)]
struct Floor {
    seq: u64,
    /// When it was set, in microseconds since the gateway was built.
    set_us: u64,
    /// How many events were withheld; `None` once the topic has passed the floor.
    withheld: Option<u64>,
}

impl Floor {
    fn new(seq: u64, set_us: u64) -> Self {
        Self { seq, set_us, withheld: Some(0) }
    }
}

#[derive(Debug)]
enum Step {
    /// The snapshot of a topic.
    Value(TopicId),
    /// The status that ends the snapshots of one request.
    End(Rc<Batch>),
}

impl Backfill {
    /// An empty backfill.
    pub fn new(backlog: &BacklogBytes) -> Self {
        Self {
            steps: VecDeque::new(),
            values: HashMap::default(),
            awaited: HashSet::default(),
            floors: HashMap::default(),
            share: BacklogShare::new(backlog),
        }
    }

    /// Whether nothing waits and there is no floor: the backfill may be dropped.
    pub fn is_done(&self) -> bool {
        !self.is_waiting() && self.floors.is_empty()
    }

    /// Whether snapshots or statuses wait for room.
    pub fn is_waiting(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Adds what one request asks for: snapshots, then those of the topics in `awaited`, which are being looked up, and then the statuses
    /// `ends`.
    pub fn push(&mut self, values: Vec<(TopicId, Bytes)>, awaited: Vec<TopicId>, ends: Vec<Rc<Batch>>) {
        let Self { steps, values: waiting, awaited: under_way, .. } = self;
        let waits = |topic: &TopicId| waiting.contains_key(topic) || under_way.contains(topic);
        steps.retain(|step| !matches!(step, Step::Value(topic) if !waits(topic)));
        let topics = values.iter().map(|(topic, _)| topic).chain(&awaited);
        steps.extend(topics.filter(|topic| !waits(topic)).map(|topic| Step::Value(*topic)));
        self.values.extend(values);
        self.awaited.extend(awaited);
        self.steps.extend(ends.into_iter().map(Step::End));
        self.update_share();
    }

    /// Counts the memory that this takes, without the frames.
    fn update_share(&mut self) {
        self.share.set(
            self.steps.capacity() * size_of::<Step>()
                + self.values.capacity() * size_of::<(TopicId, Bytes)>()
                + self.awaited.capacity() * size_of::<TopicId>()
                + self.floors.capacity() * size_of::<(TopicId, Floor)>(),
        );
    }

    /// The client has seen the events of a topic up to `seq`, and this gateway has not. `now_us` is microseconds since the gateway was built.
    pub fn set_floor(&mut self, topic: TopicId, seq: u64, now_us: u64) {
        self.floors.insert(topic, Floor::new(seq, now_us));
    }

    /// A snapshot has been looked up. The same event may still come live: its `seq` becomes the floor, as of `now_us`.
    pub fn looked_up(&mut self, value: &LookedUp, now_us: u64) {
        if !self.awaited.remove(&value.awaited) {
            return;
        }
        if let Some(frame) = &value.frame {
            if value.topic != value.awaited {
                let waits = |step: &&mut Step| matches!(step, Step::Value(topic) if *topic == value.awaited);
                self.steps.iter_mut().filter(waits).for_each(|step| *step = Step::Value(value.topic));
            }
            self.values.insert(value.topic, frame.clone());
            if let Some(seq) = value.seq {
                self.floors.entry(value.topic).or_insert_with(|| Floor::new(seq, now_us));
            }
            self.update_share();
        }
    }

    /// The client has seen nothing of what comes: it resumes the topic anew, or the topic's worker has restarted its sequence numbers. Returns
    /// how many events were withheld before the floor was passed. Every gateway hears the same order, so after a restart these were of other
    /// numbers than the client's.
    pub fn clear_floor(&mut self, topic: TopicId) -> u64 {
        self.floors.remove(&topic).and_then(|floor| floor.withheld).unwrap_or_default()
    }

    /// Ends a topic's floor that was not passed in time, before an event that arrived at `arrived_us`. Returns how many events were withheld.
    pub fn end_floor(&mut self, topic: TopicId, arrived_us: u64) -> u64 {
        let is_over = |floor: &Floor| {
            floor.withheld.is_some() && floor.set_us.saturating_add(limits::AHEAD_MAX_US) <= arrived_us
        };
        if self.floors.get(&topic).is_some_and(is_over) { self.clear_floor(topic) } else { 0 }
    }

    /// Drops a topic's snapshot: a live event has been queued.
    pub fn forget(&mut self, topic: TopicId) {
        self.values.remove(&topic);
        self.awaited.remove(&topic);
    }

    /// Drops what waits of each topic that the client isn't subscribed to any more.
    pub fn retain(&mut self, mut is_subscribed: impl FnMut(TopicId) -> bool) {
        self.values.retain(|topic, _| is_subscribed(*topic));
        self.awaited.retain(|topic| is_subscribed(*topic));
        self.floors.retain(|topic, _| is_subscribed(*topic));
    }

    /// A topic's id ends. Its symbol's next event may come under another id, so a snapshot that waits is queued now. A look-up isn't
    /// awaited any more: only a subscription to the symbol itself awaits one, and a topic retires only after that has ended.
    pub fn topic_retired(
        &mut self,
        outbox: &mut Outbox,
        topic: TopicId,
        backlog: &BacklogBytes,
        now_us: u64,
    ) {
        if let Some(bytes) = self.values.remove(&topic) {
            push_value(outbox, topic, bytes, backlog, now_us);
        }
        self.awaited.remove(&topic);
        self.floors.remove(&topic);
    }

    /// The highest `seq` of a topic that the client may have seen already: while there is one, [`Backfill::is_new`] has to be asked of
    /// each event.
    pub fn floor(&self, topic: TopicId) -> Option<u64> {
        self.floors.get(&topic).map(|floor| floor.seq)
    }

    /// Whether the client has not seen an event of a topic, by the event's `seq`. The floor is removed once it is so far behind that
    /// ingest takes no event up to it for a late one.
    pub fn is_new(&mut self, topic: TopicId, seq: Option<u64>) -> bool {
        let (Some(floor), Some(seq)) = (self.floors.get_mut(&topic), seq) else { return true };
        let is_new = seq > floor.seq;
        if is_new {
            floor.withheld = None;
        } else if let Some(withheld) = &mut floor.withheld {
            *withheld += 1;
        }
        if seq >= floor.seq + limits::SEQ_WINDOW {
            self.floors.remove(&topic);
        }
        is_new
    }

    /// Queues snapshots and statuses as long as less than `room_bytes` wait in the outbox.
    pub fn refill(&mut self, outbox: &mut Outbox, room_bytes: u32, backlog: &BacklogBytes, now_us: u64) {
        while outbox.event_bytes() + outbox.own_bytes() < room_bytes {
            match self.steps.pop_front() {
                Some(Step::Value(topic)) if self.awaited.contains(&topic) => {
                    self.steps.push_front(Step::Value(topic));
                    return;
                }
                Some(Step::Value(topic)) => {
                    let Some(bytes) = self.values.remove(&topic) else { continue };
                    push_value(outbox, topic, bytes, backlog, now_us);
                }
                Some(Step::End(status)) => outbox.push_own(status),
                None => {
                    self.values = HashMap::default();
                    self.steps = VecDeque::new();
                    self.update_share();
                    return;
                }
            }
        }
    }
}

fn push_value(outbox: &mut Outbox, topic: TopicId, bytes: Bytes, backlog: &BacklogBytes, now_us: u64) {
    let end = bytes.len() as u32;
    let frames = Frames { bytes, table: vec![Entry { end, topic }], arrived_us: now_us, ..Frames::default() };
    outbox.push_events(&Batch::shared(frames, backlog), 0, 1, end);
}

#[cfg(test)]
mod tests {
    use slotmap::SlotMap;

    use super::*;
    use crate::fanout::outbox::Scratch;

    const ROOM_BYTES: u32 = 64 * 1024;

    fn frame(number: u64, padding: usize) -> Bytes {
        format!("{number}{},", "x".repeat(padding)).into()
    }

    /// Writes everything. Returns it, and the most event bytes that waited at a time.
    fn drain(backfill: &mut Backfill, outbox: &mut Outbox, backlog: &BacklogBytes) -> (Vec<u8>, u32) {
        let (mut all, mut scratch, mut most) = (Vec::new(), Scratch::with_capacity(1_000), 0);
        loop {
            backfill.refill(outbox, ROOM_BYTES, backlog, 1);
            most = most.max(outbox.event_bytes());
            let chunk = outbox.chunk(&mut scratch, &|_, _| panic!("nothing is skipped"));
            if chunk.is_empty() {
                return (all, most);
            }
            all.extend_from_slice(chunk);
            let written = chunk.len();
            outbox.advance(&scratch, written);
        }
    }

    #[test]
    fn snapshots_are_queued_as_there_is_room_and_then_their_end() {
        let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
        let values: Vec<_> = (0..100).map(|n| (ids.insert(()), frame(n, 5_000))).collect();
        let backlog = BacklogBytes::default();
        let (mut backfill, mut outbox) = (Backfill::new(&backlog), Outbox::default());
        backfill.push(values.clone(), Vec::new(), vec![Batch::own(b"END".to_vec(), &backlog)]);
        // One gets a live event before its turn, the subscription to another ends.
        backfill.forget(values[50].0);
        backfill.retain(|topic| topic != values[60].0);
        let (all, most) = drain(&mut backfill, &mut outbox, &backlog);
        let rest = values.iter().enumerate().filter(|(n, _)| ![50, 60].contains(n));
        let expected: Vec<u8> = rest.flat_map(|(_, (_, frame))| frame.to_vec()).collect();
        assert!(all == [expected, b"END".to_vec()].concat());
        assert!(most < ROOM_BYTES + 6_000);
        assert!(backfill.is_done());
        assert_eq!(backlog.bytes(), 0);
    }

    #[test]
    fn a_snapshot_asked_for_again_waits_once_and_is_counted() {
        let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
        let values: Vec<_> = (0..1_000).map(|n| (ids.insert(()), frame(n, 0))).collect();
        let backlog = BacklogBytes::default();
        let (mut backfill, mut outbox) = (Backfill::new(&backlog), Outbox::default());
        backfill.push(values.clone(), Vec::new(), Vec::new());
        let once_bytes = backlog.bytes();
        assert!((24_000..200_000).contains(&once_bytes), "{once_bytes}");
        for _ in 0..100 {
            // Some of them get live events meanwhile: their next snapshots wait behind the others.
            values[..500].iter().for_each(|(topic, _)| backfill.forget(*topic));
            backfill.push(values.clone(), Vec::new(), Vec::new());
        }
        assert!(backlog.bytes() < 2 * once_bytes, "{} after {once_bytes}", backlog.bytes());
        let order = values[500..].iter().chain(&values[..500]);
        let expected: Vec<u8> = order.flat_map(|(_, frame)| frame.to_vec()).collect();
        assert!(drain(&mut backfill, &mut outbox, &backlog).0 == expected);
        assert_eq!(backlog.bytes(), 0);
        backfill.push(values, Vec::new(), Vec::new());
        drop(backfill);
        assert_eq!(backlog.bytes(), 0);
    }

    #[test]
    fn events_up_to_the_floor_are_not_new_as_long_as_they_may_come() {
        let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
        let topic = ids.insert(());
        let mut backfill = Backfill::new(&BacklogBytes::default());
        backfill.set_floor(topic, 7, 0);
        assert!(!backfill.is_new(topic, Some(6)));
        assert!(!backfill.is_new(topic, Some(7)));
        assert!(backfill.is_new(topic, None), "an event without a number can't be told");
        assert!(backfill.is_new(topic, Some(9)));
        assert!(!backfill.is_new(topic, Some(6)), "late");
        assert!(backfill.is_new(topic, Some(70)));
        assert_eq!((backfill.floor(topic), backfill.is_waiting()), (Some(7), false));
        assert!(backfill.is_new(topic, Some(71)));
        assert!(backfill.floor(topic).is_none() && backfill.is_done());
        backfill.set_floor(topic, 7, 0);
        assert_eq!(backfill.clear_floor(topic), 0);
        assert!(backfill.is_new(topic, Some(1)));
    }

    /// A worker that has begun its numbers anew, where this gateway began after that.
    #[test]
    fn a_floor_that_is_not_passed_in_time_ends_and_gives_the_count_of_what_was_withheld() {
        let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
        let (topic, passed) = (ids.insert(()), ids.insert(()));
        let mut backfill = Backfill::new(&BacklogBytes::default());
        for topic in [topic, passed] {
            backfill.set_floor(topic, 50_000, 1_000);
        }
        assert!(!backfill.is_new(topic, Some(4)) && !backfill.is_new(topic, Some(5)));
        assert!(!backfill.is_new(passed, Some(50_000)) && backfill.is_new(passed, Some(50_001)));
        let end_us = 1_000 + limits::AHEAD_MAX_US;
        assert_eq!((backfill.end_floor(topic, end_us - 1), backfill.floor(topic)), (0, Some(50_000)));
        assert_eq!((backfill.end_floor(topic, end_us), backfill.floor(topic)), (2, None));
        assert!(backfill.is_new(topic, Some(6)));
        assert_eq!(
            (backfill.end_floor(passed, end_us), backfill.floor(passed)),
            (0, Some(50_000)),
            "late ones"
        );
        // The worker restarts while this gateway listens.
        backfill.set_floor(topic, 50_000, 1_000);
        assert!(!backfill.is_new(topic, Some(7)));
        assert_eq!(backfill.clear_floor(topic), 1);
    }
}
