//! Decides which connections may become clients: a bounded number in all, from one network, and of one user.

mod per_ip;
mod per_user;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use self::per_ip::PerIp;
use self::per_user::PerUser;
pub use self::per_user::{OnUserLimit, PerUserLimits, UserAdmitted};
use crate::address::Network;
use crate::bus::{Count, Seat};
use crate::identity::User;
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
    /// `MAX_CONNECTIONS`, which are given here, are open.
    Full(usize),
    /// `MAX_CONNECTIONS_PER_IP`, which is given here, are open from its network.
    ConnectionsPerIp(usize),
    /// Its network has used up `CONNECTION_RATE_LIMIT`.
    Rate {
        /// The limit.
        rate: Rate,
        /// Whole seconds after which there is room for one more.
        retry_after_s: u64,
    },
    /// The user has `MAX_CONNECTIONS_PER_USER`, which is given here.
    ConnectionsPerUser(usize),
}

/// What a client reads.
impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(max) => {
                write!(f, "Maximum number of connections reached: at most {max} at a time. Try again later")
            }
            Self::ConnectionsPerIp(max) => {
                write!(
                    f,
                    "Too many connections from your address: at most {max} at a time. Close another one first"
                )
            }
            Self::Rate { rate, .. } => {
                write!(f, "Too many new connections from your address: at most {rate}")
            }
            Self::ConnectionsPerUser(max) => {
                write!(
                    f,
                    "Too many connections of your user: at most {max} at a time. Close another one first"
                )
            }
        }
    }
}

/// The seats of one gateway.
#[derive(Debug)]
pub struct Admission {
    seats: Arc<Count>,
    per_ip: Option<PerIp>,
    per_user: PerUser,
}

impl Admission {
    /// `max` seats (`MAX_CONNECTIONS`), all free, of which one network may take as many as `per_ip` says.
    /// Users with a connection are counted in `online`.
    pub fn new(
        max: usize,
        per_ip: PerIpLimits,
        per_user: PerUserLimits,
        online: Arc<AtomicU64>,
    ) -> Arc<Self> {
        let seats = Count::of(max);
        let per_ip = (!per_ip.are_off()).then(|| PerIp::new(per_ip, &seats));
        Arc::new(Self { seats, per_ip, per_user: PerUser::new(per_user, online) })
    }

    /// Takes a seat for a client of that network, at `now_us` microseconds of a clock that only goes forward.
    ///
    /// # Errors
    /// The limit that would be broken. A refusal takes nothing off any limit.
    pub fn admit(&self, client: Network, now_us: u64) -> Result<Seat, NotAdmitted> {
        match &self.per_ip {
            Some(per_ip) => per_ip.admit(client, now_us),
            None => self.seats.take().ok_or_else(|| NotAdmitted::Full(self.max())),
        }
    }

    /// What becomes of a client of that network, which has a seat, is decided on again, with another one: it is to count once.
    pub fn give_back(&self, client: Network) {
        if let Some(per_ip) = &self.per_ip {
            per_ip.give_back(client);
        }
    }

    /// Takes a place among the connections of a user.
    ///
    /// # Errors
    /// The limit that would be broken.
    pub fn admit_user(&self, user: &User, now_us: u64) -> Result<UserAdmitted, NotAdmitted> {
        self.per_user.admit(user, now_us)
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
        Admission::new(max, PerIpLimits::default(), PerUserLimits::default(), Arc::default())
    }

    #[test]
    fn seats_are_bounded_and_come_back() {
        let admission = admission(2);
        let admit = || admission.admit(Network::default(), 0);
        let first = admit().unwrap();
        assert!(!admission.is_full());
        let second = admit().unwrap();
        assert!(admission.is_full());
        assert_eq!(admit().unwrap_err(), NotAdmitted::Full(2));
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
