//! With `FLUSH_INTERVAL`, the events of an interval leave in one write: complete, in order, and with far fewer writes than
//! events.

use crate::support::{Redis, TestGateway, trade};
use ws_gateway::config::units::Period;

const EVENTS: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn lone_trades_are_held_together() {
    let redis = Redis::start().await;
    let gateway =
        TestGateway::on(&redis, |config| config.delivery.flush_interval = Period::from_ms(500)).await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    let metrics = &gateway.gateway.state().metrics;
    let before = metrics.sum(|shard| &shard.writes);
    let mut worker = redis.publisher().await;
    // One by one, each answered before the next: without the interval nearly each would be a write of its own.
    for n in 0..EVENTS {
        worker.trade("AAPL", &trade("AAPL", "1", n)).await;
    }
    for n in 0..EVENTS {
        assert_eq!(client.json().await["data"]["timestamp"], n);
    }
    let writes = metrics.sum(|shard| &shard.writes) - before;
    assert!(writes < EVENTS / 4, "{writes} writes for {EVENTS} events");
}
