//! `GET /v1/last`: the last event of a symbol, or of several, for whoever doesn't need the next one.
//!
//! A question is held to the rules of a handshake: origin, token and rights, limits on connections. It has a client's seat until it is
//! answered. Ingest answers it from the history, which is where the snapshots of subscribes come from as well.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use hyper::Request;
use hyper::header::{
    ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, WWW_AUTHENTICATE,
};
use hyper::http::StatusCode;
use percent_encoding::percent_decode_str;
use tokio::sync::oneshot;

use super::admit::{Applicant, let_in};
use super::answers::{Answer, answer, is_known, refusal, refusal_until};
use super::query;
use super::{Http, handshake};
use crate::auth::Patience;
use crate::bus::{LastEvent, LastQuestion, Standing};
use crate::limits::{LAST_ANSWER_BYTES_MAX, LAST_SYMBOLS_MAX, RETRY_AFTER_S};
use crate::market::{Delay, Form, Subject};
use crate::metrics::RequestRefusal;
use crate::protocol::native::read::parse_last;
use crate::protocol::native::write;
use crate::protocol::refusal::{ErrorCode, Refusal};
use crate::protocol::reply::Reply;
use crate::protocol::request::{Selection, Token};
use crate::unix_time::unix_ms;
use crate::websocket::header;

/// What stands before the symbol in a path.
pub(super) const PATH: &str = "/v1/last/";

/// An answer that waits for ingest.
pub(super) type Asked = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Why nothing is asked.
pub(super) enum Declined {
    /// The request is refused with this answer, and counted under that reason.
    Refused(Box<Answer>, RequestRefusal),
    /// Its token's key is being fetched.
    Waits,
}

impl Declined {
    fn refused(answer: Answer, why: RequestRefusal) -> Self {
        Self::Refused(Box::new(answer), why)
    }
}

/// Asks ingest what a request asks for.
///
/// # Errors
/// When the request is refused, or has to wait.
pub(super) fn ask<B>(
    request: &Request<B>,
    address: IpAddr,
    http: &Http,
    patience: Patience,
) -> Result<Asked, Declined> {
    let (headers, query) = (request.headers(), request.uri().query());
    let symbol = request.uri().path().strip_prefix(PATH).filter(|symbol| !symbol.is_empty());
    let symbol = symbol.map(|symbol| percent_decode_str(symbol).decode_utf8_lossy().into_owned());
    let is_single = symbol.is_some();
    let symbols = symbol.map_or_else(|| query::symbols(query).unwrap_or_default(), |symbol| vec![symbol]);

    let forwarded = handshake::forwarded(headers);
    let applicant = Applicant {
        origin: handshake::origin(headers),
        target: handshake::target(headers),
        forwarded: &forwarded,
        token: handshake::authorization(headers).map(Token::new),
        query,
        is_blind: false,
    };
    let now_us = http.state.metrics.uptime_us();
    let (seat, standing) = let_in(&applicant, address, now_us, http, patience).map_err(|error| {
        let Some(error) = error.counted(http) else { return Declined::Waits };
        let why = error.reason().into();
        Declined::refused(error.into_answer(), why)
    })?;
    let (selection, delay) = selected(&symbols, !is_single, query, &standing, http)?;
    let subjects = selection.subjects(Form::JSON.delayed(delay));
    let Some(place) = http.last_questions.take() else {
        return Err(Declined::refused(unavailable("Too many look-ups wait"), RequestRefusal::Questions));
    };
    let (sender, answered) = oneshot::channel();
    http.last.send(LastQuestion { subjects: subjects.clone(), answer: sender, place });
    let if_none_match = headers.get(IF_NONE_MATCH).cloned();
    let state = Arc::clone(&http.state);
    Ok(Box::pin(async move {
        let _seat = seat;
        let refused = |answer, why| {
            state.metrics.control.request_refused(why).add_shared(1);
            answer
        };
        match answered.await {
            Err(_) => refused(unavailable("The gateway is shutting down"), RequestRefusal::Draining),
            Ok(events) if is_single => single(events.into_iter().flatten().next(), if_none_match.as_ref()),
            Ok(events) => several(&subjects, &events)
                .unwrap_or_else(|TooLarge| refused(bad(&TooLarge.to_string()), RequestRefusal::Request)),
        }
    }))
}

