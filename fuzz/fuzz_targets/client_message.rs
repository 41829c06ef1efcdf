//! Text of a client. Nothing may panic; what is accepted says the same when it is written again; and every reply is
//! one text frame of JSON that ends with the request's `id` exactly as the client wrote it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use ws_gateway::conn::reply;
use ws_gateway::conn::session::{self, Action, Id, Refusal, Request};
use ws_gateway::market::Symbol;
use ws_gateway_fuzz::text_of_frame;

const NOW_MS: u64 = 1_234_567_890;

/// A refusal repeats a bad value only in part, so its length is bounded whatever the client has sent.
const REFUSAL_BYTES_MAX: usize = 1_024;

#[derive(Deserialize)]
struct Reply<'r> {
    r#type: &'r str,
    timestamp: u64,
    #[serde(borrow)]
    id: Option<&'r RawValue>,
    code: Option<&'r str>,
}

fuzz_target!(|message: &str| match session::parse(message) {
    Ok(request) => accepted(message, &request),
    Err(refusal) => refused(&refusal),
});

fn accepted(message: &str, request: &Request) {
    assert!(serde_json::from_str::<IgnoredAny>(message).is_ok(), "accepted, but not JSON");
    assert_eq!(session::parse(&write(request)).as_ref(), Ok(request));
    let id = request.id.as_ref();
    match &request.action {
        Action::Subscribe(symbols) => {
            check_symbols(symbols);
            let frame = reply::subscribed(symbols, symbols.iter(), id, NOW_MS);
            check_reply(&frame, "success", id);
        }
        Action::Unsubscribe(symbols) => {
            check_symbols(symbols);
            let left: Vec<&Symbol> = symbols.iter().collect();
            check_reply(&reply::unsubscribed(&left, symbols.iter(), id, NOW_MS), "success", id);
            check_reply(&reply::unsubscribed(&[], [].iter(), id, NOW_MS), "success", id);
        }
        Action::Ping => check_reply(&reply::pong(id, NOW_MS), "pong", id),
    }
}

fn refused(refusal: &Refusal) {
    let frame = reply::error(refusal, NOW_MS);
    check_reply(&frame, "error", refusal.id.as_ref());
    assert!(frame.len() <= REFUSAL_BYTES_MAX, "a refusal of {} bytes", frame.len());
}

/// What a request says, as another client would put it.
fn write(request: &Request) -> String {
    let id = request.id.as_ref().map_or(String::new(), |id| format!(r#""id":{id},"#));
    match &request.action {
        Action::Subscribe(symbols) => {
            format!(r#"{{{id}"symbols":{:?},"action":"subscribe"}}"#, names(symbols))
        }
        Action::Unsubscribe(symbols) => {
            format!(r#"{{{id}"symbols":{:?},"action":"unsubscribe"}}"#, names(symbols))
        }
        Action::Ping => format!(r#"{{{id}"action":"ping"}}"#),
    }
}

/// The symbols' names; none of their characters needs an escape, so Rust's notation of a list is JSON's.
fn names(symbols: &[Symbol]) -> Vec<&str> {
    symbols.iter().map(Symbol::as_str).collect()
}

fn check_symbols(symbols: &[Symbol]) {
    assert!(!symbols.is_empty());
    for (position, symbol) in symbols.iter().enumerate() {
        assert_eq!(Symbol::parse(symbol.as_bytes()).as_ref(), Some(symbol), "not normalised");
        assert!(!symbols[..position].contains(symbol), "{symbol} is there twice");
    }
}

fn check_reply(frame: &[u8], expected: &str, id: Option<&Id>) {
    let text = text_of_frame(frame);
    let reply: Reply<'_> = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    assert_eq!((reply.r#type, reply.timestamp), (expected, NOW_MS));
    assert_eq!(reply.code.is_some(), expected == "error");
    assert_eq!(reply.id.map(RawValue::get), id.map(Id::to_string).as_deref());
}
