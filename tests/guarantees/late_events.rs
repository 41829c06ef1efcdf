//! An event that newer ones have overtaken is delivered, but never takes the place of a newer one: not as the last value,
//! not in conflation, not out of order in a replay. An event of a worker that has restarted its numbers looks similar, and
//! isn't lost.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::{Client, Redis, TestGateway, raw, until};
use ws_gateway::market::Numbering;

fn numbered(seq: impl std::fmt::Display, timestamp: u64) -> String {
    format!(r#"{{"symbol":"AAPL","price":{timestamp},"volume":1,"timestamp":{timestamp},"seq":{seq}}}"#)
}

/// `from` and `to` of a gap, or the `seq` of the next event.
async fn next(client: &mut Client) -> Value {
    let frame = client.json().await;
    match frame["event"].as_str() {
        Some("gap") => json!([frame["data"]["from"], frame["data"]["to"]]),
        Some(event) => event.into(),
        None => frame["data"]["seq"].clone(),
    }
}

async fn all(client: &mut Client, count: usize) -> Value {
    let mut got = Vec::new();
    for _ in 0..count {
        got.push(next(client).await);
    }
    got.into()
}

/// What a client is sent that resumes behind `seen`.
async fn resumed(gateway: &TestGateway, seen: u64) -> (Value, Client) {
    let mut client = gateway.client().await;
    let reply = client.subscribe_with(json!({"symbols": ["AAPL"], "resume": {"AAPL": seen}})).await;
    (reply["data"]["recovered"]["AAPL"].clone(), client)
}

#[tokio::test(flavor = "multi_thread")]
async fn are_delivered_and_replace_no_newer_event() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let mut every = gateway.subscriber(&["AAPL"]).await;
    let [mut adding, mut latest] = [gateway.client().await, gateway.client().await];
    adding.subscribe_with(json!({"symbols": ["AAPL"], "conflate": "aggregate", "maxRate": 2})).await;
    latest.subscribe_with(json!({"symbols": ["AAPL"], "conflate": true, "maxRate": 2})).await;
    worker.trade("AAPL", &numbered(1, 10)).await;
    for client in [&mut adding, &mut latest] {
        assert_eq!(next(client).await, 1);
    }
    // 3 and 2 in one go, so that 3 has not left when 2 comes.
    worker.trades([(3, 12), (2, 11)].map(|(seq, at)| ("AAPL".to_owned(), numbered(seq, at)))).await;
    assert_eq!(all(&mut latest, 2).await, json!([[2, 2], 3]));
    latest.send(r#"{"action":"ping","stats":true}"#).await;
    assert_eq!(latest.json().await["stats"]["conflated"], 1, "the late one counts as conflated");
    assert_eq!(next(&mut adding).await, json!([2, 2]));
    let totals = adding.json().await;
    let expected =
        json!({"count": 2, "volume": 2, "high": 12, "low": 11, "vwap": 11.5, "firstTimestamp": 11});
    assert_eq!((&totals["data"]["seq"], &totals["conflated"]), (&json!(3), &expected));
    worker.trade("AAPL", &numbered(4, 12)).await;
    assert_eq!(all(&mut every, 5).await, json!([1, [2, 2], 3, 2, 4]));
    for client in [&mut adding, &mut latest] {
        assert_eq!(next(client).await, 4);
    }

    worker.trade("AAPL", &numbered(6, 13)).await;
    worker.trade("AAPL", &numbered(5, 13)).await;
    assert_eq!(all(&mut every, 3).await, json!([[5, 5], 6, 5]));
    let mut late = gateway.client().await;
    late.subscribe_with(json!({"symbols": ["AAPL"], "snapshot": true})).await;
    assert_eq!(all(&mut late, 2).await, json!([6, "snapshotEnd"]));
    let (recovered, mut client) = resumed(&gateway, 1).await;
    assert_eq!(recovered, true);
    assert_eq!(all(&mut client, 6).await, json!([2, 3, 4, 5, 6, "replayEnd"]));
    assert_eq!((gateway.stat("events/late").await, gateway.stat("events/duplicate").await), (2, 0));
}

/// The same of events that came before anybody wanted them.
#[tokio::test(flavor = "multi_thread")]
async fn are_replayed_in_their_order_whether_clients_wanted_them_or_not() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    // More than are set aside at a time, two of every ten the wrong way round, and each of those once more.
    let swapped = (1..=60_u64).map(|n| match n % 10 {
        4 => n + 1,
        5 => n - 1,
        _ => n,
    });
    for seq in swapped.flat_map(|seq| if seq % 10 == 4 { vec![seq, seq] } else { vec![seq] }) {
        worker.trade("AAPL", &numbered(seq, 100 + seq)).await;
    }
    gateway.taken(66).await;
    let (recovered, mut client) = resumed(&gateway, 0).await;
    assert_eq!(recovered, true);
    for seq in 1..=60 {
        assert_eq!(next(&mut client).await, seq);
    }
    assert_eq!(next(&mut client).await, "replayEnd");
    let mut late = gateway.client().await;
    late.subscribe_with(json!({"symbols": ["AAPL"], "snapshot": true})).await;
    assert_eq!(next(&mut late).await, 60);
}

/// Events of the next test.
const EVENTS: u64 = 8_000;

