//! Frames as lines for people.

use serde_json::Value;

use super::frame::{Frame, Held, Marks, Stats};
use super::people;
use crate::event;
use crate::term::{Palette, clean};
use crate::trade::{HEADING, Rows};

/// More of a foreign text isn't shown.
const TEXT_CHARS_MAX: usize = 400;

/// Makes lines, and remembers prices to tell their change.
#[derive(Debug)]
pub struct View {
    rows: Rows,
    palette: Palette,
    headed: bool,
}

impl View {
    /// Nothing shown yet.
    pub fn new(palette: Palette) -> Self {
        Self { rows: Rows::new(palette), palette, headed: false }
    }

    /// The frame as text; the heading comes before the first trade.
    pub fn show(&mut self, frame: &Frame<'_>) -> String {
        let Palette { dim, warn, reset, .. } = self.palette;
        match frame {
            Frame::Event { kind, data, trade, marks } => {
                let marks = marked(marks);
                let row = match trade {
                    Some(trade) => self.rows.row(trade, &marks),
                    None => event::row(kind, data, &marks),
                };
                // What a worker tells a user has no columns.
                if self.headed || !event::has_columns(kind) {
                    row
                } else {
                    self.headed = true;
                    format!("{dim}{HEADING}{reset}\n{row}")
                }
            }
            Frame::Success { message, held, .. } => {
                let message = clean(message, TEXT_CHARS_MAX);
                let (lost, holding) = (not_recovered(held), holding(held));
                if lost.is_empty() {
                    format!("{dim}-- {message}; {holding}{reset}")
                } else {
                    format!("{warn}!! {message}; {holding}; can't catch up with {lost}{reset}")
                }
            }
            Frame::Error { code, message, retry_after_s, .. } => {
                let (code, message) = (clean(code, 64), clean(message, TEXT_CHARS_MAX));
                let retry = retry_after_s.map(|s| format!("; try again in {s} s")).unwrap_or_default();
                format!("{warn}!! {code}: {message}{retry}{reset}")
            }
            Frame::Desk { kind, message } => people::row(kind, message),
            Frame::Pong { stats: None } => format!("{dim}-- pong{reset}"),
            Frame::Pong { stats: Some(stats) } => {
                let Stats { queued_bytes, skipped, conflated, lag_ms } = stats;
                format!(
                    "{dim}-- pong: {queued_bytes} bytes queued, {skipped} skipped, {conflated} conflated, {lag_ms} ms behind{reset}"
                )
            }
            Frame::Status { event, data } => {
                let (serious, text) = status(event, data);
                if serious { format!("{warn}!! {text}{reset}") } else { format!("{dim}-- {text}{reset}") }
            }
        }
    }
}

/// What we hold, by type.
fn holding(held: &Held) -> String {
    let trades = (!held.current_subscriptions.is_empty()).then(|| held.current_subscriptions.join(", "));
    let others = held.current_by_type.iter().map(|(kind, names)| format!("{} ({kind})", names.join(", ")));
    let all: Vec<_> = trades.into_iter().chain(others).collect();
    if all.is_empty() {
        return "now holding nothing".to_owned();
    }
    format!("now holding {}", clean(&all.join(", "), TEXT_CHARS_MAX))
}

/// The symbols that were to be resumed and can't be.
fn not_recovered(held: &Held) -> String {
    let lost = held.recovered.iter().filter(|(_, recovered)| !**recovered).map(|(name, _)| name.as_str());
    clean(&lost.collect::<Vec<_>>().join(", "), TEXT_CHARS_MAX)
}

fn marked(marks: &Marks<'_>) -> String {
    let mut words = Vec::new();
    if marks.snapshot {
        words.push("snapshot".to_owned());
    }
    if marks.replay {
        words.push("replay".to_owned());
    }
    if let Some(conflated) = marks.conflated {
        words.push(format!("conflated {}", clean(conflated, TEXT_CHARS_MAX)));
    }
    if let Some(delayed_ms) = marks.delayed_ms {
        words.push(format!("delayed {} s", delayed_ms as f64 / 1000.0));
    }
    words.join(" ")
}

