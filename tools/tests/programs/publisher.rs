//! The test publisher against a real Redis: what subscribers get is what it says it has published.

use std::collections::BTreeMap;

use crate::common::{Redis, ReservedPort, Tool, line_with, soon};
use futures_util::StreamExt as _;
use redis::aio::PubSub;
use tokio::io::AsyncWriteExt as _;
use ws_gateway::market::event::Checker;
use ws_gateway::market::{Kind, Kinds};

fn publisher(redis: &Redis, arguments: &[&str]) -> Tool {
    let url = redis.url();
    Tool::start(env!("CARGO_BIN_EXE_test-publisher"), &[&["--redis-url", &url], arguments].concat())
}

/// The next `n` messages: (channel, payload).
async fn receive(subscriber: &mut PubSub, n: usize) -> Vec<(String, Vec<u8>)> {
    let messages = subscriber
        .on_message()
        .take(n)
        .map(|message| (message.get_channel_name().to_owned(), message.get_payload_bytes().to_vec()))
        .collect();
    let messages: Vec<_> = soon("messages from Redis", messages).await;
    assert_eq!(messages.len(), n, "Redis went away");
    messages
}

#[tokio::test]
async fn trades_of_every_symbol_arrive_and_are_counted() {
    let redis = Redis::start(&[]).await;
    let mut subscriber = redis.subscriber("channel:trade:*").await;
    let tool = publisher(&redis, &["--rate", "500", "--count", "100", "--seed", "1"]);
    let mut symbols = BTreeMap::new();
    for (channel, payload) in receive(&mut subscriber, 100).await {
        let symbol = channel.strip_prefix("channel:trade:").unwrap();
        Checker::with_max_bytes(65_536).check(Kind::TRADE, &payload, symbol.as_bytes()).unwrap();
        *symbols.entry(symbol.to_owned()).or_insert(0) += 1;
    }
    assert_eq!(symbols.keys().collect::<Vec<_>>(), ["AAPL", "AMZN", "GOOGL", "MSFT", "TSLA"]);
    let (status, stdout, stderr) = tool.end().await;
    assert!(status.success() && stdout.is_empty(), "{stderr:?}");
    let total = stderr.last().unwrap();
    assert!(
        total.starts_with("published 100 events") && total.ends_with("delivered to 100 receivers"),
        "{total}"
    );
}

#[tokio::test]
async fn all_types_arrive_on_their_channels_numbered_and_the_last_values_are_kept() {
    let redis = Redis::start(&[]).await;
    let mut subscriber = redis.subscriber("channel:*").await;
    let tool = publisher(
        &redis,
        &[
            "--symbols=AAPL,MSFT",
            "--rate=1e7",
            "--count=600",
            "--types=trade,quote,candle,news,halt",
            "--seq-start=10",
            "--last-value-key=last:{type}:",
        ],
    );
    let market: Kinds = Kind::MARKET.into_iter().collect();
    let mut last: BTreeMap<String, (u64, Vec<u8>)> = BTreeMap::new();
    for (channel, payload) in receive(&mut subscriber, 600).await {
        let topic = channel.strip_prefix("channel:").unwrap().to_owned();
        let (type_name, symbol) = topic.split_once(':').unwrap();
        let kind = market.find(type_name.as_bytes()).unwrap();
        let seq = Checker::with_max_bytes(65_536)
            .check(kind, &payload, symbol.as_bytes())
            .unwrap()
            .seq
            .expect("a seq");
        let before = last.insert(topic, (seq, payload)).map_or(9, |(seq, _)| seq);
        assert_eq!(seq, before + 1);
    }
    assert_eq!(last.len(), 10, "{:?}", last.keys());
    assert!(tool.end().await.0.success());
    let mut connection =
        redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    for (topic, (_, payload)) in last {
        let kept: Vec<u8> =
            redis::cmd("GET").arg(format!("last:{topic}")).query_async(&mut connection).await.unwrap();
        assert_eq!(kept, payload, "{topic}");
    }
}

