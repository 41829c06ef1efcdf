//! With `REQUESTS` clients ask workers something, and get the worker's own answer, or are told that there was none.

use std::time::Duration;

use serde_json::json;
use ws_gateway::config::Config;
use ws_gateway::gateway::Gateway;

use crate::support::desk::{gateway, user};
use crate::support::redis::Publisher;
use crate::support::resp;
use crate::support::tokens::SECRET;
use crate::support::{Client, Redis, until};

fn requests(config: &mut Config) {
    config.desk.requests = true;
}

/// A worker that hears what it is asked.
async fn worker(port: u16) -> resp::Client {
    let mut worker = resp::Client::connect(([127, 0, 0, 1], port).into()).await;
    worker.ask("SUBSCRIBE channel:request").await;
    worker
}

async fn is_asked_and_answers(client: &mut Client, heard: &mut resp::Client, publisher: &mut Publisher) {
    client.send(r#"{"type":"request","requestId":"123","payload":{"a" : [1.50]},"timestamp":7}"#).await;
    let question = heard.message().await;
    assert_eq!(
        (&question["requestId"], &question["user"], &question["payload"], &question["timestamp"]),
        (&json!("123"), &json!("alice"), &json!({"a": [1.5]}), &json!(7))
    );
    let reply_to = question["replyTo"].as_str().expect("a channel").to_owned();
    assert!(reply_to.starts_with("channel:reply:"), "{reply_to}");
    let response = r#"{"type":"response","requestId":"123","payload":{"b" : 2.50}}"#;
    // Not the answer to anything, or none at all.
    for payload in
        [r#"{"type":"response","requestId":"124"}"#, r#"{"type":"chat","requestId":"123"}"#, "{}", "x"]
    {
        publisher.raw(&reply_to, payload.as_bytes()).await;
    }
    publisher.raw(&reply_to, response.as_bytes()).await;
    publisher.raw(&reply_to, response.as_bytes()).await;
    assert_eq!(client.text().await, response);
    client.gets_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_answer() {
    let redis = Redis::start().await;
    let (one, other) = (gateway(&redis, requests).await, gateway(&redis, requests).await);
    let (mut alice, mut namesake) = (user(one.addr, "alice").await, user(other.addr, "alice").await);
    let mut heard = worker(redis.port).await;
    is_asked_and_answers(&mut alice, &mut heard, &mut redis.publisher().await).await;
    namesake.gets_nothing().await;
    let unasked = || one.gateway.state().metrics.sum(|shard| &shard.responses_unasked);
    until("those that nobody asked for to be counted", async || (unasked() == 2).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_answer_with_the_embedded_broker() {
    let mut config = Config::for_tests();
    config.access.secret_key = Some(SECRET.to_owned());
    config.desk.is_on = true;
    requests(&mut config);
    let gateway = Gateway::build(config).await.expect("the gateway starts");
    let broker = gateway.broker_addr().expect("it has one");
    let mut alice = user(gateway.local_addr(), "alice").await;
    let mut heard = worker(broker.port()).await;
    let mut publisher = Publisher::connect(&format!("redis://{broker}")).await;
    is_asked_and_answers(&mut alice, &mut heard, &mut publisher).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_vain() {
    let redis = Redis::start().await;
    let patient = gateway(&redis, |config| {
        requests(config);
        config.desk.request_timeout = Duration::from_secs(1);
    })
    .await;
    let mut alice = user(patient.addr, "alice").await;
    let mut heard = worker(redis.port).await;
    alice.send(r#"{"type":"request","requestId":"123","payload":{}}"#).await;
    let (mut told, text) = (alice.told().await, r#""No response within 1 s""#);
    assert_eq!(told["message"].to_string(), text);
    told.as_object_mut().unwrap().remove("message");
    assert_eq!(told, json!({"type": "error", "code": "TIMEOUT", "requestId": "123"}));
    // It comes all the same, too late.
    let question = heard.message().await;
    let reply_to = question["replyTo"].as_str().expect("a channel");
    redis.publisher().await.raw(reply_to, br#"{"type":"response","requestId":"123","payload":1}"#).await;
    let unasked = || patient.gateway.state().metrics.sum(|shard| &shard.responses_unasked);
    until("the late response to be counted", async || (unasked() == 1).then_some(())).await;
    alice.gets_nothing().await;
    for bad in [r#"{"type":"request"}"#, r#"{"type":"request","requestId":{}}"#] {
        alice.send(bad).await;
        assert_eq!(alice.json().await["code"], "INVALID_INPUT", "{bad}");
    }
    // Without the setting there is nobody to ask.
    let without = gateway(&redis, |_| {}).await;
    let mut alice = user(without.addr, "alice").await;
    alice.send(r#"{"type":"request","requestId":"123","payload":{}}"#).await;
    assert_eq!(alice.json().await["code"], "UNKNOWN_ACTION");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_at_once() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, requests).await;
    let mut alice = user(gateway.addr, "alice").await;
    let mut heard = worker(redis.port).await;
    let mut publisher = redis.publisher().await;
    let mut reply_to = String::new();
    for n in 0..16 {
        alice.send(json!({"type": "request", "requestId": n}).to_string()).await;
        let question = heard.message().await;
        assert_eq!(question["requestId"], n);
        reply_to = question["replyTo"].as_str().expect("a channel").to_owned();
    }
    // One that waits already, and one too many.
    for (request_id, code) in [(3, "INVALID_INPUT"), (16, "RATE_LIMIT_EXCEEDED")] {
        alice.send(json!({"type": "request", "requestId": request_id}).to_string()).await;
        let reply = alice.json().await;
        assert_eq!((&reply["code"], &reply["requestId"]), (&json!(code), &json!(request_id)));
    }
    // A response makes room for another, also under the same number.
    publisher.raw(&reply_to, br#"{"type":"response","requestId":3}"#).await;
    assert_eq!(alice.text().await, r#"{"type":"response","requestId":3}"#);
    alice.send(json!({"type": "request", "requestId": 3}).to_string()).await;
    assert_eq!(heard.message().await["requestId"], 3);
    // Another connection has 16 of its own.
    let mut bob = user(gateway.addr, "bob").await;
    bob.send(json!({"type": "request", "requestId": 3}).to_string()).await;
    assert_eq!(heard.message().await["user"], "bob");
}

/// A worker gets a number as it is written, and may write it in its own way.
#[tokio::test(flavor = "multi_thread")]
async fn by_the_id_that_the_client_has_written() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, requests).await;
    let mut alice = user(gateway.addr, "alice").await;
    let (mut heard, mut publisher) = (worker(redis.port).await, redis.publisher().await);
    for (asked, answered) in [
        ("12345678901234567890123", "12345678901234567890123"),
        ("12345678901234567890123", "1.2345678901234568e+22"),
        ("1.0", "1"),
        ("7", "7.0"),
    ] {
        alice.send(format!(r#"{{"type":"request","requestId":{asked}}}"#)).await;
        let question = heard.reply().await.expect("a question");
        assert!(question.contains(&format!(r#"{{"requestId":{asked},"#)), "{question}");
        let (_, rest) = question.split_once(r#""replyTo":""#).expect("a channel");
        let (reply_to, _) = rest.split_once('"').expect("a channel");
        let response = format!(r#"{{"type":"response","requestId":{answered}}}"#);
        publisher.raw(reply_to, response.as_bytes()).await;
        assert_eq!(alice.text().await, response);
    }
    for long in [format!("\"{}\"", "x".repeat(65)), "1".repeat(65)] {
        alice.send(format!(r#"{{"type":"request","requestId":{long}}}"#)).await;
        assert_eq!(alice.json().await["code"], "INVALID_INPUT", "{long}");
    }
}

/// Nobody can guess where responses come to: 128 random bits are in each run's channels.
#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_else_finds_them() {
    let redis = Redis::start().await;
    let (one, other) = (gateway(&redis, requests).await, gateway(&redis, requests).await);
    let mut heard = worker(redis.port).await;
    let mut runs = Vec::new();
    for gateway in [&one, &other] {
        let mut alice = user(gateway.addr, "alice").await;
        alice.send(r#"{"type":"request","requestId":1}"#).await;
        let question = heard.message().await;
        let reply_to = question["replyTo"].as_str().expect("a channel");
        let rest = reply_to.strip_prefix("channel:reply:").expect("a channel for responses");
        let (run, _) = rest.split_once(':').expect("a run and a connection");
        assert!(run.len() == 32 && run.bytes().all(|digit| digit.is_ascii_hexdigit()), "{reply_to}");
        runs.push(run.to_owned());
    }
    assert_ne!(runs[0], runs[1]);
}
