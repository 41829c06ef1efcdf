//! Every way of having trades: our forms, and the dialects. A client of any of them subscribes, and says what it was told in the same terms.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::deflating::{Deflating, Said};
use super::polling::Polling;
use super::stream::Stream;
use super::{Client, raw};

/// A way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    Json,
    JsonCompressed,
    Batch,
    BatchCompressed,
    Events,
    AlpacaJson,
    AlpacaCompressed,
    AlpacaMsgpack,
    AlpacaMsgpackCompressed,
    Massive,
    MassiveCompressed,
    Finnhub,
    FinnhubCompressed,
    /// The combined form: the raw one has no words for a loss. Its events are never compressed.
    Binance,
    SocketIo,
    SocketIoCompressed,
    SocketIoPolling,
}

/// All of them.
pub(crate) const WAYS: [Way; 17] = [
    Way::Json,
    Way::JsonCompressed,
    Way::Batch,
    Way::BatchCompressed,
    Way::Events,
    Way::AlpacaJson,
    Way::AlpacaCompressed,
    Way::AlpacaMsgpack,
    Way::AlpacaMsgpackCompressed,
    Way::Massive,
    Way::MassiveCompressed,
    Way::Finnhub,
    Way::FinnhubCompressed,
    Way::Binance,
    Way::SocketIo,
    Way::SocketIoCompressed,
    Way::SocketIoPolling,
];

impl Way {
    /// The way without compression, if this is one with it.
    fn uncompressed(self) -> Option<Self> {
        Some(match self {
            Self::JsonCompressed => Self::Json,
            Self::BatchCompressed => Self::Batch,
            Self::AlpacaCompressed => Self::AlpacaJson,
            Self::AlpacaMsgpackCompressed => Self::AlpacaMsgpack,
            Self::MassiveCompressed => Self::Massive,
            Self::FinnhubCompressed => Self::Finnhub,
            Self::SocketIoCompressed => Self::SocketIo,
            _ => return None,
        })
    }
}

/// A trade that is long in every way, compressed as well: the fraction of its price, and its exchange, are `digits` and `letters` of no order. The
/// price before the fraction is `place`.
pub(crate) fn long_trade(symbol: &str, place: u64, n: u64, digits: usize, letters: usize) -> String {
    let mut random = fastrand::Rng::with_seed(n);
    let fraction: String = (0..digits).map(|_| random.digit(10)).collect();
    let exchange: String = (0..letters).map(|_| random.alphanumeric()).collect();
    super::trade(symbol, &format!("{place}.{fraction}"), n).replace("NASDAQ", &exchange)
}

/// What a client was told of a symbol.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// A trade at this price.
    Trade { symbol: String, price: f64 },
    /// So many trades are missing.
    Skipped { symbol: String, count: u64 },
}

/// A client that has subscribed.
pub(crate) struct Subscriber {
    transport: Transport,
}

enum Transport {
    Plain(Box<Client>),
    Compressed(Deflating),
    Polling(Polling),
    Events(Stream),
}

impl Subscriber {
    /// Connects in that way and subscribes to the trades of `symbols`. `options`, as `&conflate=1`, are appended to the URL's query. A small receive buffer makes it
    /// a slow client as soon as it stops reading.
    pub(crate) async fn enter(
        way: Way,
        addr: SocketAddr,
        symbols: &[String],
        options: &str,
        receive_buffer_bytes: Option<u32>,
    ) -> Self {
        let plain = way.uncompressed();
        let (path, lines) = match plain.unwrap_or(way) {
            Way::Events => {
                let query = format!("symbols={}&types=trade{options}", symbols.join(","));
                let (mut stream, _) = Stream::open_with(addr, &query, "", receive_buffer_bytes).await;
                stream.expect("success").await;
                return Self { transport: Transport::Events(stream) };
            }
            Way::SocketIoPolling => {
                let mut client = Self { transport: Transport::Polling(Polling::open(addr, options).await) };
                client.subscribe(Way::SocketIo, symbols, options).await;
                return client;
            }
            Way::Json => ("/ws?x=1", ""),
            Way::Batch => ("/ws?batch=1", ""),
            Way::AlpacaJson => ("/alpaca/v2/iex?x=1", ""),
            Way::AlpacaMsgpack => ("/alpaca/v2/iex?x=1", "Content-Type: application/msgpack\r\n"),
            Way::Massive => ("/massive/stocks?x=1", ""),
            Way::Finnhub => ("/finnhub?token=any", ""),
            Way::Binance => ("/binance/stream?x=1", ""),
            Way::SocketIo => ("/socket.io/?EIO=4&transport=websocket", ""),
            compressed => unreachable!("{compressed:?} has a way without compression"),
        };
        let target = format!("{path}{options}");
        let transport = if plain.is_some() {
            Transport::Compressed(Deflating::with_lines(addr, &target, lines, receive_buffer_bytes).await)
        } else {
            let stream = raw::connect_with(addr, &target, lines, receive_buffer_bytes).await;
            Transport::Plain(Box::new(Client::from_raw(stream).await))
        };
        let mut client = Self { transport };
        client.subscribe(plain.unwrap_or(way), symbols, options).await;
        client
    }

