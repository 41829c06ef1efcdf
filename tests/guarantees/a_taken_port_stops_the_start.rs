//! A port that another process uses stops the start, and the log names the setting to change.

use crate::support::Redis;
use crate::support::process::Process;

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_names_the_setting() {
    let redis = Redis::start().await;
    let port = redis.port.to_string();
    let mut gateway = Process::spawn(&["--embedded-redis-port", &port]);
    assert!(!gateway.exit().await.success());
    assert!(
        gateway.has_logged("REDIS_URL") && gateway.has_logged("EMBEDDED_REDIS_PORT"),
        "{:?}",
        gateway.log
    );

    // The demo publishes inside the process: there it is a warning.
    let gateway = Process::start(&["--embedded-redis-port", &port, "--demo"]).await;
    assert!(gateway.has_logged("WARN") && gateway.has_logged("going on without the embedded broker"));

    let mut second = Process::spawn(&["--ws-port", &gateway.port.to_string(), "--embedded-redis-port", "0"]);
    assert!(!second.exit().await.success());
    assert!(second.has_logged("WS_PORT"), "{:?}", second.log);
}
