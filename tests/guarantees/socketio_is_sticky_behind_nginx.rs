//! Long-polling behind nginx with the configuration that is shipped: the requests of a session reach the gateway that has it, of several.

use serde_json::json;

use crate::socketio_clients::client;
use crate::support::nginx::Nginx;
use crate::support::process::Process;
use crate::support::{Redis, trade};

const REQUESTS: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_unknown() {
    let redis = Redis::start().await;
    let args = ["--dialects", "socketio"];
    let gateways = [Process::on(&redis, &args).await, Process::on(&redis, &args).await];
    let nginx = Nginx::before(&gateways.each_ref().map(Process::addr)).await;
    let mut client = client(nginx.addr(), "/events", &json!({"transports": ["polling"]})).await;
    let mut worker = redis.publisher().await;
    assert!(client.json().await.get("connect").is_some(), "at once");
    client.say(&json!({"emit": ["subscribe", {"symbols": ["AAPL"]}], "ack": true}).to_string()).await;
    client.line_with("ack").await;
    for n in 0..REQUESTS {
        worker.trade("AAPL", &trade("AAPL", "1", n)).await;
        let line = client.json().await;
        assert_eq!(line["values"][0]["data"]["timestamp"], n, "and nothing else: {line}");
    }
}
