//! The server's side of the opening handshake (RFC 6455 section 4.2).

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::{Method, StatusCode, Version};
use hyper::{Request, Response};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Answer, Http, refusal, routes};
use crate::admission::Seat;
use crate::config;
use crate::limits::RETRY_AFTER_S;

/// Our subprotocol: JSON text frames as the contract has them.
const SUBPROTOCOL: &str = "md.v1.json";
/// The only version there is (RFC 6455 section 4.1).
const VERSION: &str = "13";
/// Tells a client which gateway it has reached.
const X_SERVER_ID: HeaderName = HeaderName::from_static("x-server-id");

/// A handshake that was answered 101.
pub(super) struct Accepted {
    /// The client's place.
    pub(super) seat: Seat,
    /// `?symbols=`.
    pub(super) symbols: Option<Vec<String>>,
}

/// Why a handshake is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// 405.
    Method,
    /// 426: not an upgrade to WebSocket, or to another version of it.
    NotWebSocket,
    /// 400: the request breaks the RFC, as said.
    Malformed(&'static str),
    /// 403.
    Origin,
    /// 503: the gateway is on its way out.
    Draining,
    /// 503: all seats are taken.
    Full,
}

impl Refused {
    /// The refusal as an HTTP answer.
    pub(super) fn into_answer(self) -> Answer {
        let retry_later = |code, message| {
            let mut answer = refusal(StatusCode::SERVICE_UNAVAILABLE, code, message);
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
            answer
        };
        match self {
            Self::Method => routes::wrong_method("GET"),
            Self::NotWebSocket => {
                let message = "This is a WebSocket endpoint: Upgrade: websocket and Sec-WebSocket-Version: 13 are required";
                let mut answer = refusal(StatusCode::UPGRADE_REQUIRED, "INVALID_INPUT", message);
                let headers = answer.headers_mut();
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
                answer
            }
            Self::Malformed(message) => refusal(StatusCode::BAD_REQUEST, "INVALID_INPUT", message),
            Self::Origin => refusal(StatusCode::FORBIDDEN, "FORBIDDEN", "Origin not allowed"),
            Self::Draining => retry_later("INTERNAL_ERROR", "The gateway is shutting down"),
            Self::Full => retry_later("TOO_MANY_CONNECTIONS", "Maximum number of connections reached"),
        }
    }
}

/// Whether a request asks for a WebSocket; other upgrades (`h2c`) are ignored, as RFC 9110 section 7.8 allows.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket")
}

/// Checks a handshake, takes a seat and builds the 101 answer.
pub(super) fn accept<B>(request: &Request<B>, http: &Http) -> Result<(Answer, Accepted), Refused> {
    let key = check(request)?;
    check_origin(request.headers(), http.allowed_origins.as_deref())?;
    if http.state.draining() {
        return Err(Refused::Draining);
    }
    let seat = http.admission.admit().ok_or(Refused::Full)?;

    let accept_key = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    let mut answer = Response::new(Default::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        SEC_WEBSOCKET_ACCEPT,
        accept_key.map_err(|_| Refused::Malformed("Sec-WebSocket-Key is malformed"))?,
    );
    if let Ok(server_id) = HeaderValue::from_str(&http.state.server_id) {
        headers.insert(X_SERVER_ID, server_id);
    }
    // Without ours among the client's, none is answered: a server must not name what wasn't offered (section 4.2.2).
    if tokens(request.headers(), &SEC_WEBSOCKET_PROTOCOL).any(|offered| offered == SUBPROTOCOL) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    Ok((answer, Accepted { seat, symbols: symbols(request.uri().query()) }))
}

/// Checks a request against RFC 6455 section 4.2.1 and returns its key.
fn check<B>(request: &Request<B>) -> Result<&str, Refused> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(Refused::Method);
    }
    if !is_asked(headers) || !has_token(headers, &CONNECTION, "upgrade") {
        return Err(Refused::NotWebSocket);
    }
    if request.version() != Version::HTTP_11 {
        return Err(Refused::Malformed("A WebSocket handshake needs HTTP/1.1"));
    }
    if only(headers, &SEC_WEBSOCKET_VERSION) != Some(VERSION) {
        return Err(Refused::NotWebSocket);
    }
    if only(headers, &HOST).is_none() {
        return Err(Refused::Malformed("A WebSocket handshake needs one Host header"));
    }
    // Bytes behind the header are the client's first frames: a body would make that ambiguous.
    if headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
    {
        return Err(Refused::Malformed("A WebSocket handshake has no body"));
    }
    only(headers, &SEC_WEBSOCKET_KEY)
        .filter(|key| is_key(key))
        .ok_or(Refused::Malformed("Sec-WebSocket-Key must be one header with 16 bytes in base64"))
}

/// Whether the page that the request comes from may connect. Only browsers send an Origin, and only they are kept out: any
/// other client could send whatever it likes.
fn check_origin(headers: &HeaderMap, allowed: Option<&[String]>) -> Result<(), Refused> {
    let (Some(allowed), true) = (allowed, headers.contains_key(ORIGIN)) else { return Ok(()) };
    let origin = only(headers, &ORIGIN).and_then(config::origin).ok_or(Refused::Origin)?;
    if allowed.contains(&origin) { Ok(()) } else { Err(Refused::Origin) }
}

