//! From a batch to the sockets: apply to outboxes, flush, and the policies for clients that are too slow.

use std::rc::Rc;

use smallvec::SmallVec;

use super::super::batch::Batch;
use super::super::outbox::Outbox;
use super::Shard;
use super::conn::{Conn, ConnKey, Phase};
use crate::bus::{Feed, Frames, SeqNotice, TopicId};
use crate::limits;
use crate::protocol::native::write as reply;
use crate::protocol::refusal::{ErrorCode, Refusal};
use crate::protocol::terms::SlowClientPolicy;

/// Sockets written in one turn of the loop; then inbox, reads and timers get their turn.
const FLUSH_SOCKETS: usize = 256;

/// What one socket may take in one turn, so that a fast reader of a long backlog delays nobody.
const FLUSH_BYTES_PER_SOCKET: usize = 1024 * 1024;

/// Between two looks at the clock while flushing, for the delivery histogram.
const FLUSHES_PER_CLOCK: usize = 16;

/// What became of writing to a socket.
enum Written {
    /// Everything is on its way.
    All,
    /// The socket is full; it will say when it isn't.
    Blocked,
    /// The socket would take more, but has had its share.
    Budget,
    /// The peer has gone.
    Gone,
}

impl Shard {
    /// Queues a batch to the outboxes of the subscribers. Adjacent frames of one topic are queued as one run.
    /// A change of sequence numbers is told in its place between them.
    pub(super) fn apply(&mut self, frames: Frames, changes: &[SeqNotice]) {
        let batch = Batch::shared(frames, &self.ledger);
        let table = batch.table();
        let mut changes = changes.iter().peekable();
        let mut from = 0;
        while let Some(entry) = table.get(from) {
            while let Some(notice) = changes.next_if(|notice| notice.before as usize <= from) {
                self.tell_seq_change(notice.topic, notice.change);
            }
            let until = changes.peek().map_or(table.len(), |notice| notice.before as usize);
            let same = table[from..until].iter().take_while(|next| next.topic == entry.topic).count();
            self.queue_run(&batch, entry.topic, from as u32, (from + same) as u32);
            from += same;
        }
    }

    fn queue_run(&mut self, batch: &Rc<Batch>, topic: TopicId, from: u32, to: u32) {
        let bytes = batch.start(to) - batch.start(from);
        let (mut opened, mut replaced) = (Vec::new(), 0);
        self.for_each_subscriber(topic, |key, conn, subscription| match &mut conn.extras {
            None => conn.outbox.push_events(batch, from, to, bytes),
            Some(extras) => {
                extras.queue(&mut conn.outbox, batch, subscription, topic, (from, to));
                replaced += extras.conflation.take_replaced();
                opened.extend(extras.conflation.take_phases_begun().map(|period_us| (key, period_us)));
            }
        });
        self.opened.append(&mut opened);
        self.metrics.events_conflated.add(replaced);
    }

    /// Events that ingest could not hand over are announced like those skipped from an outbox.
    pub(super) fn note_lost(&mut self, counts: &[(TopicId, u64)]) {
        for &(topic, count) in counts {
            let mut skipped = 0;
            self.for_each_subscriber(topic, |_, conn, _| {
                conn.outbox.note_skipped(topic, count);
                conn.extras.get_or_insert_default().skipped += count;
                skipped += count;
            });
            self.metrics.events_skipped.add(skipped);
        }
    }

    /// Calls `queue` once with each client that gets a topic's events, and with its most specific subscription to them: the
    /// topic itself, or else the longest pattern. What is queued then is going to be written.
    pub(super) fn for_each_subscriber(
        &mut self,
        topic: TopicId,
        mut queue: impl FnMut(ConnKey, &mut Conn, TopicId),
    ) {
        let Self { conns, index, dirty, offers, .. } = self;
        *offers += 1;
        let patterns = match index.has_patterns() {
            true => SmallVec::<[TopicId; 2]>::from_slice(index.touch(topic)),
            false => SmallVec::new(),
        };
        let mut offer_to = |subscription: TopicId| {
            for &key in index.subscribers(subscription) {
                let Some(conn) = conns.get_mut(key) else { continue };
                if conn.extras.as_mut().is_some_and(|extras| !extras.is_first_offer(*offers)) {
                    continue;
                }
                queue(key, conn, subscription);
                if !conn.dirty && conn.has_output() {
                    conn.dirty = true;
                    dirty.push_back(key);
                }
            }
        };
        offer_to(topic);
        patterns.into_iter().for_each(offer_to);
    }

