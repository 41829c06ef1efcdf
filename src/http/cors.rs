//! Tells a browser whether a page of another origin may read an answer (CORS), and answers `OPTIONS`.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, CACHE_CONTROL, HeaderMap, HeaderValue,
    VARY,
};
use hyper::http::StatusCode;

use super::answers::Answer;
use super::{Http, handshake};
use crate::limits::CORS_MAX_AGE_S;

/// 204 with `Allow`, and with the CORS headers of a preflight if the request names one origin and that is allowed.
pub(super) fn options(methods: &'static str, request: &HeaderMap, http: &Http) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let methods = HeaderValue::from_static(methods);
    let headers = answer.headers_mut();
    headers.insert(ALLOW, methods.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if allowed_origin(request, http).is_some() {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(CORS_MAX_AGE_S));
        // No request header changes an answer, so any may be sent. Credentials are not allowed.
        if let Some(asked) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
    }
    answer
}

/// Says in an answer which origin may read it: the request's own, if that is allowed. Caches have to keep the answers to different
/// origins apart.
pub(super) struct Mark(Option<HeaderValue>);

impl Mark {
    /// That of the answer to a request with these header fields.
    pub(super) fn of(request: &HeaderMap, http: &Http) -> Self {
        Self(allowed_origin(request, http))
    }

    /// Puts it into the answer.
    pub(super) fn put_into(self, answer: &mut Answer) {
        let headers = answer.headers_mut();
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.0 {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
    }
}

fn allowed_origin(request: &HeaderMap, http: &Http) -> Option<HeaderValue> {
    let origin =
        handshake::origin(request).filter(|origin| http.allows(origin, handshake::target(request)))?;
    HeaderValue::from_str(origin).ok()
}
