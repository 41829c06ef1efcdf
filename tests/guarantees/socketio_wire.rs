//! Socket.IO as it is on the wire, over WebSocket: namespaces, tokens, acknowledgements, events, errors, and what ends a connection.

use crate::support::http;
use crate::support::socketio::{ask, connected, join, url, with_socketio};
use crate::support::tokens::{SECRET, token};
use crate::support::{Client, Redis, TestGateway, trade, until};
use serde_json::{Value, json};
use ws_gateway::config::Config;

fn with_few(config: &mut Config) {
    with_socketio(config);
    config.clients.dialect_max_symbols = 3;
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_have_their_own_subscriptions() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_socketio).await;
    let mut worker = redis.publisher().await;
    let mut client = connected(gateway.addr).await;
    let id = join(&mut client, "", &json!({})).await;
    assert_eq!(join(&mut client, "/events,", &json!({})).await, id, "one connection");
    let answer = ask(&mut client, r#"42/events,0["subscribe",{"symbols":["aapl","MSFT"]}]"#).await;
    assert_eq!(answer, r#"43/events,0[{"status":"subscribed","symbols":["AAPL","MSFT"]}]"#);
    worker.trade("AAPL", &trade("AAPL", "150.250", 1)).await;
    let event = client.packet().await;
    let frame =
        event.strip_prefix(r#"42/events,["trade","#).and_then(|rest| rest.strip_suffix(']')).expect(&event);
    let frame: Value = serde_json::from_str(frame).expect("the gateway's object");
    assert_eq!((&frame["type"], &frame["data"]["symbol"]), (&json!("trade"), &json!("AAPL")));
    assert!(event.contains("150.250"), "byte for byte: {event}");

    let answer = ask(&mut client, r#"420["subscribe",{"symbols":["AAPL"],"snapshot":true}]"#).await;
    assert_eq!(answer, r#"430[{"status":"subscribed","symbols":["AAPL"]}]"#);
    let snapshot = client.packet().await;
    assert!(snapshot.starts_with(r#"42["trade",{"type":"trade""#) && snapshot.contains(r#""snapshot":true"#));
    let end = client.packet().await;
    assert!(end.starts_with(r#"42["status",{"type":"status","event":"snapshotEnd""#), "{end}");
    worker.trade("AAPL", &trade("AAPL", "151", 2)).await;
    let both = [client.packet().await, client.packet().await];
    for place in ["42[", "42/events,["] {
        assert!(both.iter().any(|event| event.starts_with(place)), "{both:?}");
    }
    // It leaves one, and the other goes on.
    client.send("41/events,").await;
    ask(&mut client, r#"422["ping"]"#).await;
    worker.trade("AAPL", &trade("AAPL", "152", 3)).await;
    let event = client.packet().await;
    assert!(event.starts_with(r#"42["trade""#) && event.contains("152"), "{event}");
    let answer = ask(&mut client, r#"421["unsubscribe",{"symbols":["AAPL","X"]}]"#).await;
    assert_eq!(answer, r#"431[{"status":"unsubscribed","symbols":["AAPL"]}]"#);
    until("nothing is held", async || (gateway.stat("totalSymbolSubscriptions").await == 0).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_of_custom_types() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_few).await;
    let mut client = connected(gateway.addr).await;
    join(&mut client, "/events,", &json!({})).await;
    let answer = ask(&mut client, r#"42/events,7["subscribe:case",{"caseId":"c1"}]"#).await;
    assert_eq!(answer, r#"43/events,7[{"status":"subscribed","caseId":"c1"}]"#);
    redis.publisher().await.events([("case:c1", r#"{"state":"open","n":1.50}"#.to_owned())]).await;
    assert_eq!(client.packet().await, r#"42/events,["case:updated",{"state":"open","n":1.50}]"#);
    let answer = ask(&mut client, r#"42/events,8["unsubscribe:case",{"caseId":"c1"}]"#).await;
    assert_eq!(answer, r#"43/events,8[{"status":"unsubscribed","caseId":"c1"}]"#);
    for (packet, part) in [
        (r#"42/events,1["subscribe:case",{}]"#, "Missing field caseId"),
        (r#"42/events,1["subscribe",{"symbols":["A","B","C","D"]}]"#, "would exceed maximum of 3 symbols"),
        (r#"42/events,1["dance"]"#, "Unknown event"),
    ] {
        let answer = ask(&mut client, packet).await;
        assert!(answer.starts_with(r#"43/events,1[{"status":"error","error":""#), "{answer}");
        assert!(answer.contains(part), "{answer}");
    }
    // Without an acknowledgement it is an event.
    let answer = ask(&mut client, r#"42/events,["dance"]"#).await;
    assert!(answer.starts_with(r#"42/events,["error",{"code":"UNKNOWN_ACTION","message":""#), "{answer}");
    // So are attachments, which are passed over.
    client.send(r#"451-/events,["bin",{"_placeholder":true,"num":0}]"#).await;
    client.ws_binary(&[1, 2, 3]).await;
    let answer = client.packet().await;
    assert!(answer.starts_with(r#"42/events,["error",{"code":"INVALID_INPUT""#), "{answer}");
    let answer = ask(&mut client, r#"42/events,2["ping"]"#).await;
    assert!(answer.starts_with(r#"43/events,2[{"status":"pong","timestamp":"#), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_open_namespaces() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_socketio(config);
        config.access.secret_key = Some(SECRET.to_owned());
    })
    .await;
    let mut client = connected(gateway.addr).await;
    let unauthorized = r#"44/events,{"message":"Unauthorized","data":{"code":"UNAUTHORIZED"}}"#;
    assert_eq!(ask(&mut client, "40/events,").await, unauthorized);
    assert_eq!(ask(&mut client, r#"40/events,{"token":"bad"}"#).await, unauthorized);
    assert_eq!(ask(&mut client, "40/nope,{}").await, r#"44/nope,{"message":"Invalid namespace"}"#);
    let good = token(json!({"sub": "u1"}));
    client.send(format!("40/events,{}", json!({"token": good}))).await;
    assert!(client.packet().await.starts_with("40/events,{\"sid\":"));
    let event = client.packet().await;
    assert!(event.starts_with(r#"42/events,["connected",{"userId":"u1","serverId":""#), "{event}");
    // A second namespace needs none, and another user's opens none.
    let other = token(json!({"sub": "u2"}));
    let answer = ask(&mut client, &format!("40{}", json!({"token": other}))).await;
    assert_eq!(answer, r#"44{"message":"Unauthorized","data":{"code":"UNAUTHORIZED"}}"#);
    join(&mut client, "", &json!({})).await;
    let renewed = ask(&mut client, &format!(r#"420["auth",{}]"#, json!({"token": good}))).await;
    assert!(renewed.starts_with(r#"430[{"status":"authenticated","user":"u1","expiresAt":"#), "{renewed}");
    // In the handshake as everywhere.
    let mut client = Client::connect(&format!("{}&token={good}", url(gateway.addr))).await;
    client.packet().await;
    client.send("40/messaging,").await;
    assert!(client.packet().await.starts_with("40/messaging,"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_connection() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_socketio).await;
    for (packets, code) in [
        (&["x"][..], 1002),
        (&[r#"42["ping"]"#], 1002),
        (&["40", "40"], 1002),
        (&["40", r#"42["disconnect"]"#], 1002),
        (&["40", r#"42/events,["ping"]"#], 1002),
        (&["1"], 1000),
    ] {
        let mut client = connected(gateway.addr).await;
        for packet in packets {
            client.send(*packet).await;
        }
        assert_eq!(client.ending().await.map(|(code, _)| code), Some(code), "{packets:?}");
    }
    let mut client = connected(gateway.addr).await;
    client.ws_binary(&[4]).await;
    assert_eq!(client.ending().await.map(|(code, _)| code), Some(1002));

    let mut client = connected(gateway.addr).await;
    join(&mut client, "/messaging,", &json!({})).await;
    let draining = tokio::spawn(gateway.gateway.drain());
    let told = client.packet().await;
    assert!(told.starts_with(r#"42/messaging,["status",{"type":"status","event":"shutdown""#), "{told}");
    assert_eq!(client.ending().await.map(|(code, _)| code), Some(1012));
    draining.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_answered_as_its_server_does() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_socketio).await;
    for (query, code, message) in [
        ("", 0, "Transport unknown"),
        ("?EIO=4&transport=pigeon", 0, "Transport unknown"),
        ("?EIO=4&transport=websocket&sid=x", 1, "Session ID unknown"),
        ("?EIO=4&transport=websocket", 3, "Bad request"),
        ("?EIO=3&transport=websocket", 5, "Unsupported protocol version"),
    ] {
        let reply = gateway.get(&format!("/socket.io/{query}")).await;
        assert_eq!((reply.status, reply.json()), (400, json!({"code": code, "message": message})), "{query}");
    }
    let post = "POST /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n";
    assert_eq!(http::ask(gateway.addr, post).await.json()["code"], 2);
    for path in ["/socket.io/", "/events", "/messaging"] {
        let origin = format!("http://{}", gateway.addr);
        let request = format!("OPTIONS {path} HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\n", gateway.addr);
        let reply = http::ask(gateway.addr, &request).await;
        let allowed = reply.header("Access-Control-Allow-Origin").map(str::to_owned);
        assert_eq!((reply.status, allowed), (204, Some(origin)), "{path}");
    }
    assert_eq!(gateway.get("/events").await.status, 404);
    let strict = TestGateway::on(&redis, |config| {
        with_socketio(config);
        config.server.origins.allowed = Some(vec!["https://app.example".to_owned()]);
    })
    .await;
    let foreign = "Origin: https://other.example\r\n";
    let forbidden = json!({"code": 4, "message": "Forbidden"});
    let polling = format!("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n{foreign}");
    let reply = http::ask(strict.addr, &polling).await;
    assert_eq!((reply.status, reply.json()), (403, forbidden.clone()));
    let upgrade = http::HANDSHAKE.replace("/ws ", "/socket.io/?EIO=4&transport=websocket ");
    let reply = http::exchange(strict.addr, &format!("{upgrade}{foreign}\r\n")).await;
    let reply = http::Reply::parse(&reply);
    assert_eq!((reply.status, reply.json()), (403, forbidden));
    let plain = TestGateway::on(&redis, |_| {}).await;
    assert_eq!(plain.get("/socket.io/?EIO=4&transport=websocket").await.status, 404);
}

/// Engine.IO's own packets are no messages: a client that answers pings uses up nothing of its rate.
#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_are_no_messages() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_socketio(config);
        config.clients.message_rate_limit =
            ws_gateway::rate::Rate::new(3, std::time::Duration::from_secs(36_000));
    })
    .await;
    let mut client = connected(gateway.addr).await;
    join(&mut client, "", &json!({})).await;
    for _ in 0..50 {
        client.send("3").await;
    }
    let mut answers = Vec::new();
    for n in 0..5 {
        answers.push(ask(&mut client, &format!(r#"42{n}["subscribe",{{"symbols":["AAPL"]}}]"#)).await);
    }
    let refused: Vec<_> = answers.iter().map(|answer| answer.contains("RATE_LIMIT_EXCEEDED")).collect();
    assert!(!refused[0] && !refused[1] && refused[4], "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_in_the_url_hold_where_a_request_names_none() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_socketio).await;
    redis.publisher().await.trade("AAPL", &trade("AAPL", "150.250", 1)).await;
    gateway.taken(1).await;
    let mut client = Client::connect(&format!("{}&snapshot=1", url(gateway.addr))).await;
    assert!(client.packet().await.starts_with('0'));
    join(&mut client, "", &json!({})).await;
    ask(&mut client, r#"420["subscribe",{"symbols":["AAPL"],"snapshot":false}]"#).await;
    ask(&mut client, r#"421["unsubscribe",{"symbols":["AAPL"]}]"#).await;
    ask(&mut client, r#"422["subscribe",{"symbols":["AAPL"]}]"#).await;
    let snapshot = client.packet().await;
    assert!(snapshot.starts_with(r#"42["trade",{"#) && snapshot.contains(r#""snapshot":true"#), "{snapshot}");
    let refused = http::HANDSHAKE.replace("/ws ", "/socket.io/?EIO=4&transport=websocket&maxRate=0 ");
    let refused = http::exchange(gateway.addr, &format!("{refused}\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
}
