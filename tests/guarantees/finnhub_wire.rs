//! Finnhub's API as it is on the wire: two verbs without answers, trades in arrays, errors, keys in the URL.

use crate::support::http::HANDSHAKE;
use crate::support::tokens::{SECRET, token};
use crate::support::{Client, PATIENCE, Redis, TestGateway, trade, until};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use ws_gateway::config::Config;
use ws_gateway::limits::BATCH_EVENTS_MAX;
use ws_gateway::protocol::api::Api;

fn with_finnhub(config: &mut Config) {
    config.clients.dialects = [Api::Finnhub].into_iter().collect();
    config.clients.dialect_max_symbols = 2;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_path_is_there_only_if_asked_for() {
    let redis = Redis::start().await;
    let (off, on) = (TestGateway::on(&redis, |_| {}).await, TestGateway::on(&redis, with_finnhub).await);
    assert_eq!((off.get("/finnhub").await.status, on.get("/finnhub").await.status), (404, 426));
}

#[tokio::test(flavor = "multi_thread")]
async fn trades_come_in_its_shape() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_finnhub).await;
    let mut worker = redis.publisher().await;
    let mut client = Client::connect(&format!("ws://{}/finnhub?token=any", gateway.addr)).await;
    for symbol in ["BINANCE:BTCUSDT", "IC MARKETS:1", "ONE:TOO MANY"] {
        client.send(json!({"type": "subscribe", "symbol": symbol}).to_string()).await;
    }
    assert_eq!(client.text().await, r#"{"type":"error","msg":"Subscribing to too many symbols"}"#);
    worker.trade("BINANCE:BTCUSDT", &trade("BINANCE:BTCUSDT", "122.10", 5)).await;
    assert_eq!(
        client.text().await,
        r#"{"data":[{"p":122.10,"s":"BINANCE:BTCUSDT","t":5,"v":100}],"type":"trade"}"#
    );
    let conditions =
        r#"{"symbol":"BINANCE:BTCUSDT","price":1e-8,"volume":0.50,"timestamp":5,"conditions":["1","8"]}"#;
    worker.trade("BINANCE:BTCUSDT", conditions).await;
    assert_eq!(
        client.text().await,
        r#"{"data":[{"c":["1","8"],"p":1e-8,"s":"BINANCE:BTCUSDT","t":5,"v":0.50}],"type":"trade"}"#
    );
    client.send(r#"{"type":"unsubscribe","symbol":"BINANCE:BTCUSDT"}"#).await;
    client.send("{}").await;
    assert_eq!(client.json().await["type"], "error");
    worker.trade("BINANCE:BTCUSDT", &trade("BINANCE:BTCUSDT", "1", 6)).await;
    worker.trade("IC MARKETS:1", &trade("IC MARKETS:1", "2", 7)).await;
    assert_eq!(client.json().await["data"][0]["s"], "IC MARKETS:1");
    drop(redis);
    let down = client.json().await;
    assert_eq!(
        (&down["type"], &down["event"], &down["data"]["state"]),
        (&json!("status"), &json!("feed"), &json!("down"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_told_and_closes_with_1012() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_finnhub).await;
    let mut client = Client::connect(&format!("ws://{}/finnhub", gateway.addr)).await;
    let draining = tokio::spawn(gateway.gateway.drain());
    let told = client.json().await;
    assert_eq!((&told["type"], &told["event"]), (&json!("status"), &json!("shutdown")));
    assert_eq!(client.ending().await.map(|(code, _)| code), Some(1012));
    draining.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_are_parameters_of_the_url() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_finnhub).await;
    let mut worker = redis.publisher().await;
    worker.trade("A", &trade("A", "1", 1)).await;
    gateway.taken(1).await;
    let mut client = Client::connect(&format!("ws://{}/finnhub?snapshot=1", gateway.addr)).await;
    client.send(r#"{"type":"subscribe","symbol":"A"}"#).await;
    assert_eq!(client.json().await["data"][0]["t"], 1);
    assert_eq!(client.json().await["event"], "snapshotEnd");
    let refused = HANDSHAKE.replace("/ws ", "/finnhub?maxRate=0 ");
    let refused = crate::support::http::exchange(gateway.addr, &format!("{refused}\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 400 ") && refused.contains("maxRate"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn symbols_have_other_names_where_the_file_says_so() {
    let redis = Redis::start().await;
    let names = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(names.path(), "BTC-USD=BINANCE:BTCUSDT\n").expect("written");
    let gateway = TestGateway::on(&redis, |config| {
        with_finnhub(config);
        config.clients.dialect_symbol_map = Some(names.path().to_owned());
    })
    .await;
    let mut client = Client::connect(&format!("ws://{}/finnhub", gateway.addr)).await;
    client.send(r#"{"type":"subscribe","symbol":"BINANCE:BTCUSDT"}"#).await;
    gateway.subscribed(1).await;
    redis.publisher().await.trade("BTC-USD", &trade("BTC-USD", "1", 1)).await;
    assert_eq!(client.json().await["data"][0]["s"], "BINANCE:BTCUSDT");
}

/// There is no answer to a subscribe, but what a client sends behind it waits until it holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_pong_says_that_the_subscribe_before_it_holds() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_finnhub).await;
    let mut worker = redis.publisher().await;
    for n in 0..20 {
        let mut client = Client::connect(&format!("ws://{}/finnhub", gateway.addr)).await;
        let symbol = format!("S{n}");
        client.send(json!({"type": "subscribe", "symbol": symbol}).to_string()).await;
        client.ws.send(Message::Ping(Bytes::new())).await.expect("the gateway reads");
        // The gateway's own ping comes at any time.
        let answer = loop {
            let answer = timeout(PATIENCE, client.ws.next()).await.expect("an answer in time");
            match answer.expect("it stays open").expect("a message") {
                Message::Ping(_) => {}
                answer => break answer,
            }
        };
        assert_eq!(answer, Message::Pong(Bytes::new()));
        worker.trade(&symbol, &trade(&symbol, "1", n)).await;
        assert_eq!(client.json().await["data"][0]["t"], n);
    }
}

/// What waits when a message begins is in it, however a socket takes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_has_what_waits() {
    const N: u64 = 2_000;
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_finnhub).await;
    let mut client = Client::connect(&format!("ws://{}/finnhub", gateway.addr)).await;
    client.send(r#"{"type":"subscribe","symbol":"A"}"#).await;
    until("the subscription", async || (gateway.stat("totalSymbolSubscriptions").await == 1).then_some(()))
        .await;
    redis.publisher().await.trades((0..N).map(|n| ("A".to_owned(), trade("A", "1", n)))).await;
    let (mut next, mut messages) = (0, 0);
    while next < N {
        messages += 1;
        let message = client.json().await;
        let events = message["data"].as_array().expect("an array");
        assert!(events.len() <= BATCH_EVENTS_MAX as usize, "{}", events.len());
        for event in events {
            assert_eq!(event["t"], next);
            next += 1;
        }
    }
    assert!(messages < N, "a message for each trade");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_in_the_url_or_the_client_stays_outside() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_finnhub(config);
        config.access.secret_key = Some(SECRET.to_owned());
    })
    .await;
    for query in ["", "?token=nobody"] {
        let request = HANDSHAKE.replace("/ws ", &format!("/finnhub{query} "));
        let refused = crate::support::http::exchange(gateway.addr, &format!("{request}\r\n")).await;
        assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    }
    // Its number of symbols counts rather than `DIALECT_MAX_SYMBOLS`.
    let key = token(json!({"sub": "u", "symbols": ["A*"], "maxSymbols": 3}));
    let mut client = Client::connect(&format!("ws://{}/finnhub?token={key}", gateway.addr)).await;
    for symbol in ["A1", "A2", "A3", "B"] {
        client.send(json!({"type": "subscribe", "symbol": symbol}).to_string()).await;
    }
    let refused = client.json().await;
    assert!(refused["msg"].as_str().is_some_and(|text| text.contains("rights")), "{refused}");
    client.send(r#"{"type":"subscribe","symbol":"A4"}"#).await;
    assert_eq!(client.json().await["msg"], "Subscribing to too many symbols");
}
