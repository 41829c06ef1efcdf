//! Python's `websockets`: the defaults of its asyncio client work, and so do its other features.

use crate::support::program::{Program, python};
use crate::support::{Redis, TestGateway, trade};
use serde_json::json;
use ws_gateway::config::Config;

const WEBSOCKETS: &str = "websockets==17.4";

/// A gateway, its redis-server, and a client that plays a scenario of `websockets_client.py`.
struct Stage {
    redis: Redis,
    gateway: TestGateway,
    client: Program,
}

impl Stage {
    async fn set(scenario: &str, n: usize, change: impl FnOnce(&mut Config)) -> Self {
        let redis = Redis::start().await;
        let gateway = TestGateway::on(&redis, change).await;
        let mut script = python(WEBSOCKETS, "websockets_client.py").await;
        script.args([scenario, &format!("ws://{}/ws", gateway.addr), &n.to_string()]);
        Self { redis, gateway, client: Program::start(script) }
    }

    async fn end(self) {
        assert!(self.client.exit().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trades_come_in_order_and_compression_is_declined() {
    const N: usize = 500;
    let mut stage = Stage::set("trades", N, |_| ()).await;
    let hello = stage.client.json().await;
    assert!(hello["offered"].as_str().is_some_and(|offer| offer.contains("permessage-deflate")), "{hello}");
    assert_eq!(hello["accepted"], json!(null));
    assert_eq!(hello["subprotocol"], "md.v1.json");
    assert_eq!(hello["reply"], "Successfully subscribed to 2 symbol(s)");

    let published: Vec<(String, String)> = (0..N)
        .map(|n| {
            let symbol = ["AAPL", "MSFT"][n % 2];
            (symbol.to_owned(), trade(symbol, &format!("{n}.250"), n as u64))
        })
        .collect();
    stage.redis.publisher().await.trades(published.clone()).await;
    let got = stage.client.json().await;
    let got = got["trades"].as_array().expect("a list");
    assert_eq!(got.len(), N);
    for (frame, (_, payload)) in got.iter().zip(&published) {
        let frame = frame.as_str().expect("text");
        assert!(frame.starts_with(&format!(r#"{{"type":"trade","data":{payload},"timestamp":"#)), "{frame}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_the_gateways_pings() {
    let mut stage = Stage::set("gateway_pings", 10, |config| {
        config.delivery.ping_interval = std::time::Duration::from_millis(50);
        config.delivery.pong_timeout = std::time::Duration::from_millis(50);
        config.delivery.max_missed_pongs = 1000;
    })
    .await;
    let frames = stage.client.json().await;
    assert!(frames["< PING"].as_u64() >= Some(10), "{frames}");
    assert_eq!(frames["> PING"], json!(null), "the pongs were the only sign of life");
    crate::support::until("the gateway to count it alive", async || {
        let health = stage.gateway.get("/ws/health").await.body;
        health.contains(r#""alive":1,"dead":0"#).then_some(())
    })
    .await;
    stage.client.say("enough").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_pings_are_answered() {
    let mut stage = Stage::set("client_pings", 10, |_| ()).await;
    let frames = stage.client.json().await;
    assert!(frames["< PONG"].as_u64() >= Some(10), "{frames}");
    assert!(frames["latency"].as_f64() > Some(0.0), "{frames}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_large_ends_with_1009() {
    let mut stage = Stage::set("too_large", 64 * 1024 + 1, |_| ()).await;
    let ending = stage.client.json().await;
    assert_eq!(ending["code"], 1009, "{ending}");
    assert!(ending["reason"].as_str().is_some_and(|reason| reason.contains("65536")), "{ending}");
    for reply in ending["replies"].as_array().expect("a list") {
        assert_eq!(reply["code"], "MESSAGE_TOO_LARGE");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_close_is_answered_with_1000() {
    let mut stage = Stage::set("closes", 0, |_| ()).await;
    let ending = stage.client.json().await;
    assert_eq!((&ending["code"], &ending["client_first"]), (&json!(1000), &json!(true)), "{ending}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_sees_why_the_gateway_ends() {
    let Stage { redis: _redis, gateway, mut client } = Stage::set("stays", 0, |_| ()).await;
    assert_eq!(client.json().await["reply"], "success");
    assert_eq!(gateway.gateway.drain().await, 0, "it answers the close and has not to be cut off");
    let ending = client.json().await;
    assert_eq!(ending["said"][0]["event"], "shutdown", "{ending}");
    assert_eq!(ending["code"], 1012, "{ending}");
    assert_ne!(ending["reason"], "");
    assert!(client.exit().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_are_put_together() {
    let mut stage = Stage::set("fragments", 0, |_| ()).await;
    for _ in 0..3 {
        let reply = stage.client.json().await;
        assert_eq!((&reply["reply"]["type"], &reply["reply"]["id"]), (&json!("pong"), &json!("Zürich→東京")));
    }
    let reply = stage.client.json().await;
    assert_eq!(reply["reply"]["data"]["subscribed"], json!(["AAPL"]), "{reply}");
    stage.end().await;
}
