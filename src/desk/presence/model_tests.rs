//! Presence of several gateways against one naive list of connections. What a gateway says reaches all others before anything else
//! happens, unless the network loses it.

use proptest::prelude::*;

use super::*;
use crate::desk::Origin;
use crate::desk::envelope::Mark;

pub(super) const GRACE_MS: u64 = 10_000;
const GATEWAYS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Join {
        gateway: usize,
        room: u8,
        user: u8,
    },
    Leave {
        nth: usize,
        how: Leaves,
    },
    /// The gateway is killed, and another one begins in its place.
    Kill {
        gateway: usize,
    },
    Pass {
        ms: u64,
    },
    /// Whether what is said from now on is lost.
    Lose(bool),
    /// What becomes of joins and leaves from now on.
    Fate(Fate),
}

/// What becomes of a join or leave that a gateway publishes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fate {
    Confirmed,
    /// The upstream has not taken it, and the gateway knows.
    Refused,
    /// The upstream has not said so, and has taken it or not: it has come to all before its time was over.
    Unsure {
        comes: bool,
    },
    /// The same, and it comes this much later than it was refused.
    Late {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..GATEWAYS, 0..2_u8, 0..4_u8).prop_map(|(gateway, room, user)| Step::Join { gateway, room, user }),
        4 => (0..16_usize, leaves()).prop_map(|(nth, how)| Step::Leave { nth, how }),
        1 => (0..GATEWAYS).prop_map(|gateway| Step::Kill { gateway }),
        2 => (0..30_000_u64).prop_map(|ms| Step::Pass { ms }),
        1 => any::<bool>().prop_map(Step::Lose),
        1 => fate().prop_map(Step::Fate),
    ]
}

fn leaves() -> impl Strategy<Value = Leaves> {
    prop_oneof![2 => Just(Leaves::Asks), 1 => Just(Leaves::MustGo), 3 => Just(Leaves::CutOff)]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Confirmed),
        1 => Just(Fate::Refused),
        2 => any::<bool>().prop_map(|comes| Fate::Unsure { comes }),
        1 => (0..5_000_u64).prop_map(|ms| Fate::Late { ms }),
    ]
}

/// How a connection leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Leaves {
    Asks,
    /// Its rights don't cover the room any more: it isn't asked.
    MustGo,
    CutOff,
}

/// What a gateway does about what has not been confirmed.
type Refusal = fn(&mut Presence, &Change, bool);

/// A connection of the naive list, or a user's grace.
#[derive(Debug, Clone, PartialEq)]
struct Holds {
    gateway: GatewayId,
    room: DeskId,
    user: DeskId,
    /// Until when, once it has gone.
    until_ms: Option<u64>,
}

pub(super) struct World {
    pub(super) gateways: Vec<(GatewayId, Presence)>,
    next: u128,
    now_ms: u64,
    pub(super) loses: bool,
    pub(super) fate: Fate,
    /// What is refused and comes then.
    late: Vec<(u64, DeskId, Moved)>,
    next_ticket: u32,
    pub(super) grace_ms: u64,
    /// The gateway that is stopped, if one is: it hears nothing and says nothing.
    pub(super) stopped: Option<usize>,
    holds: Vec<Holds>,
    /// What gateways have told of others that are over: of whom.
    pub(super) told_of: Vec<GatewayId>,
    /// Joins and leaves that members have been told, since this was last looked at.
    pub(super) told: Vec<(bool, DeskId, DeskId)>,
}

pub(super) fn id(kind: &str, number: u8) -> DeskId {
    DeskId::parse(&format!("{kind}{number}")).unwrap()
}

pub(super) fn config(max_members: usize) -> PresenceConfig {
    PresenceConfig { grace_ms: GRACE_MS, max_members, max_rooms: 50, part_pairs: 2 }
}

