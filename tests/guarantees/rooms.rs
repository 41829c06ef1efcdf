//! Rooms, chat and typing are as the protocol has them, on one gateway and on several, with Redis and with the embedded broker.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use ws_gateway::config::Config;
use ws_gateway::config::desk::RoomsDefault;
use ws_gateway::gateway::Gateway;

use crate::support::desk::{gateway, user, with_claims};
use crate::support::tokens::{SECRET, authenticate, enter, token};
use crate::support::{Client, Redis, TestGateway, resp, until};

/// Who is told what, by two users on gateways that may be one.
async fn what_two_users_see(one: SocketAddr, other: SocketAddr) {
    let (mut alice, mut bob) = (user(one, "alice").await, user(other, "bob").await);
    alice.ask("join_room", json!({"room_id": "room-123"})).await;
    let joined = |name: &str| json!({"type": "user_joined", "user_id": name, "room_id": "room-123"});
    assert_eq!(alice.text().await, r#"{"type":"user_joined","user_id":"alice","room_id":"room-123"}"#);
    bob.ask("join_room", json!({"room_id": "room-123"})).await;
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.json().await, joined("bob"));
    }

    // A message comes to all, the sender as well, byte for byte.
    let message =
        r#"{"type":"room_message","payload":{"room_id":"room-123","message":{"a" : [1.50,"\u00e9"]}}}"#;
    alice.send(message).await;
    let (first, second) = (alice.text().await, bob.text().await);
    assert_eq!(first, second);
    let beginning = r#"{"type":"room_message","from":"alice","room_id":"room-123","message":{"a" : [1.50,"\u00e9"]},"timestamp":"#;
    assert!(first.starts_with(beginning), "{first}");
    assert!(first.strip_prefix(beginning).unwrap().trim_end_matches('}').parse::<u64>().is_ok(), "{first}");

    // Typing comes to the others.
    alice.ask("typing", json!({"room_id": "room-123"})).await;
    assert_eq!(bob.text().await, r#"{"type":"typing","user_id":"alice","room_id":"room-123"}"#);
    alice.gets_nothing().await;

    // A chat comes to both.
    alice.ask("chat", json!({"to": "bob", "message": "Hi there!"})).await;
    let chat = json!({"type": "chat", "from": "alice", "to": "bob", "message": "Hi there!"});
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.told().await, chat);
    }

    // Who is there.
    let (presence, _) = bob.ask_for("presence", json!({"room_id": "room-123"})).await;
    let expected = json!({"type": "presence", "room_id": "room-123", "users": ["alice", "bob"], "count": 2, "id": "asked"});
    assert_eq!(presence, expected);

    // A second connection of a user is told of its own join, and nobody else is.
    let mut second = user(one, "bob").await;
    second.ask("join_room", json!({"room_id": "room-123"})).await;
    assert_eq!(second.json().await, joined("bob"));
    let (left, before) = second.ask_for("leave_room", json!({"room_id": "room-123"})).await;
    assert_eq!(before, [json!({"type": "user_left", "user_id": "bob", "room_id": "room-123"})]);
    assert_eq!((&left["message"], &left["data"]), (&json!("Left room-123"), &json!({"room_id": "room-123"})));
    alice.gets_nothing().await;
    bob.gets_nothing().await;

    // The last connection's leave is told to all and to itself.
    bob.ask("leave_room", json!({"room_id": "room-123"})).await;
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.text().await, r#"{"type":"user_left","user_id":"bob","room_id":"room-123"}"#);
    }
    alice.write("room-123", json!("alone")).await;
    assert_eq!(alice.json().await["message"], "alone");
    bob.gets_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_one_gateway() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    what_two_users_see(gateway.addr, gateway.addr).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_two_gateways() {
    let redis = Redis::start().await;
    let (one, other) = (gateway(&redis, |_| {}).await, gateway(&redis, |_| {}).await);
    what_two_users_see(one.addr, other.addr).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_one_thread() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| config.process.shards = 1).await;
    what_two_users_see(gateway.addr, gateway.addr).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_embedded_broker() {
    let mut config = Config::for_tests();
    config.access.secret_key = Some(SECRET.to_owned());
    config.desk.is_on = true;
    config.upstream.embedded.password = Some("secret".to_owned());
    let gateway = Gateway::build(config).await.expect("the gateway starts");
    let addr = gateway.local_addr();
    what_two_users_see(addr, addr).await;
    // Another gateway has it as its Redis.
    let url = format!("redis://:secret@{}", gateway.broker_addr().expect("it has one"));
    let other = TestGateway::with_url(&url, |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.desk.is_on = true;
    })
    .await;
    what_two_users_see(addr, other.addr).await;
    what_two_users_see(other.addr, addr).await;
}

