//! The ACL lines of docs/desk.md: with exactly these rights everything works, without any one of a gateway's something is refused, and workers are kept out of
//! what gateways tell each other.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use ws_gateway::config::Config;
use ws_gateway::config::desk::OfflineQueue;

use crate::support::desk::user;
use crate::support::redis::Publisher;
use crate::support::tokens::SECRET;
use crate::support::{Client, Redis, TestGateway, resp, until};

const GUIDE: &str = include_str!("../../docs/desk.md");

/// The commands of each block, in the order of the page: for all, for `REQUESTS`, for `OFFLINE_QUEUE`.
fn blocks() -> [Vec<&'static str>; 3] {
    let blocks = GUIDE.split("\n```").filter_map(|block| block.strip_prefix("text\nACL SETUSER gateway "));
    let blocks: Vec<Vec<_>> = blocks
        .map(|block| block.lines().map(|line| line.trim_start_matches("ACL SETUSER worker ")).collect())
        .collect();
    blocks.try_into().expect("three blocks")
}

/// A Redis with the page's users, with the rights of its first block and of these.
async fn redis(also: Option<&[&str]>) -> (Redis, Publisher) {
    let redis = Redis::start().await;
    let mut admin = redis.publisher().await;
    let [basic, ..] = blocks();
    for rights in [Some(&basic[..]), also].into_iter().flatten() {
        for (user, rights) in ["gateway", "worker"].iter().zip(rights) {
            let words: Vec<_> = ["ACL", "SETUSER", user].into_iter().chain(rights.split(' ')).collect();
            admin.command::<()>(&words).await;
        }
    }
    (redis, admin)
}

fn url(redis: &Redis, user: &str) -> String {
    format!("redis://{user}:secret@127.0.0.1:{}", redis.port)
}

async fn gateway(redis: &Redis, change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::with_url(&url(redis, "gateway"), |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.desk.is_on = true;
        change(config);
    })
    .await
}

/// What Redis has refused a gateway: the reason, and what it wanted.
async fn refused(admin: &mut Publisher) -> Vec<(String, String)> {
    let log: Vec<HashMap<String, redis::Value>> = admin.command(&["ACL", "LOG"]).await;
    let text = |value: &redis::Value| match value {
        redis::Value::BulkString(text) => String::from_utf8(text.clone()).expect("text"),
        other => panic!("{other:?}"),
    };
    let of_gateway = log.iter().filter(|entry| text(&entry["username"]) == "gateway");
    of_gateway.map(|entry| (text(&entry["reason"]), text(&entry["object"]))).collect()
}

