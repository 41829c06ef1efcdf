use super::*;
use crate::tui::link::Standing;

fn at(ms: u64) -> Now {
    Now { us: ms * 1000, unix_ms: 1_700_000_000_000 + ms }
}

fn take(model: &mut Model, frames: &[&str]) {
    for frame in frames {
        model.take(&Frame::parse(frame).unwrap(), at(1));
    }
}

fn model(symbols: &[&str]) -> Model {
    let symbols: Vec<_> = symbols.iter().map(|&symbol| symbol.to_owned()).collect();
    let mut model = Model::new("ws://gateway", &symbols);
    model.connected(at(0));
    model
}

fn trade(symbol: &str) -> String {
    format!(
        r#"{{"type":"trade","data":{{"symbol":"{symbol}","price":1.50,"volume":7,"timestamp":0,"exchange":"X"}},"timestamp":1}}"#
    )
}

fn success(held: &str) -> String {
    format!(r#"{{"type":"success","message":"m","data":{{"currentSubscriptions":[{held}]}},"timestamp":1}}"#)
}

fn symbols(model: &Model) -> Vec<&str> {
    model.rows().iter().map(|row| row.symbol.as_str()).collect()
}

#[test]
fn rows_are_what_the_gateway_says_that_we_hold_and_what_patterns_bring() {
    let mut model = model(&["aapl", "MSFT"]);
    assert_eq!(symbols(&model), ["aapl", "MSFT"], "there before the first answer");
    take(&mut model, &[&success(r#""AAPL","MSFT","B-*""#), &trade("B-1"), &trade("aapl")]);
    assert_eq!(symbols(&model), ["MSFT", "AAPL", "B-1"]);
    assert_eq!(model.rows()[1].last, "1.50", "the worker's spelling is the same symbol");
    take(&mut model, &[&success(r#""AAPL""#)]);
    assert_eq!(symbols(&model), ["AAPL"]);
    take(&mut model, &[&trade("AAPL")]);
    assert_eq!(model.rows()[0].volume, 14.0, "and it goes on where it was");
}

#[test]
fn losses_are_counted_by_symbol_and_in_all() {
    let mut model = model(&["A", "B"]);
    take(
        &mut model,
        &[
            r#"{"type":"status","event":"skipped","data":{"symbol":"A","type":"trade","count":17},"timestamp":1}"#,
            r#"{"type":"status","event":"gap","data":{"symbol":"A","type":"trade","from":3,"to":5},"timestamp":1}"#,
            r#"{"type":"status","event":"gap","data":{"symbol":"B","type":"trade","from":7,"to":7},"timestamp":1}"#,
            r#"{"type":"status","event":"gap","data":{},"timestamp":1}"#,
        ],
    );
    assert_eq!((model.skipped, model.missed), (17, 5));
    assert_eq!(model.rows().iter().map(Row::lost).collect::<Vec<_>>(), [20, 1]);
    let first = model.notices.back().unwrap();
    assert!(first.serious && first.text == "too slow: 17 events of A trade were skipped", "{first:?}");
}

#[test]
fn the_tape_has_the_numbers_as_they_were_written_and_says_what_is_history() {
    let mut model = model(&["A"]);
    let snapshot = trade("A").replace(r#""timestamp":1}"#, r#""timestamp":1,"snapshot":true}"#);
    let news = r#"{"type":"news","data":{"headline":"Up \u001b[2J","timestamp":1000},"timestamp":1}"#;
    let halt = r#"{"type":"halt","data":{"symbol":"A","status":"halted","reason":"LULD","timestamp":0},"timestamp":1}"#;
    take(&mut model, &[&snapshot, news, halt]);
    let tape: Vec<_> = model.tape().iter().rev().collect();
    let What::Trade { price, volume, direction: 0, .. } = &tape[0].what else { panic!("{tape:?}") };
    assert_eq!((price.as_str(), volume.as_str(), tape[0].note), ("1.50", "7", "last known"));
    assert_eq!(tape[1].what, What::Other(r"Up \u{1b}[2J".to_owned()));
    assert_eq!((tape[1].time.as_str(), &tape[1].symbol), (" 1 Jan 00:00", &None));
    let of_today = moment(&at(0).unix_ms.to_string(), at(0));
    assert_eq!((of_today.as_str(), moment("soon", at(0)).as_str()), ("22:13:20.000", "soon"));
    assert_eq!(tape[2].what, What::Other("halt  halted  LULD".to_owned()));
    assert_eq!(model.rows()[0].halted.as_deref(), Some("halted"));
    take(&mut model, &[&halt.replace("halted", "resumed")]);
    assert_eq!(model.rows()[0].halted, None);
}

#[test]
fn one_symbol_too_many_is_refused_with_a_way_out() {
    let mut model = model(&["A"]);
    let refusal = r#"{"type":"error","code":"SYMBOL_LIMIT_EXCEEDED","message":"at most 5","timestamp":1}"#;
    take(&mut model, &[refusal]);
    let notice = &model.notices.front().unwrap().text;
    assert_eq!(notice, "SYMBOL_LIMIT_EXCEEDED: at most 5 (d removes the selected one)");
}

#[test]
fn pausing_keeps_symbols_and_tape_but_not_the_truth_about_the_link() {
    let mut model = model(&["A"]);
    take(&mut model, &[&trade("A")]);
    model.toggle_pause();
    take(&mut model, &[&trade("A"), &trade("A")]);
    model.ended(&Ended::Lost("reset".to_owned()), Duration::from_secs(1), at(2));
    assert_eq!((model.rows()[0].volume, model.tape().len()), (7.0, 1));
    assert_eq!(model.frozen.as_ref().map(|frozen| model.events - frozen.events), Some(2));
    assert!(matches!(model.link.standing(at(3)), Standing::Down { .. }));
    model.toggle_pause();
    assert_eq!((model.rows()[0].volume, model.tape().len()), (21.0, 3));
}

#[test]
fn after_a_lost_connection_it_says_what_may_be_missing() {
    let mut model = model(&["A"]);
    model.ended(&Ended::Lost("reset".to_owned()), Duration::from_secs(1), at(1_000));
    model.connected(at(3_500));
    let notice = &model.notices[0];
    assert!(notice.serious && notice.text.starts_with("back after 2.5 s: "), "{notice:?}");
}

#[test]
fn nothing_grows_without_bound() {
    let mut model = model(&["*"]);
    for n in 0..ROWS_MAX + 5 {
        take(&mut model, &[&trade(&n.to_string())]);
    }
    assert_eq!((model.rows().len(), model.tape().len(), model.untold), (ROWS_MAX, LINES_MAX, 5));
    model.tick(at(u64::MAX / 2000));
    assert_eq!(model.second, u64::MAX / 2_000_000, "however long nobody looked");
    assert!(model.rate() < 1_000.0);
}
