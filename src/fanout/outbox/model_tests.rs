//! What the outbox promises, under random pushes, partial writes, skips and unsubscribes.

use std::cell::RefCell;
use std::collections::HashMap;

use proptest::prelude::*;
use slotmap::SlotMap;

use super::super::batch::{BacklogBytes, EndedNames};
use super::*;
use crate::bus::{Entry, Frames};
use crate::limits::DEFLATED_LISTS_MAX;
use crate::market::{Kind, Subject, SymbolCase};
use crate::websocket::deflate::{Compression, Compressor, inflate, is_compressed};
use crate::websocket::header;

/// A frame of these tests: kind, topic, number (u32), how many bytes of filler follow.
const HEADER: usize = 7;

fn frame(kind: u8, topic: u8, number: u32, filler: u8) -> Vec<u8> {
    let mut frame = vec![kind, topic];
    frame.extend_from_slice(&number.to_be_bytes());
    frame.push(filler);
    frame.resize(HEADER + filler as usize, b'.');
    frame
}

fn subject(topic: u8) -> Subject {
    Subject::parse(Kind::TRADE, &[b'A' + topic], SymbolCase::Upper).unwrap()
}

/// Most of a message of events, where they are sent so.
const EVENTS_MAX: u32 = 5;
const MESSAGE_BYTES_MAX: u32 = 200;

/// Least payload that is compressed, where they may be.
const THRESHOLD_BYTES: usize = 60;

fn compressor() -> Compressor {
    Compressor::new(Some(Compression { threshold_bytes: THRESHOLD_BYTES, level: 1 }))
}

