use serde_json::{Value as Json, json};

use super::*;
use crate::market::{Form, Kinds, Symbol, SymbolCase};
use crate::protocol::form;
use crate::protocol::native::event::Marker;
use crate::protocol::native::event::Openings;

fn event<'e>(kind: Kind, symbol: &'e Symbol, object: &'e str, marker: Marker<'e>) -> EventParts<'e> {
    EventParts { kind, symbol, seq: Some(7), object, at_ms: 1, marker }
}

/// The bytes of an event, without the comma before it.
fn written(wire: Wire, channel: AlpacaChannel, kind: Kind, object: &str) -> Option<Vec<u8>> {
    let symbol = Symbol::parse(b"AAPL", SymbolCase::Upper).unwrap();
    let mut out = b"before".to_vec();
    let openings = Openings::new(&Kinds::default());
    let is_written =
        form::write(&mut out, wire.form(channel), &openings, &event(kind, &symbol, object, Marker::NONE));
    let out = out.split_off(6);
    assert_eq!(is_written, !out.is_empty());
    is_written.then(|| match wire {
        Wire::Json => out.strip_prefix(b",").unwrap().to_vec(),
        Wire::Msgpack => out,
    })
}

fn json_of(channel: AlpacaChannel, kind: Kind, object: &str) -> Option<String> {
    written(Wire::Json, channel, kind, object).map(|bytes| String::from_utf8(bytes).unwrap())
}

fn json(kind: Kind, object: &str) -> String {
    json_of(AlpacaChannel::Others, kind, object).unwrap()
}

#[test]
fn a_trade() {
    assert_eq!(
        json(
            Kind::TRADE,
            r#"{"symbol":"aapl","price":150.250,"volume":100,"timestamp":1614009104208,"exchange":"D","conditions":["@", "I"],"tape":"C","side":"buy","x":{"price":1}}"#
        ),
        r#"{"T":"t","S":"AAPL","i":7,"x":"D","p":150.250,"s":100,"t":"2021-02-22T15:51:44.208Z","c":["@","I"],"z":"C","tks":"B"}"#
    );
    assert_eq!(
        json(
            Kind::TRADE,
            r#"{"price":1e-8,"volume":0.5,"timestamp":0,"exchange":5,"conditions":[1],"side":"?","id":96921}"#
        ),
        r#"{"T":"t","S":"AAPL","i":96921,"p":1e-8,"s":0.5,"t":"1970-01-01T00:00:00Z"}"#
    );
}

#[test]
fn a_quote_has_sizes() {
    assert_eq!(
        json(
            Kind::QUOTE,
            r#"{"bidPrice":87.66,"askPrice":87.68,"timestamp":1614009105335,"askSize":4,"askExchange":"Q"}"#
        ),
        r#"{"T":"q","S":"AAPL","bp":87.66,"bs":0,"ax":"Q","ap":87.68,"as":4,"t":"2021-02-22T15:51:45.335Z"}"#
    );
}

