//! What clients get that asked for something of their own: terms, boundaries of rates, falling back, heartbeats, figures.

use super::super::batch::Batch;
use super::super::conflation::Change;
use super::super::wheel::RATE_TICK_MS;
use super::Shard;
use super::conn::{Conn, ConnKey};
use crate::bus::{Feed, TopicId};
use crate::limits;
use crate::market::Subject;
use crate::protocol::native::write as reply;
use crate::protocol::native::write::ClientStats;
use crate::protocol::terms::Options;

impl Shard {
    /// Takes over the terms of a request; only what it names changes.
    pub(super) fn set_options(&mut self, key: ConnKey, subjects: &[Subject], options: &Options) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Options { snapshot: _, conflate, max_rate, on_slow, heartbeat } = *options;
        let change = Change { conflate, max_rate };
        if on_slow.is_none() && heartbeat.is_none() && change.is_none() {
            return;
        }
        let extras = conn.extras.get_or_insert_default();
        extras.on_slow = on_slow.or(extras.on_slow);
        if let Some(wanted) = heartbeat {
            let first_us = self.clock.now_us + limits::HEARTBEAT_STATUS_INTERVAL.as_micros() as u64;
            extras.heartbeat_us = wanted.then(|| extras.heartbeat_us.unwrap_or(first_us));
        }
        if !change.is_none() {
            let known = |subject: &Subject| Some((self.index.topic(subject)?, subject.event_type));
            let subscriptions = subjects.iter().filter_map(known);
            extras.conflation.change(&mut conn.outbox, subscriptions, change);
            self.metrics.events_conflated.add(extras.conflation.take_replaced());
            self.opened.extend(extras.conflation.take_phases_begun().map(|period_us| (key, period_us)));
        }
        self.arm(key);
    }

    /// A client has left the topics and patterns `left`; `queued` had come to it by those patterns. Returns all of both of which no
    /// more comes.
    pub(super) fn ended(
        &mut self,
        key: ConnKey,
        left: Vec<(TopicId, Subject)>,
        queued: Vec<(TopicId, Subject)>,
    ) -> Vec<(TopicId, Subject)> {
        let Self { conns, index, .. } = self;
        let Some(Conn { outbox, extras: Some(extras), .. }) = conns.get_mut(key) else { return left };
        if queued.is_empty() && extras.conflation.is_idle() {
            return left;
        }
        let kept = index.topics_of(key);
        let mut comes =
            |topic| kept.contains(&topic) || index.patterns_of(topic).iter().any(|id| kept.contains(id));
        extras.conflation.leave(outbox, left.iter().map(|(topic, _)| *topic), &mut comes);
        let gone = queued.into_iter().filter(|(topic, _)| !comes(*topic));
        left.into_iter().chain(gone).collect()
    }

    /// Queues what was held for the phases that are due, those first that have begun in this turn.
    pub(super) fn fire_boundaries(&mut self) {
        let mut due = std::mem::take(&mut self.opened);
        self.rates.advance(self.clock.rate_tick(), |phase, _| due.push(phase));
        for (key, period_us) in due.drain(..) {
            self.boundary(key, period_us);
        }
        self.opened = due;
    }

    fn boundary(&mut self, key: ConnKey, period_us: u32) {
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.is_live()) else { return };
        let Some(extras) = &mut conn.extras else { return };
        let next_us = extras.conflation.boundary(&mut conn.outbox, period_us, self.clock.now_us);
        self.metrics.events_conflated.add(extras.conflation.take_replaced());
        if let Some(next_us) = next_us {
            self.rates.insert((key, period_us), next_us.div_ceil(RATE_TICK_MS * 1_000));
            self.mark_dirty(key);
        }
    }

    /// From here on the client gets the latest event of each topic, until it has caught up. `false` if that is so already.
    pub(super) fn fall_back(&mut self, key: ConnKey) -> bool {
        let Some(conn) = self.conns.get_mut(key) else { return false };
        let conflation = &mut conn.extras.get_or_insert_default().conflation;
        if conflation.is_fallback() {
            return false;
        }
        let status = reply::slow_conflate(conn.outbox.queued_bytes(), self.clock.unix_ms);
        conflation.fall_back(&mut conn.outbox, Batch::own(status, &self.ledger));
        self.metrics.events_conflated.add(conflation.take_replaced());
        self.metrics.slow_conflated.add(1);
        true
    }

    /// Nothing waits for the client any more. One that was too slow for every event is told that it gets all again.
    pub(super) fn drained(&mut self, key: ConnKey) {
        let Some(extras) = self.conns.get_mut(key).and_then(|conn| conn.extras.as_mut()) else { return };
        if extras.conflation.caught_up() {
            let status = Batch::own(reply::slow_lossless(self.clock.unix_ms), &self.ledger);
            self.queue_own(key, status);
        }
    }

    /// Sends the client's heartbeat if it is due. One that can't be written now says nothing by the time it is: left out.
    pub(super) fn tell_heartbeat(&mut self, key: ConnKey) {
        let now_us = self.clock.now_us;
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.is_live()) else { return };
        let Some(due_us) = conn.extras.as_mut().and_then(|extras| extras.heartbeat_us.as_mut()) else {
            return;
        };
        if now_us < *due_us {
            return;
        }
        let interval_us = limits::HEARTBEAT_STATUS_INTERVAL.as_micros() as u64;
        *due_us += interval_us * ((now_us - *due_us) / interval_us + 1);
        if !conn.blocked {
            let up = self.feed != Feed::Down;
            let frame =
                reply::heartbeat(up, self.links.state.metrics.last_event_age_ms(), self.clock.unix_ms);
            self.queue_own(key, Batch::own(frame, &self.ledger));
        }
    }

    /// The client's own figures.
    pub(super) fn stats(&self, key: ConnKey) -> Option<ClientStats> {
        let conn = self.conns.get(key)?;
        let oldest_us = match &conn.extras {
            Some(extras) => extras.oldest_arrival_us(&conn.outbox),
            None => conn.outbox.first_arrival_us(),
        };
        Some(ClientStats {
            queued_bytes: conn.outbox.queued_bytes(),
            skipped: conn.extras.as_ref().map_or(0, |extras| extras.skipped),
            conflated: conn.extras.as_ref().map_or(0, |extras| extras.conflation.replaced()),
            lag_ms: oldest_us.map_or(0, |oldest_us| self.clock.now_us.saturating_sub(oldest_us) / 1_000),
        })
    }
}
