//! A gateway that ends sends every client its queued frames, the status `shutdown` with a random delay, and close 1012.
//! Meanwhile it accepts no clients and isn't ready, and then the process exits with 0. A second signal ends it at once.

use std::collections::HashSet;
use std::sync::Arc;

use crate::support::process::Process;
use crate::support::{Client, Redis, TestGateway, raw, trade};
use futures_util::future::join_all;

#[tokio::test(flavor = "multi_thread")]
async fn every_client_is_told_and_the_process_exits_0() {
    let redis = Redis::start().await;
    let mut gateway = Process::on(&redis, &[]).await;
    let url = gateway.url();
    let mut clients = join_all((0..50).map(|_| Client::connect(&url))).await;
    for client in &mut clients {
        client.subscribe(&["AAPL"]).await;
    }
    let payload = trade("AAPL", "1", 1);
    redis.publisher().await.trade("AAPL", &payload).await;
    for client in &mut clients {
        assert!(client.text().await.contains(&payload));
    }
    gateway.signal("TERM");
    let mut delays = HashSet::new();
    for client in &mut clients {
        let status = client.json().await;
        assert_eq!(
            (status["event"].as_str(), status["data"]["reason"].as_str()),
            (Some("shutdown"), Some("shutdown"))
        );
        delays.insert(status["data"]["reconnectAfterMs"].as_u64().expect("a delay"));
        let (code, reason) = client.ending().await.expect("a close frame");
        assert_eq!(code, 1012);
        assert!(!reason.is_empty());
    }
    assert!(delays.len() > 25, "50 clients that come back at once: {delays:?}");
    drop(clients);
    assert!(gateway.exit().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_off_in_time() {
    let redis = Redis::start().await;
    let mut gateway = Process::on(&redis, &["--drain-timeout", "300ms"]).await;
    let _silent = raw::connect(gateway.addr(), "/ws", None).await;
    gateway.signal("INT");
    assert!(gateway.exit().await.success());
    crate::support::until("the count of those cut off", async || {
        gateway.has_logged("cut_off=1").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let redis = Redis::start().await;
    let mut gateway = Process::on(&redis, &["--drain-timeout", "10m"]).await;
    let _silent = raw::connect(gateway.addr(), "/ws", None).await;
    gateway.signal("TERM");
    crate::support::until("the drain to begin", async || gateway.has_logged("draining").then_some(())).await;
    gateway.signal("TERM");
    assert!(!gateway.exit().await.success());
}

/// The symbol's last subscriber goes with the drain; what it has missed is announced by name all the same.
#[tokio::test(flavor = "multi_thread")]
async fn losses_are_announced_before_the_close() {
    const TRADES: u64 = 20_000;
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.process.shards = 1;
        config.delivery.max_outbox_bytes = 20_000;
    })
    .await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    let mut witness = gateway.subscriber(&["END"]).await;
    let mut worker = redis.publisher().await;
    for start in (0..TRADES).step_by(500) {
        let payload = |n| trade("AAPL", "1", n).replace("NASDAQ", &"N".repeat(800));
        worker.trades((start..start + 500).map(|n| ("AAPL".to_owned(), payload(n)))).await;
    }
    let state = Arc::clone(gateway.gateway.state());
    let metrics = &state.metrics;
    // The shard has applied everything once another client of it has the last trade.
    worker.trade("END", &trade("END", "1", TRADES)).await;
    assert_eq!(witness.json().await["data"]["symbol"], "END");
    let drain = tokio::spawn(gateway.gateway.drain());
    crate::support::until("the subscription to end", async || {
        (metrics.sum(|shard| &shard.subscriptions) == 0).then_some(())
    })
    .await;
    let (mut delivered, mut announced) = (0, 0);
    loop {
        let message = client.json().await;
        match message["event"].as_str() {
            None => delivered += 1,
            Some("skipped") => {
                assert_eq!(message["data"]["symbol"], "AAPL");
                announced += message["data"]["count"].as_u64().expect("a count");
            }
            _ => break,
        }
    }
    assert!(announced > 0);
    assert_eq!(delivered + announced, TRADES);
    assert_eq!(client.ending().await.expect("a close frame").0, 1012);
    assert_eq!(drain.await.expect("the drain ends"), 0);
}
