//! Users of gateways that end: one that drains takes nobody along, who comes back by another was never away, and those of one that was killed are gone within 45 s.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::desk::{count, gateway, user, with_enough_grace};
use crate::support::process::Process;
use crate::support::tokens::SECRET;
use crate::support::{Redis, until};

#[tokio::test(flavor = "multi_thread")]
async fn one_that_drains_takes_nobody_along() {
    with_enough_grace(3, async |grace| {
        let redis = Redis::start().await;
        let (one, other) = (grace.gateway(&redis).await, grace.gateway(&redis).await);
        let mut alice = user(one.addr, "alice").await;
        alice.join("r").await;
        let (mut bob, mut carol) = (user(other.addr, "bob").await, user(other.addr, "carol").await);
        bob.join("r").await;
        carol.join("r").await;
        alice.next_of("user_joined").await;
        alice.next_of("user_joined").await;
        let cut_off = Instant::now();
        let drained = tokio::spawn(other.gateway.drain());
        while bob.message().await.is_some() {}
        while carol.message().await.is_some() {}
        let mut bob = user(one.addr, "bob").await;
        bob.join("r").await;
        grace.goes_on_since(cut_off)?;
        assert_eq!(alice.json().await, json!({"type": "user_left", "user_id": "carol", "room_id": "r"}));
        alice.gets_nothing().await;
        drained.await.unwrap();
        Some(())
    })
    .await;
}

/// One gateway drains and another one begins after it: who was at the first is known to the new one for what is left of the grace.
#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_knows_whom_the_drained_one_left_behind() {
    with_enough_grace(6, async |grace| {
        let redis = Redis::start().await;
        let (one, drained) = (grace.gateway(&redis).await, grace.gateway(&redis).await);
        let mut alice = user(one.addr, "alice").await;
        alice.join("r").await;
        let mut away = Vec::new();
        for name in ["bob", "carol"] {
            let mut client = user(drained.addr, name).await;
            client.join("r").await;
            alice.next_of("user_joined").await;
            away.push(client);
        }
        let cut_off = Instant::now();
        drained.gateway.drain().await;
        let new = grace.gateway(&redis).await;
        let mut bob = user(new.addr, "bob").await;
        bob.join("r").await;
        let counted = count(&mut bob, "r").await;
        grace.goes_on_since(cut_off)?;
        assert_eq!(counted, 3, "carol has her grace");
        let left = json!({"type": "user_left", "user_id": "carol", "room_id": "r"});
        assert_eq!((alice.json().await, bob.json().await), (left.clone(), left));
        alice.gets_nothing().await;
        assert_eq!((count(&mut alice, "r").await, count(&mut bob, "r").await), (2, 2));
        Some(())
    })
    .await;
}

/// The only gateway is rolled: the new one starts, the old one drains, and nobody was away.
#[tokio::test(flavor = "multi_thread")]
async fn users_of_the_only_one_are_not_told_of_when_it_is_rolled() {
    with_enough_grace(3, async |grace| {
        let redis = Redis::start().await;
        let old = grace.gateway(&redis).await;
        let mut alice = user(old.addr, "alice").await;
        alice.join("r").await;
        let mut bob = user(old.addr, "bob").await;
        bob.join("r").await;
        let new = grace.gateway(&redis).await;
        until("it to hear of them", async || (new.stat("total_rooms").await == 1).then_some(())).await;
        let cut_off = Instant::now();
        let drained = tokio::spawn(old.gateway.drain());
        while alice.message().await.is_some() {}
        while bob.message().await.is_some() {}
        let mut back = Vec::new();
        for name in ["alice", "bob"] {
            let mut client = user(new.addr, name).await;
            client.join("r").await;
            back.push(client);
        }
        grace.goes_on_since(cut_off)?;
        drained.await.unwrap();
        // One who is told last is told after all graces.
        let mut carol = user(new.addr, "carol").await;
        carol.join("r").await;
        drop(carol);
        for client in &mut back {
            assert_eq!(client.json().await["user_id"], "carol");
            let left = json!({"type": "user_left", "user_id": "carol", "room_id": "r"});
            assert_eq!(client.json().await, left);
        }
        assert_eq!(count(&mut back[0], "r").await, 2);
        Some(())
    })
    .await;
}

/// With and without another one in its place, at the same time: others wait 25 s for what they don't hear.
#[tokio::test(flavor = "multi_thread")]
async fn users_of_one_that_was_killed_leave() {
    tokio::join!(killed(false), killed(true));
}

/// Bob comes back before anybody knows that the gateway is dead, by the one that replaces it if one does: he was never away. Carol doesn't.
async fn killed(is_replaced: bool) {
    let redis = Redis::start().await;
    let one = gateway(&redis, |_| {}).await;
    let other = Process::on(&redis, &["--desk", "--jwt-secret-key", SECRET]).await;
    let mut alice = user(one.addr, "alice").await;
    alice.join("r").await;
    let mut away = Vec::new();
    for name in ["bob", "carol"] {
        let mut client = user(other.addr(), name).await;
        client.join("r").await;
        alice.next_of("user_joined").await;
        away.push(client);
    }
    other.signal("KILL");
    let killed = Instant::now();
    let new = if is_replaced { Some(gateway(&redis, |_| {}).await) } else { None };
    let mut bob = user(new.as_ref().map_or(one.addr, |new| new.addr), "bob").await;
    bob.join("r").await;
    assert_eq!(count(&mut bob, "r").await, 3, "carol counts until the gateway is known to be dead");
    let left = json!({"type": "user_left", "user_id": "carol", "room_id": "r"});
    assert_eq!((alice.json().await, bob.json().await), (left.clone(), left));
    assert!(killed.elapsed() < Duration::from_secs(45), "the contract says so");
    alice.gets_nothing().await;
    assert_eq!(count(&mut alice, "r").await, 2);
}
