//! What other gateways have told of their users, and what they are told in return.

use super::{ASK_AGAIN_MS, ASLEEP_MS, Gossip, Presence, SILENCE_MS, Set, Sum};
use crate::desk::envelope::Moved;
use crate::desk::{DeskId, GatewayId};

/// What is known of another gateway.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) heard_ms: u64,
    pub(super) pairs: Set<(DeskId, DeskId)>,
    pub(super) sum: Sum,
    asked_ms: Option<u64>,
    /// The parts of all that it has, as they come.
    parts: Vec<Vec<(DeskId, Vec<DeskId>)>>,
    /// When it counts as dead, once it has said that it ends.
    pub(super) ends_ms: Option<u64>,
    /// It has told all that it has, so what it has not told is not there. Till then what others tell of it counts as well.
    pub(super) has_told_all: bool,
}

/// A gateway that was silent.
#[derive(Debug)]
pub(super) struct Buried {
    pub(super) since_ms: u64,
    /// Room and user of the leaves that were told.
    pub(super) told: Set<(DeskId, DeskId)>,
}

impl Peer {
    /// One of which others have told, and that was heard last then.
    pub(super) fn hearsay(heard_ms: u64) -> Self {
        Self { heard_ms, ..Self::default() }
    }

    pub(super) fn is_dead(&self, now_ms: u64) -> bool {
        now_ms >= self.until_ms()
    }

    /// When it is dead, if nothing is heard of it.
    pub(super) fn until_ms(&self) -> u64 {
        // One that has said that it ends says no more.
        self.ends_ms.unwrap_or(self.heard_ms + SILENCE_MS)
    }
}

impl Presence {
    /// A connection has joined or left by another gateway.
    pub fn heard_moved(&mut self, room: &DeskId, moved: &Moved, now_ms: u64) {
        if moved.gateway == self.me {
            self.heard_own(room, moved);
        } else {
            let pair = (room.clone(), moved.user.clone());
            self.untold.remove(&pair);
            self.heard_told(&pair, moved);
            self.heard_of_peer(room, moved, now_ms);
        }
        self.note_moved(room, moved, now_ms);
    }

    fn heard_of_peer(&mut self, room: &DeskId, moved: &Moved, now_ms: u64) {
        if !moved.is_there && !self.peers.contains_key(&moved.gateway) {
            return;
        }
        let peer = self.peers.entry(moved.gateway).or_default();
        let pair = (room.clone(), moved.user.clone());
        if moved.is_there {
            // A leave says nothing of the kind: another gateway tells it for one that is dead.
            peer.heard_ms = peer.heard_ms.max(now_ms);
            if peer.pairs.insert(pair) {
                peer.sum.add(room, &moved.user);
                let is_back = self.is_back(moved.gateway, room, &moved.user);
                self.count_up(room, &moved.user);
                if is_back && !moved.is_told {
                    self.owe_of(room, &moved.user, moved.origin.connection, Some(false));
                }
            }
        } else if peer.pairs.remove(&pair) {
            peer.sum.remove(room, &moved.user);
            self.count_down(room, &moved.user);
        }
    }

    /// Another gateway has told something. Returns what it is to be asked.
    pub fn heard(&mut self, gossip: Gossip, now_ms: u64) -> Option<Gossip> {
        match gossip {
            Gossip::Ask { by, of } if by != self.me && of.is_none_or(|of| of == self.me) => {
                self.owes_parts = true;
                if of.is_none() {
                    self.is_asked_by_all(now_ms);
                }
            }
            Gossip::Left { by, gateway, left_ms, has_ended, rooms }
                if by != self.me && gateway != self.me =>
            {
                self.heard_answer(by, gateway, &rooms);
                self.heard_left(gateway, left_ms, has_ended, rooms, now_ms);
            }
            Gossip::Beat { gateway, sum } if gateway != self.me => {
                let peer = self.peers.entry(gateway).or_default();
                peer.heard_ms = now_ms;
                peer.ends_ms = None;
                peer.has_told_all |= peer.sum == sum;
                let waits = peer.asked_ms.is_some_and(|asked_ms| now_ms < asked_ms + ASK_AGAIN_MS);
                if peer.sum != sum && !waits {
                    peer.asked_ms = Some(now_ms);
                    return Some(Gossip::Ask { by: self.me, of: Some(gateway) });
                }
            }
            Gossip::Part { gateway, part, of, rooms } if gateway != self.me => {
                self.take_part(gateway, part, of, rooms, now_ms);
            }
            Gossip::Bye { gateway, grace_ms } if gateway != self.me => {
                if let Some(peer) = self.peers.get_mut(&gateway) {
                    peer.ends_ms = Some(now_ms + grace_ms);
                }
            }
            _ => {}
        }
        None
    }

