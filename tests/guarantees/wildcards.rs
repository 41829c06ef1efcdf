//! A pattern brings every matching symbol, also those that appear later; an event that several subscriptions match comes
//! once, complete and in order.

use std::collections::HashMap;

use crate::support::{Client, Redis, TestGateway, trade};
use serde_json::{Value, json};

async fn gateway(redis: &Redis) -> TestGateway {
    TestGateway::on(redis, |config| config.process.shards = 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn new_symbols_come_by_themselves() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis).await;
    let mut worker = redis.publisher().await;
    let mut everything = gateway.subscriber(&["*"]).await;
    let mut bitcoin = gateway.client().await;
    let reply = bitcoin.subscribe(&["btc-*"]).await;
    assert_eq!(reply["message"], "Successfully subscribed to 1 symbol(s)");
    assert_eq!(reply["data"], json!({"subscribed": ["BTC-*"], "currentSubscriptions": ["BTC-*"]}));
    for (n, symbol) in ["BTC-USD", "ETH-USD", "BTC-", "BTC", "BTC-USD", "BTC-EUR"].into_iter().enumerate() {
        worker.numbered(symbol, n as u64).await;
        everything.gets(symbol, n as u64).await;
        if symbol.starts_with("BTC-") {
            bitcoin.gets(symbol, n as u64).await;
        }
    }
    // A bad event opens nothing and disturbs nobody.
    worker.trade("BTC-BAD", "{}").await;
    worker.numbered("BTC-X", 9).await;
    everything.gets("BTC-X", 9).await;
    bitcoin.gets("BTC-X", 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_several_subscriptions_match_comes_once_until_the_last_of_them_ends() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis).await;
    let mut worker = redis.publisher().await;
    let mut other = gateway.subscriber(&["BTC-USD"]).await;
    let mut client = gateway.subscriber(&["BTC-USD", "BTC-*", "*"]).await;
    let mut n = 0;
    for leave in ["BTC-*", "BTC-USD", "*"] {
        for _ in 0..3 {
            worker.numbered("BTC-USD", n).await;
            client.gets("BTC-USD", n).await;
            other.gets("BTC-USD", n).await;
            n += 1;
        }
        let reply = client.unsubscribe(&[leave]).await;
        assert_eq!(reply["data"]["unsubscribed"], json!([leave]));
    }
    worker.numbered("BTC-USD", n).await;
    other.gets("BTC-USD", n).await;
    client.send(r#"{"action":"list"}"#).await;
    assert_eq!(client.json().await["data"]["currentSubscriptions"], json!([]), "and no trade before it");
    client.subscribe(&["*"]).await;
    n += 1;
    worker.numbered("BTC-USD", n).await;
    client.gets("BTC-USD", n).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_events_come_complete_and_in_order() {
    const TRADES: u64 = 20_000;
    const SYMBOLS: u64 = 97;
    let redis = Redis::start().await;
    let gateway = gateway(&redis).await;
    let mut worker = redis.publisher().await;
    let mut tasks = Vec::new();
    for symbols in [&["*"][..], &["*"], &["S1*", "S10", "*"], &["S1*"], &["S*", "T*"], &["S10"]] {
        let client = gateway.subscriber(symbols).await;
        let wanted = move |symbol: &str| {
            symbols.iter().any(|name| match name.strip_suffix('*') {
                Some(prefix) => symbol.starts_with(prefix),
                None => symbol == *name,
            })
        };
        tasks.push(tokio::spawn(all_in_order(client, TRADES, SYMBOLS, wanted)));
    }
    for start in (0..TRADES).step_by(500) {
        let trades = (start..start + 500).map(|n| {
            let symbol = format!("S{}", n % SYMBOLS);
            let payload = trade(&symbol, "1", n);
            (symbol, payload)
        });
        worker.trades(trades).await;
    }
    for task in tasks {
        task.await.expect("every event, in order");
    }
}

async fn all_in_order(mut client: Client, trades: u64, symbols: u64, wanted: impl Fn(&str) -> bool) {
    for n in 0..trades {
        let symbol = format!("S{}", n % symbols);
        if wanted(&symbol) {
            client.gets(&symbol, n).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_is_one_subscription_and_leaves_nothing_behind() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.clients.max_symbols_per_client = 2).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.subscriber(&["A*", "B*"]).await;
    client.send(r#"{"action":"subscribe","symbols":["C"]}"#).await;
    assert_eq!(client.json().await["code"], "SYMBOL_LIMIT_EXCEEDED");
    for n in 0..200 {
        let symbol = format!("{}{n}", if n % 2 == 0 { "A" } else { "B" });
        worker.numbered(&symbol, n).await;
        client.gets(&symbol, n).await;
    }
    let metrics = &gateway.gateway.state().metrics;
    let topics = async |count: u64| {
        crate::support::until("the topics to be counted", async || {
            (metrics.sum(|shard| &shard.topics) == count).then_some(())
        })
        .await;
    };
    topics(202).await;
    client.unsubscribe(&["A*"]).await;
    topics(101).await;
    drop(client);
    topics(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_url_and_where_they_are_not_allowed() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis).await;
    let mut client = Client::connect(&format!("ws://{}/ws?symbols=B*,AAPL", gateway.addr)).await;
    assert_eq!(client.json().await["data"]["subscribed"], json!(["B*", "AAPL"]));
    redis.publisher().await.numbered("BTC", 1).await;
    client.gets("BTC", 1).await;
    let strict = TestGateway::on(&redis, |config| config.clients.allow_wildcard = false).await;
    let mut client = strict.client().await;
    client.send(r#"{"action":"subscribe","symbols":["AAPL","B*"]}"#).await;
    let refusal = client.json().await;
    assert_eq!(refusal["code"], "INVALID_INPUT");
    assert!(refusal["message"].as_str().is_some_and(|text| text.contains("ALLOW_WILDCARD")), "{refusal}");
    let reply = client.subscribe(&["AAPL"]).await;
    assert_eq!(reply["data"]["currentSubscriptions"], json!(["AAPL"]), "the refused request changed nothing");
    client.send(r#"{"action":"unsubscribe","symbols":["*"]}"#).await;
    assert_eq!(client.json().await["data"]["unsubscribed"], json!(["AAPL"]), "leaving is no offence");
}

/// A star leaves everything of the types that the request names; as everywhere, these are trades unless it says so.
#[tokio::test(flavor = "multi_thread")]
async fn to_leave_a_star_is_to_leave_everything_of_its_types() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.events.channel_types = "trade,quote,candle".parse().unwrap();
        config.clients.max_symbols_per_client = 20;
    })
    .await;
    let mut client = gateway.client().await;
    let all = json!(["trade", "quote", "candle"]);
    client.subscribe_with(json!({"symbols": ["AAPL", "B*"], "types": all})).await;
    let mut leave = async |request: Value| {
        client.send(request.to_string()).await;
        client.json().await["data"].clone()
    };
    let of_quotes = json!({"quote": ["AAPL", "B*"], "candle": ["AAPL", "B*"]});
    assert_eq!(
        leave(json!({"action": "unsubscribe", "symbols": ["*"]})).await,
        json!({"unsubscribed": ["AAPL", "B*"], "currentSubscriptions": [], "currentByType": of_quotes})
    );
    assert_eq!(
        leave(json!({"action": "unsubscribe", "symbols": ["*"]})).await,
        json!({"unsubscribed": [], "currentSubscriptions": [], "currentByType": of_quotes})
    );
    assert_eq!(
        leave(json!({"action": "unsubscribe", "symbols": ["*"], "types": all})).await,
        json!({"unsubscribed": ["AAPL", "B*"], "currentSubscriptions": []})
    );
}

/// What is skipped of a pattern's symbols is announced for each symbol, and before the reply that ends the pattern.
#[tokio::test(flavor = "multi_thread")]
async fn losses_are_announced_by_symbol() {
    const TRADES: u64 = 20_000;
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.process.shards = 1;
        config.delivery.max_outbox_bytes = 20_000;
    })
    .await;
    let mut worker = redis.publisher().await;
    let mut witness = gateway.subscriber(&["END"]).await;
    let mut client = gateway.subscriber(&["AA", "A*", "*"]).await;
    let symbol = |n: u64| ["AA", "AB", "B"][n as usize % 3];
    for start in (0..TRADES).step_by(500) {
        let trades = (start..start + 500).map(|n| {
            let payload = trade(symbol(n), "1", n).replace("NASDAQ", &"N".repeat(800));
            (symbol(n).to_owned(), payload)
        });
        worker.trades(trades).await;
    }
    // The shard has applied everything once another client of it has the last trade.
    worker.numbered("END", TRADES).await;
    witness.gets("END", TRADES).await;
    client.send(r#"{"action":"unsubscribe","symbols":["*"]}"#).await;
    let mut seen: HashMap<String, u64> = HashMap::new();
    let mut announced = 0;
    let reply = loop {
        let message = client.json().await;
        let data = &message["data"];
        let of = |data: &Value| data["symbol"].as_str().expect("a symbol").to_owned();
        match message["type"].as_str() {
            Some("trade") => *seen.entry(of(data)).or_default() += 1,
            Some("status") => {
                assert_eq!(message["event"], "skipped", "{message}");
                let count = data["count"].as_u64().expect("a count");
                announced += count;
                *seen.entry(of(data)).or_default() += count;
            }
            _ => break message,
        }
    };
    assert_eq!(reply["data"]["unsubscribed"], json!(["AA", "A*", "*"]), "{reply}");
    assert!(announced > 0);
    for n in 0..3 {
        let published = (0..TRADES).filter(|each| each % 3 == n).count() as u64;
        assert_eq!(seen[symbol(n)], published, "delivered + announced = published, of {}", symbol(n));
    }
}
