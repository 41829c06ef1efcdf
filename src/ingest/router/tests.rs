//! Where events go, and under which topics.

use super::*;
use crate::bus::{Frames, SeqChange, Seqs};
use crate::market::SymbolCase;
use crate::websocket::deflate::Compression;

fn trade(symbol: &str) -> Vec<u8> {
    format!(r#"{{"symbol":"{symbol}","price":1,"volume":2,"timestamp":3}}"#).into_bytes()
}

fn symbol(name: &str) -> Subject {
    Subject::parse(Kind::TRADE, name.as_bytes(), SymbolCase::Upper).unwrap()
}

/// What is framed for a shard, in one form.
fn framed(router: &mut Router, shard: usize) -> Option<Frames> {
    let mut batches = router.take(shard, 7).batches;
    assert!(batches.len() <= 1);
    batches.pop().map(|batch| batch.frames)
}

fn route(router: &mut Router, name: &[u8], payload: &[u8]) -> Routed {
    router.route(Kind::TRADE, name, payload, 1)
}

#[test]
fn an_event_goes_to_the_shards_that_want_it() {
    let mut router = Router::new(3, 1_000);
    assert_eq!(route(&mut router, b"AAPL", &trade("AAPL")), Routed::Unwanted);
    let id = router.want(0, &symbol("AAPL"));
    assert_eq!(router.want(2, &symbol("AAPL")), id);
    assert_eq!(route(&mut router, b"aapl", &trade("AAPL")), Routed::Framed);
    assert_eq!(route(&mut router, b"MSFT", b"not even JSON"), Routed::Unwanted);
    let frames = framed(&mut router, 0).unwrap();
    assert_eq!((frames.table[0].end as usize, frames.table[0].topic), (frames.bytes.len(), id));
    assert_eq!(frames.arrived_us, 7);
    assert!(framed(&mut router, 1).is_none());
    assert_eq!(framed(&mut router, 2).unwrap().bytes, frames.bytes);
    assert!(framed(&mut router, 0).is_none());
}

#[test]
fn sequence_numbers_go_beside_the_frames() {
    let mut router = Router::new(2, 1_000);
    (0..2).for_each(|shard| _ = router.want(shard, &symbol("AAPL")));
    router.want(1, &symbol("MSFT"));
    let numbered = |seq| format!(r#"{{"symbol":"AAPL","seq":{seq},"price":1,"volume":2,"timestamp":3}}"#);
    route(&mut router, b"AAPL", numbered(5).as_bytes());
    route(&mut router, b"MSFT", &trade("MSFT"));
    route(&mut router, b"AAPL", numbered(6).as_bytes());
    let seqs = |frames: &Frames| (0..4).map(|index| frames.seqs.get(index)).collect::<Vec<_>>();
    assert_eq!(seqs(&framed(&mut router, 0).unwrap()), [Some(5), Some(6), None, None]);
    assert_eq!(seqs(&framed(&mut router, 1).unwrap()), [Some(5), None, Some(6), None]);
    route(&mut router, b"MSFT", &trade("MSFT"));
    assert_eq!(framed(&mut router, 1).unwrap().seqs, Seqs::default(), "none, and none left over");
}

#[test]
fn a_late_event_is_marked_and_lost_like_any_other() {
    let mut router = Router::new(2, 1_000);
    let id = router.want(0, &symbol("AAPL"));
    router.want(1, &symbol("AAPL"));
    let numbered = |router: &mut Router, seq: u64| {
        let event = format!(r#"{{"symbol":"AAPL","seq":{seq},"price":1,"volume":2,"timestamp":3}}"#);
        route(router, b"AAPL", event.as_bytes())
    };
    assert_eq!(numbered(&mut router, 5), Routed::Framed);
    assert_eq!(numbered(&mut router, 7), Routed::FramedBehindGap(1));
    assert_eq!(numbered(&mut router, 6), Routed::FramedLate);
    assert_eq!(numbered(&mut router, 6), Routed::Duplicate);
    let batches = router.take(0, 0).batches;
    let Batch { frames, notices } = &batches[0];
    let seqs = frames.seqs.clone();
    let told = |index| (seqs.get(index), seqs.is_late(index));
    assert_eq!([0, 1, 2].map(told), [(Some(5), false), (Some(7), false), (Some(6), true)]);
    assert_eq!(notices.len(), 1, "the gap");
    router.fall_behind(0, batches);
    assert_eq!(numbered(&mut router, 9), Routed::FramedBehindGap(1));
    assert_eq!(numbered(&mut router, 8), Routed::FramedLate);
    let Reported { counts, changes, .. } = router.report(0);
    // 7 is counted as lost, so no gap has it.
    let gaps = [6, 8].map(|seq| (id, SeqChange::Gap { from: seq, to: seq }));
    assert_eq!((counts, changes), (vec![(id, 5)], gaps.to_vec()));
    router.take(1, 0);
    assert_eq!(numbered(&mut router, 10), Routed::Framed);
    assert!(!framed(&mut router, 1).unwrap().seqs.is_late(0), "nothing is left over");
}

#[test]
fn bad_events_leave_no_trace() {
    let mut router = Router::new(1, 100);
    router.want(0, &symbol("AAPL"));
    assert_eq!(route(&mut router, b"A,B", &trade("A,B")), Routed::Rejected(Reject::BadSymbol));
    assert_eq!(route(&mut router, b"AAPL", &trade("MSFT")), Routed::Rejected(Reject::WrongSymbol));
    assert_eq!(route(&mut router, b"AAPL", &[b' '; 101]), Routed::Rejected(Reject::TooLarge));
    assert!(framed(&mut router, 0).is_none());
}

#[test]
fn an_id_ends_with_the_last_shard() {
    let mut router = Router::new(2, 100);
    let old = router.want(0, &symbol("AAPL"));
    router.want(1, &symbol("AAPL"));
    router.release(0, old);
    assert_eq!(router.topics(), 1);
    router.release(1, old);
    assert_eq!((router.topics(), router.passes[0].by_symbol[0].len()), (0, 0));
    assert_ne!(router.want(0, &symbol("MSFT")), old, "a freed id never names another topic");
}

#[test]
fn types_are_told_apart() {
    let mut router = Router::new(1, 1_000);
    let quote = Subject { kind: Kind::QUOTE, ..symbol("AAPL") };
    let id = router.want(0, &quote);
    assert_eq!(route(&mut router, b"AAPL", &trade("AAPL")), Routed::Unwanted);
    let payload = br#"{"symbol":"AAPL","bidPrice":1,"askPrice":2,"timestamp":3}"#;
    assert_eq!(router.route(Kind::QUOTE, b"AAPL", payload, 1), Routed::Framed);
    assert_eq!(framed(&mut router, 0).unwrap().table[0].topic, id);
}

fn candle(interval: &str, close: u32) -> Vec<u8> {
    let prices = format!(r#""open":1,"high":9,"low":1,"close":{close},"volume":2"#);
    format!(r#"{{"symbol":"AAPL","interval":{interval},{prices},"timestamp":3}}"#).into_bytes()
}

#[test]
fn each_interval_of_a_candle_is_a_topic_of_its_own() {
    let mut router = Router::new(1, 1_000);
    let route = |router: &mut Router, interval, close| {
        router.route(Kind::CANDLE, b"aapl", &candle(interval, close), 1)
    };
    assert_eq!(route(&mut router, r#""1d""#, 1), Routed::Unwanted);
    let name = Subject::parse(Kind::CANDLE, b"AAPL", SymbolCase::Upper).unwrap();
    router.want(0, &name);
    // The string and the number are one interval.
    for (interval, close) in [(r#""1m""#, 2), ("60", 3), (r#""60""#, 4), (r#""1m""#, 5), (r#""\u0031d""#, 6)]
    {
        assert_eq!(route(&mut router, interval, close), Routed::Framed);
    }
    let Handoff { opened, batches } = router.take(0, 0);
    let table = &batches[0].frames.table;
    let topics: Vec<_> = table.iter().map(|entry| entry.topic).collect();
    assert_eq!((topics[0], topics[1], topics.len()), (topics[3], topics[2], 5));
    assert!(topics[0] != topics[1] && topics[1] != topics[4] && topics[0] != topics[4]);
    assert_eq!(opened.len(), 3);
    assert!(opened.iter().all(|(subject, _)| subject.name.to_string() == "AAPL"));
    let bad = router.route(Kind::CANDLE, b"AAPL", &candle("null", 7), 1);
    assert!(matches!(bad, Routed::Rejected(Reject::Wrong { field: "interval", .. })));
    assert_eq!(
        router.route(Kind::CANDLE, b"MSFT", &candle("60", 7), 1),
        Routed::Rejected(Reject::WrongSymbol),
        "also where nobody wants it"
    );
}

#[test]
fn a_candles_name_recalls_all_its_intervals() {
    use crate::bus::HistoryRequest;
    let mut router = Router::new(1, 1_000);
    for (interval, close) in [(r#""1m""#, 1), (r#""1d""#, 2), (r#""1m""#, 3)] {
        router.route(Kind::CANDLE, b"AAPL", &candle(interval, close), 1);
    }
    let name = Subject::parse(Kind::CANDLE, b"AAPL", SymbolCase::Upper).unwrap();
    router.want(0, &name);
    let asked = HistoryRequest { snapshot: true, resume: vec![(name.clone(), 1)] };
    let past = router.recall(std::slice::from_ref(&name), &asked, 1_000, 1);
    let closes: Vec<_> = past
        .snapshots
        .iter()
        .map(|(_, frame)| String::from_utf8_lossy(frame).contains("close\":3"))
        .collect();
    assert_eq!(closes, [false, true], "1d and 1m");
    assert_eq!(past.recovered, [false], "which of them the client means can't be told");
    assert_eq!(router.take(0, 0).opened.len(), 2);
}

/// An event is framed once in each form that is wanted, for each shard that wants it, and a topic ends by itself in each.
#[test]
fn each_form_of_a_symbol_is_a_topic_of_its_own() {
    let mut router = Router::new(2, 1_000);
    let [json, batch, sse] =
        [Form::JSON, Form::JSON_BATCH, Form::SSE].map(|form| symbol("AAPL").in_form(form));
    let in_batch = router.want(0, &batch);
    let in_json = router.want(1, &json);
    let in_sse = router.want(1, &sse);
    router.want(0, &sse);
    assert_eq!(router.topics(), 3);
    let forms = |router: &mut Router, shard| -> Vec<_> {
        route(router, b"AAPL", &trade("AAPL"));
        let batches = router.take(shard, 0).batches.into_iter();
        batches.map(|batch| (batch.frames.form, batch.frames.table[0].topic)).collect()
    };
    assert_eq!(forms(&mut router, 0), [(Form::JSON_BATCH, in_batch), (Form::SSE, in_sse)]);
    assert_eq!(router.take(1, 0).batches.len(), 2);
    router.release(0, in_batch);
    assert_eq!(forms(&mut router, 1), [(Form::JSON, in_json), (Form::SSE, in_sse)]);
    router.release(1, in_json);
    router.release(0, in_sse);
    router.take(0, 0);
    assert_eq!((forms(&mut router, 0), router.topics()), (vec![], 1));
    router.take(1, 0);
    assert_eq!(forms(&mut router, 1), [(Form::SSE, in_sse)]);
    router.release(1, in_sse);
    assert_eq!((router.topics(), router.passes[0].by_symbol[0].len()), (0, 0));
    assert_eq!(route(&mut router, b"AAPL", &trade("AAPL")), Routed::Unwanted);
}

/// What was looked up once is told in each form that waits for it.
#[test]
fn what_is_looked_up_is_told_in_each_form() {
    use crate::bus::HistoryRequest;
    for kind in [Kind::TRADE, Kind::CANDLE] {
        let look_up = Some([kind].into_iter().collect());
        let compression = Some(Compression { threshold_bytes: 0, level: 6 });
        let history = HistoryConfig { look_up, compression, ..HistoryConfig::default() };
        let mut router = Router::with_history(1, true, &history);
        let asked = HistoryRequest { snapshot: true, ..HistoryRequest::default() };
        let name = Subject::parse(kind, b"AAPL", SymbolCase::Upper).unwrap();
        let mut awaited = Vec::new();
        for form in Form::OURS {
            let subject = name.clone().in_form(form);
            router.want(0, &subject);
            awaited.extend(router.recall(&[subject], &asked, 1_000, 1).awaited);
        }
        assert_eq!(awaited.len(), Form::OURS.len());
        let look_ups = router.take_look_ups();
        assert_eq!(look_ups, [name], "each once");
        let payload = if kind == Kind::TRADE { trade("AAPL") } else { candle("60", 1) };
        let told = router.looked_up(&[(look_ups[0].clone(), Some(payload))], false, 5);
        let ids: Vec<_> = told.iter().map(|value| value.awaited).collect();
        assert_eq!(ids, awaited);
        let mut values: Vec<_> = told.iter().map(|value| value.frame.clone().unwrap()).collect();
        values.sort();
        values.dedup();
        assert_eq!(values.len(), Form::OURS.len(), "each in its form");
    }
}
