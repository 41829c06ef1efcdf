use super::*;
use crate::market::spelling::Spelling;
use crate::market::{Form, Kind, Kinds, MassiveChannel, MassiveMarket, Name, Subject, Symbol, SymbolCase};
use crate::protocol::form::{self, EventParts};
use crate::protocol::native::event::{Marker, Openings};
use crate::protocol::refusal::{Cause, Refusal};
use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::{Action, Grammar, Subscribe};
use crate::websocket::header;

fn grammar() -> Grammar {
    let kinds: Kinds = "trade,quote,candle".parse().unwrap();
    Grammar::new(kinds, SymbolCase::Upper)
        .spelled(Spelling::parse("BTCUSD=BTC-USD", SymbolCase::Upper).unwrap())
}

fn event(
    market: MassiveMarket,
    channel: MassiveChannel,
    kind: Kind,
    symbol: &str,
    object: &str,
) -> Option<String> {
    let symbol = Symbol::parse(symbol.as_bytes(), SymbolCase::Upper).unwrap();
    let event = EventParts { kind, symbol: &symbol, seq: Some(7), object, at_ms: 1, marker: Marker::NONE };
    let openings = Openings::new(&Kinds::default()).spelled(grammar().spelling);
    let mut out = Vec::new();
    let is_written = form::write(&mut out, Form::massive(market, channel), &openings, &event);
    is_written.then(|| String::from_utf8(out).unwrap().strip_prefix(',').unwrap().to_owned())
}

const TRADE: &str = r#"{"symbol":"a","price":114.1250,"volume":100,"timestamp":1536036818784,"exchange":4,"id":"12345","conditions":[0,12],"tape":3}"#;
const QUOTE: &str = r#"{"bidPrice":114.125,"askPrice":114.128,"bidSize":100,"askSize":160,"timestamp":1536036818784,"exchange":"NASDAQ","indicators":[604]}"#;
const CANDLE: &str =
    r#"{"open":1,"high":2,"low":0.5,"close":1.5,"volume":10,"timestamp":60000,"interval":"1m","vwap":1.1}"#;

#[test]
fn events_have_the_words_of_their_market() {
    use MassiveChannel::{Minutes, Others, Seconds};
    use MassiveMarket::{Crypto, Forex, Stocks};
    for (market, channel, kind, object, expected) in [
        (
            Stocks,
            Others,
            Kind::TRADE,
            TRADE,
            r#"{"ev":"T","sym":"BTC-USD","x":4,"i":"12345","z":3,"p":114.1250,"s":100,"c":[0,12],"t":1536036818784,"q":7}"#,
        ),
        (
            Crypto,
            Others,
            Kind::TRADE,
            TRADE,
            r#"{"ev":"XT","pair":"BTC-USD","x":4,"i":"12345","p":114.1250,"s":100,"c":[0,12],"t":1536036818784}"#,
        ),
        (
            Stocks,
            Others,
            Kind::QUOTE,
            QUOTE,
            r#"{"ev":"Q","sym":"BTC-USD","bp":114.125,"bs":100,"ap":114.128,"as":160,"i":[604],"t":1536036818784,"q":7}"#,
        ),
        (
            Crypto,
            Others,
            Kind::QUOTE,
            QUOTE,
            r#"{"ev":"XQ","pair":"BTC-USD","bp":114.125,"bs":100,"ap":114.128,"as":160,"t":1536036818784}"#,
        ),
        (
            Forex,
            Others,
            Kind::QUOTE,
            QUOTE,
            r#"{"ev":"C","p":"BTC-USD","a":114.128,"b":114.125,"t":1536036818784}"#,
        ),
        (
            Stocks,
            Minutes,
            Kind::CANDLE,
            CANDLE,
            r#"{"ev":"AM","sym":"BTC-USD","v":10,"vw":1.1,"o":1,"c":1.5,"h":2,"l":0.5,"s":60000,"e":120000}"#,
        ),
        (
            Crypto,
            Seconds,
            Kind::CANDLE,
            CANDLE,
            r#"{"ev":"XAS","pair":"BTC-USD","v":10,"vw":1.1,"o":1,"c":1.5,"h":2,"l":0.5,"s":60000,"e":61000}"#,
        ),
    ] {
        assert_eq!(event(market, channel, kind, "BTCUSD", object).as_deref(), Some(expected));
    }
    assert_eq!(event(Forex, Others, Kind::TRADE, "A", TRADE), None);
    assert_eq!(event(Stocks, Others, Kind::CANDLE, "A", CANDLE), None);
    assert_eq!(event(Stocks, Others, Kind::TRADE, "A", &TRADE.replace("1536036818784", "1e300")), None);
}

