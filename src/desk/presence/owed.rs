//! Joins and leaves that the upstream has not confirmed: what of them is taken back, and what members are told again.
//!
//! Nothing is sent later as it was. Where members may believe something else than is true, they are *owed* the truth: it is told once a
//! second until the upstream has confirmed it. Members that had heard it already may hear it twice.

use super::{Here, OWED_MS, Presence, Say};
use crate::desk::envelope::{Mark, Moved};
use crate::desk::{DeskId, Origin, PublicId};

/// A join or leave on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The room.
    pub room: DeskId,
    /// Who.
    pub user: DeskId,
    /// By which connection.
    pub connection: Option<PublicId>,
    /// It joins; else leaves.
    pub has_joined: bool,
    /// The other members are told.
    pub is_told: bool,
    /// Which request it is, if a client has asked for it.
    pub asked: Option<Mark>,
}

impl Change {
    /// What goes to a room.
    pub fn of(room: &DeskId, moved: &Moved) -> Self {
        Self {
            room: room.clone(),
            user: moved.user.clone(),
            connection: moved.origin.connection,
            has_joined: moved.has_joined,
            is_told: moved.is_told,
            asked: moved.asked,
        }
    }

    /// Whether members believe that the user is there, as it has not been confirmed; `None` if they may have been told or not.
    fn believed(&self, may_have_come: bool) -> Option<bool> {
        // Nobody is told of whom they know to be there by another connection.
        if self.is_told { (!may_have_come).then_some(!self.has_joined) } else { Some(true) }
    }
}

/// What members are to be told of a user.
#[derive(Debug)]
pub(super) struct Owed {
    /// Whether they believe that it is there; `None` if that isn't known.
    believed: Option<bool>,
    connection: Option<PublicId>,
}

impl Presence {
    /// The upstream has taken a join or leave.
    pub fn confirmed(&mut self, change: &Change) {
        let Change { room, user, .. } = change;
        if change.is_told {
            self.owed.remove(&(room.clone(), user.clone()));
        }
        if !change.has_joined {
            return;
        }
        if let Some(here) = self.here.get_mut(room).and_then(|users| users.get_mut(user)) {
            here.is_known = true;
            if here.connections > 0 {
                here.ends_ms = None;
            }
        }
    }

    /// A join has not been confirmed, and is taken back: a grace goes on that it had ended.
    pub fn unjoin(&mut self, change: &Change, may_have_come: bool) {
        let Change { room, user, is_told, .. } = change;
        let Some(here) = self.here.get_mut(room).and_then(|users| users.get_mut(user)) else { return };
        if here.connections == 0 {
            return;
        }
        here.connections -= 1;
        here.is_known |= may_have_come;
        let Here { connections, ends_ms, is_known, .. } = *here;
        self.late.note(change, may_have_come, self.ticked_ms);
        if connections > 0 {
            // Others of the user's connections have joined without a word, as this one's was to be told.
            if *is_told {
                self.owe(change, change.believed(may_have_come));
            }
        } else if let Some(ends_ms) = ends_ms {
            self.begin_grace(ends_ms, room, user);
        } else {
            self.remove_here(room, user);
            if is_known || !is_told {
                self.owe(change, change.believed(may_have_come));
            }
        }
    }

    /// A leave has not been confirmed, and is taken back: the connection is a member still.
    pub fn unleave(&mut self, change: &Change, may_have_come: bool) {
        let Change { room, user, .. } = change;
        self.add_here(room, user);
        if let Some(here) = self.here.get_mut(room).and_then(|users| users.get_mut(user)) {
            here.is_known = true;
        }
        if may_have_come {
            self.owe(change, None);
        }
        self.late.note(change, may_have_come, self.ticked_ms);
    }

    /// A leave or what members were owed has not been confirmed, and stays as it is.
    pub fn unsaid(&mut self, change: &Change, may_have_come: bool) {
        // Also if nobody was told: another gateway may wait for this one's leave.
        self.owe(change, change.believed(may_have_come));
        self.late.note(change, may_have_come, self.ticked_ms);
    }

    /// A join or leave of this gateway has come back.
    pub(super) fn heard_own(&mut self, room: &DeskId, moved: &Moved) {
        if self.late.has(room, moved) {
            // Members and the other gateways have heard it behind what they were told since.
            let believed = moved.has_joined || !moved.is_told;
            self.owe_of(room, &moved.user, moved.origin.connection, Some(believed));
        } else if moved.has_joined && moved.is_told {
            self.is_told_after_all(&(room.clone(), moved.user.clone()));
        }
    }

    fn owe(&mut self, change: &Change, believed: Option<bool>) {
        let Change { room, user, connection, .. } = change;
        self.owe_of(room, user, *connection, believed);
    }

    pub(super) fn owe_of(
        &mut self,
        room: &DeskId,
        user: &DeskId,
        connection: Option<PublicId>,
        believed: Option<bool>,
    ) {
        let new = || Owed { believed, connection };
        let owed = self.owed.entry((room.clone(), user.clone())).or_insert_with(new);
        if owed.believed != believed {
            owed.believed = None;
        }
    }

    /// Whether members have yet to hear that a user has left.
    pub(super) fn is_believed(&self, room: &DeskId, user: &DeskId) -> bool {
        // Nearly always there is nothing to look for.
        if self.owed.is_empty() && self.untold.is_empty() {
            return false;
        }
        let pair = (room.clone(), user.clone());
        self.untold.contains_key(&pair)
            || self.owed.get(&pair).is_some_and(|owed| owed.believed == Some(true))
    }

    /// Another gateway has told members, who may believe something else now than when it was noted.
    pub(super) fn heard_told(&mut self, pair: &(DeskId, DeskId), moved: &Moved) {
        if moved.is_told
            && let Some(owed) = self.owed.get_mut(pair)
            && owed.believed == Some(!moved.has_joined)
        {
            owed.believed = None;
        }
    }

    /// A join has come back: members who had to hear that the user is here have heard it.
    fn is_told_after_all(&mut self, pair: &(DeskId, DeskId)) {
        if self.owed.get(pair).is_some_and(|owed| owed.believed == Some(false)) {
            self.owed.remove(pair);
        }
    }

    /// Tells what members are owed, as it is now.
    pub(super) fn tell_owed(&mut self, now_ms: u64, say: &mut Vec<Say>) {
        if self.owed.is_empty() || now_ms < self.told_owed_ms + OWED_MS {
            return;
        }
        self.told_owed_ms = now_ms;
        let mut owed = std::mem::take(&mut self.owed);
        owed.retain(|(room, user), Owed { believed, connection }| {
            let has_joined = self.is_there(room, user);
            let is_told = self.is_small(room) && *believed != Some(has_joined);
            let is_there = self.is_here(room, user);
            // What members know already is for gateways alone.
            let origin =
                if is_told { Origin::of_move(*connection, self.count(room)) } else { Origin::default() };
            let (user, gateway) = (user.clone(), self.me);
            let moved = Moved { user, has_joined, is_told, gateway, is_there, asked: None, origin };
            say.push(Say::Moved { room: room.clone(), moved });
            is_told
        });
        self.owed = owed;
    }
}
