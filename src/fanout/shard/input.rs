//! From the sockets to messages: the shard reads what is there and takes frames off it, within budgets.

use std::io::ErrorKind;

use super::conn::{ConnKey, Phase, Space};
use super::{Ready, Shard};
use crate::limits;
use crate::protocol::refusal::{ErrorCode, Refusal};
use crate::protocol::request::Request;
use crate::protocol::socketio::read::{Said, read};
use crate::websocket::close::{CloseCode, pong_frame};
use crate::websocket::reader::{Compressed, Incoming, ReadError, Reader};

/// Reads of the scratch buffer's size that one socket may do in one turn.
const READS_PER_TURN: usize = 4;

/// The input side of a shard.
pub(super) struct Input {
    /// Connections with something left to read, which the next turn takes up.
    pub(super) unfinished: Vec<ConnKey>,
    /// What one read brings is taken apart in here: no connection has a buffer of its own.
    scratch: Vec<u8>,
    /// Bytes, after inflating, of messages of the client being read; reset for each client. 0 for one that may not compress them.
    inflated_bytes: usize,
    /// From when on, in microseconds since the gateway was built, a message over `MESSAGE_WARN_SIZE` is logged again.
    warn_from_us: u64,
}

impl Input {
    pub(super) fn new() -> Self {
        Self {
            unfinished: Vec::new(),
            scratch: vec![0; limits::READ_BUFFER_BYTES],
            inflated_bytes: 0,
            warn_from_us: 0,
        }
    }

    /// Whether a client's messages have had as many bytes as its socket could have brought: a few bytes that are compressed may stand for
    /// a thousand times as many.
    fn has_inflated_enough(&self) -> bool {
        self.inflated_bytes >= READS_PER_TURN * limits::READ_BUFFER_BYTES
    }
}

/// What a frame asks of the shard.
enum Step {
    /// Answer a message: its length in bytes, and the request or what is wrong with it.
    Message(usize, Result<Request, Refusal>),
    /// Send a pong: this frame.
    Pong(Vec<u8>),
    /// Take the client's pong, which had this payload.
    Ponged(Vec<u8>),
    /// Answer the client's close, which had this code.
    Close(Option<u16>),
    /// Take what a client of Socket.IO says: the length in bytes, and what it says.
    Said(usize, Said),
    /// Take a binary message of such a client.
    Binary,
}

impl Shard {
    /// A connection's socket has become ready.
    pub(super) fn socket_ready(&mut self, ready: Ready) {
        let Some(conn) = self.conns.get_mut(ready.key) else { return };
        conn.read_closed |= ready.read_closed;
        if ready.writable && conn.is_blocked() {
            conn.space = Space::Again;
            self.output.mark_dirty(ready.key, conn);
        }
        if ready.readable {
            self.read(ready.key);
        }
    }

    /// Goes on with the clients that had more input than their budget.
    pub(super) fn resume_reading(&mut self) {
        for key in std::mem::take(&mut self.input.unfinished) {
            self.read(key);
        }
    }

    /// Reads what a socket has, and takes the messages off it.
    fn read(&mut self, key: ConnKey) {
        let mut scratch = std::mem::take(&mut self.input.scratch);
        self.input.inflated_bytes = 0;
        let mut reads = 0;
        while let Some(conn) = self.conns.get_mut(key) {
            conn.readable = true;
            if conn.is_paused() {
                break;
            }
            if self.input.has_inflated_enough() {
                self.input.unfinished.push(key);
                break;
            }
            if let Some(mut unread) = conn.unread.take() {
                self.on_input(key, &mut unread);
                continue;
            }
            if reads == READS_PER_TURN {
                self.input.unfinished.push(key);
                break;
            }
            reads += 1;
            match conn.transport.read(&mut scratch) {
                Ok(0) => self.remove(key),
                Ok(count) => {
                    // The poll reports what comes after a short read (epoll(7), Q9), but the end of the stream only once.
                    conn.readable = count == scratch.len() || conn.read_closed || conn.transport.buffers();
                    let exhausted = !conn.readable;
                    self.metrics.bytes_received.add(count as u64);
                    self.on_input(key, &mut scratch[..count]);
                    if exhausted && !self.input.has_inflated_enough() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    conn.readable = false;
                    break;
                }
                // What came was TLS' own, or a part of a record. It counts as a read.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.remove(key),
            }
        }
        self.input.scratch = scratch;
    }

    /// Takes what came behind a client's handshake.
    pub(super) fn take_early(&mut self, key: ConnKey, early: &[u8]) {
        self.input.inflated_bytes = 0;
        self.on_input(key, &mut early.to_vec());
        if self.input.has_inflated_enough() {
            self.input.unfinished.push(key);
        }
    }

