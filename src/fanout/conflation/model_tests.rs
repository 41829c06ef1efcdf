//! What conflation promises, under random events, writes of any size, changes of terms, skips and boundaries.

use std::borrow::Cow;
use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;
use slotmap::SlotMap;

use super::super::batch::{BacklogBytes, Batch, EndedNames};
use super::*;
use crate::bus::{Entry, Frames, Seqs};
use crate::fanout::outbox::Scratch;
use crate::market::{BinanceShape, BinanceStream, Form, Kinds, Subject, Symbol, SymbolCase};
use crate::protocol::form::{self, EventParts};
use crate::protocol::native::event::{Marker, Openings};
use crate::protocol::wrapping::Wrapping;
use crate::websocket::deflate::{Compression, Compressor, inflate, is_compressed};
use crate::websocket::header;

const TOPICS: usize = 5;

/// A price that can't be added up: a trade with it never becomes part of an aggregate.
const NOT_ADDABLE: &str = "1e99";

#[derive(Debug, Clone)]
enum Op {
    /// Topics of the events of one batch, and whether they can be added up.
    Events(Vec<(usize, bool)>),
    /// The turn ends, and the next one is this many microseconds later.
    Turn(u64),
    Write(usize),
    SkipTo(u32),
    FallBack,
    Reply,
    Change(usize, Option<Conflate>, Option<f64>),
    Cap(Option<f64>),
    Leave(usize),
    Join(usize),
    /// A late event of a topic.
    Late(usize),
}

/// The numbers of late events begin here, so that they are told from the others.
const LATE: u64 = 1_000_000;

fn events() -> impl Strategy<Value = Op> {
    prop::collection::vec((0..TOPICS, prop::bool::weighted(0.9)), 1..8).prop_map(Op::Events)
}

fn conflate() -> impl Strategy<Value = Option<Conflate>> {
    prop_oneof![
        Just(None),
        Just(Some(Conflate::Off)),
        Just(Some(Conflate::Latest)),
        Just(Some(Conflate::Aggregate))
    ]
}

fn rate() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![Just(None), Just(Some(1_000.0)), Just(Some(250.0))]
}

/// Events that can all be added up, some of them late, turns and writes.
fn op_with_late() -> impl Strategy<Value = Op> {
    let addable = prop::collection::vec((0..TOPICS, Just(true)), 1..6).prop_map(Op::Events);
    prop_oneof![
        4 => addable,
        2 => (0..TOPICS).prop_map(Op::Late),
        3 => (1u64..6_000).prop_map(Op::Turn),
        3 => (0usize..900).prop_map(Op::Write),
    ]
}

/// What happens under terms that stay as they are.
fn steady_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => events(),
        4 => (1u64..6_000).prop_map(Op::Turn),
        4 => (0usize..900).prop_map(Op::Write),
        1 => (0u32..1_500).prop_map(Op::SkipTo),
        1 => Just(Op::Reply),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => steady_op(),
        2 => (0..TOPICS, conflate(), rate()).prop_map(|(topic, conflate, rate)| Op::Change(topic, conflate, rate)),
        1 => rate().prop_map(Op::Cap),
        1 => Just(Op::FallBack),
        1 => (0..TOPICS).prop_map(Op::Leave),
        1 => (0..TOPICS).prop_map(Op::Join),
    ]
}

/// What a client reads, in order.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Event { topic: usize, number: u64, at_us: u64, conflated: Option<Value> },
    Skipped { topic: usize, count: u64 },
    Left { topic: usize },
    Joined { topic: usize },
    Other,
}

struct World {
    form: Form,
    ids: Vec<TopicId>,
    conflation: Conflation,
    outbox: Outbox,
    backlog: BacklogBytes,
    now_us: u64,
    /// (when, period) of the phases that run.
    timers: BTreeSet<(u64, u32)>,
    wire: Vec<u8>,
    seen: Vec<Seen>,
    held: Vec<bool>,
    /// For each topic, the price and time of each event published while the client was subscribed.
    published: Vec<Vec<(String, u64)>>,
    /// For each topic, the late events among them, which are not in `published`.
    late: Vec<u64>,
    dropped: u64,
}

