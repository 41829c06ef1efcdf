//! What clients of Finnhub's API get. Its trades carry no number: the `volume` of each is its `seq`, and a gateway passes numbers on as they are. They
//! carry no time of sending either, but the worker's `timestamp`: the millisecond in which the trade was meant to be sent.

use std::fmt::Write as _;

use serde::Deserialize;

use super::arrays::{Arrays, Objects};
use super::{Deflatable, Form, FormName};
use crate::clock;
use crate::crowd::symbol_number;
use crate::frames;
use crate::handshake;
use crate::message::{self, Message, Trade};

/// [`FormName::Finnhub`].
#[derive(Debug)]
pub struct Finnhub;

impl Form for Finnhub {
    const NAME: FormName = FormName::Finnhub;
    const DIALECT: &'static str = "Finnhub";
    const ASKS_BY_URL: bool = false;
    const HAS_REPLIES: bool = false;
    const VOLUME_IS_SEQ: bool = true;
    const SUBSCRIBED_MAX: u32 = 5_000;
    type Reader = Arrays<Json>;

    fn request(host: &str, path: &str, _: &[u32]) -> Vec<u8> {
        handshake::request(host, &handshake::own_path(path, "/finnhub"))
    }

    /// One symbol a message, and a ping: the gateway reads on behind a subscribe once that holds, so its pong says that all of them do.
    fn write_opening(out: &mut Vec<u8>, symbols: &[u32]) {
        let mut ask = String::new();
        for &symbol in symbols {
            ask.clear();
            Self::write_ask(&mut ask, "subscribe", &[symbol]);
            frames::write(out, frames::TEXT, ask.as_bytes());
        }
        frames::write(out, frames::PING, b"");
    }

    fn write_ask(out: &mut String, action: &str, symbols: &[u32]) {
        for symbol in symbols {
            // Writing into a string can't fail.
            let _ = write!(out, r#"{{"type":"{action}","symbol":"S{symbol:04}"}}"#);
        }
    }
}

impl Deflatable for Finnhub {
    const DEFLATED_NAME: FormName = FormName::FinnhubDeflate;
    const DEFLATED_DIALECT: &'static str = "Finnhub, deflate";
}

/// Its trades, and what comes between them.
#[derive(Debug, Default)]
pub struct Json;

impl Objects for Json {
    const OPENING: &'static [u8] = br#"{"data":["#;
    const NEXT: &'static [u8] = br#",{"p":"#;
    const CLOSING: &'static [u8] = br#"],"type":"trade"}"#;
    const PONG: Option<Message> = Some(Message::Done);

    fn parse(object: &[u8]) -> Message {
        match serde_json::from_slice::<Fields<'_>>(object) {
            Ok(Fields { s, t, v }) => match symbol_number(s.as_bytes()) {
                Some(symbol) => Message::Trade(Trade { symbol, seq: v, sent_ns: clock::monotonic_of(t) }),
                None => Message::Unreadable,
            },
            Err(_) => Message::Unreadable,
        }
    }

    /// Errors in Finnhub's words, statuses in the gateway's.
    fn parse_single(message: &[u8]) -> Option<Message> {
        Some(match serde_json::from_slice::<Error>(message) {
            Ok(Error { msg }) => Message::Refused(msg),
            Err(_) => message::parse(message),
        })
    }
}

/// The fields of a trade that say something here.
#[derive(Deserialize)]
struct Fields<'o> {
    s: &'o str,
    t: u64,
    v: u64,
}

#[derive(Deserialize)]
struct Error {
    msg: String,
}
