//! Bounds the number of HTTP connections that aren't upgraded: each holds a place.
//!
//! If no place is free, a new connection gets the place of one that waits for its peer, from the network that holds the most places
//! ([`order`]). Every connection waits only for its
//! peer, because answers are ready at once; but for a moment in which a token's key is fetched. So neither silent peers nor refused clients that stay connected keep others out.
//! On Linux the kernel keeps a silent peer for about a second before it is accepted, and then it holds a place here.
//!
//! Behind a proxy that sends no PROXY header all connections come from the proxy's network: what it forwards stands in requests, which
//! silent peers haven't sent.

mod order;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slotmap::{SlotMap, new_key_type};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use self::order::{Order, Standing};
use crate::address::Network;

/// What a connection waits for. The connections of a network are evicted in this order, the oldest of each stage first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// For the peer's close, after its last answer.
    Ending,
    /// For the peer's first request.
    Silent,
    /// For the peer's next request.
    Answered,
}

/// All places.
#[derive(Debug, Clone)]
pub(super) struct Places {
    max: usize,
    free: Arc<Semaphore>,
    taken: Arc<Mutex<Taken>>,
}

/// One place. Dropping it makes the place free.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    key: Key,
    /// Notified when another connection needs the place.
    needed: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// `max` free places.
    pub(super) fn new(max: usize) -> Self {
        Self { max, free: Arc::new(Semaphore::new(max)), taken: Arc::default() }
    }

    /// Takes a place for a connection from `network` if one is free.
    pub(super) fn take(&self, network: Network) -> Option<Place> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(|permit| self.occupy(network, permit))
    }

    /// Takes a place for a connection from `network`. If none is free, evicts the next connection and waits for its place. Never
    /// returns `None`, because the semaphore is never closed.
    pub(super) async fn make_room(&self, network: Network) -> Option<Place> {
        if let Some(place) = self.take(network) {
            return Some(place);
        }
        if let Some(needed) = self.lock().evict() {
            needed.notify_one();
        }
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(self.occupy(network, permit))
    }

    /// How many places are free.
    pub(super) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// How many places there are.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    fn occupy(&self, network: Network, permit: OwnedSemaphorePermit) -> Place {
        let needed = Arc::<Notify>::default();
        let key = self.lock().enter(network, Arc::clone(&needed));
        Place { places: self.clone(), key, needed, _permit: permit }
    }

    /// Nothing panics under the lock, so poisoning means nothing.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Notes that the connection has reached this stage.
    pub(super) fn enter(&self, stage: Stage) {
        self.places.lock().change(self.key, |standing| Some((standing.network, stage)));
    }

    /// Notes from which network the connection comes, as its PROXY header says.
    pub(super) fn comes_from(&self, network: Network) {
        self.places
            .lock()
            .change(self.key, |standing| (standing.network != network).then_some((network, standing.stage)));
    }

    /// Completes when another connection needs the place.
    pub(super) fn needed(&self) -> impl Future<Output = ()> + use<> {
        let needed = Arc::clone(&self.needed);
        async move { needed.notified().await }
    }

    /// All places, of which this is one.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().leave(self.key);
    }
}

new_key_type! { struct Key; }

/// The connections that hold places.
#[derive(Debug, Default)]
struct Taken {
    connections: SlotMap<Key, Connection>,
    /// All connections but the evicted ones.
    order: Order<Key>,
}

#[derive(Debug)]
struct Connection {
    /// `None` once it is evicted.
    standing: Option<Standing>,
    needed: Arc<Notify>,
}

impl Taken {
    fn enter(&mut self, network: Network, needed: Arc<Notify>) -> Key {
        let key = self.connections.insert(Connection { standing: None, needed });
        self.connections[key].standing = Some(self.order.add(key, network, Stage::Silent));
        key
    }

