//! From one IPv4 address, or one /64 of IPv6, come no more clients at a time than MAX_CONNECTIONS_PER_IP and no more in a time than
//! CONNECTION_RATE_LIMIT. Loopback has few addresses, so a trusted proxy names them.

use std::time::Duration;

use crate::support::http::{ask, read_head};
use crate::support::introduced::{handshake, header};
use crate::support::key_server::{Answer, KeyServer, Signer, set};
use crate::support::process::Process;
use crate::support::until;
use tokio::net::TcpStream;

const PROXIED: [&str; 5] =
    ["--embedded-redis-port", "0", "--trusted-proxies", "127.0.0.1", "--proxy-protocol"];

async fn start(more: &[&str]) -> Process {
    Process::start(&[&PROXIED, more].concat()).await
}

/// A client from that address, or the status with which it is refused.
async fn client(gateway: &Process, address: &str) -> Result<TcpStream, u16> {
    let (stream, reply) = handshake(gateway.addr(), &header(address), "").await;
    if reply.status == 101 { Ok(stream) } else { Err(reply.status) }
}

async fn metric(gateway: &Process, line: &str) -> bool {
    gateway.get("/metrics").await.body.lines().any(|found| found == line)
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_time() {
    let gateway = start(&["--max-connections-per-ip", "2"]).await;
    for (one, same_network, another) in [
        ("203.0.113.7", "203.0.113.7", "203.0.113.8"),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"),
    ] {
        let first = client(&gateway, one).await.expect("the first");
        let _second = client(&gateway, same_network).await.expect("the second");
        assert_eq!(client(&gateway, one).await.unwrap_err(), 429);
        assert_eq!(client(&gateway, same_network).await.unwrap_err(), 429);
        client(&gateway, another).await.expect("another network");
        // A connection that ends frees its place.
        drop(first);
        until("a place", async || client(&gateway, one).await.ok()).await;
    }

    let _held = (client(&gateway, "192.0.2.1").await.unwrap(), client(&gateway, "192.0.2.1").await.unwrap());
    let request = "Connection: Upgrade, close\r\n";
    let mut stream = TcpStream::connect(gateway.addr()).await.expect("a connection");
    let stream = &mut stream;
    let head = crate::support::http::HANDSHAKE.replace("Connection: Upgrade\r\n", request);
    let bytes = [header("192.0.2.1"), head.into_bytes(), b"\r\n".to_vec()].concat();
    tokio::io::AsyncWriteExt::write_all(stream, &bytes).await.unwrap();
    let refused = crate::support::http::read_to_end(stream).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "TOO_MANY_CONNECTIONS"));
    assert_eq!(
        refused.json()["message"],
        "Too many connections from your address: at most 2 at a time. Close another one first"
    );
    assert!(refused.header("Retry-After").unwrap().parse::<u32>().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_time() {
    let gateway = start(&["--connection-rate-limit", "3/10h"]).await;
    for address in ["203.0.113.7", "2001:db8:0:1::1"] {
        for _ in 0..3 {
            // The whole count may come at once, and going takes nothing back.
            client(&gateway, address).await.expect("one of the three");
        }
        assert_eq!(client(&gateway, address).await.unwrap_err(), 429);
    }
    assert_eq!(client(&gateway, "2001:db8:0:1:ffff::").await.unwrap_err(), 429);
    client(&gateway, "2001:db8:0:2::").await.expect("another network");

    let (mut stream, reply) = handshake(gateway.addr(), &header("203.0.113.7"), "").await;
    assert_eq!((reply.status, reply.header("Connection")), (429, Some("close")));
    let retry_after_s: u64 = reply.header("Retry-After").unwrap().parse().unwrap();
    assert!(
        (11_000..=12_000).contains(&retry_after_s),
        "{retry_after_s}: one is free again after 200 minutes"
    );
    let mut body = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut body).await.unwrap();
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["code"], "RATE_LIMIT_EXCEEDED");
    assert_eq!(body["message"], "Too many new connections from your address: at most 3 in 10 hours");
    assert_eq!(body["retryAfter"], retry_after_s);

    assert!(metric(&gateway, r#"ws_upgrades_refused_total{reason="connection_rate"} 4"#).await);
    assert!(metric(&gateway, r#"ws_upgrades_refused_total{reason="connections_per_ip"} 0"#).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn and_only_clients_count() {
    let gateway = start(&["--connection-rate-limit", "1/10h", "--max-connections-per-ip", "1"]).await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/health").await.status, 200);
        // Neither probes nor refused handshakes.
        assert_eq!(ask(gateway.addr(), "GET /ws HTTP/1.1\r\nHost: h\r\n").await.status, 426);
    }
    let _one = client(&gateway, "127.0.0.1").await.expect("the first client");
    assert_eq!(client(&gateway, "127.0.0.1").await.unwrap_err(), 429);
    assert_eq!(gateway.get("/health").await.status, 200);
    assert!(metric(&gateway, r#"ws_upgrades_refused_total{reason="handshake"} 20"#).await);
    assert!(metric(&gateway, r#"ws_upgrades_refused_total{reason="connections_per_ip"} 1"#).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_do_questions_for_last_events() {
    let gateway = start(&["--connection-rate-limit", "2/10h"]).await;
    let question = "GET /v1/last/AAPL HTTP/1.1\r\nHost: h\r\n";
    for status in [404, 404, 429] {
        assert_eq!(ask(gateway.addr(), question).await.status, status);
    }
    assert_eq!(client(&gateway, "127.0.0.1").await.unwrap_err(), 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn and_without_limits_everybody_comes_in() {
    let gateway = start(&[]).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(client(&gateway, "203.0.113.7").await.expect("no limit"));
    }
}

/// A limit holds however a handshake arrives: whole, or in parts that a task puts together.
#[tokio::test(flavor = "multi_thread")]
async fn however_the_handshake_arrives() {
    let gateway = start(&["--max-connections-per-ip", "1"]).await;
    let _first = client(&gateway, "203.0.113.7").await.expect("the first");
    let bytes = [header("203.0.113.7"), crate::support::http::HANDSHAKE.into(), b"\r\n".to_vec()].concat();
    let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
    for part in bytes.chunks(20) {
        tokio::io::AsyncWriteExt::write_all(&mut stream, part).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(read_head(&mut stream).await.status, 429);
}

/// Two ways lead to an answer, and a token may have to wait for its key in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_counts_once() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let server = KeyServer::start(Answer::Body(set(&[&old]))).await;
    let flags = server.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let gateway = start(&[&["--connection-rate-limit", "3/10h"], &flags[..]].concat()).await;
    let status = async |address: &str, token: &str| {
        let more = format!("Authorization: Bearer {token}\r\n");
        handshake(gateway.addr(), &header(address), &more).await.1.status
    };
    // A fetch that never ends, so that each of them waits.
    server.answers(Answer::Nothing);
    gateway.signal("HUP");
    until("the server to be asked", async || (server.asked() == 2).then_some(())).await;
    for (address, token) in [
        ("203.0.113.7", "a.b.c".to_owned()),
        ("203.0.113.8", old.token("u")),
        ("203.0.113.9", new.token("u")),
    ] {
        let statuses = futures_util::future::join_all((0..3).map(|_| status(address, &token))).await;
        assert!(statuses.iter().all(|status| [101, 401].contains(status)), "{statuses:?}");
        assert_eq!(status(address, &token).await, 429, "{address}");
    }
}
