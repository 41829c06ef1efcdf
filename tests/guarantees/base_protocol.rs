//! The base protocol, example by example, against a real Redis: clients get exactly the messages that they already parse.

use crate::support::{Redis, TestGateway, trade};
use serde_json::{Value, json};

/// The message with its gateway timestamp (the last number) checked and cut to a fixed one.
fn normalized(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap();
    let stamp = value["timestamp"].as_u64().expect("every message has a timestamp");
    let now_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    assert!(stamp <= now_ms && now_ms - stamp < 600_000, "{stamp} is no Unix time in milliseconds");
    text.replace(&format!(r#""timestamp":{stamp}"#), r#""timestamp":1234567890"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_contract() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.client().await;

    client.send(r#"{"action":"subscribe","symbols":["AAPL","GOOGL"]}"#).await;
    assert_eq!(
        normalized(&client.text().await),
        r#"{"type":"success","message":"Successfully subscribed to 2 symbol(s)","data":{"subscribed":["AAPL","GOOGL"],"currentSubscriptions":["AAPL","GOOGL"]},"timestamp":1234567890}"#
    );

    let payload = r#"{"symbol":"AAPL","price":150.25,"volume":100,"timestamp":1234567,"exchange":"NASDAQ"}"#;
    assert_eq!(worker.trade("AAPL", payload).await, 1, "the gateway is the one subscriber");
    assert_eq!(
        normalized(&client.text().await),
        format!(r#"{{"type":"trade","data":{payload},"timestamp":1234567890}}"#)
    );

    client.send(r#"{"action":"unsubscribe","symbols":["AAPL"]}"#).await;
    assert_eq!(
        normalized(&client.text().await),
        r#"{"type":"success","message":"Successfully unsubscribed from 1 symbol(s)","data":{"unsubscribed":["AAPL"],"currentSubscriptions":["GOOGL"]},"timestamp":1234567890}"#
    );

    client.send(r#"{"action":"ping"}"#).await;
    assert_eq!(normalized(&client.text().await), r#"{"type":"pong","timestamp":1234567890}"#);

    client.send(r#"{"action":"subscribe","symbols":["A","B","C","D","E"]}"#).await;
    assert_eq!(
        normalized(&client.text().await),
        r#"{"type":"error","message":"Cannot subscribe: would exceed maximum of 5 symbols","code":"SYMBOL_LIMIT_EXCEEDED","timestamp":1234567890}"#
    );

    // A refused request has changed nothing.
    client.send(r#"{"action":"subscribe","symbols":["GOOGL"]}"#).await;
    assert_eq!(client.json().await["data"]["currentSubscriptions"], json!(["GOOGL"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_normalised_and_keep_their_order() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.client().await;

    let reply = client.subscribe(&["tsla", "AAPL", "Tsla", "btc-usd"]).await;
    assert_eq!(reply["message"], "Successfully subscribed to 3 symbol(s)");
    assert_eq!(reply["data"]["subscribed"], json!(["TSLA", "AAPL", "BTC-USD"]));
    let reply = client.subscribe(&["MSFT", "AAPL"]).await;
    assert_eq!(reply["data"]["subscribed"], json!(["MSFT", "AAPL"]));
    assert_eq!(reply["data"]["currentSubscriptions"], json!(["TSLA", "AAPL", "BTC-USD", "MSFT"]));
    let reply = client.unsubscribe(&["NFLX", "aapl", "NFLX"]).await;
    assert_eq!(reply["message"], "Successfully unsubscribed from 1 symbol(s)");
    assert_eq!(reply["data"]["unsubscribed"], json!(["AAPL"]));
    assert_eq!(reply["data"]["currentSubscriptions"], json!(["TSLA", "BTC-USD", "MSFT"]));

    // Lower case in the channel and in the payload is the same topic.
    worker.raw("channel:trade:btc-usd", trade("Btc-Usd", "1", 1).as_bytes()).await;
    assert_eq!(client.json().await["data"]["symbol"], "Btc-Usd");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_answered_and_change_nothing() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    let cases = [
        ("{", "INVALID_JSON"),
        ("[1]", "INVALID_INPUT"),
        (r#"{"symbols":["AAPL"]}"#, "INVALID_INPUT"),
        (r#"{"action":"subscribe"}"#, "INVALID_INPUT"),
        (r#"{"action":"subscribe","symbols":[]}"#, "INVALID_INPUT"),
        (r#"{"action":"subscribe","symbols":["GOOD","b,a,d"]}"#, "INVALID_INPUT"),
        (r#"{"action":"subscribe","symbols":["A"],"types":["quote"]}"#, "INVALID_INPUT"),
        (r#"{"action":"sell","symbols":["AAPL"]}"#, "UNKNOWN_ACTION"),
    ];
    for (message, code) in cases {
        client.send(message).await;
        let reply = client.json().await;
        assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!(code)), "{message}: {reply}");
    }
    client.ws_binary(b"binary").await;
    assert_eq!(client.json().await["code"], "INVALID_INPUT");
    let reply = client.subscribe(&["AAPL"]).await;
    assert_eq!(reply["data"]["currentSubscriptions"], json!(["AAPL"]), "none of it has subscribed anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_echoed_last() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut client = gateway.client().await;
    for (message, id) in [
        (r#"{"action":"ping","id":7}"#, ",\"id\":7}"),
        (r#"{"id":"a-1","action":"subscribe","symbols":["AAPL"]}"#, ",\"id\":\"a-1\"}"),
        (r#"{"id":"u","action":"unsubscribe","symbols":["AAPL"]}"#, ",\"id\":\"u\"}"),
        (r#"{"id":-1.5e3,"action":"nonsense"}"#, ",\"id\":-1.5e3}"),
    ] {
        client.send(message).await;
        let reply = client.text().await;
        assert!(reply.ends_with(id), "{reply}");
    }
}
