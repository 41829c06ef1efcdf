//! Accepts the broker's clients.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{KEEPALIVE, Shared, client};
use crate::accept;
use crate::backoff::Backoff;
use crate::ingest::publisher::EventSink;
use crate::limits::{ACCEPT_BACKOFF_MAX, ACCEPT_BACKOFF_MIN};

/// The shortest time between two log lines about clients that were not accepted.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Accepts until `shutdown`, then waits for every client's task to end.
pub(super) async fn serve(
    listener: TcpListener,
    clients_max: usize,
    shared: &Arc<Shared>,
    sink: &impl EventSink,
    shutdown: &CancellationToken,
) {
    let mut clients = JoinSet::new();
    let mut backoff = Backoff::new(ACCEPT_BACKOFF_MIN, ACCEPT_BACKOFF_MAX);
    let mut log = Throttle::default();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = clients.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if clients.len() >= clients_max => {
                refuse(&stream);
                if log.allows() {
                    warn!(%peer, clients_max, "the embedded broker is full and refused a client");
                }
            }
            Ok((stream, peer)) => {
                backoff.reset();
                prepare(&stream);
                clients.spawn(client::serve(stream, peer, shared.clone(), sink.clone(), shutdown.clone()));
            }
            Err(error) if accept::classify(&error) == accept::Failure::Connection => {}
            Err(error) => {
                if log.allows() {
                    warn!(%error, "the embedded broker cannot accept a client; trying again");
                }
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = sleep(backoff.next_pause()) => {}
                }
            }
        }
    }
    drop(listener);
    while clients.join_next().await.is_some() {}
}

/// Tells a client that there is no room. One line fits into an empty socket buffer; if the write fails, the client
/// still sees the close.
fn refuse(stream: &TcpStream) {
    let _ = stream.try_write(b"-ERR max number of clients reached\r\n");
}

/// Sets socket options. A connection works without them, so errors don't matter.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
    let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

/// Allows a log line once per [`LOG_INTERVAL`].
#[derive(Default)]
struct Throttle(Option<Instant>);

impl Throttle {
    fn allows(&mut self) -> bool {
        let now = Instant::now();
        if self.0.is_some_and(|last| now.duration_since(last) < LOG_INTERVAL) {
            return false;
        }
        self.0 = Some(now);
        true
    }
}
