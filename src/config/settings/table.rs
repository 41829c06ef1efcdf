//! The settings themselves: a row each, in the order in which people meet them.

use super::{Preset, Setting, Unit};
use crate::limits::*;

/// Names of settings that the parser and messages refer to.
pub(in crate::config) mod name {
    pub(crate) const REDIS_URL: &str = "REDIS_URL";
    pub(crate) const REDIS_CA_FILE: &str = "REDIS_CA_FILE";
    pub(crate) const WS_PORT: &str = "WS_PORT";
    pub(crate) const WS_HOST: &str = "WS_HOST";
    pub(crate) const SERVER_ID: &str = "SERVER_ID";
    pub(crate) const MAX_SYMBOLS_PER_CLIENT: &str = "MAX_SYMBOLS_PER_CLIENT";
    pub(crate) const MAX_MESSAGES_PER_SECOND: &str = "MAX_MESSAGES_PER_SECOND";
    pub(crate) const MAX_MESSAGE_SIZE: &str = "MAX_MESSAGE_SIZE";
    pub(crate) const MAX_CONNECTIONS: &str = "MAX_CONNECTIONS";
    pub(crate) const ALLOWED_ORIGINS: &str = "ALLOWED_ORIGINS";
    pub(crate) const PING_INTERVAL: &str = "PING_INTERVAL";
    pub(crate) const PONG_TIMEOUT: &str = "PONG_TIMEOUT";
    pub(crate) const MAX_MISSED_PONGS: &str = "MAX_MISSED_PONGS";
    pub(crate) const STALL_TIMEOUT: &str = "STALL_TIMEOUT";
    pub(crate) const DRAIN_TIMEOUT: &str = "DRAIN_TIMEOUT";
    pub(crate) const STATS_INTERVAL: &str = "STATS_INTERVAL";
    pub(crate) const SLOW_CLIENT_POLICY: &str = "SLOW_CLIENT_POLICY";
    pub(crate) const MAX_OUTBOX_BYTES: &str = "MAX_OUTBOX_BYTES";
    pub(crate) const MAX_BACKLOG_BYTES: &str = "MAX_BACKLOG_BYTES";
    pub(crate) const MAX_EVENT_BYTES: &str = "MAX_EVENT_BYTES";
    pub(crate) const CHANNEL_PREFIX: &str = "CHANNEL_PREFIX";
    pub(crate) const CHANNEL_TYPES: &str = "CHANNEL_TYPES";
    pub(crate) const ALLOW_WILDCARD: &str = "ALLOW_WILDCARD";
    pub(crate) const DEDUPLICATE: &str = "DEDUPLICATE";
    pub(crate) const STALE_AFTER: &str = "STALE_AFTER";
    pub(crate) const LAST_VALUE_MAX_TOPICS: &str = "LAST_VALUE_MAX_TOPICS";
    pub(crate) const LAST_VALUE_KEY: &str = "LAST_VALUE_KEY";
    pub(crate) const REPLAY_EVENTS_PER_TOPIC: &str = "REPLAY_EVENTS_PER_TOPIC";
    pub(crate) const REPLAY_MAX_BYTES: &str = "REPLAY_MAX_BYTES";
    pub(crate) const SHARDS: &str = "SHARDS";
    pub(crate) const FLUSH_INTERVAL: &str = "FLUSH_INTERVAL";
    pub(crate) const EMBEDDED_REDIS_HOST: &str = "EMBEDDED_REDIS_HOST";
    pub(crate) const EMBEDDED_REDIS_PORT: &str = "EMBEDDED_REDIS_PORT";
    pub(crate) const EMBEDDED_REDIS_PASSWORD: &str = "EMBEDDED_REDIS_PASSWORD";
    pub(crate) const DEMO: &str = "DEMO";
    pub(crate) const LOG_FORMAT: &str = "LOG_FORMAT";
    pub(crate) const RUST_LOG: &str = "RUST_LOG";
}

const PORT: Unit = Unit::Number { min: 0, max: u16::MAX as u64 };
const ADDRESS: Unit = Unit::Text("an IPv4 or IPv6 address, or localhost");

