//! An embedded broker on a port of its own, and the events that it handed to the gateway.

use std::net::SocketAddr;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use ws_gateway::broker::{EmbeddedBroker, EmbeddedConfig};
use ws_gateway::ingest::publisher::{EventBatch, EventSink};

/// A gateway that takes everything at once.
#[derive(Clone)]
pub(crate) struct Collector(mpsc::UnboundedSender<EventBatch>);

impl EventSink for Collector {
    async fn publish(&self, events: EventBatch) {
        // A test that doesn't look at events has dropped the receiver.
        let _ = self.0.send(events);
    }
}

/// A running broker.
pub(crate) struct Broker {
    pub(crate) addr: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<()>,
    events: mpsc::UnboundedReceiver<EventBatch>,
}

/// The configuration of most tests: a gateway that wants trades, on any port.
pub(crate) fn config() -> EmbeddedConfig {
    EmbeddedConfig { port: 0, gateway_patterns: vec!["channel:trade:*".into()], ..EmbeddedConfig::default() }
}

impl Broker {
    /// Starts a broker before a gateway that takes everything.
    pub(crate) async fn start(config: EmbeddedConfig) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let (addr, shutdown, task) = start(config, Collector(sender)).await;
        Self { addr, shutdown, task, events }
    }

    /// The next events that reached the gateway together.
    pub(crate) async fn events(&mut self) -> Vec<(String, String)> {
        let batch = self.events.recv().await.expect("the broker runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        batch.iter().map(|(channel, payload)| (text(channel), text(payload))).collect()
    }

    /// Stops it and waits until nothing of it is left.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("the broker ends without a panic");
    }
}

/// Starts a broker before any gateway.
pub(crate) async fn start(
    config: EmbeddedConfig,
    sink: impl EventSink,
) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let broker = EmbeddedBroker::bind(config).await.expect("a free port");
    let (addr, shutdown) = (broker.local_addr(), CancellationToken::new());
    let task = tokio::spawn(broker.run(sink, shutdown.clone()));
    (addr, shutdown, task)
}
