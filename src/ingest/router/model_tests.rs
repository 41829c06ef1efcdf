//! The router together with the indexes of two shards, against a plain list of who has subscribed to what: with queues between
//! them that are emptied at any time, so that whatever can cross on the way does. One of the feeds is delayed: what is published comes there
//! later, in the same order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;

use proptest::prelude::*;
use slotmap::{DefaultKey, SlotMap};

use super::*;
use crate::bus::Frames;
use crate::fanout::index::Index;
use crate::market::{Encoding, Kinds, MassiveChannel, MassiveMarket, SymbolCase};
use crate::protocol::form;
use crate::websocket::deflate::Compression;

const SHARDS: usize = 2;
const TYPES: &str = "trade,candle,mine";
const INTERVALS: [&str; 2] = ["1m", "1d"];
const SYMBOLS: [&str; 6] = ["A", "AA", "AB", "AAA", "B", "C"];
/// So few topics may live by patterns alone that some leave all the time.
const OPENED_MAX: usize = 1;
const NAMES: [&str; 5] = ["A", "AA", "*", "A*", "AA*"];
/// So that subscriptions meet, and forms as well.
const FORMS: [Form; 6] = [Form::JSON, Form::JSON, Form::JSON_BATCH, Form::SSE, Form::JSON_DEFLATED, DIALECT];
/// Of a dialect, whose candles of a minute have a form of their own.
const DIALECT: Form = Form::massive(MassiveMarket::Stocks, MassiveChannel::Others);
const DIALECT_MINUTES: Form = Form::massive(MassiveMarket::Stocks, MassiveChannel::Minutes);

/// One delay, and none.
fn delays() -> (Delays, [Delay; 2]) {
    let delays = Delays::new([NonZeroU32::MIN]).unwrap();
    let delay = delays.at_least(1).unwrap();
    (delays, [Delay::NONE, delay])
}

#[derive(Debug, Clone)]
enum Op {
    Connect(usize),
    Subscribe(usize, Vec<Subject>),
    Unsubscribe(usize, Vec<Subject>),
    Disconnect(usize),
    /// With an interval, which only candles look at.
    Publish(Kind, &'static str, &'static str),
    /// The oldest event that is kept for the delayed feed is due.
    Release,
    HandOver,
    /// Ingest takes the next messages of a shard: how many.
    Ingest(usize, u8),
    /// A shard takes its next messages: how many.
    Shard(usize, u8),
}

fn kinds() -> Kinds {
    TYPES.parse().unwrap()
}

/// Mostly trades and candles, so that subscriptions meet.
fn kind_of(choice: usize) -> Kind {
    [Kind::TRADE, Kind::CANDLE, kinds().find(b"mine").unwrap()][choice * 2 / 5]
}

/// The topic of an event.
fn topic_of(kind: Kind, symbol: &str, interval: &str) -> Subject {
    let mut buffer = [0; TOPIC_KEY_BYTES_MAX];
    let key = match kind.has_intervals() {
        true => Symbol::key_with_interval(symbol.as_bytes(), interval, &mut buffer),
        false => symbol.as_bytes(),
    };
    Subject::literal(kind, Name::Symbol(Symbol::of_topic(key)))
}