/// Redis has refused nothing that a gateway wanted so far. Then takes each of these rights away, one after the other, and acts until Redis refuses something
/// for the lack of it.
async fn rights_were_enough_and_each_is_missed(
    admin: &mut Publisher,
    rights: &str,
    mut act: impl AsyncFnMut(),
) {
    assert_eq!(refused(admin).await, []);
    let [basic, requests, inboxes] = blocks();
    let all = || [basic[0], requests[0], inboxes[0]].into_iter().flat_map(|rights| rights.split(' '));
    let is_right = |word: &&str| word.starts_with(['+', '&', '~']);
    for right in rights.split(' ').filter(is_right) {
        let (kind, what) = right.split_at(1);
        let others = |kind| all().filter(move |other: &&str| other.starts_with(kind) && *other != right);
        let taken = format!("-{what}");
        let (without, reason): (Vec<_>, _) = match kind {
            "+" => (vec![taken.as_str()], "command"),
            "&" => (std::iter::once("resetchannels").chain(others('&')).collect(), "channel"),
            _ => (std::iter::once("resetkeys").chain(others('~')).collect(), "key"),
        };
        // A link that hears nothing asks whether Redis is there.
        let quiet: &[_] = if right == "+ping" { &["-publish"] } else { &[] };
        let set = ["ACL", "SETUSER", "gateway"];
        let () = admin.command(&[&set[..], &without, quiet].concat()).await;
        let () = admin.command(&["ACL", "LOG", "RESET"]).await;
        // What it needs to connect is only missed by who connects.
        if kind == "&" || ["psubscribe", "client|setname", "cluster|nodes"].contains(&what) {
            let _: i64 = admin.command(&["CLIENT", "KILL", "USER", "gateway"]).await;
        }
        until(&format!("a gateway to miss {right}"), async || {
            act().await;
            let is_it = |(why, object): &(String, String)| {
                why == reason && object.starts_with(what.trim_end_matches('*'))
            };
            refused(admin).await.iter().any(is_it).then_some(())
        })
        .await;
        let () = admin.command(&[&set[..], &[right, "+publish"]].concat()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn suffices_and_keeps_workers_out() {
    let (redis, mut admin) = redis(None).await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut alice = user(gateway.addr, "alice").await;
    alice.join("r").await;
    let mut worker = Publisher::connect(&url(&redis, "worker")).await;
    for channel in ["room:r", "user:alice", "broadcast"] {
        worker.raw(&format!("channel:{channel}"), br#"{"type":"x"}"#).await;
        assert_eq!(alice.json().await, json!({"type": "x"}), "{channel}");
    }
    let envelope = r#"{"v":1,"t":"message","u":"bob","at":1,"m":1}"#;
    let refused = worker.try_command::<i64>(&["PUBLISH", "channel:desk:room:r", envelope]).await;
    assert!(
        refused.is_err_and(
            |error| error.to_string().contains("NOPERM") || error.to_string().contains("permission")
        )
    );
    alice.gets_nothing().await;
    let [basic, ..] = blocks();
    rights_were_enough_and_each_is_missed(&mut admin, basic[0], async || {
        alice.ask_for("typing", json!({"room_id": "r"})).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suffices_for_requests() {
    let [_, requests, _] = blocks();
    let (redis, mut admin) = redis(Some(&requests)).await;
    let gateway = gateway(&redis, |config| config.desk.requests = true).await;
    let mut alice = user(gateway.addr, "alice").await;
    let mut heard = resp::Client::connect(([127, 0, 0, 1], redis.port).into()).await;
    heard.ask("AUTH worker secret").await;
    heard.ask("SUBSCRIBE channel:request").await;
    alice.send(r#"{"type":"request","requestId":"1","payload":{}}"#).await;
    let question = heard.message().await;
    let mut worker = Publisher::connect(&url(&redis, "worker")).await;
    let response = r#"{"type":"response","requestId":"1","payload":7}"#;
    worker.raw(question["replyTo"].as_str().expect("a channel"), response.as_bytes()).await;
    assert_eq!(alice.text().await, response);
    rights_were_enough_and_each_is_missed(&mut admin, requests[0], async || {
        alice.send(r#"{"type":"request","requestId":"2","payload":{}}"#).await;
    })
    .await;
}

/// Reads frames until one has this value in `field`.
async fn gets(client: &mut Client, field: &str, expected: &str) -> Value {
    loop {
        let frame = client.json().await;
        if frame[field] == expected {
            return frame;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn suffices_for_inboxes() {
    let [_, _, inboxes] = blocks();
    let (redis, mut admin) = redis(Some(&inboxes)).await;
    // So short that what was counted is forgotten while the test looks on, and so small that the oldest gives way.
    let gateway = gateway(&redis, |config| {
        config.desk.offline_queue = Some(OfflineQueue { entries: 2, keep: Duration::from_secs(2) });
    })
    .await;
    let mut worker = Publisher::connect(&url(&redis, "worker")).await;
    let mut alice = user(gateway.addr, "alice").await;
    let mut bob = user(gateway.addr, "bob").await;
    bob.gets_nothing().await;
    alice.ask("chat", json!({"to": "bob", "message": "here"})).await;
    gets(&mut bob, "message", "here").await;
    let add = ["XADD", "channel:inbox:bob", "NOMKSTREAM", "MAXLEN", "~", "100", "*", "message"];
    let added: Option<String> =
        worker.command(&[&add[..], &[r#"{"type":"task","message":"of a worker"}"#]].concat()).await;
    assert!(added.is_some());
    gets(&mut bob, "message", "of a worker").await;
    let mut left = async || -> u64 { admin.command(&["XLEN", "channel:inbox:bob"]).await };
    until("both to be confirmed", async || {
        bob.gets_nothing().await;
        (left().await == 0).then_some(())
    })
    .await;
    drop(bob);
    for message in ["first", "second", "third"] {
        let (reply, _) = alice.ask_for("chat", json!({"to": "bob", "message": message})).await;
        assert_eq!(reply["type"], "success", "{reply}");
    }
    let mut bob = user(gateway.addr, "bob").await;
    assert_eq!(gets(&mut bob, "message", "second").await["queued"], true);
    gets(&mut bob, "message", "third").await;
    // What is counted is forgotten in its time, so its right is missed in time too.
    rights_were_enough_and_each_is_missed(&mut admin, inboxes[0], async || {
        for message in ["first", "second", "third"] {
            alice.ask_for("chat", json!({"to": "bob", "message": message})).await;
        }
        // Another connection reads the inbox, and is there for a while.
        bob = user(gateway.addr, "bob").await;
        bob.ask_for("chat", json!({"to": "alice", "message": "thanks"})).await;
    })
    .await;
}
