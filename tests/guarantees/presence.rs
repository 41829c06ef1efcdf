//! Who is in a room: users over all gateways, those that are back within the grace not told of, those of dead gateways gone within 45 s.

use std::time::Duration;

use serde_json::json;
use ws_gateway::metrics::Counter;

use crate::support::desk::{gateway, user};
use crate::support::process::Process;
use crate::support::tokens::SECRET;
use crate::support::{Client, Redis, until};

async fn count(client: &mut Client, room: &str) -> u64 {
    let (reply, _) = client.ask_for("presence", json!({"room_id": room})).await;
    reply["count"].as_u64().unwrap_or_else(|| panic!("{reply}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_back_within_the_grace_was_never_away() {
    let redis = Redis::start().await;
    let grace = |config: &mut ws_gateway::config::Config| config.desk.presence_grace = Duration::from_secs(3);
    let (one, other) = (gateway(&redis, grace).await, gateway(&redis, grace).await);
    let mut alice = user(one.addr, "alice").await;
    alice.join("r").await;
    let mut others = Vec::new();
    for n in 0..10 {
        let mut client = user(one.addr, &format!("user-{n}")).await;
        client.join("r").await;
        alice.next_of("user_joined").await;
        others.push(client);
    }
    // Cut off, and back at the other gateway.
    drop(others);
    let mut back = Vec::new();
    for n in 0..9 {
        let mut client = user(other.addr, &format!("user-{n}")).await;
        client.join("r").await;
        back.push(client);
    }
    assert_eq!(count(&mut alice, "r").await, 11, "the last one counts for the grace");
    // The only thing that anybody is told is the leave of the one that isn't back.
    let told = alice.json().await;
    assert_eq!(told, json!({"type": "user_left", "user_id": "user-9", "room_id": "r"}));
    alice.gets_nothing().await;
    assert_eq!(count(&mut back[0], "r").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_comes_later_hears_of_all() {
    let redis = Redis::start().await;
    let one = gateway(&redis, |_| {}).await;
    let mut alice = user(one.addr, "alice").await;
    alice.join("r").await;
    let other = gateway(&redis, |_| {}).await;
    let mut bob = user(other.addr, "bob").await;
    bob.join("r").await;
    until("both to be known", async || (count(&mut bob, "r").await == 2).then_some(())).await;
    until("the figure", async || (one.stat("total_rooms").await == 1).then_some(())).await;
}

/// While gateways are replaced, newer ones tell what older ones don't know: no bad event, and everything behind it is heard.
#[tokio::test(flavor = "multi_thread")]
async fn what_newer_gateways_tell_is_passed_over() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut alice = user(gateway.addr, "alice").await;
    alice.join("r").await;
    let mut newer = redis.publisher().await;
    for told in [r#"{"v":1,"t":"moon","g":7}"#, r#"{"v":2,"t":"beat"}"#, r#"{"v":1,"t":"beat","g":7}"#] {
        newer.raw("channel:desk:presence", told.as_bytes()).await;
    }
    newer.raw("channel:room:r", br#"{"type":"behind"}"#).await;
    assert_eq!(alice.next_of("behind").await["type"], "behind");
    let rejected = &gateway.gateway.state().metrics.ingest.rejected;
    assert_eq!(rejected.iter().map(Counter::get).sum::<u64>(), 1, "the beat without a gateway");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_rooms_are_counted() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| config.desk.presence_max_members = 2).await;
    let mut alice = user(gateway.addr, "alice").await;
    alice.join("r").await;
    let mut others = Vec::new();
    for n in 0..5 {
        let mut client = user(gateway.addr, &format!("user-{n}")).await;
        client.join("r").await;
        others.push(client);
    }
    // The first is told, and then their number.
    assert_eq!(alice.json().await["user_id"], "user-0");
    until("the count of all", async || {
        let frame = alice.next_of("presence").await;
        (frame == json!({"type": "presence", "room_id": "r", "count": 6})).then_some(())
    })
    .await;
    for (n, mut client) in others.into_iter().enumerate() {
        let (reply, before) = client.ask_for("leave_room", json!({"room_id": "r"})).await;
        assert_eq!(reply["type"], "success");
        let own = json!({"type": "user_left", "user_id": format!("user-{n}"), "room_id": "r"});
        let told = before.iter().filter(|frame| frame["type"] == "user_left");
        assert_eq!(told.collect::<Vec<_>>(), [&own], "its own leave is told");
        if n < 3 {
            continue;
        }
        if n == 3 {
            // The room is small again with this one: the last count.
            let mut last = 5;
            while last != 2 {
                let frame = alice.json().await;
                let count = frame["count"].as_u64().unwrap_or_default();
                assert_eq!(frame, json!({"type": "presence", "room_id": "r", "count": count}));
                assert!((2..=last).contains(&count), "{frame} after {last}");
                last = count;
            }
        } else {
            assert_eq!(alice.json().await, own);
        }
        alice.gets_nothing().await;
    }
    assert_eq!(count(&mut alice, "r").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_users_are_named_and_all_counted() {
    let redis = Redis::start().await;
    // A large room, so that joins are not told.
    let gateway = gateway(&redis, |config| config.desk.presence_max_members = 1).await;
    let mut clients = Vec::new();
    for n in 0..101 {
        let mut client = user(gateway.addr, &format!("user-{n:03}")).await;
        client.join("r").await;
        clients.push(client);
        let (reply, _) = clients[0].ask_for("presence", json!({"room_id": "r"})).await;
        let named: Vec<_> = (0..=n.min(99)).map(|n| format!("user-{n:03}")).collect();
        assert_eq!((&reply["users"], &reply["count"]), (&json!(named), &json!(n + 1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_drains_takes_nobody_along() {
    let redis = Redis::start().await;
    let grace = |config: &mut ws_gateway::config::Config| config.desk.presence_grace = Duration::from_secs(3);
    let (one, other) = (gateway(&redis, grace).await, gateway(&redis, grace).await);
    let mut alice = user(one.addr, "alice").await;
    alice.join("r").await;
    let (mut bob, mut carol) = (user(other.addr, "bob").await, user(other.addr, "carol").await);
    bob.join("r").await;
    carol.join("r").await;
    alice.next_of("user_joined").await;
    alice.next_of("user_joined").await;
    let drained = tokio::spawn(other.gateway.drain());
    while bob.message().await.is_some() {}
    while carol.message().await.is_some() {}
    let mut bob = user(one.addr, "bob").await;
    bob.join("r").await;
    assert_eq!(alice.json().await, json!({"type": "user_left", "user_id": "carol", "room_id": "r"}));
    alice.gets_nothing().await;
    drained.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_a_killed_gateway_leave() {
    let redis = Redis::start().await;
    let one = gateway(&redis, |_| {}).await;
    let other = Process::on(&redis, &["--desk", "--jwt-secret-key", SECRET]).await;
    let mut alice = user(one.addr, "alice").await;
    alice.join("r").await;
    let (mut bob, mut carol) = (user(other.addr(), "bob").await, user(other.addr(), "carol").await);
    bob.join("r").await;
    carol.join("r").await;
    alice.next_of("user_joined").await;
    alice.next_of("user_joined").await;
    other.signal("KILL");
    let killed = std::time::Instant::now();
    let mut bob = user(one.addr, "bob").await;
    bob.join("r").await;
    assert_eq!(alice.next_of("user_left").await["user_id"], "carol");
    assert!(killed.elapsed() < Duration::from_secs(45), "the contract says so");
    alice.gets_nothing().await;
    assert_eq!(count(&mut alice, "r").await, 2);
}

/// One gateway drains and another one begins after it: who was at the first is known to the new one for what is left of the grace.
#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_knows_whom_the_drained_gateway_left_behind() {
    let redis = Redis::start().await;
    let grace = |config: &mut ws_gateway::config::Config| config.desk.presence_grace = Duration::from_secs(6);
    let (one, drained) = (gateway(&redis, grace).await, gateway(&redis, grace).await);
    let mut alice = user(one.addr, "alice").await;
    alice.join("r").await;
    let mut away = Vec::new();
    for name in ["bob", "carol"] {
        let mut client = user(drained.addr, name).await;
        client.join("r").await;
        alice.next_of("user_joined").await;
        away.push(client);
    }
    drained.gateway.drain().await;
    let new = gateway(&redis, grace).await;
    let mut bob = user(new.addr, "bob").await;
    bob.join("r").await;
    assert_eq!(count(&mut bob, "r").await, 3, "carol has her grace");
    let left = json!({"type": "user_left", "user_id": "carol", "room_id": "r"});
    assert_eq!((alice.json().await, bob.json().await), (left.clone(), left));
    alice.gets_nothing().await;
    assert_eq!((count(&mut alice, "r").await, count(&mut bob, "r").await), (2, 2));
}

/// The only gateway is rolled: the new one starts, the old one drains, and nobody was away.
#[tokio::test(flavor = "multi_thread")]
async fn users_of_the_only_gateway_are_not_told_of_when_it_is_rolled() {
    let redis = Redis::start().await;
    let grace = |config: &mut ws_gateway::config::Config| config.desk.presence_grace = Duration::from_secs(3);
    let old = gateway(&redis, grace).await;
    let mut alice = user(old.addr, "alice").await;
    alice.join("r").await;
    let mut bob = user(old.addr, "bob").await;
    bob.join("r").await;
    let new = gateway(&redis, grace).await;
    until("it to hear of them", async || (new.stat("total_rooms").await == 1).then_some(())).await;
    let drained = tokio::spawn(old.gateway.drain());
    while alice.message().await.is_some() {}
    while bob.message().await.is_some() {}
    let mut back = Vec::new();
    for name in ["alice", "bob"] {
        let mut client = user(new.addr, name).await;
        client.join("r").await;
        back.push(client);
    }
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
}

/// A gateway is killed and another one begins in its place, before anybody knows that the first is dead: who comes back there was never away.
#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_knows_the_users_of_a_killed_gateway() {
    let redis = Redis::start().await;
    let one = gateway(&redis, |_| {}).await;
    let killed = Process::on(&redis, &["--desk", "--jwt-secret-key", SECRET]).await;
    let mut alice = user(one.addr, "alice").await;
    alice.join("r").await;
    let mut away = Vec::new();
    for name in ["bob", "carol"] {
        let mut client = user(killed.addr(), name).await;
        client.join("r").await;
        alice.next_of("user_joined").await;
        away.push(client);
    }
    killed.signal("KILL");
    let new = gateway(&redis, |_| {}).await;
    let mut bob = user(new.addr, "bob").await;
    bob.join("r").await;
    assert_eq!(count(&mut bob, "r").await, 3, "carol counts until the gateway is known to be dead");
    let left = json!({"type": "user_left", "user_id": "carol", "room_id": "r"});
    assert_eq!((alice.json().await, bob.json().await), (left.clone(), left));
    alice.gets_nothing().await;
}
