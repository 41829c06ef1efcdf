//! Assembles the process in the one right order, runs it, and drains it. A type rather than a `main`, so that tests and
//! other programs can embed it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Admission;
use crate::broker::{BrokerError, EmbeddedBroker, EmbeddedConfig};
use crate::config::{Config, Upstream};
use crate::conn::session::Rules;
use crate::fanout::inbox::Sender;
use crate::fanout::{self, Fanout, ShardConfig, Threads};
use crate::http::{self, Http};
use crate::ingest::history::HistoryConfig;
use crate::ingest::last_value;
use crate::ingest::link::tls_config;
use crate::ingest::publisher::Publisher;
use crate::ingest::redis::{self, RedisConfig};
use crate::ingest::{self, IngestConfig};
use crate::market::EventTypes;
use crate::state::State;
use crate::{demo, limits, stats};

/// A gateway that listens, reads its upstream and serves clients from [`Gateway::build`] on.
#[derive(Debug)]
pub struct Gateway {
    local_addr: SocketAddr,
    broker_addr: Option<SocketAddr>,
    drain_timeout: Duration,
    state: Arc<State>,
    fanout: Arc<Fanout>,
    shards: Threads,
    ingest: Sender<ingest::Command>,
    ingest_thread: JoinHandle<()>,
    publisher: Publisher,
    /// Ends whatever takes new clients.
    accepting: CancellationToken,
    /// Ends whatever feeds events.
    feeding: CancellationToken,
    /// The listener, and with it every handshake under way.
    http: TaskTracker,
    tasks: TaskTracker,
}

impl Gateway {
    /// Binds, starts every thread and task, and waits for the first attempt to reach the upstream, so that a gateway
    /// that can have events has them before it takes clients.
    ///
    /// # Errors
    /// When a port is taken, or the system gives no descriptor or thread. An upstream that can't be reached is no
    /// error: it is tried for ever.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        // One provider for the process; somebody who embeds the gateway may have installed one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let tls = upstream_tls(&config)?;
        let last_values = last_value_client(&config)?;
        let listener = http::bind(config.listen)?;
        let local_addr = listener.local_addr().context("the listening socket has no address")?;
        let broker = embedded_broker(&config).await?;
        let broker_addr = broker.as_ref().map(EmbeddedBroker::local_addr);
        banner(&config, local_addr, broker_addr);

        let state = Arc::new(State::new(config.server_id.clone(), config.shards));
        let ingest = ingest::Prepared::new().context("no descriptor left for the ingest thread")?;
        let ingest_inbox = ingest.sender();
        let prepared = (0..config.shards).map(|_| fanout::Prepared::new()).collect::<Result<Vec<_>, _>>();
        let prepared = prepared.context("no descriptor left for a shard")?;
        let shard_inboxes = prepared.iter().map(fanout::Prepared::sender).collect();
        let (lost_tx, lost_rx) = mpsc::unbounded_channel();
        let (look_ups_tx, look_ups_rx) = mpsc::unbounded_channel();
        let ingest_thread = ingest
            .start(ingest_config(&config), shard_inboxes, Arc::clone(&state), lost_tx, look_ups_tx)
            .context("the ingest thread could not be started")?;
        let (fanout, shards) = Fanout::start(prepared, &shard_config(&config), &ingest_inbox, &state)
            .context("a shard's thread could not be started")?;

