//! What clients ask of the desk, and what they are answered.
//!
//! A client's next messages wait until a request is through, as they do for ingest's answers: so what one client says keeps its order, and
//! a connection has one message on its way at most.

use super::super::Shard;
use super::super::conn::{Conn, ConnKey, Phase};
use super::namespaces::{namespace_of, namespaces_of};
use crate::bus::{DeskAnswer, DeskOrder, Ticket};
use crate::desk::DeskId;
use crate::desk::envelope::{Envelope, room_channel, user_channel};
use crate::desk::id::ID_BYTES_MAX;
use crate::identity::{Identity, User};
use crate::protocol::desk::{Concern, DeskRequest, Done, RequestId};
use crate::protocol::refusal::{ErrorCode, Refusal};
use crate::protocol::reply::Reply;
use crate::protocol::request::Id;
use crate::protocol::socketio::namespace::Joined;

/// A request that waits.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) key: ConnKey,
    pub(super) user: DeskId,
    /// The client's own mark.
    pub(super) id: Option<Id>,
    what: What,
}

/// What a client has asked.
#[derive(Debug)]
pub(super) enum What {
    Join(DeskId),
    Leave(DeskId),
    /// To be in a room in one namespace more, or one less: nobody else is told, but the client is told how many users there are.
    JoinMore(DeskId),
    LeaveOne(DeskId),
    Presence(DeskId),
    Publish(Done),
    Ask(RequestId),
}

impl Shard {
    /// A client asks something of the desk.
    pub(in super::super) fn ask_desk(&mut self, key: ConnKey, request: DeskRequest, id: Option<Id>) {
        let user = match self.user_at_desk(key, &request) {
            Ok(user) => user,
            Err(why) => return self.refuse(key, &Refusal::not_at_desk(request.concern(), why, id)),
        };
        let namespace = namespace_of(id.as_ref());
        let Some(desk) = &mut self.desk else { return };
        if let Some(client) = desk.clients.get_mut(&key) {
            client.is_at_desk = true;
        }
        let connection = desk.public_id(key);
        let is_member = |room| desk.is_member(key, room, namespace);
        match request {
            DeskRequest::Join { room, .. } if namespace.is_some() && desk.is_member(key, &room, None) => {
                self.count_users(key, user, room, What::JoinMore, id);
            }
            DeskRequest::Leave(room) if desk.is_elsewhere(key, &room, namespace) => {
                self.count_users(key, user, room, What::LeaveOne, id);
            }
            DeskRequest::Join { room, .. } if is_member(&room) => {
                // Nothing changes, and nobody else is told.
                self.tell_moved(key, &room, &user, true, Joined::NONE);
                self.tell_done(key, &Done::Joined(room), id.as_ref());
            }
            DeskRequest::Leave(room) if !is_member(&room) => {
                self.tell_done(key, &Done::Left(room), id.as_ref());
            }
            DeskRequest::Message { ref room, .. }
            | DeskRequest::Typing(ref room)
            | DeskRequest::Presence(ref room)
                if !is_member(room) =>
            {
                let why = "Not a member of the room: join it first";
                self.refuse(key, &Refusal::not_at_desk(request.concern(), why, id));
            }
            DeskRequest::Join { room, label } => {
                // Where there are tokens, those say who somebody is.
                let label = label.filter(|_| desk.config.is_open);
                let order = DeskOrder::Join { room: room.clone(), user: user.clone(), connection, label };
                self.wait_for_desk(key, user, What::Join(room), order, 0, id);
            }
            DeskRequest::Leave(room) => {
                let order = DeskOrder::Leave { room: room.clone(), user: user.clone(), connection };
                self.wait_for_desk(key, user, What::Leave(room), order, 0, id);
            }
            DeskRequest::Presence(room) => {
                self.count_users(key, user, room, What::Presence, id);
            }
            DeskRequest::Message { room, message } => {
                let channel = room_channel(&desk.config.channel_prefix, &room);
                let at_ms = self.clocks.now.unix_ms;
                let envelope = Envelope::Message { from: user.clone(), connection, at_ms, message: &message };
                self.publish(key, user, Done::SentToRoom(room), channel, &envelope, id);
            }
            DeskRequest::Typing(room) => {
                let channel = room_channel(&desk.config.channel_prefix, &room);
                let envelope = Envelope::Typing { user: user.clone(), connection };
                self.publish(key, user, Done::Typing(room), channel, &envelope, id);
            }
            DeskRequest::Workers { request_id, payload, timestamp } => {
                self.ask_workers(key, user, &request_id, &payload, timestamp.as_deref(), id);
            }
            DeskRequest::Chat { to, message } => {
                let channel = user_channel(&desk.config.channel_prefix, &to);
                let at_ms = self.clocks.now.unix_ms;
                let (from, to_user) = (user.clone(), to.clone());
                let envelope = Envelope::Chat { from, to: to_user, at_ms, message: &message, kept: None };
                let payload = envelope.write();
                let order = match desk.config.has_inboxes && !to.is_anonymous() {
                    true => DeskOrder::Chat { to: to.clone(), payload, at_ms },
                    false => DeskOrder::Publish { channel, payload },
                };
                self.publish_bytes(key, user, What::Publish(Done::SentToUser(to)), order, id);
            }
        }
    }

