//! The listening socket: binds it, accepts connections, and pauses when `accept` fails.
//!
//! A turn accepts all connections that wait, up to a bound, and then looks at each. So handshakes that arrive together are answered together and
//! reach their shards with one wake-up. Accepted sockets inherit the listening socket's options.
//!
//! Clients are accepted on a thread of their own. On the control threads, each connection that comes while one of them handles a turn would
//! wake another one, which finds nothing to do.

use std::io;
use std::net::SocketAddr;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use super::Http;
use super::connection::Connection;
use super::door::{self, Caller, Look};
use super::places::{Place, Places};
use crate::accept;
use crate::address::Network;
use crate::backoff::Backoff;
use crate::bus::inbox::Alarm;
use crate::limits::{ACCEPT_BACKOFF_MAX, ACCEPT_BACKOFF_MIN, LISTEN_BACKLOG, NOTSENT_LOWAT_BYTES};

/// The most connections accepted in one turn, before they are looked at.
const ACCEPTS_PER_TURN: usize = 32;

/// What the poll reports: connections wait to be accepted.
const ACCEPT: Token = Token(0);

/// A listening socket.
#[derive(Debug)]
pub struct Listener(mio::net::TcpListener);

impl Listener {
    /// The address that it listens on.
    ///
    /// # Errors
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
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

/// Listens on `WS_HOST` and `WS_PORT`; an unspecified IPv6 address accepts IPv4 too.
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
    // Under one that doesn't know this, nearly every handshake takes the slow path.
    #[cfg(target_os = "linux")]
    let _ = defer_accept(&socket);
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(Listener(mio::net::TcpListener::from_std(socket.into())))
}

/// Has the kernel keep a connection until its first bytes have come, or for about a second (`TCP_DEFER_ACCEPT` in tcp(7)). So the
/// handshake is there when the connection is accepted, although it follows the TCP handshake by a round trip: no poll has to wait for it.
///
/// # Errors
/// As `setsockopt(2)`.
// A measured need: it saves a quarter of a handshake's processor time. Neither socket2 nor rustix has the option.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn defer_accept(socket: &Socket) -> io::Result<()> {
    let seconds: libc::c_int = 1;
    let length = size_of_val(&seconds) as libc::socklen_t;
    // SAFETY: the descriptor is open, and the value is an int that lives as long as the call, as the option wants it.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            length,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Starts a thread of this name that accepts connections until `stop` is cancelled, and upgrades plain handshakes. Every other connection
/// is served by a task of the runtime that this is called in. The future ends once requests under way are answered
/// (`HTTP_DRAIN_TIMEOUT_MS`); it doesn't wait for upgraded clients, which belong to their shards. Where it is dropped, the thread ends as well.
///
/// # Errors
/// When the system has no descriptor or thread left.
pub fn serve(
    listener: Listener,
    thread_name: &str,
    http: Arc<Http>,
    stop: CancellationToken,
) -> io::Result<impl Future<Output = ()> + use<>> {
    let Listener(mut socket) = listener;
    let poll = Poll::new()?;
    poll.registry().register(&mut socket, ACCEPT, Interest::READABLE)?;
    let alarm = Alarm::new(&poll)?;
    let connections = TaskTracker::new();
    let acceptor = Acceptor {
        socket,
        places: Places::new(http.bounds.in_flight_max),
        http,
        stop: stop.child_token(),
        connections: connections.clone(),
        tasks: Handle::current(),
        backoff: Backoff::new(ACCEPT_BACKOFF_MIN, ACCEPT_BACKOFF_MAX),
    };
    let ending = Ending { token: acceptor.stop.clone(), alarm: alarm.clone() };
    let (running, ended) = oneshot::channel::<()>();
    thread::Builder::new().name(thread_name.to_owned()).spawn(move || {
        acceptor.run(poll, &alarm);
        drop(running);
    })?;
    Ok(async move {
        stop.cancelled().await;
        drop(ending);
        // Ends when the sender is dropped.
        let _ = ended.await;
        connections.close();
        connections.wait().await;
    })
}

/// Ends the thread when it is dropped.
struct Ending {
    token: CancellationToken,
    alarm: Alarm,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.token.cancel();
        self.alarm.wake();
    }
}

/// Accepts connections, and serves those that are no plain handshakes in tasks.
struct Acceptor {
    socket: mio::net::TcpListener,
    http: Arc<Http>,
    places: Places,
    stop: CancellationToken,
    connections: TaskTracker,
    /// The runtime of the tasks.
    tasks: Handle,
    backoff: Backoff,
}

