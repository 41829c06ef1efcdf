//! What clients of Massive's API ask for. Pure.

use serde::Deserialize;

use super::channel::channels;
use crate::market::{Form, Kind, MassiveMarket, Name};
use crate::protocol::refusal::{Cause, ErrorCode, Refusal, invalid, missing, quoted};
use crate::protocol::request::{Action, Grammar, Request, Selection, Subscribe, Token};
use crate::protocol::terms::Options;

const ACTIONS: &str = "\"auth\", \"subscribe\" or \"unsubscribe\"";

#[derive(Deserialize)]
struct Ask {
    action: Option<String>,
    params: Option<String>,
}

/// Reads a message.
///
/// # Errors
/// A [`Refusal`] for the client; nothing has changed then.
pub fn parse(message: &str, market: MassiveMarket, grammar: &Grammar) -> Result<Request, Refusal> {
    // serde would take an array for a struct, and what it says of a bad value may be a key.
    let is_object = message.trim_start().starts_with('{');
    let ask: Option<Ask> = serde_json::from_str(message).ok().filter(|_| is_object);
    let ask = ask.ok_or_else(|| {
        Refusal::new(
            ErrorCode::InvalidJson,
            "Invalid message: an object with the texts action and params is expected",
        )
    })?;
    let action = ask.action.ok_or_else(|| missing("action", ACTIONS))?;
    let params = ask.params.as_deref();
    let action = match action.as_str() {
        "auth" => Action::Auth(Token::new(params.ok_or_else(|| missing("params", "a key"))?)),
        "subscribe" => Action::Subscribe(Subscribe {
            selection: selection(params, market, grammar)?,
            options: Options::default(),
            resume: Vec::new(),
            is_return: false,
        }),
        "unsubscribe" => Action::Unsubscribe(selection(params, market, grammar)?),
        other => {
            let message = format!("Unknown action {}: use {ACTIONS}", quoted(other));
            return Err(Refusal::new(ErrorCode::UnknownAction, message));
        }
    };
    Ok(Request { action, id: None })
}

fn selection(params: Option<&str>, market: MassiveMarket, grammar: &Grammar) -> Result<Selection, Refusal> {
    let allowed = "channels with symbols, such as T.AAPL,Q.AAPL";
    let params = params.ok_or_else(|| missing("params", allowed))?;
    let names = params.split(',').map(str::trim).filter(|name| !name.is_empty());
    let channels: Vec<_> = names.map(|text| subject(text, market, grammar)).collect::<Result<_, _>>()?;
    match channels.is_empty() {
        true => Err(invalid("params", &serde_json::Value::from(params).to_string(), allowed)),
        false => Ok(Selection::of_channels(channels)),
    }
}

fn subject(text: &str, market: MassiveMarket, grammar: &Grammar) -> Result<(Kind, Form, Name), Refusal> {
    let bad =
        || invalid("params", &serde_json::Value::from(text).to_string(), "a channel, a dot and a symbol");
    let (channel, name) = text.split_once('.').ok_or_else(bad)?;
    let channel = channels(market).iter().find(|each| each.name == channel);
    let channel = channel.filter(|channel| grammar.kinds.carries(channel.kind)).ok_or_else(|| Refusal {
        cause: Cause::NotCarried,
        ..Refusal::new(ErrorCode::InvalidInput, format!("This gateway has no channel for {}", quoted(text)))
    })?;
    let name = Name::parse(name.as_bytes(), channel.kind.case(grammar.symbol_case)).ok_or_else(bad)?;
    let name = match name {
        Name::Symbol(symbol) => Name::Symbol(grammar.spelling.symbol(symbol)),
        pattern @ Name::Pattern(_) => pattern,
    };
    Ok((channel.kind, channel.form(market), name))
}
