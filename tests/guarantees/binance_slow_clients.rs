//! Slow clients of Binance's API: in combined framing what is missed is told, to the event; in raw framing nothing is told, as there is no word for it.

use crate::support::{Client, Redis, TestGateway, raw, trade, until};
use ws_gateway::config::Config;
use ws_gateway::protocol::api::Api;

fn with_little_room(config: &mut Config) {
    config.clients.dialects = [Api::Binance].into_iter().collect();
    config.events.max_event_bytes = 1_024;
    config.delivery.max_outbox_bytes = 64 * 1_024;
}

/// What a client doesn't get for its slowness it is told of, to the event, stream by stream.
#[tokio::test(flavor = "multi_thread")]
async fn delivered_and_announced_is_published() {
    const N: u64 = 30_000;
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_little_room).await;
    let names: Vec<_> = (0..7).map(|n| format!("s{n}@trade")).collect();
    let target = format!("/stream?streams={}/s0@aggTrade", names.join("/"));
    let stream = raw::connect(gateway.addr, &target, Some(4_096)).await;
    gateway.subscribed(8).await;
    let mut worker = redis.publisher().await;
    for part in 0..N / 1_000 {
        let numbers = part * 1_000..(part + 1) * 1_000;
        let trades = numbers.map(|n| (format!("S{}", n % 7), trade(&format!("S{}", n % 7), "1", n)));
        worker.trades(trades).await;
    }
    gateway.taken(N).await;
    until("skips", async || (gateway.stat("slowClients/skippedEvents").await > 0).then_some(())).await;
    let mut client = Client::from_raw(stream).await;
    let mut seen = std::collections::BTreeMap::<String, (u64, u64)>::new();
    let published = |stream: &str| {
        let symbol = stream.trim_start_matches('s').split('@').next().and_then(|digit| digit.parse().ok());
        N / 7 + u64::from(symbol.is_some_and(|symbol: u64| symbol < N % 7))
    };
    while seen.len() < 8 || seen.iter().any(|(stream, (got, told))| got + told < published(stream)) {
        let event = client.json().await;
        let data = &event["data"];
        if event["stream"] == "!gateway" {
            assert_eq!(data["e"], "skipped", "{event}");
            let stream = data["stream"].as_str().expect("a name").to_owned();
            seen.entry(stream).or_default().1 += data["count"].as_u64().expect("a number");
        } else {
            seen.entry(event["stream"].as_str().expect("a name").to_owned()).or_default().0 += 1;
        }
    }
    for (stream, (got, told)) in &seen {
        assert_eq!(got + told, published(stream), "{stream}");
    }
    assert!(seen.values().any(|(_, told)| *told > 0));
}

/// A raw connection has nothing but events: what it misses is counted, and not told.
#[tokio::test(flavor = "multi_thread")]
async fn a_raw_connection_is_told_nothing() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_little_room).await;
    let stream = raw::connect(gateway.addr, "/ws/a@trade", Some(4_096)).await;
    gateway.subscribed(1).await;
    let mut worker = redis.publisher().await;
    let metrics = &gateway.gateway.state().metrics;
    let skipped = || metrics.sum(|shard| &shard.events_skipped);
    let numbered =
        |n: u64| ("A".to_owned(), format!(r#"{{"symbol":"A","price":1,"volume":1,"timestamp":1,"id":{n}}}"#));
    let published = gateway.publish_until(&mut worker, numbered, || skipped() > 0).await;
    let mut client = Client::from_raw(stream).await;
    let mut seen = 0;
    while seen + skipped() < published {
        let event = client.json().await;
        assert_eq!(event["e"], "trade", "{event}");
        seen += 1;
    }
    worker.trades([numbered(published)]).await;
    assert_eq!(client.json().await["t"], published);
}
