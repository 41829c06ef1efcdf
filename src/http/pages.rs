//! The live page: four files, part of the binary, that load nothing from elsewhere. `web/check` shows that they are what `web/src` makes.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::LazyLock;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
};
use hyper::http::StatusCode;

use super::answers::{Answer, answer, is_known};
use crate::market::{Kinds, SymbolCase};
use crate::protocol::api::Apis;

const PAGE: &str = include_str!("../../web/dist/index.html");
static STYLE: LazyLock<Kept> =
    LazyLock::new(|| Kept::new("text/css; charset=utf-8", include_str!("../../web/dist/live.css")));
/// The part of the page that leads to what only operators get where they have a port of their own.
const FOR_OPERATORS: &str = r#" · <a href="stats">stats</a> · <a href="metrics">metrics</a>"#;
/// What the page has to know of the desk.
const NO_ROOMS: &str = r#"name="rooms" content="no""#;
const HAS_ROOMS: &str = r#"name="rooms" content="yes""#;
/// Of the events: whether the demo's symbols are there to begin with.
const NO_DEMO: &str = r#"name="demo" content="no""#;
const IS_DEMO: &str = r#"name="demo" content="yes""#;
/// And of the APIs whose clients are served.
const NO_DIALECTS: &str = r#"name="dialects" content="none""#;
static SCRIPT: LazyLock<Kept> =
    LazyLock::new(|| Kept::new("text/javascript; charset=utf-8", include_str!("../../web/dist/live.js")));
/// TradingView's Lightweight Charts with the page's chart; the script loads it once prices are shown.
static CHART: LazyLock<Kept> =
    LazyLock::new(|| Kept::new("text/javascript; charset=utf-8", include_str!("../../web/dist/chart.js")));

/// Allows only the page's own style and script, pictures that stand in the page, and connections to gateways. Code in the page
/// itself is not run, so text from outside that became markup could do nothing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page has to know of the gateway.
pub(super) struct Facts<'g> {
    pub(super) types: &'g Kinds,
    pub(super) symbol_case: SymbolCase,
    pub(super) max_symbols: usize,
    pub(super) apis: Apis,
    pub(super) has_desk: bool,
    pub(super) is_demo: bool,
    pub(super) has_operators_port: bool,
}

/// The page of a gateway.
pub(super) fn compose(facts: &Facts<'_>) -> Bytes {
    let Facts { types, symbol_case, max_symbols, apis, has_desk, is_demo, has_operators_port } = *facts;
    // Links to pages that are on another port would lead nowhere.
    let page = if has_operators_port { PAGE.replace(FOR_OPERATORS, "") } else { PAGE.to_owned() };
    let page = page
        .replace(
            r#"name="channel-types" content="trade""#,
            &format!(r#"name="channel-types" content="{types}""#),
        )
        .replace(
            r#"name="symbol-case" content="upper""#,
            &format!(r#"name="symbol-case" content="{}""#, symbol_case.word()),
        )
        .replace(
            r#"name="max-symbols" content="5""#,
            &format!(r#"name="max-symbols" content="{max_symbols}""#),
        )
        .replace(NO_DIALECTS, &format!(r#"name="dialects" content="{apis}""#));
    let page = if has_desk { page.replace(NO_ROOMS, HAS_ROOMS) } else { page };
    let page = if is_demo { page.replace(NO_DEMO, IS_DEMO) } else { page };
    Bytes::from(page)
}

/// `GET /` without an upgrade.
pub(super) fn live(page: &Bytes) -> Answer {
    part("text/html; charset=utf-8", page.clone())
}

/// The page's style.
pub(super) fn style(headers: &HeaderMap) -> Answer {
    STYLE.answer(headers)
}

/// The page's script.
pub(super) fn script(headers: &HeaderMap) -> Answer {
    SCRIPT.answer(headers)
}

/// The script of the page's chart.
pub(super) fn chart(headers: &HeaderMap) -> Answer {
    CHART.answer(headers)
}

/// A part that a browser has to fetch once for each version of it.
struct Kept {
    content_type: &'static str,
    text: &'static str,
    /// Names this version of it.
    tag: Option<HeaderValue>,
}

impl Kept {
    fn new(content_type: &'static str, text: &'static str) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        let tag = HeaderValue::try_from(format!("\"{:x}\"", hasher.finish())).ok();
        Self { content_type, text, tag }
    }

    fn answer(&self, headers: &HeaderMap) -> Answer {
        let is_known = is_known(headers.get(IF_NONE_MATCH), self.tag.as_ref());
        let text = if is_known { "" } else { self.text };
        let mut part = part(self.content_type, Bytes::from_static(text.as_bytes()));
        if is_known {
            *part.status_mut() = StatusCode::NOT_MODIFIED;
        }
        if let Some(tag) = &self.tag {
            part.headers_mut().insert(ETAG, tag.clone());
        }
        part
    }
}

fn part(content_type: &'static str, body: Bytes) -> Answer {
    let mut part = answer(StatusCode::OK, content_type, body);
    let headers = part.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // A part may be kept, but belongs to this version of the gateway: the browser asks each time.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::api::Api;

    #[test]
    fn the_page_has_what_it_has_to_know() {
        let types = "trade,news,order_book".parse().unwrap();
        let compose = |apis, has_desk, has_operators_port| {
            let page = compose(&Facts {
                types: &types,
                symbol_case: SymbolCase::Exact,
                max_symbols: 17,
                apis,
                has_desk,
                is_demo: has_desk,
                has_operators_port,
            });
            String::from_utf8(page.to_vec()).unwrap()
        };
        let page = compose([Api::Alpaca, Api::SocketIo].into_iter().collect(), true, false);
        for part in [
            r#"<meta name="channel-types" content="trade,news,order_book">"#,
            r#"<meta name="symbol-case" content="exact">"#,
            r#"<meta name="max-symbols" content="17">"#,
            r#"<meta name="rooms" content="yes">"#,
            r#"<meta name="demo" content="yes">"#,
            r#"<meta name="dialects" content="alpaca,socketio">"#,
        ] {
            assert!(page.contains(part));
        }
        assert!(page.contains(FOR_OPERATORS));
        let page = compose(Apis::default(), false, true);
        assert!(page.contains(r#"<meta name="rooms" content="no">"#));
        assert!(page.contains(r#"<meta name="demo" content="no">"#));
        assert!(page.contains(r#"<meta name="dialects" content="none">"#));
        assert!(
            page.contains(r#"<a href="health">"#) && !page.contains("stats") && !page.contains("metrics")
        );
    }
}
