use super::*;
use crate::market::spelling::Spelling;
use crate::market::{AlpacaChannel, Form, Kinds, SymbolCase};
use crate::websocket::header;

fn grammar() -> Grammar {
    let kinds: Kinds = "trade,quote,candle".parse().unwrap();
    Grammar::new(kinds, SymbolCase::Upper)
        .spelled(Spelling::parse("BTC-USD=BTC/USD", SymbolCase::Upper).unwrap())
}

fn subject(kind: Kind, channel: AlpacaChannel, name: &str) -> Subject {
    Subject::wanted(
        kind,
        Form::alpaca_json(channel),
        Name::parse(name.as_bytes(), SymbolCase::Upper).unwrap(),
    )
}

fn text(told: &Reply<'_>) -> String {
    let frame = reply(told, Wire::Json, &grammar());
    assert_eq!(frame[0], 0x81);
    String::from_utf8(header::payload(&frame).to_vec()).unwrap()
}

#[test]
fn replies_are_alpacas() {
    assert_eq!(
        greeting(Wire::Json, true),
        [
            header::text(br#"[{"T":"success","msg":"connected"}]"#),
            header::text(br#"[{"T":"success","msg":"authenticated"}]"#)
        ]
        .concat()
    );
    let held = [
        subject(Kind::TRADE, AlpacaChannel::Others, "AAPL"),
        subject(Kind::TRADE, AlpacaChannel::Others, "*"),
        subject(Kind::CANDLE, AlpacaChannel::DailyBars, "BTC-USD"),
    ];
    let held: Vec<_> = held.iter().collect();
    assert_eq!(
        text(&Reply::List { held: &held, id: None }),
        r#"[{"T":"subscription","trades":["AAPL","*"],"quotes":[],"bars":[],"updatedBars":[],"dailyBars":["BTC/USD"],"statuses":[],"lulds":[],"corrections":["AAPL","*"],"cancelErrors":["AAPL","*"],"news":[],"orderbooks":[],"imbalances":[]}]"#
    );
    assert_eq!(
        text(&Reply::Refused(&Refusal::symbol_limit(30, 29, None))),
        r#"[{"T":"error","code":405,"msg":"symbol limit exceeded","detail":"Cannot subscribe: would exceed maximum of 30 symbols"}]"#
    );
    let first = text(&Reply::Refused(&Refusal::unauthenticated(None)));
    assert!(first.contains(r#""detail":"Send {\"action\":\"auth\",\"key\":"#), "in Alpaca's words: {first}");
    assert!(reply(&Reply::Pong { stats: None, id: None }, Wire::Json, &grammar()).is_empty());
}

#[test]
fn statuses_have_a_type_that_alpaca_has_not() {
    let told = |status| text(&Reply::Status(status));
    let aapl = subject(Kind::CANDLE, AlpacaChannel::UpdatedBars, "AAPL");
    assert_eq!(told(Status::FeedDown), r#"[{"T":"feed","state":"down"}]"#);
    assert_eq!(told(Status::FeedUp { gap_ms: 5 }), r#"[{"T":"feed","state":"up","gapMs":5}]"#);
    assert_eq!(
        told(Status::Skipped { subject: &aapl, count: 17 }),
        r#"[{"T":"skipped","S":"AAPL","n":17,"channel":"updatedBars"}]"#
    );
    assert_eq!(
        told(Status::Gap { subject: &aapl, from: 1, to: 2 }),
        r#"[{"T":"gap","S":"AAPL","from":1,"to":2,"channel":"updatedBars"}]"#
    );
    let names = [&aapl.name, &aapl.name];
    assert_eq!(
        told(Status::SnapshotEnd { names: &names, kind: Kind::CANDLE, form: Form::JSON }),
        r#"[{"T":"snapshotEnd","type":"candle","symbols":["AAPL"]}]"#
    );
}

#[test]
fn messagepack_says_the_same() {
    let frame = reply(&Reply::Status(Status::FeedUp { gap_ms: 300 }), Wire::Msgpack, &grammar());
    let expected = b"\x91\x83\xa1T\xa4feed\xa5state\xa2up\xa5gapMs\xcd\x01\x2c";
    assert_eq!(frame, header::binary(expected));
}
