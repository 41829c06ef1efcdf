//! Places for the HTTP connections that aren't upgraded (yet).
//!
//! Their number is bounded. A new connection that finds no place free gets the place of one that waits for its peer; every
//! connection waits for its peer, because answers never wait. So neither silent peers nor refused clients that stay keep
//! anybody out.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slotmap::{SlotMap, new_key_type};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// What a connection waits for. Connections make room in this order, and the oldest of each stage first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// The last answer is written; the peer is to close.
    Ending,
    /// The peer has not made a request.
    Silent,
    /// The peer was answered and may ask again.
    Answered,
}

/// All places.
#[derive(Debug, Clone)]
pub(super) struct Places {
    max: usize,
    free: Arc<Semaphore>,
    taken: Arc<Mutex<Taken>>,
}

/// One place, free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    key: Key,
    /// Told when the place is needed for somebody else.
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

    /// Takes a place, if need be from the connection that is the next to make room. `None` never happens: the semaphore is not
    /// closed.
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

    /// How many are free.
    pub(super) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// How many there are.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    fn occupy(&self, permit: OwnedSemaphorePermit) -> Place {
        let needed = Arc::<Notify>::default();
        let key = self.lock().enter(Stage::Silent, Arc::clone(&needed));
        Place { places: self.clone(), key, needed, _permit: permit }
    }

    /// Nothing panics under the lock, so it is never poisoned in earnest.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The connection is at that stage, from now on.
    pub(super) fn enter(&self, stage: Stage) {
        self.places.lock().move_to(self.key, stage);
    }

    /// Ends when somebody else needs the place.
    pub(super) fn needed(&self) -> impl Future<Output = ()> + use<> {
        let needed = Arc::clone(&self.needed);
        async move { needed.notified().await }
    }

    /// The places that it is one of.
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

/// Who is at which stage, and since when.
#[derive(Debug, Default)]
struct Taken {
    connections: SlotMap<Key, Connection>,
    /// All connections but the evicted ones, the next to go first.
    order: BTreeSet<(Stage, u64, Key)>,
    /// Counts changes of stage: their time, as far as it matters.
    now: u64,
}

#[derive(Debug)]
struct Connection {
    stage: Stage,
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

    /// An evicted connection stays evicted.
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

    /// Picks the connection that has to go, each at most once.
    fn evict(&mut self) -> Option<Arc<Notify>> {
        let (.., key) = self.order.pop_first()?;
        self.connections.get(key).map(|connection| Arc::clone(&connection.needed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of `places` would have to go first.
    fn next_to_go(places: &[&Place]) -> Option<usize> {
        let (_, _, key) = *places.first()?.places.lock().order.first()?;
        places.iter().position(|place| place.key == key)
    }

    #[test]
    fn who_ends_goes_first_then_the_silent_then_the_answered_and_of_each_the_oldest() {
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
            () = second.needed() => panic!("the second has to go"),
            () = third.needed() => panic!("the third has to go"),
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
