//! What the clients of one network take, and how much of it they may. It is asked once for each connection, at its handshake.
//!
//! Both tables are keyed by what strangers send, so both are bounded: the connections of a network are forgotten when the last one has
//! gone, and the rates have a fixed number of places.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::quality::RandomState;

use super::{NotAdmitted, PerIpLimits};
use crate::address::Network;
use crate::bus::{Count, Seat};
use crate::limits::{NETWORKS_SWEPT_MIN, RATED_NETWORKS_MAX};
use crate::rate::{Allowance, Rate};

/// The limits with what is taken of them. Used by the control side alone; seats are given back without it.
#[derive(Debug)]
pub(super) struct PerIp {
    limits: PerIpLimits,
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    open: Open,
    recent: Recent,
}

impl PerIp {
    /// Limits of which nothing is taken, for clients whose seats are among `seats`.
    pub(super) fn new(limits: PerIpLimits, seats: &Arc<Count>) -> Self {
        let places = if limits.rate.is_some() { RATED_NETWORKS_MAX } else { Recent::WAYS };
        let open =
            Open { seats: Arc::clone(seats), networks: HashMap::default(), sweep_at: NETWORKS_SWEPT_MIN };
        Self { limits, tables: Mutex::new(Tables { open, recent: Recent::new(places) }) }
    }

    pub(super) fn admit(&self, client: Network, now_us: u64) -> Result<Seat, NotAdmitted> {
        let mut tables = self.lock();
        // Dropped again, and so given back, if the rate refuses.
        let seat = tables.open.take(client, self.limits.connections)?;
        if let Some(rate) = self.limits.rate {
            let taken = tables.recent.take(client, rate, now_us);
            taken.map_err(|retry_after_s| NotAdmitted::Rate { rate, retry_after_s })?;
        }
        Ok(seat)
    }

    pub(super) fn give_back(&self, client: Network) {
        if let Some(rate) = self.limits.rate {
            self.lock().recent.give_back(client, rate);
        }
    }

    /// Nothing panics under the lock, so it is never poisoned in earnest.
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The networks with open connections.
#[derive(Debug)]
struct Open {
    seats: Arc<Count>,
    networks: HashMap<Network, Arc<Count>, RandomState>,
    /// With so many networks those without a connection are forgotten. It is twice what was left the last time, so that looking at all
    /// of them costs a client no more than looking at two.
    sweep_at: usize,
}

impl Open {
    fn take(&mut self, client: Network, max: Option<NonZeroUsize>) -> Result<Seat, NotAdmitted> {
        let Some(max) = max.map(NonZeroUsize::get) else {
            return self.seats.take().ok_or_else(|| NotAdmitted::Full(self.seats.max()));
        };
        if self.networks.len() >= self.sweep_at && !self.networks.contains_key(&client) {
            self.networks.retain(|_, count| count.taken() > 0);
            self.sweep_at = (2 * self.networks.len()).max(NETWORKS_SWEPT_MIN);
            self.networks.shrink_to(self.sweep_at);
        }
        let count = self.networks.entry(client).or_insert_with(|| Count::within(max, &self.seats));
        count.take().ok_or_else(|| match count.is_full() {
            true => NotAdmitted::ConnectionsPerIp(max),
            false => NotAdmitted::Full(self.seats.max()),
        })
    }
}

/// What the networks have left of the rate that came lately. A network with the whole rate left needs no place.
///
/// Places are fixed, in sets; the hash of a network names its set, with a seed that nobody outside knows. A network that finds no place
/// in its set takes that of the one that has used the least, so who walks through ever new networks displaces its own.
#[derive(Debug)]
struct Recent {
    places: Box<[(Network, Allowance)]>,
    hasher: RandomState,
}

impl Recent {
    /// Places in a set: one cache line or two to look at.
    const WAYS: usize = 8;

    fn new(places: usize) -> Self {
        Self { places: vec![Default::default(); places].into(), hasher: RandomState::default() }
    }

    /// Takes one off a network's rate. `Err` holds the whole seconds after which there is room again.
    fn take(&mut self, client: Network, rate: Rate, now_us: u64) -> Result<(), u64> {
        let sets = self.places.len() / Self::WAYS;
        let set = (self.hasher.hash_one(client) % sets as u64) as usize;
        let places = &mut self.places[set * Self::WAYS..][..Self::WAYS];
        let known = places.iter().position(|(network, _)| *network == client);
        let least_used = || (0..Self::WAYS).min_by_key(|place| places[*place].1).unwrap_or_default();
        let place = known.unwrap_or_else(least_used);
        let mut allowance = known.map_or_else(Allowance::default, |place| places[place].1);
        allowance.take(rate, now_us)?;
        places[place] = (client, allowance);
        Ok(())
    }

