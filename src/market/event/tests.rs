//! Which events keep the contract, and with which words the others are dropped.

use super::*;
use crate::market::Kinds;

const CHECKER: Checker = Checker { max_event_bytes: 65_536, symbol_case: SymbolCase::Upper };
const GOOD: &str = r#"{"symbol":"AAPL","price":150.250,"volume":9007199254740993,"timestamp":1234567890}"#;

fn check_as_trade<'p>(payload: &'p [u8], symbol: &[u8], max: usize) -> Result<&'p str, Reject> {
    Checker { max_event_bytes: max, ..CHECKER }.check(Kind::TRADE, payload, symbol).map(|event| event.object)
}

fn trade(payload: &str) -> Result<&str, Reject> {
    check_as_trade(payload.as_bytes(), b"AAPL", 65_536)
}

#[test]
fn a_good_trade_is_returned_byte_for_byte() {
    assert_eq!(trade(GOOD), Ok(GOOD));
    assert_eq!(trade(&format!(" \n{GOOD}\r\n")), Ok(GOOD));
    let lower = GOOD.replace("AAPL", "aapl");
    assert_eq!(trade(&lower), Ok(&*lower));
    let escaped = GOOD.replace("AAPL", r"\u0041APL");
    assert_eq!(trade(&escaped), Ok(&*escaped));
}

fn wrong(field: &'static str, must_be: &'static str) -> Result<&'static str, Reject> {
    Err(Reject::Wrong { field, must_be })
}

#[test]
fn bad_trades_are_told_apart() {
    assert_eq!(trade("nonsense"), Err(Reject::NotJson));
    assert_eq!(trade(""), Err(Reject::NotJson));
    assert_eq!(trade("[1]"), Err(Reject::NotObject));
    assert_eq!(trade("42"), Err(Reject::NotObject));
    assert_eq!(trade(&GOOD[..GOOD.len() - 1]), Err(Reject::NotJson));
    assert_eq!(trade(&format!("{GOOD}x")), Err(Reject::NotJson));
    assert_eq!(trade(&GOOD.replace("price", "prize")), Err(Reject::Missing("price")));
    assert_eq!(trade(&GOOD.replace("150.250", "\"150\"")), wrong("price", "a number"));
    assert_eq!(trade(&GOOD.replace("150.250", "null")), wrong("price", "a number"));
    assert_eq!(trade(&GOOD.replace("150.250", "01")), Err(Reject::NotJson));
    assert_eq!(trade(&GOOD.replace("\"AAPL\"", "7")), wrong("symbol", "a string"));
    assert_eq!(trade(&GOOD.replace("AAPL", "MSFT")), Err(Reject::WrongSymbol));
    assert_eq!(trade("{}"), Err(Reject::Missing("symbol")));
    assert_eq!(check_as_trade(GOOD.as_bytes(), b"AAPL", 10), Err(Reject::TooLarge));
    assert_eq!(check_as_trade(b"{\"symbol\":\"\xff\"}", b"AAPL", 100), Err(Reject::NotJson));
}

