//! What clients ask for: one text message in, a [`Request`] or a [`Refusal`] out. Pure.
//!
//! Parsing goes in two steps, so that a refusal can name the field and its value and echo the client's `id`: first the
//! object's fields as raw JSON, then each field by its own rule.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;

use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use self::options::{Options, Resume};
pub use self::refusal::{ErrorCode, Refusal};
use self::refusal::{invalid, missing, quoted};
use crate::market::{EventType, EventTypes, Name, SYMBOL_BYTES_MAX, Subject};

pub mod options;
mod refusal;
#[cfg(test)]
mod tests;

/// The longest `id` of a request, in bytes as the client wrote it between its quotes.
const ID_BYTES_MAX: usize = 64;

/// What this gateway offers: what requests are judged by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// `CHANNEL_TYPES`.
    pub types: EventTypes,
    /// `ALLOW_WILDCARD`.
    pub allow_wildcard: bool,
}

/// A message that makes sense.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What to do.
    pub action: Action,
    /// The client's own mark, echoed in the reply.
    pub id: Option<Id>,
}

/// What a client can ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Begin to receive events, or receive them on other terms.
    Subscribe(Subscribe),
    /// Stop receiving events.
    Unsubscribe(Selection),
    /// Ask for a `pong` reply.
    Ping {
        /// With the client's own figures.
        stats: bool,
    },
    /// Ask what one is subscribed to.
    List,
}

/// Names, of each of some types.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// The types; at least one, no repeats.
    pub types: SmallVec<[EventType; 2]>,
    /// The names (normalised, no repeats, in the request's order); at least one.
    pub names: Vec<Name>,
}

impl Selection {
    /// The subjects that a request means: each name in each type, in the order of the names.
    pub fn subjects(&self) -> Vec<Subject> {
        let in_each_type = |name: &Name| {
            let name = name.clone();
            self.types.iter().map(move |event_type| Subject { event_type: *event_type, name: name.clone() })
        };
        self.names.iter().flat_map(in_each_type).collect()
    }
}

/// A subscribe.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe {
    /// To what.
    pub selection: Selection,
    /// On which terms.
    pub options: Options,
    /// The last sequence numbers that the client has seen, by symbol; the request has one type then.
    pub resume: Resume,
}

/// A request's `id`: a JSON number or string, exactly as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id(Box<str>);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The fields that mean something to us, as they stand in the message.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'m> {
    #[serde(borrow)]
    action: Option<&'m RawValue>,
    #[serde(borrow)]
    symbols: Option<&'m RawValue>,
    #[serde(borrow)]
    types: Option<&'m RawValue>,
    #[serde(borrow)]
    id: Option<&'m RawValue>,
    #[serde(borrow)]
    stats: Option<&'m RawValue>,
    #[serde(borrow)]
    snapshot: Option<&'m RawValue>,
    #[serde(borrow)]
    heartbeat: Option<&'m RawValue>,
    #[serde(borrow)]
    resume: Option<&'m RawValue>,
    #[serde(borrow)]
    conflate: Option<&'m RawValue>,
    #[serde(borrow)]
    max_rate: Option<&'m RawValue>,
    #[serde(borrow)]
    on_slow: Option<&'m RawValue>,
}

/// Reads one message of a client.
///
/// # Errors
/// A [`Refusal`] for the client; nothing has changed then.
pub fn parse(message: &str, rules: &Rules) -> Result<Request, Refusal> {
    let fields = fields(message)?;
    let id = fields.id.map(id).transpose()?;
    match action(&fields, rules) {
        Ok(action) => Ok(Request { action, id }),
        Err(refusal) => Err(Refusal { id, ..refusal }),
    }
}

/// Reads the symbols of a `?symbols=` query as those of a subscribe request without options.
///
/// # Errors
/// A [`Refusal`] that names the first bad symbol.
pub fn parse_query<S: AsRef<str>>(symbols: &[S], rules: &Rules) -> Result<Subscribe, Refusal> {
    let selection = Selection { types: types(None, rules)?, names: parse_names(symbols, rules)? };
    Ok(Subscribe { selection, options: Options::default(), resume: Resume::default() })
}

fn fields(message: &str) -> Result<Fields<'_>, Refusal> {
    // serde would take an array for a struct.
    if message.trim_start().starts_with('{') {
        return serde_json::from_str(message).map_err(|error| not_readable(message, &error));
    }
    match serde_json::from_str::<&RawValue>(message) {
        Ok(value) => Err(invalid("message", value.get(), "a JSON object")),
        Err(error) => Err(not_readable(message, &error)),
    }
}

