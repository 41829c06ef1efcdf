//! Clients that speak Socket.IO: the namespaces that they are in, and what is particular to their connections.

use mio::Token as PollToken;

use super::auth::held_by;
use super::clock::{Tick, ticks};
use super::conn::{Conn, ConnKey, FeedNews, Space};
use super::{Shard, key_of, token_of};
use crate::desk::{DeskId, PublicId};
use crate::identity::User;
use crate::market::{Namespace, Subject};
use crate::protocol::Dialect;
use crate::protocol::refusal::{ErrorCode, Refusal};
use crate::protocol::reply::Reply;
use crate::protocol::request::{Action, Id, Request, Token};
use crate::protocol::socketio::engine::CONNECT_TIMEOUT;
use crate::protocol::socketio::mark::{Mark, Verb};
use crate::protocol::socketio::namespace::Joined;
use crate::protocol::socketio::read::Said;
use crate::protocol::socketio::write;
use crate::transport::Probe;
use crate::websocket::close::CloseCode;
use crate::websocket::reader::Reader;

/// What a connection of Socket.IO has besides.
#[derive(Debug)]
pub(super) struct Sockets {
    /// What others see of it: never the `sid` of Engine.IO, by which it is reached.
    public_id: PublicId,
    /// Until when the client has to be in a namespace; `None` while it is in one.
    join_by: Option<Tick>,
    /// So many binary messages follow that belong to a request which is refused already.
    attachments: u32,
    /// The session over HTTP requests whose place the connection is to take; until then it is nothing else.
    probe: Option<Probe>,
}

impl Sockets {
    /// Until when the client has to be in a namespace.
    pub(super) fn deadline(&self) -> Tick {
        self.join_by.unwrap_or(Tick::NEVER)
    }
}

