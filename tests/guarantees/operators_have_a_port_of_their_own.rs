//! With OPS_PORT what tells of the gateway as a whole is on a port of its own, for those who have OPS_TOKEN; health and readiness are on
//! both ports, and clients on theirs alone.

use std::net::SocketAddr;
use std::process::Command;

use tokio::net::TcpStream;

use crate::support::http::{HANDSHAKE, Reply, ask, get};
use crate::support::process::Process;
use crate::support::{Client, PATIENCE, ReservedPort};

const TOKEN: &str = "a-token-for-operators";

async fn start(more: &[&str]) -> (Process, SocketAddr) {
    let gateway = Process::start(&[&["--embedded-redis-port", "0", "--ops-port", "0"], more].concat()).await;
    let line = gateway.logs("Operator's port listening on ").await;
    let address = line.rsplit(' ').next().and_then(|address| address.parse().ok()).expect("an address");
    (gateway, address)
}

async fn with_token(address: SocketAddr, path: &str, authorization: &str) -> Reply {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: {authorization}\r\n")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn and_each_port_serves_its_own() {
    let (gateway, operators) = start(&[]).await;
    assert!(operators.ip().is_loopback(), "OPS_HOST is 127.0.0.1");
    for path in ["/health", "/ready", "/ws/health"] {
        assert_eq!((gateway.get(path).await.status, get(operators, path).await.status), (200, 200), "{path}");
    }
    for path in ["/stats", "/metrics"] {
        assert_eq!(gateway.get(path).await.status, 404, "{path}");
        assert_eq!(get(operators, path).await.status, 200, "{path}");
    }
    for path in ["/", "/live.js", "/live.css", "/chart.js"] {
        let page = gateway.get(path).await;
        assert_eq!((page.status, get(operators, path).await.status), (200, 404), "{path}");
        assert!(!page.body.contains(r#"href="stats""#), "the page leads nowhere");
    }
    Client::connect(&gateway.url()).await;
    for path in ["/ws", "/"] {
        let request = HANDSHAKE
            .replace("/ws", path)
            .replace("Connection: Upgrade\r\n", "Connection: Upgrade, close\r\n");
        assert_eq!(ask(operators, &request).await.status, 404, "no client gets in there");
    }
    let origin = "GET /stats HTTP/1.1\r\nHost: h\r\nOrigin: https://page.example\r\n";
    assert_eq!(ask(operators, origin).await.header("Access-Control-Allow-Origin"), None);
    let order = ask(operators, "POST /stats HTTP/1.1\r\nHost: h\r\n").await;
    assert_eq!(order.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn and_the_token_is_asked_for_by_all_but_health_and_readiness() {
    let (gateway, operators) = start(&["--ops-token", TOKEN]).await;
    for path in ["/health", "/ready"] {
        assert_eq!(get(operators, path).await.status, 200, "{path}");
    }
    for path in ["/stats", "/metrics", "/ws/health", "/nothing"] {
        let refused = get(operators, path).await;
        assert_eq!((refused.status, refused.code().as_str()), (401, "UNAUTHORIZED"), "{path}");
        assert_eq!(refused.header("WWW-Authenticate"), Some("Bearer"));
        assert!(!refused.body.contains(TOKEN));
        let good = format!("Bearer {TOKEN}");
        let expected = if path == "/nothing" { 404 } else { 200 };
        assert_eq!(with_token(operators, path, &good).await.status, expected, "{path}");
    }
    assert_eq!(with_token(operators, "/stats", &format!("bearer  {TOKEN} ")).await.status, 200);
    let shorter = &TOKEN[..TOKEN.len() - 1];
    for wrong in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        TOKEN.to_owned(),
        format!("Basic {TOKEN}"),
        format!("Bearer {shorter}"),
        format!("Bearer {TOKEN}x"),
        format!("Bearer {}", TOKEN.to_uppercase()),
    ] {
        assert_eq!(with_token(operators, "/stats", &wrong).await.status, 401, "{wrong:?}");
    }
    let options = ask(operators, "OPTIONS /stats HTTP/1.1\r\nHost: h\r\n").await;
    assert_eq!(options.status, 401);
    // Clients' port asks nobody.
    assert_eq!(gateway.get("/ws/health").await.status, 200);
    assert!(!gateway.has_logged(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn and_the_healthcheck_asks_there() {
    let reserved = ReservedPort::new();
    let port = reserved.to_string();
    let (mut gateway, _) = start(&["--ops-token", TOKEN, "--ops-port", &port]).await;
    let healthcheck = || {
        let ports = ["--ws-port", "1", "--ops-port", &port];
        let mut command = Command::new(env!("CARGO_BIN_EXE_ws-gateway"));
        command.env_clear().arg("--healthcheck").args(ports).status().expect("it runs").success()
    };
    assert!(healthcheck(), "WS_PORT is not asked");
    gateway.signal("TERM");
    let ended = tokio::time::timeout(PATIENCE, gateway.exit()).await.expect("an end in time");
    assert!(ended.success());
    assert!(!healthcheck());
}

#[tokio::test(flavor = "multi_thread")]
async fn and_settings_that_do_not_go_together_are_told() {
    let gateway = Process::start(&["--embedded-redis-port", "0", "--ops-token", TOKEN]).await;
    gateway.logs("OPS_TOKEN is not used").await;
    let (gateway, _) = start(&["--ops-host", "0.0.0.0"]).await;
    gateway.logs("set OPS_TOKEN").await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let mut refused = Process::spawn(&["--embedded-redis-port", "0", "--ops-port", &port]);
    assert!(!refused.exit().await.success());
    assert!(refused.has_logged("OPS_PORT"), "{:?}", refused.log);
}

/// Whatever is connected to one port, the other answers, and descriptors suffice for both.
#[tokio::test(flavor = "multi_thread")]
async fn and_neither_port_takes_the_others_descriptors() {
    let args = ["--embedded-redis-port", "0", "--ops-port", "0"];
    let gateway = Process::limited(256, &args).await;
    let line = gateway.logs("Operator's port listening on ").await;
    let operators: SocketAddr =
        line.rsplit(' ').next().and_then(|text| text.parse().ok()).expect("an address");
    let clients_max = get(operators, "/stats").await.json()["maxConnections"].as_u64().expect("a number");
    let mut clients = Vec::new();
    for _ in 0..clients_max {
        clients.push(Client::connect(&gateway.url()).await);
    }
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(gateway.addr()).await.expect("the gateway listens"));
        silent.push(TcpStream::connect(operators).await.expect("the gateway listens"));
    }
    assert_eq!(gateway.get("/health").await.status, 200);
    assert_eq!(get(operators, "/health").await.status, 200);
    let metrics = get(operators, "/metrics").await.body;
    let never = "ws_accept_errors_total{cause=\"exhausted\"} 0";
    assert!(metrics.lines().any(|line| line == never), "{metrics}");
    assert!(gateway.descriptors() <= 256);
}
