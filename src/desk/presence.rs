//! Who is in which room, over all gateways. Pure: no I/O, and time comes in as milliseconds.
//!
//! # How gateways know of each other
//!
//! By gossip over Pub/Sub, and no keys. A join or leave goes to every gateway anyhow, as an event of the room, and says where the user is
//! from then on: that is nearly all of it, and it costs nothing more. Beside it each gateway tells a *beat* every 5 s, and 2 s after the one
//! before if its users have come or gone since: how many
//! pairs of room and user it has, and a sum of them. Who has heard something else of it asks, and it tells all it has. So what is lost on the way is
//! mended with the next beat, within 3 s, and a gateway that is new hears all by asking once.
//!
//! Keys with a time to live would have to be refreshed, one for each pair of room and user: 20 gateways with 500 users in 5 rooms
//! each are 50,000 pairs, with 45 s to live and a refresh each 15 s 3,300 commands a second for nothing that has changed. Gossip is 20 beats in
//! 5 s: 4 messages a second, 80 deliveries, and at most 10 and 200 while users come and go at all of them. And it works with the embedded broker, which has no keys.
//!
//! # What is told to members
//!
//! A user is in a room as long as one of its connections is, on any gateway, and for the grace after the last of them has gone without
//! leaving. The gateway that a connection joins by says whether the others are told, as it knows the room at that moment; two that don't
//! know of each other's join yet both say so. Gateways that are silent for [`SILENCE_MS`] are dead; the first of the living, in the order of
//! their numbers, tells the leaves of their users, and their joins if the gateway was only stopped and goes on. Those who know of users whose gateway
//! doesn't speak any more tell a gateway that is new (`over`). Joins and leaves of a user that cross between gateways are put right once it has come
//! to rest (`crossing`).

mod crossing;
mod gossip;
mod late;
mod over;
mod owed;
mod peers;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use foldhash::fast::RandomState;

use self::crossing::Moving;
pub use self::gossip::{Gossip, NoGossip, Sum};
use self::late::Late;
use self::over::{Asked, Untold};
pub use self::owed::Change;
use self::owed::Owed;
use self::peers::{Buried, Peer};
use super::envelope::Moved;
use super::{DeskId, GatewayId, Origin, PublicId};

#[cfg(test)]
mod crossing_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod over_tests;
#[cfg(test)]
mod repair_tests;
#[cfg(test)]
mod tests;

/// A gateway says that it lives at least so often.
pub const BEAT_MS: u64 = 5_000;
/// One whose users have come or gone since its last beat says so as soon as this: what was lost of them is mended within 3 s.
pub const BEAT_SOON_MS: u64 = 2_000;
/// A gateway that has not looked for so long was stopped itself: it has not heard the others, whether they spoke or not.
const ASLEEP_MS: u64 = 2_000;
/// Of whom leaves were told for a gateway that was silent is known so long, should it come back.
const BURIED_MS: u64 = 600_000;
/// One that has not for so long is dead.
pub const SILENCE_MS: u64 = 25_000;
/// Who waits for all that a gateway has asks again after this time.
const ASK_AGAIN_MS: u64 = 1_500;
/// Who asks every gateway has heard, after this time, all that live and what they know of those that don't.
const ANSWERS_MS: u64 = 400;
/// So long a gateway that begins hears of users before it says who joins: the others look at it only so often.
pub const SETTLE_MS: u64 = ANSWERS_MS + 300;
/// What members are owed is told so often until it is confirmed: longer than a confirmation takes.
pub const OWED_MS: u64 = 1_000;
/// A user that has not moved for so long has no join or leave on its way any more: Redis has taken what was published, or it is refused.
pub const QUIET_MS: u64 = 1_000;
/// Counts of a large room are told no sooner after one another.
pub const COUNTS_MS: u64 = 1_000;
/// Most users that are named in an answer.
pub const USERS_NAMED_MAX: usize = 100;

const _: () = assert!(SILENCE_MS + 2 * BEAT_MS < 45_000, "users of a killed gateway have left after 45 s");

