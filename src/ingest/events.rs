//! What becomes of each event that the upstream sends: routed, counted, and logged if it is bad.

use std::time::Instant;

use super::delayed::Due;
use super::router::Routed;
use super::{Ingest, unix_ms};
use crate::escape::Escaped;
use crate::limits;
use crate::market::event::Reject;
use crate::market::{Delay, Kind};

impl Ingest {
    /// Takes an event; `false` if its channel is none of ours, as a program may name that publishes through the library.
    pub(super) fn event(&mut self, channel: &[u8], payload: &[u8], now_ms: u64) -> bool {
        let Some((kind, name)) = self.config.split(channel) else { return self.desk_event(channel, payload) };
        let metrics = &self.state.metrics.ingest;
        metrics.events.add(1);
        metrics.event_bytes.add(payload.len() as u64);
        let routed = self.router.route(kind, name, payload, now_ms);
        if !self.delayed.is_empty() && !matches!(routed, Routed::Rejected(_)) {
            self.keep_delayed(kind, name, payload);
        }
        let metrics = &self.state.metrics.ingest;
        match routed {
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
            Routed::Rejected(reject) => self.reject(reject, name, payload.len(), Some(payload)),
        }
        true
    }

    /// Keeps an event for the delayed feeds, as it came.
    fn keep_delayed(&mut self, kind: Kind, name: &[u8], payload: &[u8]) {
        let metrics = &self.state.metrics;
        // Nothing is ever released a part of a millisecond early.
        let now_ms = metrics.uptime_ms() + 1;
        let key = || self.router.key_of(kind, name, payload);
        metrics.ingest.delayed_events_lost.add(self.delayed.keep(kind, name, payload, now_ms, key));
    }

    /// Does what the delayed feeds have due, within the budget of a turn, as if it came now.
    pub(super) fn release_due(&mut self) {
        let until = Instant::now() + limits::INGEST_READ_BUDGET;
        // In this order no event is released with a time that makes it younger than its delay.
        let (due_ms, now_ms) = (self.state.metrics.uptime_ms(), unix_ms());
        let mut delayed = std::mem::take(&mut self.delayed);
        let (mut are_losses, mut budget_bytes) = (false, limits::INGEST_READ_BUDGET_BYTES);
        while budget_bytes > 0 && Instant::now() < until {
            let Some((delay, due)) = delayed.next(due_ms) else { break };
            if are_losses && !matches!(due, Due::Lost { .. } | Due::LostUncounted) {
                self.handover.tell_losses(&mut self.router);
                are_losses = false;
            }
            match due {
                Due::Event { kind, name, payload } => {
                    budget_bytes = budget_bytes.saturating_sub(payload.len());
                    self.delayed_event(delay, kind, name, payload, now_ms);
                }
                Due::Feed(feed) => {
                    self.hand_over();
                    self.handover.tell_feed(&self.router, delay, feed);
                }
                Due::Lost { kind, key, count } => {
                    // Events before the losses go first.
                    self.hand_over();
                    self.router.lose(delay, kind, key, count);
                    are_losses = true;
                }
                Due::LostUncounted => {
                    self.hand_over();
                    self.router.lose_uncounted(delay);
                    are_losses = true;
                }
            }
        }
        self.delayed = delayed;
        if are_losses {
            self.handover.tell_losses(&mut self.router);
        }
        self.hand_over();
    }

    fn delayed_event(&mut self, delay: Delay, kind: Kind, name: &[u8], payload: &[u8], now_ms: u64) {
        let metrics = &self.state.metrics;
        metrics.ingest.delayed_events.add(1);
        metrics.ingest.delayed_last_event_ms[delay.index()].set(metrics.uptime_ms().max(1));
        if let Routed::Rejected(reject) = self.router.route_in(delay, kind, name, payload, now_ms) {
            self.reject(reject, name, payload.len(), Some(payload));
        }
    }

    /// Takes an event whose payload is beyond `MAX_EVENT_BYTES`, and of which the link has kept only the beginning; `false`
    /// if its channel is none of ours.
    pub(super) fn oversized(&mut self, channel: &[u8], payload_bytes: usize, excerpt: &[u8]) -> bool {
        let of_desk =
            || self.desk.as_ref().and_then(|_| channel.strip_prefix(self.config.channel_prefix.as_bytes()));
        let of_type = self.config.split(channel).map(|(_, name)| (name, Some(excerpt)));
        let found = of_type.or_else(|| of_desk().map(|name| (name, None)));
        let Some((name, excerpt)) = found else { return false };
        self.state.metrics.ingest.events.add(1);
        self.reject(Reject::TooLarge, name, payload_bytes, excerpt);
        true
    }

    /// Counts a bad event, and logs its kind at most once in [`limits::REJECT_LOG_INTERVAL`]. `payload` may be cut off; it is `None` where
    /// it must stay out of the log: what rooms and users are told is private.
    pub(super) fn reject(
        &mut self,
        reject: Reject,
        name: &[u8],
        payload_bytes: usize,
        payload: Option<&[u8]>,
    ) {
        let count = &self.state.metrics.ingest.rejected[reject.reason() as usize];
        count.add(1);
        let logged = &mut self.logged[reject.reason() as usize];
        if logged.is_none_or(|at| at.elapsed() >= limits::REJECT_LOG_INTERVAL) {
            *logged = Some(Instant::now());
            tracing::warn!(
                reason = reject.reason().label(),
                symbol = %Escaped::new(name, limits::LOGGED_NAME_BYTES),
                fault = %reject,
                payload = payload.map(|payload| tracing::field::display(Escaped::new(payload, limits::LOGGED_PAYLOAD_BYTES))),
                payload_bytes,
                total = count.get(),
                "bad upstream event dropped"
            );
        }
    }
}
