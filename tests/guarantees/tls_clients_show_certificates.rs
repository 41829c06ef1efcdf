//! With `TLS_CLIENT_CA_FILE` nobody gets further than the TLS handshake without a certificate that one of its authorities has
//! signed, whether new or resumed. Probes and scrapers have a port of their own.

use std::fs;
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;
use ws_gateway::tls::unchecked_client;

use crate::support::process::Process;
use crate::support::settings::{refusal, resolve};
use crate::support::tls::{self, Authority, Identity};
use crate::support::tokens::{self, SECRET};
use crate::support::{Client, Redis};

#[tokio::test(flavor = "multi_thread")]
async fn one_that_an_authority_has_signed() {
    let (redis, identity, files) = (Redis::start().await, Identity::new(), TempDir::new().unwrap());
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let ca_file = files.path().join("ca.pem");
    fs::write(&ca_file, authority.pem()).unwrap();
    let flags = identity.flags();
    let flags = flags.each_ref().map(String::as_str);
    let ca_flag = ca_file.display().to_string();
    let more =
        ["--tls-client-ca-file", &ca_flag, "--ops-port", "0", "--allowed-origins", "https://app.example.com"];
    let gateway = Process::on(&redis, &[&flags[..], &more].concat()).await;
    let addr = gateway.addr();

    let member = authority.client();
    assert!(tls::takes(addr, Arc::clone(&member)).await);
    assert!(tls::takes(addr, Arc::clone(&member)).await, "resumed");
    assert!(!tls::takes(addr, unchecked_client().unwrap()).await, "one without a certificate");
    assert!(!tls::takes(addr, other.client()).await, "one of another authority");
    let stream = tls::shake_hands(Arc::clone(&member), addr, None).await;
    let mut client = Client::on(stream, &format!("wss://localhost:{}/ws", addr.port())).await;
    client.subscribe(&["AAPL"]).await;

    // Who has gone from the file is out, also with a ticket from before; who is connected stays.
    fs::write(&ca_file, other.pem()).unwrap();
    gateway.signal("HUP");
    gateway.logs("the certificate was read again, and new clients get it").await;
    assert!(!tls::takes(addr, member).await);
    assert!(tls::takes(addr, other.client()).await);
    redis.publisher().await.numbered("AAPL", 1).await;
    client.gets("AAPL", 1).await;
    fs::write(&ca_file, "nobody").unwrap();
    gateway.signal("HUP");
    let line = gateway.logs("the certificate in use stays").await;
    assert!(line.contains("TLS_CLIENT_CA_FILE") && line.contains("it holds no certificate"), "{line}");
}

/// A certificate opens the port, and says nothing of who the client is.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_one_still_has_to_say_who_it_is() {
    let (redis, identity, files) = (Redis::start().await, Identity::new(), TempDir::new().unwrap());
    let (authority, ca_file) = (Authority::new("one"), files.path().join("ca.pem"));
    fs::write(&ca_file, authority.pem()).unwrap();
    let (flags, ca_flag) = (identity.flags(), ca_file.display().to_string());
    let flags = flags.each_ref().map(String::as_str);
    let more = [
        "--tls-client-ca-file",
        &ca_flag,
        "--ops-port",
        "0",
        "--allowed-origins",
        "https://app.example.com",
        "--jwt-secret-key",
        SECRET,
    ];
    let gateway = Process::on(&redis, &[&flags[..], &more].concat()).await;
    let addr = gateway.addr();
    let stream = tls::shake_hands(authority.client(), addr, None).await;
    let mut client = Client::on(stream, &format!("wss://localhost:{}/ws", addr.port())).await;
    client.send(json!({"action": "subscribe", "symbols": ["AAPL"]}).to_string()).await;
    assert_eq!(client.json().await["code"], "UNAUTHORIZED");
    let token = tokens::token(json!({"sub": "alice"}));
    client.send(json!({"action": "auth", "token": token}).to_string()).await;
    assert_eq!(client.json().await["data"]["user"], "alice");
    client.subscribe(&["AAPL"]).await;
}

#[test]
fn and_it_stands_beside_settings_that_go_with_it() {
    let identity = Identity::new();
    let pair = [identity.certificate(), identity.key()].map(|file| file.display().to_string());
    let all = [
        ("TLS_CLIENT_CA_FILE", &pair[0][..]),
        ("TLS_CERT_FILE", &pair[0]),
        ("TLS_KEY_FILE", &pair[1]),
        ("OPS_PORT", "9090"),
        ("ALLOWED_ORIGINS", "https://app.example.com"),
    ];
    resolve(&[], &all).unwrap();
    for missing in ["OPS_PORT", "ALLOWED_ORIGINS"] {
        let rest: Vec<_> = all.into_iter().filter(|(name, _)| *name != missing).collect();
        let line = refusal(&[], &rest);
        assert!(line.starts_with("TLS_CLIENT_CA_FILE: ") && line.contains(missing), "{line}");
    }
    let line = refusal(&[], &[all[0], all[3], all[4]]);
    assert!(line.starts_with("TLS_CLIENT_CA_FILE: ") && line.contains("TLS_CERT_FILE"), "{line}");
}
