//! A client that is too slow is treated as it chose (`onSlow`), or as configured: events are skipped and announced, it gets
//! the latest event of each symbol until it has caught up, or it is disconnected.

use std::collections::HashMap;

use crate::support::redis::Publisher;
use crate::support::{Client, Redis, TestGateway, raw, trade, until};
use serde_json::{Value, json};
use ws_gateway::config::SlowClientPolicy;

const SYMBOLS: [&str; 2] = ["AAPL", "MSFT"];
const OUTBOX_BYTES: usize = 50_000;

fn symbol(n: u64) -> &'static str {
    SYMBOLS[(n % 2) as usize]
}

/// Large enough that kernel buffers don't take everything.
fn large(n: u64) -> (String, String) {
    (symbol(n).to_owned(), trade(symbol(n), "1", n).replace("NASDAQ", &"N".repeat(1_000)))
}

/// A subscriber that doesn't read unless it is asked to.
async fn sluggish(gateway: &TestGateway, mut request: Value) -> Client {
    let mut client = Client::from_raw(raw::connect(gateway.addr, "/ws", Some(4_096)).await).await;
    request["symbols"] = json!(SYMBOLS);
    client.subscribe_with(request).await;
    client
}

async fn gateway(redis: &Redis, policy: SlowClientPolicy) -> TestGateway {
    TestGateway::on(redis, |config| {
        config.process.shards = 1;
        config.delivery.max_outbox_bytes = OUTBOX_BYTES;
        config.delivery.slow_client_policy = policy;
    })
    .await
}

/// Publishes until `is_enough`, and then once more, so that the last two trades are known; returns how many there were.
async fn publish_until(gateway: &TestGateway, worker: &mut Publisher, is_enough: impl Fn() -> bool) -> u64 {
    let published = gateway.publish_until(worker, large, is_enough).await;
    worker.trades((published..published + 2).map(large)).await;
    published + 2
}

/// Reads until the last of `published` trades of both symbols.
async fn read_until_caught_up(client: &mut Client, published: u64) -> Vec<Value> {
    let mut frames = Vec::new();
    let mut last = HashMap::new();
    while last.len() < SYMBOLS.len() {
        let message = client.json().await;
        let n = message["data"]["timestamp"].as_u64();
        if message["type"] == "trade" && n >= Some(published - 2) {
            last.insert(n, ());
        }
        frames.push(message);
    }
    frames
}

async fn falls_back_and_catches_up(policy: SlowClientPolicy, request: Value) {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, policy).await;
    let mut client = sluggish(&gateway, request).await;
    let mut worker = redis.publisher().await;
    let metrics = &gateway.gateway.state().metrics;
    let published =
        publish_until(&gateway, &mut worker, || metrics.sum(|shard| &shard.slow_conflated) > 0).await;

    let mut frames = read_until_caught_up(&mut client, published).await;
    // By the time of the answer it has been told all there is to tell.
    client.send(r#"{"action":"ping"}"#).await;
    while frames.last().is_none_or(|last| last["type"] != "pong") {
        frames.push(client.json().await);
    }
    frames.pop();
    let slow: Vec<_> = frames.iter().filter(|frame| frame["type"] == "status").collect();
    assert!(slow.len() >= 2 && slow.len() % 2 == 0, "there and back: {slow:?}");
    for (turn, status) in slow.iter().enumerate() {
        assert_eq!(status["event"], "slow", "{status}");
        if turn % 2 == 0 {
            assert_eq!(status["data"]["policy"], "conflate");
            assert!(status["data"]["queuedBytes"].as_u64() > Some(OUTBOX_BYTES as u64), "{status}");
        } else {
            assert_eq!(status["data"], json!({"policy": "lossless", "queuedBytes": 0}));
        }
    }

    // Everything up to the status, only what is newer behind it.
    let fallback = frames.iter().position(|frame| frame["event"] == "slow").expect("the first status");
    let number = |frame: &Value| frame["data"]["timestamp"].as_u64();
    for (n, frame) in frames[..fallback].iter().enumerate() {
        assert_eq!(number(frame), Some(n as u64), "lossless until the outbox is full");
    }
    for symbol in SYMBOLS {
        let of_symbol = frames.iter().filter(|frame| frame["data"]["symbol"] == symbol);
        let numbers: Vec<_> = of_symbol.filter_map(number).collect();
        assert!(numbers.is_sorted_by(|older, newer| older < newer), "{symbol}");
    }
    let delivered = (frames.len() - slow.len()) as u64;
    assert_eq!(delivered + metrics.sum(|shard| &shard.events_conflated), published);
    assert_eq!(metrics.sum(|shard| &shard.events_skipped), 0);
    assert_eq!(metrics.sum(|shard| &shard.slow_conflated), slow.len() as u64 / 2);

    // Back to every event.
    for n in published..published + 100 {
        worker.trades([large(n)]).await;
    }
    for n in published..published + 100 {
        assert_eq!(number(&client.json().await), Some(n));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conflate_by_the_clients_choice() {
    falls_back_and_catches_up(SlowClientPolicy::Disconnect, json!({"onSlow": "conflate"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conflate_by_configuration() {
    falls_back_and_catches_up(SlowClientPolicy::Conflate, json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_has_the_policy_that_it_chose() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, SlowClientPolicy::Conflate).await;
    let mut skipping = sluggish(&gateway, json!({"onSlow": "skip"})).await;
    let mut disconnected = sluggish(&gateway, json!({"onSlow": "disconnect"})).await;
    let mut worker = redis.publisher().await;
    let metrics = &gateway.gateway.state().metrics;
    let are_both_slow =
        || metrics.sum(|shard| &shard.slow_closed) == 1 && metrics.sum(|shard| &shard.events_skipped) > 0;
    let published = publish_until(&gateway, &mut worker, are_both_slow).await;
    until("everything to be framed", async || {
        (metrics.ingest.events_framed.get() == published).then_some(())
    })
    .await;

    let frames = read_until_caught_up(&mut skipping, published).await;
    let skipped = |frame: &Value| (frame["event"] == "skipped").then(|| frame["data"]["count"].as_u64());
    let announced: u64 = frames.iter().filter_map(skipped).flatten().sum();
    let delivered = frames.iter().filter(|frame| frame["type"] == "trade").count() as u64;
    assert!(announced > 0 && delivered + announced == published, "{delivered} + {announced}, {published}");
    assert_eq!(metrics.sum(|shard| &shard.slow_conflated), 0);

    let mut last = Value::Null;
    let ending = loop {
        match disconnected.message().await {
            Some(tokio_tungstenite::tungstenite::Message::Text(text)) => {
                last = serde_json::from_str(&text).expect("JSON");
            }
            Some(tokio_tungstenite::tungstenite::Message::Close(frame)) => break frame,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(last["code"], "SLOW_CLIENT");
    assert_eq!(u16::from(ending.expect("a close frame").code), 1013);
}
