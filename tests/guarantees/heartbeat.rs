//! Pings go out spread over the interval, an answer keeps a client, and one that answers nothing is closed with 1001.

use std::time::Duration;

use crate::support::{Redis, TestGateway, raw, until};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_is_dropped_and_one_that_answers_is_kept() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.delivery.ping_interval = Duration::from_millis(200);
        config.delivery.pong_timeout = Duration::from_millis(100);
        config.delivery.max_missed_pongs = 2;
    })
    .await;
    let mut answering = gateway.client().await;
    let answering = tokio::spawn(async move {
        let mut pings = 0;
        while pings < 10 {
            if let Message::Ping(_) = answering.ws.next().await.expect("kept").expect("kept") {
                answering.ws.flush().await.expect("the pong is sent");
                pings += 1;
            }
        }
        answering
    });
    let mut silent = raw::connect(gateway.addr, "/ws", None).await;
    let metrics = &gateway.gateway.state().metrics;
    let mut received = Vec::new();
    silent.read_to_end(&mut received).await.ok();
    assert_eq!(received, b"\x89\x00\x89\x00\x88\x09\x03\xe9no pong", "two pings, a close with 1001, the end");
    assert_eq!(metrics.sum(|shard| &shard.pong_timeouts), 1);
    assert_eq!(metrics.sum(|shard| &shard.connections_dead), 0);

    let _answering = answering.await.expect("kept for ten pings");
    until("ten pongs to be counted", async || (metrics.sum(|shard| &shard.pongs) >= 10).then_some(())).await;
    let answer_ms = gateway.get("/stats").await.json()["averageLatencyMs"].as_f64().expect("a time");
    assert!(answer_ms > 0.0, "of pings that were answered alone");
    until("the silent one to be let go", async || (metrics.connections_open() == 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_frame_counts_as_life() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.delivery.ping_interval = Duration::from_millis(100);
        config.delivery.pong_timeout = Duration::from_millis(100);
        config.delivery.max_missed_pongs = 1;
    })
    .await;
    let mut stream = raw::connect(gateway.addr, "/ws", None).await;
    let metrics = &gateway.gateway.state().metrics;
    // Masked empty pongs, unasked for, faster than pings fall due; pings themselves are never answered.
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..100 {
        ticks.tick().await;
        stream.write_all(&[0x8a, 0x80, 1, 2, 3, 4]).await.expect("kept");
    }
    assert_eq!((metrics.connections_open(), metrics.sum(|shard| &shard.pong_timeouts)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_spread_over_the_interval() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.process.shards = 1;
        config.delivery.ping_interval = Duration::from_secs(4);
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(gateway.client().await);
    }
    // The first pings of clients that came at once: their order of arrival tells the spread.
    let started = std::time::Instant::now();
    let first_ping = |mut client: crate::support::Client| async move {
        while !matches!(client.ws.next().await, Some(Ok(Message::Ping(_)))) {}
        started.elapsed()
    };
    let mut times = futures_util::future::join_all(clients.into_iter().map(first_ping)).await;
    times.sort();
    let spread = times[39] - times[0];
    assert!(spread > Duration::from_secs(1), "40 pings within {spread:?} of a 4 s interval");
}
