//! A client can send no more messages than MESSAGE_RATE_LIMIT allows. All of them may come at once, bad messages count too,
//! an error names the limit, and each client has a count of its own.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use ws_gateway::rate::Rate;

use crate::support::{Redis, TestGateway};

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_limit() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.clients.message_rate_limit = Rate::new(3, Duration::from_secs(3_600));
    })
    .await;
    let mut client = gateway.client().await;
    for (message, answer) in [
        (r#"{"action":"ping","id":1}"#, "pong"),
        (r#"{"action":"subscribe","symbols":["AAPL"]}"#, "success"),
        ("no JSON", "error"),
    ] {
        client.send(message).await;
        assert_eq!(client.json().await["type"], answer, "{message}");
    }
    client.send(r#"{"action":"ping","id":4}"#).await;
    let refusal = client.json().await;
    assert_eq!(refusal["code"], "RATE_LIMIT_EXCEEDED");
    assert_eq!(refusal["message"], "Too many messages: at most 3 an hour");
    assert_eq!(refusal["id"], 4);
    let retry_after_s = refusal["retryAfter"].as_u64().expect("whole seconds");
    assert!((1..=1_200).contains(&retry_after_s), "{retry_after_s}: one is free again after 20 minutes");

    let mut other = gateway.client().await;
    other.send(r#"{"action":"ping","id":1}"#).await;
    assert_eq!(other.json().await["type"], json!("pong"));
}

/// The hundredth message in a row that is too much is answered, and then the client is closed; pings and pongs of WebSocket itself are no
/// messages.
#[tokio::test(flavor = "multi_thread")]
async fn and_the_hundredth_in_a_row_ends_the_connection() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.clients.message_rate_limit = Rate::new(2, Duration::from_secs(36_000));
    })
    .await;
    let mut client = gateway.client().await;
    for _ in 0..5 {
        client.ws.send(Message::Ping("no message".into())).await.expect("the gateway reads");
    }
    for n in 0..102 {
        client.send(&format!(r#"{{"action":"ping","id":{n}}}"#)).await;
    }
    for n in 0..102 {
        let answer = client.json().await;
        assert_eq!(answer["id"], n);
        assert_eq!(answer["code"], if n < 2 { Value::Null } else { "RATE_LIMIT_EXCEEDED".into() });
    }
    assert_eq!(client.ending().await.expect("a close frame").0, 1008);
}

#[tokio::test(flavor = "multi_thread")]
async fn and_is_not_limited_unless_asked_for() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut client = gateway.client().await;
    for _ in 0..1_000 {
        client.send(r#"{"action":"ping"}"#).await;
    }
    for _ in 0..1_000 {
        assert_eq!(client.json().await["type"], "pong");
    }
}
