//! The gateway notices at once, not at the next ping, that a client has left whose last bytes and end of stream arrive
//! together. Readiness is reported once for both, so the read of the bytes must not be the last.

use std::time::Duration;

use crate::support::{Redis, TestGateway, raw, until};
use tokio::io::AsyncWriteExt;

const CLIENTS: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn bytes_and_end_at_once() {
    let redis = Redis::start().await;
    let gateway =
        TestGateway::on(&redis, |config| config.delivery.ping_interval = Duration::from_secs(3_600)).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(raw::connect(gateway.addr, "/ws", None).await);
    }
    let metrics = &gateway.gateway.state().metrics;
    until("all to be there", async || (metrics.connections_open() == CLIENTS as u64).then_some(())).await;
    let request = raw::text_frame(r#"{"action":"subscribe","symbols":["AAPL"]}"#);
    for client in &mut clients {
        client.write_all(&request).await.unwrap();
        client.shutdown().await.unwrap();
    }
    until("all to be let go", async || (metrics.connections_open() == 0).then_some(())).await;
    assert_eq!(metrics.sum(|shard| &shard.messages_received), CLIENTS as u64, "what they said last was read");
}
