//! What clients of Binance's API get: one object a message, on a combined connection. Its trades carry no time of sending, but the worker's
//! `timestamp`: the millisecond in which the trade was meant to be sent.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::texts::{Text, Texts};
use super::{Form, FormName};
use crate::clock;
use crate::crowd::{symbol_number, write_list};
use crate::handshake;
use crate::message::{Message, Trade};

/// [`FormName::Binance`].
#[derive(Debug)]
pub struct Binance;

impl Form for Binance {
    const NAME: FormName = FormName::Binance;
    const DIALECT: &'static str = "Binance";
    const ASKS_BY_URL: bool = false;
    const SUBSCRIBED_MAX: u32 = 4_000;
    type Reader = Texts<Object>;

    fn request(host: &str, path: &str, _: &[u32]) -> Vec<u8> {
        handshake::request(host, &handshake::own_path(path, "/binance/stream"))
    }

    fn write_ask(out: &mut String, action: &str, symbols: &[u32]) {
        // Writing into a string can't fail.
        let _ = write!(out, r#"{{"method":"{}","params":["#, action.to_ascii_uppercase());
        write_list(out, symbols, |out, symbol| write!(out, r#""s{symbol:04}@trade""#));
        out.push_str(r#"],"id":1}"#);
    }
}

#[derive(Deserialize)]
struct Envelope<'m> {
    #[serde(borrow)]
    data: Option<Fields<'m>>,
    id: Option<u64>,
    msg: Option<&'m str>,
    #[serde(borrow)]
    result: Option<&'m RawValue>,
}

/// The fields of an event that say something here.
#[derive(Deserialize)]
struct Fields<'m> {
    e: Option<&'m str>,
    s: Option<&'m str>,
    t: Option<u64>,
    #[serde(rename = "T")]
    unix_ms: Option<u64>,
    count: Option<u64>,
    state: Option<&'m str>,
}

/// An object.
#[derive(Debug, Default)]
pub struct Object;

impl Text for Object {
    fn parse(message: &[u8]) -> Message {
        match serde_json::from_slice::<Envelope<'_>>(message) {
            Err(_) => Message::Unreadable,
            Ok(Envelope { data: Some(fields), .. }) => fields.message(),
            Ok(Envelope { msg: Some(reason), .. }) => Message::Refused(reason.to_owned()),
            Ok(Envelope { id: Some(_), result: None, .. }) => Message::Done,
            Ok(_) => Message::Other,
        }
    }
}

impl Fields<'_> {
    fn message(&self) -> Message {
        let symbol = self.s.and_then(|symbol| symbol_number(symbol.as_bytes()));
        match (self.e, symbol, self.t, self.unix_ms, self.count) {
            (Some("trade"), Some(symbol), Some(seq), Some(unix_ms), _) => {
                Message::Trade(Trade { symbol, seq, sent_ns: clock::monotonic_of(unix_ms) })
            }
            (Some("skipped"), Some(symbol), _, _, Some(count)) => Message::Skipped { symbol, count },
            (Some("trade" | "skipped"), ..) => Message::Unreadable,
            (Some("feed"), ..) if self.state == Some("down") => Message::FeedLost,
            _ => Message::Other,
        }
    }
}
