//! A swarm of connections on one epoll: opens them, subscribes them, reads what comes, and keeps the books.
//!
//! Everything a message needs is at hand: one read into one scratch buffer, frames and trades read where they lie, a
//! slot in the ledger, a bucket of the histogram. So that a core goes to the server, not to watching it.

mod churn;
mod connection;
mod talk;

use std::io;
use std::ops::Range;

use mio::event::Event;
use mio::{Registry, Token};

use self::churn::Churn;
use self::connection::{Connection, Stage};
use self::talk::Talk;
use super::clock::monotonic_ns;
use super::crowd::Crowd;
use super::desk;
use super::dialect::{Dialect, Reader as _, Said};
use super::frames;
use super::handshake::{self, Response};
use super::ledger::{Holding, Ledger};
use super::message::{Message, Trade};
use super::wire::{Outcome, Progress, Window};

/// The shared read buffer, and so the longest frame, and the most that one read takes.
const SCRATCH_BYTES: usize = 256 * 1024;
/// Connections begun in one turn of the loop, so that those in flight get theirs.
const OPENED_PER_TURN: usize = 64;
/// How long a connection may take from connect to its first reply.
const OPEN_TIMEOUT_NS: u64 = 20_000_000_000;

/// Connections of one process.
#[derive(Debug)]
pub struct Swarm<D: Dialect> {
    crowd: Crowd,
    first: u32,
    registry: Registry,
    connections: Vec<Connection>,
    /// What reads them, each one's at the same place.
    readers: Vec<D::Reader>,
    scratch: Box<[u8]>,
    /// The next connection to open.
    next: usize,
    /// Connections on their way in.
    opening: usize,
    churn: Churn,
    talk: Talk,
    books: Books,
    last_read_ns: u64,
    /// What each connection shows, where it has to show something.
    tokens: Vec<String>,
}

/// What is measured.
#[derive(Debug)]
struct Books {
    ledger: Ledger,
    window: Window,
    open: u32,
    /// Of each connection in a room the order in which it has heard all; `None` once it was told of a loss.
    orders: Vec<Option<u64>>,
    /// All but what the ledger knows.
    found: Outcome,
}

impl<D: Dialect> Swarm<D> {
    /// A part of a crowd, to be opened turn by turn. `tokens` has one for each connection of the part, or none at all.
    pub fn new(crowd: Crowd, part: Range<u32>, tokens: Vec<String>, registry: Registry) -> Self {
        let connections: Vec<_> = part.clone().map(|_| Connection::unborn()).collect();
        let ledger = Ledger::new(&crowd, part.clone(), D::HAS_EARLY_EVENTS);
        let orders = vec![Some(0); if crowd.desk.is_some() { part.len() } else { 0 }];
        let books = Books { ledger, window: Window::default(), open: 0, orders, found: Outcome::default() };
        Self {
            first: part.start,
            crowd,
            registry,
            connections,
            readers: part.clone().map(|_| D::Reader::default()).collect(),
            scratch: vec![0; SCRATCH_BYTES].into(),
            next: 0,
            opening: 0,
            churn: Churn::default(),
            talk: Talk::default(),
            books,
            last_read_ns: 0,
            tokens,
        }
    }

    /// Whether every connection is in, or has failed.
    pub fn is_opened(&self) -> bool {
        self.next == self.connections.len() && self.opening == 0
    }

    /// Whether the loop has to come back at once, or at the next millisecond, without an event.
    pub fn is_restless(&self) -> bool {
        (self.next < self.connections.len() && self.opening < self.crowd.connecting_max as usize)
            || self.churn.from_ns.is_some()
            || self.talk.is_going_on()
    }

    /// Counts for rates what arrives from now on in the window, for latencies what was sent in it. `start_ns`: when talk begins.
    pub fn measure(&mut self, start_ns: u64, window: Window) {
        self.books.window = window;
        self.begin_to_talk(start_ns, window);
        if self.crowd.churn_per_second > 0 {
            self.churn.from_ns = Some(monotonic_ns());
        }
    }

    /// How things stand.
    pub fn progress(&self) -> Progress {
        Progress {
            open: self.books.open,
            failed: self.books.found.failed.total() + self.books.found.lost.total(),
            counts: self.books.ledger.counts(),
        }
    }

    /// Whether all that was published has come.
    pub fn is_complete(&self, last: &[u64]) -> bool {
        self.books.ledger.is_complete(last)
    }

    /// When something came last.
    pub fn last_read_ns(&self) -> u64 {
        self.last_read_ns
    }

    /// Closes the books.
    pub fn outcome(self, last: &[u64]) -> Outcome {
        let Books { ledger, orders, mut found, .. } = self.books;
        if let Some(desk) = &self.crowd.desk {
            for (connection, order) in (self.first..).zip(orders).filter(|(_, order)| order.is_some()) {
                found.heard_in_order(desk.room_of(connection), order);
            }
        }
        Outcome { expected: ledger.expected(last), counts: ledger.close(last), ..found }
    }

