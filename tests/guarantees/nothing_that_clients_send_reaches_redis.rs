//! A gateway asks Redis for its subscription and for last values, and for nothing else: no request of a client becomes a command, and no
//! token of a client's is seen there.

use serde_json::json;

use crate::support::tokens::{SECRET, enter, token};
use crate::support::{Redis, TestGateway, until};

/// What a gateway sends, and what this test does itself.
const COMMANDS: [&str; 8] =
    ["client|setname", "get", "ping", "psubscribe", "info", "publish", "client|setinfo", "hello"];

#[tokio::test(flavor = "multi_thread")]
async fn but_the_look_up_of_a_symbol() {
    let redis = Redis::start().await;
    let mut worker = redis.publisher().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.history.last_value_key = Some("last:trade:".to_owned());
    })
    .await;
    let bearer = format!("Authorization: Bearer {}", token(json!({"sub": "u"})));
    let mut client = enter(gateway.addr, "?symbols=AAPL", &[&bearer]).await;
    for message in [
        json!({"action": "subscribe", "symbols": ["MSFT"], "snapshot": true}),
        json!({"action": "subscribe", "symbols": ["TSLA"], "resume": {"TSLA": 7}}),
        json!({"action": "publish", "channel": "channel:trade:AAPL", "payload": "{}"}),
        json!({"action": "auth", "token": token(json!({"sub": "u"}))}),
        json!({"action": "list"}),
        json!("*1\r\n$8\r\nFLUSHALL\r\n"),
    ] {
        client.send(message.to_string()).await;
    }
    client.ws_binary(b"*1\r\n$8\r\nFLUSHALL\r\n").await;
    client.send(r#"{"action":"ping"}"#).await;
    while client.json().await["type"] != "pong" {}
    let commands = until("the look-up", async || {
        let stats: String = worker.command(&["INFO", "commandstats"]).await;
        stats.contains("cmdstat_get").then_some(stats)
    })
    .await;
    for line in commands.lines().filter_map(|line| line.strip_prefix("cmdstat_")) {
        let (command, _) = line.split_once(':').expect("a command and its numbers");
        assert!(COMMANDS.contains(&command), "{line}");
    }
    let published = commands.lines().find(|line| line.starts_with("cmdstat_publish:"));
    assert_eq!(published, None, "a client publishes nothing");
}
