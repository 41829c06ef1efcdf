//! The listening socket: binds it, accepts connections, and pauses when `accept` fails.
//!
//! A turn accepts all connections that wait, up to a bound. So handshakes that arrive together are answered together and
//! reach their shards with one wake-up. Accepted sockets inherit the listening socket's options.

use std::io;
use std::iter;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::Http;
use super::connection::Connection;
use super::door::{self, Caller, Look};
use super::places::{Place, Places};
use crate::accept;
use crate::backoff::Backoff;
use crate::bus::Arrival;
use crate::limits::{ACCEPT_BACKOFF_MAX, ACCEPT_BACKOFF_MIN, LISTEN_BACKLOG, NOTSENT_LOWAT_BYTES};

/// The most connections accepted in one turn, before the upgraded ones are handed over.
const ACCEPTS_PER_TURN: usize = 32;

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    /// Waits for a turn's first connection and accepts it.
    first: TcpListener,
    /// Accepts the turn's other connections from the same queue. tokio would register each with its poll for nothing.
    others: mio::net::TcpListener,
}

impl Listener {
    /// The address that it listens on.
    ///
    /// # Errors
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.first.local_addr()
    }

    async fn accept(&self) -> io::Result<(TcpStream, IpAddr)> {
        let (stream, peer) = self.first.accept().await?;
        Ok((stream.into_std()?, peer.ip()))
    }

    fn accept_other(&self) -> io::Result<(TcpStream, IpAddr)> {
        self.others.accept().map(|(stream, peer)| (stream.into(), peer.ip()))
    }
}

/// Why the gateway can't listen, and the way out.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}{hint}")]
pub struct BindError {
    /// Where it was to listen.
    pub address: SocketAddr,
    /// The system's error.
    pub reason: io::Error,
    /// Advice on how to mend it.
    hint: String,
}

/// Listens on `WS_HOST` and `WS_PORT`; an unspecified IPv6 address accepts IPv4 too. Must be called within a tokio runtime.
///
/// # Errors
/// The port is taken, not allowed, or the address isn't this machine's.
pub fn bind(address: SocketAddr) -> Result<Listener, BindError> {
    bind_as("WS", address)
}

/// The same with `OPS_HOST` and `OPS_PORT`.
///
/// # Errors
/// The same.
pub fn bind_operator(address: SocketAddr) -> Result<Listener, BindError> {
    bind_as("OPS", address)
}

/// The settings are `<prefix>_HOST` and `<prefix>_PORT`.
fn bind_as(prefix: &str, address: SocketAddr) -> Result<Listener, BindError> {
    listening_socket(address).map_err(|reason| {
        let hint = match reason.kind() {
            io::ErrorKind::AddrInUse => {
                format!("; stop what listens there, or set {prefix}_PORT to another port")
            }
            io::ErrorKind::PermissionDenied => {
                format!("; ports below 1024 need a privilege: set {prefix}_PORT to a higher one")
            }
            io::ErrorKind::AddrNotAvailable => {
                format!("; set {prefix}_HOST to an address of this machine, or to 0.0.0.0")
            }
            _ if address.is_ipv6() => format!("; without IPv6 set {prefix}_HOST to 0.0.0.0"),
            _ => String::new(),
        };
        BindError { address, reason, hint }
    })
}

fn listening_socket(address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart may bind while connections of the previous process are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_tcp_nodelay(true)?;
    // Without this option the kernel would buffer megabytes for a client that doesn't read, which no policy could skip.
    // Under a kernel that doesn't know it, a slow client is only noticed later.
    let _ = socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES);
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    socket.set_nonblocking(true)?;
    let others = mio::net::TcpListener::from_std(socket.try_clone()?.into());
    Ok(Listener { first: TcpListener::from_std(socket.into())?, others })
}