    /// Opens the next connections, as many as may be in flight.
    pub fn open_some(&mut self) {
        for _ in 0..OPENED_PER_TURN {
            if self.next == self.connections.len() || self.opening >= self.crowd.connecting_max as usize {
                return;
            }
            let at = self.next;
            self.next += 1;
            self.opening += 1;
            let source = self.crowd.source_of(self.first + at as u32);
            let connection = &mut self.connections[at];
            connection.since_ns = monotonic_ns();
            if let Err(error) = connection.open(&self.registry, Token(at), self.crowd.addr, source) {
                connection.stage = Stage::Connecting;
                self.end(at, &error.to_string());
            }
        }
    }

    /// Gives up on connections that take too long to get in.
    pub fn give_up_late_ones(&mut self) {
        let now_ns = monotonic_ns();
        for at in 0..self.next {
            let connection = &self.connections[at];
            let waits = !matches!(connection.stage, Stage::Open | Stage::Ended);
            if waits && now_ns > connection.since_ns + OPEN_TIMEOUT_NS {
                let reason = format!(
                    "no answer for {} s while {:?}",
                    OPEN_TIMEOUT_NS / 1_000_000_000,
                    connection.stage
                );
                self.end(at, &reason);
            }
        }
    }

    /// Does what an event of the poll calls for.
    pub fn ready(&mut self, event: &Event) {
        let Token(at) = event.token();
        if let Err(reason) = self.serve(at, event) {
            self.end(at, &reason);
        }
    }

    fn serve(&mut self, at: usize, event: &Event) -> Result<(), String> {
        let Some(connection) = self.connections.get_mut(at) else { return Ok(()) };
        if connection.stage == Stage::Connecting {
            if !connection.is_connected().map_err(|error| words(&error))? {
                return Ok(());
            }
            connection.stage = Stage::Upgrading;
            let symbols = match D::ASKS_BY_URL {
                true => self.crowd.symbols_of(self.first + at as u32).0,
                false => Vec::new(),
            };
            let request = match self.tokens.get(at) {
                None => D::request(&self.crowd.host, &self.crowd.path, &symbols),
                Some(token) => D::request(
                    &self.crowd.host,
                    &handshake::with_query(&self.crowd.path, "token", token),
                    &symbols,
                ),
            };
            connection.send(&request).map_err(|error| words(&error))?;
        } else if event.is_writable() {
            connection.flush().map_err(|error| words(&error))?;
        }
        if event.is_readable() || event.is_read_closed() {
            self.read(at, event.is_read_closed())?;
        }
        Ok(())
    }

    fn read(&mut self, at: usize, is_closed: bool) -> Result<(), String> {
        // Taken out, so that what is in it can be read while the connection changes.
        let mut scratch = std::mem::take(&mut self.scratch);
        let outcome = self.read_into(at, &mut scratch, is_closed);
        self.scratch = scratch;
        outcome
    }

    /// Reads what there is; if the peer `is_closed`, up to the end, as that was told with the same event.
    fn read_into(&mut self, at: usize, scratch: &mut [u8], is_closed: bool) -> Result<(), String> {
        loop {
            let Some(connection) = self.connections.get_mut(at) else { return Ok(()) };
            let Some((len, is_drained)) = connection.read(scratch).map_err(|error| words(&error))? else {
                return Ok(());
            };
            let now_ns = monotonic_ns();
            self.last_read_ns = now_ns;
            let used = self.consume(at, &scratch[..len], now_ns)?;
            self.connections[at].keep(&scratch[used..len]);
            if is_drained && !is_closed {
                return Ok(());
            }
        }
    }

    /// Takes in what a connection has received; returns how much of it was whole.
    fn consume(&mut self, at: usize, bytes: &[u8], now_ns: u64) -> Result<usize, String> {
        let mut used = 0;
        if self.connections[at].stage == Stage::Upgrading {
            let response =
                if D::ASKS_BY_URL { handshake::stream_response(bytes) } else { handshake::response(bytes) };
            match response {
                Response::Partial => return Ok(0),
                Response::Refused(reason) => return Err(reason),
                Response::Accepted(len) => used = len,
            }
            self.upgraded(at, now_ns)?;
        }
        let is_measured = self.books.window.contains(now_ns);
        let begin = used;
        loop {
            let (len, said) = self.readers[at].next(&bytes[used..], SCRATCH_BYTES / 2)?;
            used += len;
            match said {
                Said::Nothing => break,
                Said::Message(Message::Trade(trade)) => self.trade(at, trade, now_ns, is_measured),
                Said::Message(message) => self.other_message(at, message, now_ns)?,
                Said::Control { opcode, payload } => self.control(at, opcode, payload)?,
            }
        }
        if is_measured {
            self.books.found.bytes_in_window += (used - begin) as u64;
        }
        Ok(used)
    }

