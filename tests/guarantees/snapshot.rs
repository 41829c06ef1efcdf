//! `"snapshot":true`: the reply, last values, `snapshotEnd`, live events; each event once and in order, also under a high
//! rate of events.

use crate::support::{Client, Redis, TestGateway, trade};
use serde_json::{Value, json};
use ws_gateway::market::Kind;

/// Subscribes with a snapshot and returns everything up to and with its last `snapshotEnd`, one a type.
async fn snapshot(client: &mut Client, request: Value) -> Vec<Value> {
    let mut request = request;
    request["action"] = json!("subscribe");
    request["snapshot"] = json!(true);
    client.send(request.to_string()).await;
    let reply = client.json().await;
    assert_eq!(reply["type"], "success", "{reply}");
    let types = request["types"].as_array().map_or(1, Vec::len);
    let (mut frames, mut ends) = (Vec::new(), 0);
    while ends < types {
        let frame = client.json().await;
        ends += usize::from(frame["event"] == "snapshotEnd");
        frames.push(frame);
    }
    frames
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_event_of_each_symbol_comes_before_the_first_live_one() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.events.channel_types = [Kind::TRADE, Kind::QUOTE].into_iter().collect();
    })
    .await;
    let mut worker = redis.publisher().await;
    let mut fan = gateway.subscriber(&["MSFT"]).await;
    for n in 1..=20 {
        worker.trade("AAPL", &trade("AAPL", "1.50", n)).await;
        worker.trade("MSFT", &trade("MSFT", "2", n)).await;
    }
    // Bad ones displace nothing, wanted or not.
    for symbol in ["AAPL", "MSFT"] {
        worker.trade(symbol, r#"{"symbol":"WRONG"}"#).await;
    }
    gateway.taken(42).await;
    let mut client = gateway.client().await;
    client.send(r#"{"action":"subscribe","symbols":["msft","NONE","AAPL"],"snapshot":true}"#).await;
    let reply = client.json().await;
    assert_eq!(reply["data"]["subscribed"], json!(["MSFT", "NONE", "AAPL"]));
    let mut last_live = Value::Null;
    for _ in 0..20 {
        last_live = fan.json().await;
    }
    let msft = client.json().await;
    assert_eq!(msft["data"], last_live["data"]);
    assert_eq!(msft["timestamp"], last_live["timestamp"], "a stored event keeps the time of its arrival");
    assert_eq!(msft["snapshot"], true);
    let text = client.text().await;
    let data = trade("AAPL", "1.50", 20);
    assert!(text.starts_with(&format!(r#"{{"type":"trade","data":{data},"timestamp":"#)), "{text}");
    assert!(text.ends_with(r#","snapshot":true}"#), "{text}");
    let end = client.text().await;
    let expected = r#"{"type":"status","event":"snapshotEnd","data":{"symbols":["MSFT","NONE","AAPL"],"type":"trade"},"timestamp":"#;
    assert!(end.starts_with(expected), "{end}");
    worker.trade("NONE", &trade("NONE", "3", 21)).await;
    let live = client.json().await;
    assert_eq!((&live["data"]["timestamp"], live.get("snapshot")), (&json!(21), None));

    // One end for each type of the request, also where there is nothing; and again for one who has it already.
    let frames = snapshot(&mut client, json!({"symbols": ["NONE"], "types": ["quote", "trade"]})).await;
    assert_eq!(frames.len(), 3, "{frames:?}");
    assert_eq!(frames[0]["data"]["timestamp"], 21);
    assert_eq!((&frames[1]["data"]["type"], &frames[2]["data"]["type"]), (&json!("quote"), &json!("trade")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_has_the_last_event_of_whatever_matches() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.process.shards = 2).await;
    let mut worker = redis.publisher().await;
    let symbols: Vec<_> = (0..2_000).map(|n| format!("BTC-{n:04}")).collect();
    worker.trades(symbols.iter().map(|symbol| (symbol.clone(), trade(symbol, "1", 1)))).await;
    worker.trade("ETH-1", &trade("ETH-1", "1", 1)).await;
    worker.trade("BTC-BAD", "nonsense").await;
    gateway.taken(2_002).await;
    let mut client = gateway.client().await;
    let frames = snapshot(&mut client, json!({"symbols": ["BTC-0007", "BTC-*"]})).await;
    let mut got: Vec<_> =
        frames[..2_000].iter().map(|frame| frame["data"]["symbol"].as_str().unwrap().to_owned()).collect();
    assert_eq!(got[0], "BTC-0007", "in the request's order");
    assert!(frames[..2_000].iter().all(|frame| frame["snapshot"] == true));
    got.sort_unstable();
    assert_eq!(got, symbols);
    assert_eq!(frames[2_000]["data"]["symbols"], json!(["BTC-0007", "BTC-*"]));
    assert_eq!(frames.len(), 2_001);

    // Nothing of a pattern that has been left.
    client.unsubscribe(&["*"]).await;
    worker.trade("BTC-0001", &trade("BTC-0001", "1", 2)).await;
    client.send(r#"{"action":"ping"}"#).await;
    assert_eq!(client.json().await["type"], "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_comes_once_and_in_order_while_events_pour_in() {
    const SYMBOLS: u64 = 20;
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.process.shards = 2;
        config.clients.max_symbols_per_client = 100;
        // Nothing is skipped for a reader that a busy machine holds up.
        config.delivery.max_outbox_bytes = 64 * 1024 * 1024;
    })
    .await;
    let mut worker = redis.publisher().await;
    let symbols: Vec<_> = (0..SYMBOLS).map(|n| format!("S{n}")).collect();
    let names = symbols.clone();
    let flood = tokio::spawn(async move {
        // 10,000 events a second; `timestamp` counts those of a symbol.
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(2));
        for n in 1.. {
            pace.tick().await;
            let trades: Vec<_> = names.iter().map(|symbol| (symbol.clone(), trade(symbol, "1", n))).collect();
            worker.trades(trades).await;
        }
    });
    gateway.taken(1_000).await;
    let clients = (0..3).map(|id| {
        let (url, symbols) = (format!("ws://{}/ws", gateway.addr), symbols.clone());
        tokio::spawn(async move {
            for round in 0..25 {
                let mut client = Client::connect(&url).await;
                let request = match (id + round) % 3 {
                    0 => json!({"action": "subscribe", "symbols": ["*"], "snapshot": true}),
                    _ => json!({"action": "subscribe", "symbols": symbols, "snapshot": true}),
                };
                client.send(request.to_string()).await;
                assert_eq!(client.json().await["type"], "success");
                let mut last = std::collections::HashMap::new();
                let (mut ended, mut live) = (false, 0);
                while !ended || live < 100 {
                    let frame = client.json().await;
                    if frame["event"] == "snapshotEnd" {
                        ended = true;
                        continue;
                    }
                    let symbol = frame["data"]["symbol"].as_str().unwrap().to_owned();
                    let n = frame["data"]["timestamp"].as_u64().unwrap();
                    let first = !last.contains_key(&symbol);
                    if frame["snapshot"] == true {
                        assert!(!ended && first, "a late snapshot: {frame}");
                    } else {
                        live += 1;
                    }
                    // From the snapshot on not one is missing or comes twice.
                    if let Some(before) = last.insert(symbol, n) {
                        assert_eq!(n, before + 1, "{frame}");
                    }
                }
                assert_eq!(last.len(), symbols.len());
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    flood.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_event_does_not_come_behind_a_newer_last_value() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.client().await;
    client.send(r#"{"action":"subscribe","symbols":["AAPL"],"maxRate":0.1}"#).await;
    assert_eq!(client.json().await["type"], "success");
    worker.trade("AAPL", &trade("AAPL", "1", 1)).await;
    assert_eq!(client.json().await["data"]["timestamp"], 1, "the first of a phase comes at once");
    worker.trade("AAPL", &trade("AAPL", "1", 2)).await;
    gateway.taken(2).await;
    let frames = snapshot(&mut client, json!({"symbols": ["AAPL"]})).await;
    assert_eq!((&frames[0]["data"]["timestamp"], &frames[0]["snapshot"]), (&json!(2), &json!(true)));
    // Without a rate whatever was still held would come at once.
    client.send(r#"{"action":"subscribe","symbols":["AAPL"],"conflate":false}"#).await;
    assert_eq!(client.json().await["type"], "success");
    worker.trade("AAPL", &trade("AAPL", "1", 3)).await;
    assert_eq!(client.json().await["data"]["timestamp"], 3);
}