#[test]
fn a_candle_is_what_its_channel_says() {
    let candle = r#"{"open":1,"high":2,"low":0.5,"close":1.5,"volume":10,"timestamp":60000,"interval":"1m"}"#;
    let rest =
        r#","S":"AAPL","o":1,"h":2,"l":0.5,"c":1.5,"v":10,"n":null,"vw":null,"t":"1970-01-01T00:01:00Z"}"#;
    for (channel, letter) in
        [(AlpacaChannel::Bars, "b"), (AlpacaChannel::UpdatedBars, "u"), (AlpacaChannel::DailyBars, "d")]
    {
        let expected = format!(r#"{{"T":"{letter}"{rest}"#);
        assert_eq!(json_of(channel, Kind::CANDLE, candle).as_deref(), Some(expected.as_str()));
    }
    assert_eq!(json_of(AlpacaChannel::Others, Kind::CANDLE, candle), None);
    let more = candle.replace("}", r#","trades":3,"vwap":1.25}"#);
    assert!(json_of(AlpacaChannel::Bars, Kind::CANDLE, &more).unwrap().contains(r#""n":3,"vw":1.25,"#));
}

#[test]
fn a_halt_has_all_its_fields() {
    let halt = |rest: &str| json(Kind::HALT, &format!(r#"{{"timestamp":0,{rest}}}"#));
    assert_eq!(
        halt(r#""status":"halted","reason":"LULD""#),
        r#"{"T":"s","S":"AAPL","sc":"H","sm":"halted","rc":"","rm":"LULD","t":"1970-01-01T00:00:00Z","z":""}"#
    );
    assert!(halt(r#""status":"Resumed""#).contains(r#""sc":"T","sm":"Resumed""#));
    assert!(
        halt(r#""status":"?","statusCode":"P","reasonCode":"T1","tape":"A""#)
            .contains(r#""sc":"P","sm":"?","rc":"T1""#)
    );
}

#[test]
fn an_article_names_the_symbol_that_it_came_for() {
    let article = |rest: &str| -> Json {
        serde_json::from_str(&json(Kind::NEWS, &format!(r#"{{"headline":"a \"b\"","timestamp":0{rest}}}"#)))
            .unwrap()
    };
    let plain = article("");
    let id = plain["id"].as_i64().unwrap();
    assert!((0..SEQ_END as i64).contains(&id) && id == article("")["id"].as_i64().unwrap());
    assert_ne!(plain["id"], article(r#","x":1"#)["id"]);
    assert_eq!(
        plain,
        json!({
            "T": "n", "id": id, "headline": "a \"b\"", "summary": "", "author": "", "created_at": "1970-01-01T00:00:00Z",
            "updated_at": "1970-01-01T00:00:00Z", "url": "", "content": "", "symbols": ["AAPL"], "source": "",
        })
    );
    let more = article(r#","id":5,"symbols":["MSFT"],"createdAt":1000,"source":"x","url":null"#);
    assert_eq!((&more["id"], &more["symbols"]), (&json!(5), &json!(["MSFT", "AAPL"])));
    assert_eq!((&more["created_at"], &more["url"]), (&json!("1970-01-01T00:00:01Z"), &json!("")));
    assert_eq!(article(r#","symbols":["AAPL","MSFT"]"#)["symbols"], json!(["AAPL", "MSFT"]));
}

#[test]
fn in_messagepack_numbers_are_what_go_wants() {
    let trade = r#"{"price":150,"volume":100.0,"timestamp":1614009104208,"conditions":["@"]}"#;
    let bytes = written(Wire::Msgpack, AlpacaChannel::Others, Kind::TRADE, trade).unwrap();
    let mut expected =
        vec![0x87, 0xa1, b'T', 0xa1, b't', 0xa1, b'S', 0xa4, b'A', b'A', b'P', b'L', 0xa1, b'i', 7];
    expected.extend_from_slice(&[0xa1, b'p', 0xcb]);
    expected.extend_from_slice(&150_f64.to_be_bytes());
    expected.extend_from_slice(&[0xa1, b's', 100, 0xa1, b't', 0xd7, 0xff]);
    expected.extend_from_slice(&(208_000_000_u64 << 34 | 1_614_009_104).to_be_bytes());
    expected.extend_from_slice(&[0xa1, b'c', 0x91, 0xa1, b'@']);
    assert_eq!(bytes, expected);
    let quote = r#"{"bidPrice":1,"askPrice":2,"timestamp":0,"askSize":0.5}"#;
    let bytes = written(Wire::Msgpack, AlpacaChannel::Others, Kind::QUOTE, quote).unwrap();
    assert!(bytes.windows(4).any(|part| part == [0xa2, b'b', b's', 0]));
    assert!(bytes.windows(4).any(|part| part == [0xa2, b'a', b's', 0xcb]));
}

#[test]
fn what_cannot_be_said_is_not() {
    for (kind, object) in [
        (Kind::TRADE, r#"{"price":1,"volume":1,"timestamp":1e300}"#),
        (Kind::TRADE, r#"{"price":1,"volume":1,"timestamp":-99999999999999}"#),
        (Kind::TRADE, r#"{"price":1,"volume":1}"#),
        (Kinds::default().find(b"trade").unwrap(), "{}"),
        ("mine".parse::<Kinds>().unwrap().find(b"mine").unwrap(), r#"{"timestamp":1}"#),
    ] {
        for wire in [Wire::Json, Wire::Msgpack] {
            assert_eq!(written(wire, AlpacaChannel::Others, kind, object), None, "{object}");
        }
    }
    let huge = r#"{"price":1e999,"volume":1,"timestamp":1}"#;
    assert!(json(Kind::TRADE, huge).contains("1e999"), "byte for byte");
    assert_eq!(written(Wire::Msgpack, AlpacaChannel::Others, Kind::TRADE, huge), None);
}

#[test]
fn markers_and_other_names_are_told() {
    let symbol = Symbol::parse(b"BTC-USD", SymbolCase::Upper).unwrap();
    let spelling = Spelling::parse("BTC-USD=BTC/USD", SymbolCase::Upper).unwrap();
    let openings = Openings::new(&Kinds::default()).spelled(spelling);
    let object = r#"{"price":1,"volume":2,"timestamp":0}"#;
    for (marker, end) in [
        (Marker::SNAPSHOT, r#","snapshot":true}"#),
        (Marker::conflated(r#"{"count":2,"vwap":null}"#), r#","conflated":{"count":2,"vwap":null}}"#),
    ] {
        let mut out = Vec::new();
        let event = event(Kind::TRADE, &symbol, object, marker);
        assert!(form::write(&mut out, Wire::Json.form(AlpacaChannel::Others), &openings, &event));
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(r#",{"T":"t","S":"BTC/USD","#) && text.ends_with(end), "{text}");
        let mut out = Vec::new();
        assert!(form::write(&mut out, Form::alpaca_msgpack(AlpacaChannel::Others), &openings, &event));
        assert!(out.windows(7).any(|part| part == b"BTC/USD"));
    }
}
