//! Without a Redis the gateway is its own broker, and with `--demo` its own market.

use std::collections::HashSet;

use crate::support::process::Process;
use crate::support::redis::Publisher;
use crate::support::{Client, trade};

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_else_installed_it_has_its_own_broker() {
    let gateway = Process::start(&["--embedded-redis-port", "0"]).await;
    let mut client = Client::connect(&gateway.url()).await;
    client.subscribe(&["AAPL"]).await;
    let mut worker = Publisher::connect(&format!("redis://{}", gateway.broker_addr())).await;
    let payload = trade("AAPL", "1", 1);
    assert_eq!(worker.trade("AAPL", &payload).await, 1);
    assert!(client.text().await.contains(&payload));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_trades_of_five_symbols() {
    let gateway = Process::start(&["--embedded-redis-port", "0", "--demo"]).await;
    let mut client = Client::connect(&gateway.url()).await;
    client.subscribe(&["AAPL", "GOOGL", "MSFT", "TSLA", "AMZN"]).await;
    let mut seen = HashSet::new();
    while seen.len() < 5 {
        let message = client.json().await;
        assert_eq!(message["type"], "trade");
        seen.insert(message["data"]["symbol"].as_str().unwrap().to_owned());
    }
}
