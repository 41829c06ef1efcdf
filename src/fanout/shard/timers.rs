//! What happens by the clock: pings and missed pongs, stalled clients, heartbeats, closes that drag on, and the drain.
//!
//! A connection has one entry in the wheel that counts ([`Conn::timer_tick`]). Whatever it is armed for, on expiry all its
//! deadlines are looked at, and the earliest of what remains is armed again.

use std::time::Duration;

use super::super::batch::Batch;
use super::super::wheel::TICK_MS;
use super::conn::{Conn, ConnKey};
use super::{Shard, ticks};
use crate::limits;
use crate::protocol::native::write as reply;
use crate::websocket::close::{self, CloseCode};

impl Shard {
    pub(super) fn fire_timers(&mut self) {
        let now = self.clock.tick();
        let mut due = Vec::new();
        self.wheel.advance(u64::from(now), |key, tick| due.push((key, tick)));
        for (key, tick) in due {
            let Some(conn) = self.conns.get_mut(key) else { continue };
            if u64::from(conn.timer_tick) == tick {
                conn.timer_tick = u32::MAX;
                self.check(key, now);
            }
        }
    }

    /// Looks at every deadline of a connection.
    fn check(&mut self, key: ConnKey, now: u32) {
        let Some(conn) = self.conns.get(key) else { return };
        if now >= conn.close_tick {
            return self.remove(key);
        }
        if conn.blocked && now >= conn.progress_tick.saturating_add(ticks(self.config.stall_timeout)) {
            self.metrics.slow_closed.add(1);
            return self.remove(key);
        }
        if conn.slowness.deadline_tick().is_some_and(|tick| now >= tick) {
            self.limit_outbox(key);
        }
        if self.conns.get(key).is_some_and(Conn::is_live) && !self.check_heartbeat(key, now) {
            return self.remove(key);
        }
        self.tell_heartbeat(key);
        self.arm(key);
    }

    /// Judges the last ping and sends the next one, as either falls due. `false`: the peer is dead.
    fn check_heartbeat(&mut self, key: ConnKey, now: u32) -> bool {
        let interval = ticks(self.config.ping_interval);
        let timeout = ticks(self.config.pong_timeout);
        let Some(conn) = self.conns.get_mut(key) else { return true };
        if conn.ping_pending && now.wrapping_sub(conn.ping_tick) >= timeout {
            conn.ping_pending = false;
            // What a blocked socket says of the peer is for the stall timeout to judge.
            if !conn.blocked && (conn.received_tick.wrapping_sub(conn.ping_tick) as i32) < 0 {
                conn.missed_pongs += 1;
                let (missed, alone) = (conn.missed_pongs, conn.missed_pongs == 1);
                if alone {
                    self.count_dead(1);
                }
                if missed >= self.config.max_missed_pongs {
                    self.metrics.pong_timeouts.add(1);
                    return false;
                }
            }
        }
        let Some(conn) = self.conns.get_mut(key) else { return true };
        if now.wrapping_sub(conn.ping_tick) >= interval {
            conn.ping_tick = now;
            conn.ping_pending = !conn.blocked;
            if conn.ping_pending {
                // 0 would say that there is no ping to be answered.
                conn.ping_sent_us = (self.clock.now_us as u32).max(1);
                conn.outbox.push_control(&close::ping_frame());
                self.mark_dirty(key);
            }
        }
        true
    }

    /// A frame has come in: the peer lives.
    pub(super) fn revive(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.get_mut(key)
            && std::mem::take(&mut conn.missed_pongs) > 0
        {
            self.count_dead(-1);
        }
    }

    pub(super) fn count_dead(&self, change: i64) {
        let dead = &self.metrics.connections_dead;
        dead.set(dead.get().saturating_add_signed(change));
    }

    pub(super) fn arm_close(&mut self, key: ConnKey, timeout: Duration) {
        let tick = self.clock.tick();
        if let Some(conn) = self.conns.get_mut(key) {
            conn.close_tick = tick.saturating_add(ticks(timeout));
            self.arm(key);
        }
    }

    /// Arms the earliest deadline, unless the wheel has an earlier one already.
    pub(super) fn arm(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key) else { return };
        let next = self.next_deadline(conn);
        if next < conn.timer_tick {
            self.wheel.insert(key, u64::from(next));
            if let Some(conn) = self.conns.get_mut(key) {
                conn.timer_tick = next;
            }
        }
    }

    fn next_deadline(&self, conn: &Conn) -> u32 {
        let mut next = conn.close_tick;
        if conn.blocked {
            next = next.min(conn.progress_tick.saturating_add(ticks(self.config.stall_timeout)));
        }
        if let Some(tick) = conn.slowness.deadline_tick() {
            next = next.min(tick);
        }
        if let Some(due_us) = conn.extras.as_ref().and_then(|extras| extras.heartbeat_us)
            && conn.is_live()
        {
            next = next.min(due_us.div_ceil(TICK_MS * 1_000) as u32);
        }
        if conn.is_live() {
            let wait = if conn.ping_pending { self.config.pong_timeout } else { self.config.ping_interval };
            next = next.min(conn.ping_tick.wrapping_add(ticks(wait)));
        }
        next
    }

    /// Tells every client to go elsewhere. The shard ends with the last of them, or when the time is up.
    pub(super) fn drain(&mut self, timeout: Duration) {
        self.drain_until_us = Some(self.clock.now_us + timeout.as_micros() as u64);
        for key in self.conns.keys().collect::<Vec<_>>() {
            self.send_away(key);
        }
    }

    pub(super) fn send_away(&mut self, key: ConnKey) {
        let reconnect_after_ms = fastrand::u64(limits::RECONNECT_AFTER_MS);
        let frame = reply::shutdown(reconnect_after_ms, self.clock.unix_ms);
        if let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.is_live()) {
            conn.outbox.push_own(Batch::own(frame, &self.ledger));
            self.close(key, CloseCode::ServiceRestart, "gateway is shutting down");
        }
    }
}
