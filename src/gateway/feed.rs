//! The source of events: Redis or the embedded broker, bound before any thread is started, and started once the data path runs.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::Gateway;
use crate::broker::{BrokerError, EmbeddedBroker, EmbeddedConfig};
use crate::config::Config;
use crate::ingest::redis::{self, RedisConfig};
use crate::{demo, ingest};

/// The source of events, before it is started.
pub(super) enum Bound {
    Redis(Box<RedisConfig>),
    /// `None` if its port was taken and only the demo publishes.
    Embedded(Option<EmbeddedBroker>),
}

impl Bound {
    pub(super) fn broker_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Redis(_) => None,
            Self::Embedded(broker) => broker.as_ref().map(EmbeddedBroker::local_addr),
        }
    }
}

impl Gateway {
    /// Starts the source of events, and waits until it is connected or has failed once. The demo's past is published then.
    pub(super) async fn start_feed(
        &self,
        config: &Config,
        source: Bound,
        lost: mpsc::UnboundedReceiver<ingest::link::Lost>,
    ) {
        let (attempted_tx, attempted) = oneshot::channel::<()>();
        match source {
            Bound::Redis(redis) => {
                let handles = redis::Handles {
                    ingest: self.ingest.clone(),
                    lost,
                    state: Arc::clone(&self.state),
                    attempted: Some(attempted_tx),
                };
                self.tasks.spawn(redis::supervise(*redis, handles, self.feeding.clone()));
            }
            Bound::Embedded(broker) => {
                // The ingest thread was started above; it ends only with the gateway.
                let connected = ingest::Command::Connected { link: None, told: Some(attempted_tx) };
                let _ = self.ingest.send(connected, 0);
                if let Some(broker) = broker {
                    self.tasks.spawn(broker.run(self.publisher.clone(), self.feeding.clone()));
                }
            }
        }
        // Ends when the sender is dropped: the first attempt is over.
        let _ = attempted.await;
        if config.process.demo {
            let mut demo = demo::feed::Feed::new(
                self.publisher.clone(),
                config.events.channel_prefix.clone(),
                config.events.channel_types.carried().collect(),
            );
            // Delayed feeds would have all of the past at once, as something new, once their delay is over.
            if config.access.feed_delays.is_empty() {
                demo.publish_past().await;
            }
            self.tasks.spawn(demo.run(self.feeding.clone()));
        }
    }
}

/// Binds the embedded broker. A taken port is only a warning with `--demo`, which publishes without the broker.
pub(super) async fn bind_broker(
    broker: EmbeddedConfig,
    demo: bool,
) -> anyhow::Result<Option<EmbeddedBroker>> {
    match EmbeddedBroker::bind(broker).await {
        Ok(broker) => Ok(Some(broker)),
        Err(error @ BrokerError::PortTaken { .. }) if demo => {
            tracing::warn!(%error, "going on without the embedded broker: --demo publishes inside the process");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
