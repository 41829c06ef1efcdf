//! Presence of several gateways against one naive list of connections. What a gateway says reaches all others before anything else
//! happens, unless the network loses it.

use proptest::prelude::*;

use super::*;

const GRACE_MS: u64 = 10_000;
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
    },
    Gone {
        nth: usize,
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
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..GATEWAYS, 0..2_u8, 0..4_u8).prop_map(|(gateway, room, user)| Step::Join { gateway, room, user }),
        2 => (0..16_usize).prop_map(|nth| Step::Leave { nth }),
        2 => (0..16_usize).prop_map(|nth| Step::Gone { nth }),
        1 => (0..GATEWAYS).prop_map(|gateway| Step::Kill { gateway }),
        2 => (0..30_000_u64).prop_map(|ms| Step::Pass { ms }),
        1 => any::<bool>().prop_map(Step::Lose),
    ]
}

/// A connection of the naive list, or a user's grace.
#[derive(Debug, Clone, PartialEq)]
struct Holds {
    gateway: GatewayId,
    room: DeskId,
    user: DeskId,
    /// Until when, once it has gone.
    until_ms: Option<u64>,
}

struct World {
    gateways: Vec<(GatewayId, Presence)>,
    next: u128,
    now_ms: u64,
    loses: bool,
    holds: Vec<Holds>,
    /// Joins and leaves that members have been told, since this was last looked at.
    told: Vec<(bool, DeskId, DeskId)>,
}

fn id(kind: &str, number: u8) -> DeskId {
    DeskId::parse(&format!("{kind}{number}")).unwrap()
}