fn op() -> impl Strategy<Value = Op> {
    let subject =
        (0..6usize, 0..NAMES.len(), 0..FORMS.len(), 0..2usize).prop_map(|(kind, name, form, delay)| {
            let kind = kind_of(kind);
            let form = match FORMS[form] {
                DIALECT if kind.has_intervals() => DIALECT_MINUTES,
                DIALECT if !kind.is_market() => Form::JSON,
                form => form,
            };
            let name = Name::parse(NAMES[name].as_bytes(), kind.case(SymbolCase::Upper)).unwrap();
            Subject::wanted(kind, form.delayed(delays().1[delay]), name)
        });
    let subjects =
        prop::collection::btree_set(subject, 1..3).prop_map(|set| set.into_iter().collect::<Vec<_>>());
    prop_oneof![
        1 => (0..SHARDS).prop_map(Op::Connect),
        4 => (any::<usize>(), subjects.clone()).prop_map(|(client, subjects)| Op::Subscribe(client, subjects)),
        4 => (any::<usize>(), subjects).prop_map(|(client, subjects)| Op::Unsubscribe(client, subjects)),
        1 => any::<usize>().prop_map(Op::Disconnect),
        8 => (0..6usize, 0..SYMBOLS.len(), 0..INTERVALS.len()).prop_map(|(kind, symbol, interval)| {
            Op::Publish(kind_of(kind), SYMBOLS[symbol], INTERVALS[interval])
        }),
        6 => Just(Op::Release),
        4 => Just(Op::HandOver),
        6 => (0..SHARDS, 1..8u8).prop_map(|(shard, count)| Op::Ingest(shard, count)),
        6 => (0..SHARDS, 1..12u8).prop_map(|(shard, count)| Op::Shard(shard, count)),
    ]
}

enum ToIngest {
    Want(Vec<Subject>),
    Release(Vec<TopicId>),
    Retire(Vec<TopicId>),
}

enum ToShard {
    Opened(Vec<(Subject, TopicId)>),
    Granted(Vec<(Subject, TopicId)>),
    Retired(Vec<TopicId>),
    Batch(Frames),
    /// Stands behind the frames of an event in a feed, if there are any.
    Published(EventOfFeed),
}

/// The number of an event, and the feed that it is of.
type EventOfFeed = (u64, Delay);

/// A client that is due an event, in which form, and by the round of which subscribe.
type Due = (DefaultKey, Form, u64);

struct Shard {
    index: Index<DefaultKey>,
    inbox: VecDeque<ToShard>,
    outbox: VecDeque<ToIngest>,
    pending: VecDeque<(DefaultKey, Vec<Subject>)>,
    clients: SlotMap<DefaultKey, Client>,
    /// By event: who has got it in which form, and by whom it has to be got, in which round of subscribing.
    got: BTreeMap<EventOfFeed, BTreeSet<(DefaultKey, Form)>>,
    due: BTreeMap<EventOfFeed, (Subject, Vec<Due>)>,
    /// By topic the last event that came.
    last: BTreeMap<Subject, u64>,
}

#[derive(Default)]
struct Client {
    waiting: bool,
    /// With the number of the subscribe that began it.
    held: Vec<(Subject, u64)>,
}

impl Client {
    /// The subscriptions of a feed that match a topic in whatever form: the form and the round of each.
    fn rounds(&self, topic: &Subject, delay: Delay) -> impl Iterator<Item = (Form, u64)> {
        let matches = move |held: &Subject| {
            held.kind == topic.kind
                && held.form.delay() == delay
                && match (&held.name, topic.name.symbol()) {
                    (Name::Pattern(pattern), Some(symbol)) => {
                        pattern.matches(symbol.as_bytes()) && held.form.suits(topic.kind, symbol.as_bytes())
                    }
                    (name, Some(symbol)) => name.symbol() == Some(symbol),
                    _ => false,
                }
        };
        self.held.iter().filter(move |(held, _)| matches(held)).map(|(held, round)| (held.form, *round))
    }
}

impl Shard {
    fn subscribe(&mut self, key: DefaultKey, subjects: Vec<Subject>, round: u64) {
        let asked: Vec<_> = subjects.iter().filter(|subject| self.index.hold(subject)).cloned().collect();
        if asked.is_empty() && self.index.all_live(&subjects) {
            return self.complete(key, &subjects, round);
        }
        self.clients[key].waiting = true;
        self.pending.push_back((key, subjects));
        self.outbox.push_back(ToIngest::Want(asked));
    }

    fn complete(&mut self, key: DefaultKey, subjects: &[Subject], round: u64) {
        self.index.subscribe(key, subjects);
        let held = &mut self.clients[key].held;
        for subject in subjects {
            if !held.iter().any(|(each, _)| each == subject) {
                held.push((subject.clone(), round));
            }
        }
    }

