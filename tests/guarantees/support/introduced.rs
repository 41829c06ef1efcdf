//! Connections that a proxy introduces with a PROXY header.

use std::net::{IpAddr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::http::{HANDSHAKE, Reply, read_head};

/// A header of version 1 for that client.
pub(crate) fn header(client: &str) -> Vec<u8> {
    let family = if client.parse::<IpAddr>().expect("an address").is_ipv4() { "TCP4" } else { "TCP6" };
    let gateway = if family == "TCP4" { "10.0.0.1" } else { "::1" };
    format!("PROXY {family} {client} {gateway} 4711 8080\r\n").into_bytes()
}

/// A header of version 2 for that client.
pub(crate) fn binary_header(client: &str) -> Vec<u8> {
    let addresses = match client.parse().expect("an address") {
        IpAddr::V4(client) => {
            [&[0x21, 0x11, 0, 12][..], &client.octets(), &[10, 0, 0, 1], &[1, 2, 3, 4]].concat()
        }
        IpAddr::V6(client) => [&[0x21, 0x21, 0, 36][..], &client.octets(), &[0; 16], &[1, 2, 3, 4]].concat(),
    };
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &addresses].concat()
}

/// A handshake with more header lines behind these bytes; the connection and the answer's head.
pub(crate) async fn handshake(gateway: SocketAddr, header: &[u8], more: &str) -> (TcpStream, Reply) {
    let mut stream = TcpStream::connect(gateway).await.expect("the gateway listens");
    let request = [header, HANDSHAKE.as_bytes(), more.as_bytes(), b"\r\n"].concat();
    stream.write_all(&request).await.expect("the gateway reads");
    let reply = read_head(&mut stream).await;
    (stream, reply)
}