/// The header's value if it occurs once and is visible ASCII.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::trim),
        _ => None,
    }
}

/// The parts of a header that is a comma-separated list, over all its lines.
fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

/// Whether it is base64 of 16 bytes: 22 characters and two of padding.
fn is_key(key: &str) -> bool {
    let in_alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    key.len() == 24 && key.strip_suffix("==").is_some_and(|digits| digits.bytes().all(in_alphabet))
}

/// The symbols of `?symbols=AAPL,GOOGL`, decoded but not judged; `None` if there are none. A `+` stays one, because symbols
/// have it and no space.
fn symbols(query: Option<&str>) -> Option<Vec<String>> {
    let lists = query?.split('&').filter_map(|pair| pair.strip_prefix("symbols="));
    let mut symbols = Vec::new();
    for list in lists {
        let list = percent_decode(list);
        symbols.extend(list.split(',').map(str::trim).filter(|symbol| !symbol.is_empty()).map(str::to_owned));
    }
    (!symbols.is_empty()).then_some(symbols)
}

/// Decodes `%XX`; what isn't that stays as it is, and what isn't UTF-8 then becomes U+FFFD, which no symbol has.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let decoded = match (first, after) {
            (b'%', [high, low, after @ ..]) => hex(*high).zip(hex(*low)).map(|(h, l)| (h << 4 | l, after)),
            _ => None,
        };
        let (byte, after) = decoded.unwrap_or((first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request as browsers send it, with one header replaced (or, if empty, left out).
    fn request(replace: (&'static str, &'static str)) -> Request<()> {
        let mut request = Request::get("/ws");
        for (name, value) in [
            ("host", "h"),
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            let value = if name == replace.0 { replace.1 } else { value };
            if !value.is_empty() {
                request = request.header(name, value);
            }
        }
        if !["host", "upgrade", "connection", "sec-websocket-version", "sec-websocket-key"]
            .contains(&replace.0)
        {
            request = request.header(replace.0, replace.1);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn a_browsers_handshake_is_good() {
        assert_eq!(check(&request(("x", "y"))), Ok("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(check(&request(("upgrade", "h2c, WebSocket"))), Ok("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(check(&request(("content-length", "0"))), Ok("dGhlIHNhbXBsZSBub25jZQ=="));
    }

    #[test]
    fn each_broken_rule_is_refused_as_itself() {
        let status = |request: &Request<()>| check(request).unwrap_err().into_answer().status().as_u16();
        for (header, value, expected) in [
            ("host", "", 400),
            ("upgrade", "", 426),
            ("upgrade", "h2c", 426),
            ("connection", "", 426),
            ("connection", "keep-alive", 426),
            ("sec-websocket-version", "", 426),
            ("sec-websocket-version", "8", 426),
            ("sec-websocket-key", "", 400),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=", 400),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ====", 400),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25j!Q==", 400),
            ("content-length", "5", 400),
            ("transfer-encoding", "chunked", 400),
        ] {
            assert_eq!(status(&request((header, value))), expected, "{header}: {value}");
        }
        let mut old = request(("x", "y"));
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(status(&old), 400);
        let mut head = request(("x", "y"));
        *head.method_mut() = Method::HEAD;
        assert_eq!(status(&head), 405);
        let mut twice = request(("x", "y"));
        twice.headers_mut().append(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(status(&twice), 400);
    }

    #[test]
    fn origins_are_compared_as_browsers_mean_them() {
        let allowed = vec!["https://app.example.com".to_owned()];
        let with = |origin: &'static str| HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static(origin))]);
        assert_eq!(check_origin(&with("https://APP.example.com:443"), Some(&allowed)), Ok(()));
        assert_eq!(check_origin(&with("https://evil.example"), None), Ok(()));
        assert_eq!(check_origin(&HeaderMap::new(), Some(&allowed)), Ok(()));
        for bad in
            ["https://evil.example", "http://app.example.com", "null", "https://app.example.com.evil", ""]
        {
            assert_eq!(check_origin(&with(bad), Some(&allowed)), Err(Refused::Origin), "{bad}");
        }
    }

    #[test]
    fn symbols_of_the_query() {
        let list = |query| symbols(Some(query)).unwrap_or_default();
        assert_eq!(list("symbols=AAPL,GOOGL"), ["AAPL", "GOOGL"]);
        assert_eq!(list("a=b&symbols=btc%2Dusd%2Ceth-usd,,%20X&symbols=Y"), ["btc-usd", "eth-usd", "X", "Y"]);
        assert_eq!(list("symbols=A+B,100%,%zz,%e4"), ["A+B", "100%", "%zz", "\u{fffd}"]);
        assert_eq!(symbols(Some("symbols=")), None);
        assert_eq!(symbols(Some("mysymbols=A")), None);
        assert_eq!(symbols(None), None);
    }
}
