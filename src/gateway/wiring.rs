//! Turns the configuration into the settings of each part of the gateway.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::Context;
use redis::{ConnectionAddr, ConnectionInfo};
use tokio::sync::mpsc;

use crate::broker::EmbeddedConfig;
use crate::bus::{DeskHeard, OutgoingSpace};
use crate::config::Config;
use crate::config::units::Period;
use crate::desk::GatewayId;
use crate::desk::envelope::OVERHEAD_BYTES;
use crate::desk::id::ID_BYTES_MAX;
use crate::desk::inbox::InboxConfig;
use crate::desk::presence::PresenceConfig;
use crate::dial::Resolver;
use crate::fanout::{DeskConfig, ShardConfig, Workers};
use crate::ingest::IngestConfig;
use crate::ingest::desk::DeskIngest;
use crate::ingest::history::HistoryConfig;
use crate::ingest::look_up::{self, LastValueConfig};
use crate::ingest::redis::dial::Address;
use crate::ingest::redis::session::Login;
use crate::ingest::redis::{RedisConfig, Server};
use crate::limits;
use crate::market::Delays;
use crate::market::KindSet;
use crate::market::event::Checker;
use crate::market::spelling::Spelling;
use crate::outgoing::{InboxesConfig, OutgoingConfig};
use crate::protocol::request::Grammar;
use crate::tls::client_config;

/// The configuration, part by part.
pub(super) struct Wiring {
    /// For the ingest thread.
    pub(super) ingest: IngestConfig,
    /// For each shard.
    pub(super) shard: ShardConfig,
    /// For the source of events.
    pub(super) source: Source,
    /// For looking up last values that workers keep in Redis, if they do.
    pub(super) last_values: Option<LastValueConfig>,
    /// The pattern subscriptions, one a type: `channel:trade:*`.
    pub(super) patterns: Vec<String>,
    /// How requests are read.
    pub(super) grammar: Grammar,
    /// For the desk, if there is one.
    pub(super) desk: Option<DeskWiring>,
}

/// What the desk needs.
pub(super) struct DeskWiring {
    /// What publishes; its server is that of the upstream, unless that is the embedded broker.
    pub(super) outgoing: OutgoingConfig,
    /// What ingest has heard of other gateways.
    pub(super) heard: mpsc::Receiver<DeskHeard>,
}

/// Where events come from.
pub(super) enum Source {
    /// The supervisor of the link to Redis.
    Redis(Box<RedisConfig>),
    /// The embedded broker.
    Embedded(EmbeddedConfig),
}

impl Wiring {
    /// Works out every part's settings. Reads the files that the configuration names, so that a bad one stops the start.
    ///
    /// # Errors
    /// When a file can't be read or used; the error names the setting and the file.
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        let spelling = spelling(config)?;
        let grammar = Grammar::new(config.events.channel_types.clone(), config.events.symbol_case);
        let grammar = grammar.spelled(spelling.clone());
        let mut shard = shard_config(config, grammar.clone());
        let mut ingest = ingest_config(config, spelling);
        let mut desk = config.desk.is_on.then(|| {
            let (heard_tx, heard) = mpsc::channel(limits::GOSSIP_QUEUE);
            let me = GatewayId::random();
            ingest.desk = Some(DeskIngest { me, heard: heard_tx, has_requests: config.desk.requests });
            if config.desk.requests
                && let Some(desk) = &mut shard.desk
            {
                desk.workers = Some(Workers { me, timeout: config.desk.request_timeout });
            }
            DeskWiring { outgoing: outgoing_config(config, me), heard }
        });
        let patterns = ingest.patterns();
        let (source, last_values) = match &config.upstream.redis {
            Some(connection) => {
                let server = redis_server(config, connection)?;
                let max_event_bytes = config.events.max_event_bytes;
                let last_values = config.history.last_value_key.clone().map(|key_prefix| LastValueConfig {
                    server: server.clone(),
                    key_prefix,
                    kinds: config.events.channel_types.clone(),
                    max_event_bytes,
                });
                if let Some(desk) = &mut desk {
                    desk.outgoing.server = Some(server.clone());
                }
                // What workers put into inboxes comes in envelopes: the largest object has to fit. All events are measured again.
                let envelope_bytes = config.desk.offline_queue.map_or(0, |_| ID_BYTES_MAX + OVERHEAD_BYTES);
                let max_event_bytes = max_event_bytes + envelope_bytes;
                let redis = RedisConfig { server, patterns: patterns.clone(), max_event_bytes };
                (Source::Redis(Box::new(redis)), last_values)
            }
            None => {
                let broker = &config.upstream.embedded;
                let broker = EmbeddedConfig {
                    host: broker.listen.ip(),
                    port: broker.listen.port(),
                    password: broker.password.clone(),
                    gateway_patterns: patterns.clone(),
                    clients_max: config.descriptors().workers,
                    streams_max_bytes: config.desk.offline_queue.map(|_| config.desk.offline_max_bytes),
                    ..EmbeddedConfig::default()
                };
                (Source::Embedded(broker), None)
            }
        };
        Ok(Self { ingest, shard, source, last_values, patterns, grammar, desk })
    }
}

