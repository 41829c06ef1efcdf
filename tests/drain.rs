//! A gateway that ends tells every client where it stands: what was queued, the status `shutdown` with a jittered delay, close
//! 1012; it takes nobody new and isn't ready meanwhile, and the process exits 0. A second signal ends it at once.

mod support;

use std::collections::HashSet;

use futures_util::future::join_all;
use support::process::Process;
use support::{Client, Redis, raw, trade};

#[tokio::test(flavor = "multi_thread")]
async fn everyone_is_told_and_the_process_exits_0() {
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
    support::until("the count of those cut off", async || gateway.has_logged("cut_off=1").then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let redis = Redis::start().await;
    let mut gateway = Process::on(&redis, &["--drain-timeout", "10m"]).await;
    let _silent = raw::connect(gateway.addr(), "/ws", None).await;
    gateway.signal("TERM");
    support::until("the drain to begin", async || gateway.has_logged("draining").then_some(())).await;
    gateway.signal("TERM");
    assert!(!gateway.exit().await.success());
}
