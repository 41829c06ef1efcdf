//! What clients say: a text message in, what it comes to out. Pure.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::desk;
use super::engine;
use super::mark::{Mark, Verb};
use super::namespace::{Joined, find};
use super::packet::{Kind, Packet};
use crate::market::{Form, Name, Namespace, SYMBOL_RULE};
use crate::protocol::native::read as native;
use crate::protocol::refusal::{ErrorCode, Refusal, invalid, missing, quoted};
use crate::protocol::request::{Action, Chosen, Grammar, Of, Request, Selection, Subscribe, Token};

const EVENTS: &str =
    "\"subscribe\", \"unsubscribe\", \"subscribe:<type>\", \"unsubscribe:<type>\", \"auth\" or \"ping\"";

/// What a message comes to.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// It answers a ping.
    Pong,
    /// A first ping on another transport, if `is_probe`.
    Ping {
        /// Whether it is one.
        is_probe: bool,
    },
    /// From now on this transport is used.
    Upgrade,
    /// Nothing.
    Nothing,
    /// The client leaves.
    Close,
    /// The client joins a namespace.
    Connect(Namespace, Option<Token>),
    /// The client leaves one.
    Disconnect(Namespace),
    /// A request, or what is wrong with it; so many binary messages follow that belong to it.
    Asked(Box<Result<Request, Refusal>>, u32),
    /// The client doesn't speak the protocol.
    Broken(&'static str),
}

/// Reads a message of a client that is in these namespaces.
pub fn read(message: &str, joined: Joined, grammar: &Grammar) -> Said {
    match engine::Packet::read(message) {
        Ok(engine::Packet::Message(text)) => read_packet(text, joined, grammar),
        Ok(engine::Packet::Pong(_)) => Said::Pong,
        Ok(engine::Packet::Ping(text)) => Said::Ping { is_probe: text == "probe" },
        Ok(engine::Packet::Upgrade) => Said::Upgrade,
        Ok(engine::Packet::Noop) => Said::Nothing,
        Ok(engine::Packet::Close) => Said::Close,
        Ok(engine::Packet::Open(_)) => Said::Broken("a packet that servers send"),
        Err(engine::NoPacket) => Said::Broken("no packet of Engine.IO"),
    }
}

/// The request of a message of such a client.
///
/// # Errors
/// A [`Refusal`] for the client, also where the message is none.
pub fn request(message: &str, joined: Joined, grammar: &Grammar) -> Result<Request, Refusal> {
    match read(message, joined, grammar) {
        Said::Asked(asked, _) => *asked,
        _ => Err(Refusal::new(ErrorCode::InvalidInput, "no event of Socket.IO")),
    }
}

fn read_packet(text: &str, joined: Joined, grammar: &Grammar) -> Said {
    let packet = match Packet::read(text) {
        Ok(packet) => packet,
        Err(fault) => return Said::Broken(fault.words()),
    };
    let namespace = find(packet.namespace);
    if packet.kind == Kind::Connect {
        return match namespace {
            Some(namespace) if joined.has(namespace) => Said::Broken("a namespace joined twice"),
            Some(namespace) => Said::Connect(namespace, packet.data.and_then(token)),
            None => Said::Asked(Box::new(Err(nowhere(packet.namespace))), 0),
        };
    }
    let Some(namespace) = namespace.filter(|namespace| joined.has(*namespace)) else {
        return Said::Broken("a packet for a namespace that is not joined");
    };
    match packet.kind {
        Kind::Disconnect => Said::Disconnect(namespace),
        Kind::Event | Kind::BinaryEvent => {
            Said::Asked(Box::new(event(&packet, namespace, grammar)), packet.attachments)
        }
        // The gateway asks for no acknowledgements.
        Kind::Ack => Said::Nothing,
        Kind::BinaryAck => Said::Broken("an acknowledgement that nobody has asked for"),
        Kind::Connect | Kind::ConnectError => Said::Broken("a packet that servers send"),
    }
}

/// The token of a `CONNECT`: the field `token`, whatever else is there.
fn token(auth: &str) -> Option<Token> {
    #[derive(Deserialize)]
    struct Auth {
        token: Option<serde_json::Value>,
    }
    let auth: Auth = serde_json::from_str(auth).ok()?;
    match auth.token? {
        serde_json::Value::Null => None,
        // Programs that have a header at hand put it here as it is.
        serde_json::Value::String(text) => Some(Token::new(text.strip_prefix("Bearer ").unwrap_or(&text))),
        // It is none that holds.
        _ => Some(Token::new("")),
    }
}

fn nowhere(name: &str) -> Refusal {
    let name = quoted(name);
    let mark = Mark { namespace: Namespace::Root, verb: Verb::Nowhere, ack: None, text: &name };
    Refusal { id: Some(mark.to_id()), ..Refusal::new(ErrorCode::InvalidInput, "Invalid namespace") }
}

/// What a request is, before its answer is known: an action, and what the answer's mark has besides.
struct Asked {
    action: Action,
    verb: Verb,
    text: String,
}