    /// Gives a connection another network or stage, reached only now, if `change` says so. An evicted one stays evicted.
    fn change(&mut self, key: Key, change: impl FnOnce(Standing) -> Option<(Network, Stage)>) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(standing) = connection.standing else { return };
        if let Some((network, stage)) = change(standing) {
            self.order.remove(key, standing);
            connection.standing = Some(self.order.add(key, network, stage));
        }
    }

    fn leave(&mut self, key: Key) {
        if let Some(Connection { standing: Some(standing), .. }) = self.connections.remove(key) {
            self.order.remove(key, standing);
        }
    }

    /// Evicts the next connection in the order. Each is evicted at most once.
    fn evict(&mut self) -> Option<Arc<Notify>> {
        let connection = self.connections.get_mut(self.order.pop()?)?;
        connection.standing = None;
        Some(Arc::clone(&connection.needed))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn network(n: u8) -> Network {
        IpAddr::from(Ipv4Addr::new(192, 0, 2, n)).into()
    }

    /// The index in `places` of the one that is evicted.
    fn evicted(places: &[&Place]) -> Option<usize> {
        let needed = places.first()?.places.lock().evict()?;
        places.iter().position(|place| Arc::ptr_eq(&place.needed, &needed))
    }

    #[test]
    fn ending_connections_are_evicted_first_then_silent_then_answered_ones_the_oldest_first() {
        let places = Places::new(6);
        let [a, b, c, d, e, f] = std::array::from_fn(|_| places.take(network(1)).unwrap());
        assert!(places.take(network(2)).is_none());
        for answered in [&a, &b, &a] {
            answered.enter(Stage::Answered);
        }
        for ending in [&f, &e] {
            ending.enter(Stage::Ending);
        }
        let order = std::array::from_fn(|_| evicted(&[&a, &b, &c, &d, &e, &f]).unwrap());
        assert_eq!(order, [5, 4, 2, 3, 1, 0], "the first has asked again");
        drop((a, b, c, d, e, f));
        assert_eq!(places.free(), 6);
        assert!(places.lock().connections.is_empty() && places.lock().evict().is_none());
    }

    #[test]
    fn the_network_with_the_most_places_gives_one_up() {
        let places = Places::new(6);
        let old = places.take(network(1)).unwrap();
        let flood = std::array::from_fn::<_, 3, _>(|_| places.take(network(2)).unwrap());
        let others = [places.take(network(3)).unwrap(), places.take(network(3)).unwrap()];
        flood.iter().for_each(|place| place.enter(Stage::Answered));
        others[0].enter(Stage::Ending);
        let all = [&old, &flood[0], &flood[1], &flood[2], &others[0], &others[1]];
        assert_eq!(evicted(&all), Some(1), "what it waits for counts among its own");
        assert_eq!(evicted(&all), Some(4), "two have two, and one of these waits for the least");
        assert_eq!(evicted(&all), Some(2));
        assert_eq!(evicted(&all), Some(0), "all have one, and this one is the oldest");
    }

    #[test]
    fn a_connection_counts_where_its_header_says() {
        let places = Places::new(3);
        let proxy = network(9);
        let [a, b, c] = std::array::from_fn(|_| places.take(proxy).unwrap());
        a.comes_from(network(1));
        b.comes_from(network(2));
        c.comes_from(network(2));
        c.comes_from(network(2));
        assert_eq!(evicted(&[&a, &b, &c]), Some(1));
        assert_eq!(evicted(&[&a, &b, &c]), Some(0));
        b.comes_from(network(1));
        b.enter(Stage::Ending);
        assert_eq!(evicted(&[&a, &b, &c]), Some(2), "who is evicted stays so");
        assert_eq!(evicted(&[&a, &b, &c]), None);
    }

    #[tokio::test]
    async fn the_first_in_that_order_is_evicted_and_no_other() {
        let places = Places::new(3);
        let [first, second, third] = std::array::from_fn(|_| places.take(network(1)).unwrap());
        let newcomer = tokio::spawn({
            let places = places.clone();
            async move { places.make_room(network(2)).await.unwrap() }
        });
        tokio::select! {
            biased;
            () = second.needed() => panic!("the second was evicted"),
            () = third.needed() => panic!("the third was evicted"),
            () = first.needed() => drop(first),
        }
        newcomer.await.unwrap();
    }

    #[tokio::test]
    async fn each_newcomer_evicts_one_and_waits_for_its_place() {
        let places = Places::new(2);
        let (first, second) = (places.take(network(1)).unwrap(), places.take(network(1)).unwrap());
        let (first_needed, second_needed) = (first.needed(), second.needed());
        let newcomer =
            |places: Places| tokio::spawn(async move { places.make_room(network(1)).await.unwrap() });
        let (third, fourth) = (newcomer(places.clone()), newcomer(places.clone()));
        first_needed.await;
        second_needed.await;
        drop((first, second));
        let newcomers = (third.await.unwrap(), fourth.await.unwrap());
        assert_eq!(places.free(), 0);
        drop(newcomers);
        assert_eq!(places.free(), 2);
    }
}
