//! The server's side of the opening handshake (RFC 6455 section 4.2): accepts or refuses it, and writes the answer.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use hyper::http::StatusCode;
use hyper::{Response, Uri};
use percent_encoding::percent_decode_str;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::Http;
use super::answers::{Answer, refusal, refusal_until, wrong_method};
use super::handshake::{Fault, Handshake, SUBPROTOCOL_BATCH, VERSION};
use crate::address::Forwarded;
use crate::admission::{NotAdmitted, UserAdmitted};
use crate::auth::{AuthError, Patience};
use crate::bus::{Arrival, Denied, Newcomer, Seat, Standing, UserSeat};
use crate::limits::RETRY_AFTER_S;
use crate::metrics::UpgradeRefusal;
use crate::origin::Target;
use crate::protocol::Dialect;
use crate::protocol::native::read::parse_query;
use crate::protocol::refusal::{ErrorCode, Refusal};
use crate::protocol::request::{FirstRequest, Token};
use crate::protocol::terms::Options;
use crate::transport::Transport;
use crate::websocket::extension;

/// The pair of a query by which a client is one of the desk from the beginning.
pub(super) const AT_DESK: &str = "desk=1";

/// The header that names the gateway (`SERVER_ID`).
pub(super) const X_SERVER_ID: HeaderName = HeaderName::from_static("x-server-id");

/// An accepted handshake, to be answered 101, or an accepted request for a stream.
pub(super) struct Accepted {
    /// The client.
    pub(super) client: Newcomer,
    /// The answer's header fields, of a handshake.
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
}

/// What a handshake's path and header say of what the connection speaks.
pub(super) struct Spoken {
    /// How its messages are written.
    pub(super) dialect: Dialect,
    /// The token that came in the dialect's own way.
    pub(super) token: Option<Token>,
    /// What the client asks for in its URL.
    pub(super) request: Option<FirstRequest>,
    /// On which terms it is served where its requests name none.
    pub(super) terms: Option<Box<Options>>,
}

/// A client that is let in.
pub(super) struct Admitted {
    /// Its place in `MAX_CONNECTIONS`.
    pub(super) seat: Seat,
    /// What is known of it.
    pub(super) standing: Standing,
    /// Its place among the connections of its user.
    pub(super) user_seat: Option<Arc<UserSeat>>,
}

/// What a request says of the client that sends it.
pub(super) struct Applicant<'r> {
    /// `Origin`: see [`Handshake::origin`].
    pub(super) origin: Option<&'r str>,
    /// The scheme and host that the request was sent to.
    pub(super) target: Target<'r>,
    /// Whom a proxy has sent it for.
    pub(super) forwarded: &'r Forwarded<'r>,
    /// The token in a header.
    pub(super) token: Option<Token>,
    /// The query of the URL.
    pub(super) query: Option<&'r str>,
    /// Whether it would not see the status of an HTTP answer.
    pub(super) is_blind: bool,
}