type Map<K, V> = HashMap<K, V, RandomState>;
type Set<T> = HashSet<T, RandomState>;

/// The limits of presence.
#[derive(Debug, Clone, Copy)]
pub struct PresenceConfig {
    /// `PRESENCE_GRACE`.
    pub grace_ms: u64,
    /// `PRESENCE_MAX_MEMBERS`.
    pub max_members: usize,
    /// `MAX_ROOMS_PER_USER`.
    pub max_rooms: usize,
    /// How many pairs of room and user fit into one event.
    pub part_pairs: usize,
}

/// What is to be said now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Say {
    /// To the room's channel: a leave, or what members are owed.
    Moved {
        /// The room.
        room: DeskId,
        /// Who left, or is there.
        moved: Moved,
    },
    /// To the gateways.
    Gossip(Gossip),
    /// To this gateway's members of a large room: how many users there are.
    Count {
        /// The room.
        room: DeskId,
        /// How many.
        count: usize,
    },
}

/// A user of this gateway in a room.
#[derive(Debug, Default)]
struct Here {
    connections: u32,
    /// The last that has gone without leaving.
    gone: Option<PublicId>,
    /// When the grace of that one ends, if no join has been confirmed since. It counts while there are no connections.
    ends_ms: Option<u64>,
    /// Others know that the user is here, or may.
    is_known: bool,
}

/// The rooms of a user of this gateway.
#[derive(Debug, Default)]
struct Rooms {
    count: usize,
    /// Those in which it is by its grace alone, by the end of it.
    graces: BTreeSet<(u64, DeskId)>,
}

/// The user has as many as one may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyRooms {
    /// How many it has.
    pub current: usize,
}

/// Who is in which room, as one gateway knows it.
#[derive(Debug)]
pub struct Presence {
    me: GatewayId,
    config: PresenceConfig,
    here: Map<DeskId, Map<DeskId, Here>>,
    /// The rooms of each user of this gateway.
    rooms_of: Map<DeskId, Rooms>,
    sum: Sum,
    /// Ends of grace, in order.
    ends: BTreeSet<(u64, DeskId, DeskId)>,
    /// Room and user of whom members may believe something else than is true.
    owed: Map<(DeskId, DeskId), Owed>,
    told_owed_ms: u64,
    late: Late,
    peers: Map<GatewayId, Peer>,
    /// Those that were silent, and of whom this gateway has told that they left.
    buried: Map<GatewayId, Buried>,
    /// Those that are over, and since when: what is told of them no longer counts.
    over: Map<GatewayId, u64>,
    /// Their users, as far as nobody has told yet that they left.
    untold: Map<(DeskId, DeskId), Untold>,
    /// Users who have lately joined or left, at any gateway.
    moving: Map<(DeskId, DeskId), Moving>,
    /// Another gateway waits for what is known of those that are over.
    asked: Option<Asked>,
    /// How many gateways have each user, by room. In order, so that the first can be named without looking at all.
    everywhere: Map<DeskId, BTreeMap<DeskId, u32>>,
    /// Large rooms whose count has changed.
    changed: Set<DeskId>,
    beat_ms: u64,
    /// What the last beat said.
    beat_sum: Sum,
    ticked_ms: u64,
    counted_ms: u64,
    has_asked: bool,
    /// Another gateway has asked for all that this one has, and waits for it.
    owes_parts: bool,
}

impl Presence {
    /// Nobody is anywhere yet.
    pub fn new(me: GatewayId, config: PresenceConfig) -> Self {
        Self {
            me,
            config,
            here: Map::default(),
            rooms_of: Map::default(),
            sum: Sum::default(),
            ends: BTreeSet::new(),
            owed: Map::default(),
            told_owed_ms: 0,
            late: Late::default(),
            peers: Map::default(),
            buried: Map::default(),
            over: Map::default(),
            untold: Map::default(),
            moving: Map::default(),
            asked: None,
            everywhere: Map::default(),
            changed: Set::default(),
            beat_ms: 0,
            beat_sum: Sum::default(),
            ticked_ms: 0,
            counted_ms: 0,
            has_asked: false,
            owes_parts: false,
        }
    }

