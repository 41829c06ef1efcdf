//! A new connection goes to the shard that has the fewest, also after other connections have ended.

use crate::support::{Client, Redis, TestGateway, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_least_loaded_shard_gets_the_next() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.process.shards = 3).await;
    let metrics = &gateway.gateway.state().metrics;
    let open = || -> Vec<u64> {
        let open = |shard: &ws_gateway::metrics::ShardMetrics| {
            shard.connections_opened.get() - shard.connections_closed.get()
        };
        metrics.shards.iter().map(|shard| open(shard)).collect()
    };
    let mut clients: Vec<Client> = Vec::new();
    for count in 1..=9 {
        clients.push(gateway.subscriber(&["AAPL"]).await);
        assert!(open().iter().all(|open| (count / 3..=count / 3 + 1).contains(open)), "{:?}", open());
    }
    // All of one shard's clients go; the next three take their places.
    let mut kept = Vec::new();
    for (n, client) in clients.into_iter().enumerate() {
        if n % 3 != 0 {
            kept.push(client);
        }
    }
    until("three to be gone", async || (metrics.connections_open() == 6).then_some(())).await;
    for _ in 0..3 {
        kept.push(gateway.subscriber(&["AAPL"]).await);
    }
    assert_eq!(open(), [3, 3, 3]);
}
