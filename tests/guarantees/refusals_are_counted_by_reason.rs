//! Every client that is refused before its connection began counts once in `ws_upgrades_refused_total`, whichever way it came; every
//! refused question for last events and operator's request in `ws_http_requests_refused_total`; and every error that a client is sent in
//! `ws_errors_sent_total`; each under its reason and under no other. There is no reason that isn't shown here.

use std::collections::BTreeMap;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use ws_gateway::config::Config;
use ws_gateway::http::Bounds;

use crate::support::http::{HANDSHAKE, ask, read_head};
use crate::support::http_server::Server;
use crate::support::introduced::header;
use crate::support::process::Process;
use crate::support::socketio::with_socketio;
use crate::support::tokens::{SECRET, enter, token};
use crate::support::{Redis, TestGateway, raw, trade, until};

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

/// How clients come: the head of a request, that of a bad one, and the status with which who may is let in. A stream's comes from its
/// shard, of which there is none here.
struct Way {
    head: &'static str,
    bad_head: &'static str,
    let_in: Option<u16>,
}

const WEB_SOCKET: Way = Way {
    head: HANDSHAKE,
    bad_head: "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
               Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n",
    let_in: Some(101),
};
const STREAM: Way = Way {
    head: "GET /sse?symbols=A HTTP/1.1\r\nHost: h\r\n",
    bad_head: "GET /sse HTTP/1.1\r\nHost: h\r\n",
    let_in: None,
};
const LONG_POLLING: Way = Way {
    head: "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n",
    bad_head: "GET /socket.io/?EIO=3&transport=polling HTTP/1.1\r\nHost: h\r\n",
    let_in: Some(200),
};

/// A listener with every limit there is, and how often it has refused for each reason.
struct Refusing {
    server: Server,
    way: Way,
    metric: &'static str,
    counted: BTreeMap<String, u64>,
    seen: Vec<String>,
}

