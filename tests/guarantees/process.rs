//! The binary as users run it: the banner, the embedded broker, the demo, statistics, and starts that fail for a reason.

use crate::support::process::Process;
use crate::support::redis::Publisher;
use crate::support::{Client, Redis, trade};

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_it_does() {
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
    crate::support::until("a line of statistics", async || gateway.has_logged(line).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_is_probably_not_meant() {
    let flags = ["--embedded-redis-port", "0", "--last-value-key", "last:", "--pong-timeout", "1m"];
    let gateway = Process::start(&flags).await;
    for part in ["PONG_TIMEOUT (60000 ms) is longer than PING_INTERVAL", "LAST_VALUE_KEY needs REDIS_URL"] {
        assert!(gateway.has_logged(part), "{part} in {:?}", gateway.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_else_installed_it_has_its_own_broker() {
    let gateway = Process::start(&["--embedded-redis-port", "0"]).await;
    let line = crate::support::until("the banner", async || {
        gateway.log.lock().unwrap().iter().find(|line| line.contains("embedded on")).cloned()
    })
    .await;
    let port =
        line.split("embedded on 127.0.0.1:").nth(1).unwrap().split(['"', ' ']).next().unwrap().to_owned();
    let mut client = Client::connect(&gateway.url()).await;
    client.subscribe(&["AAPL"]).await;
    let mut worker = Publisher::connect(&format!("redis://127.0.0.1:{port}")).await;
    let payload = trade("AAPL", "1", 1);
    assert_eq!(worker.trade("AAPL", &payload).await, 1);
    assert!(client.text().await.contains(&payload));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_trades_of_five_symbols() {
    let gateway = Process::start(&["--embedded-redis-port", "0", "--demo"]).await;
    let mut client = Client::connect(&gateway.url()).await;
    client.subscribe(&["AAPL", "GOOGL", "MSFT", "TSLA", "AMZN"]).await;
    let mut seen = std::collections::HashSet::new();
    while seen.len() < 5 {
        let message = client.json().await;
        assert_eq!(message["type"], "trade");
        seen.insert(message["data"]["symbol"].as_str().unwrap().to_owned());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_stops_the_start_and_says_what_to_do() {
    let redis = Redis::start().await;
    let port = redis.port.to_string();
    let mut gateway = Process::spawn(&["--embedded-redis-port", &port]);
    assert!(!gateway.exit().await.success());
    crate::support::until("the reason", async || gateway.has_logged("REDIS_URL").then_some(())).await;
    assert!(gateway.has_logged("EMBEDDED_REDIS_PORT"));

    // The demo publishes inside the process: there it is a warning.
    let gateway = Process::start(&["--embedded-redis-port", &port, "--demo"]).await;
    assert!(gateway.has_logged("WARN") && gateway.has_logged("going on without the embedded broker"));

    let mut second = Process::spawn(&["--ws-port", &gateway.port.to_string(), "--embedded-redis-port", "0"]);
    assert!(!second.exit().await.success());
    crate::support::until("the reason", async || second.has_logged("WS_PORT").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_asks_the_running_gateway() {
    let ask = |port: u16| {
        std::process::Command::new(env!("CARGO_BIN_EXE_ws-gateway"))
            .args(["--healthcheck", "--ws-host", "127.0.0.1", "--ws-port", &port.to_string()])
            .status()
            .unwrap()
    };
    let mut gateway = Process::start(&["--embedded-redis-port", "0"]).await;
    assert!(ask(gateway.port).success());
    gateway.signal("KILL");
    gateway.exit().await;
    assert!(!ask(gateway.port).success());
}