        let gateway = Self {
            local_addr,
            broker_addr,
            drain_timeout: config.drain_timeout,
            publisher: Publisher::new(ingest_inbox.clone()),
            state,
            fanout: Arc::new(fanout),
            shards,
            ingest: ingest_inbox,
            ingest_thread,
            accepting: CancellationToken::new(),
            feeding: CancellationToken::new(),
            http: TaskTracker::new(),
            tasks: TaskTracker::new(),
        };
        if let Some(client) = last_values {
            let prefix = config.last_value_key.clone().unwrap_or_default();
            let (ingest, ending) = (gateway.ingest.clone(), gateway.feeding.clone());
            gateway.tasks.spawn(last_value::run(client, prefix, look_ups_rx, ingest, ending));
        }
        gateway.start_feed(&config, broker, tls, lost_rx).await;
        gateway.start_serving(&config, listener);
        Ok(gateway)
    }

    /// Where clients connect.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where the embedded broker listens, if it does.
    pub fn broker_addr(&self) -> Option<SocketAddr> {
        self.broker_addr
    }

    /// What the process knows of itself: counters, readiness.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// A way to publish events without a broker.
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// Serves until SIGTERM or SIGINT, then drains; a second signal ends the process at once.
    ///
    /// # Errors
    /// When signals can't be listened for.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut signals = Signals::new().context("signals can't be listened for")?;
        let first = signals.next().await;
        tracing::info!(signal = first, timeout_ms = self.drain_timeout.as_millis() as u64, "draining");
        tokio::select! {
            cut_off = self.drain() => tracing::info!(cut_off, "drained"),
            second = signals.next() => {
                tracing::warn!(signal = second, "second signal: ending at once");
                std::process::exit(1);
            }
        }
        Ok(())
    }

    /// Not ready, no new clients, everyone told to go elsewhere (status `shutdown`, close 1012); ends when they have
    /// gone, at the latest after `DRAIN_TIMEOUT`. Returns how many had to be cut off.
    pub async fn drain(self) -> usize {
        self.state.start_draining();
        self.accepting.cancel();
        // A handshake that is just being completed reaches its shard first, so that its client is told as well.
        self.http.close();
        if tokio::time::timeout(limits::TASKS_END_TIMEOUT, self.http.wait()).await.is_err() {
            tracing::warn!("some HTTP requests did not end in time");
        }
        self.fanout.drain(self.drain_timeout);
        let Self { shards, ingest, ingest_thread, feeding, tasks, .. } = self;
        let ended = tokio::task::spawn_blocking(move || {
            let cut_off = shards.join();
            // Events flow until the last client has gone.
            let _ = ingest.send(ingest::Command::Stop, 0);
            // A panic of the thread has been reported already.
            let _ = ingest_thread.join();
            cut_off
        });
        let cut_off = ended.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        feeding.cancel();
        tasks.close();
        if tokio::time::timeout(limits::TASKS_END_TIMEOUT, tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        cut_off
    }

    /// Starts what brings events, and waits until it does or has failed once.
    async fn start_feed(
        &self,
        config: &Config,
        broker: Option<EmbeddedBroker>,
        tls: Arc<rustls::ClientConfig>,
        lost: mpsc::UnboundedReceiver<ingest::link::Lost>,
    ) {
        let (attempted_tx, attempted) = oneshot::channel::<()>();
        match &config.upstream {
            Upstream::Redis(connection) => {
                let redis = RedisConfig {
                    connection: connection.clone(),
                    tls,
                    patterns: ingest_config(config).patterns(),
                    client_name: config.server_id.clone(),
                    max_event_bytes: config.max_event_bytes,
                };
                let links = redis::Links {
                    ingest: self.ingest.clone(),
                    lost,
                    state: Arc::clone(&self.state),
                    attempted: Some(attempted_tx),
                };
                self.tasks.spawn(redis::supervise(redis, links, self.feeding.clone()));
            }
            Upstream::Embedded(_) => {
                // The ingest thread was started above; it ends only with the gateway.
                let connected = ingest::Command::Connected { link: None, told: Some(attempted_tx) };
                let _ = self.ingest.send(connected, 0);
                let patterns = ingest_config(config).patterns();
                tracing::info!(
                    patterns = patterns.join(" "),
                    "Subscribed to {} Redis channel pattern(s)",
                    patterns.len()
                );
                if let Some(broker) = broker {
                    self.tasks.spawn(broker.run(self.publisher.clone(), self.feeding.clone()));
                }
            }
        }
        // Ends with the sender's drop, which is how the first attempt's end is told.
        let _ = attempted.await;
        if config.demo {
            self.tasks.spawn(demo::feed::run(
                self.publisher.clone(),
                config.channel_prefix.clone(),
                config.channel_types,
                self.feeding.clone(),
            ));
        }
    }

    fn start_serving(&self, config: &Config, listener: http::Listener) {
        let admission = Admission::new(config.max_connections);
        let adopt = Arc::clone(&self.fanout) as Arc<dyn fanout::Adopt>;
        let http = Http::new(config, Arc::clone(&self.state), admission, adopt);
        self.http.spawn(http::serve(listener, Arc::new(http), self.accepting.clone()));
        tracing::info!("WebSocket server listening on port {}", self.local_addr.port());
        let interval_ms = config.ping_interval.as_millis();
        tracing::info!("Heartbeat started with {interval_ms}ms interval");
        self.tasks.spawn(stats::log(Arc::clone(&self.state), config.stats_interval, self.feeding.clone()));
        tracing::info!("WebSocket Gateway initialized and ready");
        if config.demo {
            tracing::info!("Demo: open http://localhost:{}/", self.local_addr.port());
        }
    }
}

