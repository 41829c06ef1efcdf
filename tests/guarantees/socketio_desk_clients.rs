//! socket.io-client at the desk, over WebSocket and by long-polling: one order for all members, whatever they speak; what was said to who was away; a
//! gateway that is killed.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use ws_gateway::config::Config;
use ws_gateway::config::desk::OfflineQueue;

use crate::support::desk::user;
use crate::support::detour::Detour;
use crate::support::process::Process;
use crate::support::program::{Program, node};
use crate::support::socketio::with_desk;
use crate::support::tokens::{SECRET, token};
use crate::support::{Client, Redis, TestGateway, trade, until};

/// A client of a user in `/events`, connected by one of these transports, such as `polling,websocket`.
async fn client(addr: SocketAddr, name: &str, transports: &str) -> Program {
    let mut script = node("socketio_node.js").await;
    let transports: Vec<_> = transports.split(',').collect();
    let options = json!({"transports": transports, "auth": {"token": token(json!({"sub": name}))}});
    script.args([&format!("http://{addr}/events"), &options.to_string()]);
    let mut client = Program::start(script);
    assert_eq!(event(&mut client, "connected").await[0]["userId"], name);
    client
}

/// The values of the next event of that name.
async fn event(client: &mut Program, name: &str) -> Vec<Value> {
    loop {
        let line = client.line_with("event").await;
        if line["event"] == name {
            return line["values"].as_array().expect("values").clone();
        }
    }
}

async fn emit(client: &mut Program, name: &str, value: Value) {
    client.say(&json!({"emit": [name, value]}).to_string()).await;
}

/// Emits with an acknowledgement, and returns that.
async fn ask(client: &mut Program, name: &str, value: Value) -> Value {
    client.say(&json!({"emit": [name, value], "ack": true}).to_string()).await;
    client.line_with("ack").await["ack"].clone()
}