/// Accepts and serves until `stop` is cancelled, then waits until requests under way are answered (`HTTP_DRAIN_TIMEOUT_MS`) and
/// returns. It doesn't wait for upgraded clients, which belong to their shards.
pub async fn serve(listener: Listener, http: Arc<Http>, stop: CancellationToken) {
    let mut acceptor = Acceptor {
        places: Places::new(http.bounds.in_flight_max),
        http,
        stop: stop.clone(),
        connections: TaskTracker::new(),
        backoff: Backoff::new(ACCEPT_BACKOFF_MIN, ACCEPT_BACKOFF_MAX),
    };
    let mut stopped = pin!(stop.cancelled());
    loop {
        let first = tokio::select! {
            biased;
            () = &mut stopped => break,
            accepted = listener.accept() => accepted,
        };
        match acceptor.turn(first, &listener) {
            TurnEnd::Idle => {}
            TurnEnd::NoPlace(look) => {
                if let Some(place) = acceptor.places.make_room().await {
                    acceptor.spawn(look, place);
                }
            }
            TurnEnd::Pause(pause) => tokio::select! {
                biased;
                () = &mut stopped => break,
                () = tokio::time::sleep(pause) => {}
            },
        }
    }
    drop(listener);
    acceptor.connections.close();
    acceptor.connections.wait().await;
}

/// Accepts connections, and serves those that are no plain handshakes in tasks.
struct Acceptor {
    http: Arc<Http>,
    places: Places,
    stop: CancellationToken,
    connections: TaskTracker,
    backoff: Backoff,
}

/// What to do after a turn.
enum TurnEnd {
    /// Nothing.
    Idle,
    /// There is no place for this connection: another one has to give up its place.
    NoPlace(Look),
    /// `accept` has failed: pause this long.
    Pause(Duration),
}

impl Acceptor {
    /// Admits the first connection and the others that wait, and hands over the clients that were upgraded at once.
    fn turn(&mut self, first: io::Result<(TcpStream, IpAddr)>, listener: &Listener) -> TurnEnd {
        let mut upgraded = Vec::new();
        let mut end = TurnEnd::Idle;
        let others = iter::repeat_with(|| listener.accept_other());
        for accepted in iter::once(first).chain(others).take(ACCEPTS_PER_TURN) {
            end = match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, &mut upgraded),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.note_failure(&error),
            };
            if !matches!(end, TurnEnd::Idle) {
                break;
            }
        }
        if !upgraded.is_empty() {
            self.http.adopt.adopt(upgraded);
        }
        end
    }

    /// Upgrades the client at once, or serves its connection in a task if there is a place.
    fn admit(&mut self, stream: TcpStream, peer: IpAddr, upgraded: &mut Vec<Arrival>) -> TurnEnd {
        self.backoff.reset();
        self.http.state.metrics.control.accepted.add_shared(1);
        let caller = Caller { stream, address: peer, is_introduced: !self.http.proxy_protocol };
        let look = match door::look(caller, &self.http) {
            Look::Upgraded(client) => {
                upgraded.push(client);
                return TurnEnd::Idle;
            }
            look => look,
        };
        let Some(place) = self.places.take() else { return TurnEnd::NoPlace(look) };
        self.spawn(look, place);
        TurnEnd::Idle
    }

    /// Starts a task that serves a connection until it ends, or until another one needs its place.
    fn spawn(&self, look: Look, place: Place) {
        let http = Arc::clone(&self.http);
        let needed = place.needed();
        let connection = Connection { http: Arc::clone(&http), place, stop: self.stop.clone() };
        self.connections.spawn(async move {
            tokio::select! {
                () = connection.serve(look) => {}
                () = needed => http.state.metrics.control.http_evicted.add_shared(1),
            }
        });
    }

    /// Counts a failed `accept`, and returns the pause before the next.
    fn note_failure(&mut self, error: &io::Error) -> TurnEnd {
        let control = &self.http.state.metrics.control;
        match accept::classify(error) {
            accept::Failure::Connection => {
                control.accept_errors_connection.add_shared(1);
                TurnEnd::Idle
            }
            accept::Failure::Exhausted => {
                control.accept_errors_exhausted.add_shared(1);
                let pause = self.backoff.next_pause();
                // The back-off limits these to ten lines a second.
                warn!(%error, pause_ms = pause.as_millis() as u64, "cannot accept connections");
                TurnEnd::Pause(pause)
            }
        }
    }
}
