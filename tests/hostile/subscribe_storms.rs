//! Clients that subscribe to all that they may, again and again, under ever other names, leave nothing behind: not in the index, not in
//! the router, not in the history. A client has `MAX_SYMBOLS_PER_CLIENT` topics at a time, and the gateway the sum of these.

use futures_util::future::join_all;
use serde_json::json;

use crate::stage::{MIB, Stage};
use crate::support::http::get;
use crate::support::{Client, until};

const CLIENTS: usize = 8;
const ROUNDS: usize = 2;
const SYMBOLS: usize = 1_000;
/// Those of the honest clients: two on one shard.
const OWN_TOPICS: f64 = 2.0;

/// The topics that some client wants, as the shards count them.
async fn topics(stage: &Stage) -> f64 {
    let metrics = get(stage.addr(), "/metrics").await.body;
    let lines = metrics.lines().filter(|line| line.starts_with("ws_topics{"));
    lines.map(|line| line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number")).sum()
}

/// Held to the memory once it is warm, and that to 24 MiB: the tables of topics, of patterns and of who wants them keep their room for the
/// thousands that were there at a time. Some 13 MiB stay, whatever the names are.
#[tokio::test(flavor = "multi_thread")]
async fn leave_nothing_behind() {
    let stage = Stage::set(&["--shards", "1", "--max-symbols-per-client", "1000"]).await;
    let cost = stage.withstands_once_warm(24 * MIB, async |stage| {
        let storming = (0..CLIENTS).map(async |client| {
            let mut storming = Client::connect(&stage.gateway.url()).await;
            for round in 0..ROUNDS {
                let names: Vec<_> = (0..SYMBOLS).map(|n| format!("C{client}R{round}S{n}")).collect();
                let patterns: Vec<_> = (0..SYMBOLS).map(|n| format!("C{client}R{round}S{n}-*")).collect();
                let resume: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), json!(round))).collect();
                for request in [
                    json!({"action": "subscribe", "symbols": names, "snapshot": true, "conflate": "aggregate"}),
                    json!({"action": "unsubscribe", "symbols": names}),
                    json!({"action": "subscribe", "symbols": patterns, "maxRate": 0.1}),
                    json!({"action": "unsubscribe", "symbols": patterns}),
                    json!({"action": "subscribe", "symbols": names, "resume": resume}),
                    json!({"action": "subscribe", "symbols": patterns}),
                    json!({"action": "unsubscribe", "symbols": names}),
                ] {
                    storming.send(request.to_string()).await;
                }
                // Every request is answered, in order; the last subscribe would be too many.
                let mut answered = Vec::new();
                while answered.len() < 7 {
                    let reply = storming.json().await;
                    match reply["type"].as_str() {
                        Some("success") => answered.push(true),
                        Some("error") => {
                            assert_eq!(reply["code"], "SYMBOL_LIMIT_EXCEEDED", "{reply}");
                            answered.push(false);
                        }
                        _ => {}
                    }
                }
                assert_eq!(answered, [true, true, true, true, true, false, true]);
            }
        });
        join_all(storming).await;
        until("the topics to go", async || (topics(stage).await <= OWN_TOPICS).then_some(())).await;
    });
    let cost = cost.await;
    assert!(cost.peak_bytes < 160 * MIB, "{cost:?}");
}
