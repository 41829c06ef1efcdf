//! A type of the workers' own carries any JSON object, and everything that has a type in it works with it: requests and replies,
//! patterns, snapshots, resuming, conflation, statuses. Its names are never folded.

use crate::support::settings::{refusal, resolve};
use crate::support::{Client, Redis, TestGateway, trade};
use serde_json::{Value, json};

/// A gateway that carries trades and two types of the workers' own.
async fn gateway(redis: &Redis) -> TestGateway {
    TestGateway::on(redis, |config| {
        config.events.channel_types = "trade,order_book,x9".parse().unwrap();
        config.clients.max_symbols_per_client = 10;
        config.history.last_value_key = Some("last:{type}:".to_owned());
    })
    .await
}

/// The next frame is an event of that type with exactly this object.
async fn gets(client: &mut Client, type_name: &str, object: &str) -> String {
    let text = client.text().await;
    assert!(text.starts_with(&format!(r#"{{"type":"{type_name}","data":{object},"timestamp":"#)), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn carry_any_object_byte_for_byte() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.client().await;
    let reply =
        client.subscribe_with(json!({"symbols": ["aapl"], "types": ["trade", "order_book"], "id": 1})).await;
    assert_eq!(
        reply["data"],
        json!({"subscribed": ["AAPL", "aapl"], "currentSubscriptions": ["AAPL"], "currentByType": {"order_book": ["aapl"]}})
    );
    assert_eq!(reply["message"], "Successfully subscribed to 2 symbol(s)");
    let objects = [
        "{}",
        r#"{"bids":[[150.250,1e2]],"nested":{"symbol":"B"},"price":"none"}"#,
        r#"{"symbol":"aapl","timestamp":1.5,"a":1,"a":2}"#,
        r#"{"s":"\ud83d\ude00","seq":"odd"}"#,
    ];
    for object in objects {
        worker.raw("channel:order_book:aapl", object.as_bytes()).await;
        gets(&mut client, "order_book", object).await;
    }
    // Another case is another name, for events and for requests.
    worker.raw("channel:order_book:AAPL", b"{}").await;
    worker.raw("channel:trade:aapl", trade("aapl", "1", 7).as_bytes()).await;
    client.gets("aapl", 7).await;
    client.send(json!({"action": "list"}).to_string()).await;
    assert_eq!(client.json().await["data"]["currentByType"], json!({"order_book": ["aapl"]}));
    client
        .send(json!({"action": "unsubscribe", "symbols": ["AAPL"], "types": ["order_book"]}).to_string())
        .await;
    assert_eq!(client.json().await["data"]["unsubscribed"], json!([]));
    client
        .send(json!({"action": "unsubscribe", "symbols": ["*"], "types": ["order_book"]}).to_string())
        .await;
    assert_eq!(client.json().await["data"]["unsubscribed"], json!(["aapl"]));
    client.send(json!({"action": "subscribe", "symbols": ["A"], "types": ["halt"]}).to_string()).await;
    let refusal = client.json().await["message"].as_str().unwrap().to_owned();
    assert!(refusal.ends_with("configured here: trade,order_book,x9"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_read_in_two_ways_is_dropped() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.client().await;
    client.subscribe_with(json!({"symbols": ["A"], "types": ["x9"]})).await;
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(128), "]".repeat(128));
    for (bad, reason) in [
        ("[1]", "not_object"),
        ("{", "not_json"),
        (r#"{"x":"\ud800"}"#, "lone_surrogate"),
        (deep.as_str(), "too_deep"),
        (r#"{"symbol":"a"}"#, "wrong_symbol"),
        (r#"{"symbol":"A","symbol":"A"}"#, "bad_field"),
        (r#"{"seq":1,"seq":1}"#, "bad_field"),
        (r#"{"timestamp":"now"}"#, "bad_field"),
    ] {
        let rejected = async || -> Value {
            let stats: Value = serde_json::from_str(&gateway.get("/stats").await.body).unwrap();
            stats["events"]["rejected"][reason].clone()
        };
        let before = rejected().await.as_u64().unwrap();
        worker.raw("channel:x9:A", bad.as_bytes()).await;
        worker.raw("channel:x9:A", br#"{"symbol":"A"}"#).await;
        gets(&mut client, "x9", r#"{"symbol":"A"}"#).await;
        assert_eq!(rejected().await, before + 1, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn are_remembered_matched_resumed_and_conflated() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis).await;
    let mut worker = redis.publisher().await;
    let numbered = |seq: u64| format!(r#"{{"seq":{seq},"v":{seq}}}"#);
    for seq in 1..=3 {
        worker.raw("channel:x9:eu-1", numbered(seq).as_bytes()).await;
    }
    worker.raw("channel:x9:EU-1", b"{}").await;
    let () = worker.command(&["SET", "last:x9:eu-kept", r#"{"kept":true}"#]).await;
    gateway.taken(4).await;

    let mut client = gateway.client().await;
    client.subscribe_with(json!({"symbols": ["eu-*", "eu-kept"], "types": ["x9"], "snapshot": true})).await;
    assert!(gets(&mut client, "x9", &numbered(3)).await.ends_with(r#","snapshot":true}"#));
    gets(&mut client, "x9", r#"{"kept":true}"#).await;
    assert_eq!(client.json().await["data"], json!({"symbols": ["eu-*", "eu-kept"], "type": "x9"}));
    worker.raw("channel:x9:eu-1", numbered(6).as_bytes()).await;
    assert_eq!(client.json().await["data"], json!({"symbol": "eu-1", "type": "x9", "from": 4, "to": 5}));
    gets(&mut client, "x9", &numbered(6)).await;
    // Without a timestamp nothing tells a repeat from a worker that has restarted: it is a repeat.
    worker.raw("channel:x9:eu-1", numbered(6).as_bytes()).await;
    worker.raw("channel:x9:eu-1", numbered(7).as_bytes()).await;
    gets(&mut client, "x9", &numbered(7)).await;

    let mut back = gateway.client().await;
    let request = json!({"symbols": ["eu-1"], "types": ["x9"], "resume": {"eu-1": 6}});
    assert_eq!(back.subscribe_with(request).await["data"]["recovered"], json!({"eu-1": true}));
    assert!(gets(&mut back, "x9", &numbered(7)).await.ends_with(r#","replay":true}"#));
    assert_eq!(back.json().await["data"], json!({"symbols": ["eu-1"], "type": "x9"}));

    // Conflated, but nothing is added up.
    let mut slow = gateway.client().await;
    let request = json!({"symbols": ["eu-1"], "types": ["x9"], "conflate": "aggregate", "maxRate": 0.5});
    slow.subscribe_with(request).await;
    for seq in 8..=20 {
        worker.raw("channel:x9:eu-1", numbered(seq).as_bytes()).await;
    }
    let last = loop {
        let text = slow.text().await;
        if text.contains(&numbered(20)) {
            break text;
        }
    };
    assert!(!last.contains("conflated"), "{last}");
}

/// A worker that restarts its numbers is followed also where its events have no `timestamp`.
#[tokio::test(flavor = "multi_thread")]
async fn may_count_without_a_timestamp() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.client().await;
    client.subscribe_with(json!({"symbols": ["A"], "types": ["x9"]})).await;
    for (seq, object) in [
        (1_000, r#"{"seq":1000}"#),
        (1, r#"{"seq":1}"#),
        (2, r#"{"seq":2,"timestamp":5}"#),
        (3, r#"{"seq":3}"#),
    ] {
        worker.raw("channel:x9:A", object.as_bytes()).await;
        assert_eq!(client.json().await["data"]["seq"], seq);
    }
}

#[test]
fn are_named_by_a_rule_and_shown_as_they_are_configured() {
    let set = |value: &str| resolve(&[], &[("CHANNEL_TYPES", value)]);
    let config = set(" x9, trade,order_book,x9 ").unwrap();
    assert!(config.show().contains("\nCHANNEL_TYPES=trade,x9,order_book\n"), "{}", config.show());
    for bad in ["Trade", "9x", "a-b", "trade,status", "refused", "presence", "user_left", ","] {
        let message = refusal(&[], &[("CHANNEL_TYPES", bad)]);
        assert!(message.contains("CHANNEL_TYPES"), "{message}");
        for reserved in ws_gateway::market::RESERVED_TYPES {
            assert!(message.contains(reserved), "{message}");
        }
    }
    let many = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>().join(",");
    assert!(set(&many(32)).is_ok() && set(&many(33)).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn are_known_to_the_page() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis).await;
    let page = gateway.get("/").await.body;
    assert!(page.contains(r#"<meta name="channel-types" content="trade,order_book,x9">"#));
}
