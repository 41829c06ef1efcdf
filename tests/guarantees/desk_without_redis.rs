//! What Redis doesn't confirm is refused, and nothing of it is sent later. That it is within a second, `outgoing::redis::publishing` shows by a clock of its own.

use serde_json::json;

use crate::support::desk::{gateway, user};
use crate::support::{Client, Redis, until};

async fn is_unavailable(client: &mut Client, name: &str, payload: serde_json::Value) {
    let (reply, _) = client.ask_for(name, payload).await;
    assert_eq!(reply["code"], "UNAVAILABLE", "{name}: {reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_gone() {
    let mut redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut alice = user(gateway.addr, "alice").await;
    alice.join("r").await;
    redis.kill();
    until("the loss to be noticed", async || {
        let (reply, _) = alice.ask_for("room_message", json!({"room_id": "r", "message": "lost"})).await;
        (reply["code"] == "UNAVAILABLE").then_some(())
    })
    .await;
    for n in 0..20 {
        is_unavailable(&mut alice, "room_message", json!({"room_id": "r", "message": n})).await;
    }
    is_unavailable(&mut alice, "chat", json!({"to": "bob", "message": 1})).await;
    is_unavailable(&mut alice, "typing", json!({"room_id": "r"})).await;
    is_unavailable(&mut alice, "join_room", json!({"room_id": "s"})).await;
    is_unavailable(&mut alice, "leave_room", json!({"room_id": "r"})).await;
    // It wasn't a member of the one, and is still one of the other.
    let (reply, _) = alice.ask_for("typing", json!({"room_id": "s"})).await;
    assert_eq!(reply["code"], "FORBIDDEN", "{reply}");
    redis.launch();
    redis.until_up().await;
    // Everything that is told from now on, until after the last of it.
    let mut told = Vec::new();
    until("the gateway to come back", async || {
        let (reply, before) = alice.ask_for("room_message", json!({"room_id": "r", "message": "new"})).await;
        told.extend(before);
        (reply["type"] == "success" && gateway.gateway.state().feed_up()).then_some(())
    })
    .await;
    for name in ["join_room", "leave_room"] {
        let (reply, before) = alice.ask_for(name, json!({"room_id": "s"})).await;
        assert_eq!(reply["type"], "success", "{reply}");
        told.extend(before);
    }
    let (reply, before) = alice.ask_for("leave_room", json!({"room_id": "r"})).await;
    assert_eq!(reply["type"], "success", "{reply}");
    told.extend(before);
    for frame in told {
        match frame["type"].as_str() {
            Some("room_message") => assert_eq!(frame["message"], "new", "nothing is sent later"),
            Some("chat" | "typing" | "error") => panic!("nothing is sent later: {frame}"),
            _ => {}
        }
    }
}

/// Somebody cut off tries to come back while Redis confirms nothing: the others are told once that it has left, when its grace is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_return_is_a_leave() {
    let redis = Redis::start().await;
    let grace = |config: &mut ws_gateway::config::Config| {
        config.desk.presence_grace = std::time::Duration::from_secs(3);
    };
    let (one, other) = (gateway(&redis, grace).await, gateway(&redis, grace).await);
    let (mut alice, mut bob) = (user(one.addr, "alice").await, user(other.addr, "bob").await);
    alice.join("r").await;
    bob.join("r").await;
    assert_eq!(alice.next_of("user_joined").await["user_id"], "bob");
    drop(bob);
    let mut bob = user(other.addr, "bob").await;
    redis.hang();
    is_unavailable(&mut bob, "join_room", json!({"room_id": "r"})).await;
    redis.go_on();
    let left = json!({"type": "user_left", "user_id": "bob", "room_id": "r"});
    until("the leave", async || {
        let frame = alice.json().await;
        assert!(frame["type"] != "user_joined", "{frame}");
        (frame == left).then_some(())
    })
    .await;
    // Once, and all know that it has gone.
    until("both to know", async || {
        let (reply, before) = alice.ask_for("presence", json!({"room_id": "r"})).await;
        assert!(before.iter().all(|frame| frame["type"] != "user_left"), "{before:?}");
        (reply["users"] == json!(["alice"])).then_some(())
    })
    .await;
    bob.join("r").await;
    assert_eq!(alice.next_of("user_joined").await["user_id"], "bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_hangs() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut alice = user(gateway.addr, "alice").await;
    alice.join("r").await;
    redis.hang();
    // The first waits for its reply. From then on there is no connection.
    is_unavailable(&mut alice, "room_message", json!({"room_id": "r", "message": "late"})).await;
    for n in 0..5 {
        is_unavailable(&mut alice, "room_message", json!({"room_id": "r", "message": n})).await;
    }
    is_unavailable(&mut alice, "leave_room", json!({"room_id": "r"})).await;
    redis.go_on();
    until("the gateway to come back", async || {
        let (reply, before) = alice.ask_for("room_message", json!({"room_id": "r", "message": "new"})).await;
        // The one that Redis had taken already may have been delivered, as the refusal says.
        let is_expected = |frame: &serde_json::Value| frame["message"] == "new" || frame["message"] == "late";
        let said = before.iter().filter(|frame| frame["type"] == "room_message");
        said.for_each(|frame| assert!(is_expected(frame), "{frame}"));
        (reply["type"] == "success").then_some(())
    })
    .await;
}

/// So much is said that the system doesn't take it all.
#[tokio::test(flavor = "multi_thread")]
async fn while_it_hangs_and_much_is_said() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| {
        config.clients.max_message_bytes = 1 << 20;
        config.events.max_event_bytes = 1 << 20;
    })
    .await;
    let mut alice = user(gateway.addr, "alice").await;
    alice.join("r").await;
    // Together more than the system takes for a peer that doesn't read.
    let long = json!("x".repeat(1_000_000));
    let mut others = Vec::new();
    for n in 0..10 {
        let mut other = user(gateway.addr, &format!("user-{n}")).await;
        other.join("r").await;
        others.push(other);
    }
    redis.hang();
    for other in &mut others {
        other.write("r", long.clone()).await;
    }
    is_unavailable(&mut alice, "room_message", json!({"room_id": "r", "message": "behind"})).await;
    for other in &mut others {
        let reply = other.next_of("error").await;
        assert_eq!(reply["code"], "UNAVAILABLE", "{reply}");
    }
    redis.go_on();
    until("the gateway to come back", async || {
        let (reply, _) = alice.ask_for("room_message", json!({"room_id": "r", "message": "new"})).await;
        (reply["type"] == "success").then_some(())
    })
    .await;
}