/// A status event in words, and whether it is bad news.
fn status(event: &str, data: &Value) -> (bool, String) {
    let text = |field: &str| clean(&plain(data.get(field)), TEXT_CHARS_MAX);
    let topic = || format!("{} {}", text("symbol"), text("type"));
    match event {
        "feed" if data.get("state").and_then(Value::as_str) == Some("up") => {
            (false, format!("the feed is back after {} ms", text("gapMs")))
        }
        "feed" => (true, format!("the feed is {}: no trades until it is back", text("state"))),
        "skipped" => (true, format!("too slow: {} events of {} were skipped", text("count"), topic())),
        "slow" if data.get("policy").and_then(Value::as_str) == Some("lossless") => {
            (false, "fast enough again: every event comes from here".to_owned())
        }
        "slow" => (
            true,
            format!("slow: the policy is now {} ({} bytes queued)", text("policy"), text("queuedBytes")),
        ),
        "gap" => (true, format!("the workers left out {} to {} of {}", text("from"), text("to"), topic())),
        "snapshotEnd" => {
            (false, format!("end of the snapshot of {} ({}): live from here", text("symbols"), text("type")))
        }
        "replayEnd" => {
            (false, format!("end of the replay of {} ({}): live from here", text("symbols"), text("type")))
        }
        "heartbeat" if data.get("lastEventAgeMs").is_some_and(Value::is_null) => {
            (false, format!("heartbeat: feed {}, no event yet", text("feed")))
        }
        "heartbeat" => {
            (false, format!("heartbeat: feed {}, last event {} ms ago", text("feed"), text("lastEventAgeMs")))
        }
        "tokenExpiring" => (true, format!("the token ends in {} ms", text("expiresInMs"))),
        "shutdown" => (
            true,
            format!("the gateway goes away ({}); back in {} ms", text("reason"), text("reconnectAfterMs")),
        ),
        _ => (false, format!("{} {}", clean(event, 64), clean(&data.to_string(), TEXT_CHARS_MAX))),
    }
}

