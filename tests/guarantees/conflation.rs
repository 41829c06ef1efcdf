//! With `conflate` at most one event of a symbol waits for a client: it reads newer and newer events, in order, up to the
//! last one. With `"aggregate"` the frames add up to every trade. Other clients are not affected.

use std::collections::HashMap;

use crate::support::{Client, Redis, TestGateway, raw, trade, until};
use serde_json::{Value, json};

const SYMBOLS: [&str; 3] = ["AAPL", "MSFT", "TSLA"];
const TRADES: u64 = 15_000;

/// A client that doesn't read unless it is asked to.
async fn sluggish(gateway: &TestGateway, request: Value) -> Client {
    let mut client = Client::from_raw(raw::connect(gateway.addr, "/ws", Some(4_096)).await).await;
    client.subscribe_with(request).await;
    client
}

fn symbol(n: u64) -> &'static str {
    SYMBOLS[(n % SYMBOLS.len() as u64) as usize]
}

/// Large enough that kernel buffers don't take everything.
fn payload(n: u64) -> String {
    let price = format!("{}.50", n % 100);
    trade(symbol(n), &price, n).replace("NASDAQ", &"N".repeat(400))
}

/// Publishes [`TRADES`] and waits until the gateway has them all.
async fn publish_all(redis: &Redis, gateway: &TestGateway) {
    let mut worker = redis.publisher().await;
    for start in (0..TRADES).step_by(500) {
        worker.trades((start..start + 500).map(|n| (symbol(n).to_owned(), payload(n)))).await;
    }
    let metrics = &gateway.gateway.state().metrics.ingest;
    until("everything to be framed", async || (metrics.events_framed.get() == TRADES).then_some(())).await;
}

