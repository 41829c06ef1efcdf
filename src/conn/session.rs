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

#[cfg(test)]
mod tests {
    use super::options::{Conflate, MaxRate};
    use super::*;
    use crate::config::SlowClientPolicy;
    use crate::market::Symbol;

    const TRADES: Rules = Rules { types: EventTypes::TRADE, allow_wildcard: true };

    fn parse(message: &str) -> Result<Request, Refusal> {
        super::parse(message, &TRADES)
    }

    fn trades(names: &[&str]) -> Selection {
        let names = names.iter().map(|name| Name::parse(name.as_bytes()).unwrap()).collect();
        Selection { types: SmallVec::from_slice(&[EventType::Trade]), names }
    }

    fn subscribe(message: &str) -> Subscribe {
        match parse(message).unwrap().action {
            Action::Subscribe(subscribe) => subscribe,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests_are_read() {
        let message = r#" {"action":"subscribe","symbols":["aapl","GOOGL","AAPL"],"x":[1]} "#;
        let request = parse(message).unwrap();
        assert_eq!(request.id, None);
        let read = subscribe(message);
        assert_eq!(read.selection, trades(&["AAPL", "GOOGL"]));
        assert_eq!((read.options, read.resume), (Options::default(), Resume::default()));
        let request =
            parse(r#"{"action":"unsubscribe","symbols":["A"],"types":["trade"],"id":1.50}"#).unwrap();
        assert_eq!(request.action, Action::Unsubscribe(trades(&["A"])));
        assert_eq!(request.id.unwrap().to_string(), "1.50");
        let request = parse(r#"{"id":"a\"b","action":"ping","stats":true}"#).unwrap();
        assert_eq!(request.action, Action::Ping { stats: true });
        assert_eq!(request.id.unwrap().to_string(), r#""a\"b""#);
        assert_eq!(parse(r#"{"action":"list"}"#).unwrap().action, Action::List);
    }

    #[test]
    fn types_are_those_configured() {
        let rules = Rules { types: [EventType::Trade, EventType::Quote].into_iter().collect(), ..TRADES };
        let message = r#"{"action":"subscribe","symbols":["A","B"],"types":["quote","trade","quote"]}"#;
        let Action::Subscribe(both) = super::parse(message, &rules).unwrap().action else { panic!() };
        assert_eq!(both.selection.types.as_slice(), [EventType::Quote, EventType::Trade]);
        let subjects = both.selection.subjects();
        assert_eq!(subjects.len(), 4);
        assert_eq!(
            (subjects[1].event_type, subjects[1].name.to_string()),
            (EventType::Trade, "A".to_owned())
        );
        let quotes = Rules { types: [EventType::Quote].into_iter().collect(), ..TRADES };
        let unsaid = super::parse(r#"{"action":"subscribe","symbols":["A"]}"#, &quotes).unwrap_err();
        assert!(unsaid.message.contains("types") && unsaid.message.contains("quote"), "{}", unsaid.message);
    }

    #[test]
    fn options_are_read_each_on_its_own() {
        let read = subscribe(
            r#"{"action":"subscribe","symbols":["A","B-*"],"snapshot":true,"heartbeat":false,"conflate":"aggregate",
                "maxRate":4,"onSlow":"conflate"}"#,
        );
        assert_eq!(read.selection, trades(&["A", "B-*"]));
        assert!(read.options.snapshot);
        assert_eq!(read.options.conflate, Some(Conflate::Aggregate));
        assert_eq!(read.options.max_rate.map(MaxRate::period_us), Some(250_000));
        assert_eq!(read.options.on_slow, Some(SlowClientPolicy::Conflate));
        assert_eq!(read.options.heartbeat, Some(false));
        let read = subscribe(r#"{"action":"subscribe","symbols":["b","A"],"resume":{"a":7,"B":9}}"#);
        let symbol = |name: &str| Symbol::parse(name.as_bytes()).unwrap();
        assert_eq!(read.resume, [(symbol("B"), 9), (symbol("A"), 7)], "in the request's order");
    }

    /// As many as a large message holds: what they cost must not grow with their square.
    #[test]
    fn very_many_symbols_are_resumed_in_the_requests_order() {
        // 7919 is a prime: no order that sorting would find at hand.
        let names: Vec<_> = (0..50_000).map(|n| format!("S{}", n * 7_919 % 50_000)).collect();
        let seen: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), 1.into())).collect();
        let request = serde_json::json!({"action": "subscribe", "symbols": names, "resume": seen});
        let resumed = subscribe(&request.to_string()).resume;
        assert!(resumed.iter().map(|(symbol, _)| symbol.as_str()).eq(names.iter().map(String::as_str)));
    }

    #[test]
    fn bad_options_are_refused() {
        let rules = Rules { types: [EventType::Trade, EventType::Quote].into_iter().collect(), ..TRADES };
        for (field, value) in [
            ("snapshot", "1"),
            ("heartbeat", "\"yes\""),
            ("conflate", "\"latest\""),
            ("maxRate", "0.05"),
            ("maxRate", "1001"),
            ("maxRate", "\"4\""),
            ("onSlow", "\"drop\""),
            ("resume", "[1]"),
            ("resume", r#"{"B":1}"#),
            ("resume", r#"{"A":1,"a":2}"#),
            ("resume", r#"{"A":-1}"#),
            ("resume", r#"{"A":9007199254740992}"#),
            ("resume", r#"{"A*":1}"#),
            ("types", r#"["halt"]"#),
            ("types", "[]"),
            ("types", r#""trade""#),
        ] {
            let message = format!(r#"{{"action":"subscribe","symbols":["A"],"{field}":{value}}}"#);
            let refusal = super::parse(&message, &rules).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::InvalidInput, "{message}");
            assert!(
                refusal.message.contains(field) && refusal.message.contains(value),
                "{}",
                refusal.message
            );
        }
        for pair in [r#""conflate":false,"maxRate":1"#, r#""types":["trade","quote"],"resume":{"A":1}"#] {
            let message = format!(r#"{{"action":"subscribe","symbols":["A"],{pair}}}"#);
            assert_eq!(
                super::parse(&message, &rules).unwrap_err().code,
                ErrorCode::InvalidInput,
                "{message}"
            );
        }
        let no_wildcard = Rules { allow_wildcard: false, ..TRADES };
        let refused = super::parse(r#"{"action":"subscribe","symbols":["A*"]}"#, &no_wildcard).unwrap_err();
        assert!(refused.message.contains("ALLOW_WILDCARD"));
        assert!(super::parse(r#"{"action":"unsubscribe","symbols":["*"]}"#, &no_wildcard).is_ok());
    }

    #[test]
    fn refusals_name_field_and_value() {
        let cases = [
            ("nonsense", ErrorCode::InvalidJson, "nonsense"),
            (r#"{"action":"ping""#, ErrorCode::InvalidJson, "EOF"),
            (r#"["subscribe",["AAPL"]]"#, ErrorCode::InvalidInput, "message"),
            ("7", ErrorCode::InvalidInput, "message"),
            (r#"{"symbols":["AAPL"]}"#, ErrorCode::InvalidInput, "action"),
            (r#"{"action":7}"#, ErrorCode::InvalidInput, "action 7"),
            (r#"{"action":"buy"}"#, ErrorCode::UnknownAction, "\"buy\""),
            (r#"{"action":"subscribe"}"#, ErrorCode::InvalidInput, "symbols"),
            (r#"{"action":"subscribe","symbols":[]}"#, ErrorCode::InvalidInput, "symbols []"),
            (r#"{"action":"subscribe","symbols":"AAPL"}"#, ErrorCode::InvalidInput, "symbols \"AAPL\""),
            (r#"{"action":"subscribe","symbols":["A",1]}"#, ErrorCode::InvalidInput, "symbols [\"A\",1]"),
            (r#"{"action":"subscribe","symbols":["A B"]}"#, ErrorCode::InvalidInput, "\"A B\""),
            (r#"{"action":"subscribe","symbols":["A"],"types":["quote"]}"#, ErrorCode::InvalidInput, "types"),
            (r#"{"action":"ping","id":true}"#, ErrorCode::InvalidInput, "id true"),
            (r#"{"action":"ping","action":"ping"}"#, ErrorCode::InvalidInput, "action"),
        ];
        for (message, code, part) in cases {
            let refusal = parse(message).unwrap_err();
            assert_eq!(refusal.code, code, "{message}");
            assert!(refusal.message.contains(part), "{message}: {}", refusal.message);
        }
        let long = format!(r#"{{"action":"subscribe","symbols":["{}"]}}"#, "ä".repeat(500));
        assert!(parse(&long).unwrap_err().message.len() < 250);
    }

    #[test]
    fn refusals_echo_the_id() {
        let refusal = parse(r#"{"action":"buy","id":42}"#).unwrap_err();
        assert_eq!(refusal.id.unwrap().to_string(), "42");
        let too_long = format!(r#"{{"action":"ping","id":"{}"}}"#, "x".repeat(65));
        assert_eq!(parse(&too_long).unwrap_err().id, None);
    }
}
