//! Alpaca's libraries for Node.js, versions 3 and 4, when they are too slow: they lose events and keep their connection, or are told, closed and come
//! back, as the gateway's policy says.

use serde_json::json;
use ws_gateway::config::{Config, SlowClientPolicy};
use ws_gateway::metrics::{Counter, Metrics, ShardMetrics};

use crate::alpaca_node_3;
use crate::alpaca_sdks::with_alpaca;
use crate::support::detour::Detour;
use crate::support::program::{Program, node};
use crate::support::tls::Identity;
use crate::support::{Publisher, Redis, TestGateway, until};

#[derive(Debug, Clone, Copy)]
enum Version {
    /// It speaks TLS always.
    Three,
    Four,
}

/// A client that is subscribed to a symbol, and what it talks to.
struct Scene {
    version: Version,
    worker: Publisher,
    gateway: TestGateway,
    client: Program,
    _redis: Redis,
    _way: Detour,
}

/// Large enough that kernel buffers don't take everything.
fn large(n: u64) -> (String, String) {
    let conditions = "x".repeat(500);
    let payload =
        format!(r#"{{"symbol":"A","price":{n},"volume":1,"timestamp":1,"conditions":["{conditions}"]}}"#);
    ("A".to_owned(), payload)
}

impl Scene {
    async fn new(version: Version, policy: SlowClientPolicy) -> Self {
        let (redis, identity) = (Redis::start().await, Identity::new());
        let change = |config: &mut Config| {
            with_alpaca(config);
            config.events.max_event_bytes = 1_024;
            config.delivery.max_outbox_bytes = 64 * 1_024;
            config.delivery.slow_client_policy = policy;
        };
        let wanted = json!({"subscribeForTrades": ["A"]});
        let (gateway, way, client) = match version {
            Version::Three => {
                let gateway = alpaca_node_3::gateway(&redis, &identity, change).await;
                let way = Detour::to(gateway.addr).await;
                let client = alpaca_node_3::started(&way, &identity, "data_stream_v2", &wanted).await;
                (gateway, way, client)
            }
            Version::Four => {
                let gateway = TestGateway::on(&redis, change).await;
                let way = Detour::to(gateway.addr).await;
                let mut script = node("alpaca_node.js").await;
                script.args([&format!("ws://{}/v2/iex", way.addr), "K", "S"]);
                let mut client = Program::start(script);
                client.say(&wanted.to_string()).await;
                (gateway, way, client)
            }
        };
        let scene =
            Self { version, worker: redis.publisher().await, gateway, client, _redis: redis, _way: way };
        scene.holds(1).await;
        scene
    }

    fn metrics(&self) -> &Metrics {
        &self.gateway.gateway.state().metrics
    }

    /// Waits until the gateway's clients hold so many subscriptions.
    async fn holds(&self, count: u64) {
        let held = || self.metrics().sum(|shard| &shard.subscriptions);
        until("the subscriptions", async || (held() == count).then_some(())).await;
    }

    /// Publishes trades, of which each price is the next number from `next`, until something is counted; returns the next number.
    async fn publish_until(&mut self, counter: impl Fn(&ShardMetrics) -> &Counter) -> u64 {
        let mut next = 0;
        while self.metrics().sum(&counter) == 0 {
            self.worker.trades((next..next + 200).map(large)).await;
            next += 200;
            let taken = || self.metrics().ingest.events.get();
            until("the trades to be taken", async || (taken() >= next).then_some(())).await;
        }
        next
    }

    /// The price of the next trade.
    async fn price(&mut self) -> u64 {
        let (name, field) = match self.version {
            Version::Three => ("TRADES", "Price"),
            Version::Four => ("TRADE", "price"),
        };
        let price = self.client.line_with(name).await[name][field].clone();
        price.as_f64().unwrap_or_else(|| panic!("{price}")) as u64
    }
}

async fn loses_events_and_keeps_its_connection(version: Version) {
    let mut scene = Scene::new(version, SlowClientPolicy::Skip).await;
    scene.client.pause();
    let published = scene.publish_until(|shard| &shard.events_skipped).await;
    scene.client.go_on();
    // What waits has left before the last one comes, which so isn't skipped.
    let backlog = || scene.metrics().sum(|shard| &shard.backlog_bytes);
    until("the backlog to leave", async || (backlog() == 0).then_some(())).await;
    scene.worker.trades([large(published)]).await;
    let (mut seen, mut last) = (0, None);
    while last != Some(published) {
        let price = scene.price().await;
        assert!(last < Some(price), "{price} behind {last:?}");
        last = Some(price);
        seen += 1;
    }
    let skipped = scene.metrics().sum(|shard| &shard.events_skipped);
    assert_eq!((seen + skipped, skipped > 0), (published + 1, true));
    assert_eq!(scene.metrics().sum(|shard| &shard.connections_opened), 1, "it is the same connection");
}

async fn is_closed_and_comes_back(version: Version) {
    let mut scene = Scene::new(version, SlowClientPolicy::Disconnect).await;
    scene.client.pause();
    let published = scene.publish_until(|shard| &shard.slow_closed).await;
    scene.holds(0).await;
    scene.client.go_on();
    let told = scene.client.line_with("CLIENT_ERROR").await["CLIENT_ERROR"].clone();
    assert!(told.as_str().is_some_and(|told| told.contains("slow client")), "{told}");
    scene.holds(1).await;
    scene.worker.trades([large(published)]).await;
    assert_eq!(scene.price().await, published);
}

#[tokio::test(flavor = "multi_thread")]
async fn version_3_loses_events_and_keeps_its_connection() {
    loses_events_and_keeps_its_connection(Version::Three).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_4_loses_events_and_keeps_its_connection() {
    loses_events_and_keeps_its_connection(Version::Four).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_3_is_closed_and_comes_back() {
    is_closed_and_comes_back(Version::Three).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_4_is_closed_and_comes_back() {
    is_closed_and_comes_back(Version::Four).await;
}
