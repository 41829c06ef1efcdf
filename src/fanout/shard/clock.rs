//! The shard's time: read once a turn, and told to everything else as a number.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::super::wheel::{RATE_TICK_MS, TICK_MS, Wheel};
use super::conn::ConnKey;
use crate::unix_time::unix_ms;

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    /// Microseconds since the gateway was built.
    pub(super) us: u64,
    /// Unix milliseconds.
    pub(super) unix_ms: u64,
}

impl Now {
    /// The tick of the connections' wheel.
    pub(super) fn tick(self) -> Tick {
        Tick::of_us(self.us)
    }

    /// The tick of the wheel for rates.
    pub(super) fn rate_tick(self) -> u64 {
        self.us / (RATE_TICK_MS * 1_000)
    }
}

/// A tick of the wheel that all connections are in: [`TICK_MS`] milliseconds, counted since the gateway was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u32);

impl Tick {
    /// No deadline: behind every other tick.
    pub(super) const NEVER: Self = Self(u32::MAX);

    /// The first tick that is not before `us` microseconds since the gateway was built.
    pub(super) fn not_before_us(us: u64) -> Self {
        // Short of no deadline at all: more than two years after the start.
        Self(us.div_ceil(TICK_MS * 1_000).min(u64::from(u32::MAX - 1)) as u32)
    }

    /// A tick by its number.
    pub(super) const fn new(number: u32) -> Self {
        Self(number)
    }

    fn of_us(us: u64) -> Self {
        Self((us / (TICK_MS * 1_000)) as u32)
    }

    /// Ticks since the gateway was built.
    pub(super) const fn number(self) -> u32 {
        self.0
    }

    /// Ticks from `earlier` to this one.
    pub(super) const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Whether this tick comes before the other.
    pub(super) const fn is_before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether a deadline at this tick is due at `now`.
    pub(super) const fn is_due(self, now: Self) -> bool {
        now.0 >= self.0
    }

    /// The tick `ticks` later.
    pub(super) const fn plus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// The tick `ticks` earlier. In the first moments of a gateway that is one before it was built.
    pub(super) const fn minus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_sub(ticks))
    }
}

/// Ticks that a time takes, at least one.
pub(super) fn ticks(time: Duration) -> u32 {
    (time.as_millis() as u64).div_ceil(TICK_MS).clamp(1, u64::from(u32::MAX / 4)) as u32
}

/// Where the time comes from: the system's clocks, or a test.
pub(super) type Source = Box<dyn Fn() -> Now>;

/// The system's clocks; `started` is when the gateway was built. The shard asks for the time after every few writes, so the wall
/// clock is read once in a millisecond at most.
pub(super) fn system(started: Instant) -> Source {
    let read = Cell::new((0, unix_ms()));
    Box::new(move || {
        let us = started.elapsed().as_micros() as u64;
        let (mut read_us, mut now_ms) = read.get();
        if us - read_us >= 1_000 {
            (read_us, now_ms) = (us, unix_ms());
            read.set((read_us, now_ms));
        }
        Now { us, unix_ms: now_ms }
    })
}

/// The time as of the current turn, and all that is to happen by it.
pub(super) struct Clocks {
    source: Source,
    /// When the clock was last read.
    pub(super) now: Now,
    /// One entry for each connection that has a deadline.
    pub(super) wheel: Wheel<ConnKey>,
    /// When conflation next sends what it holds back: an entry for each client and period in microseconds.
    pub(super) rates: Wheel<(ConnKey, u32)>,
    /// Conflation phases begun this turn; their held events are queued at its end.
    pub(super) phases_begun: Vec<(ConnKey, u32)>,
}

impl Clocks {
    pub(super) fn new(source: Source) -> Self {
        let now = source();
        Self {
            source,
            now,
            wheel: Wheel::new(u64::from(now.tick().number())),
            rates: Wheel::new(now.rate_tick()),
            phases_begun: Vec::new(),
        }
    }

    /// Reads the clock.
    pub(super) fn update(&mut self) {
        self.now = (self.source)();
    }

    /// When the next timer fires, in microseconds since the gateway was built.
    pub(super) fn next_us(&self) -> Option<u64> {
        let timer = self.wheel.next_tick().map(|tick| tick * TICK_MS);
        let boundary = self.rates.next_tick().map(|tick| tick * RATE_TICK_MS);
        timer.into_iter().chain(boundary).min().map(|at_ms| at_ms * 1_000)
    }

    /// How long it is from now to `us` microseconds since the gateway was built; zero if that has passed.
    pub(super) fn until(&self, us: u64) -> Duration {
        Duration::from_micros(us.saturating_sub(self.now.us))
    }
}
