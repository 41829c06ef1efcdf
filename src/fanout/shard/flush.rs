//! From the outboxes to the sockets: each socket with output is written once a turn.

use std::io::ErrorKind;

use mio::Registry;

use super::super::batch::Batch;
use super::conn::{Conn, ConnKey, Phase, Space};
use super::delays::Delays;
use super::output::Output;
use super::{Shard, token_of};
use crate::limits;
use crate::metrics::ShardMetrics;
use crate::protocol::reply::{Reply, Status};

/// Sockets written in one turn; then inbox, reads and timers get their turn.
const FLUSH_SOCKETS: usize = 256;

/// What one socket may take in one turn, so that a fast reader of a long backlog delays nobody.
const FLUSH_BYTES_PER_SOCKET: usize = 1024 * 1024;

/// Sockets written between two looks at the clock, for the delivery histogram.
const FLUSHES_PER_CLOCK: usize = 16;

/// What became of writing to a socket.
enum Written {
    /// Everything is on its way, and nothing waits for that: so it is with most sockets.
    Done,
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
    /// When sockets may be written again: at once without a `FLUSH_INTERVAL`.
    pub(super) fn flush_due_us(&self) -> u64 {
        let interval_us = self.config.flush_interval.map_or(0, |interval| interval.as_micros() as u64);
        self.output.flushed_us + interval_us
    }

    /// Writes the sockets that have something waiting, each once, at most [`FLUSH_SOCKETS`] of them.
    pub(super) fn flush_dirty(&mut self) {
        if self.output.dirty.is_empty() || self.clocks.now.us < self.flush_due_us() {
            return;
        }
        // Subscribers are queued in the order of their index: a random start keeps the last from always being last.
        if self.output.flushed_all {
            let start = fastrand::usize(..self.output.dirty.len());
            self.output.dirty.rotate_left(start);
        }
        self.output.gather_scratch.end_turn(false);
        let mut delays = Delays::default();
        for written in 0..self.output.dirty.len().min(FLUSH_SOCKETS) {
            if written % FLUSHES_PER_CLOCK == FLUSHES_PER_CLOCK - 1 {
                self.clocks.update();
            }
            let Some(key) = self.output.dirty.pop_front() else { break };
            self.flush(key, &mut delays);
        }
        delays.record(&self.metrics.delivery);
        self.output.flushed_all = self.output.dirty.is_empty();
        if self.output.flushed_all {
            self.output.flushed_us = self.clocks.now.us;
            self.output.gather_scratch.end_turn(true);
        }
        if self.output.backlog.bytes() > self.config.max_backlog_bytes {
            self.relieve_backlog();
        }
    }

    fn flush(&mut self, key: ConnKey, delays: &mut Delays) {
        match self.write(key, delays) {
            Written::Done => return,
            Written::All => {
                if self.conns.get(key).is_some_and(|conn| conn.phase == Phase::Closing) {
                    self.shut_writing(key);
                } else {
                    self.tell_caught_up(key);
                }
            }
            Written::Budget => {
                if let Some(conn) = self.conns.get_mut(key) {
                    self.output.mark_dirty(key, conn);
                }
            }
            Written::Blocked => {
                self.limit_outbox(key);
                self.arm(key);
            }
            Written::Gone => return self.remove(key),
        }
        self.read_if_room(key);
    }

    /// Writes what a connection that is let go now still has to be told, as far as its socket takes it.
    pub(super) fn write_last(&mut self, key: ConnKey) {
        self.write(key, &mut Delays::default());
    }

