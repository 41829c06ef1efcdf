//! HTTP and the WebSocket handshake, on one port.
//!
//! ```text
//! accept ─► door ─► connection ─► routes ─► pages, reports, metrics text     (answered, kept alive for a while)
//! (errno     │      (deadlines,      │
//! classes)   │       hyper)          ▼
//!            └────────────────────► upgrade ─► 101 ─► Adopt::adopt(Arrival)     (leaves HTTP for good)
//! ```
//!
//! A request for a stream of server-sent events (`sse`) goes the same way; its shard answers it.
//!
//! A plain handshake is answered at the `door`, and hyper serves every other connection; the same rules (`handshake`, `upgrade`) apply.
//! With a certificate the port speaks TLS only (`secure`), and hyper serves all connections.
//!
//! HTTP/1.1 only. Every answer comes from atomics and constants, so a request waits for nothing but its peer, with two exceptions:
//! `/v1/last` asks ingest (`last`), and few of these questions may wait at a time; a request whose token names a key that is being
//! fetched waits for that, for at most [`JWKS_WAIT`]. The resources of a peer
//! are bounded: connections in flight, header bytes and count, and the time for each step (`limits.rs`, "HTTP and the handshake").

mod accept_header;
mod admit;
mod answers;
mod client_stream;
mod connection;
mod cors;
mod dialects;
mod door;
pub mod handshake;
mod last;
mod listen;
mod metrics_text;
mod pages;
mod places;
mod polling;
mod query;
mod reports;
mod routes;
mod secure;
mod socketio;
mod sse;
mod upgrade;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap};
use subtle::ConstantTimeEq;
use tracing::warn;

use self::handshake::bearer_credentials;
pub use self::listen::{BindError, Listener, bind, bind_operator, serve};
pub use self::routes::Surface;
pub use self::secure::Certificate;
use crate::address::{Forwarded, Network, Proxies};
use crate::admission::Admission;
use crate::auth::Auth;
use crate::bus::{Adopt, Count, LastSender};
use crate::config::Config;
use crate::limits::*;
use crate::origin::{Origins, Target};
use crate::protocol::api::Apis;
use crate::protocol::request::Grammar;
use crate::state::State;

/// The gateway's parts that HTTP uses.
pub struct Http {
    /// The process' counters, and whether it is connected, ready or draining.
    pub state: Arc<State>,
    /// Seats for WebSocket clients.
    pub admission: Arc<Admission>,
    /// Where upgraded clients go.
    pub adopt: Arc<dyn Adopt>,
    /// `DIALECTS`.
    apis: Apis,
    /// `MAX_MESSAGE_SIZE`.
    max_message_bytes: usize,
    /// The sessions of Socket.IO over HTTP requests.
    sessions: Arc<polling::Sessions>,
    /// WebSockets that are about to take the place of such sessions.
    probes: Arc<Count>,
    /// Where ingest is asked for last events.
    last: LastSender,
    /// The questions for last events that wait for ingest.
    last_questions: Arc<Count>,
    /// How symbols and types in URLs are read.
    grammar: Grammar,
    /// Who clients are.
    pub auth: Arc<Auth>,
    /// The web pages that may connect.
    pub origins: Origins,
    /// Whom the port is for.
    pub surface: Surface,
    /// The port's certificate; `None` without TLS.
    pub certificate: Option<Arc<Certificate>>,
    /// What the operator's port asks for.
    operator_token: Option<String>,
    /// Whose word for a client's address counts.
    proxies: Proxies,
    /// Whether connections may begin with a PROXY header.
    proxy_protocol: bool,
    /// Whether permessage-deflate is agreed on with clients that offer it.
    compression: bool,
    /// What is logged once.
    told: Told,
    /// Whether the upstream is the embedded broker, for `/stats`.
    pub embedded_broker: bool,
    /// The live page.
    page: Bytes,
    /// Timeouts, and the number of connections.
    pub bounds: Bounds,
}

/// What was logged already; others could make it a flood.
#[derive(Debug, Default)]
struct Told {
    forwarding: AtomicBool,
    proxy_header: AtomicBool,
    query_token: AtomicBool,
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
    /// Whether a page of `origin` may send a request to `target` and read the answer. On a port with TLS the scheme is `https`, whatever
    /// the request's header says.
    fn allows(&self, origin: &str, target: Target<'_>) -> bool {
        let scheme = if self.certificate.is_some() { "https" } else { target.scheme };
        self.origins.allow(origin, Target { scheme, ..target })
    }

