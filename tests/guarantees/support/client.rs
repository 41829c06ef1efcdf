//! A WebSocket client that hands out text frames as they came.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async_with_config, connect_async_with_config,
};

use super::PATIENCE;

/// A connected client.
pub(crate) struct Client<S = MaybeTlsStream<TcpStream>> {
    pub(crate) ws: WebSocketStream<S>,
}

/// How a connection ended: code and reason, `None` without a close frame.
pub(crate) type Ending = Option<(u16, String)>;

impl Client {
    pub(crate) async fn connect(url: &str) -> Self {
        let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
        let (ws, _) = timeout(PATIENCE, connect_async_with_config(url, Some(config), false))
            .await
            .expect("a handshake in time")
            .expect("a handshake");
        Self { ws }
    }

    /// Takes over a socket whose handshake is done (see [`super::raw`]).
    pub(crate) async fn from_raw(stream: TcpStream) -> Self {
        Self::on_upgraded(MaybeTlsStream::Plain(stream)).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Takes over a stream whose handshake is done.
    pub(crate) async fn on_upgraded(stream: S) -> Self {
        Self { ws: WebSocketStream::from_raw_socket(stream, Role::Client, None).await }
    }

    /// Shakes hands on a stream.
    pub(crate) async fn on(stream: S, url: &str) -> Self {
        let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
        let shaking = client_async_with_config(url, stream, Some(config));
        let (ws, _) = timeout(PATIENCE, shaking).await.expect("a handshake in time").expect("a handshake");
        Self { ws }
    }

    /// Sends a text message.
    pub(crate) async fn send(&mut self, message: impl Into<String>) {
        self.ws.send(Message::text(message.into())).await.expect("the gateway reads");
    }

    /// Sends a binary message.
    pub(crate) async fn ws_binary(&mut self, bytes: &'static [u8]) {
        self.ws.send(Message::binary(bytes)).await.expect("the gateway reads");
    }

    /// The next frame of any kind, pings and pongs aside.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        let frame = async {
            loop {
                match self.ws.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(message)) => return Some(message),
                    Some(Err(_)) | None => return None,
                }
            }
        };
        timeout(PATIENCE, frame).await.expect("a frame in time")
    }

    /// The next text frame, as it came.
    pub(crate) async fn text(&mut self) -> String {
        match self.message().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("expected a text frame, got {other:?}"),
        }
    }

    /// The next text frame as JSON.
    pub(crate) async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// The next frame is the trade that was [numbered](super::redis::Publisher::numbered) so, and no other.
    pub(crate) async fn gets(&mut self, symbol: &str, n: u64) {
        let message = self.json().await;
        let got = (message["data"]["symbol"].as_str(), message["data"]["timestamp"].as_u64());
        assert_eq!(got, (Some(symbol), Some(n)), "{message}");
    }

    /// The next frames are trades with these payloads, and behind them comes nothing.
    pub(crate) async fn gets_exactly(&mut self, payloads: impl Iterator<Item = String>) {
        for (n, payload) in payloads.enumerate() {
            let text = self.text().await;
            assert!(text.contains(&payload), "expected trade {n}, got {text}");
        }
        self.send(r#"{"action":"ping"}"#).await;
        assert_eq!(self.json().await["type"], "pong", "nothing comes twice");
    }

    /// Subscribes and returns the reply, which must be the next frame.
    pub(crate) async fn subscribe(&mut self, symbols: &[&str]) -> Value {
        self.subscribe_with(json!({"symbols": symbols})).await
    }

    /// Subscribes with more fields than symbols and returns the reply, which must be the next frame.
    pub(crate) async fn subscribe_with(&mut self, mut request: Value) -> Value {
        request["action"] = "subscribe".into();
        self.send(request.to_string()).await;
        let reply = self.json().await;
        assert_eq!(reply["type"], "success", "{reply}");
        reply
    }

    /// Unsubscribes and returns the reply, which must be the next frame.
    pub(crate) async fn unsubscribe(&mut self, symbols: &[&str]) -> Value {
        self.send(json!({"action": "unsubscribe", "symbols": symbols}).to_string()).await;
        let reply = self.json().await;
        assert_eq!(reply["type"], "success", "{reply}");
        reply
    }

    /// Reads on until the connection ends.
    pub(crate) async fn ending(&mut self) -> Ending {
        loop {
            match self.message().await {
                Some(Message::Close(Some(frame))) => {
                    return Some((frame.code.into(), frame.reason.to_string()));
                }
                Some(_) => {}
                None => return None,
            }
        }
    }
}
