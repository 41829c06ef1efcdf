//! What clients of Binance's API ask for, in messages and in the URL. Pure.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::stream;
use crate::market::{BinanceShape, Form, Kind, Name};
use crate::protocol::refusal::{Cause, ErrorCode, Refusal, fault, quoted};
use crate::protocol::request::{Action, FirstRequest, Grammar, Id, Request, Selection, Subscribe};
use crate::protocol::terms::Options;

/// The longest text that is an `id`, in bytes as the client wrote it.
const ID_BYTES_MAX: usize = 36;

/// The only property that there is.
const COMBINED: &str = "combined";

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Method {
    Subscribe,
    Unsubscribe,
    ListSubscriptions,
    SetProperty,
    GetProperty,
}

#[derive(Deserialize)]
struct Ask<'m> {
    method: Method,
    #[serde(borrow)]
    params: Option<&'m RawValue>,
    #[serde(borrow)]
    id: Option<&'m RawValue>,
}

/// Reads a message.
///
/// # Errors
/// A [`Refusal`] for the client; nothing has changed then.
pub fn parse(message: &str, shape: BinanceShape, grammar: &Grammar) -> Result<Request, Refusal> {
    let ask = ask(message)?;
    let id = id(ask.id)?;
    match action(&ask, shape, grammar) {
        Ok(action) => Ok(Request { action, id: Some(id) }),
        Err(refusal) => Err(Refusal { id: Some(id), ..refusal }),
    }
}

/// Reads the streams that a URL names, with a `/` between them; `None` if it names none. A client that comes back names all that it has ever
/// asked for, so the gateway's streams among them are subscribed, and the first other one is refused.
pub fn parse_url(streams: &str, shape: BinanceShape, grammar: &Grammar) -> Option<FirstRequest> {
    // ccxt numbers its connections in the path: what has no @ is no stream.
    let names = streams.split('/').filter(|name| name.contains('@'));
    let (mut channels, mut refusal) = (Vec::new(), None);
    for name in names {
        match channel(name, shape, grammar) {
            Ok(channel) => channels.push(channel),
            Err(unknown) => {
                refusal.get_or_insert(unknown);
            }
        }
    }
    let request = (!channels.is_empty()).then(|| subscribe(Selection::of_channels(channels)));
    let parts: Vec<_> = refusal.map(Err).into_iter().chain(request.map(Ok)).collect();
    (!parts.is_empty()).then(|| parts.into())
}

fn ask(message: &str) -> Result<Ask<'_>, Refusal> {
    let unreadable = |error: serde_json::Error| match error.is_data() {
        true => bad(&fault(&error)),
        false => Refusal::new(ErrorCode::InvalidJson, format!("Invalid JSON: {}", fault(&error))),
    };
    // serde would take an array for a struct, and name the struct where it gets something else.
    if !message.trim_start().starts_with('{') {
        serde_json::from_str::<&RawValue>(message).map_err(unreadable)?;
        return Err(bad("an object is expected"));
    }
    serde_json::from_str(message).map_err(unreadable)
}

fn action(ask: &Ask<'_>, shape: BinanceShape, grammar: &Grammar) -> Result<Action, Refusal> {
    match ask.method {
        Method::Subscribe => {
            let names = names(ask.params)?;
            let channels = names.iter().map(|name| channel(name, shape, grammar));
            let channels = channels.collect::<Result<Vec<_>, _>>()?;
            Ok(Action::Subscribe(subscribe(Selection::of_channels(channels))))
        }
        Method::Unsubscribe => {
            // Nobody is subscribed to what isn't there.
            let names = names(ask.params)?;
            let channels = names.iter().filter_map(|name| stream::parse(name, shape, grammar));
            Ok(Action::Unsubscribe(Selection::of_channels(channels)))
        }
        Method::ListSubscriptions => Ok(Action::List),
        Method::SetProperty => {
            let params = params(ask.params)?;
            let [name, value] = params[..] else {
                return Err(bad(if params.len() < 2 { "a name and a value are expected" } else { TOO_MANY }));
            };
            property(name)?;
            let is_combined = serde_json::from_str(value.get()).map_err(|_| {
                let message = "Invalid value type: expected Boolean";
                Refusal { cause: Cause::NotBoolean, ..Refusal::new(ErrorCode::InvalidInput, message) }
            })?;
            Ok(Action::SetCombined(is_combined))
        }
        Method::GetProperty => {
            let params = params(ask.params)?;
            let [name] = params[..] else {
                return Err(bad(if params.is_empty() { NO_NAME } else { TOO_MANY }));
            };
            property(name)?;
            Ok(Action::IsCombined)
        }
    }
}

const TOO_MANY: &str = "too many parameters";
const NO_NAME: &str = "property name must be a string";

/// Refuses any name of a property but that of the one that there is.
fn property(name: &RawValue) -> Result<(), Refusal> {
    let name: String = serde_json::from_str(name.get()).map_err(|_| bad(NO_NAME))?;
    match name.as_str() {
        COMBINED => Ok(()),
        _ => Err(Refusal {
            cause: Cause::UnknownProperty,
            ..Refusal::new(ErrorCode::InvalidInput, "Unknown property")
        }),
    }
}

fn params(raw: Option<&RawValue>) -> Result<Vec<&RawValue>, Refusal> {
    let raw = raw.ok_or_else(|| bad("missing field `params`"))?;
    serde_json::from_str(raw.get()).map_err(|_| bad("params must be an array"))
}

fn names(raw: Option<&RawValue>) -> Result<Vec<String>, Refusal> {
    let raw = raw.ok_or_else(|| bad("missing field `params`"))?;
    serde_json::from_str(raw.get()).map_err(|_| bad("params must be an array of names of streams"))
}

fn channel(name: &str, shape: BinanceShape, grammar: &Grammar) -> Result<(Kind, Form, Name), Refusal> {
    stream::parse(name, shape, grammar).ok_or_else(|| {
        let message = format!("this gateway has no stream {}", quoted(name));
        Refusal { cause: Cause::NotCarried, ..bad(&message) }
    })
}

const fn subscribe(selection: Selection) -> Subscribe {
    let options = Options { snapshot: None, conflate: None, max_rate: None, on_slow: None, heartbeat: None };
    Subscribe { selection, options, resume: Vec::new(), is_return: false }
}

/// The `id` of a request, as its answer has it.
fn id(raw: Option<&RawValue>) -> Result<Id, Refusal> {
    let text = raw.map_or("null", RawValue::get);
    let is_id = match text.strip_prefix('"') {
        Some(rest) => rest.len() <= ID_BYTES_MAX + 1,
        None => text == "null" || text.parse::<i64>().is_ok(),
    };
    let message = "request ID must be a 64-bit integer, a string of at most 36 characters or null";
    if is_id { Ok(Id(text.into())) } else { Err(bad(message)) }
}

fn bad(message: &str) -> Refusal {
    Refusal::new(ErrorCode::InvalidInput, format!("Invalid request: {message}"))
}
