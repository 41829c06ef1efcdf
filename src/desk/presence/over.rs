//! Gateways that are over: whom they leave behind, what a gateway that is new hears of them, and who tells members that their users left.
//!
//! A gateway that ends says so, and its users have their grace to come back elsewhere. One that was killed says nothing, and its users are there until it
//! has been silent for [`SILENCE_MS`]. Neither answers a gateway that begins meanwhile, perhaps in its place, so another one does: with its next tick for
//! those that have said that they end, and after [`ANSWERS_MS`] for those that have not answered by then.

use super::peers::{Buried, Peer, pairs_of, parts_of};
use super::{ANSWERS_MS, BEAT_MS, BURIED_MS, Gossip, Map, OWED_MS, Presence, SILENCE_MS, Say, Set, Sum};
use crate::desk::envelope::Moved;
use crate::desk::{DeskId, GatewayId, Origin};

/// The first of the living gateways tells the leaves of one that is over. Each that follows waits this much longer, and tells those that it has not heard told by then:
/// the first may be new and not know of them, or dead itself.
const TURN_MS: u64 = 1_000;
/// From this turn on they wait no longer.
const TURNS_MAX: u64 = 5;
/// Whose time ends sooner than this isn't told of: others may know already that it is over.
const LEFT_MIN_MS: u64 = 1_000;

const _: () = assert!(SILENCE_MS + 2 * BEAT_MS + TURNS_MAX * TURN_MS < 45_000);

/// A user of a gateway that is over, of whom nobody has told yet that it left.
#[derive(Debug)]
pub(super) struct Untold {
    due_ms: u64,
    gateway: GatewayId,
    /// The room was small enough for it.
    is_told: bool,
    /// The gateway may be stopped only.
    may_return: bool,
}

/// Another gateway has asked who is where, and is told of those that don't answer for themselves. Each of the others knows the same of them: the first whose tick comes
/// tells it.
#[derive(Debug)]
pub(super) struct Asked {
    since_ms: u64,
    /// Those that have ended have yet to be told of.
    is_ended_due: bool,
    /// What other gateways have told since, by who tells and of whom.
    told: Map<(GatewayId, GatewayId), Sum>,
}

impl Presence {
    /// Another gateway wants to hear all: it may be new.
    pub(super) fn is_asked_by_all(&mut self, now_ms: u64) {
        self.asked = Some(Asked { since_ms: now_ms, is_ended_due: true, told: Map::default() });
    }

    /// Tells the one that has asked of gateways that have ended, and of those that should have answered and have not; unless another gateway has told the same.
    pub(super) fn tell_of_over(&mut self, now_ms: u64, say: &mut Vec<Say>) {
        let Some(Asked { since_ms, is_ended_due, told }) = self.asked.take() else { return };
        let is_silent_due = now_ms >= since_ms + ANSWERS_MS;
        let is_due = |peer: &Peer| match peer.ends_ms {
            Some(_) => is_ended_due,
            None => is_silent_due && peer.heard_ms < since_ms,
        };
        let is_told = |gateway: &GatewayId, peer: &Peer| {
            told.iter().any(|((_, of), sum)| of == gateway && *sum == peer.sum)
        };
        let due = self.peers.iter().filter(|(gateway, peer)| is_due(peer) && !is_told(gateway, peer));
        let left = due.flat_map(|(gateway, peer)| self.left_by(*gateway, peer, now_ms));
        say.extend(left.map(Say::Gossip));
        if !is_silent_due {
            self.asked = Some(Asked { since_ms, is_ended_due: false, told });
        }
    }

    /// Another gateway tells what this one may be about to tell.
    pub(super) fn heard_answer(
        &mut self,
        by: GatewayId,
        gateway: GatewayId,
        rooms: &[(DeskId, Vec<DeskId>)],
    ) {
        let Some(asked) = &mut self.asked else { return };
        let sum = asked.told.entry((by, gateway)).or_default();
        for (room, users) in rooms {
            users.iter().for_each(|user| sum.add(room, user));
        }
    }

