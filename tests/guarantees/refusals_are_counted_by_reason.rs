//! Every refused upgrade counts once in `ws_upgrades_refused_total`, and every error that a client is sent once in
//! `ws_errors_sent_total`, each under its reason and under no other. There is no reason that isn't shown here.

use std::collections::BTreeMap;

use serde_json::json;
use ws_gateway::config::Config;
use ws_gateway::http::Bounds;

use crate::support::http_server::Server;
use crate::support::introduced::{handshake, header};
use crate::support::process::Process;
use crate::support::tokens::{SECRET, enter, token};
use crate::support::{Redis, raw, trade, until};

/// The numbers of a metric by the value of its only label.
fn counts(metrics: &str, name: &str) -> BTreeMap<String, u64> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
    let parts = lines.map(|line| line.split_once("} ").expect("a value behind the label"));
    parts
        .map(|(label, value)| {
            let word = label.split('"').nth(1).expect("a label's value");
            (word.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

/// What has been counted since `before`, and what of it only now.
fn risen(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let risen = after.iter().map(|(word, count)| (word.clone(), count - before[word]));
    risen.filter(|(_, count)| *count > 0).collect()
}

/// A listener with every limit there is, and how often it has refused for each reason.
struct Refusing {
    server: Server,
    counted: BTreeMap<String, u64>,
    seen: Vec<String>,
}

impl Refusing {
    async fn start() -> Self {
        let flags = [
            ["--ws-host", "127.0.0.1"],
            ["--ws-port", "0"],
            ["--jwt-secret-key", SECRET],
            ["--anonymous", "{}"],
            ["--allowed-origins", "https://app.example"],
            ["--trusted-proxies", "127.0.0.1"],
            ["--max-connections", "4"],
            ["--max-connections-per-ip", "2"],
            ["--max-connections-per-user", "1"],
            ["--connection-rate-limit", "3/1h"],
        ];
        let args = ["ws-gateway", "--proxy-protocol"].into_iter().chain(flags.concat());
        let config = Config::resolve(args, |_| None, None, 4_096).expect("a good configuration");
        let server = Server::with(&config, Bounds::default());
        let counted = Self::counted(&server).await;
        Self { server, counted, seen: Vec::new() }
    }

    async fn counted(server: &Server) -> BTreeMap<String, u64> {
        counts(&server.get("/metrics").await.body, "ws_upgrades_refused_total")
    }

    /// A client from that address that comes in.
    async fn enters(
        &mut self,
        client: &str,
        more: &str,
    ) -> (tokio::net::TcpStream, ws_gateway::bus::Arrival) {
        let (stream, reply) = handshake(self.server.address, &header(client), more).await;
        assert_eq!(reply.status, 101, "{reply:?}");
        (stream, self.server.clients.recv().await.expect("the client"))
    }

    /// One that doesn't, and counts once, under this reason.
    async fn refuses(&mut self, header: &[u8], more: &str, status: u16, reason: &str) {
        let (_, reply) = handshake(self.server.address, header, more).await;
        assert_eq!(reply.status, status, "{reason}: {reply:?}");
        let counted = Self::counted(&self.server).await;
        assert_eq!(risen(&self.counted, &counted), [(reason.to_owned(), 1)]);
        self.counted = counted;
        self.seen.push(reason.to_owned());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades() {
    let mut gateway = Refusing::start().await;
    let from = |client: &str| header(client);
    let bearer = format!("Authorization: Bearer {}\r\n", token(json!({"sub": "u"})));
    gateway.refuses(&from("192.0.2.1"), "Sec-WebSocket-Key: another\r\n", 400, "handshake").await;
    gateway.refuses(b"PROXY TCP4 nobody\r\n", "", 400, "proxy_header").await;
    gateway.refuses(&from("192.0.2.2"), "Origin: https://evil.example\r\n", 403, "origin").await;
    gateway.refuses(&from("192.0.2.3"), "Authorization: Bearer a.b.c\r\n", 401, "token").await;
    let held = [gateway.enters("192.0.2.4", "").await, gateway.enters("192.0.2.4", "").await];
    gateway.refuses(&from("192.0.2.4"), "", 429, "connections_per_ip").await;
    let user = gateway.enters("192.0.2.10", &bearer).await;
    gateway.refuses(&from("192.0.2.11"), &bearer, 429, "connections_per_user").await;
    drop(user);
    for _ in 0..3 {
        gateway.enters("192.0.2.5", "").await;
    }
    gateway.refuses(&from("192.0.2.5"), "", 429, "connection_rate").await;
    let more = [gateway.enters("192.0.2.6", &bearer).await, gateway.enters("192.0.2.7", "").await];
    gateway.refuses(&from("192.0.2.8"), "", 503, "full").await;
    drop((held, more));
    gateway.server.state.start_draining();
    gateway.refuses(&from("192.0.2.9"), "", 503, "draining").await;
    gateway.seen.sort_unstable();
    assert_eq!(gateway.seen, gateway.counted.keys().cloned().collect::<Vec<_>>(), "no other reason");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests() {
    let redis = Redis::start().await;
    let flags = [
        ["--jwt-secret-key", SECRET],
        ["--max-connections-per-user", "1"],
        ["--max-symbols-per-client", "2"],
        ["--max-rooms-per-user", "1"],
        ["--message-rate-limit", "6/1h"],
        ["--max-message-size", "512"],
        ["--slow-client-policy", "disconnect"],
        ["--max-outbox-bytes", "262144"],
    ];
    let gateway = Process::on(
        &redis,
        &[
            &flags.concat()[..],
            &["--desk", "--requests", "--request-timeout", "100ms", "--offline-queue", "10"],
        ]
        .concat(),
    )
    .await;
    // Users have one message rate each, so every part of this has a user of its own.
    let user = |user| json!({"sub": user, "symbols": ["A", "B", "C"]});
    let bearer = |name| format!("Authorization: Bearer {}", token(user(name)));
    let mut client = enter(gateway.addr(), "", &[&bearer("in-error")]).await;
    let mut expected = Vec::new();
    for (message, code) in [
        ("{".to_owned(), "INVALID_JSON"),
        ("[]".to_owned(), "INVALID_INPUT"),
        (r#"{"action":"sell"}"#.to_owned(), "UNKNOWN_ACTION"),
        (r#"{"action":"subscribe","symbols":["A","B","C"]}"#.to_owned(), "SYMBOL_LIMIT_EXCEEDED"),
        (r#"{"action":"subscribe","symbols":["D"]}"#.to_owned(), "FORBIDDEN"),
        (r#"{"action":"auth","token":"a.b.c"}"#.to_owned(), "UNAUTHORIZED"),
    ] {
        client.send(message).await;
        assert_eq!(client.json().await["code"], code);
        expected.push(code);
    }
    let mut browser = enter(gateway.addr(), "", &[&bearer("in-error"), "Origin: http://app.example"]).await;
    assert_eq!(browser.json().await["code"], "TOO_MANY_CONNECTIONS");
    let mut client = enter(gateway.addr(), "", &[&bearer("fast")]).await;
    for _ in 0..7 {
        client.send(r#"{"action":"ping"}"#).await;
    }
    for _ in 0..6 {
        assert_eq!(client.json().await["type"], "pong");
    }
    assert_eq!(client.json().await["code"], "RATE_LIMIT_EXCEEDED");
    let mut client = enter(gateway.addr(), "", &[&bearer("long-winded")]).await;
    client.send(" ".repeat(513)).await;
    assert_eq!(client.json().await["code"], "MESSAGE_TOO_LARGE");
    let mut client = enter(gateway.addr(), "", &[&bearer("in-rooms")]).await;
    client.join("a").await;
    client.ask("join_room", json!({"room_id": "b"})).await;
    assert_eq!(client.json().await["code"], "ROOM_LIMIT_EXCEEDED");
    client.send(r#"{"type":"request","requestId":1}"#).await;
    assert_eq!(client.json().await["code"], "TIMEOUT");
    client.ask("chat", json!({"to": "nobody", "message": 1})).await;
    assert_eq!(client.json().await["code"], "NOT_FOUND");
    redis.hang();
    client.ask("typing", json!({"room_id": "a"})).await;
    assert_eq!(client.json().await["code"], "UNAVAILABLE");
    redis.go_on();
    let _slow = slow(&gateway, &redis).await;
    expected.extend([
        "TOO_MANY_CONNECTIONS",
        "RATE_LIMIT_EXCEEDED",
        "MESSAGE_TOO_LARGE",
        "SLOW_CLIENT",
        "ROOM_LIMIT_EXCEEDED",
        "NOT_FOUND",
        "TIMEOUT",
        "UNAVAILABLE",
    ]);
    expected.sort_unstable();
    let counted = counts(&gateway.get("/metrics").await.body, "ws_errors_sent_total");
    assert_eq!(counted.keys().collect::<Vec<_>>(), expected, "no other code");
    assert!(counted.values().all(|count| *count == 1), "{counted:?}");
}

/// A client that is sent too much, and reads nothing of it.
async fn slow(gateway: &Process, redis: &Redis) -> tokio::net::TcpStream {
    let query = format!("/ws?symbols=A&token={}", token(json!({"sub": "slow"})));
    let stream = raw::connect(gateway.addr(), &query, Some(4_096)).await;
    let mut worker = redis.publisher().await;
    let payload = trade("A", "1", 1).replace("NASDAQ", &"N".repeat(1_000));
    until("the slow client to be told", async || {
        worker.trades((0..1_000).map(|_| ("A".to_owned(), payload.clone()))).await;
        let metrics = gateway.get("/metrics").await.body;
        (counts(&metrics, "ws_errors_sent_total")["SLOW_CLIENT"] > 0).then_some(())
    })
    .await;
    stream
}
