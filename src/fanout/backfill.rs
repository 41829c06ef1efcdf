//! What has been, on its way to one client: last values that wait for room in the outbox, and which live events the client
//! has seen already, on another gateway. Pure.
//!
//! A value that waits is the topic's last one, as a live event takes its place, and its frame is the history's own: however many
//! clients wait for it, it is there once. What a client keeps to know its turn is counted in the shard's [`BacklogBytes`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use serde::Deserialize;

use super::batch::{BacklogBytes, BacklogShare, Batch};
use super::outbox::Outbox;
use crate::bus::{Entry, Frames, LookedUp, TopicId};
use crate::websocket::header;

/// One client's backfill; empty once it is through.
#[derive(Debug)]
pub struct Backfill {
    /// What is to come, in order. A topic waits for one turn at most, however often it is asked for.
    steps: VecDeque<Step>,
    /// The last values of the steps. One that is gone has been overtaken by a live event, or its subscription has ended.
    values: HashMap<TopicId, Bytes, RandomState>,
    /// Topics whose last values are being looked up. Their steps wait.
    awaited: HashSet<TopicId, RandomState>,
    /// The highest `seq` that the client has seen of a topic, where this gateway is behind it.
    floors: HashMap<TopicId, u64, RandomState>,
    share: BacklogShare,
}

#[derive(Debug)]
enum Step {
    Value(TopicId),
    /// A status that says what is through.
    End(Rc<Batch>),
}

impl Backfill {
    /// Nothing yet.
    pub fn new(backlog: &BacklogBytes) -> Self {
        Self {
            steps: VecDeque::new(),
            values: HashMap::default(),
            awaited: HashSet::default(),
            floors: HashMap::default(),
            share: BacklogShare::new(backlog),
        }
    }

    /// Whether nothing is left to do, now or later.
    pub fn is_done(&self) -> bool {
        self.steps.is_empty() && self.floors.is_empty()
    }

    /// Last values to be sent as there is room, then those that are being looked up, and then `ends`.
    pub fn push(&mut self, values: Vec<(TopicId, Bytes)>, awaited: Vec<TopicId>, ends: Vec<Rc<Batch>>) {
        let Self { steps, values: waiting, awaited: looked_up, .. } = self;
        let waits = |topic: &TopicId| waiting.contains_key(topic) || looked_up.contains(topic);
        steps.retain(|step| !matches!(step, Step::Value(topic) if !waits(topic)));
        let topics = values.iter().map(|(topic, _)| topic).chain(&awaited);
        steps.extend(topics.filter(|topic| !waits(topic)).map(|topic| Step::Value(*topic)));
        self.values.extend(values);
        self.awaited.extend(awaited);
        self.steps.extend(ends.into_iter().map(Step::End));
        self.count();
    }

    /// Tells the backlog how much memory this takes, besides frames.
    fn count(&mut self) {
        self.share.set(
            self.steps.capacity() * size_of::<Step>()
                + self.values.capacity() * size_of::<(TopicId, Bytes)>()
                + self.awaited.capacity() * size_of::<TopicId>()
                + self.floors.capacity() * size_of::<(TopicId, u64)>(),
        );
    }

    /// The client has seen a topic up to `seq`, which is more than this gateway has.
    pub fn set_floor(&mut self, topic: TopicId, seq: u64) {
        self.floors.insert(topic, seq);
    }

    /// A last value has been looked up. It may be one that comes live as well: then the client has seen it.
    pub fn looked_up(&mut self, value: &LookedUp) {
        if !self.awaited.remove(&value.topic) {
            return;
        }
        if let Some(frame) = &value.frame {
            self.values.insert(value.topic, frame.clone());
            if let Some(seq) = value.seq {
                self.floors.entry(value.topic).or_insert(seq);
            }
            self.count();
        }
    }

    /// The topic's worker counts anew: nothing that comes has been seen.
    pub fn clear_floor(&mut self, topic: TopicId) {
        self.floors.remove(&topic);
    }

    /// An event of a topic goes out, or its subscription has ended: what was its last value isn't any more.
    pub fn forget(&mut self, topic: TopicId) {
        self.values.remove(&topic);
        self.awaited.remove(&topic);
    }

    /// Forgets the topics that don't come any more.
    pub fn retain(&mut self, mut comes: impl FnMut(TopicId) -> bool) {
        self.values.retain(|topic, _| comes(*topic));
        self.awaited.retain(|topic| comes(*topic));
        self.floors.retain(|topic, _| comes(*topic));
    }

    /// The topic's id ends, and the next event of its symbol may come under another: a last value that waits goes out before it. A look-up
    /// isn't awaited any more: only a subscription to the symbol itself has one, and that has ended.
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