/// A JSON value without quotes and brackets.
fn plain(value: Option<&Value>) -> String {
    match value {
        None => "?".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            items.iter().map(|item| plain(Some(item))).collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(frame: &str) -> String {
        View::new(Palette::PLAIN).show(&Frame::parse(frame).unwrap())
    }

    fn status(event: &str, data: &str) -> String {
        show(&format!(r#"{{"type":"status","event":"{event}","data":{data},"timestamp":1}}"#))
    }

    #[test]
    fn the_heading_stands_once_over_the_trades() {
        let frame = r#"{"type":"trade","data":{"symbol":"AAPL","price":150.25,"volume":100,"timestamp":1234567890,"exchange":"NASDAQ"},"timestamp":1234567890}"#;
        let mut view = View::new(Palette::PLAIN);
        let first = view.show(&Frame::parse(frame).unwrap());
        assert!(first.starts_with(HEADING) && first.lines().count() == 2, "{first}");
        let second = view.show(&Frame::parse(frame).unwrap());
        assert!(second.starts_with("06:56:07.890  AAPL ") && second.contains("150.25 ="), "{second}");
    }

    #[test]
    fn what_a_worker_tells_is_shown_as_it_is_and_has_no_heading() {
        let whole = r#"{"type":"case_updated","case":7,"room_id":"r"}"#;
        assert_eq!(show(whole), format!("case_updated  {whole}"));
        assert_eq!(show(r#"{"type":"case_updated","data":{"case":7}}"#), r#"case_updated  {"case":7}"#);
    }

    #[test]
    fn history_is_told_from_live_trades() {
        let data = r#"{"symbol":"A","price":1,"volume":1,"timestamp":1}"#;
        for (marks, shown) in [
            (r#""snapshot":true"#, "snapshot"),
            (r#""replay":true"#, "replay"),
            (r#""conflated":{"count":3}"#, r#"conflated {"count":3}"#),
            (r#""delayedMs":900000"#, "delayed 900 s"),
            (r#""replay":true,"delayedMs":1500"#, "replay delayed 1.5 s"),
        ] {
            let line = show(&format!(r#"{{"type":"trade","data":{data},"timestamp":1,{marks}}}"#));
            assert!(line.ends_with(shown), "{line}");
        }
    }

    #[test]
    fn events_of_other_types_have_lines_of_their_own() {
        let quote = r#"{"type":"quote","data":{"symbol":"A","bidPrice":1.0,"askPrice":2,"timestamp":0},"timestamp":1,"snapshot":true}"#;
        let shown = show(quote);
        assert!(shown.starts_with(HEADING) && shown.ends_with("quote  bid 1.0  ask 2  snapshot"), "{shown}");
    }

    #[test]
    fn replies_say_what_is_held_or_what_was_wrong() {
        let subscribed = r#"{"type":"success","message":"Successfully subscribed to 2 symbol(s)","data":{"subscribed":["AAPL","GOOGL"],"currentSubscriptions":["AAPL","GOOGL"]},"timestamp":1234567890}"#;
        assert_eq!(show(subscribed), "-- Successfully subscribed to 2 symbol(s); now holding AAPL, GOOGL");
        let limit = r#"{"type":"error","message":"Cannot subscribe: would exceed maximum of 5 symbols","code":"SYMBOL_LIMIT_EXCEEDED","timestamp":1234567890}"#;
        assert_eq!(
            show(limit),
            "!! SYMBOL_LIMIT_EXCEEDED: Cannot subscribe: would exceed maximum of 5 symbols"
        );
        let rate = r#"{"type":"error","message":"Slow down","code":"RATE_LIMIT_EXCEEDED","retryAfter":7,"timestamp":1}"#;
        assert_eq!(show(rate), "!! RATE_LIMIT_EXCEEDED: Slow down; try again in 7 s");
        assert_eq!(show(r#"{"type":"pong","timestamp":1}"#), "-- pong");
        assert_eq!(
            show(
                r#"{"type":"pong","timestamp":1,"stats":{"queuedBytes":9,"skipped":2,"conflated":3,"lagMs":4}}"#
            ),
            "-- pong: 9 bytes queued, 2 skipped, 3 conflated, 4 ms behind"
        );
        let resumed = r#"{"type":"success","message":"m","data":{"subscribed":["A","B"],"currentSubscriptions":["A","B"],"currentByType":{"news":["*"],"quote":["A","B"]},"recovered":{"A":true,"B":false}},"timestamp":1}"#;
        assert_eq!(show(resumed), "!! m; now holding A, B, * (news), A, B (quote); can't catch up with B");
        assert_eq!(show(r#"{"type":"success","message":"m","timestamp":1}"#), "-- m; now holding nothing");
    }

    #[test]
    fn every_status_event_has_its_words() {
        let cases = [
            ("feed", r#"{"state":"down"}"#, "!! the feed is down: no trades until it is back"),
            ("feed", r#"{"state":"up","gapMs":1200}"#, "-- the feed is back after 1200 ms"),
            (
                "skipped",
                r#"{"symbol":"AAPL","type":"trade","count":17}"#,
                "!! too slow: 17 events of AAPL trade were skipped",
            ),
            (
                "slow",
                r#"{"policy":"conflate","queuedBytes":9}"#,
                "!! slow: the policy is now conflate (9 bytes queued)",
            ),
            (
                "slow",
                r#"{"policy":"lossless","queuedBytes":0}"#,
                "-- fast enough again: every event comes from here",
            ),
            (
                "heartbeat",
                r#"{"feed":"down","lastEventAgeMs":null}"#,
                "-- heartbeat: feed down, no event yet",
            ),
            (
                "gap",
                r#"{"symbol":"A","type":"trade","from":3,"to":5}"#,
                "!! the workers left out 3 to 5 of A trade",
            ),
            (
                "snapshotEnd",
                r#"{"symbols":["A","B"],"type":"trade"}"#,
                "-- end of the snapshot of A, B (trade): live from here",
            ),
            (
                "replayEnd",
                r#"{"symbols":["A"],"type":"trade"}"#,
                "-- end of the replay of A (trade): live from here",
            ),
            (
                "heartbeat",
                r#"{"feed":"up","lastEventAgeMs":12}"#,
                "-- heartbeat: feed up, last event 12 ms ago",
            ),
            ("tokenExpiring", r#"{"expiresInMs":60000}"#, "!! the token ends in 60000 ms"),
            (
                "shutdown",
                r#"{"reason":"rebalance","reconnectAfterMs":812}"#,
                "!! the gateway goes away (rebalance); back in 812 ms",
            ),
            ("novel", r#"{"a":1}"#, r#"-- novel {"a":1}"#),
            ("gap", "{}", "!! the workers left out ? to ? of ? ?"),
        ];
        for (event, data, expected) in cases {
            assert_eq!(status(event, data), expected);
        }
    }

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        for frame in [
            r#"{"type":"error","message":"\u001b[2J","code":"\u001b[2J","timestamp":1}"#,
            r#"{"type":"status","event":"\u001b[2J","data":{"a":"\u001b[2J"},"timestamp":1}"#,
            r#"{"type":"trade","data":{"symbol":"\u001b[2J","price":1,"volume":1,"timestamp":1,"exchange":"\u001b"},"timestamp":1}"#,
            r#"{"type":"\u001b[2J","data":1}"#,
        ] {
            assert!(!show(frame).contains('\x1b'), "{frame}");
        }
    }

    #[test]
    fn what_is_no_frame_of_the_protocol_is_an_error() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"type":7}"#,
            r#"{"type":"trade"}"#,
            r#"{"type":"trade","data":{"symbol":"A"}}"#,
        ] {
            assert!(Frame::parse(text).is_err(), "{text}");
        }
    }
}
