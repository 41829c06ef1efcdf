//! Whoever is no trusted proxy counts by the address that the kernel knows, whatever it writes: not one of a thousand addresses in
//! `X-Forwarded-For`, `X-Real-IP` or `Forwarded` gets it a connection more, and a PROXY header of its own ends the connection.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::stage::{MIB, Stage, rest, swarm};
use crate::support::http::{HANDSHAKE, Reply, read_head};
use crate::support::introduced::{binary_header, header};

const PER_IP: usize = 250;
/// Honest clients connect from 127.0.0.1, whoever forges from here.
const FORGER: &str = "127.0.0.2:0";

async fn connect(addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(FORGER.parse().expect("an address")).expect("an address of loopback");
    socket.connect(addr).await.expect("the gateway listens")
}

/// A handshake with these lines; the connection and the answer.
async fn forge(addr: SocketAddr, lines: &str) -> (TcpStream, Reply) {
    let mut stream = connect(addr).await;
    stream.write_all(format!("{HANDSHAKE}{lines}\r\n").as_bytes()).await.expect("the gateway reads");
    let reply = read_head(&mut stream).await;
    (stream, reply)
}

fn lines(n: usize) -> String {
    let address = format!("203.0.{}.{}", n / 256, n % 256);
    match n % 6 {
        0 => format!("X-Forwarded-For: {address}\r\n"),
        1 => format!("X-Real-IP: {address}\r\n"),
        2 => format!("X-Forwarded-For: {address}, 10.0.0.1\r\n"),
        3 => format!("Forwarded: for={address}\r\nX-Forwarded-For: 10.0.0.1\r\n"),
        4 => format!("X-Forwarded-For: {address}\r\nX-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 10.0.0.1\r\n"),
        _ => format!("X-Forwarded-For: [2001:db8::{n:x}]:1, ::ffff:{address}\r\nX-Client-IP: {address}\r\n"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn get_nobody_more_than_its_part() {
    let flags = ["--trusted-proxies", "10.0.0.0/8", "--max-connections-per-ip", "250", "--proxy-protocol"];
    let stage = Stage::set(&flags).await;
    let cost = stage.withstands(async |stage| {
        let forged = swarm(1_000, async |n| forge(stage.addr(), &lines(n)).await).await;
        let held = forged.iter().filter(|(_, reply)| reply.status == 101).count();
        assert_eq!(held, PER_IP);
        assert!(forged.iter().all(|(_, reply)| [101, 429].contains(&reply.status)));
        drop(forged);
        stage.calms_down().await;
        // With a header that it has no right to write, it is answered 400 and counts for nobody.
        swarm(1_000, async |n| {
            let client = format!("203.0.113.{}", n % 256);
            let header = if n % 2 == 0 { header(&client) } else { binary_header(&client) };
            let mut stream = connect(stage.addr()).await;
            let request = [&header, HANDSHAKE.as_bytes(), b"\r\n"].concat();
            stream.write_all(&request).await.expect("the gateway reads");
            let answer = rest(&mut stream).await;
            assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
        })
        .await;
    });
    let cost = cost.await;
    // What 1,024 connections take that are not upgraded.
    assert!(cost.peak_bytes < 24 * MIB, "{cost:?}");
}