    pub(super) fn tell_feed(&mut self, feed: Feed) {
        self.feed = feed;
        let frame = match feed {
            Feed::Down => reply::feed_down(self.clock.unix_ms),
            Feed::Up { gap_ms } => reply::feed_up(gap_ms, self.clock.unix_ms),
        };
        let status = Batch::own(frame, &self.ledger);
        let live = self.conns.iter().filter(|(_, conn)| conn.is_live() && !conn.ungreeted);
        for key in live.map(|(key, _)| key).collect::<Vec<_>>() {
            self.queue_own(key, Rc::clone(&status));
        }
    }

    /// Queues a reply or status. Whether the client takes them is judged when they are written, see [`Shard::limit_outbox`].
    pub(super) fn queue_own(&mut self, key: ConnKey, frame: Rc<Batch>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.outbox.push_own(frame);
        self.mark_dirty(key);
    }

    /// Writes the sockets that have something waiting, each once, at most [`FLUSH_SOCKETS`] of them.
    pub(super) fn flush_dirty(&mut self) {
        let due_us = self.flushed_us + self.config.flush_interval.as_micros() as u64;
        if self.dirty.is_empty() || self.clock.now_us < due_us {
            return;
        }
        // Subscribers are queued in the order of their index: a random start keeps the last from always being last.
        if self.flushed_all {
            let start = fastrand::usize(..self.dirty.len());
            self.dirty.rotate_left(start);
        }
        for turn in 0..self.dirty.len().min(FLUSH_SOCKETS) {
            if turn % FLUSHES_PER_CLOCK == FLUSHES_PER_CLOCK - 1 {
                self.clock.update();
            }
            let Some(key) = self.dirty.pop_front() else { break };
            self.flush(key);
        }
        self.flushed_all = self.dirty.is_empty();
        if self.flushed_all {
            self.flushed_us = self.clock.now_us;
        }
        if self.ledger.bytes() > self.config.max_backlog_bytes {
            self.relieve_backlog();
        }
    }

    fn flush(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.dirty = false;
        let written = if conn.blocked { Written::Blocked } else { self.write(key) };
        match written {
            Written::All if self.conns.get(key).is_some_and(|conn| conn.phase == Phase::Closing) => {
                self.shut_writing(key);
            }
            Written::All => self.drained(key),
            Written::Budget => self.mark_dirty(key),
            Written::Blocked => {
                self.limit_outbox(key);
                self.arm(key);
            }
            Written::Gone => return self.remove(key),
        }
        self.resume_if_room(key);
    }

    fn write(&mut self, key: ConnKey) -> Written {
        let Self { conns, index, ledger, ended_names, clock, config, metrics, gather_scratch, .. } = self;
        let Some(conn) = conns.get_mut(key) else { return Written::Gone };
        let announce = |topic, count| {
            let subject = index.subject(topic).cloned().or_else(|| ended_names.get(topic));
            let frame =
                subject.map(|subject| reply::skipped(&subject, count, clock.unix_ms)).unwrap_or_default();
            Batch::own(frame, ledger)
        };
        let room_bytes = limits::BACKFILL_BYTES.min(config.max_outbox_bytes / 2);
        let mut budget_bytes = FLUSH_BYTES_PER_SOCKET;
        loop {
            if conn.is_live()
                && let Some(extras) = &mut conn.extras
            {
                extras.refill(&mut conn.outbox, room_bytes, ledger, clock.now_us);
            }
            if conn.outbox.is_empty() {
                return Written::All;
            }
            let arrived_us = conn.outbox.head_arrival_us();
            let chunk = conn.outbox.chunk(gather_scratch, &announce);
            let offered = chunk.len();
            metrics.writes.add(1);
            let taken = match conn.transport.write(chunk) {
                Ok(taken) => taken,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
                Err(_) => return Written::Gone,
            };
            let progress = conn.outbox.advance(taken);
            metrics.messages_sent.add(progress.frames);
            metrics.bytes_sent.add(taken as u64);
            if arrived_us > 0 && progress.frames > 0 {
                metrics.delivery.record(clock.now_us.saturating_sub(arrived_us), progress.frames);
            }
            if taken > 0 {
                conn.progress_tick = clock.tick();
                conn.slowness.took(taken as u32, conn.outbox.limited_bytes());
            }
            if taken < offered {
                metrics.writes_blocked.add(1);
                conn.blocked = true;
                return Written::Blocked;
            }
            budget_bytes = budget_bytes.saturating_sub(taken);
            if budget_bytes == 0 {
                return Written::Budget;
            }
        }
    }

