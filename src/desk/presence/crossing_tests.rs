//! What crosses on the way between gateways: all hear the same in the same order, each in its own time.

use proptest::prelude::*;

use super::model_tests::{config, id};
use super::*;
use crate::desk::Origin;

/// What a gateway has published.
#[derive(Clone)]
enum Said {
    Moved(Moved),
    Gossip(Gossip),
}

/// Gateways, and what each of them has yet to hear.
struct Channel {
    gateways: Vec<Presence>,
    now_ms: u64,
    said: Vec<Said>,
    /// How many of them each gateway has heard.
    heard: Vec<usize>,
}

#[derive(Debug, Clone)]
enum Step {
    /// The user joins by the gateway, if it is not there.
    Join(usize),
    /// It leaves the gateway, if it is there.
    Leave(usize),
    /// The gateway hears so much of what it has yet to hear.
    Hear(usize, usize),
    Pass(u64),
}

const GATEWAYS: usize = 5;

fn room() -> DeskId {
    id("room", 0)
}

fn user() -> DeskId {
    id("user", 0)
}

impl Channel {
    /// The user is at the first of them, and all know it.
    fn new(gateways: usize, first: usize) -> Self {
        let new = |number| Presence::new(GatewayId::of(number), config(200));
        let heard = vec![0; gateways];
        let gateways = (1..).take(gateways).map(new).collect();
        let mut channel = Self { heard, gateways, now_ms: 1, said: Vec::new() };
        channel.settle();
        for at in 0..first.min(channel.gateways.len()) {
            channel.join(at);
            channel.settle();
        }
        channel
    }

    fn is_here(&self, at: usize) -> bool {
        self.gateways[at].here.contains_key(&room())
    }

    fn join(&mut self, at: usize) {
        if !self.is_here(at) {
            let is_told = self.gateways[at].join(&room(), &user()).expect("room for it");
            self.moved(at, true, is_told);
        }
    }

    fn leave(&mut self, at: usize) {
        if self.is_here(at) {
            let (is_told, _) = self.gateways[at].leave(&room(), &user());
            self.moved(at, false, is_told);
        }
    }

    fn moved(&mut self, at: usize, has_joined: bool, is_told: bool) {
        let gateway = &self.gateways[at];
        let (gateway, origin) = (gateway.me, Origin::of_move(None, gateway.count(&room())));
        let is_there = has_joined;
        let moved = Moved { user: user(), has_joined, is_told, gateway, is_there, asked: None, origin };
        self.publish(at, moved);
    }

    fn publish(&mut self, at: usize, moved: Moved) {
        self.gateways[at].confirmed(&Change::of(&room(), &moved));
        self.said.push(Said::Moved(moved));
    }

