//! Who the shard's clients are: tokens that they send, and the end of a token.
//!
//! A shard verifies nothing. It hands a token to the control side, and the client's next messages wait for the answer, as they
//! do for ingest's.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::super::index::Index;
use super::super::narrowed::Narrowed;
use super::Shard;
use super::clock::{Tick, ticks};
use super::conn::{Conn, ConnKey, FeedNews, Phase};
use super::socketio::Sockets;
use crate::bus::{Denied, Seat, Ticket, ToControl, UserSeat, UserShare, Verified};
use crate::identity::Identity;
use crate::limits::TOKEN_EXPIRING_BEFORE;
use crate::market::Subject;
use crate::protocol::refusal::{Cause, ErrorCode, Refusal};
use crate::protocol::reply::{Reply, ShutdownReason, Status};
use crate::protocol::request::{FirstRequest, Id, Token};
use crate::protocol::terms::Options;
use crate::websocket::close::CloseCode;

/// What a shard keeps of a client that has a token, needs one, or may have only some names.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// What the client wrote; only for one whose rights cover some names only.
    pub(super) narrowed: Option<Narrowed>,
    /// Until when the client has to show who it is.
    auth_by: Option<Tick>,
    /// What it asks for in its URL, for when it has.
    request: Option<FirstRequest>,
    /// When the client is told that its token ends, until it has been.
    warn_us: Option<u64>,
    /// When its token ends, in microseconds since the gateway was built.
    end_us: Option<u64>,
    /// The place of a client that is turned away.
    place: Option<Seat>,
    /// The client's place among the connections of its user.
    user_seat: Option<Arc<UserSeat>>,
    /// On which terms it is served where its requests name none.
    terms: Option<Box<Options>>,
    /// What a client of Socket.IO has besides.
    pub(super) sockets: Option<Box<Sockets>>,
}

impl Session {
    /// On which terms the client is served where its requests name none.
    pub(super) fn terms(&self) -> Option<&Options> {
        self.terms.as_deref()
    }

    /// What the client shares with its user's other connections, if it has a user.
    pub(super) fn user_share(&self) -> Option<&UserShare> {
        self.user_seat.as_deref().map(UserSeat::share)
    }

    /// When something has to be done.
    pub(super) fn next_deadline(&self) -> Tick {
        let warn = self.warn_us.map_or(Tick::NEVER, Tick::not_before_us);
        let end = self.end_us.map_or(Tick::NEVER, Tick::not_before_us);
        let join = self.sockets.as_ref().map_or(Tick::NEVER, |sockets| sockets.deadline());
        self.auth_by.unwrap_or(Tick::NEVER).min(warn).min(end).min(join)
    }
}

/// The clients of a shard that have yet to show who they are, tokens on their way, and the numbers of those that have a user.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// The oldest first. Some may have shown it since, or gone.
    keys: VecDeque<ConnKey>,
    /// Those that are being closed, which may take them a while; some may have gone.
    closing: VecDeque<ConnKey>,
    /// How many have a place: of both those that have yet to show it, and those that are being closed.
    count: usize,
    /// Tokens that the control side verifies.
    verifying: HashMap<Ticket, (ConnKey, Option<Id>)>,
    /// Clients that have a user, by the number of their [`UserSeat`].
    numbered: HashMap<u64, ConnKey>,
}

impl Shard {
    /// A new client has to send a token before anything else.
    pub(super) fn await_token(&mut self, key: ConnKey, request: Option<FirstRequest>) {
        self.make_room_for_newcomer();
        let Some(conn) = self.conns.get_mut(key) else { return };
        let session = conn.session.get_or_insert_default();
        session.auth_by = Some(self.clocks.now.tick().plus(ticks(self.config.auth_timeout)));
        session.request = request;
        self.newcomers.count += 1;
        // Those that are no newcomers any more leave when they come to the front, or when they are many.
        if self.newcomers.keys.len() >= 2 * self.config.max_unauthenticated {
            let conns = &self.conns;
            self.newcomers.keys.retain(|key| conns.get(*key).is_some_and(is_newcomer));
            self.newcomers.closing.retain(|key| conns.get(*key).is_some_and(has_newcomers_place));
        }
        self.newcomers.keys.push_back(key);
    }

    /// Lets go of those that are being closed and have not gone by themselves; then the oldest that has not shown who it is makes room.
    /// That one is told so, and may take until the next one comes to go.
    fn make_room_for_newcomer(&mut self) {
        while self.newcomers.count >= self.config.max_unauthenticated {
            if let Some(oldest) = self.newcomers.closing.pop_front() {
                if self.conns.get(oldest).is_some_and(has_newcomers_place) {
                    self.write_last(oldest);
                    self.remove(oldest);
                }
                continue;
            }
            let Some(oldest) = self.newcomers.keys.pop_front() else { return };
            if self.conns.get(oldest).is_some_and(is_newcomer) {
                return self.deny_late(oldest, "Not authenticated: newer clients need the place".to_owned());
            }
        }
    }