impl Asked {
    fn plain(action: Action) -> Self {
        Self { action, verb: Verb::Status, text: String::new() }
    }
}

fn event(packet: &Packet<'_>, namespace: Namespace, grammar: &Grammar) -> Result<Request, Refusal> {
    let elements = packet.elements();
    let first = elements.first().map_or("", |first| first.get());
    let name: String = serde_json::from_str(first).unwrap_or_else(|_| first.to_owned());
    let id = |verb, text: &str| Some(Mark { namespace, verb, ack: packet.ack, text }.to_id());
    let verb = if desk::is_one(&name) { Verb::Desk } else { Verb::Status };
    let refused = |refusal| Refusal { id: id(verb, ""), ..refusal };
    if packet.kind.is_binary() {
        let message = "Binary attachments are not supported: send JSON";
        return Err(refused(Refusal::new(ErrorCode::InvalidInput, message)));
    }
    let value = elements.get(1).copied();
    let Asked { action, verb, text } = ask(&name, first, value, namespace, grammar).map_err(refused)?;
    Ok(Request { action, id: id(verb, &text) })
}

fn ask(
    name: &str,
    quoted_name: &str,
    value: Option<&RawValue>,
    namespace: Namespace,
    grammar: &Grammar,
) -> Result<Asked, Refusal> {
    let object =
        || value.map(RawValue::get).ok_or_else(|| missing("data", "an object behind the event's name"));
    match name {
        "subscribe" => {
            let subscribe = native::subscribe(object()?, grammar)?;
            let selection = in_namespace(&subscribe.selection, namespace);
            Ok(Asked::plain(Action::Subscribe(Subscribe { selection, ..subscribe })))
        }
        "unsubscribe" => {
            let selection = native::unsubscribe(object()?, grammar)?;
            Ok(Asked::plain(Action::Unsubscribe(in_namespace(&selection, namespace))))
        }
        "auth" => {
            let token = token(object()?).ok_or_else(|| missing("token", "a string"))?;
            Ok(Asked::plain(Action::Auth(token)))
        }
        "ping" => Ok(Asked::plain(Action::Ping { stats: false })),
        _ if desk::is_one(name) => {
            let request = desk::read(name, object()?)?;
            Ok(Asked { action: Action::Desk(Box::new(request)), verb: Verb::Desk, text: String::new() })
        }
        _ => match name.split_once(':') {
            Some((verb @ ("subscribe" | "unsubscribe"), type_name)) => {
                topic(verb == "subscribe", type_name, object()?, namespace, grammar)
            }
            _ => {
                let message = format!("Unknown event {}: use {EVENTS}", quoted(quoted_name));
                Err(Refusal::new(ErrorCode::UnknownAction, message))
            }
        },
    }
}

/// The same names in the form that a namespace has.
fn in_namespace(selection: &Selection, namespace: Namespace) -> Selection {
    let types = &selection.types;
    let each = selection.names.iter().flat_map(|chosen| {
        let types = types.iter().filter(|kind| chosen.is_of(**kind));
        types.map(|kind| (*kind, Form::socketio(namespace), chosen.name.clone()))
    });
    Selection::of_channels(each)
}

/// `subscribe:case {"caseId":"c1"}`: one topic of a custom type.
fn topic(
    is_subscribe: bool,
    type_name: &str,
    object: &str,
    namespace: Namespace,
    grammar: &Grammar,
) -> Result<Asked, Refusal> {
    let kind =
        grammar.kinds.find(type_name.as_bytes()).filter(|kind| !kind.is_market()).ok_or_else(|| {
            let message = format!("This gateway has no custom type {}", quoted(type_name));
            Refusal::new(ErrorCode::InvalidInput, message)
        })?;
    let own_field = format!("{type_name}Id");
    let members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(object).map_err(|_| invalid("data", object, "an object"))?;
    let (field, value) = [own_field.as_str(), "id"]
        .into_iter()
        .find_map(|field| members.get_key_value(field))
        .ok_or_else(|| missing(&own_field, SYMBOL_RULE))?;
    let text = match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) => number.to_string(),
        other => return Err(invalid(field, &other.to_string(), SYMBOL_RULE)),
    };
    let name = Name::parse(text.as_bytes(), kind.case(grammar.symbol_case))
        .ok_or_else(|| invalid(field, &value.to_string(), SYMBOL_RULE))?;
    let member = format!("{}:{value}", serde_json::Value::from(field.as_str()));
    let form = Form::socketio(namespace);
    let chosen = Chosen { name, of: Of::Channel(kind, form) };
    let selection = Selection { types: smallvec::SmallVec::from_slice(&[kind]), names: vec![chosen] };
    let action = if is_subscribe {
        let options = native::terms(object)?;
        Action::Subscribe(Subscribe { selection, options, resume: Vec::new(), is_return: false })
    } else {
        Action::Unsubscribe(selection)
    };
    Ok(Asked { action, verb: Verb::Topic, text: member })
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
