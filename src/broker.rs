//! The embedded broker: the gateway's own listener for the Redis protocol, for when there is no Redis.
//!
//! It speaks as much of RESP2 and RESP3 as `redis-cli`, redis-py, ioredis, node-redis and redis-rs need to publish
//! and subscribe, in redis-server's own words, and hands every event of the gateway's patterns to an [`EventSink`].
//! Transactions (`MULTI` to `EXEC`) and shard channels (`SPUBLISH`, which the gateway doesn't hear) are part of it,
//! and what operators and libraries ask of a server: `CLIENT`, `CONFIG GET`, `INFO`, `PUBSUB`. There are no keys.
//!
//! | task | owns | waits for |
//! |---|---|---|
//! | [`EmbeddedBroker::run`] | the listener, the clients' tasks | connections; backs off when descriptors run out |
//! | one per client (`client`) | its socket, input and session (`commands`) | its socket, its outbox, the sink |
//!
//! What clients share (`hub`) is behind one lock, held for the commands of one read, a whole transaction among them,
//! and never across an await.
//!
//! Invariants:
//! * A subscriber never delays a publisher or the gateway: publishing only appends to its bounded outbox.
//! * A full gateway delays the publishers who fill it, and nobody else.
//! * A `PUBLISH` is answered once the gateway has taken the event. Only if the client changes its subscriptions in
//!   the same read, or hears its own message, may the answer come sooner: those go out in order, and before others'
//!   messages.
//! * The events of a transaction reach the broker's subscribers and the gateway together, or not at all.
//! * Everything that a client can make the broker remember is bounded.

mod client;
mod commands;
mod glob;
mod hub;
mod listen;
mod outbox;
mod peer;
mod pubsub;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use commands::Settings;
use hub::Hub;

use crate::ingest::publisher::EventSink;
use crate::limits;
use crate::resp::CommandLimits;

pub use outbox::OutputLimits;

/// The longest channel or payload. An event above `MAX_EVENT_BYTES` (64 KiB) but not above this one is counted
/// as too large; a longer one costs its publisher the connection, as one above `proto-max-bulk-len` does in Redis.
pub const BULK_BYTES_MAX: usize = 1024 * 1024;
/// The longest command: the longest `PUBLISH` twice over, or 50,000 channels to subscribe to.
const COMMAND_BYTES_MAX: usize = 2 * BULK_BYTES_MAX + 1024;
/// After how long a silent peer is asked whether it still exists (Redis' `tcp-keepalive`).
const KEEPALIVE: Duration = Duration::from_secs(300);
/// The most words of a command; more don't fit the registry's bound for one client anyway.
const ARGS_MAX: usize = 64 * 1024;

/// How the broker is set up.
#[derive(Clone)]
pub struct EmbeddedConfig {
    /// Where it listens. Beyond loopback it should have a password.
    pub host: IpAddr,
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// What clients must give before anything else.
    pub password: Option<String>,
    /// The patterns that the gateway is subscribed to. Only their events go to the sink; they are counted
    /// in the answers to `PUBLISH` and `PUBSUB NUMPAT`.
    pub gateway_patterns: Vec<String>,
    /// How many clients may be connected at once.
    pub clients_max: usize,
    /// How far behind a subscriber may fall.
    pub output: OutputLimits,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: limits::EMBEDDED_REDIS_PORT_DEFAULT,
            password: None,
            gateway_patterns: Vec::new(),
            clients_max: limits::EMBEDDED_REDIS_CLIENTS_MAX,
            output: OutputLimits::REDIS,
        }
    }
}

impl fmt::Debug for EmbeddedConfig {
    /// Everything but the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("password", &self.password.as_ref().map(|_| "(secret)"))
            .field("gateway_patterns", &self.gateway_patterns)
            .field("clients_max", &self.clients_max)
            .field("output", &self.output)
            .finish()
    }
}

/// Why the broker cannot start. Only the operator can do something about it.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// Something else listens there: very likely a Redis.
    #[error(
        "the embedded broker cannot listen on {addr}: port {} is taken; set REDIS_URL (redis://{addr} if that is a \
         Redis) or set EMBEDDED_REDIS_PORT to a free port",
        addr.port()
    )]
    PortTaken {
        /// Where it should have listened.
        addr: SocketAddr,
    },
    /// The address cannot be listened on for another reason.
    #[error(
        "the embedded broker cannot listen on {addr}: {reason}; set REDIS_URL, or another address for it"
    )]
    Listen {
        /// Where it should have listened.
        addr: SocketAddr,
        /// What the system says.
        reason: std::io::Error,
    },
}

/// The broker, listening but not yet serving.
#[derive(Debug)]
pub struct EmbeddedBroker {
    listener: TcpListener,
    local_addr: SocketAddr,
    config: EmbeddedConfig,
}

impl EmbeddedBroker {
    /// Takes the port.
    ///
    /// # Errors
    /// The address cannot be listened on: see [`BrokerError`].
    pub async fn bind(config: EmbeddedConfig) -> Result<Self, BrokerError> {
        let addr = SocketAddr::new(config.host, config.port);
        let bound = async {
            let listener = TcpListener::bind(addr).await?;
            let local_addr = listener.local_addr()?;
            Ok((listener, local_addr))
        };
        let (listener, local_addr) = bound.await.map_err(|reason: std::io::Error| match reason.kind() {
            std::io::ErrorKind::AddrInUse => BrokerError::PortTaken { addr },
            _ => BrokerError::Listen { addr, reason },
        })?;
        if !config.host.is_loopback() && config.password.is_none() {
            warn!(%local_addr, "the embedded broker has no password: whoever reaches this address can publish");
        }
        Ok(Self { listener, local_addr, config })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves clients until `shutdown` is cancelled; then every connection is closed, and nothing is left running.
    pub async fn run(self, sink: impl EventSink, shutdown: CancellationToken) {
        let shared = Arc::new(Shared {
            hub: Mutex::new(Hub::new(&self.config.gateway_patterns, Instant::now())),
            settings: Settings {
                password: self.config.password,
                host: self.local_addr.ip(),
                port: self.local_addr.port(),
                clients_max: self.config.clients_max,
                output: self.config.output,
            },
        });
        listen::serve(self.listener, self.config.clients_max, &shared, &sink, &shutdown).await;
    }
}

/// What all tasks of a broker share.
struct Shared {
    hub: Mutex<Hub>,
    settings: Settings,
}

impl Shared {
    fn hub(&self) -> MutexGuard<'_, Hub> {
        // A client's task that panicked has left the maps whole; at worst it is still counted.
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an authenticated client may send.
const COMMAND_LIMITS: CommandLimits = CommandLimits {
    args_max: ARGS_MAX,
    bulk_bytes_max: BULK_BYTES_MAX,
    total_bytes_max: COMMAND_BYTES_MAX,
    unauthenticated: false,
};
