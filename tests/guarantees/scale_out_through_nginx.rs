//! Gateways side by side behind nginx, with the configuration that is shipped: clients are spread evenly, everyone gets
//! every trade, and when a gateway dies or leaves, its clients come back through the same address to the others. Three
//! gateways are three processes, Redis and nginx are the real ones.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::support::nginx::Nginx;
use crate::support::process::Process;
use crate::support::redis::Publisher;
use crate::support::{Client, PATIENCE, Redis, ReservedPort, http, trade, until};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

const CLIENTS: usize = 300;
/// Handshakes at a time.
const AT_ONCE: usize = 32;
/// Memory for what a client reads; trades are some 200 bytes.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// A client, and the gateway that took it.
struct Placed {
    client: Client,
    server_id: String,
}

impl Placed {
    /// Connects through nginx, subscribed by the URL.
    async fn connect(nginx: SocketAddr) -> Self {
        let url = format!("ws://{nginx}/ws?symbols=AAPL");
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let connecting = timeout(PATIENCE, connect_async_with_config(&url, Some(config), false));
        let (ws, answer) = connecting.await.expect("a handshake in time").expect("a handshake");
        let server_id = answer.headers()["x-server-id"].to_str().expect("text").to_owned();
        let mut client = Client { ws };
        let reply = client.json().await;
        assert_eq!(reply["data"]["currentSubscriptions"][0], "AAPL", "{reply}");
        Self { client, server_id }
    }

    async fn connect_all(nginx: SocketAddr, count: usize) -> Vec<Self> {
        stream::iter(0..count).map(|_| Self::connect(nginx)).buffer_unordered(AT_ONCE).collect().await
    }
}

/// How many clients each gateway has.
fn spread(clients: &[Placed]) -> HashMap<&str, usize> {
    let mut spread = HashMap::new();
    for placed in clients {
        *spread.entry(placed.server_id.as_str()).or_default() += 1;
    }
    spread
}

/// Publishes trades and sees that each client gets each of them, in order and byte for byte.
async fn all_receive(clients: &mut [Placed], worker: &mut Publisher, numbers: std::ops::Range<u64>) {
    for n in numbers.clone() {
        worker.trade("AAPL", &trade("AAPL", "150.250", n)).await;
    }
    join_all(clients.iter_mut().map(async |placed| {
        for n in numbers.clone() {
            let frame = placed.client.text().await;
            assert!(frame.contains(&trade("AAPL", "150.250", n)), "{n} in {frame} of {}", placed.server_id);
        }
    }))
    .await;
}

/// Takes out the clients of one gateway.
fn take_from(clients: &mut Vec<Placed>, server_id: &str) -> Vec<Placed> {
    clients.extract_if(.., |placed| placed.server_id == server_id).collect()
}

/// The clients of a gateway that is told to end: status `shutdown` with a delay, then 1012.
async fn are_told_to_go(clients: Vec<Placed>) {
    join_all(clients.into_iter().map(async |mut placed| {
        let status = placed.client.json().await;
        assert_eq!((&status["type"], &status["event"]), (&"status".into(), &"shutdown".into()), "{status}");
        assert!(status["data"]["reconnectAfterMs"].is_u64(), "{status}");
        let (code, _) = placed.client.ending().await.expect("a close frame");
        assert_eq!(code, 1012);
    }))
    .await;
}

async fn gateways(redis: &Redis, count: usize) -> Vec<Process> {
    let ids: Vec<_> = (0..count).map(|n| format!("gw-{n}")).collect();
    join_all(ids.iter().map(async |id| Process::on(redis, &["--server-id", id]).await)).await
}

fn addrs(gateways: &[Process]) -> Vec<SocketAddr> {
    gateways.iter().map(Process::addr).collect()
}