#[test]
fn each_type_has_its_own_fields() {
    let good = [
        (Kind::QUOTE, r#"{"symbol":"A","bidPrice":1,"askPrice":2,"timestamp":3}"#),
        (
            Kind::CANDLE,
            r#"{"symbol":"A","open":1,"high":2,"low":3,"close":4,"volume":5,"timestamp":6,"interval":"1m"}"#,
        ),
        (Kind::NEWS, r#"{"headline":"\u00e4","timestamp":3}"#),
        (Kind::HALT, r#"{"symbol":"a","status":"halted","timestamp":3}"#),
    ];
    for (kind, payload) in good {
        assert_eq!(CHECKER.check(kind, payload.as_bytes(), b"A").unwrap().object, payload);
        let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(payload).unwrap();
        for field in value.keys() {
            let mut without = value.clone();
            without.remove(field);
            let without = serde_json::to_vec(&without).unwrap();
            let mut wrong = value.clone();
            wrong.insert(field.clone(), serde_json::Value::Bool(true));
            let wrong = serde_json::to_vec(&wrong).unwrap();
            let twice = payload.replacen('{', &format!("{{\"{field}\":{},", value[field]), 1);
            let twice = twice.into_bytes();
            for (bad, fault) in [(without, "missing"), (wrong, "must be"), (twice, "twice")] {
                let reject = CHECKER.check(kind, &bad, b"A").unwrap_err();
                assert_eq!(reject.field(), Some(field.as_str()), "{kind:?} {field}");
                assert_eq!(reject.reason(), Reason::BadField);
                assert!(reject.to_string().contains(fault), "{reject}");
            }
        }
    }
}

#[test]
fn an_interval_is_a_short_text_or_number() {
    let check = |interval: &str, key: &[u8]| {
        let payload = format!(
            r#"{{"symbol":"a","open":1,"high":2,"low":3,"close":4,"volume":5,"timestamp":6,"interval":{interval}}}"#
        );
        let event = CHECKER.check(Kind::CANDLE, payload.as_bytes(), key)?;
        let mut buffer = [0; TOPIC_KEY_BYTES_MAX];
        let key = event.key_with_interval(b"A", &mut buffer).to_vec();
        Ok::<_, Reject>(String::from_utf8(key).unwrap())
    };
    for (interval, key) in
        [(r#""1m""#, "A\u{1f}1m"), ("1", "A\u{1f}1"), (r#""1""#, "A\u{1f}1"), (r#""\u0031""#, "A\u{1f}1")]
    {
        assert_eq!(check(interval, b"A").as_deref(), Ok(key));
        assert_eq!(check(interval, key.as_bytes()).as_deref(), Ok(key), "a topic's symbol is taken as well");
    }
    let long = |bytes: usize| format!("\"{}\"", "m".repeat(bytes));
    assert!(check(&long(INTERVAL_BYTES_MAX), b"A").is_ok());
    for bad in [&*long(INTERVAL_BYTES_MAX + 1), "null", "[1]"] {
        assert_eq!(check(bad, b"A").unwrap_err().field(), Some("interval"));
    }
    assert_eq!(check("1", b"B\x1f1"), Err(Reject::WrongSymbol));
}

#[test]
fn a_custom_type_has_any_object() {
    let mine = "mine".parse::<Kinds>().unwrap().find(b"mine").unwrap();
    let check = |payload: &str| CHECKER.check(mine, payload.as_bytes(), b"a").map(|_| ());
    for good in [
        "{}",
        r#"{"price":"x","price":[],"interval":null,"headline":1}"#,
        r#"{"symbol":"a","seq":"odd","timestamp":1e3}"#,
    ] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    assert_eq!(check(r#"{"symbol":"A"}"#), Err(Reject::WrongSymbol), "its names are never folded");
    assert_eq!(check("[]"), Err(Reject::NotObject));
    assert_eq!(check(r#"{"symbol":"a","symbol":"a"}"#), Err(Reject::Twice("symbol")));
    assert_eq!(check(r#"{"timestamp":1,"timestamp":1}"#), Err(Reject::Twice("timestamp")));
    assert_eq!(check(r#"{"timestamp":"1"}"#).unwrap_err().field(), Some("timestamp"));
    assert_eq!(check(r#"{"x":"\ud800"}"#), Err(Reject::LoneSurrogate));
    let event = CHECKER.check(mine, br#"{"seq":7}"#, b"a").unwrap();
    assert_eq!((event.seq, event.timestamp), (Some(7), ""));
}

#[test]
fn a_symbol_is_the_channels_also_where_none_is_needed() {
    let news = |symbol: &str| {
        let payload = format!(r#"{{"headline":"x","timestamp":3,"symbol":{symbol}}}"#);
        CHECKER.check(Kind::NEWS, payload.as_bytes(), b"A").map(|_| ())
    };
    assert_eq!(news(r#""a""#), Ok(()));
    assert_eq!(news(r#""B""#), Err(Reject::WrongSymbol));
    let exact = Checker { symbol_case: SymbolCase::Exact, ..CHECKER };
    let trade = GOOD.replace("AAPL", "AMpB");
    assert!(exact.check(Kind::TRADE, trade.as_bytes(), b"AMpB").is_ok());
    assert_eq!(exact.check(Kind::TRADE, trade.as_bytes(), b"AMPB"), Err(Reject::WrongSymbol));
    assert_eq!(news("7").unwrap_err().field(), Some("symbol"));
}

#[test]
fn what_readers_take_in_different_ways_is_bad() {
    let with = |field: &str| GOOD.replacen('{', &format!("{{{field},"), 1);
    for (field, expected) in [
        (r#""seq":1,"seq":1"#, Err(Reject::Twice("seq"))),
        (r#""seq":"x","seq":1"#, Err(Reject::Twice("seq"))),
        (r#""symbol":"AAPL""#, Err(Reject::Twice("symbol"))),
        (r#""pr\u0069ce":1"#, Err(Reject::Twice("price"))),
        (r#""x":"\ud800""#, Err(Reject::LoneSurrogate)),
        (r#""\udc00":1"#, Err(Reject::LoneSurrogate)),
        (r#""x":"\ud83d\ude00","y":"\\ud800""#, Ok(())),
        (r#""exchange":"A","exchange":"B""#, Ok(())),
    ] {
        assert_eq!(trade(&with(field)).map(|_| ()), expected, "{field}");
    }
    let nested = |levels: usize| with(&format!(r#""x":{}{}"#, "[".repeat(levels), "]".repeat(levels)));
    assert!(trade(&nested(127)).is_ok());
    assert_eq!(trade(&nested(128)), Err(Reject::TooDeep));
    assert_eq!(trade(&nested(20_000)), Err(Reject::TooDeep));
}

#[test]
fn a_sequence_number_is_a_small_integer() {
    let seq = |text: &str| {
        let payload = GOOD.replace("\"price\"", &format!("\"seq\":{text},\"price\""));
        let event = CHECKER.check(Kind::TRADE, payload.as_bytes(), b"AAPL");
        event.map(|event| (event.seq, event.has_odd_seq))
    };
    assert_eq!(seq("0"), Ok((Some(0), false)));
    assert_eq!(seq("9007199254740991"), Ok((Some(SEQ_END - 1), false)));
    assert!(!CHECKER.check(Kind::TRADE, GOOD.as_bytes(), b"AAPL").unwrap().has_odd_seq);
    for other in ["9007199254740992", "-1", "1.0", "1e3", "\"7\"", "null"] {
        assert_eq!(seq(other), Ok((None, true)), "{other}");
    }
}
