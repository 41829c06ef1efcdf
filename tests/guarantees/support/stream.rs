//! A client of server-sent events, by hand.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::PATIENCE;
use super::http::{Reply, read_head};

/// An open stream.
pub(crate) struct Stream {
    tcp: TcpStream,
    unread: Vec<u8>,
    /// Times to come back that were told, with the last event.
    pub(crate) retry_ms: Option<u64>,
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StreamEvent {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

impl StreamEvent {
    /// The data as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

impl Stream {
    /// Asks for a stream, which must be accepted.
    pub(crate) async fn open(addr: SocketAddr, query: &str) -> Self {
        Self::open_with(addr, query, "", None).await.0
    }

    /// The same with more header lines and perhaps a small receive buffer; returns the head as well.
    pub(crate) async fn open_with(
        addr: SocketAddr,
        query: &str,
        lines: &str,
        receive_buffer_bytes: Option<u32>,
    ) -> (Self, Reply) {
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes).expect("a receive buffer");
        }
        let mut tcp = socket.connect(addr).await.expect("the gateway listens");
        let request = format!("GET /sse?{query} HTTP/1.1\r\nHost: {addr}\r\n{lines}\r\n");
        tcp.write_all(request.as_bytes()).await.expect("the request is taken");
        let head = read_head(&mut tcp).await;
        assert_eq!((head.status, head.header("Content-Type")), (200, Some("text/event-stream")), "{head:?}");
        (Self { tcp, unread: Vec::new(), retry_ms: None }, head)
    }

    /// The next event, comments aside; `None` at the end.
    pub(crate) async fn event(&mut self) -> Option<StreamEvent> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let rest = self.unread.split_off(end + 2);
                let block = std::mem::replace(&mut self.unread, rest);
                match self.read_block(std::str::from_utf8(&block[..end]).expect("text")) {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let read = timeout(PATIENCE, self.tcp.read_buf(&mut self.unread)).await.expect("bytes in time");
            if read.expect("an end without a reset") == 0 {
                assert!(self.unread.is_empty(), "ends within an event: {:?}", self.unread);
                return None;
            }
        }
    }

    fn read_block(&mut self, block: &str) -> Option<StreamEvent> {
        let (mut name, mut id, mut data) = (String::new(), None, None);
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("event", value)) => name = value.to_owned(),
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("data", value)) => assert!(data.replace(value.to_owned()).is_none(), "one line"),
                Some(("retry", value)) => self.retry_ms = Some(value.parse().expect("a number")),
                None if line == ":" => {}
                _ => panic!("{line:?} in {block:?}"),
            }
        }
        data.map(|data| StreamEvent { name, id, data })
    }

    /// The next event, which must have that name.
    pub(crate) async fn expect(&mut self, name: &str) -> StreamEvent {
        let event = self.event().await.unwrap_or_else(|| panic!("an end instead of {name}"));
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    /// The next event's data as JSON.
    pub(crate) async fn json(&mut self) -> Value {
        let event = self.event().await.expect("an event");
        let json = event.json();
        let kind = json["type"].as_str().expect("a type");
        assert_eq!(event.name, if kind == "error" { "refused" } else { kind });
        let id = json["data"]["seq"].as_u64().filter(|_| event.name != "status");
        let id = id.map(|seq| format!("{kind}:{seq}:{}", json["data"]["symbol"].as_str().expect("a symbol")));
        assert_eq!(event.id, id, "{event:?}");
        json
    }
}

/// A client in any form, from which messages come one by one.
pub(crate) enum Reader {
    Objects(super::Client),
    Arrays(super::Client, VecDeque<Value>),
    Events(Stream),
}

impl Reader {
    /// The next message.
    pub(crate) async fn json(&mut self) -> Value {
        match self {
            Self::Objects(client) => client.json().await,
            Self::Events(stream) => stream.json().await,
            Self::Arrays(client, waiting) => {
                if waiting.is_empty() {
                    let Value::Array(messages) = client.json().await else { panic!("no array") };
                    let are_events = |message: &Value| message["data"]["timestamp"].is_u64();
                    assert!(!messages.is_empty());
                    assert!(messages.len() == 1 || messages.iter().all(are_events), "{messages:?}");
                    waiting.extend(messages);
                }
                waiting.pop_front().expect("a message")
            }
        }
    }
}
