//! Peers that are silent, slow or greedy, however many, take nothing from others, and are disconnected in bounded time.

use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::time::Duration;

use crate::support::http::{HANDSHAKE, get, is_closed, read_head, read_to_end};
use crate::support::http_server::{Server, socket_of};
use crate::support::{PATIENCE, ReservedPort, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use ws_gateway::config::{Config, raise_open_file_limit};
use ws_gateway::http::{Bounds, bind};

fn impatient() -> Bounds {
    let short = Duration::from_millis(100);
    Bounds { handshake_timeout: short, idle_timeout: short, ..Bounds::default() }
}

#[tokio::test]
async fn a_half_open_handshake_is_cut() {
    let mut server = Server::with(&Config::for_tests(), impatient());
    let mut silent = server.connect().await;
    let mut half = server.connect().await;
    half.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    assert!(is_closed(&mut silent).await);
    assert!(is_closed(&mut half).await);
    assert!(server.clients.try_recv().is_err());
    assert_eq!(server.admission.open(), 0);
}

/// Each byte that trickles in would restart a timer that only watches for silence.
#[tokio::test]
async fn a_header_that_trickles_in_is_cut() {
    let server = Server::with(&Config::for_tests(), impatient());
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n").await.unwrap();
    let mut every_ms = tokio::time::interval(Duration::from_millis(1));
    while stream.write_all(b"X").await.is_ok() {
        every_ms.tick().await;
    }
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn an_idle_kept_alive_connection_is_closed() {
    let server = Server::with(&Config::for_tests(), impatient());
    let mut stream = server.connect().await;
    stream.write_all(b"HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    read_head(&mut stream).await;
    assert!(is_closed(&mut stream).await);
}

/// The peer asks and asks but reads nothing: once our answers fill the socket, no new request begins.
#[tokio::test]
async fn a_peer_that_reads_no_answers_is_cut() {
    let server = Server::with(&Config::for_tests(), impatient());
    let mut stream = server.connect().await;
    let requests = "GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100);
    // More than all buffers between the two hold: a gateway that went on reading would take all of it.
    let asking = async {
        for _ in 0..64 * 1024 * 1024 / requests.len() {
            stream.write_all(requests.as_bytes()).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let cut = timeout(PATIENCE, asking).await.expect("cut in bounded time").expect_err("cut, not read on");
    assert!(matches!(cut.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{cut}");
}

#[tokio::test]
async fn oversized_headers_are_answered_431() {
    let server = Server::start();
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n", "x".repeat(40_000));
    assert_eq!(server.ask(&long).await.status, 431);
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}", "X: y\r\n".repeat(70));
    assert_eq!(server.ask(&many).await.status, 431);
    let fitting = format!("GET /health HTTP/1.1\r\nHost: h\r\nX: {}\r\n", "x".repeat(8_000));
    assert_eq!(server.ask(&fitting).await.status, 200);
}

#[tokio::test]
async fn bytes_that_are_not_http_are_answered_400() {
    let server = Server::start();
    let mut stream = server.connect().await;
    stream.write_all(b"\x16\x03\x01 nonsense\r\n\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await.status, 400);
}

/// As many as that, without a time after which they would be cut.
fn patient(in_flight_max: usize) -> Bounds {
    let long = Duration::from_secs(3600);
    Bounds { handshake_timeout: long, idle_timeout: long, in_flight_max }
}

/// The bound holds, and who comes beyond it gets the place of the connection that has been silent longest.
#[tokio::test]
async fn the_oldest_silent_connection_makes_room() {
    let mut server = Server::with(&Config::for_tests(), patient(4));
    // The kernel keeps a silent connection for a second, so the oldest is the first that the gateway has accepted.
    let mut silent = vec![server.connect().await];
    until_accepted(&server, 1).await;
    for _ in 1..4 {
        silent.push(server.connect().await);
    }
    silent[1].write_all(b"GET /health HTTP/1.1\r\n").await.unwrap();
    let mut waiting = silent.split_off(1);
    until_accepted(&server, 4).await;

    assert_eq!(server.get("/health").await.status, 200);
    assert!(is_closed(&mut silent[0]).await);
    assert_eq!(server.state.metrics.control.http_evicted.get(), 1);
    // The answered one has gone by itself; the next newcomers need no place, or find that one free.
    let (_client, reply) = server.handshake("").await;
    assert_eq!(reply.status, 101);
    assert!(server.clients.recv().await.is_some());
    for stream in waiting.iter_mut().rev() {
        stream.write_all(b"Host: h\r\n").await.unwrap();
    }
    waiting[0].write_all(b"Connection: close\r\n\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut waiting[0]).await.status, 200, "half a request, and not the oldest");
}

/// More than there are places, as a scanner or a broken balancer opens them.
#[tokio::test]
async fn a_thousand_silent_connections_keep_no_client_out() {
    // Both ends of them are in this process.
    raise_open_file_limit();
    let places = Bounds::default().in_flight_max;
    let mut server = Server::with(&Config::for_tests(), patient(places));
    let mut silent = Vec::new();
    for _ in 0..places + 76 {
        silent.push(server.connect().await);
    }
    until_accepted(&server, silent.len() as u64).await;
    // It arrives in two parts, so that it needs a place.
    let mut client = server.connect().await;
    client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    until_accepted(&server, silent.len() as u64 + 1).await;
    client.write_all(b"\r\n").await.unwrap();
    assert_eq!(read_head(&mut client).await.status, 101);
    assert!(server.clients.recv().await.is_some());
    assert_eq!(server.state.metrics.control.http_evicted.get(), 77);
    let is_over = |stream: &TcpStream| !matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    until("77 of them to be closed", async || {
        let over = silent.iter().filter(|stream| is_over(stream)).count();
        (over == 77).then_some(())
    })
    .await;
}

async fn until_accepted(server: &Server, connections: u64) {
    let accepted = &server.state.metrics.control.accepted;
    until("connections to be accepted", async || (accepted.get() == connections).then_some(())).await;
}

/// Nobody keeps a place for later that others wait for.
#[tokio::test]
async fn where_places_are_few_a_connection_is_closed_after_its_answer() {
    let server = Server::with(&Config::for_tests(), patient(1));
    let mut stream = server.connect().await;
    stream.write_all(b"HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let reply = read_to_end(&mut stream).await;
    assert_eq!((reply.status, reply.header("Connection")), (200, Some("close")));
}

/// A client that is refused and stays keeps neither its place nor its descriptor.
#[tokio::test]
async fn a_refused_client_is_disconnected() {
    let mut config = Config::for_tests();
    config.server.max_connections = 1;
    let server = Server::with(&config, patient(4));
    let (_first, _) = server.handshake("").await;
    let mut refused = server.connect().await;
    refused.write_all(format!("{HANDSHAKE}\r\n").as_bytes()).await.unwrap();
    let reply = read_to_end(&mut refused).await;
    assert_eq!((reply.status, reply.header("Connection")), (503, Some("close")));
}

#[tokio::test]
async fn an_upgraded_client_frees_its_place_in_flight() {
    let mut server = Server::with(&Config::for_tests(), Bounds { in_flight_max: 1, ..Bounds::default() });
    let mut clients = Vec::new();
    for _ in 0..5 {
        let (stream, reply) = server.handshake("").await;
        assert_eq!(reply.status, 101);
        clients.push((stream, server.clients.recv().await.unwrap()));
    }
    assert_eq!(server.admission.open(), 5);
}

#[tokio::test]
async fn stopping_ends_the_listener_and_idle_connections_but_not_clients() {
    let port = ReservedPort::new();
    let mut server = on(&port);
    let (mut client, _) = server.handshake("").await;
    let adopted = server.clients.recv().await.unwrap();
    let mut idle = server.connect().await;
    idle.write_all(b"HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    read_head(&mut idle).await;

    server.stop.cancel();
    server.served.await.unwrap();
    assert!(is_closed(&mut idle).await);
    assert!(TcpStream::connect(server.address).await.is_err());
    (&socket_of(&adopted)).write_all(b"x").unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'x', "the client is the data path's");
}

/// As where a gateway is dropped without a drain, or its start fails later on.
#[tokio::test]
async fn a_listener_that_nobody_waits_for_gives_its_port_back() {
    let port = ReservedPort::new();
    on(&port).served.abort();
    until("the port to be free", async || bind(port.addr()).is_ok().then_some(())).await;
}

/// A server on that port.
fn on(port: &ReservedPort) -> Server {
    let mut config = Config::for_tests();
    config.server.listen = port.addr();
    Server::with(&config, Bounds::default())
}

#[tokio::test]
async fn the_error_of_a_taken_port_says_so() {
    let server = Server::start();
    let error = bind(server.address).unwrap_err().to_string();
    assert!(error.contains(&server.address.to_string()) && error.contains("WS_PORT"), "{error}");
    let error = bind("192.0.2.1:0".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("WS_HOST"), "{error}");
}

#[tokio::test]
async fn an_unspecified_ipv6_address_accepts_ipv4_too() {
    let any: std::net::SocketAddr = "[::]:0".parse().unwrap();
    let mut config = Config::for_tests();
    config.server.listen = any;
    let server = Server::with(&config, Bounds::default());
    for host in ["127.0.0.1", "::1"] {
        let address = (host.parse::<IpAddr>().unwrap(), server.address.port()).into();
        assert_eq!(get(address, "/health").await.status, 200, "{host}");
    }
}
