//! Bounds the number of HTTP connections that aren't upgraded: each holds a place.
//!
//! If no place is free, a new connection gets the place of one that waits for its peer. Every connection waits only for its
//! peer, because answers are ready at once; but for a moment in which a token's key is fetched. So neither silent peers nor refused clients that stay connected keep others out.
//! On Linux the kernel keeps a silent peer for about a second before it is accepted, and then it holds a place here.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slotmap::{SlotMap, new_key_type};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// What a connection waits for. Connections are evicted in this order, the oldest of each stage first.
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

    /// Takes a place if one is free.
    pub(super) fn take(&self) -> Option<Place> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(|permit| self.occupy(permit))
    }

    /// Takes a place. If none is free, evicts the next connection and waits for its place. Never returns `None`, because the
    /// semaphore is never closed.
    pub(super) async fn make_room(&self) -> Option<Place> {
        if let Some(place) = self.take() {
            return Some(place);
        }
        if let Some(needed) = self.lock().evict() {
            needed.notify_one();
        }
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(self.occupy(permit))
    }

    /// How many places are free.
    pub(super) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// How many places there are.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    fn occupy(&self, permit: OwnedSemaphorePermit) -> Place {
        let needed = Arc::<Notify>::default();
        let key = self.lock().enter(Stage::Silent, Arc::clone(&needed));
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
        self.places.lock().move_to(self.key, stage);
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
    /// All connections but the evicted ones, in the order of their eviction.
    order: BTreeSet<(Stage, u64, Key)>,
    /// Counts changes of stage, as a logical clock.
    now: u64,
}

#[derive(Debug)]
struct Connection {
    stage: Stage,
    /// The time at which it reached the stage, by [`Taken::now`].
    since: u64,
    needed: Arc<Notify>,
}

impl Taken {
    fn enter(&mut self, stage: Stage, needed: Arc<Notify>) -> Key {
        self.now += 1;
        let since = self.now;
        let key = self.connections.insert(Connection { stage, since, needed });
        self.order.insert((stage, since, key));
        key
    }

    /// Moves a connection to another stage. An evicted one stays evicted.
    fn move_to(&mut self, key: Key, stage: Stage) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if self.order.remove(&(connection.stage, connection.since, key)) {
            self.now += 1;
            (connection.stage, connection.since) = (stage, self.now);
            self.order.insert((stage, self.now, key));
        }
    }

    fn leave(&mut self, key: Key) {
        if let Some(connection) = self.connections.remove(key) {
            self.order.remove(&(connection.stage, connection.since, key));
        }
    }

    /// Evicts the next connection in the order. Each is evicted at most once.
    fn evict(&mut self) -> Option<Arc<Notify>> {
        let (.., key) = self.order.pop_first()?;
        self.connections.get(key).map(|connection| Arc::clone(&connection.needed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index in `places` of the next to be evicted.
    fn next_to_go(places: &[&Place]) -> Option<usize> {
        let (_, _, key) = *places.first()?.places.lock().order.first()?;
        places.iter().position(|place| place.key == key)
    }

    #[test]
    fn ending_connections_are_evicted_first_then_silent_then_answered_ones_the_oldest_first() {
        let places = Places::new(5);
        let [a, b, c, d, e] = std::array::from_fn(|_| places.take().unwrap());
        assert!(places.take().is_none());
        assert_eq!(next_to_go(&[&a, &b, &c, &d, &e]), Some(0));
        a.enter(Stage::Answered);
        b.enter(Stage::Answered);
        assert_eq!(next_to_go(&[&a, &b, &c, &d, &e]), Some(2), "the oldest that is silent");
        e.enter(Stage::Ending);
        d.enter(Stage::Ending);
        assert_eq!(next_to_go(&[&a, &b, &c, &d, &e]), Some(4));
        drop((e, d, c));
        assert_eq!(next_to_go(&[&a, &b]), Some(0));
        a.enter(Stage::Answered);
        assert_eq!(next_to_go(&[&a, &b]), Some(1), "it has asked again");
        drop((a, b));
        assert_eq!(places.free(), 5);
        assert!(places.lock().order.is_empty() && places.lock().connections.is_empty());
    }

    #[tokio::test]
    async fn the_first_in_that_order_is_evicted_and_no_other() {
        let places = Places::new(3);
        let [first, second, third] = std::array::from_fn(|_| places.take().unwrap());
        let newcomer = tokio::spawn({
            let places = places.clone();
            async move { places.make_room().await.unwrap() }
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
        let (first, second) = (places.take().unwrap(), places.take().unwrap());
        let (first_needed, second_needed) = (first.needed(), second.needed());
        let newcomer = |places: Places| tokio::spawn(async move { places.make_room().await.unwrap() });
        let (third, fourth) = (newcomer(places.clone()), newcomer(places.clone()));
        first_needed.await;
        second_needed.await;
        first.enter(Stage::Answered);
        assert!(places.lock().order.is_empty(), "an evicted connection stays so");
        drop((first, second));
        let newcomers = (third.await.unwrap(), fourth.await.unwrap());
        assert_eq!(places.free(), 0);
        drop(newcomers);
        assert_eq!(places.free(), 2);
    }
}
