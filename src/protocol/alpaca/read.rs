//! What clients of Alpaca's API ask for, in JSON or MessagePack. Pure.

use std::collections::HashMap;

use rmp::Marker;
use rmp::decode::{self, Bytes, RmpRead};
use serde::Deserialize;

use super::channel::{CHANNELS, UNKNOWN, Wire};
use crate::market::{Kind, Name};
use crate::protocol::refusal::{Cause, ErrorCode, Refusal, fault, invalid, missing, quoted};
use crate::protocol::request::{Action, Grammar, Request, Selection, Subscribe, Token};
use crate::protocol::terms::Options;

/// How deep values may be nested that mean nothing here.
const DEPTH_MAX: usize = 16;

const ACTIONS: &str = "\"auth\", \"subscribe\" or \"unsubscribe\"";

/// The fields of a request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ask {
    action: Option<String>,
    key: Option<String>,
    secret: Option<String>,
    /// The lists of names, by channel.
    lists: HashMap<String, Vec<String>>,
}

/// Reads a text message.
///
/// # Errors
/// A [`Refusal`] for the client; nothing has changed then.
pub fn json(message: &str, wire: Wire, grammar: &Grammar) -> Result<Request, Refusal> {
    let ask = parse_json(message).map_err(|error| {
        Refusal::new(
            ErrorCode::InvalidJson,
            format!("Invalid JSON: {} in {}", fault(&error), quoted(message)),
        )
    })?;
    request(ask, wire, grammar)
}

/// Reads a binary message.
///
/// # Errors
/// A [`Refusal`] for the client; nothing has changed then.
pub fn msgpack(message: &[u8], wire: Wire, grammar: &Grammar) -> Result<Request, Refusal> {
    let ask = parse_msgpack(message).ok_or_else(|| {
        Refusal::new(
            ErrorCode::InvalidJson,
            "Invalid MessagePack: a map with texts and arrays of texts is expected",
        )
    })?;
    request(ask, wire, grammar)
}

fn request(ask: Ask, wire: Wire, grammar: &Grammar) -> Result<Request, Refusal> {
    let action = ask.action.as_deref().ok_or_else(|| missing("action", ACTIONS))?;
    let action = match action {
        "auth" => {
            // What was sent in place of a key may be one: it isn't repeated.
            let key = ask.key.ok_or_else(|| missing("key", "a string"))?;
            Action::Auth(Token::with_secret(key, ask.secret))
        }
        "subscribe" => Action::Subscribe(Subscribe {
            selection: selection(&ask.lists, wire, grammar)?,
            options: Options::default(),
            resume: Vec::new(),
            is_return: false,
        }),
        "unsubscribe" => Action::Unsubscribe(selection(&ask.lists, wire, grammar)?),
        other => {
            let message = format!("Unknown action {}: use {ACTIONS}", quoted(other));
            return Err(Refusal::new(ErrorCode::UnknownAction, message));
        }
    };
    Ok(Request { action, id: None })
}

fn selection(
    lists: &HashMap<String, Vec<String>>,
    wire: Wire,
    grammar: &Grammar,
) -> Result<Selection, Refusal> {
    let asked = |name: &str| lists.get(name).filter(|names| !names.is_empty());
    let not_carried = |name: &str| Refusal {
        cause: Cause::NotCarried,
        ..Refusal::new(ErrorCode::InvalidInput, format!("This gateway carries no {name}"))
    };
    if let Some(name) = UNKNOWN.iter().find(|name| asked(name).is_some()) {
        return Err(not_carried(name));
    }
    let mut chosen = Vec::new();
    for channel in CHANNELS {
        let Some(names) = asked(channel.name) else { continue };
        if !grammar.kinds.carries(channel.kind) {
            return Err(not_carried(channel.name));
        }
        for text in names {
            let name = name(text, channel.kind, grammar).ok_or_else(|| {
                invalid(channel.name, &serde_json::Value::from(text.as_str()).to_string(), "symbols")
            })?;
            chosen.push((channel.kind, channel.form(wire), name));
        }
    }
    Ok(Selection::of_channels(chosen))
}

fn name(text: &str, kind: Kind, grammar: &Grammar) -> Option<Name> {
    let name = Name::parse(text.as_bytes(), kind.case(grammar.symbol_case))?;
    Some(match name {
        Name::Symbol(symbol) => Name::Symbol(grammar.spelling.symbol(symbol)),
        pattern @ Name::Pattern(_) => pattern,
    })
}

