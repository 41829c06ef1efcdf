//! The supervisor of the upstream: connects, subscribes, hands the link to the ingest thread, and comes back after a loss,
//! for ever.
//!
//! Runs on the control side, one task. Each step of an attempt has a time limit, so a server that accepts and then says
//! nothing costs a few seconds, not for ever. Back-off is exponential, capped and jittered: many gateways that
//! lose the same Redis don't come back in step.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{ConnectionAddr, ConnectionInfo};
use rustls::ClientConfig;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Command;
use super::link::{Link, Lost, Stream};
use crate::backoff::Backoff;
use crate::bus::inbox::Sender;
use crate::limits;
use crate::resp::{Progress, Reply, ReplyLimits, RespError, parse_reply, write_command};
use crate::state::State;

/// What the supervisor needs to know of the configuration.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `REDIS_URL`, parsed.
    pub connection: ConnectionInfo,
    /// How a `rediss://` server is checked.
    pub tls: Arc<ClientConfig>,
    /// The patterns to subscribe to; at least one.
    pub patterns: Vec<String>,
    /// What the connection calls itself (`CLIENT SETNAME`): the gateway's `SERVER_ID`.
    pub client_name: String,
    /// `MAX_EVENT_BYTES`.
    pub max_event_bytes: usize,
}

/// Why an attempt to subscribe failed. The supervisor recovers from all of them by trying again.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The address doesn't answer, or the stream broke.
    #[error("{step}: {source}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A step took longer than its limit.
    #[error("{step}: no answer within {} s", .limit.as_secs())]
    Timeout {
        /// What was being done.
        step: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The server refused a command.
    #[error("{command} refused: {message}")]
    Refused {
        /// The command.
        command: &'static str,
        /// The server's words.
        message: String,
    },
    /// What came back is not RESP.
    #[error("not a Redis server: {0}")]
    NotRedis(#[from] RespError),
    /// The host of a `rediss://` URL can't be in a certificate.
    #[error("bad host name for TLS: {0}")]
    TlsName(#[from] InvalidDnsNameError),
    /// The address is of a kind that the gateway doesn't know.
    #[error("unsupported address {0}")]
    Address(String),
}

/// What ties the supervisor to the rest of the process.
#[derive(Debug)]
pub struct Links {
    /// Takes the links over.
    pub ingest: Sender<Command>,
    /// Tells that the ingest thread has lost the link it was given.
    pub lost: UnboundedReceiver<Lost>,
    /// Counts attempts.
    pub state: Arc<State>,
    /// Dropped once the first attempt is over, however it ended.
    pub attempted: Option<oneshot::Sender<()>>,
}

/// Keeps a subscription alive until `shutdown`.
pub async fn supervise(config: RedisConfig, links: Links, shutdown: CancellationToken) {
    let Links { ingest, mut lost, state, mut attempted } = links;
    let mut backoff = Backoff::new(limits::UPSTREAM_BACKOFF_MIN, limits::UPSTREAM_BACKOFF_MAX);
    let mut rng = fastrand::Rng::new();
    loop {
        state.metrics.control.upstream_connects.add_shared(1);
        let outcome = tokio::select! {
            () = shutdown.cancelled() => return,
            outcome = connect(&config) => outcome,
        };
        let told = attempted.take();
        match outcome {
            Ok(link) => {
                backoff.reset();
                tracing::info!(
                    address = %config.connection.addr(),
                    patterns = config.patterns.join(" "),
                    "Subscribed to {} Redis channel pattern(s)",
                    config.patterns.len()
                );
                if ingest.send(Command::Connected { link: Some(Box::new(link)), told }, 0).is_err() {
                    return;
                }
                let reason = tokio::select! {
                    () = shutdown.cancelled() => return,
                    reason = lost.recv() => reason,
                };
                let Some(reason) = reason else { return };
                tracing::warn!(address = %config.connection.addr(), %reason, "upstream lost: reconnecting");
            }
            Err(error) => {
                state.metrics.control.upstream_connect_failures.add_shared(1);
                tracing::warn!(address = %config.connection.addr(), %error, "upstream not reached: trying again");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(backoff.next_pause_between(0.5, &mut rng)) => {}
        }
    }
}

/// Connects, authenticates and subscribes.
async fn connect(config: &RedisConfig) -> Result<Link, ConnectError> {
    let (stream, early) = match config.connection.addr() {
        ConnectionAddr::Tcp(host, port) => {
            let mut stream = tcp(host, *port).await?;
            let early = subscribe(&mut stream, config).await?;
            (Stream::Tcp(mio::net::TcpStream::from_std(into_std(stream)?)), early)
        }
        ConnectionAddr::TcpTls { host, port, .. } => {
            let stream = tcp(host, *port).await?;
            let name = ServerName::try_from(host.clone())?;
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config.tls));
            let step = "TLS handshake";
            let mut stream = within(step, connector.connect(name, stream)).await?;
            let early = subscribe(&mut stream, config).await?;
            let (stream, session) = stream.into_inner();
            let socket = mio::net::TcpStream::from_std(into_std(stream)?);
            (Stream::Tls(Box::new(rustls::StreamOwned::new(session, socket))), early)
        }
        ConnectionAddr::Unix(path) => {
            let mut stream = within("connect", UnixStream::connect(path)).await?;
            let early = subscribe(&mut stream, config).await?;
            let stream = stream.into_std().map_err(|source| ConnectError::Io { step: "connect", source })?;
            (Stream::Unix(mio::net::UnixStream::from_std(stream)), early)
        }
        other => return Err(ConnectError::Address(other.to_string())),
    };
    Ok(Link::new(stream, early, config.max_event_bytes))
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let stream = within("connect", TcpStream::connect((host, port))).await?;
    let keepalive = socket2::TcpKeepalive::new().with_time(limits::UPSTREAM_QUIET);
    let socket = socket2::SockRef::from(&stream);
    let options = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive));
    options.map_err(|source| ConnectError::Io { step: "connect", source })?;
    Ok(stream)
}

