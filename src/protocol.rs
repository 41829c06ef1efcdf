//! What clients and the gateway say to each other, and how it is written. Pure.
//!
//! | part | what it is |
//! |---|---|
//! | [`request`] | what clients ask for |
//! | [`terms`] | on which terms they are served |
//! | [`reply`] | what the gateway says to one client |
//! | [`refusal`] | why a request changes nothing |
//! | [`desk`] | what clients ask of the desk, and are answered |
//! | [`native`] | the gateway's own protocol: JSON in text frames |
//! | [`form`] | events in each form |
//! | [`wrapping`] | what a message of several events has around them |
//! | [`sse`] | server-sent events |
//! | [`api`] | the APIs whose clients the gateway serves as well |
//! | [`alpaca`] | Alpaca's |
//! | [`massive`] | Massive's, formerly Polygon's |
//! | [`finnhub`] | Finnhub's |
//! | [`binance`] | Binance's |
//! | [`sums`] | an event that stands for several trades |
//! | [`socketio`] | Socket.IO |
//! | [`worker`], [`found`], [`object`], [`moment`] | for other APIs: fields of a worker's event, objects in JSON and MessagePack, moments |

pub mod alpaca;
pub mod api;
pub mod binance;
pub mod desk;
pub mod finnhub;
pub mod form;
pub mod found;
pub mod massive;
pub mod moment;
pub mod native;
pub mod object;
pub mod refusal;
pub mod reply;
pub mod request;
pub mod socketio;
pub mod sse;
pub mod sums;
pub mod terms;
pub mod worker;
pub mod wrapping;

use self::alpaca::channel::Wire;
use self::api::Api;
use self::refusal::Refusal;
use self::reply::Reply;
use self::request::{Grammar, Request};
use self::socketio::namespace::Joined;
use self::wrapping::Wrapping;
use crate::desk::event::Told;
use crate::market::{
    AlpacaChannel, BinanceShape, BinanceStream, Form, MassiveChannel, MassiveMarket, Namespace,
};
use crate::websocket::header;

/// How a connection's requests are read and its replies written; the HTTP side decides on it. Events are not among
/// them: they are written once in each form ([`form`]), for all clients together. A closed set, so that a connection keeps two bytes of it and nothing is looked up
/// where messages are read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The gateway's own protocol: see [`native`].
    #[default]
    Native,
    /// The same with arrays of objects: several events in one, replies and statuses each in one of its own.
    Batch,
    /// Server-sent events: see [`sse`]. The client says nothing behind its HTTP request.
    Sse,
    /// Alpaca's API in JSON: see [`alpaca`].
    AlpacaJson,
    /// Alpaca's API in MessagePack.
    AlpacaMsgpack,
    /// Massive's API for stocks: see [`massive`].
    MassiveStocks,
    /// The same for crypto.
    MassiveCrypto,
    /// The same for currencies.
    MassiveForex,
    /// Finnhub's API: see [`finnhub`].
    Finnhub,
    /// Binance's API: see [`binance`].
    Binance(BinanceShape),
    /// Socket.IO, for a client that is in these namespaces: see [`socketio`].
    SocketIo(Joined),
}

const _: () = assert!(size_of::<Dialect>() <= 2);

impl Dialect {
    /// The form that events have, but for those of channels that have one of their own.
    pub const fn form(self) -> Form {
        match self {
            Self::Native => Form::JSON,
            Self::Batch => Form::JSON_BATCH,
            Self::Sse => Form::SSE,
            Self::AlpacaJson => Form::alpaca_json(AlpacaChannel::Others),
            Self::AlpacaMsgpack => Form::alpaca_msgpack(AlpacaChannel::Others),
            Self::MassiveStocks => Form::massive(MassiveMarket::Stocks, MassiveChannel::Others),
            Self::MassiveCrypto => Form::massive(MassiveMarket::Crypto, MassiveChannel::Others),
            Self::MassiveForex => Form::massive(MassiveMarket::Forex, MassiveChannel::Others),
            Self::Finnhub => Form::FINNHUB,
            Self::Binance(shape) => Form::binance(shape, BinanceStream::Others),
            // Its requests name theirs.
            Self::SocketIo(_) => Form::socketio(Namespace::Root),
        }
    }

    /// Which of Massive's markets a client of its API is for.
    const fn market(self) -> MassiveMarket {
        match self {
            Self::MassiveCrypto => MassiveMarket::Crypto,
            Self::MassiveForex => MassiveMarket::Forex,
            _ => MassiveMarket::Stocks,
        }
    }

