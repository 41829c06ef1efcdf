//! Subscribing and unsubscribing while trades flow: each connection comes and goes with one symbol.

use std::io;

use super::Swarm;
use super::connection::Stage;
use crate::clock::monotonic_ns;
use crate::dialect::Dialect;
use crate::ledger::Holding;

/// Connections that are looked at for one that is free, with no reply outstanding.
const CANDIDATES: usize = 8;

/// The schedule of subscribes and unsubscribes.
#[derive(Debug, Default)]
pub(super) struct Churn {
    /// When it began; none before.
    pub(super) from_ns: Option<u64>,
    pub(super) done: u64,
    /// Where to look for a free connection.
    pub(super) next: usize,
}

impl<D: Dialect> Swarm<D> {
    /// Sends the subscribes and unsubscribes that are due.
    pub fn churn_some(&mut self) {
        let Some(from_ns) = self.churn.from_ns else { return };
        let now_ns = monotonic_ns();
        if now_ns >= self.books.window.to_ns {
            self.churn.from_ns = None;
            return;
        }
        // Each worker does its connections' share.
        let share = self.connections.len() as f64 / f64::from(self.crowd.connections.max(1));
        let per_second = f64::from(self.crowd.churn_per_second) * share;
        let due = ((now_ns - from_ns) as f64 * per_second / 1e9) as u64;
        while self.churn.done + self.books.found.churn_missed < due {
            match self.free_to_churn() {
                Some(at) => {
                    self.churn.done += 1;
                    if let Err(error) = self.churn_one(at, now_ns) {
                        self.end(at, &error.to_string());
                    }
                }
                None => self.books.found.churn_missed += 1,
            }
        }
    }

    fn free_to_churn(&mut self) -> Option<usize> {
        for _ in 0..CANDIDATES.min(self.connections.len()) {
            let at = self.churn.next;
            self.churn.next = (at + 1) % self.connections.len();
            let is_settled = matches!(self.books.ledger.churned(at), Some((_, Holding::On | Holding::Off)));
            if self.connections[at].stage == Stage::Open && is_settled {
                return Some(at);
            }
        }
        None
    }

    fn churn_one(&mut self, at: usize, now_ns: u64) -> io::Result<()> {
        let Some((symbol, holding)) = self.books.ledger.churned(at) else { return Ok(()) };
        let mut request = String::with_capacity(64);
        let holding = match holding {
            Holding::Off => {
                D::write_subscribe(&mut request, symbol);
                Holding::Joining
            }
            _ => {
                D::write_unsubscribe(&mut request, symbol);
                Holding::Leaving
            }
        };
        self.books.ledger.turn(at, holding);
        let connection = &mut self.connections[at];
        connection.since_ns = now_ns;
        connection.send_frame(D::OPCODE, request.as_bytes())
    }

    /// The reply to a subscribe or unsubscribe has come.
    pub(super) fn churned(&mut self, at: usize, holding: Holding, now_ns: u64) {
        self.books.ledger.turn(at, holding);
        let since_ns = self.connections[at].since_ns;
        if self.books.window.contains(since_ns) {
            self.books.found.replies.record(now_ns.saturating_sub(since_ns));
        }
    }
}
