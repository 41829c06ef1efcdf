//! Redis may be absent at the start, killed, hung, or end the subscription: clients are told `down` and `up`, readiness
//! follows, and events flow again without a restart. `gapMs` covers all the time without a byte from Redis.

use crate::support::redis::Publisher;
use crate::support::{Client, Redis, TestGateway, trade};
use std::time::Instant;

use serde_json::{Value, json};

async fn status(client: &mut Client) -> Value {
    let status = client.json().await;
    assert_eq!((&status["type"], &status["event"]), (&json!("status"), &json!("feed")), "{status}");
    status["data"].clone()
}

async fn expect_down(client: &mut Client, gateway: &TestGateway) {
    assert_eq!(status(client).await, json!({"state": "down"}));
    let ready = gateway.get("/ready").await;
    assert_eq!(ready.status, 503, "{}", ready.body);
    let answer = gateway.get("/health").await;
    let health = answer.json();
    assert_eq!((answer.status, &health["redis"]), (200, &json!("down")), "alive, but not connected");
}

/// The client is told that the feed is up, and events arrive again. Returns the gap that it was told of.
async fn expect_up(client: &mut Client, gateway: &TestGateway, worker: &mut Publisher) -> u64 {
    let data = status(client).await;
    assert_eq!(data["state"], "up");
    let gap_ms = data["gapMs"].as_u64().unwrap_or_else(|| panic!("a gap in {data}"));
    assert_eq!(gateway.get("/ready").await.status, 200);
    let next = trade("AAPL", "2", 2);
    worker.trade("AAPL", &next).await;
    assert!(client.text().await.contains(&next));
    gap_ms
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_again() {
    let mut redis = Redis::start().await;
    // Ingest tells its shards one after the other that Redis is back: of another shard than the others', a client that connects then may
    // still be told that it is away.
    let gateway = TestGateway::on(&redis, |config| config.process.shards = 1).await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    redis.kill();
    expect_down(&mut client, &gateway).await;
    let mut late = gateway.client().await;
    assert_eq!(status(&mut late).await, json!({"state": "down"}), "one that connects meanwhile is told too");
    redis.launch();
    redis.until_up().await;
    expect_up(&mut client, &gateway, &mut redis.publisher().await).await;
    assert_eq!(status(&mut late).await["state"], "up");
    let mut later = gateway.subscriber(&["AAPL"]).await;
    later.send(r#"{"action":"ping"}"#).await;
    assert_eq!(later.json().await["type"], "pong", "one that connects afterwards hears nothing of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_with_its_sockets_open() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    let last_byte_behind = Instant::now();
    redis.publisher().await.trade("AAPL", &trade("AAPL", "1", 1)).await;
    client.gets("AAPL", 1).await;
    redis.hang();
    let last_byte_before = Instant::now();
    expect_down(&mut client, &gateway).await;
    let noticed_after_ms = last_byte_before.elapsed().as_millis() as u64;
    redis.go_on();
    let gap_ms = expect_up(&mut client, &gateway, &mut redis.publisher().await).await;
    assert!(
        gap_ms >= noticed_after_ms,
        "{gap_ms} ms, but nothing was heard for {noticed_after_ms} ms before"
    );
    let at_most_ms = last_byte_behind.elapsed().as_millis() as u64;
    assert!(gap_ms <= at_most_ms, "{gap_ms} ms, but {at_most_ms} ms ago a trade came");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_subscription_killed() {
    let redis = Redis::start().await;
    let gateway =
        TestGateway::on(&redis, |config| config.server.server_id = "gw-under-test".to_owned()).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    let list: String = worker.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
    assert!(list.contains("name=gw-under-test"), "the connection carries our name: {list}");
    let killed: i64 = worker.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    assert_eq!(killed, 1);
    assert_eq!(status(&mut client).await, json!({"state": "down"}));
    expect_up(&mut client, &gateway, &mut worker).await;
    assert_eq!(gateway.gateway.state().metrics.ingest.upstream_losses.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_at_the_start() {
    let mut redis = Redis::prepare(&[]);
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let url = format!("ws://{}/ws?symbols=AAPL", gateway.addr);
    let mut client = Client::connect(&url).await;
    assert_eq!(client.json().await["type"], "success", "the reply to ?symbols= is the first frame");
    expect_down(&mut client, &gateway).await;
    redis.launch();
    redis.until_up().await;
    expect_up(&mut client, &gateway, &mut redis.publisher().await).await;
}
