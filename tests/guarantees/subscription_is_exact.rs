//! The reply to a subscribe comes before the symbol's first event, every event published after it arrives, and no event
//! comes behind the reply to an unsubscribe; also while other clients subscribe and unsubscribe.

use crate::support::{Redis, TestGateway, trade};

/// The number of a trade that is published while no client is subscribed.
const STRAY: u64 = 1_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn no_event_comes_before_the_reply_and_none_after_an_unsubscribe() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.process.shards = 2).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(gateway.client().await);
    }
    let mut worker = redis.publisher().await;
    let flood = redis.publisher().await;
    let flood = tokio::spawn(endless(flood));
    let tasks = clients.into_iter().enumerate().map(|(id, mut client)| {
        tokio::spawn(async move {
            for round in 0..100 {
                // `subscribe` asserts that the reply is the very next frame.
                client.subscribe(&["FLOOD"]).await;
                for _ in 0..=(id + round) % 3 {
                    assert_eq!(client.json().await["data"]["symbol"], "FLOOD");
                }
                client.send(r#"{"action":"unsubscribe","symbols":["FLOOD"]}"#).await;
                while client.json().await["type"] == "trade" {}
                client.send(r#"{"action":"ping"}"#).await;
                assert_eq!(client.json().await["type"], "pong", "an event after the farewell");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    flood.abort();

    let mut client = gateway.client().await;
    for n in 0..200 {
        client.subscribe(&["ONCE"]).await;
        worker.trade("ONCE", &trade("ONCE", "1", n)).await;
        // One from before the reply may still be under way between Redis and the gateway.
        let arrived = loop {
            let message = client.json().await;
            if message["data"]["timestamp"] != STRAY {
                break message;
            }
        };
        assert_eq!(arrived["data"]["timestamp"], n, "published after the reply, so it arrives");
        client.unsubscribe(&["ONCE"]).await;
        worker.trade("ONCE", &trade("ONCE", "1", STRAY)).await;
    }
}

async fn endless(mut worker: crate::support::redis::Publisher) {
    for n in 0.. {
        worker.trade("FLOOD", &trade("FLOOD", "1", n)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn symbols_that_no_client_wants_any_more_leave_nothing_behind() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.clients.max_symbols_per_client = 1_000).await;
    let mut client = gateway.client().await;
    for round in 0..20 {
        let symbols: Vec<String> = (0..500).map(|n| format!("S{round}-{n}")).collect();
        let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
        client.subscribe(&symbols).await;
        if round % 2 == 0 {
            client.unsubscribe(&symbols).await;
        } else {
            client = gateway.client().await;
        }
    }
    client.subscribe(&["LAST"]).await;
    let metrics = &gateway.gateway.state().metrics;
    crate::support::until("the garbage to go", async || {
        let topics = metrics.sum(|shard| &shard.topics);
        let subscriptions = metrics.sum(|shard| &shard.subscriptions);
        ((topics, subscriptions) == (1, 1)).then_some(())
    })
    .await;
}

/// A client that holds as much as it may is answered with all of it, and that is no sign of slowness.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_can_have_the_maximum_of_subscriptions() {
    const SYMBOLS: usize = 10_000;
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.clients.max_symbols_per_client = SYMBOLS;
        config.clients.max_message_bytes = 1024 * 1024;
    })
    .await;
    let symbols: Vec<String> = (0..SYMBOLS).map(|n| format!("{n:060}")).collect();
    let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
    let mut client = gateway.client().await;
    let reply = client.subscribe(&symbols).await;
    assert_eq!(reply["data"]["subscribed"].as_array().map(Vec::len), Some(SYMBOLS));
    assert_eq!(reply["data"]["currentSubscriptions"], reply["data"]["subscribed"]);
    redis.publisher().await.numbered(symbols[SYMBOLS - 1], 7).await;
    client.gets(symbols[SYMBOLS - 1], 7).await;
    let reply = client.unsubscribe(&["*"]).await;
    assert_eq!(reply["data"]["unsubscribed"].as_array().map(Vec::len), Some(SYMBOLS));
}