/// `GET path` with more header lines.
async fn get(nginx: SocketAddr, path: &str, headers: &str) -> http::Reply {
    http::ask(nginx, &format!("GET {path} HTTP/1.1\r\nHost: md.example\r\n{headers}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_spread_and_come_back_when_a_gateway_goes() {
    let redis = Redis::start().await;
    let mut gateways = gateways(&redis, 3).await;
    let nginx = Nginx::before(&addrs(&gateways)).await;
    let mut worker = redis.publisher().await;

    let mut clients = Placed::connect_all(nginx.addr(), CLIENTS).await;
    let by_gateway = spread(&clients);
    for id in ["gw-0", "gw-1", "gw-2"] {
        assert!(by_gateway[id] >= CLIENTS / 4, "fewest connections first: {by_gateway:?}");
    }
    all_receive(&mut clients, &mut worker, 0..20).await;

    // One dies: no close frame can come, and its clients are the only ones to notice.
    gateways[0].signal("KILL");
    let orphans = take_from(&mut clients, "gw-0");
    let count = orphans.len();
    let endings = join_all(orphans.into_iter().map(async |mut placed| placed.client.ending().await)).await;
    assert!(endings.iter().all(Option::is_none), "{endings:?}");
    clients.extend(Placed::connect_all(nginx.addr(), count).await);
    assert_eq!(spread(&clients).len(), 2, "the dead one is passed over: {:?}", spread(&clients));
    all_receive(&mut clients, &mut worker, 20..30).await;

    // One leaves: what it says to its clients comes through nginx.
    gateways[1].signal("TERM");
    let told = take_from(&mut clients, "gw-1");
    let count = told.len();
    are_told_to_go(told).await;
    clients.extend(Placed::connect_all(nginx.addr(), count).await);
    assert!(gateways[1].exit().await.success());
    assert_eq!(spread(&clients), HashMap::from([("gw-2", CLIENTS)]));
    all_receive(&mut clients, &mut worker, 30..40).await;

    // One comes back, and has the next clients, as it has the fewest.
    let port = gateways[0].port.to_string();
    let _back = Process::on(&redis, &["--server-id", "gw-back", "--ws-port", &port]).await;
    clients.extend(Placed::connect_all(nginx.addr(), 20).await);
    assert_eq!(spread(&clients), HashMap::from([("gw-2", CLIENTS), ("gw-back", 20)]));
    all_receive(&mut clients, &mut worker, 40..50).await;

    // Lines are written when clients go. Somebody's handshake was first tried at the dead gateway.
    drop(clients);
    let passed_over = format!("status=101 upstream=\"{}, ", gateways[0].addr());
    until("a line of who was passed over", async || nginx.has_logged(&passed_over).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_is_told_when_all_gateways_stop() {
    let redis = Redis::start().await;
    let mut gateways = gateways(&redis, 2).await;
    let mut nginx = Nginx::before(&addrs(&gateways)).await;
    let clients = Placed::connect_all(nginx.addr(), 20).await;
    // As `docker compose down` does: all services at the same time, nginx with its stop_signal.
    nginx.signal("QUIT");
    for gateway in &gateways {
        gateway.signal("TERM");
    }
    are_told_to_go(clients).await;
    for gateway in &mut gateways {
        assert!(gateway.exit().await.success());
    }
    assert!(nginx.exit().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_gateway_is_skipped_until_all_are_full() {
    let redis = Redis::start().await;
    let small = Process::on(&redis, &["--server-id", "small", "--max-connections", "1"]).await;
    let large = Process::on(&redis, &["--server-id", "large", "--max-connections", "9"]).await;
    let nginx = Nginx::before(&[small.addr(), large.addr()]).await;
    let clients = Placed::connect_all(nginx.addr(), 10).await;
    assert_eq!(spread(&clients), HashMap::from([("small", 1), ("large", 9)]));

    let upgrade =
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let refusal = get(nginx.addr(), "/ws", &format!("Connection: Upgrade\r\n{upgrade}")).await;
    assert_eq!((refusal.status, refusal.header("Retry-After")), (503, Some("5")), "{refusal:?}");
    assert_eq!(refusal.json()["type"], "error");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_gateway_the_answer_is_503_in_the_gateways_own_shape() {
    let nobody = ReservedPort::new();
    let nginx = Nginx::before(&[nobody.addr()]).await;
    for path in ["/ws?token=secret", "/", "/ready"] {
        let refusal = get(nginx.addr(), path, "").await;
        assert_eq!((refusal.status, refusal.header("Retry-After")), (503, Some("5")), "{path}: {refusal:?}");
        assert_eq!(refusal.header("Content-Type"), Some("application/json"), "{refusal:?}");
        let body = refusal.json();
        assert_eq!(body["code"], "INTERNAL_ERROR");
        // Milliseconds: 13 digits until the year 2286.
        assert_eq!(body["timestamp"].as_u64().expect("a whole number").to_string().len(), 13);
    }
    let nginx_itself = get(nginx.addr(), "/nginx/health", "").await;
    assert_eq!((nginx_itself.status, nginx_itself.body.as_str()), (200, "ok\n"));
    let line = format!(" GET /ws status=503 upstream=\"{}\" answered=\"502\"", nobody.addr());
    until("a line of it", async || nginx.has_logged(&line).then_some(())).await;
    assert!(!nginx.has_logged("secret"), "a query may hold a token: {:?}", nginx.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_told_the_clients_address_and_what_it_asked_for() {
    let gateway = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nginx = Nginx::before(&[gateway.local_addr().expect("an address")]).await;
    let asked = async |path: &'static str, headers: &'static str| {
        let asking = tokio::spawn({
            let nginx = nginx.addr();
            async move { get(nginx, path, headers).await }
        });
        let (mut stream, _) =
            timeout(PATIENCE, gateway.accept()).await.expect("nginx in time").expect("nginx");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("nginx reads");
        drop(stream);
        assert_eq!(asking.await.expect("no panic").status, 204);
        String::from_utf8(head).expect("text")
    };

    let plain = asked("/health", "").await;
    assert!(plain.starts_with("GET /health HTTP/1.1\r\n"), "{plain}");
    assert!(plain.contains("\r\nConnection: close\r\n") && !plain.contains("Upgrade"), "{plain}");

    let upgrade = asked(
        "/ws?symbols=A%2FB",
        "Upgrade: websocket\r\nOrigin: https://app.example\r\nX-Forwarded-For: 203.0.113.7\r\n\
         X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: evil.example\r\n",
    )
    .await;
    for line in [
        "GET /ws?symbols=A%2FB HTTP/1.1",
        "Upgrade: websocket",
        "Connection: upgrade",
        "Host: md.example",
        "Origin: https://app.example",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: md.example",
    ] {
        assert!(upgrade.lines().any(|got| got == line), "{line} in {upgrade}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_of_one_gateway_are_not_passed_on() {
    let redis = Redis::start().await;
    let gateways = gateways(&redis, 1).await;
    let nginx = Nginx::before(&addrs(&gateways)).await;
    for path in ["/stats", "/metrics"] {
        let refusal = get(nginx.addr(), path, "").await;
        assert_eq!(refusal.status, 404);
        assert_eq!(refusal.json()["code"], "INVALID_INPUT");
    }
    for path in ["/", "/health", "/ws/health", "/ready"] {
        assert_eq!(get(nginx.addr(), path, "").await.status, 200, "{path}");
    }
}