    fn release_unwanted(&mut self) {
        let unwanted = self.index.take_unwanted();
        if !unwanted.is_empty() {
            self.outbox.push_back(ToIngest::Release(unwanted));
        }
        let retired = self.index.take_retiring();
        if !retired.is_empty() {
            self.outbox.push_back(ToIngest::Retire(retired));
        }
    }

    /// Topics and patterns that a client here has subscribed to or waits for.
    fn asked_for(&self) -> BTreeSet<&Subject> {
        let held = self.clients.values().flat_map(|client| client.held.iter().map(|(held, _)| held));
        held.chain(self.pending.iter().flat_map(|(_, subjects)| subjects)).collect()
    }

    fn take(&mut self, round: u64) {
        match self.inbox.pop_front() {
            None => {}
            Some(ToShard::Opened(topics)) => {
                topics.into_iter().for_each(|(subject, id)| self.index.topic_opened(subject, id));
            }
            Some(ToShard::Granted(topics)) => {
                topics.into_iter().for_each(|(subject, id)| self.index.grant(subject, id));
                let (key, subjects) = self.pending.pop_front().expect("an answer to a question");
                match self.clients.get_mut(key) {
                    Some(client) => {
                        client.waiting = false;
                        self.complete(key, &subjects, round);
                    }
                    None => self.index.drop_holds(&subjects),
                }
            }
            Some(ToShard::Retired(topics)) => topics.into_iter().for_each(|id| self.index.topic_retired(id)),
            Some(ToShard::Batch(frames)) => self.apply(&frames),
            Some(ToShard::Published(event)) => self.check(event),
        }
        self.release_unwanted();
    }

