//! Bounds, and what the bytes that are set aside turn out to be.

use super::*;
use crate::market::SYMBOL_BYTES_MAX;
use crate::market::SymbolCase;

const TRADE: Kind = Kind::TRADE;

fn symbol(name: &str) -> Symbol {
    Symbol::parse(name.as_bytes(), SymbolCase::Upper).unwrap()
}

fn trade(name: &str, n: u64) -> String {
    format!(r#"{{"symbol":"{name}","price":{n},"volume":1,"timestamp":{n}}}"#)
}

fn keep(history: &mut History, name: &str, payload: &str, now_ms: u64) {
    history.keep(TRADE, name.as_bytes(), payload.as_bytes(), now_ms);
}

/// The frame's text, without its header.
fn snapshot(history: &mut History, name: &str) -> Option<String> {
    let slot = history.pin(TRADE, &symbol(name));
    let frame = history.snapshot(slot, Form::JSON);
    history.unpin(slot);
    frame.map(|frame| {
        let header = if frame[1] == 126 { 4 } else { 2 };
        String::from_utf8(frame[header..].to_vec()).unwrap()
    })
}

#[test]
fn the_newest_good_event_is_the_value_however_many_bad_ones_follow() {
    for bad in [1, 13, 14, 15, 16, 100] {
        let mut history = History::new(HistoryConfig::default());
        assert_eq!(snapshot(&mut history, "A"), None);
        keep(&mut history, "A", &trade("A", 1), 10);
        keep(&mut history, "A", &format!(" {} ", trade("A", 2)), 20);
        for _ in 0..bad {
            keep(&mut history, "A", "nonsense", 30);
        }
        let data = trade("A", 2);
        let expected = format!(r#"{{"type":"trade","data":{data},"timestamp":20,"snapshot":true}}"#);
        assert_eq!(snapshot(&mut history, "A"), Some(expected));
    }
}

#[test]
fn a_silent_topic_keeps_its_value_while_others_are_busy() {
    let mut history = History::new(HistoryConfig::default());
    keep(&mut history, "A", &trade("A", 1), 10);
    keep(&mut history, "A", &trade("A", 2), 20);
    keep(&mut history, "A", "nonsense", 30);
    // Many times as much as is set aside of all topics.
    let busy: Vec<_> = (0..100).map(|n| format!("B{n}")).collect();
    for n in 0..2 * limits::ASIDE_MAX_BYTES / 100 {
        let name = &busy[n % busy.len()];
        keep(&mut history, name, &trade(name, n as u64), 40);
    }
    let data = trade("A", 2);
    let expected = format!(r#"{{"type":"trade","data":{data},"timestamp":20,"snapshot":true}}"#);
    assert_eq!(snapshot(&mut history, "A"), Some(expected));
}

#[test]
fn a_snapshot_is_built_once_until_the_next_event() {
    let mut history = History::new(HistoryConfig::default());
    let slot = history.pin(TRADE, &symbol("A"));
    let payload = trade("A", 1);
    let event = Checker::with_max_bytes(65_536).check(TRADE, payload.as_bytes(), b"A").unwrap();
    assert_eq!(history.take(slot, &event, 5), Verdict::Next);
    let (first, second) =
        (history.snapshot(slot, Form::JSON).unwrap(), history.snapshot(slot, Form::JSON).unwrap());
    assert_eq!(first.as_ptr(), second.as_ptr());
    history.take(slot, &event, 6);
    assert_ne!(history.snapshot(slot, Form::JSON).unwrap(), first);
}

#[test]
fn the_topics_are_bounded_and_the_busy_ones_stay() {
    let mut history = History::new(HistoryConfig { max_topics: 100, ..HistoryConfig::default() });
    let pinned = history.pin(TRADE, &symbol("PINNED"));
    for n in 0..10_000 {
        let name = format!("S{n}");
        keep(&mut history, &name, &trade(&name, n), n);
        keep(&mut history, "BUSY", &trade("BUSY", n), n);
        assert!(history.topics() <= 100);
    }
    assert!(snapshot(&mut history, "BUSY").is_some());
    assert!(snapshot(&mut history, "S9999").is_some(), "a new topic finds room");
    assert!(snapshot(&mut history, "S0").is_none());
    assert!(history.topics.len() <= 102, "places are used again");
    history.unpin(pinned);
}

#[test]
fn topics_beyond_the_bound_are_wanted_all_the_same() {
    let mut history = History::new(HistoryConfig { max_topics: 1, ..HistoryConfig::default() });
    let first = history.pin(TRADE, &symbol("A"));
    let second = history.pin(TRADE, &symbol("B"));
    let line = |seq: u64| format!(r#"{{"symbol":"B","price":1,"volume":1,"timestamp":1,"seq":{seq}}}"#);
    let take = |history: &mut History, seq: u64| {
        let payload = line(seq);
        history.take(
            second,
            &Checker::with_max_bytes(65_536).check(TRADE, payload.as_bytes(), b"B").unwrap(),
            1,
        )
    };
    assert_eq!(take(&mut history, 1), Verdict::Next);
    assert_eq!(take(&mut history, 3), Verdict::Gap { from: 2, to: 2 });
    assert_eq!(take(&mut history, 3), Verdict::Repeat);
    assert_eq!((history.topics(), history.snapshot(second, Form::JSON)), (1, None));
    history.unpin(first);
    // Its place can be taken now.
    history.topics[first.0 as usize].as_mut().unwrap().recent = false;
    assert_eq!(take(&mut history, 4), Verdict::Next);
    assert!(history.snapshot(second, Form::JSON).is_some());
    history.unpin(second);
    assert_eq!(history.topics(), 1);
}

#[test]
fn nothing_is_remembered_where_it_is_off() {
    let mut history = History::new(HistoryConfig { max_topics: 0, ..HistoryConfig::default() });
    keep(&mut history, "A", &trade("A", 1), 1);
    assert_eq!(snapshot(&mut history, "A"), None);
    assert_eq!((history.topics(), history.topics.iter().flatten().count()), (0, 0));
}

#[test]
fn silent_topics_are_counted() {
    let mut history = History::new(HistoryConfig::default());
    keep(&mut history, "UNWANTED", &trade("UNWANTED", 1), 1);
    let slot = history.pin(TRADE, &symbol("A"));
    let begin = Instant::now();
    let silent_at = |history: &mut History, at_ms| {
        history.silent(Duration::from_millis(50), begin + Duration::from_millis(at_ms))
    };
    assert_eq!([100, 149, 150].map(|at_ms| silent_at(&mut history, at_ms)), [0, 0, 1]);
    // The wall's clock jumps an hour, forwards and back: nothing is silent for longer or shorter because of it.
    for (unix_ms, asked_at_ms) in [(3_600_000, [200, 249, 250]), (1, [300, 349, 350])] {
        let payload = trade("A", unix_ms);
        history.take(
            slot,
            &Checker::with_max_bytes(65_536).check(TRADE, payload.as_bytes(), b"A").unwrap(),
            unix_ms,
        );
        assert_eq!(asked_at_ms.map(|at_ms| silent_at(&mut history, at_ms)), [0, 0, 1]);
    }
}

#[test]
fn a_symbol_of_full_length_is_remembered() {
    let name = "A".repeat(SYMBOL_BYTES_MAX);
    let mut history = History::new(HistoryConfig::default());
    keep(&mut history, &name, &trade(&name, 1), 1);
    assert!(snapshot(&mut history, &name).is_some());
}
