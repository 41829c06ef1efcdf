//! A client can ask the gateway for its own figures, and for the state of the feed each second.

use crate::support::{Client, Redis, TestGateway, raw, trade};
use serde_json::{Value, json};

/// The next frame, of which only the timestamp is the gateway's choice.
async fn without_timestamp(client: &mut Client) -> String {
    let text = client.text().await;
    let value: Value = serde_json::from_str(&text).expect("JSON");
    text.replace(&value["timestamp"].to_string(), "T")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_with_stats_answers_with_the_clients_own_figures() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.process.shards = 1;
        config.delivery.max_outbox_bytes = 50_000;
    })
    .await;
    let mut client = gateway.client().await;
    client.send(r#"{"action":"ping","stats":true,"id":7}"#).await;
    assert_eq!(
        without_timestamp(&mut client).await,
        r#"{"type":"pong","timestamp":T,"stats":{"queuedBytes":0,"skipped":0,"conflated":0,"lagMs":0},"id":7}"#
    );
    client.send(r#"{"action":"ping"}"#).await;
    assert_eq!(without_timestamp(&mut client).await, r#"{"type":"pong","timestamp":T}"#);

    let mut slow = Client::from_raw(raw::connect(gateway.addr, "/ws?symbols=AAPL", Some(4_096)).await).await;
    assert_eq!(slow.json().await["type"], "success");
    let mut worker = redis.publisher().await;
    let metrics = &gateway.gateway.state().metrics;
    let payload = trade("AAPL", "1", 1).replace("NASDAQ", &"N".repeat(1_000));
    let mut published = 0;
    // No faster than the gateway gets on with it: what it could not take would be announced behind the answer.
    while metrics.sum(|shard| &shard.events_skipped) == 0 {
        worker.trades((0..200).map(|_| ("AAPL".to_owned(), payload.clone()))).await;
        published += 200;
        gateway.taken(published).await;
    }
    // Asked while it lags, answered behind what it lags by.
    slow.send(r#"{"action":"ping","stats":true}"#).await;
    let (mut announced, mut delivered) = (0, 0);
    let stats = loop {
        let message = slow.json().await;
        match message["type"].as_str() {
            Some("trade") => delivered += 1,
            Some("status") => announced += message["data"]["count"].as_u64().expect("a count"),
            _ => break message["stats"].clone(),
        }
    };
    assert!(delivered > 0 && announced > 0, "{delivered} delivered, {announced} announced, then {stats}");
    assert!(stats["queuedBytes"].as_u64() > Some(0), "{stats}");
    assert!(stats["skipped"].as_u64() > Some(0), "{stats}");
    assert_eq!(stats["conflated"], 0);
    assert!(stats["lagMs"].is_u64());
    slow.send(r#"{"action":"ping","stats":true}"#).await;
    let (stats, announced) = loop {
        let message = slow.json().await;
        match message["type"].as_str() {
            Some("trade") => {}
            Some("status") => announced += message["data"]["count"].as_u64().expect("a count"),
            _ => break (message["stats"].clone(), announced),
        }
    };
    assert_eq!(stats["skipped"], announced, "the same that was announced");
}

/// Reads on to the next heartbeat; returns its data.
async fn heartbeat(client: &mut Client) -> Value {
    loop {
        let message = client.json().await;
        if message["event"] == "heartbeat" {
            assert_eq!(message["type"], "status");
            return message["data"].clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_tells_the_state_of_the_feed() {
    let mut redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.process.shards = 1).await;
    let mut client = gateway.client().await;
    client.subscribe_with(json!({"symbols": ["AAPL"], "heartbeat": true})).await;
    assert_eq!(
        without_timestamp(&mut client).await,
        r#"{"type":"status","event":"heartbeat","data":{"feed":"up","lastEventAgeMs":null},"timestamp":T}"#
    );
    let mut worker = redis.publisher().await;
    // Of any symbol: it is the feed's age, not the topic's.
    worker.trade("MSFT", &trade("MSFT", "1", 1)).await;
    while heartbeat(&mut client).await["lastEventAgeMs"].is_null() {}
    let first = heartbeat(&mut client).await["lastEventAgeMs"].as_u64().expect("an age");
    let second = heartbeat(&mut client).await["lastEventAgeMs"].as_u64().expect("an age");
    assert!(second > first, "it grows while nothing comes: {first}, {second}");

    let mut never_asked = gateway.subscriber(&["AAPL"]).await;
    let mut also_asked = gateway.client().await;
    also_asked.subscribe_with(json!({"symbols": ["AAPL"], "heartbeat": true})).await;
    redis.kill();
    while heartbeat(&mut client).await["feed"] != "down" {}

    // Not for those who don't want it any more, or never did.
    client.send(r#"{"action":"subscribe","symbols":["AAPL"],"heartbeat":false}"#).await;
    while client.json().await["type"] != "success" {}
    for _ in 0..3 {
        heartbeat(&mut also_asked).await;
    }
    for client in [&mut client, &mut never_asked] {
        client.send(r#"{"action":"ping"}"#).await;
        let mut next = client.json().await;
        while next["event"] == "feed" {
            next = client.json().await;
        }
        assert_eq!(next["type"], "pong", "{next}");
    }
}
