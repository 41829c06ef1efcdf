//! A batch costs each client one write, however many of its frames are for that client and in whatever form, and under TLS few records;
//! and a frame is built once, however many clients get it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::support::stream::{Reader, Stream};
use crate::support::tls::{self, Identity};
use crate::support::tls_tap::TlsTap;
use crate::support::{Client, Redis, TestGateway, trade};
use ws_gateway::ingest::publisher::EventBatch;

const CLIENTS: u64 = 20;
const EVENTS: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_leaves_in_one_write() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.process.shards = 2;
        // The first ping of a connection falls due at a random time, and is a write too.
        config.delivery.ping_interval = Duration::from_secs(3_600);
    })
    .await;
    let mut clients: Vec<Reader> = Vec::new();
    for n in 0..CLIENTS {
        clients.push(match n % 3 {
            0 => Reader::Objects(gateway.subscriber(&["AAPL", "MSFT"]).await),
            1 => Reader::Events(Stream::open(gateway.addr, "symbols=AAPL,MSFT").await),
            _ => {
                let url = format!("ws://{}/ws?batch=1&symbols=AAPL,MSFT", gateway.addr);
                Reader::Arrays(Client::connect(&url).await, VecDeque::new())
            }
        });
        if n % 3 > 0 {
            assert_eq!(clients.last_mut().unwrap().json().await["type"], "success");
        }
    }
    let metrics = &gateway.gateway.state().metrics;
    let mut least = u64::MAX;
    // A comment that keeps a stream alive is a write too, and the first falls due at a random time: not in three bursts of three.
    for first in [0, EVENTS, 2 * EVENTS] {
        let before = (metrics.sum(|shard| &shard.writes), metrics.ingest.events_framed.get());
        let mut burst = EventBatch::default();
        for n in 0..EVENTS {
            // Every third event is one that nobody wants, so that runs are interrupted where it doesn't matter.
            let symbol = ["AAPL", "NOBODY", "MSFT"][(n % 3) as usize];
            burst
                .push(format!("channel:trade:{symbol}").as_bytes(), trade(symbol, "1", first + n).as_bytes());
        }
        gateway.gateway.publisher().publish_all(burst).await;
        for client in &mut clients {
            for n in (0..EVENTS).filter(|n| n % 3 != 1) {
                assert_eq!(client.json().await["data"]["timestamp"], first + n);
            }
        }
        least = least.min(metrics.sum(|shard| &shard.writes) - before.0);
        let framed = metrics.ingest.events_framed.get() - before.1;
        assert_eq!(framed, EVENTS.div_ceil(3) + EVENTS / 3, "framed once each");
    }
    assert_eq!(least, CLIENTS, "one write for each client");
}

/// Under TLS the frames of a batch share records of 16 KiB, the largest that there are.
#[tokio::test(flavor = "multi_thread")]
async fn and_under_tls_in_few_records() {
    const RECORD_BYTES: usize = 16 * 1024;
    let (redis, identity) = (Redis::start().await, Identity::new());
    for shards in [1, 2] {
        let gateway = TestGateway::on(&redis, |config| {
            identity.configure(config);
            config.process.shards = shards;
        })
        .await;
        let tap = TlsTap::to(gateway.addr).await;
        let mut client = tls::subscriber(tap.addr, &["AAPL"]).await;
        for events in [1, EVENTS, 10 * EVENTS] {
            let before = tap.records();
            let mut burst = EventBatch::default();
            for n in 0..events {
                burst.push(b"channel:trade:AAPL", trade("AAPL", "1", n).as_bytes());
            }
            gateway.gateway.publisher().publish_all(burst).await;
            let mut bytes = 0;
            for n in 0..events {
                let text = client.text().await;
                assert!(text.contains(&trade("AAPL", "1", n)), "{text}");
                let header_bytes = if text.len() < 126 { 2 } else { 4 };
                bytes += header_bytes + text.len();
            }
            assert_eq!(
                tap.records() - before,
                bytes.div_ceil(RECORD_BYTES),
                "{events} events, {bytes} bytes"
            );
        }
    }
}