/// The same requests in arrays of events.
#[tokio::test(flavor = "multi_thread")]
async fn in_json_batch() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let bearer = format!("Authorization: Bearer {}", token(json!({"sub": "alice"})));
    let mut alice = enter(gateway.addr, "?batch=1", &[&bearer]).await;
    let mut bob = user(gateway.addr, "bob").await;
    alice.ask("join_room", json!({"room_id": "r"})).await;
    assert_eq!(alice.text().await, r#"[{"type":"user_joined","user_id":"alice","room_id":"r"}]"#);
    bob.join("r").await;
    assert_eq!(alice.text().await, r#"[{"type":"user_joined","user_id":"bob","room_id":"r"}]"#);
    bob.write("r", json!(1)).await;
    let batch = alice.json().await;
    assert_eq!(batch, Value::Array(vec![bob.json().await]));
}

/// In an open gateway each connection is a user of its own.
#[tokio::test(flavor = "multi_thread")]
async fn users_of_an_open_gateway_are_connections() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.desk.is_on = true).await;
    let (mut one, mut two) = (gateway.client().await, gateway.client().await);
    one.ask("join_room", json!({"room_id": "r"})).await;
    let name = one.json().await["user_id"].as_str().unwrap().to_owned();
    let digits = name.strip_prefix("anon-").expect("a name");
    assert!(digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    two.join("r").await;
    let other = one.json().await["user_id"].as_str().unwrap().to_owned();
    assert_ne!(name, other);
    two.ask("chat", json!({"to": name, "message": 1})).await;
    for client in [&mut one, &mut two] {
        let chat = client.told().await;
        assert_eq!(chat, json!({"type": "chat", "from": other, "to": name, "message": 1}));
    }
}

fn forbidden(about: &Value, message: &str) -> Value {
    json!({"type": "error", "message": message, "code": "FORBIDDEN", "data": about, "id": "asked"})
}

async fn refused(client: &mut Client, name: &str, payload: Value) -> Value {
    let (mut frame, _) = client.ask_for(name, payload).await;
    frame.as_object_mut().unwrap().remove("timestamp");
    frame
}

const NO_ROOM: &str = "Not allowed: the client's rights don't cover the room";

#[tokio::test(flavor = "multi_thread")]
async fn rights_say_which_rooms() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| config.desk.rooms_default = RoomsDefault::Deny).await;
    let mut alice = with_claims(gateway.addr, json!({"sub": "alice", "rooms": ["team-*", r"all\*"]})).await;
    alice.join("team-a").await;
    alice.join("all*").await;
    for room in ["all", "alla", "team", "x", "Team-a", "*"] {
        let reply = refused(&mut alice, "join_room", json!({"room_id": room})).await;
        assert_eq!(reply, forbidden(&json!({"room_id": room}), NO_ROOM));
    }
    // Only members may write, type or ask.
    for name in ["room_message", "typing", "presence"] {
        let reply = refused(&mut alice, name, json!({"room_id": "team-b", "message": 1})).await;
        let message = "Not a member of the room: join it first";
        assert_eq!(reply, forbidden(&json!({"room_id": "team-b"}), message), "{name}");
    }
    // A token without rooms joins none by ROOMS_DEFAULT=deny.
    let mut bob = user(gateway.addr, "bob").await;
    let reply = refused(&mut bob, "join_room", json!({"room_id": "team-a"})).await;
    assert_eq!(reply, forbidden(&json!({"room_id": "team-a"}), NO_ROOM));

    // A renewal with fewer rooms leaves them.
    let mut carol = with_claims(gateway.addr, json!({"sub": "carol", "rooms": ["team-a"]})).await;
    carol.join("team-a").await;
    assert_eq!(alice.json().await["user_id"], "carol");
    authenticate(&mut alice, &token(json!({"sub": "alice", "rooms": ["team-b"]}))).await;
    let expected = |room: &str| json!({"type": "user_left", "user_id": "alice", "room_id": room});
    assert_eq!([alice.json().await, alice.json().await], [expected("team-a"), expected("all*")]);
    for room in ["team-a", "all*"] {
        let reply = refused(&mut alice, "typing", json!({"room_id": room})).await;
        assert_eq!(reply, forbidden(&json!({"room_id": room}), "Not a member of the room: join it first"));
    }
    assert_eq!(carol.json().await, expected("team-a"));
    carol.write("team-a", json!("without alice")).await;
    carol.json().await;
}

