//! Who is in a room: users over all gateways, those that are back within the grace not told of. Of gateways that end: `presence_when_gateways_end`.

use std::time::Instant;

use serde_json::json;
use ws_gateway::metrics::Counter;

use crate::support::desk::{count, gateway, user, with_enough_grace};
use crate::support::{Redis, until};

#[tokio::test(flavor = "multi_thread")]
async fn who_is_back_within_the_grace_was_never_away() {
    with_enough_grace(3, async |grace| {
        let redis = Redis::start().await;
        let (one, other) = (grace.gateway(&redis).await, grace.gateway(&redis).await);
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
        let cut_off = Instant::now();
        drop(others);
        let mut back = Vec::new();
        for n in 0..9 {
            let mut client = user(other.addr, &format!("user-{n}")).await;
            client.join("r").await;
            back.push(client);
        }
        let counted = count(&mut alice, "r").await;
        grace.goes_on_since(cut_off)?;
        assert_eq!(counted, 11, "the last one counts for the grace");
        // The only thing that anybody is told is the leave of the one that isn't back.
        let told = alice.json().await;
        assert_eq!(told, json!({"type": "user_left", "user_id": "user-9", "room_id": "r"}));
        alice.gets_nothing().await;
        // The other gateway hears it in its own time.
        back[0].next_of("user_left").await;
        assert_eq!(count(&mut back[0], "r").await, 10);
        Some(())
    })
    .await;
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