    async fn subscribe(&mut self, way: Way, symbols: &[String], options: &str) {
        let prefixed = |prefix| symbols.iter().map(|symbol| format!("{prefix}{symbol}")).collect::<Vec<_>>();
        match way {
            Way::Json | Way::Batch => {
                // Here a URL has no terms.
                let conflate = options.contains("conflate=1");
                let request = json!({"action": "subscribe", "symbols": symbols, "conflate": conflate});
                self.ask(&request, "success").await;
            }
            Way::AlpacaJson | Way::AlpacaMsgpack => {
                self.hears("connected").await;
                self.ask(&json!({"action": "auth", "key": "K", "secret": "S"}), "authenticated").await;
                self.ask(&json!({"action": "subscribe", "trades": symbols}), "subscription").await;
            }
            Way::Massive => {
                self.hears("connected").await;
                self.ask(&json!({"action": "auth", "params": "K"}), "auth_success").await;
                let channels = prefixed("T.").join(",");
                self.ask(&json!({"action": "subscribe", "params": channels}), "success").await;
            }
            Way::Finnhub => {
                for symbol in symbols {
                    self.send(&json!({"type": "subscribe", "symbol": symbol})).await;
                }
                // A subscribe has no answer, and whatever is wrong has one.
                self.ask(&json!({}), "error").await;
            }
            Way::Binance => {
                let streams = symbols.iter().map(|symbol| format!("{}@trade", symbol.to_lowercase()));
                let streams: Vec<_> = streams.collect();
                self.ask(&json!({"method": "SUBSCRIBE", "params": streams, "id": 1}), "result").await;
            }
            Way::SocketIo => {
                self.hears("pingInterval").await;
                self.send_text("40/events,").await;
                self.hears("sid").await;
                self.hears("userId").await;
                let request = json!(["subscribe", {"symbols": symbols, "onSlow": "skip"}]);
                self.send_text(&format!("42/events,0{request}")).await;
                self.hears("subscribed").await;
            }
            other => unreachable!("{other:?} is another one's protocol"),
        }
    }

    async fn ask(&mut self, request: &Value, expected: &str) {
        self.send(request).await;
        self.hears(expected).await;
    }

    async fn hears(&mut self, expected: &str) {
        let answer = self.message().await.to_string();
        assert!(answer.contains(&format!("\"{expected}\"")), "expected {expected}, got {answer}");
    }

    async fn send(&mut self, request: &Value) {
        self.send_text(&request.to_string()).await;
    }

    /// Says something in the way's own words.
    pub(crate) async fn send_text(&mut self, text: &str) {
        match &mut self.transport {
            Transport::Plain(client) => client.send(text).await,
            Transport::Compressed(client) => client.send(text).await,
            Transport::Polling(client) => client.send(text).await,
            Transport::Events(_) => unreachable!("a stream is asked by its URL"),
        }
    }

    /// Whether a message came compressed, of a way in which they may.
    pub(crate) fn was_compressed(&self) -> Option<bool> {
        match &self.transport {
            Transport::Compressed(client) => Some(client.compressed > 0),
            _ => None,
        }
    }

    /// What the next message tells, in order.
    pub(crate) async fn told(&mut self) -> Vec<Told> {
        told_by(&self.message().await)
    }

    /// The next message; of a packet of Socket.IO what it carries.
    pub(crate) async fn message(&mut self) -> Value {
        loop {
            match self.next().await {
                // A ping of Engine.IO.
                Value::Number(_) => self.send_text("3").await,
                message => return message,
            }
        }
    }