/// Reads until every symbol's last trade has come; returns the trades of each symbol.
async fn read_to_the_last(client: &mut Client) -> HashMap<String, Vec<Value>> {
    let mut trades: HashMap<String, Vec<Value>> = HashMap::new();
    let is_last = |trade: &Value| trade["data"]["timestamp"].as_u64() >= Some(TRADES - SYMBOLS.len() as u64);
    while trades.values().filter_map(|trades| trades.last()).filter(|trade| is_last(trade)).count()
        < SYMBOLS.len()
    {
        let message = client.json().await;
        assert_eq!(message["type"], "trade", "nothing is skipped: {message}");
        trades
            .entry(message["data"]["symbol"].as_str().expect("a symbol").to_owned())
            .or_default()
            .push(message);
    }
    for (symbol, trades) in &trades {
        let numbers: Vec<_> =
            trades.iter().map(|trade| trade["data"]["timestamp"].as_u64().unwrap()).collect();
        assert!(
            numbers.is_sorted_by(|older, newer| older < newer),
            "{symbol}: never an older after a newer one"
        );
    }
    trades
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cannot_keep_up_reads_what_is_new() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.delivery.max_outbox_bytes = 64 * 1024 * 1024).await;
    let mut lossless = gateway.subscriber(&SYMBOLS).await;
    let mut client = sluggish(&gateway, json!({"symbols": SYMBOLS, "conflate": true})).await;
    publish_all(&redis, &gateway).await;
    let trades = read_to_the_last(&mut client).await;
    let delivered: u64 = trades.values().map(|trades| trades.len() as u64).sum();
    assert!(delivered < TRADES / 2, "{delivered} of {TRADES}: the stall was too short to test anything");
    let unmarked = |trade: &Value| trade.get("conflated").is_none();
    assert!(trades.values().flatten().all(unmarked), "the shared frames");

    client.send(r#"{"action":"ping","stats":true}"#).await;
    let stats = client.json().await["stats"].clone();
    let expected = json!({"queuedBytes": 0, "skipped": 0, "conflated": TRADES - delivered, "lagMs": 0});
    assert_eq!(stats, expected);
    let conflated = gateway.gateway.state().metrics.sum(|shard| &shard.events_conflated);
    assert_eq!(conflated, TRADES - delivered, "the counters tell the same");

    for n in 0..TRADES {
        let message = lossless.json().await;
        assert_eq!(message["data"]["timestamp"], n, "the others get everything");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregated_frames_add_up_to_every_trade() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.delivery.max_outbox_bytes = 64 * 1024 * 1024).await;
    let mut client = sluggish(&gateway, json!({"symbols": SYMBOLS, "conflate": "aggregate"})).await;
    publish_all(&redis, &gateway).await;
    for (symbol, trades) in read_to_the_last(&mut client).await {
        let offset = SYMBOLS.iter().position(|known| *known == symbol).expect("one of ours") as u64;
        let number = |position: u64| position * SYMBOLS.len() as u64 + offset;
        let mut next = 0;
        for trade in &trades {
            let last = trade["data"]["timestamp"].as_u64().expect("a number") / SYMBOLS.len() as u64;
            let covered = (next..=last).map(number);
            next = last + 1;
            let count = covered.clone().count();
            let Some(conflated) = trade.get("conflated") else {
                assert_eq!(count, 1, "an unmarked frame is one trade: {trade}");
                continue;
            };
            let cents = covered.clone().map(|n| (n % 100) * 100 + 50);
            let text = |cents: u64| format!("{}.{:02}", cents / 100, cents % 100);
            assert_eq!(conflated["count"], count);
            assert_eq!(conflated["volume"], 100 * count);
            assert_eq!(
                conflated["high"].to_string(),
                text(cents.clone().max().unwrap()).trim_end_matches('0')
            );
            assert_eq!(
                conflated["low"].to_string(),
                text(cents.clone().min().unwrap()).trim_end_matches('0')
            );
            let vwap = cents.sum::<u64>() as f64 / count as f64 / 100.0;
            assert!((conflated["vwap"].as_f64().unwrap() - vwap).abs() < 1e-7, "{conflated}, not {vwap}");
            assert_eq!(conflated["firstTimestamp"].as_u64(), covered.clone().next());
        }
        assert_eq!(next, TRADES / SYMBOLS.len() as u64, "{symbol}: nothing is missing");
        assert!(
            trades.iter().any(|trade| trade.get("conflated").is_some()),
            "{symbol}: nothing was conflated"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribing_again_changes_the_terms() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.process.shards = 1;
        config.events.channel_types = "trade,quote".parse().unwrap();
    })
    .await;
    let mut worker = redis.publisher().await;
    // On the same shard: what it has got is held for the other.
    let mut witness = gateway.client().await;
    witness.subscribe_with(json!({"symbols": ["AAPL"], "types": ["trade", "quote"]})).await;
    let mut client = gateway.client().await;
    client.subscribe_with(json!({"symbols": ["AAPL"], "types": ["trade", "quote"], "maxRate": 0.1, "conflate": "aggregate"})).await;
    let quote = |n: u64| format!(r#"{{"symbol":"AAPL","bidPrice":1,"askPrice":2,"timestamp":{n}}}"#);
    // The first goes at once; what follows is held for ten seconds.
    worker.trade("AAPL", &trade("AAPL", "1.5", 0)).await;
    assert_eq!(client.json().await["data"]["timestamp"], 0);
    for n in 1..3 {
        worker.trade("AAPL", &trade("AAPL", "1.5", n)).await;
        worker.raw("channel:quote:AAPL", quote(n).as_bytes()).await;
    }
    for _ in 0..5 {
        witness.json().await;
    }
    // What is held comes under the new terms: before the reply, as it would be late behind it.
    client
        .send(r#"{"action":"subscribe","symbols":["AAPL"],"types":["trade","quote"],"conflate":false}"#)
        .await;
    let mut held = [client.json().await, client.json().await];
    held.sort_by_key(|event| event["type"].to_string());
    assert_eq!((&held[0]["type"], &held[0]["data"]["timestamp"]), (&"quote".into(), &2.into()));
    assert_eq!(held[0].get("conflated"), None, "only trades are added up");
    assert_eq!(
        held[1]["conflated"],
        json!({"count": 2, "volume": 200, "high": 1.5, "low": 1.5, "vwap": 1.5, "firstTimestamp": 1})
    );
    assert_eq!(client.json().await["type"], "success");
    for n in 3..6 {
        worker.trade("AAPL", &trade("AAPL", "1.5", n)).await;
    }
    for n in 3..6 {
        assert_eq!(client.json().await["data"]["timestamp"], n, "every event again");
    }
}