impl World {
    /// `deflate`: messages of several events may be compressed.
    fn new((form, deflate): (Form, bool)) -> Self {
        let mut slots: SlotMap<TopicId, ()> = SlotMap::with_key();
        Self {
            form,
            ids: (0..TOPICS).map(|_| slots.insert(())).collect(),
            conflation: Conflation::default(),
            outbox: Outbox::new((form == Form::JSON_BATCH).then_some(Wrapping::Array), deflate),
            backlog: BacklogBytes::with_compressor(compressor()),
            now_us: 1,
            timers: BTreeSet::new(),
            wire: Vec::new(),
            seen: Vec::new(),
            held: vec![true; TOPICS],
            published: vec![Vec::new(); TOPICS],
            late: vec![0; TOPICS],
            dropped: 0,
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Events(events) => self.events(events),
            Op::Turn(us) => self.turn(*us),
            Op::Write(room) => self.write(*room),
            Op::SkipTo(target_bytes) => {
                self.conflation.skip_oldest(&mut self.outbox, *target_bytes);
            }
            Op::FallBack if !self.conflation.is_fallback() => {
                let status = self.own(r#"{"slow":1}"#);
                self.conflation.fall_back(&mut self.outbox, status);
            }
            Op::FallBack => {}
            Op::Reply => {
                let reply = self.own("{}");
                self.outbox.push_own(reply);
            }
            Op::Change(topic, conflate, rate) => self.change(*topic, *conflate, *rate),
            Op::Cap(rate) => {
                self.conflation.cap(&mut self.outbox, rate.map(|rate| MaxRate::new(rate).unwrap()));
            }
            Op::Leave(topic) => self.leave(*topic),
            Op::Late(topic) => self.late(*topic),
            Op::Join(topic) => {
                self.held[*topic] = true;
                let reply = self.own(&format!(r#"{{"joined":{topic}}}"#));
                self.outbox.push_own(reply);
            }
        }
    }

    fn own(&self, json: &str) -> Rc<Batch> {
        Batch::own(own_frame(self.form, json), &self.backlog)
    }

    fn events(&mut self, events: &[(usize, bool)]) {
        let mut frames = Frames { form: self.form, arrived_us: self.now_us, ..Frames::default() };
        let mut bytes = Vec::new();
        for &(topic, is_addable) in events {
            if !self.held[topic] {
                continue;
            }
            let number = self.published[topic].len() as u64;
            let price = if is_addable { format!("{}.50", number % 7) } else { NOT_ADDABLE.to_owned() };
            let object = format!(
                r#"{{"topic":{topic},"price":{price},"volume":{},"timestamp":{number}}}"#,
                number + 1
            );
            self.write_event(&mut bytes, topic, number, &object);
            frames.table.push(Entry { end: bytes.len() as u32, topic: self.ids[topic] });
            self.published[topic].push((price, self.now_us));
        }
        frames.bytes = bytes.into();
        let batch = Batch::shared(frames, &self.backlog);
        let table = batch.table();
        let mut from = 0;
        while let Some(entry) = table.get(from) {
            let same = table[from..].iter().take_while(|next| next.topic == entry.topic).count();
            let run = TopicRun::new(&batch, entry.topic, from as u32, (from + same) as u32);
            self.conflation.queue(&mut self.outbox, &run, entry.topic);
            from += same;
        }
    }

    fn write_event(&self, out: &mut Vec<u8>, topic: usize, number: u64, object: &str) {
        let symbol = Symbol::parse(format!("T{topic}").as_bytes(), SymbolCase::Upper).unwrap();
        let (kind, seq, marker) = (Kind::TRADE, Some(number), Marker::NONE);
        let event = EventParts { kind, symbol: &symbol, seq, object, at_ms: 7, marker };
        let openings = Openings::new(&Kinds::default()).with_compressor(compressor());
        form::write(out, self.form, &openings, &event);
    }

    fn late(&mut self, topic: usize) {
        let number = LATE + self.late[topic];
        self.late[topic] += 1;
        let object = format!(r#"{{"topic":{topic},"price":9.5,"volume":1,"timestamp":{number}}}"#);
        let mut bytes = Vec::new();
        self.write_event(&mut bytes, topic, number, &object);
        let table = vec![Entry { end: bytes.len() as u32, topic: self.ids[topic] }];
        let mut seqs = Seqs::default();
        seqs.set(0, 1, true);
        let frames = Frames { form: self.form, bytes: bytes.into(), table, seqs, arrived_us: self.now_us };
        let batch = Batch::shared(frames, &self.backlog);
        let run = TopicRun::new(&batch, self.ids[topic], 0, 1);
        self.conflation.queue(&mut self.outbox, &run, self.ids[topic]);
    }

    /// The turn ends, and the next one is `us` later.
    fn turn(&mut self, us: u64) {
        self.open();
        self.pass(us);
    }

    /// Phases that have begun in this turn are at their first boundary.
    fn open(&mut self) {
        let opened: Vec<_> = self.conflation.take_phases_begun().collect();
        opened.into_iter().for_each(|period_us| self.boundary(period_us));
    }

    /// Time passes, and timers fire.
    fn pass(&mut self, us: u64) {
        self.now_us += us;
        while let Some(&(at_us, period_us)) = self.timers.first()
            && at_us <= self.now_us
        {
            self.timers.pop_first();
            self.boundary(period_us);
        }
    }

    fn boundary(&mut self, period_us: u32) {
        if let Some(next_us) = self.conflation.boundary(&mut self.outbox, period_us, self.now_us) {
            assert_eq!(next_us, self.now_us + u64::from(period_us));
            self.timers.insert((next_us, period_us));
        }
    }

    fn change(&mut self, topic: usize, conflate: Option<Conflate>, rate: Option<f64>) {
        if !self.held[topic] {
            return;
        }
        let max_rate = rate.map(|rate| MaxRate::new(rate).unwrap());
        let subscriptions = [(self.ids[topic], Kind::TRADE, Form::JSON)].into_iter();
        self.conflation.change(&mut self.outbox, subscriptions, Change { conflate, max_rate });
    }

    fn leave(&mut self, topic: usize) {
        if !std::mem::take(&mut self.held[topic]) {
            return;
        }
        let (ids, held) = (&self.ids, &self.held);
        self.dropped += u64::from(self.conflation.held.contains_key(&ids[topic]));
        let still_wanted = |id| held[ids.iter().position(|known| *known == id).unwrap()];
        self.conflation.leave(&mut self.outbox, [ids[topic]].into_iter(), still_wanted);
        let reply = self.own(&format!(r#"{{"left":{topic}}}"#));
        let subject = Subject::parse(Kind::TRADE, format!("T{topic}").as_bytes(), SymbolCase::Upper).unwrap();
        let mark = Batch::mark(&[(ids[topic], subject)], &EndedNames::default(), &self.backlog);
        self.outbox.push_mark(&mark);
        self.outbox.push_own(reply);
    }

    fn write(&mut self, mut room: usize) {
        let (form, ids, backlog) = (self.form, self.ids.clone(), self.backlog.clone());
        let announce = |id: TopicId, count: u64| {
            let topic = ids.iter().position(|known| *known == id).unwrap();
            Batch::own(own_frame(form, &format!(r#"{{"skipped":{topic},"count":{count}}}"#)), &backlog)
        };
        let mut scratch = Scratch::with_capacity(512).with_backlog(&backlog).with_messages_limited(4, 700);
        while room > 0 && !self.outbox.is_empty() {
            let chunk = self.outbox.chunk(&mut scratch, &announce);
            let taken = chunk.len().min(room);
            self.wire.extend_from_slice(&chunk[..taken]);
            room -= taken;
            self.outbox.advance(&scratch, taken);
        }
        if self.outbox.is_empty() && self.conflation.caught_up() {
            let status = self.own("{}");
            self.outbox.push_own(status);
        }
        self.read();
    }

    /// Takes the whole frames off the wire.
    fn read(&mut self) {
        while let Some(length) = frame_bytes(self.form, &self.wire) {
            let rest = self.wire.split_off(length);
            let frame = std::mem::replace(&mut self.wire, rest);
            let json = match self.form {
                Form::SSE => form::object_of(Form::SSE, &frame),
                of if of.namespace().is_some() && content(&frame).starts_with(b"42") => {
                    form::object_of(of, &frame)
                }
                _ => content(&frame),
            };
            match serde_json::from_slice(&json).unwrap() {
                Value::Array(values) => {
                    assert!(self.form == Form::JSON_BATCH && (1..=4).contains(&values.len()));
                    values.iter().for_each(|value| self.see(value));
                }
                value => self.see(&value),
            }
        }
    }

    fn see(&mut self, value: &Value) {
        let topic = |value: &Value| value.as_u64().unwrap() as usize;
        let trade = value.get("stream").map_or(value, |_| &value["data"]);
        self.seen.push(if trade["e"] == "aggTrade" {
            let number = trade["T"].as_u64().unwrap();
            let conflated = trade.get("conflated").cloned();
            let first = conflated.as_ref().map_or(&trade["T"], |all| &all["firstTimestamp"]);
            assert_eq!((&trade["a"], &trade["l"], &trade["f"]), (&trade["T"], &trade["T"], first));
            let volume = conflated.as_ref().map(|all| all["volume"].to_string());
            assert!(volume.is_none_or(|volume| trade["q"] == volume.as_str()), "{trade}");
            let topic = trade["s"].as_str().unwrap().trim_start_matches('T').parse().unwrap();
            Seen::Event { topic, number, at_us: self.now_us, conflated }
        } else if value["type"] == "trade" {
            Seen::Event {
                topic: topic(&value["data"]["topic"]),
                number: value["data"]["timestamp"].as_u64().unwrap(),
                at_us: self.now_us,
                conflated: value.get("conflated").cloned(),
            }
        } else if let Some(skipped) = value.get("skipped") {
            Seen::Skipped { topic: topic(skipped), count: value["count"].as_u64().unwrap() }
        } else if let Some(left) = value.get("left") {
            Seen::Left { topic: topic(left) }
        } else if let Some(joined) = value.get("joined") {
            Seen::Joined { topic: topic(joined) }
        } else {
            Seen::Other
        });
    }

    /// Everything that is held or queued reaches the client.
    fn finish(&mut self) {
        self.turn(1);
        for _ in 0..4 {
            self.turn(20_000_000);
            self.write(usize::MAX);
        }
        assert!(self.outbox.is_empty() && self.wire.is_empty());
        self.conflation.late.clear();
        assert!(self.conflation.held.is_empty() && self.conflation.pending.is_empty());
        assert!(self.conflation.phases.is_empty() && self.timers.is_empty(), "idle phases end");
        assert_eq!((self.outbox.event_bytes(), self.outbox.own_bytes()), (0, 0));
        assert_eq!(self.backlog.bytes(), 0, "nothing is kept alive");
    }

    fn numbers(&self, of: usize) -> Vec<u64> {
        let number = |seen: &Seen| match seen {
            Seen::Event { topic, number, .. } if *topic == of => Some(*number),
            _ => None,
        };
        self.seen.iter().filter_map(number).collect()
    }

    /// Every event of the topic is in the totals of exactly one frame, or announced as skipped.
    fn check_sums(&self, of: usize) {
        let prices = &self.published[of];
        let mut next = 0;
        for seen in &self.seen {
            match seen {
                Seen::Skipped { topic, count } if *topic == of => next += count,
                Seen::Event { topic, number, conflated, .. } if *topic == of => {
                    let covered = next..number + 1;
                    let count =
                        conflated.as_ref().map_or(1, |conflated| conflated["count"].as_u64().unwrap());
                    assert_eq!(count, covered.end - covered.start, "topic {of} up to {number}");
                    if let Some(conflated) = conflated {
                        assert!(count > 1);
                        let price = |n: u64| prices[n as usize].0.parse::<f64>().unwrap();
                        let high = covered.clone().map(price).fold(f64::MIN, f64::max);
                        let low = covered.clone().map(price).fold(f64::MAX, f64::min);
                        let volume: u64 = covered.clone().map(|n| n + 1).sum();
                        let turnover: f64 = covered.clone().map(|n| price(n) * (n + 1) as f64).sum();
                        assert_eq!(
                            (conflated["high"].as_f64(), conflated["low"].as_f64()),
                            (Some(high), Some(low))
                        );
                        assert_eq!(conflated["volume"].as_u64(), Some(volume));
                        assert_eq!(conflated["firstTimestamp"].as_u64(), Some(covered.start));
                        assert!(
                            (conflated["vwap"].as_f64().unwrap() - turnover / volume as f64).abs() < 1e-7
                        );
                    }
                    next = covered.end;
                }
                _ => {}
            }
        }
        assert_eq!(next, prices.len() as u64, "delivered + announced is published, topic {of}");
    }
}

/// Compresses the longer half of the events.
fn compressor() -> Compressor {
    Compressor::new(Some(Compression { threshold_bytes: 100, level: 1 }))
}

/// A frame that is no event, in a form.
fn own_frame(form: Form, json: &str) -> Vec<u8> {
    match form {
        Form::JSON_BATCH => header::text(format!("[{json}]").as_bytes()),
        Form::SSE => format!("event: status\ndata: {json}\n\n").into_bytes(),
        _ => header::text(json.as_bytes()),
    }
}

/// The content of a message, inflated if it is compressed.
fn content(frame: &[u8]) -> Cow<'_, [u8]> {
    if !is_compressed(frame) {
        return header::payload(frame).into();
    }
    let mut content = Vec::new();
    inflate(header::payload(frame), 10_000, &mut content).unwrap();
    content.into()
}

/// The length of the frame at the beginning of what a client has read, if it is whole.
fn frame_bytes(form: Form, wire: &[u8]) -> Option<usize> {
    if form == Form::SSE {
        return Some(wire.windows(2).position(|pair| pair == b"\n\n")? + 2);
    }
    let length = match *wire.get(1)? {
        126 => 4 + usize::from(u16::from_be_bytes([*wire.get(2)?, *wire.get(3)?])),
        length => 2 + usize::from(length),
    };
    (wire.len() >= length).then_some(length)
}

fn form() -> impl Strategy<Value = (Form, bool)> {
    // Another API's, that has words for totals.
    let foreign = [BinanceShape::Raw, BinanceShape::Combined]
        .map(|shape| Form::binance(shape, BinanceStream::AggTrades));
    let forms = Form::OURS.into_iter().chain(foreign).map(|form| (form, false));
    prop::sample::select(forms.chain([(Form::JSON_BATCH, true)]).collect::<Vec<_>>())
}

fn ascending(numbers: &[u64]) -> bool {
    numbers.windows(2).all(|pair| pair[0] < pair[1])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Topic 0 lossless, 1 conflated, 2 with a rate, 3 aggregated, 4 aggregated with a rate.
    #[test]
    fn nothing_is_lost_but_what_newer_events_replace(
        form in form(),
        ops in prop::collection::vec(steady_op(), 1..80),
    ) {
        let mut world = World::new(form);
        world.change(1, Some(Conflate::Latest), None);
        world.change(2, None, Some(1_000.0));
        world.change(3, Some(Conflate::Aggregate), None);
        world.change(4, Some(Conflate::Aggregate), Some(250.0));
        for op in &ops {
            world.apply(op);
            for topic in [1, 2] {
                let queued = world.outbox.events_of(world.ids[topic]);
                prop_assert!(queued <= 2, "one pending, one partly written");
            }
        }
        world.finish();
        for topic in [0, 3, 4] {
            world.check_sums(topic);
        }
        for topic in [1, 2] {
            let numbers = world.numbers(topic);
            prop_assert!(ascending(&numbers), "{:?}", numbers);
            let skipped = world.seen.iter().any(|seen| matches!(seen, Seen::Skipped { topic: of, .. } if *of == topic));
            let last = world.published[topic].len().checked_sub(1).map(|last| last as u64);
            prop_assert!(skipped || numbers.last().copied() == last, "the last value arrives");
        }
    }

    /// Topic 0 lossless, 1 conflated, 2 with a rate, 3 aggregated, 4 aggregated with a rate.
    #[test]
    fn a_late_event_counts_and_takes_no_place(
        form in form(),
        ops in prop::collection::vec(op_with_late(), 1..80),
    ) {
        let mut world = World::new(form);
        world.change(1, Some(Conflate::Latest), None);
        world.change(2, None, Some(1_000.0));
        world.change(3, Some(Conflate::Aggregate), None);
        world.change(4, Some(Conflate::Aggregate), Some(250.0));
        ops.iter().for_each(|op| world.apply(op));
        // What no event has taken up yet is in the totals of the next one.
        world.events(&[0, 1, 2, 3, 4].map(|topic| (topic, true)));
        world.finish();
        let delivered = world.numbers(0).len() as u64;
        prop_assert_eq!(delivered, world.published[0].len() as u64 + world.late[0], "all of what is not conflated");
        for topic in 1..TOPICS {
            let numbers = world.numbers(topic);
            prop_assert!(numbers.iter().all(|number| *number < LATE) && ascending(&numbers), "{:?}", numbers);
            prop_assert_eq!(numbers.last().copied(), Some(world.published[topic].len() as u64 - 1));
        }
        for topic in [3, 4] {
            let (mut count, mut volume) = (0, 0);
            for seen in &world.seen {
                if let Seen::Event { topic: of, number, conflated, .. } = seen && *of == topic {
                    let totals = conflated.as_ref().map(|totals| (&totals["count"], &totals["volume"]));
                    let (of_count, of_volume) = totals.map_or((1, number + 1), |(count, volume)| {
                        (count.as_u64().unwrap(), volume.as_u64().unwrap())
                    });
                    count += of_count;
                    volume += of_volume;
                }
            }
            let published = world.published[topic].len() as u64;
            prop_assert_eq!(count, published + world.late[topic], "topic {}", topic);
            prop_assert_eq!(volume, published * (published + 1) / 2 + world.late[topic], "topic {}", topic);
        }
        let delivered: u64 = (0..TOPICS).map(|topic| world.numbers(topic).len() as u64).sum();
        let published: u64 = world.published.iter().map(|prices| prices.len() as u64).sum();
        prop_assert_eq!(delivered + world.conflation.replaced(), published + world.late.iter().sum::<u64>());
    }

    /// Every topic lossless, until the client has fallen back.
    #[test]
    fn a_slow_client_keeps_the_newest_event_and_no_late_one_instead(
        form in form(),
        ops in prop::collection::vec(prop_oneof![9 => op_with_late(), 1 => Just(Op::FallBack)], 1..80),
    ) {
        let mut world = World::new(form);
        ops.iter().for_each(|op| world.apply(op));
        world.finish();
        for topic in 0..TOPICS {
            let numbers = world.numbers(topic);
            let newest: Vec<_> = numbers.iter().copied().filter(|number| *number < LATE).collect();
            prop_assert!(ascending(&newest), "{:?}", newest);
            prop_assert_eq!(newest.last().copied(), world.published[topic].len().checked_sub(1).map(|last| last as u64));
        }
        let delivered: u64 = (0..TOPICS).map(|topic| world.numbers(topic).len() as u64).sum();
        let published: u64 = world.published.iter().map(|prices| prices.len() as u64).sum();
        prop_assert_eq!(delivered + world.conflation.replaced(), published + world.late.iter().sum::<u64>());
    }

    /// Everything is written at the end of each turn, so that what is seen is when it was queued.
    #[test]
    fn a_rate_is_a_rate(
        form in form(),
        ops in prop::collection::vec(prop_oneof![events(), (1u64..6_000).prop_map(Op::Turn)], 1..120),
    ) {
        let mut world = World::new(form);
        let periods_us = [1_000, 1_000, 4_000, 4_000, 1_000];
        for (topic, period_us) in periods_us.iter().enumerate() {
            world.change(topic, None, Some(1e6 / *period_us as f64));
        }
        let mut longest_turn_us = 1;
        for op in ops.iter().chain([500; 20].map(Op::Turn).iter()) {
            if let Op::Turn(us) = op {
                longest_turn_us = longest_turn_us.max(*us);
                world.open();
                world.write(usize::MAX);
                world.pass(*us);
                world.write(usize::MAX);
            } else {
                world.apply(op);
            }
            prop_assert!(world.conflation.phases.len() <= 2, "one for each rate");
        }
        prop_assert!(world.conflation.phases.is_empty(), "idle ones end");
        world.finish();
        for (topic, period_us) in periods_us.into_iter().enumerate() {
            let sent: Vec<(u64, u64)> = world.seen.iter().filter_map(|seen| match seen {
                Seen::Event { topic: of, number, at_us, .. } if *of == topic => Some((*number, *at_us)),
                _ => None,
            }).collect();
            for pair in sent.windows(2) {
                prop_assert!(pair[1].1 >= pair[0].1 + period_us, "{:?}", pair);
                prop_assert!(pair[1].0 > pair[0].0);
            }
            for (number, (_, at_us)) in world.published[topic].iter().enumerate() {
                let newer = sent.iter().find(|(sent, _)| *sent >= number as u64);
                let latest_us = at_us + period_us + longest_turn_us;
                prop_assert!(newer.is_some_and(|(_, sent_us)| *sent_us <= latest_us), "{} of {}", number, topic);
            }
        }
    }

    /// Terms come and go, topics are left and joined again, the client falls back and catches up.
    #[test]
    fn an_older_event_never_follows_a_newer_one(
        form in form(),
        ops in prop::collection::vec(any_op(), 1..120),
    ) {
        let mut world = World::new(form);
        ops.iter().for_each(|op| world.apply(op));
        world.finish();
        for topic in 0..TOPICS {
            let numbers = world.numbers(topic);
            prop_assert!(ascending(&numbers), "topic {}: {:?}", topic, numbers);
            let mut subscribed = true;
            for seen in &world.seen {
                match seen {
                    Seen::Left { topic: of } if *of == topic => subscribed = false,
                    Seen::Joined { topic: of } if *of == topic => subscribed = true,
                    Seen::Event { topic: of, .. } | Seen::Skipped { topic: of, .. } if *of == topic => {
                        prop_assert!(subscribed, "nothing of {} between the two replies", topic);
                    }
                    _ => {}
                }
            }
            let is_steady = !ops.iter().any(|op| match op {
                Op::SkipTo(_) => true,
                Op::Leave(of) => *of == topic,
                _ => false,
            });
            let last = world.published[topic].len().checked_sub(1).map(|last| last as u64);
            prop_assert!(!is_steady || numbers.last().copied() == last, "the last value of {} arrives", topic);
        }
        if !ops.iter().any(|op| matches!(op, Op::SkipTo(_))) {
            let delivered: u64 = (0..TOPICS).map(|topic| world.numbers(topic).len() as u64).sum();
            let published: u64 = world.published.iter().map(|prices| prices.len() as u64).sum();
            prop_assert_eq!(delivered + world.conflation.replaced() + world.dropped, published);
        }
    }
}
