//! Events of workers: a byte that chooses the type, a channel's last part, a line feed, the payload. Nothing may panic; the verdict is that of a naive
//! check on `serde_json::Value`; and what is routed is a text frame of JSON with the payload in it byte for byte.
//!
//! Two differences from the naive check are meant: numbers that no `f64` can hold are carried unseen, and serde_json reads
//! one level of nesting less than the 128 that are allowed. There only the frame is checked.
#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use ws_gateway::bus::{Frames, HistoryRequest};
use ws_gateway::ingest::history::HistoryConfig;
use ws_gateway::ingest::router::{Routed, Router};
use ws_gateway::market::event::{Checker, Event, Reason, Reject, SEQ_END};
use ws_gateway::market::{Form, INTERVAL_BYTES_MAX, Kind, Kinds, Subject, SymbolCase};
use ws_gateway::protocol::form;
use ws_gateway::websocket::header;
use ws_gateway_fuzz::text_of_frame;

const MAX_EVENT_BYTES: usize = 4_096;
const SHARDS: usize = 3;
const DEPTH_MAX: usize = 128;
const NOW_MS: u64 = 1_234_567_890;

/// The types of the events: those of markets and one of the workers' own.
fn kinds() -> Kinds {
    "trade,quote,candle,news,halt,mine".parse().unwrap_or_default()
}

fn new_router() -> Router {
    let checker = Checker::with_max_bytes(MAX_EVENT_BYTES);
    Router::with_history(SHARDS, true, &HistoryConfig { kinds: kinds(), checker, ..HistoryConfig::default() })
}

fuzz_target!(|event: &[u8]| {
    let Some(end) = event.iter().position(|byte| *byte == b'\n') else { return };
    let ([choice, name @ ..], payload) = (&event[..end], &event[end + 1..]) else { return };
    let kinds = kinds();
    let kind = kinds.iter().nth(usize::from(*choice) % kinds.len()).unwrap_or(Kind::TRADE);
    let checker = Checker { max_event_bytes: MAX_EVENT_BYTES, symbol_case: SymbolCase::Upper };
    let checked = checker.check(kind, payload, name);
    // serde_json does not say how long a number was written, so it can't tell whether it is too long for an interval.
    let may_be_long = matches!(checked, Err(Reject::Wrong { field: "interval", .. }));
    if let Some(expected) = naive(kind, payload, name).filter(|expected| expected.is_err() || !may_be_long) {
        let found = checked.map(|event| (event.object, event.seq)).map_err(coarse);
        assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(payload));
    }
    route(kind, name, payload, checked);
});

/// What is remembered of an event that nobody wanted: all that a check would find, whatever it looked like before.
fn recall(router: &mut Router, subject: &Subject, checked: Result<Event<'_>, Reject>) {
    let seq = checked.ok().and_then(|event| event.seq);
    let seen = seq.and_then(|seq| seq.checked_sub(1));
    let asked = HistoryRequest {
        snapshot: true,
        resume: seen.map(|seen| (subject.clone(), seen)).into_iter().collect(),
    };
    router.want(0, subject);
    let past = router.recall(std::slice::from_ref(subject), &asked, usize::MAX, 1);
    // A `seq` with escapes in its name isn't seen in time for the log.
    let replayed = seen.is_some() && past.recovered == [true];
    assert!(past.floors.is_empty());
    let frames = (past.snapshots.first().map(|(_, frame)| frame.clone()), past.replay.bytes);
    let Ok(event) = checked else { return assert!(frames.0.is_none() && frames.1.is_empty()) };
    let marked = |marker: &str| {
        let Event { object, .. } = event;
        format!(
            r#"{{"type":"{}","data":{object},"timestamp":{NOW_MS},"{marker}":true}}"#,
            kinds().name(subject.kind)
        )
    };
    match frames {
        (None, replay) if replayed => assert_eq!(text_of_frame(&replay), marked("replay")),
        (Some(snapshot), replay) if !replayed && replay.is_empty() => {
            assert_eq!(text_of_frame(&snapshot), marked("snapshot"));
        }
        frames => panic!("{frames:?}"),
    }
}

