//! What clients ask for: one text message in, a [`Request`] or a [`Refusal`] out. Pure.
//!
//! Parsing goes in two steps, so that a refusal can name the field and its value and echo the client's `id`: first the
//! object's fields as raw JSON, then each field by its own rule.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::market::{SYMBOL_BYTES_MAX, Symbol};

/// The longest `id` of a request, in bytes as the client wrote it between its quotes.
const ID_BYTES_MAX: usize = 64;

/// How much of a bad value an error message repeats.
const QUOTED_BYTES_MAX: usize = 80;

/// The one type of event that is configured.
const TRADE: &str = "trade";

/// A message that makes sense.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// What to do.
    pub action: Action,
    /// The client's own mark, echoed in the reply.
    pub id: Option<Id>,
}

/// What a client can ask for.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Begin to receive events of these symbols (normalised, no repeats, in the request's order).
    Subscribe(Vec<Symbol>),
    /// Stop receiving events of these symbols (likewise).
    Unsubscribe(Vec<Symbol>),
    /// Ask for a `pong` reply.
    Ping,
}

/// A request's `id`: a JSON number or string, exactly as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id(Box<str>);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The `code` of an error reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The message is not JSON.
    InvalidJson,
    /// A field is missing, of the wrong type or has a value that is not allowed.
    InvalidInput,
    /// `action` is none of those we know.
    UnknownAction,
    /// The client would hold more symbols than `MAX_SYMBOLS_PER_CLIENT`.
    SymbolLimitExceeded,
    /// The client sends messages faster than `MAX_MESSAGES_PER_SECOND`.
    RateLimitExceeded,
    /// The message is longer than `MAX_MESSAGE_SIZE`.
    MessageTooLarge,
    /// The client does not read fast enough for `SLOW_CLIENT_POLICY=disconnect`.
    SlowClient,
}

impl ErrorCode {
    /// The code as clients parse it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "INVALID_JSON",
            Self::InvalidInput => "INVALID_INPUT",
            Self::UnknownAction => "UNKNOWN_ACTION",
            Self::SymbolLimitExceeded => "SYMBOL_LIMIT_EXCEEDED",
            Self::RateLimitExceeded => "RATE_LIMIT_EXCEEDED",
            Self::MessageTooLarge => "MESSAGE_TOO_LARGE",
            Self::SlowClient => "SLOW_CLIENT",
        }
    }
}

/// Why a request changes nothing. The client gets it as an error reply and may go on.
#[derive(Debug, PartialEq)]
pub struct Refusal {
    /// The kind of mistake.
    pub code: ErrorCode,
    /// The field, its value and what is allowed.
    pub message: String,
    /// Whole seconds after which the client may try again; for [`ErrorCode::RateLimitExceeded`].
    pub retry_after_s: Option<u64>,
    /// The request's `id`, if it could be read.
    pub id: Option<Id>,
}

impl Refusal {
    /// A refusal without `id`.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_s: None, id: None }
    }

    /// A request that would take the client over `MAX_SYMBOLS_PER_CLIENT`.
    pub fn symbol_limit(max_symbols: usize, id: Option<Id>) -> Self {
        let message = format!("Cannot subscribe: would exceed maximum of {max_symbols} symbols");
        Self { id, ..Self::new(ErrorCode::SymbolLimitExceeded, message) }
    }

    /// A binary frame: the protocol is text only.
    pub fn binary() -> Self {
        Self::new(ErrorCode::InvalidInput, "Binary frames are not supported: send JSON in text frames")
    }
}

/// The fields that mean something to us, as they stand in the message.
#[derive(Deserialize)]
struct Fields<'m> {
    #[serde(borrow)]
    action: Option<&'m RawValue>,
    #[serde(borrow)]
    symbols: Option<&'m RawValue>,
    #[serde(borrow)]
    types: Option<&'m RawValue>,
    #[serde(borrow)]
    id: Option<&'m RawValue>,
}

/// Reads one message of a client.
///
/// # Errors
/// A [`Refusal`] for the client; nothing has changed then.
pub fn parse(message: &str) -> Result<Request, Refusal> {
    let fields = fields(message)?;
    let id = fields.id.map(id).transpose()?;
    match action(&fields) {
        Ok(action) => Ok(Request { action, id }),
        Err(refusal) => Err(Refusal { id, ..refusal }),
    }
}

