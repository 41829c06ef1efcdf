//! A client gets what its rights cover and its requests name, and nothing else; when its token ends, so does the connection.

use std::time::Instant;

use serde_json::json;
use ws_gateway::config::Config;
use ws_gateway::market::Kind;

use crate::support::process::Process;
use crate::support::tokens::{SECRET, authenticate, enter, from_now, handshake, token};
use crate::support::{Client, Redis, TestGateway, trade, until};

async fn gateway(redis: &Redis, change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::on(redis, |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.events.channel_types = [Kind::TRADE, Kind::QUOTE].into_iter().collect();
        change(config);
    })
    .await
}

async fn enter_as(gateway: &TestGateway, claims: serde_json::Value) -> Client {
    enter(gateway.addr, "", &[&format!("Authorization: Bearer {}", token(claims))]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_intersected_with_the_claims() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let claims = json!({"sub": "u", "symbols": ["btc-*", "AAPL", "MSFT"], "types": ["trade", "halt"], "maxSymbols": 2});
    let mut client = enter_as(&gateway, claims).await;
    client
        .send(r#"{"action":"subscribe","symbols":["AAPL","TSLA","X*"],"types":["trade","quote"],"id":1}"#)
        .await;
    let text = client.text().await;
    assert!(
        text.contains(
            r#""code":"FORBIDDEN","data":{"symbols":["TSLA","X*"],"types":["quote"]},"timestamp":"#
        )
    );
    assert!(text.ends_with(r#","id":1}"#), "{text}");
    client.send(r#"{"action":"subscribe","symbols":["AAPL"],"types":["quote"]}"#).await;
    assert_eq!(client.json().await["data"], json!({"types": ["quote"]}), "each only where it applies");
    client.send(r#"{"action":"list"}"#).await;
    assert_eq!(client.json().await["data"]["currentSubscriptions"], json!([]), "nothing has changed");

    let reply = client.subscribe_with(json!({"symbols": ["*", "aapl"], "snapshot": true})).await;
    // The pattern is three names for the gateway, and one for the client.
    assert_eq!(reply["data"]["currentSubscriptions"], json!(["*", "AAPL"]), "as it was written");
    assert_eq!(client.json().await["data"]["symbols"], json!(["*", "AAPL"]), "snapshotEnd");
    for (n, symbol) in ["TSLA", "AAPL", "BTC", "BTC-USD", "MSFT"].into_iter().enumerate() {
        worker.trade(symbol, &trade(symbol, "1", n as u64)).await;
    }
    client.gets("AAPL", 1).await;
    client.gets("BTC-USD", 3).await;
    client.gets("MSFT", 4).await;
    client.send(r#"{"action":"subscribe","symbols":["MSFT","BTC-USD"]}"#).await;
    let refusal = client.json().await;
    assert_eq!(refusal["message"], "Cannot subscribe: would exceed maximum of 2 symbols", "{refusal}");
    let reply = client.unsubscribe(&["*"]).await;
    assert_eq!(reply["data"], json!({"unsubscribed": ["*", "AAPL"], "currentSubscriptions": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_of_what_is_allowed() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    for (n, symbol) in ["A1", "B1", "A2"].into_iter().enumerate() {
        worker.trade(symbol, &trade(symbol, "1", n as u64)).await;
    }
    gateway.taken(3).await;
    let mut client = enter_as(&gateway, json!({"sub": "u", "symbols": ["A*"]})).await;
    client.subscribe_with(json!({"symbols": ["*"], "snapshot": true})).await;
    let mut symbols = [client.json().await, client.json().await];
    symbols.sort_by_key(|event| event["data"]["symbol"].to_string());
    assert_eq!(symbols[0]["data"]["symbol"], "A1");
    assert_eq!(symbols[1]["data"]["symbol"], "A2");
    assert_eq!(client.json().await["event"], "snapshotEnd");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_without_a_token_have_the_rights_of_anonymous() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| {
        config.access.anonymous = Some(r#"{"symbols":["DEMO-*"],"maxSymbols":1}"#.to_owned());
    })
    .await;
    let mut client = Client::connect(&format!("ws://{}/ws?symbols=DEMO-1", gateway.addr)).await;
    assert_eq!(client.json().await["data"]["subscribed"], json!(["DEMO-1"]), "at once");
    client.send(r#"{"action":"subscribe","symbols":["AAPL"]}"#).await;
    assert_eq!(client.json().await["code"], "FORBIDDEN");
    // A client may become somebody.
    let reply = authenticate(&mut client, &token(json!({"sub": "u"}))).await;
    assert_eq!((&reply["type"], &reply["data"]["user"]), (&json!("success"), &json!("u")));
    client.subscribe(&["AAPL"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_intersects_again() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let mut client = enter_as(&gateway, json!({"sub": "u"})).await;
    client.subscribe_with(json!({"symbols": ["AAPL", "B*"], "types": ["trade", "quote"]})).await;
    let reply = authenticate(&mut client, &token(json!({"sub": "u"}))).await;
    assert_eq!(reply["data"]["currentSubscriptions"], json!(null), "nothing was taken away");
    let fewer = token(json!({"sub": "u", "symbols": ["BTC", "C"], "maxSymbols": 4}));
    let reply = authenticate(&mut client, &fewer).await;
    assert_eq!(reply["data"]["currentSubscriptions"], json!(["B*"]));
    assert_eq!(reply["data"]["currentByType"], json!({"quote": ["B*"]}));
    for (n, symbol) in ["AAPL", "BNB", "BTC"].into_iter().enumerate() {
        worker.trade(symbol, &trade(symbol, "1", n as u64)).await;
    }
    client.gets("BTC", 2).await;
    let reply = authenticate(&mut client, &token(json!({"sub": "another"}))).await;
    assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!("UNAUTHORIZED")));
    assert_eq!(client.ending().await.map(|(code, _)| code), Some(1008));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_of_the_claims_conflates() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    // Whoever names no rate, more than the claim, or no conflation at all, has the claim's; whoever asks for less has less.
    let begun = Instant::now();
    let mut capped = Vec::new();
    for asked in [json!({}), json!({"maxRate": 1000}), json!({"conflate": false}), json!({"conflate": true})]
    {
        let mut client = enter_as(&gateway, json!({"sub": "u", "maxRate": 0.2})).await;
        let mut request = json!({"symbols": ["AAPL"]});
        request.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
        client.subscribe_with(request).await;
        capped.push((asked, client));
    }
    let mut slower = enter_as(&gateway, json!({"sub": "u", "maxRate": 1000})).await;
    slower.subscribe_with(json!({"symbols": ["AAPL"], "maxRate": 0.2})).await;
    capped.push((json!("less than the claim"), slower));
    let mut free = enter_as(&gateway, json!({"sub": "v"})).await;
    free.subscribe(&["AAPL"]).await;
    for n in 1..=500 {
        worker.trade("AAPL", &trade("AAPL", "1", n)).await;
    }
    gateway.taken(500).await;
    assert_eq!(trades(&mut free).await, 500);
    for (asked, client) in &mut capped {
        let events = trades(client).await as u64;
        // The first at once, and then one in five seconds.
        let most = 1 + begun.elapsed().as_secs().div_ceil(5);
        assert!((1..=most).contains(&events), "{asked}: {events}, and {most} at most");
    }
}

/// How many trades come before the answer to a ping.
async fn trades(client: &mut Client) -> usize {
    client.send(r#"{"action":"ping"}"#).await;
    let mut events = 0;
    while client.json().await["type"] != "pong" {
        events += 1;
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_changes_rate_and_number_at_once() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let renewed = async |client: &mut Client, claims: serde_json::Value| {
        let reply = authenticate(client, &token(claims)).await;
        assert_eq!(reply["type"], "success", "{reply}");
        reply["data"]["currentSubscriptions"].clone()
    };
    let mut client = enter_as(&gateway, json!({"sub": "u"})).await;
    client.subscribe(&["AAPL", "MSFT", "TSLA"]).await;
    let mut publish = async |first: u64, count: u64| {
        for n in first..first + count {
            worker.trade("AAPL", &trade("AAPL", "1", n)).await;
        }
        gateway.taken(first + count - 1).await;
    };
    publish(1, 200).await;
    assert_eq!(trades(&mut client).await, 200, "without a claim there is no limit");
    renewed(&mut client, json!({"sub": "u", "maxRate": 0.1})).await;
    publish(201, 200).await;
    let at_the_rate = trades(&mut client).await;
    assert!(at_the_rate < 100, "{at_the_rate}");
    renewed(&mut client, json!({"sub": "u"})).await;
    trades(&mut client).await;
    publish(401, 200).await;
    assert_eq!(trades(&mut client).await, 200, "what was asked for counts again");

    // Of what is too much the latest go.
    let fewer = renewed(&mut client, json!({"sub": "u", "maxSymbols": 2})).await;
    assert_eq!(fewer, json!(["AAPL", "MSFT"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_before_its_end_a_client_is_told() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| config.access.leeway = std::time::Duration::ZERO).await;
    let mut client = enter_as(&gateway, json!({"sub": "u", "exp": from_now(62)})).await;
    let told = client.json().await;
    assert_eq!((&told["type"], &told["event"]), (&json!("status"), &json!("tokenExpiring")));
    assert!(told["data"]["expiresInMs"].as_u64().is_some_and(|ms| ms <= 60_000), "{told}");
    // Renewed, it has the time of the new token.
    let reply = authenticate(&mut client, &token(json!({"sub": "u"}))).await;
    assert!(reply["data"]["expiresAt"].as_i64().is_some_and(|ms| ms > from_now(3_000) * 1_000), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_its_token() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| config.access.leeway = std::time::Duration::ZERO).await;
    let claims = json!({"sub": "u", "exp": from_now(6)});
    let query = format!("?symbols=AAPL&token={}", token(claims));
    let mut client = enter(gateway.addr, &query, &[]).await;
    assert_eq!(client.json().await["type"], "success", "the reply to the symbols is the first frame");
    let told = client.json().await;
    assert_eq!((&told["type"], &told["event"]), (&json!("status"), &json!("tokenExpiring")));
    assert!(told["data"]["expiresInMs"].as_u64().is_some_and(|ms| ms <= 7_000), "{told}");
    let told = client.json().await;
    assert_eq!((&told["type"], &told["code"]), (&json!("error"), &json!("UNAUTHORIZED")));
    assert_eq!(client.ending().await, Some((1008, "token expired".to_owned())));
}

/// `JWT_LEEWAY` holds for the end as it does for the beginning, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_as_long_behind_its_end_as_clocks_may_differ() {
    const LEEWAY_S: i64 = 20;
    let redis = Redis::start().await;
    let leeway = std::time::Duration::from_secs(LEEWAY_S as u64);
    let gateway = gateway(&redis, |config| config.access.leeway = leeway).await;
    // It has expired when it comes, and counts for some seconds more.
    let exp = from_now(10 - LEEWAY_S);
    let ended = token(json!({"sub": "u", "exp": exp}));
    let mut client = gateway.client().await;
    let reply = authenticate(&mut client, &ended).await;
    assert_eq!(reply["data"], json!({"user": "u", "expiresAt": exp * 1_000}), "{reply}");
    let told = client.json().await;
    assert_eq!((&told["type"], &told["event"]), (&json!("status"), &json!("tokenExpiring")));
    let ends_ms = (exp + LEEWAY_S) * 1_000;
    let told_ms = told["timestamp"].as_i64().unwrap() + told["data"]["expiresInMs"].as_i64().unwrap();
    assert!((ends_ms - 1_000..=ends_ms + 1_000).contains(&told_ms), "{ends_ms}: {told}");
    // Another one of that time is renewed before its end.
    let mut renewed = enter(gateway.addr, "", &[&format!("Authorization: Bearer {ended}")]).await;
    assert_eq!(renewed.json().await["event"], "tokenExpiring");
    assert_eq!(authenticate(&mut renewed, &token(json!({"sub": "u"}))).await["type"], "success");
    client.subscribe(&["AAPL"]).await;

    let end = client.json().await;
    assert_eq!((&end["type"], &end["code"]), (&json!("error"), &json!("UNAUTHORIZED")));
    let end_ms = end["timestamp"].as_i64().unwrap();
    assert!((ends_ms..ends_ms + LEEWAY_S * 1_000).contains(&end_ms), "{ends_ms}: {end}");
    assert_eq!(client.ending().await, Some((1008, "token expired".to_owned())));
    renewed.subscribe(&["AAPL"]).await;
    let late = format!("Authorization: Bearer {ended}");
    assert_eq!(handshake(gateway.addr, "", &[&late]).await.0.status, 401, "who comes now comes too late");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_counted_once() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| config.access.anonymous = Some("{}".to_owned())).await;
    let online = async || gateway.get("/health").await.json()["online_users"].as_u64();
    let (first, second) =
        (enter_as(&gateway, json!({"sub": "a"})).await, enter_as(&gateway, json!({"sub": "a"})).await);
    let _other = enter_as(&gateway, json!({"user_id": 7})).await;
    let _nobody = gateway.client().await;
    until("two users", async || (online().await == Some(2)).then_some(())).await;
    drop(first);
    until("a connection less", async || (gateway.stat("activeConnections").await == 3).then_some(())).await;
    assert_eq!(online().await, Some(2));
    drop(second);
    until("a user less", async || (online().await == Some(1)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_banner_says_who_may_come_in_and_no_log_has_a_token() {
    let open = Process::start(&["--embedded-redis-port", "0"]).await;
    assert!(open.has_logged(r#"access="open to everyone""#), "{:?}", open.log);
    let args = ["--embedded-redis-port", "0", "--jwt-secret-key", SECRET, "--log", "trace"];
    let closed = Process::start(&args).await;
    assert!(closed.has_logged(r#"access="by token only""#), "{:?}", closed.log);
    let good = token(json!({"sub": "u"}));
    enter(closed.addr(), "", &[&format!("Authorization: Bearer {good}")]).await;
    enter(closed.addr(), "", &[&format!("Sec-WebSocket-Protocol: bearer, {good}")]).await;
    let mut client = enter(closed.addr(), &format!("?token={good}"), &[]).await;
    authenticate(&mut client, &good).await;
    authenticate(&mut client, "s3cret.of.mine").await;
    client.ending().await;
    until("the refusal to be logged", async || closed.has_logged("token refused").then_some(())).await;
    let mut said = closed.log.lock().unwrap().join("\n");
    for path in ["/health", "/ws/health", "/stats", "/metrics", "/"] {
        said.push_str(&closed.get(path).await.body);
    }
    for secret in [SECRET, "eyJ", "s3cret.of.mine"] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}