    /// What is known of a gateway that doesn't speak for itself.
    fn left_by(&self, gateway: GatewayId, peer: &Peer, now_ms: u64) -> Vec<Gossip> {
        let left_ms = peer.until_ms().saturating_sub(now_ms);
        if left_ms < LEFT_MIN_MS || peer.pairs.is_empty() {
            return Vec::new();
        }
        let mut rooms = Map::<DeskId, Vec<DeskId>>::default();
        for (room, user) in &peer.pairs {
            rooms.entry(room.clone()).or_default().push(user.clone());
        }
        let has_ended = peer.ends_ms.is_some();
        let parts = parts_of(rooms.into_iter(), self.config.part_pairs).into_iter();
        parts.map(|rooms| Gossip::Left { by: self.me, gateway, left_ms, has_ended, rooms }).collect()
    }

    /// Another gateway has told of one that doesn't speak for itself.
    pub(super) fn heard_left(
        &mut self,
        gateway: GatewayId,
        left_ms: u64,
        has_ended: bool,
        rooms: Vec<(DeskId, Vec<DeskId>)>,
        now_ms: u64,
    ) {
        if self.over.contains_key(&gateway) {
            return;
        }
        let until_ms = now_ms.saturating_add(left_ms);
        let heard_ms = until_ms.saturating_sub(SILENCE_MS);
        let peer = self.peers.entry(gateway).or_insert_with(|| Peer::hearsay(heard_ms));
        if has_ended {
            peer.ends_ms.get_or_insert(until_ms);
        } else if peer.has_told_all {
            return;
        }
        let mut pairs = pairs_of(rooms);
        pairs.retain(|pair| peer.pairs.insert(pair.clone()));
        pairs.iter().for_each(|(room, user)| peer.sum.add(room, user));
        pairs.iter().for_each(|(room, user)| self.count_up(room, user));
    }

    /// Gateways that are dead, and what their users leave.
    pub(super) fn bury(&mut self, now_ms: u64, say: &mut Vec<Say>) {
        self.buried.retain(|_, buried| now_ms < buried.since_ms + BURIED_MS);
        self.over.retain(|_, since_ms| now_ms < *since_ms + BURIED_MS);
        let dead = self.peers.iter().filter(|(_, peer)| peer.is_dead(now_ms));
        for gateway in dead.map(|(gateway, _)| *gateway).collect::<Vec<_>>() {
            let Some(peer) = self.peers.remove(&gateway) else { continue };
            self.over.insert(gateway, now_ms);
            let is_before = |(other, peer): &(&GatewayId, &Peer)| {
                **other < self.me && peer.ends_ms.is_none() && !peer.is_dead(now_ms)
            };
            let turn = self.peers.iter().filter(is_before).count() as u64;
            let (due_ms, may_return) = (now_ms + turn.min(TURNS_MAX) * TURN_MS, peer.ends_ms.is_none());
            for (room, user) in peer.pairs {
                let is_told = self.is_small(&room);
                self.count_down(&room, &user);
                if !self.is_there(&room, &user) {
                    self.untold.insert((room, user), Untold { due_ms, gateway, is_told, may_return });
                }
            }
        }
        self.tell_untold(now_ms, say);
    }

    /// Tells leaves of users of gateways that are over, where it is this gateway's turn.
    fn tell_untold(&mut self, now_ms: u64, say: &mut Vec<Say>) {
        let due = self.untold.extract_if(|_, untold| untold.due_ms <= now_ms).collect::<Vec<_>>();
        for ((room, user), Untold { gateway, is_told, may_return, .. }) in due {
            if self.is_there(&room, &user) {
                continue;
            }
            if may_return {
                let new = || Buried { since_ms: now_ms, told: Set::default() };
                let buried = self.buried.entry(gateway).or_insert_with(new);
                buried.told.insert((room.clone(), user.clone()));
            }
            // If nobody is told, it was a large room when the gateway was over, however small it is now.
            let origin = if is_told { Origin::of_move(None, self.count(&room)) } else { Origin::default() };
            say.push(Self::left(room, user, origin, gateway, is_told));
        }
    }

    /// A leave that a gateway tells, for itself or for one that is over.
    pub(super) fn left(room: DeskId, user: DeskId, origin: Origin, gateway: GatewayId, is_told: bool) -> Say {
        let moved = Moved { user, has_joined: false, is_told, gateway, is_there: false, asked: None, origin };
        Say::Moved { room, moved }
    }

    /// The upstream is not there: what others have told of those that are over is heard once it is.
    pub(super) fn wait_with_untold(&mut self, now_ms: u64) {
        for untold in self.untold.values_mut() {
            untold.due_ms = untold.due_ms.max(now_ms + 2 * OWED_MS);
        }
    }
}