impl Refusing {
    async fn start(way: Way, metric: &'static str) -> Self {
        let flags = [
            ["--ws-host", "127.0.0.1"],
            ["--ws-port", "0"],
            ["--jwt-secret-key", SECRET],
            ["--anonymous", r#"{"symbols":["A"]}"#],
            ["--allowed-origins", "https://app.example"],
            ["--trusted-proxies", "127.0.0.1"],
            ["--max-connections", "4"],
            ["--max-connections-per-ip", "2"],
            ["--max-connections-per-user", "1"],
            ["--connection-rate-limit", "3/1h"],
            ["--dialects", "socketio"],
        ];
        let args = ["ws-gateway", "--proxy-protocol"].into_iter().chain(flags.concat());
        let config = Config::resolve(args, |_| None, None, 4_096).expect("a good configuration");
        let server = Server::with(&config, Bounds::default());
        let counted = counts(&server.get("/metrics").await.body, metric);
        Self { server, way, metric, counted, seen: Vec::new() }
    }

    /// Sends a request's head from that address.
    async fn asks(&self, header: &[u8], head: &str, more: &str) -> TcpStream {
        let mut stream = self.server.connect().await;
        let request = [header, head.as_bytes(), more.as_bytes(), b"\r\n"].concat();
        stream.write_all(&request).await.expect("the gateway reads");
        stream
    }

    /// A client from that address that comes in.
    async fn enters(&mut self, client: &str, more: &str) -> (TcpStream, ws_gateway::bus::Arrival) {
        let mut stream = self.asks(&header(client), self.way.head, more).await;
        if let Some(status) = self.way.let_in {
            let reply = read_head(&mut stream).await;
            assert_eq!(reply.status, status, "{reply:?}");
        }
        (stream, self.server.clients.recv().await.expect("the client"))
    }

    /// One that doesn't, and counts once, under this reason.
    async fn refuses(&mut self, header: &[u8], more: &str, status: u16, reason: &str) {
        self.refuses_head(self.way.head, header, more, status, reason).await;
    }

    async fn refuses_head(&mut self, head: &str, header: &[u8], more: &str, status: u16, reason: &str) {
        let reply = read_head(&mut self.asks(header, head, more).await).await;
        assert_eq!(reply.status, status, "{reason}: {reply:?}");
        let counted = counts(&self.server.get("/metrics").await.body, self.metric);
        assert_eq!(risen(&self.counted, &counted), [(reason.to_owned(), 1)]);
        self.counted = counted;
        self.seen.push(reason.to_owned());
    }

    /// Whether each reason that there is has been seen, or stands in `besides`.
    fn has_shown_all_but(mut self, besides: &[&str]) {
        self.seen.extend(besides.iter().map(|reason| (*reason).to_owned()));
        self.seen.sort_unstable();
        self.seen.dedup();
        assert_eq!(self.seen, self.counted.keys().cloned().collect::<Vec<_>>(), "no other reason");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades() {
    limits_hold(WEB_SOCKET).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_server_sent_events() {
    limits_hold(STREAM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_long_polling() {
    limits_hold(LONG_POLLING).await;
}

/// What keeps a client out keeps it out whichever way it comes, and is counted.
async fn limits_hold(way: Way) {
    let bad_head = way.bad_head;
    let mut gateway = Refusing::start(way, "ws_upgrades_refused_total").await;
    let from = |client: &str| header(client);
    let bearer = format!("Authorization: Bearer {}\r\n", token(json!({"sub": "u"})));
    gateway.refuses_head(bad_head, &from("192.0.2.1"), "", 400, "handshake").await;
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
    gateway.has_shown_all_but(&[]);
}

/// Of a question nobody hears here, so each that is taken keeps its place.
#[tokio::test(flavor = "multi_thread")]
async fn questions_for_last_events() {
    const QUESTION: &str = "GET /v1/last/A HTTP/1.1\r\nHost: h\r\n";
    let way = Way { head: QUESTION, bad_head: QUESTION, let_in: None };
    let mut gateway = Refusing::start(way, "ws_http_requests_refused_total").await;
    let from = |client: &str| header(client);
    let of_b = "GET /v1/last/B HTTP/1.1\r\nHost: h\r\n";
    let of_nothing = "GET /v1/last HTTP/1.1\r\nHost: h\r\n";
    gateway.refuses_head(of_nothing, &from("192.0.2.1"), "", 400, "request").await;
    gateway.refuses(&from("192.0.2.2"), "Origin: https://evil.example\r\n", 403, "origin").await;
    gateway.refuses(&from("192.0.2.3"), "Authorization: Bearer a.b.c\r\n", 401, "token").await;
    for _ in 0..3 {
        gateway.refuses_head(of_b, &from("192.0.2.4"), "", 403, "rights").await;
    }
    gateway.refuses(&from("192.0.2.4"), "", 429, "connection_rate").await;
    let mut waiting = Vec::new();
    for client in ["192.0.2.5", "192.0.2.5", "192.0.2.6", "192.0.2.6"] {
        if waiting.len() == 2 {
            gateway.refuses(&from("192.0.2.5"), "", 429, "connections_per_ip").await;
        }
        waiting.push(gateway.asks(&from(client), QUESTION, "").await);
        let admission = &gateway.server.admission;
        until("the question to be taken", async || (admission.open() == waiting.len()).then_some(())).await;
    }
    gateway.refuses(&from("192.0.2.7"), "", 503, "full").await;
    gateway.server.state.start_draining();
    gateway.refuses(&from("192.0.2.8"), "", 503, "draining").await;
    gateway.has_shown_all_but(&["operator", "questions"]);
}

/// More questions than may wait.
#[tokio::test(flavor = "multi_thread")]
async fn and_one_question_too_many() {
    const QUESTION: &str = "GET /v1/last/A HTTP/1.1\r\nHost: h\r\n\r\n";
    let server = Server::start();
    let mut waiting = Vec::new();
    for _ in 0..64 {
        let mut stream = server.connect().await;
        stream.write_all(QUESTION.as_bytes()).await.expect("the gateway reads");
        waiting.push(stream);
    }
    until("the questions to be taken", async || (server.admission.open() == 64).then_some(())).await;
    let reply = server.get("/v1/last/A").await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "UNAVAILABLE"));
    let refused = counts(&server.get("/metrics").await.body, "ws_http_requests_refused_total");
    assert_eq!(refused["questions"], 1);
    assert_eq!(refused.values().sum::<u64>(), 1);
}

/// On the operator's port: without its token, and orders where there is none.
#[tokio::test(flavor = "multi_thread")]
async fn operators_requests() {
    let redis = Redis::start().await;
    let order = "POST /websocket/cleanup HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n";
    for (token, status) in [(Some(SECRET), 401), (None, 403)] {
        let gateway = TestGateway::on(&redis, |config| {
            with_socketio(config);
            config.operator.port = Some(0);
            config.operator.token = token.map(str::to_owned);
        })
        .await;
        let operator = gateway.gateway.operator_addr().expect("its port");
        let refused = async || {
            let bearer = format!("GET /metrics HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {SECRET}\r\n");
            counts(&ask(operator, &bearer).await.body, "ws_http_requests_refused_total")
        };
        let before = refused().await;
        assert_eq!(ask(operator, order).await.status, status);
        assert_eq!(risen(&before, &refused().await), [("operator".to_owned(), 1)]);
    }
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
async fn slow(gateway: &Process, redis: &Redis) -> TcpStream {
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