/// Checks the symbols of a `?symbols=` query as those of a subscribe request.
///
/// # Errors
/// A [`Refusal`] that names the first bad symbol.
pub fn parse_symbols<S: AsRef<str>>(names: &[S]) -> Result<Vec<Symbol>, Refusal> {
    if names.is_empty() {
        return Err(invalid("symbols", "[]", "at least one symbol"));
    }
    let mut seen = std::collections::HashSet::with_capacity(names.len());
    let mut symbols = Vec::with_capacity(names.len());
    for name in names {
        let symbol = Symbol::parse(name.as_ref().as_bytes()).ok_or_else(|| bad_symbol(name.as_ref()))?;
        if seen.insert(symbol.clone()) {
            symbols.push(symbol);
        }
    }
    Ok(symbols)
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

fn action(fields: &Fields<'_>) -> Result<Action, Refusal> {
    let allowed = "\"subscribe\", \"unsubscribe\" or \"ping\"";
    let raw = fields.action.ok_or_else(|| missing("action", allowed))?;
    let action: String =
        serde_json::from_str(raw.get()).map_err(|_| invalid("action", raw.get(), allowed))?;
    match action.as_str() {
        "subscribe" => {
            types(fields.types)?;
            Ok(Action::Subscribe(symbols(fields.symbols)?))
        }
        "unsubscribe" => {
            types(fields.types)?;
            Ok(Action::Unsubscribe(symbols(fields.symbols)?))
        }
        "ping" => Ok(Action::Ping),
        _ => {
            let message = format!("Unknown action {}: use {allowed}", quoted(raw.get()));
            Err(Refusal::new(ErrorCode::UnknownAction, message))
        }
    }
}

fn symbols(raw: Option<&RawValue>) -> Result<Vec<Symbol>, Refusal> {
    let allowed = "a non-empty array of strings";
    let raw = raw.ok_or_else(|| missing("symbols", allowed))?;
    let names: Vec<String> =
        serde_json::from_str(raw.get()).map_err(|_| invalid("symbols", raw.get(), allowed))?;
    parse_symbols(&names)
}

fn types(raw: Option<&RawValue>) -> Result<(), Refusal> {
    let Some(raw) = raw else { return Ok(()) };
    let allowed = "[\"trade\"], the one type configured here";
    let bad = || invalid("types", raw.get(), allowed);
    let types: Vec<String> = serde_json::from_str(raw.get()).map_err(|_| bad())?;
    if types.is_empty() || types.iter().any(|name| name != TRADE) {
        return Err(bad());
    }
    Ok(())
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
    invalid("symbols", &serde_json::Value::from(name).to_string(), &allowed)
}

fn missing(field: &str, allowed: &str) -> Refusal {
    Refusal::new(ErrorCode::InvalidInput, format!("Missing field {field}: must be {allowed}"))
}

fn invalid(field: &str, value: &str, allowed: &str) -> Refusal {
    let message = format!("Invalid {field} {}: must be {allowed}", quoted(value));
    Refusal::new(ErrorCode::InvalidInput, message)
}

/// A value as an error repeats it: cut to a readable length.
fn quoted(value: &str) -> String {
    if value.len() <= QUOTED_BYTES_MAX {
        return value.to_owned();
    }
    format!("{}...", &value[..value.floor_char_boundary(QUOTED_BYTES_MAX)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols_of(names: &[&str]) -> Vec<Symbol> {
        names.iter().map(|name| Symbol::parse(name.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn requests_are_read() {
        let request = parse(r#" {"action":"subscribe","symbols":["aapl","GOOGL","AAPL"],"x":[1]} "#).unwrap();
        assert_eq!(request.action, Action::Subscribe(symbols_of(&["AAPL", "GOOGL"])));
        assert_eq!(request.id, None);
        let request =
            parse(r#"{"action":"unsubscribe","symbols":["A"],"types":["trade"],"id":1.50}"#).unwrap();
        assert_eq!(request.action, Action::Unsubscribe(symbols_of(&["A"])));
        assert_eq!(request.id.unwrap().to_string(), "1.50");
        let request = parse(r#"{"id":"a\"b","action":"ping"}"#).unwrap();
        assert_eq!(request.action, Action::Ping);
        assert_eq!(request.id.unwrap().to_string(), r#""a\"b""#);
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
