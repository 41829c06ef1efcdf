//! A token is taken from the header, the subprotocol, the query or the first message, in this order; a bad one never counts as
//! none. Programs are told by the status of HTTP, browsers over WebSocket.

use std::time::Instant;

use serde_json::json;
use tokio::task::JoinSet;
use ws_gateway::config::Config;
use ws_gateway::limits::{CLOSE_TIMEOUT, TURNED_AWAY_MAX};

use crate::support::http::get;
use crate::support::stats::metric;
use crate::support::tokens::{SECRET, authenticate, enter, from_now, handshake, token};
use crate::support::{Client, Redis, TestGateway, raw, trade, until};

fn with_tokens(config: &mut Config) {
    config.access.secret_key = Some(SECRET.to_owned());
}

async fn gateway(redis: &Redis, change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::on(redis, |config| {
        with_tokens(config);
        change(config);
    })
    .await
}

/// A token that allows one symbol: what can be subscribed to tells which token was taken.
fn of(symbol: &str) -> String {
    token(json!({"sub": "u", "symbols": [symbol]}))
}

/// Which of the symbols a client may have.
async fn has(client: &mut Client) -> String {
    client.send(r#"{"action":"subscribe","symbols":["*"]}"#).await;
    client.json().await;
    client.send(r#"{"action":"subscribe","symbols":["A","B","C","D"]}"#).await;
    let forbidden = client.json().await["data"]["symbols"].to_string();
    ["A", "B", "C", "D"].into_iter().filter(|symbol| !forbidden.contains(symbol)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_place_wins() {
    let redis = Redis::start().await;
    let gateway =
        gateway(&redis, |config| config.access.anonymous = Some(r#"{"symbols":["D"]}"#.to_owned())).await;
    let header = format!("Authorization: Bearer {}", of("A"));
    let scheme_in_capitals = format!("authorization: BEARER  {}", of("A"));
    let protocol = format!("Sec-WebSocket-Protocol: md.v1.json, bearer, {}", of("B"));
    let query = format!("?token={}", of("C"));
    for (query, lines, expected) in [
        (query.as_str(), &[header.as_str(), &protocol][..], "A"),
        (&query, &[&protocol, &scheme_in_capitals], "A"),
        (&query, &[&protocol], "B"),
        (&query, &[], "C"),
        (&query, &["Authorization: Basic YTpi"], "C"),
        ("", &["Sec-WebSocket-Protocol: bearer"], "D"),
        ("", &[], "D"),
    ] {
        let mut client = enter(gateway.addr, query, lines).await;
        assert_eq!(has(&mut client).await, expected, "{query} {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_is_looked_at_unless_it_is_told_not_to() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| config.access.query_token = false).await;
    let mut client = enter(gateway.addr, &format!("?token={}", of("A")), &[]).await;
    client.send(r#"{"action":"list"}"#).await;
    assert_eq!(client.json().await["code"], "UNAUTHORIZED", "it has yet to send one");
    // Where none can come later, the answer says what was passed over.
    for path in ["/v1/last/AAPL?", "/sse?symbols=AAPL&"] {
        for (query, is_told) in [("x=y".to_owned(), false), (format!("token={}", of("A")), true)] {
            let reply = get(gateway.addr, &format!("{path}{query}")).await;
            assert_eq!((reply.status, reply.code().as_str()), (401, "UNAUTHORIZED"));
            assert_eq!(reply.body.contains("AUTH_QUERY_TOKEN=false"), is_told, "{path}{query}: {reply:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answered_subprotocol_is_a_form_or_else_bearer() {
    let redis = Redis::start().await;
    let open = TestGateway::on(&redis, |_| {}).await;
    let closed = gateway(&redis, |_| {}).await;
    let token = of("A");
    for (offered, answered) in [
        (format!("bearer, {token}"), Some("bearer")),
        (format!("bearer, {token}, md.v1.json"), Some("md.v1.json")),
        (format!("chat, md.v1.json, bearer, {token}"), Some("md.v1.json")),
        ("chat".to_owned(), None),
    ] {
        for gateway in [&open, &closed] {
            let line = format!("Sec-WebSocket-Protocol: {offered}");
            let (reply, _) = handshake(gateway.addr, "", &[&line]).await;
            assert_eq!((reply.status, reply.header("sec-websocket-protocol")), (101, answered), "{offered}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_with_a_bad_token_is_told_by_http() {
    let redis = Redis::start().await;
    let rights = |config: &mut Config| config.access.anonymous = Some("{}".to_owned());
    let gateway = gateway(&redis, rights).await;
    let expired = token(json!({"sub": "u", "exp": from_now(-60)}));
    let header = format!("Authorization: Bearer {expired}");
    let protocol = format!("Sec-WebSocket-Protocol: bearer, {expired}");
    let query = format!("?token={expired}");
    let good = of("A");
    let good_header = format!("Authorization: Bearer {good}");
    let good_protocol = format!("Sec-WebSocket-Protocol: bearer, {good}");
    let good_query = format!("?token={good}");
    for (query, lines) in [
        ("", &[header.as_str()][..]),
        ("", &[&protocol]),
        (&query, &[]),
        ("?token=", &[]),
        ("?token=%ff", &[]),
        ("", &["Authorization: Bearer "]),
        ("", &["Authorization: Bearer \u{e9}"]),
        ("", &["Authorization: Bearer a.b.c"]),
        ("", &["Sec-WebSocket-Protocol: md.v1.json, bearer, garbage"]),
        // A good one in a later place saves none.
        (&good_query, &[&header]),
        (&good_query, &[&protocol]),
        (&good_query, &["Authorization: Bearer "]),
        ("", &[&header, &good_protocol]),
        ("", &[&header, &good_header]),
        (&format!("{query}&{}", &good_query[1..]), &[]),
    ] {
        let target = format!("GET /ws{query} HTTP/1.1");
        let head = crate::support::http::HANDSHAKE.replace("GET /ws HTTP/1.1", &target);
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let reply = crate::support::http::ask(gateway.addr, &format!("{head}{lines}")).await;
        assert_eq!((reply.status, reply.code().as_str()), (401, "UNAUTHORIZED"), "{query} {lines}");
        assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
        assert!(!reply.body.contains("eyJ"), "{}", reply.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_with_a_bad_token_is_told_over_websocket() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let page = format!("Origin: http://{}", gateway.addr);
    let mut client = enter(gateway.addr, "?token=bad&symbols=A", &[&page]).await;
    let told = client.json().await;
    assert_eq!((&told["type"], &told["code"]), (&json!("error"), &json!("UNAUTHORIZED")));
    assert_eq!(client.ending().await.map(|(code, _)| code), Some(1008));
    // Nor do all together take more than a bounded number of places.
    let begun = Instant::now();
    let mut places = Vec::new();
    until("one that is told over HTTP, as there is no place for it", async || {
        let mut many = JoinSet::new();
        for _ in 0..300 {
            let (addr, page) = (gateway.addr, page.clone());
            many.spawn(async move { handshake(addr, "?token=bad", &[&page]).await });
        }
        let replies = many.join_all().await;
        let is_full = replies.iter().any(|(reply, _)| reply.status == 401);
        places.extend(replies.into_iter().filter(|(reply, _)| reply.status == 101));
        is_full.then_some(())
    })
    .await;
    // A busy machine takes its time, and a place that is not given back ends.
    let times = 1 + begun.elapsed().div_duration_f64(CLOSE_TIMEOUT) as usize;
    let most = TURNED_AWAY_MAX * times;
    assert!((TURNED_AWAY_MAX - 1..=most).contains(&places.len()), "{} of {most}", places.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_the_first_message_has_it() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut client = Client::connect(&format!("ws://{}/ws?symbols=AAPL,MSFT", gateway.addr)).await;
    for (message, code) in [
        (r#"{"action":"subscribe","symbols":["AAPL"]}"#, "UNAUTHORIZED"),
        (r#"{"action":"buy"}"#, "UNAUTHORIZED"),
        (r#"{"action":"auth"}"#, "UNAUTHORIZED"),
        ("no json", "INVALID_JSON"),
    ] {
        client.send(message).await;
        assert_eq!(client.json().await["code"], code, "{message}");
    }
    client.send(r#"{"action":"ping","id":1}"#).await;
    assert_eq!(client.json().await["type"], "pong");
    let exp = from_now(3_600);
    let token = token(json!({"sub": "user-123", "exp": exp}));
    client.send(json!({"action": "auth", "token": token, "id": "x"}).to_string()).await;
    let text = client.text().await;
    let expected = format!(
        r#"{{"type":"success","message":"Authenticated","data":{{"user":"user-123","expiresAt":{exp}000}},"timestamp":"#
    );
    assert!(text.starts_with(&expected) && text.ends_with(r#","id":"x"}"#), "{text}");
    let subscribed = client.json().await;
    assert_eq!(subscribed["data"]["subscribed"], json!(["AAPL", "MSFT"]), "?symbols= has waited");
    redis.publisher().await.trade("AAPL", &trade("AAPL", "1", 1)).await;
    client.gets("AAPL", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_first_message_ends_the_connection() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    for bad in ["", "bad", &token(json!({"sub": "u", "exp": from_now(-60)})), &"x".repeat(20_000)] {
        let mut client = gateway.client().await;
        let told = authenticate(&mut client, bad).await;
        assert_eq!((&told["type"], &told["code"]), (&json!("error"), &json!("UNAUTHORIZED")), "{told}");
        assert_eq!(client.ending().await.map(|(code, _)| code), Some(1008));
    }
}

/// A gateway of one shard: two of its places are for newcomers.
async fn with_eight_places(redis: &Redis) -> TestGateway {
    gateway(redis, |config| {
        config.process.shards = 1;
        config.server.max_connections = 8;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn newcomers_take_a_quarter_of_the_places() {
    let redis = Redis::start().await;
    let gateway = with_eight_places(&redis).await;
    let mut oldest = gateway.client().await;
    let mut known = gateway.client().await;
    authenticate(&mut known, &of("A")).await;
    let mut newcomers = vec![gateway.client().await];
    oldest.send(r#"{"action":"ping"}"#).await;
    assert_eq!(oldest.json().await["type"], "pong", "two have their places");
    newcomers.push(gateway.client().await);
    assert_eq!(oldest.json().await["code"], "UNAUTHORIZED");
    assert_eq!(oldest.ending().await.map(|(code, _)| code), Some(1008));
    for client in newcomers.iter_mut().chain([&mut known]) {
        client.send(r#"{"action":"ping"}"#).await;
        assert_eq!(client.json().await["type"], "pong");
    }
}

/// Also while they are being closed: who neither reads nor closes takes no place of those that are known.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_that_stay_when_they_are_closed_keep_no_places() {
    let redis = Redis::start().await;
    let gateway = with_eight_places(&redis).await;
    let (mut strangers, mut known) = (Vec::new(), Vec::new());
    for n in 0..40 {
        strangers.push(raw::connect(gateway.addr, "/ws", None).await);
        // The quarter, and the one that has made room for the last.
        let most = 3 + known.len() as u64;
        // Seats, as their shard may not have taken over all who have come.
        let taken = async || metric(gateway.addr, "ws_seats_taken ").await;
        until("the places", async || (taken().await <= most).then_some(())).await;
        if n >= 35 {
            known.push(enter(gateway.addr, &format!("?token={}", of("A")), &[]).await);
        }
    }
    assert_eq!(known.len(), 5);
    for client in &mut known {
        client.subscribe(&["A"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_has_its_time() {
    let redis = Redis::start().await;
    let gateway =
        gateway(&redis, |config| config.access.timeout = std::time::Duration::from_millis(100)).await;
    let mut client = gateway.client().await;
    let told = client.json().await;
    assert_eq!(told["code"], "UNAUTHORIZED");
    assert!(told["message"].as_str().unwrap().contains("AUTH_TIMEOUT"), "{told}");
    assert_eq!(client.ending().await.map(|(code, _)| code), Some(1008));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_gateway_asks_nobody() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut client = enter(gateway.addr, "?token=whatever", &["Authorization: Bearer x"]).await;
    client.subscribe(&["AAPL"]).await;
    client.send(r#"{"action":"auth","token":"whatever","id":7}"#).await;
    let text = client.text().await;
    let expected = r#"{"type":"success","message":"Authenticated","data":{"user":null},"timestamp":"#;
    assert!(text.starts_with(expected) && text.ends_with(r#","id":7}"#), "{text}");
    client.send(r#"{"action":"auth","id":7}"#).await;
    assert_eq!(client.json().await["code"], "INVALID_INPUT");
}
