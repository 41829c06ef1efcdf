//! What clients send: one text message in, a [`Request`] or a [`Refusal`] out. Pure.
//!
//! Parsing goes in two steps, so that a refusal can name the field and its value and echo the client's `id`: first the
//! object's fields as raw JSON, then each field by its own rule.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use foldhash::fast::RandomState;
use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::options;
use crate::market::{Kind, Name, SYMBOL_RULE};
use crate::protocol::refusal::{ErrorCode, Refusal, fault, invalid, missing, quoted};
use crate::protocol::request::{
    Action, Chosen, Grammar, Id, Of, Request, Resume, Selection, Subscribe, Token,
};
use crate::protocol::terms::{Conflate, Options};

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;

/// The longest `id` of a request, in bytes of the text that it stands for.
const ID_BYTES_MAX: usize = 64;
/// The longest way to write one byte of a text: `\u0041`.
const ESCAPE_BYTES: usize = 6;

/// The fields that mean something to us, as they stand in the message.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fields<'m> {
    #[serde(borrow)]
    pub(super) action: Option<&'m RawValue>,
    #[serde(borrow)]
    pub(super) symbols: Option<&'m RawValue>,
    #[serde(borrow)]
    pub(super) types: Option<&'m RawValue>,
    #[serde(borrow)]
    pub(super) id: Option<&'m RawValue>,
    #[serde(borrow)]
    pub(super) token: Option<&'m RawValue>,
    #[serde(borrow)]
    pub(super) stats: Option<&'m RawValue>,
    #[serde(borrow)]
    pub(super) snapshot: Option<&'m RawValue>,
    #[serde(borrow)]
    pub(super) heartbeat: Option<&'m RawValue>,
    #[serde(borrow)]
    pub(super) resume: Option<&'m RawValue>,
    #[serde(borrow)]
    pub(super) conflate: Option<&'m RawValue>,
    #[serde(borrow)]
    pub(super) max_rate: Option<&'m RawValue>,
    #[serde(borrow)]
    pub(super) on_slow: Option<&'m RawValue>,
}

/// A string of a message, copied only if it has escapes.
#[derive(Deserialize)]
struct Text<'m>(#[serde(borrow)] Cow<'m, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Reads one message of a client.
///
/// # Errors
/// A [`Refusal`] for the client; nothing has changed then.
pub fn parse(message: &str, grammar: &Grammar) -> Result<Request, Refusal> {
    let fields = fields(message)?;
    let id = fields.id.map(id).transpose()?;
    match action(&fields, grammar) {
        Ok(action) => Ok(Request { action, id }),
        Err(refusal) => Err(Refusal { id, ..refusal }),
    }
}

/// Reads the symbols of a `?symbols=` query as those of a subscribe request without options.
///
/// # Errors
/// A [`Refusal`] that names the first bad symbol.
pub fn parse_query<S: AsRef<str>>(symbols: &[S], grammar: &Grammar) -> Result<Subscribe, Refusal> {
    no_adjacent_pluses(symbols)?;
    let types = types(None, grammar)?;
    let selection = Selection { names: parse_names(symbols, &types, grammar)?, types };
    let (options, resume) = (Options::default(), Resume::default());
    Ok(Subscribe { selection, options, resume, is_return: false })
}

/// Reads the symbols that `/v1/last` is asked for, in a path (`is_query` is false) or a query, and its `?type=`.
///
/// # Errors
/// A [`Refusal`] that names the first bad value.
pub fn parse_last<S: AsRef<str>>(
    symbols: &[S],
    is_query: bool,
    type_name: Option<&str>,
    grammar: &Grammar,
) -> Result<Selection, Refusal> {
    if is_query {
        no_adjacent_pluses(symbols)?;
    }
    let types = match type_name {
        None => types(None, grammar)?,
        Some(name) => {
            let allowed = || format!("a type configured here: {}", grammar.kinds);
            let kind = grammar.kinds.find(name.as_bytes());
            let kind = kind.ok_or_else(|| invalid("type", &json_string(name), &allowed()))?;
            SmallVec::from_slice(&[kind])
        }
    };
    let names = parse_names(symbols, &types, grammar)?;
    match names.iter().find(|chosen| chosen.name.is_wildcard()) {
        Some(pattern) => Err(invalid("symbols", &format!("\"{}\"", pattern.name), "symbols, no patterns")),
        None => Ok(Selection { types, names }),
    }
}

