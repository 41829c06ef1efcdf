//! A gateway starts with the settings that `docs/security.md` has for the internet, without a warning, and each of them does what the page
//! says of it. The page's lines on who can do what name tests that are there.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::KeyPair;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::http::{HANDSHAKE, Reply, ask, get, read_head};
use crate::support::process::Process;
use crate::support::tls::{self, Identity};
use crate::support::tokens::sign;
use crate::support::{Client, until};

const OPS_TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security.md");
    std::fs::read_to_string(path).expect("docs/security.md")
}

/// The block's settings.
fn block() -> Vec<(String, String)> {
    let page = page();
    let (_, section) = page.split_once("\n## A gateway on the internet\n").expect("the heading");
    let lines = section.lines().skip_while(|line| !line.starts_with("    "));
    let lines = lines.map_while(|line| line.strip_prefix("    "));
    let settings = lines.map(|line| line.split_once('=').expect("a setting"));
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The gateway with these settings, on files and ports of its own.
async fn start(identity: &Identity, public_key: &Path) -> Process {
    let mut command = Command::new("/usr/bin/env");
    for (name, value) in block() {
        let value = match name.as_str() {
            "TLS_CERT_FILE" => identity.certificate().display().to_string(),
            "TLS_KEY_FILE" => identity.key().display().to_string(),
            "JWT_PUBLIC_KEY_FILE" => public_key.display().to_string(),
            "OPS_PORT" => "0".to_owned(),
            // Its own broker takes the place of Redis.
            "REDIS_URL" => String::new(),
            "OPS_TOKEN" => OPS_TOKEN.to_owned(),
            _ => value,
        };
        command.arg(format!("{name}={value}"));
    }
    command.arg(env!("CARGO_BIN_EXE_ws-gateway"));
    Process::launch_ready(command, &["--embedded-redis-port", "0"]).await
}

/// A handshake under TLS with these lines.
async fn handshake(gateway: &Process, lines: &str) -> (Reply, Option<tls::SecureClient>) {
    shake_hands(gateway, HANDSHAKE, lines).await
}

/// The same with that head.
async fn shake_hands(gateway: &Process, head: &str, lines: &str) -> (Reply, Option<tls::SecureClient>) {
    let mut stream = tls::connect(gateway.addr()).await;
    stream.write_all(format!("{head}{lines}\r\n").as_bytes()).await.expect("the gateway reads");
    let reply = read_head(&mut stream).await;
    let client = match reply.status {
        101 => Some(Client::on_upgraded(stream).await),
        _ => None,
    };
    (reply, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_by_setting() {
    let (identity, pair) = (Identity::new(), KeyPair::generate().expect("a key"));
    let dir = tempfile::tempdir().expect("a directory");
    let public_key = dir.path().join("public.pem");
    std::fs::write(&public_key, pair.public_key_pem()).expect("the directory is ours");
    let gateway = start(&identity, &public_key).await;
    let operators = gateway.logs("Operator's port listening on ").await;
    let operators =
        operators.rsplit(' ').next().and_then(|address| address.parse().ok()).expect("an address");
    let warnings: Vec<_> =
        gateway.log.lock().unwrap().iter().filter(|line| line.contains("WARN")).cloned().collect();
    assert!(warnings.is_empty(), "{warnings:?}");

    let plain = get(gateway.addr(), "/health").await;
    assert_eq!(plain.status, 400, "plain HTTP");
    assert_eq!(tls::get(gateway.addr(), "/health", "").await.status, 200);
    assert_eq!(tls::get(gateway.addr(), "/stats", "").await.status, 404);
    assert_eq!(get(operators, "/metrics").await.status, 401);
    let head = format!("GET /metrics HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {OPS_TOKEN}\r\n");
    assert_eq!(ask(operators, &head).await.status, 200);

    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let of = |user: usize| sign(Algorithm::ES256, &key, json!({"sub": format!("user-{user}")}));
    let bearer_of = |user: usize| format!("Authorization: Bearer {}\r\n", of(user));
    only_known_clients_and_pages(&gateway, &of(0)).await;
    messages_are_bounded(&gateway, operators, &bearer_of(0)).await;
    connections_are_bounded(&gateway, bearer_of).await;
    so_is_how_often_they_come(&gateway, &bearer_of(0)).await;
}

/// `JWT_PUBLIC_KEY_FILE`, `AUTH_QUERY_TOKEN`, `ALLOWED_ORIGINS` and `PUBLIC_HOSTS`.
async fn only_known_clients_and_pages(gateway: &Process, token: &str) {
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let subscribe = json!({"action": "subscribe", "symbols": ["AAPL"]}).to_string();
    let page = "Origin: https://app.example.com\r\n";
    assert_eq!(handshake(gateway, "Origin: https://evil.example\r\n").await.0.status, 403);
    assert_eq!(handshake(gateway, "Authorization: Bearer a.b.c\r\n").await.0.status, 401);
    let mut stranger = handshake(gateway, page).await.1.expect("a page may come");
    stranger.send(&*subscribe).await;
    assert_eq!(stranger.json().await["code"], "UNAUTHORIZED");
    let mut client = handshake(gateway, &bearer).await.1.expect("a client with a token");
    client.send(&*subscribe).await;
    assert_eq!(client.json().await["type"], "success");

    let in_query = HANDSHAKE.replace("/ws", &format!("/ws?token={token}"));
    let mut client = shake_hands(gateway, &in_query, "").await.1.expect("somebody without a token");
    client.send(&*subscribe).await;
    assert_eq!(client.json().await["code"], "UNAUTHORIZED", "the query is not looked at");
    gateway.logs("which AUTH_QUERY_TOKEN=false does not take").await;

    // The gateway's own page, by the name that is told, and by one that somebody has made resolve to its address.
    let at = |host: &str| HANDSHAKE.replace("Host: h", &format!("Host: {host}\r\nOrigin: https://{host}"));
    assert_eq!(shake_hands(gateway, &at("prices.example.com"), "").await.0.status, 101);
    assert_eq!(shake_hands(gateway, &at("rebound.example.com"), "").await.0.status, 403);
}

/// `MESSAGE_WARN_SIZE`, `MESSAGE_RATE_LIMIT` and `MAX_MESSAGE_SIZE`.
async fn messages_are_bounded(gateway: &Process, operators: SocketAddr, bearer: &str) {
    let begun = Instant::now();
    let over_warn_size = async || {
        let head = format!("GET /stats HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {OPS_TOKEN}\r\n");
        ask(operators, &head).await.json()["messagesOverWarnSize"].clone()
    };
    let mut client = handshake(gateway, bearer).await.1.expect("a client with a token");
    for (bytes, counted) in [(4 * 1024, 0), (4 * 1024 + 1, 1)] {
        client.send(format!("{:<bytes$}", r#"{"action":"ping"}"#)).await;
        assert_eq!(client.json().await["type"], "pong");
        assert_eq!(over_warn_size().await, counted, "{bytes} bytes");
    }
    gateway.logs("larger than MESSAGE_WARN_SIZE").await;
    let mut answered = 2;
    let refused = loop {
        client.send(r#"{"action":"ping"}"#).await;
        let answer = client.json().await;
        if answer["type"] != "pong" {
            break answer;
        }
        answered += 1;
        assert!(answered < 1_000, "no end of 100 in a minute");
    };
    assert_eq!(refused["code"], "RATE_LIMIT_EXCEEDED");
    // One was the subscribe of this user's first client, and one comes back in 600 ms.
    let come_back = u64::try_from(begun.elapsed().as_millis() / 600).expect("a test that ends") + 1;
    assert!((99..=99 + come_back).contains(&answered), "{answered} of 100 in a minute");
    let mut large = handshake(gateway, bearer).await.1.expect("another");
    large.send(" ".repeat(16 * 1024 + 1)).await;
    assert_eq!(large.ending().await.expect("a close frame").0, 1009);
}

/// `MAX_CONNECTIONS_PER_USER` and `MAX_CONNECTIONS_PER_IP`.
async fn connections_are_bounded(gateway: &Process, bearer_of: impl Fn(usize) -> String) {
    let mut held = Vec::new();
    until("five clients of one user, and no more", async || {
        match handshake(gateway, &bearer_of(1)).await {
            (_, Some(client)) => held.push(client),
            (reply, None) => return (reply.status == 429 && held.len() >= 5).then_some(()),
        }
        None
    })
    .await;
    assert_eq!(held.len(), 5);
    until("twenty clients of one address, and no more", async || {
        match handshake(gateway, &bearer_of(1 + held.len())).await {
            (_, Some(client)) => held.push(client),
            (reply, None) => return (reply.status == 429 && held.len() >= 20).then_some(()),
        }
        None
    })
    .await;
    assert_eq!(held.len(), 20);
}

/// `CONNECTION_RATE_LIMIT`. Another address, which nothing else has come from, asks for last events: that counts as a connection does.
async fn so_is_how_often_they_come(gateway: &Process, bearer: &str) {
    let begun = Instant::now();
    let mut stream = tls::connect_from(Ipv4Addr::new(127, 0, 0, 9), gateway.addr()).await;
    let request = format!("HEAD /v1/last/AAPL HTTP/1.1\r\nHost: h\r\n{bearer}\r\n");
    let mut answered = 0;
    let refused = loop {
        stream.write_all(request.as_bytes()).await.expect("the gateway reads");
        let reply = read_head(&mut stream).await;
        if reply.status != 404 {
            break reply;
        }
        answered += 1;
        assert!(answered < 1_000, "no end of 100 in 15 minutes");
    };
    assert_eq!(refused.status, 429);
    // One comes back in 9 s.
    assert!(
        (1..=9).contains(&refused.header("Retry-After").expect("a time").parse::<u64>().expect("seconds"))
    );
    let most = 100 + begun.elapsed().as_secs() / 9 + 1;
    assert!((100..=most).contains(&answered), "{answered} of 100 in 15 minutes");
}

#[test]
fn and_who_can_do_what_is_shown_by_tests_that_are_there() {
    let page = page();
    let (_, section) = page.split_once("\n## Who can do what\n").expect("the heading");
    let (section, _) = section.split_once("\n## ").expect("another heading");
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| can")).collect();
    assert!(rows.len() > 20, "{}", rows.len());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").collect();
        let shown_by = cells.last().expect("a cell").split('`').skip(1).step_by(2);
        let tests: Vec<_> = shown_by.filter(|name| !name.ends_with('/')).collect();
        assert!(cells.len() == 3 && !tests.is_empty(), "{row}");
        for test in tests {
            let is_there = |place: &&str| root.join(place).join(format!("{test}.rs")).exists();
            assert!(["guarantees", "hostile"].iter().any(is_there), "{test} in {row}");
        }
    }
}
