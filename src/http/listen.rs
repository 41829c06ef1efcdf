//! The listening socket: bind, accept, and what to do when `accept` fails.
//!
//! It is non-blocking and taken from in turns, so that handshakes that arrive together are answered together and
//! reach their shards with one wake-up. Accepted sockets inherit its options.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::Http;
use super::connection::Connection;
use super::door::{self, Look};
use crate::accept;
use crate::backoff::Backoff;
use crate::bus::Arrival;
use crate::limits::{ACCEPT_BACKOFF_MAX, ACCEPT_BACKOFF_MIN, LISTEN_BACKLOG, NOTSENT_LOWAT_BYTES};

/// Connections taken in one turn; then those who were upgraded are handed over.
const ACCEPTS_PER_TURN: usize = 32;

/// A socket that listens, within a runtime.
#[derive(Debug)]
pub struct Listener {
    /// Waits for a connection, and takes it.
    first: TcpListener,
    /// Takes those behind it from the same queue. tokio would add each to its poll, only for us to take it off again.
    others: mio::net::TcpListener,
}

impl Listener {
    /// Where it listens.
    ///
    /// # Errors
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.first.local_addr()
    }

    async fn accept(&self) -> io::Result<TcpStream> {
        self.first.accept().await?.0.into_std()
    }

    fn accept_other(&self) -> io::Result<TcpStream> {
        self.others.accept().map(|(stream, _)| stream.into())
    }
}

/// Why the gateway can't listen, and the way out.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}{hint}")]
pub struct BindError {
    /// `WS_HOST` and `WS_PORT`.
    pub address: SocketAddr,
    /// The system's reason.
    pub reason: io::Error,
    /// What to do about it.
    hint: &'static str,
}

/// Listens on that address; an unspecified IPv6 address takes IPv4 too. Must be called within a runtime.
///
/// # Errors
/// The port is taken, not allowed, or the address isn't this machine's.
pub fn bind(address: SocketAddr) -> Result<Listener, BindError> {
    listening_socket(address).map_err(|reason| {
        let hint = match reason.kind() {
            io::ErrorKind::AddrInUse => "; stop what listens there, or set WS_PORT to another port",
            io::ErrorKind::PermissionDenied => {
                "; ports below 1024 need a privilege: set WS_PORT to a higher one"
            }
            io::ErrorKind::AddrNotAvailable => "; set WS_HOST to an address of this machine, or to 0.0.0.0",
            _ if address.is_ipv6() => "; without IPv6 set WS_HOST to 0.0.0.0",
            _ => "",
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
    // Without it the kernel would take megabytes for a client that doesn't read, beyond the reach of any policy.
    // A kernel that doesn't know the option only makes slowness show later.
    let _ = socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES);
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    socket.set_nonblocking(true)?;
    let others = mio::net::TcpListener::from_std(socket.try_clone()?.into());
    Ok(Listener { first: TcpListener::from_std(socket.into())?, others })
}

/// Accepts and serves until `stop` is cancelled, then lets requests under way finish (`HTTP_DRAIN_TIMEOUT_MS`) and returns.
/// Clients that were upgraded are not this function's any more.
pub async fn serve(listener: Listener, http: Arc<Http>, stop: CancellationToken) {
    let in_flight = Arc::new(Semaphore::new(http.bounds.in_flight_max));
    let mut acceptor = Acceptor {
        http,
        in_flight,
        stop: stop.clone(),
        connections: TaskTracker::new(),
        backoff: Backoff::new(ACCEPT_BACKOFF_MIN, ACCEPT_BACKOFF_MAX),
    };
    let mut stopped = pin!(stop.cancelled());
    loop {
        let accepted = async {
            // First a place, then a connection: beyond the bound clients wait in the listen queue, which costs us nothing.
            let place = Arc::clone(&acceptor.in_flight).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = &mut stopped => break,
            accepted = accepted => accepted,
        };
        // Nobody closes the semaphore.
        let Ok(place) = place else { break };
        let pause = acceptor.turn(&listener, accepted, place);
        if let Some(pause) = pause {
            tokio::select! {
                biased;
                () = &mut stopped => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
    drop(listener);
    acceptor.connections.close();
    acceptor.connections.wait().await;
}

/// What connections are accepted with.
struct Acceptor {
    http: Arc<Http>,
    /// The places for connections in flight.
    in_flight: Arc<Semaphore>,
    stop: CancellationToken,
    connections: TaskTracker,
    backoff: Backoff,
}

impl Acceptor {
    /// Goes on with what `accept` gave and what waits behind it, as far as there are places, and hands over those who
    /// could be upgraded at once. Returns how long to wait after a failure.
    fn turn(
        &mut self,
        listener: &Listener,
        accepted: io::Result<TcpStream>,
        place: OwnedSemaphorePermit,
    ) -> Option<Duration> {
        let (mut accepted, mut place) = (Some(accepted), Some(place));
        let mut upgraded = Vec::new();
        let mut pause = None;
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(free) = place.take().or_else(|| Arc::clone(&self.in_flight).try_acquire_owned().ok())
            else {
                break;
            };
            match accepted.take().unwrap_or_else(|| listener.accept_other()) {
                Ok(stream) => place = self.admit(stream, free, &mut upgraded),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    pause = self.failed(&error);
                    place = Some(free);
                }
            }
            if pause.is_some() {
                break;
            }
        }
        if !upgraded.is_empty() {
            self.http.adopt.adopt(upgraded);
        }
        pause
    }

    /// Upgrades the client at once, or leaves it to a task of its own, which keeps the place.
    fn admit(
        &mut self,
        stream: TcpStream,
        place: OwnedSemaphorePermit,
        upgraded: &mut Vec<Arrival>,
    ) -> Option<OwnedSemaphorePermit> {
        self.backoff.reset();
        self.http.state.metrics.control.accepted.add_shared(1);
        let look = door::look(stream, &self.http);
        if let Look::Upgraded(client) = look {
            upgraded.push(client);
            return Some(place);
        }
        let connection = Connection {
            http: Arc::clone(&self.http),
            in_flight: Arc::clone(&self.in_flight),
            stop: self.stop.clone(),
        };
        self.connections.spawn(async move {
            connection.serve(look).await;
            drop(place);
        });
        None
    }

    /// Counts a failed `accept`, and says how long to wait before the next.
    fn failed(&mut self, error: &io::Error) -> Option<Duration> {
        let control = &self.http.state.metrics.control;
        match accept::classify(error) {
            accept::Failure::Connection => {
                control.accept_errors_connection.add_shared(1);
                None
            }
            accept::Failure::Exhausted => {
                control.accept_errors_exhausted.add_shared(1);
                let pause = self.backoff.next_pause();
                // At most ten lines a second: the back-off is the rate limit.
                warn!(%error, pause_ms = pause.as_millis() as u64, "cannot accept connections");
                Some(pause)
            }
        }
    }
}
