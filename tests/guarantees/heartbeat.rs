//! The gateway pings its clients: it measures and reports how long answers take, and closes a client that answers nothing
//! with 1001. When a client is pinged and judged depends on the clock alone, and `src/fanout/shard/turn_tests.rs` tests
//! that without one.

use std::time::Duration;

use crate::support::{Redis, TestGateway, raw, until};
use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_answers_nothing_is_closed() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.delivery.ping_interval = Duration::from_millis(200);
        config.delivery.pong_timeout = Duration::from_millis(100);
        config.delivery.max_missed_pongs = 2;
    })
    .await;
    let mut silent = raw::connect(gateway.addr, "/ws", None).await;
    let mut received = Vec::new();
    silent.read_to_end(&mut received).await.ok();
    assert_eq!(received, b"\x89\x00\x89\x00\x88\x09\x03\xe9no pong", "two pings, a close with 1001, the end");
    let metrics = &gateway.gateway.state().metrics;
    assert_eq!(metrics.sum(|shard| &shard.pong_timeouts), 1);
    until("it to be let go", async || (metrics.connections_open() == 0).then_some(())).await;
    assert_eq!(metrics.sum(|shard| &shard.connections_dead), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_counted_and_timed() {
    let redis = Redis::start().await;
    let gateway =
        TestGateway::on(&redis, |config| config.delivery.ping_interval = Duration::from_millis(100)).await;
    let mut client = gateway.client().await;
    while !matches!(client.ws.next().await, Some(Ok(Message::Ping(_)))) {}
    client.ws.flush().await.expect("the pong is sent");
    let metrics = &gateway.gateway.state().metrics;
    until("a pong to be counted", async || (metrics.sum(|shard| &shard.pongs) >= 1).then_some(())).await;
    let answer_ms = gateway.get("/stats").await.json()["averageLatencyMs"].as_f64().expect("a time");
    assert!(answer_ms > 0.0);
}
