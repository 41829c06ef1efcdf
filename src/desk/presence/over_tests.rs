//! Gateways that are over while others begin and end, one case each.

use super::model_tests::{GRACE_MS, World, config, id};
use super::*;
use crate::desk::Origin;

fn left(user: u8) -> (bool, DeskId, DeskId) {
    (false, id("room", 0), id("user", user))
}

/// One ends and is replaced: its users that come back by the new one were never away, and the leave of one that doesn't is told once.
#[test]
fn a_replacement_knows_the_users_of_the_gateway_that_it_replaces() {
    for at in 0..3 {
        let mut world = World::new();
        (0..3).for_each(|user| world.join(at, id("room", 0), id("user", user)));
        // Somebody stays elsewhere all the time.
        world.join((at + 1) % 3, id("room", 0), id("user", 3));
        world.told.clear();
        let bye = world.gateways[at].1.bye();
        world.gossip(bye);
        world.gateways.remove(at);
        // The first of the living, in the order of numbers, or the last.
        for replaced in [at, 0] {
            world.pass(1_000);
            let new = world.new_gateway();
            world.gateways.insert(replaced, new);
            world.pass(1_000);
        }
        world.join(at, id("room", 0), id("user", 0));
        world.join(0, id("room", 0), id("user", 1));
        world.pass(GRACE_MS - 5_000);
        assert_eq!(world.told, []);
        let there = (0..4).map(|user| id("user", user)).collect::<Vec<_>>();
        for (_, presence) in &world.gateways {
            assert_eq!(presence.users(&id("room", 0)), (there.clone(), 4));
        }
        world.pass(10_000);
        assert_eq!(world.told, [left(2)]);
    }
}

/// All are rolled within one grace, the new one first: at the end nobody is left who has heard the first of them.
#[test]
fn all_gateways_are_replaced_within_a_grace() {
    let mut world = World::new();
    for user in 0..3 {
        world.join(usize::from(user), id("room", 0), id("user", user));
    }
    world.told.clear();
    for _ in 0..3 {
        let new = world.new_gateway();
        world.gateways.push(new);
        world.pass(1_000);
        let bye = world.gateways[0].1.bye();
        world.gossip(bye);
        world.gateways.remove(0);
        world.pass(1_000);
    }
    world.join(2, id("room", 0), id("user", 0));
    world.join(0, id("room", 0), id("user", 1));
    assert_eq!(world.told, []);
    world.pass(20_000);
    assert_eq!(world.told, [left(2)]);
}

/// One is killed and replaced before anybody knows that it is dead. Whoever is the first of the living, also if that one is dead itself, the leave is told.
#[test]
fn users_of_a_killed_gateway_are_known_to_its_replacement() {
    for (killed, dies_too) in [(0, None), (1, None), (2, None), (1, Some(0)), (2, Some(0))] {
        let mut world = World::new();
        (0..2).for_each(|user| world.join(killed, id("room", 0), id("user", user)));
        world.told.clear();
        world.kill(killed);
        world.pass(1_000);
        world.join(killed, id("room", 0), id("user", 0));
        if let Some(dies_too) = dies_too {
            world.kill(dies_too);
        }
        world.pass(20_000);
        assert_eq!(world.told, []);
        world.pass(60_000);
        assert_eq!(world.told, [left(1)], "{killed} {dies_too:?}");
    }
}

/// Each of the others knows whom a gateway that is over has left behind: one of them tells it who asks.
#[test]
fn one_gateway_answers_for_one_that_is_over() {
    for ends in [true, false] {
        let mut world = World::new();
        (0..4).for_each(|user| world.join(1, id("room", 0), id("user", user)));
        // All have been answered.
        world.pass(1_000);
        let over = world.gateways[1].0;
        if ends {
            let bye = world.gateways[1].1.bye();
            world.gossip(bye);
        }
        // Another one begins in its place.
        world.kill(1);
        world.pass(2_000);
        assert_eq!(world.told_of, [over; 2], "in two parts, ends {ends}");
        for (_, presence) in &world.gateways {
            assert_eq!(presence.users(&id("room", 0)).1, 4);
        }
    }
}

/// One that knows more than another has told tells what it knows.
#[test]
fn who_knows_more_tells_more() {
    for (another, tells) in [(vec![], true), (vec![0], true), (vec![0, 1], false), (vec![0, 1, 2], false)] {
        let mut presence = Presence::new(GatewayId::of(1), config(200));
        let (over, room) = (GatewayId::of(2), id("room", 0));
        let rooms =
            |users: &[u8]| vec![(id("room", 0), users.iter().map(|user| id("user", *user)).collect())];
        presence.tick(1);
        presence.heard(Gossip::Part { gateway: over, part: 0, of: 1, rooms: rooms(&[0, 1]) }, 1);
        presence.heard(Gossip::Bye { gateway: over, grace_ms: GRACE_MS }, 1);
        presence.heard(Gossip::Ask { by: GatewayId::of(4), of: None }, 2);
        let (by, left_ms) = (GatewayId::of(3), GRACE_MS);
        presence
            .heard(Gossip::Left { by, gateway: over, left_ms, has_ended: true, rooms: rooms(&another) }, 3);
        let said = presence.tick(200);
        let told = said.iter().any(|say| matches!(say, Say::Gossip(Gossip::Left { .. })));
        assert_eq!(told, tells, "{another:?}");
        assert_eq!(presence.users(&room).1, another.len().max(2));
    }
}

/// A gateway that is new hears of a join and a beat of one that is killed then, and from the others who else was there. It knows what they know, until that one has told
/// all itself.
#[test]
fn what_others_know_counts_until_a_gateway_has_told_all() {
    let mut new = Presence::new(GatewayId::of(9), config(200));
    let (room, killed) = (id("room", 0), GatewayId::of(2));
    let others_know = |user| {
        let rooms = vec![(id("room", 0), vec![id("user", user)])];
        Gossip::Left { by: GatewayId::of(3), gateway: killed, left_ms: 20_000, has_ended: false, rooms }
    };
    new.heard_moved(&room, &moved(2, true, true, true), 1);
    new.heard(Gossip::Beat { gateway: killed, sum: Sum { pairs: 2, hash: 0 } }, 1);
    new.heard(others_know(1), 2);
    assert_eq!(new.users(&room).0, [id("user", 0), id("user", 1)]);
    let rooms = vec![(room.clone(), vec![id("user", 0)])];
    new.heard(Gossip::Part { gateway: killed, part: 0, of: 1, rooms }, 3);
    new.heard(others_know(1), 4);
    assert_eq!(new.users(&room).0, [id("user", 0)]);
}

fn moved(gateway: u128, has_joined: bool, is_told: bool, is_there: bool) -> Moved {
    let (gateway, origin) = (GatewayId::of(gateway), Origin::default());
    Moved { user: id("user", 0), has_joined, is_told, gateway, is_there, asked: None, origin }
}
