//! HTTP and the WebSocket handshake, on one port.
//!
//! ```text
//! accept ─► door ─► connection ─► routes ─► pages, reports, metrics text     (answered, kept alive for a while)
//! (errno     │      (deadlines,      │
//! classes)   │       hyper)          ▼
//!            └────────────────────► upgrade ─► 101 ─► Adopt::adopt(NewClient)   (leaves HTTP for good)
//! ```
//!
//! A plain handshake is answered at the `door`, and hyper serves every other connection; the same rules (`handshake`, `upgrade`) apply.
//! With a certificate the port speaks TLS only (`secure`), and hyper serves all connections.
//!
//! HTTP/1.1 only. Every answer comes from atomics and constants, so a request waits for nothing but its peer. The resources of a peer
//! are bounded: connections in flight, header bytes and count, and the time for each step (`limits.rs`, "HTTP and the handshake").

mod accept_header;
mod answers;
mod connection;
mod cors;
mod door;
pub mod handshake;
mod listen;
mod metrics_text;
mod pages;
mod places;
mod reports;
mod routes;
mod secure;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use self::listen::{BindError, Listener, bind, serve};
pub use self::routes::Surface;
pub use self::secure::Certificate;
use crate::admission::Admission;
use crate::bus::Adopt;
use crate::config::Config;
use crate::identity::Rights;
use crate::limits::*;
use crate::origin::{Origins, Target};
use crate::state::State;

/// The gateway's parts that HTTP uses.
pub struct Http {
    /// The process' counters, and whether it is connected, ready or draining.
    pub state: Arc<State>,
    /// Seats for WebSocket clients.
    pub admission: Arc<Admission>,
    /// Where upgraded clients go.
    pub adopt: Arc<dyn Adopt>,
    /// What clients may subscribe to.
    pub rights: Arc<Rights>,
    /// The web pages that may connect.
    pub origins: Origins,
    /// Whom the port is for.
    pub surface: Surface,
    /// The port's certificate; `None` without TLS.
    pub certificate: Option<Arc<Certificate>>,
    /// Whether the upstream is the embedded broker, for `/stats`.
    pub embedded_broker: bool,
    /// The live page.
    page: Bytes,
    /// Timeouts, and the number of connections.
    pub bounds: Bounds,
}

/// The bounds of HTTP connections; the defaults are those of `limits.rs`.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// The time from `accept` to the end of the first request's header.
    pub handshake_timeout: Duration,
    /// How often a connection is checked for a new request after the first.
    pub idle_timeout: Duration,
    /// The most connections at a time that aren't upgraded.
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
    /// Whether a page of `origin` may make that request and read the answer. Under the port's own TLS it has gone to `https`, whatever its header says.
    fn allows(&self, origin: &str, target: Target<'_>) -> bool {
        let scheme = if self.certificate.is_some() { "https" } else { target.scheme };
        self.origins.allow(origin, Target { scheme, ..target })
    }

    /// The HTTP side of a gateway of that configuration, without TLS.
    pub fn new(config: &Config, state: Arc<State>, admission: Arc<Admission>, adopt: Arc<dyn Adopt>) -> Self {
        Self {
            state,
            admission,
            adopt,
            rights: Arc::new(Rights {
                allow_wildcard: config.clients.allow_wildcard,
                max_symbols: config.clients.max_symbols_per_client,
            }),
            origins: config.server.origins.clone(),
            surface: Surface::Both,
            certificate: None,
            embedded_broker: config.upstream.is_embedded(),
            page: pages::compose(&config.events.channel_types, config.events.symbol_case),
            bounds: Bounds { in_flight_max: config.descriptors().http, ..Bounds::default() },
        }
    }
}