/// Why a handshake is refused.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// 400, 405 or 426: the request is no valid handshake.
    Fault(Fault),
    /// 403: `ALLOWED_ORIGINS` doesn't allow the page's origin.
    Origin,
    /// 400: a parameter of the URL has a value that isn't allowed.
    Query(Refusal),
    /// 401.
    Token(AuthError),
    /// 503: the gateway drains.
    Draining,
    /// 503 or 429: a limit on connections.
    NotAdmitted(NotAdmitted),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Refused {
    /// Under which reason it is counted.
    pub(super) const fn reason(&self) -> UpgradeRefusal {
        match self {
            Self::Fault(_) | Self::Query(_) => UpgradeRefusal::Handshake,
            Self::Origin => UpgradeRefusal::Origin,
            Self::Token(_) => UpgradeRefusal::Token,
            Self::Draining => UpgradeRefusal::Draining,
            Self::NotAdmitted(NotAdmitted::Full(_)) => UpgradeRefusal::Full,
            Self::NotAdmitted(NotAdmitted::ConnectionsPerIp(_)) => UpgradeRefusal::ConnectionsPerIp,
            Self::NotAdmitted(NotAdmitted::Rate { .. }) => UpgradeRefusal::ConnectionRate,
            Self::NotAdmitted(NotAdmitted::ConnectionsPerUser(_)) => UpgradeRefusal::ConnectionsPerUser,
        }
    }

    /// Whether it counts towards `CONNECTION_RATE_LIMIT`.
    pub(super) fn is_counted(&self) -> bool {
        match self {
            Self::Token(error) => *error != AuthError::KeyWanted,
            Self::NotAdmitted(limit) => matches!(limit, NotAdmitted::ConnectionsPerUser(_)),
            Self::Fault(_) | Self::Query(_) | Self::Origin | Self::Draining => false,
        }
    }

    /// The same, with a token that doesn't hold counted; `None` if the client is to wait, as its token's key is being fetched.
    pub(super) fn counted(self, http: &Http) -> Option<Self> {
        match &self {
            Self::Token(AuthError::KeyWanted) => return None,
            Self::Token(error) => http.auth.refused(error),
            _ => {}
        }
        Some(self)
    }

    /// The refusal as an HTTP answer.
    pub(super) fn into_answer(self) -> Answer {
        match self {
            Self::Fault(Fault::Method) => wrong_method("GET"),
            Self::Fault(Fault::NotWebSocket) => {
                let message = "This is a WebSocket endpoint: Upgrade: websocket and Sec-WebSocket-Version: 13 are required";
                let mut answer = refusal(StatusCode::UPGRADE_REQUIRED, "INVALID_INPUT", message);
                let headers = answer.headers_mut();
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
                answer
            }
            Self::Fault(Fault::Malformed(message)) => {
                refusal(StatusCode::BAD_REQUEST, "INVALID_INPUT", message)
            }
            Self::Query(error) => refusal(StatusCode::BAD_REQUEST, error.code.as_str(), &error.message),
            Self::Origin => refusal(StatusCode::FORBIDDEN, "FORBIDDEN", "Origin not allowed"),
            Self::Token(error) => {
                let mut answer = refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", &error.to_string());
                let challenge = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
                answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                answer
            }
            Self::Draining => refusal_until(
                StatusCode::SERVICE_UNAVAILABLE,
                "INTERNAL_ERROR",
                "The gateway is shutting down",
                RETRY_AFTER_S,
            ),
            Self::NotAdmitted(limit) => {
                let (status, code, retry_after_s) = match limit {
                    NotAdmitted::Full(_) => {
                        (StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_CONNECTIONS", RETRY_AFTER_S)
                    }
                    NotAdmitted::ConnectionsPerIp(_) | NotAdmitted::ConnectionsPerUser(_) => {
                        (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_CONNECTIONS", RETRY_AFTER_S)
                    }
                    NotAdmitted::Rate { retry_after_s, .. } => {
                        (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMIT_EXCEEDED", retry_after_s)
                    }
                };
                refusal_until(status, code, &limit.to_string(), retry_after_s)
            }
        }
    }
}

/// Decides on a handshake to that target, whose connection comes from `address`, and takes a seat for it.
pub(super) fn accept(
    handshake: &Handshake<'_>,
    uri: &Uri,
    address: IpAddr,
    http: &Http,
    patience: Patience,
) -> Result<Accepted, Refused> {
    let request = symbols(uri.query()).map(|symbols| Box::from([parse_query(&symbols, &http.grammar)]));
    let dialect = dialect(handshake.subprotocol, uri.query());
    let spoken = Spoken { dialect, token: None, request, terms: None };
    accept_as(handshake, uri, address, http, patience, spoken)
}

/// The same of a handshake whose path says what the connection speaks.
pub(super) fn accept_as(
    handshake: &Handshake<'_>,
    uri: &Uri,
    address: IpAddr,
    http: &Http,
    patience: Patience,
    spoken: Spoken,
) -> Result<Accepted, Refused> {
    let Spoken { dialect, token, request, terms } = spoken;
    let at_desk = has_pair(uri.query(), AT_DESK);
    let applicant = Applicant {
        origin: handshake.origin,
        target: handshake.target,
        forwarded: &handshake.forwarded,
        token: handshake.token.map(Token::new).or(token),
        query: uri.query(),
        is_blind: handshake.origin.is_some(),
    };
    let Admitted { seat, standing, user_seat } = admit(&applicant, address, http, patience)?;
    if matches!(standing, Standing::Unknown) && !dialect.has_auth_message() {
        return Err(Refused::Token(AuthError::Absent));
    }
    let has_shown = applicant.token.is_some() && matches!(standing, Standing::Known(_));
    let greeting = dialect.greeting(has_shown).into();

    let deflate = http.compression && handshake.offers_deflate;
    let fields = fields(handshake, http, deflate)?;
    let client = Newcomer::new(dialect, standing, seat, user_seat);
    Ok(Accepted { client: Newcomer { deflate, greeting, request, terms, at_desk, ..client }, fields })
}

/// The header fields of the answer to a handshake.
pub(super) fn fields(
    handshake: &Handshake<'_>,
    http: &Http,
    deflate: bool,
) -> Result<Vec<(HeaderName, HeaderValue)>, Fault> {
    let mut fields = Vec::with_capacity(6);
    fields.push((CONNECTION, HeaderValue::from_static("Upgrade")));
    fields.push((UPGRADE, HeaderValue::from_static("websocket")));
    let accept_key = HeaderValue::try_from(derive_accept_key(handshake.key.as_bytes()));
    let accept_key = accept_key.map_err(|_| Fault::Malformed("Sec-WebSocket-Key is malformed"))?;
    fields.push((SEC_WEBSOCKET_ACCEPT, accept_key));
    if let Ok(server_id) = HeaderValue::from_str(&http.state.server_id) {
        fields.push((X_SERVER_ID, server_id));
    }
    if let Some(subprotocol) = handshake.subprotocol {
        fields.push((SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol)));
    }
    if deflate {
        fields.push((SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(extension::ANSWER)));
    }
    Ok(fields)
}

/// Holds a client that stays connected to the rules for all of them, those for each user included, and takes seats for it. Its connection
/// comes from `address`.
pub(super) fn admit(
    applicant: &Applicant<'_>,
    address: IpAddr,
    http: &Http,
    patience: Patience,
) -> Result<Admitted, Refused> {
    let now_us = http.state.metrics.uptime_us();
    let (seat, standing) = let_in(applicant, address, now_us, http, patience)?;
    let (standing, user_seat) = seat_of_user(standing, applicant.is_blind, now_us, http)?;
    Ok(Admitted { seat, standing, user_seat })
}

/// Holds a client, whose connection comes from `address`, to the rules for all of them, and takes a seat for it.
pub(super) fn let_in(
    applicant: &Applicant<'_>,
    address: IpAddr,
    now_us: u64,
    http: &Http,
    patience: Patience,
) -> Result<(Seat, Standing), Refused> {
    if !http.admits(applicant.origin, applicant.target) {
        return Err(Refused::Origin);
    }
    if http.state.draining() {
        return Err(Refused::Draining);
    }
    let client = http.client(address, applicant.forwarded);
    let seat = http.admission.admit(client, now_us).map_err(Refused::NotAdmitted)?;
    let in_query = || token(applicant.query.filter(|_| http.auth.takes_query_token)).map(Token::new);
    let token = applicant.token.as_ref().map(Cow::Borrowed).or_else(|| in_query().map(Cow::Owned));
    let standing = http.auth.standing(token.as_deref(), applicant.is_blind, patience).map_err(|error| {
        if error == AuthError::KeyWanted {
            http.admission.give_back(client);
        }
        Refused::Token(error)
    })?;
    Ok((seat, standing))
}

/// Whether a query has a pair as it stands.
pub(super) fn has_pair(query: Option<&str>, wanted: &str) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair == wanted))
}

