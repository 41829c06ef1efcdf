//! What clients ask for in a URL: a stream of server-sent events, and Binance's streams. Nothing may panic; what is accepted names subjects that the
//! gateway carries, each once; and a refusal is short.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use ws_gateway::market::{BinanceShape, Form, Kinds, SymbolCase};
use ws_gateway::protocol::refusal::Refusal;
use ws_gateway::protocol::request::{Grammar, Selection, Subscribe};
use ws_gateway::protocol::{binance, sse};

const SHAPES: [BinanceShape; 4] =
    [BinanceShape::Raw, BinanceShape::RawMicros, BinanceShape::Combined, BinanceShape::CombinedMicros];

fuzz_target!(|url: &str| {
    let kinds: Kinds = "trade,quote,candle,mine".parse().unwrap_or_default();
    let grammar = Grammar::new(kinds, SymbolCase::Upper);
    match sse::read(&query(url), &grammar) {
        Ok(Subscribe { selection, resume, is_return, .. }) => {
            check(&selection, Form::SSE, &grammar);
            assert!(resume.is_empty() || is_return && resume.len() == 1, "one id names one topic");
        }
        Err(refusal) => is_short(&refusal),
    }
    for shape in SHAPES {
        let parts = binance::read::parse_url(url, shape, &grammar);
        let Some(parts) = parts else { continue };
        assert!((1..=2).contains(&parts.len()));
        for (at, part) in parts.iter().enumerate() {
            match part {
                Ok(Subscribe { selection, .. }) => {
                    assert_eq!(at + 1, parts.len(), "a refusal stands before it");
                    assert!(!selection.names.is_empty());
                    check(selection, Form::JSON, &grammar);
                }
                Err(refusal) => is_short(refusal),
            }
        }
    }
});

/// As HTTP has it, but for percent signs.
fn query(url: &str) -> sse::Query {
    let mut query = sse::Query::default();
    for (name, value) in url.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "symbols" => query.symbols = value.split(',').map(str::to_owned).collect(),
            "last" => query.last_event_id = Some(value.to_owned()),
            _ => query.others.push((name.to_owned(), value.to_owned())),
        }
    }
    query
}

fn check(selection: &Selection, form: Form, grammar: &Grammar) {
    let mut seen = HashSet::new();
    for subject in selection.subjects(form) {
        assert!(grammar.kinds.carries(subject.kind));
        assert!(seen.insert(subject.clone()), "{subject:?} is there twice");
    }
}

fn is_short(refusal: &Refusal) {
    assert!(refusal.message.len() <= 1_024, "a refusal of {} bytes", refusal.message.len());
}
