//! A client whose rights have a delay sees everything as old as that: events, last values, what it has missed, and what became of the
//! upstream. Whoever has none sees what there is now, beside it.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ws_gateway::config::Config;
use ws_gateway::market::Delays;
use ws_gateway::unix_time::unix_ms;

use crate::support::http::ask;
use crate::support::process::Process;
use crate::support::stats::number;
use crate::support::stream::Stream;
use crate::support::tokens::{SECRET, authenticate, enter, handshake, token};
use crate::support::{Client, Redis, TestGateway, trade, until};

/// The shorter of the delays that can be had here, which everything is tested with, and the longer one.
const DELAY_MS: u64 = 1_000;
const LONGER_MS: u64 = 2_000;

async fn gateway(redis: &Redis, change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::on(redis, |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.access.feed_delays =
            Delays::new([DELAY_MS, LONGER_MS].map(|ms| NonZeroU32::new(ms as u32).unwrap())).unwrap();
        change(config);
    })
    .await
}

fn bearer(delay_ms: u64) -> String {
    format!("Authorization: Bearer {}", token(json!({"sub": "u", "delayMs": delay_ms})))
}

/// A client with that claim whose feed is up: it is not before the gateway is as old as the delay.
async fn client(gateway: &TestGateway, delay_ms: u64) -> Client {
    client_with(gateway, delay_ms, "").await
}

