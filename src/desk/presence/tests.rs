//! What one gateway says.

use super::model_tests::{config, id};
use super::*;
use crate::desk::Origin;

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
    for now_ms in (0..SILENCE_MS).step_by(1_000) {
        presence.tick(now_ms);
    }
    presence.heard_moved(&room, &moved(0, false), SILENCE_MS - 1);
    presence.tick(SILENCE_MS);
    assert_eq!(presence.users(&room), (Vec::new(), 0));
}

/// As when Redis is back, and all gateways ask at once: each tells all that it has once a tick, however many have asked.
#[test]
fn one_answer_is_for_all_that_have_asked() {
    let me = GatewayId::of(1);
    let mut presence = Presence::new(me, config(200));
    let parts = |say: Vec<Say>| {
        let is_part = |say: &&Say| matches!(say, Say::Gossip(Gossip::Part { .. }));
        say.iter().filter(is_part).count()
    };
    assert_eq!(presence.join(&id("room", 0), &id("user", 0)), Ok(true));
    assert_eq!(parts(presence.tick(1)), 1);
    for other in (2..=20).map(GatewayId::of) {
        for of in [None, Some(me), Some(GatewayId::of(21))] {
            assert_eq!(presence.heard(Gossip::Ask { by: other, of }, 2), None);
        }
    }
    assert_eq!(parts(presence.tick(200)), 1);
    assert_eq!(presence.heard(Gossip::Ask { by: GatewayId::of(2), of: Some(GatewayId::of(21)) }, 201), None);
    assert_eq!(parts(presence.tick(400)), 0, "another gateway was asked");
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
    // Where it is by its grace alone makes way, the oldest first, and others are told soon.
    presence.gone(&id("room", 2), &user, None, 1);
    presence.gone(&id("room", 1), &user, None, 2);
    let left = |say: Vec<Say>| -> Vec<(DeskId, bool)> {
        let moves = say.into_iter().filter_map(|say| match say {
            Say::Moved { room, moved } => Some((room, moved.is_told && !moved.has_joined)),
            _ => None,
        });
        moves.collect()
    };
    for (new, old) in [(3, 2), (4, 1)] {
        assert_eq!(presence.join(&id("room", new), &user), Ok(true));
        assert_eq!(presence.users(&id("room", old)).1, 0);
        let say = presence.tick(u64::from(new) * OWED_MS);
        say.iter().for_each(|say| {
            if let Say::Moved { room, moved } = say {
                presence.confirmed(&Change::of(room, moved));
            }
        });
        assert_eq!(left(say), [(id("room", old), true)]);
    }
    assert_eq!(presence.join(&id("room", 5), &user), Err(TooManyRooms { current: 2 }));
    assert_eq!(left(presence.tick(60_000)), []);
}
