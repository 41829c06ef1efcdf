//! Replies and statuses are those of the contract, byte for byte.

use proptest::prelude::*;
use serde_json::json;

use super::super::read::parse;
use super::*;
use crate::market::{Form, Kind, Subject, SymbolCase};
use crate::protocol::refusal::ErrorCode;
use crate::protocol::reply::Status;
use crate::protocol::request::{Grammar, Selection};

fn kinds() -> Kinds {
    "trade,quote,candle,halt,mine".parse().unwrap()
}

fn text(reply: &Reply<'_>, now_ms: u64) -> String {
    String::from_utf8(super::reply(reply, &kinds(), now_ms)).unwrap()
}

fn told(status: Status<'_>) -> String {
    text(&Reply::Status(status), 1)
}

fn subject(kind: Kind, name: &str) -> Subject {
    Subject::parse(kind, name.as_bytes(), SymbolCase::Upper).unwrap()
}

#[test]
fn replies_are_those_of_the_contract() {
    let both = [subject(Kind::TRADE, "AAPL"), subject(Kind::TRADE, "GOOGL")];
    let held = [&both[0], &both[1]];
    let names = both.each_ref().map(|subject| subject.name.clone());
    let selection = Selection::of_market(&[Kind::TRADE], &names);
    assert_eq!(
        text(&Reply::Subscribed { selection: &selection, held: &held, recovered: &[], id: None }, 1234567890),
        r#"{"type":"success","message":"Successfully subscribed to 2 symbol(s)","data":{"subscribed":["AAPL","GOOGL"],"currentSubscriptions":["AAPL","GOOGL"]},"timestamp":1234567890}"#
    );
    assert_eq!(
        text(&Reply::Unsubscribed { left: &both[..1], held: &held[1..], id: None }, 1234567890),
        r#"{"type":"success","message":"Successfully unsubscribed from 1 symbol(s)","data":{"unsubscribed":["AAPL"],"currentSubscriptions":["GOOGL"]},"timestamp":1234567890}"#
    );
    assert_eq!(
        text(&Reply::Pong { stats: None, id: None }, 1234567890),
        r#"{"type":"pong","timestamp":1234567890}"#
    );
    assert_eq!(
        text(&Reply::Refused(&Refusal::symbol_limit(5, 4, None)), 1234567890),
        r#"{"type":"error","message":"Cannot subscribe: would exceed maximum of 5 symbols","code":"SYMBOL_LIMIT_EXCEEDED","timestamp":1234567890}"#
    );
    let grammar = Grammar::new(kinds(), SymbolCase::Upper);
    let id = parse(r#"{"action":"ping","id":"x"}"#, &grammar).unwrap().id;
    assert_eq!(
        text(&Reply::Pong { stats: None, id: id.as_ref() }, 1),
        r#"{"type":"pong","timestamp":1,"id":"x"}"#
    );
    let limited =
        Refusal { retry_after_s: Some(2), id, ..Refusal::new(ErrorCode::RateLimitExceeded, "a \"b\"") };
    assert_eq!(
        text(&Reply::Refused(&limited), 1),
        r#"{"type":"error","message":"a \"b\"","code":"RATE_LIMIT_EXCEEDED","retryAfter":2,"timestamp":1,"id":"x"}"#
    );
    assert_eq!(
        told(Status::Skipped { subject: &both[0], count: 7 }),
        r#"{"type":"status","event":"skipped","data":{"symbol":"AAPL","type":"trade","count":7},"timestamp":1}"#
    );
}
#[test]
fn the_extensions_are_those_of_the_contract() {
    let held = [
        subject(Kind::QUOTE, "AAPL"),
        subject(Kind::TRADE, "BTC-*"),
        subject(Kind::HALT, "*"),
        subject(Kind::QUOTE, "MSFT"),
        subject(kinds().find(b"mine").unwrap(), "aapl"),
    ];
    let held: Vec<_> = held.iter().collect();
    let aapl = Name::parse(b"AAPL", SymbolCase::Upper).unwrap();
    let msft = Name::parse(b"MSFT", SymbolCase::Upper).unwrap();
    assert_eq!(
        text(
            &Reply::Subscribed {
                selection: &Selection::of_market(&[Kind::QUOTE], std::slice::from_ref(&aapl)),
                held: &held,
                recovered: &[(aapl.clone(), true), (msft, false)],
                id: None
            },
            1
        ),
        r#"{"type":"success","message":"Successfully subscribed to 1 symbol(s)","data":{"subscribed":["AAPL"],"currentSubscriptions":["BTC-*"],"currentByType":{"quote":["AAPL","MSFT"],"halt":["*"],"mine":["aapl"]},"recovered":{"AAPL":true,"MSFT":false}},"timestamp":1}"#
    );
    assert_eq!(
        text(&Reply::List { held: &held, id: None }, 1),
        r#"{"type":"success","message":"Subscribed to 1 symbol(s)","data":{"currentSubscriptions":["BTC-*"],"currentByType":{"quote":["AAPL","MSFT"],"halt":["*"],"mine":["aapl"]}},"timestamp":1}"#
    );
    assert_eq!(
        text(&Reply::Pong { stats: Some(ClientStats::default()), id: None }, 1),
        r#"{"type":"pong","timestamp":1,"stats":{"queuedBytes":0,"skipped":0,"conflated":0,"lagMs":0}}"#
    );
    for (status, data) in [
        (Status::FellBack { queued_bytes: 7 }, r#""slow","data":{"policy":"conflate","queuedBytes":7}"#),
        (Status::CaughtUp, r#""slow","data":{"policy":"lossless","queuedBytes":0}"#),
        (
            Status::Heartbeat { feed_up: true, last_event_age_ms: Some(5) },
            r#""heartbeat","data":{"feed":"up","lastEventAgeMs":5}"#,
        ),
        (
            Status::Heartbeat { feed_up: false, last_event_age_ms: None },
            r#""heartbeat","data":{"feed":"down","lastEventAgeMs":null}"#,
        ),
    ] {
        let expected = format!(r#"{{"type":"status","event":{data},"timestamp":1}}"#);
        assert_eq!(told(status), expected);
    }
    assert_eq!(
        told(Status::Skipped { subject: held[0], count: 7 }),
        r#"{"type":"status","event":"skipped","data":{"symbol":"AAPL","type":"quote","count":7},"timestamp":1}"#
    );
    assert_eq!(
        told(Status::Gap { subject: held[0], from: 7, to: 9 }),
        r#"{"type":"status","event":"gap","data":{"symbol":"AAPL","type":"quote","from":7,"to":9},"timestamp":1}"#
    );
    let names = [&held[0].name, &held[1].name];
    assert_eq!(
        told(Status::SnapshotEnd { names: &names, kind: Kind::QUOTE, form: Form::JSON }),
        r#"{"type":"status","event":"snapshotEnd","data":{"symbols":["AAPL","BTC-*"],"type":"quote"},"timestamp":1}"#
    );
    assert_eq!(
        told(Status::ReplayEnd { names: &names, kind: Kind::TRADE, form: Form::JSON }),
        r#"{"type":"status","event":"replayEnd","data":{"symbols":["AAPL","BTC-*"],"type":"trade"},"timestamp":1}"#
    );
}

#[test]
fn a_user_and_an_id_stand_in_a_reply_as_json() {
    let grammar = Grammar::new(kinds(), SymbolCase::Upper);
    let id = parse(r#"{"action":"list","id":"\"\u00e9"}"#, &grammar).unwrap().id;
    let held = subject(Kind::TRADE, "AAPL");
    let reply = Reply::Authenticated {
        user: Some("a\"b\\\u{1}é"),
        expires_ms: Some(7),
        held: Some(&[&held]),
        id: id.as_ref(),
    };
    assert_eq!(
        text(&reply, 1),
        r#"{"type":"success","message":"Authenticated","data":{"user":"a\"b\\\u0001é","expiresAt":7,"currentSubscriptions":["AAPL"]},"timestamp":1,"id":"\"\u00e9"}"#
    );
    let nobody = Reply::Authenticated { user: None, expires_ms: None, held: None, id: None };
    assert_eq!(
        text(&nobody, 1),
        r#"{"type":"success","message":"Authenticated","data":{"user":null},"timestamp":1}"#
    );
}

proptest! {
    /// Replies that list symbols are written without looking for escapes. A candle's symbol is a pattern of its intervals inside, and none to clients.
    #[test]
    fn whatever_clients_hold_the_reply_is_json(
        names in proptest::collection::vec((r"\*|[ -~]{1,66}|[A-C]{1,2}\*?", 0..5usize), 0..6),
        recovered in proptest::bool::ANY,
    ) {
        let kinds = kinds();
        let of = [Kind::TRADE, Kind::QUOTE, Kind::CANDLE, Kind::HALT, kinds.find(b"mine").unwrap()];
        let parse = |(name, kind): (String, usize)| Subject::parse(of[kind], name.as_bytes(), SymbolCase::Exact);
        let subjects: Vec<_> = names.into_iter().filter_map(parse).collect();
        let held: Vec<_> = subjects.iter().collect();
        let names_of = |kind| {
            let names = held.iter().filter(move |held| held.kind == kind);
            names.map(|held| held.name.to_string()).collect::<Vec<_>>()
        };
        let by_type: serde_json::Map<_, _> = of[1..].iter()
            .map(|kind| (kinds.name(*kind).to_owned(), json!(names_of(*kind))))
            .filter(|(_, names)| names != &json!([]))
            .collect();
        let mut data = json!({ "currentSubscriptions": names_of(Kind::TRADE) });
        if !by_type.is_empty() {
            data["currentByType"] = by_type.into();
        }
        let said = |reply: Reply<'_>| serde_json::from_str::<serde_json::Value>(&text(&reply, 1)).unwrap()["data"].take();
        prop_assert_eq!(&said(Reply::List { held: &held, id: None }), &data);

        let all: Vec<_> = subjects.iter().map(|subject| subject.name.clone()).collect();
        data["subscribed"] = json!(all.iter().map(Name::to_string).collect::<Vec<_>>());
        let recovered: Vec<_> = all.iter().cloned().map(|name| (name, recovered)).collect();
        if !recovered.is_empty() {
            let whole = recovered.iter().map(|(name, whole)| (name.to_string(), json!(whole)));
            data["recovered"] = whole.collect::<serde_json::Map<_, _>>().into();
        }
        let selection = Selection::of_market(&[Kind::TRADE], &all);
        prop_assert_eq!(&said(Reply::Subscribed { selection: &selection, held: &held, recovered: &recovered, id: None }), &data);

        data.as_object_mut().unwrap().retain(|key, _| key.starts_with("current"));
        let mut left: Vec<String> = Vec::new();
        for name in all.iter().map(Name::to_string) {
            if !left.contains(&name) {
                left.push(name);
            }
        }
        data["unsubscribed"] = json!(left);
        prop_assert_eq!(&said(Reply::Unsubscribed { left: &subjects, held: &held, id: None }), &data);
    }
}
