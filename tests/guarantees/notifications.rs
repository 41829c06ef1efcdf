//! Workers tell a room, a user or everyone something: byte for byte, to those alone.

use serde_json::{Value, json};
use ws_gateway::config::Config;
use ws_gateway::gateway::Gateway;

use crate::support::desk::{gateway, user};
use crate::support::process::Process;
use crate::support::redis::Publisher;
use crate::support::tokens::{SECRET, authenticate, enter};
use crate::support::{Client, Redis};

const UPDATE: &str = r#"{"type":"task_status_update","event_id":"7","data":{"progress" : 1.50}}"#;

async fn are_for_whom_they_name(
    one: std::net::SocketAddr,
    other: std::net::SocketAddr,
    mut worker: Publisher,
) {
    let (mut first, mut second) = (user(one, "user-123").await, user(other, "user-123").await);
    let mut stranger = user(one, "user-456").await;
    // A shard asks for its users' events before it answers their first request.
    for client in [&mut first, &mut second, &mut stranger] {
        client.gets_nothing().await;
    }
    worker.raw("channel:user:user-123", format!(" {UPDATE}\n").as_bytes()).await;
    for client in [&mut first, &mut second] {
        assert_eq!(client.text().await, UPDATE);
    }
    stranger.gets_nothing().await;

    // A room's members.
    first.join("r").await;
    worker.raw("channel:room:r", UPDATE.as_bytes()).await;
    assert_eq!(first.text().await, UPDATE);
    second.gets_nothing().await;

    // Everyone at the desk: those who have asked it something.
    worker.raw("channel:broadcast", UPDATE.as_bytes()).await;
    assert_eq!(first.text().await, UPDATE);
    second.gets_nothing().await;
    stranger.gets_nothing().await;
    let (reply, _) = stranger.ask_for("leave_room", json!({"room_id": "r"})).await;
    assert_eq!(reply["type"], "success");
    worker.raw("channel:broadcast", UPDATE.as_bytes()).await;
    for client in [&mut first, &mut stranger] {
        assert_eq!(client.text().await, UPDATE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_two_gateways() {
    let redis = Redis::start().await;
    let (one, other) = (gateway(&redis, |_| {}).await, gateway(&redis, |_| {}).await);
    are_for_whom_they_name(one.addr, other.addr, redis.publisher().await).await;
}

/// What the market's events mean by `symbol` and `seq` has no meaning here: nothing is folded, and nothing is a repeat or a gap.
#[tokio::test(flavor = "multi_thread")]
async fn symbols_and_numbers_mean_nothing() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut client = user(gateway.addr, "user-123").await;
    client.gets_nothing().await;
    let mut worker = redis.publisher().await;
    for object in [
        r#"{"symbol":"aapl","type":"order","seq":7}"#,
        r#"{"symbol":"aapl","type":"order","seq":7}"#,
        r#"{"seq":100,"symbol":7,"type":"order", "price":1.50}"#,
        r#"{"seq":-1.0,"type":"order","symbol":null}"#,
    ] {
        worker.raw("channel:user:user-123", object.as_bytes()).await;
        assert_eq!(client.text().await, object);
    }
}

/// A client that has connected with `?desk=1` need not ask anything.
#[tokio::test(flavor = "multi_thread")]
async fn broadcasts_are_for_those_who_ask_for_them_in_their_url() {
    let redis = Redis::start().await;
    let with_keys =
        gateway(&redis, |config| config.access.anonymous = Some(r#"{"rooms":["r"]}"#.to_owned())).await;
    let mut worker = redis.publisher().await;
    let bearer =
        format!("Authorization: Bearer {}", crate::support::tokens::token(json!({"sub": "user-123"})));
    let mut listening = enter(with_keys.addr, "?desk=1&symbols=AAPL", &[&bearer]).await;
    assert_eq!(listening.json().await["type"], "success");
    let mut nameless = enter(with_keys.addr, "?desk=1", &[]).await;
    nameless.gets_nothing().await;
    let mut market_only = enter(with_keys.addr, "?desk=0", &[&bearer]).await;
    market_only.gets_nothing().await;
    worker.raw("channel:broadcast", UPDATE.as_bytes()).await;
    for client in [&mut listening, &mut nameless] {
        assert_eq!(client.text().await, UPDATE);
    }
    market_only.gets_nothing().await;
    // Who shows a token later stays where it was.
    let renewed = authenticate(&mut nameless, &crate::support::tokens::token(json!({"sub": "later"}))).await;
    assert_eq!(renewed["type"], "success", "{renewed}");
    worker.raw("channel:broadcast", UPDATE.as_bytes()).await;
    assert_eq!(nameless.text().await, UPDATE);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_embedded_broker() {
    let mut config = Config::for_tests();
    config.access.secret_key = Some(SECRET.to_owned());
    config.desk.is_on = true;
    let gateway = Gateway::build(config).await.expect("the gateway starts");
    let broker = gateway.broker_addr().expect("it has one");
    let worker = Publisher::connect(&format!("redis://{broker}")).await;
    are_for_whom_they_name(gateway.local_addr(), gateway.local_addr(), worker).await;
}

/// What users and rooms are told is private: a bad one is logged with its reason and its channel, and nothing of what it says.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_bad_one_is_logged() {
    const SECRET: &str = "DE89370400440532013000";
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &["--desk"]).await;
    let large = format!(r#"{{"iban":"{SECRET}","filling":"{}"}}"#, "x".repeat(65_536));
    let too_deep = format!(r#"{{"iban":"{SECRET}","y":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let mut worker = redis.publisher().await;
    for (reason, rest, payload) in [
        ("bad_field", "user:u1", format!(r#"{{"type":"chat","iban":"{SECRET}"}}"#)),
        ("not_json", "desk:user:u1", format!(r#"{{"iban":"{SECRET}"}}"#)),
        ("not_object", "room:r", format!("\"{SECRET}\"")),
        ("too_deep", "broadcast", too_deep),
        ("bad_symbol", "user:", SECRET.to_owned()),
        ("too_large", "room:r", large),
    ] {
        worker.raw(&format!("channel:{rest}"), payload.as_bytes()).await;
        let line = gateway.logs(&format!("reason={reason:?}")).await;
        assert!(line.contains(&format!(" symbol={rest} fault=")), "{line}");
        assert!(line.contains(" payload_bytes="), "{line}");
    }
    gateway.taken(6).await;
    let log = gateway.log.lock().unwrap();
    assert_eq!(log.iter().find(|line| line.contains(SECRET) || line.contains("iban")), None);
}

/// A client that doesn't read is told exactly how much it has missed, of each room, of its user and of what is for all.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_told_what_it_has_missed() {
    const ROUNDS: u64 = 60;
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| {
        config.process.shards = 1;
        config.delivery.max_outbox_bytes = 50_000;
        config.desk.max_rooms_per_user = 50;
    })
    .await;
    let token = crate::support::tokens::token(json!({"sub": "slow"}));
    let stream = crate::support::raw::connect(gateway.addr, &format!("/ws?token={token}"), Some(4_096)).await;
    let mut slow = Client::from_raw(stream).await;
    slow.join("a").await;
    slow.join("b").await;
    let mut worker = redis.publisher().await;
    let padding = "x".repeat(1_000);
    let channels = [
        ("channel:room:a", "room", "a"),
        ("channel:room:b", "room", "b"),
        ("channel:user:slow", "user", "slow"),
        ("channel:broadcast", "broadcast", "*"),
    ];
    let skipped = |gateway: &crate::support::TestGateway| {
        gateway.gateway.state().metrics.sum(|shard| &shard.events_skipped)
    };
    let mut rounds = 0;
    let mut sent = 0;
    while skipped(&gateway) == 0 || rounds < ROUNDS {
        for (channel, _, _) in channels {
            let events = (0..10).map(|_| {
                sent += 1;
                (
                    channel.to_owned(),
                    format!(r#"{{"type":"flood","channel":"{channel}","data":"{padding}"}}"#),
                )
            });
            worker.publish_all(events.collect::<Vec<_>>()).await;
        }
        rounds += 1;
        gateway.taken(sent).await;
    }
    worker.raw("channel:user:slow", br#"{"type":"last"}"#).await;
    let (mut delivered, mut announced) = (Vec::new(), Vec::<(Value, Value, u64)>::new());
    slow.send(r#"{"action":"ping"}"#).await;
    loop {
        let frame = slow.json().await;
        match frame["type"].as_str() {
            Some("flood") => delivered.push(frame["channel"].clone()),
            Some("status") if frame["event"] == "skipped" => {
                let data = &frame["data"];
                announced.push((
                    data["type"].clone(),
                    data["symbol"].clone(),
                    data["count"].as_u64().unwrap(),
                ));
            }
            Some("pong") => break,
            _ => {}
        }
    }
    // By the time of the next answer it has been told all there is to tell.
    slow.send(r#"{"action":"ping"}"#).await;
    loop {
        let frame = slow.json().await;
        if frame["type"] == "pong" {
            break;
        }
        if frame["event"] == "skipped" {
            let data = &frame["data"];
            announced.push((data["type"].clone(), data["symbol"].clone(), data["count"].as_u64().unwrap()));
        }
    }
    for (channel, kind, symbol) in channels {
        let came = delivered.iter().filter(|each| **each == channel).count() as u64;
        let told = announced.iter().filter(|(each, name, _)| (each, name) == (&json!(kind), &json!(symbol)));
        let told: u64 = told.map(|(_, _, count)| count).sum();
        assert!(told > 0, "{channel} lost some");
        assert_eq!(came + told, 10 * rounds, "{channel}: delivered {came}, announced {told}");
    }
}
