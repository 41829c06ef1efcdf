//! `GET /sse`: a stream of server-sent events. The request is held to the rules of a handshake; then its connection goes to a shard, which answers it.

use std::net::IpAddr;
use std::time::SystemTime;

use hyper::Request;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::StatusCode;
use percent_encoding::percent_decode_str;

use super::admit::{Admitted, Applicant, admit};
use super::answers::{Answer, refusal};
use super::query;
use super::upgrade::{Accepted, X_SERVER_ID, write_fields};
use super::{Http, cors, handshake, last};
use crate::auth::Patience;
use crate::bus::{Newcomer, Standing};
use crate::metrics::UpgradeRefusal;
use crate::protocol::Dialect;
use crate::protocol::request::Token;
use crate::protocol::sse::{self, Query};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells nginx not to hold events back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Why a request for a stream is not accepted.
pub(super) enum Declined {
    /// It is refused with this answer, and counted under that reason.
    Refused(Box<Answer>, UpgradeRefusal),
    /// Its token's key is being fetched.
    Waits,
}

/// Decides on a request for a stream, whose connection comes from `address`, and takes a seat for its client.
///
/// # Errors
/// When the request is refused, or has to wait.
pub(super) fn open<B>(
    request: &Request<B>,
    address: IpAddr,
    http: &Http,
    patience: Patience,
) -> Result<Accepted, Declined> {
    let headers = request.headers();
    let refused = |mut answer: Answer, why| {
        cors::Mark::of(headers, http).put_into(&mut answer);
        Declined::Refused(Box::new(answer), why)
    };
    let query = query_of(request);
    if query.symbols.is_empty() {
        let message = "Missing symbols: ask for /sse?symbols=AAPL,MSFT";
        let answer = refusal(StatusCode::BAD_REQUEST, "INVALID_INPUT", message);
        return Err(refused(answer, UpgradeRefusal::Handshake));
    }
    let forwarded = handshake::forwarded(headers);
    let applicant = Applicant {
        origin: handshake::origin(headers),
        target: handshake::target(headers),
        forwarded: &forwarded,
        token: handshake::authorization(headers).map(Token::new),
        query: request.uri().query(),
        // An `EventSource` doesn't come back after an answer other than 200.
        is_blind: false,
    };
    let admitted = admit(&applicant, address, http, patience).map_err(|error| {
        let Some(error) = error.counted(http) else { return Declined::Waits };
        let why = error.reason();
        refused(error.into_answer(), why)
    })?;
    let Admitted { seat, standing: standing @ Standing::Known(_), user_seat } = admitted else {
        return Err(refused(last::unauthorized(request.uri().query(), http), UpgradeRefusal::Token));
    };
    let client = Newcomer {
        greeting: head(headers, http),
        request: Some(Box::from([sse::read(&query, &http.grammar)])),
        ..Newcomer::new(Dialect::Sse, standing, seat, user_seat)
    };
    Ok(Accepted { client, fields: Vec::new() })
}

/// The parameters of a request, decoded. What isn't UTF-8 becomes U+FFFD.
fn query_of<B>(request: &Request<B>) -> Query {
    let query = request.uri().query();
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let others = pairs.filter(|(name, _)| *name != "symbols");
    let others = others
        .map(|(name, value)| (name.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned()));
    let id = request.headers().get(LAST_EVENT_ID).map(|id| String::from_utf8_lossy(id.as_bytes()));
    Query {
        symbols: query::symbols(query).unwrap_or_default(),
        others: others.collect(),
        last_event_id: id.filter(|id| !id.is_empty()).map(std::borrow::Cow::into_owned),
    }
}

/// The head of the answer. The stream ends with the connection, so it needs no length and no chunks.
fn head(request: &HeaderMap, http: &Http) -> Box<[u8]> {
    let mut answer = Answer::default();
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        headers.insert(DATE, date);
    }
    if let Ok(server_id) = HeaderValue::from_str(&http.state.server_id) {
        headers.insert(X_SERVER_ID, server_id);
    }
    cors::Mark::of(request, http).put_into(&mut answer);
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    write_fields(&mut head, answer.headers().iter());
    head.into()
}