/// What a client speaks: several events in a message if it asks for that by the subprotocol that is answered or by `?batch=1`.
fn dialect(subprotocol: Option<&str>, query: Option<&str>) -> Dialect {
    let in_query = has_pair(query, "batch=1");
    if in_query || subprotocol == Some(SUBPROTOCOL_BATCH) { Dialect::Batch } else { Dialect::Native }
}

/// Takes a place among the connections of the client's user, if it has one. A browser can't read the status of an HTTP answer, so one
/// that gets no place is let in and told, unless too many are at that already.
fn seat_of_user(
    standing: Standing,
    is_browser: bool,
    now_us: u64,
    http: &Http,
) -> Result<(Standing, Option<Arc<UserSeat>>), Refused> {
    let Standing::Known(identity) = &standing else { return Ok((standing, None)) };
    let Some(user) = &identity.user else { return Ok((standing, None)) };
    match http.admission.admit_user(user, now_us) {
        Ok(UserAdmitted { seat, replaces }) => {
            if let Some(number) = replaces {
                http.state.metrics.control.connections_replaced.add_shared(1);
                http.adopt.replace(number);
            }
            Ok((standing, Some(seat)))
        }
        Err(limit) => {
            let place = is_browser.then(|| http.auth.place_to_turn_away()).flatten();
            let place = place.ok_or(Refused::NotAdmitted(limit))?;
            let denied = Denied { code: ErrorCode::TooManyConnections, why: limit.to_string() };
            Ok((Standing::Refused { denied: Box::new(denied), place }, None))
        }
    }
}

