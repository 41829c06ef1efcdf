//! The namespaces of clients of Socket.IO: each is to its client like a connection of its own. So a room is joined, written to and left in a namespace,
//! and its events come there; what is for the user comes in all of them. For presence they are one connection.

use super::super::Shard;
use super::super::conn::ConnKey;
use super::Desk;
use crate::bus::DeskOrder;
use crate::desk::event::{Told, write_moved};
use crate::desk::{DeskId, Origin};
use crate::market::Namespace;
use crate::protocol::desk::Done;
use crate::protocol::request::Id;
use crate::protocol::socketio::mark::Mark;
use crate::protocol::socketio::namespace::Joined;

/// The namespace in which a request was made, if its client speaks Socket.IO.
pub(super) fn namespace_of(id: Option<&Id>) -> Option<Namespace> {
    id.and_then(Mark::of_id).map(|mark| mark.namespace)
}

/// The same as a set.
pub(super) fn namespaces_of(id: Option<&Id>) -> Joined {
    namespace_of(id).map_or(Joined::NONE, |namespace| Joined::NONE.with(namespace))
}

impl Desk {
    /// The namespaces in which a client of Socket.IO is a member of a room.
    pub(super) fn namespaces_in(&self, key: ConnKey, room: &DeskId) -> Joined {
        let members = self.rooms.get(room).map_or(&[][..], |room| &room.members);
        members.iter().find(|member| member.key == key).map_or(Joined::NONE, |member| member.namespaces)
    }

    fn set_namespaces(&mut self, key: ConnKey, room: &DeskId, namespaces: Joined) {
        let members = self.rooms.get_mut(room).map(|room| &mut room.members);
        if let Some(member) = members.into_iter().flatten().find(|member| member.key == key) {
            member.namespaces = namespaces;
        }
    }

    /// Whether a client of Socket.IO is a member of a room in that namespace, and in another one too.
    pub(super) fn is_elsewhere(&self, key: ConnKey, room: &DeskId, namespace: Option<Namespace>) -> bool {
        let namespaces = self.namespaces_in(key, room);
        namespace.is_some_and(|namespace| {
            namespaces.has(namespace) && namespaces.without(namespace) != Joined::NONE
        })
    }
}

impl Shard {
    /// A client of Socket.IO is in a room in one namespace more, or one less, and has others in which it is.
    pub(super) fn move_within(
        &mut self,
        key: ConnKey,
        room: &DeskId,
        user: &DeskId,
        has_joined: bool,
        users: usize,
        id: Option<&Id>,
    ) {
        let (Some(desk), Some(namespace)) = (&mut self.desk, namespace_of(id)) else { return };
        let before = desk.namespaces_in(key, room);
        let after = if has_joined { before.with(namespace) } else { before.without(namespace) };
        desk.set_namespaces(key, room, after);
        let origin = Origin::of_move(desk.public_id(key), users);
        let mut object = Vec::new();
        write_moved(&mut object, room, user, has_joined);
        let told = Told { object: &object, room: Some(room), origin: &origin };
        self.tell_alone(key, &told, Joined::NONE.with(namespace));
        let done = if has_joined { Done::Joined(room.clone()) } else { Done::Left(room.clone()) };
        self.tell_done(key, &done, id);
    }

    /// A client of Socket.IO leaves a namespace: its memberships there end as if a connection were lost.
    pub(in super::super) fn leave_desk_in(&mut self, key: ConnKey, namespace: Namespace) {
        let Some(client) = self.desk.as_ref().and_then(|desk| desk.clients.get(&key)) else { return };
        let (user, connection) = (client.user.clone(), Some(client.public_id));
        for room in client.rooms.clone() {
            let Some(desk) = &mut self.desk else { return };
            let left = desk.namespaces_in(key, &room).without(namespace);
            desk.set_namespaces(key, &room, left);
            if left == Joined::NONE {
                self.end_membership(key, &room);
                self.order(None, DeskOrder::Gone { room, user: user.clone(), connection }, None);
            }
        }
    }
}
