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
        let (gateway, origin) = (self.gateways[at].me, Origin::default());
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
        for _ in 0..20 {
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
    // All that happens is over before a leave that has not come back is forgotten.
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

    /// It leaves some gateways and joins by others: in the end members know that it is there.
    #[test]
    fn joins_that_cross_leaves_are_known_in_the_end(
        gateways in 2..=GATEWAYS,
        left in 1..GATEWAYS,
        steps in prop::collection::vec(
            prop_oneof![
                (0..GATEWAYS).prop_map(Step::Join),
                (0..GATEWAYS).prop_map(Step::Leave),
                hear_or_pass(),
            ],
            0..40,
        ),
    ) {
        let mut channel = Channel::new(gateways, left);
        let moves = steps.iter().filter(|step| match step {
            Step::Join(at) => at % gateways >= left,
            Step::Leave(at) => at % gateways < left,
            _ => true,
        });
        moves.for_each(|step| channel.step(step));
        channel.settle();
        let is_there = (0..gateways).any(|at| channel.is_here(at));
        prop_assert_eq!(channel.told().pop(), Some(is_there), "{:?}", channel.told());
        for presence in &channel.gateways {
            prop_assert_eq!(presence.is_there(&room(), &user()), is_there);
        }
    }
}
