//! Which connection gives up its place to a newcomer. Pure: times are counts.
//!
//! The network with the most places gives one up: who floods the port with connections loses his own. Of its connections the one goes
//! that waits for the least, and of those the one that has waited longest. Of networks with equally many the one whose connection
//! comes first by that rule.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use foldhash::quality::RandomState;

use super::Stage;
use crate::address::Network;

/// The rank of a connection: who comes first goes first. `K` tells connections apart.
type Rank<K> = (Stage, u64, K);

/// The connections that can be asked for their places, in the order in which they are. All is bounded by their number.
#[derive(Debug)]
pub(super) struct Order<K> {
    networks: HashMap<Network, BTreeSet<Rank<K>>, RandomState>,
    /// Each network by its number of connections, the most first, and then by its first connection.
    next: BTreeSet<(Reverse<usize>, Rank<K>, Network)>,
    /// Counts changes, as a logical clock.
    now: u64,
}

/// Where a connection stands in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// From where it comes.
    pub(super) network: Network,
    /// What it waits for.
    pub(super) stage: Stage,
    /// The time at which it reached the stage.
    since: u64,
}

impl<K> Default for Order<K> {
    fn default() -> Self {
        Self { networks: HashMap::default(), next: BTreeSet::new(), now: 0 }
    }
}

impl<K: Copy + Ord> Order<K> {
    /// Adds a connection that has reached `stage` only now.
    pub(super) fn add(&mut self, key: K, network: Network, stage: Stage) -> Standing {
        self.now += 1;
        let standing = Standing { network, stage, since: self.now };
        self.change(network, |ranks| ranks.insert((stage, standing.since, key)));
        standing
    }

    /// Takes a connection out. Returns whether it was there.
    pub(super) fn remove(&mut self, key: K, standing: Standing) -> bool {
        let Standing { network, stage, since } = standing;
        self.change(network, |ranks| ranks.remove(&(stage, since, key)))
    }

    /// Takes out the connection that is to give up its place.
    pub(super) fn pop(&mut self) -> Option<K> {
        let (_, rank, network) = *self.next.first()?;
        self.change(network, |ranks| ranks.remove(&rank));
        Some(rank.2)
    }

    /// Changes the connections of a network, and puts it where it then belongs.
    fn change(&mut self, network: Network, change: impl FnOnce(&mut BTreeSet<Rank<K>>) -> bool) -> bool {
        let ranks = self.networks.entry(network).or_default();
        if let Some(first) = ranks.first() {
            self.next.remove(&(Reverse(ranks.len()), *first, network));
        }
        let is_changed = change(ranks);
        match ranks.first() {
            Some(first) => {
                self.next.insert((Reverse(ranks.len()), *first, network));
            }
            None => {
                self.networks.remove(&network);
            }
        }
        is_changed
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    const STAGES: [Stage; 3] = [Stage::Ending, Stage::Silent, Stage::Answered];

    fn network(n: usize) -> Network {
        IpAddr::from(Ipv4Addr::from_bits(n as u32)).into()
    }

    /// A connection of the naive model, in a list in which those that changed last stand last.
    #[derive(Debug, Clone, Copy)]
    struct Listed {
        key: usize,
        network: usize,
        stage: Stage,
        standing: Standing,
    }

    /// The index in the list of the one that is to go.
    fn next_to_go(list: &[Listed]) -> Option<usize> {
        let count = |network| list.iter().filter(|one| one.network == network).count();
        let most = list.iter().map(|one| count(one.network)).max()?;
        let richest = |index: &usize| count(list[*index].network) == most;
        (0..list.len()).filter(richest).min_by_key(|index| (list[*index].stage, *index))
    }

    proptest! {
        /// Whatever comes, changes and goes, the one is taken out that a list says, looked through from its beginning.
        #[test]
        fn it_is_what_a_list_says(
            steps in prop::collection::vec((0usize..6, 0usize..4, 0usize..3, any::<prop::sample::Index>()), 1..300),
        ) {
            let mut order = Order::default();
            let mut list: Vec<Listed> = Vec::new();
            for (key, (what, network_number, stage, which)) in steps.into_iter().enumerate() {
                let stage = STAGES[stage];
                match what {
                    0..3 => {
                        let standing = order.add(key, network(network_number), stage);
                        list.push(Listed { key, network: network_number, stage, standing });
                    }
                    3 if !list.is_empty() => {
                        let moved = list.remove(which.index(list.len()));
                        prop_assert!(order.remove(moved.key, moved.standing));
                        prop_assert!(!order.remove(moved.key, moved.standing), "it is there once");
                        let standing = order.add(moved.key, network(moved.network), stage);
                        list.push(Listed { stage, standing, ..moved });
                    }
                    4 if !list.is_empty() => {
                        let gone = list.remove(which.index(list.len()));
                        prop_assert!(order.remove(gone.key, gone.standing));
                    }
                    _ => {
                        let expected = next_to_go(&list).map(|index| list.remove(index).key);
                        prop_assert_eq!(order.pop(), expected);
                    }
                }
            }
            while let Some(index) = next_to_go(&list) {
                prop_assert_eq!(order.pop(), Some(list.remove(index).key));
            }
            prop_assert_eq!(order.pop(), None);
            prop_assert!(order.networks.is_empty() && order.next.is_empty(), "nothing is left behind");
        }
    }
}
