//! A user has no more connections to a gateway than MAX_CONNECTIONS_PER_USER, whichever way its tokens come, and sends no more messages
//! over all of them than MESSAGE_RATE_LIMIT.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde_json::{Value, json};
use ws_gateway::admission::OnUserLimit;
use ws_gateway::config::Config;
use ws_gateway::rate::Rate;

use crate::support::http::{HANDSHAKE, exchange};
use crate::support::tokens::{SECRET, authenticate, enter, handshake, token};
use crate::support::{Client, Redis, TestGateway, until};

const TOO_MANY: &str = "Too many connections of your user: at most 2 at a time. Close another one first";

async fn gateway(redis: &Redis, change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::on(redis, |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.clients.max_connections_per_user = NonZeroUsize::new(2);
        change(config);
    })
    .await
}

fn bearer(user: &str) -> String {
    format!("Authorization: Bearer {}", token(json!({"sub": user})))
}

async fn enter_as(gateway: &TestGateway, user: &str) -> Client {
    enter(gateway.addr, "", &[&bearer(user)]).await
}

async fn status_of(gateway: &TestGateway, user: &str) -> u16 {
    handshake(gateway.addr, "", &[&bearer(user)]).await.0.status
}

async fn metric(gateway: &TestGateway, line: &str) -> bool {
    gateway.get("/metrics").await.body.lines().any(|found| found == line)
}

