//! One client's connection: its transport, what waits to be written, how far its input has been read.
//!
//! Everything here is owned by the connection's shard. An idle connection is this struct and nothing else: no task,
//! no buffer, no timer of its own.

use std::sync::Arc;

use slotmap::new_key_type;

use super::auth::Session;
use super::clock::Tick;
use crate::bus::Seat;
use crate::fanout::backfill::Backfill;
use crate::fanout::extras::Extras;
use crate::fanout::narrowed::Narrowed;
use crate::fanout::outbox::Outbox;
use crate::fanout::slowness::Slowness;
use crate::identity::Identity;
use crate::limits::CONTROL_RESERVE_BYTES;
use crate::market::{Delay, Form};
use crate::protocol::Dialect;
use crate::rate::{Allowance, Rate};
use crate::transport::Transport;
use crate::websocket::reader::Reader;

new_key_type! {
    /// A connection on its shard; a key of one that has gone finds nothing.
    pub(super) struct ConnKey;
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Messages are read and answered.
    Open,
    /// A request waits for ingest or the control side; what the client sends after it waits as well, so that replies keep
    /// their order.
    Waiting,
    /// A close frame is the last thing in the outbox; input is discarded.
    Closing,
    /// The close frame is written and the writing side shut; waiting for the peer to close as well.
    Closed,
}

impl Phase {
    /// See [`Conn::is_live`].
    pub(super) const fn is_live(self) -> bool {
        matches!(self, Self::Open | Self::Waiting)
    }
}

/// Whether a client has been told how the feed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FeedNews {
    /// It is told nothing unasked before its first subscription, or with Socket.IO its first namespace.
    BehindSubscription,
    /// It is yet to be told, behind the reply to `?symbols=`.
    Due,
    /// It has been, and is told of changes.
    Told,
}

/// Whether a socket takes what it is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// It always has, and the poll need not report when it does: most sockets are never full.
    Always,
    /// It took less; the poll will report that it takes more.
    Full,
    /// It takes more again; the poll will report that the next time as well.
    Again,
}

/// A connection of a shard.
#[derive(Debug)]
pub(super) struct Conn {
    /// The socket.
    pub(super) transport: Transport,
    /// What waits to be written.
    pub(super) outbox: Outbox,
    /// State that most clients don't need: see [`Extras`].
    pub(super) extras: Option<Box<Extras>>,
    /// How far the input has been read.
    pub(super) reader: Reader,
    /// Input that came after a request that waits for ingest or the control side, or while more than half of [`CONTROL_RESERVE_BYTES`] waits to be written.
    pub(super) unread: Option<Box<[u8]>>,
    /// How its messages are written.
    pub(super) dialect: Dialect,
    /// Whether messages may be compressed, in both directions: permessage-deflate is agreed on.
    pub(super) deflate: bool,
    /// Who the client is and what it may have; `None` until it has shown that.
    pub(super) identity: Option<Arc<Identity>>,
    /// What else there is to know of a client that has, or needs, a token.
    pub(super) session: Option<Box<Session>>,
    /// Where the connection stands.
    pub(super) phase: Phase,
    /// The socket may have more input than was read.
    pub(super) readable: bool,
    /// Whether the socket takes what it is offered.
    pub(super) space: Space,
    /// The peer has closed its side of TCP: there is an end to be read behind its last data.
    pub(super) read_closed: bool,
    /// On the shard's list of connections to flush.
    pub(super) dirty: bool,
    /// The peer has sent its close frame: once ours is written, nobody has anything left to say.
    pub(super) close_received: bool,
    /// Whether the client has been told how the feed is.
    pub(super) feed_news: FeedNews,
    /// The client has been subscribed to something, if only for a while.
    pub(super) has_subscribed: bool,
    /// The client has shown who it is.
    pub(super) has_authenticated: bool,
    /// Pongs missed in a row.
    pub(super) missed_pongs: u16,
    /// Requests refused for their rate, in a row.
    pub(super) rate_strikes: u8,
    /// When the last frame came in.
    pub(super) received: Tick,
    /// When the last ping fell due.
    pub(super) pinged: Tick,
    /// Whether that ping was sent and its answer isn't judged yet.
    pub(super) ping_pending: bool,
    /// When that ping was queued, in microseconds modulo 2^32; 0 once its pong has come.
    pub(super) ping_sent_us: u32,
    /// When the socket last took a byte, or began to be blocked.
    pub(super) progressed: Tick,
    /// Whether the client keeps up.
    pub(super) slowness: Slowness,
    /// When a closing connection is cut off.
    pub(super) cut_off: Tick,
    /// The tick of the one entry in the wheel that counts; others are stale.
    pub(super) timer: Tick,
    /// What is left of the message rate of a client without a user.
    pub(super) allowance: Allowance,
    /// The place in `MAX_CONNECTIONS`, freed with the connection.
    pub(super) seat: Seat,
}

