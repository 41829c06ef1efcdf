//! What is on its way to the clients: which of them have something to write, and how much memory that keeps.

use std::collections::VecDeque;
use std::rc::Rc;

use smallvec::SmallVec;

use super::super::batch::{BacklogBytes, Batch, EndedNames};
use super::super::outbox::Scratch;
use super::Shard;
use super::conn::{Conn, ConnKey, FeedNews};
use crate::bus::TopicId;
use crate::limits;
use crate::market::Subject;
use crate::protocol::Dialect;
use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::Grammar;
use crate::websocket::deflate::{Compression, Compressor};
use crate::websocket::header;

/// The scratch buffer that runs are gathered into: about what a socket takes at once, and a whole message of events.
const GATHER_BYTES: usize = limits::BATCH_BYTES_MAX + header::HEADER_BYTES_MAX;

/// The output side of a shard.
pub(super) struct Output {
    /// Bytes that wait in all outboxes together.
    pub(super) backlog: BacklogBytes,
    /// The names of topics that have ended while something of them waited.
    pub(super) ended_names: EndedNames,
    /// Connections with something to write, each once: [`Conn::dirty`] is set for those that are in here.
    pub(super) dirty: VecDeque<ConnKey>,
    /// When the last round of writing reached every dirty connection, in microseconds since the gateway was built.
    pub(super) flushed_us: u64,
    /// Whether the last round of writing reached every dirty connection.
    pub(super) flushed_all: bool,
    /// What one write offers is put together in here.
    pub(super) gather_scratch: Scratch,
    /// How types and symbols are named.
    pub(super) grammar: Grammar,
}

/// What has been written once for all clients that get it alike, by what they have in common.
pub(super) struct Written<K>(SmallVec<[(K, Rc<Batch>); 2]>);

impl<K: PartialEq> Written<K> {
    pub(super) fn new() -> Self {
        Self(SmallVec::new())
    }

    /// What was written for `key`; `write` is called the first time.
    pub(super) fn once_for(&mut self, key: K, write: impl FnOnce() -> Rc<Batch>) -> Rc<Batch> {
        if let Some((_, batch)) = self.0.iter().find(|(known, _)| *known == key) {
            return Rc::clone(batch);
        }
        let batch = write();
        self.0.push((key, Rc::clone(&batch)));
        batch
    }
}

impl Output {
    pub(super) fn new(grammar: Grammar, compression: Option<Compression>) -> Self {
        let backlog = BacklogBytes::with_compressor(Compressor::new(compression));
        Self {
            grammar,
            gather_scratch: Scratch::with_capacity(GATHER_BYTES).with_backlog(&backlog),
            backlog,
            ended_names: EndedNames::default(),
            dirty: VecDeque::new(),
            flushed_us: 0,
            flushed_all: true,
        }
    }

    /// Lists a connection to be written at the end of the turn.
    pub(super) fn mark_dirty(&mut self, key: ConnKey, conn: &mut Conn) {
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push_back(key);
        }
    }

    /// Queues a reply or status for one client. Whether too much waits for the client is judged after the write, in
    /// [`Shard::limit_outbox`](super::Shard::limit_outbox).
    pub(super) fn say(&mut self, key: ConnKey, conn: &mut Conn, reply: &Reply<'_>, now_ms: u64) {
        let frame = self.write(conn, reply, now_ms);
        self.queue(key, conn, frame);
    }

    /// Queues a frame that is no event: a reply, a status, a close. An empty one, for which the dialect has no words, is none.
    pub(super) fn queue(&mut self, key: ConnKey, conn: &mut Conn, frame: Rc<Batch>) {
        if frame.start(1) == 0 {
            return;
        }
        conn.outbox.push_own(frame);
        self.mark_dirty(key, conn);
    }

    /// A reply or status as a frame for a client, or as several, counted in the backlog.
    pub(super) fn write(&self, conn: &Conn, reply: &Reply<'_>, now_ms: u64) -> Rc<Batch> {
        self.write_as(conn.dialect, conn.deflate, reply, now_ms)
    }

    /// The same for clients of a dialect, compressed if that is worth it and they have agreed on it.
    pub(super) fn write_as(
        &self,
        dialect: Dialect,
        deflate: bool,
        reply: &Reply<'_>,
        now_ms: u64,
    ) -> Rc<Batch> {
        let mut frame = dialect.reply(reply, &self.grammar, now_ms);
        if deflate {
            self.backlog.compressor().compress_each(&mut frame);
        }
        self.own_frame(frame)
    }

    /// A frame that is no event, counted in the backlog.
    pub(super) fn own_frame(&self, frame: Vec<u8>) -> Rc<Batch> {
        Batch::own(frame, &self.backlog)
    }

    /// Marks in a client's outbox that topics end for it, if anything waits there: what is skipped of them is announced, by name,
    /// before what is queued from now on.
    pub(super) fn mark_ended(&self, conn: &mut Conn, ended: &[(TopicId, Subject)]) {
        if conn.outbox.is_empty() {
            return;
        }
        for some in ended.chunks(limits::TOPICS_PER_MARK) {
            conn.outbox.push_mark(&Batch::mark(some, &self.ended_names, &self.backlog));
        }
    }
}

impl Shard {
    /// Queues a reply or status for one client.
    pub(super) fn say(&mut self, key: ConnKey, reply: &Reply<'_>) {
        if let Some(conn) = self.conns.get_mut(key) {
            self.output.say(key, conn, reply, self.clocks.now.unix_ms);
        }
    }

    /// Queues an unasked status, unless the client must subscribe or join first.
    pub(super) fn tell(&mut self, key: ConnKey, status: Status<'_>) {
        if self.conns.get(key).is_some_and(|conn| conn.feed_news != FeedNews::BehindSubscription) {
            self.say(key, &Reply::Status(status));
        }
    }

    /// Queues one status, written once in each dialect, compressed and not, to several clients.
    pub(super) fn say_to_all(&mut self, keys: &[ConnKey], reply: &Reply<'_>) {
        let mut written = Written::new();
        for &key in keys {
            let Some(conn) = self.conns.get_mut(key) else { continue };
            let frame = written.once_for((conn.dialect, conn.deflate), || {
                self.output.write(conn, reply, self.clocks.now.unix_ms)
            });
            self.output.queue(key, conn, frame);
        }
    }
}
