//! Joins and leaves that cross on the way between gateways.
//!
//! A gateway says whether members are told as it knows the room when it publishes. It may not have heard yet what another one has
//! published, so that in the end members believe something else than is true: all leave, and each gateway believes that another one still has the user;
//! or a leave that is told comes behind a join that is not. All gateways hear a room in one order. So each remembers what members believe of a user
//! who has lately moved, and compares it with what is true once nothing has moved for [`QUIET_MS`]. One gateway puts it right. The others remember it
//! until they hear that, as that one may be dead.

use super::peers::Peer;
use super::{BEAT_MS, Presence, QUIET_MS, SILENCE_MS};
use crate::desk::envelope::Moved;
use crate::desk::{DeskId, GatewayId, PublicId};

/// What nobody has put right by then is forgotten: the gateway whose turn it is knows more than this one.
const FORGOTTEN_MS: u64 = SILENCE_MS + 2 * BEAT_MS;

/// A user who has lately joined or left.
#[derive(Debug)]
pub(super) struct Moving {
    /// What members have been told last, in the room's order.
    is_believed: bool,
    /// By which gateway, and which connection, the last join or leave was.
    last: (GatewayId, Option<PublicId>),
    moved_ms: u64,
    /// When to compare.
    due_ms: u64,
}

impl Presence {
    /// A join or leave has come, and counts.
    pub(super) fn note_moved(&mut self, room: &DeskId, moved: &Moved, now_ms: u64) {
        let pair = (room.clone(), moved.user.clone());
        // How many the room had with this user, as the gateway knew it that has said whether members are told.
        let members = moved.origin.users.map(|users| users as usize + usize::from(!moved.has_joined));
        let is_small = members.is_some_and(|members| members <= self.config.max_members);
        if !moved.is_told && !is_small {
            // Members of a large room are told of nobody, and believe nothing of single users.
            self.moving.remove(&pair);
            return;
        }
        let (last, due_ms) = ((moved.gateway, moved.origin.connection), now_ms + QUIET_MS);
        // Who is told of neither a join nor a leave believes that the user is there by another gateway.
        let new = || Moving { is_believed: true, last, moved_ms: now_ms, due_ms };
        let moving = self.moving.entry(pair).or_insert_with(new);
        if moved.is_told {
            moving.is_believed = moved.has_joined;
        }
        (moving.last, moving.moved_ms, moving.due_ms) = (last, now_ms, due_ms);
    }

    /// A user of this gateway joins or leaves, and all have yet to hear of it.
    pub(super) fn touch_moving(&mut self, room: &DeskId, user: &DeskId) {
        if !self.moving.is_empty()
            && let Some(moving) = self.moving.get_mut(&(room.clone(), user.clone()))
        {
            moving.due_ms = self.ticked_ms + QUIET_MS;
        }
    }

    /// This gateway has heard nothing for a while: it compares once it has heard what the others have.
    pub(super) fn wait_with_moving(&mut self, now_ms: u64) {
        self.moving.values_mut().for_each(|moving| moving.due_ms = now_ms + QUIET_MS);
    }

    /// Owes members the truth about users who have come to rest, where it is this gateway's turn.
    pub(super) fn settle(&mut self, now_ms: u64) {
        let is_due = |moving: &Moving| now_ms >= moving.due_ms;
        let due = self.moving.extract_if(|pair, moving| is_due(moving) && !self.owed.contains_key(pair));
        for (pair, moving) in due.collect::<Vec<_>>() {
            let is_there = self.is_there(&pair.0, &pair.1);
            let Moving { is_believed, last, moved_ms, .. } = moving;
            if is_believed == is_there || !self.is_small(&pair.0) || now_ms >= moved_ms + FORGOTTEN_MS {
                continue;
            }
            if self.is_its_turn(&pair, is_there, last.0) {
                self.owe_of(&pair.0, &pair.1, last.1, Some(is_believed));
            } else {
                self.moving.insert(pair, Moving { due_ms: now_ms + QUIET_MS, ..moving });
            }
        }
    }

    /// Of a user who is there the first of the gateways that have it tells; of one who has left the gateway that it left last, or the first of all if that one is over.
    fn is_its_turn(&self, pair: &(DeskId, DeskId), is_there: bool, last: GatewayId) -> bool {
        if !is_there && (last == self.me || self.lives(last)) {
            return last == self.me;
        }
        let tells_before = |(other, peer): (&GatewayId, &Peer)| {
            *other < self.me && peer.ends_ms.is_none() && (!is_there || peer.pairs.contains(pair))
        };
        (!is_there || self.is_here(&pair.0, &pair.1)) && !self.peers.iter().any(tells_before)
    }

    fn lives(&self, gateway: GatewayId) -> bool {
        self.peers.get(&gateway).is_some_and(|peer| peer.ends_ms.is_none())
    }
}
