//! Builds HTTP answers: their headers, JSON bodies and errors.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::StatusCode;

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

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(text) => answer(status, "application/json", text),
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, "application/json", "{}"),
    }
}

/// The body of an error, in the shape of WebSocket errors.
#[derive(serde::Serialize)]
struct ErrorBody<'a> {
    r#type: &'static str,
    message: &'a str,
    code: &'static str,
    timestamp: u64,
}

/// An error answer with its JSON body.
pub(super) fn refusal(status: StatusCode, code: &'static str, message: &str) -> Answer {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json(status, &ErrorBody { r#type: "error", message, code, timestamp: now.as_millis() as u64 })
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