    /// A connection of this gateway joins a room. Returns whether the other members are told. A room in which the user is by its grace
    /// alone makes way, if it is one too many.
    ///
    /// # Errors
    /// When the user is in too many rooms; nothing has changed then.
    pub fn join(&mut self, room: &DeskId, user: &DeskId) -> Result<bool, TooManyRooms> {
        if !self.is_here(room, user)
            && let Some(rooms) = self.rooms_of.get(user).filter(|rooms| rooms.count >= self.config.max_rooms)
        {
            let Some((ends_ms, oldest)) = rooms.graces.first().cloned() else {
                return Err(TooManyRooms { current: rooms.count });
            };
            self.end_grace(ends_ms, &oldest, user);
            let gone = self.remove_here(&oldest, user);
            self.owe_of(&oldest, user, gone, Some(true));
        }
        let was_there = self.is_there(room, user) || self.is_believed(room, user);
        self.untold.remove(&(room.clone(), user.clone()));
        self.add_here(room, user);
        self.touch_moving(room, user);
        Ok(!was_there && self.is_small(room))
    }

    /// A connection leaves a room. Returns whether the other members are told, and whether the user is still in the room at this gateway.
    pub fn leave(&mut self, room: &DeskId, user: &DeskId) -> (bool, bool) {
        let Some(here) = self.here.get_mut(room).and_then(|users| users.get_mut(user)) else {
            return (false, false);
        };
        if here.connections != 1 {
            here.connections = here.connections.saturating_sub(1);
            return (false, true);
        }
        let was_small = self.is_small(room);
        self.remove_here(room, user);
        self.touch_moving(room, user);
        (!self.is_there(room, user) && was_small, false)
    }

    /// A connection has gone without leaving the room: the user is still there for the grace.
    pub fn gone(&mut self, room: &DeskId, user: &DeskId, connection: Option<PublicId>, now_ms: u64) {
        let ends_ms = now_ms + self.config.grace_ms;
        let Some(here) = self.here.get_mut(room).and_then(|users| users.get_mut(user)) else { return };
        if here.connections == 0 {
            return;
        }
        here.connections -= 1;
        here.gone = connection;
        here.ends_ms = Some(ends_ms);
        if here.connections == 0 {
            self.begin_grace(ends_ms, room, user);
        }
    }

