//! What is not confirmed, lost or late between gateways, one case each; `model_tests` tries them all together.

use super::model_tests::{Fate, GRACE_MS, Leaves, World, config, id};
use super::*;

/// Somebody cut off who comes back while the upstream confirms nothing is refused, and has left when the grace is over.
#[test]
fn a_refused_return_goes_on_with_the_grace() {
    for fate in [Fate::Refused, Fate::Unsure { comes: false }, Fate::Late { ms: 0 }, Fate::Late { ms: 2_500 }]
    {
        let mut world = World::new();
        world.join(0, id("room", 0), id("user", 0));
        world.told.clear();
        world.leave(0, Leaves::CutOff);
        world.pass(GRACE_MS / 2);
        world.fate = fate;
        world.join(0, id("room", 0), id("user", 0));
        world.fate = Fate::Confirmed;
        world.pass(GRACE_MS / 2 - 500);
        assert_eq!(world.told, [], "{fate:?}");
        world.pass(1_000);
        assert_eq!(world.told, [(false, id("room", 0), id("user", 0))], "{fate:?}");
        world.pass(60_000);
        assert_eq!(world.told.len(), 1, "{fate:?}");
    }
}

/// A new user's join that members have heard and that was refused all the same is taken back before them; one that they can't have heard is not.
#[test]
fn a_refused_join_leaves_nobody_behind() {
    let left = (false, id("room", 0), id("user", 0));
    let joined = (true, id("room", 0), id("user", 0));
    for (fate, told) in [
        (Fate::Refused, vec![]),
        (Fate::Unsure { comes: false }, vec![left.clone()]),
        (Fate::Late { ms: 0 }, vec![joined.clone(), left.clone()]),
        // They were told that it isn't there, and are told so again behind it.
        (Fate::Late { ms: 2_500 }, vec![left.clone(), joined, left]),
    ] {
        let mut world = World::new();
        world.fate = fate;
        world.join(0, id("room", 0), id("user", 0));
        world.fate = Fate::Confirmed;
        world.pass(60_000);
        assert_eq!(world.told, told, "{fate:?}");
        world.agrees().unwrap();
    }
}

/// A join that was refused, and not to be told, is owed to nobody who hears meanwhile that the user has left elsewhere: the next join is told.
#[test]
fn a_leave_elsewhere_is_heard_while_a_refused_join_is_owed() {
    let mut world = World::new();
    let user = || (id("room", 0), id("user", 0));
    world.join(1, user().0, user().1);
    world.fate = Fate::Refused;
    world.join(0, user().0, user().1);
    world.fate = Fate::Confirmed;
    world.leave(0, Leaves::Asks);
    world.told.clear();
    world.join(0, user().0, user().1);
    world.pass(5_000);
    assert_eq!(world.told, [(true, user().0, user().1)]);
}

/// What has come back before its confirmation was overdue is done: its client has been told so.
#[test]
fn what_has_come_back_is_done() {
    let mut world = World::new();
    world.fate = Fate::Unsure { comes: true };
    world.join(0, id("room", 0), id("user", 0));
    world.pass(10_000);
    world.agrees().unwrap();
    world.leave(0, Leaves::Asks);
    world.pass(60_000);
    world.agrees().unwrap();
    let moved = |has_joined| (has_joined, id("room", 0), id("user", 0));
    assert_eq!(world.told, [moved(true), moved(false)]);
}

/// What members are owed is told once it has come back, also while the upstream takes its time to confirm it.
#[test]
fn what_is_owed_and_has_come_back_is_done() {
    let mut presence = Presence::new(GatewayId::of(1), config(200));
    let (room, user) = (id("room", 0), id("user", 0));
    presence.join(&room, &user).unwrap();
    let (connection, asked) = (None, None);
    let change = Change { room: room.clone(), user, connection, has_joined: true, is_told: true, asked };
    presence.confirmed(&change);
    presence.unsaid(&change, false);
    let mut tells = |now_ms| {
        let said = presence.tick(now_ms).into_iter().filter_map(|say| match say {
            Say::Moved { moved, .. } if moved.is_told => Some(moved),
            _ => None,
        });
        let said = said.collect::<Vec<_>>();
        said.iter().for_each(|moved| presence.heard_moved(&room, moved, now_ms));
        said.len()
    };
    assert_eq!([1, 2, 3].map(|n| tells(n * OWED_MS)), [1, 0, 0]);
}

/// What is lost between gateways that live is known everywhere 3 s later, whenever in the course of their beats it was lost.
#[test]
fn what_is_lost_is_known_within_3_s() {
    for phase_ms in (0..10_000).step_by(250) {
        let mut world = World::new();
        world.join(0, id("room", 0), id("user", 0));
        world.pass(10_000 + phase_ms);
        let lost: [fn(&mut World); 2] =
            [|world| world.join(1, id("room", 0), id("user", 1)), |world| world.leave(0, Leaves::Asks)];
        for lost in lost {
            world.loses = true;
            lost(&mut world);
            world.loses = false;
            world.pass(3_000);
            world.agrees().unwrap();
        }
    }
}

/// The users of a gateway that says it ends have the grace to come back elsewhere, also if that is longer than others may be silent.
#[test]
fn a_gateway_that_ends_leaves_its_users_the_grace() {
    for grace_ms in [GRACE_MS, 60_000] {
        let mut world = World::with_grace(grace_ms);
        world.join(0, id("room", 0), id("user", 0));
        world.join(0, id("room", 0), id("user", 1));
        world.told.clear();
        let bye = world.gateways[0].1.bye();
        world.gossip(bye);
        world.gateways.remove(0);
        world.pass(grace_ms - 1_000);
        world.join(0, id("room", 0), id("user", 1));
        world.pass(2_000);
        assert_eq!(world.told, [(false, id("room", 0), id("user", 0))]);
    }
}

/// A gateway that is stopped for longer than others may be silent, and goes on: members hear that its users left, and that they are back.
#[test]
fn a_gateway_that_was_stopped_has_its_users_back() {
    let (left, back) = ((false, id("room", 0), id("user", 0)), (true, id("room", 0), id("user", 0)));
    for stopped in [0, 2] {
        let mut world = World::new();
        world.join(stopped, id("room", 0), id("user", 0));
        world.join(1, id("room", 0), id("user", 1));
        // One that is at another gateway too was never away.
        for at in [stopped, 1] {
            world.join(at, id("room", 0), id("user", 2));
        }
        world.told.clear();
        world.stopped = Some(stopped);
        world.pass(40_000);
        assert_eq!(world.told, std::slice::from_ref(&left));
        world.stopped = None;
        world.pass(3_000);
        assert_eq!(world.told, [left.clone(), back.clone()]);
        world.pass(60_000);
        assert_eq!(world.told.len(), 2);
        world.agrees().unwrap();
    }
}
