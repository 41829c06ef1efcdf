use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use mio::Poll;

use super::*;
use crate::bus::inbox::{Alarm, Inbox};
use crate::market::{Form, Kind, SymbolCase};

/// A router, the handover, and shards whose inboxes nobody empties unless the test does.
pub(super) struct World {
    pub(super) router: Router,
    pub(super) handover: Handover,
    pub(super) shards: Vec<Shard>,
    /// How often ingest slept for a shard.
    pub(super) pauses: Arc<AtomicU32>,
}

/// A shard's end, and what came out of it.
pub(super) struct Shard {
    inbox: Inbox<ToShard>,
    _poll: Poll,
    /// Topics by what the shard was told.
    pub(super) names: HashMap<TopicId, String>,
    /// By symbol: events delivered or told of as lost.
    pub(super) accounted: HashMap<String, u64>,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    /// What else it was told, and how many messages came in all.
    pub(super) feed: Vec<Feed>,
    pub(super) uncounted: Vec<TopicId>,
    pub(super) messages: usize,
}

pub(super) fn world(shards: usize) -> World {
    let shard = |(poll, inbox): (Poll, Inbox<ToShard>)| Shard {
        inbox,
        _poll: poll,
        names: HashMap::new(),
        accounted: HashMap::new(),
        delivered: 0,
        lost: 0,
        feed: Vec::new(),
        uncounted: Vec::new(),
        messages: 0,
    };
    let polls = (0..shards).map(|_| Poll::new().unwrap());
    let (ports, ends): (Vec<_>, Vec<_>) = polls
        .map(|poll| {
            let (inbox, end) = Alarm::new(&poll).unwrap().inbox();
            (ShardPort::new(inbox), (poll, end))
        })
        .unzip();
    let state = Arc::new(State::new("test".to_owned(), shards));
    let pauses = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&pauses);
    let handover = Handover {
        pause: Box::new(move |_| _ = counted.fetch_add(1, Ordering::Relaxed)),
        ..Handover::new(ports, state)
    };
    World {
        router: Router::new(shards, 1_000),
        handover,
        shards: ends.into_iter().map(shard).collect(),
        pauses,
    }
}

/// Behind a slash the number of the form, if it isn't JSON.
pub(super) fn subject(name: &str) -> Subject {
    let (name, form) = name.split_once('/').unwrap_or((name, "0"));
    let subject = Subject::parse(Kind::TRADE, name.as_bytes(), SymbolCase::Upper).unwrap();
    subject.in_form(Form::ALL[form.parse::<usize>().unwrap()])
}

fn name_of(subject: &Subject) -> String {
    let name = subject.name.to_string();
    if subject.form == Form::JSON { name } else { format!("{name}/{}", subject.form.index()) }
}

impl World {
    /// A client of this shard subscribes.
    pub(super) fn want(&mut self, shard: usize, name: &str) -> TopicId {
        let subject = subject(name);
        let id = self.router.want(shard, &subject);
        let granted = vec![(subject, id)];
        self.handover.grant(&mut self.router, shard, Ticket::default(), granted, None);
        id
    }

    /// Routes an event that carries the symbol's count of events.
    pub(super) fn route(&mut self, symbol: &str, count: u64) {
        let event = format!(r#"{{"symbol":"{symbol}","price":1,"volume":2,"timestamp":{count}}}"#);
        self.router.route(Kind::TRADE, symbol.as_bytes(), event.as_bytes(), 1);
    }

    pub(super) fn hand_over(&mut self) {
        self.handover.hand_over(&mut self.router, 1);
    }

    fn publish(&mut self, symbol: &str, counts: std::ops::RangeInclusive<u64>) {
        counts.for_each(|count| self.route(symbol, count));
        self.hand_over();
    }

    /// Fills the inbox of shard 0 with events of a symbol until the shard is behind; the other shards are emptied. Returns how many
    /// events it took.
    fn fill(&mut self, symbol: &str) -> u64 {
        let mut count = 0;
        while !self.router.is_behind(0) {
            self.publish(symbol, count + 1..=count + 1_000);
            count += 1_000;
            self.shards[1..].iter_mut().for_each(Shard::take_all);
        }
        count
    }

    fn pauses(&self) -> u32 {
        self.pauses.load(Ordering::Relaxed)
    }
}

impl Shard {
    pub(super) fn take_all(&mut self) {
        while self.take() {}
    }

