//! Builds the gateway's parts in order, runs them, and drains them. It is a type rather than a `main`, so that tests and
//! other programs can embed it.

mod control;
mod feed;
mod wiring;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::control::Answers;
use self::feed::{Bound, bind_broker};
use self::wiring::{DeskWiring, Source, Wiring};
use crate::admission::Admission;
use crate::auth::Auth;
use crate::bus::inbox::Sender;
use crate::bus::{Adopt, ControlSender, DeskAsk, LastSender, ToControl};
use crate::config::Config;
use crate::config::access::KeySource;
use crate::engine::{Engine, Threads};
use crate::fanout::Fanout;
use crate::http::{self, Certificate, Http};
use crate::ingest::publisher::Publisher;
use crate::ingest::{self, Helpers, look_up};
use crate::protocol::request::Grammar;
use crate::reload::Watched;
use crate::signals::{Asked, Signals};
use crate::state::State;
use crate::{limits, outgoing, stats};

/// Builds a gateway and runs it until a signal ends it, as the binary does.
///
/// # Errors
/// As [`Gateway::build`] and [`Gateway::run`].
pub async fn serve(config: Config, mut signals: Signals) -> anyhow::Result<()> {
    // Building waits for the first attempt to reach the upstream. It is a task of its own, because a file that it reads may block its thread,
    // as where a file server is away.
    let gateway = tokio::select! {
        built = tokio::spawn(Gateway::build(config)) => built.context("the start has failed")??,
        signal = signals.end() => {
            tracing::info!(signal, "ending before the gateway was ready");
            return Ok(());
        }
    };
    gateway.run(signals).await
}

/// A gateway. It listens, reads its upstream and serves clients as soon as [`Gateway::build`] returns.
#[derive(Debug)]
pub struct Gateway {
    local_addr: SocketAddr,
    operator_addr: Option<SocketAddr>,
    broker_addr: Option<SocketAddr>,
    drain_timeout: Duration,
    auth: Arc<Auth>,
    admission: Arc<Admission>,
    state: Arc<State>,
    fanout: Arc<Fanout>,
    threads: Threads,
    ingest: Sender<ingest::Command>,
    publisher: Publisher,
    /// Has files read again.
    reloading: watch::Sender<()>,
    /// Cancelled to stop accepting clients.
    accepting: CancellationToken,
    /// Cancelled to end the tasks that bring or need events: supervisor, broker, look-ups, demo, statistics.
    feeding: CancellationToken,
    /// The listener's task, which ends after every handshake under way.
    http: TaskTracker,
    /// All other tasks.
    tasks: TaskTracker,
}

impl Gateway {
    /// Listens, starts every thread and task, and waits for the first attempt to reach the upstream, and to fetch keys if there is a key
    /// server ([`limits::JWKS_WAIT`] at most). So if they can be reached, events flow and tokens hold before the first client is accepted.
    ///
    /// # Errors
    /// When a port is taken, a file of the configuration can't be used, or the system gives no descriptor or thread. An
    /// upstream or a key server that can't be reached is no error: the gateway tries again until it can.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        // The process has one provider. It fails if an embedding program has installed one already, which is fine.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let Wiring { ingest: ingest_config, shard, source, last_values, patterns, grammar, desk } =
            Wiring::of(&config)?;
        let state = Arc::new(State::new(config.server.server_id.clone(), config.process.shards));
        // Files are looked at before they are read, so that no change falls in between.
        let key_files =
            config.access.files().map(|(source, file)| (source, Watched::now(vec![file.clone()])));
        let key_files: Vec<_> = key_files.collect();
        let auth = Arc::new(Auth::new(&config, Arc::clone(&state))?);
        let admission = Admission::new(
            config.server.max_connections,
            config.addresses.per_ip(),
            config.clients.per_user(),
            state.users_counted(),
        );
        let listener = http::bind(config.server.listen)?;
        let local_addr = listener.local_addr().context("the listening socket has no address")?;
        let operators = config.operator.listen().map(http::bind_operator).transpose()?;
        let operator_addr = operators.as_ref().map(http::Listener::local_addr).transpose();
        let operator_addr = operator_addr.context("the operator's socket has no address")?;
        let source = match source {
            Source::Redis(redis) => Bound::Redis(redis),
            Source::Embedded(broker) => Bound::Embedded(bind_broker(broker, config.process.demo).await?),
        };
        let broker_addr = source.broker_addr();
        let watched = config.server.tls().map(|files| Watched::now(files.paths()));
        let certificate = config.server.tls().map(|files| Certificate::read(files, Arc::clone(&state)));
        let certificate = certificate.transpose()?.map(Arc::new);
        banner(&config, &patterns, local_addr, broker_addr);