/// What a client is told that is not let in, and how it ends.
async fn told(client: &mut Client) -> (Value, (u16, String)) {
    let mut error = client.json().await;
    if let Some(error) = error.as_object_mut() {
        error.remove("timestamp");
    }
    (error, client.ending().await.expect("a close frame"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_more_is_refused_whichever_way_the_token_comes() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let first = enter_as(&gateway, "alice").await;
    let mut second = enter(gateway.addr, "", &[]).await;
    let reply = authenticate(&mut second, &token(json!({"sub": "alice"}))).await;
    assert_eq!(reply["data"]["user"], "alice", "{reply}");

    // A program reads it in the answer to its handshake.
    let head = HANDSHAKE.replace("Connection: Upgrade\r\n", "Connection: Upgrade, close\r\n");
    let refused = crate::support::http::Reply::parse(
        &exchange(gateway.addr, &format!("{head}{}\r\n\r\n", bearer("alice"))).await,
    );
    assert_eq!((refused.status, refused.code().as_str()), (429, "TOO_MANY_CONNECTIONS"));
    assert_eq!(refused.json()["message"], TOO_MANY);
    assert!(refused.header("Retry-After").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));

    // A browser, which can't, over WebSocket; and so who sends its token in a message.
    let expected = json!({"type": "error", "message": TOO_MANY, "code": "TOO_MANY_CONNECTIONS"});
    let ending = (1008, "too many connections".to_owned());
    let mut browser =
        enter(gateway.addr, "?symbols=AAPL", &[&bearer("alice"), "Origin: http://app.example"]).await;
    assert_eq!(told(&mut browser).await, (expected.clone(), ending.clone()));
    let mut late = enter(gateway.addr, "", &[]).await;
    late.send(json!({"action": "auth", "token": token(json!({"sub": "alice"}))}).to_string()).await;
    assert_eq!(told(&mut late).await, (expected, ending));

    // A renewal is no connection more, and others have their own.
    let reply = authenticate(&mut second, &token(json!({"sub": "alice"}))).await;
    assert_eq!(reply["type"], "success", "{reply}");
    let _bob = (enter_as(&gateway, "bob").await, enter_as(&gateway, "bob").await);
    assert_eq!(status_of(&gateway, "bob").await, 429);
    assert!(metric(&gateway, r#"ws_upgrades_refused_total{reason="connections_per_user"} 2"#).await);
    assert!(metric(&gateway, r#"ws_errors_sent_total{code="TOO_MANY_CONNECTIONS"} 2"#).await);

    // A connection that ends frees its place.
    drop(first);
    until("a place", async || (status_of(&gateway, "alice").await == 101).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn or_the_oldest_makes_room() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| config.clients.on_user_limit = OnUserLimit::CloseOldest).await;
    let (mut oldest, mut second) = (enter_as(&gateway, "alice").await, enter_as(&gateway, "alice").await);
    let mut newest = enter(gateway.addr, "", &[]).await;
    let reply = authenticate(&mut newest, &token(json!({"sub": "alice"}))).await;
    assert_eq!(reply["type"], "success", "{reply}");
    let (error, ending) = told(&mut oldest).await;
    let why = "A newer connection of your user has taken this one's place: at most 2 at a time (MAX_CONNECTIONS_PER_USER)";
    assert_eq!(error, json!({"type": "error", "message": why, "code": "TOO_MANY_CONNECTIONS"}));
    assert_eq!(ending, (1008, "replaced".to_owned()));
    for client in [&mut second, &mut newest] {
        client.send(r#"{"action":"ping"}"#).await;
        assert_eq!(client.json().await["type"], "pong");
    }
    assert!(metric(&gateway, "ws_connections_replaced_total 1").await);
    // Not again within 5 s, or two programs of one user would throw each other out without end.
    assert_eq!(status_of(&gateway, "alice").await, 429);
    assert!(metric(&gateway, "ws_connections_replaced_total 1").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_users_count_and_0_is_no_limit() {
    let redis = Redis::start().await;
    let rights = |config: &mut Config| config.access.anonymous = Some("{}".to_owned());
    let limited = gateway(&redis, rights).await;
    let unlimited = gateway(&redis, |config| config.clients.max_connections_per_user = None).await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(limited.client().await);
        held.push(enter_as(&unlimited, "alice").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gateway_counts_for_itself() {
    let redis = Redis::start().await;
    let (one, other) = (gateway(&redis, |_| {}).await, gateway(&redis, |_| {}).await);
    let _held = [
        enter_as(&one, "alice").await,
        enter_as(&one, "alice").await,
        enter_as(&other, "alice").await,
        enter_as(&other, "alice").await,
    ];
    for gateway in [&one, &other] {
        assert_eq!(status_of(gateway, "alice").await, 429);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_count_over_all_connections_and_connecting_again_takes_nothing_back() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| {
        config.clients.message_rate_limit = Rate::new(4, Duration::from_secs(36_000));
    })
    .await;
    let answer = async |client: &mut Client| {
        client.send(r#"{"action":"ping"}"#).await;
        client.json().await
    };
    let (mut one, mut two) = (enter_as(&gateway, "alice").await, enter_as(&gateway, "alice").await);
    for _ in 0..2 {
        for client in [&mut one, &mut two] {
            assert_eq!(answer(client).await["type"], "pong");
        }
    }
    for client in [&mut one, &mut two] {
        let refusal = answer(client).await;
        assert_eq!(refusal["code"], "RATE_LIMIT_EXCEEDED");
        assert_eq!(refusal["message"], "Too many messages: at most 4 in 10 hours");
        assert!(refusal["retryAfter"].as_u64().is_some_and(|seconds| seconds > 8_000), "{refusal}");
    }
    drop((one, two));
    until("both to be gone", async || (gateway.stat("activeConnections").await == 0).then_some(())).await;
    assert_eq!(answer(&mut enter_as(&gateway, "alice").await).await["code"], "RATE_LIMIT_EXCEEDED");
    // Nor does a token that comes in a message, or another one.
    let mut late = enter(gateway.addr, "", &[]).await;
    let reply = authenticate(&mut late, &token(json!({"sub": "alice"}))).await;
    assert_eq!(reply["data"]["user"], "alice", "{reply}");
    let renewal = authenticate(&mut late, &token(json!({"sub": "alice", "maxSymbols": 7}))).await;
    assert_eq!(renewal["code"], "RATE_LIMIT_EXCEEDED", "a renewal is a message");
    assert_eq!(answer(&mut enter_as(&gateway, "bob").await).await["type"], "pong");
}
