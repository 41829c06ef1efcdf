//! The workers' `seq`: a gap is announced in its place and counted, a repeat is dropped and counted, and a worker that
//! restarts its numbers is neither.

use crate::support::{Client, Redis, TestGateway};
use serde_json::{Value, json};

fn numbered(symbol: &str, seq: u64, timestamp: u64) -> String {
    format!(r#"{{"symbol":"{symbol}","price":1,"volume":1,"timestamp":{timestamp},"seq":{seq}}}"#)
}

/// The `seq` of an event, or `from` and `to` of a gap.
async fn next(client: &mut Client) -> Value {
    let frame = client.json().await;
    match frame["event"].as_str() {
        Some("gap") => {
            assert_eq!(frame["data"]["type"], "trade");
            json!([frame["data"]["symbol"], frame["data"]["from"], frame["data"]["to"]])
        }
        _ => frame["data"]["seq"].clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_are_told_and_repeats_are_dropped() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.process.shards = 2).await;
    let mut worker = redis.publisher().await;
    let mut clients = [gateway.subscriber(&["AAPL"]).await, gateway.subscriber(&["*", "AAPL"]).await];
    // (seq, timestamp): a jump, a repeat, one that comes late, a restart, its repeat.
    let numbers = [(1, 1), (2, 1), (6, 2), (6, 2), (3, 2), (7, 3), (1, 4), (1, 4), (2, 4)];
    let events = numbers.map(|(seq, timestamp)| ("AAPL".to_owned(), numbered("AAPL", seq, timestamp)));
    worker.trades(events).await;
    for client in &mut clients {
        let mut got = Vec::new();
        for _ in 0..8 {
            got.push(next(client).await);
        }
        let expected = json!([1, 2, ["AAPL", 3, 5], 6, 3, 7, 1, 2]);
        assert_eq!(Value::from(got), expected);
    }
    let mut quiet = gateway.subscriber(&["MSFT"]).await;
    worker.trade("AAPL", &numbered("AAPL", 5, 5)).await;
    for client in &mut clients {
        assert_eq!(next(client).await, json!(["AAPL", 3, 4]));
        assert_eq!(next(client).await, 5);
    }
    quiet.send(r#"{"action":"ping"}"#).await;
    assert_eq!(quiet.json().await["type"], "pong", "others aren't told");
    assert_eq!(gateway.stat("events/gaps").await, 2);
    assert_eq!(gateway.stat("events/missing").await, 5);
    assert_eq!(gateway.stat("events/duplicate").await, 2);
    assert_eq!(gateway.stat("events/late").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_delivered_where_they_are_not_to_be_dropped() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.events.deduplicate = false).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    for seq in [1, 2, 2, 1, 3] {
        worker.trade("AAPL", &numbered("AAPL", seq, 1)).await;
    }
    for seq in [1, 2, 2, 1, 3] {
        assert_eq!(next(&mut client).await, seq);
    }
    let mut late = gateway.client().await;
    late.send(r#"{"action":"subscribe","symbols":["AAPL"],"resume":{"AAPL":1}}"#).await;
    assert_eq!(late.json().await["data"]["recovered"], json!({"AAPL": true}));
    assert_eq!(
        (next(&mut late).await, next(&mut late).await),
        (json!(2), json!(3)),
        "but each is replayed once"
    );
}

/// What an outage looks like: every topic has a gap, all at once.
#[tokio::test(flavor = "multi_thread")]
async fn no_number_of_gaps_is_too_many_for_a_client_that_reads() {
    const SYMBOLS: u64 = 5_000;
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.process.shards = 1).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.subscriber(&["*"]).await;
    let all_at = |seq| (0..SYMBOLS).map(move |n| (format!("S{n}"), numbered(&format!("S{n}"), seq, seq)));
    worker.trades(all_at(1)).await;
    for _ in 0..SYMBOLS {
        assert_eq!(next(&mut client).await, 1);
    }
    worker.trades(all_at(10)).await;
    for n in 0..SYMBOLS {
        assert_eq!(next(&mut client).await, json!([format!("S{n}"), 2, 9]));
        assert_eq!(next(&mut client).await, 10);
    }
}
