//! A user who is connected is known: also when Redis has lost its keys, and from the first that others hear of the user.

use serde_json::json;

use crate::support::desk::user;
use crate::support::inboxes::{WEEK, gateway, queue, say};
use crate::support::port::ReservedPort;
use crate::support::process::Process;
use crate::support::tokens::SECRET;
use crate::support::{Client, Redis, TestGateway, until};

/// A chat arrives, once Redis has been asked and knows the user again.
async fn is_said(alice: &mut Client, bob: &mut Client, message: u64) {
    until("bob to be known", async || (say(alice, "bob", message).await["type"] == "success").then_some(()))
        .await;
    while bob.next_of("chat").await["message"] != message {}
}

#[tokio::test(flavor = "multi_thread")]
async fn when_redis_comes_back_without_its_keys() {
    let mut redis = Redis::start().await;
    let (one, other) = (gateway(&redis).await, gateway(&redis).await);
    let (mut alice, mut bob) = (user(one.addr, "alice").await, user(other.addr, "bob").await);
    is_said(&mut alice, &mut bob, 1).await;
    redis.kill();
    redis.launch();
    redis.until_up().await;
    is_said(&mut alice, &mut bob, 2).await;
    // What workers add without making an inbox comes too.
    let mut worker = redis.publisher().await;
    let object = r#"{"type":"task"}"#;
    let id: Option<String> =
        worker.command(&["XADD", "channel:inbox:bob", "NOMKSTREAM", "*", "message", object]).await;
    assert_eq!(json!(bob.next_of("task").await["message_id"]), json!(id));
}

/// The embedded broker's inboxes end with it.
#[tokio::test(flavor = "multi_thread")]
async fn when_a_gateway_that_is_the_others_redis_starts_again() {
    let broker = ReservedPort::new();
    let args = ["--embedded-redis-port", &broker.to_string(), "--desk", "--jwt-secret-key", SECRET];
    let args = [&args[..], &["--offline-queue", "100/7d"]].concat();
    let first = Process::start(&args).await;
    let gateway = TestGateway::with_url(&format!("redis://{}", broker.addr()), |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.desk.is_on = true;
        queue(100, WEEK)(config);
    })
    .await;
    let (mut alice, mut bob) = (user(first.addr(), "alice").await, user(gateway.addr, "bob").await);
    is_said(&mut alice, &mut bob, 1).await;
    drop(first);
    let second = Process::start(&args).await;
    let mut alice = user(second.addr(), "alice").await;
    is_said(&mut alice, &mut bob, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_keys_are_deleted() {
    let redis = Redis::start().await;
    let (one, other) = (gateway(&redis).await, gateway(&redis).await);
    let (mut alice, mut bob) = (user(one.addr, "alice").await, user(other.addr, "bob").await);
    // Others are here as well.
    let mut others = Vec::new();
    for n in 0..20 {
        others.push(user(other.addr, &format!("user-{n}")).await);
    }
    is_said(&mut alice, &mut bob, 1).await;
    let () = redis.publisher().await.command(&["FLUSHALL"]).await;
    is_said(&mut alice, &mut bob, 2).await;
    for n in 0..20 {
        let to = format!("user-{n}");
        until("all to be known", async || (say(&mut alice, &to, 0).await["type"] == "success").then_some(()))
            .await;
    }
}

/// A name that rises behind what was there before is not needed: the inbox is another one.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_into_an_inbox_that_was_made_again_is_found() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis).await;
    let mut worker = redis.publisher().await;
    let mut bob = user(gateway.addr, "bob").await;
    let mut alice = user(gateway.addr, "alice").await;
    let far = "99999999999999-1";
    until("bob to be known", async || {
        let (key, object) = ("channel:inbox:bob", r#"{"type":"far"}"#);
        let id: Option<String> = worker.command(&["XADD", key, "NOMKSTREAM", far, "message", object]).await;
        id
    })
    .await;
    bob.next_of("far").await;
    let () = worker.command(&["FLUSHALL"]).await;
    is_said(&mut alice, &mut bob, 1).await;
    until("the inbox to be looked at again", async || {
        let (key, object) = ("channel:inbox:bob", r#"{"type":"near"}"#);
        let _: Option<String> = worker.command(&["XADD", key, "NOMKSTREAM", "*", "message", object]).await;
        let (_, before) = bob.ask_for("chat", json!({"to": "alice", "message": 0})).await;
        before.iter().any(|frame| frame["type"] == "near").then_some(())
    })
    .await;
}

/// Who hears of a user through the desk can write to that user: the inbox was made before.
#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_that_is_heard_of_a_user() {
    let redis = Redis::start().await;
    let (one, other) = (gateway(&redis).await, gateway(&redis).await);
    let mut alice = user(one.addr, "alice").await;
    alice.join("room").await;
    for n in 0..30 {
        let (name, addr) = (format!("new-{n}"), [one.addr, other.addr][n % 2]);
        let mut new = user(addr, &name).await;
        new.ask("join_room", json!({"room_id": "room"})).await;
        while alice.next_of("user_joined").await["user_id"] != name.as_str() {}
        let reply = say(&mut alice, &name, n).await;
        assert_eq!(reply["type"], "success", "{reply}");
        assert_eq!(new.next_of("chat").await["message"], n);
    }
}

/// The gateway that a user is connected to knows it at once.
#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_answer_on_the_same_gateway() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis).await;
    let mut alice = user(gateway.addr, "alice").await;
    for n in 0..30 {
        let name = format!("new-{n}");
        let mut new = user(gateway.addr, &name).await;
        new.gets_nothing().await;
        let reply = say(&mut alice, &name, n).await;
        assert_eq!(reply["type"], "success", "{reply}");
        assert_eq!(new.next_of("chat").await["message"], n);
    }
}
