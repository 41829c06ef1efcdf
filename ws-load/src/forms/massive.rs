//! What clients of Massive's (Polygon's) API get. Its trades carry no time of sending, but the worker's `timestamp`: the millisecond in which the
//! trade was meant to be sent.

use std::fmt::Write as _;

use serde::Deserialize;

use super::arrays::{Arrays, Objects};
use super::{Deflatable, Form, FormName};
use crate::clock;
use crate::crowd::{symbol_number, write_list};
use crate::handshake;
use crate::message::{Message, Trade};

/// [`FormName::Massive`].
#[derive(Debug)]
pub struct Massive;

impl Form for Massive {
    const NAME: FormName = FormName::Massive;
    const DIALECT: &'static str = "Massive";
    const ASKS_BY_URL: bool = false;
    const SUBSCRIBED_MAX: u32 = 5_000;
    type Reader = Arrays<Json>;

    /// Shows a key in the handshake, so that the subscribe can follow at once: a connection's own, or any, as a gateway without keys takes it.
    fn request(host: &str, path: &str, _: &[u32]) -> Vec<u8> {
        let path = handshake::own_path(path, "/massive/stocks");
        let has_key = path.contains("token=");
        let path = if has_key { path } else { handshake::with_query(&path, "token", "ws-load") };
        handshake::request(host, &path)
    }

    fn write_ask(out: &mut String, action: &str, symbols: &[u32]) {
        // Writing into a string can't fail.
        let _ = write!(out, r#"{{"action":"{action}","params":""#);
        write_list(out, symbols, |out, symbol| write!(out, "T.S{symbol:04}"));
        out.push_str("\"}");
    }
}

impl Deflatable for Massive {
    const DEFLATED_NAME: FormName = FormName::MassiveDeflate;
    const DEFLATED_DIALECT: &'static str = "Massive, deflate";
}

/// Its objects.
#[derive(Debug, Default)]
pub struct Json;

impl Objects for Json {
    /// Trades only: the statuses of an answer, one for each symbol, are read as the first of them.
    const NEXT: &'static [u8] = br#",{"ev":"T""#;

    fn parse(object: &[u8]) -> Message {
        let first = serde_json::Deserializer::from_slice(object).into_iter::<Fields<'_>>().next();
        first.and_then(Result::ok).map_or(Message::Unreadable, Fields::message)
    }
}

/// The fields of an object that say something here.
#[derive(Deserialize)]
struct Fields<'o> {
    ev: &'o str,
    sym: Option<&'o str>,
    q: Option<u64>,
    t: Option<u64>,
    status: Option<&'o str>,
    message: Option<String>,
    channel: Option<&'o str>,
    n: Option<u64>,
}

impl Fields<'_> {
    fn message(self) -> Message {
        let number = |symbol: &str| symbol_number(symbol.as_bytes());
        if self.ev == "T" {
            return match (self.sym.and_then(number), self.q, self.t) {
                (Some(symbol), Some(seq), Some(unix_ms)) => {
                    Message::Trade(Trade { symbol, seq, sent_ns: clock::monotonic_of(unix_ms) })
                }
                _ => Message::Unreadable,
            };
        }
        match self.status {
            Some("success") => Message::Done,
            Some("skipped") => {
                let symbol = self.channel.and_then(|channel| channel.strip_prefix("T.")).and_then(number);
                match (symbol, self.n) {
                    (Some(symbol), Some(count)) => Message::Skipped { symbol, count },
                    _ => Message::Unreadable,
                }
            }
            Some("feed_down") => Message::FeedLost,
            Some("error" | "auth_required" | "auth_failed" | "max_connections" | "slow_consumer") => {
                Message::Refused(self.message.unwrap_or_default())
            }
            _ => Message::Other,
        }
    }
}
