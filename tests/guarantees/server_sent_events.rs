//! `GET /sse`: a subscribe by URL, whose events come as server-sent events, under the rules that hold for a WebSocket client.

use std::time::Instant;

use serde_json::{Value, json};
use ws_gateway::config::Config;
use ws_gateway::market::Kind;

use crate::support::http::{Reply, ask};
use crate::support::stream::{Stream, StreamEvent};
use crate::support::tokens::{SECRET, from_now, token};
use crate::support::{Redis, TestGateway, trade, until};

fn numbered(symbol: &str, seq: u64) -> String {
    format!(r#"{{"symbol":"{symbol}","price":{seq}.50,"volume":1,"timestamp":{seq},"seq":{seq}}}"#)
}

async fn gateway(redis: &Redis, change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::on(redis, |config| {
        config.events.channel_types = [Kind::TRADE, Kind::QUOTE].into_iter().collect();
        change(config);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reply_comes_first_and_then_the_same_objects() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    worker.trade("AAPL", &numbered("AAPL", 6)).await;
    gateway.taken(1).await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    let (mut stream, head) = Stream::open_with(
        gateway.addr,
        "symbols=aapl,A%20B&types=trade,quote&snapshot=1&heartbeat=0&x=y",
        "Origin: http://127.0.0.1\r\n",
        None,
    )
    .await;
    for (name, value) in [
        ("Cache-Control", "no-store"),
        ("Connection", "close"),
        ("X-Accel-Buffering", "no"),
        ("Vary", "Origin"),
    ] {
        assert_eq!(head.header(name), Some(value));
    }
    assert!(
        head.header("Date").is_some_and(|date| date.ends_with(" GMT"))
            && head.header("X-Server-Id").is_some()
    );
    let reply = stream.expect("success").await.json();
    assert_eq!(reply["data"]["subscribed"], json!(["AAPL", "A B"]));
    assert_eq!(reply["data"]["recovered"], Value::Null);
    let snapshot = stream.expect("trade").await;
    assert_eq!((snapshot.id.as_deref(), &snapshot.json()["snapshot"]), (Some("trade:6:AAPL"), &json!(true)));
    for _ in ["trade", "quote"] {
        assert_eq!(stream.expect("status").await.json()["event"], "snapshotEnd");
    }
    worker.trade("AAPL", &numbered("AAPL", 7)).await;
    // An object of several lines is the same in one.
    worker.trade("A B", "{\n\"symbol\":\"A B\",\r\n\"price\":1.50,\"volume\":1,\"timestamp\":1}").await;
    let event = stream.expect("trade").await;
    assert_eq!(
        event,
        StreamEvent {
            name: "trade".to_owned(),
            id: Some("trade:7:AAPL".to_owned()),
            data: client.text().await
        }
    );
    let event = stream.expect("trade").await;
    assert_eq!((event.id.as_ref(), event.json()["data"]["price"].as_f64()), (None, Some(1.5)));
    assert!(event.data.contains(r#"{ "symbol":"A B",  "price":1.50,"#), "{}", event.data);
    worker.trade("AAPL", &numbered("AAPL", 9)).await;
    let gap = stream.expect("status").await.json();
    assert_eq!((&gap["event"], &gap["data"]["from"]), (&json!("gap"), &json!(8)));
    assert_eq!(stream.expect("trade").await.id.as_deref(), Some("trade:9:AAPL"));
    drop(stream);
    until("the stream to be gone", async || {
        (gateway.stat("totalSymbolSubscriptions").await == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_event_s_topic_is_resumed_and_the_others_begin_with_a_snapshot() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    for seq in 1..=5 {
        worker.trade("AAPL", &numbered("AAPL", seq)).await;
        worker.trade("MSFT", &numbered("MSFT", seq)).await;
    }
    gateway.taken(10).await;
    let open = async |query: &str, id: &str| {
        Stream::open_with(gateway.addr, query, &format!("Last-Event-ID: {id}\r\n"), None).await.0
    };
    let events = async |stream: &mut Stream| {
        let mut told = Vec::new();
        loop {
            let event = stream.json().await;
            if event["event"] == "snapshotEnd" {
                return told;
            }
            let mark = ["replay", "snapshot"].into_iter().find(|mark| event[*mark] == true);
            let what = mark.unwrap_or_else(|| event["event"].as_str().expect("a status"));
            told.push(format!("{what} {}", event["data"]["seq"]));
        }
    };
    for (query, id, recovered, expected) in [
        (
            "symbols=AAPL,MSFT",
            "trade:3:AAPL",
            json!({"AAPL": true, "MSFT": false}),
            &["replay 4", "replay 5", "replayEnd null", "snapshot 5"][..],
        ),
        // What a pattern has brought is resumed as well.
        (
            "symbols=*",
            "trade:4:MSFT",
            json!({"MSFT": true, "*": false}),
            &["replay 5", "replayEnd null", "snapshot 5"],
        ),
        // Ahead of this gateway: what was seen doesn't come again.
        ("symbols=AAPL", "trade:9:AAPL", json!({"AAPL": true}), &["replayEnd null"]),
        ("symbols=AAPL", "trade:5:AAPL", json!({"AAPL": true}), &["replayEnd null"]),
        // Of another subscription, or no id of ours.
        ("symbols=AAPL", "trade:3:MSFT", json!({"AAPL": false}), &["snapshot 5"]),
        ("symbols=AAPL", "nonsense", json!({"AAPL": false}), &["snapshot 5"]),
    ] {
        let mut stream = open(query, id).await;
        let reply = stream.expect("success").await.json();
        assert_eq!(reply["data"]["recovered"], recovered, "{query} {id}");
        assert_eq!(events(&mut stream).await, expected, "{query} {id}");
    }
    // Two types: the symbol is recovered only if both are.
    let mut stream = open("symbols=AAPL&types=quote,trade", "trade:4:AAPL").await;
    let reply = stream.expect("success").await.json();
    assert_eq!(reply["data"]["recovered"], json!({"AAPL": false}));
    assert_eq!(stream.expect("trade").await.json()["replay"], true);
    let mut ahead = open("symbols=AAPL", "trade:7:AAPL").await;
    for _ in 0..3 {
        ahead.event().await;
    }
    for seq in 6..=8 {
        worker.trade("AAPL", &numbered("AAPL", seq)).await;
    }
    assert_eq!(ahead.expect("trade").await.id.as_deref(), Some("trade:8:AAPL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_options_of_a_subscribe_stand_in_the_url() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let mut stream =
        Stream::open(gateway.addr, "symbols=AAPL&maxRate=2&conflate=aggregate&heartbeat=1").await;
    stream.expect("success").await;
    worker.trades((0..100).map(|n| ("AAPL".to_owned(), trade("AAPL", "1.50", n)))).await;
    let (mut covered, mut heartbeats) = (0, 0);
    while covered < 100 || heartbeats == 0 {
        let event = stream.json().await;
        match event.pointer("/conflated/count") {
            Some(count) => covered += count.as_u64().unwrap(),
            None if event["type"] == "trade" => covered += 1,
            None => {
                assert_eq!(event["event"], "heartbeat");
                heartbeats += 1;
            }
        }
    }
    assert_eq!(covered, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_told_and_ends_the_stream() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| config.clients.max_symbols_per_client = 2).await;
    for (query, code) in [
        ("symbols=A,B,C", "SYMBOL_LIMIT_EXCEEDED"),
        ("symbols=A%22B", "INVALID_INPUT"),
        ("symbols=A&types=nope", "INVALID_INPUT"),
        ("symbols=A&maxRate=fast", "INVALID_INPUT"),
        ("symbols=A&snapshot=2", "INVALID_INPUT"),
    ] {
        let mut stream = Stream::open(gateway.addr, query).await;
        assert_eq!(stream.expect("refused").await.json()["code"], code, "{query}");
        assert_eq!((stream.event().await, stream.retry_ms), (None, Some(3_600_000)), "{query}");
    }
    for (request, status, code) in [
        ("GET /sse", 400, "INVALID_INPUT"),
        ("GET /sse?symbols=", 400, "INVALID_INPUT"),
        ("POST /sse?symbols=A", 405, "INVALID_INPUT"),
        ("HEAD /sse?symbols=A", 405, ""),
    ] {
        let reply = ask(gateway.addr, &format!("{request} HTTP/1.1\r\nHost: h\r\n")).await;
        assert_eq!(reply.status, status, "{request}");
        assert!(code.is_empty() || reply.code() == code);
    }
    let reply = ask(gateway.addr, "OPTIONS /sse HTTP/1.1\r\nHost: h\r\n").await;
    assert_eq!((reply.status, reply.header("Allow")), (204, Some("GET, OPTIONS")));
    until("the seats to be free", async || (gateway.stat("activeConnections").await == 0).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn origins_and_tokens_count_as_for_a_web_socket() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.server.origins.allowed = Some(vec!["https://app.example.com".to_owned()]);
    })
    .await;
    let get = async |query: &str, lines: &str| -> Reply {
        ask(gateway.addr, &format!("GET /sse?{query} HTTP/1.1\r\nHost: h\r\n{lines}")).await
    };
    let good = token(json!({"sub": "u", "symbols": ["AAPL"]}));
    let past = token(json!({"sub": "u", "exp": from_now(-60)}));
    for (query, lines) in [
        ("symbols=AAPL", ""),
        ("symbols=AAPL&token=nonsense", ""),
        (&format!("symbols=AAPL&token={past}"), ""),
        ("symbols=AAPL&token=nonsense", "Origin: https://app.example.com\r\n"),
    ] {
        let reply = get(query, lines).await;
        assert_eq!((reply.status, reply.code().as_str()), (401, "UNAUTHORIZED"), "{query}");
        assert!(reply.header("WWW-Authenticate").is_some());
    }
    let reply = get("symbols=AAPL", "Origin: https://evil.example\r\n").await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "FORBIDDEN"));
    let origin = "https://app.example.com";
    let (mut stream, head) = Stream::open_with(
        gateway.addr,
        &format!("symbols=AAPL&token={good}"),
        &format!("Origin: {origin}\r\n"),
        None,
    )
    .await;
    assert_eq!(head.header("Access-Control-Allow-Origin"), Some(origin));
    stream.expect("success").await;
    let mut stream = Stream::open(gateway.addr, &format!("symbols=MSFT&token={good}")).await;
    assert_eq!(stream.expect("refused").await.json()["code"], "FORBIDDEN");
    // An id doesn't open what the rights don't cover.
    let mut worker = redis.publisher().await;
    for seq in 1..=3 {
        worker.trade("MSFT", &numbered("MSFT", seq)).await;
    }
    gateway.taken(3).await;
    let line = "Last-Event-ID: trade:1:MSFT\r\n";
    let query = format!("symbols=*&token={good}");
    let (mut stream, _) = Stream::open_with(gateway.addr, &query, line, None).await;
    assert_eq!(stream.expect("success").await.json()["data"]["recovered"], json!({"*": false}));
    assert_eq!(stream.expect("status").await.json()["event"], "snapshotEnd");
}

/// Whatever rate it asks for, and whichever number of symbols.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_limits_holds_for_a_stream() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| config.access.secret_key = Some(SECRET.to_owned())).await;
    let slow = token(json!({"sub": "u", "maxRate": 0.2, "maxSymbols": 2}));
    let mut stream = Stream::open(gateway.addr, &format!("symbols=A,B,C&token={slow}")).await;
    assert_eq!(stream.expect("refused").await.json()["code"], "SYMBOL_LIMIT_EXCEEDED");
    let begun = Instant::now();
    let mut stream = Stream::open(gateway.addr, &format!("symbols=AAPL&maxRate=1000&token={slow}")).await;
    stream.expect("success").await;
    let mut worker = redis.publisher().await;
    for seq in 1..=500 {
        worker.trade("AAPL", &numbered("AAPL", seq)).await;
    }
    gateway.taken(500).await;
    let (mut events, mut last) = (0, 0);
    while last < 500 {
        last = stream.expect("trade").await.json()["data"]["seq"].as_u64().expect("a number");
        events += 1;
    }
    // The first at once, and then one in five seconds.
    let most = 1 + begun.elapsed().as_secs().div_ceil(5);
    assert!(events <= most, "{events}, and {most} at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_time_to_come_back() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.access.leeway = std::time::Duration::ZERO;
        config.process.shards = 1;
        config.delivery.max_outbox_bytes = 200_000;
    })
    .await;
    let short = token(json!({"sub": "short", "exp": from_now(2)}));
    let long = token(json!({"sub": "long", "exp": from_now(10_000)}));

    let mut stream = Stream::open(gateway.addr, &format!("symbols=A&token={short}")).await;
    stream.expect("success").await;
    assert_eq!(stream.expect("status").await.json()["event"], "tokenExpiring");
    assert_eq!(stream.expect("refused").await.json()["code"], "UNAUTHORIZED");
    assert_eq!((stream.event().await, stream.retry_ms), (None, Some(1_000)));
    let back = format!("GET /sse?symbols=A&token={short} HTTP/1.1\r\nHost: h\r\n");
    assert_eq!(ask(gateway.addr, &back).await.status, 401, "a browser then stays away");

    let query = format!("symbols=A&onSlow=disconnect&token={long}");
    let (mut slow, _) = Stream::open_with(gateway.addr, &query, "", Some(4_096)).await;
    slow.expect("success").await;
    let mut worker = redis.publisher().await;
    let mut published = 0;
    while gateway.gateway.state().metrics.sum(|shard| &shard.slow_closed) == 0 {
        let payload = |n| trade("A", "1", n).replace("NASDAQ", &"N".repeat(1_000));
        worker.trades((published..published + 200).map(|n| ("A".to_owned(), payload(n)))).await;
        published += 200;
        gateway.taken(published).await;
    }
    let mut last = None;
    while let Some(event) = slow.event().await {
        last = Some(event);
    }
    let last = last.unwrap();
    assert_eq!((last.name.as_str(), &last.json()["code"]), ("refused", &json!("SLOW_CLIENT")));
    assert_eq!(slow.retry_ms, Some(5_000));

    let mut stream = Stream::open(gateway.addr, &format!("symbols=A&token={long}")).await;
    stream.expect("success").await;
    gateway.gateway.drain().await;
    let shutdown = stream.expect("status").await.json();
    assert_eq!(shutdown["event"], "shutdown");
    assert_eq!(stream.event().await, None);
    assert_eq!(stream.retry_ms, shutdown["data"]["reconnectAfterMs"].as_u64());
}
