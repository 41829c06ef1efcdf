//! `ws-client` at a real gateway's desk: two users talk with each other and in a room, and workers tell one of them something.

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use ws_gateway::config::{Config, Upstream};
use ws_gateway::gateway::Gateway;

use crate::common::{Redis, Tool, line_with, soon};
use crate::entry::{SECRET, token};

/// A gateway with a desk, where tokens of [`SECRET`] say who users are.
async fn gateway(redis: &Redis) -> Gateway {
    let mut config = Config::for_tests();
    config.upstream = Upstream::from_url(&redis.url()).unwrap();
    config.access.secret_key = Some(SECRET.to_owned());
    config.desk.is_on = true;
    Gateway::build(config).await.unwrap()
}

/// `ws-client` as this user, once it is connected.
async fn client(gateway: &Gateway, user: &str, arguments: &[&str]) -> Tool {
    let url = format!("ws://{}/ws", gateway.local_addr());
    let who = ["--url", &url, "--token", &token(user).await];
    let mut client = Tool::start(env!("CARGO_BIN_EXE_ws-client"), &[&who, arguments].concat());
    line_with(&mut client.stderr, "connected to ").await;
    client
}

async fn says(client: &mut Tool, line: &str) {
    client.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).await.unwrap();
}

async fn prints(client: &mut Tool, expected: &str) {
    let line = soon(expected, client.stdout.next_line()).await.unwrap();
    assert_eq!(line.as_deref(), Some(expected));
}

#[tokio::test]
async fn two_users_talk_with_each_other() {
    let redis = Redis::start(&[]).await;
    let gateway = gateway(&redis).await;
    let mut alice = client(&gateway, "alice", &["--chat", "bob"]).await;
    // The line comes back to its sender, so alice is known before bob writes to her.
    says(&mut alice, "is anybody there?").await;
    prints(&mut alice, "alice to bob: is anybody there?").await;
    let mut bob = client(&gateway, "bob", &["--chat", "alice"]).await;
    let mut stranger = client(&gateway, "carol", &["--chat", "dave"]).await;
    for (from, text) in [("bob", "here I am"), ("alice", "good \"day\", bob"), ("bob", "and to you")] {
        let to = if from == "bob" { "alice" } else { "bob" };
        says(if from == "bob" { &mut bob } else { &mut alice }, text).await;
        for client in [&mut alice, &mut bob] {
            prints(client, &format!("{from} to {to}: {text}")).await;
        }
    }
    says(&mut stranger, "nobody else hears that").await;
    prints(&mut stranger, "carol to dave: nobody else hears that").await;
    for client in [alice, bob, stranger] {
        client.signal("INT").await;
        let (status, rest, stderr) = client.end().await;
        assert!(status.success() && rest.is_empty(), "{rest:?} {stderr:?}");
    }
}

#[tokio::test]
async fn two_users_talk_in_a_room() {
    let redis = Redis::start(&[]).await;
    let gateway = gateway(&redis).await;
    let mut alice = client(&gateway, "alice", &["--room", "lobby"]).await;
    prints(&mut alice, "-- alice has joined lobby").await;
    let mut bob = client(&gateway, "bob", &["--room", "lobby"]).await;
    for client in [&mut alice, &mut bob] {
        prints(client, "-- bob has joined lobby").await;
    }
    for (from, text) in [("bob", "hello"), ("alice", "hello yourself")] {
        says(if from == "bob" { &mut bob } else { &mut alice }, text).await;
        for client in [&mut alice, &mut bob] {
            prints(client, &format!("[lobby] {from}: {text}")).await;
        }
    }
}

#[tokio::test]
async fn workers_are_heard_by_who_wants_notifications() {
    let redis = Redis::start(&[]).await;
    let gateway = gateway(&redis).await;
    let mut listens = client(&gateway, "alice", &["--notifications", "--json"]).await;
    let mut chats = client(&gateway, "alice", &["--chat", "bob", "--json"]).await;
    // Both are known once this has gone to both.
    says(&mut chats, "first").await;
    for client in [&mut listens, &mut chats] {
        line_with(&mut client.stdout, r#""message":"first""#).await;
    }
    let mut worker =
        redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    for channel in ["user:bob", "user:alice", "broadcast"] {
        let event = json!({"type": "task_done", "on": channel}).to_string();
        let () = redis::cmd("PUBLISH")
            .arg(format!("channel:{channel}"))
            .arg(event)
            .query_async(&mut worker)
            .await
            .unwrap();
    }
    for channel in ["user:alice", "broadcast"] {
        prints(&mut listens, &json!({"type": "task_done", "on": channel}).to_string()).await;
        prints(&mut chats, &json!({"type": "task_done", "on": channel}).to_string()).await;
    }
}
