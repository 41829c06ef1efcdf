//! What clients of Alpaca's API get. Its trades carry no time of sending, but the worker's `timestamp`: the millisecond in which the trade was
//! meant to be sent.

use std::fmt::Write as _;

use rmpv::ValueRef;
use rmpv::decode::read_value_ref;
use serde::Deserialize;

use super::arrays::{Arrays, Objects};
use super::{Deflatable, Form, FormName};
use crate::clock;
use crate::crowd::{symbol_number, write_list};
use crate::dialect::{Reader, Said};
use crate::frames::{self, Front};
use crate::handshake;
use crate::message::{Message, Trade};

/// [`FormName::Alpaca`].
#[derive(Debug)]
pub struct Alpaca;

/// [`FormName::AlpacaMsgpack`].
#[derive(Debug)]
pub struct AlpacaMsgpack;

impl Form for Alpaca {
    const NAME: FormName = FormName::Alpaca;
    const DIALECT: &'static str = "Alpaca";
    const ASKS_BY_URL: bool = false;
    const SUBSCRIBED_MAX: u32 = 5_000;
    type Reader = Arrays<Json>;

    fn request(host: &str, path: &str, _: &[u32]) -> Vec<u8> {
        request(host, path)
    }

    fn write_ask(out: &mut String, action: &str, symbols: &[u32]) {
        write_ask(out, action, symbols);
    }
}

impl Form for AlpacaMsgpack {
    const NAME: FormName = FormName::AlpacaMsgpack;
    const DIALECT: &'static str = "Alpaca, MessagePack";
    const ASKS_BY_URL: bool = false;
    const SUBSCRIBED_MAX: u32 = 5_000;
    type Reader = Maps;

    fn request(host: &str, path: &str, _: &[u32]) -> Vec<u8> {
        let mut request = request(host, path);
        handshake::add_header(&mut request, "Content-Type: application/msgpack\r\n");
        request
    }

    // In JSON: the gateway takes both, whatever it answers in.
    fn write_ask(out: &mut String, action: &str, symbols: &[u32]) {
        write_ask(out, action, symbols);
    }
}

impl Deflatable for Alpaca {
    const DEFLATED_NAME: FormName = FormName::AlpacaDeflate;
    const DEFLATED_DIALECT: &'static str = "Alpaca, deflate";
}

impl Deflatable for AlpacaMsgpack {
    const DEFLATED_NAME: FormName = FormName::AlpacaMsgpackDeflate;
    const DEFLATED_DIALECT: &'static str = "Alpaca, MessagePack, deflate";
}

/// Shows a key in the handshake, so that the subscribe can follow at once. A gateway without keys takes any.
fn request(host: &str, path: &str) -> Vec<u8> {
    let mut request = handshake::request(host, &handshake::own_path(path, "/alpaca/v2/iex"));
    handshake::add_header(&mut request, "APCA-API-KEY-ID: ws-load\r\nAPCA-API-SECRET-KEY: ws-load\r\n");
    request
}

