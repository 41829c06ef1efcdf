//! No flood makes memory grow without bound: not one of events to a client that doesn't read, not pings whose pongs a
//! client doesn't read, not replies, replays and snapshots that it asks for and doesn't read.

use crate::support::process::Process;
use crate::support::{Client, Redis, TestGateway, raw, trade, until};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

const MIB: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_redis_with_clients_that_do_not_read() {
    let redis = Redis::start().await;
    let args = ["--max-backlog-bytes", "32MiB", "--max-outbox-bytes", "16MiB", "--stall-timeout", "1h"];
    let gateway = Process::on(&redis, &args).await;
    let mut silent = Vec::new();
    for n in 0..50 {
        silent.push(raw::connect(gateway.addr(), &format!("/ws?symbols=S{n}"), Some(4_096)).await);
    }
    let mut worker = redis.publisher().await;
    let before_bytes = gateway.rss_bytes();
    // 300 MB, so that each client's outbox alone could hold all it gets, but not all of them together.
    for batch in 1..=60 {
        let payload = |n: usize| trade(&format!("S{n}"), "1", 1).replace("NASDAQ", &"N".repeat(1_000));
        worker.trades((0..5_000).map(|n| (format!("S{}", n % 50), payload(n % 50)))).await;
        // Redis would cut off a gateway that it is too far ahead of, and then nothing would have been shown.
        gateway.taken(batch * 5_000).await;
    }
    let grown_bytes = gateway.rss_bytes().saturating_sub(before_bytes);
    assert!(grown_bytes < 128 * MIB, "{} MiB", grown_bytes / MIB);
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_whose_answers_nobody_reads() {
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &[]).await;
    let before_bytes = gateway.rss_bytes();
    let ping_frame = [0x89, 0x80 | 4, 0, 0, 0, 0, b'p', b'i', b'n', b'g'].repeat(1_000);
    let request = raw::text_frame(r#"{"action":"ping"}"#).repeat(1_000);
    for flood in [ping_frame, request] {
        let mut stream = raw::connect(gateway.addr(), "/ws", Some(4_096)).await;
        // The gateway stops reading long before 20 MB: from then on nothing more can be written.
        let mut written = 0;
        while written < 20 * MIB as usize {
            let write = tokio::time::timeout(std::time::Duration::from_secs(1), stream.write(&flood));
            match write.await {
                Ok(count) => written += count.expect("the client is kept"),
                Err(_) => break,
            }
        }
        assert!(written < 20 * MIB as usize, "a client that reads nothing is not read for ever");
    }
    let grown_bytes = gateway.rss_bytes().saturating_sub(before_bytes);
    assert!(grown_bytes < 8 * MIB, "{grown_bytes} bytes");
}

/// A client that reads only what it must: the kernel takes little for it.
async fn sluggish(gateway: &TestGateway) -> Client {
    Client::from_raw(raw::connect(gateway.addr, "/ws", Some(4_096)).await).await
}

fn backlog_bytes(gateway: &TestGateway) -> u64 {
    gateway.gateway.state().metrics.sum(|shard| &shard.backlog_bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_that_nobody_reads() {
    const BACKLOG_BYTES: usize = 4 * MIB as usize;
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.process.shards = 1;
        config.delivery.max_outbox_bytes = 2 * MIB as usize;
        config.delivery.max_backlog_bytes = BACKLOG_BYTES;
    })
    .await;
    let mut worker = redis.publisher().await;
    // 900 kB to catch up with.
    let numbered = |seq: u64| {
        trade("AAPL", "1", seq).replace("}", &format!(r#","seq":{seq},"x":"{}"}}"#, "x".repeat(800)))
    };
    worker.trades((1..=1_000).map(|seq| ("AAPL".to_owned(), numbered(seq)))).await;
    gateway.taken(1_000).await;
    let resume = json!({"symbols": ["AAPL"], "resume": {"AAPL": 1}});
    // All at once: none is answered before the others have asked.
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(sluggish(&gateway).await);
    }
    let mut request = resume.clone();
    request["action"] = json!("subscribe");
    for client in &mut clients {
        client.send(request.to_string()).await;
    }
    let mut recovered = 0;
    for client in &mut clients {
        let reply = client.json().await;
        let is_whole = reply["data"]["recovered"]["AAPL"].as_bool().expect("whether it is recovered");
        recovered += usize::from(is_whole);
        let next = client.json().await;
        match is_whole {
            true => assert_eq!((&next["data"]["seq"], &next["replay"]), (&json!(2), &json!(true))),
            false => assert_eq!(next["event"], "replayEnd"),
        }
    }
    assert!((1..50).contains(&recovered), "{recovered} of 50 replays of 900 kB");
    let backlog_bytes = backlog_bytes(&gateway);
    assert!(backlog_bytes <= BACKLOG_BYTES as u64, "{backlog_bytes}");

    // With them gone there is room again.
    drop(clients);
    until("a client to be recovered", async || {
        let reply = gateway.client().await.subscribe_with(resume.clone()).await;
        (reply["data"]["recovered"] == json!({"AAPL": true})).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_that_nobody_reads() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.process.shards = 1;
        config.delivery.max_outbox_bytes = 256 * 1024;
        config.delivery.max_backlog_bytes = MIB as usize;
    })
    .await;
    let mut worker = redis.publisher().await;
    let symbols: Vec<_> = (0..5_000).map(|n| format!("S{n}")).collect();
    worker.trades(symbols.iter().map(|symbol| (symbol.clone(), trade(symbol, "1", 1)))).await;
    gateway.taken(5_000).await;
    let metrics = &gateway.gateway.state().metrics;
    let mut clients = Vec::new();
    while metrics.sum(|shard| &shard.slow_closed) == 0 {
        assert!(clients.len() < 50, "turns of {} bytes", backlog_bytes(&gateway));
        let mut client = sluggish(&gateway).await;
        client.subscribe_with(json!({"symbols": ["*"], "snapshot": true})).await;
        clients.push(client);
    }
    // Not the first one, which alone is no flood; and one of them is told why it is closed.
    assert!(clients.len() > 1);
    let mut codes = Vec::new();
    for client in &mut clients {
        let end = loop {
            let Some(tokio_tungstenite::tungstenite::Message::Text(text)) = client.message().await else {
                break Value::Null;
            };
            let frame: Value = serde_json::from_str(&text).expect("JSON");
            if frame["type"] == "error" || frame["event"] == "snapshotEnd" {
                break frame;
            }
        };
        codes.push(end["code"].as_str().unwrap_or("none").to_owned());
    }
    assert!(codes.contains(&"SLOW_CLIENT".to_owned()) && codes.contains(&"none".to_owned()), "{codes:?}");
}