    fn hear(&mut self, at: usize, many: usize) {
        for _ in 0..many {
            let Some(said) = self.said.get(self.heard[at]).cloned() else { return };
            self.heard[at] += 1;
            match said {
                Said::Moved(moved) => self.gateways[at].heard_moved(&room(), &moved, self.now_ms),
                Said::Gossip(gossip) => {
                    let answers = self.gateways[at].heard(gossip, self.now_ms);
                    self.said.extend(answers.into_iter().map(Said::Gossip));
                }
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for at in 0..self.gateways.len() {
            for say in self.gateways[at].tick(self.now_ms) {
                match say {
                    Say::Moved { moved, .. } => self.publish(at, moved),
                    Say::Gossip(gossip) => self.said.push(Said::Gossip(gossip)),
                    Say::Count { .. } => {}
                }
            }
        }
    }

    /// All have heard everything, and said what there is to say.
    fn settle(&mut self) {
        for _ in 0..50 {
            self.pass(100);
            while self.heard.iter().any(|heard| *heard < self.said.len()) {
                (0..self.gateways.len()).for_each(|at| self.hear(at, usize::MAX));
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Join(at) => self.join(at % self.gateways.len()),
            Step::Leave(at) => self.leave(at % self.gateways.len()),
            Step::Hear(at, many) => self.hear(at % self.gateways.len(), many),
            Step::Pass(ms) => self.pass(ms),
        }
    }

    /// Joins and leaves that members have been told.
    fn told(&self) -> Vec<bool> {
        let told = self.said.iter().filter_map(|said| match said {
            Said::Moved(moved) => moved.is_told.then_some(moved.has_joined),
            Said::Gossip(_) => None,
        });
        told.collect()
    }
}

fn hear_or_pass() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..GATEWAYS, 1..6_usize).prop_map(|(at, many)| Step::Hear(at, many)),
        1 => (0..60_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// A user leaves all of its gateways, whatever each of them has heard by then: members are told once.
    #[test]
    fn leaves_of_all_gateways_are_told_once(
        gateways in 2..=GATEWAYS,
        steps in prop::collection::vec(prop_oneof![(0..GATEWAYS).prop_map(Step::Leave), hear_or_pass()], 0..40),
    ) {
        let mut channel = Channel::new(gateways, gateways);
        steps.iter().for_each(|step| channel.step(step));
        (0..gateways).for_each(|at| channel.leave(at));
        channel.settle();
        prop_assert_eq!(channel.told(), [true, false]);
        for presence in &channel.gateways {
            prop_assert_eq!(presence.users(&room()), (Vec::new(), 0));
        }
    }

    /// It joins and leaves as it likes, by any gateway: in the end members know whether it is there.
    #[test]
    fn joins_that_cross_leaves_are_known_in_the_end(
        gateways in 2..=GATEWAYS,
        first in 1..=GATEWAYS,
        steps in prop::collection::vec(
            prop_oneof![
                (0..GATEWAYS).prop_map(Step::Join),
                (0..GATEWAYS).prop_map(Step::Leave),
                hear_or_pass(),
            ],
            0..40,
        ),
    ) {
        let mut channel = Channel::new(gateways, first);
        steps.iter().for_each(|step| channel.step(step));
        channel.settle();
        let is_there = (0..gateways).any(|at| channel.is_here(at));
        prop_assert_eq!(channel.told().pop(), Some(is_there), "{:?}", channel.told());
        for presence in &channel.gateways {
            prop_assert_eq!(presence.is_there(&room(), &user()), is_there);
        }
    }
}

/// A join or leave of another gateway.
fn of(gateway: u128, has_joined: bool, is_told: bool) -> Moved {
    let (gateway, origin) = (GatewayId::of(gateway), Origin::of_move(None, 1));
    Moved { user: user(), has_joined, is_told, gateway, is_there: has_joined, asked: None, origin }
}

/// What a gateway that has heard these tells members then.
fn tells(presence: &mut Presence, heard: &[Moved]) -> Vec<bool> {
    presence.tick(1);
    heard.iter().for_each(|moved| presence.heard_moved(&room(), moved, 1));
    tells_at(presence, 1 + QUIET_MS)
}

fn tells_at(presence: &mut Presence, now_ms: u64) -> Vec<bool> {
    let moves = presence.tick(now_ms).into_iter().filter_map(|say| match say {
        Say::Moved { moved, .. } => moved.is_told.then_some(moved.has_joined),
        _ => None,
    });
    moves.collect()
}

/// A user's grace ends at one gateway while it joins by another: members hear the leave and no join, and the first of those that have the user tells them.
#[test]
fn a_leave_that_crosses_a_join_is_put_right() {
    let tells_of_three = |me, heard: &[Moved]| {
        let mut presence = Presence::new(GatewayId::of(me), config(200));
        presence.join(&room(), &user()).unwrap();
        tells(&mut presence, heard)
    };
    let (joined, left) = (of(2, true, false), of(3, false, true));
    let crossed = [of(3, true, true), joined.clone(), left.clone()];
    assert_eq!(tells_of_three(1, &crossed), [true]);
    assert_eq!(tells_of_three(4, &crossed), [false; 0]);
    // Where its join was told behind that leave there is nothing to put right.
    assert_eq!(tells_of_three(1, &[joined, left, of(1, true, true)]), [false; 0]);
}

/// The last of the gateways that a user left tells of it, or the first of all if that one has ended since.
#[test]
fn leaves_that_cross_are_told_by_one() {
    let crossed = |me, ends: bool| {
        let mut presence = Presence::new(GatewayId::of(me), config(200));
        [2, 3].iter().for_each(|at| presence.heard_moved(&room(), &of(*at, true, true), 1));
        if ends {
            presence.heard(Gossip::Bye { gateway: GatewayId::of(3), grace_ms: 10_000 }, 1);
        }
        tells(&mut presence, &[of(2, false, false), of(3, false, false)])
    };
    assert_eq!(crossed(1, false), [false; 0]);
    assert_eq!(crossed(1, true), [false]);
    assert_eq!(crossed(4, true), [false; 0]);
}

/// Users' joins are told as the room is small. They leave while it is large, so nobody is told; also not once it is small again, as it is when the gateway
/// hears of the first of these leaves.
#[test]
fn who_leaves_a_large_room_is_not_told_of_later() {
    let mut presence = Presence::new(GatewayId::of(1), config(2));
    let moved = |presence: &Presence, user: u8, has_joined: bool, is_told: bool| {
        let origin = Origin::of_move(None, presence.count(&room()));
        Moved { user: id("user", user), origin, ..of(1, has_joined, is_told) }
    };
    for user in 0..4 {
        let is_told = presence.join(&room(), &id("user", user)).unwrap();
        let moved = moved(&presence, user, true, is_told);
        presence.heard_moved(&room(), &moved, 1);
    }
    let mut leaves = Vec::new();
    for user in 0..3 {
        let (is_told, _) = presence.leave(&room(), &id("user", user));
        assert_eq!(is_told, user == 2);
        leaves.push(moved(&presence, user, false, is_told));
    }
    assert_eq!(tells(&mut presence, &leaves), [false; 0]);
}

/// The gateway whose turn it is was killed: another one tells once that is known.
#[test]
fn what_a_dead_gateway_had_to_tell_is_told() {
    let mut presence = Presence::new(GatewayId::of(1), config(200));
    [2, 3].iter().for_each(|at| presence.heard_moved(&room(), &of(*at, true, true), 1));
    assert_eq!(tells(&mut presence, &[of(2, false, false), of(3, false, false)]), [false; 0]);
    let told = (2_000..SILENCE_MS + 5_000).step_by(200).map(|now_ms| {
        presence.heard(Gossip::Beat { gateway: GatewayId::of(2), sum: Sum::default() }, now_ms);
        (now_ms, tells_at(&mut presence, now_ms))
    });
    let (now_ms, told) = told.into_iter().find(|(_, told)| !told.is_empty()).expect("somebody tells");
    assert!(now_ms > SILENCE_MS && told == [false], "{now_ms} {told:?}");
}