    /// Takes one message; `false` if there is none.
    pub(super) fn take(&mut self) -> bool {
        let Some(command) = self.inbox.pop() else { return false };
        self.inbox.consumed(command.queued_bytes());
        self.messages += 1;
        match command {
            ToShard::Opened(topics) | ToShard::Granted { topics, .. } => {
                self.names.extend(topics.into_iter().map(|(subject, id)| (id, name_of(&subject))));
            }
            ToShard::Batch(frames) => {
                let mut start = 0;
                for entry in &frames.table {
                    let frame =
                        String::from_utf8_lossy(&frames.bytes[start..entry.end as usize]).into_owned();
                    start = entry.end as usize;
                    self.take_event(entry.topic, &frame);
                }
            }
            ToShard::Lost(counts) => {
                for (topic, count) in counts {
                    self.lost += count;
                    *self.accounted.entry(self.names[&topic].clone()).or_default() += count;
                }
            }
            ToShard::LostUncounted(patterns) => self.uncounted.extend(patterns),
            ToShard::Retired(topics) => topics.iter().for_each(|topic| _ = self.names.remove(topic)),
            ToShard::Feed(_, feed) => self.feed.push(feed),
            other => panic!("{other:?}"),
        }
        true
    }

    /// Whatever was lost before an event has been told before it.
    fn take_event(&mut self, topic: TopicId, frame: &str) {
        let name = self.names.get(&topic).expect("known before its first event");
        let symbol = name.split('/').next().unwrap_or_default();
        assert!(frame.contains(&format!(r#""symbol":"{symbol}""#)), "{name}: {frame}");
        let count = frame.split(r#""timestamp":"#).nth(1).and_then(|rest| rest.split('}').next());
        let accounted = self.accounted.entry(name.clone()).or_default();
        *accounted += 1;
        self.delivered += 1;
        if self.uncounted.is_empty() {
            assert_eq!(count, Some(&*accounted.to_string()), "{name}");
        }
    }
}

#[test]
fn a_shard_that_stands_still_loses_batches_and_is_told_exactly() {
    let mut world = world(2);
    world.want(0, "AAPL");
    world.want(1, "AAPL");
    let filled = world.fill("AAPL");
    assert!(world.handover.shards[0].port.inbox.bytes() <= limits::SHARD_INBOX_BYTES);
    world.publish("AAPL", filled + 1..=filled + 10);
    world.shards[1].take_all();
    assert_eq!(
        (world.shards[1].delivered, world.shards[1].lost),
        (filled + 10, 0),
        "another shard misses nothing"
    );

    // The shard gets on: it learns what it has lost, and then events follow.
    world.shards[0].take_all();
    world.hand_over();
    assert!(!world.router.is_behind(0));
    world.publish("AAPL", filled + 11..=filled + 11);
    world.shards[0].take_all();
    let Shard { delivered, lost, .. } = world.shards[0];
    assert!(lost >= 10);
    assert_eq!(delivered + lost, filled + 11, "delivered + lost = published");
    assert_eq!(world.handover.state.metrics.ingest.events_dropped.get(), lost);
}

#[test]
fn a_shard_that_stands_still_is_waited_for_once_and_owed_little() {
    const NEW: u64 = 5_000;
    let mut world = world(2);
    world.want(0, "*");
    world.want(1, "*");
    world.want(1, "AAPL");
    let filled = world.fill("AAPL");
    assert_eq!(world.pauses(), limits::HANDOVER_PAUSES);
    for i in 0..NEW {
        world.publish(&format!("NEW{i}"), 1..=1);
        world.publish("AAPL", filled + i + 1..=filled + i + 1);
        world.handover.tell_feed(&world.router, Delay::NONE, Feed::Down);
        world.handover.tell_feed(&world.router, Delay::NONE, Feed::Up { gap_ms: 1 });
        let known = world.want(1, "KNOWN");
        let known = LookedUp { awaited: known, topic: known, frame: None, seq: None };
        world.handover.tell_looked_up(&mut world.router, &[known]);
        world.shards[1].take_all();
    }
    assert_eq!(world.pauses(), limits::HANDOVER_PAUSES, "nobody waits for it again");
    assert_eq!((world.shards[1].delivered, world.shards[1].lost), (filled + 2 * NEW, 0));

    // Nothing was added to what it had.
    world.shards[0].take_all();
    let (messages, delivered) = (world.shards[0].messages, world.shards[0].delivered);
    assert!(messages as u64 <= filled / 1_000 + 2, "{messages} messages");
    world.hand_over();
    world.shards[0].take_all();
    let shard = &world.shards[0];
    assert_eq!(shard.messages, messages + 3, "the new topics, the losses, and that the upstream is there");
    assert_eq!(shard.feed, [Feed::Up { gap_ms: NEW }]);
    assert_eq!((shard.delivered, shard.lost), (delivered, filled + 2 * NEW - delivered));
    assert_eq!(shard.accounted["AAPL"], filled + NEW);
    assert!((0..NEW).all(|i| shard.accounted[&format!("NEW{i}")] == 1));
}

#[test]
fn more_new_topics_than_can_be_told_of_are_not_kept() {
    let mut world = world(2);
    world.router.opened_behind_max = 100;
    let pattern = world.want(0, "*");
    let other = world.want(0, "ZZ*");
    let known = world.want(1, "BOTH0");
    let filled = world.fill("AAPL");
    for i in 0..100 {
        world.publish(&format!("ONE{i}"), 1..=3);
    }
    let topics = world.router.topics();
    for i in 0..1_000 {
        world.publish(&format!("MORE{i}"), 1..=1);
        world.publish("BOTH0", i + 1..=i + 1);
        world.publish("ONE7", i + 4..=i + 4);
        world.shards[1].take_all();
    }
    assert_eq!(world.router.topics(), topics, "a topic that nobody was told of is forgotten");
    assert_eq!(world.shards[1].accounted["BOTH0"], 1_000, "another shard misses nothing");
    world.shards[0].take_all();
    world.hand_over();
    world.shards[0].take_all();
    let shard = &world.shards[0];
    assert_eq!(shard.uncounted, [pattern], "clients of other patterns missed nothing uncounted");
    assert_ne!(pattern, other);
    assert_eq!(
        (shard.accounted["AAPL"], shard.accounted["ONE7"]),
        (filled, 1_003),
        "what is known is counted"
    );
    assert!(!shard.names.contains_key(&known));
    // From here on it learns of them.
    world.publish("MORE7", 2..=2);
    world.publish("BOTH0", 1_001..=1_001);
    world.shards[0].take_all();
    assert_eq!((world.shards[0].accounted["MORE7"], world.shards[0].accounted["BOTH0"]), (1, 1));
}

#[test]
fn an_event_against_the_contract_is_no_loss() {
    let mut world = world(1);
    world.router.opened_behind_max = 0;
    world.want(0, "*");
    world.fill("AAPL");
    world.router.route(Kind::TRADE, b"NEW", b"{}", 1);
    world.shards[0].take_all();
    world.hand_over();
    world.shards[0].take_all();
    assert_eq!(world.shards[0].uncounted, []);
}

#[test]
fn an_answer_overtakes_no_loss() {
    let mut world = world(2);
    world.want(0, "*");
    let filled = world.fill("AAPL");
    world.publish("AAPL", filled + 1..=filled + 7);
    world.publish("MSFT", 1..=7);
    let topic = world.want(0, "MSFT");
    world.publish("MSFT", 8..=9);
    world.shards[0].take_all();
    assert_eq!(world.shards[0].names[&topic], "MSFT");
    assert_eq!(world.shards[0].accounted["MSFT"], 7, "what was lost before the answer, and nothing after it");
    world.hand_over();
    world.shards[0].take_all();
    assert_eq!(world.shards[0].accounted["MSFT"], 9);
    assert_eq!(world.shards[0].accounted["AAPL"], filled + 7);
}

#[test]
fn a_topic_is_closed_behind_its_events_and_before_it_is_opened_again() {
    let mut world = world(1);
    world.want(0, "*");
    world.shards[0].take_all();
    world.publish("AAPL", 1..=1);
    let opened = |command| match command {
        Some(ToShard::Opened(topics)) => topics[0].1,
        other => panic!("{other:?}"),
    };
    let id = opened(world.shards[0].inbox.pop());
    assert!(matches!(world.shards[0].inbox.pop(), Some(ToShard::Batch(_))));
    world.route("AAPL", 2);
    world.handover.retire(&mut world.router, 0, vec![id], 1);
    assert_eq!(world.router.topics(), 1, "the pattern alone");
    world.publish("AAPL", 3..=3);
    let of_id = |command, id| matches!(command, Some(ToShard::Batch(frames)) if frames.table[0].topic == id);
    assert!(of_id(world.shards[0].inbox.pop(), id));
    assert!(matches!(world.shards[0].inbox.pop(), Some(ToShard::Retired(topics)) if topics == [id]));
    let again = opened(world.shards[0].inbox.pop());
    assert!(of_id(world.shards[0].inbox.pop(), again));
}

#[test]
fn last_values_are_told_to_those_who_wait_for_them() {
    let mut world = world(2);
    let (a, b) = (world.want(0, "A"), world.want(1, "B"));
    let history = HistoryReply { awaited: vec![a], ..HistoryReply::default() };
    world.handover.grant(&mut world.router, 0, Ticket::default(), Vec::new(), Some(Box::new(history)));
    world.shards.iter_mut().for_each(Shard::take_all);
    let values = [a, b].map(|topic| LookedUp { awaited: topic, topic, frame: None, seq: None });
    for _ in 0..2 {
        world.handover.tell_looked_up(&mut world.router, &values);
    }
    let told = world.shards[0].inbox.pop();
    assert!(matches!(told, Some(ToShard::LookedUp(values)) if values.len() == 1 && values[0].topic == a));
    assert!(world.shards[0].inbox.pop().is_none() && world.shards[1].inbox.pop().is_none());
}
