//! Without a Redis the gateway is its own broker, and with `--demo` its own market, which has traded before.

use std::collections::HashSet;

use serde_json::json;
use ws_gateway::demo::walk::STEP_MAX;
use ws_gateway::unix_time::unix_ms;

use crate::support::process::Process;
use crate::support::redis::Publisher;
use crate::support::tokens::SECRET;
use crate::support::{Client, trade};

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_else_installed_it_has_its_own_broker() {
    let gateway = Process::start(&["--embedded-redis-port", "0"]).await;
    let mut client = Client::connect(&gateway.url()).await;
    client.subscribe(&["AAPL"]).await;
    let mut worker = Publisher::connect(&format!("redis://{}", gateway.broker_addr())).await;
    let payload = trade("AAPL", "1", 1);
    assert_eq!(worker.trade("AAPL", &payload).await, 1);
    assert!(client.text().await.contains(&payload));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_trades_of_five_symbols() {
    let gateway = Process::start(&["--embedded-redis-port", "0", "--demo"]).await;
    let mut client = Client::connect(&gateway.url()).await;
    client.subscribe(&["AAPL", "GOOGL", "MSFT", "TSLA", "AMZN"]).await;
    let mut seen = HashSet::new();
    while seen.len() < 5 {
        let message = client.json().await;
        assert_eq!(message["type"], "trade");
        seen.insert(message["data"]["symbol"].as_str().unwrap().to_owned());
    }
}

/// Delayed feeds would have its past all at once, as something new.
#[tokio::test(flavor = "multi_thread")]
async fn a_demo_with_delayed_feeds_has_no_past() {
    let begun_ms = unix_ms();
    let args = ["--embedded-redis-port", "0", "--demo", "--jwt-secret-key", SECRET];
    let delayed = ["--feed-delays", "1s", "--anonymous", r#"{"delayMs":1000}"#];
    let gateway = Process::start(&[&args[..], &delayed].concat()).await;
    let mut client = Client::connect(&gateway.url()).await;
    // At first its feed is as it was a second ago: not there.
    client.send(r#"{"action":"subscribe","symbols":["AAPL"]}"#).await;
    let trade = client.next_of("trade").await;
    assert_eq!(trade["delayedMs"], 1_000, "{trade}");
    assert!(trade["data"]["timestamp"].as_u64() >= Some(begun_ms), "{trade}");
}

/// The live page asks for the last 250 trades.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_has_traded_before_and_goes_on_from_there() {
    let gateway = Process::start(&["--embedded-redis-port", "0", "--demo"]).await;
    for symbol in ["AAPL", "NFLX"] {
        let mut client = Client::connect(&gateway.url()).await;
        client.subscribe_with(json!({"symbols": [symbol], "snapshot": true})).await;
        let snapshot = client.json().await;
        assert_eq!(snapshot["snapshot"], true, "{snapshot}");
        let last = snapshot["data"]["seq"].as_u64().expect("numbered");

        let mut back = Client::connect(&gateway.url()).await;
        let reply = back.subscribe_with(json!({"symbols": [symbol], "resume": {symbol: last - 250}})).await;
        assert_eq!(reply["data"]["recovered"][symbol], true, "{reply}");
        let mut before: Option<[f64; 3]> = None;
        let (mut replayed, mut live) = (0, 0);
        while live == 0 {
            let message = back.json().await;
            if message["type"] != "trade" {
                continue;
            }
            let field = |name: &str| message["data"][name].as_f64().expect("a number");
            let now = ["seq", "timestamp", "price"].map(field);
            if let Some([seq, at_ms, price]) = before {
                assert_eq!(now[0], seq + 1.0, "{message}");
                assert!(now[1] >= at_ms, "{message}");
                // Two prices are rounded to a cent each.
                assert!((now[2] - price).abs() <= price * STEP_MAX + 0.01, "{price} before {message}");
            }
            before = Some(now);
            *(if message["replay"] == true { &mut replayed } else { &mut live }) += 1;
        }
        assert!(replayed >= 250, "{symbol}: {replayed}");
    }
}
