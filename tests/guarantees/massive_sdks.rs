//! The clients of Massive (Polygon) on the gateway, with nothing changed but the address: every type, the star, unsubscribe, errors, restart,
//! silence, and one that is too slow.

use crate::support::detour::Detour;
use crate::support::program::{Program, node, python};
use crate::support::redis::Publisher;
use crate::support::tokens::{SECRET, token};
use crate::support::{Redis, TestGateway, trade, until};
use serde_json::json;
use ws_gateway::config::{Config, SlowClientPolicy};
use ws_gateway::metrics::{Counter, ShardMetrics};
use ws_gateway::protocol::api::Api;

fn with_massive(config: &mut Config) {
    config.clients.dialects = [Api::Massive].into_iter().collect();
    config.events.channel_types = "trade,quote,candle".parse().unwrap();
}

fn events() -> Vec<(&'static str, String)> {
    let candle = |interval: &str| {
        format!(
            r#"{{"symbol":"AAPL","open":1,"high":2,"low":1,"close":2,"volume":5,"timestamp":60000,"interval":"{interval}"}}"#
        )
    };
    vec![
        ("trade:AAPL", trade("AAPL", "150.250", 1)),
        ("quote:AAPL", r#"{"symbol":"AAPL","bidPrice":1.5,"askPrice":2,"timestamp":5}"#.to_owned()),
        ("candle:AAPL", candle("1m")),
        ("candle:AAPL", candle("5m")),
        ("candle:AAPL", candle("1s")),
    ]
}

pub(crate) async fn started(
    requirement: &str,
    module: &str,
    way: &Detour,
    market: &str,
    key: &str,
    channels: &str,
) -> Program {
    let mut script = python(requirement, "massive_py.py").await;
    script.args([module, &way.addr.to_string(), market, key, channels]);
    Program::start(script)
}

async fn python_client(requirement: &str, module: &str) {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, with_massive).await;
    let way = Detour::to(first.addr).await;
    let mut client = started(requirement, module, &way, "stocks", "K", "T.*,Q.AAPL,AM.*,A.AAPL").await;
    // One status for each, in the order of a Python set.
    for _ in 0..4 {
        client.logs("subscribed to: ").await;
    }
    redis.publisher().await.events(events()).await;
    let mut seen = std::collections::BTreeMap::new();
    while seen.len() < 4 {
        let line = client.line_with("event").await;
        let event = line["event"].clone();
        let kind = event["event_type"].as_str().expect("a type").to_owned();
        assert!(seen.insert(kind, event).is_none(), "{line}");
    }
    let traded = &seen["T"];
    assert_eq!(
        (&traded["symbol"], &traded["price"], &traded["size"]),
        (&json!("AAPL"), &json!(150.25), &json!(100))
    );
    assert_eq!((&seen["Q"]["bid_price"], &seen["AM"]["end_timestamp"]), (&json!(1.5), &json!(120_000)));
    assert_eq!(seen["A"]["end_timestamp"], 61_000);

    client.say(&json!({"unsubscribe": ["T.*"], "subscribe": ["T.MSFT"]}).to_string()).await;
    client.logs("subscribed to: T.MSFT").await;
    client.logs("unsubscribed to: T.*").await;
    redis
        .publisher()
        .await
        .events([("trade:AAPL", trade("AAPL", "1", 2)), ("trade:MSFT", trade("MSFT", "3", 2))])
        .await;
    assert_eq!(client.line_with("event").await["event"]["symbol"], "MSFT");
    client.say(&json!({"subscribe": ["LULD.AAPL"]}).to_string()).await;
    client.logs("no channel for LULD.AAPL").await;
    client.say(&json!({"unsubscribe": ["LULD.AAPL"]}).to_string()).await;
    client.logs("no channel for LULD.AAPL").await;

    let second = TestGateway::on(&redis, with_massive).await;
    way.lead_to(second.addr);
    let draining = tokio::spawn(first.gateway.drain());
    client.logs("subscribed to: T.MSFT").await;
    draining.await.expect("it ends");
    way.cut();
    client.logs("subscribed to: T.MSFT").await;
    redis.publisher().await.events([("trade:MSFT", trade("MSFT", "4", 3))]).await;
    assert_eq!(client.line_with("event").await["event"]["price"], 4.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn massive_for_python() {
    python_client("massive==2.9.1", "massive").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polygon_for_python() {
    python_client("polygon-api-client==1.16.3", "polygon").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_key_is_final_for_python() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_massive(config);
        config.access.secret_key = Some(SECRET.to_owned());
    })
    .await;
    let way = Detour::to(gateway.addr).await;
    let mut client = started("massive==2.9.1", "massive", &way, "crypto", "nobody", "XT.BTC-USD").await;
    let end = client.line_with("end").await;
    assert!(end["end"].as_str().is_some_and(|end| end.starts_with("AuthError: ")), "{end}");
    let key = token(json!({"sub": "u"}));
    let mut client = started("massive==2.9.1", "massive", &way, "crypto", &key, "XT.BTC-USD").await;
    client.logs("subscribed to: XT.BTC-USD").await;
    redis.publisher().await.events([("trade:BTC-USD", trade("BTC-USD", "1e-8", 2))]).await;
    let line = client.line_with("event").await;
    assert_eq!((&line["type"], &line["event"]["pair"]), (&json!("CryptoTrade"), &json!("BTC-USD")));
}

/// A client for Node.js with a key.
pub(crate) async fn in_node_with(url: &str, market: &str, key: &str) -> Program {
    let mut script = node("massive_node.js").await;
    script.args([url, market, key]);
    Program::start(script)
}

/// A client for Node.js that is let in.
pub(crate) async fn in_node(url: &str, market: &str) -> Program {
    let mut client = in_node_with(url, market, "K").await;
    for said in ["connected", "auth_success"] {
        assert_eq!(client.json().await[0]["status"], said);
    }
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn massive_for_node() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_massive).await;
    let mut client = in_node(&format!("ws://{}/massive", gateway.addr), "forex").await;
    client.say(r#"{"action":"subscribe","params":"C.EUR/USD,CA.*"}"#).await;
    let answer = client.json().await;
    assert_eq!(answer[0]["message"], "subscribed to: C.EUR/USD");
    assert_eq!(answer[1]["message"], "subscribed to: CA.*");
    let quote = r#"{"symbol":"EUR/USD","bidPrice":1.05,"askPrice":1.06,"timestamp":5}"#.to_owned();
    redis.publisher().await.events([("quote:EUR/USD", quote)]).await;
    assert_eq!(client.json().await, json!([{"ev": "C", "p": "EUR/USD", "a": 1.06, "b": 1.05, "t": 5}]));
    client.say(r#"{"action":"unsubscribe","params":"C.EUR/USD"}"#).await;
    assert_eq!(client.json().await[0]["message"], "unsubscribed to: C.EUR/USD");
    let draining = tokio::spawn(gateway.gateway.drain());
    assert_eq!(client.json().await[0]["status"], "force_disconnect");
    assert_eq!(client.json().await, json!({"code": 1012}));
    draining.await.expect("it ends");
}

/// Large enough that kernel buffers don't take everything.
fn large(n: u64) -> (String, String) {
    let payload = format!(r#"{{"symbol":"A","price":1,"volume":1,"timestamp":{n},"id":"{n:0>500}"}}"#);
    ("A".to_owned(), payload)
}

async fn slow_gateway(redis: &Redis, policy: SlowClientPolicy) -> TestGateway {
    TestGateway::on(redis, |config| {
        with_massive(config);
        config.events.max_event_bytes = 1_024;
        config.delivery.max_outbox_bytes = 64 * 1_024;
        config.delivery.slow_client_policy = policy;
    })
    .await
}

/// The price of the trade behind all others.
const LAST: u64 = 7;

/// A client that reads all trades to the last, and then says how many they were.
async fn reading(gateway: &TestGateway) -> tokio::task::JoinHandle<u64> {
    let mut client = in_node(&format!("ws://{}", gateway.addr), "stocks").await;
    client.say(r#"{"action":"subscribe","params":"T.A"}"#).await;
    assert_eq!(client.json().await[0]["status"], "success");
    tokio::spawn(async move {
        let mut next = 0;
        loop {
            for event in client.json().await.as_array().expect("an array") {
                assert_eq!(event["t"], next, "{event}");
                if event["p"] == LAST {
                    return next;
                }
                next += 1;
            }
        }
    })
}

/// A client that reads nothing until something is counted, and then goes on; and how many trades were published meanwhile.
async fn slow_until(
    gateway: &TestGateway,
    way: &Detour,
    worker: &mut Publisher,
    counter: impl Fn(&ShardMetrics) -> &Counter,
) -> (Program, u64) {
    let mut slow = started("massive==2.9.1", "massive", way, "stocks", "K", "T.A").await;
    slow.logs("subscribed to: T.A").await;
    slow.pause();
    let metrics = &gateway.gateway.state().metrics;
    let published = gateway.publish_until(worker, large, || metrics.sum(&counter) > 0).await;
    slow.go_on();
    (slow, published)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_told_what_it_misses_and_the_others_miss_nothing() {
    let redis = Redis::start().await;
    let gateway = slow_gateway(&redis, SlowClientPolicy::Skip).await;
    let reader = reading(&gateway).await;
    let way = Detour::to(gateway.addr).await;
    let mut worker = redis.publisher().await;
    let (mut slow, published) = slow_until(&gateway, &way, &mut worker, |shard| &shard.events_skipped).await;
    let (mut delivered, mut announced, mut next) = (0, 0, 0);
    while delivered + announced < published {
        let line = slow.json().await;
        let told = line["log"].as_str().and_then(|log| log.strip_prefix("status: "));
        if let Some((count, _)) = told.and_then(|told| told.split_once(" events of T.A were skipped")) {
            let count: u64 = count.parse().expect("a number");
            announced += count;
            next += count;
        } else if line.get("event").is_some() {
            assert_eq!(line["event"]["timestamp"], next, "{line}");
            delivered += 1;
            next += 1;
        }
    }
    assert_eq!(delivered + announced, published);
    assert!(announced > 0);
    worker.events([("trade:A", trade("A", &LAST.to_string(), published))]).await;
    assert_eq!(reader.await.expect("all of them, in order"), published);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_closed_where_that_is_the_policy_and_comes_back() {
    let redis = Redis::start().await;
    let gateway = slow_gateway(&redis, SlowClientPolicy::Disconnect).await;
    let reader = reading(&gateway).await;
    let way = Detour::to(gateway.addr).await;
    let mut worker = redis.publisher().await;
    let (mut slow, published) = slow_until(&gateway, &way, &mut worker, |shard| &shard.slow_closed).await;
    slow.logs("server slow_consumer: ").await;
    slow.logs("subscribed to: T.A").await;
    worker.events([("trade:A", trade("A", &LAST.to_string(), published))]).await;
    assert_eq!(slow.line_with("event").await["event"]["price"], 7.0);
    assert_eq!(reader.await.expect("all of them, in order"), published);
}

fn with_pings(config: &mut Config) {
    with_massive(config);
    config.delivery.ping_interval = std::time::Duration::from_millis(100);
    config.delivery.pong_timeout = std::time::Duration::from_millis(100);
    // A machine with much to do may let a client wait for seconds.
    config.delivery.max_missed_pongs = 50;
}

/// At 1001 it would return as if its work were done.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_taken_for_dead_comes_back() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_pings(config);
        config.delivery.max_missed_pongs = 10;
    })
    .await;
    let way = Detour::to(gateway.addr).await;
    for (requirement, module) in [("massive==2.9.1", "massive"), ("polygon-api-client==1.16.3", "polygon")] {
        let mut client = started(requirement, module, &way, "stocks", "K", "T.A").await;
        client.logs("subscribed to: T.A").await;
        let dead = || gateway.gateway.state().metrics.sum(|shard| &shard.pong_timeouts);
        let before = dead();
        client.pause();
        until("the missed pongs", async || (dead() > before).then_some(())).await;
        client.go_on();
        client.logs("connection closed (ERR): received 1013").await;
        client.logs("subscribed to: T.A").await;
        redis.publisher().await.events([("trade:A", trade("A", "1", 2))]).await;
        assert_eq!(client.line_with("event").await["event"]["symbol"], "A");
    }
}

/// Neither side takes the other for dead: pings of both are answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_feed_ends_no_connection() {
    let redis = Redis::start().await;
    for (requirement, module) in [("massive==2.9.1", "massive"), ("polygon-api-client==1.16.3", "polygon")] {
        let gateway = TestGateway::on(&redis, with_pings).await;
        let mut script = python(requirement, "massive_py.py").await;
        let pings = r#"{"ping_interval": 0.1, "ping_timeout": 20}"#;
        script.args([module, &gateway.addr.to_string(), "stocks", "K", "T.A", pings]);
        let mut client = Program::start(script);
        client.logs("subscribed to: T.A").await;
        gateway.pongs(20).await;
        redis.publisher().await.events([("trade:A", trade("A", "1", 2))]).await;
        let line = client.json().await;
        assert_eq!(line["event"]["symbol"], "A", "{line}");
    }
    let gateway = TestGateway::on(&redis, with_pings).await;
    let mut client = in_node(&format!("ws://{}", gateway.addr), "crypto").await;
    client.say(r#"{"action":"subscribe","params":"XT.*"}"#).await;
    assert_eq!(client.json().await[0]["status"], "success");
    gateway.pongs(20).await;
    redis.publisher().await.events([("trade:A", trade("A", "1", 2))]).await;
    assert_eq!(client.json().await[0]["pair"], "A");
}

/// Their WebSocket library offers compression, and reads what it is sent so.
#[tokio::test(flavor = "multi_thread")]
async fn the_ones_for_python_read_compressed_messages() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_massive(config);
        config.delivery.compress = true;
        config.delivery.compression_threshold_bytes = 0;
    })
    .await;
    let way = Detour::to(gateway.addr).await;
    let compressed = || gateway.gateway.state().metrics.compression().compressed;
    for (requirement, module) in [("massive==2.9.1", "massive"), ("polygon-api-client==1.16.3", "polygon")] {
        let mut client = started(requirement, module, &way, "stocks", "K", "T.A").await;
        client.logs("subscribed to: T.A").await;
        let before = compressed();
        redis.publisher().await.trades((0..200).map(|n| ("A".to_owned(), trade("A", "1", n)))).await;
        for n in 0..200 {
            assert_eq!(client.line_with("event").await["event"]["timestamp"], n);
        }
        assert!(compressed() > before, "no message of trades was compressed");
    }
}