    #[inline]
    fn trade(&mut self, at: usize, trade: Trade, now_ns: u64, is_measured: bool) {
        let books = &mut self.books;
        if let Some(Some(order)) = books.orders.get_mut(at) {
            *order = desk::order_with(*order, &trade);
        }
        if books.ledger.event(at, trade.symbol, trade.seq) {
            books.found.delivered_in_window += u64::from(is_measured);
            if books.window.contains(trade.sent_ns) {
                books.found.latency.record(now_ns.saturating_sub(trade.sent_ns));
            }
        }
    }

    #[cold]
    fn other_message(&mut self, at: usize, message: Message, now_ns: u64) -> Result<(), String> {
        match message {
            Message::Subscribed | Message::Done if self.connections[at].stage == Stage::Subscribing => {
                self.opened(at);
            }
            Message::Subscribed => self.churned(at, Holding::On, now_ns),
            Message::Unsubscribed => self.churned(at, Holding::Off, now_ns),
            Message::Done => match self.books.ledger.churned(at) {
                Some((_, Holding::Joining)) => self.churned(at, Holding::On, now_ns),
                Some((_, Holding::Leaving)) => self.churned(at, Holding::Off, now_ns),
                _ => {}
            },
            Message::Question(answer) => {
                let sent = self.connections[at].send_frame(D::OPCODE, answer.as_bytes());
                sent.map_err(|error| words(&error))?;
            }
            Message::Refused(why) if self.connections[at].stage == Stage::Subscribing => return Err(why),
            Message::Refused(why) => self.books.found.complaints.add(&why, 1),
            Message::Skipped { symbol, count } => self.books.ledger.skipped(at, symbol, count),
            Message::RoomSkipped(count) => {
                self.books.ledger.skipped_of_any(count);
                if let Some(order) = self.books.orders.get_mut(at) {
                    *order = None;
                }
            }
            Message::FeedLost => self.books.found.feed_lost += 1,
            Message::Unreadable => self.books.found.complaints.add("a message that can't be understood", 1),
            Message::Trade(_) | Message::Other => {}
        }
        Ok(())
    }

    fn control(&mut self, at: usize, opcode: u8, payload: &[u8]) -> Result<(), String> {
        match opcode {
            frames::PING => {
                self.connections[at].send_frame(frames::PONG, payload).map_err(|error| words(&error))
            }
            frames::CLOSE => {
                let (code, reason) = payload.split_at_checked(2).unwrap_or_default();
                let code = code.iter().fold(0, |code, &byte| code * 256 + u32::from(byte));
                Err(format!("closed with {code}: {}", String::from_utf8_lossy(reason)))
            }
            _ => Ok(()),
        }
    }

    fn upgraded(&mut self, at: usize, now_ns: u64) -> Result<(), String> {
        let connection = &mut self.connections[at];
        self.books.found.handshakes.record(now_ns.saturating_sub(connection.since_ns));
        let (symbols, _) = self.crowd.symbols_of(self.first + at as u32);
        if symbols.is_empty() {
            self.opened(at);
            return Ok(());
        }
        connection.stage = Stage::Subscribing;
        if D::ASKS_BY_URL {
            return Ok(());
        }
        let mut opening = Vec::new();
        match &self.crowd.desk {
            Some(desk) => {
                let mut join = String::new();
                desk::write_join(&mut join, desk.room_of(self.first + at as u32));
                frames::write(&mut opening, D::OPCODE, join.as_bytes());
            }
            None => D::write_opening(&mut opening, &symbols),
        }
        connection.send(&opening).map_err(|error| words(&error))
    }

    fn opened(&mut self, at: usize) {
        self.connections[at].stage = Stage::Open;
        self.opening -= 1;
        self.books.open += 1;
        self.books.found.opened += 1;
    }

    fn end(&mut self, at: usize, reason: &str) {
        let connection = &mut self.connections[at];
        match connection.stage {
            Stage::Unborn | Stage::Ended => return,
            Stage::Open => {
                self.books.open -= 1;
                self.books.found.lost.add(reason, 1);
            }
            Stage::Connecting | Stage::Upgrading | Stage::Subscribing => {
                self.opening -= 1;
                self.books.found.failed.add(reason, 1);
            }
        }
        connection.end();
        // What it has heard is not all.
        if let Some(order) = self.books.orders.get_mut(at) {
            *order = None;
        }
    }
}

/// Why a connection ended, without what differs from one to the other.
fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server ended it without a close frame".to_owned(),
        _ => error.to_string(),
    }
}
