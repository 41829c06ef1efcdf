//! The real listener on a free port, with a data path that only collects clients.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use ws_gateway::admission::Admission;
use ws_gateway::bus::{Adopt, Arrival};
use ws_gateway::config::Config;
use ws_gateway::http::{Bounds, Http, bind, serve};
use ws_gateway::state::State;

/// A good handshake with the RFC's sample key, up to and without the empty line.
pub(crate) const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Sends on every client.
struct Collect(Mutex<mpsc::UnboundedSender<Arrival>>);

impl Adopt for Collect {
    fn adopt(&self, clients: Vec<Arrival>) {
        let sender = self.0.lock().unwrap();
        clients.into_iter().for_each(|client| sender.send(client).expect("the test still runs"));
    }
}

/// A running HTTP side.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<State>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) clients: mpsc::UnboundedReceiver<Arrival>,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<()>,
}

impl Server {
    /// Starts with the defaults.
    pub(crate) fn start() -> Self {
        Self::with(&Config::for_tests(), Bounds::default())
    }

    /// Starts with that configuration and those bounds.
    pub(crate) fn with(config: &Config, bounds: Bounds) -> Self {
        let state = Arc::new(State::new(config.server_id.clone(), 2));
        let admission = Admission::new(config.max_connections);
        let (sender, clients) = mpsc::unbounded_channel();
        let adopt = Arc::new(Collect(Mutex::new(sender)));
        let mut http = Http::new(config, Arc::clone(&state), Arc::clone(&admission), adopt);
        http.bounds = bounds;
        let listener = bind(config.listen).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(listener, Arc::new(http), stop.clone()));
        Self { address, state, admission, clients, stop, served }
    }

    /// A connection on which nothing was said yet.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request head (without its empty line) on a connection of its own and reads until the gateway closes.
    pub(crate) async fn ask(&self, head: &str) -> Reply {
        let mut stream = self.connect().await;
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        read_to_end(&mut stream).await
    }

    /// `GET path`.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n")).await
    }

    /// Sends a handshake with more header lines, and returns the stream and the answer's head.
    pub(crate) async fn handshake(&self, more: &str) -> (TcpStream, Reply) {
        let mut stream = self.connect().await;
        stream.write_all(format!("{HANDSHAKE}{more}\r\n").as_bytes()).await.unwrap();
        let reply = read_head(&mut stream).await;
        (stream, reply)
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    fn parse(text: &str) -> Self {
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
    stream.read_to_end(&mut text).await.unwrap();
    Reply::parse(&String::from_utf8(text).unwrap())
}

/// Reads a head byte by byte, so that nothing behind it is taken.
pub(crate) async fn read_head(stream: &mut TcpStream) -> Reply {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.expect("an answer"));
    }
    Reply::parse(&String::from_utf8(text).unwrap())
}

/// Whether the gateway has closed: end of stream or a reset, without any byte.
pub(crate) async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
}
