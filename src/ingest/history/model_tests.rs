//! The history against one that keeps everything.

use proptest::prelude::*;

use super::*;
use crate::bus::TopicId;
use crate::market::{Encoding, Namespace, SymbolCase};
use crate::websocket::header;

const TRADE: Kind = Kind::TRADE;
const TOPICS: usize = 3;

#[derive(Debug, Clone)]
enum Op {
    /// An event; see [`Shape`].
    Event(usize, Shape),
    Pin(usize),
    Unpin(usize),
    Snapshot(usize, Form),
    /// Resume so far behind (or ahead of) the last `seq`.
    Resume(usize, i64, Form),
}

#[derive(Debug, Clone)]
enum Shape {
    Next,
    Gap,
    Repeat(u64),
    Restart(u64),
    /// So far from the last `seq`, with a `timestamp` that is the clock's, the newest one, or so much older.
    At(i64, Option<u64>),
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
        6 => (prop_oneof![4 => -8_i64..5, 1 => -80_i64..5], prop::option::of(0_u64..3)).prop_map(|(by, older)| Shape::At(by, older)),
        1 => Just(Shape::Unnumbered),
        1 => Just(Shape::Misleading),
        1 => (0_u64..4).prop_map(Shape::Bad),
        1 => Just(Shape::Nonsense),
    ]
}

fn form() -> impl Strategy<Value = Form> {
    prop::sample::select(&Form::OURS[..])
}

fn op() -> impl Strategy<Value = Op> {
    let topic = 0..TOPICS;
    prop_oneof![
        20 => (topic.clone(), shape()).prop_map(|(topic, shape)| Op::Event(topic, shape)),
        1 => topic.clone().prop_map(Op::Pin),
        1 => topic.clone().prop_map(Op::Unpin),
        2 => (topic.clone(), form()).prop_map(|(topic, form)| Op::Snapshot(topic, form)),
        4 => (topic, -2_i64..12, form()).prop_map(|(topic, behind, form)| Op::Resume(topic, behind, form)),
    ]
}

/// A topic as the contract has it: every good event of this worker's numbers, in the order of arrival.
#[derive(Default)]
struct Model {
    events: Vec<Arrived>,
    ended: Option<u64>,
    last: Option<(String, u64, Option<u64>)>,
    pinned: Option<Slot>,
}

struct Arrived {
    seq: u64,
    timestamp: u64,
    data: String,
    at_ms: u64,
}

impl Model {
    fn last_seq(&self) -> Option<u64> {
        self.events.iter().map(|event| event.seq).max()
    }

    fn newest(&self) -> Option<u64> {
        self.events.iter().map(|event| event.timestamp).max()
    }

    fn judge(&self, seq: Option<u64>, timestamp: u64, numbering: Numbering) -> Verdict {
        let (Some(seq), Some(last), Some(newest)) = (seq, self.last_seq(), self.newest()) else {
            return Verdict::Next;
        };
        let has_come = self.events.iter().any(|event| event.seq == seq);
        let is_in_window = seq + 63 >= last;
        match () {
            () if seq > last + 1 && numbering == Numbering::Contiguous => {
                Verdict::Gap { from: last + 1, to: seq - 1 }
            }
            () if seq > last => Verdict::Next,
            () if is_in_window && !has_come => Verdict::Late,
            () if timestamp > newest || timestamp == newest && !is_in_window => Verdict::Restart,
            () => Verdict::Repeat,
        }
    }

    /// What should become of a good event.
    fn take(
        &mut self,
        seq: Option<u64>,
        timestamp: u64,
        data: &str,
        at_ms: u64,
        numbering: Numbering,
    ) -> Verdict {
        let verdict = self.judge(seq, timestamp, numbering);
        if verdict == Verdict::Repeat {
            return verdict;
        }
        if verdict == Verdict::Restart {
            self.ended = self.ended.max(self.last_seq());
            self.events.clear();
        }
        if let Some(seq) = seq {
            self.events.push(Arrived { seq, timestamp, data: data.to_owned(), at_ms });
        }
        if verdict != Verdict::Late {
            self.last = Some((data.to_owned(), at_ms, seq));
        }
        verdict
    }