fn config(max_members: usize) -> PresenceConfig {
    PresenceConfig { grace_ms: GRACE_MS, max_members, max_rooms: 50, part_pairs: 2 }
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            gateways: Vec::new(),
            next: 0,
            now_ms: 1,
            loses: false,
            holds: Vec::new(),
            told: Vec::new(),
        };
        for _ in 0..GATEWAYS {
            let new = world.new_gateway();
            world.gateways.push(new);
        }
        world.tick();
        world
    }

    fn new_gateway(&mut self) -> (GatewayId, Presence) {
        self.next += 1;
        let me = GatewayId::of(self.next);
        (me, Presence::new(me, config(200)))
    }

    fn moved(&mut self, room: &DeskId, moved: &Moved) {
        if self.loses {
            return;
        }
        if moved.is_told {
            self.told.push((moved.has_joined, room.clone(), moved.user.clone()));
        }
        for (_, presence) in &mut self.gateways {
            presence.heard_moved(room, moved, self.now_ms);
        }
    }

    fn gossip(&mut self, first: Gossip) {
        let mut said = std::collections::VecDeque::from([first]);
        while let Some(gossip) = said.pop_front() {
            if self.loses {
                continue;
            }
            let gossip = Gossip::parse(&gossip.write()).expect("what is written can be read");
            for (_, presence) in &mut self.gateways {
                said.extend(presence.heard(gossip.clone(), self.now_ms));
            }
        }
    }

    fn tick(&mut self) {
        for at in 0..self.gateways.len() {
            for say in self.gateways[at].1.tick(self.now_ms) {
                match say {
                    Say::Moved { room, moved } => self.moved(&room, &moved),
                    Say::Gossip(gossip) => self.gossip(gossip),
                    Say::Count { .. } => {}
                }
            }
        }
        let now_ms = self.now_ms;
        self.holds.retain(|hold| hold.until_ms.is_none_or(|until_ms| until_ms > now_ms));
    }

    fn pass(&mut self, ms: u64) {
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

    fn join(&mut self, at: usize, room: DeskId, user: DeskId) {
        let (gateway, presence) = &mut self.gateways[at];
        let gateway = *gateway;
        let is_told = presence.join(&room, &user).expect("room for it");
        let moved = Moved {
            user: user.clone(),
            has_joined: true,
            is_told,
            gateway,
            is_there: true,
            asked: None,
            origin: Origin::default(),
        };
        self.moved(&room, &moved);
        self.holds.retain(|hold| {
            (hold.gateway, &hold.room, &hold.user) != (gateway, &room, &user) || hold.until_ms.is_none()
        });
        self.holds.push(Holds { gateway, room, user, until_ms: None });
    }

    fn leave(&mut self, nth: usize, says_so: bool) {
        let Some(at) = self.live(nth) else { return };
        let Holds { gateway, room, user, .. } = self.holds.remove(at);
        let now_ms = self.now_ms;
        let same = |hold: &Holds| (hold.gateway, &hold.room, &hold.user) == (gateway, &room, &user);
        let presence = self.gateways.iter_mut().find(|(id, _)| *id == gateway);
        let (_, presence) = presence.expect("a living gateway has it");
        if says_so {
            let (is_told, is_there) = presence.leave(&room, &user);
            let moved = Moved {
                user,
                has_joined: false,
                is_told,
                gateway,
                is_there,
                asked: None,
                origin: Origin::default(),
            };
            self.moved(&room, &moved);
        } else {
            presence.gone(&room, &user, None, now_ms);
            if !self.holds.iter().any(same) {
                self.holds.push(Holds { gateway, room, user, until_ms: Some(now_ms + GRACE_MS) });
            }
        }
    }

    fn kill(&mut self, at: usize) {
        let new = self.new_gateway();
        let (dead, _) = std::mem::replace(&mut self.gateways[at], new);
        // Nobody knows when exactly the others notice.
        self.holds.retain(|hold| hold.gateway != dead);
    }

    /// Everybody knows who is where.
    fn agrees(&self) -> Result<(), TestCaseError> {
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

proptest! {
    /// With a network that loses nothing, everybody always knows who is where, and members are told exactly of those who come and go.
    #[test]
    fn gateways_know_and_tell_exactly(
        steps in prop::collection::vec(step().prop_filter("nothing is lost", |step| {
            !matches!(step, Step::Lose(true) | Step::Kill { .. })
        }), 0..40),
    ) {
        let mut world = World::new();
        let mut there: HashSet<(DeskId, DeskId)> = HashSet::new();
        for step in steps {
            match step {
                Step::Join { gateway, room, user } => world.join(gateway, id("room", room), id("user", user)),
                Step::Leave { nth } => world.leave(nth, true),
                Step::Gone { nth } => world.leave(nth, false),
                Step::Pass { ms } => world.pass(ms),
                Step::Kill { .. } | Step::Lose(_) => {}
            }
            world.tick();
            world.agrees()?;
            for (has_joined, room, user) in std::mem::take(&mut world.told) {
                let is_news = if has_joined { there.insert((room, user)) } else { there.remove(&(room, user)) };
                prop_assert!(is_news, "told once");
            }
            let holds: HashSet<_> = world.holds.iter().map(|hold| (hold.room.clone(), hold.user.clone())).collect();
            prop_assert_eq!(&there, &holds);
        }
    }

    /// Whatever is lost on the way and whoever is killed, all agree again once the network works: after a beat for what was lost, within
    /// 45 s for the users of the dead.
    #[test]
    fn gateways_agree_again(steps in prop::collection::vec(step(), 0..40)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Join { gateway, room, user } => world.join(gateway, id("room", room), id("user", user)),
                Step::Leave { nth } => world.leave(nth, true),
                Step::Gone { nth } => world.leave(nth, false),
                Step::Kill { gateway } => world.kill(gateway),
                Step::Pass { ms } => world.pass(ms),
                Step::Lose(loses) => world.loses = loses,
            }
            world.tick();
        }
        world.loses = false;
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
        world.leave(0, false);
    }
    world.pass(GRACE_MS - 1_000);
    for user in 0..4 {
        world.join(usize::from(user + 1) % GATEWAYS, id("room", 0), id("user", user));
    }
    world.pass(60_000);
    assert_eq!(world.told, []);
    world.agrees().unwrap();
}

