//! Delays: how old the events of a feed are when clients get them. Pure.
//!
//! The delay of a subscription is a part of its [`Form`](super::Form), and so of its topic: the same symbol with another delay is another topic.

use std::num::NonZeroU32;

/// Most delays that may be configured.
pub const DELAYS_MAX: usize = 4;

/// A delay, by its number among those that are configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Delay(u8);

impl Delay {
    /// None: events come as they are published.
    pub const NONE: Self = Self(0);

    /// How many there are at most, none included.
    pub const COUNT: usize = 1 + DELAYS_MAX;

    /// All that there may be, none first.
    pub const ALL: [Self; Self::COUNT] = [Self(0), Self(1), Self(2), Self(3), Self(4)];

    /// Its place in arrays that have one for each delay: 0 for none.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Whether it is none.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// `FEED_DELAYS`: the delays that a client may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delays(Box<[NonZeroU32]>);

impl Delays {
    /// Those of so many milliseconds, each once; `None` if they are more than [`DELAYS_MAX`].
    pub fn new(delays_ms: impl IntoIterator<Item = NonZeroU32>) -> Option<Self> {
        let mut delays_ms: Vec<_> = delays_ms.into_iter().collect();
        delays_ms.sort_unstable();
        delays_ms.dedup();
        (delays_ms.len() <= DELAYS_MAX).then(|| Self(delays_ms.into()))
    }

    /// Whether there are none but [`Delay::NONE`].
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each, the shortest first, with its milliseconds.
    pub fn iter(&self) -> impl Iterator<Item = (Delay, NonZeroU32)> {
        (1..).map(Delay).zip(self.0.iter().copied())
    }

    /// The shortest that is at least so many milliseconds long; `None` if none is. For 0 it is [`Delay::NONE`].
    pub fn at_least(&self, delay_ms: u64) -> Option<Delay> {
        if delay_ms == 0 {
            return Some(Delay::NONE);
        }
        self.iter().find(|(_, each_ms)| u64::from(each_ms.get()) >= delay_ms).map(|(delay, _)| delay)
    }

    /// How long a delay is; `None` for [`Delay::NONE`].
    pub fn ms(&self, delay: Delay) -> Option<NonZeroU32> {
        self.0.get(delay.index().checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(delays_ms: &[u32]) -> Option<Delays> {
        Delays::new(delays_ms.iter().copied().filter_map(NonZeroU32::new))
    }

    #[test]
    fn a_delay_is_rounded_up_to_one_that_there_is() {
        let delays = delays(&[1_200_000, 900_000, 900_000]).unwrap();
        let ms = |asked| delays.at_least(asked).map(|delay| delays.ms(delay).map_or(0, NonZeroU32::get));
        assert_eq!(
            [0, 1, 900_000, 900_001, 1_200_000, 1_200_001, u64::MAX].map(ms),
            [Some(0), Some(900_000), Some(900_000), Some(1_200_000), Some(1_200_000), None, None]
        );
        assert_eq!(delays.iter().map(|(delay, _)| delay.index()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((Delays::default().at_least(0), Delays::default().at_least(1)), (Some(Delay::NONE), None));
    }

    #[test]
    fn there_are_four_at_most() {
        assert!(delays(&[1, 2, 3, 4, 4]).is_some() && delays(&[1, 2, 3, 4, 5]).is_none());
        let most = delays(&[1, 2, 3, 4]).unwrap();
        assert!(most.iter().all(|(delay, _)| delay.index() < Delay::COUNT));
    }
}