/// The names that dialects have for symbols.
fn spelling(config: &Config) -> anyhow::Result<Spelling> {
    let Some(path) = &config.clients.dialect_symbol_map else { return Ok(Spelling::default()) };
    let what = || format!("DIALECT_SYMBOL_MAP {}", path.display());
    let text = std::fs::read_to_string(path).with_context(what)?;
    Spelling::parse(&text, config.events.symbol_case).with_context(what)
}

fn outgoing_config(config: &Config, me: GatewayId) -> OutgoingConfig {
    let desk = &config.desk;
    OutgoingConfig {
        me,
        channel_prefix: config.events.channel_prefix.clone(),
        presence: PresenceConfig {
            grace_ms: desk.presence_grace.as_millis() as u64,
            max_members: desk.presence_max_members,
            max_rooms: desk.max_rooms_per_user,
            // Two names, and what stands around them.
            part_pairs: config.events.max_event_bytes / (2 * ID_BYTES_MAX + 16) / 2,
        },
        inboxes: desk.offline_queue.map(|queue| InboxesConfig {
            bounds: InboxConfig {
                entries_max: queue.entries as usize,
                keep_ms: queue.keep.as_millis() as u64,
                max_bytes: desk.offline_max_bytes as u64,
                is_counted: !config.upstream.is_embedded(),
            },
            max_event_bytes: config.events.max_event_bytes,
            kinds: config.events.channel_types.clone(),
        }),
        server: None,
    }
}

/// How the desk reaches the embedded broker: as any worker does.
pub(super) fn embedded_server(config: &Config, addr: SocketAddr) -> anyhow::Result<Server> {
    let host = if addr.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { addr.ip() };
    Ok(Server {
        address: Address::Tcp { host: host.to_string(), port: addr.port(), tls: false },
        login: Login { password: config.upstream.embedded.password.clone(), ..Login::default() },
        tls: client_config(false, None, None)?,
        resolver: Resolver::default(),
        client_name: config.server.server_id.clone(),
    })
}

