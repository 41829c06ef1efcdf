//! HTTP by hand: requests as they are written, answers as they come.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// A good handshake with the RFC's sample key, up to and without the empty line.
pub(crate) const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// `GET path`.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> Reply {
    ask(addr, &format!("GET {path} HTTP/1.1\r\nHost: h\r\n")).await
}

/// Sends a request head (without its empty line) on a connection of its own and reads until the server closes.
pub(crate) async fn ask(addr: SocketAddr, head: &str) -> Reply {
    Reply::parse(&exchange(addr, &format!("{head}Connection: close\r\n\r\n")).await)
}

/// Whatever comes back for a request until the server closes.
pub(crate) async fn exchange(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.expect("the server listens");
    stream.write_all(request.as_bytes()).await.expect("the request is taken");
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.expect("an answer in time").expect("an answer of text");
    answer
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// A header's value; the name in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The `code` of an error body, whose fields must stand in the contract's order.
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        let expected = format!(
            "{{\"type\":\"error\",\"message\":{},\"code\":\"{}\",\"timestamp\":{}}}",
            json["message"],
            text("code"),
            json["timestamp"].as_u64().unwrap()
        );
        assert_eq!(self.body, expected);
        text("code")
    }
}

/// Reads until the peer closes.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> Reply {
    let mut text = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("an answer in time").unwrap();
    Reply::parse(&String::from_utf8(text).unwrap())
}

/// Reads a head byte by byte, so that nothing behind it is taken.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Reply {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let byte = timeout(PATIENCE, stream.read_u8()).await.expect("an answer in time");
        text.push(byte.expect("an answer"));
    }
    Reply::parse(&String::from_utf8(text).unwrap())
}

/// Whether the gateway has closed: end of stream or a reset, without any byte.
pub(crate) async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    let read = timeout(PATIENCE, stream.read(&mut byte)).await.expect("an end in time");
    matches!(read, Ok(0) | Err(_))
}