    /// Takes frames off the input until it is used up or the client's next messages have to wait.
    fn on_input(&mut self, key: ConnKey, input: &mut [u8]) {
        let mut at = 0;
        while at < input.len() {
            let Some(conn) = self.conns.get_mut(key) else { return };
            if conn.is_paused() || self.input.has_inflated_enough() {
                conn.unread = Some(input[at..].into());
                return;
            }
            if !conn.dialect.is_web_socket() {
                // The request was all that the client had to say.
                return;
            }
            if !conn.is_live() {
                return self.discard_input(key, &mut input[at..]);
            }
            let compressed = if conn.deflate { Compressed::Inflated } else { Compressed::Refused };
            let step = match conn.reader.next(&mut input[at..], self.config.max_message_bytes, compressed) {
                Ok(step) => step,
                Err(error) => return self.break_protocol(key, &error),
            };
            at += step.consumed;
            let Some(incoming) = step.message else { continue };
            conn.received = self.clocks.now.tick();
            if conn.deflate {
                self.input.inflated_bytes += incoming.bytes();
            }
            let step = match (incoming, conn.dialect.socketio()) {
                (Incoming::Text(text), Some(joined)) => {
                    Step::Said(text.len(), read(text, joined, &self.config.grammar))
                }
                (Incoming::Binary(_), Some(_)) => Step::Binary,
                (Incoming::Text(text), None) => {
                    let message = conn.dialect.read(text, &self.config.grammar);
                    // Only what is no request otherwise may be one to the desk: others pay nothing for it.
                    let for_desk = (message.is_err() && self.config.desk.is_some())
                        .then(|| conn.dialect.read_for_desk(text))
                        .flatten();
                    Step::Message(text.len(), for_desk.unwrap_or(message))
                }
                (Incoming::Binary(bytes), None) => {
                    Step::Message(bytes.len(), conn.dialect.read_binary(bytes, &self.config.grammar))
                }
                (Incoming::Ping(payload), _) => Step::Pong(pong_frame(payload)),
                (Incoming::Pong(payload), _) => Step::Ponged(payload.to_vec()),
                (Incoming::Close(close), _) => Step::Close(close.map(|(code, _)| code)),
            };
            self.revive(key);
            if let Step::Said(_, Said::Upgrade) = step {
                return self.take_over(key, &input[at..]);
            }
            self.on_step(key, step);
        }
        if let Some(conn) = self.conns.get_mut(key) {
            conn.reader.release_buffer();
        }
    }

    fn on_step(&mut self, key: ConnKey, step: Step) {
        match step {
            Step::Said(bytes, said) => self.hear(key, said, bytes),
            Step::Binary => self.hear_binary(key),
            Step::Message(bytes, message) => {
                self.count_message(bytes);
                self.answer(key, message);
            }
            Step::Pong(frame) => {
                if let Some(conn) = self.conns.get_mut(key) {
                    conn.outbox.push_control(&frame);
                    self.output.mark_dirty(key, conn);
                }
            }
            Step::Ponged(payload) => {
                if !self.pong_for_inbox(key, &payload) {
                    self.take_pong(key);
                }
            }
            Step::Close(code) => {
                if let Some(conn) = self.conns.get_mut(key) {
                    conn.close_received = true;
                    conn.outbox.clear();
                    self.close(key, CloseCode::echo(code), "closed by the client");
                }
            }
        }
    }

    /// A client has answered a ping.
    pub(super) fn take_pong(&mut self, key: ConnKey) {
        let rtt_us = self.conns.get_mut(key).and_then(|conn| conn.pong_rtt_us(self.clocks.now.us));
        if let Some(rtt_us) = rtt_us {
            self.metrics.pongs.add(1);
            self.metrics.pong_rtt_us_sum.add(rtt_us);
        }
    }

    /// Counts a client's message. One that is larger than `MESSAGE_WARN_SIZE` is logged, unless another was a moment ago.
    pub(super) fn count_message(&mut self, bytes: usize) {
        let metrics = &self.metrics;
        metrics.messages_received.add(1);
        metrics.message_bytes.add(bytes as u64);
        metrics.largest_message_bytes.set(metrics.largest_message_bytes.get().max(bytes as u64));
        let Some(warn_bytes) = self.config.message_warn_bytes.filter(|warn| bytes > warn.get()) else {
            return;
        };
        metrics.messages_over_warn_size.add(1);
        let now_us = self.clocks.now.us;
        if now_us >= self.input.warn_from_us {
            self.input.warn_from_us = now_us + limits::MESSAGE_WARN_INTERVAL.as_micros() as u64;
            tracing::warn!(
                bytes,
                over = warn_bytes,
                "a client has sent a message that is larger than MESSAGE_WARN_SIZE"
            );
        }
    }

    /// The client's input is not WebSocket, or a message is too large: the shard says so and closes.
    fn break_protocol(&mut self, key: ConnKey, error: &ReadError) {
        self.metrics.protocol_errors.add(1);
        if let ReadError::TooLarge { .. } = error {
            self.refuse(key, &Refusal::new(ErrorCode::MessageTooLarge, error.to_string()));
        }
        self.close(key, error.close_code(), &error.to_string());
        // After such an error the shard discards all input, so the reader may begin anywhere.
        if let Some(conn) = self.conns.get_mut(key) {
            conn.reader = Reader::default();
        }
    }

    /// Throws away input behind our close frame, but for the peer's own close frame: that ends the wait for it.
    fn discard_input(&mut self, key: ConnKey, input: &mut [u8]) {
        let mut at = 0;
        while let Some(conn) = self.conns.get_mut(key)
            && at < input.len()
        {
            let compressed = if conn.deflate { Compressed::Kept } else { Compressed::Refused };
            let max_bytes = self.config.max_message_bytes;
            let Ok(step) = conn.reader.next(&mut input[at..], max_bytes, compressed) else { return };
            at += step.consumed;
            conn.close_received |= matches!(step.message, Some(Incoming::Close(_)));
            conn.reader.release_buffer();
            if conn.close_received && conn.phase == Phase::Closed {
                return self.remove(key);
            }
        }
    }
}