    /// What a client has missed, in the order of the numbers, each with its number; `None` if that can't be known.
    fn missed(&self, seen: u64, numbering: Numbering) -> Option<Vec<(String, u64)>> {
        let last = self.last_seq()?;
        if self.ended.is_some_and(|ended| seen <= ended) {
            return None;
        }
        let mut missed: Vec<_> = self.events.iter().filter(|event| event.seq > seen).collect();
        let is_whole = match numbering {
            Numbering::Contiguous => missed.len() as u64 == last.saturating_sub(seen),
            Numbering::Monotonic if seen >= last => true,
            Numbering::Monotonic => match self.events.iter().position(|event| event.seq == seen) {
                Some(place) => {
                    missed = self.events[place..].iter().filter(|event| event.seq > seen).collect();
                    true
                }
                None => false,
            },
        };
        missed.sort_by_key(|event| event.seq);
        is_whole.then(|| {
            let frame = |Arrived { data, at_ms, seq, .. }: &Arrived| {
                (format!(r#"{{"type":"trade","data":{data},"timestamp":{at_ms},"replay":true}}"#), *seq)
            };
            missed.into_iter().map(frame).collect()
        })
    }
}

struct World {
    history: History,
    models: [Model; TOPICS],
    clock: u64,
    /// The log holds everything that the model does.
    roomy: bool,
    numbering: Numbering,
    /// How much longer than it has to be an event is: with long ones, the ring of what is set aside is written round and round.
    padding_bytes: usize,
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
            Op::Snapshot(topic, form) => self.pinned(*topic, |world, slot| {
                let frame = world.history.snapshot(slot, *form);
                let expected = world.models[*topic].last.as_ref().map(|(data, at, seq)| {
                    let object =
                        format!(r#"{{"type":"trade","data":{data},"timestamp":{at},"snapshot":true}}"#);
                    in_form(*form, &object, *topic, *seq)
                });
                assert_eq!(frame.map(|frame| text(&frame)), expected.map(|expected| text(&expected)));
            }),
            Op::Resume(topic, behind, form) => {
                let last = self.models[*topic].last_seq().unwrap_or(5);
                if let Some(seen) = last.checked_add_signed(-behind) {
                    self.pinned(*topic, |world, slot| world.resume(*topic, slot, seen, *form));
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
        // What a log that is too small has lost counts as what it seemed to be: these are not.
        let shape = match shape {
            Shape::Bad(_) | Shape::Misleading if !self.roomy => &Shape::Nonsense,
            shape => shape,
        };
        let model = &mut self.models[topic];
        let last = model.last_seq();
        let next = last.map_or(1, |last| last + 1);
        let newest = model.newest().unwrap_or(self.clock);
        let (seq, timestamp) = match shape {
            Shape::Next | Shape::Misleading => (Some(next), self.clock),
            Shape::Gap => (Some(next + 2), self.clock),
            Shape::Repeat(behind) => (Some(last.unwrap_or(1).saturating_sub(*behind)), newest),
            Shape::Restart(to) => (Some(*to), self.clock),
            // And neither is the time of what it has lost.
            Shape::At(by, _) if *by > 0 && !self.roomy => (Some(next + *by as u64), self.clock),
            Shape::At(by, older) => {
                let seq = last.unwrap_or(100).saturating_add_signed(*by);
                (Some(seq), older.map_or(self.clock, |older| newest - older))
            }
            Shape::Bad(ahead) => (Some(next + ahead), self.clock),
            Shape::Unnumbered | Shape::Nonsense => (None, self.clock),
        };
        let symbol =
            if matches!(shape, Shape::Bad(_)) { "WRONG".to_owned() } else { Self::name(topic).to_string() };
        let before = if matches!(shape, Shape::Misleading) { r#""x":{"seq":3},"# } else { "" };
        let before = format!(r#"{before}"pad":"{:1$}","#, "", self.padding_bytes);
        let seq_field = seq.map_or_else(String::new, |seq| format!(r#","seq":{seq}"#));
        let payload = match shape {
            Shape::Nonsense => format!(r#"{{{before}"seq":4"#),
            _ => format!(
                r#"{{{before}"symbol":"{symbol}","price":1,"volume":{clock},"timestamp":{timestamp}{seq_field}}}"#,
                clock = self.clock
            ),
        };
        let good = !matches!(shape, Shape::Bad(_) | Shape::Nonsense);
        let expected = good.then(|| model.take(seq, timestamp, &payload, self.clock, self.numbering));
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

    fn resume(&mut self, topic: usize, slot: Slot, seen: u64, form: Form) {
        let mut replay = Replay::with_room(usize::MAX, form);
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
        let missed = model.missed(seen, self.numbering);
        let missed = missed.map(|missed| {
            let frame = |(object, seq): (String, u64)| text(&in_form(form, &object, topic, Some(seq)));
            missed.into_iter().map(frame).collect::<Vec<_>>()
        });
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

/// An object as an event of a topic in a form.
fn in_form(form: Form, object: &str, topic: usize, seq: Option<u64>) -> Vec<u8> {
    match form.encoding() {
        Encoding::Json => header::text(object.as_bytes()),
        Encoding::JsonBatch => format!(",{object}").into_bytes(),
        Encoding::Sse => {
            let id = seq.map_or_else(String::new, |seq| format!("id: trade:{seq}:S{topic}\n"));
            format!("event: trade\n{id}data: {object}\n\n").into_bytes()
        }
        Encoding::SocketIo(namespace) => {
            let place = if namespace == Namespace::Root { "" } else { "/events," };
            header::text(format!(r#"42{place}["trade",{object}]"#).as_bytes())
        }
        encoding => panic!("{encoding:?} has no object of ours"),
    }
}

fn text(frame: &[u8]) -> String {
    String::from_utf8_lossy(frame).into_owned()
}

proptest! {
    #[test]
    fn what_is_told_later_is_what_was(
        ops in proptest::collection::vec(op(), 0..300),
        small in proptest::option::of((1_usize..6, 150_usize..2_000)),
        numbering in prop::sample::select(vec![Numbering::Contiguous, Numbering::Monotonic]),
        padding_bytes in prop_oneof![Just(0), Just(2_500), 0..2 * limits::PENDING_BYTES],
    ) {
        let config = match small {
            None => HistoryConfig { numbering, ..HistoryConfig::default() },
            Some((events, bytes)) => HistoryConfig {
                events_per_topic: events,
                // So many bytes of events that aren't padded.
                max_bytes: bytes * (1 + padding_bytes / 100),
                max_replay_bytes: 400,
                numbering,
                ..HistoryConfig::default()
            },
        };
        let mut world = World {
            history: History::new(config),
            models: Default::default(),
            clock: 1_000,
            roomy: small.is_none(),
            numbering,
            padding_bytes,
        };
        for op in &ops {
            world.apply(op);
        }
    }
}
