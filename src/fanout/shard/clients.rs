//! Clients come and go: the shard takes them in, closes them, and lets them go.

use std::sync::atomic::Ordering;

use super::clock::ticks;
use super::conn::{Conn, ConnKey, FeedNews, Phase};
use super::{Shard, token_of};
use crate::bus::{Arrival, Feed, Newcomer, Standing};
use crate::limits;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::{FirstRequest, Subscribe};
use crate::transport::Transport;
use crate::websocket::close::{CloseCode, close_frame};

impl Shard {
    /// Takes over a client for life.
    pub(super) fn adopt(&mut self, arrival: Arrival) {
        let Arrival { transport, early, client } = arrival;
        let Newcomer {
            dialect,
            deflate,
            standing,
            greeting,
            request,
            terms,
            at_desk,
            probe,
            seat,
            user_seat,
        } = client;
        // As if the last ping had fallen due at a random moment of the interval before: pings are spread over it.
        let since_ping = fastrand::u32(..ticks(self.ping_interval(dialect)));
        let conn = Conn::new(transport, dialect, deflate, seat, self.clocks.now.tick(), since_ping);
        let key = self.conns.insert(conn);
        self.metrics.connections_opened.add(1);
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.transport.register(&self.registry, token_of(key)).is_err() {
            return self.remove(key);
        }
        if let Some(desk) = self.desk.as_mut().filter(|_| at_desk) {
            desk.asked_for.insert(key);
        }
        if !greeting.is_empty() {
            let greeting = self.output.own_frame(greeting.into());
            self.output.queue(key, conn, greeting);
        }
        if let Some(terms) = terms {
            self.keep_terms(key, terms);
        }
        match standing {
            Standing::Known(identity) => {
                self.identify(key, identity, user_seat);
                self.seat_at_desk(key);
                self.take_first_request(key, request);
            }
            Standing::Unknown => self.await_token(key, request),
            Standing::Refused { denied, place } => self.turn_away(key, &denied, place),
        }
        self.expect_namespace(key, probe);
        self.arm(key);
        self.tell_feed_once(key);
        self.ask_inbox_once(key);
        self.close_if_replaced(key);
        if self.drain_until_us.is_some() {
            self.send_away(key);
        }
        self.take_early(key, &early);
        self.begin_session(key);
    }

    /// Queues a read and a write of a new connection under TLS or over HTTP requests: it may hold bytes of the client's, and unsent ciphertext from the
    /// handshake, which no poll reports.
    fn begin_session(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.transport.buffers()) {
            self.output.mark_dirty(key, conn);
            self.input.unfinished.push(key);
        }
    }

    /// Subscribes a new client to what it asks for in its URL, if it does.
    pub(super) fn take_first_request(&mut self, key: ConnKey, request: Option<FirstRequest>) {
        for part in request.into_iter().flatten() {
            match part {
                Ok(mut request) => {
                    self.cut_to_limit(key, &mut request);
                    self.subscribe(key, request, None);
                }
                Err(refusal) => self.refuse(key, &refusal),
            }
        }
    }

    /// In a dialect that takes what fits, leaves out what is beyond the limit of a new client, and tells it so.
    fn cut_to_limit(&mut self, key: ConnKey, request: &mut Subscribe) {
        let Some(conn) = self.conns.get(key).filter(|conn| conn.dialect.takes_what_fits()) else { return };
        let Some(identity) = &conn.identity else { return };
        let max_symbols = identity.rights.max_symbols_in(conn.dialect);
        if request.selection.names.len() > max_symbols {
            request.selection.names.truncate(max_symbols);
            self.refuse(key, &Refusal::symbol_limit(max_symbols, 0, None));
        }
    }

    /// Tells a new client that the upstream is down, if it is. While the reply to `?symbols=` is awaited this does nothing: that is
    /// the first frame.
    pub(super) fn tell_feed_once(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.is_live()) else { return };
        if conn.phase == Phase::Waiting || conn.feed_news != FeedNews::Due {
            return;
        }
        conn.feed_news = FeedNews::Told;
        if self.feeds[conn.delay().index()] == Feed::Down {
            self.say(key, &Reply::Status(Status::FeedDown));
        }
    }

    /// Tells a client why its request changes nothing. It may go on, if it can ask again.
    pub(super) fn refuse(&mut self, key: ConnKey, refusal: &Refusal) {
        self.metrics.errors_sent[refusal.code as usize].add(1);
        self.say(key, &Reply::Refused(refusal));
        if self.conns.get(key).is_some_and(|conn| !conn.dialect.is_web_socket()) {
            self.close(key, CloseCode::Policy, "refused");
        }
    }

    /// Queues the close frame, if the client speaks WebSocket, behind what waits already; from now on the client gets and says nothing more.
    pub(super) fn close(&mut self, key: ConnKey, code: CloseCode, reason: &str) {
        let Self { conns, subscriptions, newcomers, output, .. } = self;
        let Some(conn) = conns.get_mut(key).filter(|conn| conn.is_live()) else { return };
        // Skips that are not announced yet are announced before the close frame. The mark keeps the topics' names: `leave_all` may
        // remove the topics.
        let named = |topic| Some((topic, subscriptions.index.subject(topic)?.clone()));
        let ended: Vec<_> = conn.outbox.skipped().filter_map(named).collect();
        output.mark_ended(conn, &ended);
        if conn.dialect.is_web_socket() {
            let frame = output.own_frame(close_frame(code, reason));
            output.queue(key, conn, frame);
        }
        output.mark_dirty(key, conn);
        conn.phase = Phase::Closing;
        conn.unread = None;
        newcomers.close(key, conn);
        conn.cut_off = self.clocks.now.tick().plus(ticks(limits::CLOSE_FLUSH_TIMEOUT));
        self.leave_all(key);
        self.arm(key);
    }

    /// Goes on closing once the close frame is written: no more writing, and a while for the peer to close as well. Closing the
    /// socket at once, with input unread, would send a reset that can overtake the close frame.
    pub(super) fn shut_writing(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.phase = Phase::Closed;
        let nothing_unread = conn.close_received && !conn.readable;
        if conn.transport.shutdown_write().is_err() || nothing_unread {
            return self.remove(key);
        }
        if conn.readable {
            self.input.unfinished.push(key);
        }
        conn.cut_off = self.clocks.now.tick().plus(ticks(limits::CLOSE_TIMEOUT));
        self.arm(key);
    }

    /// Lets a connection go; its socket closes, which takes it off the poll as well.
    pub(super) fn remove(&mut self, key: ConnKey) {
        drop(self.let_go(key));
    }

    /// Lets a connection go but for its socket.
    pub(super) fn let_go(&mut self, key: ConnKey) -> Option<Transport> {
        let mut conn = self.conns.remove(key)?;
        if conn.missed_pongs > 0 {
            self.count_dead(-1);
        }
        self.leave_all(key);
        self.handles.load.fetch_sub(1, Ordering::Relaxed);
        self.metrics.connections_closed.add(1);
        self.forget(&mut conn);
        drop(conn.seat);
        Some(conn.transport)
    }
}
