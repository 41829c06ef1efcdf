//! What a gateway says of itself in `/stats`.

use std::net::SocketAddr;

use serde_json::Value;

use super::{http, until};

/// One number; `name` is its path, as `events/received`.
pub(crate) async fn number(gateway: SocketAddr, name: &str) -> u64 {
    let stats = http::get(gateway, "/stats").await.json();
    let number = stats.pointer(&format!("/{name}")).and_then(Value::as_u64);
    number.unwrap_or_else(|| panic!("{name} in {stats}"))
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
