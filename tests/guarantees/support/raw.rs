//! A client by hand: a handshake, then raw bytes. For those who misbehave.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::http::read_head;

/// Shakes hands on `target` and returns the socket, of which nothing has been read behind the answer. A small receive
/// buffer makes sure that a client which doesn't read is soon a slow one.
pub(crate) async fn connect(addr: SocketAddr, target: &str, receive_buffer_bytes: Option<u32>) -> TcpStream {
    connect_with(addr, target, "", receive_buffer_bytes).await
}

/// The same with more header lines, each with its end.
pub(crate) async fn connect_with(
    addr: SocketAddr,
    target: &str,
    lines: &str,
    receive_buffer_bytes: Option<u32>,
) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    if let Some(bytes) = receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes).expect("a receive buffer");
    }
    let mut stream = socket.connect(addr).await.expect("the gateway listens");
    let request = request(addr, target).replace("\r\n\r\n", &format!("\r\n{lines}\r\n"));
    stream.write_all(request.as_bytes()).await.expect("the request is taken");
    let reply = read_head(&mut stream).await;
    assert_eq!(reply.status, 101, "{reply:?}");
    stream
}

/// The upgrade request.
pub(crate) fn request(addr: SocketAddr, target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A masked text frame.
pub(crate) fn text_frame(text: &str) -> Vec<u8> {
    frame(0x81, text.as_bytes())
}

/// A masked frame of at most 65,535 bytes with this first byte (FIN and opcode).
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let length = u16::try_from(payload.len()).expect("a payload of at most 65,535 bytes");
    let mut frame = match u8::try_from(length) {
        Ok(length @ ..=125) => vec![first, 0x80 | length],
        _ => [&[first, 0x80 | 126][..], &length.to_be_bytes()].concat(),
    };
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
