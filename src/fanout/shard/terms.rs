//! What clients get that asked for terms of their own: conflation, rates, heartbeats, figures.

use super::super::conflation::Change;
use super::super::wheel::RATE_TICK_MS;
use super::Shard;
use super::conn::{Conn, ConnKey};
use crate::bus::{Feed, TopicId};
use crate::limits::HEARTBEAT_STATUS_INTERVAL;
use crate::market::Subject;
use crate::protocol::reply::{ClientStats, Reply, Status};
use crate::protocol::terms::Options;

impl Shard {
    /// Takes over the terms of a request; only what it names changes.
    pub(super) fn set_options(&mut self, key: ConnKey, subjects: &[Subject], options: &Options) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Options { snapshot: _, conflate, max_rate, on_slow, heartbeat } = *options;
        let cap = conn.identity.as_ref().and_then(|identity| identity.rights.max_rate);
        let change = Change { conflate, max_rate };
        if on_slow.is_none() && heartbeat.is_none() && change.is_none() && cap.is_none() {
            return;
        }
        let extras = conn.extras.get_or_insert_default();
        extras.on_slow = on_slow.or(extras.on_slow);
        if let Some(wanted) = heartbeat {
            let first_us = self.clocks.now.us + HEARTBEAT_STATUS_INTERVAL.as_micros() as u64;
            extras.heartbeat_us = wanted.then(|| extras.heartbeat_us.unwrap_or(first_us));
        }
        if !change.is_none() || cap.is_some() {
            let index = &self.subscriptions.index;
            let known = |subject: &Subject| Some((index.topic(subject)?, subject.kind, subject.form));
            extras.conflation.change(&mut conn.outbox, subjects.iter().filter_map(known), change);
            extras.conflation.cap(&mut conn.outbox, cap);
            self.metrics.events_conflated.add(extras.conflation.take_replaced());
            let begun = extras.conflation.take_phases_begun();
            self.clocks.phases_begun.extend(begun.map(|period_us| (key, period_us)));
        }
        self.arm(key);
    }

    /// Ends a client's terms for the topics and patterns `left`. `queued`: topics that it received only through those
    /// patterns. Returns the topics of both lists that it will get no more events of.
    pub(super) fn leave(
        &mut self,
        key: ConnKey,
        left: Vec<(TopicId, Subject)>,
        queued: Vec<(TopicId, Subject)>,
    ) -> Vec<(TopicId, Subject)> {
        let Self { conns, subscriptions, .. } = self;
        let Some(Conn { outbox, extras: Some(extras), .. }) = conns.get_mut(key) else { return left };
        if queued.is_empty() && extras.conflation.is_idle() {
            return left;
        }
        let index = &mut subscriptions.index;
        let held = index.topics_of(key);
        let mut comes =
            |topic| held.contains(&topic) || index.patterns_of(topic).iter().any(|id| held.contains(id));
        extras.conflation.leave(outbox, left.iter().map(|(topic, _)| *topic), &mut comes);
        let gone = queued.into_iter().filter(|(topic, _)| !comes(*topic));
        left.into_iter().chain(gone).collect()
    }

    /// Queues what was held back for the phases that are due, those first that have begun in this turn.
    pub(super) fn fire_boundaries(&mut self) {
        let mut due = std::mem::take(&mut self.clocks.phases_begun);
        self.clocks.rates.advance(self.clocks.now.rate_tick(), |phase, _| due.push(phase));
        for (key, period_us) in due.drain(..) {
            self.boundary(key, period_us);
        }
        self.clocks.phases_begun = due;
    }

    fn boundary(&mut self, key: ConnKey, period_us: u32) {
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.is_live()) else { return };
        let Some(extras) = &mut conn.extras else { return };
        let next_us = extras.conflation.boundary(&mut conn.outbox, period_us, self.clocks.now.us);
        self.metrics.events_conflated.add(extras.conflation.take_replaced());
        if let Some(next_us) = next_us {
            self.clocks.rates.insert((key, period_us), next_us.div_ceil(RATE_TICK_MS * 1_000));
            self.output.mark_dirty(key, conn);
        }
    }

    /// Sends the client's heartbeat if it is due. A heartbeat that can't be written now is left out: by the time it could be, it
    /// would be out of date.
    pub(super) fn tell_heartbeat(&mut self, key: ConnKey) {
        let now_us = self.clocks.now.us;
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.is_live()) else { return };
        let Some(due_us) = conn.extras.as_mut().and_then(|extras| extras.heartbeat_us.as_mut()) else {
            return;
        };
        if now_us < *due_us {
            return;
        }
        let interval_us = HEARTBEAT_STATUS_INTERVAL.as_micros() as u64;
        *due_us += interval_us * ((now_us - *due_us) / interval_us + 1);
        if !conn.is_blocked() {
            let delay = conn.delay();
            let feed_up = self.feeds[delay.index()] != Feed::Down;
            let last_event_age_ms = self.handles.state.metrics.last_event_age_ms(delay);
            self.say(key, &Reply::Status(Status::Heartbeat { feed_up, last_event_age_ms }));
        }
    }

    /// The client's own figures.
    pub(super) fn stats(&self, key: ConnKey) -> Option<ClientStats> {
        let conn = self.conns.get(key)?;
        let oldest_us = match &conn.extras {
            Some(extras) => extras.oldest_arrival_us(&conn.outbox),
            None => conn.outbox.first_arrival_us(),
        };
        let now_us = self.clocks.now.us;
        Some(ClientStats {
            queued_bytes: conn.outbox.queued_bytes(),
            skipped: conn.extras.as_ref().map_or(0, |extras| extras.skipped),
            conflated: conn.extras.as_ref().map_or(0, |extras| extras.conflation.replaced()),
            lag_ms: oldest_us.map_or(0, |oldest_us| now_us.saturating_sub(oldest_us) / 1_000),
        })
    }
}