/// The next messages of a room, in order.
async fn messages(client: &mut Program, count: usize) -> Vec<Value> {
    let mut messages = Vec::new();
    while messages.len() < count {
        messages.push(event(client, "message").await[0]["message"].clone());
    }
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn all_members_see_one_order_whatever_they_speak() {
    const MESSAGES: usize = 40;
    let redis = Redis::start().await;
    let mut gateways = Vec::new();
    for _ in 0..3 {
        let config = |config: &mut Config| {
            with_desk(config);
            config.desk.presence_grace = Duration::from_millis(500);
        };
        gateways.push(TestGateway::on(&redis, config).await);
    }
    let addr = |at: usize| gateways[at].addr;
    let mut clients = Vec::new();
    for (at, (name, transport)) in
        [("ann", "websocket"), ("ben", "polling"), ("cleo", "websocket")].into_iter().enumerate()
    {
        let mut client = client(addr(at), name, transport).await;
        let joined = ask(&mut client, "join_room", json!({"room": "r"})).await;
        assert_eq!(joined, json!({"success": true}));
        clients.push(client);
    }
    let mut dave = user(addr(1), "dave").await;
    dave.join("r").await;
    // All are there before anybody writes.
    for client in &mut clients {
        while event(client, "user_joined").await[0]["userId"] != "dave" {}
    }
    for n in 0..MESSAGES {
        for (at, client) in clients.iter_mut().enumerate() {
            emit(client, "send_message", json!({"room": "r", "message": [at, n]})).await;
        }
        dave.write("r", json!([3, n])).await;
    }
    let mut expected = Vec::new();
    while expected.len() < 4 * MESSAGES {
        expected.push(dave.next_of("room_message").await["message"].clone());
    }
    for client in &mut clients {
        assert_eq!(messages(client, 4 * MESSAGES).await, expected);
    }
    for at in 0..4 {
        let of_one: Vec<_> = expected.iter().filter(|message| message[0] == at).collect();
        assert!(of_one.iter().enumerate().all(|(n, message)| message[1] == n), "each in its order");
    }
    // And who is there.
    let there = ask(&mut clients[1], "presence", json!({"room": "r"})).await;
    let users = json!(["ann", "ben", "cleo", "dave"]);
    assert_eq!(there, json!({"success": true, "room": "r", "users": users, "count": 4}));
    let (there, _) = dave.ask_for("presence", json!({"room_id": "r"})).await;
    assert_eq!((&there["users"], &there["count"]), (&users, &json!(4)));
    clients[1].say(r#"{"disconnect":true}"#).await;
    let left = dave.next_of("user_left").await;
    assert_eq!(left["user_id"], "ben", "behind the grace");
}

async fn says(client: &mut Client, message: u64) {
    let (reply, _) = client.ask_for("chat", json!({"to": "bob", "message": message})).await;
    assert_eq!(reply["type"], "success", "{reply}");
}

/// What was said to a user who was away comes first, is confirmed by the client's library alone, and is gone then.
async fn what_was_said_comes_once(transport: &str) {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_desk(config);
        let keep = Duration::from_secs(3_600);
        config.desk.offline_queue = Some(OfflineQueue { entries: 100, keep });
    })
    .await;
    let mut publisher = redis.publisher().await;
    let mut alice = user(gateway.addr, "alice").await;
    // Bob has been here.
    let mut bob = client(gateway.addr, "bob", transport).await;
    until("the inbox", async || {
        let (reply, _) = alice.ask_for("chat", json!({"to": "bob", "message": 0})).await;
        (reply["type"] == "success").then_some(())
    })
    .await;
    assert_eq!(event(&mut bob, "chat").await[0]["message"], 0);
    let left = async |publisher: &mut crate::support::redis::Publisher| {
        let left: u64 = publisher.command(&["XLEN", "channel:inbox:bob"]).await;
        (left == 0).then_some(())
    };
    until("the live one to be confirmed", async || left(&mut publisher).await).await;
    bob.say(r#"{"disconnect":true}"#).await;
    until("bob to be gone", async || (gateway.stat("activeConnections").await == 1).then_some(())).await;
    for message in 1..=5 {
        says(&mut alice, message).await;
    }
    let mut bob = client(gateway.addr, "bob", transport).await;
    for message in 1..=5 {
        let chat = &event(&mut bob, "chat").await[0];
        assert_eq!((&chat["from"], &chat["message"]), (&json!("alice"), &json!(message)));
        assert_eq!(chat["queued"], true);
        assert!(chat["message_id"].is_string());
    }
    until("what came to be confirmed", async || left(&mut publisher).await).await;
    says(&mut alice, 6).await;
    let chat = &event(&mut bob, "chat").await[0];
    assert_eq!((&chat["message"], chat.get("queued")), (&json!(6), None), "nothing twice");
    assert!(chat["message_id"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_gets_what_was_said_over_web_socket() {
    what_was_said_comes_once("websocket").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_gets_what_was_said_by_long_polling() {
    what_was_said_comes_once("polling").await;
}

/// As the client does by itself: a WebSocket takes the place of long-polling, at whatever moment.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_gets_what_was_said_while_the_transport_changes() {
    what_was_said_comes_once("polling,websocket").await;
}

/// The client comes back by itself, at another gateway, and asks again for what it had: nobody is told that it was away.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_costs_a_reconnect() {
    let redis = Redis::start().await;
    let args = ["--desk", "--dialects", "socketio", "--jwt-secret-key", SECRET];
    let first = Process::on(&redis, &args).await;
    let second = Process::on(&redis, &args).await;
    let way = Detour::to(first.addr()).await;
    let mut ann = client(way.addr, "ann", "websocket").await;
    let resume =
        [json!(["join_room", {"room": "r"}]), json!(["subscribe", {"symbols": ["AAPL"], "snapshot": true}])];
    ann.say(&json!({"at_connect": resume}).to_string()).await;
    assert_eq!(ask(&mut ann, "join_room", json!({"room": "r"})).await["success"], true);
    assert_eq!(ask(&mut ann, "subscribe", json!({"symbols": ["AAPL"]})).await["status"], "subscribed");
    let mut ben = user(second.addr(), "ben").await;
    ben.join("r").await;
    let mut worker = redis.publisher().await;
    worker.trade("AAPL", &trade("AAPL", "150.25", 1)).await;
    assert_eq!(event(&mut ann, "trade").await[0]["data"]["price"], 150.25);

    way.lead_to(second.addr());
    drop(first);
    assert_eq!(ann.line_with("disconnect").await["disconnect"], "transport close");
    for name in ["join_room", "subscribe"] {
        assert_eq!(ann.line_with("resumed").await["resumed"], name);
    }
    // The last value is there without a new one.
    assert_eq!(event(&mut ann, "trade").await[0]["snapshot"], true);
    worker.trade("AAPL", &trade("AAPL", "151", 2)).await;
    assert_eq!(event(&mut ann, "trade").await[0]["data"]["price"], 151);
    ben.write("r", json!("still here?")).await;
    assert_eq!(event(&mut ann, "message").await[0]["message"], "still here?");
    emit(&mut ann, "send_message", json!({"room": "r", "message": "yes"})).await;
    let mut told = Vec::new();
    loop {
        let frame = ben.json().await;
        let is_last = frame["message"] == "yes";
        told.push(frame["type"].clone());
        if is_last {
            break;
        }
    }
    assert_eq!(told, ["room_message", "room_message"], "no join and no leave");
}
