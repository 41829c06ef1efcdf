//! Everything in a row, as the README shows it: test-publisher → redis-server → gateway → ws-client. Trades arrive
//! byte for byte, the swap is kept to, and a client whose gateway ends comes back when it was told to.

use std::net::SocketAddr;

use crate::common::{Redis, Tool, line_with, soon};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use ws_gateway::config::{Config, Upstream};
use ws_gateway::gateway::Gateway;
use ws_gateway::market::SymbolCase;

/// A gateway that reads from `redis`; `listen` is for one that takes another's place.
pub(crate) async fn gateway(redis: &Redis, listen: Option<SocketAddr>) -> Gateway {
    let mut config = Config::for_tests();
    config.upstream = Upstream::from_url(&redis.url()).unwrap();
    config.server.listen = listen.unwrap_or(config.server.listen);
    Gateway::build(config).await.unwrap()
}

fn client(gateway: &Gateway, arguments: &[&str]) -> Tool {
    let url = format!("ws://{}/ws", gateway.local_addr());
    Tool::start(env!("CARGO_BIN_EXE_ws-client"), &[&["--json", "--url", &url], arguments].concat())
}

/// The next frame that a client printed.
async fn frame(client: &mut Tool) -> String {
    soon("a frame", client.stdout.next_line()).await.unwrap().expect("the client runs")
}

async fn json_frame(client: &mut Tool) -> Value {
    serde_json::from_str(&frame(client).await).unwrap()
}

/// What a client holds, by the next frame, which must be a success.
async fn holding(client: &mut Tool) -> Value {
    let reply = json_frame(client).await;
    assert_eq!(reply["type"], "success", "{reply}");
    reply["data"]["currentSubscriptions"].clone()
}