    /// The API that it is, if it is not the gateway's own.
    pub const fn api(self) -> Option<Api> {
        match self {
            Self::Native | Self::Batch | Self::Sse => None,
            Self::AlpacaJson | Self::AlpacaMsgpack => Some(Api::Alpaca),
            Self::MassiveStocks | Self::MassiveCrypto | Self::MassiveForex => Some(Api::Massive),
            Self::Finnhub => Some(Api::Finnhub),
            Self::Binance(_) => Some(Api::Binance),
            Self::SocketIo(_) => Some(Api::SocketIo),
        }
    }

    /// The namespaces of Socket.IO that a client is in, if it speaks that.
    #[inline]
    pub const fn socketio(self) -> Option<Joined> {
        match self {
            Self::SocketIo(joined) => Some(joined),
            _ => None,
        }
    }

    /// Whether the connection is a WebSocket: its client sends messages, answers pings and is closed by a frame.
    #[inline]
    pub const fn is_web_socket(self) -> bool {
        !matches!(self, Self::Sse)
    }

    /// How events become messages, which are begun when they are written; `None` if each is one.
    #[inline]
    pub const fn wrapping(self) -> Option<Wrapping> {
        match self {
            Self::Native | Self::Sse | Self::Binance(_) | Self::SocketIo(_) => None,
            Self::Batch
            | Self::AlpacaJson
            | Self::MassiveStocks
            | Self::MassiveCrypto
            | Self::MassiveForex => Some(Wrapping::Array),
            Self::Finnhub => Some(Wrapping::Finnhub),
            Self::AlpacaMsgpack => Some(Wrapping::Msgpack),
        }
    }

    /// Whether a client takes whatever comes for the answer that it waits for, until it is subscribed to something: it is told nothing before
    /// that it hasn't asked for. A client of Socket.IO is told nothing before it is in a namespace.
    pub const fn is_in_order(self) -> bool {
        matches!(self.api(), Some(Api::Alpaca | Api::Massive | Api::SocketIo))
    }

    /// Whether a client can show who it is by a message; else its handshake is the only occasion.
    pub const fn has_auth_message(self) -> bool {
        !matches!(self.api(), Some(Api::Finnhub | Api::Binance))
    }

    /// Whether a client that has shown who it is is refused to show it again, unless its token ends some time.
    pub const fn takes_one_token(self) -> bool {
        matches!(self.api(), Some(Api::Alpaca))
    }

    /// Whether a client whose user has too many connections may show another token, or the same once more, on this one.
    pub const fn may_try_again(self) -> bool {
        matches!(self.api(), Some(Api::Alpaca))
    }

    /// Whether clients of the API take the close 1001 for the end that they wanted, and don't come back: Massive's for Python returns as if its
    /// work were done. They are told 1013, at which they come back.
    pub const fn ends_at_1001(self) -> bool {
        matches!(self.api(), Some(Api::Massive))
    }

    /// Whether a client whose URL names more than it may hold gets the first ones; else it gets nothing.
    pub const fn takes_what_fits(self) -> bool {
        matches!(self.api(), Some(Api::Binance))
    }

    /// The same with the stream's name around each event, or without, if that may be chosen.
    #[must_use]
    pub const fn combined(self, is_combined: bool) -> Self {
        match self {
            Self::Binance(shape) => Self::Binance(BinanceShape::of(is_combined, shape.is_micros())),
            other => other,
        }
    }

    /// Whether a client whose token doesn't hold is told so and stays, until its time to show one is over.
    pub const fn stays_refused(self) -> bool {
        matches!(self.api(), Some(Api::SocketIo))
    }

    /// What the gateway says before a client has asked for anything; `is_authenticated` if that has shown who it is with its handshake.
    pub fn greeting(self, is_authenticated: bool) -> Vec<u8> {
        match self {
            // That of Socket.IO names the connection: whoever accepts it writes it.
            Self::Native | Self::Batch | Self::Sse | Self::Finnhub | Self::Binance(_) | Self::SocketIo(_) => {
                Vec::new()
            }
            Self::MassiveStocks | Self::MassiveCrypto | Self::MassiveForex => massive::write::greeting(),
            Self::AlpacaJson => alpaca::write::greeting(Wire::Json, is_authenticated),
            Self::AlpacaMsgpack => alpaca::write::greeting(Wire::Msgpack, is_authenticated),
        }
    }

