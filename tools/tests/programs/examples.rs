//! The examples that people copy do what they say: what the worker publishes reaches the client, and both come back.

use std::path::PathBuf;

use ws_gateway::gateway::Gateway;

use crate::client::StandIn;
use crate::common::{Redis, Tool, line_with};
use crate::end_to_end::gateway;

/// An example that runs. Cargo builds examples with the tests, but doesn't tell tests where.
fn example(name: &str, argument: &str) -> Tool {
    let this = std::env::current_exe().unwrap();
    let binary: PathBuf = this.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(binary.exists(), "{} is not built: cargo build -p tools --examples", binary.display());
    Tool::start(binary.to_str().unwrap(), &[argument])
}

#[tokio::test]
async fn what_one_publishes_the_other_prints_and_both_come_back() {
    let mut redis = Redis::start(&[]).await;
    let first: Gateway = gateway(&redis, None).await;
    let addr = first.local_addr();
    let mut client = example("subscribe", &format!("ws://{addr}/ws"));
    let mut worker = example("publish", &redis.url());
    line_with(&mut worker.stdout, "→ 1 gateway(s)").await;
    line_with(&mut client.stdout, r#""AAPL" 15"#).await;

    redis.kill().await;
    line_with(&mut worker.stderr, "again in a second").await;
    line_with(&mut client.stderr, r#"feed: {"state":"down"}"#).await;
    redis.restart().await;
    line_with(&mut client.stderr, r#""state":"up""#).await;
    line_with(&mut worker.stdout, "→ 1 gateway(s)").await;
    line_with(&mut client.stdout, r#""AAPL" 15"#).await;

    first.drain().await;
    let line = line_with(&mut client.stderr, "again in").await;
    assert!(line.contains("Some(1012)"), "{line}");
    let _second = gateway(&redis, Some(addr)).await;
    line_with(&mut client.stdout, r#""AAPL" 15"#).await;
    for tool in [client, worker] {
        tool.signal("TERM").await;
        tool.end().await;
    }
}

#[tokio::test]
async fn a_client_that_is_refused_for_good_ends() {
    let gateway = StandIn::start().await;
    let mut client = example("subscribe", &gateway.url());
    let mut connection = gateway.accept().await;
    assert!(connection.request().await.contains(r#""symbols":["AAPL"]"#));
    connection.close(1008, "token expired").await;
    line_with(&mut client.stderr, "refused").await;
    assert!(client.end().await.0.success());
}
