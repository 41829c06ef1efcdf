//! What becomes of each event that the upstream sends: routed, counted, and logged if it is bad.

use std::time::Instant;

use super::Ingest;
use super::router::Routed;
use crate::escape::Escaped;
use crate::limits;
use crate::market::event::Reject;

impl Ingest {
    /// Takes an event; `false` if its channel is none of ours, as a program may name that publishes through the library.
    pub(super) fn event(&mut self, channel: &[u8], payload: &[u8], now_ms: u64) -> bool {
        let Some((kind, name)) = self.config.split(channel) else { return false };
        let metrics = &self.state.metrics.ingest;
        metrics.events.add(1);
        metrics.event_bytes.add(payload.len() as u64);
        match self.router.route(kind, name, payload, now_ms) {
            Routed::Framed => metrics.events_framed.add(1),
            Routed::FramedBehindGap(missing) => {
                metrics.events_framed.add(1);
                metrics.gaps.add(1);
                metrics.events_missing.add(missing);
            }
            Routed::FramedLate => {
                metrics.events_framed.add(1);
                metrics.events_late.add(1);
            }
            Routed::FramedWithOddSeq => {
                metrics.events_framed.add(1);
                metrics.events_odd_seq.add(1);
            }
            Routed::Duplicate => metrics.events_duplicate.add(1),
            Routed::Unwanted => metrics.events_unwanted.add(1),
            Routed::Rejected(reject) => self.reject(reject, name, payload.len(), payload),
        }
        true
    }

    /// Takes an event whose payload is beyond `MAX_EVENT_BYTES`, and of which the link has kept only the beginning; `false`
    /// if its channel is none of ours.
    pub(super) fn oversized(&mut self, channel: &[u8], payload_bytes: usize, excerpt: &[u8]) -> bool {
        let Some((_, name)) = self.config.split(channel) else { return false };
        self.state.metrics.ingest.events.add(1);
        self.reject(Reject::TooLarge, name, payload_bytes, excerpt);
        true
    }

    /// Counts a bad event, and logs its kind at most once in [`limits::REJECT_LOG_INTERVAL`]. `payload` may be cut off.
    fn reject(&mut self, reject: Reject, name: &[u8], payload_bytes: usize, payload: &[u8]) {
        let count = &self.state.metrics.ingest.rejected[reject.reason() as usize];
        count.add(1);
        let logged = &mut self.logged[reject.reason() as usize];
        if logged.is_none_or(|at| at.elapsed() >= limits::REJECT_LOG_INTERVAL) {
            *logged = Some(Instant::now());
            tracing::warn!(
                reason = reject.reason().label(),
                symbol = %Escaped::new(name, limits::LOGGED_NAME_BYTES),
                fault = %reject,
                payload = %Escaped::new(payload, limits::LOGGED_PAYLOAD_BYTES),
                payload_bytes,
                total = count.get(),
                "bad upstream event dropped"
            );
        }
    }
}