impl Accepted {
    /// The client, to be handed to a shard. `transport` has sent the answer, if there is no greeting; `early` are the bytes that came behind the request.
    pub(super) fn arrival(self, transport: Transport, early: Bytes) -> Arrival {
        Arrival { transport, early, client: self.client }
    }

    /// The 101 answer for hyper to send.
    pub(super) fn answer(&self) -> Answer {
        let mut answer = Response::new(Default::default());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        answer.headers_mut().extend(self.fields.iter().cloned());
        answer
    }

    /// The 101 answer as bytes.
    pub(super) fn answer_bytes(&self) -> Vec<u8> {
        let mut answer = Vec::with_capacity(256);
        answer.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        write_fields(&mut answer, self.fields.iter().map(|(name, value)| (name, value)));
        answer
    }
}

/// Appends the header fields of an answer, and their end.
pub(super) fn write_fields<'f>(
    out: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'f HeaderName, &'f HeaderValue)>,
) {
    for (name, value) in fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// The symbols of `?symbols=AAPL,GOOGL`, decoded but not checked; `None` if there are none. A `+` stays a `+`, because symbols
/// may have one, and `%20` is a space. Bytes that aren't UTF-8 become U+FFFD, which no symbol may have.
pub(super) fn symbols(query: Option<&str>) -> Option<Vec<String>> {
    let lists = query?.split('&').filter_map(|pair| pair.strip_prefix("symbols="));
    let mut symbols = Vec::new();
    for list in lists {
        let list = percent_decode_str(list).decode_utf8_lossy();
        symbols.extend(list.split(',').map(str::trim).filter(|symbol| !symbol.is_empty()).map(str::to_owned));
    }
    (!symbols.is_empty()).then_some(symbols)
}

/// The token of `?token=`, decoded. What isn't UTF-8 becomes U+FFFD, which no token has.
pub(super) fn token(query: Option<&str>) -> Option<Cow<'_, str>> {
    let token = query?.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    Some(percent_decode_str(token).decode_utf8_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_asked_for_in_the_query_or_by_subprotocol() {
        let is_batch = |subprotocol, query| dialect(subprotocol, query) == Dialect::Batch;
        assert!(is_batch(Some(SUBPROTOCOL_BATCH), None));
        assert!(is_batch(None, Some("symbols=A&batch=1")));
        for query in [None, Some("batch=0"), Some("batch"), Some("mybatch=1"), Some("batch=10")] {
            assert!(!is_batch(Some("md.v1.json"), query), "{query:?}");
        }
    }

    #[test]
    fn token_of_the_query() {
        assert_eq!(token(Some("symbols=A&token=a.b%2Dc&token=x")).as_deref(), Some("a.b-c"));
        assert_eq!(token(Some("token=")).as_deref(), Some(""));
        assert_eq!(token(Some("mytoken=a")), None);
        assert_eq!(token(None), None);
    }

    #[test]
    fn symbols_of_the_query() {
        let list = |query| symbols(Some(query)).unwrap_or_default();
        assert_eq!(list("symbols=AAPL,GOOGL"), ["AAPL", "GOOGL"]);
        assert_eq!(list("a=b&symbols=btc%2Dusd%2Ceth-usd,,%20X&symbols=Y"), ["btc-usd", "eth-usd", "X", "Y"]);
        assert_eq!(list("symbols=AAPL%20%20240119C00190000,M%26M.NS"), ["AAPL  240119C00190000", "M&M.NS"]);
        assert_eq!(list("symbols=A+B,100%,%zz,%e4"), ["A+B", "100%", "%zz", "\u{fffd}"]);
        assert_eq!(symbols(Some("symbols=")), None);
        assert_eq!(symbols(Some("mysymbols=A")), None);
        assert_eq!(symbols(None), None);
    }
}
