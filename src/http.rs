//! HTTP and the WebSocket handshake, on one port.
//!
//! ```text
//! accept ─► door ─► connection ─► routes ─► pages, reports, metrics text     (answered, kept alive for a while)
//! (errno     │      (deadlines,      │
//! classes)   │       hyper)          ▼
//!            └────────────────────► upgrade ─► 101 ─► Adopt::adopt(NewClient)   (leaves HTTP for good)
//! ```
//!
//! A plain handshake leaves at the `door`, everything else is hyper's; the rules (`handshake`, `upgrade`) are the same. With a
//! certificate the port speaks TLS alone (`secure`), and then everything is hyper's.
//!
//! HTTP/1.1 only. Everything is answered from atomics and constants, so no request ever waits for anything but its peer, and
//! what a peer may hold is bounded: connections in flight, header bytes and count, and the time for each step
//! (`limits.rs`, "HTTP and the handshake").

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

/// What the HTTP side needs of the gateway.
pub struct Http {
    /// What the process knows of itself.
    pub state: Arc<State>,
    /// Seats for WebSocket clients.
    pub admission: Arc<Admission>,
    /// Where upgraded clients go.
    pub adopt: Arc<dyn Adopt>,
    /// What clients may subscribe to.
    pub rights: Arc<Rights>,
    /// Whose pages may connect.
    pub origins: Origins,
    /// Who reaches the port.
    pub surface: Surface,
    /// With what the port speaks TLS; `None` = it doesn't.
    pub certificate: Option<Arc<Certificate>>,
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
