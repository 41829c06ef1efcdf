//! What clients of other APIs send: text and binary, in each dialect. Nothing may panic; what is accepted names subjects in the dialect's own
//! forms, each once; and every reply is one message of an array of objects, or of one object.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use ws_gateway::market::spelling::Spelling;
use ws_gateway::market::{BinanceShape, Form, Kinds, SymbolCase};
use ws_gateway::protocol::Dialect;
use ws_gateway::protocol::refusal::Refusal;
use ws_gateway::protocol::reply::Reply;
use ws_gateway::protocol::request::{Action, Grammar, Request, Selection};
use ws_gateway::websocket::header::payload;

const DIALECTS: [Dialect; 8] = [
    Dialect::AlpacaJson,
    Dialect::AlpacaMsgpack,
    Dialect::MassiveStocks,
    Dialect::MassiveCrypto,
    Dialect::MassiveForex,
    Dialect::Finnhub,
    Dialect::Binance(BinanceShape::Raw),
    Dialect::Binance(BinanceShape::CombinedMicros),
];

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (dialect, is_binary, message) = input;
    let dialect = DIALECTS[usize::from(dialect) % DIALECTS.len()];
    let kinds: Kinds = "trade,quote,candle,halt,mine".parse().unwrap_or_default();
    let spelling = Spelling::parse("BTC-USD=BTC/USD\nX=Y", SymbolCase::Upper).unwrap_or_default();
    let grammar = Grammar::new(kinds, SymbolCase::Upper).spelled(spelling);
    let read = match (is_binary, std::str::from_utf8(message)) {
        (true, _) => dialect.read_binary(message, &grammar),
        (false, Ok(text)) => dialect.read(text, &grammar),
        (false, Err(_)) => return,
    };
    match read {
        Ok(request) => accepted(dialect, &request, &grammar),
        Err(refusal) => refused(dialect, &refusal, &grammar),
    }
});

fn accepted(dialect: Dialect, request: &Request, grammar: &Grammar) {
    let id = request.id.as_ref();
    match &request.action {
        Action::Subscribe(subscribe) => {
            let subjects = subjects(dialect, &subscribe.selection, grammar);
            let held: Vec<_> = subjects.iter().collect();
            let selection = &subscribe.selection;
            check(dialect, &Reply::Subscribed { selection, held: &held, recovered: &[], id }, grammar);
        }
        Action::Unsubscribe(selection) => {
            let left = subjects(dialect, selection, grammar);
            check(dialect, &Reply::Unsubscribed { left: &left, held: &[], id }, grammar);
        }
        Action::Auth(_) => {
            check(dialect, &Reply::Authenticated { user: None, expires_ms: None, held: None, id: None }, grammar);
        }
        Action::List => {
            check(dialect, &Reply::List { held: &[], id }, grammar);
        }
        Action::SetCombined(is_combined) => {
            let dialect = dialect.combined(*is_combined);
            check(dialect, &Reply::CombinedSet { id }, grammar);
        }
        Action::IsCombined => {
            check(dialect, &Reply::Combined { id }, grammar);
        }
        Action::Ping { .. } | Action::Enter | Action::Desk(_) => panic!("no dialect asks for that"),
    }
}

fn subjects(dialect: Dialect, selection: &Selection, grammar: &Grammar) -> Vec<ws_gateway::market::Subject> {
    let subjects = selection.subjects(Form::JSON);
    let mut seen = HashSet::new();
    for subject in &subjects {
        assert!(grammar.kinds.carries(subject.kind) && subject.kind.is_market());
        assert!(!Form::OURS.contains(&subject.form), "a form of {dialect:?}");
        assert!(seen.insert(subject), "{subject:?} is there twice");
    }
    subjects
}

fn refused(dialect: Dialect, refusal: &Refusal, grammar: &Grammar) {
    let frame = check(dialect, &Reply::Refused(refusal), grammar);
    assert!(frame.len() <= 1_024, "a refusal of {} bytes", frame.len());
}

fn check(dialect: Dialect, reply: &Reply<'_>, grammar: &Grammar) -> Vec<u8> {
    let frame = dialect.reply(reply, grammar, 1);
    if frame.is_empty() {
        return frame;
    }
    match dialect {
        Dialect::AlpacaMsgpack => assert_eq!((frame[0], payload(&frame)[0]), (0x82, 0x91)),
        _ => {
            assert_eq!(frame[0], 0x81);
            serde_json::from_slice::<serde_json::Value>(payload(&frame)).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    frame
}
