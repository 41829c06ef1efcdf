//! What is said to a user who is away comes when the user is back: whole, in order, on any gateway; and what has been confirmed is gone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use ws_gateway::config::Config;
use ws_gateway::gateway::Gateway;

use crate::support::desk::{self, user};
use crate::support::inboxes::{
    WEEK, entry_id, gateway, has_been, heard, is_empty, left, queue, queued, said_to_bob_while_away, say,
    says,
};
use crate::support::redis::Publisher;
use crate::support::tokens::{SECRET, enter, token};
use crate::support::{Client, Redis, TestGateway, until};

async fn a_hundred_come_in_order(one: SocketAddr, other: SocketAddr, mut redis: Publisher) {
    has_been(one, "bob", &mut redis).await;
    let mut alice = user(one, "alice").await;
    for n in 0..100 {
        says(&mut alice, "bob", json!({"n": n, "padding": "x".repeat(2_000)})).await;
    }
    heard(&mut alice).await;
    // The reply to `?symbols=` stays the first frame.
    let header = format!("Authorization: Bearer {}", token(json!({"sub": "bob"})));
    let mut bob = enter(other, "?symbols=AAPL", &[&header]).await;
    assert_eq!(bob.json().await["data"]["subscribed"], json!(["AAPL"]));
    let mut last = (0, 0);
    for n in 0..100 {
        let (message, id) = queued(&mut bob).await;
        assert_eq!(message["n"], n);
        assert!(id > last, "names rise");
        last = id;
    }
    // Now it comes as it is said.
    says(&mut alice, "bob", "live").await;
    let text = bob.text().await;
    let frame: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&frame["message"], &frame["queued"]), (&json!("live"), &Value::Null));
    assert!(text.ends_with(&format!(r#","message_id":{}}}"#, frame["message_id"])), "{text}");
    is_empty(&mut redis, &mut bob, "bob").await;
    // Whoever comes later has nothing to get.
    user(one, "bob").await.gets_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_any_gateway() {
    let redis = Redis::start().await;
    let (one, other) = (gateway(&redis).await, gateway(&redis).await);
    a_hundred_come_in_order(one.addr, other.addr, redis.publisher().await).await;
    // What was counted is given back.
    let mut redis = redis.publisher().await;
    until("the bytes", async || {
        let parts: BTreeMap<String, i64> = redis.command(&["HGETALL", "channel:inboxes"]).await;
        (!parts.is_empty() && parts.values().sum::<i64>() == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_embedded_broker() {
    let mut config = Config::for_tests();
    config.access.secret_key = Some(SECRET.to_owned());
    config.desk.is_on = true;
    queue(100, WEEK)(&mut config);
    let gateway = Gateway::build(config).await.expect("the gateway starts");
    let broker = gateway.broker_addr().expect("it has one");
    let addr = gateway.local_addr();
    let url = format!("redis://{broker}");
    a_hundred_come_in_order(addr, addr, Publisher::connect(&url).await).await;
    // Another gateway has it as its Redis.
    let other = TestGateway::with_url(&url, |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.desk.is_on = true;
        queue(100, WEEK)(config);
    })
    .await;
    a_hundred_come_in_order(addr, other.addr, Publisher::connect(&url).await).await;
    a_hundred_come_in_order(other.addr, addr, Publisher::connect(&url).await).await;
    workers_put_something_there(addr, addr, Publisher::connect(&url).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_of_both_get_what_is_said_now() {
    let redis = Redis::start().await;
    let (one, other) = (gateway(&redis).await, gateway(&redis).await);
    let mut senders = [user(one.addr, "alice").await, user(other.addr, "alice").await];
    let mut alice = [user(one.addr, "alice").await, user(other.addr, "alice").await];
    let mut bob = [user(one.addr, "bob").await, user(other.addr, "bob").await];
    for client in &mut bob {
        until("the inbox", async || (say(client, "bob", 0).await["type"] == "success").then_some(())).await;
    }
    for n in 1..50 {
        says(&mut senders[n % 2], "bob", n).await;
    }
    let mut seen = Vec::new();
    for client in alice.iter_mut().chain(&mut bob) {
        let mut of_client = Vec::new();
        while of_client.len() < 49 {
            let frame = client.next_of("chat").await;
            assert_eq!(frame["queued"], Value::Null, "{frame}");
            if frame["message"] != 0 {
                of_client.push((frame["message"].as_u64().unwrap(), entry_id(&frame)));
            }
        }
        seen.push(of_client);
    }
    assert!(seen.iter().all(|of_client| *of_client == seen[0]), "the same, under the same names: {seen:?}");
    let numbers: Vec<_> = seen[0].iter().map(|(n, _)| *n).collect();
    assert_eq!(numbers, (1..50).collect::<Vec<_>>());
    let mut redis = redis.publisher().await;
    for client in &mut bob {
        is_empty(&mut redis, client, "bob").await;
    }
    for client in alice.iter_mut().chain(&mut bob) {
        client.gets_nothing().await;
    }
}

async fn workers_put_something_there(one: SocketAddr, other: SocketAddr, mut redis: Publisher) {
    let key = "channel:inbox:carol";
    let mut add = async |field: &str, value: &str| -> String {
        redis.command(&["XADD", key, "MAXLEN", "~", "100", "*", field, value]).await
    };
    // For one who has never been here as well.
    let first = add("message", r#" {"type":"task","event_id":"1"} "#).await;
    add("message", r#"{"type":"trade","symbol":"AAPL"}"#).await;
    add("text", "hello").await;
    add("message", "no object").await;
    let (mut carol, mut second) = (user(one, "carol").await, user(other, "carol").await);
    let expected = format!(r#"{{"type":"task","event_id":"1","message_id":"{first}","queued":true}}"#);
    assert_eq!(carol.text().await, expected);
    assert_eq!(second.text().await, expected, "neither had confirmed it before the other asked");
    // And for one who is here, on all gateways.
    for n in 0..3 {
        let id = add("message", &format!(r#"{{"type":"task","n":{n}}}"#)).await;
        for client in [&mut carol, &mut second] {
            let text = client.text().await;
            // The first may still be one that it asks for.
            let text = text.replace(r#","queued":true"#, "");
            assert_eq!(text, format!(r#"{{"type":"task","n":{n},"message_id":"{id}"}}"#));
        }
    }
    is_empty(&mut redis, &mut carol, "carol").await;
    second.gets_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_may_add() {
    let redis = Redis::start().await;
    let (one, other) = (gateway(&redis).await, gateway(&redis).await);
    workers_put_something_there(one.addr, other.addr, redis.publisher().await).await;
    until("the three to be counted", async || {
        let metrics = [&one, &other].map(|gateway| &gateway.gateway.state().metrics.control);
        (metrics.map(|control| control.inbox_entries_refused.get()).iter().sum::<u64>() >= 3).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_never_here_or_not_for_long_is_not_found() {
    let redis = Redis::start().await;
    let gateway = desk::gateway(&redis, queue(10, Duration::from_secs(2))).await;
    let mut alice = user(gateway.addr, "alice").await;
    let reply = say(&mut alice, "bob", 1).await;
    assert_eq!((&reply["code"], &reply["data"]), (&json!("NOT_FOUND"), &json!({"to": "bob"})), "{reply}");
    let mut redis = redis.publisher().await;
    has_been(gateway.addr, "bob", &mut redis).await;
    says(&mut alice, "bob", 1).await;
    heard(&mut alice).await;
    let mut bob = user(gateway.addr, "bob").await;
    assert_eq!(queued(&mut bob).await.0, 1);
    // While it is here its inbox is kept, however long that is.
    let mut ends = Vec::new();
    until("the inbox to be prolonged", async || {
        bob.gets_nothing().await;
        let ends_ms: i64 = redis.command(&["PEXPIRETIME", "channel:inbox:bob"]).await;
        assert!(ends_ms > 0, "it is there");
        ends.push(ends_ms);
        ends.dedup();
        (ends.len() > 3).then_some(())
    })
    .await;
    drop(bob);
    until("bob to be forgotten", async || {
        (say(&mut alice, "bob", 2).await["code"] == "NOT_FOUND").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_give_way() {
    let redis = Redis::start().await;
    let gateway = desk::gateway(&redis, queue(5, WEEK)).await;
    let mut worker = redis.publisher().await;
    has_been(gateway.addr, "bob", &mut worker).await;
    let mut alice = user(gateway.addr, "alice").await;
    for n in 0..12 {
        says(&mut alice, "bob", n).await;
    }
    heard(&mut alice).await;
    until("the oldest to go", async || (left(&mut worker, "bob").await == 5).then_some(())).await;
    let mut bob = user(gateway.addr, "bob").await;
    for n in 7..12 {
        assert_eq!(queued(&mut bob).await.0, n);
    }
    is_empty(&mut worker, &mut bob, "bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_inboxes_together_are_bounded() {
    let redis = Redis::start().await;
    let (one, other) = (bounded(&redis).await, bounded(&redis).await);
    fill(one.addr, other.addr, redis.publisher().await).await;
}

/// Redis doesn't count it for another reason than a lack of room: nothing is kept, and the client isn't told that there is too much.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_counted_is_not_kept() {
    let redis = Redis::start().await;
    let (_gateway, mut alice, mut worker) = said_to_bob_while_away(&redis).await;
    let () = worker.command(&["SET", "channel:inboxes", "not a hash"]).await;
    let refused = say(&mut alice, "bob", 2).await;
    assert_eq!(refused["code"], "UNAVAILABLE", "{refused}");
    let message = refused["message"].as_str().expect("a text");
    assert!(message.starts_with("Redis has not confirmed it"), "{message}");
    until("it to be gone", async || (left(&mut worker, "bob").await == 1).then_some(())).await;
    let () = worker.command(&["DEL", "channel:inboxes"]).await;
    says(&mut alice, "bob", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_brokers_are_bounded() {
    let mut config = Config::for_tests();
    config.access.secret_key = Some(SECRET.to_owned());
    config.desk.is_on = true;
    small(&mut config);
    let gateway = Gateway::build(config).await.expect("the gateway starts");
    let worker = Publisher::connect(&format!("redis://{}", gateway.broker_addr().expect("a broker"))).await;
    fill(gateway.local_addr(), gateway.local_addr(), worker).await;
}

fn small(config: &mut Config) {
    queue(1_000, WEEK)(config);
    config.desk.offline_max_bytes = 1024 * 1024;
}

async fn bounded(redis: &Redis) -> TestGateway {
    desk::gateway(redis, small).await
}

async fn fill(one: SocketAddr, other: SocketAddr, mut redis: Publisher) {
    for name in ["bob", "carol"] {
        has_been(one, name, &mut redis).await;
    }
    let mut senders = [user(one, "alice").await, user(other, "alice").await];
    let padding = "x".repeat(50_000);
    let mut sent = 0;
    let full = loop {
        let reply = say(&mut senders[sent % 2], ["bob", "carol"][sent % 2], padding.clone()).await;
        if reply["type"] != "success" {
            break reply;
        }
        sent += 1;
    };
    assert_eq!((&full["code"], full["data"]["to"].is_string()), (&json!("UNAVAILABLE"), true), "{full}");
    assert!((18..22).contains(&sent), "20 fit into a mebibyte: {sent}");
    let mut bob = user(other, "bob").await;
    for _ in 0..sent.div_ceil(2) {
        queued(&mut bob).await;
    }
    until("room again", async || {
        bob.gets_nothing().await;
        (say(&mut senders[0], "carol", "more").await["type"] == "success").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_it_is_refused_and_what_is_there_comes_later() {
    let redis = Redis::start().await;
    let (gateway, mut alice, mut worker) = said_to_bob_while_away(&redis).await;
    redis.hang();
    // The first may have been taken.
    assert_eq!(say(&mut alice, "bob", "perhaps").await["code"], "UNAVAILABLE");
    assert_eq!(say(&mut alice, "bob", "never").await["code"], "UNAVAILABLE");
    let mut bob = user(gateway.addr, "bob").await;
    bob.gets_nothing().await;
    redis.go_on();
    assert_eq!(queued(&mut bob).await.0, 1);
    until("the gateway to come back", async || {
        (say(&mut alice, "bob", 2).await["type"] == "success").then_some(())
    })
    .await;
    let mut next = bob.next_of("chat").await;
    if next["message"] == "perhaps" {
        next = bob.next_of("chat").await;
    }
    assert_eq!(next["message"], 2, "{next}");
    is_empty(&mut worker, &mut bob, "bob").await;
}

/// A connection of a user that the gateway knows of.
async fn here_is(addr: SocketAddr, name: &str) -> Client {
    let mut client = user(addr, name).await;
    client.send(r#"{"action":"ping"}"#).await;
    client.next_of("pong").await;
    client
}

/// Only who is still here when Redis comes back has its inbox read.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_gone_while_redis_was_away_is_not_read_for() {
    let mut redis = Redis::start().await;
    let gateway = gateway(&redis).await;
    let mut alice = user(gateway.addr, "alice").await;
    until("her inbox", async || (say(&mut alice, "alice", 0).await["type"] == "success").then_some(())).await;
    redis.kill();
    assert_eq!(say(&mut alice, "alice", 1).await["code"], "UNAVAILABLE");
    let passers_by = 40_u64;
    for n in 0..passers_by {
        here_is(gateway.addr, &format!("passer-by-{n}")).await;
    }
    let users: Vec<_> = (0..40).map(|n| format!("user-{n}")).collect();
    let mut here = Vec::new();
    for name in &users {
        here.push(here_is(gateway.addr, name).await);
    }
    let metrics = &gateway.gateway.state().metrics;
    until("the others to have gone", async || {
        (metrics.sum(|shard| &shard.connections_closed) >= passers_by).then_some(())
    })
    .await;
    redis.launch();
    redis.until_up().await;
    for (name, client) in users.iter().zip(&mut here) {
        until("its inbox", async || (say(client, name, 2).await["type"] == "success").then_some(())).await;
    }
    let stats: String = redis.publisher().await.command(&["INFO", "commandstats"]).await;
    let reads = stats.split("cmdstat_xrange:calls=").nth(1).and_then(|rest| rest.split(',').next());
    let reads: usize = reads.expect("inboxes are read").parse().unwrap();
    assert!(reads < 2 * users.len(), "each once, and behind what was read: {reads}");
}