    /// The upstream was away, or is: nobody is dead for not having been heard meanwhile.
    pub fn heard_nobody(&mut self, now_ms: u64) {
        self.peers.values_mut().for_each(|peer| peer.heard_ms = now_ms);
        self.has_asked = false;
        self.asked = None;
        self.wait_with_untold(now_ms);
        self.wait_with_moving(now_ms);
    }

    /// Whether members have been told by this gateway that a user left, as the gateway that has the user was silent, and the user is nowhere
    /// else. Asked once.
    fn is_back(&mut self, gateway: GatewayId, room: &DeskId, user: &DeskId) -> bool {
        let Some(buried) = self.buried.get_mut(&gateway) else { return false };
        buried.told.remove(&(room.clone(), user.clone())) && !self.is_there(room, user)
    }

    /// This gateway looks after its peers. If it was stopped meanwhile, that time doesn't count as their silence, and it asks what it has missed.
    pub(super) fn wake(&mut self, now_ms: u64) {
        let asleep_ms = now_ms - self.ticked_ms.min(now_ms);
        self.ticked_ms = now_ms;
        if asleep_ms > ASLEEP_MS {
            for peer in self.peers.values_mut() {
                peer.heard_ms = now_ms.min(peer.heard_ms + asleep_ms);
            }
            self.has_asked = false;
            self.wait_with_moving(now_ms);
        }
    }

    /// All that this gateway has, in parts.
    pub(super) fn parts(&self) -> Vec<Gossip> {
        let rooms = self.here.iter().map(|(room, users)| (room.clone(), users.keys().cloned().collect()));
        let parts = parts_of(rooms, self.config.part_pairs);
        let of = parts.len() as u32;
        let numbered = parts.into_iter().zip(0..);
        numbered.map(|(rooms, part)| Gossip::Part { gateway: self.me, part, of, rooms }).collect()
    }

    fn take_part(
        &mut self,
        gateway: GatewayId,
        part: u32,
        of: u32,
        rooms: Vec<(DeskId, Vec<DeskId>)>,
        now_ms: u64,
    ) {
        let peer = self.peers.entry(gateway).or_default();
        peer.heard_ms = now_ms;
        if part == 0 {
            peer.parts.clear();
        }
        if peer.parts.len() != part as usize {
            // One was lost: the next beat asks again.
            return;
        }
        peer.parts.push(rooms);
        if part + 1 < of {
            return;
        }
        let all: Set<(DeskId, DeskId)> =
            std::mem::take(&mut peer.parts).into_iter().flat_map(pairs_of).collect();
        peer.asked_ms = None;
        peer.has_told_all = true;
        peer.sum = Sum::default();
        all.iter().for_each(|(room, user)| peer.sum.add(room, user));
        let old = std::mem::replace(&mut peer.pairs, all.clone());
        for (room, user) in all.difference(&old) {
            let is_back = self.is_back(gateway, room, user);
            self.count_up(room, user);
            if is_back {
                self.owe_of(room, user, None, Some(false));
            }
        }
        for (room, user) in old.difference(&all) {
            self.count_down(room, user);
        }
    }
}

/// Rooms and the users in them, in parts of at most so many pairs.
pub(super) fn parts_of(
    rooms: impl Iterator<Item = (DeskId, Vec<DeskId>)>,
    pairs: usize,
) -> Vec<Vec<(DeskId, Vec<DeskId>)>> {
    let pairs = pairs.max(1);
    let mut parts = vec![Vec::new()];
    let mut room_left = pairs;
    for (room, users) in rooms {
        for users in users.chunks(pairs) {
            if room_left < users.len() {
                parts.push(Vec::new());
                room_left = pairs;
            }
            room_left -= users.len();
            if let Some(part) = parts.last_mut() {
                part.push((room.clone(), users.to_vec()));
            }
        }
    }
    parts
}

/// Pairs of room and user.
pub(super) fn pairs_of(rooms: Vec<(DeskId, Vec<DeskId>)>) -> Vec<(DeskId, DeskId)> {
    let each = |(room, users): (DeskId, Vec<DeskId>)| users.into_iter().map(move |user| (room.clone(), user));
    rooms.into_iter().flat_map(each).collect()
}
