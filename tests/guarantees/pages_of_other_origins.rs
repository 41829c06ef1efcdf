//! Web pages of other origins may connect and read answers if ALLOWED_ORIGINS covers their origin, and only then.

use crate::support::http::{HANDSHAKE, Reply, ask};
use crate::support::process::Process;

/// The gateway's answer to a request head with that origin.
async fn answer(gateway: &Process, head: &str, origin: &str) -> Reply {
    ask(gateway.addr(), &format!("{head}Origin: {origin}\r\n")).await
}

async fn allowing(origins: &str) -> Process {
    Process::start(&["--embedded-redis-port", "0", "--allowed-origins", origins]).await
}

/// The status of a handshake; its connection ends with the answer.
async fn handshake(gateway: &Process, origin: &str) -> Reply {
    use tokio::io::AsyncWriteExt;
    let mut stream = tokio::net::TcpStream::connect(gateway.addr()).await.expect("the gateway listens");
    let request = format!("{HANDSHAKE}Origin: {origin}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the request is taken");
    crate::support::http::read_head(&mut stream).await
}

const COVERED: [&str; 6] = [
    "https://app.example.com",
    "https://a.example.org",
    "https://b.a.example.org",
    "file://",
    "null",
    "capacitor://localhost",
];
const FOREIGN: [&str; 4] =
    ["https://evil.example", "https://example.org", "https://evilexample.org", "http://a.example.org"];
const SETTING: &str = "https://app.example.com,https://*.example.org,file://,null,capacitor://localhost";

#[tokio::test(flavor = "multi_thread")]
async fn connect_if_their_origin_is_covered() {
    let gateway = allowing(SETTING).await;
    for origin in COVERED {
        assert_eq!(handshake(&gateway, origin).await.status, 101, "{origin}");
    }
    for origin in FOREIGN {
        let refused = answer(
            &gateway,
            &HANDSHAKE.replace("Connection: Upgrade\r\n", "Connection: Upgrade, close\r\n"),
            origin,
        )
        .await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "FORBIDDEN"), "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn read_answers_if_their_origin_is_covered() {
    let gateway = allowing(SETTING).await;
    for path in
        ["/", "/live.js", "/health", "/ws/health", "/ready", "/stats", "/metrics", "/v1/last/A", "/nothing"]
    {
        for method in ["GET", "HEAD", "OPTIONS"] {
            let head = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n");
            for origin in COVERED {
                let reply = answer(&gateway, &head, origin).await;
                assert_eq!(reply.header("Access-Control-Allow-Origin"), Some(origin), "{head}");
                assert_eq!(reply.header("Vary"), Some("Origin"), "{head}");
            }
            for origin in FOREIGN {
                let reply = answer(&gateway, &head, origin).await;
                assert_eq!(reply.header("Access-Control-Allow-Origin"), None, "{head}{origin}");
                assert_eq!(reply.header("Vary"), Some("Origin"), "{head}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn find_every_door_open_where_nothing_is_set() {
    let gateway = Process::start(&["--embedded-redis-port", "0"]).await;
    let origin = "https://anywhere.example";
    assert_eq!(handshake(&gateway, origin).await.status, 101);
    let reply = answer(&gateway, "GET /health HTTP/1.1\r\nHost: h\r\n", origin).await;
    assert_eq!(reply.header("Access-Control-Allow-Origin"), Some(origin));
}
