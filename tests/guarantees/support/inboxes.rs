//! Users with inboxes.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use ws_gateway::config::Config;
use ws_gateway::config::desk::OfflineQueue;

use super::desk::{self, user};
use super::redis::Publisher;
use super::{Client, Redis, TestGateway, until};

pub(crate) const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

pub(crate) fn queue(entries: u32, keep: Duration) -> impl FnOnce(&mut Config) {
    move |config| config.desk.offline_queue = Some(OfflineQueue { entries, keep })
}

pub(crate) async fn gateway(redis: &Redis) -> TestGateway {
    desk::gateway(redis, queue(100, WEEK)).await
}

pub(crate) async fn say(client: &mut Client, to: &str, message: impl Into<Value>) -> Value {
    client.ask_for("chat", json!({"to": to, "message": message.into()})).await.0
}

pub(crate) async fn says(client: &mut Client, to: &str, message: impl Into<Value>) {
    let reply = say(client, to, message).await;
    assert_eq!(reply["type"], "success", "{reply}");
}

/// Waits until the gateway has heard what this client has said. Nothing of it is live for a user who comes then.
pub(crate) async fn heard(client: &mut Client) {
    client.join("heard").await;
}

/// A user who has been here, and is away.
pub(crate) async fn has_been(addr: SocketAddr, name: &str, redis: &mut Publisher) {
    let mut client = user(addr, name).await;
    // What it says to itself shows that its inbox is there.
    until("the inbox", async || (say(&mut client, name, 0).await["type"] == "success").then_some(())).await;
    is_empty(redis, &mut client, name).await;
}

/// A gateway, where alice has said 1 to bob, who has been here and is away; and somebody who looks into Redis.
pub(crate) async fn said_to_bob_while_away(redis: &Redis) -> (TestGateway, Client, Publisher) {
    let gateway = gateway(redis).await;
    let mut worker = redis.publisher().await;
    has_been(gateway.addr, "bob", &mut worker).await;
    let mut alice = user(gateway.addr, "alice").await;
    says(&mut alice, "bob", 1).await;
    (gateway, alice, worker)
}

/// How many entries are in an inbox.
pub(crate) async fn left(redis: &mut Publisher, name: &str) -> u64 {
    redis.command(&["XLEN", &format!("channel:inbox:{name}")]).await
}

/// Waits until a user's inbox has nothing left; a client of the user reads meanwhile.
pub(crate) async fn is_empty(redis: &mut Publisher, client: &mut Client, name: &str) {
    until("the confirmation", async || {
        client.send(r#"{"action":"ping"}"#).await;
        client.next_of("pong").await;
        (left(redis, name).await == 0).then_some(())
    })
    .await;
}

/// The entry that a frame is of.
pub(crate) fn entry_id(frame: &Value) -> (u64, u64) {
    parse_id(frame["message_id"].as_str().unwrap_or_else(|| panic!("{frame}")))
}

pub(crate) fn parse_id(id: &str) -> (u64, u64) {
    let (ms, seq) = id.split_once('-').expect("an entry of a stream");
    (ms.parse().unwrap(), seq.parse().unwrap())
}

/// The next frame is a chat that was kept while the user was away; returns its message and its name.
pub(crate) async fn queued(client: &mut Client) -> (Value, (u64, u64)) {
    let text = client.text().await;
    let frame: Value = serde_json::from_str(&text).unwrap();
    assert!(text.ends_with(&format!(r#","message_id":{},"queued":true}}"#, frame["message_id"])), "{text}");
    (frame["message"].clone(), entry_id(&frame))
}