#[tokio::test]
async fn the_seed_repeats_prices_and_volumes() {
    let redis = Redis::start(&[]).await;
    let mut subscriber = redis.subscriber("px:trade:AMpB").await;
    let arguments = ["--symbols=AMpB", "--rate=1e7", "--count=1", "--seed=7", "--channel-prefix=px:"];
    let mut first_trades = Vec::new();
    for _ in 0..2 {
        let tool = publisher(&redis, &arguments);
        let (_, payload) = receive(&mut subscriber, 1).await.remove(0);
        let text = String::from_utf8(payload).unwrap();
        let (before, rest) = text.split_once(",\"timestamp\":").unwrap();
        first_trades.push((before.to_owned(), rest.split_once(',').unwrap().1.to_owned()));
        assert!(tool.end().await.0.success());
    }
    assert_eq!(first_trades[0], first_trades[1]);
}

#[tokio::test]
async fn fifty_thousand_a_second_are_pipelined_and_all_arrive() {
    let redis = Redis::start(&[]).await;
    let mut subscriber = redis.subscriber("channel:trade:*").await;
    let tool = publisher(&redis, &["--rate", "50000", "--count", "20000"]);
    receive(&mut subscriber, 20_000).await;
    let (status, _, stderr) = tool.end().await;
    assert!(status.success());
    assert!(stderr.last().unwrap().contains("delivered to 20000 receivers"), "{stderr:?}");
}

#[tokio::test]
async fn at_a_readable_rate_each_trade_is_a_line() {
    let redis = Redis::start(&[]).await;
    let tool = publisher(&redis, &["--symbols", "AAPL", "--count", "1"]);
    let (status, stdout, _) = tool.end().await;
    assert!(status.success());
    assert_eq!(stdout.len(), 2, "{stdout:?}");
    assert!(stdout[0].starts_with("TIME (UTC)") && stdout[1].contains("  AAPL  "), "{stdout:?}");
    assert!(stdout[1].ends_with("→ 0"), "{stdout:?}");
}

#[tokio::test]
async fn recorded_trades_are_published_byte_for_byte() {
    let redis = Redis::start(&[]).await;
    let mut subscriber = redis.subscriber("channel:trade:*").await;
    let odd = r#"{ "timestamp":1,"price":150.250,"symbol":"aapl","volume":9007199254740993,"x":"é" }"#;
    let bad_on_purpose = r#"{"symbol":"MSFT","price":"none"}"#;
    let file = redis.directory().join("trades.jsonl");
    std::fs::write(&file, format!("{odd}\r\nnonsense\n\n{bad_on_purpose}")).unwrap();
    let tool = publisher(&redis, &["--file", file.to_str().unwrap(), "--rate", "100"]);
    let expected = [("channel:trade:aapl", odd), ("channel:trade:MSFT", bad_on_purpose)]
        .map(|(channel, payload)| (channel.to_owned(), payload.as_bytes().to_vec()));
    assert_eq!(receive(&mut subscriber, 2).await, expected);
    let (status, _, stderr) = tool.end().await;
    assert_eq!(status.code(), Some(1), "a line was left out");
    assert!(
        stderr.iter().any(|line| line.starts_with("line 2 skipped") && line.contains("nonsense")),
        "{stderr:?}"
    );
    assert!(stderr.last().unwrap().ends_with("skipped 1 lines"), "{stderr:?}");
}