    /// Whether some of the topic's events may have been seen by the client: each has to be looked at.
    pub fn has_floor(&self, topic: TopicId) -> bool {
        self.floors.contains_key(&topic)
    }

    /// Whether the client has yet to see this event of a topic, given as its frame.
    pub fn is_news(&mut self, topic: TopicId, frame: &[u8]) -> bool {
        let Some(floor) = self.floors.get(&topic) else { return true };
        match seq_of(frame) {
            Some(seq) if seq <= *floor => false,
            Some(_) => {
                self.floors.remove(&topic);
                true
            }
            None => true,
        }
    }

    /// Queues what there is room for: last values are queued while less than `room_bytes` wait.
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
                    self.count();
                    return;
                }
            }
        }
    }
}

fn push_value(outbox: &mut Outbox, topic: TopicId, bytes: Bytes, backlog: &BacklogBytes, now_us: u64) {
    let end = bytes.len() as u32;
    let frames = Frames { bytes, table: vec![Entry { end, topic }], arrived_us: now_us };
    outbox.push_events(&Batch::shared(frames, backlog), 0, 1, end);
}

/// The `seq` of an event, from its frame.
fn seq_of(frame: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Event {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        seq: u64,
    }
    serde_json::from_slice::<Event>(header::payload(frame)).ok().map(|event| event.data.seq)
}

#[cfg(test)]
mod tests {
    use slotmap::SlotMap;

    use super::*;
    use crate::market::EventType;
    use crate::protocol::native::event::{Marker, write_event};

    const ROOM_BYTES: u32 = 64 * 1024;

    fn frame(seq: u64, padding: usize) -> Bytes {
        let object = format!(r#"{{"symbol":"A","seq":{seq},"x":"{}"}}"#, "x".repeat(padding));
        let mut out = Vec::new();
        write_event(&mut out, EventType::Trade, &object, 1, Marker::None);
        out.into()
    }

    /// Writes everything out; what there was, and how much of it at once at most.
    fn drain(backfill: &mut Backfill, outbox: &mut Outbox, backlog: &BacklogBytes) -> (Vec<u8>, u32) {
        let (mut all, mut scratch, mut most) = (Vec::new(), Vec::with_capacity(1_000), 0);
        loop {
            backfill.refill(outbox, ROOM_BYTES, backlog, 1);
            most = most.max(outbox.event_bytes());
            let chunk = outbox.chunk(&mut scratch, &|_, _| panic!("nothing is skipped"));
            if chunk.is_empty() {
                return (all, most);
            }
            all.extend_from_slice(chunk);
            let written = chunk.len();
            outbox.advance(written);
        }
    }

    #[test]
    fn last_values_come_as_there_is_room_and_then_their_end() {
        let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
        let values: Vec<_> = (0..100).map(|n| (ids.insert(()), frame(n, 5_000))).collect();
        let backlog = BacklogBytes::default();
        let (mut backfill, mut outbox) = (Backfill::new(&backlog), Outbox::default());
        backfill.push(values.clone(), Vec::new(), vec![Batch::own(b"END".to_vec(), &backlog)]);
        // Live before its turn, and left before its turn.
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
    fn what_is_asked_for_again_waits_once_and_counts() {
        let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
        let values: Vec<_> = (0..1_000).map(|n| (ids.insert(()), frame(n, 0))).collect();
        let backlog = BacklogBytes::default();
        let (mut backfill, mut outbox) = (Backfill::new(&backlog), Outbox::default());
        backfill.push(values.clone(), Vec::new(), Vec::new());
        let once_bytes = backlog.bytes();
        assert!((24_000..200_000).contains(&once_bytes), "{once_bytes}");
        for _ in 0..100 {
            // Some of them go live meanwhile: their next values come behind.
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
    fn what_a_client_has_seen_is_kept_from_it_until_something_new_comes() {
        let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
        let topic = ids.insert(());
        let mut backfill = Backfill::new(&BacklogBytes::default());
        backfill.set_floor(topic, 7);
        assert!(!backfill.is_news(topic, &frame(6, 0)));
        assert!(!backfill.is_news(topic, &frame(7, 70_000)));
        let mut unnumbered = Vec::new();
        write_event(&mut unnumbered, EventType::Trade, "{}", 1, Marker::None);
        assert!(backfill.is_news(topic, &unnumbered));
        assert!(backfill.has_floor(topic));
        assert!(backfill.is_news(topic, &frame(9, 0)));
        assert!(!backfill.has_floor(topic) && backfill.is_done());
        backfill.set_floor(topic, 7);
        backfill.clear_floor(topic);
        assert!(backfill.is_news(topic, &frame(1, 0)));
    }
}
