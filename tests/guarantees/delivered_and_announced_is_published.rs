//! For a client that stays open, delivered + announced = published, for each symbol of each type, however it stalls and in whatever form it
//! has them; and each announcement stands directly before the topic's next event. The same holds for trades in aggregates.

use std::collections::{HashMap, VecDeque};

use crate::support::stream::{Reader, Stream};
use crate::support::{Client, Redis, TestGateway, trade};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use ws_gateway::market::Kind;

const SYMBOLS: [&str; 3] = ["AAPL", "MSFT", "TSLA"];
/// In three forms they are less than a shard's inbox holds, so that ingest drops none.
const EVENTS: u64 = 12_000;

/// What is published, in turn.
fn topics() -> Vec<(Kind, &'static str)> {
    let of_type = |kind| SYMBOLS.into_iter().map(move |symbol| (kind, symbol));
    [Kind::TRADE, Kind::QUOTE].into_iter().flat_map(of_type).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_random_stalls_with_two_shards() {
    under_random_stalls(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_random_stalls_on_the_thread_that_reads_redis() {
    under_random_stalls(1).await;
}

async fn under_random_stalls(shards: usize) {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.process.shards = shards;
        config.delivery.max_outbox_bytes = 20_000;
        config.clients.max_symbols_per_client = topics().len();
        config.events.channel_types = topics().into_iter().map(|(kind, _)| kind).collect();
    })
    .await;
    let mut tasks = Vec::new();
    let mut gates = Vec::new();
    for n in 0..30 {
        let reader = reader(&gateway, n).await;
        let (gate, opened) = mpsc::unbounded_channel();
        gates.push(gate);
        tasks.push(tokio::spawn(count(reader, opened)));
    }
    let mut worker = redis.publisher().await;
    for start in (0..EVENTS).step_by(500) {
        worker.publish_all((start..start + 500).map(|n| (channel(n), payload(n)))).await;
        // Each client may read on from time to time, as much as it has the luck to find.
        for gate in gates.iter().filter(|_| fastrand::u8(..8) == 0) {
            gate.send(fastrand::usize(1..400)).unwrap();
        }
    }
    let metrics = &gateway.gateway.state().metrics.ingest;
    crate::support::until("everything to be framed", async || {
        (metrics.events_framed.get() == EVENTS).then_some(())
    })
    .await;
    drop(gates);
    let mut announced = 0;
    let mut all_in_place = true;
    for task in tasks {
        let (events, in_place) = task.await.expect("the equation holds");
        announced += events;
        all_in_place &= in_place;
    }
    // What never reached a shard is announced when nothing may be queued.
    assert!(
        all_in_place || metrics.events_dropped.get() > 0,
        "announced directly before the topic's next event"
    );
    assert!(announced > 0, "the stalls were too short to test anything");
    let skipped = gateway.gateway.state().metrics.sum(|shard| &shard.events_skipped);
    assert_eq!(announced, skipped, "the counters tell the same");
}

/// Clients in each form, with and without options.
async fn reader(gateway: &TestGateway, n: usize) -> Reader {
    if n % 3 == 2 {
        let symbols = if n % 4 == 2 { "*".to_owned() } else { SYMBOLS.join(",") };
        let on_slow = if n.is_multiple_of(4) { "&onSlow=skip" } else { "" };
        let query = format!("symbols={symbols}&types=trade,quote{on_slow}");
        let mut stream = Stream::open(gateway.addr, &query).await;
        stream.expect("success").await;
        return Reader::Events(stream);
    }
    let batch = if n % 3 == 1 { "?batch=1" } else { "" };
    let client = Client::connect(&format!("ws://{}/ws{batch}", gateway.addr)).await;
    let mut reader = match n % 3 {
        1 => Reader::Arrays(client, VecDeque::new()),
        _ => Reader::Objects(client),
    };
    let mut requests = vec![json!({"symbols": SYMBOLS, "types": ["trade", "quote"]})];
    match n % 4 {
        0 => requests[0]["onSlow"] = "skip".into(),
        // An aggregate counts as the number of trades that it stands for.
        1 => requests.insert(0, json!({"symbols": SYMBOLS, "conflate": "aggregate"})),
        2 => requests[0]["symbols"] = json!(["*"]),
        _ => {}
    }
    for mut request in requests {
        request["action"] = "subscribe".into();
        if let Reader::Objects(client) | Reader::Arrays(client, _) = &mut reader {
            client.send(request.to_string()).await;
        }
        assert_eq!(reader.json().await["type"], "success");
    }
    reader
}

/// Reads as many messages as the gate grants, all once it is closed; returns how many events were announced as skipped, and
/// whether each announcement stood directly before the topic's next event.
async fn count(mut client: Reader, mut gate: mpsc::UnboundedReceiver<usize>) -> (u64, bool) {
    let mut next: HashMap<(String, String), u64> = HashMap::new();
    let mut announced = 0;
    let mut announced_before = None;
    let mut in_place = true;
    let mut done = 0;
    while done < EVENTS {
        let frames = gate.recv().await.unwrap_or(usize::MAX);
        for _ in 0..frames {
            if done == EVENTS {
                break;
            }
            let message = client.json().await;
            let data = &message["data"];
            let is_announcement = message["type"] == "status";
            let kind = if is_announcement { &data["type"] } else { &message["type"] };
            let text = |value: &Value| value.as_str().expect("a string").to_owned();
            let topic = (text(kind), text(&data["symbol"]));
            let position = next.entry(topic.clone()).or_default();
            let count = match message.pointer("/conflated/count") {
                Some(count) => count.as_u64().expect("a count"),
                None if is_announcement => skipped(&message),
                None => 1,
            };
            *position += count;
            done += count;
            if is_announcement {
                announced += count;
                in_place &= announced_before.is_none();
                announced_before = Some(topic);
                continue;
            }
            in_place &= announced_before.take().is_none_or(|announced| announced == topic);
            let n = data["timestamp"].as_u64().expect("a number");
            assert_eq!(n / topics().len() as u64 + 1, *position, "of {topic:?}");
        }
    }
    assert!(next.values().all(|count| *count == EVENTS / topics().len() as u64), "{next:?}");
    (announced, in_place)
}

fn skipped(message: &Value) -> u64 {
    assert_eq!(message["event"], "skipped", "{message}");
    message["data"]["count"].as_u64().expect("a count")
}

fn topic(n: u64) -> (Kind, &'static str) {
    topics()[(n % topics().len() as u64) as usize]
}

fn channel(n: u64) -> String {
    let (kind, symbol) = topic(n);
    format!("channel:{}:{symbol}", kind.market_name().unwrap())
}

/// Large enough that kernel buffers don't hide the stalls.
fn payload(n: u64) -> String {
    let (_, symbol) = topic(n);
    trade(symbol, "10.50", n)
        .replace("\"NASDAQ\"", &format!("\"{}\",\"bidPrice\":1,\"askPrice\":2", "N".repeat(400)))
}
