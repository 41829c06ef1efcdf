//! With a certificate the port speaks TLS 1.2 and 1.3, and everything that it serves is served: the page, health, metrics,
//! WebSocket; to OpenSSL, Node's `ws`, Python's `websockets` and a browser. Who speaks plain HTTP is told so.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::program::{Program, node, python};
use crate::support::tls::{self, Identity};
use crate::support::{PATIENCE, Redis, TestGateway, http, trade, until};

async fn gateway(redis: &Redis, identity: &Identity) -> TestGateway {
    TestGateway::on(redis, |config| identity.configure(config)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_served() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway = gateway(&redis, &identity).await;
    for (path, part) in [
        ("/", "<html"),
        ("/health", r#""status":"ok""#),
        ("/ws/health", r#""status":"healthy""#),
        ("/ready", ""),
        ("/stats", "messagesSent"),
        ("/metrics", "ws_tls_handshakes_total"),
    ] {
        let reply = tls::get(gateway.addr, path, "").await;
        assert_eq!(reply.status, 200, "{path}");
        assert!(reply.body.contains(part), "{path}: {}", reply.body);
    }
    let mut client = tls::subscriber(gateway.addr, &["AAPL"]).await;
    redis.publisher().await.numbered("AAPL", 1).await;
    client.gets("AAPL", 1).await;
    client.send(r#"{"action":"ping"}"#).await;
    assert_eq!(client.json().await["type"], "pong");
    client.ws.close(None).await.unwrap();
    assert_eq!(client.ending().await.map(|(code, _)| code), Some(1000), "the answer to its close");
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_speaks_both_versions_and_resumes() {
    const REQUEST: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway = gateway(&redis, &identity).await;
    let files = TempDir::new().unwrap();
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let session = files.path().join(name).display().to_string();
        let first = [version, "-ign_eof", "-alpn", "h2,http/1.1", "-sess_out", &session];
        let said = tls::openssl_says(gateway.addr, &first, REQUEST).await;
        for part in [&format!("New, {name}"), "ALPN protocol: http/1.1", r#""status":"ok""#] {
            assert!(said.contains(part), "{part} in {said}");
        }
        let again = [version, "-ign_eof", "-sess_in", &session];
        let said = tls::openssl_says(gateway.addr, &again, REQUEST).await;
        assert!(said.contains(&format!("Reused, {name}")) && said.contains(r#""status":"ok""#), "{said}");
    }
    let said = tls::openssl_says(gateway.addr, &["-alpn", "h2"], "").await;
    assert!(said.contains("no application protocol"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_told_to_use_tls_and_anything_else_is_closed() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway = gateway(&redis, &identity).await;
    for head in ["GET /health HTTP/1.1\r\nHost: h\r\n", http::HANDSHAKE] {
        let reply = http::ask(gateway.addr, head).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "INVALID_INPUT"));
        assert!(reply.body.contains("This port speaks TLS: use https:// or wss://"), "{}", reply.body);
    }
    let mut garbage = TcpStream::connect(gateway.addr).await.unwrap();
    garbage.write_all(b"\x00\x01\x02 hello").await.unwrap();
    assert!(http::is_closed(&mut garbage).await);
    let mut broken = TcpStream::connect(gateway.addr).await.unwrap();
    broken.write_all(b"\x16\x03\x01\x00\x05hello").await.unwrap();
    assert!(http::is_closed(&mut broken).await);
    let gone = TcpStream::connect(gateway.addr).await.unwrap();
    drop(gone);
    let mut cut_off = TcpStream::connect(gateway.addr).await.unwrap();
    cut_off.write_all(b"\x16\x03\x01").await.unwrap();
    drop(cut_off);

    until("all to be counted", async || {
        let metrics = tls::get(gateway.addr, "/metrics", "").await.body;
        let failed = |reason, n| {
            metrics.contains(&format!("ws_tls_handshakes_failed_total{{reason=\"{reason}\"}} {n}\n"))
        };
        let all = [("plain_http", 2), ("not_tls", 1), ("refused", 1), ("closed", 1), ("timeout", 0)];
        all.into_iter().all(|(reason, n)| failed(reason, n)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_not_completed_ends() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway = gateway(&redis, &identity).await;
    let mut silent = TcpStream::connect(gateway.addr).await.unwrap();
    let mut half = TcpStream::connect(gateway.addr).await.unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.unwrap();
    // One that has shaken hands and then asks for nothing has no more time.
    let mut idle = tls::connect(gateway.addr).await;
    assert!(http::is_closed(&mut silent).await);
    assert!(http::is_closed(&mut half).await);
    let mut byte = [0];
    assert!(matches!(timeout(PATIENCE, idle.read(&mut byte)).await, Ok(Ok(0) | Err(_))));
    let metrics = tls::get(gateway.addr, "/metrics", "").await.body;
    assert!(metrics.contains("ws_tls_handshakes_failed_total{reason=\"timeout\"} 2\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_page_is_one_of_https() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway = TestGateway::on(&redis, |config| {
        identity.configure(config);
        config.server.origins.allowed = Some(vec!["https://app.example.com".to_owned()]);
    })
    .await;
    for (origin, status) in [("https://localhost", 101), ("http://localhost", 403)] {
        let mut stream = tls::connect(gateway.addr).await;
        let request = http::HANDSHAKE.replace("Host: h", "Host: localhost");
        stream.write_all(format!("{request}Origin: {origin}\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(http::read_head(&mut stream).await.status, status, "{origin}");
    }
}

/// Frames that came behind the upgrade request, in the same record or another, are read.
#[tokio::test(flavor = "multi_thread")]
async fn frames_behind_the_request_are_read() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway = gateway(&redis, &identity).await;
    let frame = crate::support::raw::text_frame(r#"{"action":"ping","id":1}"#);
    for is_one_record in [true, false] {
        let mut stream = tls::connect(gateway.addr).await;
        let request = format!("{}\r\n", http::HANDSHAKE).into_bytes();
        if is_one_record {
            stream.write_all(&[&request[..], &frame].concat()).await.unwrap();
        } else {
            stream.write_all(&request).await.unwrap();
            stream.write_all(&frame).await.unwrap();
        }
        assert_eq!(http::read_head(&mut stream).await.status, 101);
        let mut head = [0; 2];
        timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("a pong in time").unwrap();
        assert_eq!(head[0], 0x81, "a text frame");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_ws_takes_a_thousand_trades() {
    const N: usize = 1_000;
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway = gateway(&redis, &identity).await;
    let mut script = node("ws_client.js").await;
    script.args([&format!("wss://localhost:{}/", gateway.addr.port()), &N.to_string()]);
    script.env("NODE_EXTRA_CA_CERTS", identity.certificate());
    let mut client = Program::start(script);
    assert_eq!(client.json().await["message"], "Successfully subscribed to 2 symbol(s)");
    publish(&redis, N).await;
    in_order(&client.json().await, N);
    assert_eq!(client.json().await, json!({"code": 1000}));
    assert!(client.exit().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn pythons_websockets_takes_a_thousand_trades() {
    const N: usize = 1_000;
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway = gateway(&redis, &identity).await;
    let mut script = python("websockets==17.4", "websockets_client.py").await;
    script.args(["trades", &format!("wss://localhost:{}/ws", gateway.addr.port()), &N.to_string()]);
    script.env("SSL_CERT_FILE", identity.certificate());
    let mut client = Program::start(script);
    assert_eq!(client.json().await["reply"], "Successfully subscribed to 2 symbol(s)");
    publish(&redis, N).await;
    in_order(&client.json().await["trades"], N);
    assert!(client.exit().await.success());
}

async fn publish(redis: &Redis, n: usize) {
    let trades = (0..n).map(|n| {
        let symbol = ["MSFT", "AAPL"][n % 2];
        (symbol.to_owned(), trade(symbol, "1.5", n as u64))
    });
    redis.publisher().await.trades(trades).await;
}

fn in_order(frames: &serde_json::Value, n: usize) {
    let frames = frames.as_array().expect("a list");
    assert_eq!(frames.len(), n);
    for (n, frame) in frames.iter().enumerate() {
        assert!(frame.as_str().is_some_and(|text| text.contains(&format!(r#""timestamp":{n},"#))), "{frame}");
    }
}

/// The drain reaches clients under TLS: status, close frame, `close_notify`.
#[tokio::test(flavor = "multi_thread")]
async fn the_drain_is_told() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let TestGateway { gateway, addr } = gateway(&redis, &identity).await;
    let mut client = tls::subscriber(addr, &["AAPL"]).await;
    let reading = tokio::spawn(async move {
        let status = client.json().await;
        (status["event"].clone(), client.ending().await)
    });
    assert_eq!(timeout(Duration::from_secs(30), gateway.drain()).await.expect("an end"), 0);
    let (event, ending) = reading.await.unwrap();
    assert_eq!((event, ending.map(|(code, _)| code)), (json!("shutdown"), Some(1012)));
}
