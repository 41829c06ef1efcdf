//! The desk over Socket.IO, as it is on the wire: rooms shared with members on `/ws`, each told in its own shapes; acknowledgements; namespaces; requests
//! to workers.

use std::time::Duration;

use serde_json::{Value, json};
use ws_gateway::config::Config;

use crate::support::desk::user;
use crate::support::socketio::{ask, connected, join, with_desk, with_socketio};
use crate::support::tokens::token;
use crate::support::{Client, Redis, TestGateway, resp};

fn with_short_grace(config: &mut Config) {
    with_desk(config);
    config.desk.presence_grace = Duration::from_millis(300);
}

/// A client of a user in `/events`, and its public id.
async fn member(gateway: &TestGateway, name: &str) -> (Client, String) {
    let mut client = connected(gateway.addr).await;
    let id = join(&mut client, "/events,", &json!({"token": token(json!({"sub": name}))})).await;
    (client, id)
}

/// The values of the next packet, which is that event in `/events`.
async fn event(client: &mut Client, name: &str) -> Vec<Value> {
    let text = client.packet().await;
    values(&text, "42/events,", name).unwrap_or_else(|| panic!("expected {name}, got {text}"))
}

fn values(text: &str, place: &str, name: &str) -> Option<Vec<Value>> {
    let elements: Vec<Value> = serde_json::from_str(text.strip_prefix(place)?).ok()?;
    (elements.first()? == name).then(|| elements[1..].to_vec())
}

