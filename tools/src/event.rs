//! Events that are no trades as people read them: time, symbol, type, and what the type is about.

use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::term::clean;
use crate::trade::{VALUE_CHARS_MAX, time_of_day};

/// More of a headline isn't shown.
const TEXT_CHARS_MAX: usize = 200;

/// What is shown of each type: words and the fields whose values stand behind them.
fn fields(kind: &str) -> &'static [(&'static str, &'static str)] {
    match kind {
        "quote" => &[("bid ", "bidPrice"), ("x ", "bidSize"), ("ask ", "askPrice"), ("x ", "askSize")],
        "candle" => &[
            ("", "interval"),
            ("open ", "open"),
            ("high ", "high"),
            ("low ", "low"),
            ("close ", "close"),
            ("volume ", "volume"),
        ],
        "news" => &[("", "headline")],
        "halt" => &[("", "status"), ("", "reason")],
        _ => &[],
    }
}

/// Whether events of this type stand in columns, under the trades' heading.
pub fn has_columns(kind: &str) -> bool {
    kind == "trade" || !fields(kind).is_empty()
}

/// The event as a line under the trades' heading, or as it is if it isn't of a type that we know; `note` (how it differs
/// from an ordinary one) stands at the end.
pub fn row(kind: &str, json: &str, note: &str) -> String {
    let known = fields(kind);
    let Ok(values) = serde_json::from_str::<HashMap<String, &RawValue>>(json) else { return raw(kind, json) };
    if known.is_empty() {
        return raw(kind, json);
    }
    let text = |field: &str, chars_max: usize| {
        let raw = values.get(field)?.get();
        let string = serde_json::from_str::<String>(raw).ok();
        Some(clean(string.as_deref().unwrap_or(raw), chars_max))
    };
    let time = values.get("timestamp").map_or_else(|| "?".to_owned(), |raw| time_of_day(raw.get()));
    let symbol = text("symbol", 64).unwrap_or_else(|| "-".to_owned());
    let mut row = format!("{time:<12}  {symbol:<10} {kind:>13}");
    for (word, field) in known {
        let chars_max = if *field == "headline" { TEXT_CHARS_MAX } else { VALUE_CHARS_MAX };
        if let Some(value) = text(field, chars_max) {
            row.push_str("  ");
            row.push_str(word);
            row.push_str(&value);
        }
    }
    if !note.is_empty() {
        row.push_str("  ");
        row.push_str(note);
    }
    row
}

fn raw(kind: &str, json: &str) -> String {
    format!("{}  {}", clean(kind, 32), clean(json, 400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_shows_what_it_is_about() {
        let cases = [
            (
                "quote",
                r#"{"symbol":"AAPL","bidPrice":150.20,"bidSize":300,"askPrice":150.250,"timestamp":1700000000123}"#,
                "22:13:20.123  AAPL               quote  bid 150.20  x 300  ask 150.250",
            ),
            (
                "candle",
                r#"{"symbol":"A","open":1,"high":2.0,"low":0.5,"close":1.5,"volume":9,"interval":"1m","timestamp":0}"#,
                "00:00:00.000  A                 candle  1m  open 1  high 2.0  low 0.5  close 1.5  volume 9",
            ),
            (
                "news",
                r#"{"headline":"Up \u0007","timestamp":0}"#,
                r"00:00:00.000  -                   news  Up \u{7}",
            ),
            (
                "halt",
                r#"{"symbol":"A","status":"halted","reason":"LULD","timestamp":0}"#,
                "00:00:00.000  A                   halt  halted  LULD",
            ),
            ("novel", r#"{"a":1}"#, r#"novel  {"a":1}"#),
            ("quote", "[7]", "quote  [7]"),
        ];
        for (kind, json, line) in cases {
            assert_eq!(row(kind, json, ""), line);
        }
        assert!(row(cases[0].0, cases[0].1, "snapshot").ends_with("150.250  snapshot"));
    }
}
