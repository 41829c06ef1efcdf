//! Reaches a server by its name: looks up the host's addresses, and connects to the first that answers.
//!
//! A host name may have several addresses, and the first may belong to a machine that drops packets. So the attempts are
//! staggered (RFC 8305, "happy eyeballs"): if an address has not answered within [`limits::CONNECT_STAGGER`], the
//! next one is tried beside it, and the first to connect is used.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::limits;

/// Finds the addresses of a host: the system's resolver, or a test's own. Blocking.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Resolve>);

/// A function from a host and a port to addresses.
trait Resolve: Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync {}

impl<R: Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync> Resolve for R {}

impl Resolver {
    /// A resolver that answers as `resolve` does.
    pub fn new(resolve: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(resolve))
    }

    /// Begins to look up a host, on a thread of its own, which nobody waits for, nor does the process' end: the system's resolver can
    /// take 30 s.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(&self, host: &str, port: u16) -> io::Result<Resolution> {
        let (answer, resolution) = oneshot::channel();
        let (resolver, host) = (self.clone(), host.to_owned());
        std::thread::Builder::new().name("resolve".to_owned()).spawn(move || {
            // Nobody may wait any more.
            let _ = answer.send((resolver.0)(&host, port));
        })?;
        Ok(resolution)
    }
}

impl Default for Resolver {
    /// The system's.
    fn default() -> Self {
        Self::new(|host, port| (host, port).to_socket_addrs().map(Iterator::collect))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// A host's addresses, once they are known.
pub type Resolution = oneshot::Receiver<io::Result<Vec<SocketAddr>>>;

/// The order in which addresses are tried: the resolver's, but with IPv6 and IPv4 in turn (RFC 8305 section 4), without repeats,
/// and begun `attempts` places further on. At most `most`.
pub fn in_order(addresses: Vec<SocketAddr>, attempts: usize, most: usize) -> Vec<SocketAddr> {
    let prefers_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == prefers_ipv6);
    let mut ordered = Vec::new();
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            break;
        }
        for address in pair.into_iter().flatten() {
            if !ordered.contains(&address) {
                ordered.push(address);
            }
        }
    }
    let begin = attempts.checked_rem(ordered.len()).unwrap_or_default();
    ordered.rotate_left(begin);
    ordered.truncate(most);
    ordered
}

/// Tries addresses in their order, the next one as soon as one has failed or has not answered within
/// [`limits::CONNECT_STAGGER`]. Returns the first connection and drops the others.
///
/// # Errors
/// If all addresses failed: each of them, and why.
pub async fn first_to_connect<S, F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<S, Vec<(SocketAddr, io::Error)>>
where
    S: Send + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    let mut waiting = addresses.into_iter();
    let mut under_way = JoinSet::new();
    let mut failed = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            let connected = timeout(limits::UPSTREAM_STEP_TIMEOUT, connect(address));
            under_way.spawn(async move { (address, connected.await) });
        }
        let ended = tokio::select! {
            ended = under_way.join_next() => ended,
            () = sleep(limits::CONNECT_STAGGER), if waiting.len() > 0 => continue,
        };
        let Some(ended) = ended else { return Err(failed) };
        let (address, outcome) = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        match outcome {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed.push((address, error)),
            Err(_) => failed.push((address, no_answer())),
        }
    }
}

/// What a step that takes too long fails with.
pub fn no_answer() -> io::Error {
    let limit_s = limits::UPSTREAM_STEP_TIMEOUT.as_secs();
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit_s} s"))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;

    fn addresses(names: &[&str]) -> Vec<SocketAddr> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn address_families_alternate_and_no_address_is_tried_twice() {
        let of_host = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "[::1]:1", "10.0.0.2:1"]);
        let expected = ["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"];
        assert_eq!(in_order(of_host, 0, 8), addresses(&expected));
        assert_eq!(
            in_order(addresses(&["10.0.0.1:1", "[::1]:1"]), 0, 8),
            addresses(&["10.0.0.1:1", "[::1]:1"])
        );
        assert_eq!(in_order(Vec::new(), 3, 8), []);
    }

    proptest! {
        #[test]
        fn every_address_is_first_in_its_turn(count in 1_u8..40) {
            let of_host: Vec<_> = (0..count).map(|n| SocketAddr::from(([10, 0, 0, n], 1))).collect();
            let first = |attempt| in_order(of_host.clone(), attempt, 8)[0];
            let firsts: Vec<_> = (0..of_host.len()).map(first).collect();
            prop_assert_eq!(firsts, of_host.clone());
            prop_assert_eq!(in_order(of_host.clone(), 0, 8).len(), of_host.len().min(8));
        }
    }

    /// The connections follow a script, and the order of the attempts is noted.
    #[tokio::test]
    async fn the_next_address_is_tried_at_once_where_one_is_refused() {
        let tried = Arc::new(Mutex::new(Vec::new()));
        let connect = |address: SocketAddr| -> Pin<Box<dyn Future<Output = io::Result<u16>> + Send>> {
            tried.lock().unwrap().push(address.port());
            match address.port() {
                1 | 3 => Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) }),
                2 => Box::pin(std::future::pending()),
                port => Box::pin(async move { Ok(port) }),
            }
        };
        let all = addresses(&["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3", "10.0.0.1:4", "10.0.0.1:5"]);
        assert_eq!(first_to_connect(all, connect).await.unwrap(), 4);
        assert_eq!(*tried.lock().unwrap(), [1, 2, 3, 4]);
    }
}
