//! Settings of how events reach clients, and of slow and dead clients.

use std::time::Duration;

use super::SlowClientPolicy;
use super::setting::{Given, Group, Preset, Setting, Unit, Value, Zero};
use super::units::Period;
use crate::limits::{
    COMPRESSION_LEVEL_DEFAULT, COMPRESSION_THRESHOLD_DEFAULT_BYTES, COMPRESSION_THRESHOLD_MAX_BYTES,
    FLUSH_INTERVAL_MAX_MS, HEARTBEAT_MIN_MS, MAX_BACKLOG_DEFAULT_BYTES, MAX_BACKLOG_MAX_BYTES,
    MAX_MISSED_PONGS_DEFAULT, MAX_OUTBOX_DEFAULT_BYTES, MAX_OUTBOX_MAX_BYTES, PING_INTERVAL_DEFAULT_MS,
    PONG_TIMEOUT_DEFAULT_MS, STALL_TIMEOUT_DEFAULT_MS, TIME_MAX_MS,
};
use crate::websocket::deflate::Compression;

/// How events reach clients, and what happens to clients that are slow or dead.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// `SLOW_CLIENT_POLICY`.
    pub slow_client_policy: SlowClientPolicy,
    /// `MAX_OUTBOX_BYTES`.
    pub max_outbox_bytes: usize,
    /// `MAX_BACKLOG_BYTES`.
    pub max_backlog_bytes: usize,
    /// `STALL_TIMEOUT`.
    pub stall_timeout: Duration,
    /// `FLUSH_INTERVAL`; `None` if frames are sent at once.
    pub flush_interval: Option<Period>,
    /// `COMPRESSION_ENABLED`.
    pub compress: bool,
    /// `COMPRESSION_THRESHOLD`.
    pub compression_threshold_bytes: usize,
    /// `COMPRESSION_LEVEL`.
    pub compression_level: u32,
    /// `PING_INTERVAL`.
    pub ping_interval: Duration,
    /// `PONG_TIMEOUT`, at most `ping_interval`.
    pub pong_timeout: Duration,
    /// `MAX_MISSED_PONGS`.
    pub max_missed_pongs: u32,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            slow_client_policy: SlowClientPolicy::Skip,
            max_outbox_bytes: MAX_OUTBOX_DEFAULT_BYTES,
            max_backlog_bytes: MAX_BACKLOG_DEFAULT_BYTES,
            stall_timeout: Duration::from_millis(STALL_TIMEOUT_DEFAULT_MS),
            flush_interval: None,
            compress: false,
            compression_threshold_bytes: COMPRESSION_THRESHOLD_DEFAULT_BYTES,
            compression_level: COMPRESSION_LEVEL_DEFAULT,
            ping_interval: Duration::from_millis(PING_INTERVAL_DEFAULT_MS),
            pong_timeout: Duration::from_millis(PONG_TIMEOUT_DEFAULT_MS),
            max_missed_pongs: MAX_MISSED_PONGS_DEFAULT as u32,
        }
    }
}

impl Delivery {
    /// How messages are compressed for clients that offer it; `None` = not at all.
    pub fn compression(&self) -> Option<Compression> {
        let threshold_bytes = self.compression_threshold_bytes;
        self.compress.then_some(Compression { threshold_bytes, level: self.compression_level })
    }
}

/// A timeout within the resolution of a shard's timing wheel.
const TIMEOUT: Unit = Unit::Time { min_ms: HEARTBEAT_MIN_MS, max_ms: TIME_MAX_MS };

