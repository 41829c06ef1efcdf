//! What clients of other APIs send: text and binary, in each dialect. Nothing may panic; what is accepted names subjects in the dialect's own
//! forms, each once; and every reply is one message of an array of objects, or of one object, or with Socket.IO packets of its own.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use ws_gateway::market::spelling::Spelling;
use ws_gateway::market::{BinanceShape, Form, Kinds, Namespace, SymbolCase};
use ws_gateway::protocol::Dialect;
use ws_gateway::protocol::refusal::Refusal;
use ws_gateway::protocol::reply::Reply;
use ws_gateway::protocol::request::{Action, Grammar, Request, Selection};
use ws_gateway::protocol::socketio::engine;
use ws_gateway::protocol::socketio::namespace::Joined;
use ws_gateway::protocol::socketio::packet::Packet;
use ws_gateway::websocket::header::payload;
use ws_gateway_fuzz::texts_of_frames;

const DIALECTS: [Dialect; 10] = [
    Dialect::AlpacaJson,
    Dialect::AlpacaMsgpack,
    Dialect::MassiveStocks,
    Dialect::MassiveCrypto,
    Dialect::MassiveForex,
    Dialect::Finnhub,
    Dialect::Binance(BinanceShape::Raw),
    Dialect::Binance(BinanceShape::CombinedMicros),
    Dialect::SocketIo(Joined::ALL),
    Dialect::SocketIo(Joined::NONE.with(Namespace::Events)),
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
        Err(refusal) => refused(dialect, &refusal, &grammar, message.len()),
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
            check(
                dialect,
                &Reply::Authenticated { user: None, expires_ms: None, held: None, id: None },
                grammar,
            );
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
        Action::Ping { stats: false } if dialect.socketio().is_some() => {
            check(dialect, &Reply::Pong { stats: None, id }, grammar);
        }
        Action::Desk(_) => assert!(dialect.has_desk()),
        Action::Ping { .. } | Action::Enter => panic!("no dialect asks for that"),
    }
}

fn subjects(dialect: Dialect, selection: &Selection, grammar: &Grammar) -> Vec<ws_gateway::market::Subject> {
    // The connection's form is for what has none of its own. Socket.IO's `*` hasn't: the shard looks what the client holds.
    let home = dialect.socketio().and_then(Joined::home);
    let form = home.map_or(Form::JSON, Form::socketio);
    let subjects = selection.subjects(form);
    let mut seen = HashSet::new();
    for subject in &subjects {
        assert!(grammar.kinds.carries(subject.kind));
        assert!(subject.kind.is_market() || dialect.socketio().is_some());
        match dialect.socketio() {
            Some(joined) => assert!(subject.form.namespace().is_some_and(|namespace| joined.has(namespace))),
            None => assert!(!Form::OURS.contains(&subject.form), "a form of {dialect:?}"),
        }
        assert!(seen.insert(subject), "{subject:?} is there twice");
    }
    subjects
}

fn refused(dialect: Dialect, refusal: &Refusal, grammar: &Grammar, asked_bytes: usize) {
    let frame = check(dialect, &Reply::Refused(refusal), grammar);
    // A namespace that isn't here is named as the client has named it.
    let named_bytes = if dialect.socketio().is_some() { asked_bytes } else { 0 };
    assert!(frame.len() <= 1_024 + named_bytes, "a refusal of {} bytes", frame.len());
}

fn check(dialect: Dialect, reply: &Reply<'_>, grammar: &Grammar) -> Vec<u8> {
    let frame = dialect.reply(reply, grammar, 1);
    if frame.is_empty() {
        return frame;
    }
    match dialect {
        Dialect::AlpacaMsgpack => assert_eq!((frame[0], payload(&frame)[0]), (0x82, 0x91)),
        Dialect::SocketIo(_) => {
            for text in texts_of_frames(&frame) {
                let Ok(engine::Packet::Message(message)) = engine::Packet::read(text) else {
                    panic!("{text}")
                };
                let data = Packet::read(message).expect("a packet").data.expect("something to say");
                serde_json::from_str::<serde_json::Value>(data).unwrap_or_else(|error| panic!("{error}"));
            }
        }
        _ => {
            assert_eq!(frame[0], 0x81);
            serde_json::from_slice::<serde_json::Value>(payload(&frame))
                .unwrap_or_else(|error| panic!("{error}"));
        }
    }
    frame
}
