//! The live page: one file, part of the binary, that loads nothing from elsewhere.

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY};
use hyper::http::StatusCode;

use super::answers::{Answer, answer};
use crate::market::{EventTypes, SymbolCase};

const PAGE: &str = include_str!("../../web/index.html");
const STYLE: &str = include_str!("../../web/live.css");
const SCRIPT: &str = include_str!("../../web/live.js");

/// Allows only the page's own style and script, and connections to the gateway. Inline code is safe because the page contains no
/// text from outside: its script sets text from the socket as text, never as markup.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page of a gateway with these settings.
pub(super) fn compose(types: EventTypes, symbol_case: SymbolCase) -> Bytes {
    let page = PAGE
        .replace("<style></style>", &format!("<style>\n{STYLE}</style>"))
        .replace("<script></script>", &format!("<script>\n{SCRIPT}</script>"))
        .replace(
            r#"name="channel-types" content="trade""#,
            &format!(r#"name="channel-types" content="{types}""#),
        )
        .replace(
            r#"name="symbol-case" content="upper""#,
            &format!(r#"name="symbol-case" content="{}""#, symbol_case.word()),
        );
    Bytes::from(page)
}

/// `GET /` without an upgrade.
pub(super) fn live(page: &Bytes) -> Answer {
    let mut page = answer(StatusCode::OK, "text/html; charset=utf-8", page.clone());
    let headers = page.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // A browser may cache the page but must revalidate it each time, because it belongs to this version of the gateway.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::EventType;

    #[test]
    fn the_page_has_its_style_its_script_and_its_settings() {
        let types = [EventType::Trade, EventType::News].into_iter().collect();
        let page = String::from_utf8(compose(types, SymbolCase::Exact).to_vec()).unwrap();
        for part in [
            STYLE,
            SCRIPT,
            r#"<meta name="channel-types" content="trade,news">"#,
            r#"<meta name="symbol-case" content="exact">"#,
        ] {
            assert!(page.contains(part));
        }
    }
}
