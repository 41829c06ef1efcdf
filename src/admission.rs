//! Decides which connections may become clients: a bounded number in all, and from one network.

mod per_ip;

use std::num::NonZeroUsize;
use std::sync::Arc;

use self::per_ip::PerIp;
use crate::address::Network;
use crate::bus::{Count, Seat};
use crate::rate::Rate;

/// What the clients of one network, which is an IPv4 address or a /64 of IPv6, may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerIpLimits {
    /// `MAX_CONNECTIONS_PER_IP`; `None` = no limit.
    pub connections: Option<NonZeroUsize>,
    /// `CONNECTION_RATE_LIMIT`; `None` = no limit.
    pub rate: Option<Rate>,
}

impl PerIpLimits {
    /// Whether there is no limit.
    pub const fn are_off(&self) -> bool {
        self.connections.is_none() && self.rate.is_none()
    }
}

/// Why a connection may not become a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdmitted {
    /// `MAX_CONNECTIONS` are open.
    Full,
    /// `MAX_CONNECTIONS_PER_IP`, which is given here, are open from its network.
    ConnectionsPerIp(usize),
    /// Its network has used up `CONNECTION_RATE_LIMIT`.
    Rate {
        /// The limit.
        rate: Rate,
        /// Whole seconds after which there is room for one more.
        retry_after_s: u64,
    },
}

/// The seats of one gateway.
#[derive(Debug)]
pub struct Admission {
    seats: Arc<Count>,
    per_ip: Option<PerIp>,
}

impl Admission {
    /// `max` seats (`MAX_CONNECTIONS`), all free, of which one network may take as many as `per_ip` says.
    pub fn new(max: usize, per_ip: PerIpLimits) -> Arc<Self> {
        let seats = Count::of(max);
        let per_ip = (!per_ip.are_off()).then(|| PerIp::new(per_ip, &seats));
        Arc::new(Self { seats, per_ip })
    }

    /// Takes a seat for a client of that network, at `now_us` microseconds of a clock that only goes forward.
    ///
    /// # Errors
    /// The limit that would be broken. A refusal takes nothing off any limit.
    pub fn admit(&self, client: Network, now_us: u64) -> Result<Seat, NotAdmitted> {
        match &self.per_ip {
            Some(per_ip) => per_ip.admit(client, now_us),
            None => self.seats.take().ok_or(NotAdmitted::Full),
        }
    }

    /// Whether it matters from where a client connects.
    pub const fn looks_at_addresses(&self) -> bool {
        self.per_ip.is_some()
    }

    /// How many seats are taken, those of handshakes under way included.
    pub fn open(&self) -> usize {
        self.seats.taken()
    }

    /// How many seats there are.
    pub fn max(&self) -> usize {
        self.seats.max()
    }

    /// Whether the next client would be turned away.
    pub fn is_full(&self) -> bool {
        self.seats.is_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max: usize) -> Arc<Admission> {
        Admission::new(max, PerIpLimits::default())
    }

    #[test]
    fn seats_are_bounded_and_come_back() {
        let admission = admission(2);
        let admit = || admission.admit(Network::default(), 0);
        let first = admit().unwrap();
        assert!(!admission.is_full());
        let second = admit().unwrap();
        assert!(admission.is_full());
        assert_eq!(admit().unwrap_err(), NotAdmitted::Full);
        assert_eq!(admission.open(), 2, "a refusal takes nothing");
        drop(first);
        let third = admit().unwrap();
        drop((second, third));
        assert_eq!(admission.open(), 0);
    }

    #[test]
    fn many_threads_never_take_more_than_there_are() {
        let admission = admission(100);
        let admit = || admission.admit(Network::default(), 0);
        let seats: Vec<Seat> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..50).filter_map(|_| admit().ok()).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(seats.len(), 100);
        assert!(admission.is_full());
    }
}
