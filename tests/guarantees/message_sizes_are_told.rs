//! How large clients' messages are is told in /stats; those over MESSAGE_WARN_SIZE are counted, and the log mentions them without being
//! flooded.

use std::time::Instant;

use serde_json::Value;

use crate::support::process::Process;
use crate::support::{Client, stats};

/// A ping of so many bytes.
fn ping(bytes: usize) -> String {
    let ping = r#"{"action":"ping","pad":""}"#;
    ping.replace(r#""pad":"""#, &format!(r#""pad":"{}""#, "x".repeat(bytes - ping.len())))
}

async fn send(client: &mut Client, bytes: usize) {
    client.send(&ping(bytes)).await;
    assert_eq!(client.json().await["type"], "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_stats_and_by_warnings() {
    let begun = Instant::now();
    let args = ["--embedded-redis-port", "0", "--shards", "1", "--message-warn-size", "100"];
    let gateway = Process::start(&args).await;
    let before = gateway.get("/stats").await.json();
    assert_eq!(before["meanMessageBytes"], Value::Null);
    assert_eq!(before["largestMessageBytes"], 0);

    let mut client = Client::connect(&gateway.url()).await;
    send(&mut client, 50).await;
    send(&mut client, 100).await;
    assert_eq!(stats::number(gateway.addr(), "messagesOverWarnSize").await, 0);
    for bytes in [101, 201, 148] {
        send(&mut client, bytes).await;
    }
    let stats = gateway.get("/stats").await.json();
    assert_eq!(stats["largestMessageBytes"], 201);
    assert_eq!(stats["meanMessageBytes"], 120, "600 bytes in 5 messages");
    assert_eq!(stats["messagesOverWarnSize"], 3);
    let metrics = gateway.get("/metrics").await.body;
    assert!(metrics.contains("ws_messages_over_warn_size_total{shard=\"0\"} 3"), "{metrics}");

    let line = gateway.logs("larger than MESSAGE_WARN_SIZE").await;
    assert!(line.contains("bytes=101") && line.contains("over=100"), "{line}");
    for _ in 0..1_000 {
        client.send(&ping(101)).await;
    }
    for _ in 0..1_000 {
        client.json().await;
    }
    let warnings = gateway.times_logged("MESSAGE_WARN_SIZE");
    // One a second at most, from the first on.
    let most = 1 + begun.elapsed().as_secs() as usize;
    assert!((1..=most).contains(&warnings), "{warnings} for 1,003 messages, and {most} at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_warnings_unless_asked_for() {
    let gateway = Process::start(&["--embedded-redis-port", "0"]).await;
    let mut client = Client::connect(&gateway.url()).await;
    send(&mut client, 60_000).await;
    let stats = gateway.get("/stats").await.json();
    assert_eq!((&stats["messagesOverWarnSize"], &stats["largestMessageBytes"]), (&0.into(), &60_000.into()));
    assert!(!gateway.has_logged("MESSAGE_WARN_SIZE"));
}
