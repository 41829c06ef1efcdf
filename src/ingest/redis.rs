//! The control side's part of the link to Redis: connects, subscribes, and connects again after a loss.
//!
//! | part | what it does |
//! |---|---|
//! | this file | the supervisor: connects, subscribes, hands the link to ingest, and repeats this whenever ingest loses the link |
//! | [`dial`] | opens a connection to an address |
//! | [`session`] | logs in, sends commands and reads replies |
//! | [`error`] | why any of it failed |
//!
//! The supervisor is one task. Each step of an attempt has a time limit, so a server that accepts and doesn't answer costs
//! a few seconds. The pause between attempts grows and is drawn at random, so that many gateways that lose the same Redis
//! don't reconnect at once.

pub mod dial;
pub mod error;
pub mod session;

use std::sync::Arc;
use std::time::Instant;

use ::redis::ConnectionInfo;
use rustls::ClientConfig;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::dial::{Address, Dialer};
use self::error::RedisError;
use self::session::{Login, Session};
use super::Command;
use super::link::{Link, Lost};
use crate::backoff::Backoff;
use crate::bus::inbox::Sender;
use crate::dial::Resolver;
use crate::limits;
use crate::state::State;

/// The command that subscribes to all patterns.
const SUBSCRIBE: &str = "PSUBSCRIBE";

/// A Redis server, and how to log in to it.
#[derive(Debug, Clone)]
pub struct Server {
    /// The address that it listens on.
    pub address: Address,
    /// User, password, database.
    pub login: Login,
    /// How the certificate of a `rediss://` server is checked.
    pub tls: Arc<ClientConfig>,
    /// Finds the host's addresses.
    pub resolver: Resolver,
    /// The connection's name (`CLIENT SETNAME`): the gateway's `SERVER_ID`.
    pub client_name: String,
}

impl Server {
    /// The server of a parsed `REDIS_URL`; `None` if its address is of a kind that the gateway doesn't know.
    pub fn from_url(url: &ConnectionInfo, tls: Arc<ClientConfig>, client_name: String) -> Option<Self> {
        let login = Login::from_url(url.redis_settings());
        let address = Address::from_url(url.addr())?;
        Some(Self { address, login, tls, resolver: Resolver::default(), client_name })
    }

    /// Opens connections to `address`: the server's own, or that of another node of its cluster.
    pub(crate) fn dialer(&self, address: Address) -> Dialer {
        Dialer::new(address, Arc::clone(&self.tls), self.resolver.clone())
    }
}

/// The supervisor's configuration.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `REDIS_URL`.
    pub server: Server,
    /// The patterns to subscribe to; at least one.
    pub patterns: Vec<String>,
    /// The longest event that is read: `MAX_EVENT_BYTES`, and where there are inboxes what an envelope takes besides.
    pub max_event_bytes: usize,
}

/// How the supervisor reaches the rest of the process.
#[derive(Debug)]
pub struct Handles {
    /// Ingest, which takes the links.
    pub ingest: Sender<Command>,
    /// Receives a message when ingest has lost its link.
    pub lost: UnboundedReceiver<Lost>,
    /// Counts attempts.
    pub state: Arc<State>,
    /// Dropped once the first attempt has succeeded or failed.
    pub attempted: Option<oneshot::Sender<()>>,
}

/// Connects and subscribes, again after each loss, until `shutdown`.
pub async fn supervise(config: RedisConfig, handles: Handles, shutdown: CancellationToken) {
    let Handles { ingest, mut lost, state, mut attempted } = handles;
    let mut dialer = config.server.dialer(config.server.address.clone());
    let address = dialer.address().to_string();
    let mut backoff = Backoff::new(limits::UPSTREAM_BACKOFF_MIN, limits::UPSTREAM_BACKOFF_MAX);
    let mut rng = fastrand::Rng::new();
    loop {
        state.metrics.control.upstream_connects.add_shared(1);
        let outcome = tokio::select! {
            () = shutdown.cancelled() => return,
            outcome = subscribe(&config, &mut dialer) => outcome,
        };
        let told = attempted.take();
        match outcome {
            Ok(link) => {
                dialer.note_success();
                let connected = Instant::now();
                if ingest.send(Command::Connected { link: Some(Box::new(link)), told }, 0).is_err() {
                    return;
                }
                let reason = tokio::select! {
                    () = shutdown.cancelled() => return,
                    reason = lost.recv() => reason,
                };
                let Some(reason) = reason else { return };
                backoff.worked_for(connected.elapsed());
                tracing::warn!(address, %reason, "upstream lost: reconnecting");
            }
            Err(error) => {
                state.metrics.control.upstream_connect_failures.add_shared(1);
                state.set_redis_connected(is_logged_in(&error));
                tracing::warn!(address, %error, "upstream could not be reached: trying again");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(backoff.next_pause_between(0.5, &mut rng)) => {}
        }
    }
}

/// Connects, logs in and subscribes.
///
/// # Errors
/// See [`RedisError`].
async fn subscribe(config: &RedisConfig, dialer: &mut Dialer) -> Result<Link, RedisError> {
    let Server { login, client_name, .. } = &config.server;
    let mut session = Session::open(dialer, login, client_name).await?;
    // One command for all patterns: otherwise events of the first pattern could come before the second one's reply. The session
    // reads only the first pattern's reply; the link skips the others.
    let patterns = config.patterns.iter().map(String::as_bytes);
    let command: Vec<&[u8]> = std::iter::once(SUBSCRIBE.as_bytes()).chain(patterns).collect();
    session.call(SUBSCRIBE, &command).await.map_err(|error| {
        let needed = || permissions(login.user_name(), &config.patterns);
        error.advise("NOPERM", needed).advise("NOAUTH", || "REDIS_URL has no password".to_owned())
    })?;
    let (stream, early) = session.into_parts();
    let stream = stream.into_link().map_err(|source| RedisError::Io { step: "hand over", source })?;
    Ok(Link::new(stream, early, config.max_event_bytes, dialer.address().to_string()))
}

/// Whether an attempt failed only once it had logged in: Redis is there and believes us, but doesn't let us subscribe.
fn is_logged_in(error: &RedisError) -> bool {
    matches!(error, RedisError::Refused { command: SUBSCRIBE, words, .. } if words.code() != "NOAUTH")
}

/// The command that gives a user the permissions for the subscription. Redis compares a pattern with those of the ACL letter by
/// letter, so each has to be named.
fn permissions(user: &str, patterns: &[String]) -> String {
    let channels: String = patterns.iter().map(|pattern| format!(" &{pattern}")).collect();
    format!("ACL SETUSER {user} +psubscribe +ping{channels}")
}