    /// Tells a new client why it isn't let in, and closes it.
    pub(super) fn turn_away(&mut self, key: ConnKey, denied: &Denied, place: Seat) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.session.get_or_insert_default().place = Some(place);
        }
        self.deny(key, denied, None);
    }

    /// Keeps on which terms a client is served where its requests name none.
    pub(super) fn keep_terms(&mut self, key: ConnKey, terms: Box<Options>) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.session.get_or_insert_default().terms = Some(terms);
        }
    }

    /// Has the control side verify what a client has sent.
    pub(super) fn verify(&mut self, key: ConnKey, token: Token, id: Option<Id>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let ends = conn.identity.as_ref().is_some_and(|identity| identity.expiry.is_some());
        if conn.dialect.takes_one_token() && conn.has_authenticated && !ends {
            let refusal =
                Refusal::new(ErrorCode::Unauthorized, "Authenticated already, with a key that doesn't end");
            return self.refuse(key, &Refusal { id, cause: Cause::AlreadyAuthenticated, ..refusal });
        }
        conn.phase = Phase::Waiting;
        let has_seat = conn.session.as_ref().is_some_and(|session| session.user_seat.is_some());
        let ticket = self.subscriptions.next_ticket();
        self.newcomers.verifying.insert(ticket, (key, id));
        self.handles.control.send(ToControl::Verify { shard: self.handles.id, ticket, token, has_seat });
    }

    /// The control side says who a client is, or why it is not let in.
    pub(super) fn on_verified(&mut self, ticket: Ticket, result: Result<Verified, Denied>) {
        let Some((key, id)) = self.newcomers.verifying.remove(&ticket) else { return };
        // The client may have gone meanwhile.
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.phase == Phase::Waiting) else { return };
        conn.phase = Phase::Open;
        let may_try_again = conn.dialect.may_try_again() && conn.identity.is_none();
        let stays = conn.dialect.stays_refused();
        let known = conn.identity.as_ref().and_then(|identity| identity.user.as_ref());
        match result {
            Ok(new) if known.is_some_and(|user| new.identity.user.as_ref() != Some(user)) => {
                let denied = Denied::token("The token is another user's than the connection");
                if stays { self.turn_down(key, denied, id) } else { self.deny(key, &denied, id) }
            }
            Ok(new) if self.would_mix_delays(key, &new.identity) => {
                self.send_elsewhere(key, ShutdownReason::Delay, 0, "another delay");
            }
            Ok(verified) => self.renew(key, verified, id),
            Err(denied) if stays => self.turn_down(key, denied, id),
            Err(denied) if may_try_again && denied.code == ErrorCode::TooManyConnections => {
                self.turn_down(key, denied, id);
            }
            Err(denied) => self.deny(key, &denied, id),
        }
        if self.conns.get(key).is_some_and(Conn::has_input) {
            self.input.unfinished.push(key);
        }
    }

    /// Whether a token's delay is another than that of what the client is subscribed to.
    fn would_mix_delays(&self, key: ConnKey, new: &Identity) -> bool {
        let has_another = self.conns.get(key).is_some_and(|conn| conn.delay() != new.rights.delay);
        has_another && self.subscriptions.index.subjects_of(key).next().is_some()
    }

    /// A client has not shown in time who it is.
    fn deny_late(&mut self, key: ConnKey, why: String) {
        self.deny_for(
            key,
            &Refusal { cause: Cause::AuthTimeout, ..Refusal::new(ErrorCode::Unauthorized, why) },
        );
    }

    /// Tells a client why its token changes nothing.
    fn turn_down(&mut self, key: ConnKey, denied: Denied, id: Option<Id>) {
        self.refuse(key, &Refusal { id, ..Refusal::new(denied.code, denied.why) });
    }

    /// Tells a client why it is not let in, and closes it.
    fn deny(&mut self, key: ConnKey, denied: &Denied, id: Option<Id>) {
        self.deny_for(key, &Refusal { id, ..Refusal::new(denied.code, &denied.why) });
    }

    fn deny_for(&mut self, key: ConnKey, refusal: &Refusal) {
        self.refuse(key, refusal);
        let reason = match refusal.code {
            ErrorCode::TooManyConnections => "too many connections",
            _ => "unauthorized",
        };
        self.close(key, CloseCode::Policy, reason);
    }

    /// A newer connection of the same user has taken the place of one of this shard's clients, perhaps.
    pub(super) fn on_replaced(&mut self, number: u64) {
        if let Some(&key) = self.newcomers.numbered.get(&number) {
            self.close_if_replaced(key);
        }
    }

    /// Closes a client whose place a newer connection of its user has taken. That may have happened before the client was here.
    pub(super) fn close_if_replaced(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key).filter(|conn| conn.is_live()) else { return };
        let seat = conn.session.as_ref().and_then(|session| session.user_seat.as_deref());
        if let Some(max) = seat.and_then(UserSeat::replaced) {
            let why = format!(
                "A newer connection of your user has taken this one's place: at most {max} at a time (MAX_CONNECTIONS_PER_USER)"
            );
            self.refuse(key, &Refusal::new(ErrorCode::TooManyConnections, why));
            self.close(key, CloseCode::Policy, "replaced");
        }
    }

    /// From now on the client is known. Returns what it asks for in its URL, if that has waited for it.
    pub(super) fn identify(
        &mut self,
        key: ConnKey,
        identity: Arc<Identity>,
        seat: Option<Arc<UserSeat>>,
    ) -> Option<FirstRequest> {
        let Self { conns, newcomers, clocks, .. } = self;
        let conn = conns.get_mut(key)?;
        newcomers.settle(conn);
        conn.has_authenticated |= identity.user.is_some();
        let (expiry, is_literal) = (identity.expiry, identity.rights.is_literal());
        conn.identity = Some(identity);
        if conn.session.is_none() && expiry.is_none() && is_literal && seat.is_none() {
            return None;
        }
        let session = conn.session.get_or_insert_default();
        if let Some(seat) = seat {
            newcomers.numbered.insert(seat.number, key);
            session.user_seat = Some(seat);
        }
        if !is_literal {
            session.narrowed.get_or_insert_default();
        }
        let in_us = |unix_ms: u64| unix_ms.saturating_sub(clocks.now.unix_ms).saturating_mul(1_000);
        session.end_us = expiry.map(|expiry| clocks.now.us.saturating_add(in_us(expiry.ends_ms)));
        let before_us = TOKEN_EXPIRING_BEFORE.as_micros() as u64;
        session.warn_us = session.end_us.map(|end_us| end_us.saturating_sub(before_us));
        session.request.take()
    }

    /// Looks at the deadlines of a live client that has, or needs, a token.
    pub(super) fn check_session(&mut self, key: ConnKey, now: Tick) {
        let now_us = self.clocks.now.us;
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some(session) = &mut conn.session else { return };
        // A token that has come in time may have to wait for its key.
        let is_silent = conn.phase != Phase::Waiting;
        if is_silent && session.auth_by.is_some_and(|auth_by| auth_by.is_due(now)) {
            let within = self.config.auth_timeout.as_millis();
            let why = format!("Not authenticated within {within} ms (AUTH_TIMEOUT)");
            return self.deny_late(key, why);
        }
        if session.sockets.is_some() {
            self.check_namespaces(key, now);
        }
        let session = self.conns.get(key).and_then(|conn| conn.session.as_ref());
        let Some(end_us) = session.and_then(|session| session.end_us) else { return };
        if now_us >= end_us {
            self.refuse(key, &Refusal::new(ErrorCode::Unauthorized, "Token expired"));
            return self.close(key, CloseCode::Policy, "token expired");
        }
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.is_live()) else { return };
        let Some(session) = &mut conn.session else { return };
        // The reply that a client waits for may have to be its first frame.
        let may_be_told = conn.phase == Phase::Open && conn.feed_news != FeedNews::BehindSubscription;
        if may_be_told && session.warn_us.is_some_and(|warn_us| now_us >= warn_us) {
            session.warn_us = None;
            let expires_in_ms = (end_us - now_us) / 1_000;
            self.say(key, &Reply::Status(Status::TokenExpiring { expires_in_ms }));
        }
    }

    /// The client has gone.
    pub(super) fn forget(&mut self, conn: &mut Conn) {
        self.newcomers.settle(conn);
        let Some(session) = conn.session.take() else { return };
        let Session { place, user_seat, .. } = *session;
        drop(place);
        if let Some(seat) = user_seat {
            self.newcomers.numbered.remove(&seat.number);
        }
    }
}