    fn apply(&mut self, frames: &Frames) {
        let mut start = 0;
        for entry in &frames.table {
            let frame = &frames.bytes[start..entry.end as usize];
            start = entry.end as usize;
            let (object, field) = match frames.form.encoding() {
                Encoding::Massive(_, MassiveChannel::Minutes) => (frame[1..].into(), "\"s\":"),
                Encoding::Massive(..) => (frame[1..].into(), "\"t\":"),
                _ => (form::object_of(frames.form, frame), "\"timestamp\":"),
            };
            assert!(object.starts_with(b"{") && object.ends_with(b"}"));
            let frame = String::from_utf8_lossy(&object);
            let number = frame.split(field).nth(1).and_then(|rest| rest.split(['}', ',']).next());
            let event: u64 = number.and_then(|number| number.parse().ok()).expect("a number");
            let delay = delays().1[usize::from(frame.ends_with(r#","delayedMs":1}"#))];
            let (event, form) = ((event, delay), frames.form.delayed(delay));
            let topic = self.due[&event].0.clone().in_form(form);
            // An id that nobody knows: there was no subscription when it was routed, or there is none any more.
            if let Some(subject) = self.index.subject(entry.topic) {
                assert_eq!(*subject, topic, "an id names one topic");
                let last = self.last.insert(topic, event.0);
                assert!(last.is_none_or(|last| last < event.0), "out of order");
            }
            let mut subscriptions = vec![entry.topic];
            subscriptions.extend(self.index.touch(entry.topic));
            assert!(self.index.has_patterns() || subscriptions.len() == 1);
            let subscribers: BTreeSet<_> =
                subscriptions.iter().flat_map(|id| self.index.subscribers(*id)).copied().collect();
            for key in subscribers {
                let topic = &self.due[&event].0;
                let is_asked = self.clients[key].rounds(topic, delay).any(|(each, _)| each == form);
                assert!(is_asked, "{topic:?} came unasked in {form:?}");
                let is_first = self.got.entry(event).or_default().insert((key, form));
                assert!(is_first, "event {event:?} came twice");
            }
        }
    }

    /// All of an event's frames, if any, have been applied by now.
    fn check(&mut self, event: EventOfFeed) {
        let (topic, due) = self.due.remove(&event).expect("published");
        let got = self.got.remove(&event).unwrap_or_default();
        for (key, form, round) in due {
            let Some(client) = self.clients.get(key) else { continue };
            let kept = client.rounds(&topic, event.1).any(|each| each == (form, round));
            assert!(!kept || got.contains(&(key, form)), "{topic:?} did not come in {form:?}");
        }
    }
}

struct World {
    router: Router,
    shards: Vec<Shard>,
    clients: Vec<(usize, DefaultKey)>,
    round: u64,
    event: u64,
    /// Routed and not handed over.
    published: Vec<EventOfFeed>,
    /// Published, and not due in the delayed feed yet.
    kept: VecDeque<(u64, Kind, &'static str, &'static str)>,
}

impl World {
    fn new() -> Self {
        let shard = |_| Shard {
            index: Index::bounded(0, OPENED_MAX),
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            pending: VecDeque::new(),
            clients: SlotMap::new(),
            got: BTreeMap::new(),
            due: BTreeMap::new(),
            last: BTreeMap::new(),
        };
        let shards = (0..SHARDS).map(shard).collect();
        let compression = Some(Compression { threshold_bytes: 0, level: 1 });
        Self {
            router: Router::with_delays(
                SHARDS,
                true,
                &HistoryConfig { kinds: kinds(), compression, ..HistoryConfig::default() },
                &delays().0,
            ),
            shards,
            clients: Vec::new(),
            round: 0,
            event: 0,
            published: Vec::new(),
            kept: VecDeque::new(),
        }
    }

    /// A client that isn't waiting for an answer.
    fn client(&mut self, pick: usize) -> Option<(&mut Shard, DefaultKey)> {
        let (shard, key) = *self.clients.get(pick.checked_rem(self.clients.len())?)?;
        let shard = &mut self.shards[shard];
        (!shard.clients[key].waiting).then_some((shard, key))
    }

    fn apply(&mut self, op: Op) {
        self.round += 1;
        let round = self.round;
        match op {
            Op::Connect(shard) => {
                let key = self.shards[shard].clients.insert(Client::default());
                self.clients.push((shard, key));
            }
            Op::Subscribe(pick, subjects) => {
                let Some((shard, key)) = self.client(pick) else { return };
                shard.subscribe(key, subjects, round);
            }
            Op::Unsubscribe(pick, subjects) => {
                let Some((shard, key)) = self.client(pick) else { return };
                shard.index.unsubscribe(key, &subjects);
                shard.clients[key].held.retain(|(held, _)| !subjects.contains(held));
                shard.release_unwanted();
            }
            Op::Disconnect(pick) => {
                let Some(pick) = pick.checked_rem(self.clients.len()) else { return };
                let (shard, key) = self.clients.swap_remove(pick);
                let shard = &mut self.shards[shard];
                shard.clients.remove(key);
                shard.index.disconnect(key);
                shard.release_unwanted();
            }
            Op::Publish(kind, symbol, interval) => {
                self.event += 1;
                self.kept.push_back((self.event, kind, symbol, interval));
                self.route(Delay::NONE, (self.event, kind, symbol, interval));
            }
            Op::Release => {
                if let Some(kept) = self.kept.pop_front() {
                    self.route(delays().1[1], kept);
                }
            }
            Op::HandOver => self.hand_over(),
            Op::Ingest(shard, count) => (0..count).for_each(|_| self.ingest(shard)),
            Op::Shard(shard, count) => (0..count).for_each(|_| self.shards[shard].take(round)),
        }
    }

    fn route(&mut self, delay: Delay, event: (u64, Kind, &str, &str)) {
        let (event, kind, symbol, interval) = event;
        let payload = format!(
            r#"{{"symbol":"{symbol}","interval":"{interval}","open":1,"high":1,"low":1,"close":1,"price":1,"volume":1,"timestamp":{event}}}"#
        );
        let topic = topic_of(kind, symbol, interval);
        for shard in &mut self.shards {
            let clients = shard.clients.iter();
            let rounds = |(key, client): (DefaultKey, &Client)| {
                client.rounds(&topic, delay).map(|(form, round)| (key, form, round)).collect::<Vec<_>>()
            };
            let due = clients.flat_map(rounds).collect();
            shard.due.insert((event, delay), (topic.clone(), due));
        }
        self.router.route_in(delay, kind, symbol.as_bytes(), payload.as_bytes(), 1);
        self.published.push((event, delay));
    }

    /// As `Handover::hand_over` does.
    fn hand_over(&mut self) {
        for (id, shard) in self.shards.iter_mut().enumerate() {
            let Handoff { opened, batches } = self.router.take(id, 1);
            shard.inbox.push_back(ToShard::Opened(opened));
            shard.inbox.extend(batches.into_iter().map(|batch| ToShard::Batch(batch.frames)));
            shard.inbox.extend(self.published.iter().copied().map(ToShard::Published));
        }
        self.published.clear();
    }

    /// As `Ingest::take_commands` does.
    fn ingest(&mut self, id: usize) {
        let shard = &mut self.shards[id];
        match shard.outbox.pop_front() {
            None => {}
            Some(ToIngest::Want(subjects)) => {
                let want = |subject: Subject| (subject.clone(), self.router.want(id, &subject));
                let granted = subjects.into_iter().map(want).collect();
                shard.inbox.push_back(ToShard::Opened(self.router.take_opened(id)));
                shard.inbox.push_back(ToShard::Granted(granted));
            }
            Some(ToIngest::Release(topics)) => {
                topics.into_iter().for_each(|topic| self.router.release(id, topic));
            }
            Some(ToIngest::Retire(topics)) => {
                self.hand_over();
                topics.iter().for_each(|topic| self.router.retire(id, *topic));
                self.shards[id].inbox.push_back(ToShard::Retired(topics));
            }
        }
    }

    /// All that is under way arrives.
    fn settle(&mut self) {
        self.hand_over();
        while self.shards.iter().any(|shard| !shard.inbox.is_empty() || !shard.outbox.is_empty()) {
            (0..SHARDS).for_each(|shard| self.apply(Op::Ingest(shard, 1)));
            (0..SHARDS).for_each(|shard| self.apply(Op::Shard(shard, 1)));
        }
    }

    /// With nothing under way each shard knows what its clients asked for and few topics more, and ingest what the shards know.
    fn check_bounds(&mut self) {
        self.settle();
        let mut most = 0;
        for shard in &self.shards {
            let asked_for = shard.asked_for().len();
            let topics = shard.index.topics();
            let opened_max = limits::OPENED_TOPICS_FACTOR * OPENED_MAX;
            assert!(
                (asked_for..=asked_for + opened_max).contains(&topics),
                "{topics} topics, {asked_for} asked for"
            );
            most += topics;
        }
        assert!(self.router.topics() <= most, "{} topics, {most} on the shards", self.router.topics());
    }

    /// Everyone goes, and all that is under way arrives.
    fn end(mut self) {
        self.check_bounds();
        while !self.kept.is_empty() {
            self.apply(Op::Release);
        }
        self.check_bounds();
        while !self.clients.is_empty() {
            self.apply(Op::Disconnect(0));
        }
        self.settle();
        assert_eq!(self.router.topics(), 0, "ids are freed");
        for shard in &self.shards {
            assert_eq!((shard.index.topics(), shard.index.has_patterns()), (0, false));
            assert!(shard.due.is_empty() && shard.got.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_subscriber_gets_every_event_once_whatever_crosses_on_the_way(
        ops in prop::collection::vec(op(), 1..300),
    ) {
        let mut world = World::new();
        (0..SHARDS).for_each(|shard| world.apply(Op::Connect(shard)));
        ops.into_iter().for_each(|op| world.apply(op));
        world.end();
    }
}