/// What the client asks for, if it may have it, and with which delay.
fn selected(
    symbols: &[String],
    is_query: bool,
    query: Option<&str>,
    standing: &Standing,
    http: &Http,
) -> Result<(Selection, Delay), Declined> {
    let Standing::Known(identity) = standing else {
        return Err(Declined::refused(unauthorized(query, http), RequestRefusal::Token));
    };
    let refused = |refusal: Refusal| {
        let (status, why) = match refusal.code {
            ErrorCode::Forbidden => (StatusCode::FORBIDDEN, RequestRefusal::Rights),
            _ => (StatusCode::BAD_REQUEST, RequestRefusal::Request),
        };
        let object = write::reply(&Reply::Refused(&refusal), &http.grammar.kinds, unix_ms());
        Declined::refused(answer(status, "application/json", object), why)
    };
    let malformed = |message: &str| Declined::refused(bad(message), RequestRefusal::Request);
    if symbols.is_empty() {
        return Err(malformed("Missing symbols: ask for /v1/last/AAPL or /v1/last?symbols=AAPL,MSFT"));
    }
    let type_name = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("type=")));
    let type_name = type_name.map(|name| percent_decode_str(name).decode_utf8_lossy());
    let selection = parse_last(symbols, is_query, type_name.as_deref(), &http.grammar).map_err(refused)?;
    if selection.names.len() > LAST_SYMBOLS_MAX {
        let count = selection.names.len();
        let message = format!("Too many symbols: {count}, and at most {LAST_SYMBOLS_MAX} at a time");
        return Err(malformed(&message));
    }
    identity.rights.grant(&selection, Form::JSON, &http.grammar.kinds).map_err(refused)?;
    Ok((selection, identity.rights.delay))
}

/// The answer about one symbol: the object of its frame.
fn single(event: Option<LastEvent>, if_none_match: Option<&HeaderValue>) -> Answer {
    let Some(LastEvent { frame, seq, .. }) = event else {
        return refusal(StatusCode::NOT_FOUND, "NOT_FOUND", "No event of this symbol is known");
    };
    let tag = seq.and_then(|seq| HeaderValue::try_from(format!("\"{seq}\"")).ok());
    let mut answer = match is_known(if_none_match, tag.as_ref()) {
        true => {
            let mut answer = Answer::default();
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            answer
        }
        false => {
            let object = frame.slice(frame.len() - header::payload(&frame).len()..);
            answer(StatusCode::OK, "application/json", object)
        }
    };
    let headers = answer.headers_mut();
    // A cache has to ask each time, and may keep it for this client only.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag"));
    if let Some(tag) = tag {
        headers.insert(ETAG, tag);
    }
    answer
}

/// Several events are too large for one answer.
#[derive(Debug, thiserror::Error)]
#[error("These events have more than {LAST_ANSWER_BYTES_MAX} bytes: ask for fewer at a time")]
struct TooLarge;

/// The answer about several symbols, in the request's order.
///
/// # Errors
/// Where they are too large together.
fn several(subjects: &[Subject], events: &[Option<LastEvent>]) -> Result<Answer, TooLarge> {
    let objects: Vec<_> = events.iter().flatten().map(|event| header::payload(&event.frame)).collect();
    if objects.len() > 1 && objects.iter().map(|object| object.len()).sum::<usize>() > LAST_ANSWER_BYTES_MAX {
        return Err(TooLarge);
    }
    let missing = subjects.iter().zip(events).filter(|(_, event)| event.is_none());
    let missing: Vec<_> = missing.map(|(subject, _)| format!("\"{}\"", subject.name)).collect();
    let mut body = br#"{"type":"last","data":["#.to_vec();
    body.extend_from_slice(&objects.join(&b","[..]));
    // None of a symbol's characters needs an escape.
    let end = format!(r#"],"missing":[{}],"timestamp":{}}}"#, missing.join(","), unix_ms());
    body.extend_from_slice(end.as_bytes());
    Ok(answer(StatusCode::OK, "application/json", body))
}

fn bad(message: &str) -> Answer {
    refusal(StatusCode::BAD_REQUEST, "INVALID_INPUT", message)
}

fn unavailable(message: &str) -> Answer {
    refusal_until(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message, RETRY_AFTER_S)
}

/// What a client without a token is answered where one is asked for.
pub(super) fn unauthorized(query: Option<&str>, http: &Http) -> Answer {
    let mut message = "Not authenticated: send Authorization: Bearer <token>".to_owned();
    if http.passes_over_token(query) {
        message.push_str("; ?token= is not taken here (AUTH_QUERY_TOKEN=false)");
    }
    let mut answer = refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", &message);
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}