/// Reads the terms that a URL names, decoded, as options of a subscribe in this connection's requests, which have none; `None` if it names
/// none. Dialects have no words for aggregates and heartbeats.
///
/// # Errors
/// A [`Refusal`] that names the first bad value.
pub fn parse_terms<'q>(
    pairs: impl Iterator<Item = (&'q str, Cow<'q, str>)>,
) -> Result<Option<Options>, Refusal> {
    let mut request = serde_json::Map::new();
    for (name, value) in pairs {
        let is_term = matches!(name, "snapshot" | "conflate" | "maxRate" | "onSlow");
        if let Some(value) = is_term.then(|| query_option(name, &value)).flatten() {
            request.insert(name.to_owned(), value);
        }
    }
    if request.is_empty() {
        return Ok(None);
    }
    let text = serde_json::Value::Object(request).to_string();
    let options = options::options(&fields(&text)?)?;
    match options.conflate {
        Some(Conflate::Aggregate) => Err(invalid("conflate", "\"aggregate\"", "1 or 0 in a dialect")),
        _ => Ok(Some(options)),
    }
}

/// A parameter of a URL as the option of a request: `1` and `0` are what a switch has there.
pub(in crate::protocol) fn query_option(name: &str, value: &str) -> Option<serde_json::Value> {
    let is_number = || serde_json::from_str::<&RawValue>(value).is_ok_and(|raw| raw.get() == value);
    match (name, value) {
        ("types", types) => Some(types.split(',').map(str::trim).collect()),
        ("snapshot" | "heartbeat" | "conflate", "1" | "true") => Some(true.into()),
        ("snapshot" | "heartbeat" | "conflate", "0" | "false") => Some(false.into()),
        ("maxRate", number) if is_number() => serde_json::from_str(number).ok(),
        ("snapshot" | "heartbeat" | "conflate" | "maxRate" | "onSlow", text) => Some(text.into()),
        _ => None,
    }
}

/// Refuses symbols with two adjacent `+` in a query.
pub(in crate::protocol) fn no_adjacent_pluses<S: AsRef<str>>(symbols: &[S]) -> Result<(), Refusal> {
    // Browsers' own encoders write a space as `+`, and so the two spaces of an option's symbol as two.
    let spaced = symbols.iter().map(AsRef::as_ref).find(|symbol| symbol.contains("++"));
    let allowed = "written with %20 for each space: in a query a + stays a +";
    spaced.map_or(Ok(()), |spaced| Err(invalid("symbols", &json_string(spaced), allowed)))
}

/// Reads what a subscribe has besides its action.
///
/// # Errors
/// A [`Refusal`] that names the first bad field.
pub(in crate::protocol) fn subscribe(object: &str, grammar: &Grammar) -> Result<Subscribe, Refusal> {
    subscribe_of(&fields(object)?, grammar)
}

/// Reads what an unsubscribe has besides its action.
///
/// # Errors
/// A [`Refusal`] that names the first bad field.
pub(in crate::protocol) fn unsubscribe(object: &str, grammar: &Grammar) -> Result<Selection, Refusal> {
    selection(&fields(object)?, grammar)
}

/// Reads the terms that a subscribe names.
///
/// # Errors
/// A [`Refusal`] that names the first bad field.
pub(in crate::protocol) fn terms(object: &str) -> Result<Options, Refusal> {
    options::options(&fields(object)?)
}

fn subscribe_of(fields: &Fields<'_>, grammar: &Grammar) -> Result<Subscribe, Refusal> {
    let selection = selection(fields, grammar)?;
    let resume = options::resume(fields.resume, &selection, grammar)?;
    Ok(Subscribe { selection, options: options::options(fields)?, resume, is_return: false })
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
        return Refusal::new(ErrorCode::InvalidInput, format!("Invalid message: {}", fault(error)));
    }
    let message = format!("Invalid JSON: {} in {}", fault(error), quoted(message));
    Refusal::new(ErrorCode::InvalidJson, message)
}

fn action(fields: &Fields<'_>, grammar: &Grammar) -> Result<Action, Refusal> {
    // As the base protocol has it to the byte: "list" is left to those who know of it.
    let allowed = "\"subscribe\", \"unsubscribe\" or \"ping\"";
    let raw = fields.action.ok_or_else(|| missing("action", allowed))?;
    let action: Text<'_> =
        serde_json::from_str(raw.get()).map_err(|_| invalid("action", raw.get(), allowed))?;
    match &*action.0 {
        "subscribe" => subscribe_of(fields, grammar).map(Action::Subscribe),
        "unsubscribe" => selection(fields, grammar).map(Action::Unsubscribe),
        "list" => Ok(Action::List),
        "auth" => {
            // What was sent in place of a token may be one: it isn't repeated.
            let refused = || missing("token", "a string");
            let raw = fields.token.ok_or_else(refused)?;
            let token: String = serde_json::from_str(raw.get()).map_err(|_| refused())?;
            Ok(Action::Auth(Token::new(token)))
        }
        "ping" => Ok(Action::Ping { stats: options::switch("stats", fields.stats)?.unwrap_or(false) }),
        _ => {
            let message = format!("Unknown action {}: use {allowed}", quoted(raw.get()));
            Err(Refusal::new(ErrorCode::UnknownAction, message))
        }
    }
}

