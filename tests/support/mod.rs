//! What the tests share: a real redis-server, a gateway on port 0, and a client that reads frames as they are.
#![allow(dead_code, unreachable_pub, reason = "each test uses the part that it needs")]

pub mod child;
pub mod client;
pub mod nginx;
pub mod process;
pub mod program;
pub mod raw;
pub mod redis;

use std::net::SocketAddr;
use std::time::Duration;

use ws_gateway::config::Config;
use ws_gateway::gateway::Gateway;

pub use client::Client;
pub use redis::Redis;

/// Long enough for anything that happens at all on a loaded machine; no test is ever slower because of it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway in this process, on ports of its own.
pub struct TestGateway {
    pub gateway: Gateway,
    pub addr: SocketAddr,
}

impl TestGateway {
    /// A gateway that reads from `redis`, with what `change` makes of the defaults.
    pub async fn on(redis: &Redis, change: impl FnOnce(&mut Config)) -> Self {
        let url = redis.url();
        Self::with_url(&url, change).await
    }

    /// A gateway that reads from a Redis URL.
    pub async fn with_url(url: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::for_tests();
        config.upstream = ws_gateway::config::Upstream::from_url(url).expect("a Redis URL");
        change(&mut config);
        let gateway = Gateway::build(config).await.expect("the gateway starts");
        let addr = gateway.local_addr();
        Self { gateway, addr }
    }

    /// A client on `/ws`.
    pub async fn client(&self) -> Client {
        Client::connect(&format!("ws://{}/ws", self.addr)).await
    }

    /// A client that is subscribed already.
    pub async fn subscriber(&self, symbols: &[&str]) -> Client {
        let mut client = self.client().await;
        client.subscribe(symbols).await;
        client
    }

    /// One HTTP request; status and body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let response =
            self.request(&format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")).await;
        let status =
            response.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        let body = response.split_once("\r\n\r\n").expect("a header").1.to_owned();
        (status, body)
    }

    /// Whatever comes back for raw bytes until the server closes.
    pub async fn request(&self, request: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.addr).await.expect("the gateway listens");
        stream.write_all(request.as_bytes()).await.expect("the request is taken");
        let mut response = String::new();
        stream.read_to_string(&mut response).await.expect("an answer");
        response
    }

    /// Waits until `path` answers with `status`, and returns the body.
    pub async fn until_status(&self, path: &str, status: u16) -> String {
        until(&format!("{path} to answer {status}"), async || {
            let (got, body) = self.get(path).await;
            (got == status).then_some(body)
        })
        .await
    }

    /// Waits until the gateway has taken so many events.
    pub async fn taken(&self, events: u64) {
        let taken = async || (self.stat("events/received").await >= events).then_some(());
        until("the events to arrive", taken).await;
    }

    /// One number of `/stats`.
    pub async fn stat(&self, name: &str) -> u64 {
        let (_, body) = self.get("/stats").await;
        let stats: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        stats
            .pointer(&format!("/{name}"))
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_else(|| panic!("{name} in {body}"))
    }
}

/// Asks again and again, every few milliseconds, until there is an answer.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
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
pub fn trade(symbol: &str, price: &str, n: u64) -> String {
    format!(r#"{{"symbol":"{symbol}","price":{price},"volume":100,"timestamp":{n},"exchange":"NASDAQ"}}"#)
}
