//! What people say leaves at once, and in rounds where it comes fast.

use std::time::Duration;

use serde_json::Value;

use super::desk_tests::{connect, join, say, world};
use super::turn_tests::{Client, ROOMY, World, prices};

/// Messages a millisecond.
const FLOOD: usize = 20;

const MS: Duration = Duration::from_millis(1);

/// A shard with these members of a room.
fn room<const N: usize>(names: [&str; N]) -> (World, [Client; N]) {
    let mut world = world();
    let members = names.map(|name| {
        let member = connect(&mut world, name, ROOMY);
        join(&mut world, &member);
        member
    });
    members.iter().for_each(|member| drop(member.received()));
    world.advance(100 * MS);
    (world, members)
}

/// So many messages come, one after the other, numbered from `first` on.
fn talk(world: &mut World, first: usize, many: usize) {
    for number in first..first + many {
        say(world, [format!(r#"{{"type":"room_message","message":{number}}}"#)]);
    }
}

fn numbers(frames: &[Value]) -> Vec<u64> {
    frames.iter().filter_map(|frame| frame["message"].as_u64()).collect()
}

fn writes(world: &World) -> u64 {
    world.shards[0].metrics.writes.get()
}

#[test]
fn words_that_come_slowly_wait_for_nothing() {
    let (mut world, [alice]) = room(["alice"]);
    for number in 0..100 {
        talk(&mut world, number, 1);
        assert_eq!(numbers(&alice.received()), [number as u64]);
        world.advance(MS);
    }
    // Neither does what follows a burst.
    talk(&mut world, 100, 50);
    assert_eq!(alice.received().len(), 50);
    world.advance(10 * MS);
    talk(&mut world, 150, 1);
    assert_eq!(numbers(&alice.received()), [150]);
}

#[test]
fn in_a_flood_each_member_is_written_to_once_a_round() {
    let (mut world, members) = room(["alice", "bob"]);
    let mut counts = Vec::new();
    for ms in 0..100 {
        talk(&mut world, FLOOD * ms, FLOOD);
        counts.push(writes(&world));
        world.advance(MS);
    }
    let of_rounds = counts[99] - counts[9];
    assert!((80..=92).contains(&of_rounds), "{of_rounds} writes in 45 rounds to each of two");
    world.advance(2 * MS);
    for member in &members {
        assert_eq!(numbers(&member.received()), (0..2_000).collect::<Vec<_>>());
    }
    // It is over: nothing waits any more.
    world.advance(2 * MS);
    talk(&mut world, 2_000, 1);
    assert_eq!(numbers(&members[0].received()), [2_000]);
}

#[test]
fn a_price_waits_for_no_round_and_takes_words_along() {
    let (mut world, [alice]) = room(["alice"]);
    world.subscribe(&alice, &["AAPL"]);
    for ms in 0..10 {
        talk(&mut world, FLOOD * ms, FLOOD);
        world.advance(MS);
    }
    alice.received();
    talk(&mut world, 10 * FLOOD, 10);
    assert!(alice.received().is_empty());
    world.publish("AAPL", 1);
    let told = alice.received();
    assert_eq!((numbers(&told).len(), prices(&told)), (10, vec![1]));
    assert_eq!(told.last().expect("a trade")["type"], "trade");
    world.advance(2 * MS);
    assert!(alice.received().is_empty(), "each once");
}

#[test]
fn the_shard_wakes_at_the_end_of_a_round() {
    let (mut world, [alice]) = room(["alice"]);
    let asleep = world.shards[0].sleep_time();
    for ms in 0..10 {
        talk(&mut world, FLOOD * ms, FLOOD);
        world.advance(MS);
    }
    talk(&mut world, 10 * FLOOD, 1);
    let sleep = world.shards[0].sleep_time();
    assert!(sleep <= 2 * MS && sleep < asleep, "{sleep:?}");
    alice.received();
    world.advance(2 * MS);
    assert_eq!(numbers(&alice.received()).last(), Some(&(10 * FLOOD as u64)));
}