pub(super) const GROUP: Group = Group {
    title: "Slow and dead clients",
    settings: &[
        Setting {
            env: "SLOW_CLIENT_POLICY",
            flag: "slow-client-policy",
            aliases: &[],
            unit: Unit::Choice(&["skip", "conflate", "disconnect"]),
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "What happens to a client whose outbox is full, unless it chose itself (onSlow): skip its oldest events \
                   and tell it how many, conflate to the latest event of each topic until it has caught up, or \
                   disconnect it with 1013.",
            set: |config, given| given.store(&mut config.delivery.slow_client_policy),
            show: |config, unit| config.delivery.slow_client_policy.show(unit),
        },
        Setting {
            env: "MAX_OUTBOX_BYTES",
            flag: "max-outbox-bytes",
            aliases: &[],
            unit: Unit::Bytes { min: 1024, max: MAX_OUTBOX_MAX_BYTES },
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "Bytes of frames that may wait for one client. Clients share frames, so this bounds how far behind a client \
                   may be more than its memory.",
            set: |config, given| given.store(&mut config.delivery.max_outbox_bytes),
            show: |config, unit| config.delivery.max_outbox_bytes.show(unit),
        },
        Setting {
            env: "MAX_BACKLOG_BYTES",
            flag: "max-backlog-bytes",
            aliases: &[],
            unit: Unit::Bytes { min: 1024, max: MAX_BACKLOG_MAX_BYTES },
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "Memory of the frames that wait for all clients together.",
            set: |config, given| given.store(&mut config.delivery.max_backlog_bytes),
            show: |config, unit| config.delivery.max_backlog_bytes.show(unit),
        },
        Setting {
            env: "STALL_TIMEOUT",
            flag: "stall-timeout",
            aliases: &[],
            unit: TIMEOUT,
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "How long a client may take no byte while data waits for it; then its connection is closed.",
            set: |config, given| given.store(&mut config.delivery.stall_timeout),
            show: |config, unit| config.delivery.stall_timeout.show(unit),
        },
        Setting {
            env: "FLUSH_INTERVAL",
            flag: "flush-interval",
            aliases: &[],
            unit: Unit::Time { min_ms: 1, max_ms: FLUSH_INTERVAL_MAX_MS },
            zero: Zero::Off,
            preset: Preset::Fixed,
            help: "How long frames are collected before they are written: fewer writes for more latency. Off, frames are sent \
                   at once.",
            set: |config, given| given.store(&mut config.delivery.flush_interval),
            show: |config, unit| config.delivery.flush_interval.show(unit),
        },
        Setting {
            env: "COMPRESSION_ENABLED",
            flag: "compression-enabled",
            aliases: &[],
            unit: Unit::Switch,
            zero: Zero::False,
            preset: Preset::Fixed,
            help: "Whether messages are compressed (permessage-deflate) for WebSocket clients that offer it, and may be by them.",
            set: |config, given| given.store(&mut config.delivery.compress),
            show: |config, unit| config.delivery.compress.show(unit),
        },
        Setting {
            env: "COMPRESSION_THRESHOLD",
            flag: "compression-threshold",
            aliases: &[],
            unit: Unit::Bytes { min: 1, max: COMPRESSION_THRESHOLD_MAX_BYTES },
            zero: Zero::Zero,
            preset: Preset::Fixed,
            help: "The least message that is compressed. A trade alone is shorter than the default, a batch is not.",
            set: |config, given| given.store(&mut config.delivery.compression_threshold_bytes),
            show: |config, unit| config.delivery.compression_threshold_bytes.show(unit),
        },
        Setting {
            env: "COMPRESSION_LEVEL",
            flag: "compression-level",
            aliases: &[],
            unit: Unit::Number { min: 1, max: 9 },
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "How much time a message may take to be compressed: 1 is fast, 9 small.",
            set: |config, given| given.store(&mut config.delivery.compression_level),
            show: |config, unit| config.delivery.compression_level.show(unit),
        },
        Setting {
            env: "PING_INTERVAL",
            flag: "ping-interval",
            aliases: &[],
            unit: TIMEOUT,
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "Time between two WebSocket pings to a client.",
            set: |config, given| given.store(&mut config.delivery.ping_interval),
            show: |config, unit| config.delivery.ping_interval.show(unit),
        },
        Setting {
            env: "PONG_TIMEOUT",
            flag: "pong-timeout",
            aliases: &[],
            unit: TIMEOUT,
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "How long a client may take to answer a ping before that counts as a missed pong; at most PING_INTERVAL.",
            set: |config, given| given.store(&mut config.delivery.pong_timeout),
            show: |config, unit| config.delivery.pong_timeout.show(unit),
        },
        Setting {
            env: "MAX_MISSED_PONGS",
            flag: "max-missed-pongs",
            aliases: &[],
            unit: Unit::Number { min: 1, max: 1000 },
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "Missed pongs in a row after which a client's connection is closed.",
            set: |config, given| given.store(&mut config.delivery.max_missed_pongs),
            show: |config, unit| config.delivery.max_missed_pongs.show(unit),
        },
    ],
};

impl Value for SlowClientPolicy {
    fn read(given: &Given<'_>) -> Option<Self> {
        Self::parse(given.text)
    }

    fn show(&self, _: &Unit) -> String {
        self.word().to_owned()
    }
}