fn write_ask(out: &mut String, action: &str, symbols: &[u32]) {
    // Writing into a string can't fail.
    let _ = write!(out, r#"{{"action":"{action}","trades":["#);
    write_list(out, symbols, |out, symbol| write!(out, r#""S{symbol:04}""#));
    out.push_str("]}");
}

/// The fields of an object that say something here.
#[derive(Debug, Default, Deserialize)]
struct Fields<'o> {
    #[serde(rename = "T")]
    kind: &'o str,
    #[serde(rename = "S")]
    symbol: Option<&'o str>,
    i: Option<u64>,
    t: Option<&'o str>,
    n: Option<u64>,
    code: Option<u64>,
    msg: Option<&'o str>,
    state: Option<&'o str>,
    /// `t`, where it isn't text.
    #[serde(skip)]
    unix_ms: Option<u64>,
}

impl Fields<'_> {
    fn message(&self) -> Message {
        let symbol = self.symbol.and_then(|symbol| symbol_number(symbol.as_bytes()));
        let unix_ms = self.unix_ms.or_else(|| self.t.and_then(clock::rfc3339_ms));
        match (self.kind, symbol) {
            ("t", Some(symbol)) => match (self.i, unix_ms) {
                (Some(seq), Some(unix_ms)) => {
                    Message::Trade(Trade { symbol, seq, sent_ns: clock::monotonic_of(unix_ms) })
                }
                _ => Message::Unreadable,
            },
            ("skipped", Some(symbol)) => {
                self.n.map_or(Message::Unreadable, |count| Message::Skipped { symbol, count })
            }
            ("t" | "skipped", None) => Message::Unreadable,
            ("subscription", _) => Message::Done,
            ("error", _) => Message::Refused(format!(
                "{} ({})",
                self.msg.unwrap_or_default(),
                self.code.unwrap_or_default()
            )),
            ("feed", _) if self.state == Some("down") => Message::FeedLost,
            _ => Message::Other,
        }
    }
}

/// Its objects in JSON.
#[derive(Debug, Default)]
pub struct Json;

impl Objects for Json {
    const NEXT: &'static [u8] = br#",{"T":""#;

    fn parse(object: &[u8]) -> Message {
        serde_json::from_slice::<Fields<'_>>(object).map_or(Message::Unreadable, |fields| fields.message())
    }
}

/// Its objects in MessagePack, one after the other.
#[derive(Debug, Default)]
pub struct Maps {
    /// Bytes of the array that are left.
    left: usize,
}

impl Reader for Maps {
    fn is_at_frame(&self) -> bool {
        self.left == 0
    }

    fn next<'b>(&mut self, bytes: &'b [u8], len_max: usize) -> Result<(usize, Said<'b>), String> {
        let mut used = 0;
        if self.left == 0 {
            match frames::front(bytes, len_max) {
                Front::Partial => return Ok((0, Said::Nothing)),
                Front::Bad(reason) => return Err(reason.to_owned()),
                Front::Frame { opcode: frames::BINARY, payload, len } => {
                    let opening = match payload.first() {
                        Some(0x91..=0x9f) => 1,
                        Some(0xdc) => 3,
                        Some(0xdd) => 5,
                        _ => return Err("a message that is no array, or an empty one".to_owned()),
                    };
                    self.left = payload.len().saturating_sub(opening);
                    used = len - self.left;
                }
                Front::Frame { opcode: frames::TEXT, .. } => {
                    return Err("a text message among binary ones".to_owned());
                }
                Front::Frame { opcode, payload, len } => return Ok((len, Said::Control { opcode, payload })),
            }
        }
        let mut rest = &bytes[used..used + self.left];
        let object = read_map(&mut rest).ok_or("an object that is no MessagePack")?;
        let read = self.left - rest.len();
        self.left = rest.len();
        Ok((used + read, Said::Message(object)))
    }
}

/// Takes an object off the front of an array.
fn read_map(array: &mut &[u8]) -> Option<Message> {
    let ValueRef::Map(object) = read_value_ref(array).ok()? else { return None };
    let mut fields = Fields::default();
    for (name, value) in &object {
        let text = match value {
            ValueRef::String(text) => text.as_str(),
            _ => None,
        };
        let ValueRef::String(name) = name else { return None };
        match (name.as_str()?, value) {
            ("T", _) => fields.kind = text?,
            ("S", _) => fields.symbol = text,
            ("msg", _) => fields.msg = text,
            ("state", _) => fields.state = text,
            ("i", ValueRef::Integer(number)) => fields.i = number.as_u64(),
            ("n", ValueRef::Integer(number)) => fields.n = number.as_u64(),
            ("code", ValueRef::Integer(number)) => fields.code = number.as_u64(),
            ("t", &ValueRef::Ext(-1, moment)) => fields.unix_ms = moment_ms(moment),
            _ => {}
        }
    }
    Some(fields.message())
}

/// Unix milliseconds of an extension of 8 bytes: 30 bits of nanoseconds, 34 of seconds.
fn moment_ms(moment: &[u8]) -> Option<u64> {
    let both = u64::from_be_bytes(moment.try_into().ok()?);
    Some((both & ((1 << 34) - 1)) * 1_000 + (both >> 34) / 1_000_000)
}