    /// Gives back what was taken off a network's rate, unless it is forgotten.
    fn give_back(&mut self, client: Network, rate: Rate) {
        let sets = self.places.len() / Self::WAYS;
        let set = (self.hasher.hash_one(client) % sets as u64) as usize;
        let mut places = self.places[set * Self::WAYS..][..Self::WAYS].iter_mut();
        if let Some((_, allowance)) = places.find(|(network, _)| *network == client) {
            allowance.give_back(rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};
    use std::time::Duration;

    use super::*;

    const MILLION: u64 = 1_000_000;

    /// The n-th /64 of a provider's network.
    fn walked(n: u64) -> Network {
        let bits = (0x2001_0db8_0000_0000 | u128::from(n)) << 64 | u128::from(n);
        IpAddr::from(Ipv6Addr::from_bits(bits)).into()
    }

    fn limits(connections: usize, rate: Option<Rate>) -> PerIpLimits {
        PerIpLimits { connections: NonZeroUsize::new(connections), rate }
    }

    #[test]
    fn each_network_has_its_own_connections_within_all() {
        let seats = Count::of(5);
        let per_ip = PerIp::new(limits(2, None), &seats);
        let admit = |n| per_ip.admit(walked(n), 0);
        let first = (admit(1).unwrap(), admit(1).unwrap());
        assert_eq!(admit(1).unwrap_err(), NotAdmitted::ConnectionsPerIp(2));
        let _second = (admit(2).unwrap(), admit(2).unwrap());
        let third = admit(3).unwrap();
        assert_eq!(admit(3).unwrap_err(), NotAdmitted::Full(5));
        assert_eq!(seats.taken(), 5, "refusals take nothing");
        drop(first);
        assert_eq!(seats.taken(), 3);
        drop(third);
        let _again = (admit(1).unwrap(), admit(1).unwrap());
        assert_eq!(admit(1).unwrap_err(), NotAdmitted::ConnectionsPerIp(2));
    }

    #[test]
    fn what_was_taken_off_the_rate_can_be_given_back() {
        let rate = Rate::new(2, Duration::from_secs(60));
        let per_ip = PerIp::new(limits(0, rate), &Count::of(100));
        for _ in 0..100 {
            drop(per_ip.admit(walked(1), 0).unwrap());
            per_ip.give_back(walked(1));
            per_ip.give_back(walked(2));
        }
        let _two = [per_ip.admit(walked(1), 0).unwrap(), per_ip.admit(walked(1), 0).unwrap()];
        assert!(per_ip.admit(walked(1), 0).is_err());
        assert!(per_ip.admit(walked(2), 0).is_ok(), "and nobody has more for it");
    }

    #[test]
    fn a_refusal_takes_nothing_off_the_other_limit() {
        let rate = Rate::new(2, Duration::from_secs(60));
        let seats = Count::of(100);
        let per_ip = PerIp::new(limits(1, rate), &seats);
        let held = per_ip.admit(walked(1), 0).unwrap();
        for _ in 0..10 {
            assert_eq!(per_ip.admit(walked(1), 0).unwrap_err(), NotAdmitted::ConnectionsPerIp(1));
        }
        drop(held);
        drop(per_ip.admit(walked(1), 0).expect("one of the two is left"));
        for _ in 0..10 {
            let refused = per_ip.admit(walked(1), 0).unwrap_err();
            assert_eq!(refused, NotAdmitted::Rate { rate: rate.unwrap(), retry_after_s: 30 });
        }
        assert_eq!(seats.taken(), 0);
        assert!(per_ip.admit(walked(2), 0).is_ok());
        assert!(per_ip.admit(walked(1), 30_000_000).is_ok());
    }

    /// Somebody connects once from each of a million networks, and holds a thousand connections at a time.
    #[test]
    fn a_walk_through_a_million_networks_fills_no_table_and_frees_nobody() {
        let rate = Rate::new(10, Duration::from_secs(3_600)).unwrap();
        let seats = Count::of(100_000);
        let per_ip = PerIp::new(limits(10, Some(rate)), &seats);
        let honest: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..10 {
            drop(per_ip.admit(honest.into(), 0).unwrap());
        }
        let mut held = std::collections::VecDeque::new();
        for n in 0..MILLION {
            // A thousand a second.
            held.push_back(per_ip.admit(walked(n), n * 1_000).unwrap());
            held.truncate(1_000);
            if held.len() == 1_000 {
                held.pop_front();
            }
        }
        let tables = per_ip.lock();
        assert!(
            tables.open.networks.len() <= 2 * 1_000 + NETWORKS_SWEPT_MIN,
            "{}",
            tables.open.networks.len()
        );
        assert!(
            tables.open.networks.capacity() <= 8 * NETWORKS_SWEPT_MIN,
            "{}",
            tables.open.networks.capacity()
        );
        assert_eq!(size_of_val(&*tables.recent.places), 16 * RATED_NETWORKS_MAX);
        drop(tables);
        let after_s = MILLION / 1_000;
        let taken = (0..10).filter(|_| per_ip.admit(honest.into(), after_s * 1_000_000).is_ok()).count();
        assert_eq!(taken as u64, after_s / 360, "what came back in the time, and no more");
    }
}
