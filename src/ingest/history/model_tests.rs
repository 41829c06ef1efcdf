//! The history against one that keeps everything.

use proptest::prelude::*;

use super::*;
use crate::bus::TopicId;

const TRADE: EventType = EventType::Trade;
const TOPICS: usize = 3;

#[derive(Debug, Clone)]
enum Op {
    /// An event; see [`Shape`].
    Event(usize, Shape),
    Pin(usize),
    Unpin(usize),
    Snapshot(usize),
    /// Resume so far behind (or ahead of) the last `seq`.
    Resume(usize, i64),
}

#[derive(Debug, Clone)]
enum Shape {
    Next,
    Gap,
    Repeat(u64),
    Restart(u64),
    /// Good, but without a `seq`.
    Unnumbered,
    /// Good, and its `seq` isn't the first thing that looks like one.
    Misleading,
    /// Bad, with a `seq` so far ahead.
    Bad(u64),
    Nonsense,
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        12 => Just(Shape::Next),
        1 => Just(Shape::Gap),
        2 => (0_u64..5).prop_map(Shape::Repeat),
        1 => (0_u64..5).prop_map(Shape::Restart),
        1 => Just(Shape::Unnumbered),
        1 => Just(Shape::Misleading),
        1 => (0_u64..4).prop_map(Shape::Bad),
        1 => Just(Shape::Nonsense),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let topic = 0..TOPICS;
    prop_oneof![
        20 => (topic.clone(), shape()).prop_map(|(topic, shape)| Op::Event(topic, shape)),
        1 => topic.clone().prop_map(Op::Pin),
        1 => topic.clone().prop_map(Op::Unpin),
        2 => topic.clone().prop_map(Op::Snapshot),
        4 => (topic, -2_i64..12).prop_map(|(topic, behind)| Op::Resume(topic, behind)),
    ]
}

/// A topic as the contract has it: every good event in order.
#[derive(Default)]
struct Model {
    /// `seq`, `timestamp`, `data`, arrival: of this worker's counting.
    line: Vec<(u64, u64, String, u64)>,
    ended: Option<u64>,
    last: Option<(String, u64)>,
    pinned: Option<Slot>,
}

impl Model {
    fn last_seq(&self) -> Option<u64> {
        self.line.last().map(|(seq, ..)| *seq)
    }

    /// What should become of a good event.
    fn take(&mut self, seq: Option<u64>, timestamp: u64, data: &str, now_ms: u64) -> Verdict {
        let verdict = match (seq, self.line.last()) {
            (None, _) | (_, None) => Verdict::Next,
            (Some(seq), Some((last, ..))) if seq == last + 1 => Verdict::Next,
            (Some(seq), Some((last, ..))) if seq > *last => Verdict::Gap { from: last + 1, to: seq - 1 },
            (Some(_), Some((_, then, ..))) if timestamp > *then => Verdict::Restart,
            _ => return Verdict::Repeat,
        };
        if verdict == Verdict::Restart {
            self.ended = self.ended.max(self.last_seq());
            self.line.clear();
        }
        if let Some(seq) = seq {
            self.line.push((seq, timestamp, data.to_owned(), now_ms));
        }
        self.last = Some((data.to_owned(), now_ms));
        verdict
    }

    /// What a client has missed; `None` if that can't be known.
    fn missed(&self, seen: u64) -> Option<Vec<String>> {
        let last = self.last_seq()?;
        if self.ended.is_some_and(|ended| seen <= ended) {
            return None;
        }
        let missed: Vec<_> = self.line.iter().filter(|(seq, ..)| *seq > seen).collect();
        let whole = missed.len() as u64 == last.saturating_sub(seen);
        whole.then(|| {
            let frame = |(_, _, data, at): &&(u64, u64, String, u64)| {
                format!(r#"{{"type":"trade","data":{data},"timestamp":{at},"replay":true}}"#)
            };
            missed.iter().map(frame).collect()
        })
    }
}

struct World {
    history: History,
    models: [Model; TOPICS],
    clock: u64,
    /// The log holds everything that the model does.
    roomy: bool,
}

impl World {
    fn name(topic: usize) -> Symbol {
        Symbol::parse(format!("S{topic}").as_bytes(), SymbolCase::Upper).unwrap()
    }

