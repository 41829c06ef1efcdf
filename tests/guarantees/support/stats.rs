//! What a gateway says of itself in `/stats` and `/metrics`.

use std::net::SocketAddr;

use serde_json::Value;

use super::{http, until};

/// One number; `name` is its path, as `events/received`.
pub(crate) async fn number(gateway: SocketAddr, name: &str) -> u64 {
    let stats = http::get(gateway, "/stats").await.json();
    let number = stats.pointer(&format!("/{name}")).and_then(Value::as_u64);
    number.unwrap_or_else(|| panic!("{name} in {stats}"))
}

/// What a metric says; `line` is its line up to the value, the space before that included.
pub(crate) async fn metric(gateway: SocketAddr, line: &str) -> u64 {
    let metrics = http::get(gateway, "/metrics").await.body;
    let value = metrics.lines().find_map(|found| found.strip_prefix(line)?.trim().parse::<f64>().ok());
    value.unwrap_or_else(|| panic!("{line} in {metrics}")) as u64
}

/// Waits until the gateway has taken `events` events.
pub(crate) async fn taken(gateway: SocketAddr, events: u64) {
    until(&format!("{events} events to be taken"), async || {
        (number(gateway, "events/received").await >= events).then_some(())
    })
    .await;
}

/// Waits until clients hold so many subscriptions.
pub(crate) async fn subscribed(gateway: SocketAddr, count: u64) {
    until(&format!("{count} subscriptions"), async || {
        (number(gateway, "totalSymbolSubscriptions").await == count).then_some(())
    })
    .await;
}
