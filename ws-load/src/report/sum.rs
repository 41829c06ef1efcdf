//! What all workers have found, as one.

use crate::latency::Latency;
use crate::ledger::Counts;
use crate::wire::{Outcome, Reasons};

/// All workers' outcomes as one.
#[derive(Default)]
pub(super) struct Sum {
    pub(super) opened: u32,
    pub(super) failed: Reasons,
    pub(super) lost: Reasons,
    pub(super) complaints: Reasons,
    pub(super) feed_lost: u64,
    pub(super) counts: Counts,
    pub(super) expected: u64,
    pub(super) delivered_in_window: u64,
    pub(super) bytes_in_window: u64,
    pub(super) latency: Latency,
    pub(super) handshakes: Latency,
    pub(super) replies: Latency,
    pub(super) churn_missed: u64,
}

impl Sum {
    pub(super) fn of(outcomes: &[Outcome]) -> Self {
        let mut sum = Self::default();
        for outcome in outcomes {
            sum.opened += outcome.opened;
            sum.failed.add_all(&outcome.failed);
            sum.lost.add_all(&outcome.lost);
            sum.complaints.add_all(&outcome.complaints);
            sum.feed_lost += outcome.feed_lost;
            sum.counts += outcome.counts;
            sum.expected += outcome.expected;
            sum.delivered_in_window += outcome.delivered_in_window;
            sum.bytes_in_window += outcome.bytes_in_window;
            sum.latency.add(&outcome.latency);
            sum.handshakes.add(&outcome.handshakes);
            sum.replies.add(&outcome.replies);
            sum.churn_missed += outcome.churn_missed;
        }
        sum
    }
}
