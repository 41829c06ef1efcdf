//! How long events took until they were written. A round writes one event to many clients at the same reading of the clock, so equal
//! delays that come one after the other are put together and recorded once.

use crate::metrics::Histogram;

/// Delays of a round of writing.
#[derive(Debug, Default)]
pub(super) struct Delays {
    /// Messages that took [`Self::us`] each and are not recorded yet.
    messages: u64,
    us: u64,
}

impl Delays {
    /// So many messages were written `us` microseconds after they arrived.
    pub(super) fn took(&mut self, messages: u64, us: u64, delivery: &Histogram) {
        if us != self.us {
            self.record(delivery);
            self.us = us;
        }
        self.messages += messages;
    }

    /// Records what isn't yet: the round is over.
    #[inline(never)]
    pub(super) fn record(&mut self, delivery: &Histogram) {
        delivery.record(self.us, std::mem::take(&mut self.messages));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_records_what_each_write_would_have() {
        let (together, apart) = (Histogram::default(), Histogram::default());
        let mut delays = Delays::default();
        for (messages, us) in [(1, 5), (2, 5), (1, 900), (0, 0), (3, 5), (1, 0)] {
            delays.took(messages, us, &together);
            apart.record(us, messages);
        }
        delays.record(&together);
        assert_eq!(together.read(), apart.read());
    }
}
