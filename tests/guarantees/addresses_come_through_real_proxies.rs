//! Real proxies name their clients so that the gateway knows them: nginx in X-Forwarded-For, with the configuration that is shipped, and
//! HAProxy in PROXY headers of both versions, TLS included.

use std::net::SocketAddr;

use crate::support::haproxy::HaProxy;
use crate::support::http::HANDSHAKE;
use crate::support::introduced::handshake;
use crate::support::nginx::Nginx;
use crate::support::process::Process;
use crate::support::tls::Identity;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

const LIMIT: [&str; 6] =
    ["--embedded-redis-port", "0", "--max-connections-per-ip", "1", "--trusted-proxies", "127.0.0.1"];

/// A connection from one of loopback's other addresses.
async fn bound(proxy: SocketAddr, own: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(format!("{own}:0").parse().expect("an address"))
        .expect("loopback's network is this machine's");
    socket.connect(proxy).await.expect("the proxy listens")
}

/// A client on one of loopback's other addresses, and the status of its handshake.
async fn client(proxy: SocketAddr, own: &str, more: &str) -> (TcpStream, u16) {
    let mut stream = bound(proxy, own).await;
    let request = [HANDSHAKE, more, "\r\n"].concat();
    stream.write_all(request.as_bytes()).await.expect("the proxy reads");
    let status = crate::support::http::read_head(&mut stream).await.status;
    (stream, status)
}

/// Each of two clients counts by itself; a third that claims to be another is known as what it is.
async fn are_told_apart(gateway: &Process, proxy: SocketAddr) {
    let (_first, status) = client(proxy, "127.0.0.2", "").await;
    assert_eq!(status, 101);
    let (_second, status) = client(proxy, "127.0.0.3", "").await;
    assert_eq!(status, 101);
    let claim = "X-Forwarded-For: 203.0.113.1\r\nX-Real-IP: 203.0.113.1\r\n";
    for lines in ["", claim] {
        let (_again, status) = client(proxy, "127.0.0.2", lines).await;
        assert_eq!(status, 429, "{lines}");
    }
    // The proxies' own address has a place of its own.
    let (_direct, reply) = handshake(gateway.addr(), b"", "").await;
    assert_eq!(reply.status, 101);
    assert!(!gateway.has_logged("TRUSTED_PROXIES"), "{:?}", gateway.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn through_nginx() {
    let gateway = Process::start(&LIMIT).await;
    let nginx = Nginx::before(&[gateway.addr()]).await;
    are_told_apart(&gateway, nginx.addr()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_haproxy() {
    for send in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"] {
        let gateway = Process::start(&[&LIMIT[..], &["--proxy-protocol"]].concat()).await;
        let haproxy = HaProxy::before(gateway.addr(), send).await;
        are_told_apart(&gateway, haproxy.addr()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_haproxy_that_leaves_tls_to_the_gateway() {
    let identity = Identity::new();
    let flags = identity.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let gateway = Process::start(&[&LIMIT[..], &["--proxy-protocol"], &flags].concat()).await;
    for send in ["send-proxy", "send-proxy-v2"] {
        let haproxy = HaProxy::before(gateway.addr(), send).await;
        for address in [haproxy.addr(), gateway.addr()] {
            let asked = tokio::task::spawn_blocking(move || ws_gateway::healthcheck::ask(address, true));
            let body = asked.await.expect("no panic").expect("health under TLS");
            assert!(body.starts_with("{\"status\":\"ok\""), "{body}");
        }
    }
}

/// The configuration in docs/deployment.md: clients are told apart, and a gateway is checked as the page says: one that has gone is noticed, and
/// one that is there isn't taken for gone.
#[tokio::test(flavor = "multi_thread")]
async fn through_haproxy_as_the_page_configures_it() {
    let identity = Identity::new();
    let flags = identity.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let own = [&LIMIT[..], &["--proxy-protocol"], &flags].concat();
    let [stays, goes] = [Process::start(&own).await, Process::start(&own).await];
    let haproxy = HaProxy::of_the_page([stays.addr(), goes.addr()]).await;
    let mut clients = Vec::new();
    // Of four on two gateways two are on one, which takes one of each address.
    for own in ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"] {
        let config = ws_gateway::tls::unchecked_client().expect("a configuration");
        let name = "localhost".try_into().expect("a name");
        let stream = bound(haproxy.addr(), own).await;
        let mut stream = TlsConnector::from(config).connect(name, stream).await.expect("TLS");
        stream.write_all(format!("{HANDSHAKE}\r\n").as_bytes()).await.expect("the proxy reads");
        assert_eq!(crate::support::http::read_head(&mut stream).await.status, 101, "{own}");
        clients.push(stream);
    }
    drop(goes);
    haproxy.child.logs("gateway/gateway2 is DOWN").await;
    let log = haproxy.child.log.lock().unwrap();
    assert!(!log.iter().any(|line| line.contains("gateway1 is DOWN")), "{log:?}");
}
