//! What is in an inbox is deleted once a client has confirmed it, and not before: a client that takes nothing, is too slow for it, or confirms something
//! else gets it again. Who has no name has no inbox.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite;

use crate::support::desk::{self, user};
use crate::support::inboxes::{
    WEEK, has_been, heard, is_empty, left, queue, queued, said_to_bob_while_away, says,
};
use crate::support::tokens::token;
use crate::support::{Client, Redis, TestGateway, raw, until};

/// A connection of bob's that answers nothing by itself.
async fn by_hand(gateway: &TestGateway, receive_buffer_bytes: Option<u32>) -> TcpStream {
    let path = format!("/ws?token={}", token(json!({"sub": "bob"})));
    raw::connect(gateway.addr, &path, receive_buffer_bytes).await
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut said = Vec::new();
    until(end, async || {
        let mut more = [0; 4_096];
        let count = stream.read(&mut more).await.expect("the gateway writes");
        said.extend_from_slice(&more[..count]);
        let text = String::from_utf8_lossy(&said).into_owned();
        text.contains(end).then_some(text)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_confirms_nothing_gets_it_once_more() {
    let redis = Redis::start().await;
    let (gateway, _alice, mut worker) = said_to_bob_while_away(&redis).await;
    let mut names = Vec::new();
    for _ in 0..2 {
        // It reads, and never writes.
        let text = read_until(&mut by_hand(&gateway, None).await, r#""queued":true}"#).await;
        let name = text.split(r#""message_id":""#).nth(1).and_then(|rest| rest.split('"').next());
        names.push(name.unwrap().to_owned());
        // What comes meanwhile is not confirmed either.
        assert_eq!(left(&mut worker, "bob").await, 1);
    }
    assert_eq!(names[0], names[1]);
    let mut bob = user(gateway.addr, "bob").await;
    assert_eq!(queued(&mut bob).await.0, 1);
    is_empty(&mut worker, &mut bob, "bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pong_with_another_payload_confirms_nothing() {
    let redis = Redis::start().await;
    let (gateway, mut alice, mut worker) = said_to_bob_while_away(&redis).await;
    let mut bob = by_hand(&gateway, None).await;
    // The ping stands behind the message.
    read_until(&mut bob, "inbox 1").await;
    let confirmed = || gateway.gateway.state().metrics.control.inbox_entries_confirmed.get();
    let before = confirmed();
    for payload in ["", "inbox", "inbox ", "inbox 0", "inbox 2", "inbox -1", "inbox 1 ", "INBOX 1", "1"] {
        bob.write_all(&raw::frame(0x8a, payload.as_bytes())).await.unwrap();
    }
    // What is asked behind them is answered; her join shows that what was ordered before it is done.
    bob.write_all(&raw::text_frame(r#"{"action":"ping"}"#)).await.unwrap();
    read_until(&mut bob, r#""type":"pong""#).await;
    alice.join("room").await;
    assert_eq!((confirmed(), left(&mut worker, "bob").await), (before, 1));
    bob.write_all(&raw::frame(0x8a, b"inbox 1")).await.unwrap();
    until("the confirmation", async || (left(&mut worker, "bob").await == 0).then_some(())).await;
}

/// The gateway loses its connection over it, and what it was to delete with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_confirmed_while_redis_takes_nothing_is_deleted_later() {
    let redis = Redis::start().await;
    let (gateway, _alice, mut worker) = said_to_bob_while_away(&redis).await;
    let mut bob = by_hand(&gateway, None).await;
    read_until(&mut bob, "inbox 1").await;
    let metrics = &gateway.gateway.state().metrics.control;
    let confirmed = metrics.inbox_entries_confirmed.get();
    worker.command::<()>(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    bob.write_all(&raw::frame(0x8a, b"inbox 1")).await.unwrap();
    until("the confirmation", async || (metrics.inbox_entries_confirmed.get() > confirmed).then_some(()))
        .await;
    for is_asked in [true, false] {
        // The gateway waits for the reply, then gives the connection up.
        until("the question, then its end", async || {
            let clients: String = worker.command(&["CLIENT", "LIST"]).await;
            (clients.contains("cmd=xdel") == is_asked).then_some(())
        })
        .await;
    }
    worker.command::<()>(&["CLIENT", "UNPAUSE"]).await;
    until("the deletion", async || (left(&mut worker, "bob").await == 0).then_some(())).await;
    let mut bob = user(gateway.addr, "bob").await;
    is_empty(&mut worker, &mut bob, "bob").await;
}

/// More is said than is held for it while it has yet to confirm what was said while it was away.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_confirms_late_gets_the_oldest_first() {
    let redis = Redis::start().await;
    let gateway = desk::gateway(&redis, queue(100, WEEK)).await;
    let mut worker = redis.publisher().await;
    has_been(gateway.addr, "bob", &mut worker).await;
    let mut alice = user(gateway.addr, "alice").await;
    for n in 1..=100 {
        says(&mut alice, "bob", n).await;
    }
    heard(&mut alice).await;
    let mut bob = by_hand(&gateway, None).await;
    let text = read_until(&mut bob, "inbox 1").await;
    assert_eq!(text.matches(r#""queued":true"#).count(), 64);
    for n in 101..=400 {
        says(&mut alice, "bob", n).await;
    }
    bob.write_all(&raw::frame(0x8a, b"inbox 1")).await.unwrap();
    let mut bob = Client::from_raw(bob).await;
    let mut got = Vec::new();
    while got.last() != Some(&400) {
        got.push(bob.next_of("chat").await["message"].as_u64().expect("a number"));
    }
    // Those that were held, and the hundred that the inbox keeps.
    let expected: Vec<_> = (101..=228).chain(301..=400).collect();
    assert_eq!(got, expected);
    bob.gets_nothing().await;
    is_empty(&mut worker, &mut bob, "bob").await;
}

/// It is closed with 1013, and gets everything when it comes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_too_slow_gets_it_when_it_comes_again() {
    let redis = Redis::start().await;
    let gateway = desk::gateway(&redis, queue(10_000, WEEK)).await;
    let mut worker = redis.publisher().await;
    has_been(gateway.addr, "bob", &mut worker).await;
    let mut alice = user(gateway.addr, "alice").await;
    let slow = by_hand(&gateway, Some(4_096)).await;
    let metrics = &gateway.gateway.state().metrics;
    // 20 MB: more than wait for one client, and less than is kept for all users together, however fast it is said.
    let said = 400_u64;
    for n in 0..said {
        says(&mut alice, "bob", json!({"n": n, "padding": "x".repeat(50_000)})).await;
    }
    until("the slow client to be closed", async || {
        (metrics.sum(|shard| &shard.slow_closed) > 0).then_some(())
    })
    .await;
    let mut slow = Client::from_raw(slow).await;
    let (mut got, mut last) = (0_u64, Value::Null);
    let ending = loop {
        match slow.message().await {
            Some(tungstenite::Message::Text(text)) => {
                last = serde_json::from_str(&text).unwrap();
                if last["type"] == "chat" {
                    assert_eq!(last["message"]["n"], got, "nothing is skipped");
                    got += 1;
                }
            }
            Some(tungstenite::Message::Close(frame)) => break frame,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        (&last["code"], u16::from(ending.expect("a close frame").code)),
        (&json!("SLOW_CLIENT"), 1013)
    );
    assert!(got < said, "it was too slow");
    let mut bob = user(gateway.addr, "bob").await;
    let mut next = None;
    while next != Some(said) {
        let n = queued(&mut bob).await.0["n"].as_u64().unwrap();
        assert!(next.map_or(n <= got, |next| n == next), "{n} behind {next:?}, of {got} that it had got");
        next = Some(n + 1);
    }
    is_empty(&mut worker, &mut bob, "bob").await;
}

/// What is said to users without a name of their own comes as without the queue.
async fn has_none(redis: &Redis, speaker: &mut Client, to: &mut Client) {
    to.ask("join_room", json!({"room_id": "r"})).await;
    let name = to.next_of("user_joined").await["user_id"].as_str().unwrap().to_owned();
    says(speaker, &name, "hello").await;
    let frame = to.next_of("chat").await;
    assert_eq!((&frame["message"], &frame["message_id"]), (&json!("hello"), &Value::Null));
    let keys: Vec<String> = redis.publisher().await.command(&["KEYS", "channel:inbox:anon-*"]).await;
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_an_open_gateway_have_none() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.desk.is_on = true;
        queue(100, WEEK)(config);
    })
    .await;
    let (mut speaker, mut to) = (gateway.client().await, gateway.client().await);
    has_none(&redis, &mut speaker, &mut to).await;
    let keys: Vec<String> = redis.publisher().await.command(&["KEYS", "*"]).await;
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_a_token_have_none_beside_others_with_one() {
    let redis = Redis::start().await;
    let gateway = desk::gateway(&redis, |config| {
        queue(100, WEEK)(config);
        config.access.anonymous = Some(r#"{"rooms":["r"]}"#.to_owned());
    })
    .await;
    let (mut alice, mut to) = (user(gateway.addr, "alice").await, gateway.client().await);
    has_none(&redis, &mut alice, &mut to).await;
}