/// All settings, in the order in which people meet them.
pub const SETTINGS: &[Setting] = &[
    Setting {
        env: name::REDIS_URL,
        flag: "redis-url",
        unit: Unit::Secret(
            "redis://[user:password@]host[:port][/db], rediss:// for TLS, or unix:///path (redis+unix://)",
        ),
        preset: Preset::Computed("the embedded broker"),
        help: "Redis or Valkey that the workers publish to. Unset, the gateway is its own broker: it listens on \
               EMBEDDED_REDIS_PORT and any Redis client can publish to it.",
    },
    Setting {
        env: name::REDIS_CA_FILE,
        flag: "redis-ca-file",
        unit: Unit::Text("the path of a PEM file with at least one certificate"),
        preset: Preset::Computed("the public authorities"),
        help: "Certificate authorities that a rediss:// server's certificate is checked against, instead of the public \
               ones.",
    },
    Setting {
        env: name::WS_PORT,
        flag: "ws-port",
        unit: PORT,
        preset: Preset::Is(PORT_DEFAULT as u64),
        help: "Port for WebSocket and HTTP; 0 takes any free one.",
    },
    Setting {
        env: name::WS_HOST,
        flag: "ws-host",
        unit: ADDRESS,
        preset: Preset::Word("0.0.0.0"),
        help: "Address to listen on; `::` takes IPv6 and IPv4.",
    },
    Setting {
        env: name::SERVER_ID,
        flag: "server-id",
        unit: Unit::Text("1 to 64 of A-Z a-z 0-9 . _ : -"),
        preset: Preset::Computed("ws-gateway- and 8 random hex digits"),
        help: "Name of this process in health, logs and the X-Server-Id header.",
    },
    Setting {
        env: name::MAX_SYMBOLS_PER_CLIENT,
        flag: "max-symbols-per-client",
        unit: Unit::Number { min: 1, max: MAX_SYMBOLS_MAX },
        preset: Preset::Is(MAX_SYMBOLS_DEFAULT),
        help: "Subscriptions that one client may have.",
    },
    Setting {
        env: name::MAX_CONNECTIONS,
        flag: "max-connections",
        unit: Unit::Number { min: 1, max: MAX_CONNECTIONS_MAX as u64 },
        preset: Preset::Computed("the open-file limit less a reserve"),
        help: "WebSocket clients at a time; one more is answered 503. The soft open-file limit is raised to the hard \
               one at the start.",
    },
    Setting {
        env: name::MAX_MESSAGE_SIZE,
        flag: "max-message-size",
        unit: Unit::Bytes { min: MAX_MESSAGE_MIN_BYTES, max: MAX_MESSAGE_MAX_BYTES },
        preset: Preset::Is(MAX_MESSAGE_DEFAULT_BYTES as u64),
        help: "Largest message that a client may send; a larger one closes it with 1009.",
    },
    Setting {
        env: name::MAX_MESSAGES_PER_SECOND,
        flag: "max-messages-per-second",
        unit: Unit::Number { min: 0, max: MESSAGES_PER_SECOND_MAX },
        preset: Preset::Is(0),
        help: "Messages that one client may send a second, more are answered RATE_LIMIT_EXCEEDED; 0 = no limit.",
    },
    Setting {
        env: name::ALLOWED_ORIGINS,
        flag: "allowed-origins",
        unit: Unit::Text("origins such as https://app.example.com, separated by commas, or *"),
        preset: Preset::Computed("any"),
        help: "Web pages that may connect, by their Origin; others are answered 403. Clients that send no Origin aren't \
               browsers and are let in.",
    },
    Setting {
        env: name::PING_INTERVAL,
        flag: "ping-interval",
        unit: Unit::Time { min_ms: HEARTBEAT_MIN_MS, max_ms: TIME_MAX_MS },
        preset: Preset::Is(PING_INTERVAL_DEFAULT_MS),
        help: "Time between two WebSocket pings to a client.",
    },
    Setting {
        env: name::PONG_TIMEOUT,
        flag: "pong-timeout",
        unit: Unit::Time { min_ms: HEARTBEAT_MIN_MS, max_ms: TIME_MAX_MS },
        preset: Preset::Is(PONG_TIMEOUT_DEFAULT_MS),
        help: "Silence after a ping that counts as a miss; at most PING_INTERVAL.",
    },
    Setting {
        env: name::MAX_MISSED_PONGS,
        flag: "max-missed-pongs",
        unit: Unit::Number { min: 1, max: 1000 },
        preset: Preset::Is(MAX_MISSED_PONGS_DEFAULT),
        help: "Misses in a row after which a client is dropped.",
    },
    Setting {
        env: name::SLOW_CLIENT_POLICY,
        flag: "slow-client-policy",
        unit: Unit::Choice(&["skip", "conflate", "disconnect"]),
        preset: Preset::Word("skip"),
        help: "What happens to a client whose outbox is full, unless it has said itself (onSlow): skip its oldest events \
               and tell it how many, conflate to the latest event of each topic until it has caught up, or disconnect \
               it with 1013.",
    },
    Setting {
        env: name::MAX_OUTBOX_BYTES,
        flag: "max-outbox-bytes",
        unit: Unit::Bytes { min: 1024, max: MAX_OUTBOX_MAX_BYTES },
        preset: Preset::Is(MAX_OUTBOX_DEFAULT_BYTES as u64),
        help: "Frames that may wait for one client; they are shared, so most of it is no memory of its own.",
    },
    Setting {
        env: name::MAX_BACKLOG_BYTES,
        flag: "max-backlog-bytes",
        unit: Unit::Bytes { min: 1024, max: MAX_BACKLOG_MAX_BYTES },
        preset: Preset::Is(MAX_BACKLOG_DEFAULT_BYTES as u64),
        help: "Memory of frames that wait, all clients together.",
    },
    Setting {
        env: name::STALL_TIMEOUT,
        flag: "stall-timeout",
        unit: Unit::Time { min_ms: HEARTBEAT_MIN_MS, max_ms: TIME_MAX_MS },
        preset: Preset::Is(STALL_TIMEOUT_DEFAULT_MS),
        help: "A client that takes not one byte for so long while data waits is cut off.",
    },
    Setting {
        env: name::DRAIN_TIMEOUT,
        flag: "drain-timeout",
        unit: Unit::Time { min_ms: 0, max_ms: DRAIN_TIMEOUT_MAX_MS },
        preset: Preset::Is(DRAIN_TIMEOUT_DEFAULT_MS),
        help: "What clients get to take what is queued when the gateway stops.",
    },
    Setting {
        env: name::SHARDS,
        flag: "shards",
        unit: Unit::Number { min: 1, max: SHARDS_MAX as u64 },
        preset: Preset::Computed("one for each core"),
        help: "Threads that serve clients.",
    },
    Setting {
        env: name::FLUSH_INTERVAL,
        flag: "flush-interval",
        unit: Unit::Time { min_ms: 0, max_ms: FLUSH_INTERVAL_MAX_MS },
        preset: Preset::Is(0),
        help: "Collects frames for so long before writing: fewer writes for more latency; 0 = off.",
    },
    Setting {
        env: name::MAX_EVENT_BYTES,
        flag: "max-event-bytes",
        unit: Unit::Bytes { min: MAX_EVENT_MIN_BYTES, max: MAX_EVENT_MAX_BYTES },
        preset: Preset::Is(MAX_EVENT_DEFAULT_BYTES as u64),
        help: "Largest event that a worker may publish; a larger one is dropped and counted.",
    },
    Setting {
        env: name::CHANNEL_PREFIX,
        flag: "channel-prefix",
        unit: Unit::Text("1 to 128 visible ASCII characters without * ? [ ] and \\"),
        preset: Preset::Word(CHANNEL_PREFIX_DEFAULT),
        help: "What the workers' channels begin with, before `trade:AAPL`.",
    },
    Setting {
        env: name::CHANNEL_TYPES,
        flag: "channel-types",
        unit: Unit::Text("a comma-separated list of trade, quote, candle, news, halt"),
        preset: Preset::Word("trade"),
        help: "Types of events to carry: one pattern each is subscribed to, and clients may ask for them.",
    },
    Setting {
        env: name::ALLOW_WILDCARD,
        flag: "allow-wildcard",
        unit: Unit::Switch,
        preset: Preset::Word("true"),
        help: "Whether clients may subscribe to `*`, every symbol, and to `BTC-*`, every symbol that begins so.",
    },
    Setting {
        env: name::DEDUPLICATE,
        flag: "deduplicate",
        unit: Unit::Switch,
        preset: Preset::Word("true"),
        help: "Whether an event whose `seq` is not above the topic's last one is dropped as a repeat; one with a newer \
               `timestamp` never is: its worker counts anew.",
    },
    Setting {
        env: name::LAST_VALUE_MAX_TOPICS,
        flag: "last-value-max-topics",
        unit: Unit::Number { min: 0, max: LAST_VALUE_TOPICS_MAX },
        preset: Preset::Is(LAST_VALUE_TOPICS_DEFAULT),
        help: "Topics (a type and a symbol each) whose last and recent events are remembered for snapshots and resuming, \
               wanted or not; 0 = none.",
    },
    Setting {
        env: name::LAST_VALUE_KEY,
        flag: "last-value-key",
        unit: Unit::Text("1 to 128 visible ASCII characters without * ? [ ] and \\"),
        preset: Preset::Computed("none"),
        help: "What the Redis keys begin with in which workers keep each symbol's last event, such as `last:trade:`; looked up \
               for the snapshot of a symbol of which no event has come yet. Trades only, unless it has `{type}` in it.",
    },
    Setting {
        env: name::REPLAY_EVENTS_PER_TOPIC,
        flag: "replay-events-per-topic",
        unit: Unit::Number { min: 0, max: REPLAY_EVENTS_MAX },
        preset: Preset::Is(REPLAY_EVENTS_DEFAULT),
        help: "Events with a `seq` that a client which resumes a topic can be behind at most; 0 = resuming is off.",
    },
    Setting {
        env: name::REPLAY_MAX_BYTES,
        flag: "replay-max-bytes",
        unit: Unit::Bytes { min: 0, max: REPLAY_MAX_MAX_BYTES },
        preset: Preset::Is(REPLAY_DEFAULT_BYTES as u64),
        help: "Memory of the events that can be resumed, all topics together, taken as it fills; 0 = resuming is off.",
    },
    Setting {
        env: name::STALE_AFTER,
        flag: "stale-after",
        unit: Unit::Time { min_ms: 0, max_ms: TIME_MAX_MS },
        preset: Preset::Is(STALE_AFTER_DEFAULT_MS),
        help: "Silence after which a topic with subscribers counts as stale in /stats and metrics; 0 = never.",
    },
    Setting {
        env: name::EMBEDDED_REDIS_HOST,
        flag: "embedded-redis-host",
        unit: ADDRESS,
        preset: Preset::Word("127.0.0.1"),
        help: "Address of the embedded broker.",
    },
    Setting {
        env: name::EMBEDDED_REDIS_PORT,
        flag: "embedded-redis-port",
        unit: PORT,
        preset: Preset::Is(EMBEDDED_REDIS_PORT_DEFAULT as u64),
        help: "Port of the embedded broker; 0 takes any free one.",
    },
    Setting {
        env: name::EMBEDDED_REDIS_PASSWORD,
        flag: "embedded-redis-password",
        unit: Unit::Secret("any text"),
        preset: Preset::Computed("none"),
        help: "Password that the embedded broker asks of workers. Prefer the variable: flags are seen by everyone on the \
               machine.",
    },
    Setting {
        env: name::DEMO,
        flag: "demo",
        unit: Unit::Switch,
        preset: Preset::Word("false"),
        help: "Publish invented events of CHANNEL_TYPES, to see the gateway work.",
    },
    Setting {
        env: name::STATS_INTERVAL,
        flag: "stats-interval",
        unit: Unit::Time { min_ms: 0, max_ms: TIME_MAX_MS },
        preset: Preset::Is(STATS_INTERVAL_DEFAULT_MS),
        help: "Time between two lines of statistics in the log; 0 = none.",
    },
    Setting {
        env: name::LOG_FORMAT,
        flag: "log-format",
        unit: Unit::Choice(&["text", "json"]),
        preset: Preset::Word("text"),
        help: "How log lines look.",
    },
    Setting {
        env: name::RUST_LOG,
        flag: "log",
        unit: Unit::Text("a level (error, warn, info, debug, trace) or target=level,…"),
        preset: Preset::Word("info"),
        help: "What is logged.",
    },
];
