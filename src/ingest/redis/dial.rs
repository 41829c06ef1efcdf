//! Opens a connection to an address: name resolution, TCP or unix socket, TLS.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use redis::ConnectionAddr;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::{RedisError, within};
use crate::dial::{Resolution, Resolver, first_to_connect, in_order, no_answer};
use crate::ingest::link;
use crate::limits;

/// The address of a Redis server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// `redis://`, or with `tls` `rediss://`.
    Tcp {
        /// A name or an IP address, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether the connection is encrypted.
        tls: bool,
    },
    /// `unix://`
    Unix(PathBuf),
}

impl Address {
    /// The address of a parsed `REDIS_URL`; `None` if it is of a kind that the gateway doesn't know.
    pub fn from_url(addr: &ConnectionAddr) -> Option<Self> {
        match addr {
            ConnectionAddr::Tcp(host, port) => {
                Some(Self::Tcp { host: host.clone(), port: *port, tls: false })
            }
            ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Self::Tcp { host: host.clone(), port: *port, tls: true })
            }
            ConnectionAddr::Unix(path) => Some(Self::Unix(path.clone())),
            _ => None,
        }
    }

    /// Another node of the cluster that this one is a node of, as nodes name each other: `10.0.0.2:6381`. Without a host, it is on the same host. `None` if
    /// that is nothing to connect to.
    pub fn other_node(&self, place: &str) -> Option<Self> {
        let (host, port) = place.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let (own_host, tls) = match self {
            Self::Tcp { host, tls, .. } => (Some(host.as_str()), *tls),
            Self::Unix(_) => (None, false),
        };
        let host = match host {
            "" => own_host?,
            // A node that has no name to tell says so.
            "?" => return None,
            host => host,
        };
        Some(Self::Tcp { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// An open connection, on which nothing has been sent yet.
#[derive(Debug)]
pub enum Stream {
    /// `redis://`
    Tcp(TcpStream),
    /// `rediss://`
    Tls(Box<TlsStream<TcpStream>>),
    /// `unix://`
    Unix(UnixStream),
}

/// Reading and writing, as every kind of [`Stream`] can.
pub trait ReadWrite: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ReadWrite for S {}

impl Stream {
    pub(super) fn io(&mut self) -> &mut dyn ReadWrite {
        match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }

    /// The connection as something to read and write.
    pub fn into_io(self) -> Box<dyn ReadWrite> {
        match self {
            Self::Tcp(stream) => Box::new(stream),
            Self::Tls(stream) => stream,
            Self::Unix(stream) => Box::new(stream),
        }
    }

    /// Has the system throw away what it has not sent yet, once the connection is closed.
    pub(super) fn set_abortive(&self) {
        let socket = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            Self::Unix(_) => return,
        };
        // A connection works without it.
        let _ = socket2::SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO));
    }

    /// Turns the connection into one for ingest's poll.
    ///
    /// # Errors
    /// When the socket can't be deregistered from tokio.
    pub fn into_link(self) -> io::Result<link::Stream> {
        Ok(match self {
            Self::Tcp(stream) => link::Stream::Tcp(mio::net::TcpStream::from_std(stream.into_std()?)),
            Self::Tls(stream) => {
                let (stream, session) = stream.into_inner();
                let socket = mio::net::TcpStream::from_std(stream.into_std()?);
                link::Stream::Tls(Box::new(rustls::StreamOwned::new(session, socket)))
            }
            Self::Unix(stream) => link::Stream::Unix(mio::net::UnixStream::from_std(stream.into_std()?)),
        })
    }
}

/// Opens connections to one address. An attempt can use the results of the attempts before it.
#[derive(Debug)]
pub struct Dialer {
    address: Address,
    tls: Arc<ClientConfig>,
    resolver: Resolver,
    /// A resolution under way. If it takes longer than an attempt, the next attempt uses its result.
    resolution: Option<Resolution>,
    /// Attempts since the last [`Dialer::note_success`].
    attempts: usize,
}

impl Dialer {
    /// A dialer for `address`. `tls` is used if the address says so.
    pub fn new(address: Address, tls: Arc<ClientConfig>, resolver: Resolver) -> Self {
        Self { address, tls, resolver, resolution: None, attempts: 0 }
    }

    /// The address that it connects to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Notes that the server answered on the last connection. The next attempt begins with the first address again.
    pub fn note_success(&mut self) {
        self.attempts = 0;
    }

    /// Opens a connection. Each attempt without a success before it begins with another of the host's addresses, because the
    /// last attempt may have connected to a server that doesn't answer.
    ///
    /// # Errors
    /// See [`RedisError`].
    pub async fn dial(&mut self) -> Result<Stream, RedisError> {
        let (host, port, tls) = match &self.address {
            Address::Unix(path) => {
                return Ok(Stream::Unix(within("connect", UnixStream::connect(path)).await?));
            }
            Address::Tcp { host, port, tls } => (host.clone(), *port, *tls),
        };
        let addresses = self.resolve(&host, port).await?;
        let addresses = in_order(addresses, self.attempts, limits::UPSTREAM_ADDRESSES_MAX);
        self.attempts += 1;
        let stream =
            first_to_connect(addresses, TcpStream::connect).await.map_err(RedisError::Unreachable)?;
        set_options(&stream).map_err(|source| RedisError::Io { step: "connect", source })?;
        if !tls {
            return Ok(Stream::Tcp(stream));
        }
        let name = ServerName::try_from(host)?;
        let handshake = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream);
        match within("TLS handshake", handshake).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(RedisError::Io { source, .. }) => Err(RedisError::Tls(source)),
            Err(_) => Err(RedisError::Tls(no_answer())),
        }
    }

    /// The addresses of a host, at least one.
    async fn resolve(&mut self, host: &str, port: u16) -> Result<Vec<SocketAddr>, RedisError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![(ip, port).into()]);
        }
        let failed = |source| RedisError::Io { step: "look up the host", source };
        let resolution = match &mut self.resolution {
            Some(resolution) => resolution,
            none => none.insert(self.resolver.start(host, port).map_err(failed)?),
        };
        let limit = limits::UPSTREAM_STEP_TIMEOUT;
        let Ok(outcome) = timeout(limit, resolution).await else {
            return Err(RedisError::Timeout { step: "look up the host", limit });
        };
        self.resolution = None;
        let addresses =
            outcome.unwrap_or_else(|_| Err(io::Error::other("the resolver panicked"))).map_err(failed)?;
        if addresses.is_empty() {
            return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the host has no address")));
        }
        Ok(addresses)
    }
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    let keepalive = socket2::TcpKeepalive::new().with_time(limits::UPSTREAM_QUIET);
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests;