    async fn next(&mut self) -> Value {
        match &mut self.transport {
            Transport::Events(stream) => stream.json().await,
            Transport::Polling(client) => of_packet(&client.packet().await),
            Transport::Compressed(client) => match client.next().await {
                Said::Text(text) => of_packet(&text.text),
                Said::Binary(bytes) => of_msgpack(&bytes),
                other => panic!("expected a message, got {other:?}"),
            },
            Transport::Plain(client) => match client.message().await {
                Some(Message::Text(text)) => of_packet(&text),
                Some(Message::Binary(bytes)) => of_msgpack(&bytes),
                other => panic!("expected a message, got {other:?}"),
            },
        }
    }
}

/// What a message with events tells, in order.
pub(crate) fn told_by(message: &Value) -> Vec<Told> {
    let mut told = Vec::new();
    assert!(read(message, &mut told), "what does {message} tell?");
    told
}

/// What any message tells of events, in order: an answer tells nothing.
pub(crate) fn told_in(message: &Value) -> Vec<Told> {
    let mut told = Vec::new();
    read(message, &mut told);
    told
}

/// The JSON of a message. A packet of Socket.IO has its types, namespace and number before it, and an event's name before what it tells.
fn of_packet(text: &str) -> Value {
    let json = &text[text.find(['[', '{']).unwrap_or_default()..];
    let value: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {text}"));
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(_), event]) => event.clone(),
        _ => value,
    }
}

fn of_msgpack(mut bytes: &[u8]) -> Value {
    json_of(&rmpv::decode::read_value(&mut bytes).expect("MessagePack"))
}

fn json_of(value: &rmpv::Value) -> Value {
    match value {
        rmpv::Value::Array(elements) => elements.iter().map(json_of).collect(),
        rmpv::Value::Map(fields) => {
            let fields = fields.iter().map(|(name, value)| {
                let name = name.as_str().expect("a field's name is a string");
                (name.to_owned(), json_of(value))
            });
            Value::Object(fields.collect())
        }
        rmpv::Value::String(text) => text.as_str().into(),
        // The count of skipped events is an integer, a price is a float.
        rmpv::Value::Integer(number) => json!(number.as_u64()),
        other => json!(other.as_f64()),
    }
}

/// Reads a message of any way: each shape has its own names.
/// Whether a message is of events only; `told` gets what they tell.
fn read(message: &Value, told: &mut Vec<Told>) -> bool {
    if let Some(parts) = message.as_array() {
        let others = parts.iter().filter(|part| !read(part, told)).count();
        return others == 0;
    }
    let field = |name: &str| message[name].as_str();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no string in {message}")).to_owned();
    let trade = |symbol: &Value, price: &Value| Told::Trade {
        symbol: text(symbol),
        price: price.as_f64().unwrap_or_else(|| panic!("no price in {message}")),
    };
    let skipped = |symbol: String, count: &Value| Told::Skipped {
        symbol,
        count: count.as_u64().unwrap_or_else(|| panic!("no count in {message}")),
    };
    let data = &message["data"];
    match data["e"].as_str() {
        Some("trade") => {
            let price = text(&data["p"]).parse().unwrap_or_else(|_| panic!("no price in {message}"));
            told.push(Told::Trade { symbol: text(&data["s"]), price });
            return true;
        }
        Some("skipped") => {
            told.push(skipped(text(&data["s"]), &data["count"]));
            return true;
        }
        _ => {}
    }
    match (field("type"), field("T"), field("ev")) {
        (Some("trade"), ..) if data.is_array() => {
            told.extend(data.as_array().into_iter().flatten().map(|part| trade(&part["s"], &part["p"])));
        }
        (Some("trade"), ..) => told.push(trade(&data["symbol"], &data["price"])),
        (Some("status"), ..) if message["event"] == "skipped" => {
            told.push(skipped(text(&data["symbol"]), &data["count"]));
        }
        (_, Some("t"), _) => told.push(trade(&message["S"], &message["p"])),
        (_, Some("skipped"), _) => told.push(skipped(text(&message["S"]), &message["n"])),
        (_, _, Some("T")) => told.push(trade(&message["sym"], &message["p"])),
        (_, _, Some("status")) if message["status"] == "skipped" => {
            let channel = text(&message["channel"]);
            told.push(skipped(channel.trim_start_matches("T.").to_owned(), &message["n"]));
        }
        _ => return false,
    }
    true
}
