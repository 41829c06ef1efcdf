//! The log says at the start which address the gateway listens on, which upstream it reads, and which settings probably
//! have another effect than intended.

use crate::support::process::Process;
use crate::support::{Redis, until};

#[tokio::test(flavor = "multi_thread")]
async fn it_names_ports_upstream_and_settings() {
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &["--stats-interval", "100ms", "--server-id", "gw-7"]).await;
    for part in [
        "gw-7",
        &format!("127.0.0.1:{}", redis.port),
        "channel:trade:*",
        "Subscribed to 1 Redis channel pattern(s)",
        &format!("WebSocket server listening on port {}", gateway.port),
        "Heartbeat started with 30000ms interval",
        "WebSocket Gateway initialized and ready",
    ] {
        assert!(gateway.has_logged(part), "{part} in {:?}", gateway.log);
    }
    let line = "statistics activeConnections=0 totalSymbolSubscriptions=0 messagesSent=0 messagesReceived=0 uptimeSeconds=";
    until("a line of statistics", async || gateway.has_logged(line).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_warns_of_settings_that_have_another_effect_than_intended() {
    let flags = ["--embedded-redis-port", "0", "--last-value-key", "last:", "--pong-timeout", "1m"];
    let gateway = Process::start(&flags).await;
    for part in ["PONG_TIMEOUT (60000 ms) is longer than PING_INTERVAL", "LAST_VALUE_KEY needs REDIS_URL"] {
        assert!(gateway.has_logged(part), "{part} in {:?}", gateway.log);
    }
}
