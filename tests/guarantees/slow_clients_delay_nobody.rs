//! Clients that do not read at all cost other clients nothing and the gateway little: with 50 of them, 20,000 trades still
//! reach 100 clients complete and in order, and memory grows by less than 1 MiB for each. That holds with a large outbox,
//! where nothing is skipped, and with a small one, where the policy applies.

use crate::support::process::Process;
use crate::support::{Client, Redis, raw, trade};
use futures_util::future::join_all;

const TRADES: u64 = 20_000;
const MIB: u64 = 1024 * 1024;

async fn fifty_silent_clients(args: &[&str], is_done: impl Fn(u64) -> bool) {
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, args).await;
    let mut readers = join_all((0..100).map(|_| async {
        let mut client = Client::connect(&gateway.url()).await;
        client.subscribe(&["AAPL"]).await;
        client
    }))
    .await;
    let silent =
        join_all((0..50).map(|_| raw::connect(gateway.addr(), "/ws?symbols=AAPL", Some(4_096)))).await;
    let before_bytes = gateway.rss_bytes();
    // The next trades come when all have read these, which fit into the smallest outbox: so no reader is ever judged, and how fast
    // this machine is makes no difference. To those who read nothing it is all one burst.
    let mut worker = redis.publisher().await;
    for from in (0..TRADES).step_by(1_000) {
        let chunk = from..from + 1_000;
        worker.trades(chunk.clone().map(|n| ("AAPL".to_owned(), trade("AAPL", "10.50", n)))).await;
        let reading = readers.drain(..).map(|mut client| {
            let chunk = chunk.clone();
            tokio::spawn(async move {
                for n in chunk {
                    let text = client.text().await;
                    assert!(text.contains(&trade("AAPL", "10.50", n)), "expected trade {n}, got {text}");
                }
                client
            })
        });
        let read = join_all(reading).await;
        readers.extend(read.into_iter().map(|client| client.expect("a complete, ordered feed")));
    }
    let grown_bytes = gateway.rss_bytes().saturating_sub(before_bytes);
    assert!(grown_bytes < silent.len() as u64 * MIB, "{grown_bytes} bytes for 50 silent clients");
    crate::support::until("the policy to have fired as often as it should", async || {
        is_done(skipped(&gateway.get("/metrics").await.body)).then_some(())
    })
    .await;
}

fn skipped(metrics: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with("ws_events_skipped_total"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

/// A control: all trades fit into the default outbox, so it fails if the policy fires too soon, and only then.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_default_outbox_nothing_is_skipped() {
    fifty_silent_clients(&[], |skipped| skipped == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_small_outbox_the_policy_fires() {
    fifty_silent_clients(&["--max-outbox-bytes", "256KiB"], |skipped| skipped > 50 * TRADES / 2).await;
}