/// Binds the embedded broker if it is to run. With `--demo` events come without it, so a taken port is no
/// reason to stop.
async fn embedded_broker(config: &Config) -> anyhow::Result<Option<EmbeddedBroker>> {
    let Upstream::Embedded(broker) = &config.upstream else { return Ok(None) };
    let broker = EmbeddedConfig {
        host: broker.listen.ip(),
        port: broker.listen.port(),
        password: broker.password.clone(),
        gateway_patterns: ingest_config(config).patterns(),
        ..EmbeddedConfig::default()
    };
    match EmbeddedBroker::bind(broker).await {
        Ok(broker) => Ok(Some(broker)),
        Err(error @ BrokerError::PortTaken { .. }) if config.demo => {
            tracing::warn!(%error, "going on without the embedded broker: --demo publishes inside the process");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// How the server of a `rediss://` URL is checked; read now, so that a bad file stops the start.
fn upstream_tls(config: &Config) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let insecure = match &config.upstream {
        Upstream::Redis(connection) => {
            matches!(connection.addr(), ::redis::ConnectionAddr::TcpTls { insecure: true, .. })
        }
        Upstream::Embedded(_) => false,
    };
    let file = config.redis_ca_file.as_deref();
    tls_config(insecure, file)
        .with_context(|| format!("REDIS_CA_FILE {}", file.unwrap_or_else(|| Path::new("")).display()))
}

/// The types whose last values workers keep; without Redis there is nowhere to keep them.
fn last_value_types(config: &Config) -> Option<EventTypes> {
    let prefix = config.last_value_key.as_ref().filter(|_| !config.upstream.is_embedded())?;
    Some(last_value::types_kept(prefix, config.channel_types))
}

/// How workers' last values are looked up, if they keep any.
fn last_value_client(config: &Config) -> anyhow::Result<Option<::redis::Client>> {
    let (Upstream::Redis(connection), Some(_)) = (&config.upstream, &config.last_value_key) else {
        return Ok(None);
    };
    let client = match &config.redis_ca_file {
        None => ::redis::Client::open(connection.clone()),
        Some(path) => {
            let root_cert =
                std::fs::read(path).with_context(|| format!("REDIS_CA_FILE {}", path.display()))?;
            let certificates = ::redis::TlsCertificates { client_tls: None, root_cert: Some(root_cert) };
            ::redis::Client::build_with_tls(connection.clone(), certificates)
        }
    };
    Ok(Some(client.context("REDIS_URL can't be used to look up LAST_VALUE_KEY")?))
}

fn ingest_config(config: &Config) -> IngestConfig {
    IngestConfig {
        channel_prefix: config.channel_prefix.clone(),
        types: config.channel_types,
        deduplicate: config.deduplicate,
        history: HistoryConfig {
            max_topics: config.last_value_max_topics,
            events_per_topic: config.replay_events_per_topic,
            max_bytes: config.replay_max_bytes,
            // Leaves room for the live events that come meanwhile.
            max_replay_bytes: config.max_outbox_bytes / 2,
            max_event_bytes: config.max_event_bytes,
            look_up: last_value_types(config),
        },
        stale_after: config.stale_after,
        max_backlog_bytes: config.max_backlog_bytes / config.shards,
    }
}

fn shard_config(config: &Config) -> ShardConfig {
    ShardConfig {
        rules: Rules { types: config.channel_types, allow_wildcard: config.allow_wildcard },
        // New clients go to the shard with the fewest.
        max_clients: config.max_connections.div_ceil(config.shards),
        max_symbols: config.max_symbols_per_client,
        max_opened_topics: limits::OPENED_TOPICS_MAX.max(config.last_value_max_topics),
        max_message_bytes: config.max_message_bytes,
        max_messages_per_second: config.max_messages_per_second,
        // At most 1 GiB, see `limits::MAX_OUTBOX_MAX_BYTES`.
        max_outbox_bytes: config.max_outbox_bytes.try_into().unwrap_or(u32::MAX / 2),
        slow_client_policy: config.slow_client_policy,
        max_backlog_bytes: config.max_backlog_bytes / config.shards,
        ping_interval: config.ping_interval,
        pong_timeout: config.pong_timeout,
        max_missed_pongs: config.max_missed_pongs,
        stall_timeout: config.stall_timeout,
        flush_interval: config.flush_interval,
    }
}

fn banner(config: &Config, local_addr: SocketAddr, broker_addr: Option<SocketAddr>) {
    let broker = match (&config.upstream, broker_addr) {
        (Upstream::Redis(connection), _) => connection.addr().to_string(),
        (Upstream::Embedded(_), Some(addr)) => format!("embedded on {addr}"),
        (Upstream::Embedded(_), None) => "none (demo only)".to_owned(),
    };
    tracing::info!(
        server_id = config.server_id,
        port = local_addr.port(),
        broker,
        shards = config.shards,
        patterns = ingest_config(config).patterns().join(" "),
        max_connections = config.max_connections,
        "ws-gateway {}",
        env!("CARGO_PKG_VERSION")
    );
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