fn ingest_config(config: &Config, spelling: Spelling) -> IngestConfig {
    let (events_per_topic, max_bytes) = replay(config).unwrap_or_default();
    IngestConfig {
        channel_prefix: config.events.channel_prefix.clone(),
        deduplicate: config.events.deduplicate,
        history: HistoryConfig {
            kinds: config.events.channel_types.clone(),
            max_topics: config.history.last_value_max_topics.map_or(0, NonZeroUsize::get),
            events_per_topic,
            max_bytes,
            // The other half is for the live events that come meanwhile.
            max_replay_bytes: config.delivery.max_outbox_bytes / 2,
            checker: Checker {
                max_event_bytes: config.events.max_event_bytes,
                symbol_case: config.events.symbol_case,
            },
            numbering: config.events.numbering,
            compression: config.delivery.compression(),
            look_up: last_value_types(config),
            spelling,
            delayed_ms: None,
        },
        // Nobody can have a delay in an open gateway.
        delays: if config.access.is_open() { Delays::default() } else { config.access.feed_delays.clone() },
        delay_max_bytes: config.history.delay_max_bytes,
        stale_after: config.events.stale_after.map(Period::get),
        max_backlog_bytes: config.delivery.max_backlog_bytes / config.process.shards,
        desk: None,
    }
}

/// How many events of a topic, and how many bytes of all topics, are kept for resuming; `None` if resuming is off.
fn replay(config: &Config) -> Option<(usize, usize)> {
    Some((config.history.replay_events_per_topic?.get(), config.history.replay_max_bytes?.get()))
}

fn shard_config(config: &Config, grammar: Grammar) -> ShardConfig {
    let last_value_topics = config.history.last_value_max_topics.map_or(0, NonZeroUsize::get);
    ShardConfig {
        grammar,
        // A new client goes to the shard with the fewest, so none gets more than this.
        max_clients: config.server.max_connections.div_ceil(config.process.shards),
        auth_timeout: config.access.timeout,
        max_unauthenticated: config.server.max_connections / limits::UNAUTHENTICATED_PART,
        max_opened_topics: limits::OPENED_TOPICS_MAX.max(last_value_topics),
        max_message_bytes: config.clients.max_message_bytes,
        message_warn_bytes: config.clients.message_warn_bytes,
        message_rate: config.clients.message_rate_limit,
        // At most 1 GiB, see `limits::MAX_OUTBOX_MAX_BYTES`.
        max_outbox_bytes: config.delivery.max_outbox_bytes.try_into().unwrap_or(u32::MAX / 2),
        slow_client_policy: config.delivery.slow_client_policy,
        max_backlog_bytes: config.delivery.max_backlog_bytes / config.process.shards,
        ping_interval: config.delivery.ping_interval,
        pong_timeout: config.delivery.pong_timeout,
        max_missed_pongs: config.delivery.max_missed_pongs,
        stall_timeout: config.delivery.stall_timeout,
        // Zero means no time between two writes.
        compression: config.delivery.compression(),
        flush_interval: config.delivery.flush_interval.map(Period::get),
        desk: config.desk.is_on.then(|| DeskConfig {
            channel_prefix: config.events.channel_prefix.clone(),
            max_event_bytes: config.events.max_event_bytes,
            is_open: config.access.is_open(),
            space: OutgoingSpace::of(limits::OUTGOING_BYTES_MAX),
            has_inboxes: config.desk.offline_queue.is_some(),
            workers: None,
        }),
    }
}

/// The server of `REDIS_URL`.
fn redis_server(config: &Config, url: &ConnectionInfo) -> anyhow::Result<Server> {
    let insecure = matches!(url.addr(), ConnectionAddr::TcpTls { insecure: true, .. });
    let file = config.upstream.redis_ca_file.as_deref();
    let own = config.upstream.redis_pair().map(|files| files.read()).transpose()?;
    let tls = client_config(insecure, file, own)
        .with_context(|| format!("REDIS_CA_FILE {}", file.unwrap_or_else(|| Path::new("")).display()))?;
    Server::from_url(url, tls, config.server.server_id.clone())
        .with_context(|| format!("REDIS_URL: the gateway can't connect to an address such as {}", url.addr()))
}

/// The types whose last values workers keep in Redis; `None` without Redis or without `LAST_VALUE_KEY`.
fn last_value_types(config: &Config) -> Option<KindSet> {
    let prefix = config.history.last_value_key.as_ref().filter(|_| !config.upstream.is_embedded())?;
    Some(look_up::types_kept(prefix, &config.events.channel_types))
}
