//! What is read, and what is refused with which words.

use super::*;
use crate::market::{Form, Symbol, SymbolCase};
use crate::protocol::terms::{Conflate, MaxRate, SlowClientPolicy};

fn grammar(types: &str, symbol_case: SymbolCase) -> Grammar {
    Grammar::new(types.parse().unwrap(), symbol_case)
}

fn parse(message: &str) -> Result<Request, Refusal> {
    super::parse(message, &grammar("trade", SymbolCase::Upper))
}

fn trades(names: &[&str]) -> Selection {
    let parse = |name: &&str| Name::parse(name.as_bytes(), SymbolCase::Upper).unwrap();
    Selection::of_market(&[Kind::TRADE], &names.iter().map(parse).collect::<Vec<_>>())
}

fn subscribe(message: &str) -> Subscribe {
    match parse(message).unwrap().action {
        Action::Subscribe(subscribe) => subscribe,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_are_read() {
    let message = r#" {"action":"subscribe","symbols":["aapl","GOOGL","AAPL"],"x":[1]} "#;
    let request = parse(message).unwrap();
    assert_eq!(request.id, None);
    let read = subscribe(message);
    assert_eq!(read.selection, trades(&["AAPL", "GOOGL"]));
    assert_eq!((read.options, read.resume), (Options::default(), Resume::default()));
    let request = parse(r#"{"action":"unsubscribe","symbols":["A"],"types":["trade"],"id":1.50}"#).unwrap();
    assert_eq!(request.action, Action::Unsubscribe(trades(&["A"])));
    assert_eq!(request.id.unwrap().to_string(), "1.50");
    let request = parse(r#"{"id":"a\"b","action":"ping","stats":true}"#).unwrap();
    assert_eq!(request.action, Action::Ping { stats: true });
    assert_eq!(request.id.unwrap().to_string(), r#""a\"b""#);
    assert_eq!(parse(r#"{"action":"list"}"#).unwrap().action, Action::List);
}

#[test]
fn types_are_those_configured() {
    let rules = grammar("trade,quote", SymbolCase::Upper);
    let message = r#"{"action":"subscribe","symbols":["A","B"],"types":["quote","trade","quote"]}"#;
    let Action::Subscribe(both) = super::parse(message, &rules).unwrap().action else { panic!() };
    assert_eq!(both.selection.types.as_slice(), [Kind::QUOTE, Kind::TRADE]);
    let subjects = both.selection.subjects(Form::JSON);
    assert_eq!(subjects.len(), 4);
    assert_eq!((subjects[1].kind, subjects[1].name.to_string()), (Kind::TRADE, "A".to_owned()));
    let quotes = grammar("quote", SymbolCase::Upper);
    let unsaid = super::parse(r#"{"action":"subscribe","symbols":["A"]}"#, &quotes).unwrap_err();
    assert!(unsaid.message.contains("types") && unsaid.message.contains("quote"), "{}", unsaid.message);
}

#[test]
fn options_are_read_each_on_its_own() {
    let read = subscribe(
        r#"{"action":"subscribe","symbols":["A","B-*"],"snapshot":true,"heartbeat":false,"conflate":"aggregate",
            "maxRate":4,"onSlow":"conflate"}"#,
    );
    assert_eq!(read.selection, trades(&["A", "B-*"]));
    assert_eq!(read.options.snapshot, Some(true));
    assert_eq!(read.options.conflate, Some(Conflate::Aggregate));
    assert_eq!(read.options.max_rate.map(MaxRate::period_us), Some(250_000));
    assert_eq!(read.options.on_slow, Some(SlowClientPolicy::Conflate));
    assert_eq!(read.options.heartbeat, Some(false));
    let read = subscribe(r#"{"action":"subscribe","symbols":["b","A"],"resume":{"a":7,"B":9}}"#);
    let symbol = |name: &str| Symbol::parse(name.as_bytes(), SymbolCase::Upper).unwrap();
    assert_eq!(read.resume, [(symbol("B"), 9), (symbol("A"), 7)], "in the request's order");
}

/// As many as a large message holds: what they cost must not grow with their square.
#[test]
fn very_many_symbols_are_resumed_in_the_requests_order() {
    // 7919 is a prime: no order that sorting would find at hand.
    let names: Vec<_> = (0..50_000).map(|n| format!("S{}", n * 7_919 % 50_000)).collect();
    let seen: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), 1.into())).collect();
    let request = serde_json::json!({"action": "subscribe", "symbols": names, "resume": seen});
    let resumed = subscribe(&request.to_string()).resume;
    assert!(resumed.iter().map(|(symbol, _)| symbol.as_str()).eq(names.iter().map(String::as_str)));
}

#[test]
fn bad_options_are_refused() {
    let rules = grammar("trade,quote", SymbolCase::Upper);
    for (field, value) in [
        ("snapshot", "1"),
        ("heartbeat", "\"yes\""),
        ("conflate", "\"latest\""),
        ("maxRate", "0.05"),
        ("maxRate", "1001"),
        ("maxRate", "\"4\""),
        ("onSlow", "\"drop\""),
        ("resume", "[1]"),
        ("resume", r#"{"B":1}"#),
        ("resume", r#"{"A":1,"a":2}"#),
        ("resume", r#"{"A":1,"A":2}"#),
        ("resume", r#"{"A":1,"\u0041":1}"#),
        ("resume", r#"{"A":-1}"#),
        ("resume", r#"{"A":9007199254740992}"#),
        ("resume", r#"{"A*":1}"#),
        ("types", r#"["halt"]"#),
        ("types", "[]"),
        ("types", r#""trade""#),
    ] {
        let message = format!(r#"{{"action":"subscribe","symbols":["A"],"{field}":{value}}}"#);
        let refusal = super::parse(&message, &rules).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidInput, "{message}");
        assert!(refusal.message.contains(field) && refusal.message.contains(value), "{}", refusal.message);
    }
    for pair in [r#""conflate":false,"maxRate":1"#, r#""types":["trade","quote"],"resume":{"A":1}"#] {
        let message = format!(r#"{{"action":"subscribe","symbols":["A"],{pair}}}"#);
        assert_eq!(super::parse(&message, &rules).unwrap_err().code, ErrorCode::InvalidInput, "{message}");
    }
}

#[test]
fn refusals_name_field_and_value() {
    let cases = [
        ("nonsense", ErrorCode::InvalidJson, "nonsense"),
        (r#"{"action":"ping""#, ErrorCode::InvalidJson, "EOF"),
        (r#"["subscribe",["AAPL"]]"#, ErrorCode::InvalidInput, "message"),
        ("7", ErrorCode::InvalidInput, "message"),
        (r#"{"symbols":["AAPL"]}"#, ErrorCode::InvalidInput, "action"),
        (r#"{"action":7}"#, ErrorCode::InvalidInput, "action 7"),
        (r#"{"action":"buy"}"#, ErrorCode::UnknownAction, "\"buy\""),
        (r#"{"action":"subscribe"}"#, ErrorCode::InvalidInput, "symbols"),
        (r#"{"action":"subscribe","symbols":[]}"#, ErrorCode::InvalidInput, "symbols []"),
        (r#"{"action":"subscribe","symbols":"AAPL"}"#, ErrorCode::InvalidInput, "symbols \"AAPL\""),
        (r#"{"action":"subscribe","symbols":["A",1]}"#, ErrorCode::InvalidInput, "symbols [\"A\",1]"),
        (r#"{"action":"subscribe","symbols":["A,B"]}"#, ErrorCode::InvalidInput, "\"A,B\""),
        (r#"{"action":"subscribe","symbols":["A"],"types":["quote"]}"#, ErrorCode::InvalidInput, "types"),
        (r#"{"action":"ping","id":true}"#, ErrorCode::InvalidInput, "id true"),
        (r#"{"action":"ping","action":"ping"}"#, ErrorCode::InvalidInput, "action"),
    ];
    for (message, code, part) in cases {
        let refusal = parse(message).unwrap_err();
        assert_eq!(refusal.code, code, "{message}");
        assert!(refusal.message.contains(part), "{message}: {}", refusal.message);
    }
    let long = format!(r#"{{"action":"subscribe","symbols":["{}"]}}"#, "ä".repeat(500));
    assert!(parse(&long).unwrap_err().message.len() < 250);
}

#[test]
fn refusals_echo_the_id() {
    let refusal = parse(r#"{"action":"buy","id":42}"#).unwrap_err();
    assert_eq!(refusal.id.unwrap().to_string(), "42");
    let too_long = format!(r#"{{"action":"ping","id":"{}"}}"#, "x".repeat(65));
    assert_eq!(parse(&too_long).unwrap_err().id, None);
}

/// However it is written: Python's json.dumps makes an escape of 6 bytes of each character that isn't ASCII.
#[test]
fn an_id_is_as_long_as_its_text() {
    let escaped = |text: &str| text.encode_utf16().map(|unit| format!(r"\u{unit:04x}")).collect::<String>();
    for text in ["x".repeat(64), "株".repeat(21), "é".repeat(32), "😀".repeat(16)] {
        for (written, is_taken) in [
            (text.clone(), true),
            (escaped(&text), true),
            (format!("{text}xx"), false),
            (escaped(&format!("{text}xx")), false),
        ] {
            let id = parse(&format!(r#"{{"action":"ping","id":"{written}"}}"#)).map(|request| request.id);
            match id {
                Ok(id) => assert_eq!((id.unwrap().to_string(), is_taken), (format!("\"{written}\""), true)),
                Err(refusal) => assert_eq!((refusal.code, is_taken), (ErrorCode::InvalidInput, false)),
            }
        }
    }
    let quotes = r#"\""#.repeat(64);
    assert!(parse(&format!(r#"{{"action":"ping","id":"{quotes}"}}"#)).is_ok());
}

#[test]
fn symbols_are_normalised_and_judged_by_one_rule() {
    let message =
        r#"{"action":"subscribe","symbols":["m&m.ns","$SPX","AAPL  240119C00190000","AMpB","AMPB"]}"#;
    let upper = ["M&M.NS", "$SPX", "AAPL  240119C00190000", "AMPB"];
    assert_eq!(subscribe(message).selection, trades(&upper));
    let exact = grammar("trade", SymbolCase::Exact);
    let Action::Subscribe(read) = super::parse(message, &exact).unwrap().action else { panic!() };
    let names: Vec<_> = read.selection.names().into_iter().map(Name::to_string).collect();
    assert_eq!(names, ["m&m.ns", "$SPX", "AAPL  240119C00190000", "AMpB", "AMPB"]);
    let rule = r#"must be 1-64 printable ASCII characters without " \ , * and without a space at either end"#;
    for bad in ["", " A", "A ", "A,B", "*A", "A\\B", "A\"B", "Ä", "A\u{7f}"] {
        let message = serde_json::json!({"action": "subscribe", "symbols": [bad]}).to_string();
        let refusal = parse(&message).unwrap_err();
        assert_eq!(refusal.message, format!("Invalid symbols {}: {rule}", serde_json::Value::from(bad)));
    }
}

#[test]
fn two_pluses_of_a_query_are_taken_for_spaces_that_were_encoded_wrongly() {
    let read = |symbols: &[&str]| {
        parse_query(symbols, &grammar("trade", SymbolCase::Upper)).map(|request| request.selection)
    };
    assert_eq!(read(&["A+B", "AAPL  240119C00190000"]), Ok(trades(&["A+B", "AAPL  240119C00190000"])));
    let refusal = read(&["MSFT", "AAPL++240119C00190000"]).unwrap_err();
    assert!(
        refusal.message.starts_with(r#"Invalid symbols "AAPL++240119C00190000": must be written with %20"#)
    );
}

#[test]
fn names_are_folded_for_each_type_by_its_own_rule() {
    let upper = grammar("trade,mine,other", SymbolCase::Upper);
    let read = |message: &str, grammar: &Grammar| match super::parse(message, grammar).unwrap().action {
        Action::Subscribe(Subscribe { selection, resume, .. }) => (selection, resume),
        other => panic!("{other:?}"),
    };
    let message = r#"{"action":"subscribe","symbols":["aapl","B*","AAPL"],"types":["trade","mine"]}"#;
    let (selection, _) = read(message, &upper);
    let texts = |names: Vec<&Name>| names.into_iter().map(Name::to_string).collect::<Vec<_>>();
    assert_eq!(texts(selection.names()), ["AAPL", "aapl", "B*"]);
    let mine = upper.kinds.find(b"mine").unwrap();
    assert_eq!(texts(selection.names_of(Kind::TRADE)), ["AAPL", "B*"]);
    assert_eq!(texts(selection.names_of(mine)), ["AAPL", "aapl", "B*"]);
    let subjects = selection.subjects(Form::JSON);
    let subjects: Vec<_> = subjects.iter().map(|subject| (subject.kind, subject.name.to_string())).collect();
    let expected = [(Kind::TRADE, "AAPL"), (mine, "AAPL"), (mine, "aapl"), (Kind::TRADE, "B*"), (mine, "B*")];
    assert_eq!(subjects, expected.map(|(kind, name)| (kind, name.to_owned())));

    let first = message.replace(r#"["trade","mine"]"#, r#"["mine","trade"]"#);
    assert_eq!(texts(read(&first, &upper).0.names()), ["aapl", "AAPL", "B*"], "in the order of the types");
    let exact = read(message, &grammar("trade,mine", SymbolCase::Exact)).0;
    assert_eq!(texts(exact.names()), ["aapl", "B*", "AAPL"]);
    assert_eq!(texts(exact.names_of(Kind::TRADE)), texts(exact.names_of(mine)));

    let resume = r#"{"action":"subscribe","symbols":["aapl","AAPL"],"types":["mine"],"resume":{"aapl":7}}"#;
    let resume = read(resume, &upper).1;
    assert_eq!(resume, [(Symbol::parse(b"aapl", SymbolCase::Exact).unwrap(), 7)]);
    let folded = r#"{"action":"subscribe","symbols":["aapl"],"types":["mine"],"resume":{"AAPL":7}}"#;
    assert!(super::parse(folded, &upper).unwrap_err().message.starts_with("Invalid resume"));
}