fn listeners(
    gateways: &mut [(GatewayId, Presence)],
    stopped: Option<usize>,
) -> impl Iterator<Item = &mut Presence> {
    let heard = gateways.iter_mut().enumerate().filter(move |(at, _)| stopped != Some(*at));
    heard.map(|(_, (_, presence))| presence)
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_grace(GRACE_MS)
    }

    pub(super) fn with_grace(grace_ms: u64) -> Self {
        let mut world = Self {
            gateways: Vec::new(),
            next: 0,
            now_ms: 1,
            loses: false,
            fate: Fate::Confirmed,
            late: Vec::new(),
            next_ticket: 0,
            grace_ms,
            stopped: None,
            holds: Vec::new(),
            told_of: Vec::new(),
            told: Vec::new(),
        };
        for _ in 0..GATEWAYS {
            let new = world.new_gateway();
            world.gateways.push(new);
        }
        world.tick();
        world
    }

    pub(super) fn new_gateway(&mut self) -> (GatewayId, Presence) {
        self.next += 1;
        let me = GatewayId::of(self.next);
        (me, Presence::new(me, PresenceConfig { grace_ms: self.grace_ms, ..config(200) }))
    }

    /// Returns whether it is done: the upstream has confirmed it, or it has come back to the client that has asked for it.
    fn moved(&mut self, at: usize, room: &DeskId, moved: &Moved, refused: Refusal) -> bool {
        let comes = matches!(self.fate, Fate::Confirmed | Fate::Unsure { comes: true }) && !self.loses;
        if comes {
            self.comes(room, moved);
        }
        let change = Change::of(room, moved);
        let presence = &mut self.gateways[at].1;
        if self.fate == Fate::Confirmed || (comes && moved.asked.is_some()) {
            presence.confirmed(&change);
            return true;
        }
        refused(presence, &change, self.fate != Fate::Refused);
        if let Fate::Late { ms } = self.fate {
            self.late.push((self.now_ms + ms, room.clone(), moved.clone()));
        }
        false
    }

    /// Members and gateways hear it.
    fn comes(&mut self, room: &DeskId, moved: &Moved) {
        if moved.is_told {
            self.told.push((moved.has_joined, room.clone(), moved.user.clone()));
        }
        for presence in listeners(&mut self.gateways, self.stopped) {
            presence.heard_moved(room, moved, self.now_ms);
        }
    }

    /// What was refused comes.
    fn late_comes(&mut self) {
        let now_ms = self.now_ms;
        for (_, room, moved) in self.late.extract_if(.., |(due_ms, ..)| *due_ms <= now_ms).collect::<Vec<_>>()
        {
            if !self.loses {
                self.comes(&room, &moved);
            }
        }
    }

    /// The mark of a request.
    fn mark(&mut self) -> Mark {
        self.next_ticket += 1;
        Mark { shard: 0, ticket: self.next_ticket }
    }

    pub(super) fn gossip(&mut self, first: Gossip) {
        let mut said = std::collections::VecDeque::from([first]);
        while let Some(gossip) = said.pop_front() {
            if self.loses {
                continue;
            }
            let gossip = Gossip::parse(&gossip.write()).unwrap().expect("what is written can be read");
            if let Gossip::Left { gateway, .. } = &gossip {
                self.told_of.push(*gateway);
            }
            for presence in listeners(&mut self.gateways, self.stopped) {
                said.extend(presence.heard(gossip.clone(), self.now_ms));
            }
        }
    }

    pub(super) fn tick(&mut self) {
        self.late_comes();
        for at in (0..self.gateways.len()).filter(|at| self.stopped != Some(*at)).collect::<Vec<_>>() {
            for say in self.gateways[at].1.tick(self.now_ms) {
                match say {
                    Say::Moved { room, moved } => {
                        self.moved(at, &room, &moved, Presence::unsaid);
                    }
                    Say::Gossip(gossip) => self.gossip(gossip),
                    Say::Count { .. } => {}
                }
            }
        }
        let now_ms = self.now_ms;
        self.holds.retain(|hold| hold.until_ms.is_none_or(|until_ms| until_ms > now_ms));
    }

    pub(super) fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.now_ms = until_ms.min(self.now_ms + 500);
            self.tick();
        }
    }

    fn is_there(&self, room: &DeskId, user: &DeskId) -> bool {
        self.holds.iter().any(|hold| (&hold.room, &hold.user) == (room, user))
    }

    fn live(&self, nth: usize) -> Option<usize> {
        let live: Vec<_> = (0..self.holds.len()).filter(|at| self.holds[*at].until_ms.is_none()).collect();
        live.get(nth % live.len().max(1)).copied()
    }

    pub(super) fn join(&mut self, at: usize, room: DeskId, user: DeskId) {
        let (gateway, presence) = &mut self.gateways[at];
        let gateway = *gateway;
        let is_told = presence.join(&room, &user).expect("room for it");
        let origin = Origin::of_move(None, presence.count(&room));
        let moved = Moved {
            user: user.clone(),
            has_joined: true,
            is_told,
            gateway,
            is_there: true,
            asked: Some(self.mark()),
            origin,
        };
        if !self.moved(at, &room, &moved, Presence::unjoin) {
            return;
        }
        self.holds.retain(|hold| {
            (hold.gateway, &hold.room, &hold.user) != (gateway, &room, &user) || hold.until_ms.is_none()
        });
        self.holds.push(Holds { gateway, room, user, until_ms: None });
    }

    pub(super) fn leave(&mut self, nth: usize, how: Leaves) {
        let Some(nth) = self.live(nth) else { return };
        let hold = self.holds.remove(nth);
        let Holds { gateway, room, user, .. } = hold.clone();
        let now_ms = self.now_ms;
        let same = |hold: &Holds| (hold.gateway, &hold.room, &hold.user) == (gateway, &room, &user);
        let at = self.gateways.iter().position(|(id, _)| *id == gateway).expect("a living gateway has it");
        let presence = &mut self.gateways[at].1;
        if how == Leaves::CutOff {
            presence.gone(&room, &user, None, now_ms);
            if !self.holds.iter().any(same) {
                self.holds.push(Holds { gateway, room, user, until_ms: Some(now_ms + self.grace_ms) });
            }
            return;
        }
        let (is_told, is_there) = presence.leave(&room, &user);
        let origin = Origin::of_move(None, presence.count(&room));
        let is_asked = how == Leaves::Asks;
        let asked = is_asked.then(|| self.mark());
        let moved = Moved { user, has_joined: false, is_told, gateway, is_there, asked, origin };
        let refused = if is_asked { Presence::unleave } else { Presence::unsaid };
        if !self.moved(at, &room, &moved, refused) && is_asked {
            self.holds.push(hold);
        }
    }

    pub(super) fn kill(&mut self, at: usize) {
        let new = self.new_gateway();
        let (dead, _) = std::mem::replace(&mut self.gateways[at], new);
        // Nobody knows when exactly the others notice.
        self.holds.retain(|hold| hold.gateway != dead);
    }

    /// Everybody knows who is where.
    pub(super) fn agrees(&self) -> Result<(), TestCaseError> {
        for room in [id("room", 0), id("room", 1)] {
            let users = (0..4).map(|user| id("user", user)).filter(|user| self.is_there(&room, user));
            let users: Vec<_> = users.collect();
            for (gateway, presence) in &self.gateways {
                prop_assert_eq!(
                    presence.users(&room),
                    (users.clone(), users.len()),
                    "{} at {}",
                    room,
                    gateway
                );
            }
        }
        Ok(())
    }
}

