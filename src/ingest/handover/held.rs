//! What a shard that is behind has yet to hear of the upstream: however often it goes and comes back, at most that it was
//! lost and that it is back.

use crate::bus::Feed;

/// States of the upstream that a shard has not been told of, merged. Like a shard, it begins with the upstream down.
#[derive(Debug, Default)]
pub(super) struct HeldFeed {
    /// The last state that the shard was told is that the upstream is there.
    told_up: bool,
    /// It was lost since.
    lost: bool,
    /// If it is there now: for how long it was not, all times together, in milliseconds.
    up_after_ms: Option<u64>,
    /// The times before the last loss, in milliseconds.
    away_ms: u64,
}

impl HeldFeed {
    /// The upstream was lost or is back.
    pub(super) fn hold(&mut self, feed: Feed) {
        match feed {
            Feed::Down => {
                self.lost = true;
                self.away_ms = self.up_after_ms.take().unwrap_or(self.away_ms);
            }
            Feed::Up { gap_ms } => self.up_after_ms = Some(self.away_ms + gap_ms),
        }
    }

    /// Takes what the shard has to be told.
    pub(super) fn release(&mut self) -> Vec<Feed> {
        let Self { told_up, lost, up_after_ms, .. } = std::mem::take(self);
        // It need not hear again that the upstream is lost.
        let down = (lost && told_up).then_some(Feed::Down);
        let up = up_after_ms.map(|gap_ms| Feed::Up { gap_ms });
        self.told_up = up.is_some() || (told_up && !lost);
        down.into_iter().chain(up).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(held: &mut HeldFeed, states: &[Feed]) -> Vec<Feed> {
        states.iter().for_each(|state| held.hold(*state));
        held.release()
    }

    #[test]
    fn what_is_told_at_once_is_told_as_it_is() {
        let mut held = HeldFeed::default();
        for state in [Feed::Up { gap_ms: 5 }, Feed::Down, Feed::Up { gap_ms: 7 }, Feed::Down] {
            assert_eq!(told(&mut held, &[state]), [state]);
        }
        assert_eq!(held.release(), []);
    }

    #[test]
    fn losses_in_between_are_told_as_one() {
        let up = |gap_ms| Feed::Up { gap_ms };
        let mut held = HeldFeed::default();
        assert_eq!(told(&mut held, &[up(1), Feed::Down, up(2)]), [up(3)], "it was down to begin with");
        assert_eq!(told(&mut held, &[Feed::Down, up(10), Feed::Down, up(20)]), [Feed::Down, up(30)]);
        assert_eq!(told(&mut held, &[Feed::Down, up(10), Feed::Down]), [Feed::Down]);
        assert_eq!(told(&mut held, &[up(4), Feed::Down]), [], "it is down for the shard");
        assert_eq!(told(&mut held, &[up(5)]), [up(5)]);
    }
}