    /// The user that a client is at the desk, if its rights cover what it asks for.
    fn user_at_desk(&mut self, key: ConnKey, request: &DeskRequest) -> Result<DeskId, &'static str> {
        const NO_DESK: &str = "Not allowed: clients without a token have no desk here";
        const NO_ROOM: &str = "Not allowed: the client's rights don't cover the room";
        const NO_CHAT: &str = "Not allowed: clients without a token may not chat";
        const NO_NAME: &str = "Not allowed: the token's user has a name that can't be used at the desk";
        let (Some(conn), Some(desk)) = (self.conns.get(key), &self.desk) else { return Err(NO_DESK) };
        let Some(Identity { user, rights, .. }) = conn.identity.as_deref() else { return Err(NO_DESK) };
        let has_token = user.is_some();
        if !has_token && !desk.config.is_open {
            if rights.rooms.is_none() {
                return Err(NO_DESK);
            }
            if let DeskRequest::Chat { .. } = request {
                return Err(NO_CHAT);
            }
        }
        if let DeskRequest::Join { room, .. } = request
            && rights.rooms.as_ref().is_some_and(|rooms| !rooms.has(room))
        {
            return Err(NO_ROOM);
        }
        match user.as_ref().map(User::as_str) {
            Some(name) => DeskId::parse(name).ok_or(NO_NAME),
            None => {
                let known = desk.clients.get(&key).map(|client| client.user.clone());
                Ok(known.unwrap_or_else(|| {
                    let user = DeskId::anonymous(fastrand::u64(..));
                    self.enter_desk(key, user.clone(), true);
                    user
                }))
            }
        }
    }

    fn publish(
        &mut self,
        key: ConnKey,
        user: DeskId,
        done: Done,
        channel: String,
        envelope: &Envelope<'_>,
        id: Option<Id>,
    ) {
        let order = DeskOrder::Publish { channel, payload: envelope.write() };
        self.publish_bytes(key, user, What::Publish(done), order, id);
    }

    /// `false` if it is refused at once.
    pub(super) fn publish_bytes(
        &mut self,
        key: ConnKey,
        user: DeskId,
        what: What,
        order: DeskOrder,
        id: Option<Id>,
    ) -> bool {
        let Some(desk) = &self.desk else { return false };
        let max_bytes = desk.config.max_event_bytes;
        let bytes = match &order {
            DeskOrder::Publish { payload, .. } | DeskOrder::Chat { payload, .. } => payload.len(),
            _ => 0,
        };
        // What clients get of it has the room's name as well, or which entry of an inbox it is.
        if bytes + ID_BYTES_MAX > max_bytes {
            let message = format!(
                "Message too large: with what the gateway adds it must fit into {max_bytes} bytes (MAX_EVENT_BYTES)"
            );
            let refusal = Refusal { id, ..Refusal::new(ErrorCode::MessageTooLarge, message) };
            self.refuse(key, &about(refusal, &what));
            return false;
        }
        self.wait_for_desk(key, user, what, order, bytes, id)
    }

    /// Asks the control side who is in a room, for what the client wants.
    fn count_users(
        &mut self,
        key: ConnKey,
        user: DeskId,
        room: DeskId,
        what: fn(DeskId) -> What,
        id: Option<Id>,
    ) {
        let order = DeskOrder::Presence { room: room.clone() };
        self.wait_for_desk(key, user, what(room), order, 0, id);
    }

    fn wait_for_desk(
        &mut self,
        key: ConnKey,
        user: DeskId,
        what: What,
        order: DeskOrder,
        bytes: usize,
        id: Option<Id>,
    ) -> bool {
        let (Some(desk), Some(conn)) = (&mut self.desk, self.conns.get_mut(key)) else { return false };
        let Some(held) = desk.config.space.take(bytes) else {
            let refusal = Refusal {
                retry_after_s: Some(1),
                id,
                ..Refusal::new(
                    ErrorCode::RateLimitExceeded,
                    "Too many messages of all clients are on their way",
                )
            };
            self.refuse(key, &about(refusal, &what));
            return false;
        };
        if let (What::Leave(room), Some(client)) = (&what, desk.clients.get_mut(&key)) {
            client.leaving = Some(room.clone());
        }
        conn.phase = Phase::Waiting;
        let ticket = self.subscriptions.next_ticket();
        desk.pending.insert(ticket, Pending { key, user, id, what });
        self.order(Some(ticket), order, Some(held));
        true
    }

    /// The control side has answered.
    pub(super) fn on_desk_answer(&mut self, ticket: Ticket, answer: DeskAnswer) {
        let pending = self.desk.as_mut().and_then(|desk| desk.pending.remove(&ticket));
        if let DeskAnswer::Unsure(change) = &answer {
            // What has come back is not pending any more.
            let (change, has_come) = (change.clone(), pending.is_none());
            self.order(None, DeskOrder::Settled { change, has_come }, None);
        }
        let Some(Pending { key, user, id, what }) = pending else { return };
        let unavailable = || {
            let message = "Redis has not confirmed it: it may have been delivered, and is not sent again";
            Refusal::new(ErrorCode::Unavailable, message)
        };
        let is_here = self.conns.get(key).is_some_and(|conn| conn.phase == Phase::Waiting);
        let refusal = match (what, answer) {
            (What::Publish(done), DeskAnswer::Done) => {
                self.go_on(key, |shard| shard.tell_done(key, &done, id.as_ref()));
                return;
            }
            (What::Ask(_), DeskAnswer::Done) => {
                // The response is the answer.
                self.go_on(key, |_| {});
                return;
            }
            (What::Publish(Done::SentToUser(to)), DeskAnswer::NoUser) => {
                let message = "No such user: it has not been connected for longer than messages are kept";
                Refusal {
                    concern: Some(Box::new(Concern::User(to))),
                    ..Refusal::new(ErrorCode::NotFound, message)
                }
            }
            (What::Publish(Done::SentToUser(to)), DeskAnswer::Full) => {
                let message = "Too much is kept for users who are away: it was not sent";
                Refusal {
                    concern: Some(Box::new(Concern::User(to))),
                    ..Refusal::new(ErrorCode::Unavailable, message)
                }
            }
            (What::Ask(request_id), _) => {
                self.withdraw_question(key, &request_id);
                about(unavailable(), &What::Ask(request_id))
            }
            (What::Presence(room), DeskAnswer::Presence { users, count }) => {
                let reply = Reply::Presence { room: &room, users: &users, count, id: id.as_ref() };
                self.go_on(key, |shard| shard.say(key, &reply));
                return;
            }
            (What::JoinMore(room), DeskAnswer::Presence { count, .. }) => {
                self.go_on(key, |shard| shard.move_within(key, &room, &user, true, count, id.as_ref()));
                return;
            }
            (What::LeaveOne(room), DeskAnswer::Presence { count, .. }) => {
                self.go_on(key, |shard| shard.move_within(key, &room, &user, false, count, id.as_ref()));
                return;
            }
            (What::Join(_), DeskAnswer::TooManyRooms(current)) => {
                let message = format!("Cannot join: would exceed maximum of {current} rooms");
                Refusal {
                    concern: Some(Box::new(Concern::Current(current))),
                    ..Refusal::new(ErrorCode::RoomLimitExceeded, message)
                }
            }
            (What::Join(room), DeskAnswer::Overdue) => {
                // The join may still take effect; this leave undoes it.
                self.order(None, DeskOrder::Leave { room, user, connection: None }, None);
                unavailable()
            }
            (What::Leave(room), DeskAnswer::Overdue) => {
                // It was published, and has not come back: the client has left all the same.
                let namespaces = namespaces_of(id.as_ref());
                self.end_membership(key, &room);
                self.go_on(key, |shard| {
                    shard.tell_moved(key, &room, &user, false, namespaces);
                    shard.tell_done(key, &Done::Left(room), id.as_ref());
                });
                return;
            }
            (What::Leave(room), _) => {
                if let Some(client) = self.desk.as_mut().and_then(|desk| desk.clients.get_mut(&key)) {
                    client.leaving = None;
                }
                if !is_here {
                    // It has gone meanwhile, and is still there for the others.
                    self.order(None, DeskOrder::Gone { room, user, connection: None }, None);
                }
                unavailable()
            }
            _ => unavailable(),
        };
        self.go_on(key, |shard| shard.refuse(key, &Refusal { id, ..refusal }));
    }

    /// A request of a client is through: says what there is to say, and its next messages count again.
    pub(super) fn go_on(&mut self, key: ConnKey, say: impl FnOnce(&mut Self)) {
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.phase == Phase::Waiting) else { return };
        conn.phase = Phase::Open;
        say(self);
        if self.conns.get(key).is_some_and(Conn::has_input) {
            self.input.unfinished.push(key);
        }
    }

    /// Answers a request, if the client has given it a mark.
    pub(super) fn tell_done(&mut self, key: ConnKey, done: &Done, id: Option<&Id>) {
        if let Some(id) = id {
            self.say(key, &Reply::Desk { done, id });
        }
    }
}

/// A refusal of a question to workers says of which.
fn about(refusal: Refusal, what: &What) -> Refusal {
    match what {
        What::Ask(request_id) => Refusal { request_id: Some(Box::new(request_id.clone())), ..refusal },
        _ => refusal,
    }
}