impl World {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Join { gateway, room, user } => self.join(gateway, id("room", room), id("user", user)),
            Step::Leave { nth, how } => self.leave(nth, how),
            Step::Kill { gateway } => self.kill(gateway),
            Step::Pass { ms } => self.pass(ms),
            Step::Lose(loses) => self.loses = loses,
            Step::Fate(fate) => self.fate = fate,
        }
        self.tick();
    }

    /// Room and user of everybody who is in a room.
    fn there(&self) -> HashSet<(DeskId, DeskId)> {
        self.holds.iter().map(|hold| (hold.room.clone(), hold.user.clone())).collect()
    }
}

proptest! {
    /// With a network that loses nothing, everybody always knows who is where, and members are told exactly of those who come and go.
    #[test]
    fn gateways_know_and_tell_exactly(
        steps in prop::collection::vec(step().prop_filter("nothing is lost", |step| {
            !matches!(step, Step::Lose(true) | Step::Kill { .. } | Step::Fate(Fate::Refused | Fate::Unsure { .. } | Fate::Late { .. }))
        }), 0..40),
    ) {
        let mut world = World::new();
        let mut there: HashSet<(DeskId, DeskId)> = HashSet::new();
        for step in steps {
            world.step(&step);
            world.agrees()?;
            for (has_joined, room, user) in std::mem::take(&mut world.told) {
                let is_news = if has_joined { there.insert((room, user)) } else { there.remove(&(room, user)) };
                prop_assert!(is_news, "told once");
            }
            prop_assert_eq!(&there, &world.there());
        }
    }

    /// Whatever the upstream doesn't confirm, members know who is there soon after it does again.
    #[test]
    fn members_know_in_the_end(
        steps in prop::collection::vec(step().prop_filter("nothing is lost unnoticed", |step| {
            !matches!(step, Step::Lose(true) | Step::Kill { .. })
        }), 0..40),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(&step);
        }
        world.fate = Fate::Confirmed;
        // What is late comes within 5 s.
        world.pass(8_000);
        let mut there: HashSet<(DeskId, DeskId)> = HashSet::new();
        for (has_joined, room, user) in std::mem::take(&mut world.told) {
            let _ = if has_joined { there.insert((room, user)) } else { there.remove(&(room, user)) };
        }
        prop_assert_eq!(&there, &world.there());
    }

    /// Whatever is lost on the way and whoever is killed, all agree again once the network works: after a beat for what was lost, within
    /// 45 s for the users of the dead.
    #[test]
    fn gateways_agree_again(steps in prop::collection::vec(step(), 0..40)) {
        let mut world = World::new();
        for step in steps {
            world.step(&step);
        }
        world.loses = false;
        world.fate = Fate::Confirmed;
        world.pass(45_000);
        world.agrees()?;
    }
}

/// Members that are cut off and come back within the grace are not told of.
#[test]
fn a_storm_of_returns_is_told_to_nobody() {
    let mut world = World::new();
    for user in 0..4 {
        world.join(usize::from(user) % GATEWAYS, id("room", 0), id("user", user));
    }
    world.told.clear();
    for _ in 0..4 {
        world.leave(0, Leaves::CutOff);
    }
    world.pass(GRACE_MS - 1_000);
    for user in 0..4 {
        world.join(usize::from(user + 1) % GATEWAYS, id("room", 0), id("user", user));
    }
    world.pass(60_000);
    assert_eq!(world.told, []);
    world.agrees().unwrap();
}
