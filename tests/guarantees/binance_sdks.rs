//! Binance's clients, official ones and others, on the gateway with nothing changed but the URL: every type that is carried, unsubscribe, errors, a
//! restart, a cut, silence, and one that is too slow.

use crate::support::detour::Detour;
use crate::support::program::{Program, node, python};
use crate::support::{Redis, TestGateway, trade, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use ws_gateway::config::Config;
use ws_gateway::protocol::api::Api;

fn with_binance(config: &mut Config) {
    config.clients.dialects = [Api::Binance].into_iter().collect();
    config.events.channel_types = "trade,quote,candle".parse().unwrap();
}

/// Pings come often enough to see that a client answers them.
pub(crate) fn with_pings(config: &mut Config) {
    with_binance(config);
    config.delivery.ping_interval = std::time::Duration::from_millis(300);
    config.delivery.pong_timeout = std::time::Duration::from_millis(300);
    // A machine with much to do may let a client wait for seconds.
    config.delivery.max_missed_pongs = 20;
}

/// One event of each type; the candle's interval is `1m`.
pub(crate) async fn publish(redis: &Redis, n: u64) {
    let candle = format!(
        r#"{{"symbol":"BTCUSDT","open":1.0,"high":2,"low":1,"close":{n},"volume":5,"timestamp":60000,"interval":"1m"}}"#
    );
    let quote = format!(
        r#"{{"symbol":"BTCUSDT","bidPrice":{n},"askPrice":9.50,"bidSize":1,"askSize":2,"timestamp":1}}"#
    );
    let sold = format!(
        r#"{{"symbol":"BTCUSDT","price":150.250,"volume":{n},"timestamp":1672515782136,"id":{n},"side":"sell"}}"#
    );
    let events = [("candle:BTCUSDT", candle), ("quote:BTCUSDT", quote), ("trade:BTCUSDT", sold)];
    redis.publisher().await.events(events).await;
}

pub(crate) async fn in_python(package: &str, version: &str, url: &str) -> Program {
    in_python_with(package, version, url, &[]).await
}

/// The same with a key, if there is one.
pub(crate) async fn in_python_with(package: &str, version: &str, url: &str, key: &[&str]) -> Program {
    let mut script = python(&format!("{package}=={version}"), "binance_py.py").await;
    script.args([package, url]).args(key);
    Program::start(script)
}

pub(crate) async fn in_node(package: &str, url: &str) -> Program {
    let mut client = starting_in_node(package, url, &json!({})).await;
    client.line_with("ready").await;
    client
}

/// A client that has yet to connect, and may fail to.
pub(crate) async fn starting_in_node(package: &str, url: &str, options: &Value) -> Program {
    let mut script = node("binance_node.js").await;
    script.args([package, url, &options.to_string()]);
    Program::start(script)
}

pub(crate) async fn call(client: &mut Program, call: Value) {
    client.say(&call.to_string()).await;
}

/// The next event of a market.
pub(crate) async fn event(client: &mut Program) -> Value {
    loop {
        let line = client.line_with("event").await;
        let event = &line["event"];
        let data = event.get("data").unwrap_or(event);
        let of_gateway = ["serverShutdown", "error", "feed", "skipped"].iter().any(|word| data["e"] == *word);
        if !of_gateway && event.get("result").is_none() {
            return line;
        }
    }
}

/// As many events, by what `name` calls each.
pub(crate) async fn events(
    client: &mut Program,
    count: usize,
    name: impl Fn(&Value) -> Value,
) -> BTreeMap<String, Value> {
    let mut seen = BTreeMap::new();
    while seen.len() < count {
        let line = event(client).await;
        let name = name(&line).as_str().unwrap_or("raw").to_owned();
        assert!(seen.insert(name, line["event"].clone()).is_none(), "{line}");
    }
    seen
}

/// Leads what comes back to a second gateway, and ends the first one.
pub(crate) async fn restart(redis: &Redis, first: TestGateway, way: &Detour) -> TestGateway {
    let second = TestGateway::on(redis, with_binance).await;
    way.lead_to(second.addr);
    first.gateway.drain().await;
    second
}

#[tokio::test(flavor = "multi_thread")]
async fn python_binance() {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, with_pings).await;
    let way = Detour::to(first.addr).await;
    let mut client = in_python("python-binance", "1.0.37", &format!("ws://{}", way.addr)).await;
    let streams = ["trade", "aggTrade", "bookTicker", "kline_1m"].map(|name| format!("btcusdt@{name}"));
    call(&mut client, json!(["multiplex_socket", {"streams": streams}])).await;
    call(&mut client, json!(["trade_socket", {"symbol": "BTCUSDT"}])).await;
    first.subscribed(5).await;
    first.pongs(4).await;
    publish(&redis, 7).await;
    let seen = events(&mut client, 5, |line| line["event"]["stream"].clone()).await;
    assert_eq!((&seen["raw"]["p"], &seen["raw"]["t"]), (&json!("150.250"), &json!(7)));
    assert_eq!(seen["btcusdt@trade"]["data"]["m"], true);
    assert_eq!(seen["btcusdt@aggTrade"]["data"]["a"], 7);
    assert_eq!(seen["btcusdt@bookTicker"]["data"]["b"], "7");
    assert_eq!(seen["btcusdt@kline_1m"]["data"]["k"]["c"], "7");

    let second = restart(&redis, first, &way).await;
    second.subscribed(5).await;
    way.cut();
    second.subscribed(0).await;
    second.subscribed(5).await;
    publish(&redis, 8).await;
    let seen = events(&mut client, 5, |line| line["event"]["stream"].clone()).await;
    assert_eq!(seen["raw"]["t"], 8);

    // It has no word for it: streams are left with the connection that has them.
    call(&mut client, json!(["stop", {"of": "multiplex_socket"}])).await;
    second.subscribed(1).await;
    publish(&redis, 9).await;
    assert_eq!(event(&mut client).await["event"]["t"], 9);
    call(&mut client, json!(["stop", {"of": "trade_socket"}])).await;
    second.subscribed(0).await;

    call(&mut client, json!(["multiplex_socket", {"streams": ["!miniTicker@arr"]}])).await;
    let refused = event(&mut client).await["event"].clone();
    assert_eq!(refused["code"], 2, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn binance_connector() {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, with_pings).await;
    let way = Detour::to(first.addr).await;
    let mut client = in_python("binance-connector", "3.13.0", &format!("ws://{}/binance", way.addr)).await;
    for (method, more) in [
        ("trade", json!({})),
        ("agg_trade", json!({})),
        ("book_ticker", json!({})),
        ("kline", json!({"interval": "1m"})),
    ] {
        let mut arguments = more;
        arguments["symbol"] = json!("BTCUSDT");
        call(&mut client, json!([method, arguments])).await;
        assert_eq!(client.line_with("event").await["event"]["result"], json!(null));
    }
    first.pongs(3).await;
    publish(&redis, 7).await;
    let seen = events(&mut client, 4, |line| line["event"]["stream"].clone()).await;
    assert_eq!(seen["btcusdt@kline_1m"]["data"]["k"]["x"], false);
    call(&mut client, json!(["trade", {"symbol": "BTCUSDT", "action": "UNSUBSCRIBE"}])).await;
    assert_eq!(client.line_with("event").await["event"]["result"], json!(null));
    call(&mut client, json!(["list_subscribe"])).await;
    let held = client.line_with("event").await["event"]["result"].clone();
    assert_eq!(held, json!(["btcusdt@aggTrade", "btcusdt@bookTicker", "btcusdt@kline_1m"]));
    call(&mut client, json!(["diff_book_depth", {"symbol": "BTCUSDT", "speed": 100}])).await;
    let refused = client.line_with("event").await["event"].clone();
    assert_eq!((&refused["code"], refused["id"].is_u64()), (&json!(2), true), "{refused}");

    // It doesn't come back by itself: its user makes a new one.
    let second = restart(&redis, first, &way).await;
    assert_eq!(client.line_with("event").await["event"]["stream"], "!serverShutdown");
    client.line_with("end").await;
    for n in [8, 9] {
        call(&mut client, json!(["connect"])).await;
        call(&mut client, json!(["trade", {"symbol": "BTCUSDT"}])).await;
        second.subscribed(1).await;
        publish(&redis, n).await;
        assert_eq!(event(&mut client).await["event"]["data"]["t"], n);
        way.cut();
        client.line_with("end").await;
        second.subscribed(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn binance_sdk_spot() {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, with_pings).await;
    let way = Detour::to(first.addr).await;
    let mut client = in_python("binance-sdk-spot", "13.3.0", &format!("ws://{}", way.addr)).await;
    for (method, more) in [
        ("trade", json!({})),
        ("agg_trade", json!({})),
        ("book_ticker", json!({})),
        ("kline", json!({"interval": "1m"})),
    ] {
        let mut arguments = more;
        arguments["symbol"] = json!("btcusdt");
        call(&mut client, json!([method, arguments])).await;
    }
    first.subscribed(4).await;
    first.pongs(3).await;
    publish(&redis, 7).await;
    let seen = events(&mut client, 4, |line| line["of"].clone()).await;
    assert_eq!((&seen["trade"]["p"], &seen["trade"]["m"]), (&json!("150.250"), &json!(true)));
    assert_eq!((&seen["agg_trade"]["f"], &seen["book_ticker"]["A"]), (&json!(7), &json!("2")));
    assert_eq!((&seen["kline"]["k"]["i"], &seen["kline"]["k"]["T"]), (&json!("1m"), &json!(119_999)));
    call(&mut client, json!(["unsubscribe", {"of": "trade"}])).await;
    first.subscribed(3).await;
    call(&mut client, json!(["list_subscribe"])).await;
    let held = client.line_with("list").await["list"]["result"].clone();
    assert_eq!(held, json!(["btcusdt@aggTrade", "btcusdt@bookTicker", "btcusdt@kline_1m"]));
    // It says nothing of a refusal, and goes on.
    call(&mut client, json!(["mini_ticker", {"symbol": "btcusdt"}])).await;
    call(&mut client, json!(["list_subscribe"])).await;
    assert_eq!(client.line_with("list").await["list"]["result"], held);

    // It doesn't come back by itself: its user makes a new one.
    let second = restart(&redis, first, &way).await;
    client.logs("serverShutdown").await;
    client.logs("losed").await;
    for n in [8, 9] {
        call(&mut client, json!(["connect"])).await;
        call(&mut client, json!(["trade", {"symbol": "btcusdt"}])).await;
        second.subscribed(1).await;
        publish(&redis, n).await;
        assert_eq!(event(&mut client).await["event"]["t"], n);
        way.cut();
        client.logs("losed").await;
        second.subscribed(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn binance_spot_for_node() {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, with_pings).await;
    let way = Detour::to(first.addr).await;
    let mut client = in_node("@binance/spot", &format!("ws://{}", way.addr)).await;
    for (method, more) in [
        ("trade", json!({})),
        ("aggTrade", json!({})),
        ("bookTicker", json!({})),
        ("kline", json!({"interval": "1m"})),
    ] {
        let mut arguments = more;
        arguments["symbol"] = json!("btcusdt");
        call(&mut client, json!([method, arguments])).await;
    }
    first.subscribed(4).await;
    first.pongs(3).await;
    publish(&redis, 7).await;
    let seen = events(&mut client, 4, |line| line["of"].clone()).await;
    assert_eq!((&seen["trade"]["p"], &seen["aggTrade"]["l"]), (&json!("150.250"), &json!(7)));
    assert_eq!((&seen["bookTicker"]["b"], &seen["kline"]["k"]["c"]), (&json!("7"), &json!("7")));
    call(&mut client, json!(["off", "trade"])).await;
    first.subscribed(3).await;
    call(&mut client, json!(["miniTicker", {"symbol": "btcusdt"}])).await;
    loop {
        let told = client.line_with("message").await["message"].as_str().expect("text").to_owned();
        if told.contains("this gateway has no stream btcusdt@miniTicker") {
            break;
        }
    }

    // It names in the URL what it holds and what was refused.
    let second = restart(&redis, first, &way).await;
    second.subscribed(3).await;
    publish(&redis, 8).await;
    assert_eq!(events(&mut client, 3, |line| line["of"].clone()).await["aggTrade"]["a"], 8);
    way.cut();
    second.subscribed(0).await;
    second.subscribed(3).await;
    publish(&redis, 9).await;
    assert_eq!(events(&mut client, 3, |line| line["of"].clone()).await["aggTrade"]["a"], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn binance_for_node() {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, with_pings).await;
    let way = Detour::to(first.addr).await;
    let mut client = in_node("binance", &format!("ws://{}/binance", way.addr)).await;
    let streams = ["trade", "aggTrade", "bookTicker", "kline_1m"].map(|name| format!("btcusdt@{name}"));
    call(&mut client, json!(["subscribe", streams, "main"])).await;
    first.subscribed(4).await;
    first.pongs(3).await;
    publish(&redis, 7).await;
    let name = |line: &Value| line["event"]["streamName"].clone();
    let seen = events(&mut client, 4, name).await;
    assert_eq!(seen["btcusdt@trade"]["p"], "150.250", "{seen:?}");
    call(&mut client, json!(["unsubscribe", ["btcusdt@trade"], "main"])).await;
    first.subscribed(3).await;
    call(&mut client, json!(["subscribe", ["btcusdt@depth"], "main"])).await;
    loop {
        let line = client.json().await;
        if line.to_string().contains("this gateway has no stream btcusdt@depth") {
            break;
        }
    }
    call(&mut client, json!(["unsubscribe", ["btcusdt@depth"], "main"])).await;

    let second = restart(&redis, first, &way).await;
    second.subscribed(3).await;
    publish(&redis, 8).await;
    assert_eq!(events(&mut client, 3, name).await["btcusdt@aggTrade"]["a"], 8);
    way.cut();
    second.subscribed(0).await;
    second.subscribed(3).await;
    publish(&redis, 9).await;
    assert_eq!(events(&mut client, 3, name).await["btcusdt@aggTrade"]["a"], 9);
}

/// A client that stands still for a while gets what it was sent or is told what it missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_told_what_it_misses() {
    const N: u64 = 60_000;
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_binance(config);
        config.events.max_event_bytes = 1_024;
        config.delivery.max_outbox_bytes = 64 * 1_024;
    })
    .await;
    let mut client = in_python("binance-connector", "3.13.0", &format!("ws://{}", gateway.addr)).await;
    call(&mut client, json!(["trade", {"symbol": "a"}])).await;
    gateway.subscribed(1).await;
    client.pause();
    let mut worker = redis.publisher().await;
    for part in 0..N / 1_000 {
        worker.trades((part * 1_000..(part + 1) * 1_000).map(|n| ("A".to_owned(), trade("A", "1", n)))).await;
    }
    gateway.taken(N).await;
    until("skips", async || (gateway.stat("slowClients/skippedEvents").await > 0).then_some(())).await;
    client.go_on();
    let (mut delivered, mut announced) = (0, 0);
    while delivered + announced < N {
        let event = client.line_with("event").await["event"].clone();
        match event["stream"].as_str() {
            Some("a@trade") => delivered += 1,
            Some("!gateway") => announced += event["data"]["count"].as_u64().expect("a number"),
            _ => assert_eq!(event["result"], json!(null), "{event}"),
        }
    }
    assert_eq!(delivered + announced, N);
    assert!(announced > 0);
}
