//! When what people say is written: at once, and in rounds where it comes fast.
//!
//! A write costs as much for one event as for twenty. In a room that is flooded each member would be written to for each message, and prices would
//! wait behind that. So the shard counts how many writes it would have saved by writing to each connection once in a round of [`DESK_ROUND_US`]. When these are
//! [`DESK_ROUND_WRITES`] or more, events of the next round wait for its end. What else is written to a connection takes them along. Below
//! that no event waits, however many connections it is for.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use slotmap::SlotMap;

use super::super::Shard;
use super::super::conn::{Conn, ConnKey};
use super::super::output::Output;
use crate::limits::{DESK_ROUND_US, DESK_ROUND_WRITES};

/// A round of events of the desk, and the connections that got some.
#[derive(Debug, Default)]
pub(in super::super) struct Round {
    /// When it began, in microseconds since the gateway was built.
    began_us: u64,
    /// When the one before was to end.
    ended_us: u64,
    /// How many events they got, each connection's counted for itself.
    events: usize,
    conns: HashSet<ConnKey, RandomState>,
    /// They are written at its end; else each at the end of the turn.
    waits: bool,
}

impl Round {
    /// An event of the desk has been queued for a connection.
    pub(super) fn queued(&mut self, key: ConnKey, conn: &mut Conn, output: &mut Output, now_us: u64) {
        if self.conns.is_empty() {
            self.began_us = now_us;
            self.waits &= now_us < self.ended_us + DESK_ROUND_US;
        }
        self.events += 1;
        self.conns.insert(key);
        if !self.waits {
            output.mark_dirty(key, conn);
        }
    }

    /// When it ends, if something waits for that.
    pub(in super::super) fn due_us(&self) -> Option<u64> {
        (self.waits && !self.conns.is_empty()).then(|| self.end_us())
    }

    fn end_us(&self) -> u64 {
        self.began_us + DESK_ROUND_US
    }

    /// Ends it if it is time.
    fn end_if_due(&mut self, conns: &mut SlotMap<ConnKey, Conn>, output: &mut Output, now_us: u64) {
        if self.conns.is_empty() || now_us < self.end_us() {
            return;
        }
        let is_fast = self.events - self.conns.len() >= DESK_ROUND_WRITES;
        for key in self.conns.drain().filter(|_| self.waits) {
            if let Some(conn) = conns.get_mut(key) {
                output.mark_dirty(key, conn);
            }
        }
        self.events = 0;
        self.ended_us = self.end_us();
        self.waits = is_fast;
    }
}

impl Shard {
    /// Ends the round of the desk if it is time: what has waited for that is written in this turn.
    pub(in super::super) fn end_round(&mut self) {
        let Self { desk: Some(desk), conns, output, clocks, .. } = self else { return };
        desk.round.end_if_due(conns, output, clocks.now.us);
    }
}