fn not_readable(message: &str, error: &serde_json::Error) -> Refusal {
    if error.is_data() {
        return Refusal::new(ErrorCode::InvalidInput, format!("Invalid message: {error}"));
    }
    let message = format!("Invalid JSON: {error} in {}", quoted(message));
    Refusal::new(ErrorCode::InvalidJson, message)
}

fn action(fields: &Fields<'_>, rules: &Rules) -> Result<Action, Refusal> {
    // As the base protocol has it to the byte: "list" is left to those who know of it.
    let allowed = "\"subscribe\", \"unsubscribe\" or \"ping\"";
    let raw = fields.action.ok_or_else(|| missing("action", allowed))?;
    let action: String =
        serde_json::from_str(raw.get()).map_err(|_| invalid("action", raw.get(), allowed))?;
    match action.as_str() {
        "subscribe" => {
            let selection = selection(fields, rules)?;
            let resume = options::resume(fields.resume, &selection)?;
            Ok(Action::Subscribe(Subscribe { selection, options: options::options(fields)?, resume }))
        }
        // Leaving a pattern that one may not have is no offence.
        "unsubscribe" => {
            selection(fields, &Rules { allow_wildcard: true, ..*rules }).map(Action::Unsubscribe)
        }
        "list" => Ok(Action::List),
        "ping" => Ok(Action::Ping { stats: options::switch("stats", fields.stats)?.unwrap_or(false) }),
        _ => {
            let message = format!("Unknown action {}: use {allowed}", quoted(raw.get()));
            Err(Refusal::new(ErrorCode::UnknownAction, message))
        }
    }
}

fn selection(fields: &Fields<'_>, rules: &Rules) -> Result<Selection, Refusal> {
    let types = types(fields.types, rules)?;
    let allowed = "a non-empty array of strings";
    let raw = fields.symbols.ok_or_else(|| missing("symbols", allowed))?;
    let names: Vec<String> =
        serde_json::from_str(raw.get()).map_err(|_| invalid("symbols", raw.get(), allowed))?;
    Ok(Selection { types, names: parse_names(&names, rules)? })
}

fn parse_names<S: AsRef<str>>(names: &[S], rules: &Rules) -> Result<Vec<Name>, Refusal> {
    if names.is_empty() {
        return Err(invalid("symbols", "[]", "at least one symbol"));
    }
    let parsed = names.iter().map(AsRef::as_ref).map(|text| match Name::parse(text.as_bytes()) {
        Some(Name::Pattern(_)) if !rules.allow_wildcard => Err(invalid(
            "symbols",
            &json_string(text),
            "a symbol: this gateway has no wildcards (ALLOW_WILDCARD)",
        )),
        Some(name) => Ok(name),
        None => Err(bad_symbol(text)),
    });
    without_repeats(parsed)
}

fn types(raw: Option<&RawValue>, rules: &Rules) -> Result<SmallVec<[EventType; 2]>, Refusal> {
    let Some(raw) = raw else {
        // Trades are the default also where they aren't configured; then the request has to say what it wants.
        return match rules.types.contains(EventType::Trade) {
            true => Ok(SmallVec::from_slice(&[EventType::Trade])),
            false => {
                Err(missing("types", &format!("a non-empty array of types configured here: {}", rules.types)))
            }
        };
    };
    let bad = || {
        invalid("types", raw.get(), &format!("a non-empty array of types configured here: {}", rules.types))
    };
    let names: Vec<String> = serde_json::from_str(raw.get()).map_err(|_| bad())?;
    if names.is_empty() {
        return Err(bad());
    }
    let parsed = names.iter().map(|name| {
        let event_type = EventType::parse(name.as_bytes());
        event_type.filter(|event_type| rules.types.contains(*event_type)).ok_or_else(bad)
    });
    without_repeats(parsed)
}

fn without_repeats<T, C>(items: impl Iterator<Item = Result<T, Refusal>>) -> Result<C, Refusal>
where
    T: Clone + Eq + Hash,
    C: FromIterator<T>,
{
    let mut seen = HashSet::new();
    items.filter(|item| item.as_ref().map_or(true, |item| seen.insert(item.clone()))).collect()
}

fn id(raw: &RawValue) -> Result<Id, Refusal> {
    let text = raw.get();
    let content_bytes = text.len() - if text.starts_with('"') { 2 } else { 0 };
    let is_id = matches!(text.as_bytes().first(), Some(b'"' | b'-' | b'0'..=b'9'));
    if !is_id || content_bytes > ID_BYTES_MAX {
        return Err(invalid("id", text, "a number, or a string of at most 64 bytes"));
    }
    Ok(Id(text.into()))
}

fn bad_symbol(name: &str) -> Refusal {
    let allowed = format!("1-{SYMBOL_BYTES_MAX} characters of A-Z 0-9 . _ - / : = ^ + @ #");
    invalid("symbols", &json_string(name), &allowed)
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