fn selection(fields: &Fields<'_>, grammar: &Grammar) -> Result<Selection, Refusal> {
    let types = types(fields.types, grammar)?;
    let allowed = "a non-empty array of strings";
    let raw = fields.symbols.ok_or_else(|| missing("symbols", allowed))?;
    let names: Vec<Text<'_>> =
        serde_json::from_str(raw.get()).map_err(|_| invalid("symbols", raw.get(), allowed))?;
    Ok(Selection { names: parse_names(&names, &types, grammar)?, types })
}

/// Reads each name as the request's types have it, the type that is named first first.
fn parse_names<S: AsRef<str>>(
    names: &[S],
    types: &[Kind],
    grammar: &Grammar,
) -> Result<Vec<Chosen>, Refusal> {
    if names.is_empty() {
        return Err(invalid("symbols", "[]", "at least one symbol"));
    }
    let mut classes = SmallVec::<[Kind; 2]>::new();
    for kind in types {
        if !classes.iter().any(|class| class.is_market() == kind.is_market()) {
            classes.push(*kind);
        }
    }
    let (mut chosen, mut places) = (Vec::<Chosen>::new(), HashMap::with_hasher(RandomState::default()));
    for text in names.iter().map(AsRef::as_ref) {
        for class in &classes {
            let name = Name::parse(text.as_bytes(), class.case(grammar.symbol_case));
            let name = name.ok_or_else(|| bad_symbol(text))?;
            let place = match places.entry(name) {
                Entry::Occupied(place) => *place.get(),
                Entry::Vacant(new) => {
                    let name = new.key().clone();
                    chosen.push(Chosen { name, of: Of::Types { market: false, custom: false } });
                    *new.insert(chosen.len() - 1)
                }
            };
            chosen[place].add_class(class.is_market());
        }
    }
    Ok(chosen)
}

fn types(raw: Option<&RawValue>, grammar: &Grammar) -> Result<SmallVec<[Kind; 2]>, Refusal> {
    let Some(raw) = raw else {
        // Trades are the default also where they aren't configured; then the request has to say what it wants.
        return match grammar.kinds.carries(Kind::TRADE) {
            true => Ok(SmallVec::from_slice(&[Kind::TRADE])),
            false => Err(missing(
                "types",
                &format!("a non-empty array of types configured here: {}", grammar.kinds),
            )),
        };
    };
    let bad = || {
        invalid("types", raw.get(), &format!("a non-empty array of types configured here: {}", grammar.kinds))
    };
    let names: Vec<Text<'_>> = serde_json::from_str(raw.get()).map_err(|_| bad())?;
    if names.is_empty() {
        return Err(bad());
    }
    without_repeats(names.iter().map(|name| grammar.kinds.find(name.0.as_bytes()).ok_or_else(bad)))
}

fn without_repeats<T, C>(items: impl Iterator<Item = Result<T, Refusal>>) -> Result<C, Refusal>
where
    T: Clone + Eq + Hash,
    C: FromIterator<T>,
{
    let mut seen = HashSet::new();
    items.filter(|item| item.as_ref().map_or(true, |item| seen.insert(item.clone()))).collect()
}

pub(super) fn id(raw: &RawValue) -> Result<Id, Refusal> {
    let text = raw.get();
    let fits = match text.as_bytes() {
        [b'"', written @ .., b'"'] => written.len() <= ID_BYTES_MAX || is_short_text(text),
        [b'-' | b'0'..=b'9', ..] => text.len() <= ID_BYTES_MAX,
        _ => false,
    };
    if !fits {
        return Err(invalid("id", text, "a number, or a string of at most 64 bytes"));
    }
    Ok(Id(text.into()))
}

/// Whether a JSON string stands for at most [`ID_BYTES_MAX`] bytes, although it is written with more: many programs write all but ASCII as
/// escapes.
fn is_short_text(json: &str) -> bool {
    json.len() <= ESCAPE_BYTES * ID_BYTES_MAX + 2
        && serde_json::from_str::<Text<'_>>(json).is_ok_and(|text| text.0.len() <= ID_BYTES_MAX)
}

fn bad_symbol(name: &str) -> Refusal {
    invalid("symbols", &json_string(name), SYMBOL_RULE)
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