/// The users of a gateway that says it ends have the grace to come back elsewhere.
#[test]
fn a_gateway_that_ends_leaves_its_users_the_grace() {
    let mut world = World::new();
    world.join(0, id("room", 0), id("user", 0));
    world.join(0, id("room", 0), id("user", 1));
    world.told.clear();
    let bye = world.gateways[0].1.bye();
    world.gossip(bye);
    world.gateways.remove(0);
    world.pass(GRACE_MS - 1_000);
    world.join(0, id("room", 0), id("user", 1));
    world.pass(2_000);
    assert_eq!(world.told, [(false, id("room", 0), id("user", 0))]);
}

/// The leaves of a dead gateway's users are told by another one, and don't say that it lives.
#[test]
fn leaves_told_for_a_dead_gateway_do_not_revive_it() {
    let mut presence = Presence::new(GatewayId::of(1), config(200));
    let (room, gateway) = (id("room", 0), GatewayId::of(2));
    let moved = |user, is_there| Moved {
        user: id("user", user),
        has_joined: is_there,
        is_told: true,
        gateway,
        is_there,
        asked: None,
        origin: Origin::default(),
    };
    for user in 0..2 {
        presence.heard_moved(&room, &moved(user, true), 0);
    }
    presence.heard_moved(&room, &moved(0, false), SILENCE_MS - 1);
    presence.tick(SILENCE_MS);
    assert_eq!(presence.users(&room), (Vec::new(), 0));
}

/// In a large room nobody is told of single users: each gateway tells its members the count, once in a while and for the last time when the room
/// is small again.
#[test]
fn large_rooms_are_counted() {
    let me = GatewayId::of(1);
    let mut presence = Presence::new(me, config(2));
    let room = id("room", 0);
    let counts = |say: Vec<Say>| -> Vec<usize> {
        let counts = say.into_iter().filter_map(|say| match say {
            Say::Count { count, .. } => Some(count),
            _ => None,
        });
        counts.collect()
    };
    for user in 0..2 {
        assert_eq!(presence.join(&room, &id("user", user)), Ok(true));
    }
    assert_eq!(counts(presence.tick(10_000)), [0_usize; 0]);
    for user in 2..9 {
        assert_eq!(presence.join(&room, &id("user", user)), Ok(false));
    }
    assert_eq!(counts(presence.tick(11_000)), [9]);
    assert_eq!(counts(presence.tick(11_500)), [0_usize; 0]);
    assert_eq!(presence.leave(&room, &id("user", 8)), (false, false));
    assert_eq!(counts(presence.tick(11_900)), [0_usize; 0], "not so soon");
    assert_eq!(counts(presence.tick(12_000)), [8]);
    for user in 2..8 {
        assert_eq!(presence.leave(&room, &id("user", user)), (false, false));
    }
    assert_eq!(counts(presence.tick(13_000)), [2]);
    assert_eq!(presence.leave(&room, &id("user", 1)), (true, false));
}

#[test]
fn a_user_is_in_so_many_rooms_and_no_more() {
    let limits = PresenceConfig { max_rooms: 2, ..config(200) };
    let mut presence = Presence::new(GatewayId::of(1), limits);
    let user = id("user", 0);
    for room in [0, 1, 0] {
        assert!(presence.join(&id("room", room), &user).is_ok());
    }
    assert_eq!(presence.join(&id("room", 2), &user), Err(TooManyRooms { current: 2 }));
    assert_eq!(presence.leave(&id("room", 0), &user), (false, true));
    assert_eq!(presence.join(&id("room", 2), &user), Err(TooManyRooms { current: 2 }));
    assert_eq!(presence.leave(&id("room", 0), &user), (true, false));
    assert!(presence.join(&id("room", 2), &user).is_ok());
}