/// What one client is sent of them.
#[derive(Default)]
struct Heard {
    /// Events that frames stand for, and those announced as skipped.
    accounted: u64,
    seqs: HashSet<u64>,
    missing: HashSet<u64>,
}

impl Heard {
    async fn everything(client: &mut Client) -> Self {
        let mut heard = Self::default();
        while heard.accounted < EVENTS {
            let frame = client.json().await;
            let number = |pointer: &str| frame.pointer(pointer).and_then(Value::as_u64);
            match frame["event"].as_str() {
                Some("skipped") => heard.accounted += number("/data/count").unwrap(),
                Some("gap") => {
                    for seq in number("/data/from").unwrap()..=number("/data/to").unwrap() {
                        assert!(heard.missing.insert(seq), "{seq} is announced once");
                        assert!(!heard.seqs.contains(&seq), "{seq} was delivered");
                    }
                }
                Some(other) => panic!("{other}"),
                None => {
                    assert!(heard.seqs.insert(number("/data/seq").unwrap()), "twice: {frame}");
                    heard.accounted += number("/conflated/count").unwrap_or(1);
                }
            }
        }
        assert_eq!(heard.accounted, EVENTS);
        heard
    }
}

/// Also for slow clients, and where trades are added up.
#[tokio::test(flavor = "multi_thread")]
async fn delivered_and_announced_is_published() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.delivery.max_outbox_bytes = 20_000).await;
    let mut worker = redis.publisher().await;
    let mut slow = Vec::new();
    for request in [json!({"symbols": ["AAPL"]}), json!({"symbols": ["A*"], "conflate": "aggregate"})] {
        let mut client = Client::from_raw(raw::connect(gateway.addr, "/ws", Some(4_096)).await).await;
        client.subscribe_with(request).await;
        slow.push(client);
    }
    let mut every = gateway.subscriber(&["AAPL"]).await;
    let reader = tokio::spawn(async move { Heard::everything(&mut every).await });
    // Two of every hundred are the wrong way round.
    let swapped = |n: u64| match n % 100 {
        44 => n + 1,
        45 => n - 1,
        _ => n,
    };
    // Large enough that kernel buffers don't hide that two clients don't read.
    let filler = format!(r#""x":"{}","price""#, "x".repeat(500));
    for start in (1..=EVENTS).step_by(500) {
        let events = (start..start + 500).map(|n| numbered(swapped(n), n).replace(r#""price""#, &filler));
        worker.trades(events.map(|event| ("AAPL".to_owned(), event))).await;
    }
    until("everything to be framed", async || (gateway.stat("events/framed").await == EVENTS).then_some(()))
        .await;
    let late: HashSet<u64> = (1..=EVENTS).filter(|n| n % 100 == 44).collect();
    assert_eq!(gateway.stat("events/late").await, late.len() as u64);
    assert_eq!(reader.await.unwrap().missing, late, "all that came late was missing first");
    for client in &mut slow {
        Heard::everything(client).await;
    }
    assert!(gateway.stat("slowClients/skippedEvents").await > 0, "too little to make a client slow");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_restarts_within_one_timestamp_loses_nothing() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    for seq in [200, 201, 1, 2, 3] {
        worker.trade("AAPL", &numbered(seq, 7)).await;
    }
    assert_eq!(all(&mut client, 5).await, json!([200, 201, 1, 2, 3]));
    assert_eq!(resumed(&gateway, 201).await.0, false, "from before the restart");
    let mut late = gateway.client().await;
    late.subscribe_with(json!({"symbols": ["AAPL"], "snapshot": true})).await;
    assert_eq!(next(&mut late).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_only_rise_have_no_gaps_and_are_resumed_from_the_clients_own() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.events.numbering = Numbering::Monotonic).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    let nanoseconds = [34_200_000_000_000_u64, 34_200_000_417_311, 34_200_009_000_001, 34_200_009_000_000];
    for (seq, at) in nanoseconds.into_iter().zip(1..) {
        worker.trade("AAPL", &numbered(seq, at)).await;
    }
    assert_eq!(all(&mut client, 4).await, json!(nanoseconds));
    let (recovered, mut client) = resumed(&gateway, nanoseconds[1]).await;
    assert_eq!(recovered, true);
    assert_eq!(all(&mut client, 3).await, json!([nanoseconds[3], nanoseconds[2], "replayEnd"]));
    assert_eq!(resumed(&gateway, nanoseconds[1] - 1).await.0, false, "no number of a worker's");
    assert_eq!(gateway.stat("events/gaps").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seq_that_is_no_small_integer_is_delivered_and_counted() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    let odd = ["1.5", "\"7\"", "9007199254740992", "1795000000000000000", "-1", "null"];
    for seq in odd.iter().chain(&odd) {
        worker.trade("AAPL", &numbered(seq, 7)).await;
    }
    for seq in odd.iter().chain(&odd) {
        assert!(client.text().await.contains(&numbered(seq, 7)), "{seq}");
    }
    let metrics = gateway.get("/metrics").await.body;
    assert!(metrics.contains("ws_events_odd_seq_total 12"), "{metrics}");
    assert_eq!((gateway.stat("events/oddSeq").await, gateway.stat("events/gaps").await), (12, 0));
}