/// The next frame must be this trade, as it was published.
async fn assert_trade(client: &mut Tool, published: &str) {
    let frame = frame(client).await;
    let rest = frame.strip_prefix(&format!(r#"{{"type":"trade","data":{published},"timestamp":"#));
    let timestamp = rest.and_then(|rest| rest.strip_suffix('}')).unwrap_or_else(|| panic!("{frame}"));
    assert!(timestamp.bytes().all(|byte| byte.is_ascii_digit()), "{frame}");
}

/// Has test-publisher publish these trades.
pub(crate) async fn publish(redis: &Redis, trades: &[&str]) {
    let arguments = ["--redis-url", &redis.url(), "--stdin"];
    let mut publisher = Tool::start(env!("CARGO_BIN_EXE_test-publisher"), &arguments);
    let lines: String = trades.iter().map(|trade| format!("{trade}\n")).collect();
    publisher.stdin.as_mut().unwrap().write_all(lines.as_bytes()).await.unwrap();
    let (status, _, stderr) = publisher.end().await;
    assert!(status.success(), "{stderr:?}");
}

/// Written as no program would print it again.
pub(crate) const AAPL: &str =
    r#"{"symbol":"AAPL","price":150.250,"volume":100,"timestamp":1234567890,"exchange":"NASDAQ"}"#;
const GOOGL: &str =
    r#"{"timestamp":9007199254740993, "volume":1e2, "price":2.8E+3, "symbol":"GOOGL", "extra":[null]}"#;
const MSFT: &str = r#"{"symbol":"MSFT","price":0.10000000000000000001,"volume":7,"timestamp":1}"#;
pub(crate) const TSLA: &str =
    r#"{"symbol":"TSLA","price":-0.0,"volume":0,"timestamp":2,"exchange":"Zürich \u2192"}"#;

#[tokio::test]
async fn trades_arrive_byte_for_byte_and_the_swap_is_kept_to() {
    let redis = Redis::start(&[]).await;
    let gateway = gateway(&redis, None).await;
    let mut steady = client(&gateway, &["--no-swap"]);
    let mut swapping = client(&gateway, &["--swap-after", "1ms"]);
    assert_eq!(holding(&mut steady).await, json!(["AAPL", "GOOGL", "MSFT"]));
    assert_eq!(holding(&mut swapping).await, json!(["AAPL", "GOOGL", "MSFT"]));
    assert_eq!(holding(&mut swapping).await, json!(["AAPL", "GOOGL"]));
    assert_eq!(holding(&mut swapping).await, json!(["AAPL", "GOOGL", "TSLA"]));

    publish(&redis, &[AAPL, MSFT, TSLA, GOOGL]).await;
    for trade in [AAPL, MSFT, GOOGL] {
        assert_trade(&mut steady, trade).await;
    }
    for trade in [AAPL, TSLA, GOOGL] {
        assert_trade(&mut swapping, trade).await;
    }
}

/// Objects on lines of their own, each as it is in a frame of its own.
#[tokio::test]
async fn every_form_brings_the_same_trades() {
    let redis = Redis::start(&[]).await;
    let gateway = gateway(&redis, None).await;
    let mut clients =
        ["json", "batch", "sse"].map(|form| client(&gateway, &["--form", form, "--no-swap", "--count=3"]));
    for client in &mut clients {
        assert_eq!(holding(client).await, json!(["AAPL", "GOOGL", "MSFT"]));
    }
    publish(&redis, &[AAPL, MSFT, GOOGL]).await;
    for mut client in clients {
        for trade in [AAPL, MSFT, GOOGL] {
            assert_trade(&mut client, trade).await;
        }
        assert!(client.end().await.0.success());
    }
}

#[tokio::test]
async fn a_made_up_market_arrives_as_well() {
    let redis = Redis::start(&[]).await;
    let gateway = gateway(&redis, None).await;
    let mut client = client(&gateway, &["--no-swap", "--count", "50"]);
    assert_eq!(holding(&mut client).await, json!(["AAPL", "GOOGL", "MSFT"]));
    let arguments = ["--redis-url", &redis.url(), "--rate", "2000"];
    let publisher = Tool::start(env!("CARGO_BIN_EXE_test-publisher"), &arguments);
    let (status, frames, _) = client.end().await;
    assert!(status.success());
    assert_eq!(frames.len(), 50);
    publisher.signal("INT").await;
    assert!(publisher.end().await.0.success());
}

#[tokio::test]
async fn what_was_missed_comes_first_and_a_pattern_brings_the_rest() {
    let redis = Redis::start(&[]).await;
    let gateway = gateway(&redis, None).await;
    let seq = |symbol: &str, seq: u64| {
        format!(r#"{{"symbol":"{symbol}","price":1,"volume":1,"timestamp":{seq},"seq":{seq}}}"#)
    };
    let missed = [seq("AAPL", 1), seq("AAPL", 2), seq("BTC-USD", 1), seq("AAPL", 3)];
    // What a witness has got, the gateway has seen.
    let mut witness = client(&gateway, &["--symbols=*"]);
    holding(&mut witness).await;
    publish(&redis, &missed.each_ref().map(String::as_str)).await;
    for event in &missed {
        assert_trade(&mut witness, event).await;
    }

    let mut client = client(&gateway, &["--symbols=AAPL,BTC-*", "--resume=AAPL=1", "--snapshot"]);
    let reply = json_frame(&mut client).await;
    assert_eq!(reply["data"]["recovered"], json!({"AAPL": true}), "{reply}");
    for seq in [2, 3] {
        let frame = json_frame(&mut client).await;
        assert_eq!((&frame["data"]["seq"], &frame["replay"]), (&json!(seq), &json!(true)), "{frame}");
    }
    assert_eq!(json_frame(&mut client).await["event"], "replayEnd");
    let known = json_frame(&mut client).await;
    assert_eq!((&known["data"]["symbol"], &known["snapshot"]), (&json!("BTC-USD"), &json!(true)), "{known}");
    assert_eq!(json_frame(&mut client).await["event"], "snapshotEnd");
    let live = seq("AAPL", 4);
    publish(&redis, &[&live]).await;
    assert_trade(&mut client, &live).await;
}

#[tokio::test]
async fn it_comes_back_when_the_draining_gateway_said() {
    let redis = Redis::start(&[]).await;
    let first = gateway(&redis, None).await;
    let addr = first.local_addr();
    let mut client = client(&first, &["--swap-after", "1ms"]);
    for _ in 0..3 {
        holding(&mut client).await;
    }
    assert_eq!(first.drain().await, 0, "the client answers the close and has not to be cut off");
    let second = gateway(&redis, Some(addr)).await;

    let shutdown = json_frame(&mut client).await;
    assert_eq!(shutdown["event"], "shutdown", "{shutdown}");
    let delay_ms = shutdown["data"]["reconnectAfterMs"].as_u64().unwrap();
    let line = line_with(&mut client.stderr, "next attempt").await;
    assert!(line.contains("1012"), "{line}");
    let told = format!("next attempt in {:.1} s", std::time::Duration::from_millis(delay_ms).as_secs_f64());
    assert!(line.ends_with(&told), "{line}, after {delay_ms} ms were asked for");

    assert_eq!(holding(&mut client).await, json!(["AAPL", "GOOGL", "TSLA"]), "the swap included");
    publish(&redis, &[MSFT, TSLA]).await;
    assert_trade(&mut client, TSLA).await;
    drop(second);
}

#[tokio::test]
async fn symbols_go_out_as_written_and_the_gateway_says_which_are_one() {
    let redis = Redis::start(&[]).await;
    let trade =
        |symbol: &str| format!(r#"{{"symbol":"{symbol}","price":1,"volume":1,"timestamp":1,"seq":2}}"#);
    let (mixed, upper) = (trade("AMpB"), trade("AMPB"));
    for (case, held, comes) in [
        (SymbolCase::Upper, json!(["AMPB"]), [&mixed, &upper].as_slice()),
        (SymbolCase::Exact, json!(["AMpB"]), &[&mixed]),
    ] {
        let mut config = Config::for_tests();
        config.upstream = Upstream::from_url(&redis.url()).unwrap();
        config.events.symbol_case = case;
        config.events.deduplicate = false;
        let gateway = Gateway::build(config).await.unwrap();
        let count = comes.len().to_string();
        let mut client = client(&gateway, &["--symbols=AMpB", "--count", &count]);
        assert_eq!(holding(&mut client).await, held, "{case:?}");
        publish(&redis, &[&mixed, &upper]).await;
        for published in comes {
            assert_trade(&mut client, published).await;
        }
        assert!(client.end().await.0.success());
    }
}