    /// What is due. Called often, while the upstream is there.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Say> {
        let mut say = Vec::new();
        self.wake(now_ms);
        let asks = !std::mem::replace(&mut self.has_asked, true);
        if asks {
            say.push(Say::Gossip(Gossip::Ask { by: self.me, of: None }));
        }
        // All gateways hear it: one answer is for all that have asked since the last tick.
        if std::mem::take(&mut self.owes_parts) || asks {
            say.extend(self.parts().into_iter().map(Say::Gossip));
        }
        while self.ends.first().is_some_and(|(ends_ms, ..)| *ends_ms <= now_ms) {
            let Some((ends_ms, room, user)) = self.ends.pop_first() else { break };
            self.end_grace(ends_ms, &room, &user);
            let was_small = self.is_small(&room);
            let gone = self.remove_here(&room, &user);
            let is_told = was_small && !self.is_there(&room, &user);
            self.touch_moving(&room, &user);
            let origin = Origin::of_move(gone, self.count(&room));
            say.push(Self::left(room, user, origin, self.me, is_told));
        }
        self.bury(now_ms, &mut say);
        self.tell_of_over(now_ms, &mut say);
        self.settle(now_ms);
        self.tell_owed(now_ms, &mut say);
        let pause_ms = if self.sum == self.beat_sum { BEAT_MS } else { BEAT_SOON_MS };
        if now_ms >= self.beat_ms + pause_ms {
            self.beat_ms = now_ms;
            self.beat_sum = self.sum;
            say.push(Say::Gossip(Gossip::Beat { gateway: self.me, sum: self.sum }));
        }
        if !self.changed.is_empty() && now_ms >= self.counted_ms + COUNTS_MS {
            self.counted_ms = now_ms;
            for room in std::mem::take(&mut self.changed) {
                if self.here.contains_key(&room) {
                    let count = self.count(&room);
                    say.push(Say::Count { room, count });
                }
            }
        }
        say
    }

    /// What a gateway says that ends.
    pub fn bye(&self) -> Gossip {
        Gossip::Bye { gateway: self.me, grace_ms: self.config.grace_ms }
    }

    /// How many users are in a room, and the names of some.
    pub fn users(&self, room: &DeskId) -> (Vec<DeskId>, usize) {
        let Some(users) = self.everywhere.get(room) else { return (Vec::new(), 0) };
        (users.keys().take(USERS_NAMED_MAX).cloned().collect(), users.len())
    }

    /// How many users are in a room.
    pub fn count(&self, room: &DeskId) -> usize {
        self.everywhere.get(room).map_or(0, BTreeMap::len)
    }

    /// How many rooms have somebody in them, anywhere.
    pub fn rooms(&self) -> usize {
        self.everywhere.len()
    }

    /// Whether a user is in a room, at any gateway.
    pub fn is_there(&self, room: &DeskId, user: &DeskId) -> bool {
        self.everywhere.get(room).is_some_and(|users| users.contains_key(user))
    }

    /// Whether a user is in a room at this gateway, by a connection or by its grace.
    fn is_here(&self, room: &DeskId, user: &DeskId) -> bool {
        self.here.get(room).is_some_and(|users| users.contains_key(user))
    }

    /// Whether joins and leaves of a room are told one by one.
    fn is_small(&self, room: &DeskId) -> bool {
        self.count(room) <= self.config.max_members
    }

    /// One more connection.
    fn add_here(&mut self, room: &DeskId, user: &DeskId) {
        if !self.is_here(room, user) {
            self.rooms_of.entry(user.clone()).or_default().count += 1;
            self.sum.add(room, user);
            self.count_up(room, user);
        }
        let here = self.here.entry(room.clone()).or_default().entry(user.clone()).or_default();
        here.connections += 1;
        if let (1, Some(ends_ms)) = (here.connections, here.ends_ms) {
            self.end_grace(ends_ms, room, user);
        }
    }

    fn begin_grace(&mut self, ends_ms: u64, room: &DeskId, user: &DeskId) {
        self.ends.insert((ends_ms, room.clone(), user.clone()));
        self.rooms_of.entry(user.clone()).or_default().graces.insert((ends_ms, room.clone()));
    }

    fn end_grace(&mut self, ends_ms: u64, room: &DeskId, user: &DeskId) {
        self.ends.remove(&(ends_ms, room.clone(), user.clone()));
        if let Some(rooms) = self.rooms_of.get_mut(user) {
            rooms.graces.remove(&(ends_ms, room.clone()));
        }
    }

    /// Returns the last of its connections that has gone without leaving.
    fn remove_here(&mut self, room: &DeskId, user: &DeskId) -> Option<PublicId> {
        let users = self.here.get_mut(room)?;
        let here = users.remove(user)?;
        if users.is_empty() {
            self.here.remove(room);
        }
        self.sum.remove(room, user);
        if let Some(rooms) = self.rooms_of.get_mut(user) {
            rooms.count -= 1;
            if rooms.count == 0 {
                self.rooms_of.remove(user);
            }
        }
        self.count_down(room, user);
        here.gone
    }

    fn count_up(&mut self, room: &DeskId, user: &DeskId) {
        let users = self.everywhere.entry(room.clone()).or_default();
        *users.entry(user.clone()).or_default() += 1;
        if users.len() > self.config.max_members {
            self.changed.insert(room.clone());
        }
    }

    fn count_down(&mut self, room: &DeskId, user: &DeskId) {
        let Some(users) = self.everywhere.get_mut(room) else { return };
        if users.len() > self.config.max_members {
            self.changed.insert(room.clone());
        }
        let Some(gateways) = users.get_mut(user) else { return };
        *gateways -= 1;
        if *gateways == 0 {
            users.remove(user);
            if users.is_empty() {
                self.everywhere.remove(room);
                self.changed.remove(room);
            }
        }
    }
}
