//! `ws-gateway --healthcheck` succeeds while a gateway with the same settings answers, and fails when it doesn't.

use std::process::Command;

use crate::support::process::Process;

#[tokio::test(flavor = "multi_thread")]
async fn it_succeeds_only_while_a_gateway_answers() {
    let ask = |port: u16| {
        Command::new(env!("CARGO_BIN_EXE_ws-gateway"))
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
