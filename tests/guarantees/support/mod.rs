//! What the tests share: a real redis-server, a gateway on port 0, and a client that reads frames as they are.

pub(crate) mod broker;
pub(crate) mod browser;
pub(crate) mod child;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod deflating;
pub(crate) mod deployment;
pub(crate) mod desk;
pub(crate) mod detour;
pub(crate) mod guides;
pub(crate) mod haproxy;
pub(crate) mod heard;
pub(crate) mod http;
pub(crate) mod http_server;
pub(crate) mod inboxes;
pub(crate) mod introduced;
pub(crate) mod judge;
pub(crate) mod key_server;
pub(crate) mod late_replies;
pub(crate) mod nginx;
pub(crate) mod package;
pub(crate) mod polling;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod resp;
pub(crate) mod settings;
pub(crate) mod socketio;
pub(crate) mod stats;
pub(crate) mod stream;
pub(crate) mod talkers;
pub(crate) mod tape;
pub(crate) mod tls;
pub(crate) mod tls_tap;
pub(crate) mod tokens;
pub(crate) mod ways;

use std::net::SocketAddr;
use std::time::Duration;

use ws_gateway::config::Config;
use ws_gateway::gateway::Gateway;

pub(crate) use client::Client;
pub(crate) use port::ReservedPort;
pub(crate) use redis::Publisher;
pub(crate) use redis::Redis;

/// Long enough for anything that happens at all on a loaded machine; no test is ever slower because of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway in this process, on ports of its own.
pub(crate) struct TestGateway {
    pub(crate) gateway: Gateway,
    pub(crate) addr: SocketAddr,
}

impl TestGateway {
    /// A gateway that reads from `redis`, with what `change` makes of the defaults.
    pub(crate) async fn on(redis: &Redis, change: impl FnOnce(&mut Config)) -> Self {
        let url = redis.url();
        Self::with_url(&url, change).await
    }

    /// A gateway that reads from a Redis URL.
    pub(crate) async fn with_url(url: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::for_tests();
        config.upstream = ws_gateway::config::Upstream::from_url(url).expect("a Redis URL");
        // A connection that has ended counts until its shard notices: a user who comes again and again would be refused now and then.
        config.clients.max_connections_per_user = None;
        change(&mut config);
        let gateway = Gateway::build(config).await.expect("the gateway starts");
        let addr = gateway.local_addr();
        Self { gateway, addr }
    }

    /// A client on `/ws`.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(&format!("ws://{}/ws", self.addr)).await
    }

    /// A client that is subscribed already.
    pub(crate) async fn subscriber(&self, symbols: &[&str]) -> Client {
        let mut client = self.client().await;
        client.subscribe(symbols).await;
        client
    }

    /// `GET path`.
    pub(crate) async fn get(&self, path: &str) -> http::Reply {
        http::get(self.addr, path).await
    }

    /// Waits until the gateway has taken `events` events.
    pub(crate) async fn taken(&self, events: u64) {
        stats::taken(self.addr, events).await;
    }

    /// Publishes trades, the n-th as `trade` makes it, 200 at a time until `is_enough`; returns how many. Never more than the gateway gets on
    /// with: Redis would cut it off.
    pub(crate) async fn publish_until(
        &self,
        worker: &mut Publisher,
        trade: impl Fn(u64) -> (String, String),
        is_enough: impl Fn() -> bool,
    ) -> u64 {
        let mut published = 0;
        while !is_enough() {
            worker.trades((published..published + 200).map(&trade)).await;
            published += 200;
            self.taken(published).await;
        }
        published
    }

    /// One number of `/stats`.
    pub(crate) async fn stat(&self, name: &str) -> u64 {
        stats::number(self.addr, name).await
    }

    /// Waits until clients hold so many subscriptions.
    pub(crate) async fn subscribed(&self, count: u64) {
        stats::subscribed(self.addr, count).await;
    }

    /// Waits until clients have answered so many pings, in silence otherwise.
    pub(crate) async fn pongs(&self, count: u64) {
        until("pongs", async || {
            let metrics = self.get("/metrics").await.body;
            let pongs = metrics.lines().filter(|line| line.starts_with("ws_pongs_total"));
            let pongs = pongs.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
            (pongs >= count as f64).then_some(())
        })
        .await;
    }
}

/// Asks again and again, every few milliseconds, until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A trade as a worker writes it.
pub(crate) fn trade(symbol: &str, price: &str, n: u64) -> String {
    format!(r#"{{"symbol":"{symbol}","price":{price},"volume":100,"timestamp":{n},"exchange":"NASDAQ"}}"#)
}
