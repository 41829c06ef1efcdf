//! What happens by the clock: pings and missed pongs, stalled clients, heartbeats, closes that drag on, and the drain.
//!
//! A connection has one entry in the wheel that counts ([`Conn::timer`]). Whatever it is armed for, on expiry the shard looks at
//! all of the connection's deadlines, and arms the earliest that remains. So a new deadline goes into both `check` and `next_deadline`.

use std::time::Duration;

use super::Shard;
use super::clock::{Tick, ticks};
use super::conn::{Conn, ConnKey};
use crate::limits;
use crate::protocol::reply::{ShutdownReason, Status};
use crate::protocol::socketio::{engine, write};
use crate::protocol::{Dialect, sse};
use crate::websocket::close::{CloseCode, ping_frame};

impl Shard {
    /// Looks at the connections whose timer is due.
    pub(super) fn fire_timers(&mut self) {
        let now = self.clocks.now.tick();
        let mut due = Vec::new();
        self.clocks.wheel.advance(u64::from(now.number()), |key, tick| due.push((key, tick)));
        for (key, tick) in due {
            let Some(conn) = self.conns.get_mut(key) else { continue };
            if u64::from(conn.timer.number()) == tick {
                conn.timer = Tick::NEVER;
                self.check(key, now);
            }
        }
    }

    /// Looks at every deadline of a connection.
    fn check(&mut self, key: ConnKey, now: Tick) {
        let Some(conn) = self.conns.get(key) else { return };
        if conn.cut_off.is_due(now) {
            return self.remove(key);
        }
        if conn.is_blocked() && self.stalls_at(conn).is_due(now) {
            self.metrics.slow_closed.add(1);
            return self.remove(key);
        }
        if conn.slowness.deadline_tick().is_some_and(|tick| Tick::new(tick).is_due(now)) {
            self.limit_outbox(key);
        }
        if self.conns.get(key).is_some_and(Conn::is_live) {
            self.check_pong(key, now);
            self.ping_if_due(key, now);
            self.check_session(key, now);
        }
        self.tell_heartbeat(key);
        self.arm(key);
    }

    /// Judges the last ping once its answer is due. A peer that has missed too many in a row is closed.
    fn check_pong(&mut self, key: ConnKey, now: Tick) {
        let Some(conn) = self.conns.get(key) else { return };
        let timeout = ticks(self.pong_timeout(conn.dialect));
        let Some(conn) = self.conns.get_mut(key) else { return };
        if !conn.ping_pending || now.since(conn.pinged) < timeout {
            return;
        }
        conn.ping_pending = false;
        // A peer whose socket is blocked may not have got the ping: the stall timeout judges it.
        if conn.is_blocked() || !conn.received.is_before(conn.pinged) {
            return;
        }
        conn.missed_pongs += 1;
        let missed = conn.missed_pongs;
        if missed == 1 {
            self.count_dead(1);
        }
        if u32::from(missed) >= self.config.max_missed_pongs {
            self.give_up_on(key);
        }
    }

    fn give_up_on(&mut self, key: ConnKey) {
        self.metrics.pong_timeouts.add(1);
        self.revive(key);
        let Some(conn) = self.conns.get(key) else { return };
        let code = if conn.dialect.ends_at_1001() { CloseCode::TryAgainLater } else { CloseCode::GoingAway };
        self.close(key, code, "no pong");
    }

    /// Closes the connections that have missed a pong, however few. Returns how many.
    pub(super) fn clean(&mut self) -> usize {
        let dead = self.conns.iter().filter(|(_, conn)| conn.missed_pongs > 0 && conn.is_live());
        let dead: Vec<_> = dead.map(|(key, _)| key).collect();
        dead.iter().for_each(|key| self.give_up_on(*key));
        dead.len()
    }

    /// How often a client is sent something that shows that the connection lives.
    pub(super) fn ping_interval(&self, dialect: Dialect) -> Duration {
        match dialect {
            Dialect::SocketIo(_) => engine::PING_INTERVAL,
            _ if dialect.is_web_socket() => self.config.ping_interval,
            _ => limits::SSE_COMMENT_INTERVAL,
        }
    }