    /// Whether a client may use the desk.
    pub const fn has_desk(self) -> bool {
        matches!(self, Self::Native | Self::Batch | Self::SocketIo(_))
    }

    /// Reads a text message, which is no request otherwise, as a request to the desk; `None` if it is none.
    pub fn read_for_desk(self, message: &str) -> Option<Result<Request, Refusal>> {
        matches!(self, Self::Native | Self::Batch).then(|| native::desk::parse(message)).flatten()
    }

    /// Reads a text message of the client, which speaks WebSocket.
    ///
    /// # Errors
    /// A [`Refusal`] for the client; nothing has changed then.
    pub fn read(self, message: &str, grammar: &Grammar) -> Result<Request, Refusal> {
        match self {
            Self::Native | Self::Batch | Self::Sse => native::read::parse(message, grammar),
            Self::AlpacaJson => alpaca::read::json(message, Wire::Json, grammar),
            // Some send text all the same.
            Self::AlpacaMsgpack => alpaca::read::json(message, Wire::Msgpack, grammar),
            Self::MassiveStocks | Self::MassiveCrypto | Self::MassiveForex => {
                massive::read::parse(message, self.market(), grammar)
            }
            Self::Finnhub => finnhub::parse(message, grammar),
            Self::Binance(shape) => binance::read::parse(message, shape, grammar),
            Self::SocketIo(joined) => socketio::read::request(message, joined, grammar),
        }
    }

    /// The dialect of each copy of a desk event that a client gets: one of Socket.IO gets a copy in each of its namespaces that are among these,
    /// any other client one.
    pub fn voices(self, namespaces: Joined) -> impl Iterator<Item = Self> {
        let joined = self.socketio();
        let in_each = joined.unwrap_or_default().and(namespaces).iter();
        let in_each = in_each.map(|namespace| Self::SocketIo(Joined::NONE.with(namespace)));
        joined.is_none().then_some(self).into_iter().chain(in_each)
    }

    /// Writes an event of the desk that a client gets by itself, for one of its [voices](Dialect::voices).
    pub fn frame(self, told: &Told<'_>) -> Vec<u8> {
        if self.wrapping().is_some() {
            return header::text(&[&b"["[..], told.object, b"]"].concat());
        }
        let mut frame = Vec::new();
        self.write_event(&mut frame, told);
        frame
    }

    /// Appends an event of the desk as others are in the dialect, for one of its [voices](Dialect::voices).
    pub fn write_event(self, out: &mut Vec<u8>, told: &Told<'_>) {
        if self.wrapping().is_some() {
            out.push(form::SEPARATOR);
            out.extend_from_slice(told.object);
        } else if let Some(joined) = self.socketio() {
            joined.iter().for_each(|namespace| socketio::desk::write_event(out, namespace, told));
        } else {
            out.extend_from_slice(&header::text(told.object));
        }
    }

    /// Reads a binary message of the client.
    ///
    /// # Errors
    /// A [`Refusal`] for the client; nothing has changed then.
    pub fn read_binary(self, message: &[u8], grammar: &Grammar) -> Result<Request, Refusal> {
        match self {
            Self::AlpacaMsgpack => alpaca::read::msgpack(message, Wire::Msgpack, grammar),
            _ => Err(Refusal::binary()),
        }
    }

    /// Writes a reply or status: a complete frame, or server-sent event; empty if the dialect has none.
    pub fn reply(self, reply: &Reply<'_>, grammar: &Grammar, now_ms: u64) -> Vec<u8> {
        let object = || native::write::reply(reply, &grammar.kinds, now_ms);
        match self {
            Self::Native => header::text(&object()),
            Self::Batch => header::text(&[&b"["[..], &object(), b"]"].concat()),
            Self::Sse => sse::reply(reply, &object()),
            Self::AlpacaJson => alpaca::write::reply(reply, Wire::Json, grammar),
            Self::AlpacaMsgpack => alpaca::write::reply(reply, Wire::Msgpack, grammar),
            Self::MassiveStocks | Self::MassiveCrypto | Self::MassiveForex => {
                massive::write::reply(reply, grammar)
            }
            Self::Finnhub => finnhub::reply(reply, &grammar.kinds, now_ms),
            Self::Binance(shape) => binance::write::reply(reply, shape, grammar, now_ms),
            Self::SocketIo(joined) => socketio::write::reply(reply, joined, grammar, now_ms),
        }
    }
}
