//! A join or leave that Redis has taken is done, also if it doesn't say so in time: who has been told that it is in the room is there for all, and who has left is
//! nowhere.

use serde_json::json;

use crate::support::desk::{gateway, user};
use crate::support::late_replies::LateReplies;
use crate::support::{Client, Redis, until};

/// The replies come again once the gateway has given up those that it waits for.
async fn until_given_up(replies: &LateReplies, before: usize) {
    until("the connection to be given up", async || (replies.given_up() > before).then_some(())).await;
    replies.let_go();
}

/// Joins a room over a connection that confirms again.
async fn joins_in_the_end(client: &mut Client) {
    until("a new connection", async || {
        let (reply, _) = client.ask_for("join_room", json!({"room_id": "r"})).await;
        (reply["type"] == "success").then_some(())
    })
    .await;
}

async fn are_there(client: &mut Client, users: &[&str]) {
    until("all to know", async || {
        let (reply, _) = client.ask_for("presence", json!({"room_id": "r"})).await;
        (reply["users"] == json!(users)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_and_a_leave() {
    let redis = Redis::start().await;
    let replies = LateReplies::of(redis.port).await;
    let upstream = ws_gateway::config::Upstream::from_url(&replies.url()).expect("a Redis URL");
    let one = gateway(&redis, |config| config.upstream = upstream).await;
    let other = gateway(&redis, |_| {}).await;
    let (mut alice, mut bob) = (user(other.addr, "alice").await, user(one.addr, "bob").await);
    let mut carol = user(one.addr, "carol").await;
    alice.join("r").await;

    replies.hold();
    let (reply, _) = bob.ask_for("join_room", json!({"room_id": "r"})).await;
    assert_eq!(reply["type"], "success", "it has come back: {reply}");
    until_given_up(&replies, 0).await;
    joins_in_the_end(&mut carol).await;
    for client in [&mut alice, &mut bob, &mut carol] {
        are_there(client, &["alice", "bob", "carol"]).await;
    }

    let before = replies.given_up();
    replies.hold();
    let (reply, _) = bob.ask_for("leave_room", json!({"room_id": "r"})).await;
    assert_eq!(reply["type"], "success", "it has come back: {reply}");
    until_given_up(&replies, before).await;
    let mut dave = user(one.addr, "dave").await;
    joins_in_the_end(&mut dave).await;
    for client in [&mut alice, &mut carol, &mut dave] {
        are_there(client, &["alice", "carol", "dave"]).await;
    }
}
