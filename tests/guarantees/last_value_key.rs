//! `LAST_VALUE_KEY`: a gateway that has seen no event of a symbol looks up its last value once, under the key that workers
//! keep, unless an event comes first. A failed look-up delays no client.

use crate::support::{Client, Redis, TestGateway, trade};
use serde_json::{Value, json};
use ws_gateway::config::Config;

fn with_key(config: &mut Config) {
    config.history.last_value_key = Some("last:trade:".to_owned());
}

fn numbered(symbol: &str, seq: u64, timestamp: u64) -> String {
    format!(r#"{{"symbol":"{symbol}","price":1,"volume":1,"timestamp":{timestamp},"seq":{seq}}}"#)
}

/// Subscribes with a snapshot; the events up to `snapshotEnd`.
async fn snapshot(client: &mut Client, symbols: &[&str]) -> Vec<Value> {
    client.send(json!({"action": "subscribe", "symbols": symbols, "snapshot": true}).to_string()).await;
    assert_eq!(client.json().await["type"], "success");
    let mut events = Vec::new();
    loop {
        let frame = client.json().await;
        if frame["event"] == "snapshotEnd" {
            return events;
        }
        assert_eq!(frame["snapshot"], true, "{frame}");
        events.push(frame["data"].clone());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_comes_from_the_key_until_an_event_does() {
    let redis = Redis::start().await;
    let mut worker = redis.publisher().await;
    let kept = |symbol: &str| format!("last:trade:{symbol}");
    let () = worker.command(&["SET", &kept("AAPL"), &trade("AAPL", "1.50", 7)]).await;
    let () = worker.command(&["SET", &kept("WRONG"), &trade("AAPL", "1", 7)]).await;
    let () = worker.command(&["SET", &kept("LIVE"), &trade("LIVE", "1", 7)]).await;
    let _: u64 = worker.command(&["RPUSH", &kept("LIST"), "1"]).await;
    let gateway = TestGateway::on(&redis, with_key).await;
    worker.trade("LIVE", &trade("LIVE", "2", 8)).await;
    crate::support::until("the event", async || (gateway.stat("events/received").await == 1).then_some(()))
        .await;
    let mut client = gateway.client().await;
    let events = snapshot(&mut client, &["WRONG", "NONE", "AAPL", "LIVE", "LIST"]).await;
    let expected = [trade("LIVE", "2", 8), trade("AAPL", "1.50", 7)];
    assert_eq!(events, expected.map(|event| serde_json::from_str::<Value>(&event).unwrap()));
    // The key is looked up once: its later values don't matter.
    let () = worker.command(&["SET", &kept("NONE"), &trade("NONE", "1", 7)]).await;
    let mut second = gateway.client().await;
    assert_eq!(snapshot(&mut second, &["NONE", "AAPL"]).await.len(), 1);
    worker.trade("AAPL", &trade("AAPL", "3", 9)).await;
    assert_eq!(second.json().await["data"]["timestamp"], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_in_the_key_does_not_come_twice() {
    let redis = Redis::start().await;
    let mut worker = redis.publisher().await;
    let () = worker.command(&["SET", "last:trade:AAPL", &numbered("AAPL", 5, 5)]).await;
    let () = worker.command(&["SET", "last:trade:MSFT", &numbered("MSFT", 900, 5)]).await;
    let gateway = TestGateway::on(&redis, with_key).await;
    let mut plain = gateway.subscriber(&["AAPL", "MSFT"]).await;
    let mut client = gateway.client().await;
    assert_eq!(snapshot(&mut client, &["AAPL", "MSFT"]).await.len(), 2);
    // The worker wrote the key before it published; MSFT's worker has restarted its numbers since.
    for (symbol, seq, timestamp) in
        [("AAPL", 4, 4), ("AAPL", 5, 5), ("MSFT", 1, 6), ("AAPL", 6, 6), ("MSFT", 2, 6)]
    {
        worker.trade(symbol, &numbered(symbol, seq, timestamp)).await;
    }
    for seq in [1, 6, 2] {
        assert_eq!(client.json().await["data"]["seq"], seq);
    }
    for seq in [4, 5, 1, 6, 2] {
        assert_eq!(plain.json().await["data"]["seq"], seq);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_away_delays_no_reply_and_no_event() {
    let mut redis = Redis::start().await;
    // Ingest tells its shards one after the other that Redis is back: of another shard than the first client's, a client that comes then
    // may still be told that it is away.
    let gateway = TestGateway::on(&redis, |config| {
        with_key(config);
        config.process.shards = 1;
    })
    .await;
    let mut client = gateway.client().await;
    redis.kill();
    assert_eq!(client.json().await["data"]["state"], "down");
    client.send(r#"{"action":"subscribe","symbols":["AAPL"],"snapshot":true}"#).await;
    assert_eq!(client.json().await["type"], "success");
    assert_eq!(client.json().await["event"], "snapshotEnd");
    redis.launch();
    redis.until_up().await;
    let mut worker = redis.publisher().await;
    let () = worker.command(&["SET", "last:trade:AAPL", &trade("AAPL", "1", 1)]).await;
    assert_eq!(client.json().await["data"]["state"], "up");
    let mut second = gateway.client().await;
    assert_eq!(snapshot(&mut second, &["AAPL"]).await.len(), 1, "the next one asks again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_too_large_is_missing_alone() {
    let redis = Redis::start().await;
    let mut worker = redis.publisher().await;
    let huge = trade("HUGE", "1", 1).replace("NASDAQ", &"x".repeat(3_000_000));
    let () = worker.command(&["SET", "last:trade:HUGE", &huge]).await;
    for symbol in ["AAPL", "MSFT"] {
        let () = worker.command(&["SET", &format!("last:trade:{symbol}"), &trade(symbol, "1", 1)]).await;
    }
    let gateway = TestGateway::on(&redis, with_key).await;
    let mut client = gateway.client().await;
    let events = snapshot(&mut client, &["AAPL", "HUGE", "MSFT"]).await;
    let symbols: Vec<_> = events.iter().map(|event| event["symbol"].clone()).collect();
    assert_eq!(symbols, ["AAPL", "MSFT"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_redis_has_closed_meanwhile_costs_no_client_a_value() {
    let redis = Redis::start().await;
    let mut worker = redis.publisher().await;
    for symbol in ["AAPL", "MSFT"] {
        let () = worker.command(&["SET", &format!("last:trade:{symbol}"), &trade(symbol, "1", 1)]).await;
    }
    let gateway = TestGateway::on(&redis, with_key).await;
    let mut client = gateway.client().await;
    assert_eq!(snapshot(&mut client, &["AAPL"]).await.len(), 1);
    let closed: u64 = worker.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    assert_eq!(closed, 1);
    assert_eq!(snapshot(&mut client, &["MSFT"]).await.len(), 1);
}