impl Conn {
    /// A connection that has just been handshaken, at `now`. Its last ping is taken to have fallen due `since_ping` ticks ago.
    pub(super) fn new(
        transport: Transport,
        dialect: Dialect,
        deflate: bool,
        seat: Seat,
        now: Tick,
        since_ping: u32,
    ) -> Self {
        Self {
            transport,
            outbox: Outbox::new(dialect.wrapping(), deflate),
            extras: None,
            reader: Reader::default(),
            unread: None,
            dialect,
            deflate,
            identity: None,
            session: None,
            phase: Phase::Open,
            readable: false,
            space: Space::Always,
            read_closed: false,
            dirty: false,
            close_received: false,
            feed_news: if dialect.is_in_order() { FeedNews::BehindSubscription } else { FeedNews::Due },
            has_subscribed: false,
            has_authenticated: false,
            missed_pongs: 0,
            rate_strikes: 0,
            received: now,
            pinged: now.minus(since_ping),
            ping_pending: false,
            ping_sent_us: 0,
            progressed: now,
            slowness: Slowness::default(),
            cut_off: Tick::NEVER,
            timer: Tick::NEVER,
            allowance: Allowance::default(),
            seat,
        }
    }

    /// With which delay the client gets events.
    pub(super) fn delay(&self) -> Delay {
        self.identity.as_ref().map_or(Delay::NONE, |identity| identity.rights.delay)
    }

    /// How the client's events are written, and with which delay they come.
    pub(super) fn form(&self) -> Form {
        let form = self.dialect.form().delayed(self.delay());
        if self.deflate { form.deflated() } else { form }
    }

    /// Whether each of the client's events is compressed by itself: those of a client that gets several in a message are compressed together.
    pub(super) fn compresses_each(&self) -> bool {
        self.deflate && self.dialect.wrapping().is_none()
    }

    /// Takes one message off the rate of the client's user, whose connections share it, or of a client without a user.
    pub(super) fn take_message(&mut self, rate: Rate, now_us: u64) -> Result<(), u64> {
        match self.session.as_ref().and_then(|session| session.user_share()) {
            Some(share) => share.messages.take(rate, now_us),
            None => self.allowance.take(rate, now_us),
        }
    }

    /// Whether the client still takes part: it gets events and statuses, and its messages count.
    pub(super) fn is_live(&self) -> bool {
        self.phase.is_live()
    }

    /// Whether the client's next messages have to wait: for ingest or the control side, or because too many replies wait already.
    pub(super) fn is_paused(&self) -> bool {
        let reserve_half_full = self.outbox.own_bytes() as usize > CONTROL_RESERVE_BYTES / 2;
        self.phase == Phase::Waiting || (self.phase == Phase::Open && reserve_half_full)
    }

    /// Whether there is, or may be, something to write.
    pub(super) fn has_output(&self) -> bool {
        !self.outbox.is_empty() || self.has_backfill()
    }

    /// Whether something is to happen once everything has been written.
    pub(super) fn waits_for_output(&self) -> bool {
        self.phase == Phase::Closing || self.extras.is_some() || self.has_unread()
    }

    /// Whether something of its topics' history waits for room in the client's outbox.
    pub(super) fn has_backfill(&self) -> bool {
        let backfill = self.extras.as_ref().and_then(|extras| extras.backfill.as_ref());
        backfill.is_some_and(|backfill| backfill.is_waiting())
    }

    /// What is on its way to the client of its topics' history, if it asked for any.
    pub(super) fn backfill(&mut self) -> Option<&mut Backfill> {
        self.extras.as_mut()?.backfill.as_deref_mut()
    }

    /// What the client wrote, if its rights cover, or have covered, some names only.
    pub(super) fn narrowed(&self) -> Option<&Narrowed> {
        self.session.as_ref()?.narrowed.as_ref()
    }

    /// The same, to change it.
    pub(super) fn narrowed_mut(&mut self) -> Option<&mut Narrowed> {
        self.session.as_mut()?.narrowed.as_mut()
    }

    /// A pong has come: how long ago the ping was queued that it answers, if it is the first one since.
    pub(super) fn pong_rtt_us(&mut self, now_us: u64) -> Option<u64> {
        let sent_us = std::mem::take(&mut self.ping_sent_us);
        (sent_us != 0).then(|| u64::from((now_us as u32).wrapping_sub(sent_us)))
    }

    /// Whether the socket took less than it was offered, and hasn't been reported to take more.
    pub(super) fn is_blocked(&self) -> bool {
        self.space == Space::Full
    }

    /// Whether there is, or may be, input that could be taken now.
    pub(super) fn has_input(&self) -> bool {
        self.has_unread() && !self.is_paused()
    }

    /// The same, also while the client's next messages have to wait.
    #[inline]
    pub(super) fn has_unread(&self) -> bool {
        self.readable || self.unread.is_some()
    }
}

const _: () =
    assert!(size_of::<Conn>() <= 192, "what an idle connection costs, beside its place in the index");
