//! Text from outside stays on the gateway's own log line and moves no terminal's cursor: the line of a bad event shows its
//! channel and the first 120 bytes of its payload with control characters escaped.

use serde_json::Value;

use crate::support::Redis;
use crate::support::process::Process;

const CHANNEL: &str = "channel:trade:A\nWARN forged\u{1b}[2J\u{9b}2J";
const SYMBOL_SHOWN: &str = r"A\nWARN forged\u{1b}[2J\u{9b}2J";

fn payload() -> String {
    format!("{{\r\n\u{1b}]0;title\u{7}{}", "x".repeat(200))
}

fn payload_shown() -> String {
    // 13 characters are before the x's, one byte each.
    format!(r"{{\r\n\u{{1b}}]0;title\u{{7}}{}…", "x".repeat(120 - 13))
}

/// The line about a bad event, and all lines so far.
async fn logged(format: &str) -> (String, Vec<String>) {
    let redis = Redis::start().await;
    let gateway = Process::spawn(&["--redis-url", &redis.url(), "--log-format", format]);
    gateway.logs("Subscribed to 1").await;
    redis.publisher().await.raw(CHANNEL, payload().as_bytes()).await;
    let line = gateway.logs("bad upstream event dropped").await;
    let lines = gateway.log.lock().unwrap().clone();
    (line, lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_text() {
    let (line, lines) = logged("text").await;
    assert!(line.contains(&format!(" reason=\"bad_symbol\" symbol={SYMBOL_SHOWN} ")), "{line}");
    assert!(line.contains(&format!(" payload={} payload_bytes=213", payload_shown())), "{line}");
    for line in lines {
        let (time, _) = line.split_once(' ').unwrap_or_default();
        assert!(time.ends_with('Z') && time.contains('T'), "no line of the gateway's: {line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_json() {
    let (line, lines) = logged("json").await;
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["symbol"], SYMBOL_SHOWN);
    assert_eq!(event["payload"], payload_shown());
    for line in lines {
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
