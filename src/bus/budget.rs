//! How much of what clients have missed may be on its way to a shard: flow control between ingest and the shard.

use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by ingest and one shard, in place of an answer for each replay. The shard writes; ingest reads.
///
/// Ingest knows how many bytes of replays it has sent. Those that the shard has not taken yet are on their way. Those that
/// it has taken are a part of its backlog, as long as they wait for a client.
#[derive(Debug, Default)]
pub struct ReplayBudget {
    /// Bytes of replays that the shard has taken from its inbox.
    taken_bytes: AtomicU64,
    /// Bytes that wait for the shard's clients.
    backlog_bytes: AtomicU64,
}

impl ReplayBudget {
    /// The shard says what waits for its clients, and how many bytes of replays it has ever taken.
    pub fn publish(&self, backlog_bytes: u64, taken_bytes: u64) {
        self.backlog_bytes.store(backlog_bytes, Ordering::Relaxed);
        // Pairs with the load in `room_bytes`: whoever sees what was taken sees a backlog that it is a part of.
        self.taken_bytes.store(taken_bytes, Ordering::Release);
    }

    /// How large a replay ingest may send, in bytes, so that all of the shard's replays and its backlog stay within
    /// `max_bytes`. `sent_bytes`: all replays that ingest has ever sent to the shard.
    pub fn room_bytes(&self, sent_bytes: u64, max_bytes: usize) -> usize {
        let on_their_way_bytes = sent_bytes.saturating_sub(self.taken_bytes.load(Ordering::Acquire));
        let waiting_bytes = self.backlog_bytes.load(Ordering::Relaxed) + on_their_way_bytes;
        max_bytes.saturating_sub(usize::try_from(waiting_bytes).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_counts_on_its_way_and_while_it_waits() {
        let budget = ReplayBudget::default();
        assert_eq!(budget.room_bytes(0, 100), 100);
        assert_eq!(budget.room_bytes(60, 100), 40, "60 bytes are on their way");
        budget.publish(60, 60);
        assert_eq!(budget.room_bytes(60, 100), 40, "they wait for a client");
        budget.publish(0, 60);
        assert_eq!(budget.room_bytes(60, 100), 100, "the client has read them");
        budget.publish(500, 60);
        assert_eq!(budget.room_bytes(60, 100), 0, "a backlog of events leaves no room either");
    }
}