/// Asks, and returns the acknowledgement and the other packet that comes of it, in whatever order they come.
async fn ask_and_hear(client: &mut Client, packet: &str) -> (String, String) {
    let first = ask(client, packet).await;
    let second = client.packet().await;
    if first.starts_with("43") { (first, second) } else { (second, first) }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_shared_with_members_elsewhere() {
    let redis = Redis::start().await;
    let gateways = [TestGateway::on(&redis, with_desk).await, TestGateway::on(&redis, with_desk).await];
    let (mut ann, ann_id) = member(&gateways[0], "ann").await;
    let request = r#"42/events,1["join_room",{"room":"r","userId":"somebody else"}]"#;
    let (done, told) = ask_and_hear(&mut ann, request).await;
    assert_eq!(done, r#"43/events,1[{"success":true}]"#);
    let joined = format!(r#"{{"socketId":"{ann_id}","userId":"ann","participantCount":1}}"#);
    assert_eq!(told, format!(r#"42/events,["user_joined",{joined},"r"]"#));

    let mut ben = user(gateways[1].addr, "ben").await;
    ben.join("r").await;
    let joined = event(&mut ann, "user_joined").await;
    assert_eq!((&joined[0]["userId"], &joined[0]["participantCount"]), (&json!("ben"), &json!(2)));
    let ben_id = joined[0]["socketId"].clone();
    assert!(ben_id.as_str().is_some_and(|id| id.len() == 20 && id != ann_id), "{ben_id}");

    let request = r#"42/events,2["send_message",{"room":"r","message":{"text":"hi", "n":1.50}}]"#;
    let (done, said) = ask_and_hear(&mut ann, request).await;
    assert_eq!(done, r#"43/events,2[{"success":true}]"#);
    let beginning = format!(
        r#"42/events,["message",{{"from":"{ann_id}","userId":"ann","message":{{"text":"hi", "n":1.50}},"timestamp":"2"#
    );
    assert!(said.starts_with(&beginning) && said.ends_with(r#"Z"},"r"]"#), "byte for byte: {said}");
    let heard = ben.told().await;
    let expected =
        json!({"type": "room_message", "from": "ann", "room_id": "r", "message": {"text": "hi", "n": 1.5}});
    assert_eq!(heard, expected);
    ben.write("r", json!("hello")).await;
    let said = event(&mut ann, "message").await;
    assert_eq!((&said[0]["from"], &said[0]["userId"]), (&ben_id, &json!("ben")));
    assert_eq!((&said[0]["message"], &said[1]), (&json!("hello"), &json!("r")));
    assert_eq!(ben.json().await["type"], "room_message");

    // Typing comes to the others, a chat to both, with its acknowledgement.
    ben.ask("typing", json!({"room_id": "r"})).await;
    let typing = event(&mut ann, "typing").await;
    assert_eq!(typing, [json!({"socketId": ben_id, "userId": "ben"}), json!("r")]);
    assert_eq!(
        ask(&mut ann, r#"42/events,3["typing",{"room":"r"}]"#).await,
        r#"43/events,3[{"success":true}]"#
    );
    assert_eq!(ben.told().await, json!({"type": "typing", "user_id": "ann", "room_id": "r"}));
    let (done, chat) = ask_and_hear(&mut ann, r#"42/events,4["chat",{"to":"ben","message":"psst"}]"#).await;
    assert_eq!(done, r#"43/events,4[{"success":true}]"#);
    assert!(
        chat.starts_with(r#"42/events,["chat",{"type":"chat","from":"ann","to":"ben","message":"psst","#)
    );
    assert_eq!(ben.told().await["message"], "psst");

    // Who is there, as both see it.
    let there = ask(&mut ann, r#"42/events,5["presence",{"room":"r"}]"#).await;
    assert_eq!(there, r#"43/events,5[{"success":true,"room":"r","users":["ann","ben"],"count":2}]"#);
    let (there, _) = ben.ask_for("presence", json!({"room_id": "r"})).await;
    assert_eq!((&there["users"], &there["count"]), (&json!(["ann", "ben"]), &json!(2)));

    // What workers say comes as they say it.
    let mut worker = redis.publisher().await;
    for (channel, behind) in [("user:ann", ""), ("broadcast", ""), ("room:r", r#","r""#)] {
        let object = r#"{"type":"task_status_update","n": 1.50}"#;
        worker.events([(channel, object.to_owned())]).await;
        let expected = format!(r#"42/events,["task_status_update",{object}{behind}]"#);
        assert_eq!(ann.packet().await, expected, "{channel}");
    }
    // By its name and in the room, on the other gateway.
    assert_eq!(ben.told().await["n"], 1.5);
    assert_eq!(ben.told().await["n"], 1.5);

    let (done, left) = ask_and_hear(&mut ann, r#"42/events,6["leave_room",{"room":"r"}]"#).await;
    assert_eq!(done, r#"43/events,6[{"success":true}]"#);
    let expected = format!(r#"{{"socketId":"{ann_id}","userId":"ann","participantCount":1}}"#);
    assert_eq!(left, format!(r#"42/events,["user_left",{expected},"r"]"#));
    assert_eq!(ben.told().await, json!({"type": "user_left", "user_id": "ann", "room_id": "r"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_cut_off_leaves_after_the_grace() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_short_grace).await;
    let (mut ann, _) = member(&gateway, "ann").await;
    ask_and_hear(&mut ann, r#"42/events,1["join_room",{"room":"r"}]"#).await;
    let (mut ben, ben_id) = member(&gateway, "ben").await;
    ask_and_hear(&mut ben, r#"42/events,1["join_room",{"room":"r"}]"#).await;
    event(&mut ann, "user_joined").await;
    drop(ben);
    let left = event(&mut ann, "user_left").await;
    let expected = json!({"socketId": ben_id, "userId": "ben", "participantCount": 1});
    assert_eq!(left, [expected, json!("r")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_namespace_is_like_a_connection() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_short_grace).await;
    let (mut ann, _) = member(&gateway, "ann").await;
    join(&mut ann, "/messaging,", &json!({})).await;
    ask_and_hear(&mut ann, r#"42/events,1["join_room",{"room":"r"}]"#).await;
    // Only where it has joined may it write, and is it told.
    let (refused, error) =
        ask_and_hear(&mut ann, r#"42/messaging,1["send_message",{"room":"r","message":1}]"#).await;
    assert!(refused.starts_with(r#"43/messaging,1[{"success":false,"error":"Not a member"#), "{refused}");
    assert!(error.starts_with(r#"42/messaging,["error",{"code":"FORBIDDEN""#), "{error}");
    let (done, told) = ask_and_hear(&mut ann, r#"42/messaging,2["join_room",{"room":"r"}]"#).await;
    assert_eq!(done, r#"43/messaging,2[{"success":true}]"#);
    assert!(
        told.starts_with(r#"42/messaging,["user_joined""#) && told.contains(r#""participantCount":1"#),
        "{told}"
    );
    let mut ben = user(gateway.addr, "ben").await;
    ben.join("r").await;
    let mut told = [ann.packet().await, ann.packet().await];
    told.sort();
    assert!(told[0].starts_with(r#"42/events,["user_joined""#), "{told:?}");
    assert!(told[1].starts_with(r#"42/messaging,["user_joined""#), "{told:?}");
    // It leaves in one, and is there in the other.
    let (done, told) = ask_and_hear(&mut ann, r#"42/events,2["leave_room",{"room":"r"}]"#).await;
    assert_eq!(done, r#"43/events,2[{"success":true}]"#);
    assert!(
        told.starts_with(r#"42/events,["user_left""#) && told.contains(r#""participantCount":2"#),
        "{told}"
    );
    ben.gets_nothing().await;
    ben.write("r", json!("x")).await;
    ben.json().await;
    let said = ann.packet().await;
    assert!(said.starts_with(r#"42/messaging,["message""#), "{said}");
    // Both hear what is for the user. A namespace that is left has gone, as a connection that is cut off.
    ben.ask("chat", json!({"to": "ann", "message": 1})).await;
    let mut told = [ann.packet().await, ann.packet().await];
    told.sort();
    assert!(told[0].starts_with(r#"42/events,["chat""#) && told[1].starts_with(r#"42/messaging,["chat""#));
    ben.json().await;
    ann.send("41/messaging,").await;
    assert_eq!(ben.told().await, json!({"type": "user_left", "user_id": "ann", "room_id": "r"}));
    ben.write("r", json!("y")).await;
    ben.ask("chat", json!({"to": "ann", "message": 2})).await;
    let chat = event(&mut ann, "chat").await;
    assert_eq!(chat[0]["message"], 2, "nothing of the room before it");
    // In no namespace it is nobody, and somebody again in the next one.
    ann.send("41/events,").await;
    ann.send("40").await;
    assert!(ann.packet().await.starts_with("40{"));
    assert!(ann.packet().await.starts_with(r#"42["connected",{"userId":"ann""#));
    ben.ask("chat", json!({"to": "ann", "message": 3})).await;
    let chat = ann.packet().await;
    assert!(chat.starts_with(r#"42["chat",{"type":"chat","from":"ben","to":"ann","message":3,"#), "{chat}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_acknowledged_and_told() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_desk(config);
        config.desk.max_rooms_per_user = 1;
    })
    .await;
    let (mut ann, _) = member(&gateway, "ann").await;
    ask_and_hear(&mut ann, r#"42/events,0["join_room",{"room":"r"}]"#).await;
    for (packet, code, message) in [
        (
            r#"["send_message",{"room":"s","message":1}]"#,
            "FORBIDDEN",
            "Not a member of the room: join it first",
        ),
        (r#"["join_room",{}]"#, "INVALID_INPUT", "Missing field room: must be"),
        (
            r#"["join_room",{"room":"s"}]"#,
            "ROOM_LIMIT_EXCEEDED",
            "Cannot join: would exceed maximum of 1 rooms",
        ),
        (r#"["send_message",{"room":"r"}]"#, "INVALID_INPUT", "Missing field message"),
        (r#"["request",{"requestId":"1"}]"#, "UNKNOWN_ACTION", "asks no workers (REQUESTS)"),
    ] {
        let (refused, error) = ask_and_hear(&mut ann, &format!("42/events,1{packet}")).await;
        let beginning = r#"43/events,1[{"success":false,"error":""#;
        assert!(refused.starts_with(beginning) && refused.contains(message), "{refused}");
        let error = values(&error, "42/events,", "error").expect(&error);
        assert_eq!(error[0]["code"], code);
        let current = (code == "ROOM_LIMIT_EXCEEDED").then_some(1);
        assert_eq!(error[0]["currentRoomCount"].as_u64(), current, "{packet}");
        // Without an acknowledgement the event is all.
        ann.send(format!("42/events,{packet}")).await;
        assert_eq!(event(&mut ann, "error").await, error);
    }
    let large = "x".repeat(64 * 1024 - 150);
    let request = format!(r#"42/events,1["chat",{{"to":"ben","message":"{large}"}}]"#);
    let (_, error) = ask_and_hear(&mut ann, &request).await;
    assert_eq!(values(&error, "42/events,", "error").expect(&error)[0]["code"], "MESSAGE_TOO_LARGE");
    // Bytes are refused, and what comes with them is passed over.
    ann.send(r#"451-/events,7["send_message",{"room":"r","message":{"_placeholder":true,"num":0}}]"#).await;
    let (first, second) = (ann.packet().await, ann.packet().await);
    assert_eq!(
        first,
        r#"43/events,7[{"success":false,"error":"Binary attachments are not supported: send JSON"}]"#
    );
    assert_eq!(values(&second, "42/events,", "error").expect(&second)[0]["code"], "INVALID_INPUT");
    ann.ws_binary(&[1, 2]).await;
    assert!(ask(&mut ann, r#"42/events,8["ping"]"#).await.starts_with("43/events,8["));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_desk_there_is_none() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_socketio).await;
    let mut client = connected(gateway.addr).await;
    join(&mut client, "/events,", &json!({})).await;
    for name in ["join_room", "leave_room", "send_message", "typing", "presence", "chat", "request"] {
        let packet = format!(r#"42/events,1["{name}",{{"room":"r","to":"u","message":1,"requestId":1}}]"#);
        let (refused, error) = ask_and_hear(&mut client, &packet).await;
        let message = "Unknown event: this gateway has no rooms, chat or requests (DESK)";
        assert_eq!(refused, format!(r#"43/events,1[{{"success":false,"error":"{message}"}}]"#));
        let error = values(&error, "42/events,", "error").expect(&error);
        assert_eq!(error, [json!({"code": "UNKNOWN_ACTION", "message": message})]);
    }
}

/// In an open gateway connections are users of their own, also of broadcasts if they say so.
#[tokio::test(flavor = "multi_thread")]
async fn users_of_an_open_gateway_are_connections() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_socketio(config);
        config.desk.is_on = true;
    })
    .await;
    let mut client =
        Client::connect(&format!("{}&desk=1", crate::support::socketio::url(gateway.addr))).await;
    client.packet().await;
    client.send("40/events,").await;
    client.packet().await;
    let name = event(&mut client, "connected").await[0]["userId"].clone();
    assert!(name.as_str().is_some_and(|name| name.starts_with("anon-")), "{name}");
    redis.publisher().await.events([("broadcast", r#"{"type":"news_flash"}"#.to_owned())]).await;
    event(&mut client, "news_flash").await;
    let (_, joined) = ask_and_hear(&mut client, r#"42/events,1["join_room",{"room":"r"}]"#).await;
    assert_eq!(values(&joined, "42/events,", "user_joined").expect(&joined)[0]["userId"], name);

    // What a client calls itself stands in the event of its join, and nowhere else.
    let request = r#"42/events,2["join_room",{"room":"s","userId":"Zoë"}]"#;
    let (_, joined) = ask_and_hear(&mut client, request).await;
    assert_eq!(values(&joined, "42/events,", "user_joined").expect(&joined)[0]["userId"], "Zoë");
    let request = r#"42/events,3["send_message",{"room":"s","message":1}]"#;
    let (_, said) = ask_and_hear(&mut client, request).await;
    assert_eq!(values(&said, "42/events,", "message").expect(&said)[0]["userId"], name);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_answer_requests() {
    let redis = Redis::start().await;
    let with_requests = |config: &mut Config| {
        with_desk(config);
        config.desk.requests = true;
    };
    let gateway = TestGateway::on(&redis, with_requests).await;
    let mut heard = resp::Client::connect(([127, 0, 0, 1], redis.port).into()).await;
    heard.ask("SUBSCRIBE channel:request").await;
    let mut worker = redis.publisher().await;
    let (mut ann, _) = member(&gateway, "ann").await;
    for (ack, place) in [("7", "43/events,7["), ("", r#"42/events,["response","#)] {
        ann.send(format!(r#"42/events,{ack}["request",{{"requestId":"q","payload":{{"a" : 1.50}}}}]"#)).await;
        let question = heard.message().await;
        assert_eq!((&question["user"], &question["payload"]), (&json!("ann"), &json!({"a": 1.5})));
        let response = r#"{"type":"response","requestId":"q","payload":{"b" : 2.50}}"#;
        worker.raw(question["replyTo"].as_str().expect("a channel"), response.as_bytes()).await;
        assert_eq!(ann.packet().await, format!("{place}{response}]"));
    }
    // Nobody answers.
    let gateway = TestGateway::on(&redis, |config| {
        with_requests(config);
        config.desk.request_timeout = Duration::from_millis(500);
    })
    .await;
    let (mut ann, _) = member(&gateway, "ann").await;
    let (refused, error) = ask_and_hear(&mut ann, r#"42/events,8["request",{"requestId":8}]"#).await;
    assert_eq!(refused, r#"43/events,8[{"success":false,"error":"No response within 500 ms"}]"#);
    let error = values(&error, "42/events,", "error").expect(&error);
    assert_eq!((&error[0]["code"], &error[0]["requestId"]), (&json!("TIMEOUT"), &json!(8)));
}
