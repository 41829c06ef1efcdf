//! The health checks of the containers succeed while their server works, and fail while it doesn't.

use std::process::Command;

use ws_gateway::config::Action;

use crate::support::Redis;
use crate::support::deployment::{compose, gateway_config, instructions, run, stage, texts};
use crate::support::process::Process;

#[tokio::test(flavor = "multi_thread")]
async fn redis_accepts_its_command_and_its_health_is_told() {
    let compose = compose();
    let redis = &compose["services"]["redis"];
    let command = texts(&redis["command"]);
    assert_eq!(command[0], "redis-server");
    let server = Redis::start_with(&command[1..]).await;
    let limits: Vec<String> =
        server.publisher().await.command(&["CONFIG", "GET", "client-output-buffer-limit"]).await;
    assert!(limits[1].contains("pubsub 33554432 8388608 60"), "{limits:?}");

    let ["CMD-SHELL", check] = texts(&redis["healthcheck"]["test"])[..] else { panic!("{redis}") };
    let check = check.replace("redis-cli", &format!("redis-cli -p {}", server.port));
    run(Command::new("/bin/sh").args(["-c", &check]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_health_check_succeeds_only_while_it_works() {
    let image = stage("gateway");
    let [check] = &instructions(&image, "HEALTHCHECK")[..] else { panic!("one health check") };
    let command = check.split_once("CMD ").expect("CMD").1;
    let command: Vec<String> = serde_json::from_str(command).expect("the form that needs no shell");
    let entrypoint: Vec<String> =
        serde_json::from_str(&instructions(&image, "ENTRYPOINT")[0]).expect("a list");
    assert_eq!(command[0], entrypoint[0]);
    let args: Vec<_> = command[1..].iter().map(String::as_str).collect();
    assert_eq!(gateway_config(&args).action, Action::Healthcheck);

    let mut gateway = Process::start(&["--embedded-redis-port", "0"]).await;
    let port = gateway.port.to_string();
    let healthy = || {
        let mut ask = Command::new(env!("CARGO_BIN_EXE_ws-gateway"));
        ask.args(&args).env("WS_HOST", "0.0.0.0").env("WS_PORT", &port);
        ask.status().expect("the binary runs").success()
    };
    assert!(healthy());
    gateway.signal("KILL");
    gateway.exit().await;
    assert!(!healthy());
}
