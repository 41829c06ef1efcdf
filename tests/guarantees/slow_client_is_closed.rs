//! `SLOW_CLIENT_POLICY=disconnect` closes a client whose outbox is full, with an error that says why and 1013. A client
//! that takes no byte for `STALL_TIMEOUT` is disconnected under every policy.

use std::time::Duration;

use crate::support::{Client, Redis, TestGateway, raw, trade, until};
use tokio::io::AsyncReadExt;
use ws_gateway::config::SlowClientPolicy;

fn payload() -> String {
    trade("AAPL", "1", 1).replace("NASDAQ", &"N".repeat(1_000))
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnect_says_why() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.delivery.slow_client_policy = SlowClientPolicy::Disconnect;
        config.delivery.max_outbox_bytes = 100_000;
    })
    .await;
    let mut fast = gateway.subscriber(&["AAPL"]).await;
    let slow = raw::connect(gateway.addr, "/ws?symbols=AAPL", Some(4_096)).await;
    let mut worker = redis.publisher().await;
    let metrics = &gateway.gateway.state().metrics;
    // Published as fast as the fast client reads, for as long as the slow one is let off.
    while metrics.sum(|shard| &shard.slow_closed) == 0 {
        worker.trades((0..20).map(|_| ("AAPL".to_owned(), payload()))).await;
        for _ in 0..20 {
            assert!(fast.text().await.contains(&payload()), "the fast client gets everything");
        }
    }
    let mut client = Client::from_raw(slow).await;
    let mut last = String::new();
    let ending = loop {
        match client.message().await {
            Some(tokio_tungstenite::tungstenite::Message::Text(text)) => last = text.to_string(),
            Some(tokio_tungstenite::tungstenite::Message::Close(frame)) => break frame,
            other => panic!("{other:?}"),
        }
    };
    assert!(last.contains(r#""code":"SLOW_CLIENT""#), "{last}");
    assert_eq!(u16::from(ending.expect("a close frame").code), 1013);
}

/// Statuses can't be skipped: with more of them waiting than `MAX_OUTBOX_BYTES` the policy doesn't matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_even_take_statuses_is_closed() {
    const GAPS: u64 = 200;
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.process.shards = 1;
        config.delivery.max_outbox_bytes = 20_000;
    })
    .await;
    let mut fast = gateway.subscriber(&["AAPL"]).await;
    let slow = raw::connect(gateway.addr, "/ws?symbols=AAPL", Some(4_096)).await;
    let mut worker = redis.publisher().await;
    let metrics = &gateway.gateway.state().metrics;
    let mut seq = 0;
    while metrics.sum(|shard| &shard.slow_closed) == 0 {
        let numbered =
            (seq..seq + GAPS).map(|seq| payload().replacen('{', &format!(r#"{{"seq":{},"#, 2 * seq), 1));
        worker.trades(numbered.map(|payload| ("AAPL".to_owned(), payload))).await;
        // A gap before each, but for the very first.
        for _ in u64::from(seq == 0)..2 * GAPS {
            assert_ne!(fast.json().await["type"], "error", "the fast client gets everything");
        }
        seq += GAPS;
    }
    let mut client = Client::from_raw(slow).await;
    let (code, _) = client.ending().await.expect("a close frame");
    assert_eq!(code, 1013);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_client_is_cut_off() {
    let redis = Redis::start().await;
    let gateway =
        TestGateway::on(&redis, |config| config.delivery.stall_timeout = Duration::from_millis(500)).await;
    let mut slow = raw::connect(gateway.addr, "/ws?symbols=AAPL", Some(4_096)).await;
    let mut worker = redis.publisher().await;
    worker.trades((0..10_000).map(|_| ("AAPL".to_owned(), payload()))).await;
    let metrics = &gateway.gateway.state().metrics;
    until("the stalled client to be cut off", async || (metrics.connections_open() == 0).then_some(())).await;
    assert_eq!(metrics.sum(|shard| &shard.slow_closed), 1);
    let mut rest = Vec::new();
    // What the kernel had taken may still arrive; then the connection ends, cleanly or by a reset.
    let _ = slow.read_to_end(&mut rest).await;
}