#[test]
fn requests_name_channels_and_symbols() {
    let parse = |message: &str| read::parse(message, MassiveMarket::Crypto, &grammar());
    let subscribe = parse(r#"{"action":"subscribe","params":"XT.BTC-USD, XA.*,XT.brk.a"}"#).unwrap();
    let Action::Subscribe(Subscribe { selection, .. }) = subscribe.action else { panic!() };
    let named = |kind, channel, name: &[u8]| {
        let name = Name::parse(name, SymbolCase::Upper).unwrap();
        Subject::wanted(kind, Form::massive(MassiveMarket::Crypto, channel), name)
    };
    let subjects = selection.subjects(Form::JSON);
    assert_eq!(
        subjects,
        [
            named(Kind::TRADE, MassiveChannel::Others, b"BTCUSD"),
            named(Kind::CANDLE, MassiveChannel::Minutes, b"*"),
            named(Kind::TRADE, MassiveChannel::Others, b"BRK.A"),
        ]
    );
    let told = |reply: &Reply<'_>| {
        String::from_utf8(header::payload(&write::reply(reply, &grammar())).to_vec()).unwrap()
    };
    assert_eq!(
        told(&Reply::Subscribed { selection: &selection, held: &[], recovered: &[], id: None }),
        r#"[{"ev":"status","status":"success","message":"subscribed to: XT.BTC-USD"},{"ev":"status","status":"success","message":"subscribed to: XA.*"},{"ev":"status","status":"success","message":"subscribed to: XT.BRK.A"}]"#
    );
    assert_eq!(
        told(&Reply::Unsubscribed { left: &subjects[..1], held: &[], id: None }),
        r#"[{"ev":"status","status":"success","message":"unsubscribed to: XT.BTC-USD"}]"#
    );
    let skipped = told(&Reply::Status(Status::Skipped { subject: &subjects[0], count: 2 }));
    assert!(
        skipped.contains(r#""status":"skipped""#) && skipped.contains(r#""channel":"XT.BTC-USD","n":2"#),
        "{skipped}"
    );
    assert!(write::reply(&Reply::Unsubscribed { left: &[], held: &[], id: None }, &grammar()).is_empty());
    assert_eq!(
        told(&Reply::Refused(&Refusal::unauthenticated(None))),
        r#"[{"ev":"status","status":"auth_required","message":"Not authenticated: send {\"action\":\"auth\",\"params\":\"YOUR_KEY\"} first"}]"#
    );
    for bad in [
        "{",
        "[]",
        r#"["auth","k"]"#,
        r#"{"params":"XT.A"}"#,
        r#"{"action":"subscribe"}"#,
        r#"{"action":"subscribe","params":" ,"}"#,
        r#"{"action":"subscribe","params":"XT"}"#,
        r#"{"action":"subscribe","params":"XT.A*B"}"#,
        r#"{"action":"subscribe","params":["XT.A"]}"#,
        r#"{"action":"list"}"#,
        r#"{"action":"auth"}"#,
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    for other in ["T.A", "XL2.A", "LULD.A"] {
        let message = format!(r#"{{"action":"subscribe","params":"{other}"}}"#);
        assert_eq!(parse(&message).unwrap_err().cause, Cause::NotCarried, "{other}");
    }
}
