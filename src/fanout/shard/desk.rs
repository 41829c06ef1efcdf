//! The desk on a shard: who is here, and which of the rooms they are in.
//!
//! | part | what it does |
//! |---|---|
//! | this file | keeps who is here: users and members |
//! | `requests` | what clients ask for, and the answers of the control side |
//! | `moves` | joins and leaves that have come back |
//! | `workers` | questions to workers, and their responses |
//! | `inbox` | what was said to a user while it was away, and what of it clients have confirmed |
//! | `namespaces` | those of clients of Socket.IO, each like a connection of its own |
//! | `delivery` | events to members, users and everyone |
//!
//! A connection is a member from the moment at which its join comes back, to that at which its leave does: each in its place among the events
//! of the room, which is the same for all members on all gateways. Rooms and users are in no index of symbols and in no history. Whoever
//! doesn't use the desk is in none of the maps here, unless a token says which user it is.

mod delivery;
mod inbox;
mod moves;
mod namespaces;
mod requests;
mod workers;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use foldhash::quality::RandomState;
use slotmap::Key;
use smallvec::SmallVec;

use self::inbox::Inbox;
use self::requests::Pending;
use self::workers::Questions;
use super::Shard;
use super::conn::{Conn, ConnKey};
use super::socketio::public_id_of;
use crate::bus::{
    DeskAsk, DeskOrder, DeskWish, OutgoingHeld, OutgoingSpace, Ticket, ToControl, TopicId, Wish,
};
use crate::desk::event::Lost;
use crate::desk::{DeskId, GatewayId, PublicId};
use crate::identity::User;
use crate::market::Namespace;
use crate::protocol::socketio::namespace::Joined;

/// What a shard needs to know of the configuration for the desk.
#[derive(Debug, Clone)]
pub struct DeskConfig {
    /// `CHANNEL_PREFIX`.
    pub channel_prefix: String,
    /// `MAX_EVENT_BYTES`.
    pub max_event_bytes: usize,
    /// The gateway knows no tokens: everybody is a user without one.
    pub is_open: bool,
    /// How much of what clients write may be on its way.
    pub space: OutgoingSpace,
    /// `OFFLINE_QUEUE`: what is said to a user is kept until it is confirmed.
    pub has_inboxes: bool,
    /// `REQUESTS`: where responses come to, and `REQUEST_TIMEOUT`.
    pub workers: Option<Workers>,
}

/// Questions to workers.
#[derive(Debug, Clone)]
pub struct Workers {
    /// This run of the gateway.
    pub me: GatewayId,
    /// `REQUEST_TIMEOUT`.
    pub timeout: Duration,
}

/// Names of rooms without members here that are kept before unused ones are dropped: this many, plus one per room with members.
const OLD_NAMES_MAX: usize = 1_024;

type Map<K, V> = HashMap<K, V, RandomState>;

/// The desk's part of a shard.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) config: DeskConfig,
    clients: Map<ConnKey, Client>,
    /// Connections with `?desk=1`.
    pub(super) asked_for: HashSet<ConnKey, RandomState>,
    users: Map<DeskId, SmallVec<[ConnKey; 1]>>,
    rooms: Map<DeskId, Room>,
    /// Requests that wait for the control side or for their events. One for each connection at most.
    pending: HashMap<Ticket, Pending, RandomState>,
    /// The rooms of ids that events in outboxes may have.
    names: Map<TopicId, Rc<Lost>>,
    last_room: u32,
    questions: Questions,
}

/// A client that has a user.
#[derive(Debug)]
struct Client {
    user: DeskId,
    /// By what others know the connection.
    public_id: PublicId,
    /// It has used the desk, so it gets broadcasts.
    is_at_desk: bool,
    /// The rooms that it is a member of.
    rooms: Vec<DeskId>,
    /// The one that it is leaving.
    leaving: Option<DeskId>,
    /// What it gets of its user's inbox, if there are inboxes and the user has a name of its own.
    inbox: Option<Box<Inbox>>,
}

/// A room with members on this shard.
#[derive(Debug)]
struct Room {
    topic: TopicId,
    members: Vec<Member>,
}

/// A connection that is in a room.
#[derive(Debug, Clone, Copy)]
struct Member {
    key: ConnKey,
    /// Of a client of Socket.IO, the namespaces in which it has joined: each is to it like a connection of its own.
    namespaces: Joined,
}

