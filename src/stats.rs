//! The statistics line in the log. The answer to `GET /stats` is in `http::reports`.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::state::State;

/// Logs the gateway's statistics every `interval`, under the names that `/stats` uses.
pub async fn log(state: Arc<State>, interval: Duration, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
        let metrics = &state.metrics;
        tracing::info!(
            activeConnections = metrics.connections_open(),
            totalSymbolSubscriptions = metrics.sum(|shard| &shard.subscriptions),
            messagesSent = metrics.sum(|shard| &shard.messages_sent),
            messagesReceived = metrics.sum(|shard| &shard.messages_received),
            uptimeSeconds = metrics.uptime_ms() / 1_000,
            "statistics"
        );
    }
}
