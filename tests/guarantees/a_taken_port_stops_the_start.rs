//! A port that another process uses stops the start, and the log names the setting to change.

use crate::support::process::Process;
use crate::support::{Redis, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_names_the_setting() {
    let redis = Redis::start().await;
    let port = redis.port.to_string();
    let mut gateway = Process::spawn(&["--embedded-redis-port", &port]);
    assert!(!gateway.exit().await.success());
    until("the reason", async || gateway.has_logged("REDIS_URL").then_some(())).await;
    assert!(gateway.has_logged("EMBEDDED_REDIS_PORT"));

    // The demo publishes inside the process: there it is a warning.
    let gateway = Process::start(&["--embedded-redis-port", &port, "--demo"]).await;
    assert!(gateway.has_logged("WARN") && gateway.has_logged("going on without the embedded broker"));

    let mut second = Process::spawn(&["--ws-port", &gateway.port.to_string(), "--embedded-redis-port", "0"]);
    assert!(!second.exit().await.success());
    until("the reason", async || second.has_logged("WS_PORT").then_some(())).await;
}