impl Newcomers {
    /// The client is being closed. If it has not shown who it is, it has a newcomer's place until it has gone.
    pub(super) fn close(&mut self, key: ConnKey, conn: &mut Conn) {
        if let Some(auth_by) = conn.session.as_mut().and_then(|session| session.auth_by.as_mut()) {
            *auth_by = Tick::NEVER;
            self.closing.push_back(key);
        }
    }

    /// The client has shown who it is, or has gone.
    fn settle(&mut self, conn: &mut Conn) {
        if conn.session.as_mut().is_some_and(|session| session.auth_by.take().is_some()) {
            self.count -= 1;
        }
    }
}

/// Whether a client has yet to show who it is.
fn is_newcomer(conn: &Conn) -> bool {
    conn.is_live() && has_newcomers_place(conn)
}

/// Whether a client has yet to show who it is, or is being closed and has not.
fn has_newcomers_place(conn: &Conn) -> bool {
    conn.session.as_ref().is_some_and(|session| session.auth_by.is_some())
}

/// What a client holds, as it wrote it, in the order in which it was first subscribed.
pub(super) fn held_by<'s>(conn: &'s Conn, index: &'s Index<ConnKey>, key: ConnKey) -> Vec<&'s Subject> {
    match conn.narrowed() {
        Some(narrowed) => narrowed.written().collect(),
        None => index.subjects_of(key).collect(),
    }
}