    /// Writes one socket until its outbox is empty, it takes no more, or it has had its share.
    fn write(&mut self, key: ConnKey, delays: &mut Delays) -> Written {
        let Self { conns, subscriptions, desk, output, clocks, config, metrics, registry, .. } = self;
        let Some(conn) = conns.get_mut(key) else { return Written::Done };
        conn.dirty = false;
        if conn.is_blocked() {
            return Written::Blocked;
        }
        let Output { backlog, ended_names, gather_scratch, grammar, .. } = output;
        let (now, deflate) = (&clocks.now, conn.deflate);
        let room_bytes = limits::BACKFILL_BYTES.min(config.max_outbox_bytes / 2);
        let mut budget_bytes = FLUSH_BYTES_PER_SOCKET;
        loop {
            if let Some(extras) = &mut conn.extras
                && conn.phase.is_live()
            {
                extras.refill(&mut conn.outbox, room_bytes, backlog, now.us);
            }
            if conn.outbox.is_empty() {
                return match conn.transport.flush() {
                    Ok(()) if conn.waits_for_output() => Written::All,
                    Ok(()) => Written::Done,
                    Err(error) if error.kind() != ErrorKind::WouldBlock => Written::Gone,
                    // Under TLS not everything is in the socket yet.
                    Err(_) => {
                        if conn.transport.take_moved() {
                            conn.progressed = now.tick();
                        }
                        Self::block(key, conn, registry, metrics)
                    }
                };
            }
            let arrived_us = conn.outbox.head_arrival_us();
            let chunk = match conn.outbox.has_more_than_queue() {
                false => conn.outbox.chunk_of_queue(gather_scratch),
                true => conn.outbox.chunk(gather_scratch, &|topic, count| {
                    let lost =
                        desk.as_ref().filter(|_| topic.is_desk()).and_then(|desk| desk.lost(topic, key));
                    if let Some(lost) = lost {
                        let status = Status::SkippedAtDesk { lost: &lost, count };
                        let status = conn.dialect.reply(&Reply::Status(status), grammar, now.unix_ms);
                        return Batch::own(status, backlog);
                    }
                    let subject =
                        subscriptions.index.subject(topic).cloned().or_else(|| ended_names.get(topic));
                    let announcement = subject.map(|subject| {
                        let status = Status::Skipped { subject: &subject, count };
                        let mut frame = conn.dialect.reply(&Reply::Status(status), grammar, now.unix_ms);
                        if deflate {
                            backlog.compressor().compress_last(&mut frame, 0);
                        }
                        frame
                    });
                    Batch::own(announcement.unwrap_or_default(), backlog)
                }),
            };
            let offered = chunk.len();
            metrics.writes.add(1);
            let taken = match conn.transport.write(chunk) {
                Ok(taken) => taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(_) => return Written::Gone,
            };
            let queued_bytes = if deflate { conn.outbox.queued_bytes() } else { 0 };
            let progress = conn.outbox.advance(gather_scratch, taken);
            metrics.messages_sent.add(progress.frames);
            metrics.bytes_sent.add(taken as u64);
            if arrived_us > 0 && progress.frames > 0 {
                delays.took(progress.frames, now.us.saturating_sub(arrived_us), &metrics.delivery);
            }
            if taken > 0 {
                conn.progressed = now.tick();
                if conn.slowness.is_watched() {
                    // For compressed messages, the queued bytes they stand for count, not those written.
                    let took_bytes = match queued_bytes {
                        0 => taken as u32,
                        queued_bytes => (queued_bytes - conn.outbox.queued_bytes().min(queued_bytes)) as u32,
                    };
                    conn.slowness.took(took_bytes, conn.outbox.limited_bytes());
                }
            } else if conn.transport.take_moved() {
                conn.progressed = now.tick();
            }
            if taken < offered {
                return Self::block(key, conn, registry, metrics);
            }
            budget_bytes = budget_bytes.saturating_sub(taken);
            if budget_bytes == 0 {
                return Written::Budget;
            }
        }
    }

    /// The socket takes no more: waits until the poll reports that it does.
    #[cold]
    fn block(key: ConnKey, conn: &mut Conn, registry: &Registry, metrics: &ShardMetrics) -> Written {
        metrics.writes_blocked.add(1);
        let is_first = std::mem::replace(&mut conn.space, Space::Full) == Space::Always;
        if is_first && conn.transport.reregister(registry, token_of(key)).is_err() {
            return Written::Gone;
        }
        Written::Blocked
    }

    /// Reads on where a client was left unread because too many replies waited for it.
    fn read_if_room(&mut self, key: ConnKey) {
        if self.conns.get(key).is_some_and(|conn| conn.phase == Phase::Open && conn.has_input()) {
            self.input.unfinished.push(key);
        }
    }
}
