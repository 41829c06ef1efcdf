//! Who holds the most places of connections that aren't upgraded gives one up to a newcomer, so a flood of silent connections from one
//! address ends its own, and an older silent connection of another address stays. Addresses count as they do for the limits by address.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use ws_gateway::config::Config;
use ws_gateway::http::Bounds;

use crate::support::http::{HANDSHAKE, is_closed, read_head, read_to_end};
use crate::support::http_server::Server;
use crate::support::introduced::{binary_header, header};
use crate::support::until;

const PLACES: usize = 8;
const FLOOD: usize = 40;
/// Of a request, so that the kernel hands the connection over at once and it waits for the rest.
const BEGUN: &[u8] = b"GET /health HTTP/1.1\r\n";
const REST: &[u8] = b"Host: h\r\nConnection: close\r\n\r\n";

/// That many places, and no time after which a silent peer would be cut.
fn patient() -> Bounds {
    let long = Duration::from_secs(3600);
    Bounds { handshake_timeout: long, idle_timeout: long, in_flight_max: PLACES }
}

/// A connection from one of loopback's addresses, on which this was sent.
async fn begun(gateway: SocketAddr, own: Ipv4Addr, bytes: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((own, 0).into()).expect("loopback's network is this machine's");
    let mut stream = socket.connect(gateway).await.expect("the gateway listens");
    stream.write_all(bytes).await.expect("the gateway reads");
    stream
}

async fn until_accepted(server: &Server, connections: usize) {
    let accepted = &server.state.metrics.control.accepted;
    until("connections to be accepted", async || (accepted.get() == connections as u64).then_some(())).await;
}

/// One peer is silent, then a flood comes, then a client whose handshake arrives in two parts. These three are numbered: `from` says from
/// which address each connects, `header` what it begins with, of the flood by its number therein.
async fn is_withstood(
    server: &mut Server,
    from: impl Fn(usize) -> Ipv4Addr,
    header: impl Fn(usize, usize) -> Vec<u8>,
) {
    let begin = |who: usize, n: usize, bytes: &[u8]| {
        let bytes = [&header(who, n)[..], bytes].concat();
        let (gateway, own) = (server.address, from(who));
        async move { begun(gateway, own, &bytes).await }
    };
    let mut silent = begin(0, 0, BEGUN).await;
    until_accepted(server, 1).await;
    let mut flood = Vec::new();
    for n in 0..FLOOD {
        flood.push(begin(1, n, BEGUN).await);
        until_accepted(server, n + 2).await;
    }
    let mut client = begin(2, 0, HANDSHAKE.as_bytes()).await;
    until_accepted(server, FLOOD + 2).await;
    client.write_all(b"\r\n").await.expect("the gateway reads");
    assert_eq!(read_head(&mut client).await.status, 101);
    assert!(server.clients.recv().await.is_some());
    silent.write_all(REST).await.expect("it is still connected");
    assert_eq!(read_to_end(&mut silent).await.status, 200);
    assert_eq!(server.state.metrics.control.http_evicted.get(), (FLOOD + 2 - PLACES) as u64);
}

#[tokio::test]
async fn by_the_peers_address() {
    let mut server = Server::with(&Config::for_tests(), patient());
    is_withstood(&mut server, |who| Ipv4Addr::new(127, 0, 0, 2 + who as u8), |_, _| Vec::new()).await;
}

/// All of them come from the proxy, and the flood from ever new addresses of one /64.
#[tokio::test]
async fn or_by_that_in_a_proxy_header() {
    let mut server = Server::with(&behind("127.0.0.1"), patient());
    let introduced = |who, n| match who {
        0 => header("192.0.2.1"),
        1 => binary_header(&format!("2001:db8::{:x}", n + 1)),
        _ => header("192.0.2.2"),
    };
    is_withstood(&mut server, |_| Ipv4Addr::LOCALHOST, introduced).await;
}

/// Two connections of one client, by proxies whose headers arrive in parts, are more than any other has.
#[tokio::test]
async fn also_once_that_has_arrived_in_parts() {
    let mut server = Server::with(&behind("127.0.0.0/8"), patient());
    let whole = header("192.0.2.1");
    let mut of_one = Vec::new();
    for proxy in 0..2 {
        let mut stream = begun(server.address, Ipv4Addr::new(127, 0, 0, 2 + proxy), &whole[..9]).await;
        until_accepted(&server, of_one.len() + 1).await;
        let request = b"HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n";
        stream.write_all(&[&whole[9..], request].concat()).await.expect("the gateway reads");
        assert_eq!(read_head(&mut stream).await.header("Connection"), None, "it may go on");
        of_one.push(stream);
    }
    let mut silent = Vec::new();
    for n in 2..PLACES {
        silent.push(begun(server.address, Ipv4Addr::new(127, 0, 1, n as u8), BEGUN).await);
        until_accepted(&server, n + 1).await;
    }
    let mut client = begun(server.address, Ipv4Addr::new(127, 0, 0, 9), HANDSHAKE.as_bytes()).await;
    until_accepted(&server, PLACES + 1).await;
    client.write_all(b"\r\n").await.expect("the gateway reads");
    assert_eq!(read_head(&mut client).await.status, 101);
    assert!(server.clients.recv().await.is_some());
    assert!(is_closed(&mut of_one[0]).await);
    silent[0].write_all(REST).await.expect("it is still connected");
    assert_eq!(read_to_end(&mut silent[0]).await.status, 200);
}

/// A gateway that believes PROXY headers from there.
fn behind(proxies: &str) -> Config {
    let args = ["ws-gateway", "--ws-host", "127.0.0.1", "--ws-port", "0", "--proxy-protocol"];
    let args = args.into_iter().chain(["--trusted-proxies", proxies]);
    Config::resolve(args, |_| None, None, 4_096).expect("a good configuration")
}
