//! No flood makes memory grow without bound: not one from Redis that a client doesn't read, not one of pings whose
//! pongs nobody takes, not replies that pile up.

mod support;

use support::process::Process;
use support::{Redis, raw, trade};
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
    for _ in 0..60 {
        let payload = |n: usize| trade(&format!("S{n}"), "1", 1).replace("NASDAQ", &"N".repeat(1_000));
        worker.trades((0..5_000).map(|n| (format!("S{}", n % 50), payload(n % 50)))).await;
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
