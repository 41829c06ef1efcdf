//! Whatever a message has for JSON, it is answered by one reply of at most a kibibyte, the client may go on, and the depth, the length or
//! the size of a number costs nothing beyond the message.

use std::fmt::Write;

use futures_util::future::join_all;
use serde::de::IgnoredAny;

use crate::stage::{MIB, Stage};
use crate::support::Client;

const EACH: usize = 12;
/// A refusal repeats a bad value only in part.
const REPLY_BYTES_MAX: usize = 1_024;
/// Almost what a message may have.
const BYTES: usize = 60_000;

fn bombs() -> Vec<String> {
    let nested =
        |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let within = |value: &str| {
        [
            "action", "symbols", "types", "id", "resume", "maxRate", "conflate", "snapshot", "onSlow",
            "token", "x",
        ]
        .map(|field| match field {
            "action" => format!(r#"{{"action":{value}}}"#),
            "token" => format!(r#"{{"action":"auth","token":{value}}}"#),
            field => format!(r#"{{"action":"subscribe","symbols":["A"],"{field}":{value}}}"#),
        })
    };
    let mut bombs = vec![
        nested("[", "]", BYTES / 2),
        "[".repeat(BYTES),
        "{\"a\":".repeat(BYTES / 5),
        nested(r#"{"action":"#, "}", BYTES / 12),
        "\"".repeat(BYTES),
        format!("\"{}", "\\".repeat(BYTES)),
        "{}".repeat(BYTES / 2),
        format!(
            "{{{}}}",
            (0..5_000).fold(String::new(), |mut keys, n| {
                let comma = if n == 0 { "" } else { "," };
                write!(keys, r#"{comma}"k{n}":{n}"#).expect("text");
                keys
            })
        ),
        format!("{{{}\"action\":\"ping\"}}", r#""action":"ping","#.repeat(3_000)),
        "\u{feff}{\"action\":\"ping\"}".to_owned(),
        "\0".repeat(BYTES),
        " ".repeat(BYTES),
        String::new(),
    ];
    for value in [
        nested("[", "]", 20_000),
        nested("{\"a\":", "}", 8_000),
        "9".repeat(BYTES - 200),
        format!("-{}", "9".repeat(BYTES - 200)),
        format!("0.{}", "1".repeat(BYTES - 200)),
        format!("1e{}", "9".repeat(1_000)),
        "1e400".to_owned(),
        "-1e-400".to_owned(),
        "1e".to_owned(),
        "0x10".to_owned(),
        "NaN".to_owned(),
        "18446744073709551616".to_owned(),
        r#""\ud800""#.to_owned(),
        format!("\"{}\"", r"\u0000".repeat(9_000)),
        format!("\"{}\"", "\u{202e}".repeat(15_000)),
        format!("[{}]", vec![r#""A""#; 14_000].join(",")),
        format!("[{}]", (0..8_000).map(|n| format!("\"S{n}\"")).collect::<Vec<_>>().join(",")),
        format!("{{{}}}", (0..4_000).map(|n| format!("\"S{n}\":{n}")).collect::<Vec<_>>().join(",")),
        r#"{"A":9007199254740992}"#.to_owned(),
        r#"{"A":-1}"#.to_owned(),
        r#"{"A":1e308}"#.to_owned(),
    ] {
        bombs.extend(within(&value));
    }
    bombs
}

#[tokio::test(flavor = "multi_thread")]
async fn are_answered_and_the_client_goes_on() {
    let stage = Stage::set(&[]).await;
    let bombs = bombs();
    let cost = stage.withstands(async |stage| {
        let throwing = (0..EACH).map(async |_| {
            let mut client = Client::connect(&stage.gateway.url()).await;
            for bomb in &bombs {
                client.send(bomb.clone()).await;
                let reply = client.text().await;
                let shown: String = bomb.chars().take(80).collect();
                assert!(reply.len() <= REPLY_BYTES_MAX, "{shown}: a reply of {} bytes", reply.len());
                // An `id` is echoed as it was written: it may be a number that nobody can hold.
                let is_json = serde_json::from_str::<IgnoredAny>(&reply).is_ok();
                let kinds = ["error", "success", "pong"].map(|kind| format!(r#"{{"type":"{kind}""#));
                assert!(is_json && kinds.iter().any(|kind| reply.starts_with(kind)), "{shown}: {reply}");
            }
            client.send(r#"{"action":"unsubscribe","symbols":["A"]}"#).await;
            assert_eq!(client.json().await["type"], "success");
        });
        join_all(throwing).await;
    });
    let cost = cost.await;
    assert!(cost.peak_bytes < 16 * MIB, "{cost:?}");
}
