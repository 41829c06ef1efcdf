//! Socket.IO by hand over HTTP requests, on a connection that stays open.

use std::collections::VecDeque;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;
use super::http::read_head;

/// A session.
pub(crate) struct Polling {
    addr: SocketAddr,
    tcp: TcpStream,
    path: String,
    /// Packets of the last answer that aren't taken yet.
    packets: VecDeque<String>,
}

impl Polling {
    /// Opens a session; `options`, as `&conflate=1`, are appended to the URL's query. Its first packet is the next one.
    pub(crate) async fn open(addr: SocketAddr, options: &str) -> Self {
        let tcp = TcpStream::connect(addr).await.expect("the gateway listens");
        let path = format!("/socket.io/?EIO=4&transport=polling{options}");
        let mut session = Self { addr, tcp, path, packets: VecDeque::new() };
        session.poll().await;
        let (_, rest) = session.packets[0].split_once(r#""sid":""#).expect("an id");
        session.path += &format!("&sid={}", &rest[..32]);
        session
    }

    /// Sends a packet.
    pub(crate) async fn send(&mut self, packet: &str) {
        let head =
            format!("POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", self.path, packet.len());
        assert_eq!(self.exchange(&(head + packet)).await, "ok");
    }

    /// The next packet.
    pub(crate) async fn packet(&mut self) -> String {
        loop {
            match self.packets.pop_front() {
                // What ends a request for which nothing came.
                Some(packet) if packet == "6" => {}
                Some(packet) => return packet,
                None => self.poll().await,
            }
        }
    }

    async fn poll(&mut self) {
        let answer = self.exchange(&format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", self.path)).await;
        self.packets.extend(answer.split('\u{1e}').map(str::to_owned));
    }

    /// The body of the answer to a request.
    async fn exchange(&mut self, request: &str) -> String {
        // The gateway has closed one that was idle for long.
        if self.tcp.try_read(&mut [0]).is_ok() {
            self.tcp = TcpStream::connect(self.addr).await.expect("the gateway listens");
        }
        self.tcp.write_all(request.as_bytes()).await.expect("the request is taken");
        let head = read_head(&mut self.tcp).await;
        assert_eq!(head.status, 200, "{head:?} to {request}");
        let length = head.header("Content-Length").expect("a length").parse().expect("a number");
        let mut body = vec![0; length];
        timeout(PATIENCE, self.tcp.read_exact(&mut body)).await.expect("a body in time").expect("a body");
        String::from_utf8(body).expect("UTF-8")
    }
}
