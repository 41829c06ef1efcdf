//! The desk's bytes: what clients of rooms, chats and notifications get is what they parse, to the byte.
//!
//! How the lines of `golden_desk_bytes.txt` are to be read is in `support/tape.rs`; before each stands the user's name.

use std::time::Duration;

use ws_gateway::config::Config;
use ws_gateway::config::desk::OfflineQueue;
use ws_gateway::limits::TIME_MAX_MS;

use crate::support::desk;
use crate::support::redis::Publisher;
use crate::support::tape::{Taped, compare, title};
use crate::support::{Redis, TestGateway, until};

const RECORDED: &str = include_str!("golden_desk_bytes.txt");

#[tokio::test(flavor = "multi_thread")]
async fn are_those_of_the_record() {
    let mut redis = Redis::start().await;
    let mut tape = String::new();
    people(&redis, &mut tape).await;
    workers(&redis, &mut tape).await;
    mistakes(&redis, &mut tape).await;
    large_rooms(&redis, &mut tape).await;
    inboxes(&redis, &mut tape).await;
    questions(&redis, &mut tape).await;
    outage(&mut redis, &mut tape).await;
    compare("golden_desk_bytes.txt", RECORDED, &tape);
}

async fn gateway(redis: &Redis, change: impl FnOnce(&mut Config)) -> TestGateway {
    desk::gateway(redis, |config| {
        // A client's first ping comes at any time in the interval.
        config.delivery.ping_interval = Duration::from_millis(TIME_MAX_MS);
        config.desk.presence_grace = Duration::ZERO;
        change(config);
    })
    .await
}