    /// How long a client has to answer a ping.
    fn pong_timeout(&self, dialect: Dialect) -> Duration {
        if dialect.socketio().is_some() { engine::PING_TIMEOUT } else { self.config.pong_timeout }
    }

    fn ping_if_due(&mut self, key: ConnKey, now: Tick) {
        let Some(conn) = self.conns.get(key).filter(|conn| conn.is_live()) else { return };
        let interval = ticks(self.ping_interval(conn.dialect));
        let Some(conn) = self.conns.get_mut(key).filter(|conn| now.since(conn.pinged) >= interval) else {
            return;
        };
        conn.pinged = now;
        if !conn.dialect.is_web_socket() {
            if !conn.is_blocked() {
                conn.outbox.push_control(sse::COMMENT);
                self.output.mark_dirty(key, conn);
            }
            return;
        }
        conn.ping_pending = !conn.is_blocked();
        if conn.ping_pending {
            // 0 would say that there is no ping to be answered.
            conn.ping_sent_us = (self.clocks.now.us as u32).max(1);
            let is_socketio = conn.dialect.socketio().is_some();
            conn.outbox.push_control(&if is_socketio { write::ping() } else { ping_frame() });
            self.output.mark_dirty(key, conn);
            self.ping_for_inbox(key);
        }
    }

    /// The peer does not count as dead any more: a frame has come in, or it is being closed.
    pub(super) fn revive(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.get_mut(key)
            && std::mem::take(&mut conn.missed_pongs) > 0
        {
            self.count_dead(-1);
        }
    }

    /// Counts connections that have missed a pong.
    pub(super) fn count_dead(&self, change: i64) {
        let dead = &self.metrics.connections_dead;
        dead.set(dead.get().saturating_add_signed(change));
    }

    /// Arms the earliest deadline, unless the wheel has an earlier one already.
    pub(super) fn arm(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key) else { return };
        let next = self.next_deadline(conn);
        if next < conn.timer {
            self.clocks.wheel.insert(key, u64::from(next.number()));
            if let Some(conn) = self.conns.get_mut(key) {
                conn.timer = next;
            }
        }
    }

    fn next_deadline(&self, conn: &Conn) -> Tick {
        let mut next = conn.cut_off;
        if conn.is_blocked() {
            next = next.min(self.stalls_at(conn));
        }
        if let Some(tick) = conn.slowness.deadline_tick() {
            next = next.min(Tick::new(tick));
        }
        if !conn.is_live() {
            return next;
        }
        if let Some(due_us) = conn.extras.as_ref().and_then(|extras| extras.heartbeat_us) {
            next = next.min(Tick::not_before_us(due_us));
        }
        if let Some(session) = &conn.session {
            next = next.min(session.next_deadline());
        }
        let wait = match conn.ping_pending {
            true => self.pong_timeout(conn.dialect),
            false => self.ping_interval(conn.dialect),
        };
        next.min(conn.pinged.plus(ticks(wait)))
    }

    /// When a blocked connection counts as stalled.
    fn stalls_at(&self, conn: &Conn) -> Tick {
        conn.progressed.plus(ticks(self.config.stall_timeout))
    }

    /// Tells every client to go elsewhere. The shard ends with the last of them, or when the time is up.
    pub(super) fn drain(&mut self, timeout: Duration) {
        self.drain_until_us = Some(self.clocks.now.us + timeout.as_micros() as u64);
        for key in self.conns.keys().collect::<Vec<_>>() {
            self.send_away(key);
        }
    }

    /// Tells a client to go elsewhere, and closes it.
    pub(super) fn send_away(&mut self, key: ConnKey) {
        let reconnect_after_ms = fastrand::u64(limits::RECONNECT_AFTER_MS);
        self.send_elsewhere(key, ShutdownReason::Shutdown, reconnect_after_ms, "gateway is shutting down");
    }

    /// Tells a client to connect again, and closes it.
    pub(super) fn send_elsewhere(
        &mut self,
        key: ConnKey,
        reason: ShutdownReason,
        reconnect_after_ms: u64,
        words: &str,
    ) {
        if self.conns.get(key).is_some_and(Conn::is_live) {
            self.tell(key, Status::Shutdown { reason, reconnect_after_ms });
            self.close(key, CloseCode::ServiceRestart, words);
        }
    }
}
