//! JSON batch: the same objects in arrays, asked for by subprotocol or in the URL. What waits when a message begins is in it; replies and
//! statuses stand alone, in their place.

use crate::support::http::{HANDSHAKE, read_head};
use crate::support::http_server::Server;
use crate::support::{Client, Redis, TestGateway, raw, trade, until};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;
use ws_gateway::ingest::publisher::EventBatch;
use ws_gateway::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};
use ws_gateway::protocol::Dialect;

async fn batch_client(gateway: &TestGateway) -> Client {
    Client::connect(&format!("ws://{}/ws?batch=1", gateway.addr)).await
}

/// The next message: its text, and the objects in it.
async fn array(client: &mut Client) -> (String, Vec<Value>) {
    let text = client.text().await;
    let objects = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
    (text, objects)
}

/// The only object of the next message.
async fn alone(client: &mut Client) -> Value {
    let (text, mut objects) = array(client).await;
    assert_eq!(objects.len(), 1, "{text}");
    objects.remove(0)
}

#[tokio::test]
async fn a_client_gets_the_form_that_it_prefers() {
    for (offered, query, answered, dialect) in [
        ("md.v1.json.batch, md.v1.json", "", Some("md.v1.json.batch"), Dialect::Batch),
        ("md.v1.json, md.v1.json.batch", "", Some("md.v1.json"), Dialect::Native),
        ("chat, bearer, x, md.v1.json.batch", "", Some("md.v1.json.batch"), Dialect::Batch),
        ("md.v1.json", "?symbols=A&batch=1", Some("md.v1.json"), Dialect::Batch),
        ("chat", "?batch=1", None, Dialect::Batch),
        ("chat", "?batch=0", None, Dialect::Native),
    ] {
        let mut server = Server::start();
        let mut stream = server.connect().await;
        let handshake = HANDSHAKE.replace("/ws", &format!("/ws{query}"));
        let request = format!("{handshake}Sec-WebSocket-Protocol: {offered}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let reply = read_head(&mut stream).await;
        assert_eq!(reply.header("Sec-WebSocket-Protocol"), answered, "{offered}");
        assert_eq!(server.clients.recv().await.unwrap().client.dialect, dialect, "{offered} {query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_objects_are_those_of_a_client_without_batch() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let mut plain = gateway.client().await;
    let mut batch = batch_client(&gateway).await;
    worker.trade("AAPL", &trade("AAPL", "1.50", 1)).await;
    gateway.taken(1).await;
    let request = r#"{"action":"subscribe","symbols":["AAPL"],"snapshot":true,"id":7}"#;
    plain.send(request).await;
    batch.send(request).await;
    let without_time = |mut message: Value| {
        message.as_object_mut().unwrap().remove("timestamp");
        message
    };
    for _ in ["reply", "snapshot", "snapshotEnd"] {
        assert_eq!(without_time(alone(&mut batch).await), without_time(plain.json().await));
    }
    let mut burst = EventBatch::default();
    (2..100).for_each(|n| burst.push(b"channel:trade:AAPL", trade("AAPL", "1.50", n).as_bytes()));
    gateway.gateway.publisher().publish_all(burst).await;
    let mut texts = Vec::new();
    for _ in 2..100 {
        texts.push(plain.text().await);
    }
    let (text, objects) = array(&mut batch).await;
    assert_eq!((text, objects.len()), (format!("[{}]", texts.join(",")), 98), "byte for byte");
    for (request, code) in [("nonsense", "INVALID_JSON"), (r#"{"action":"x"}"#, "UNKNOWN_ACTION")] {
        batch.send(request).await;
        assert_eq!(alone(&mut batch).await["code"], code);
    }
    batch.send(r#"{"action":"unsubscribe","symbols":["AAPL"]}"#).await;
    assert_eq!(alone(&mut batch).await["data"]["unsubscribed"], json!(["AAPL"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_has_at_most_so_many_events_and_bytes() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut client = batch_client(&gateway).await;
    client.send(r#"{"action":"subscribe","symbols":["AAPL"]}"#).await;
    alone(&mut client).await;
    // Bytes come first with trades of usual size; one that fills a message goes alone.
    let small = |n: u64| format!(r#"{{"symbol":"AAPL","price":1,"volume":1,"timestamp":{n}}}"#);
    let large = |n: u64| trade("AAPL", "1", n).replace("NASDAQ", &"N".repeat(BATCH_BYTES_MAX - 80));
    let mut burst = EventBatch::default();
    for n in 0..3_000 {
        let payload = if n % 1_500 == 700 { large(n) } else { small(n) };
        burst.push(b"channel:trade:AAPL", payload.as_bytes());
    }
    gateway.gateway.publisher().publish_all(burst).await;
    let (mut next, mut messages, mut alone_count) = (0, 0, 0);
    while next < 3_000 {
        let (text, objects) = array(&mut client).await;
        let fits = text.len() <= BATCH_BYTES_MAX && objects.len() <= BATCH_EVENTS_MAX as usize;
        assert!(fits || objects.len() == 1, "{} events in {} bytes", objects.len(), text.len());
        alone_count += u64::from(!fits);
        for object in &objects {
            assert_eq!(object["data"]["timestamp"], next);
            next += 1;
        }
        messages += 1;
    }
    assert!((5..60).contains(&messages), "{messages}");
    assert_eq!(alone_count, 2, "those larger than a message");
}

/// A message that is begun is finished, whatever the policy does behind it, and then the rest is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_gets_whole_messages_and_is_told_what_it_missed() {
    for policy in ["skip", "conflate", "disconnect"] {
        let redis = Redis::start().await;
        let gateway = TestGateway::on(&redis, |config| {
            config.process.shards = 1;
            config.delivery.max_outbox_bytes = 200_000;
        })
        .await;
        let mut client = Client::from_raw(raw::connect(gateway.addr, "/ws?batch=1", Some(4_096)).await).await;
        client
            .send(json!({"action": "subscribe", "symbols": ["AAPL", "MSFT"], "onSlow": policy}).to_string())
            .await;
        alone(&mut client).await;
        let mut worker = redis.publisher().await;
        let symbol = |n: u64| ["AAPL", "MSFT"][(n % 2) as usize];
        let payload = |n: u64| trade(symbol(n), "1", n).replace("NASDAQ", &"N".repeat(1_000));
        let metrics = &gateway.gateway.state().metrics;
        let is_too_slow = || {
            metrics.sum(|shard| &shard.events_skipped)
                + metrics.sum(|shard| &shard.slow_conflated)
                + metrics.sum(|shard| &shard.slow_closed)
                > 0
        };
        let mut published = 0;
        while !is_too_slow() {
            let trades = (published..published + 200).map(|n| (symbol(n).to_owned(), payload(n)));
            worker.trades(trades).await;
            published += 200;
            gateway.taken(published).await;
        }
        let (mut delivered, mut skipped, mut last) = (0, 0, Value::Null);
        let mut newest = [None, None];
        while policy == "disconnect" || newest != [Some(published - 2), Some(published - 1)] {
            let Some(Message::Text(text)) = client.message().await else { break };
            let objects: Vec<Value> = serde_json::from_str(&text).expect("a whole message");
            let is_status = |object: &Value| object["type"] != "trade";
            assert!(objects.len() == 1 || !objects.iter().any(is_status), "replies and statuses are alone");
            for object in &objects {
                if object["type"] == "trade" {
                    delivered += 1;
                    let n = object["data"]["timestamp"].as_u64().unwrap();
                    assert!(newest[(n % 2) as usize] < Some(n), "{n} behind {newest:?}");
                    newest[(n % 2) as usize] = Some(n);
                } else if object["event"] == "skipped" {
                    skipped += object["data"]["count"].as_u64().unwrap();
                }
            }
            last = objects.into_iter().next_back().unwrap();
        }
        match policy {
            "skip" => assert_eq!((delivered + skipped, skipped > 0), (published, true)),
            "conflate" => assert!(skipped == 0 && delivered < published),
            _ => assert_eq!(last["code"], "SLOW_CLIENT"),
        }
        drop(client);
        until("the client to be gone", async || {
            (metrics.sum(|shard| &shard.backlog_bytes) == 0).then_some(())
        })
        .await;
    }
}
