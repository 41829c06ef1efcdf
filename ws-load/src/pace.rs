//! When trades are meant to be sent: computed from their number, never from when the last one was.

use serde::Serialize;

/// How trades follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Pace {
    /// Evenly, so many a second.
    Steady {
        /// Trades a second, all symbols together.
        per_second: f64,
    },
    /// Back to back, then nothing until the next time.
    Bursts {
        /// Trades in one.
        trades: u32,
        /// From the beginning of one to that of the next.
        every_ns: u64,
    },
    /// As fast as the broker takes them: the time of sending is the intended one.
    Unbounded,
}

impl Pace {
    /// When the n-th trade (from 0) is meant to be sent, in ns since the first one; `None` = as soon as possible.
    pub fn due_ns(&self, n: u64) -> Option<u64> {
        match *self {
            Self::Steady { per_second } => Some((n as f64 * 1e9 / per_second) as u64),
            Self::Bursts { trades, every_ns } => Some(n / u64::from(trades.max(1)) * every_ns),
            Self::Unbounded => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_trades_are_evenly_spaced_and_do_not_drift() {
        let pace = Pace::Steady { per_second: 3.0 };
        assert_eq!(pace.due_ns(0), Some(0));
        assert_eq!(pace.due_ns(1), Some(333_333_333));
        assert_eq!(pace.due_ns(3_000_000), Some(1_000_000_000_000_000));
    }

    #[test]
    fn a_burst_is_due_at_once() {
        let pace = Pace::Bursts { trades: 100, every_ns: 5 };
        assert_eq!([0, 99, 100, 199, 200].map(|n| pace.due_ns(n)), [0, 0, 5, 5, 10].map(Some));
    }
}