/// What a client would read: (kind, topic, number), whole frames only.
fn parse(mut bytes: &[u8]) -> Vec<(u8, u8, u32)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        if matches!(bytes[0], 0x81 | 0x82 | 0xc1 | 0xc2) {
            let header = if bytes[1] == 126 { 4 } else { 2 };
            let len: usize =
                if header == 4 { u16::from_be_bytes([bytes[2], bytes[3]]).into() } else { bytes[1].into() };
            let (message, rest) = bytes.split_at(header + len);
            let is_binary = bytes[0] & 0x0f == 2;
            bytes = rest;
            let mut payload = message[header..].to_vec();
            if is_compressed(message) {
                payload.clear();
                inflate(&message[header..], 1_000, &mut payload).unwrap();
                assert!(payload.len() >= THRESHOLD_BYTES && len < payload.len());
            }
            let events = match payload[0] {
                b'[' => parse_list(payload.strip_prefix(b"[").unwrap().strip_suffix(b"]").unwrap()),
                b'{' => {
                    let list = payload.strip_prefix(br#"{"data":["#).unwrap();
                    parse_list(list.strip_suffix(br#"],"type":"trade"}"#).unwrap())
                }
                _ => parse_msgpack(&payload),
            };
            assert_eq!(is_binary, !matches!(payload[0], b'[' | b'{'));
            assert!(events.iter().all(|(kind, ..)| *kind == b'E') && !events.is_empty());
            assert!(events.len() <= EVENTS_MAX as usize);
            assert!(payload.len() <= MESSAGE_BYTES_MAX as usize);
            frames.extend(events);
            continue;
        }
        let (frame, rest) = parse_frame(bytes);
        frames.push(frame);
        bytes = rest;
    }
    frames
}

fn parse_frame(bytes: &[u8]) -> ((u8, u8, u32), &[u8]) {
    let number = u32::from_be_bytes(bytes[2..6].try_into().unwrap());
    ((bytes[0], bytes[1], number), &bytes[HEADER + bytes[6] as usize..])
}

/// Events with commas between them.
fn parse_list(list: &[u8]) -> Vec<(u8, u8, u32)> {
    let (first, mut rest) = parse_frame(list);
    let mut events = vec![first];
    while !rest.is_empty() {
        let (event, behind) = parse_frame(rest.strip_prefix(b",").unwrap());
        events.push(event);
        rest = behind;
    }
    events
}

/// As many events as their number before them says.
fn parse_msgpack(payload: &[u8]) -> Vec<(u8, u8, u32)> {
    let mut rest = payload;
    let count = rmp::decode::read_array_len(&mut rest).unwrap();
    let mut events = Vec::new();
    while !rest.is_empty() {
        let (event, behind) = parse_frame(rest);
        events.push(event);
        rest = behind;
    }
    assert_eq!(events.len(), count as usize);
    events
}

/// How events become messages, and whether these may be compressed.
fn any_wrapping() -> impl Strategy<Value = (Option<Wrapping>, bool)> {
    (prop::option::of(prop::sample::select(&Wrapping::ALL[..])), any::<bool>())
}

#[derive(Debug, Clone)]
enum Op {
    /// Topics of the events of one batch, each with its filler; the client is subscribed to topics 0..3 of 0..4.
    Events(Vec<(u8, u8)>),
    Reply(u8),
    Ping,
    Lost(u8, u8),
    SkipTo(u16),
    Leave(u8),
    /// A topic's id ends; its next events come under another.
    Close(u8),
    Write(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => prop::collection::vec((0u8..4, 0u8..40), 1..12).prop_map(Op::Events),
        1 => (0u8..30).prop_map(Op::Reply),
        1 => Just(Op::Ping),
        1 => (0u8..3, 1u8..5).prop_map(|(topic, n)| Op::Lost(topic, n)),
        1 => (0u16..300).prop_map(Op::SkipTo),
        1 => (0u8..3).prop_map(Op::Leave),
        1 => (0u8..3).prop_map(Op::Close),
        5 => (0u16..200).prop_map(Op::Write),
    ]
}

struct Client {
    /// How its events become messages.
    wrapping: Option<Wrapping>,
    slots: SlotMap<TopicId, u8>,
    /// The topics' present ids.
    ids: Vec<TopicId>,
    names: EndedNames,
    outbox: Outbox,
    backlog: BacklogBytes,
    wire: Vec<u8>,
    published: HashMap<u8, u32>,
    replies: u32,
    pings: u32,
    progress: u64,
}

impl Client {
    /// `deflate`: messages may be compressed.
    fn new(wrapping: Option<Wrapping>, deflate: bool) -> Self {
        let mut slots: SlotMap<TopicId, u8> = SlotMap::with_key();
        Self {
            wrapping,
            ids: (0..4).map(|topic| slots.insert(topic)).collect(),
            slots,
            names: EndedNames::default(),
            outbox: Outbox::new(wrapping, deflate),
            backlog: BacklogBytes::with_compressor(compressor()),
            wire: Vec::new(),
            published: HashMap::new(),
            replies: 0,
            pings: 0,
            progress: 0,
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Events(events) => self.events(events),
            Op::Reply(filler) => {
                self.replies += 1;
                let reply = frame(b'R', 0, self.replies, *filler);
                self.outbox.push_own(Batch::own(reply, &self.backlog));
            }
            Op::Ping => {
                self.pings += 1;
                self.outbox.push_control(&frame(b'P', 0, self.pings, 0));
            }
            Op::Lost(topic, count) => {
                *self.published.entry(*topic).or_default() += u32::from(*count);
                self.outbox.note_skipped(self.ids[*topic as usize], u64::from(*count));
            }
            Op::SkipTo(target_bytes) => {
                self.outbox.skip_oldest(u32::from(*target_bytes));
                let largest = if self.wrapping.is_some() { MESSAGE_BYTES_MAX } else { HEADER as u32 + 40 };
                assert!(self.outbox.event_bytes() <= u32::from(*target_bytes) + largest);
            }
            Op::Leave(topic) => {
                self.replies += 1;
                let reply = frame(b'U', *topic, self.replies, 3);
                let ends = [(self.ids[*topic as usize], subject(*topic))];
                self.outbox.push_mark(&Batch::mark(&ends, &self.names, &self.backlog));
                self.outbox.push_own(Batch::own(reply, &self.backlog));
            }
            Op::Close(topic) => {
                let closed = std::mem::replace(&mut self.ids[*topic as usize], self.slots.insert(*topic));
                self.slots.remove(closed);
                let mark = Batch::mark(&[(closed, subject(*topic))], &self.names, &self.backlog);
                self.outbox.push_mark(&mark);
            }
            Op::Write(room) => self.write(*room as usize),
        }
    }

    /// Queues events as the shard does: those of topics 0..3, one run each. Nobody is subscribed to topic 3.
    fn events(&mut self, events: &[(u8, u8)]) {
        let mut frames = Frames::default();
        let mut bytes = Vec::new();
        for &(topic, filler) in events {
            let number = self.published.entry(topic).or_default();
            bytes.extend_from_slice(self.wrapping.map_or(b"", Wrapping::separator));
            bytes.extend_from_slice(&frame(b'E', topic, *number, filler));
            *number += 1;
            frames.table.push(Entry { end: bytes.len() as u32, topic: self.ids[topic as usize] });
        }
        frames.bytes = bytes.into();
        let batch = Batch::shared(frames, &self.backlog);
        for (index, &(topic, _)) in events.iter().enumerate() {
            if topic < 3 {
                let (from, to) = (index as u32, index as u32 + 1);
                self.outbox.push_events(&batch, from, to, batch.start(to) - batch.start(from));
            }
        }
    }

    /// Writes to a socket that takes `room` bytes.
    fn write(&mut self, mut room: usize) {
        let backlog = self.backlog.clone();
        let Self { slots, names, .. } = self;
        let announce = |id: TopicId, count: u64| {
            let closed = || (0..4).find(|topic| names.get(id) == Some(subject(*topic)));
            let topic =
                slots.get(id).copied().or_else(closed).expect("a mark of its end is queued behind it");
            Batch::own(frame(b'S', topic, count as u32, 0), &backlog)
        };
        let mut scratch = Scratch::with_capacity(128).with_backlog(&self.backlog);
        scratch = scratch.with_messages_limited(EVENTS_MAX, MESSAGE_BYTES_MAX);
        loop {
            let chunk = self.outbox.chunk(&mut scratch, &announce);
            if chunk.is_empty() {
                break;
            }
            let taken = chunk.len().min(room);
            self.wire.extend_from_slice(&chunk[..taken]);
            room -= taken;
            self.progress += self.outbox.advance(&scratch, taken).frames;
            if room == 0 {
                break;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn delivered_and_announced_is_published(
        (wrapping, deflate) in any_wrapping(),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let mut client = Client::new(wrapping, deflate);
        for op in &ops {
            client.apply(op);
        }
        client.write(usize::MAX);
        prop_assert!(client.outbox.is_empty());
        prop_assert_eq!((client.outbox.event_bytes(), client.outbox.own_bytes()), (0, 0));
        prop_assert_eq!(client.backlog.bytes(), 0, "an empty outbox keeps no batch alive");
        prop_assert!(client.names.is_empty(), "nor the name of a topic that has ended");
        prop_assert!(client.outbox.tail.is_none(), "nor memory of its own");
        prop_assert_eq!(client.outbox.out_of_band.is_some(), wrapping.is_some());

        let frames = parse(&client.wire);
        let pings = frames.iter().filter(|frame| frame.0 == b'P').count();
        prop_assert_eq!(client.progress as usize, frames.len() - pings);
        let mut total: HashMap<u8, u32> = HashMap::new();
        let mut last_event: HashMap<u8, u32> = HashMap::new();
        let (mut last_reply, mut last_ping) = (0, 0);
        for (kind, topic, number) in frames {
            match kind {
                b'E' => {
                    let previous = last_event.insert(topic, number);
                    prop_assert!(previous.is_none_or(|previous| previous < number), "out of order");
                    *total.entry(topic).or_default() += 1;
                }
                b'S' => *total.entry(topic).or_default() += number,
                b'P' => { last_ping += 1; prop_assert_eq!(number, last_ping); }
                _ => { last_reply += 1; prop_assert_eq!(number, last_reply); }
            }
        }
        for (topic, published) in client.published.iter().filter(|(topic, _)| **topic < 3) {
            prop_assert_eq!(total.get(topic).copied().unwrap_or(0), *published, "topic {}", topic);
        }
        prop_assert_eq!((last_reply, last_ping), (client.replies, client.pings));
    }

    /// With nothing written before the skips, every announcement stands directly before its topic's next event.
    #[test]
    fn an_announcement_stands_before_the_next_event(
        (wrapping, deflate) in any_wrapping(),
        batches in prop::collection::vec(prop::collection::vec((0u8..3, 0u8..40), 1..12), 1..20),
        target_bytes in 0u32..400,
    ) {
        let mut client = Client::new(wrapping, deflate);
        batches.iter().for_each(|batch| client.events(batch));
        client.outbox.skip_oldest(target_bytes);
        client.write(usize::MAX);
        let frames = parse(&client.wire);
        let announced: RefCell<HashMap<u8, usize>> = RefCell::default();
        for (at, (kind, topic, number)) in frames.iter().enumerate() {
            if *kind == b'S' {
                prop_assert!(announced.borrow_mut().insert(*topic, at).is_none(), "one for each topic");
                if let Some(next) = frames[at + 1..].iter().find(|next| next.1 == *topic) {
                    prop_assert_eq!(frames[at + 1], *next);
                    prop_assert_eq!(next.2, *number, "the next event follows the skipped ones");
                }
            }
        }
    }
}

/// What was announced is directly before the topic's next event also if the socket was full just then.
#[test]
fn nothing_is_skipped_between_an_announcement_and_its_event() {
    for wrapping in [None].into_iter().chain(Wrapping::ALL.map(Some)) {
        let mut client = Client::new(wrapping, false);
        client.events(&[(0, 10), (1, 10)]);
        client.outbox.skip_oldest(0);
        client.events(&[(1, 10), (0, 10), (1, 10)]);
        client.write(HEADER);
        client.outbox.skip_oldest(0);
        client.write(usize::MAX);
        let expected = [(b'S', 1, 1), (b'E', 1, 1), (b'S', 0, 2), (b'S', 1, 1)];
        let read = parse(&client.wire);
        assert_eq!(read[..2], expected[..2]);
        assert!(read.len() == 4 && expected[2..].iter().all(|told| read.contains(told)), "{read:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Skipped events of a topic are announced before its next event, also if that comes under another id.
    #[test]
    fn an_announcement_stands_before_the_next_event_under_another_id(
        (wrapping, deflate) in any_wrapping(),
        steps in prop::collection::vec((prop::collection::vec((0u8..3, 0u8..40), 1..12), 0u8..6, 0u16..900), 1..20),
    ) {
        let mut client = Client::new(wrapping, deflate);
        for (batch, closed, bytes) in steps {
            client.events(&batch);
            if closed < 3 {
                client.apply(&Op::Close(closed));
            }
            // Skips now and then, writes otherwise.
            client.apply(&if bytes < 300 { Op::SkipTo(bytes) } else { Op::Write(bytes - 300) });
        }
        client.write(usize::MAX);
        let mut accounted: HashMap<u8, u32> = HashMap::new();
        for (kind, topic, number) in parse(&client.wire) {
            let accounted = accounted.entry(topic).or_default();
            if kind == b'E' {
                prop_assert_eq!(*accounted, number, "of topic {}", topic);
            }
            *accounted += if kind == b'S' { number } else { 1 };
        }
    }
}

#[test]
fn clearing_spares_the_partly_written_frame_only() {
    let mut client = Client::new(None, false);
    client.events(&[(0, 10), (1, 10), (0, 10)]);
    client.write(5);
    client.outbox.push_control(&frame(b'P', 0, 1, 0));
    client.outbox.clear();
    client.outbox.push_own(Batch::own(frame(b'R', 0, 1, 0), &client.backlog));
    client.write(usize::MAX);
    assert_eq!(parse(&client.wire), [(b'E', 0, 0), (b'R', 0, 1)]);
    assert_eq!((client.outbox.event_bytes(), client.outbox.own_bytes()), (0, 0));
}

#[test]
fn clearing_spares_the_message_that_is_begun_only() {
    let around = |wrapping: Wrapping| {
        let separators = 2 * wrapping.separator_bytes() as usize;
        2 + wrapping.opening_bytes(3) + separators + wrapping.closing().len()
    };
    let three = [(0, 20), (1, 20), (0, 20)];
    let each = |wrapping| {
        let mut client = Client::new(Some(wrapping), true);
        client.events(&three);
        client.write(usize::MAX);
        assert!(is_compressed(&client.wire));
        let plain_bytes = around(wrapping) + 3 * (HEADER + 20);
        let cases = [(false, plain_bytes), (true, client.wire.len())].into_iter();
        cases.flat_map(move |(deflate, bytes)| (1..bytes).map(move |written| (wrapping, deflate, written)))
    };
    for (wrapping, deflate, written) in Wrapping::ALL.into_iter().flat_map(each) {
        let mut client = Client::new(Some(wrapping), deflate);
        client.events(&three);
        client.write(written);
        client.events(&three);
        client.outbox.push_control(&frame(b'P', 0, 1, 0));
        client.outbox.clear();
        client.outbox.push_own(Batch::own(frame(b'R', 0, 1, 0), &client.backlog));
        client.write(usize::MAX);
        let begun = [(b'E', 0, 0), (b'E', 1, 0), (b'E', 0, 1)];
        assert_eq!(parse(&client.wire), [&begun[..], &[(b'R', 0, 1)]].concat(), "{wrapping:?} {written}");
        assert_eq!((client.outbox.event_bytes(), client.outbox.own_bytes()), (0, 0));
        assert!(client.outbox.is_empty() && client.outbox.begun_bytes() == 0);
    }
}

/// Everything that waits when a message is begun is in it, and what comes later isn't.
#[test]
fn a_message_has_what_waits_when_it_is_begun() {
    let mut client = Client::new(Some(Wrapping::Array), false);
    client.apply(&Op::Reply(3));
    client.events(&[(0, 1), (1, 1)]);
    client.events(&[(3, 1), (2, 1)]);
    client.write(HEADER + 3 + 1);
    client.events(&[(0, 1)]);
    client.apply(&Op::Ping);
    client.write(usize::MAX);
    let events = [(b'E', 0, 0), (b'E', 1, 0), (b'E', 2, 0)];
    let behind = [(b'P', 0, 1), (b'E', 0, 1)];
    assert_eq!(parse(&client.wire), [&[(b'R', 0, 1)][..], &events, &behind].concat());
    let openings = client.wire.windows(2).filter(|pair| pair[0] == 0x81).count();
    assert_eq!(openings, 2);
}

/// Clients for whom the same events wait get the same bytes, compressed once. There is a bound for how many messages are compressed in a
/// turn, and what was compressed is forgotten with it.
#[test]
fn what_waits_for_several_is_compressed_once() {
    let backlog = BacklogBytes::with_compressor(compressor());
    let compressed = || backlog.compressor().counts().compressed;
    let mut ids: SlotMap<TopicId, ()> = SlotMap::with_key();
    let topics = [(); 3].map(|()| ids.insert(()));
    let batch = |number| {
        let (mut bytes, mut table) = (Vec::new(), Vec::new());
        for index in 0..90 {
            bytes.extend_from_slice(b",");
            bytes.extend_from_slice(&frame(b'E', index % 3, number + u32::from(index), 40));
            table.push(Entry { end: bytes.len() as u32, topic: topics[usize::from(index % 3)] });
        }
        Batch::shared(Frames { bytes: bytes.into(), table, ..Frames::default() }, &backlog)
    };
    let batches = [batch(0), batch(1_000)];
    let mut scratch = Scratch::with_capacity(10_000).with_backlog(&backlog);
    let write = |scratch: &mut Scratch, runs: &[(usize, u32, u32)]| {
        let mut outbox = Outbox::new(Some(Wrapping::Array), true);
        for (batch, from, to) in runs {
            let batch = &batches[*batch];
            outbox.push_events(batch, *from, *to, batch.start(*to) - batch.start(*from));
        }
        let chunk = outbox.chunk(scratch, &|_, _| panic!("no skips")).to_vec();
        let frames = outbox.advance(scratch, chunk.len()).frames;
        assert!(outbox.is_empty());
        (chunk, frames)
    };
    // However they were queued: in one piece or in several.
    let (first, frames) = write(&mut scratch, &[(0, 0, 5), (1, 0, 5)]);
    assert_eq!((frames, is_compressed(&first), compressed()), (10, true, 1));
    for runs in [&[(0, 0, 5), (1, 0, 5)][..], &[(0, 0, 2), (0, 2, 5), (1, 0, 1), (1, 1, 5)]] {
        assert_eq!(write(&mut scratch, runs), (first.clone(), 10));
    }
    assert_eq!(compressed(), 1);
    for other in [&[(1, 0, 5), (0, 0, 5)][..], &[(0, 0, 5), (1, 0, 6)], &[(0, 0, 5), (0, 6, 11)]] {
        assert_ne!(write(&mut scratch, other).0, first);
    }
    assert_eq!(compressed(), 4);
    // Another turn, to which not everything was written: it is still known.
    scratch.end_turn(false);
    assert_eq!((write(&mut scratch, &[(0, 0, 5), (1, 0, 5)]).0, compressed()), (first.clone(), 4));
    let lists = DEFLATED_LISTS_MAX as u64;
    for from in 10..70 {
        assert!(is_compressed(&write(&mut scratch, &[(0, from, from + 2)]).0));
    }
    assert_eq!(compressed(), lists);
    assert!(!is_compressed(&write(&mut scratch, &[(0, 0, 3)]).0), "too many in one turn");
    assert!(is_compressed(&write(&mut scratch, &[(0, 0, 5), (1, 0, 5)]).0), "known");
    assert!(!is_compressed(&write(&mut scratch, &[(0, 0, 1)]).0), "too short");
    scratch.end_turn(false);
    assert!(is_compressed(&write(&mut scratch, &[(0, 0, 3)]).0), "as many again");
    let bytes = batches.iter().map(|batch| batch.start(90) as usize).sum::<usize>();
    assert!(backlog.bytes() > bytes, "what is known counts");
    scratch.end_turn(true);
    assert_eq!(backlog.bytes(), bytes);
    write(&mut scratch, &[(0, 0, 5), (1, 0, 5)]);
    assert_eq!(compressed(), lists + 2);
    assert_eq!(backlog.compressor().counts().uncompressed, 2);
    drop((scratch, batches));
    assert_eq!(backlog.bytes(), 0);
}

/// An event that is larger than a message may be goes alone, in pieces as the scratch buffer holds them.
#[test]
fn a_large_event_goes_alone() {
    let backlog = BacklogBytes::default();
    let topic: TopicId = SlotMap::with_key().insert(());
    for size in [10, 99, 100, 101, 500, 70_000] {
        let mut outbox = Outbox::new(Some(Wrapping::Array), false);
        let mut bytes = Vec::new();
        let mut table = Vec::new();
        for len in [5, size, 5] {
            bytes.push(b',');
            bytes.resize(bytes.len() + len, b'x');
            table.push(Entry { end: bytes.len() as u32, topic });
        }
        let batch = Batch::shared(Frames { bytes: bytes.into(), table, ..Frames::default() }, &backlog);
        outbox.push_events(&batch, 0, 3, batch.start(3));
        let mut scratch = Scratch::with_capacity(64).with_messages_limited(10, 102);
        let (mut wire, mut frames) = (Vec::new(), 0);
        while !outbox.is_empty() {
            let chunk = outbox.chunk(&mut scratch, &|_, _| panic!("no skips"));
            assert!(!chunk.is_empty() && chunk.len() <= 64);
            wire.extend_from_slice(chunk);
            let written = chunk.len();
            frames += outbox.advance(&scratch, written).frames;
        }
        let mut sizes = Vec::new();
        while !wire.is_empty() {
            let payload = header::payload(&wire);
            let header_bytes = wire.len() - payload.len();
            let len = match header_bytes {
                2 => usize::from(wire[1]),
                4 => u16::from_be_bytes([wire[2], wire[3]]).into(),
                _ => u64::from_be_bytes(wire[2..10].try_into().unwrap()) as usize,
            };
            assert_eq!((payload[0], payload[len - 1]), (b'[', b']'));
            sizes.push(len - 2);
            wire = payload[len..].to_vec();
        }
        let expected = if size == 10 { vec![5 + 1 + 10 + 1 + 5] } else { vec![5, size, 5] };
        assert_eq!((sizes, frames), (expected, 3));
        assert!(outbox.begun_bytes() == 0 && outbox.event_bytes() == 0);
    }
}
