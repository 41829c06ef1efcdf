//! A handshake has the same answer and loses nothing, however its bytes arrive: whole or in pieces, alone or behind other
//! requests, with frames behind it, one at a time or many at once.

use std::io::{Read, Write};

use crate::support::http::{HANDSHAKE, read_head};
use crate::support::http_server::{Server, socket_of};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use ws_gateway::bus::Arrival;
use ws_gateway::config::Config;
use ws_gateway::http::Bounds;

const EARLY: &[u8] = b"the first of the client's frames";

/// What the data path gets of a client that has closed its side: bytes that came early, then what the socket has.
fn received(client: &Arrival) -> Vec<u8> {
    let mut all = client.early.to_vec();
    let socket = socket_of(client);
    socket.set_nonblocking(false).unwrap();
    (&socket).read_to_end(&mut all).unwrap();
    all
}

/// Sends the request with frames behind it, cut at those places; each piece leaves before the next is written.
async fn send_in_pieces(stream: &mut TcpStream, bytes: &[u8], cuts: impl IntoIterator<Item = usize>) {
    let mut from = 0;
    for to in cuts.into_iter().chain([bytes.len()]) {
        stream.write_all(&bytes[from..to]).await.unwrap();
        // Gives the gateway, which runs on this thread, its turn.
        tokio::task::yield_now().await;
        from = to;
    }
}

#[tokio::test]
async fn it_may_be_cut_anywhere() {
    let mut server = Server::start();
    let bytes = [HANDSHAKE.as_bytes(), b"\r\n", EARLY].concat();
    let each_byte: Vec<usize> = (1..bytes.len()).collect();
    let head = HANDSHAKE.len() + 2;
    for cuts in [each_byte, vec![1], vec![head - 1], vec![head], vec![head + 1], vec![]] {
        let mut stream = server.connect().await;
        stream.set_nodelay(true).unwrap();
        send_in_pieces(&mut stream, &bytes, cuts.iter().copied()).await;
        stream.shutdown().await.unwrap();
        let reply = read_head(&mut stream).await;
        assert_eq!(reply.status, 101, "{cuts:?}");
        assert_eq!(reply.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(reply.header("X-Server-Id"), Some(server.state.server_id.as_str()));
        assert_eq!(received(&server.clients.recv().await.unwrap()), EARLY, "{cuts:?}");
    }
}

#[tokio::test]
async fn it_may_come_behind_another_request() {
    let mut server = Server::start();
    let bytes = [b"HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n", HANDSHAKE.as_bytes(), b"\r\n", EARLY].concat();
    let mut stream = server.connect().await;
    stream.write_all(&bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_head(&mut stream).await.status, 200);
    assert_eq!(read_head(&mut stream).await.status, 101);
    assert_eq!(received(&server.clients.recv().await.unwrap()), EARLY);
}

#[tokio::test]
async fn it_may_be_longer_than_one_look() {
    let mut server = Server::start();
    let cookie = format!("Cookie: {}\r\n", "x".repeat(10_000));
    let long_early = EARLY.repeat(1_000);
    for (more, early) in [(cookie.as_str(), EARLY), ("", &long_early)] {
        let mut stream = server.connect().await;
        let bytes = [HANDSHAKE.as_bytes(), more.as_bytes(), b"\r\n", early].concat();
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(read_head(&mut stream).await.status, 101);
        assert_eq!(received(&server.clients.recv().await.unwrap()), early);
    }
}

/// More than one turn of the acceptor takes, and more than there are places in flight.
#[tokio::test]
async fn many_may_come_at_once() {
    const CLIENTS: usize = 200;
    let request = format!("{HANDSHAKE}\r\n");
    let comes_later = |n: usize| n % 10 == 9;
    let bounds = Bounds { in_flight_max: 10, ..Bounds::default() };
    let mut config = Config::for_tests();
    config.server.max_connections = CLIENTS;
    let mut server = Server::with(&config, bounds);
    let mut streams = Vec::new();
    for n in 0..CLIENTS {
        // Without an await, so that all of them wait in the listen queue when the gateway gets its turn.
        let mut stream = std::net::TcpStream::connect(server.address).unwrap();
        if !comes_later(n) {
            stream.write_all(request.as_bytes()).unwrap();
        }
        stream.set_nonblocking(true).unwrap();
        streams.push(TcpStream::from_std(stream).unwrap());
    }
    for (_, stream) in streams.iter_mut().enumerate().filter(|(n, _)| comes_later(*n)) {
        stream.write_all(request.as_bytes()).await.unwrap();
    }
    for stream in &mut streams {
        assert_eq!(read_head(stream).await.status, 101);
    }
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(server.clients.recv().await.unwrap());
    }
    let control = &server.state.metrics.control;
    assert_eq!((control.accepted.get(), control.upgrades.get()), (CLIENTS as u64, CLIENTS as u64));
    assert_eq!(server.admission.open(), CLIENTS);

    let refused = server.ask(&HANDSHAKE.replace("Connection: Upgrade", "Connection: Upgrade, close")).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "TOO_MANY_CONNECTIONS"));
    assert_eq!(control.upgrades_refused(), 1, "a refusal is counted once, whoever looked at the request");
}

/// The peer is gone before its answer can be written: its seat is free again, and nobody is handed over.
#[tokio::test]
async fn a_peer_that_has_disconnected_keeps_no_seat() {
    let mut server = Server::start();
    for _ in 0..20 {
        let mut stream = server.connect().await;
        stream.write_all(format!("{HANDSHAKE}\r\n").as_bytes()).await.unwrap();
        // Closing with a reset.
        socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(stream);
    }
    let (_stream, reply) = server.handshake("").await;
    assert_eq!(reply.status, 101);
    // Whoever was answered before the reset was handed over, and the data path would notice.
    while server.admission.open() > 0 {
        drop(server.clients.recv().await.unwrap());
    }
    assert_eq!(server.state.metrics.control.accepted.get(), 21);
}