#[tokio::test]
async fn lines_of_a_pipe_are_published_as_they_come() {
    let redis = Redis::start(&[]).await;
    let mut subscriber = redis.subscriber("channel:trade:*").await;
    let mut tool = publisher(&redis, &["--stdin"]);
    for n in 0..3 {
        let line = format!(r#"{{"symbol":"S{n}","price":1,"volume":1,"timestamp":1}}"#);
        let stdin = tool.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        assert_eq!(receive(&mut subscriber, 1).await, [(format!("channel:trade:S{n}"), line.into_bytes())]);
    }
    let (status, _, stderr) = tool.end().await;
    assert!(status.success());
    assert!(stderr.last().unwrap().starts_with("published 3 events"), "{stderr:?}");
}

#[tokio::test]
async fn it_goes_on_when_redis_comes_back() {
    let mut redis = Redis::start(&[]).await;
    let mut subscriber = redis.subscriber("channel:trade:*").await;
    let mut tool = publisher(&redis, &["--rate", "100"]);
    receive(&mut subscriber, 5).await;
    redis.kill().await;
    line_with(&mut tool.stderr, "cannot publish to redis at").await;
    redis.restart().await;
    let mut subscriber = redis.subscriber("channel:trade:*").await;
    receive(&mut subscriber, 5).await;
    line_with(&mut tool.stderr, "going on").await;
    tool.signal("INT").await;
    let (status, _, stderr) = tool.end().await;
    assert!(status.success());
    assert!(stderr.last().unwrap().starts_with("published "), "{stderr:?}");
}

#[tokio::test]
async fn a_recording_loses_no_line_to_a_restart_of_redis() {
    let mut redis = Redis::start(&[]).await;
    let mut subscriber = redis.subscriber("channel:trade:*").await;
    let mut tool = publisher(&redis, &["--stdin"]);
    let line = |n: usize| format!("{{\"symbol\":\"S{n}\",\"price\":1}}\n");
    let mut stdin = tool.stdin.take().unwrap();
    stdin.write_all(line(0).as_bytes()).await.unwrap();
    receive(&mut subscriber, 1).await;
    redis.kill().await;
    stdin.write_all((1..=50).map(line).collect::<String>().as_bytes()).await.unwrap();
    line_with(&mut tool.stderr, "cannot publish to redis at").await;
    redis.restart().await;
    drop(stdin);
    let (status, _, stderr) = tool.end().await;
    assert!(status.success());
    assert!(stderr.last().unwrap().starts_with("published 51 events"), "{stderr:?}");
}

#[tokio::test]
async fn a_refusal_for_good_ends_it_without_showing_the_password() {
    let redis = Redis::start(&["--requirepass", "right"]).await;
    let wrong = format!("redis+{}?pass=s3cret", redis.url());
    for url in [redis.url(), wrong] {
        let tool = Tool::start(env!("CARGO_BIN_EXE_test-publisher"), &["--redis-url", &url, "--rate", "10"]);
        let (status, _, stderr) = tool.end().await;
        let text = stderr.join("\n");
        assert_eq!(status.code(), Some(1), "{text}");
        assert!(
            text.contains("refuses us") && text.contains("REDIS_URL") && !text.contains("s3cret"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_port_is_as_good_as_a_socket() {
    // Redis can't be told to choose a port, so one is reserved.
    let port = ReservedPort::new();
    let redis = Redis::start(&["--port", &port.to_string()]).await;
    let mut subscriber = redis.subscriber("channel:trade:*").await;
    let url = format!("redis://{}", port.addr());
    let tool =
        Tool::start(env!("CARGO_BIN_EXE_test-publisher"), &["--redis-url", &url, "--rate=100", "--count=3"]);
    receive(&mut subscriber, 3).await;
    assert!(tool.end().await.0.success());
}

#[tokio::test]
async fn a_tls_address_is_tried_with_tls() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rediss://{}", listener.local_addr().unwrap());
    let tool = Tool::start(env!("CARGO_BIN_EXE_test-publisher"), &["--redis-url", &url, "--rate", "10"]);
    let (mut stream, _) = soon("a connection", listener.accept()).await.unwrap();
    let mut record = [0; 3];
    soon("a ClientHello", tokio::io::AsyncReadExt::read_exact(&mut stream, &mut record)).await.unwrap();
    assert_eq!(record[..2], [0x16, 0x03], "a TLS handshake record begins so (RFC 8446 section 5.1)");
    drop(stream);
    tool.signal("TERM").await;
    assert!(tool.end().await.0.success());
}
