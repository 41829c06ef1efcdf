//! `maxRate` sends a symbol at most so often, the newest value at the time of sending, and always the last one.

mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::json;
use support::redis::Publisher;
use support::{Client, Redis, TestGateway, trade};

const CLIENTS: usize = 20;
const SYMBOLS: usize = 100;
const SYMBOLS_EACH: usize = 20;
const RATE: f64 = 4.0;
const TRADES: u64 = 8_000;

fn symbol(n: usize) -> String {
    format!("S{}", n % SYMBOLS)
}

/// Reads until each of the symbols has shown its last value; returns how many frames came for each, and how long it took.
async fn watch(mut client: Client, symbols: Vec<String>, since: Instant) -> (HashMap<String, u64>, Duration) {
    let mut counts: HashMap<String, u64> = HashMap::new();
    let mut missing: HashMap<_, _> = symbols.iter().map(|symbol| (symbol.clone(), -1)).collect();
    while !missing.is_empty() {
        let message = client.json().await;
        let symbol = message["data"]["symbol"].as_str().expect("a trade").to_owned();
        let n = message["data"]["timestamp"].as_i64().expect("a number");
        let last = missing.get_mut(&symbol).unwrap_or_else(|| panic!("{message} after the last value"));
        assert!(*last < n, "an older value of {symbol} after a newer one: {last}, {n}");
        *last = n;
        *counts.entry(symbol.clone()).or_default() += 1;
        if n as u64 + SYMBOLS as u64 >= TRADES {
            missing.remove(&symbol);
        }
    }
    (counts, since.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_so_often_and_always_the_last() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.shards = 2;
        config.max_symbols_per_client = SYMBOLS_EACH;
    })
    .await;
    let since = Instant::now();
    let mut watching = Vec::new();
    for first in 0..CLIENTS {
        let symbols: Vec<_> = (first * 7..).take(SYMBOLS_EACH).map(symbol).collect();
        let mut client = gateway.client().await;
        client.subscribe_with(json!({"symbols": symbols, "maxRate": RATE})).await;
        watching.push(tokio::spawn(watch(client, symbols, since)));
    }
    let mut worker = redis.publisher().await;
    let mut pace = tokio::time::interval(Duration::from_millis(25));
    for start in (0..TRADES).step_by(100) {
        pace.tick().await;
        let trades = (start..start + 100).map(|n| (symbol(n as usize), trade(&symbol(n as usize), "1", n)));
        worker.trades(trades).await;
    }
    let mut frames = 0;
    for client in watching {
        let (counts, elapsed) = client.await.expect("the last value of every symbol");
        let most = 1 + (elapsed.as_secs_f64() * RATE).floor() as u64;
        for (symbol, count) in counts {
            assert!(count <= most, "{symbol}: {count} frames in {elapsed:?}");
            frames += count;
        }
    }
    let offered = TRADES / SYMBOLS as u64 * (CLIENTS * SYMBOLS_EACH) as u64;
    let conflated = gateway.gateway.state().metrics.sum(|shard| &shard.events_conflated);
    assert_eq!(frames + conflated, offered, "every event was sent or replaced");
}

async fn publish(worker: &mut Publisher, symbol: &str, n: u64) {
    worker.trade(symbol, &trade(symbol, "1", n)).await;
}

/// The next frame is this trade.
async fn gets(client: &mut Client, symbol: &str, n: u64) {
    let message = client.json().await;
    let got = (message["data"]["symbol"].as_str(), message["data"]["timestamp"].as_u64());
    assert_eq!(got, (Some(symbol), Some(n)), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_specific_subscription_sets_the_rate() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.client().await;
    client.subscribe_with(json!({"symbols": ["S*"], "maxRate": 0.1})).await;
    client.subscribe(&["S-FAST"]).await;
    publish(&mut worker, "S-1", 0).await;
    gets(&mut client, "S-1", 0).await;
    // What comes now is held for ten seconds, but not what has a subscription of its own.
    for n in 1..4 {
        publish(&mut worker, "S-1", n).await;
        publish(&mut worker, "S-2", n).await;
        publish(&mut worker, "S-FAST", n).await;
        gets(&mut client, "S-FAST", n).await;
    }
    // From now on another symbol has one as well: what was held of it comes first, and then everything.
    client.subscribe(&["S-1"]).await;
    publish(&mut worker, "S-1", 4).await;
    gets(&mut client, "S-1", 3).await;
    gets(&mut client, "S-1", 4).await;
    // What is held goes with its subscription only where no other one covers it.
    client.subscribe(&["S-*"]).await;
    client.send(r#"{"action":"unsubscribe","symbols":["S*"]}"#).await;
    gets(&mut client, "S-2", 3).await;
    assert_eq!(client.json().await["data"]["unsubscribed"], json!(["S*"]));
    publish(&mut worker, "S-2", 4).await;
    gets(&mut client, "S-2", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_of_a_symbol_goes_with_it() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.shards = 1).await;
    let mut worker = redis.publisher().await;
    let mut witness = gateway.subscriber(&["AAPL"]).await;
    let mut client = gateway.client().await;
    client.subscribe_with(json!({"symbols": ["AAPL", "MSFT"], "maxRate": 1})).await;
    for n in 0..2 {
        publish(&mut worker, "AAPL", n).await;
        gets(&mut witness, "AAPL", n).await;
        if n == 0 {
            gets(&mut client, "AAPL", 0).await;
        }
    }
    client.unsubscribe(&["AAPL"]).await;
    // The next boundary has come and gone once something else that was held behind it is there.
    publish(&mut worker, "MSFT", 7).await;
    gets(&mut client, "MSFT", 7).await;
    client.send(r#"{"action":"list"}"#).await;
    assert_eq!(client.json().await["data"]["currentSubscriptions"], json!(["MSFT"]));
}