/// What the thread does next.
enum Next {
    /// It waits until connections come.
    Wait,
    /// It accepts more: some may wait, which the poll won't report again.
    Accept,
    /// `accept` has failed: it pauses this long.
    Pause(Duration),
}

impl Acceptor {
    fn run(mut self, mut poll: Poll, alarm: &Alarm) {
        let mut events = Events::with_capacity(2);
        let mut callers = Vec::with_capacity(ACCEPTS_PER_TURN);
        let mut next = Next::Wait;
        while !self.stop.is_cancelled() {
            let slept = match next {
                Next::Wait => self.sleep(&mut poll, &mut events, alarm, None),
                Next::Pause(pause) => self.pause(&mut poll, &mut events, alarm, Instant::now() + pause),
                Next::Accept => Ok(()),
            };
            if let Err(error) = slept {
                error!(%error, "poll failed: connections are accepted once a second");
                thread::sleep(ACCEPT_BACKOFF_MAX);
            }
            next = self.accept(&mut callers);
            self.attend(&mut callers);
        }
    }

    /// Sleeps until connections wait, until the timeout, if there is one, or until the thread is to end.
    fn sleep(
        &self,
        poll: &mut Poll,
        events: &mut Events,
        alarm: &Alarm,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        alarm.sleep(poll, events, timeout, || self.stop.is_cancelled().then_some(())).map(drop)
    }

    /// Sleeps until a time, or until the thread is to end.
    fn pause(&self, poll: &mut Poll, events: &mut Events, alarm: &Alarm, until: Instant) -> io::Result<()> {
        while !self.stop.is_cancelled() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.sleep(poll, events, alarm, Some(left))?;
        }
        Ok(())
    }

    /// Accepts the connections that wait, up to a bound: at most one that there is no place for, because each takes a descriptor.
    fn accept(&mut self, callers: &mut Vec<Caller>) -> Next {
        for _ in 0..ACCEPTS_PER_TURN.min(self.places.free() + 1) {
            match self.socket.accept() {
                Ok((stream, peer)) => {
                    self.backoff.reset();
                    self.http.state.metrics.control.accepted.add_shared(1);
                    let is_introduced = !self.http.proxy_protocol;
                    callers.push(Caller { stream: stream.into(), address: peer.ip(), is_introduced });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Wait,
                Err(error) => {
                    if let Some(pause) = self.note_failure(&error) {
                        return Next::Pause(pause);
                    }
                }
            }
        }
        Next::Accept
    }

    /// Looks at each connection: upgrades those that are plain handshakes, and serves every other one in a task, for which an older one
    /// may have to give up its place.
    fn attend(&mut self, callers: &mut Vec<Caller>) {
        let mut upgraded = Vec::new();
        let mut others = Vec::new();
        for caller in callers.drain(..) {
            let peer = caller.address;
            match door::look(caller, &self.http) {
                Look::Upgraded(client) => upgraded.push(client),
                Look::Gone => {}
                look => others.push((Network::from(look.address().unwrap_or(peer)), look)),
            }
        }
        if !upgraded.is_empty() {
            self.http.adopt.adopt(upgraded);
        }
        for (network, look) in others {
            let taken = self.places.take(network);
            let place = taken.or_else(|| self.tasks.block_on(self.places.make_room(network)));
            if let Some(place) = place {
                self.spawn(look, place);
            }
        }
    }

    /// Starts a task that serves a connection until it ends, or until another one needs its place.
    fn spawn(&self, look: Look, place: Place) {
        let http = Arc::clone(&self.http);
        let needed = place.needed();
        let connection = Connection { http: Arc::clone(&http), place, stop: self.stop.clone() };
        let served = async move {
            tokio::select! {
                () = connection.serve(look) => {}
                () = needed => http.state.metrics.control.http_evicted.add_shared(1),
            }
        };
        self.connections.spawn_on(served, &self.tasks);
    }

    /// Counts a failed `accept`, and returns the pause before the next, if there has to be one.
    fn note_failure(&mut self, error: &io::Error) -> Option<Duration> {
        let control = &self.http.state.metrics.control;
        match accept::classify(error) {
            accept::Failure::Connection => {
                control.accept_errors_connection.add_shared(1);
                None
            }
            accept::Failure::Exhausted => {
                control.accept_errors_exhausted.add_shared(1);
                let pause = self.backoff.next_pause();
                // The back-off limits these to ten lines a second.
                warn!(%error, pause_ms = pause.as_millis() as u64, "cannot accept connections");
                Some(pause)
            }
        }
    }
}
