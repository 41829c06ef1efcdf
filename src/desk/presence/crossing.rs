//! Joins and leaves that cross on the way between gateways.
//!
//! A gateway says whether members are told as it knows the room when it publishes. It may not have heard yet what another one has
//! published, so that in the end members believe something else than is true: all leave, and each gateway believes that another one still has the user;
//! or a leave that is told comes behind a join that is not. All gateways hear a room in one order. So each remembers what members believe of a user
//! who has lately moved, and compares it with what is true once nothing has moved for [`QUIET_MS`]. One gateway puts it right.

use super::Presence;
use super::peers::Peer;
use crate::desk::envelope::Moved;
use crate::desk::{DeskId, GatewayId, PublicId};

/// A user that has not moved for so long has no join or leave on its way any more.
const QUIET_MS: u64 = 500;

/// A user who has lately joined or left.
#[derive(Debug)]
pub(super) struct Moving {
    /// What members have been told last, in the room's order.
    is_believed: bool,
    /// By which gateway, and which connection, the last join or leave was.
    last: (GatewayId, Option<PublicId>),
    moved_ms: u64,
}

impl Presence {
    /// A join or leave has come, and counts.
    pub(super) fn note_moved(&mut self, room: &DeskId, moved: &Moved, now_ms: u64) {
        let members = self.count(room) + usize::from(!moved.has_joined);
        if !moved.is_told && members > self.config.max_members {
            // Members of a large room are told of nobody, and believe nothing of single users.
            self.moving.remove(&(room.clone(), moved.user.clone()));
            return;
        }
        let last = (moved.gateway, moved.origin.connection);
        // Who is told of neither a join nor a leave believes that the user is there by another gateway.
        let new = || Moving { is_believed: true, last, moved_ms: now_ms };
        let moving = self.moving.entry((room.clone(), moved.user.clone())).or_insert_with(new);
        if moved.is_told {
            moving.is_believed = moved.has_joined;
        }
        (moving.last, moving.moved_ms) = (last, now_ms);
    }

    /// A user of this gateway joins or leaves, and the others have yet to hear of it.
    pub(super) fn moves(&mut self, room: &DeskId, user: &DeskId) {
        if !self.moving.is_empty()
            && let Some(moving) = self.moving.get_mut(&(room.clone(), user.clone()))
        {
            moving.moved_ms = self.ticked_ms;
        }
    }

    /// Owes members the truth about users who have come to rest, where it is this gateway's turn.
    pub(super) fn settle(&mut self, now_ms: u64) {
        let rests = |moving: &Moving| now_ms >= moving.moved_ms + QUIET_MS;
        let resting = self.moving.extract_if(|pair, moving| rests(moving) && !self.owed.contains_key(pair));
        for (pair, Moving { is_believed, last, .. }) in resting.collect::<Vec<_>>() {
            let is_there = self.is_there(&pair.0, &pair.1);
            if is_believed != is_there && self.is_small(&pair.0) && self.is_first(&pair, is_there, last.0) {
                self.owe_of(&pair.0, &pair.1, last.1, Some(is_believed));
            }
        }
    }

    /// Of a user who is there the first of the gateways that have it tells; of one who has left the gateway that it left last, or the first of all if that one is over.
    fn is_first(&self, pair: &(DeskId, DeskId), is_there: bool, last: GatewayId) -> bool {
        if !is_there && (last == self.me || self.lives(last)) {
            return last == self.me;
        }
        let is_here = self.here.get(&pair.0).is_some_and(|users| users.contains_key(&pair.1));
        let tells_before = |(other, peer): (&GatewayId, &Peer)| {
            *other < self.me && peer.ends_ms.is_none() && (!is_there || peer.pairs.contains(pair))
        };
        (is_here || !is_there) && !self.peers.iter().any(tells_before)
    }

    fn lives(&self, gateway: GatewayId) -> bool {
        self.peers.get(&gateway).is_some_and(|peer| peer.ends_ms.is_none())
    }
}
