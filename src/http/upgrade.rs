//! The server's side of the opening handshake (RFC 6455 section 4.2): accepts it and writes the answer.

use std::net::IpAddr;

use bytes::Bytes;
use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::http::StatusCode;
use hyper::{Response, Uri};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::Http;
use super::admit::{Admitted, Applicant, Refused, admit};
use super::answers::Answer;
use super::handshake::{Fault, Handshake, SUBPROTOCOL_BATCH};
use super::query;
use crate::auth::{AuthError, Patience};
use crate::bus::{Arrival, Newcomer, Standing};
use crate::protocol::Dialect;
use crate::protocol::native::read::parse_query;
use crate::protocol::request::{FirstRequest, Token};
use crate::protocol::terms::Options;
use crate::transport::Transport;
use crate::websocket::extension;

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

/// Decides on a handshake to that target, whose connection comes from `address`, and takes a seat for it.
pub(super) fn accept(
    handshake: &Handshake<'_>,
    uri: &Uri,
    address: IpAddr,
    http: &Http,
    patience: Patience,
) -> Result<Accepted, Refused> {
    let request =
        query::symbols(uri.query()).map(|symbols| Box::from([parse_query(&symbols, &http.grammar)]));
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
    let at_desk = query::has_pair(uri.query(), query::AT_DESK);
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

/// What a client speaks: several events in a message if it asks for that by the subprotocol that is answered or by `?batch=1`.
fn dialect(subprotocol: Option<&str>, query: Option<&str>) -> Dialect {
    let in_query = query::has_pair(query, "batch=1");
    if in_query || subprotocol == Some(SUBPROTOCOL_BATCH) { Dialect::Batch } else { Dialect::Native }
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
}
