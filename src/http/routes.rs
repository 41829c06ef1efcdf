//! Which request gets which answer.

use hyper::Request;
use hyper::header::{ALLOW, HeaderValue};
use hyper::http::StatusCode;

use super::handshake::{self, Handshake};
use super::upgrade::{self, Accepted, Refused};
use super::{Answer, Http, metrics_text, pages, refusal, reports};

/// What comes of a request.
pub(super) enum Outcome {
    /// An answer.
    Plain(Answer),
    /// A handshake that failed: 4xx or 503.
    Refused(Answer),
    /// 101, and what the connection becomes.
    Upgrade(Answer, Accepted),
}

/// A path that is served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    Home,
    WebSocket,
    Health,
    Ready,
    Stats,
    Metrics,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Home,
            "/ws" => Self::WebSocket,
            "/health" | "/ws/health" => Self::Health,
            "/ready" => Self::Ready,
            "/stats" => Self::Stats,
            "/metrics" => Self::Metrics,
            _ => return None,
        })
    }
}

/// Answers a request; its body, if it has one, isn't looked at.
pub(super) fn answer<B>(request: &Request<B>, http: &Http) -> Outcome {
    let Some(route) = Route::of(request.uri().path()) else {
        let message = "Not found; there are /, /ws, /health, /ready, /stats and /metrics";
        return Outcome::Plain(refusal(StatusCode::NOT_FOUND, "INVALID_INPUT", message));
    };
    let allowed = if route == Route::WebSocket { "GET" } else { "GET, HEAD" };
    if !allowed.split(", ").any(|method| method == request.method().as_str()) {
        return Outcome::Plain(wrong_method(allowed));
    }
    Outcome::Plain(match route {
        Route::WebSocket => return shake_hands(request, http),
        Route::Home if handshake::is_asked(request.headers()) => return shake_hands(request, http),
        Route::Home => pages::live(&http.page),
        Route::Health => reports::health(&http.state),
        Route::Ready => reports::ready(&http.state, &http.admission),
        Route::Stats => reports::stats(http),
        Route::Metrics => metrics_text::answer(http),
    })
}

fn shake_hands<B>(request: &Request<B>, http: &Http) -> Outcome {
    let checked = Handshake::of(request).map_err(Refused::from);
    match checked.and_then(|handshake| upgrade::accept(handshake, request.uri(), http)) {
        Ok(accepted) => Outcome::Upgrade(accepted.answer(), accepted),
        Err(refused) => Outcome::Refused(refused.into_answer()),
    }
}

/// 405, which must say what is allowed (RFC 9110 section 15.5.6).
pub(super) fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = refusal(
        StatusCode::METHOD_NOT_ALLOWED,
        "INVALID_INPUT",
        &format!("Method not allowed; allowed: {allowed}"),
    );
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}
