//! Clients come and go: adoption, input, closing.

use mio::event::Event;
use mio::net::TcpStream;

use super::super::batch::Batch;
use super::conn::{Conn, ConnKey, Phase};
use super::{Shard, key_of, ticks, token_of};
use crate::bus::{Arrival, Feed};
use crate::fanout::outbox::Outbox;
use crate::fanout::slowness::Slowness;
use crate::limits;
use crate::protocol::native::{read, write as reply};
use crate::protocol::refusal::{ErrorCode, Refusal};
use crate::protocol::request::Request;
use crate::rate::Allowance;
use crate::transport::Transport;
use crate::websocket::close::{self, CloseCode};
use crate::websocket::reader::{Incoming, ReadError, Reader};

/// Reads of the scratch buffer's size that one socket may do in one turn.
const READS_PER_TURN: usize = 4;

/// One message as the loop over the input sees it.
enum Step {
    Message(Result<Request, Refusal>),
    Pong(Vec<u8>),
    Nothing,
    Closed,
}

impl Shard {
    pub(super) fn adopt(&mut self, client: Arrival) {
        let Arrival { stream, early, symbols, seat } = client;
        let tick = self.clock.tick();
        let interval = ticks(self.config.ping_interval);
        let key = self.conns.insert(Conn {
            transport: Transport::Plain(TcpStream::from_std(stream)),
            outbox: Outbox::default(),
            extras: None,
            reader: Reader::default(),
            unread: None,
            phase: Phase::Open,
            readable: false,
            blocked: false,
            ending: false,
            dirty: false,
            peer_closed: false,
            ungreeted: true,
            missed_pongs: 0,
            rate_strikes: 0,
            received_tick: tick,
            // As if the last ping had fallen due at a random moment of the interval before: pings are spread over it.
            ping_tick: tick.wrapping_sub(fastrand::u32(..interval)),
            ping_pending: false,
            ping_sent_us: 0,
            progress_tick: tick,
            slowness: Slowness::default(),
            close_tick: u32::MAX,
            timer_tick: u32::MAX,
            allowance: Allowance::default(),
            seat,
        });
        self.metrics.connections_opened.add(1);
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.transport.register(self.poll.registry(), token_of(key)).is_err() {
            return self.remove(key);
        }
        self.arm(key);
        match symbols.map(|symbols| read::parse_query(&symbols, &self.config.offer)) {
            None => {}
            Some(Ok(request)) => self.subscribe(key, request, None),
            Some(Err(refusal)) => self.refuse(key, &refusal),
        }
        self.greet(key);
        if self.drain_until_us.is_some() {
            self.send_away(key);
        }
        let mut early = early.to_vec();
        self.take_input(key, &mut early);
    }

    /// Tells a new client that the upstream is down, if it is; behind the reply to `?symbols=`.
    pub(super) fn greet(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.phase == Phase::Waiting || !std::mem::take(&mut conn.ungreeted) {
            return;
        }
        if self.feed == Feed::Down {
            let status = Batch::own(reply::feed_down(self.clock.unix_ms), &self.ledger);
            self.queue_own(key, status);
        }
    }

    pub(super) fn socket_ready(&mut self, event: &Event) {
        let key = key_of(event.token());
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.ending |= event.is_read_closed();
        if event.is_writable() && std::mem::take(&mut conn.blocked) {
            self.mark_dirty(key);
        }
        if event.is_readable() {
            self.read(key);
        }
    }

    /// Goes on with the clients that had more input than their budget.
    pub(super) fn resume_reading(&mut self) {
        for key in std::mem::take(&mut self.unfinished) {
            self.read(key);
        }
    }