/// They may ask nothing of it, and get no broadcast.
async fn anonymous_clients_have_no_desk(redis: &Redis, default: RoomsDefault) {
    let closed = gateway(redis, |config| {
        config.access.anonymous = Some("{}".to_owned());
        config.desk.rooms_default = default;
        config.desk.requests = true;
        config.process.shards = 1;
    })
    .await;
    let mut client = enter(closed.addr, "?desk=1", &[]).await;
    let (room, user) = (json!({"room_id": "r"}), json!({"to": "alice"}));
    for (name, payload, about) in [
        ("join_room", room.clone(), Some(&room)),
        ("leave_room", room.clone(), Some(&room)),
        ("chat", json!({"to": "alice", "message": 1}), Some(&user)),
        ("request", json!({}), None),
    ] {
        let ask = json!({"type": name, "payload": payload, "requestId": 1, "id": "asked"});
        client.send(ask.to_string()).await;
        let reply = client.told().await;
        let message = "Not allowed: clients without a token have no desk here";
        let mut expected = forbidden(about.unwrap_or(&Value::Null), message);
        expected.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        assert_eq!(reply, expected, "{name}");
    }
    let bearer = format!("Authorization: Bearer {}", token(json!({"sub": "alice"})));
    let mut alice = enter(closed.addr, "?desk=1", &[&bearer]).await;
    alice.gets_nothing().await;
    let broadcast = r#"{"type":"maintenance"}"#;
    redis.publisher().await.raw("channel:broadcast", broadcast.as_bytes()).await;
    assert_eq!(alice.text().await, broadcast);
    client.gets_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_token_has_a_desk_only_by_anonymous_rooms() {
    let redis = Redis::start().await;
    for default in [RoomsDefault::Allow, RoomsDefault::Deny] {
        anonymous_clients_have_no_desk(&redis, default).await;
    }
    let open =
        gateway(&redis, |config| config.access.anonymous = Some(r#"{"rooms":["lobby"]}"#.to_owned())).await;
    let mut client = open.client().await;
    client.join("lobby").await;
    let reply = refused(&mut client, "join_room", json!({"room_id": "team"})).await;
    assert_eq!(reply, forbidden(&json!({"room_id": "team"}), NO_ROOM));
    let reply = refused(&mut client, "chat", json!({"to": "alice", "message": 1})).await;
    let message = "Not allowed: clients without a token may not chat";
    assert_eq!(reply, forbidden(&json!({"to": "alice"}), message));
    // Nobody with a token is called like one without.
    let query = format!("?token={}", token(json!({"sub": "anon-0123456789abcdef"})));
    let (reply, _) = crate::support::tokens::handshake(open.addr, &query, &[]).await;
    assert_eq!(reply.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_a_token_leaves_the_rooms_of_who_it_was() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| {
        config.access.anonymous = Some(r#"{"rooms":["lobby","hall"]}"#.to_owned());
        config.desk.presence_grace = Duration::from_secs(3_600);
        config.desk.requests = true;
    })
    .await;
    let mut carol = user(gateway.addr, "carol").await;
    let mut client = gateway.client().await;
    let mut left = Vec::new();
    for room in ["lobby", "hall"] {
        carol.join(room).await;
        client.join(room).await;
        left.push(json!({"type": "user_left", "user_id": carol.json().await["user_id"], "room_id": room}));
    }
    let mut heard = resp::Client::connect(([127, 0, 0, 1], redis.port).into()).await;
    heard.ask("SUBSCRIBE channel:request").await;
    client.send(r#"{"type":"request","requestId":1}"#).await;
    let question = heard.message().await;

    authenticate(&mut client, &token(json!({"sub": "alice"}))).await;
    for room in left {
        assert_eq!(client.json().await, room);
        assert_eq!(carol.json().await, room);
    }
    let reply = refused(&mut client, "typing", json!({"room_id": "lobby"})).await;
    assert_eq!(reply, forbidden(&json!({"room_id": "lobby"}), "Not a member of the room: join it first"));
    // What was asked before is answered.
    let response = r#"{"type":"response","requestId":1}"#;
    let reply_to = question["replyTo"].as_str().expect("a channel");
    redis.publisher().await.raw(reply_to, response.as_bytes()).await;
    assert_eq!(client.text().await, response);
    client.join("lobby").await;
    assert_eq!(carol.json().await, json!({"type": "user_joined", "user_id": "alice", "room_id": "lobby"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_in_so_many_rooms_over_all_its_connections() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| config.desk.max_rooms_per_user = 2).await;
    let (mut one, mut two) = (user(gateway.addr, "alice").await, user(gateway.addr, "alice").await);
    one.join("a").await;
    two.join("b").await;
    one.join("b").await;
    let reply = refused(&mut two, "join_room", json!({"room_id": "c"})).await;
    let expected = json!({"type": "error", "message": "Cannot join: would exceed maximum of 2 rooms",
        "code": "ROOM_LIMIT_EXCEEDED", "data": {"current": 2}, "id": "asked"});
    assert_eq!(reply, expected);
    one.ask_for("leave_room", json!({"room_id": "a"})).await;
    two.join("c").await;
}

/// The bound is each gateway's own.
#[tokio::test(flavor = "multi_thread")]
async fn on_another_gateway_a_user_is_in_so_many_more() {
    let redis = Redis::start().await;
    let bounded = async || gateway(&redis, |config| config.desk.max_rooms_per_user = 1).await;
    let (one, other) = (bounded().await, bounded().await);
    let (mut here, mut there) = (user(one.addr, "alice").await, user(other.addr, "alice").await);
    here.join("a").await;
    there.join("b").await;
    for client in [&mut here, &mut there] {
        let reply = refused(client, "join_room", json!({"room_id": "c"})).await;
        assert_eq!((&reply["code"], &reply["data"]), (&json!("ROOM_LIMIT_EXCEEDED"), &json!({"current": 1})));
    }
}

/// Each connection of a user is told what is for the user, and none that the user itself types.
#[tokio::test(flavor = "multi_thread")]
async fn all_connections_of_a_user_are_told_the_same() {
    let redis = Redis::start().await;
    let (one, other) = (gateway(&redis, |_| {}).await, gateway(&redis, |_| {}).await);
    let (mut clients, mut all) = (Vec::new(), Vec::new());
    for (addr, name) in [(one.addr, "alice"), (other.addr, "alice"), (one.addr, "bob"), (other.addr, "bob")] {
        let mut client = user(addr, name).await;
        client.join("r").await;
        clients.push(client);
    }
    for client in &mut clients {
        // What is behind the joins of all.
        client.write("r", json!("joined")).await;
    }
    for client in &mut clients {
        for _ in 0..4 {
            client.next_of("room_message").await;
        }
    }
    clients[0].ask("typing", json!({"room_id": "r"})).await;
    clients[0].write("r", json!("typed")).await;
    let typing = json!({"type": "typing", "user_id": "alice", "room_id": "r"});
    for (n, client) in clients.iter_mut().enumerate() {
        if n >= 2 {
            assert_eq!(client.json().await, typing);
        }
        assert_eq!(client.json().await["message"], "typed", "not what alice types");
    }
    clients[0].ask("chat", json!({"to": "bob", "message": "Hi there!"})).await;
    for client in &mut clients {
        all.push(client.json().await);
    }
    assert!(all.iter().all(|chat| chat["type"] == "chat" && *chat == all[0]), "{all:?}");
}

/// On `/` as on `/ws`; and what has an `action` is no request to the desk.
#[tokio::test(flavor = "multi_thread")]
async fn on_every_path_of_the_gateways_own_protocol() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.desk.is_on = true).await;
    for path in ["/", "/ws"] {
        let mut client = Client::connect(&format!("ws://{}{path}", gateway.addr)).await;
        client.join("r").await;
        client.write("r", json!(path)).await;
        assert_eq!(client.next_of("room_message").await["message"], path);
        client.send(r#"{"action":"ping","type":"leave_room","payload":{"room_id":"r"}}"#).await;
        assert_eq!(client.json().await["type"], "pong");
        client.send(r#"{"action":"none","type":"leave_room","payload":{"room_id":"r"}}"#).await;
        assert_eq!(client.json().await["code"], "UNKNOWN_ACTION");
        client.write("r", json!("still here")).await;
        assert_eq!(client.json().await["message"], "still here");
    }
}

/// Who opens another page joins its rooms at once: those of the page before are still held for it, and give way, the one that it was cut
/// off from first before the others.
#[tokio::test(flavor = "multi_thread")]
async fn rooms_in_grace_make_way() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| config.desk.max_rooms_per_user = 2).await;
    let (mut carol, mut alice) = (user(gateway.addr, "carol").await, user(gateway.addr, "alice").await);
    for room in ["a", "b"] {
        carol.join(room).await;
        alice.join(room).await;
        assert_eq!(carol.next_of("user_joined").await["user_id"], "alice");
    }
    drop(alice);
    let mut alice = user(gateway.addr, "alice").await;
    until("alice to be cut off", async || {
        let (reply, _) = alice.ask_for("join_room", json!({"room_id": "c"})).await;
        (reply["type"] == "success").then_some(())
    })
    .await;
    let left = |room: &str| json!({"type": "user_left", "user_id": "alice", "room_id": room});
    let first = carol.next_of("user_left").await;
    assert!(first == left("a") || first == left("b"), "{first}");
    carol.gets_nothing().await;
    alice.join("d").await;
    let second = carol.next_of("user_left").await;
    assert_eq!(second, left(if first == left("a") { "b" } else { "a" }));
    let reply = refused(&mut alice, "join_room", json!({"room_id": "e"})).await;
    assert_eq!(reply["code"], "ROOM_LIMIT_EXCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_json_is_a_message() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let (mut alice, mut bob) = (user(gateway.addr, "alice").await, user(gateway.addr, "bob").await);
    alice.join("r").await;
    for (name, to) in [("room_message", r#""room_id":"r""#), ("chat", r#""to":"bob""#)] {
        for message in ["null", "false", "0", r#""""#, "[]", "{}"] {
            alice.send(format!(r#"{{"type":"{name}","payload":{{{to},"message":{message}}}}}"#)).await;
            let hearer = if name == "chat" { &mut bob } else { &mut alice };
            let text = hearer.text().await;
            assert!(text.contains(&format!(r#""message":{message},"timestamp""#)), "{text}");
            if name == "chat" {
                assert_eq!(alice.text().await, text);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_nested_no_deeper_than_128_levels() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut alice = user(gateway.addr, "alice").await;
    alice.join("r").await;
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for (name, to) in [("room_message", r#""room_id":"r""#), ("chat", r#""to":"alice""#)] {
        let ask = |levels| format!(r#"{{"type":"{name}","payload":{{{to},"message":{}}}}}"#, deep(levels));
        alice.send(ask(128)).await;
        let text = alice.text().await;
        assert!(text.contains(&format!(r#""message":{},"timestamp""#, deep(128))), "{text}");
        alice.send(ask(129)).await;
        assert_eq!(alice.json().await["code"], "INVALID_INPUT", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_if_they_have_an_id() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut alice = user(gateway.addr, "alice").await;
    for (name, payload, message) in [
        ("join_room", json!({"room_id": "r"}), "Joined r"),
        ("join_room", json!({"room_id": "r"}), "Joined r"),
        ("room_message", json!({"room_id": "r", "message": 1}), "Sent to r"),
        ("typing", json!({"room_id": "r"}), "Typing in r"),
        ("chat", json!({"to": "bob", "message": 1}), "Sent to bob"),
        ("leave_room", json!({"room_id": "r"}), "Left r"),
        ("leave_room", json!({"room_id": "r"}), "Left r"),
    ] {
        let (reply, _) = alice.ask_for(name, payload.clone()).await;
        let mut data = payload;
        data.as_object_mut().unwrap().remove("message");
        assert_eq!((&reply["type"], &reply["message"]), (&json!("success"), &json!(message)), "{reply}");
        assert_eq!(reply["data"], data);
    }
    // What is too large for an event is refused, and the client goes on.
    let large = "x".repeat(64 * 1024 - 500);
    let (reply, _) = alice.ask_for("chat", json!({"to": "bob", "message": large})).await;
    assert_eq!(reply["type"], "success", "{reply}");
    let large = "x".repeat(64 * 1024 - 150);
    let (reply, _) = alice.ask_for("chat", json!({"to": "bob", "message": large})).await;
    assert_eq!(reply["code"], "MESSAGE_TOO_LARGE", "{reply}");
    let reply = refused(&mut alice, "trade", json!({})).await;
    assert_eq!(reply["code"], "UNKNOWN_ACTION");
    alice.send(r#"{"type":"ping"}"#).await;
    let mut frame = alice.json().await;
    while frame["type"] != "pong" {
        frame = alice.json().await;
    }
}

/// Without the desk a `type` is not looked at, and nothing is different from before.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_desk_there_is_none() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut client = gateway.client().await;
    for request in [r#"{"type":"ping"}"#, r#"{"type":"join_room","payload":{"room_id":"r"}}"#] {
        client.send(request).await;
        let reply = client.json().await;
        let message = r#"Missing field action: must be "subscribe", "unsubscribe" or "ping""#;
        assert_eq!((&reply["code"], &reply["message"]), (&json!("INVALID_INPUT"), &json!(message)));
    }
    let mut worker = redis.publisher().await;
    for channel in ["channel:room:r", "channel:user:u", "channel:broadcast", "channel:desk:room:r"] {
        assert_eq!(worker.raw(channel, br#"{"type":"x"}"#).await, 0, "{channel} is nobody's");
    }
}

/// One order of all that is said in a room, for members on several gateways.
#[tokio::test(flavor = "multi_thread")]
async fn all_members_see_one_order() {
    const MESSAGES: usize = 200;
    let redis = Redis::start().await;
    let gateways =
        [gateway(&redis, |_| {}).await, gateway(&redis, |_| {}).await, gateway(&redis, |_| {}).await];
    let mut members = Vec::new();
    for at in 0..6 {
        let mut member = user(gateways[at % 3].addr, &format!("user-{at}")).await;
        member.join("r").await;
        members.push(member);
    }
    // All are there before anybody writes.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let tasks = members.into_iter().enumerate().map(|(at, mut member)| {
        tokio::spawn(async move {
            for n in 0..MESSAGES {
                member.write("r", json!([at, n])).await;
            }
            let mut seen = Vec::new();
            while seen.len() < 6 * MESSAGES {
                let frame = member.json().await;
                if frame["type"] == "room_message" {
                    seen.push(frame["message"].to_string());
                }
            }
            seen
        })
    });
    let mut seen = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        seen.push(task.await.unwrap());
    }
    for other in &seen[1..] {
        assert_eq!(&seen[0], other);
    }
    let of_one: Vec<_> = seen[0].iter().filter(|message| message.starts_with("[3,")).collect();
    assert!(
        of_one.iter().enumerate().all(|(n, message)| **message == format!("[3,{n}]")),
        "each in its order"
    );
}

/// Somebody who writes without end is refused beyond the limit and then closed; members hear what was within it, and prices flow beside it.
#[tokio::test(flavor = "multi_thread")]
async fn who_floods_a_room_is_limited_and_disturbs_nobody() {
    const LIMIT: u32 = 10;
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| {
        config.clients.message_rate_limit = ws_gateway::rate::Rate::new(LIMIT, Duration::from_secs(3_600));
    })
    .await;
    let (mut flooder, mut member) = (user(gateway.addr, "mallory").await, user(gateway.addr, "bob").await);
    member.subscribe(&["AAPL"]).await;
    flooder.join("r").await;
    member.join("r").await;
    let mut worker = redis.publisher().await;
    for n in 0..500_u64 {
        let message = json!({"type": "room_message", "payload": {"room_id": "r", "message": n}});
        // It may be closed by now.
        let _ = flooder.ws.send(Message::text(message.to_string())).await;
        worker.numbered("AAPL", n).await;
    }
    worker.raw("channel:room:r", br#"{"type":"end"}"#).await;
    let (mut said, mut prices) = (0, 0);
    loop {
        let frame = member.json().await;
        match frame["type"].as_str().expect("a type") {
            "room_message" => {
                assert_eq!(frame["message"], said);
                said += 1;
            }
            "trade" => {
                assert_eq!(frame["data"]["timestamp"], prices);
                prices += 1;
            }
            "end" => break,
            other => assert!(["user_left", "user_joined"].contains(&other), "{frame}"),
        }
    }
    // One of its messages was the join.
    assert_eq!(said, LIMIT - 1);
    while prices < 500 {
        assert_eq!(member.next_of("trade").await["data"]["timestamp"], prices);
        prices += 1;
    }
    let (mut refused, mut last) = (0, Value::Null);
    while let Some(Message::Text(text)) = flooder.message().await {
        last = serde_json::from_str(&text).expect("JSON");
        refused += u32::from(last["code"] == "RATE_LIMIT_EXCEEDED");
    }
    assert_eq!((refused, last["code"].as_str()), (100, Some("RATE_LIMIT_EXCEEDED")));
}
