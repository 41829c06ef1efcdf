//! What one round of writing has sent. It is counted here and added to the shard's metrics at the end of the round: other threads read
//! those, so each addition there is a load and a store of its own, and a round writes to many clients.

use crate::metrics::{Histogram, ShardMetrics};

/// What has been sent since the round began.
#[derive(Debug, Default)]
pub(super) struct Sent {
    writes: u64,
    messages: u64,
    bytes: u64,
    /// Messages that took [`Self::delay_us`] each and are not recorded yet.
    delayed: u64,
    delay_us: u64,
}

impl Sent {
    /// Counts a call of `write` that took so many bytes, and with them the last byte of so many messages.
    pub(super) fn wrote(&mut self, messages: u64, bytes: u64) {
        self.writes += 1;
        self.messages += messages;
        self.bytes += bytes;
    }

    /// Counts messages that were written `delay_us` microseconds after they arrived. Those with equal delays, as one event has for most of its
    /// subscribers, are recorded together.
    pub(super) fn delivered(&mut self, messages: u64, delay_us: u64, delivery: &Histogram) {
        if delay_us != self.delay_us {
            self.record(delivery);
            self.delay_us = delay_us;
        }
        self.delayed += messages;
    }

    /// Adds everything to the shard's metrics: the round is over.
    pub(super) fn count(mut self, metrics: &ShardMetrics) {
        metrics.writes.add(self.writes);
        metrics.messages_sent.add(self.messages);
        metrics.bytes_sent.add(self.bytes);
        self.record(&metrics.delivery);
    }

    #[inline(never)]
    fn record(&mut self, delivery: &Histogram) {
        delivery.record(self.delay_us, std::mem::take(&mut self.delayed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Counter;

    #[test]
    fn a_round_counts_what_each_write_would_have() {
        let (metrics, apart) = (ShardMetrics::default(), Histogram::default());
        let mut sent = Sent::default();
        for (messages, bytes, delay_us) in
            [(1, 10, 5), (2, 20, 5), (1, 10, 900), (0, 3, 0), (3, 30, 5), (1, 10, 0)]
        {
            sent.wrote(messages, bytes);
            sent.delivered(messages, delay_us, &metrics.delivery);
            apart.record(delay_us, messages);
        }
        sent.count(&metrics);
        assert_eq!(
            [&metrics.writes, &metrics.messages_sent, &metrics.bytes_sent].map(Counter::get),
            [6, 8, 83]
        );
        assert_eq!(metrics.delivery.read(), apart.read());
    }
}
