//! Whatever gateway is killed, and whenever: what was confirmed to its sender comes to the user, in order, under one name. What the user has confirmed doesn't come
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::desk::{self, user};
use crate::support::inboxes::{WEEK, entry_id, gateway, has_been, left, parse_id, queue, says};
use crate::support::process::Process;
use crate::support::redis::Publisher;
use crate::support::tokens::SECRET;
use crate::support::{Client, Redis, until};

const FLAGS: [&str; 5] = ["--desk", "--jwt-secret-key", SECRET, "--offline-queue", "300/7d"];

/// What bob has got over all his connections.
#[derive(Default)]
struct Seen {
    /// The number of each message, under its name.
    messages: BTreeMap<(u64, u64), u64>,
}

/// A connection of bob.
struct Bob {
    client: Client,
    /// What was in the inbox when he came.
    kept: BTreeSet<(u64, u64)>,
    last: (u64, u64),
}

impl Bob {
    async fn comes(addr: SocketAddr, worker: &mut Publisher) -> Self {
        let entries: Vec<(String, Vec<String>)> =
            worker.command(&["XRANGE", "channel:inbox:bob", "-", "+"]).await;
        let kept = entries.iter().map(|(id, _)| parse_id(id)).collect();
        Self { client: user(addr, "bob").await, kept, last: (0, 0) }
    }

    /// Notes what has come: in order, nothing twice, and nothing that was deleted before this connection.
    fn note(&mut self, seen: &mut Seen, frame: &Value) {
        if frame["type"] != "chat" {
            return;
        }
        let (id, number) = (entry_id(frame), frame["message"]["n"].as_u64().unwrap());
        assert!(id > self.last, "{id:?} behind {:?}", self.last);
        self.last = id;
        let known = seen.messages.insert(id, number);
        assert!(known.is_none_or(|known| known == number), "{id:?} was {known:?}, and is {number}");
        assert!(known.is_none() || self.kept.contains(&id), "{id:?} was confirmed, and comes again");
    }

    /// Reads until the gateway has gone.
    async fn reads_to_the_end(&mut self, seen: &mut Seen) {
        while let Some(frame) = frame_or_end(&mut self.client).await {
            self.note(seen, &frame);
        }
    }

    /// Reads until nothing is left in the inbox.
    async fn reads_all(&mut self, seen: &mut Seen, worker: &mut Publisher) {
        until("everything", async || {
            self.client.send(r#"{"action":"ping"}"#).await;
            loop {
                let frame = self.client.json().await;
                if frame["type"] == "pong" {
                    break;
                }
                self.note(seen, &frame);
            }
            (left(worker, "bob").await == 0).then_some(())
        })
        .await;
    }
}

impl Seen {
    /// All these have come, and whatever has come has one name and is in the order in which it was said.
    fn has_all(&self, confirmed: &[u64]) {
        let numbers: Vec<_> = self.messages.values().copied().collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        let missing: Vec<_> = confirmed.iter().filter(|n| numbers.binary_search(n).is_err()).collect();
        assert!(missing.is_empty(), "confirmed and lost: {missing:?}");
    }
}

async fn frame_or_end(client: &mut Client) -> Option<Value> {
    match client.message().await? {
        Message::Text(text) => serde_json::from_str(&text).ok(),
        _ => None,
    }
}

async fn reply_or_end(client: &mut Client) -> Option<Value> {
    loop {
        let frame = frame_or_end(client).await?;
        if frame["id"] == "asked" {
            return Some(frame);
        }
    }
}

/// Messages from gateway to gateway while the recipient's, and then the sender's, are killed at any moment.
#[tokio::test(flavor = "multi_thread")]
async fn while_people_talk() {
    const ROUNDS: usize = 6;
    let redis = Redis::start().await;
    let keeper = gateway(&redis).await;
    let mut worker = redis.publisher().await;
    has_been(keeper.addr, "bob", &mut worker).await;
    let (mut seen, mut next, mut confirmed) = (Seen::default(), 0_u64, Vec::new());
    for round in 0..ROUNDS {
        let victim = Process::on(&redis, &FLAGS).await;
        let bob_is_there = round % 2 == 0;
        let (of_alice, of_bob) =
            if bob_is_there { (keeper.addr, victim.addr()) } else { (victim.addr(), keeper.addr) };
        let (mut alice, mut bob) = (user(of_alice, "alice").await, Bob::comes(of_bob, &mut worker).await);
        let kill_at = fastrand::usize(5..40);
        for n in 0..60 {
            if n == kill_at {
                victim.signal("KILL");
            }
            let request =
                json!({"type": "chat", "payload": {"to": "bob", "message": {"n": next}}, "id": "asked"});
            if alice.ws.send(Message::text(request.to_string())).await.is_err() {
                break;
            }
            let Some(reply) = reply_or_end(&mut alice).await else { break };
            if reply["type"] == "success" {
                confirmed.push(next);
            }
            next += 1;
        }
        if bob_is_there {
            bob.reads_to_the_end(&mut seen).await;
        } else {
            // He gets the rest on the gateway that lives, live or from his inbox.
            bob.reads_all(&mut seen, &mut worker).await;
        }
        next += 1;
    }
    Bob::comes(keeper.addr, &mut worker).await.reads_all(&mut seen, &mut worker).await;
    seen.has_all(&confirmed);
    assert!(confirmed.len() > 10 * ROUNDS / 2, "{}", confirmed.len());
}

/// What was kept while the user was away comes over gateways of which each is killed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_backlog_is_replayed() {
    const MESSAGES: u64 = 250;
    let redis = Redis::start().await;
    let keeper = desk::gateway(&redis, queue(300, WEEK)).await;
    let mut worker = redis.publisher().await;
    has_been(keeper.addr, "bob", &mut worker).await;
    let mut alice = user(keeper.addr, "alice").await;
    for n in 0..MESSAGES {
        says(&mut alice, "bob", json!({"n": n, "padding": "x".repeat(3_000)})).await;
    }
    let mut seen = Seen::default();
    for _ in 0..5 {
        let victim = Process::on(&redis, &FLAGS).await;
        let mut bob = Bob::comes(victim.addr(), &mut worker).await;
        // From before the first part was confirmed to within the third.
        let reads = fastrand::usize(1..150).min(bob.kept.len());
        for n in 0..reads {
            let frame = bob.client.json().await;
            assert_eq!(frame["queued"], true, "{frame}");
            assert_eq!(Some(&entry_id(&frame)), bob.kept.iter().nth(n), "the oldest first, whole");
            bob.note(&mut seen, &frame);
        }
        victim.signal("KILL");
        bob.reads_to_the_end(&mut seen).await;
    }
    // With what is said meanwhile behind it.
    let mut bob = Bob::comes(keeper.addr, &mut worker).await;
    says(&mut alice, "bob", json!({"n": MESSAGES})).await;
    bob.reads_all(&mut seen, &mut worker).await;
    seen.has_all(&(0..=MESSAGES).collect::<Vec<_>>());
    user(keeper.addr, "bob").await.gets_nothing().await;
}
