//! The forms in which a gateway's events come: how they are asked for, and how they are read. The protocols of other vendors' clients are
//! forms here.

mod alpaca;
mod arrays;
mod binance;
mod finnhub;
mod inflating;
mod massive;
mod socketio;
mod sse;
mod texts;

use std::fmt::{Debug, Write as _};
use std::marker::PhantomData;

use clap::ValueEnum;

pub use self::alpaca::{Alpaca, AlpacaMsgpack};
pub use self::binance::Binance;
pub use self::finnhub::Finnhub;
pub use self::massive::Massive;
pub use self::socketio::SocketIo;

use self::arrays::{Arrays, Native};
use self::inflating::Inflating;
use self::sse::Events;
use super::crowd::{self, symbol_name, write_list};
use super::dialect::{Messages, Reader};
use super::{frames, handshake};

/// A form, by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum FormName {
    /// An object in each frame.
    #[default]
    Json,
    /// Arrays of what waits.
    Batch,
    /// Server-sent events over HTTP.
    Sse,
    /// An object in each frame, compressed where the server does so.
    JsonDeflate,
    /// Arrays of what waits, compressed where the server does so.
    BatchDeflate,
    /// What clients of Alpaca's API get in JSON.
    Alpaca,
    /// The same, compressed where the server does so.
    AlpacaDeflate,
    /// What clients of Alpaca's API get in MessagePack.
    AlpacaMsgpack,
    /// The same, compressed where the server does so.
    AlpacaMsgpackDeflate,
    /// What clients of Binance's API get.
    Binance,
    /// What clients of Finnhub's API get.
    Finnhub,
    /// The same, compressed where the server does so.
    FinnhubDeflate,
    /// What clients of Massive's API get.
    Massive,
    /// The same, compressed where the server does so.
    MassiveDeflate,
    /// What clients of Socket.IO get over WebSocket.
    Socketio,
    /// The same, compressed where the server does so.
    SocketioDeflate,
}

impl FormName {
    /// The word for it on the command line.
    pub fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// A form.
pub trait Form: Debug + Send + 'static {
    /// Its name on the command line.
    const NAME: FormName;
    /// The gateway's protocol in this form, in the report.
    const DIALECT: &'static str;
    /// The request for a connection is its subscribe as well, and nothing can be said later.
    const ASKS_BY_URL: bool;
    /// The most symbols that a connection can ask for at once.
    const SUBSCRIBED_MAX: u32;
    /// There are rooms in it.
    const HAS_ROOMS: bool = false;
    /// Each subscribe and unsubscribe is answered, and no event of what was left comes behind that.
    const HAS_REPLIES: bool = true;
    /// Its trades carry no `seq`: their `volume` is to be the same number.
    const VOLUME_IS_SEQ: bool = false;
    /// Reads what a connection receives.
    type Reader: Reader;

    /// What a connection says first.
    fn request(host: &str, path: &str, symbols: &[u32]) -> Vec<u8>;

    /// Writes what a connection says once the handshake is over, in frames. There will be an answer.
    fn write_opening(out: &mut Vec<u8>, symbols: &[u32]) {
        let mut ask = String::new();
        Self::write_ask(&mut ask, "subscribe", symbols);
        frames::write(out, frames::TEXT, ask.as_bytes());
    }

    /// Writes the message that subscribes to symbols (`action` is `subscribe`), or unsubscribes from them.
    fn write_ask(out: &mut String, action: &str, symbols: &[u32]) {
        crowd::write_request(out, action, symbols);
    }
}

/// A form whose messages may be compressed as well.
pub trait Deflatable: Form {
    /// The name on the command line with compression.
    const DEFLATED_NAME: FormName;
    /// The protocol, in the report.
    const DEFLATED_DIALECT: &'static str;
}

/// A form whose messages the server may compress.
#[derive(Debug)]
pub struct Deflated<F>(PhantomData<F>);

impl Deflatable for Json {
    const DEFLATED_NAME: FormName = FormName::JsonDeflate;
    const DEFLATED_DIALECT: &'static str = "gateway, deflate";
}

impl Deflatable for Batch {
    const DEFLATED_NAME: FormName = FormName::BatchDeflate;
    const DEFLATED_DIALECT: &'static str = "gateway, batch, deflate";
}

impl<F: Deflatable> Form for Deflated<F> {
    const NAME: FormName = F::DEFLATED_NAME;
    const DIALECT: &'static str = F::DEFLATED_DIALECT;
    const ASKS_BY_URL: bool = F::ASKS_BY_URL;
    const SUBSCRIBED_MAX: u32 = F::SUBSCRIBED_MAX;
    const HAS_ROOMS: bool = F::HAS_ROOMS;
    const HAS_REPLIES: bool = F::HAS_REPLIES;
    const VOLUME_IS_SEQ: bool = F::VOLUME_IS_SEQ;
    type Reader = Inflating<F::Reader>;

    fn request(host: &str, path: &str, symbols: &[u32]) -> Vec<u8> {
        let mut request = F::request(host, path, symbols);
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
        handshake::add_header(&mut request, offer);
        request
    }

    fn write_opening(out: &mut Vec<u8>, symbols: &[u32]) {
        F::write_opening(out, symbols);
    }

    fn write_ask(out: &mut String, action: &str, symbols: &[u32]) {
        F::write_ask(out, action, symbols);
    }
}

/// [`FormName::Json`].
#[derive(Debug)]
pub struct Json;

/// [`FormName::Batch`].
#[derive(Debug)]
pub struct Batch;

/// [`FormName::Sse`].
#[derive(Debug)]
pub struct Sse;

impl Form for Json {
    const NAME: FormName = FormName::Json;
    const DIALECT: &'static str = "gateway";
    const ASKS_BY_URL: bool = false;
    // A subscribe to more would not fit into the 64 KiB that servers take.
    const SUBSCRIBED_MAX: u32 = 5_000;
    const HAS_ROOMS: bool = true;
    type Reader = Messages;

    fn request(host: &str, path: &str, _: &[u32]) -> Vec<u8> {
        handshake::request(host, path)
    }
}

impl Form for Batch {
    const NAME: FormName = FormName::Batch;
    const DIALECT: &'static str = "gateway, batch";
    const ASKS_BY_URL: bool = false;
    const SUBSCRIBED_MAX: u32 = Json::SUBSCRIBED_MAX;
    const HAS_ROOMS: bool = true;
    type Reader = Arrays<Native>;

    fn request(host: &str, path: &str, _: &[u32]) -> Vec<u8> {
        handshake::request(host, &handshake::with_query(path, "batch", "1"))
    }
}

impl Form for Sse {
    const NAME: FormName = FormName::Sse;
    const DIALECT: &'static str = "gateway, sse";
    const ASKS_BY_URL: bool = true;
    // The head of a request has to fit into 16 KiB.
    const SUBSCRIBED_MAX: u32 = 1_000;
    type Reader = Events;

    fn request(host: &str, path: &str, symbols: &[u32]) -> Vec<u8> {
        let path = handshake::own_path(path, "/sse");
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let mut names = String::new();
        write_list(&mut names, symbols, |names, symbol| write!(names, "{}", symbol_name(symbol)));
        let query = if query.is_empty() { String::new() } else { format!("&{query}") };
        format!("GET {path}?symbols={names}{query} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
    }
}

#[cfg(test)]
mod tests;
