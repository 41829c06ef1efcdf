//! Behind a proxy a client counts by its own address, if the proxy is trusted: by the PROXY header, by the rightmost untrusted address of
//! X-Forwarded-For, or by X-Real-IP. Nobody else's word counts.

use crate::support::http::{HANDSHAKE, ask, get, read_to_end};
use crate::support::introduced::{binary_header, handshake, header};
use crate::support::process::Process;
use crate::support::tls::Identity;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const LIMIT: [&str; 4] = ["--embedded-redis-port", "0", "--max-connections-per-ip", "1"];

async fn start(more: &[&str]) -> Process {
    Process::start(&[&LIMIT, more].concat()).await
}

/// The clients of a test; each stays until the end.
#[derive(Default)]
struct Clients(Vec<TcpStream>);

impl Clients {
    /// The status of a handshake behind these bytes with these header lines.
    async fn status(&mut self, gateway: &Process, first: &[u8], lines: &str) -> u16 {
        let (stream, reply) = handshake(gateway.addr(), first, lines).await;
        self.0.push(stream);
        reply.status
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_header_of_a_trusted_proxy() {
    let gateway = start(&["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8", "--proxy-protocol"]).await;
    let mut clients = Clients::default();
    for (address, make) in [
        ("203.0.113.1", header as fn(&str) -> Vec<u8>),
        ("203.0.113.2", binary_header),
        ("2001:db8::1", header),
        ("2001:db8:1::1", binary_header),
    ] {
        assert_eq!(clients.status(&gateway, &make(address), "").await, 101, "{address}");
        for again in [header(address), binary_header(address)] {
            assert_eq!(clients.status(&gateway, &again, "").await, 429, "{address}");
        }
    }
    // Without a header it counts as itself: as a health check, or as a client on this machine.
    assert_eq!(clients.status(&gateway, b"", "").await, 101);
    assert_eq!(clients.status(&gateway, b"PROXY UNKNOWN\r\n", "").await, 429);
    assert_eq!(get(gateway.addr(), "/health").await.status, 200);
    // An address that is trusted as well sends for others.
    let forwarded = |address| format!("X-Forwarded-For: 203.0.113.1, {address}, 10.9.9.9\r\n");
    assert_eq!(clients.status(&gateway, &header("10.1.1.1"), &forwarded("203.0.113.3")).await, 101);
    assert_eq!(clients.status(&gateway, &header("10.2.2.2"), &forwarded("203.0.113.3")).await, 429);
    // One that isn't sends for itself alone.
    assert_eq!(clients.status(&gateway, &header("203.0.113.3"), &forwarded("203.0.113.4")).await, 429);
    assert!(!gateway.has_logged("not in TRUSTED_PROXIES: it is answered 400"));
}

/// A header of version 2 with that command and family, and these bytes behind its fixed part.
fn binary_of(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &length, rest].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_else_the_header_carries() {
    const PROXY: u8 = 0x21;
    const LOCAL: u8 = 0x20;
    let gateway = start(&["--trusted-proxies", "127.0.0.1", "--proxy-protocol"]).await;
    let mut clients = Clients::default();
    let addresses = |last: u8| [203, 0, 113, last, 10, 0, 0, 1, 1, 2, 3, 4];
    let with = |last: u8, more: &[u8]| binary_of(PROXY, 0x11, &[&addresses(last), more].concat());
    // Behind the addresses stand fields of a type, a length and a value each: none, one that is empty, one of nothing but padding, one that is
    // not known, another client's address, TLS with its own within, one that is longer than the header, one that has no length.
    let names: &[u8] = &[0x02, 0, 11];
    for (last, more) in [
        (1, &[][..]),
        (2, &[0x01, 0, 0]),
        (3, &[&[0x04, 1, 0][..], &[0; 256]].concat()),
        (4, &[0xe7, 0, 3, 1, 2, 3]),
        (5, &[names, b"203.0.113.9"].concat()),
        (6, &[0x20, 0, 13, 7, 0, 0, 0, 0, 0x21, 0, 5, 0x54, 0x4c, 0x53, 0x76, 0x31]),
        (7, &[0x04, 0xff, 0xff, 0]),
        (8, &[0x04]),
    ] {
        assert_eq!(clients.status(&gateway, &with(last, more), "").await, 101, "{more:?}");
        let again = header(&format!("203.0.113.{last}"));
        assert_eq!(clients.status(&gateway, &again, "").await, 429, "{more:?}");
    }
    assert_eq!(clients.status(&gateway, &header("203.0.113.9"), "").await, 101, "nobody was taken for it");
    // What is of no TCP connection of a client counts as the proxy itself.
    assert_eq!(clients.status(&gateway, &binary_of(LOCAL, 0x11, &addresses(10)), "").await, 101);
    for other in [
        binary_of(LOCAL, 0, &[]),
        binary_of(PROXY, 0x00, &addresses(11)),
        binary_of(PROXY, 0x12, &addresses(12)),
        binary_of(PROXY, 0x31, &[7; 216]),
    ] {
        assert_eq!(clients.status(&gateway, &other, "").await, 429, "{other:?}");
    }
    // Only the first one is the proxy's: a client that writes one of its own behind it is no better off.
    for second in [header("203.0.113.20"), binary_header("203.0.113.20")] {
        let both = [header("203.0.113.21"), second].concat();
        assert_eq!(clients.status(&gateway, &both, "").await, 400, "{both:?}");
    }
    assert_eq!(clients.status(&gateway, &header("203.0.113.20"), "").await, 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn and_a_header_from_anybody_else_is_answered_400() {
    for trusted in [&[][..], &["--trusted-proxies", "192.0.2.1"]] {
        let gateway = start(&[trusted, &["--proxy-protocol"]].concat()).await;
        for first in [header("203.0.113.1"), binary_header("203.0.113.1")] {
            for behind in ["GET /health HTTP/1.1\r\nHost: h\r\n\r\n", ""] {
                let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
                stream.write_all(&[&first, behind.as_bytes()].concat()).await.unwrap();
                let refused = read_to_end(&mut stream).await;
                assert_eq!((refused.status, refused.code().as_str()), (400, "INVALID_INPUT"));
                assert!(
                    refused.body.contains("A PROXY header from 127.0.0.1, which is not in TRUSTED_PROXIES")
                );
            }
        }
        // Without one it is a client like any other.
        assert_eq!(Clients::default().status(&gateway, b"", "").await, 101);
        let metrics = gateway.get("/metrics").await.body;
        assert!(metrics.contains(r#"ws_upgrades_refused_total{reason="proxy_header"} 4"#), "{metrics}");
        gateway.logs("it is answered 400").await;
        assert_eq!(gateway.times_logged("it is answered 400"), 1);
    }
    let gateway = start(&["--trusted-proxies", "127.0.0.1"]).await;
    let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
    let request = [header("203.0.113.1"), b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()].concat();
    stream.write_all(&request).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await.status, 400, "PROXY_PROTOCOL is off");
}

#[tokio::test(flavor = "multi_thread")]
async fn and_what_is_no_header_is_answered_400() {
    let gateway = start(&["--trusted-proxies", "127.0.0.1", "--proxy-protocol"]).await;
    let long = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x21, 0x11, 0xff, 0xff]].concat();
    let lying = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x21, 0x11, 0, 4, 1, 2, 3, 4]].concat();
    for bytes in
        [&b"PROXY TCP4 1.2.3.4.5 1.1.1.1 1 1\r\n"[..], b"PROXY TCP9 1.1.1.1 1.1.1.1 1 1\r\n", &long, &lying]
    {
        let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let refused = read_to_end(&mut stream).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "INVALID_INPUT"), "{bytes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn and_a_header_may_come_in_parts() {
    let gateway = start(&["--trusted-proxies", "127.0.0.1", "--proxy-protocol"]).await;
    let mut held = Vec::new();
    for first in [header("203.0.113.1"), binary_header("203.0.113.2")] {
        for cut in [1, 5, 13, first.len() - 1, first.len()] {
            let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
            stream.set_nodelay(true).unwrap();
            stream.write_all(&first[..cut]).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let rest = [&first[cut..], HANDSHAKE.as_bytes(), b"\r\n"].concat();
            stream.write_all(&rest).await.unwrap();
            let expected = if cut == 1 { 101 } else { 429 };
            assert_eq!(crate::support::http::read_head(&mut stream).await.status, expected, "cut at {cut}");
            held.push(stream);
        }
    }
    // Whoever begins a header and goes, or stays, takes nobody's place.
    let mut gone = TcpStream::connect(gateway.addr()).await.unwrap();
    gone.write_all(b"PROXY").await.unwrap();
    gone.shutdown().await.unwrap();
    assert!(crate::support::http::is_closed(&mut gone).await);
    let mut stays = TcpStream::connect(gateway.addr()).await.unwrap();
    stays.write_all(b"PROXY TCP4 ").await.unwrap();
    assert!(crate::support::http::is_closed(&mut stays).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn and_the_header_stands_before_tls() {
    let identity = Identity::new();
    let flags = identity.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let gateway =
        start(&[&["--trusted-proxies", "127.0.0.1", "--proxy-protocol"], &flags[..]].concat()).await;
    // In plain text behind the header: it is TLS that is expected there.
    let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
    let request = [header("203.0.113.1"), b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()].concat();
    stream.write_all(&request).await.unwrap();
    let refused = read_to_end(&mut stream).await;
    assert!(refused.status == 400 && refused.body.contains("This port speaks TLS"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_what_a_trusted_proxy_forwards() {
    let gateway = start(&["--trusted-proxies", "127.0.0.1,10.0.0.0/8"]).await;
    let mut clients = Clients::default();
    for (lines, expected) in [
        ("X-Forwarded-For: 203.0.113.1\r\n", 101),
        ("X-Forwarded-For: 203.0.113.2, 203.0.113.1\r\n", 429),
        ("X-Forwarded-For: 203.0.113.1, 203.0.113.2, 10.1.1.1\r\n", 101),
        ("X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-For: 203.0.113.3\r\nX-Real-IP: 203.0.113.1\r\n", 101),
        ("X-Real-IP: 203.0.113.4\r\n", 101),
        ("X-Forwarded-For: 10.2.2.2\r\nX-Real-IP: 203.0.113.4\r\n", 429),
        ("X-Forwarded-For: 203.0.113.1, 2001:db8::1\r\n", 101),
        ("X-Forwarded-For: 203.0.113.5, [2001:db8::2]:4711\r\n", 429),
        ("X-Forwarded-For: 203.0.113.6, unknown\r\n", 101),
        ("", 429),
    ] {
        assert_eq!(clients.status(&gateway, b"", lines).await, expected, "{lines}");
    }
    assert!(!gateway.has_logged("TRUSTED_PROXIES"));
}

#[tokio::test(flavor = "multi_thread")]
async fn and_others_forward_in_vain_which_is_told_once() {
    let gateway = start(&[]).await;
    let mut clients = Clients::default();
    assert_eq!(clients.status(&gateway, b"", "X-Forwarded-For: 203.0.113.1\r\n").await, 101);
    assert_eq!(clients.status(&gateway, b"", "X-Forwarded-For: 203.0.113.2\r\n").await, 429);
    assert_eq!(clients.status(&gateway, b"", "X-Real-IP: 203.0.113.3\r\n").await, 429);
    let line = gateway.logs("not in TRUSTED_PROXIES").await;
    assert!(line.contains("WARN") && line.contains("address=127.0.0.1"), "{line}");
    assert_eq!(gateway.times_logged("TRUSTED_PROXIES"), 1);

    let unlimited = Process::start(&["--embedded-redis-port", "0"]).await;
    assert_eq!(clients.status(&unlimited, b"", "X-Forwarded-For: 203.0.113.1\r\n").await, 101);
    assert_eq!(ask(unlimited.addr(), "GET /health HTTP/1.1\r\nHost: h\r\n").await.status, 200);
    assert!(!unlimited.has_logged("TRUSTED_PROXIES"));
}