impl Shard {
    /// A new client has to join a namespace some time.
    pub(super) fn expect_namespace(&mut self, key: ConnKey, probe: Option<Probe>) {
        let join_by = Some(self.clocks.now.tick().plus(ticks(CONNECT_TIMEOUT)));
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.dialect.socketio().is_some()) else {
            return;
        };
        let sockets = Sockets { public_id: PublicId::random(), join_by, attachments: 0, probe };
        conn.session.get_or_insert_default().sockets = Some(Box::new(sockets));
    }

    /// Takes what a client of Socket.IO has said, in so many bytes.
    pub(super) fn hear(&mut self, key: ConnKey, said: Said, bytes: usize) {
        let probes =
            self.conns.get_mut(key).and_then(sockets_of).is_some_and(|sockets| sockets.probe.is_some());
        match said {
            Said::Ping { is_probe: true } if probes => return self.answer_probe(key),
            Said::Connect(..) | Said::Disconnect(_) | Said::Asked(..) if probes => {
                return self.break_off(key, "a packet before the upgrade");
            }
            Said::Pong => return self.take_pong(key),
            Said::Nothing | Said::Ping { .. } | Said::Upgrade => return,
            Said::Close => return self.part(key),
            Said::Broken(why) => return self.break_off(key, why),
            _ => self.count_message(bytes),
        }
        match said {
            Said::Connect(namespace, token) => self.connect(key, namespace, token),
            Said::Disconnect(namespace) => self.leave_namespace(key, namespace),
            Said::Asked(asked, attachments) => {
                if let Some(sockets) = self.conns.get_mut(key).and_then(sockets_of) {
                    sockets.attachments = attachments;
                }
                let asked = if self.desk.is_some() { *asked } else { without_desk(*asked) };
                self.answer(key, asked);
            }
            _ => {}
        }
    }

    /// Answers the probe ping on a new WebSocket, and makes the session's open poll return.
    fn answer_probe(&mut self, key: ConnKey) {
        let Some(sockets) = self.conns.get_mut(key).and_then(sockets_of) else { return };
        let target = sockets.probe.as_ref().map(|probe| key_of(PollToken(probe.token())));
        let polling =
            target.and_then(|target| self.conns.get(target)).and_then(|conn| conn.transport.polling());
        let Some(polling) = polling else { return self.break_off(key, "the session has ended") };
        polling.hurry();
        let Some(conn) = self.conns.get_mut(key) else { return };
        let answer = self.output.own_frame(write::probed());
        self.output.queue(key, conn, answer);
    }

    /// This WebSocket replaces its session's long-polling transport. One without a session reads on. `rest`: input behind the upgrade packet.
    pub(super) fn take_over(&mut self, key: ConnKey, rest: &[u8]) {
        let Some(probe) =
            self.conns.get_mut(key).and_then(sockets_of).and_then(|sockets| sockets.probe.take())
        else {
            if let Some(conn) = self.conns.get_mut(key).filter(|_| !rest.is_empty()) {
                conn.unread = Some(rest.into());
                self.input.unfinished.push(key);
            }
            return;
        };
        let target = key_of(PollToken(probe.token()));
        let Some(socket) = self.let_go(key) else { return };
        let Some(conn) = self.conns.get_mut(target).filter(|conn| conn.is_live()) else { return };
        let Some(polling) = conn.transport.polling() else { return };
        let mut transport = socket.behind(polling.release());
        if transport.reregister(&self.registry, token_of(target)).is_err() {
            return self.remove(target);
        }
        conn.transport = transport;
        conn.reader = Reader::default();
        conn.space = Space::Again;
        conn.readable = true;
        conn.received = self.clocks.now.tick();
        let unread = [&conn.unread.take().unwrap_or_default()[..], rest].concat();
        conn.unread = (!unread.is_empty()).then(|| unread.into());
        self.output.mark_dirty(target, conn);
        self.input.unfinished.push(target);
    }

    /// A binary message: it belongs to a request that is refused, or to none.
    pub(super) fn hear_binary(&mut self, key: ConnKey) {
        match self.conns.get_mut(key).and_then(sockets_of) {
            Some(sockets) if sockets.attachments > 0 => sockets.attachments -= 1,
            _ => self.break_off(key, "a binary message that belongs to nothing"),
        }
    }

    /// A client wants to be in a namespace. With a token it has to be verified, also behind another one.
    fn connect(&mut self, key: ConnKey, namespace: Namespace, token: Option<Token>) {
        let Some(sockets) = self.conns.get_mut(key).and_then(sockets_of) else { return };
        let text = &sockets.public_id.to_string();
        let mark = Mark { namespace, verb: Verb::Connect, ack: None, text };
        let id = Some(mark.to_id());
        let action = token.map_or(Action::Enter, Action::Auth);
        self.answer(key, Ok(Request { action, id }));
    }

    /// A client that is known joins a namespace.
    pub(super) fn enter(&mut self, key: ConnKey, id: Option<&Id>) {
        let Some(identity) = self.conns.get(key).and_then(|conn| conn.identity.clone()) else { return };
        let reply = Reply::Authenticated {
            user: identity.user.as_ref().map(User::as_str),
            expires_ms: identity.expiry.map(|expiry| expiry.expires_ms),
            held: None,
            id,
        };
        self.say(key, &reply);
        self.note_joined(key, id);
        self.tell_feed_once(key);
        self.ask_inbox_once(key);
        self.arm(key);
    }

    /// A client has been told that it is in the namespace that this request was for, if it was for one.
    pub(super) fn note_joined(&mut self, key: ConnKey, id: Option<&Id>) {
        let Some(Mark { verb: Verb::Connect, namespace, .. }) = id.and_then(Mark::of_id) else { return };
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some(joined) = conn.dialect.socketio() else { return };
        conn.dialect = Dialect::SocketIo(joined.with(namespace));
        if let Some(sockets) = sockets_of(conn) {
            sockets.join_by = None;
        }
        if conn.feed_news == FeedNews::BehindSubscription {
            conn.feed_news = FeedNews::Due;
        }
        self.seat_at_desk(key);
        let seated = self.desk.as_ref().and_then(|desk| desk.user_of(key));
        let Some(conn) = self.conns.get_mut(key) else { return };
        let user = conn.identity.as_ref().and_then(|identity| identity.user.as_ref()).map(User::as_str);
        let user = user.or_else(|| seated.map(DeskId::as_str));
        let event = self.output.own_frame(write::connected(namespace, user, &self.handles.state.server_id));
        self.output.queue(key, conn, event);
    }

    /// A client leaves a namespace, with everything that it holds there.
    fn leave_namespace(&mut self, key: ConnKey, namespace: Namespace) {
        let join_by = Some(self.clocks.now.tick().plus(ticks(CONNECT_TIMEOUT)));
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some(joined) = conn.dialect.socketio() else { return };
        let is_there = |subject: &&&Subject| subject.form.namespace() == Some(namespace);
        let held = held_by(conn, &self.subscriptions.index, key);
        let held: Vec<_> = held.iter().filter(is_there).map(|subject| (*subject).clone()).collect();
        self.give_up(key, &held);
        self.leave_desk_in(key, namespace);
        if joined.without(namespace) == Joined::NONE {
            self.leave_desk(key);
        }
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.dialect = Dialect::SocketIo(joined.without(namespace));
        if let (None, Some(sockets)) = (joined.without(namespace).home(), sockets_of(conn)) {
            sockets.join_by = join_by;
        }
        self.arm(key);
    }

    /// Closes a client that is in no namespace in time.
    pub(super) fn check_namespaces(&mut self, key: ConnKey, now: Tick) {
        let sockets = self.conns.get_mut(key).and_then(sockets_of);
        if sockets.is_some_and(|sockets| sockets.deadline().is_due(now)) {
            self.close(key, CloseCode::Policy, "no namespace joined");
        }
    }

    /// The client says that it leaves.
    fn part(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.outbox.clear();
            self.close(key, CloseCode::echo(None), "closed by the client");
        }
    }

    fn break_off(&mut self, key: ConnKey, why: &str) {
        self.metrics.protocol_errors.add(1);
        self.close(key, CloseCode::Protocol, why);
    }
}

/// What was asked, but for requests to the desk where there is none.
fn without_desk(asked: Result<Request, Refusal>) -> Result<Request, Refusal> {
    match asked {
        Ok(Request { action: Action::Desk(_), id }) => {
            let message = "Unknown event: this gateway has no rooms, chat or requests (DESK)";
            let refusal = Refusal::new(ErrorCode::UnknownAction, message);
            Err(Refusal { id, ..refusal })
        }
        asked => asked,
    }
}

/// By what others know a connection of Socket.IO.
pub(super) fn public_id_of(conn: &Conn) -> Option<PublicId> {
    conn.session.as_ref()?.sockets.as_ref().map(|sockets| sockets.public_id)
}

fn sockets_of(conn: &mut Conn) -> Option<&mut Sockets> {
    conn.session.as_mut()?.sockets.as_deref_mut()
}