    fn read(&mut self, key: ConnKey) {
        let mut scratch = std::mem::take(&mut self.read_scratch);
        let mut reads = 0;
        while let Some(conn) = self.conns.get_mut(key) {
            conn.readable = true;
            if conn.is_paused() {
                break;
            }
            if let Some(mut unread) = conn.unread.take() {
                self.take_input(key, &mut unread);
                continue;
            }
            if reads == READS_PER_TURN {
                self.unfinished.push(key);
                break;
            }
            reads += 1;
            match conn.transport.read(&mut scratch) {
                Ok(0) => self.remove(key),
                Ok(count) => {
                    // What comes after a short read is reported anew (epoll(7), Q9); an end that was reported is not.
                    conn.readable = count == scratch.len() || conn.ending;
                    let exhausted = !conn.readable;
                    self.metrics.bytes_received.add(count as u64);
                    self.take_input(key, &mut scratch[..count]);
                    if exhausted {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    conn.readable = false;
                    break;
                }
                Err(_) => self.remove(key),
            }
        }
        self.read_scratch = scratch;
    }

    /// Takes frames off the input until it is used up or the client's next messages have to wait.
    fn take_input(&mut self, key: ConnKey, input: &mut [u8]) {
        let mut at = 0;
        while at < input.len() {
            let tick = self.clock.tick();
            let Some(conn) = self.conns.get_mut(key) else { return };
            if conn.is_paused() {
                conn.unread = Some(input[at..].into());
                return;
            }
            if !conn.is_live() {
                return self.take_discarded(key, &mut input[at..]);
            }
            let step = match conn.reader.next(&mut input[at..], self.config.max_message_bytes) {
                Ok(step) => step,
                Err(error) => return self.break_protocol(key, &error),
            };
            at += step.consumed;
            let Some(incoming) = step.message else { continue };
            conn.received_tick = tick;
            let step = match incoming {
                Incoming::Text(text) => Step::Message(read::parse(text, &self.config.offer)),
                Incoming::Binary(_) => Step::Message(Err(Refusal::binary())),
                Incoming::Ping(payload) => Step::Pong(close::pong_frame(payload)),
                Incoming::Pong(_) => {
                    if let Some(rtt_us) = conn.pong_rtt_us(self.clock.now_us) {
                        self.metrics.pongs.add(1);
                        self.metrics.pong_rtt_us_sum.add(rtt_us);
                    }
                    Step::Nothing
                }
                Incoming::Close(_) => Step::Closed,
            };
            self.revive(key);
            self.take_step(key, step);
        }
        if let Some(conn) = self.conns.get_mut(key) {
            conn.reader.settle();
        }
    }

    fn take_step(&mut self, key: ConnKey, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Message(message) => {
                self.metrics.messages_received.add(1);
                self.answer(key, message);
            }
            Step::Pong(frame) => {
                if let Some(conn) = self.conns.get_mut(key) {
                    conn.outbox.push_control(&frame);
                    self.mark_dirty(key);
                }
            }
            Step::Closed => {
                if let Some(conn) = self.conns.get_mut(key) {
                    conn.peer_closed = true;
                    conn.outbox.clear();
                    self.close(key, CloseCode::Normal, "closed by the client");
                }
            }
        }
    }

    fn break_protocol(&mut self, key: ConnKey, error: &ReadError) {
        self.metrics.protocol_errors.add(1);
        if let ReadError::TooLarge { .. } = error {
            self.refuse(key, &Refusal::new(ErrorCode::MessageTooLarge, error.to_string()));
        }
        self.close(key, error.close_code(), &error.to_string());
        // Nothing can be read after such an error; what follows is thrown away from any place.
        if let Some(conn) = self.conns.get_mut(key) {
            conn.reader = Reader::default();
        }
    }

    /// Replies, then closes.
    pub(super) fn refuse_and_close(&mut self, key: ConnKey, refusal: &Refusal) {
        self.metrics.errors_sent.add(1);
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.outbox.push_own(Batch::own(reply::error(refusal, self.clock.unix_ms), &self.ledger));
        self.close(key, CloseCode::TryAgainLater, "slow client");
    }

    /// Queues the close frame behind what waits already; from now on the client gets and says nothing more.
    pub(super) fn close(&mut self, key: ConnKey, code: CloseCode, reason: &str) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if !conn.is_live() {
            return;
        }
        // What is yet to be announced goes first, and has to be named when the topic has gone with its last subscriber.
        let named = |topic| Some((topic, self.index.subject(topic)?.clone()));
        let ended: Vec<_> = conn.outbox.skipped().filter_map(named).collect();
        self.mark_ended(key, &ended);
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.outbox.push_own(Batch::own(close::close_frame(code, reason), &self.ledger));
        conn.phase = Phase::Closing;
        conn.unread = None;
        self.index.disconnect(key);
        self.release_unwanted();
        self.mark_dirty(key);
        self.arm_close(key, limits::CLOSE_FLUSH_TIMEOUT);
    }

    /// Input behind our close frame counts for nothing, but the peer's own close frame ends the wait for it.
    fn take_discarded(&mut self, key: ConnKey, input: &mut [u8]) {
        let mut at = 0;
        while let Some(conn) = self.conns.get_mut(key)
            && at < input.len()
        {
            let Ok(step) = conn.reader.next(&mut input[at..], self.config.max_message_bytes) else { return };
            at += step.consumed;
            conn.peer_closed |= matches!(step.message, Some(Incoming::Close(_)));
            conn.reader.settle();
            if conn.peer_closed && conn.phase == Phase::Closed {
                return self.remove(key);
            }
        }
    }

    /// The close frame is written: no more writing, and a while for the peer to close as well. Closing the socket at
    /// once, with input unread, would send a reset that can overtake the close frame.
    pub(super) fn shut_writing(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.phase = Phase::Closed;
        let nothing_unread = conn.peer_closed && !conn.readable;
        if conn.transport.shutdown_write().is_err() || nothing_unread {
            return self.remove(key);
        }
        if conn.readable {
            self.unfinished.push(key);
        }
        self.arm_close(key, limits::CLOSE_TIMEOUT);
    }

    /// Lets go of a connection; the socket closes.
    pub(super) fn remove(&mut self, key: ConnKey) {
        // With it the socket closes, which takes it off the poll as well.
        let Some(conn) = self.conns.remove(key) else { return };
        if conn.missed_pongs > 0 {
            self.count_dead(-1);
        }
        self.index.disconnect(key);
        self.release_unwanted();
        self.links.load.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        self.metrics.connections_closed.add(1);
        drop(conn.seat);
    }
}