    /// Whether a request to `target` may come in: from a page that is allowed, or from no page.
    fn admits(&self, origin: Option<&str>, target: Target<'_>) -> bool {
        origin.is_none_or(|origin| self.allows(origin, target))
    }

    /// The HTTP side of a gateway of that configuration, without TLS.
    pub fn new(
        config: &Config,
        state: Arc<State>,
        auth: Arc<Auth>,
        admission: Arc<Admission>,
        adopt: Arc<dyn Adopt>,
        last: LastSender,
        grammar: Grammar,
    ) -> Self {
        Self {
            apis: config.clients.dialects,
            max_message_bytes: config.clients.max_message_bytes,
            sessions: Arc::default(),
            probes: Count::of(config.server.max_connections),
            last,
            last_questions: Count::of(LAST_QUESTIONS_MAX),
            grammar,
            state,
            admission,
            adopt,
            auth,
            origins: config.server.origins.clone(),
            surface: if config.operator.port.is_some() { Surface::Public } else { Surface::Both },
            operator_token: None,
            proxies: config.addresses.proxies.clone(),
            proxy_protocol: config.addresses.proxy_protocol,
            compression: config.delivery.compression().is_some(),
            told: Told::default(),
            certificate: None,
            embedded_broker: config.upstream.is_embedded(),
            page: pages::compose(&pages::Facts {
                types: &config.events.channel_types,
                symbol_case: config.events.symbol_case,
                max_symbols: config.clients.max_symbols_per_client,
                apis: config.clients.dialects,
                has_desk: config.desk.is_on,
                is_demo: config.process.demo,
                has_operators_port: config.operator.port.is_some(),
            }),
            bounds: Bounds { in_flight_max: config.http_in_flight().0, ..Bounds::default() },
        }
    }

    /// The same gateway's port for operators.
    pub fn for_operator(self, config: &Config) -> Self {
        Self {
            surface: Surface::Operator,
            operator_token: config.operator.token.clone(),
            proxy_protocol: false,
            bounds: Bounds { in_flight_max: config.http_in_flight().1, ..Bounds::default() },
            ..self
        }
    }

    /// Whether a request shows the operator's token, if the port asks for one. How long the comparison takes doesn't tell how much of
    /// it is right.
    fn is_operator(&self, request: &HeaderMap) -> bool {
        let Some(token) = &self.operator_token else { return true };
        let shown = request.get(AUTHORIZATION).and_then(|value| bearer_credentials(value.as_bytes()));
        // RFC 6750 section 2.1 has a space before the token.
        let shown = shown.filter(|shown| shown.starts_with(b" "));
        shown.is_some_and(|shown| shown.trim_ascii().ct_eq(token.as_bytes()).into())
    }

    /// As whom a client counts whose connection comes from `address` with these header fields.
    fn client(&self, address: IpAddr, forwarded: &Forwarded<'_>) -> Network {
        // With PROXY headers the address need not be the peer's, and a client may write what it likes into its request.
        if self.admission.looks_at_addresses()
            && !self.proxy_protocol
            && !forwarded.is_empty()
            && !self.proxies.trust(address)
            && !self.told.forwarding.swap(true, Ordering::Relaxed)
        {
            warn!(
                address = %address.to_canonical(),
                "X-Forwarded-For or X-Real-IP comes from an address that is not in TRUSTED_PROXIES: it is ignored, and all \
                 clients behind that address count as one towards MAX_CONNECTIONS_PER_IP and CONNECTION_RATE_LIMIT"
            );
        }
        forwarded.client(address, &self.proxies).into()
    }

    /// Whether a URL has a token that is not looked at. That is logged once: its client counts as one without.
    fn passes_over_token(&self, query: Option<&str>) -> bool {
        let is_passed_over = !self.auth.takes_query_token && query::token(query).is_some();
        if is_passed_over && !self.told.query_token.swap(true, Ordering::Relaxed) {
            warn!(
                "a client has its token in ?token=, which AUTH_QUERY_TOKEN=false does not take: it counts as one without"
            );
        }
        is_passed_over
    }

    /// Says that somebody sends PROXY headers who may not.
    fn warn_of_header(&self, address: IpAddr) {
        if !self.told.proxy_header.swap(true, Ordering::Relaxed) {
            warn!(
                address = %address.to_canonical(),
                "a connection with a PROXY header comes from an address that is not in TRUSTED_PROXIES: it is answered 400"
            );
        }
    }
}
