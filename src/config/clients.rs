//! What one client may do.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::setting::{Alias, Group, Preset, Setting, Unit, Value, Zero};
use crate::limits::{
    MAX_MESSAGE_DEFAULT_BYTES, MAX_MESSAGE_MAX_BYTES, MAX_MESSAGE_MIN_BYTES, MAX_SYMBOLS_DEFAULT,
    MAX_SYMBOLS_MAX,
};
use crate::rate::Rate;

/// What one client may do.
#[derive(Debug, Clone)]
pub struct Clients {
    /// `MAX_SYMBOLS_PER_CLIENT`.
    pub max_symbols_per_client: usize,
    /// `ALLOW_WILDCARD`.
    pub allow_wildcard: bool,
    /// `MAX_MESSAGE_SIZE`.
    pub max_message_bytes: usize,
    /// `MESSAGE_WARN_SIZE`; `None` for no warning.
    pub message_warn_bytes: Option<NonZeroUsize>,
    /// `MESSAGE_RATE_LIMIT`; `None` for no limit.
    pub message_rate_limit: Option<Rate>,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            max_symbols_per_client: MAX_SYMBOLS_DEFAULT as usize,
            allow_wildcard: true,
            max_message_bytes: MAX_MESSAGE_DEFAULT_BYTES,
            message_warn_bytes: None,
            message_rate_limit: None,
        }
    }
}

pub(super) const GROUP: Group = Group {
    title: "What one client may do",
    settings: &[
        Setting {
            env: "MAX_SYMBOLS_PER_CLIENT",
            flag: "max-symbols-per-client",
            aliases: &[],
            unit: Unit::Number { min: 1, max: MAX_SYMBOLS_MAX },
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "How many subscriptions one client may have.",
            set: |config, given| given.store(&mut config.clients.max_symbols_per_client),
            show: |config, unit| config.clients.max_symbols_per_client.show(unit),
        },
        Setting {
            env: "ALLOW_WILDCARD",
            flag: "allow-wildcard",
            aliases: &[],
            unit: Unit::Switch,
            zero: Zero::False,
            preset: Preset::Fixed,
            help: "Whether clients may subscribe to `*`, every symbol, and to prefixes such as `BTC-*`.",
            set: |config, given| given.store(&mut config.clients.allow_wildcard),
            show: |config, unit| config.clients.allow_wildcard.show(unit),
        },
        Setting {
            env: "MAX_MESSAGE_SIZE",
            flag: "max-message-size",
            aliases: &[Alias::same("MAX_FRAME_SIZE")],
            unit: Unit::Bytes { min: MAX_MESSAGE_MIN_BYTES, max: MAX_MESSAGE_MAX_BYTES },
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "Largest message that a client may send; a larger one closes it with 1009.",
            set: |config, given| given.store(&mut config.clients.max_message_bytes),
            show: |config, unit| config.clients.max_message_bytes.show(unit),
        },
        Setting {
            env: "MESSAGE_WARN_SIZE",
            flag: "message-warn-size",
            aliases: &[Alias::same("FRAME_WARN_THRESHOLD")],
            unit: Unit::Bytes { min: 1, max: MAX_MESSAGE_MAX_BYTES },
            zero: Zero::Off,
            preset: Preset::Fixed,
            help: "A client's message that is larger is counted, and the log says so, at most once a second for each shard.",
            set: |config, given| given.store(&mut config.clients.message_warn_bytes),
            show: |config, unit| config.clients.message_warn_bytes.show(unit),
        },
        Setting {
            env: "MESSAGE_RATE_LIMIT",
            flag: "message-rate-limit",
            aliases: &[
                Alias::count_per("MAX_MESSAGES_PER_SECOND", "1s"),
                Alias::count_per("WS_RATE_LIMIT_EVENTS_PER_MINUTE", "1m"),
            ],
            unit: Unit::Rate { bare_per: Duration::from_secs(60) },
            zero: Zero::Off,
            preset: Preset::Fixed,
            help: "How many messages one client may send, such as `100/1m` (a number alone is for a minute); all of them \
                   may come at once. Further ones are answered RATE_LIMIT_EXCEEDED, and a hundred such answers in a row \
                   end the connection with 1008.",
            set: |config, given| given.store(&mut config.clients.message_rate_limit),
            show: |config, unit| config.clients.message_rate_limit.show(unit),
        },
    ],
};
