//! The model of what a client gets, in every form and dialect: however it stalls, delivered + announced = published, for each symbol and at each
//! moment; and where it conflates, delivered + replaced = published, always newer, up to the last of each symbol.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::ways::{Subscriber, Told, WAYS, Way, long_trade};
use crate::support::{Redis, TestGateway, until};
use tokio::sync::mpsc;
use ws_gateway::protocol::api::Api;

const SYMBOLS: u64 = 3;
const TRADES_MIN: u64 = 9_000;
/// Trades that are published at once: as many of each symbol.
const BURST: u64 = 300;

fn symbols() -> Vec<String> {
    (0..SYMBOLS).map(|n| format!("S{n}")).collect()
}

/// The n-th trade's price without its fraction: its place among the trades of its symbol, from 1.
fn price(n: u64) -> u64 {
    n / SYMBOLS + 1
}

/// Long in every form, compressed or not, so that kernels don't hold everything: some have the price as it is written, and others the exchange.
fn event(n: u64) -> (String, String) {
    let symbol = format!("S{}", n % SYMBOLS);
    let payload = long_trade(&symbol, price(n), n, 600, 300);
    (symbol, payload)
}

/// How many trades have been published, and how many will be.
struct Course {
    published: u64,
    end: u64,
}

impl Course {
    fn new() -> Self {
        Self { published: 0, end: u64::MAX }
    }

    /// The next burst; nothing behind the last one. How much kernels hold before anything is `lost` varies, and so does an event's length in the
    /// forms, four times and compressed: once something is, seven times as much follows.
    fn next(&mut self, lost: u64) -> Option<std::ops::Range<u64>> {
        if lost > 0 && self.end == u64::MAX {
            self.end = TRADES_MIN.max(8 * self.published);
        }
        let start = self.published;
        (start < self.end).then(|| {
            self.published += BURST;
            start..self.published
        })
    }
}

async fn gateway(redis: &Redis, shards: usize, max_outbox_bytes: usize) -> TestGateway {
    TestGateway::on(redis, |config| {
        config.process.shards = shards;
        config.clients.dialects = Api::ALL.into_iter().collect();
        config.delivery.compress = true;
        config.delivery.compression_threshold_bytes = 0;
        config.delivery.max_outbox_bytes = max_outbox_bytes;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn under_random_stalls_with_two_shards() {
    under_random_stalls(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_random_stalls_on_the_thread_that_reads_redis() {
    under_random_stalls(1).await;
}

async fn under_random_stalls(shards: usize) {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, shards, 20_000).await;
    let (mut tasks, mut gates) = (Vec::new(), Vec::new());
    let end = Arc::new(AtomicU64::new(u64::MAX));
    for way in WAYS {
        let client = Subscriber::enter(way, gateway.addr, &symbols(), "&onSlow=skip", Some(4_096)).await;
        let (gate, opened) = mpsc::unbounded_channel();
        gates.push(gate);
        tasks.push((way, tokio::spawn(count(client, way, opened, Arc::clone(&end)))));
    }
    let mut worker = redis.publisher().await;
    let mut random = fastrand::Rng::with_seed(9);
    let mut course = Course::new();
    let skipped = || gateway.gateway.state().metrics.sum(|shard| &shard.events_skipped);
    while let Some(burst) = course.next(skipped()) {
        // Known before the last of them is there: nobody waits for more.
        end.store(course.end, Ordering::Relaxed);
        worker.trades(burst.map(event)).await;
        gateway.taken(course.published).await;
        // Each client may read on from time to time, as much as it has the luck to find.
        for gate in &gates {
            if random.u8(..4) == 0 {
                gate.send(random.usize(1..100)).expect("the client goes on");
            }
        }
    }
    drop(gates);
    let mut announced = 0;
    for (way, task) in tasks {
        let of_way = task.await.expect("the equation holds");
        assert!(of_way > 0, "{way:?}: the stalls were too short to test anything");
        announced += of_way;
    }
    assert_eq!(announced, skipped(), "the counters tell the same");
}

/// Reads as many events as the gate grants, all once it is closed; returns how many trades were announced as skipped. Each trade's price is its place: one
/// behind the last that was delivered or announced.
async fn count(
    mut client: Subscriber,
    way: Way,
    mut gate: mpsc::UnboundedReceiver<usize>,
    end: Arc<AtomicU64>,
) -> u64 {
    let end = || end.load(Ordering::Relaxed);
    let mut places: HashMap<String, u64> = HashMap::new();
    let (mut done, mut announced) = (0, 0);
    while done < end() {
        let mut granted = gate.recv().await.unwrap_or(usize::MAX);
        while granted > 0 && done < end() {
            for told in client.told().await {
                let (symbol, count) = match &told {
                    Told::Trade { symbol, .. } => (symbol, 1),
                    Told::Skipped { symbol, count } => (symbol, *count),
                };
                let place = places.entry(symbol.clone()).or_default();
                *place += count;
                done += count;
                granted = granted.saturating_sub(1);
                match told {
                    Told::Trade { price, .. } => assert_eq!(price.floor(), *place as f64, "{way:?}"),
                    Told::Skipped { count, .. } => announced += count,
                }
            }
        }
    }
    assert!(client.was_compressed() != Some(false), "{way:?}: no message was compressed");
    assert!(places.values().all(|place| *place == end() / SYMBOLS), "{way:?}: {places:?}");
    announced
}

#[tokio::test(flavor = "multi_thread")]
async fn conflated_trades_are_ever_newer_up_to_the_last() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, 1, 64 * 1024 * 1024).await;
    let mut paced = gateway.subscriber(&["S0", "S1", "S2"]).await;
    let mut clients = Vec::new();
    for way in WAYS {
        let client = Subscriber::enter(way, gateway.addr, &symbols(), "&conflate=1", Some(4_096)).await;
        clients.push((way, client));
    }
    let mut worker = redis.publisher().await;
    let replaced = || gateway.gateway.state().metrics.sum(|shard| &shard.events_conflated);
    let mut course = Course::new();
    while let Some(burst) = course.next(replaced()) {
        worker.trades(burst.clone().map(event)).await;
        for n in burst {
            assert_eq!(
                paced.json().await["data"]["timestamp"],
                n,
                "one that doesn't conflate gets everything"
            );
        }
    }
    let mut delivered = 0;
    let published = course.published;
    for (way, client) in clients {
        let of_way = ever_newer(client, way, (published / SYMBOLS) as f64).await;
        assert!(of_way < published * 2 / 3, "{way:?}: {of_way} of {published} were delivered");
        delivered += of_way;
    }
    until("delivered + replaced = published", async || {
        (delivered + replaced() == published * WAYS.len() as u64).then_some(())
    })
    .await;
}

/// Reads up to the last trade of each symbol; returns how many came.
async fn ever_newer(mut client: Subscriber, way: Way, end: f64) -> u64 {
    let mut last: HashMap<String, f64> = HashMap::new();
    let mut count = 0;
    while last.len() < SYMBOLS as usize || last.values().any(|last| *last < end) {
        for told in client.told().await {
            let Told::Trade { symbol, price } = told else { panic!("{way:?}: nothing is skipped: {told:?}") };
            let price = price.floor();
            let before = last.insert(symbol, price);
            assert!(before.is_none_or(|before| before < price), "{way:?}: never an older after a newer one");
            count += 1;
        }
    }
    count
}