async fn client_with(gateway: &TestGateway, delay_ms: u64, query: &str) -> Client {
    let mut client = enter(gateway.addr, query, &[&bearer(delay_ms)]).await;
    client.send(r#"{"action":"list","id":"first"}"#).await;
    let mut is_up = true;
    loop {
        let text = client.text().await;
        match text.trim_matches(['[', ']']).parse::<Value>().expect("JSON") {
            status if status["event"] == "feed" => is_up = status["data"]["state"] == "up",
            reply => assert_eq!(reply["id"], "first", "{reply}"),
        }
        if is_up {
            return client;
        }
    }
}

/// The next event: its number, its mark and the gateway's time.
async fn event(client: &mut Client) -> (u64, Value, u64) {
    let event = client.json().await;
    assert_eq!(event["type"], "trade", "{event}");
    let at_ms = event["timestamp"].as_u64().expect("a time");
    (event["data"]["timestamp"].as_u64().expect("a number"), event["delayedMs"].clone(), at_ms)
}

fn numbered(n: u64) -> String {
    format!(r#"{{"symbol":"AAPL","price":1.50,"volume":1,"timestamp":{n},"seq":{n}}}"#)
}

async fn events_come_late_and_in_order(shards: usize) {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| config.process.shards = shards).await;
    let mut worker = redis.publisher().await;
    let mut at_once = client(&gateway, 0).await;
    at_once.subscribe(&["AAPL"]).await;
    // 1,500 ms is rounded up.
    let mut delayed = Vec::new();
    for (claim_ms, delay_ms, names) in
        [(DELAY_MS, DELAY_MS, "AAPL"), (1_500, LONGER_MS, "*"), (LONGER_MS, LONGER_MS, "AAPL")]
    {
        let mut client = client(&gateway, claim_ms).await;
        client.subscribe(&[names]).await;
        delayed.push((client, delay_ms));
    }
    let mut batch = enter(gateway.addr, "?batch=1&symbols=AAPL", &[&bearer(DELAY_MS)]).await;
    let query = format!("symbols=AAPL&token={}", token(json!({"sub": "u", "delayMs": DELAY_MS})));
    let mut stream = Stream::open(gateway.addr, &query).await;
    worker.trades((1..=200).map(|n| ("AAPL".to_owned(), numbered(n)))).await;
    let mut published_ms = Vec::new();
    for n in 1..=200 {
        let (number, mark, at_ms) = event(&mut at_once).await;
        assert_eq!((number, mark), (n, Value::Null));
        published_ms.push(at_ms);
    }
    for (client, delay_ms) in &mut delayed {
        for n in 1..=200 {
            let (number, mark, at_ms) = event(client).await;
            assert_eq!((number, mark), (n, json!(*delay_ms)));
            let age_ms = at_ms - published_ms[n as usize - 1];
            assert!(age_ms >= *delay_ms, "{age_ms} ms old");
        }
    }
    let mut numbers = Vec::new();
    while numbers.len() < 200 {
        let objects: Vec<Value> = serde_json::from_str(&batch.text().await).expect("an array");
        let trades = objects.into_iter().filter(|object| object["type"] == "trade");
        numbers.extend(trades.map(|trade| {
            assert_eq!(trade["delayedMs"], DELAY_MS);
            trade["data"]["seq"].as_u64().unwrap()
        }));
    }
    assert!(numbers.into_iter().eq(1..=200));
    let mut n = 0;
    while n < 200 {
        let event = stream.event().await.expect("the stream goes on");
        if event.name == "trade" {
            n += 1;
            assert_eq!(event.id, Some(format!("trade:{n}:AAPL")));
            assert_eq!(event.json()["delayedMs"], DELAY_MS);
        }
    }
    let released = 2 * 200;
    until("all that is due", async || (gateway.stat("delayed/events").await == released).then_some(())).await;
    until("nothing is kept", async || (gateway.stat("delayed/waiting").await == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_late_and_in_order_from_two_shards() {
    events_come_late_and_in_order(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_late_and_in_order_from_the_thread_that_reads_redis() {
    events_come_late_and_in_order(1).await;
}

/// A delay as it is licensed, though shorter: those without a token see each trade five seconds late, and whoever may see everything sees it
/// before that.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_see_each_trade_five_seconds_after_it_was_published() {
    const FIVE_S: Duration = Duration::from_secs(5);
    const TRADES: u64 = 300;
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| {
        config.access.feed_delays = Delays::new([NonZeroU32::new(5_000).unwrap()]).unwrap();
        config.access.anonymous = Some(r#"{"symbols":["AAPL"],"delayMs":5000}"#.to_owned());
    })
    .await;
    // What is published before the gateway is as old as the delay comes as well.
    let mut stranger = gateway.client().await;
    let told = stranger.json().await;
    assert_eq!(told["data"]["state"], "down", "{told}");
    stranger.subscribe(&["AAPL"]).await;
    let mut live = enter(gateway.addr, "?symbols=AAPL", &[&bearer(0)]).await;
    assert_eq!(live.json().await["type"], "success");
    let strangers = tokio::spawn(async move {
        assert_eq!(stranger.json().await["data"]["state"], "up", "as the upstream was five seconds ago");
        let mut seen = Vec::new();
        for n in 1..=TRADES {
            let (number, mark, _) = event(&mut stranger).await;
            assert_eq!((number, mark), (n, json!(5_000)));
            seen.push(Instant::now());
        }
        seen
    });
    let mut worker = redis.publisher().await;
    let (mut published, mut seen_live) = (Vec::new(), Vec::new());
    for begin in (1..=TRADES).step_by(30) {
        let trades: Vec<_> = (begin..begin + 30).map(|n| ("AAPL".to_owned(), numbered(n))).collect();
        published.extend(std::iter::repeat_n(Instant::now(), trades.len()));
        worker.trades(trades).await;
        for n in begin..begin + 30 {
            let (number, mark, _) = event(&mut live).await;
            assert_eq!((number, mark), (n, Value::Null));
            seen_live.push(Instant::now());
        }
    }
    let seen = strangers.await.expect("every trade in its order");
    for n in 0..TRADES as usize {
        let age = seen[n] - published[n];
        assert!(age >= FIVE_S, "trade {n} was {age:?} old");
        assert!(seen_live[n] < seen[n], "trade {n} came at once to whoever may see it");
    }
}

/// What was published before a client subscribed, and is due after that, comes.
#[tokio::test(flavor = "multi_thread")]
async fn last_values_and_what_was_missed_are_as_of_then() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let mut first = client(&gateway, DELAY_MS).await;
    first.subscribe(&["AAPL"]).await;
    for n in 1..=3 {
        worker.trade("AAPL", &numbered(n)).await;
    }
    let last = async |delay_ms| {
        let head = format!("GET /v1/last/AAPL HTTP/1.1\r\nHost: h\r\n{}\r\n", bearer(delay_ms));
        let reply = ask(gateway.addr, &head).await;
        (reply.status == 200).then(|| reply.json())
    };
    gateway.taken(3).await;
    assert_eq!(last(0).await.expect("an event")["data"]["seq"], 3);
    for n in 1..=3 {
        assert_eq!(event(&mut first).await.0, n);
    }
    worker.trade("AAPL", &numbered(4)).await;
    worker.trade("AAPL", &numbered(6)).await;
    gateway.taken(5).await;
    let mut at_once = client(&gateway, 0).await;
    at_once.subscribe_with(json!({"symbols": ["AAPL"], "snapshot": true})).await;
    assert_eq!(event(&mut at_once).await.0, 6);
    let mut late = client(&gateway, DELAY_MS).await;
    let reply =
        late.subscribe_with(json!({"symbols": ["AAPL"], "snapshot": true, "resume": {"AAPL": 1}})).await;
    assert_eq!(reply["data"]["recovered"], json!({"AAPL": true}), "{reply}");
    let mut told = Vec::new();
    while told.last() != Some(&json!(6)) {
        let message = late.json().await;
        match message["event"].as_str() {
            Some(_) => told.push(message["event"].clone()),
            None => {
                assert_eq!(message["delayedMs"], DELAY_MS, "{message}");
                told.push(message["data"]["seq"].clone());
            }
        }
    }
    // The client may have come so late that 4 and 6 were due already.
    let events: Vec<_> = told.iter().filter(|each| each.is_number()).collect();
    assert_eq!(events, [&json!(2), &json!(3), &json!(4), &json!(6)], "{told:?}");
    assert!(told.contains(&json!("replayEnd")) && told.contains(&json!("snapshotEnd")), "{told:?}");
    // What is missing before an event that comes live is told there; a replay has only what there is.
    let at = |what: Value| told.iter().position(|each| *each == what);
    let is_live = at(json!("replayEnd")) < at(json!(6));
    let gap = at(json!("gap")).map(|at| &told[at + 1]);
    assert_eq!(gap, is_live.then_some(&json!(6)), "{told:?}");
    let reply = last(DELAY_MS).await.expect("an event");
    assert_eq!((&reply["data"]["seq"], &reply["snapshot"]), (&json!(6), &json!(true)));
    assert_eq!(reply["delayedMs"], DELAY_MS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_of_redis_is_told_when_it_is_as_old() {
    let mut redis = Redis::start().await;
    let gateway = gateway(&redis, |config| config.process.shards = 1).await;
    let mut worker = redis.publisher().await;
    let mut at_once = client(&gateway, 0).await;
    let mut delayed = client(&gateway, DELAY_MS).await;
    for client in [&mut at_once, &mut delayed] {
        client.subscribe(&["AAPL"]).await;
    }
    worker.trade("AAPL", &numbered(1)).await;
    assert_eq!(event(&mut at_once).await.0, 1);
    let killed_ms = unix_ms();
    redis.kill();
    let down = at_once.json().await;
    assert_eq!(down["data"], json!({"state": "down"}));
    let launched_ms = unix_ms();
    redis.launch();
    redis.until_up().await;
    let up = at_once.json().await;
    redis.publisher().await.trade("AAPL", &numbered(2)).await;
    assert_eq!(event(&mut delayed).await.0, 1, "what came before");
    // The client that is told at once may be told some milliseconds after the gateway knows.
    for (then, then_ms) in [(&down, killed_ms), (&up, launched_ms)] {
        let told = delayed.json().await;
        assert_eq!((&told["event"], &told["data"]), (&json!("feed"), &then["data"]));
        let age_ms = told["timestamp"].as_u64().unwrap() - then_ms;
        assert!(age_ms >= DELAY_MS, "{age_ms} ms old");
    }
    assert_eq!(event(&mut delayed).await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_rounded_up_or_refused() {
    let redis = Redis::start().await;
    let args = ["--jwt-secret-key", SECRET, "--feed-delays", "15m,20m"];
    let gateway = Process::on(&redis, &args).await;
    for (delay_ms, status) in [(0, 101), (1, 101), (900_000, 101), (1_200_000, 101), (1_200_001, 401)] {
        let (reply, _) = handshake(gateway.addr(), "", &[&bearer(delay_ms)]).await;
        assert_eq!(reply.status, status, "{delay_ms}");
    }
    let line = gateway.logs("the longest that this gateway has").await;
    assert!(line.contains("1200001") && line.contains("FEED_DELAYS"), "{line}");

    // By default there is no delay to be had.
    let without = Process::on(&redis, &args[..2]).await;
    for (delay_ms, status) in [(0, 101), (1, 401)] {
        assert_eq!(handshake(without.addr(), "", &[&bearer(delay_ms)]).await.0.status, status, "{delay_ms}");
    }

    let anonymous = |delay_ms: u64| format!(r#"{{"symbols":["DEMO-*"],"delayMs":{delay_ms}}}"#);
    let rights = anonymous(900_000);
    let gateway = Process::on(&redis, &[&args[..], &["--anonymous", &rights]].concat()).await;
    let mut stranger = Client::connect(&gateway.url()).await;
    assert_eq!(stranger.json().await["data"]["state"], "down", "the gateway knows nothing that is so old");
    stranger.subscribe(&["DEMO-1"]).await;
    let rights = anonymous(3_600_000);
    let mut refused =
        Process::spawn(&[&["--embedded-redis-port", "0"], &args[..], &["--anonymous", &rights]].concat());
    assert!(!refused.exit().await.success());
    assert!(refused.has_logged("ANONYMOUS") && refused.has_logged("FEED_DELAYS"), "{:?}", refused.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_delay_ends_a_connection_that_is_subscribed() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let of = |delay_ms| token(json!({"sub": "u", "delayMs": delay_ms}));
    let mut client = client(&gateway, DELAY_MS).await;
    assert_eq!(authenticate(&mut client, &of(0)).await["data"]["user"], "u", "nothing is subscribed");
    client.subscribe(&["AAPL"]).await;
    redis.publisher().await.trade("AAPL", &numbered(1)).await;
    assert_eq!(event(&mut client).await.1, Value::Null);
    let status = authenticate(&mut client, &of(DELAY_MS)).await;
    assert_eq!(status["data"], json!({"reason": "delay", "reconnectAfterMs": 0}), "{status}");
    assert_eq!(client.ending().await.expect("a close frame").0, 1012);
}

/// Ten times as much comes as there is room for: what is delivered and what is announced is what was published.
#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_room_for_is_announced() {
    const EVENTS: u64 = 8_000;
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| config.history.delay_max_bytes = 4 << 20).await;
    let mut worker = redis.publisher().await;
    let mut clients = Vec::new();
    for name in ["AAPL", "*"] {
        let mut client = client(&gateway, DELAY_MS).await;
        client.subscribe(&[name]).await;
        clients.push(client);
    }
    let event = |n: u64| {
        let note = "x".repeat(1_000);
        format!(r#"{{"symbol":"AAPL","price":1,"volume":1,"timestamp":{n},"seq":{n},"note":"{note}"}}"#)
    };
    worker.trades((1..=EVENTS).map(|n| ("AAPL".to_owned(), event(n)))).await;
    gateway.taken(EVENTS).await;
    assert!(gateway.stat("delayed/lost").await > 0);
    for client in &mut clients {
        let (mut delivered, mut announced, mut last) = (0, 0, 0);
        while delivered + announced < EVENTS {
            let message = client.json().await;
            match message["event"].as_str() {
                Some("skipped") => announced += message["data"]["count"].as_u64().unwrap(),
                Some(other) => panic!("{other}: {message}"),
                None => {
                    delivered += 1;
                    let seq = message["data"]["seq"].as_u64().unwrap();
                    assert!(seq > last, "{last}, then {seq}");
                    last = seq;
                }
            }
        }
        assert!(announced > 0 && delivered > 0, "{delivered}, {announced}");
        assert_eq!(delivered + announced, EVENTS);
    }
    // What was lost may have been the last, and is not told of again as a gap before the next.
    worker.trade("AAPL", &event(EVENTS + 1)).await;
    for client in &mut clients {
        let next = client.json().await;
        assert_eq!(next["data"]["seq"], EVENTS + 1, "{next}");
    }
    let metrics = gateway.get("/metrics").await.body;
    assert!(metrics.contains("ws_delayed_events_lost_total"), "{metrics}");
}

/// What is kept of a delayed feed is not waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_nothing_that_is_not_due() {
    let redis = Redis::start().await;
    let args = ["--jwt-secret-key", SECRET, "--feed-delays", "1h", "--drain-timeout", "10m"];
    let mut gateway = Process::on(&redis, &args).await;
    let mut client = enter(gateway.addr(), "?symbols=AAPL", &[&bearer(1)]).await;
    assert_eq!(client.json().await["type"], "success");
    assert_eq!(client.json().await["data"]["state"], "down");
    redis.publisher().await.trade("AAPL", &numbered(1)).await;
    until("the event", async || (number(gateway.addr(), "delayed/waiting").await == 1).then_some(())).await;
    gateway.signal("TERM");
    let status = client.json().await;
    assert_eq!(status["data"]["reason"], "shutdown", "{status}");
    assert_eq!(client.ending().await.expect("a close frame").0, 1012);
    assert!(gateway.exit().await.success());
}

/// What workers keep in Redis is as of now.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_value_in_redis_is_not_for_a_delayed_feed() {
    let redis = Redis::start().await;
    let mut worker = redis.publisher().await;
    let () = worker.command(&["SET", "last:trade:AAPL", &trade("AAPL", "1.50", 7)]).await;
    let gateway =
        gateway(&redis, |config| config.history.last_value_key = Some("last:trade:".to_owned())).await;
    let mut at_once = client(&gateway, 0).await;
    at_once.subscribe_with(json!({"symbols": ["AAPL"], "snapshot": true})).await;
    assert_eq!(event(&mut at_once).await.0, 7);
    let mut delayed = client(&gateway, DELAY_MS).await;
    delayed.subscribe_with(json!({"symbols": ["AAPL"], "snapshot": true})).await;
    assert_eq!(delayed.json().await["event"], "snapshotEnd");
}
