//! socket.io-client on the gateway, with nothing changed but the address: events, acknowledgements, errors, a bad token, a restart, a cut.

use crate::support::detour::Detour;
use crate::support::program::{Program, node};
use crate::support::tokens::{SECRET, token};
use crate::support::{Redis, TestGateway, trade};
use serde_json::{Value, json};
use std::net::SocketAddr;
use ws_gateway::config::Config;
use ws_gateway::protocol::api::Api;

fn with_socketio(config: &mut Config) {
    config.clients.dialects = [Api::SocketIo].into_iter().collect();
    config.events.channel_types = "trade,case".parse().unwrap();
}

/// A client with these options, connected to a namespace.
pub(crate) async fn client(addr: SocketAddr, namespace: &str, options: &Value) -> Program {
    let mut script = node("socketio_node.js").await;
    script.args([&format!("http://{addr}{namespace}"), &options.to_string()]);
    Program::start(script)
}

/// Emits, and returns the acknowledgement.
async fn ask(client: &mut Program, name: &str, value: Value) -> Value {
    client.say(&json!({"emit": [name, value], "ack": true}).to_string()).await;
    client.line_with("ack").await["ack"].clone()
}

/// Waits for an event, and returns what came with it.
pub(crate) async fn event(client: &mut Program, name: &str) -> Value {
    loop {
        let line = client.line_with("event").await;
        if line["event"] == name {
            return line["values"][0].clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_web_socket_it_stays_through_a_restart_and_a_cut() {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, with_socketio).await;
    let way = Detour::to(first.addr).await;
    let mut client = client(way.addr, "/events", &json!({"transports": ["websocket"]})).await;
    assert_eq!(client.line_with("connect").await["transport"], "websocket");
    assert!(event(&mut client, "connected").await["serverId"].is_string());
    let subscribe = || json!({"symbols": ["AAPL"], "snapshot": true});
    let subscribed = json!({"status": "subscribed", "symbols": ["AAPL"]});
    assert_eq!(ask(&mut client, "subscribe", subscribe()).await, subscribed);
    let mut worker = redis.publisher().await;
    worker.trade("AAPL", &trade("AAPL", "150.25", 1)).await;
    assert_eq!(event(&mut client, "trade").await["data"]["price"], 150.25);
    client.say(&json!({"emit": ["dance"]}).to_string()).await;
    assert_eq!(event(&mut client, "error").await["code"], "UNKNOWN_ACTION");

    let second = TestGateway::on(&redis, with_socketio).await;
    way.lead_to(second.addr);
    let draining = tokio::spawn(first.gateway.drain());
    assert_eq!(event(&mut client, "status").await["event"], "shutdown");
    client.line_with("connect").await;
    draining.await.expect("it ends");
    assert_eq!(ask(&mut client, "subscribe", subscribe()).await, subscribed);
    way.cut();
    assert_eq!(client.line_with("disconnect").await["disconnect"], "transport close");
    client.line_with("connect").await;
    assert_eq!(ask(&mut client, "subscribe", subscribe()).await, subscribed);
    worker.trade("AAPL", &trade("AAPL", "151", 2)).await;
    loop {
        if event(&mut client, "trade").await["data"]["price"] == 151 {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_is_an_error_that_can_be_mended() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_socketio(config);
        config.access.secret_key = Some(SECRET.to_owned());
    })
    .await;
    let options = json!({"transports": ["websocket"], "auth": {"token": "bad"}});
    let mut client = client(gateway.addr, "/events", &options).await;
    let error = client.line_with("connect_error").await;
    assert_eq!(error, json!({"connect_error": "Unauthorized", "data": {"code": "UNAUTHORIZED"}}));
    let good = token(json!({"sub": "u1"}));
    client.say(&json!({"connect": true, "auth": {"token": good}}).to_string()).await;
    assert_eq!(event(&mut client, "connected").await["userId"], "u1");
    let case = json!({"caseId": "test-case-123"});
    let subscribed = json!({"status": "subscribed", "caseId": "test-case-123"});
    assert_eq!(ask(&mut client, "subscribe:case", case).await, subscribed);
    let update = json!({"state": "closed"});
    redis.publisher().await.events([("case:test-case-123", update.to_string())]).await;
    assert_eq!(event(&mut client, "case:updated").await, update);
    client.say(r#"{"disconnect":true}"#).await;
    assert_eq!(client.line_with("disconnect").await["disconnect"], "io client disconnect");
}

/// As it is without options: requests first, then a WebSocket.
#[tokio::test(flavor = "multi_thread")]
async fn by_default_it_begins_with_requests() {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, with_socketio).await;
    let way = Detour::to(first.addr).await;
    let mut client = client(way.addr, "/messaging", &json!({})).await;
    client.line_with("connect").await;
    assert_eq!(client.line_with("upgraded").await["upgraded"], "websocket");
    let subscribed = json!({"status": "subscribed", "symbols": ["AAPL"]});
    assert_eq!(ask(&mut client, "subscribe", json!({"symbols": ["AAPL"]})).await, subscribed);
    let mut worker = redis.publisher().await;
    worker.trade("AAPL", &trade("AAPL", "150.25", 1)).await;
    assert_eq!(event(&mut client, "trade").await["data"]["price"], 150.25);

    let second = TestGateway::on(&redis, with_socketio).await;
    way.lead_to(second.addr);
    let draining = tokio::spawn(first.gateway.drain());
    assert_eq!(event(&mut client, "status").await["event"], "shutdown");
    client.line_with("connect").await;
    draining.await.expect("it ends");
    assert_eq!(ask(&mut client, "subscribe", json!({"symbols": ["AAPL"]})).await, subscribed);
    worker.trade("AAPL", &trade("AAPL", "151", 2)).await;
    assert_eq!(event(&mut client, "trade").await["data"]["price"], 151);
}

/// Where proxies let no WebSocket through.
#[tokio::test(flavor = "multi_thread")]
async fn with_requests_alone_it_stays_through_a_restart_and_a_cut() {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, with_socketio).await;
    let way = Detour::to(first.addr).await;
    let mut client = client(way.addr, "/", &json!({"transports": ["polling"]})).await;
    client.line_with("connect").await;
    let subscribed = json!({"status": "subscribed", "symbols": ["AAPL"]});
    assert_eq!(ask(&mut client, "subscribe", json!({"symbols": ["AAPL"]})).await, subscribed);
    let mut worker = redis.publisher().await;
    worker.trade("AAPL", &trade("AAPL", "150.25", 1)).await;
    assert_eq!(event(&mut client, "trade").await["data"]["price"], 150.25);
    let second = TestGateway::on(&redis, with_socketio).await;
    way.lead_to(second.addr);
    let draining = tokio::spawn(first.gateway.drain());
    client.line_with("connect").await;
    draining.await.expect("it ends");
    // A request that is cut off ends the session, and another gateway doesn't know it.
    way.cut();
    client.line_with("disconnect").await;
    client.line_with("connect").await;
    assert_eq!(ask(&mut client, "subscribe", json!({"symbols": ["AAPL"]})).await, subscribed);
    worker.trade("AAPL", &trade("AAPL", "151", 2)).await;
    assert_eq!(event(&mut client, "trade").await["data"]["price"], 151);
}
