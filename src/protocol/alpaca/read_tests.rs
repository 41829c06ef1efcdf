use proptest::prelude::*;

use super::*;
use crate::market::spelling::Spelling;
use crate::market::{AlpacaChannel, Form, Kinds, Subject, SymbolCase};
use crate::protocol::alpaca::write::code;

fn grammar() -> Grammar {
    let kinds: Kinds = "trade,quote,candle".parse().unwrap();
    Grammar::new(kinds, SymbolCase::Upper)
        .spelled(Spelling::parse("BTC-USD=BTC/USD", SymbolCase::Upper).unwrap())
}

fn subjects(message: &str) -> Vec<Subject> {
    match json(message, Wire::Json, &grammar()).unwrap().action {
        Action::Subscribe(Subscribe { selection, .. }) | Action::Unsubscribe(selection) => {
            selection.subjects(Form::JSON)
        }
        other => panic!("{other:?}"),
    }
}

fn refused(message: &str) -> i64 {
    code(&json(message, Wire::Json, &grammar()).unwrap_err()).0
}

#[test]
fn names_are_read_channel_by_channel() {
    let found = subjects(
        r#"{"action":"subscribe","bars":["AAPL","*"],"trades":["aapl","BTC/USD","aapl"],"lulds":[],"x":{"y":[1]}}"#,
    );
    let named =
        |kind, form, name: &[u8]| Subject::wanted(kind, form, Name::parse(name, SymbolCase::Upper).unwrap());
    let (others, bars) = (Form::alpaca_json(AlpacaChannel::Others), Form::alpaca_json(AlpacaChannel::Bars));
    assert_eq!(
        found,
        [
            named(Kind::TRADE, others, b"AAPL"),
            named(Kind::TRADE, others, b"BTC-USD"),
            named(Kind::CANDLE, bars, b"AAPL"),
            named(Kind::CANDLE, bars, b"*"),
        ]
    );
    assert_eq!(found[2].name.symbol().unwrap().as_bytes(), b"AAPL\x1f1m");
    assert_eq!(subjects(r#"{"action":"unsubscribe"}"#), []);
    assert_eq!(subjects(r#"{"action":"subscribe","corrections":["AAPL"]}"#), []);
}

#[test]
fn what_is_refused_has_its_code() {
    for (message, expected) in [
        ("{", 400),
        ("[]", 400),
        (r#"{"action":"listen"}"#, 400),
        (r#"{"trades":["A"]}"#, 400),
        (r#"{"action":"subscribe","trades":[1]}"#, 400),
        (r#"{"action":"subscribe","trades":{"A":1}}"#, 400),
        (r#"{"action":"subscribe","trades":["A*B"]}"#, 400),
        (r#"{"action":"auth"}"#, 400),
        (r#"{"action":"subscribe","statuses":["*"]}"#, 410),
        (r#"{"action":"subscribe","lulds":["*"]}"#, 410),
    ] {
        assert_eq!(refused(message), expected, "{message}");
    }
}

#[test]
fn a_key_and_its_secret() {
    let read = json(r#"{"action":"auth","key":"k","secret":"s"}"#, Wire::Json, &grammar()).unwrap();
    let Action::Auth(token) = read.action else { panic!() };
    assert_eq!((token.as_str(), token.as_pair().as_deref()), ("k", Some("k:s")));
}

/// A message in MessagePack, as `msgpack.packb` writes it.
fn packed(fields: &[(&str, &[&str])], junk: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    rmp::encode::write_map_len(&mut out, fields.len() as u32 + 2).unwrap();
    rmp::encode::write_str(&mut out, "action").unwrap();
    rmp::encode::write_str(&mut out, "subscribe").unwrap();
    rmp::encode::write_str(&mut out, "junk").unwrap();
    out.extend_from_slice(junk);
    for (name, names) in fields {
        rmp::encode::write_str(&mut out, name).unwrap();
        rmp::encode::write_array_len(&mut out, names.len() as u32).unwrap();
        names.iter().for_each(|name| rmp::encode::write_str(&mut out, name).unwrap());
    }
    out
}

#[test]
fn messagepack_says_the_same() {
    let junk: [&[u8]; 12] = [
        &[0xc0],
        &[7],
        &[0xcb, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0xd9, 1, b'x'],
        &[0xc4, 2, 0, 0],
        &[0xd7, 0xff, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0xc7, 3, 5, 1, 2, 3],
        &[0x92, 0x91, 0xc3, 0x81, 0xa1, b'k', 1],
        &[0xdc, 0, 1, 0xc2],
        &[0xde, 0, 1, 1, 2],
        &[0xd8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0xe0],
    ];
    for junk in junk {
        let message = packed(&[("trades", &["AAPL", "*"]), ("updatedBars", &["AAPL"])], junk);
        let read = msgpack(&message, Wire::Msgpack, &grammar()).unwrap();
        let Action::Subscribe(Subscribe { selection, .. }) = read.action else { panic!() };
        let forms: Vec<_> = selection.subjects(Form::JSON).iter().map(|subject| subject.form).collect();
        let others = Form::alpaca_msgpack(AlpacaChannel::Others);
        assert_eq!(forms, [others, others, Form::alpaca_msgpack(AlpacaChannel::UpdatedBars)]);
    }
    let deep = [[0x91; 20].as_slice(), &[0xc0]].concat();
    for bad in
        [&b""[..], b"\xc0", b"\x81", &packed(&[], &deep), &packed(&[], &[0xdd, 0xff, 0xff, 0xff, 0xff])]
    {
        assert_eq!(code(&msgpack(bad, Wire::Msgpack, &grammar()).unwrap_err()).0, 400, "{bad:?}");
    }
    let mut longer = packed(&[], &[0xc0]);
    longer.push(0);
    assert!(msgpack(&longer, Wire::Msgpack, &grammar()).is_err());
}

proptest! {
    #[test]
    fn nothing_makes_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..60), cut in 0_usize..60) {
        let _ = msgpack(&bytes, Wire::Msgpack, &grammar());
        let _ = json(&String::from_utf8_lossy(&bytes), Wire::Json, &grammar());
        let whole = packed(&[("trades", &["AAPL"])], &[0x92, 1, 2]);
        let part = &whole[..cut.min(whole.len())];
        prop_assert_eq!(msgpack(part, Wire::Msgpack, &grammar()).is_ok(), part.len() == whole.len());
    }
}
