//! For a client that stays open, delivered + announced = published, for each symbol, whatever its stalls; and each
//! announcement stands directly before the symbol's next event.

mod support;

use std::collections::HashMap;

use serde_json::Value;
use support::{Client, Redis, TestGateway, trade};
use tokio::sync::mpsc;

const SYMBOLS: [&str; 3] = ["AAPL", "MSFT", "TSLA"];
const TRADES: u64 = 30_000;

#[tokio::test(flavor = "multi_thread")]
async fn under_random_stalls() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.shards = 2;
        config.max_outbox_bytes = 20_000;
    })
    .await;
    let mut tasks = Vec::new();
    let mut gates = Vec::new();
    for _ in 0..20 {
        let client = gateway.subscriber(&SYMBOLS).await;
        let (gate, opened) = mpsc::unbounded_channel();
        gates.push(gate);
        tasks.push(tokio::spawn(count(client, opened)));
    }
    let mut worker = redis.publisher().await;
    for start in (0..TRADES).step_by(500) {
        worker.trades((start..start + 500).map(|n| (symbol(n).to_owned(), payload(n)))).await;
        // Each client may read on from time to time, as much as it has the luck to find.
        for gate in gates.iter().filter(|_| fastrand::u8(..8) == 0) {
            gate.send(fastrand::usize(1..400)).unwrap();
        }
    }
    let metrics = &gateway.gateway.state().metrics.ingest;
    support::until("everything to be framed", async || (metrics.events_framed.get() == TRADES).then_some(()))
        .await;
    drop(gates);
    let mut announced = 0;
    for task in tasks {
        announced += task.await.expect("the equation holds");
    }
    assert!(announced > 0, "the stalls were too short to test anything");
    let skipped = gateway.gateway.state().metrics.sum(|shard| &shard.events_skipped);
    assert_eq!(announced, skipped, "the counters tell the same");
}

/// Reads as many frames as the gate grants, all once it is closed; returns how many events were announced as skipped.
async fn count(mut client: Client, mut gate: mpsc::UnboundedReceiver<usize>) -> u64 {
    let mut next: HashMap<String, u64> = SYMBOLS.iter().map(|symbol| ((*symbol).to_owned(), 0)).collect();
    let mut announced = 0;
    let mut announced_before: Option<String> = None;
    let mut done = 0;
    while done < TRADES {
        let frames = gate.recv().await.unwrap_or(usize::MAX);
        for _ in 0..frames {
            if done == TRADES {
                break;
            }
            let message = client.json().await;
            let data = &message["data"];
            let symbol = data["symbol"].as_str().expect("a symbol").to_owned();
            let position = next.get_mut(&symbol).expect("one of ours");
            if message["type"] == "status" {
                let count = skipped(&message);
                *position += count;
                announced += count;
                done += count;
                assert!(announced_before.is_none(), "two announcements in a row: {message}");
                announced_before = Some(symbol);
                continue;
            }
            if let Some(before) = announced_before.take() {
                assert_eq!(before, symbol, "announced directly before the symbol's next event");
            }
            let n = data["timestamp"].as_u64().expect("a number");
            assert_eq!(n / SYMBOLS.len() as u64, *position, "of {symbol}");
            *position += 1;
            done += 1;
        }
    }
    announced
}

fn skipped(message: &Value) -> u64 {
    assert_eq!(
        (message["event"].as_str(), message["data"]["type"].as_str()),
        (Some("skipped"), Some("trade"))
    );
    message["data"]["count"].as_u64().expect("a count")
}

fn symbol(n: u64) -> &'static str {
    SYMBOLS[(n % SYMBOLS.len() as u64) as usize]
}

/// Large enough that kernel buffers don't hide the stalls.
fn payload(n: u64) -> String {
    trade(symbol(n), "10.50", n).replace("NASDAQ", &"N".repeat(400))
}