/// Rooms, chat, typing, who is here.
async fn people(redis: &Redis, tape: &mut String) {
    let gateway = gateway(redis, |_| {}).await;
    title(tape, "Rooms");
    let (mut alice, mut bob) =
        (Taped::named(gateway.addr, "alice").await, Taped::named(gateway.addr, "bob").await);
    alice.ask(tape, r#"{"type":"join_room","payload":{"room_id":"room-123"}}"#).await;
    bob.say(tape, r#"{"type":"join_room","payload":{"room_id":"room-123"},"id":7}"#).await;
    bob.hear_both(tape).await;
    alice.hear(tape).await;
    for message in
        [r#""Hello everyone!""#, r#"{"price":150.250, "n":1e2,"to":[null,"Zo\u00eb"]}"#, r#""\u2028é""#, "0"]
    {
        let said =
            format!(r#"{{"type":"room_message","payload":{{"room_id":"room-123","message":{message}}}}}"#);
        alice.ask(tape, &said).await;
        bob.hear(tape).await;
    }
    alice
        .say(
            tape,
            r#"{"type":"room_message","payload":{"message":"x","room_id":"room-123","more":1},"id":"said"}"#,
        )
        .await;
    alice.hear_both(tape).await;
    bob.hear(tape).await;
    title(tape, "Typing and presence");
    alice.ask(tape, r#"{"type":"typing","payload":{"room_id":"room-123"},"id":"typing"}"#).await;
    bob.hear(tape).await;
    alice.ask(tape, r#"{"type":"presence","payload":{"room_id":"room-123"}}"#).await;
    bob.ask(tape, r#"{"type":"presence","payload":{"room_id":"room-123"},"id":"who"}"#).await;
    bob.ask(tape, r#"{"type":"ping"}"#).await;
    title(tape, "Leaving");
    bob.say(tape, r#"{"type":"leave_room","payload":{"room_id":"room-123"},"id":8}"#).await;
    bob.hear_both(tape).await;
    alice.hear(tape).await;
    bob.ask(tape, r#"{"type":"leave_room","payload":{"room_id":"room-123"},"id":9}"#).await;
    bob.ask(tape, r#"{"type":"join_room","payload":{"room_id":"room-123"}}"#).await;
    alice.hear(tape).await;
    drop(bob);
    alice.hear(tape).await;
    title(tape, "Chat");
    let mut bob = Taped::named(gateway.addr, "bob").await;
    bob.is_there().await;
    alice.ask(tape, r#"{"type":"chat","payload":{"to":"bob","message":"Hi there!"}}"#).await;
    bob.hear(tape).await;
    bob.say(tape, r#"{"type":"chat","payload":{"to":"alice","message":[1.0]},"id":1}"#).await;
    bob.hear_both(tape).await;
    alice.hear(tape).await;
}

/// What workers tell.
async fn workers(redis: &Redis, tape: &mut String) {
    let gateway = gateway(redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    title(tape, "Notifications");
    let mut alice = Taped::named(gateway.addr, "alice").await;
    alice.ask(tape, r#"{"type":"join_room","payload":{"room_id":"room-123"}}"#).await;
    for (channel, object) in [
        ("channel:user:alice", r#"{"type":"task_status_update","event_id":"7","data":{"progress":50}}"#),
        ("channel:user:alice", r#" {"n":1.50, "type":"odd","é":"\u00e9"} "#),
        ("channel:room:room-123", r#"{"type":"case_updated","case":7}"#),
        ("channel:broadcast", r#"{"type":"maintenance","at":1234567890}"#),
    ] {
        publish(&mut worker, channel, object).await;
        alice.hear(tape).await;
    }
}

async fn publish(worker: &mut Publisher, channel: &str, object: &str) {
    let _: i64 = worker.command(&["PUBLISH", channel, object]).await;
}

/// Requests that can't be done.
async fn mistakes(redis: &Redis, tape: &mut String) {
    let gateway = gateway(redis, |config| {
        config.desk.max_rooms_per_user = 1;
        config.events.max_event_bytes = 1_000;
    })
    .await;
    title(tape, "Mistakes");
    let mut alice = Taped::named(gateway.addr, "alice").await;
    alice.ask(tape, r#"{"type":"join_room","payload":{"room_id":"room-123"}}"#).await;
    let large = format!(
        r#"{{"type":"room_message","payload":{{"room_id":"room-123","message":"{}"}},"id":"large"}}"#,
        "x".repeat(1_000)
    );
    for request in [
        r#"{"type":"join_room","payload":{"room_id":"another"},"id":1}"#,
        r#"{"type":"room_message","payload":{"room_id":"another","message":"x"}}"#,
        r#"{"type":"typing","payload":{"room_id":"another"},"id":2}"#,
        r#"{"type":"presence","payload":{"room_id":"another"},"id":3}"#,
        r#"{"type":"join_room"}"#,
        r#"{"type":"join_room","payload":{"room_id":""}}"#,
        r#"{"type":"join_room","payload":{"room_id":"a\u0000b"}}"#,
        r#"{"type":"room_message","payload":{"room_id":"room-123"}}"#,
        r#"{"type":"room_message","payload":{"room_id":"room-123","message":"\ud800"}}"#,
        r#"{"type":"chat","payload":{"message":"x"}}"#,
        r#"{"type":"shout","payload":{}}"#,
        r#"{"type":"request","requestId":"1","payload":{}}"#,
        &large,
    ] {
        alice.ask(tape, request).await;
    }
}

/// Rooms whose members hear of numbers.
async fn large_rooms(redis: &Redis, tape: &mut String) {
    let gateway = gateway(redis, |config| config.desk.presence_max_members = 1).await;
    title(tape, "PRESENCE_MAX_MEMBERS=1");
    let (mut alice, mut bob) =
        (Taped::named(gateway.addr, "alice").await, Taped::named(gateway.addr, "bob").await);
    alice.ask(tape, r#"{"type":"join_room","payload":{"room_id":"large"}}"#).await;
    bob.ask(tape, r#"{"type":"join_room","payload":{"room_id":"large"}}"#).await;
    alice.hear(tape).await;
}

/// What is kept for who is away.
async fn inboxes(redis: &Redis, tape: &mut String) {
    let keep = Duration::from_secs(3_600);
    let queue = OfflineQueue { entries: 100, keep };
    let gateway = gateway(redis, |config| config.desk.offline_queue = Some(queue)).await;
    let mut worker = redis.publisher().await;
    title(tape, "OFFLINE_QUEUE=100/1h");
    let mut alice = Taped::named(gateway.addr, "alice").await;
    alice.ask(tape, r#"{"type":"chat","payload":{"to":"nobody","message":1},"id":1}"#).await;
    let mut bob = Taped::named(gateway.addr, "bob").await;
    // Its answer shows that its inbox is there.
    bob.ask(tape, r#"{"type":"typing","payload":{"room_id":"none"}}"#).await;
    until("bob's inbox", async || {
        (worker.command::<i64>(&["EXISTS", "channel:inbox:bob"]).await == 1).then_some(())
    })
    .await;
    drop(bob);
    until("bob to be away", async || (gateway.stat("online_users").await == 1).then_some(())).await;
    alice.say(tape, r#"{"type":"chat","payload":{"to":"bob","message":"Hi there!"},"id":2}"#).await;
    alice.hear_both(tape).await;
    let _: String = worker
        .command(&["XADD", "channel:inbox:bob", "*", "message", r#"{"type":"task_done","event_id":"7"}"#])
        .await;
    let mut bob = Taped::named(gateway.addr, "bob").await;
    for _ in 0..3 {
        // The last is the ping that bob confirms them with.
        bob.hear(tape).await;
    }
}

/// What workers are asked.
async fn questions(redis: &Redis, tape: &mut String) {
    let gateway = gateway(redis, |config| {
        config.desk.requests = true;
        config.desk.request_timeout = Duration::from_secs(2);
    })
    .await;
    title(tape, "REQUESTS=true, REQUEST_TIMEOUT=2s");
    let mut alice = Taped::named(gateway.addr, "alice").await;
    alice.say(tape, r#"{"type":"request","requestId":"123","payload":{"q":"balance"}}"#).await;
    alice.ask(tape, r#"{"type":"request","requestId":"123","payload":{}}"#).await;
    alice.hear(tape).await;
    alice.ask(tape, r#"{"type":"request","requestId":7,"payload":{}}"#).await;
}

/// Redis is away.
async fn outage(redis: &mut Redis, tape: &mut String) {
    let gateway = gateway(redis, |_| {}).await;
    title(tape, "Redis is lost");
    let mut alice = Taped::named(gateway.addr, "alice").await;
    alice.ask(tape, r#"{"type":"join_room","payload":{"room_id":"room-123"}}"#).await;
    redis.kill();
    alice.hear(tape).await;
    alice
        .ask(tape, r#"{"type":"room_message","payload":{"room_id":"room-123","message":"x"},"id":"said"}"#)
        .await;
    alice.ask(tape, r#"{"type":"chat","payload":{"to":"bob","message":"x"}}"#).await;
}