    /// Reads on where a client was left unread because too many replies waited for it.
    fn resume_if_room(&mut self, key: ConnKey) {
        if self.conns.get(key).is_some_and(|conn| conn.phase == Phase::Open && conn.has_input()) {
            self.unfinished.push(key);
        }
    }

    /// The policy for a client whose outbox is full, if it is slow. No policy gets rid of replies and statuses: one of which
    /// these alone are too many is closed.
    pub(super) fn limit_outbox(&mut self, key: ConnKey) {
        let limit_bytes = self.config.max_outbox_bytes;
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.is_live()) else { return };
        if conn.outbox.skipped_topics() > limits::SKIPPED_TOPICS_FACTOR * self.config.max_opened_topics {
            return self.close_slow(key);
        }
        let queued_bytes = conn.outbox.limited_bytes();
        if !conn.slowness.is_due(queued_bytes, limit_bytes, self.clock.tick()) {
            return;
        }
        if queued_bytes - conn.outbox.event_bytes() > limit_bytes {
            return self.close_slow(key);
        }
        self.apply_slow_policy(key, limit_bytes / 2);
    }

    fn apply_slow_policy(&mut self, key: ConnKey, target_bytes: u32) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let policy = conn.extras.as_ref().and_then(|extras| extras.on_slow);
        match policy.unwrap_or(self.config.slow_client_policy) {
            SlowClientPolicy::Disconnect => self.close_slow(key),
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

    /// All clients together keep too much alive: the policy of those furthest behind fires, until a quarter is free.
    fn relieve_backlog(&mut self) {
        self.conns
            .values_mut()
            .filter_map(|conn| conn.extras.as_mut())
            .for_each(|extras| extras.conflation.compact());
        let behind = |(key, outbox): (ConnKey, &Outbox)| Some((outbox.first_arrival_us()?, key));
        let outboxes = self.conns.iter().filter(|(_, conn)| conn.blocked && conn.is_live());
        let mut furthest: Vec<_> = outboxes.filter_map(|(key, conn)| behind((key, &conn.outbox))).collect();
        furthest.sort_unstable();
        let target_bytes = self.config.max_backlog_bytes / 4 * 3;
        for (_, key) in furthest {
            if self.ledger.bytes() <= target_bytes {
                break;
            }
            let queued_bytes = self.conns.get(key).map_or(0, |conn| conn.outbox.event_bytes());
            self.apply_slow_policy(key, queued_bytes / 2);
        }
        // What waits of the past can't be announced as skipped: whoever doesn't read it is closed.
        let is_behind = |conn: &Conn| conn.blocked && conn.is_live() && conn.has_backfill();
        let outboxes = self.conns.iter().filter(|(_, conn)| is_behind(conn));
        let mut furthest: Vec<_> = outboxes.map(|(key, conn)| (conn.progress_tick, key)).collect();
        furthest.sort_unstable();
        for (_, key) in furthest {
            if self.ledger.bytes() <= target_bytes {
                break;
            }
            self.close_slow(key);
        }
    }

    /// The client can't be kept: what waits for it is dropped, and it is told why as the last thing.
    fn close_slow(&mut self, key: ConnKey) {
        self.metrics.slow_closed.add(1);
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.outbox.clear();
        if let Some(extras) = &mut conn.extras {
            extras.backfill = None;
        }
        let message = format!(
            "Too slow: more than {} bytes or the losses of {} symbols were waiting",
            self.config.max_outbox_bytes,
            limits::SKIPPED_TOPICS_FACTOR * self.config.max_opened_topics
        );
        self.refuse_and_close(key, &Refusal::new(ErrorCode::SlowClient, message));
    }
}