/// What becomes of an event that the first and the last shard want.
fn route(kind: Kind, name: &[u8], payload: &[u8], checked: Result<Event<'_>, Reject>) {
    let mut router = new_router();
    let subject = Subject::parse(kind, name, SymbolCase::Upper);
    let Some(subject) = subject.filter(|subject| !subject.name.is_wildcard()) else {
        assert_eq!(router.route(kind, name, payload, NOW_MS), Routed::Rejected(Reject::BadSymbol));
        return;
    };
    // Which topic a candle is of shows only when it is looked into.
    let is_bad = kind.has_intervals().then_some(checked.err()).flatten();
    assert_eq!(router.route(kind, name, payload, NOW_MS), is_bad.map_or(Routed::Unwanted, Routed::Rejected));
    recall(&mut router, &subject, checked);
    let mut router = new_router();
    let topic = router.want(0, &subject);
    assert_eq!(router.want(SHARDS - 1, &subject), topic);
    let others = [Form::JSON_BATCH, Form::SSE];
    others.iter().for_each(|form| _ = router.want(0, &subject.clone().in_form(*form)));
    let routed = router.route(kind, name, payload, NOW_MS);
    let framed = |event: Event<'_>| if event.has_odd_seq { Routed::FramedWithOddSeq } else { Routed::Framed };
    assert_eq!(routed, checked.map_or_else(Routed::Rejected, framed));
    let mut frames = |shard| -> Vec<Frames> {
        router.take(shard, 0).batches.into_iter().map(|batch| batch.frames).collect()
    };
    assert!(frames(1).is_empty());
    let (first, last) = (frames(0), frames(SHARDS - 1));
    let Ok(event) = checked else {
        assert!(first.is_empty() && last.is_empty(), "a bad event leaves a trace");
        return;
    };
    let ([first, others @ ..], [last]) = (&first[..], &last[..]) else { panic!("framed for nobody") };
    assert_eq!(others.len(), 2);
    for other in others {
        assert_eq!(other.table.len(), 1);
        let object = form::object_of(other.form, &other.bytes);
        let one_line: Vec<u8> = header::payload(&first.bytes).iter().map(|byte| into_blank(*byte)).collect();
        let expected = if other.form == Form::SSE { &one_line[..] } else { header::payload(&first.bytes) };
        assert_eq!(object, expected);
    }
    assert_eq!(first.bytes, last.bytes);
    assert_eq!((first.table.len(), first.table[0].end as usize), (1, first.bytes.len()));
    assert_eq!(first.table[0].topic == topic, !kind.has_intervals(), "a candle's topic has an interval");
    assert!(event.object.contains(event.timestamp));
    check_frame(kind, &first.bytes, event.object, payload);
}

/// A server-sent event has its object in one line.
fn into_blank(byte: u8) -> u8 {
    if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }
}

#[derive(Deserialize)]
struct Envelope<'f> {
    r#type: &'f str,
    #[serde(borrow)]
    data: &'f RawValue,
    timestamp: u64,
}

fn check_frame(kind: Kind, frame: &[u8], object: &str, payload: &[u8]) {
    let text = text_of_frame(frame);
    let envelope: Envelope<'_> =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    assert_eq!((envelope.r#type, envelope.timestamp), (kinds().name(kind), NOW_MS));
    assert_eq!(envelope.data.get(), object);
    assert_eq!(payload.trim_ascii(), object.as_bytes());
    assert!(object.starts_with('{'));
}

/// Which fault is named first is not compared, neither among fields nor among what readers of JSON don't agree on.
fn coarse(reject: Reject) -> Reason {
    match reject.reason() {
        Reason::WrongSymbol => Reason::BadField,
        Reason::LoneSurrogate => Reason::TooDeep,
        reason => reason,
    }
}