fn parse_json(message: &str) -> Result<Ask, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Field {
        Text(String),
        List(Vec<String>),
        Other(serde::de::IgnoredAny),
    }
    let fields: HashMap<String, Field> = serde_json::from_str(message)?;
    let mut ask = Ask::default();
    for (name, field) in fields {
        match field {
            Field::Text(text) => ask.put(name, text),
            Field::List(list) => {
                ask.lists.insert(name, list);
            }
            Field::Other(_) if is_list(&name) => {
                return Err(serde::de::Error::custom(format!("{name} must be an array of strings")));
            }
            Field::Other(_) => {}
        }
    }
    Ok(ask)
}

/// A map of texts and arrays of texts; other values are passed over where nothing is expected.
fn parse_msgpack(message: &[u8]) -> Option<Ask> {
    let mut bytes = Bytes::new(message);
    let fields = decode::read_map_len(&mut bytes).ok()?;
    let mut ask = Ask::default();
    for _ in 0..fields {
        let name = text(&mut bytes)?;
        match Marker::from_u8(*bytes.remaining_slice().first()?) {
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                let value = text(&mut bytes)?;
                ask.put(name, value);
            }
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 if is_list(&name) => {
                let count = decode::read_array_len(&mut bytes).ok()?;
                // Each element takes a byte at least.
                let list = (0..count).map(|_| text(&mut bytes)).collect::<Option<Vec<_>>>()?;
                ask.lists.insert(name, list);
            }
            Marker::Null if is_list(&name) => skip(&mut bytes, DEPTH_MAX)?,
            _ if is_list(&name) => return None,
            _ => skip(&mut bytes, DEPTH_MAX)?,
        }
    }
    bytes.remaining_slice().is_empty().then_some(ask)
}

fn text(bytes: &mut Bytes<'_>) -> Option<String> {
    let rest = bytes.remaining_slice();
    let (text, behind) = decode::read_str_from_slice(rest).ok()?;
    *bytes = Bytes::new(behind);
    Some(text.to_owned())
}

/// Goes past a value.
fn skip(bytes: &mut Bytes<'_>, depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let marker = decode::read_marker(bytes).ok()?;
    let mut length = |width: usize| -> Option<usize> {
        let mut all = [0; 8];
        bytes.read_exact_buf(all.get_mut(8 - width..)?).ok()?;
        Some(u64::from_be_bytes(all) as usize)
    };
    // Bytes that follow, and values behind them.
    let (size, values) = match marker {
        Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => (0, 0),
        Marker::U8 | Marker::I8 => (1, 0),
        Marker::U16 | Marker::I16 | Marker::FixExt1 => (2, 0),
        Marker::FixExt2 => (3, 0),
        Marker::U32 | Marker::I32 | Marker::F32 => (4, 0),
        Marker::FixExt4 => (5, 0),
        Marker::U64 | Marker::I64 | Marker::F64 => (8, 0),
        Marker::FixExt8 => (9, 0),
        Marker::FixExt16 => (17, 0),
        Marker::FixStr(size) => (usize::from(size), 0),
        Marker::Str8 | Marker::Bin8 => (length(1)?, 0),
        Marker::Str16 | Marker::Bin16 => (length(2)?, 0),
        Marker::Str32 | Marker::Bin32 => (length(4)?, 0),
        Marker::Ext8 => (length(1)? + 1, 0),
        Marker::Ext16 => (length(2)? + 1, 0),
        Marker::Ext32 => (length(4)? + 1, 0),
        Marker::FixArray(count) => (0, usize::from(count)),
        Marker::Array16 => (0, length(2)?),
        Marker::Array32 => (0, length(4)?),
        Marker::FixMap(count) => (0, 2 * usize::from(count)),
        Marker::Map16 => (0, 2 * length(2)?),
        Marker::Map32 => (0, 2 * length(4)?),
        Marker::Reserved => return None,
    };
    let behind = bytes.remaining_slice().get(size..)?;
    *bytes = Bytes::new(behind);
    for _ in 0..values {
        skip(bytes, depth)?;
    }
    Some(())
}

/// Whether a field is a list of names.
fn is_list(name: &str) -> bool {
    CHANNELS.iter().any(|channel| channel.name == name) || UNKNOWN.contains(&name)
}

impl Ask {
    fn put(&mut self, name: String, text: String) {
        match name.as_str() {
            "action" => self.action = Some(text),
            "key" => self.key = Some(text),
            "secret" => self.secret = Some(text),
            // One name may stand without its array.
            _ if is_list(&name) => {
                self.lists.insert(name, vec![text]);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
