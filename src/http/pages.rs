//! The live page: one file, in the binary, that loads nothing from elsewhere.

use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY};
use hyper::http::StatusCode;

use super::{Answer, answer};

const LIVE: &str = include_str!("../../web/index.html");

/// Nothing but the page's own style and script, and connections to where it came from. Inline code is allowed because the
/// page is a constant without anybody's text in it; what arrives over the socket is set as text, never as markup.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /` without an upgrade.
pub(super) fn live() -> Answer {
    let mut page = answer(StatusCode::OK, "text/html; charset=utf-8", LIVE);
    let headers = page.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // The page may be kept, but belongs to this version of the gateway: ask each time.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    page
}
