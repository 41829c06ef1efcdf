//! A gateway that has run out of descriptors nevertheless (the limit was lowered, or the system has none) keeps serving its
//! clients, doesn't spin, logs the cause, and accepts new clients as soon as others have disconnected.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::process::Process;
use crate::support::{Client, Redis, until};

#[tokio::test(flavor = "multi_thread")]
async fn it_backs_off_and_recovers() {
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &[]).await;
    let mut subscriber = Client::connect(&gateway.url()).await;
    subscriber.subscribe(&["AAPL"]).await;
    // The gateway divides the limit that it finds at the start, so that it never runs out: take some of it away.
    let limit = format!("--nofile={0}:{0}", gateway.descriptors() + 20);
    let lowered = Command::new("prlimit").args(["--pid", &gateway.id().to_string(), &limit]).status();
    assert!(lowered.expect("prlimit is part of util-linux").success());
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(tokio::net::TcpStream::connect(gateway.addr()).await.expect("the listen queue takes it"));
    }
    until("accept to fail", async || gateway.has_logged("accept").then_some(())).await;
    let mut worker = redis.publisher().await;
    let (before, started) = (gateway.processor_time(), Instant::now());
    // A loop that tries to accept again at once would take all of a core; those inside take next to nothing.
    let mut every_10_ms = tokio::time::interval(Duration::from_millis(10));
    for n in 0..200 {
        every_10_ms.tick().await;
        worker.numbered("AAPL", n).await;
        subscriber.gets("AAPL", n).await;
    }
    let (taken, elapsed) = (gateway.processor_time() - before, started.elapsed());
    assert!(taken < elapsed / 4, "{taken:?} of processor time within {elapsed:?}");
    drop(crowd);
    let mut late = Client::connect(&gateway.url()).await;
    late.subscribe(&["AAPL"]).await;
}