impl Desk {
    pub(super) fn new(config: DeskConfig) -> Self {
        Self {
            config,
            clients: Map::default(),
            asked_for: HashSet::default(),
            users: Map::default(),
            rooms: Map::default(),
            pending: HashMap::default(),
            names: Map::default(),
            // 0 and 1 are those of users and of everyone.
            last_room: 1,
            questions: Questions::default(),
        }
    }

    /// What events of this id are, for a client.
    pub(super) fn lost(&self, topic: TopicId, client: ConnKey) -> Option<Lost> {
        if topic == TopicId::of_desk(0) {
            return self.clients.get(&client).map(|client| Lost::User(client.user.clone()));
        }
        if topic == TopicId::of_desk(1) {
            return Some(Lost::Everyone);
        }
        self.names.get(&topic).map(|lost| Lost::clone(lost))
    }

    /// Whether a client is a member of a room, of Socket.IO in that namespace.
    fn is_member(&self, key: ConnKey, room: &DeskId, namespace: Option<Namespace>) -> bool {
        match namespace {
            None => self.clients.get(&key).is_some_and(|client| client.rooms.contains(room)),
            Some(namespace) => self.namespaces_in(key, room).has(namespace),
        }
    }

    /// The client's user, whether or not it has used the desk; `None` if it has none.
    pub(super) fn user_of(&self, key: ConnKey) -> Option<&DeskId> {
        self.clients.get(&key).map(|client| &client.user)
    }

    /// By what others know a connection.
    fn public_id(&self, key: ConnKey) -> Option<PublicId> {
        self.clients.get(&key).map(|client| client.public_id)
    }

    fn add_member(&mut self, key: ConnKey, room: &DeskId, namespace: Option<Namespace>) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        client.rooms.push(room.clone());
        let Self { rooms, names, last_room, .. } = self;
        let here = rooms.entry(room.clone()).or_insert_with(|| {
            *last_room = (*last_room + 1).max(2);
            let topic = TopicId::of_desk(*last_room);
            names.insert(topic, Rc::new(Lost::Room(room.clone())));
            Room { topic, members: Vec::new() }
        });
        let namespaces = namespace.map_or(Joined::NONE, |namespace| Joined::NONE.with(namespace));
        here.members.push(Member { key, namespaces });
    }

    /// `false` if it is none.
    fn remove_member(&mut self, key: ConnKey, room: &DeskId) -> bool {
        let Some(client) = self.clients.get_mut(&key) else { return false };
        let Some(at) = client.rooms.iter().position(|each| each == room) else { return false };
        client.rooms.remove(at);
        client.leaving.take_if(|leaving| leaving == room);
        if let Some(here) = self.rooms.get_mut(room) {
            here.members.retain(|member| member.key != key);
            if here.members.is_empty() {
                self.rooms.remove(room);
            }
        }
        true
    }
}

impl Shard {
    /// A client is authenticated: from now on it gets what is sent to its user. One without a token that has asked for the desk, and may have
    /// it, becomes a user of its own. A client that is here already leaves the rooms that its rights don't cover any more.
    pub(super) fn seat_at_desk(&mut self, key: ConnKey) {
        let may_sit = |conn: &&Conn| {
            // One of Socket.IO is nowhere until it is in a namespace.
            conn.dialect.has_desk() && conn.dialect.socketio().is_none_or(|joined| joined != Joined::NONE)
        };
        let Some(conn) = self.conns.get(key).filter(may_sit) else { return };
        let Some(desk) = &self.desk else { return };
        let at_desk = desk.asked_for.contains(&key);
        let user = conn.identity.as_ref().and_then(|identity| identity.user.as_ref());
        let is_nameless = conn.identity.as_ref().is_some_and(|identity| {
            identity.user.is_none() && (desk.config.is_open || identity.rights.rooms.is_some())
        });
        let user = user.map(User::as_str).and_then(DeskId::parse);
        let old = desk.clients.get(&key).map(|client| &client.user);
        match user {
            Some(user) if old != Some(&user) => {
                // It was somebody without a token until now, who never comes back. What it has asked of workers is answered all the same.
                let old = desk.clients.get(&key);
                let was_at_desk = old.is_some_and(|client| client.is_at_desk);
                let rooms = old.map(|client| client.rooms.clone());
                self.leave_rooms(key, rooms.unwrap_or_default());
                self.end_user(key);
                self.enter_desk(key, user, was_at_desk || at_desk);
            }
            None if at_desk && old.is_none() && is_nameless => {
                self.enter_desk(key, DeskId::anonymous(fastrand::u64(..)), true);
            }
            _ => self.leave_forbidden_rooms(key),
        }
    }

