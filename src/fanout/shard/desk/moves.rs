//! Joins and leaves: memberships begin and end, and the client itself is told.

use super::super::Shard;
use super::super::conn::{ConnKey, Phase};
use super::namespaces::{namespace_of, namespaces_of};
use super::requests::Pending;
use crate::bus::{DeskOrder, Ticket};
use crate::desk::event::{Told, write_moved};
use crate::desk::{DeskId, Origin};
use crate::protocol::desk::Done;
use crate::protocol::socketio::namespace::Joined;

impl Shard {
    /// A join or leave of one of this shard's clients has come back, in its place among the events of the room.
    pub(super) fn on_moved(
        &mut self,
        ticket: Ticket,
        room: &DeskId,
        has_joined: bool,
        object: Option<&[u8]>,
        origin: &Origin,
    ) {
        let Some(desk) = &mut self.desk else { return };
        let Some(Pending { key, user, id, .. }) = desk.pending.remove(&ticket) else {
            // Too late: whoever asked has been told so.
            if has_joined {
                self.want_one_less(room);
            }
            return;
        };
        let is_here = self.conns.get(key).is_some_and(|conn| conn.phase == Phase::Waiting)
            && desk.clients.get(&key).is_some_and(|client| client.user == user);
        if !is_here {
            if has_joined {
                self.want_one_less(room);
                let connection = origin.connection;
                self.order(None, DeskOrder::Gone { room: room.clone(), user, connection }, None);
            }
            return;
        }
        if has_joined {
            desk.add_member(key, room, namespace_of(id.as_ref()));
        } else {
            self.end_membership(key, room);
        }
        self.go_on(key, |shard| {
            if let Some(object) = object {
                let told = Told { object, room: Some(room), origin };
                shard.tell_alone(key, &told, namespaces_of(id.as_ref()));
            }
            let done = if has_joined { Done::Joined(room.clone()) } else { Done::Left(room.clone()) };
            shard.tell_done(key, &done, id.as_ref());
        });
    }

    /// The rights of a client may have become fewer: it leaves the rooms that they don't cover any more.
    pub(super) fn leave_forbidden_rooms(&mut self, key: ConnKey) {
        let (Some(conn), Some(desk)) = (self.conns.get(key), &self.desk) else { return };
        let rights = conn.identity.as_ref().map(|identity| &identity.rights);
        let Some(scope) = rights.and_then(|rights| rights.rooms.as_ref()) else { return };
        let Some(client) = desk.clients.get(&key) else { return };
        let rooms = client.rooms.iter().filter(|room| !scope.has(room)).cloned().collect();
        self.leave_rooms(key, rooms);
    }

    /// A client leaves rooms without having asked to: it is told, and so are the other members.
    pub(super) fn leave_rooms(&mut self, key: ConnKey, rooms: Vec<DeskId>) {
        let client = self.desk.as_ref().and_then(|desk| desk.clients.get(&key));
        let Some((user, connection)) = client.map(|client| (client.user.clone(), Some(client.public_id)))
        else {
            return;
        };
        for room in rooms {
            let namespaces = self.desk.as_ref().map(|desk| desk.namespaces_in(key, &room));
            self.end_membership(key, &room);
            self.tell_moved(key, &room, &user, false, namespaces.unwrap_or_default());
            self.order(None, DeskOrder::Leave { room, user: user.clone(), connection }, None);
        }
    }

    /// Tells one client of its own join or leave, of Socket.IO in these namespaces.
    pub(super) fn tell_moved(
        &mut self,
        key: ConnKey,
        room: &DeskId,
        user: &DeskId,
        has_joined: bool,
        namespaces: Joined,
    ) {
        let connection = self.desk.as_ref().and_then(|desk| desk.public_id(key));
        let origin = Origin::of(connection);
        let mut object = Vec::new();
        write_moved(&mut object, room, user, has_joined);
        self.tell_alone(key, &Told { object: &object, room: Some(room), origin: &origin }, namespaces);
    }
}
