//! Talking in rooms: each message at its time, by the connection whose turn it is.

use super::Swarm;
use super::connection::Stage;
use crate::clock::monotonic_ns;
use crate::desk::{self, Desk};
use crate::dialect::Dialect;
use crate::message::Trade;
use crate::wire::Window;

/// Messages of one talker that it has not yet heard itself. Beyond it its next ones are left out: what waits is bounded.
const UNHEARD_MAX: u64 = 64;

/// What is said by the connections of one process.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// When the first message of all is due; none before.
    from_ns: Option<u64>,
    /// When nothing more is due.
    to_ns: u64,
    /// Which message of all rooms comes next.
    next: u64,
    /// The last number that each talker has used.
    said: Vec<u64>,
    is_over: bool,
}

impl Talk {
    pub(super) fn is_going_on(&self) -> bool {
        self.from_ns.is_some() && !self.is_over
    }
}

impl<D: Dialect> Swarm<D> {
    pub(super) fn begin_to_talk(&mut self, start_ns: u64, window: Window) {
        if let Some(desk) = &self.crowd.desk {
            let said = vec![0; desk.symbols() as usize];
            self.talk = Talk { from_ns: Some(start_ns), to_ns: window.to_ns, next: 0, said, is_over: false };
        }
    }

    /// How often each talker has talked, once all is said; `None` before, and where nobody talks.
    pub fn said(&self) -> Option<&[u64]> {
        self.talk.is_over.then_some(&self.talk.said)
    }

    /// Says what is due.
    pub fn talk_some(&mut self) {
        let (Some(desk), Some(from_ns)) = (self.crowd.desk, self.talk.from_ns) else { return };
        if self.talk.is_over {
            return;
        }
        let now_ns = monotonic_ns();
        loop {
            let due_ns = from_ns + desk.due_ns(self.talk.next);
            if due_ns >= self.talk.to_ns {
                self.talk.is_over = true;
                return;
            }
            if due_ns > now_ns {
                return;
            }
            let (connection, symbol) = desk.talker(self.talk.next);
            self.talk.next += 1;
            let at = connection.checked_sub(self.first).map(|at| at as usize);
            if let Some(at) = at.filter(|&at| at < self.connections.len()) {
                self.say(desk, at, symbol, due_ns, now_ns);
            }
        }
    }

    fn say(&mut self, desk: Desk, at: usize, symbol: u32, due_ns: u64, now_ns: u64) {
        let last = &mut self.talk.said[symbol as usize];
        let unheard = last.saturating_sub(self.books.ledger.heard(at, symbol));
        if self.connections[at].stage != Stage::Open || unheard >= UNHEARD_MAX {
            self.books.found.unsaid += 1;
            return;
        }
        *last += 1;
        let said = Trade { symbol, seq: *last, sent_ns: due_ns };
        if self.books.window.contains(due_ns) {
            self.books.found.said_in_window += 1;
            self.books.found.lateness.record(now_ns - due_ns);
        }
        let mut request = String::with_capacity(200);
        desk::write_message(&mut request, desk.room_of(self.first + at as u32), &said);
        if let Err(error) = self.connections[at].send_frame(D::OPCODE, request.as_bytes()) {
            self.end(at, &error.to_string());
        }
    }
}
