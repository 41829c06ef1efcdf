//! What the shard does about clients that are too slow: for one whose outbox is full, and for all together.

use std::collections::HashSet;

use super::Shard;
use super::conn::{Conn, ConnKey};
use crate::bus::TopicId;
use crate::fanout::outbox::Outbox;
use crate::limits;
use crate::protocol::refusal::{ErrorCode, Refusal};
use crate::protocol::reply::{Reply, Status};
use crate::protocol::terms::SlowClientPolicy;
use crate::websocket::close::CloseCode;

/// Why a client can't be kept.
#[derive(Debug, Clone, Copy)]
enum Overload {
    /// More waits for it than for one client may.
    Outbox,
    /// It is among those furthest behind, while the shard's backlog is over its bound.
    Backlog,
    /// Events of more topics were lost than ingest counts losses for.
    Uncounted,
}

impl Shard {
    /// Applies the client's policy if its outbox is full and it is slow. No policy gets rid of replies and statuses: a client for
    /// which these alone are too many is closed.
    pub(super) fn limit_outbox(&mut self, key: ConnKey) {
        let limit_bytes = self.config.max_outbox_bytes;
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.is_live()) else { return };
        if conn.outbox.skipped_topics() > limits::SKIPPED_TOPICS_FACTOR * self.config.max_opened_topics {
            return self.close_slow(key, Overload::Outbox);
        }
        let queued_bytes = conn.outbox.limited_bytes();
        if !conn.slowness.is_due(queued_bytes, limit_bytes, self.clocks.now.tick().number()) {
            return;
        }
        if queued_bytes - conn.outbox.event_bytes() > limit_bytes {
            return self.close_slow(key, Overload::Outbox);
        }
        self.apply_slow_policy(key, limit_bytes / 2, Overload::Outbox);
    }

    fn apply_slow_policy(&mut self, key: ConnKey, target_bytes: u32, why: Overload) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let policy = conn.extras.as_ref().and_then(|extras| extras.on_slow);
        match policy.unwrap_or(self.config.slow_client_policy) {
            SlowClientPolicy::Disconnect => self.close_slow(key, why),
            SlowClientPolicy::Skip => self.skip_oldest(key, target_bytes),
            SlowClientPolicy::Conflate => {
                let has_fallen_back = self.fall_back(key);
                let queued_bytes = self.conns.get(key).map_or(0, |conn| conn.outbox.event_bytes());
                if !has_fallen_back || queued_bytes > self.config.max_outbox_bytes {
                    self.skip_oldest(key, target_bytes);
                }
            }
        }
    }

    fn skip_oldest(&mut self, key: ConnKey, target_bytes: u32) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.outbox.event_bytes() <= target_bytes {
            return;
        }
        let extras = conn.extras.get_or_insert_default();
        let skipped = extras.conflation.skip_oldest(&mut conn.outbox, target_bytes);
        extras.skipped += skipped;
        self.metrics.events_skipped.add(skipped);
    }

    /// From here on the client gets the latest event of each topic, until it has caught up. `false` if that is so already.
    fn fall_back(&mut self, key: ConnKey) -> bool {
        let Some(conn) = self.conns.get_mut(key) else { return false };
        if conn.extras.as_ref().is_some_and(|extras| extras.conflation.is_fallback()) {
            return false;
        }
        let status = Reply::Status(Status::FellBack { queued_bytes: conn.outbox.queued_bytes() });
        let status = self.output.write(conn, &status, self.clocks.now.unix_ms);
        let conflation = &mut conn.extras.get_or_insert_default().conflation;
        conflation.fall_back(&mut conn.outbox, status);
        self.metrics.events_conflated.add(conflation.take_replaced());
        self.metrics.slow_conflated.add(1);
        true
    }

    /// A client's outbox is empty. One that had fallen back is told that it gets every event again.
    pub(super) fn tell_caught_up(&mut self, key: ConnKey) {
        let Some(extras) = self.conns.get_mut(key).and_then(|conn| conn.extras.as_mut()) else { return };
        if extras.conflation.caught_up() {
            self.say(key, &Reply::Status(Status::CaughtUp));
        }
    }

    /// The backlog of the shard is over its bound: the policies of the clients with the oldest queued events are applied, until a quarter is
    /// free.
    pub(super) fn relieve_backlog(&mut self) {
        self.conns
            .values_mut()
            .filter_map(|conn| conn.extras.as_mut())
            .for_each(|extras| extras.conflation.compact());
        let behind = |(key, outbox): (ConnKey, &Outbox)| Some((outbox.first_arrival_us()?, key));
        let outboxes = self.conns.iter().filter(|(_, conn)| conn.is_blocked() && conn.is_live());
        let mut furthest: Vec<_> = outboxes.filter_map(|(key, conn)| behind((key, &conn.outbox))).collect();
        furthest.sort_unstable();
        let target_bytes = self.config.max_backlog_bytes / 4 * 3;
        for (_, key) in furthest {
            if self.output.backlog.bytes() <= target_bytes {
                break;
            }
            let queued_bytes = self.conns.get(key).map_or(0, |conn| conn.outbox.event_bytes());
            self.apply_slow_policy(key, queued_bytes / 2, Overload::Backlog);
        }
        // Snapshots that wait can't be announced as skipped: a client that doesn't read them is closed.
        let is_behind = |conn: &Conn| conn.is_blocked() && conn.is_live() && conn.has_backfill();
        let outboxes = self.conns.iter().filter(|(_, conn)| is_behind(conn));
        let mut furthest: Vec<_> = outboxes.map(|(key, conn)| (conn.progressed, key)).collect();
        furthest.sort_unstable();
        for (_, key) in furthest {
            if self.output.backlog.bytes() <= target_bytes {
                break;
            }
            self.close_slow(key, Overload::Backlog);
        }
    }

    /// While this shard was behind, events of more topics were lost than can be counted: no client of these patterns can be told what it
    /// has missed, so it has to begin again.
    pub(super) fn close_uncounted(&mut self, patterns: &[TopicId]) {
        let of_pattern = |pattern: &TopicId| self.subscriptions.index.subscribers(*pattern).to_vec();
        let clients: HashSet<_> = patterns.iter().flat_map(of_pattern).collect();
        self.close_uncounted_clients(clients);
    }

    /// These clients can't be told what they have missed.
    pub(super) fn close_uncounted_clients(&mut self, clients: HashSet<ConnKey>) {
        for key in clients {
            if self.conns.get(key).is_some_and(Conn::is_live) {
                self.close_slow(key, Overload::Uncounted);
            }
        }
    }

    /// The client can't be kept: what waits for it is dropped, and it is told why as the last thing.
    fn close_slow(&mut self, key: ConnKey, why: Overload) {
        self.metrics.slow_closed.add(1);
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.outbox.clear();
        if let Some(extras) = &mut conn.extras {
            extras.backfill = None;
        }
        let topics = limits::SKIPPED_TOPICS_FACTOR * self.config.max_opened_topics;
        let message = match why {
            Overload::Outbox => format!(
                "Too slow: more than {} bytes or the losses of {topics} symbols were waiting",
                self.config.max_outbox_bytes
            ),
            Overload::Backlog => format!(
                "Too slow: more than {} bytes were waiting for all clients together, for this one among the longest",
                self.config.max_backlog_bytes
            ),
            Overload::Uncounted => {
                format!("The gateway has lost events of more than {topics} new symbols: connect again")
            }
        };
        self.refuse(key, &Refusal::new(ErrorCode::SlowClient, message));
        self.close(key, CloseCode::TryAgainLater, "slow client");
    }
}