    fn enter_desk(&mut self, key: ConnKey, user: DeskId, is_at_desk: bool) {
        let Some(desk) = &mut self.desk else { return };
        if desk.clients.is_empty() {
            let wish = DeskWish::Users { shard: self.handles.id, are_there: true };
            self.handles.wishes.send(Wish::Desk(wish));
        }
        desk.users.entry(user.clone()).or_default().push(key);
        let public_id = self.conns.get(key).and_then(public_id_of).unwrap_or_else(PublicId::random);
        let inbox = (desk.config.has_inboxes && !user.is_anonymous()).then(Box::default);
        let (rooms, leaving) = (Vec::new(), None);
        desk.clients.insert(key, Client { user, public_id, is_at_desk, rooms, leaving, inbox });
    }

    /// A client has gone, or is about to. Its user is still in its rooms for a while, as the control side knows.
    pub(super) fn leave_desk(&mut self, key: ConnKey) {
        self.end_user(key);
        if let Some(desk) = &mut self.desk {
            desk.questions.forget(key);
        }
    }

    /// A client is no longer who it was.
    fn end_user(&mut self, key: ConnKey) {
        let Some(desk) = &mut self.desk else { return };
        let Some(client) = desk.clients.get(&key) else { return };
        let (user, leaving) = (client.user.clone(), client.leaving.clone());
        let connection = Some(client.public_id);
        for room in client.rooms.clone() {
            self.end_membership(key, &room);
            if leaving.as_ref() != Some(&room) {
                self.order(None, DeskOrder::Gone { room, user: user.clone(), connection }, None);
            }
        }
        let Some(desk) = &mut self.desk else { return };
        let client = desk.clients.remove(&key);
        if let Some(keys) = desk.users.get_mut(&user) {
            keys.retain(|each| *each != key);
            if keys.is_empty() {
                desk.users.remove(&user);
            }
        }
        if desk.clients.is_empty() {
            let wish = DeskWish::Users { shard: self.handles.id, are_there: false };
            self.handles.wishes.send(Wish::Desk(wish));
        }
        if client.and_then(|client| client.inbox).is_some_and(|inbox| inbox.is_known()) {
            let connection = key.data().as_ffi();
            self.order(None, DeskOrder::InboxLeft { user, connection }, None);
        }
        self.forget_old_names();
    }

    /// A client is a member no longer; `false` if it wasn't one.
    fn end_membership(&mut self, key: ConnKey, room: &DeskId) -> bool {
        let is_ended = self.desk.as_mut().is_some_and(|desk| desk.remove_member(key, room));
        if is_ended {
            self.want_one_less(room);
        }
        is_ended
    }

    /// Tells ingest that one member fewer here wants the room.
    fn want_one_less(&self, room: &DeskId) {
        let wish = DeskWish::Left { shard: self.handles.id, room: room.clone() };
        self.handles.wishes.send(Wish::Desk(wish));
    }

    fn order(&self, ticket: Option<Ticket>, order: DeskOrder, held: Option<OutgoingHeld>) {
        let ask = DeskAsk { shard: self.handles.id, ticket, order, held };
        self.handles.control.send(ToControl::Desk(ask));
    }

    /// Forgets the names of rooms that have no member here and of which no outbox has anything, once there are many.
    fn forget_old_names(&mut self) {
        let Self { desk: Some(desk), conns, .. } = self else { return };
        if desk.names.len() < 2 * desk.rooms.len() + OLD_NAMES_MAX {
            return;
        }
        let waiting = conns.values().filter(|conn: &&Conn| !conn.outbox.is_empty());
        let mut known: HashSet<TopicId> =
            waiting.flat_map(|conn| conn.outbox.topics()).filter(|topic| topic.is_desk()).collect();
        known.extend(desk.rooms.values().map(|room| room.topic));
        desk.names.retain(|topic, _| known.contains(topic));
    }
}