fn into_std(stream: TcpStream) -> Result<std::net::TcpStream, ConnectError> {
    stream.into_std().map_err(|source| ConnectError::Io { step: "connect", source })
}

/// Runs one step of an attempt under its time limit.
async fn within<T>(
    step: &'static str,
    action: impl Future<Output = io::Result<T>>,
) -> Result<T, ConnectError> {
    let limit = limits::UPSTREAM_STEP_TIMEOUT;
    match timeout(limit, action).await {
        Ok(outcome) => outcome.map_err(|source| ConnectError::Io { step, source }),
        Err(_) => Err(ConnectError::Timeout { step, limit }),
    }
}

/// AUTH, SELECT, CLIENT SETNAME, PSUBSCRIBE. Returns the bytes behind the confirmation: the first events.
async fn subscribe<S>(stream: &mut S, config: &RedisConfig) -> Result<Vec<u8>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let settings = config.connection.redis_settings();
    let mut replies = Replies { stream, buffer: Vec::new() };
    match (settings.username(), settings.password()) {
        (Some(user), Some(password)) => {
            replies.call("AUTH", &[b"AUTH", user.as_bytes(), password.as_bytes()]).await?;
        }
        (None, Some(password)) => replies.call("AUTH", &[b"AUTH", password.as_bytes()]).await?,
        (_, None) => {}
    }
    if settings.db() != 0 {
        // Pub/Sub knows no databases, but a URL that names one which doesn't exist should fail.
        replies.call("SELECT", &[b"SELECT", settings.db().to_string().as_bytes()]).await?;
    }
    let named = replies.call("CLIENT SETNAME", &[b"CLIENT", b"SETNAME", config.client_name.as_bytes()]).await;
    match named {
        // A name is a courtesy to whoever reads CLIENT LIST; an ACL may forbid it.
        Ok(()) | Err(ConnectError::Refused { .. }) => {}
        Err(error) => return Err(error),
    }
    // One command for all patterns: with one each, events of the first might come before the second's answer. The link
    // takes the answers that follow the first.
    let patterns = config.patterns.iter().map(String::as_bytes);
    let command: Vec<&[u8]> = std::iter::once(&b"PSUBSCRIBE"[..]).chain(patterns).collect();
    replies.call("PSUBSCRIBE", &command).await?;
    Ok(replies.buffer)
}

/// One command after the other over a stream, with a time limit each.
struct Replies<'s, S> {
    stream: &'s mut S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Replies<'_, S> {
    async fn call(&mut self, name: &'static str, args: &[&[u8]]) -> Result<(), ConnectError> {
        let mut request = Vec::new();
        write_command(&mut request, args);
        within(name, self.stream.write_all(&request)).await?;
        loop {
            match parse_reply(&self.buffer, &ReplyLimits::DEFAULT)? {
                Progress::Done { value, used_bytes } => {
                    let refused = match value {
                        Reply::Error(message) => Some(String::from_utf8_lossy(message).into_owned()),
                        _ => None,
                    };
                    self.buffer.drain(..used_bytes);
                    return match refused {
                        Some(message) => Err(ConnectError::Refused { command: name, message }),
                        None => Ok(()),
                    };
                }
                Progress::Incomplete { .. } => {
                    let read = within(name, self.stream.read_buf(&mut self.buffer)).await?;
                    if read == 0 {
                        let source = io::ErrorKind::UnexpectedEof.into();
                        return Err(ConnectError::Io { step: name, source });
                    }
                }
            }
        }
    }
}
