//! The base protocol's bytes: sessions of clients that ask for no extension are what they were before there were any,
//! frame headers, handshakes and closes included.
//!
//! `golden_bytes.txt` was recorded by this test from commit 47b1c63, the last one before the extensions. How its lines are to be read is in
//! `support/tape.rs`.

use std::fmt::Write as _;
use std::time::Duration;

use crate::support::tape::{Taped, compare, normalized, title};
use crate::support::{Redis, TestGateway, http, raw, trade};
use tokio::io::AsyncWriteExt;
use ws_gateway::config::Config;
use ws_gateway::limits::TIME_MAX_MS;
use ws_gateway::rate::Rate;

const RECORDED: &str = include_str!("golden_bytes.txt");

#[tokio::test(flavor = "multi_thread")]
async fn are_those_of_the_record() {
    let mut redis = Redis::start().await;
    let mut tape = String::new();
    subscriptions(&redis, &mut tape).await;
    mistakes(&redis, &mut tape).await;
    ends(&redis, &mut tape).await;
    limits(&redis, &mut tape).await;
    outage(&mut redis, &mut tape).await;

    compare("golden_bytes.txt", RECORDED, &tape);
}

/// What a client does that shows prices.
async fn subscriptions(redis: &Redis, tape: &mut String) {
    let gateway = gateway(redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    title(tape, "Subscriptions and trades");
    let mut client = Taped::connect(gateway.addr, "/ws", tape).await;
    client.ask(tape, r#"{"action":"subscribe","symbols":["AAPL","GOOGL"]}"#).await;
    worker.trade("AAPL", &trade("AAPL", "150.250", 1_234_567_890)).await;
    client.hear(tape).await;
    client.ask(tape, r#"{"action":"subscribe","symbols":["aapl","TSLA","Aapl"],"id":1}"#).await;
    // Each form of a frame's length, and a payload that no program would print so.
    let odd =
        r#" {"volume":1e2, "price":9007199254740993.10,"x":[{"é":null}],"timestamp":-0.0,"symbol":"tsla"}  "#;
    for payload in [
        r#"{"symbol":"TSLA","price":1,"volume":1,"timestamp":1}"#.to_owned(),
        odd.to_owned(),
        trade("TSLA", "1", 2).replace("NASDAQ", &"N".repeat(65_400)),
    ] {
        worker.trade("TSLA", &payload).await;
        client.hear(tape).await;
    }
    client.ask(tape, r#"{"action":"unsubscribe","symbols":["AAPL","NFLX","AAPL"]}"#).await;
    worker.trade("AAPL", &trade("AAPL", "150.250", 3)).await;
    worker.trade("GOOGL", &trade("GOOGL", "2800", 4)).await;
    client.hear(tape).await;
    client.ask(tape, r#"{"action":"unsubscribe","symbols":["NFLX"],"id":"none"}"#).await;
    client.ask(tape, r#"{"action":"ping"}"#).await;
    client.ask(tape, r#"{"action":"ping","id":-1.5e3,"stranger":{"to":["us"]}}"#).await;
    client.frame(tape, 0x89, b"are you there").await;
    client.hear(tape).await;
    client.frame(tape, 0x88, &[&1000u16.to_be_bytes()[..], b"done"].concat()).await;
    client.hear_end(tape).await;

    title(tape, "Symbols in the address");
    let mut client = Taped::connect(gateway.addr, "/?symbols=AAPL,googl", tape).await;
    client.hear(tape).await;
    client.ask(tape, r#"{"action":"unsubscribe","symbols":["AAPL","GOOGL"]}"#).await;
}

/// Requests that can't be done.
async fn mistakes(redis: &Redis, tape: &mut String) {
    let gateway = gateway(redis, |_| {}).await;
    title(tape, "Mistakes");
    let mut client = Taped::connect(gateway.addr, "/ws", tape).await;
    for message in [
        "",
        "{",
        r#"{"action":"ping""#,
        "[1]",
        r#"{"symbols":["AAPL"]}"#,
        r#"{"action":7,"id":7}"#,
        r#"{"action":"sell","symbols":["AAPL"]}"#,
        r#"{"action":"subscribe","id":"x"}"#,
        r#"{"action":"subscribe","symbols":[]}"#,
        r#"{"action":"subscribe","symbols":"AAPL"}"#,
        r#"{"action":"subscribe","symbols":["AAPL",1]}"#,
        r#"{"action":"subscribe","symbols":["GOOD","b,a,d"]}"#,
        r#"{"action":"unsubscribe","symbols":[""]}"#,
        r#"{"action":"ping","id":true}"#,
        r#"{"action":"ping","action":"ping"}"#,
        r#"{"action":"subscribe","symbols":["A","B","C","D","E","F"],"id":"six"}"#,
        r#"{"action":"subscribe","symbols":["A","B","C","D","E"]}"#,
        r#"{"action":"subscribe","symbols":["E","F"]}"#,
        r#"{"action":"subscribe","symbols":["E"]}"#,
    ] {
        client.ask(tape, message).await;
    }
    client.frame(tape, 0x82, b"binary").await;
    client.hear(tape).await;
}

/// Breaches of the WebSocket protocol, and HTTP.
async fn ends(redis: &Redis, tape: &mut String) {
    let gateway = gateway(redis, |_| {}).await;
    for (what, first, payload) in [
        ("Bad UTF-8", 0x81, &b"\xff\xfe"[..]),
        ("A reserved opcode", 0x83, b""),
        ("A close without a code", 0x88, b""),
        ("A close with a code that is none", 0x88, &[3, 232 + 6]),
    ] {
        title(tape, what);
        let mut client = Taped::connect(gateway.addr, "/ws", tape).await;
        client.frame(tape, first, payload).await;
        client.hear_end(tape).await;
    }
    title(tape, "An upgrade without a key");
    let request = raw::request(gateway.addr, "/ws");
    let request: String = request.split_inclusive("\r\n").filter(|line| !line.contains("-Key")).collect();
    let answer =
        http::exchange(gateway.addr, &request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
    for line in answer.lines() {
        writeln!(tape, "< {}", normalized(line)).unwrap();
    }
}

/// Limits that are lower than usual.
async fn limits(redis: &Redis, tape: &mut String) {
    let low = gateway(redis, |config| {
        config.clients.max_message_bytes = 1_000;
        config.clients.message_rate_limit = Rate::new(3, Duration::from_secs(1));
        config.clients.max_symbols_per_client = 1;
    })
    .await;
    title(tape, "MAX_MESSAGE_SIZE=1000");
    let mut client = Taped::connect(low.addr, "/ws", tape).await;
    client.frame(tape, 0x81, &[b'x'; 1_001]).await;
    client.hear_end(tape).await;
    title(tape, "MAX_MESSAGES_PER_SECOND=3");
    let mut client = Taped::connect(low.addr, "/ws?symbols=AAPL,MSFT", tape).await;
    client.hear(tape).await;
    // In one write, so that they come in one moment.
    let burst = [r#"{"action":"ping"}"#, r#"{"action":"ping","id":2}"#, r#"{"action":"ping","id":3}"#];
    let burst = [&burst[..], &[r#"{"action":"ping","id":4}"#]].concat();
    client
        .stream
        .write_all(&burst.iter().flat_map(|text| raw::text_frame(text)).collect::<Vec<_>>())
        .await
        .unwrap();
    for text in burst {
        writeln!(tape, "> {text}").unwrap();
        client.hear(tape).await;
    }
}

/// The upstream is lost and comes back; the gateway ends.
async fn outage(redis: &mut Redis, tape: &mut String) {
    let gateway = gateway(redis, |_| {}).await;
    title(tape, "Redis is lost and comes back, the gateway ends");
    let mut client = Taped::connect(gateway.addr, "/ws?symbols=AAPL", tape).await;
    client.hear(tape).await;
    redis.kill();
    client.hear(tape).await;
    redis.launch();
    redis.until_up().await;
    client.hear(tape).await;
    redis.publisher().await.trade("AAPL", &trade("AAPL", "1", 1)).await;
    client.hear(tape).await;
    let drained = tokio::spawn(gateway.gateway.drain());
    client.hear(tape).await;
    client.hear(tape).await;
    client.frame(tape, 0x88, &1012u16.to_be_bytes()).await;
    client.hear_end(tape).await;
    drained.await.unwrap();
}

async fn gateway(redis: &Redis, change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::on(redis, |config| {
        config.server.server_id = "golden".to_owned();
        // A client's first ping comes at any time in the interval.
        config.delivery.ping_interval = Duration::from_millis(TIME_MAX_MS);
        change(config);
    })
    .await
}
