//! The embedded broker: the gateway's own listener for the Redis protocol, for when there is no Redis.
//!
//! It speaks the part of RESP2 and RESP3 that `redis-cli`, redis-py, ioredis, node-redis and redis-rs need to publish
//! and subscribe, and answers in redis-server's own words. It hands each event that matches one of the gateway's
//! patterns to an [`EventSink`]. It also knows transactions (`MULTI` to `EXEC`), shard channels (`SPUBLISH`, which the
//! gateway doesn't receive) and the commands that operators and libraries send to a server: `CLIENT`, `CONFIG GET`,
//! `INFO`, `PUBSUB`. It stores no keys, but for streams if the gateway keeps inboxes (`OFFLINE_QUEUE`).
//!
//! | task | owns | waits for |
//! |---|---|---|
//! | [`EmbeddedBroker::run`] | the listener, the clients' tasks | connections; backs off when descriptors run out |
//! | one per client (`client`) | its socket, input and session (`commands`) | its socket, its outbox, the sink |
//!
//! The state that clients share (`hub`) is behind one lock. A client's task holds it for the commands of one read,
//! which may include a whole transaction, and never across an await.
//!
//! Invariants:
//! * A subscriber never delays a publisher or the gateway: publishing only appends to its bounded outbox.
//! * A full gateway delays only the publishers that fill it.
//! * A `PUBLISH` is answered once the gateway has taken the event. The answer may come sooner if the client changes
//!   its subscriptions in the same read, or receives its own message: its replies keep their order, and go out before
//!   the messages of other clients.
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
mod streams;

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
use streams::Streams;

use crate::ingest::publisher::EventSink;
use crate::limits;
use crate::resp::CommandLimits;

pub use outbox::OutputLimits;

/// The longest channel or payload. The gateway counts an event between `MAX_EVENT_BYTES` (64 KiB) and this size as too
/// large. A publisher that sends a longer one loses its connection, as it does in Redis above `proto-max-bulk-len`.
pub const BULK_BYTES_MAX: usize = 1024 * 1024;
/// The longest command: twice the longest payload, or 50,000 channels to subscribe to.
const COMMAND_BYTES_MAX: usize = 2 * BULK_BYTES_MAX + 1024;
/// The time without a packet after which TCP probes whether the peer still exists (Redis' `tcp-keepalive`).
const KEEPALIVE: Duration = Duration::from_secs(300);
/// The most words of a command. The registry's bound for one client allows fewer subscriptions than this.
const ARGS_MAX: usize = 64 * 1024;

/// How the broker is set up.
#[derive(Clone)]
pub struct EmbeddedConfig {
    /// The address to listen on. Set a password if it isn't loopback.
    pub host: IpAddr,
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// The password that a client must give first; `None` asks for none.
    pub password: Option<String>,
    /// The patterns that the gateway is subscribed to. Only events that match one go to the sink. The answers to
    /// `PUBLISH` and `PUBSUB NUMPAT` count them.
    pub gateway_patterns: Vec<String>,
    /// How many clients may be connected at once.
    pub clients_max: usize,
    /// How many bytes may wait for a subscriber.
    pub output: OutputLimits,
    /// How many bytes streams may have; `None` if it knows no streams.
    pub streams_max_bytes: Option<usize>,
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
            streams_max_bytes: None,
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
            .field("streams_max_bytes", &self.streams_max_bytes)
            .finish()
    }
}

/// Why the broker cannot start. Only the operator can mend it.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// Another process listens on this port, very likely a Redis.
    #[error(
        "the embedded broker cannot listen on {addr}: port {} is taken; set REDIS_URL (redis://{addr} if that is a \
         Redis) or set EMBEDDED_REDIS_PORT to a free port",
        addr.port()
    )]
    PortTaken {
        /// The address of `EMBEDDED_REDIS_HOST` and `EMBEDDED_REDIS_PORT`.
        addr: SocketAddr,
    },
    /// The system refuses this address for another reason.
    #[error(
        "the embedded broker cannot listen on {addr}: {reason}; set REDIS_URL, or another address for it"
    )]
    Listen {
        /// The address of `EMBEDDED_REDIS_HOST` and `EMBEDDED_REDIS_PORT`.
        addr: SocketAddr,
        /// The system's error.
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
    /// Listens on the configured address.
    ///
    /// # Errors
    /// The system refuses the address: see [`BrokerError`].
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
            warn!(%local_addr, "the embedded broker has no password: anyone who reaches this address can publish");
        }
        Ok(Self { listener, local_addr, config })
    }

    /// The address that it listens on, with the port that the system chose if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves clients until `shutdown` is cancelled. Then it closes every connection and waits for their tasks.
    pub async fn run(self, sink: impl EventSink, shutdown: CancellationToken) {
        let streams = self.config.streams_max_bytes.map(Streams::new);
        let shared = Arc::new(Shared {
            hub: Mutex::new(Hub::new(&self.config.gateway_patterns, streams, Instant::now())),
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

/// The state that all clients' tasks share.
struct Shared {
    hub: Mutex<Hub>,
    settings: Settings,
}

impl Shared {
    fn hub(&self) -> MutexGuard<'_, Hub> {
        // A task that panicked under the lock left the maps whole; at worst its client is still counted.
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bounds of an authenticated client's commands.
const COMMAND_LIMITS: CommandLimits = CommandLimits {
    args_max: ARGS_MAX,
    bulk_bytes_max: BULK_BYTES_MAX,
    total_bytes_max: COMMAND_BYTES_MAX,
    unauthenticated: false,
};
