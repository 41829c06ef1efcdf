//! Clients of Finnhub's API on the gateway, as its documentation shows them: unsubscribe and errors, a restart, a gateway that is killed, silence, and
//! one that is too slow.

use crate::support::detour::Detour;
use crate::support::process::Process;
use crate::support::program::{Program, node, python};
use crate::support::{Redis, TestGateway, stats, trade};
use serde_json::{Value, json};
use std::net::SocketAddr;
use ws_gateway::config::Config;
use ws_gateway::protocol::api::Api;

const WEBSOCKET_CLIENT: &str = "websocket-client==1.9.2";

#[derive(Debug, Clone, Copy)]
pub(crate) enum Language {
    Python,
    Node,
}

fn with_finnhub(config: &mut Config) {
    config.clients.dialects = [Api::Finnhub].into_iter().collect();
}

async fn started(language: Language, addr: SocketAddr, symbols: &[&str]) -> Program {
    started_with(language, addr, "KEY", symbols).await
}

pub(crate) async fn started_with(
    language: Language,
    addr: SocketAddr,
    key: &str,
    symbols: &[&str],
) -> Program {
    let mut script = match language {
        Language::Python => python(WEBSOCKET_CLIENT, "finnhub_py.py").await,
        Language::Node => node("finnhub_node.js").await,
    };
    script.arg(format!("ws://{addr}/finnhub?token={key}")).args(symbols);
    Program::start(script)
}

async fn publish(redis: &Redis, symbol: &str, price: &str) {
    redis.publisher().await.trade(symbol, &trade(symbol, price, 2)).await;
}

/// The next trade; nothing else comes before it but what says that a connection ended.
async fn traded(client: &mut Program) -> (Value, Value) {
    let message = client.line_with("message").await["message"].clone();
    assert_eq!(message["type"], "trade", "{message}");
    (message["data"][0]["s"].clone(), message["data"][0]["p"].clone())
}

async fn gets_prices_and_comes_back(language: Language) {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, |config| {
        with_finnhub(config);
        config.delivery.ping_interval = std::time::Duration::from_millis(200);
        config.delivery.pong_timeout = std::time::Duration::from_millis(200);
        // A machine with much to do may let a client wait for seconds.
        config.delivery.max_missed_pongs = 25;
    })
    .await;
    let way = Detour::to(first.addr).await;
    let mut client = started(language, way.addr, &["AAPL", "BINANCE:BTCUSDT"]).await;
    first.subscribed(2).await;
    first.pongs(5).await;
    publish(&redis, "BINANCE:BTCUSDT", "1.5").await;
    assert_eq!(traded(&mut client).await, (json!("BINANCE:BTCUSDT"), json!(1.5)));
    client.say(r#"{"type":"unsubscribe","symbol":"AAPL"}"#).await;
    first.subscribed(1).await;
    publish(&redis, "AAPL", "2").await;
    client.say(r#"{"type":"subscribe"}"#).await;
    assert_eq!(client.json().await["message"]["type"], "error", "and no trade of AAPL");

    let flags = ["--dialects", "finnhub"];
    let killed = Process::on(&redis, &flags).await;
    way.lead_to(killed.addr());
    let draining = tokio::spawn(first.gateway.drain());
    let told = client.line_with("message").await["message"].clone();
    assert_eq!((&told["type"], &told["event"]), (&json!("status"), &json!("shutdown")));
    stats::subscribed(killed.addr(), 2).await;
    draining.await.expect("it ends");
    publish(&redis, "AAPL", "3").await;
    assert_eq!(traded(&mut client).await, (json!("AAPL"), json!(3)));
    let last = Process::on(&redis, &flags).await;
    way.outlive(killed, &last).await;
    stats::subscribed(last.addr(), 2).await;
    publish(&redis, "AAPL", "4").await;
    assert_eq!(traded(&mut client).await, (json!("AAPL"), json!(4)));
}

#[tokio::test(flavor = "multi_thread")]
async fn websocket_client_for_python() {
    gets_prices_and_comes_back(Language::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ws_for_node() {
    gets_prices_and_comes_back(Language::Node).await;
}

/// Large enough that kernel buffers don't take everything.
fn large(n: u64) -> (String, String) {
    let conditions = "x".repeat(500);
    let payload =
        format!(r#"{{"symbol":"A","price":1,"volume":1,"timestamp":{n},"conditions":["{conditions}"]}}"#);
    ("A".to_owned(), payload)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_told_what_it_misses() {
    for language in [Language::Python, Language::Node] {
        let redis = Redis::start().await;
        let gateway = TestGateway::on(&redis, |config| {
            with_finnhub(config);
            config.events.max_event_bytes = 1_024;
            config.delivery.max_outbox_bytes = 64 * 1_024;
        })
        .await;
        let mut client = started(language, gateway.addr, &["A"]).await;
        gateway.subscribed(1).await;
        client.pause();
        let mut worker = redis.publisher().await;
        let metrics = &gateway.gateway.state().metrics;
        let is_skipped = || metrics.sum(|shard| &shard.events_skipped) > 0;
        let published = gateway.publish_until(&mut worker, large, is_skipped).await;
        client.go_on();
        let mut next = 0;
        let mut announced = 0;
        while next < published {
            let message = client.line_with("message").await["message"].clone();
            if message["type"] == "status" {
                let count = message["data"]["count"].as_u64();
                announced += count.unwrap_or_else(|| panic!("{message}"));
                next += count.unwrap_or_default();
                continue;
            }
            for event in message["data"].as_array().expect("an array") {
                assert_eq!(event["t"], next, "{language:?}");
                next += 1;
            }
        }
        assert_eq!(next, published);
        assert!(announced > 0, "{language:?}");
    }
}