        // Holds at most one lost link: only then does the supervisor make the next one.
        let (lost_tx, lost_rx) = mpsc::unbounded_channel();
        // Holds at most `LAST_VALUE_MAX_TOPICS` look-ups: a topic isn't looked up again before its answer.
        let (look_ups_tx, look_ups_rx) = mpsc::unbounded_channel();
        // Bounded by the connections: see `ToControl`.
        let (control_tx, control_rx) = mpsc::unbounded_channel();
        let helpers = Helpers { lost: lost_tx, look_ups: look_ups_tx };
        // Bounded by what clients may have on its way: see `DeskAsk`.
        let (asks_tx, asks) = mpsc::unbounded_channel();
        let control = ControlSender::new(move |told| {
            // Once nobody listens the gateway has ended.
            match told {
                ToControl::Desk(ask) => drop(asks_tx.send(ask)),
                told => drop(control_tx.send(told)),
            }
        });
        let Engine { fanout, last, ingest, threads } =
            Engine::start(config.process.shards, ingest_config, &shard, &state, helpers, &control)
                .context("the threads of the data path could not be started")?;

        let gateway = Self {
            local_addr,
            operator_addr,
            broker_addr,
            drain_timeout: config.process.drain_timeout,
            publisher: Publisher::new(ingest.clone()),
            auth,
            admission,
            state,
            fanout,
            threads,
            ingest,
            reloading: watch::Sender::new(()),
            accepting: CancellationToken::new(),
            feeding: CancellationToken::new(),
            http: TaskTracker::new(),
            tasks: TaskTracker::new(),
        };
        if let Some(last_values) = last_values {
            let (ingest, ending) = (gateway.ingest.clone(), gateway.feeding.clone());
            gateway.tasks.spawn(look_up::run(last_values, look_ups_rx, ingest, ending));
        }
        if let (Some(watched), Some(certificate)) = (watched, certificate.clone()) {
            let (asked, ending) = (gateway.reloading.subscribe(), gateway.accepting.clone());
            gateway.tasks.spawn(watched.reload(move || certificate.reload(), asked, ending));
        }
        gateway.start_auth(control_rx, key_files);
        gateway.start_feed(&config, source, lost_rx).await;
        if let Some(desk) = desk {
            gateway.start_desk(&config, desk, asks).await?;
        }
        gateway.auth.keys_fetched().await;
        gateway.start_serving(
            &config,
            Listeners { clients: listener, operators },
            certificate,
            &last,
            &grammar,
        )?;
        Ok(gateway)
    }

    /// The address that clients connect to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where operators connect, if they have a port of their own.
    pub fn operator_addr(&self) -> Option<SocketAddr> {
        self.operator_addr
    }

    /// The address of the embedded broker, if there is one.
    pub fn broker_addr(&self) -> Option<SocketAddr> {
        self.broker_addr
    }

    /// The process' counters, and whether it is connected, ready or draining.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Publishes events from within this process, without a broker.
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// Has the files read again that may be replaced while the gateway runs. One that can't be used changes nothing.
    pub fn reload(&self) {
        if self.reloading.receiver_count() == 0 {
            tracing::info!(
                "SIGHUP: nothing is read again: no setting names a file that may be replaced meanwhile"
            );
        }
        self.reloading.send_replace(());
    }

    /// Serves until a signal asks for the end, then drains.
    ///
    /// # Errors
    /// When a second signal comes during the drain. The caller should then end the process at once.
    pub async fn run(self, mut signals: Signals) -> anyhow::Result<()> {
        let first = loop {
            match signals.next().await {
                Asked::End(signal) => break signal,
                Asked::Reload => self.reload(),
            }
        };
        tracing::info!(signal = first, timeout_ms = self.drain_timeout.as_millis() as u64, "draining");
        tokio::select! {
            cut_off = self.drain() => {
                tracing::info!(cut_off, "drained");
                Ok(())
            }
            second = signals.end() => anyhow::bail!("{second} during the drain: ending at once"),
        }
    }

    /// Ends the gateway: `/ready` answers 503, no client is accepted, and every client gets status `shutdown` and close
    /// 1012. Returns once all have disconnected, at the latest after `DRAIN_TIMEOUT`, with the number that were cut off.
    pub async fn drain(self) -> usize {
        self.state.start_draining();
        self.accepting.cancel();
        // Handshakes under way reach their shards before the shards drain, so that these clients are told as well.
        self.http.close();
        if tokio::time::timeout(limits::TASKS_END_TIMEOUT, self.http.wait()).await.is_err() {
            tracing::warn!("some HTTP requests did not end in time");
        }
        self.fanout.drain(self.drain_timeout);
        let Self { threads, feeding, tasks, .. } = self;
        let ended = tokio::task::spawn_blocking(move || threads.join());
        let cut_off = ended.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        feeding.cancel();
        tasks.close();
        if tokio::time::timeout(limits::TASKS_END_TIMEOUT, tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        cut_off
    }

    /// Starts what publishes for clients, and waits until it is connected or has failed once. With the embedded broker it is a client of that, as workers are.
    async fn start_desk(
        &self,
        config: &Config,
        desk: DeskWiring,
        asks: mpsc::UnboundedReceiver<DeskAsk>,
    ) -> anyhow::Result<()> {
        let DeskWiring { mut outgoing, heard } = desk;
        if let Some(addr) = self.broker_addr {
            outgoing.server = Some(wiring::embedded_server(config, addr)?);
        }
        let (fanout, state) = (Arc::clone(&self.fanout), Arc::clone(&self.state));
        let (attempted_tx, attempted) = oneshot::channel();
        let publisher = self.publisher.clone();
        let handles = outgoing::Handles { asks, heard, fanout, state, publisher, attempted: attempted_tx };
        self.tasks.spawn(outgoing::run(outgoing, handles, self.feeding.clone()));
        // Ends when the sender is dropped.
        let _ = attempted.await;
        Ok(())
    }

    /// Starts what answers the shards, reads key files again and fetches keys.
    fn start_auth(&self, told: mpsc::UnboundedReceiver<ToControl>, key_files: Vec<(KeySource, Watched)>) {
        let (auth, fanout) = (Arc::clone(&self.auth), Arc::clone(&self.fanout));
        let (admission, state) = (Arc::clone(&self.admission), Arc::clone(&self.state));
        self.tasks.spawn(Answers { auth, admission, fanout, state }.run(told));
        for (source, watched) in key_files {
            let (auth, asked) = (Arc::clone(&self.auth), self.reloading.subscribe());
            self.tasks.spawn(watched.reload(move || auth.reload(source), asked, self.accepting.clone()));
        }
        if let Some(keys) = self.auth.remote_keys() {
            let asked = self.reloading.subscribe();
            self.tasks.spawn(Arc::clone(keys).run(asked, self.accepting.clone()));
        }
    }

    fn start_serving(
        &self,
        config: &Config,
        listeners: Listeners,
        certificate: Option<Arc<Certificate>>,
        last: &LastSender,
        grammar: &Grammar,
    ) -> anyhow::Result<()> {
        let adopt = Arc::clone(&self.fanout) as Arc<dyn Adopt>;
        let new_http = || {
            let (state, auth) = (Arc::clone(&self.state), Arc::clone(&self.auth));
            let (admission, adopt) = (Arc::clone(&self.admission), Arc::clone(&adopt));
            Http::new(config, state, auth, admission, adopt, last.clone(), grammar.clone())
        };
        if let Some(listener) = listeners.operators {
            let http = new_http().for_operator(config);
            self.serve(listener, "accept-ops", http)?;
        }
        let listener = listeners.clients;
        let mut http = new_http();
        let scheme = if certificate.is_some() { "https" } else { "http" };
        http.certificate = certificate;
        self.serve(listener, "accept", http)?;
        tracing::info!("WebSocket server listening on port {}", self.local_addr.port());
        if let Some(address) = self.operator_addr {
            tracing::info!("Operator's port listening on {address}");
        }
        let interval_ms = config.delivery.ping_interval.as_millis();
        tracing::info!("Heartbeat started with {interval_ms}ms interval");
        if let Some(interval) = config.process.stats_interval {
            self.tasks.spawn(stats::log(Arc::clone(&self.state), interval.get(), self.feeding.clone()));
        }
        if let Some(file) = &config.server.tls_cert_file {
            tracing::info!(certificate = %file.display(), "the port speaks TLS: wss:// and https://");
        }
        tracing::info!("WebSocket Gateway initialized and ready");
        if config.process.demo {
            tracing::info!("Demo: open {scheme}://localhost:{}/", self.local_addr.port());
        }
        Ok(())
    }

    /// Has a thread of this name accept connections.
    fn serve(&self, listener: http::Listener, thread_name: &str, http: Http) -> anyhow::Result<()> {
        let served = http::serve(listener, thread_name, Arc::new(http), self.accepting.clone())
            .context("the thread that accepts connections could not be started")?;
        self.http.spawn(served);
        Ok(())
    }
}

/// The ports, before they are served.
struct Listeners {
    clients: http::Listener,
    operators: Option<http::Listener>,
}

fn banner(config: &Config, patterns: &[String], local_addr: SocketAddr, broker_addr: Option<SocketAddr>) {
    let broker = match (&config.upstream.redis, broker_addr) {
        (Some(redis), _) => redis.addr().to_string(),
        (None, Some(addr)) => format!("embedded on {addr}"),
        (None, None) => "none (demo only)".to_owned(),
    };
    let access = match &config.access {
        access if access.is_open() => "open to everyone",
        access if access.anonymous.is_some() => "by token, and anonymous",
        _ => "by token only",
    };
    tracing::info!(
        server_id = config.server.server_id,
        port = local_addr.port(),
        broker,
        shards = config.process.shards,
        patterns = patterns.join(" "),
        access,
        max_connections = config.server.max_connections,
        "ws-gateway {}",
        env!("CARGO_PKG_VERSION")
    );
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}
