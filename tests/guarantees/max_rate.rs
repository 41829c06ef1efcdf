//! `maxRate` limits how often a symbol's events come: each is the newest at the time of sending, and the last one always
//! comes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::support::{Client, Redis, TestGateway, trade};
use serde_json::json;

/// Clients that each watch a part of the symbols, all of which trade in turn.
#[derive(Clone, Copy)]
struct Load {
    clients: usize,
    symbols: usize,
    symbols_each: usize,
    max_rate: f64,
    trades: u64,
    trades_per_second: u64,
}

/// What a client has seen.
struct Watched {
    /// How many trades of each symbol.
    counts: HashMap<String, u64>,
    /// When the last value of the last symbol came.
    complete_at: Instant,
}

impl Load {
    fn symbol(&self, n: usize) -> String {
        format!("S{}", n % self.symbols)
    }

    /// Reads until each of the symbols has shown its last value.
    async fn watch(self, mut client: Client, symbols: Vec<String>) -> Watched {
        let mut counts: HashMap<String, u64> = HashMap::new();
        let mut missing: HashMap<_, _> = symbols.into_iter().map(|symbol| (symbol, -1)).collect();
        while !missing.is_empty() {
            let message = client.json().await;
            let symbol = message["data"]["symbol"].as_str().expect("a trade").to_owned();
            let n = message["data"]["timestamp"].as_i64().expect("a number");
            let last = missing.get_mut(&symbol).unwrap_or_else(|| panic!("{message} after the last value"));
            assert!(*last < n, "an older value of {symbol} after a newer one: {last}, {n}");
            *last = n;
            *counts.entry(symbol.clone()).or_default() += 1;
            if n as u64 + self.symbols as u64 >= self.trades {
                missing.remove(&symbol);
            }
        }
        Watched { counts, complete_at: Instant::now() }
    }

    /// Returns how long after the last trade was published the last of all last values came.
    async fn run(self) -> Duration {
        let redis = Redis::start().await;
        let gateway = TestGateway::on(&redis, |config| {
            config.process.shards = 2;
            config.clients.max_symbols_per_client = self.symbols_each;
        })
        .await;
        let since = Instant::now();
        let mut watching = Vec::new();
        for first in 0..self.clients {
            let symbols: Vec<_> = (first * 7..).take(self.symbols_each).map(|n| self.symbol(n)).collect();
            let mut client = gateway.client().await;
            client.subscribe_with(json!({"symbols": symbols, "maxRate": self.max_rate})).await;
            watching.push(tokio::spawn(self.watch(client, symbols)));
        }
        let mut worker = redis.publisher().await;
        let mut pace = tokio::time::interval(Duration::from_millis(25));
        let together = (self.trades_per_second / 40) as usize;
        for start in (0..self.trades).step_by(together) {
            pace.tick().await;
            let trades = (start..self.trades).take(together).map(|n| (self.symbol(n as usize), n));
            worker.trades(trades.map(|(symbol, n)| (symbol.clone(), trade(&symbol, "1", n)))).await;
        }
        let published_at = Instant::now();
        let (mut frames, mut complete_at) = (0, published_at);
        for client in watching {
            let watched = client.await.expect("the last value of every symbol");
            let elapsed = watched.complete_at - since;
            let most = 1 + (elapsed.as_secs_f64() * self.max_rate).floor() as u64;
            for (symbol, count) in watched.counts {
                assert!(count <= most, "{symbol}: {count} frames in {elapsed:?}");
                frames += count;
            }
            complete_at = complete_at.max(watched.complete_at);
        }
        let offered = self.trades / self.symbols as u64 * (self.clients * self.symbols_each) as u64;
        let conflated = gateway.gateway.state().metrics.sum(|shard| &shard.events_conflated);
        assert_eq!(frames + conflated, offered, "every event was sent or replaced");
        complete_at - published_at
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_at_most_at_the_rate_and_always_the_last_one() {
    let load = Load {
        clients: 20,
        symbols: 100,
        symbols_each: 20,
        max_rate: 4.0,
        trades: 8_000,
        trades_per_second: 4_000,
    };
    load.run().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a load of ten seconds and a time: for a quiet machine and an optimised build"]
async fn two_hundred_clients_have_the_last_value_within_600_ms() {
    let load = Load {
        clients: 200,
        symbols: 1_000,
        symbols_each: 50,
        max_rate: 2.0,
        trades: 200_000,
        trades_per_second: 20_000,
    };
    let late = load.run().await;
    println!("the last of 10,000 last values came {} ms after publishing stopped", late.as_millis());
    assert!(late <= Duration::from_millis(600), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_specific_subscription_sets_the_rate() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.client().await;
    client.subscribe_with(json!({"symbols": ["S*"], "maxRate": 0.1})).await;
    client.subscribe(&["S-FAST"]).await;
    worker.numbered("S-1", 0).await;
    client.gets("S-1", 0).await;
    // What comes now is held for ten seconds, but not what has a subscription of its own.
    for n in 1..4 {
        worker.numbered("S-1", n).await;
        worker.numbered("S-2", n).await;
        worker.numbered("S-FAST", n).await;
        client.gets("S-FAST", n).await;
    }
    // From now on another symbol has one as well: what was held of it comes first, and then everything.
    client.subscribe(&["S-1"]).await;
    worker.numbered("S-1", 4).await;
    client.gets("S-1", 3).await;
    client.gets("S-1", 4).await;
    // What is held goes with its subscription only where no other one covers it.
    client.subscribe(&["S-*"]).await;
    client.send(r#"{"action":"unsubscribe","symbols":["S*"]}"#).await;
    client.gets("S-2", 3).await;
    assert_eq!(client.json().await["data"]["unsubscribed"], json!(["S*"]));
    worker.numbered("S-2", 4).await;
    client.gets("S-2", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_event_is_dropped_when_its_symbol_is_left() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.process.shards = 1).await;
    let mut worker = redis.publisher().await;
    let mut witness = gateway.subscriber(&["AAPL"]).await;
    let mut client = gateway.client().await;
    client.subscribe_with(json!({"symbols": ["AAPL", "MSFT"], "maxRate": 1})).await;
    for n in 0..2 {
        worker.numbered("AAPL", n).await;
        witness.gets("AAPL", n).await;
        if n == 0 {
            client.gets("AAPL", 0).await;
        }
    }
    client.unsubscribe(&["AAPL"]).await;
    // The next boundary has come and gone once something else that was held behind it is there.
    worker.numbered("MSFT", 7).await;
    client.gets("MSFT", 7).await;
    client.send(r#"{"action":"list"}"#).await;
    assert_eq!(client.json().await["data"]["currentSubscriptions"], json!(["MSFT"]));
}
