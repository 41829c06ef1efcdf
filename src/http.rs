//! HTTP and the WebSocket handshake, on one port.
//!
//! ```text
//! accept ─► door ─► connection ─► routes ─► pages, reports, metrics text     (answered, kept alive for a while)
//! (errno     │      (deadlines,      │
//! classes)   │       hyper)          ▼
//!            └────────────────────► upgrade ─► 101 ─► Adopt::adopt(NewClient)   (leaves HTTP for good)
//! ```
//!
//! A plain handshake leaves at the `door`, everything else is hyper's; the rules (`handshake`, `upgrade`) are the same.
//!
//! HTTP/1.1 only. Everything is answered from atomics and constants, so no request ever waits for anything but its peer, and
//! what a peer may hold is bounded: connections in flight, header bytes and count, and the time for each step
//! (`limits.rs`, "HTTP and the handshake").

mod connection;
mod door;
pub mod handshake;
mod listen;
mod metrics_text;
mod pages;
mod places;
mod reports;
mod routes;
mod upgrade;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::StatusCode;

pub use self::listen::{BindError, Listener, bind, serve};
use crate::admission::Admission;
use crate::bus::Adopt;
use crate::config::Config;
use crate::limits::*;
use crate::state::State;

/// What every answer is: short, and known when it is begun.
type Answer = Response<Full<Bytes>>;

/// What the HTTP side needs of the gateway.
pub struct Http {
    /// What the process knows of itself.
    pub state: Arc<State>,
    /// Seats for WebSocket clients.
    pub admission: Arc<Admission>,
    /// Where upgraded clients go.
    pub adopt: Arc<dyn Adopt>,
    /// `ALLOWED_ORIGINS`, normalised; `None` = any.
    pub allowed_origins: Option<Vec<String>>,
    /// Whether the upstream is the embedded broker, for `/stats`.
    pub embedded_broker: bool,
    /// The live page.
    page: Bytes,
    /// How long and how many.
    pub bounds: Bounds,
}

/// The bounds of HTTP connections; the defaults are those of `limits.rs`.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// From `accept` to the first request's whole header.
    pub handshake_timeout: Duration,
    /// Without a new request after the first.
    pub idle_timeout: Duration,
    /// Connections that aren't upgraded (yet), at a time.
    pub in_flight_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_millis(HANDSHAKE_TIMEOUT_MS),
            idle_timeout: Duration::from_millis(HTTP_IDLE_TIMEOUT_MS),
            in_flight_max: HTTP_IN_FLIGHT_MAX,
        }
    }
}

impl Http {
    /// The HTTP side of a gateway of that configuration.
    pub fn new(config: &Config, state: Arc<State>, admission: Arc<Admission>, adopt: Arc<dyn Adopt>) -> Self {
        Self {
            state,
            admission,
            adopt,
            allowed_origins: config.allowed_origins.clone(),
            embedded_broker: config.upstream.is_embedded(),
            page: pages::compose(config.channel_types),
            bounds: Bounds { in_flight_max: config.descriptors().http, ..Bounds::default() },
        }
    }
}

/// An answer that is never cached.
fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// A JSON answer.
fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(text) => answer(status, "application/json", text),
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, "application/json", "{}"),
    }
}

/// An error, in the shape that WebSocket errors have.
#[derive(serde::Serialize)]
struct ErrorBody<'a> {
    r#type: &'static str,
    message: &'a str,
    code: &'static str,
    timestamp: u64,
}

/// A refusal with its JSON body.
fn refusal(status: StatusCode, code: &'static str, message: &str) -> Answer {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json(status, &ErrorBody { r#type: "error", message, code, timestamp: now.as_millis() as u64 })
}
