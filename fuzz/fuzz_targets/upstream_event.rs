//! Events of workers: a channel's last part, a line feed, the payload. Nothing may panic; the verdict is that of a naive
//! check on `serde_json::Value`; and what is routed is a text frame of JSON with the payload in it byte for byte.
//!
//! Three differences from the naive check are meant, as all three are JSON by its grammar and are carried unseen:
//! numbers that no `f64` can hold, nesting deeper than serde_json's 128 levels, and escaped halves of surrogate pairs.
//! There only the frame is checked. A field that occurs twice is no difference: the naive check sees both.
#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use ws_gateway::ingest::router::{Routed, Router};
use ws_gateway::market::{self, Reject, Symbol};
use ws_gateway_fuzz::text_of_frame;

const MAX_EVENT_BYTES: usize = 4_096;
const SHARDS: usize = 3;
const NOW_MS: u64 = 1_234_567_890;

fuzz_target!(|event: &[u8]| {
    let Some(end) = event.iter().position(|byte| *byte == b'\n') else { return };
    let (name, payload) = (&event[..end], &event[end + 1..]);
    let checked = market::check_trade(payload, name, MAX_EVENT_BYTES);
    if let Some(expected) = naive(payload, name) {
        assert_eq!(checked.map_err(coarse), expected, "{:?}", String::from_utf8_lossy(payload));
    }
    route(name, payload, checked);
});

/// What becomes of an event that the first and the last shard want.
fn route(name: &[u8], payload: &[u8], checked: Result<&str, Reject>) {
    let mut router = Router::new(SHARDS, MAX_EVENT_BYTES);
    let Some(symbol) = Symbol::parse(name) else {
        assert_eq!(router.route(name, payload, NOW_MS), Routed::Rejected(Reject::BadSymbol));
        return;
    };
    assert_eq!(router.route(name, payload, NOW_MS), Routed::Unwanted);
    let topic = router.want(0, &symbol);
    assert_eq!(router.want(SHARDS - 1, &symbol), topic);
    let routed = router.route(name, payload, NOW_MS);
    assert_eq!(routed, checked.map_or_else(Routed::Rejected, |_| Routed::Framed));
    assert!(router.take(1, 0).is_none());
    let batches = (router.take(0, 0), router.take(SHARDS - 1, 0));
    let Ok(object) = checked else {
        assert!(batches.0.is_none() && batches.1.is_none(), "a bad event leaves a trace");
        return;
    };
    let (Some(first), Some(last)) = batches else { panic!("framed for nobody") };
    assert_eq!(first.bytes, last.bytes);
    assert_eq!((first.table.len(), first.table[0].end as usize), (1, first.bytes.len()));
    assert_eq!(first.table[0].topic, topic);
    check_frame(&first.bytes, object, payload);
}

#[derive(Deserialize)]
struct Envelope<'f> {
    r#type: &'f str,
    #[serde(borrow)]
    data: &'f RawValue,
    timestamp: u64,
}

fn check_frame(frame: &[u8], object: &str, payload: &[u8]) {
    let text = text_of_frame(frame);
    let envelope: Envelope<'_> =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    assert_eq!((envelope.r#type, envelope.timestamp), ("trade", NOW_MS));
    assert_eq!(envelope.data.get(), object);
    assert_eq!(payload.trim_ascii(), object.as_bytes());
    assert!(object.starts_with('{'));
}

/// Which missing or bad field is named first is not compared.
fn coarse(reject: Reject) -> Reject {
    if reject == Reject::WrongSymbol { Reject::BadField } else { reject }
}

/// The naive check; `None` where serde_json has a limit that JSON has not.
fn naive<'p>(payload: &'p [u8], symbol: &[u8]) -> Option<Result<&'p str, Reject>> {
    if payload.len() > MAX_EVENT_BYTES {
        return Some(Err(Reject::TooLarge));
    }
    let Ok(text) = std::str::from_utf8(payload) else { return Some(Err(Reject::NotJson)) };
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    match serde_json::from_str::<Value>(text) {
        Err(_) if is_json => return None,
        Err(_) => return Some(Err(Reject::NotJson)),
        Ok(value) if !value.is_object() => return Some(Err(Reject::NotObject)),
        Ok(_) => {}
    }
    let Ok(Fields(fields)) = serde_json::from_str(text) else { panic!("an object, and then not") };
    let all = |name: &str, is_good: &dyn Fn(&Value) -> bool| {
        let mut values = fields.iter().filter(|(key, _)| key == name).map(|(_, value)| value).peekable();
        values.peek().is_some() && values.all(is_good)
    };
    let is_symbol =
        |value: &Value| value.as_str().is_some_and(|text| text.as_bytes().eq_ignore_ascii_case(symbol));
    let is_good = all("symbol", &is_symbol)
        && ["price", "volume", "timestamp"].iter().all(|name| all(name, &Value::is_number));
    Some(if is_good { Ok(text.trim_matches([' ', '\t', '\n', '\r'])) } else { Err(Reject::BadField) })
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
