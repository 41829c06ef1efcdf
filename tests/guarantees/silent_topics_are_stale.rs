//! A topic that has subscribers but no event for `STALE_AFTER` counts as stale, until it has an event or no subscriber.

use crate::support::{Redis, TestGateway, until};
use ws_gateway::config::units::Period;

#[tokio::test(flavor = "multi_thread")]
async fn silent_topics_are_counted_as_stale() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.events.stale_after = Period::from_ms(1);
    })
    .await;
    let mut client = gateway.subscriber(&["AAPL", "MSFT"]).await;
    let stale = async |count| {
        until("the topics to be stale", async || (gateway.stat("stale").await == count).then_some(())).await;
    };
    stale(2).await;
    let metrics = gateway.get("/metrics").await.body;
    assert!(metrics.contains("ws_topics_stale 2"), "{metrics}");
    client.unsubscribe(&["AAPL"]).await;
    stale(1).await;
}
