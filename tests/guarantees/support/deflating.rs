//! A client by hand that offers permessage-deflate, compresses what it sends, and says of each message whether it came compressed.

use std::net::SocketAddr;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::http::{Reply, read_head};
use super::{PATIENCE, raw};

/// What browsers and most libraries offer.
pub(crate) const OFFER: &str = "permessage-deflate; client_max_window_bits";
/// What the gateway answers.
pub(crate) const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// A connected client.
pub(crate) struct Deflating {
    pub(crate) stream: TcpStream,
    /// What has come and isn't taken yet.
    buffer: Vec<u8>,
    /// Messages that came compressed.
    pub(crate) compressed: u64,
}

/// A message of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// A text message.
    Text(Text),
    /// A binary message, inflated.
    Binary(Vec<u8>),
    /// Code and reason of a close frame.
    Close(u16, String),
    /// The end of the connection.
    End,
}

/// A text message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) is_compressed: bool,
    /// Its length on the wire, with the frame's header.
    pub(crate) wire_bytes: usize,
}

/// Shakes hands with that offer.
pub(crate) async fn shake_hands(
    addr: SocketAddr,
    target: &str,
    offer: &str,
    receive_buffer_bytes: Option<u32>,
) -> (TcpStream, Reply) {
    let socket = TcpSocket::new_v4().expect("a socket");
    if let Some(bytes) = receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes).expect("a receive buffer");
    }
    let mut stream = socket.connect(addr).await.expect("the gateway listens");
    let request = raw::request(addr, target);
    let offer = format!("\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n");
    stream.write_all(request.replace("\r\n\r\n", &offer).as_bytes()).await.expect("the request is taken");
    let reply = read_head(&mut stream).await;
    (stream, reply)
}

impl Deflating {
    pub(crate) async fn connect(addr: SocketAddr, target: &str) -> Self {
        Self::with_buffer(addr, target, None).await
    }

    pub(crate) async fn with_buffer(addr: SocketAddr, target: &str, bytes: Option<u32>) -> Self {
        Self::with_lines(addr, target, "", bytes).await
    }

    /// The same with more header lines, each with its end.
    pub(crate) async fn with_lines(addr: SocketAddr, target: &str, lines: &str, bytes: Option<u32>) -> Self {
        let offer = format!("{OFFER}\r\n{lines}");
        let (stream, reply) = shake_hands(addr, target, offer.trim_end(), bytes).await;
        assert_eq!((reply.status, reply.header("Sec-WebSocket-Extensions")), (101, Some(ANSWER)));
        Self::on(stream)
    }

    /// Takes over a socket whose handshake is done.
    pub(crate) fn on(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new(), compressed: 0 }
    }

    /// Sends a text message, compressed.
    pub(crate) async fn send(&mut self, text: &str) {
        self.write(&raw::frame(0xc1, &compressed(text.as_bytes(), 6))).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the gateway reads");
    }

    /// The next message, pings and pongs aside.
    pub(crate) async fn next(&mut self) -> Said {
        timeout(PATIENCE, self.read()).await.expect("a message in time")
    }

    pub(crate) async fn text(&mut self) -> Text {
        match self.next().await {
            Said::Text(text) => text,
            other => panic!("expected a text message, got {other:?}"),
        }
    }

    pub(crate) async fn json(&mut self) -> Value {
        let Text { text, .. } = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// Subscribes; the reply must be the next message.
    pub(crate) async fn subscribe(&mut self, request: &Value) {
        self.send(&request.to_string()).await;
        let Text { text, .. } = self.text().await;
        assert!(text.contains(r#""type":"success""#), "{text}");
    }

    async fn read(&mut self) -> Said {
        loop {
            match whole_frame(&self.buffer) {
                None => {
                    if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                        return Said::End;
                    }
                }
                Some((start, end)) => {
                    let frame: Vec<u8> = self.buffer.drain(..end).collect();
                    let (first, payload) = (frame[0], &frame[start..]);
                    match first {
                        0x81 | 0xc1 | 0x82 | 0xc2 => {
                            let is_compressed = first & 0x40 != 0;
                            self.compressed += u64::from(is_compressed);
                            let content = if is_compressed { inflated(payload) } else { payload.to_vec() };
                            if first & 0x0f == 2 {
                                return Said::Binary(content);
                            }
                            let text = String::from_utf8(content).expect("UTF-8");
                            return Said::Text(Text { text, is_compressed, wire_bytes: end });
                        }
                        0x88 => {
                            let (code, reason) = payload.split_at(2);
                            let reason = String::from_utf8_lossy(reason).into_owned();
                            return Said::Close(u16::from_be_bytes([code[0], code[1]]), reason);
                        }
                        0x89 | 0x8a => {}
                        other => panic!("a frame that begins with {other:x}"),
                    }
                }
            }
        }
    }
}

/// Where the payload of the first frame begins and ends, if it is there.
fn whole_frame(buffer: &[u8]) -> Option<(usize, usize)> {
    let (start, length) = match *buffer.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?) as usize),
        length => (2, usize::from(length)),
    };
    (buffer.len() >= start + length).then_some((start, start + length))
}

/// A message compressed by itself.
pub(crate) fn compressed(content: &[u8], level: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 8 + 100);
    let mut compress = Compress::new(Compression::new(level), false);
    compress.compress_vec(content, &mut out, FlushCompress::Sync).expect("it is compressed");
    assert!(compress.total_in() as usize == content.len() && out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

fn inflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 22);
    let whole = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut state = Decompress::new(false);
    state.decompress_vec(&whole, &mut out, FlushDecompress::Sync).expect("it is inflated");
    assert_eq!(state.total_in() as usize, whole.len());
    out
}
