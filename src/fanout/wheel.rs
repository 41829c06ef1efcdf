//! A timing wheel for the timers of a shard. Pure: time is a tick number that the caller gives.
//!
//! It is a hashed wheel with lazy deletion. A timer is never cancelled or moved: when it fires, its owner may find that its deadline has
//! moved, and inserts it again. So a connection has one entry of 16 bytes, and a later deadline costs nothing.

/// Milliseconds in a tick of the wheel for connections. Heartbeats, deadlines and stalls need no finer ticks.
pub const TICK_MS: u64 = 16;

/// Milliseconds in a tick of the wheel for rates, which is empty unless a client with a rate has events held.
pub const RATE_TICK_MS: u64 = 1;

/// Slots of the wheel. A timer more than this many ticks away is put into the last slot, and inserted again when the wheel gets there.
const SLOTS: u64 = 2_048;

/// Timers of type `K`, each at a tick.
#[derive(Debug)]
pub struct Wheel<K> {
    slots: Box<[Vec<(K, u64)>]>,
    now: u64,
    len: usize,
    /// The first tick whose slot has a timer; `u64::MAX` if none has.
    next: u64,
}

impl<K: Copy> Wheel<K> {
    /// An empty wheel at tick `now`.
    pub fn new(now: u64) -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), now, len: 0, next: u64::MAX }
    }

    /// Fires `key` at tick `at`, or at the next one if that has passed.
    pub fn insert(&mut self, key: K, at: u64) {
        let slot = at.clamp(self.now + 1, self.now + SLOTS - 1);
        self.slots[(slot % SLOTS) as usize].push((key, at));
        self.len += 1;
        self.next = self.next.min(slot);
    }

    /// Moves on to tick `now` and calls `fire` with each timer that is due, and its tick.
    pub fn advance(&mut self, now: u64, mut fire: impl FnMut(K, u64)) {
        if now < self.next {
            self.now = self.now.max(now);
            return;
        }
        while self.now < now && self.len > 0 {
            self.now += 1;
            for (key, at) in std::mem::take(&mut self.slots[(self.now % SLOTS) as usize]) {
                self.len -= 1;
                if at > self.now {
                    self.insert(key, at);
                } else {
                    fire(key, at);
                }
            }
        }
        self.now = now;
        let mut ahead = now + 1..now + SLOTS;
        let is_taken = |tick: &u64| !self.slots[(tick % SLOTS) as usize].is_empty();
        self.next = if self.len == 0 { u64::MAX } else { ahead.find(is_taken).unwrap_or(u64::MAX) };
    }

    /// The next tick at which something may be due; `None` if the wheel is empty.
    #[inline]
    pub fn next_tick(&self) -> Option<u64> {
        (self.len > 0).then_some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_timer_fires_once_at_its_tick(
            timers in prop::collection::vec((0u64..10_000, 0u64..6_000), 1..60),
        ) {
            let mut wheel = Wheel::new(0);
            let mut fired = BTreeMap::new();
            let mut expected = BTreeMap::new();
            let mut now = 0;
            for (key, (at, step)) in timers.iter().enumerate() {
                wheel.insert(key, *at);
                expected.insert(key, (*at).max(now + 1));
                let unfired = expected.iter().filter(|(key, _)| !fired.contains_key(*key)).map(|(_, at)| *at);
                let next = wheel.next_tick().unwrap();
                prop_assert!(next > now && next <= unfired.min().unwrap());
                now += step;
                wheel.advance(now, |key, _| { fired.insert(key, 0); });
                let due: Vec<_> = expected.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect();
                prop_assert_eq!(fired.keys().copied().collect::<Vec<_>>(), due);
            }
            wheel.advance(now + 20_000, |key, _| { fired.insert(key, 0); });
            prop_assert_eq!(fired.len(), timers.len());
            prop_assert_eq!(wheel.next_tick(), None);
        }
    }
}
