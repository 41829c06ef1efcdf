//! A client of a Redis or of the embedded broker, one command at a time.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use ws_gateway::resp::{Progress, ReplyLimits, parse_reply, write_command};

/// A client that does exactly what a test tells it to.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(addr).await.expect("the broker listens"), input: Vec::new() }
    }

    /// A connection that speaks RESP3.
    pub(crate) async fn connect_3(addr: SocketAddr) -> Self {
        let mut client = Self::connect(addr).await;
        assert!(client.ask("HELLO 3").await.starts_with("%7"));
        client
    }

    /// Sends commands of words without spaces.
    pub(crate) async fn send(&mut self, lines: &[&str]) {
        let mut bytes = Vec::new();
        for line in lines {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            write_command(&mut bytes, &words);
        }
        self.stream.write_all(&bytes).await.expect("the broker reads");
    }

    /// The next reply, as it was written; nothing once the broker has closed the connection.
    pub(crate) async fn reply(&mut self) -> Option<String> {
        loop {
            let progress = parse_reply(&self.input, &ReplyLimits::DEFAULT).expect("it speaks RESP");
            if let Progress::Done { used_bytes, .. } = progress {
                return Some(
                    String::from_utf8_lossy(&self.input.drain(..used_bytes).collect::<Vec<_>>()).into_owned(),
                );
            }
            if self.stream.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// What the next message of a subscription carries, as JSON.
    pub(crate) async fn message(&mut self) -> Value {
        // `*3 message, channel, payload`, each with its length before it.
        let message = self.reply().await.expect("a message");
        let payload = message.split("\r\n").nth(6).expect("a payload");
        serde_json::from_str(payload).unwrap_or_else(|error| panic!("{error} in {payload}"))
    }

    pub(crate) async fn ask(&mut self, line: &str) -> String {
        self.send(&[line]).await;
        self.reply().await.expect("an answer")
    }
}