    fn apply(&mut self, op: &Op) {
        self.clock += 1;
        match op {
            Op::Event(topic, shape) => self.event(*topic, shape),
            Op::Pin(topic) => {
                let slot = self.history.pin(TRADE, &Self::name(*topic));
                self.models[*topic].pinned = Some(slot);
            }
            Op::Unpin(topic) => {
                if let Some(slot) = self.models[*topic].pinned.take() {
                    self.history.unpin(slot);
                }
            }
            Op::Snapshot(topic) => self.pinned(*topic, |world, slot| {
                let frame = world.history.snapshot(slot).map(|frame| text(&frame));
                let expected = world.models[*topic].last.as_ref().map(|(data, at)| {
                    format!(r#"{{"type":"trade","data":{data},"timestamp":{at},"snapshot":true}}"#)
                });
                assert_eq!(frame, expected);
            }),
            Op::Resume(topic, behind) => {
                let last = self.models[*topic].last_seq().unwrap_or(5);
                if let Some(seen) = last.checked_add_signed(-behind) {
                    self.pinned(*topic, |world, slot| world.resume(*topic, slot, seen));
                }
            }
        }
    }

    /// Does something for which the topic has to be pinned.
    fn pinned(&mut self, topic: usize, act: impl FnOnce(&mut Self, Slot)) {
        let slot = self.history.pin(TRADE, &Self::name(topic));
        act(self, slot);
        if self.models[topic].pinned.is_none() {
            self.history.unpin(slot);
        }
    }

    fn event(&mut self, topic: usize, shape: &Shape) {
        let model = &mut self.models[topic];
        let last = model.last_seq();
        let next = last.map_or(1, |last| last + 1);
        let then = model.line.last().map_or(self.clock, |(_, then, ..)| *then);
        let (seq, timestamp) = match shape {
            Shape::Next | Shape::Misleading => (Some(next), self.clock),
            Shape::Gap => (Some(next + 2), self.clock),
            Shape::Repeat(behind) => (Some(last.unwrap_or(1).saturating_sub(*behind)), then),
            Shape::Restart(to) => (Some(*to), self.clock),
            Shape::Bad(ahead) => (Some(next + ahead), self.clock),
            Shape::Unnumbered | Shape::Nonsense => (None, self.clock),
        };
        let symbol =
            if matches!(shape, Shape::Bad(_)) { "WRONG".to_owned() } else { Self::name(topic).to_string() };
        let before = if matches!(shape, Shape::Misleading) { r#""x":{"seq":3},"# } else { "" };
        let seq_field = seq.map_or_else(String::new, |seq| format!(r#","seq":{seq}"#));
        let payload = match shape {
            Shape::Nonsense => r#"{"seq":4"#.to_owned(),
            _ => format!(
                r#"{{{before}"symbol":"{symbol}","price":1,"volume":{clock},"timestamp":{timestamp}{seq_field}}}"#,
                clock = self.clock
            ),
        };
        let good = !matches!(shape, Shape::Bad(_) | Shape::Nonsense);
        let expected = good.then(|| model.take(seq, timestamp, &payload, self.clock));
        match model.pinned {
            Some(slot) => {
                let name = Self::name(topic);
                let event =
                    Checker::with_max_bytes(65_536).check(TRADE, payload.as_bytes(), name.as_bytes()).ok();
                assert_eq!(event.map(|event| self.history.take(slot, &event, self.clock)), expected);
            }
            None => {
                self.history.keep(TRADE, Self::name(topic).as_bytes(), payload.as_bytes(), self.clock);
            }
        }
    }

    fn resume(&mut self, topic: usize, slot: Slot, seen: u64) {
        let mut replay = Replay::with_room(usize::MAX);
        let resumed = self.history.resume(slot, seen, TopicId::default(), &mut replay);
        let mut start = 0;
        let frames: Vec<_> = replay
            .table
            .iter()
            .map(|entry| {
                let end = entry.end as usize;
                text(&replay.bytes[std::mem::replace(&mut start, end)..end])
            })
            .collect();
        let model = &self.models[topic];
        let missed = model.missed(seen);
        match resumed {
            Resumed::Ahead => assert!(missed.is_some() && model.last_seq() < Some(seen) && frames.is_empty()),
            Resumed::Whole => assert_eq!(Some(frames), missed, "never a part, never anything else"),
            Resumed::Lost => {
                assert!(frames.is_empty());
                assert!(missed.is_none() || !self.roomy, "seen {seen}, missed {missed:?}");
            }
        }
    }
}

fn text(frame: &[u8]) -> String {
    let header = if frame[1] == 126 { 4 } else { 2 };
    String::from_utf8(frame[header..].to_vec()).unwrap()
}

proptest! {
    #[test]
    fn what_is_told_later_is_what_was(
        ops in proptest::collection::vec(op(), 0..300),
        small in proptest::option::of((1_usize..6, 150_usize..2_000)),
    ) {
        let config = match small {
            None => HistoryConfig::default(),
            Some((events, bytes)) => HistoryConfig {
                events_per_topic: events,
                max_bytes: bytes,
                max_replay_bytes: 400,
                ..HistoryConfig::default()
            },
        };
        let mut world = World {
            history: History::new(config),
            models: Default::default(),
            clock: 1_000,
            roomy: small.is_none(),
        };
        for op in &ops {
            world.apply(op);
        }
    }
}
