//! Builds HTTP answers: their headers, JSON bodies and errors.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use hyper::http::StatusCode;

use crate::unix_time::unix_ms;

/// An answer with its whole body.
pub(super) type Answer = Response<Full<Bytes>>;

/// An answer that is never cached.
pub(super) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// Whether an `If-None-Match` names the tag of what would be answered (RFC 9110 section 13.1.2, by weak comparison).
pub(super) fn is_known(if_none_match: Option<&HeaderValue>, tag: Option<&HeaderValue>) -> bool {
    let (Some(Ok(known)), Some(Ok(tag))) =
        (if_none_match.map(HeaderValue::to_str), tag.map(HeaderValue::to_str))
    else {
        return false;
    };
    let mut known = known.split(',').map(str::trim);
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(text) => answer(status, "application/json", text),
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, "application/json", "{}"),
    }
}

/// An error, in the shape that WebSocket errors have.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody<'a> {
    r#type: &'static str,
    message: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    timestamp: u64,
}

/// The body of a refusal; `retry_after_s` is for `RATE_LIMIT_EXCEEDED`.
pub(super) fn error_body(code: &'static str, message: &str, retry_after_s: Option<u64>) -> Vec<u8> {
    let timestamp = unix_ms();
    let body = ErrorBody { r#type: "error", message, code, retry_after: retry_after_s, timestamp };
    // Texts and numbers can always be written.
    serde_json::to_vec(&body).unwrap_or_default()
}

/// A refusal with its JSON body.
pub(super) fn refusal(status: StatusCode, code: &'static str, message: &str) -> Answer {
    answer(status, "application/json", error_body(code, message, None))
}

/// A refusal that ends by itself after so many seconds.
pub(super) fn refusal_until(
    status: StatusCode,
    code: &'static str,
    message: &str,
    retry_after_s: u64,
) -> Answer {
    // Other refusals in this shape have the time in their header alone.
    let in_body = (code == "RATE_LIMIT_EXCEEDED").then_some(retry_after_s);
    let mut answer = answer(status, "application/json", error_body(code, message, in_body));
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
    answer
}

/// 405, which must name the allowed methods (RFC 9110 section 15.5.6).
pub(super) fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = refusal(
        StatusCode::METHOD_NOT_ALLOWED,
        "INVALID_INPUT",
        &format!("Method not allowed; allowed: {allowed}"),
    );
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}