/// How deep a JSON text is nested.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut is_string, mut is_escape) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match (byte, is_string) {
            _ if is_escape => is_escape = false,
            (b'\\', true) => is_escape = true,
            (b'"', _) => is_string = !is_string,
            (b'[' | b'{', false) => depth += 1,
            (b']' | b'}', false) => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The naive check; `None` where serde_json has a limit that JSON has not.
fn naive<'p>(kind: Kind, payload: &'p [u8], symbol: &[u8]) -> Option<Result<(&'p str, Option<u64>), Reason>> {
    if payload.len() > MAX_EVENT_BYTES {
        return Some(Err(Reason::TooLarge));
    }
    let Ok(text) = std::str::from_utf8(payload) else { return Some(Err(Reason::NotJson)) };
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    match serde_json::from_str::<Value>(text) {
        Err(_) if !is_json => return Some(Err(Reason::NotJson)),
        Err(_) if !text.trim_ascii_start().starts_with('{') => return Some(Err(Reason::NotObject)),
        Err(_) if depth(text) > DEPTH_MAX => return Some(Err(Reason::TooDeep)),
        Err(error) if error.to_string().starts_with("number out of range") => return None,
        Err(_) if depth(text) == DEPTH_MAX => return None,
        // Half a surrogate pair.
        Err(_) => return Some(Err(Reason::TooDeep)),
        Ok(value) if !value.is_object() => return Some(Err(Reason::NotObject)),
        Ok(_) => {}
    }
    let Ok(Fields(fields)) = serde_json::from_str(text) else { panic!("an object, and then not") };
    let times = |name: &str| fields.iter().filter(|(key, _)| key == name).count();
    let once = |name: &str, is_good: &dyn Fn(&Value) -> bool| {
        times(name) == 1 && fields.iter().any(|(key, value)| key == name && is_good(value))
    };
    let is_symbol = |value: &Value| {
        let of_channel = |text: &str| match kind.is_market() {
            true => text.as_bytes().eq_ignore_ascii_case(symbol),
            false => text.as_bytes() == symbol,
        };
        value.as_str().is_some_and(of_channel)
    };
    let is_label = |value: &Value| {
        value.is_number() || value.as_str().is_some_and(|text| text.len() <= INTERVAL_BYTES_MAX)
    };
    let (numbers, texts, labels): (&[_], &[_], &[_]) = match kind {
        Kind::TRADE => (&["price", "volume"], &[], &[]),
        Kind::QUOTE => (&["bidPrice", "askPrice"], &[], &[]),
        Kind::CANDLE => (&["open", "high", "low", "close", "volume"], &[], &["interval"]),
        Kind::NEWS => (&[], &["headline"], &[]),
        Kind::HALT => (&[], &["status"], &[]),
        _ => (&[], &[], &[]),
    };
    let seq = fields.iter().find(|(key, _)| key == "seq").and_then(|(_, value)| value.as_u64());
    let seq = seq.filter(|seq| *seq < SEQ_END);
    let needs_symbol = kind.is_market() && kind != Kind::NEWS || times("symbol") > 0;
    let needs_timestamp = kind.is_market() || times("timestamp") > 0;
    let is_good = (!needs_symbol || once("symbol", &is_symbol))
        && times("seq") <= 1
        && (!needs_timestamp || once("timestamp", &Value::is_number))
        && numbers.iter().all(|name| once(name, &Value::is_number))
        && texts.iter().all(|name| once(name, &Value::is_string))
        && labels.iter().all(|name| once(name, &is_label));
    let object = text.trim_matches([' ', '\t', '\n', '\r']);
    Some(if is_good { Ok((object, seq)) } else { Err(Reason::BadField) })
}

/// An object's fields, also those that occur twice.
struct Fields(Vec<(String, Value)>);

impl<'f> Deserialize<'f> for Fields {
    fn deserialize<D: Deserializer<'f>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'f> Visitor<'f> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'f>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}
