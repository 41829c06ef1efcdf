//! What one client may do.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::setting::{Alias, Given, Group, Preset, Setting, Unit, Value, Zero};
use super::values;
use crate::admission::{OnUserLimit, PerUserLimits};
use crate::limits::{
    DIALECT_MAX_SYMBOLS_DEFAULT, MAX_CONNECTIONS_MAX, MAX_MESSAGE_DEFAULT_BYTES, MAX_MESSAGE_MAX_BYTES,
    MAX_MESSAGE_MIN_BYTES, MAX_SYMBOLS_DEFAULT, MAX_SYMBOLS_MAX, USER_CONNECTIONS_DEFAULT,
};
use crate::protocol::api::Apis;
use crate::rate::Rate;

/// What one client may do.
#[derive(Debug, Clone)]
pub struct Clients {
    /// `MAX_SYMBOLS_PER_CLIENT`.
    pub max_symbols_per_client: usize,
    /// `DIALECTS`.
    pub dialects: Apis,
    /// `DIALECT_MAX_SYMBOLS`.
    pub dialect_max_symbols: usize,
    /// `DIALECT_SYMBOL_MAP`.
    pub dialect_symbol_map: Option<PathBuf>,
    /// `ALLOW_WILDCARD`.
    pub allow_wildcard: bool,
    /// `MAX_MESSAGE_SIZE`.
    pub max_message_bytes: usize,
    /// `MESSAGE_WARN_SIZE`; `None` for no warning.
    pub message_warn_bytes: Option<NonZeroUsize>,
    /// `MESSAGE_RATE_LIMIT`; `None` for no limit.
    pub message_rate_limit: Option<Rate>,
    /// `MAX_CONNECTIONS_PER_USER`; `None` for no limit.
    pub max_connections_per_user: Option<NonZeroUsize>,
    /// `ON_USER_LIMIT`.
    pub on_user_limit: OnUserLimit,
}

impl Clients {
    /// How many connections one user may have.
    pub fn per_user(&self) -> PerUserLimits {
        PerUserLimits { connections: self.max_connections_per_user, on_limit: self.on_user_limit }
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            max_symbols_per_client: MAX_SYMBOLS_DEFAULT as usize,
            dialects: Apis::default(),
            dialect_max_symbols: DIALECT_MAX_SYMBOLS_DEFAULT as usize,
            dialect_symbol_map: None,
            allow_wildcard: true,
            max_message_bytes: MAX_MESSAGE_DEFAULT_BYTES,
            message_warn_bytes: None,
            message_rate_limit: None,
            max_connections_per_user: NonZeroUsize::new(USER_CONNECTIONS_DEFAULT),
            on_user_limit: OnUserLimit::default(),
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
            help: "How many subscriptions one client may have. With DEMO the default is 100.",
            set: |config, given| given.store(&mut config.clients.max_symbols_per_client),
            show: |config, unit| config.clients.max_symbols_per_client.show(unit),
        },
        Setting {
            env: "DIALECTS",
            flag: "dialects",
            aliases: &[],
            unit: Unit::Text(
                "none, or some of alpaca, massive, finnhub, binance and socketio with commas between them",
            ),
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "The APIs whose clients are served as well, at paths of their own, by changing a URL: some of `alpaca`, `massive`, `finnhub`, `binance`, `socketio`, with commas \
                   between them. The page for each is in docs/dialects.",
            set: |config, given| given.store(&mut config.clients.dialects),
            show: |config, unit| config.clients.dialects.show(unit),
        },
        Setting {
            env: "DIALECT_MAX_SYMBOLS",
            flag: "dialect-max-symbols",
            aliases: &[],
            unit: Unit::Number { min: 1, max: MAX_SYMBOLS_MAX },
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "How many subscriptions a client of one of the DIALECTS may have, in place of MAX_SYMBOLS_PER_CLIENT.",
            set: |config, given| given.store(&mut config.clients.dialect_max_symbols),
            show: |config, unit| config.clients.dialect_max_symbols.show(unit),
        },
        Setting {
            env: "DIALECT_SYMBOL_MAP",
            flag: "dialect-symbol-map",
            aliases: &[],
            unit: Unit::Text("the path of a file with a line such as BTC-USD=BTCUSDT for each symbol"),
            zero: Zero::Refused,
            preset: Preset::Computed("none"),
            help: "A file of symbols that clients of the DIALECTS know by other names than workers: a line is the workers' name, `=` and \
                   the clients'. Read at the start.",
            set: |config, given| {
                config.clients.dialect_symbol_map = Some(values::file(given.text)?);
                Some(())
            },
            show: |config, _| values::show_path(config.clients.dialect_symbol_map.as_ref()),
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
            help: "How many messages one user may send, over all connections to this gateway, or one client without a user, such \
                   as `100/1m` (a number alone is for a minute); all of them may come at once. Further ones are answered RATE_LIMIT_EXCEEDED, and a hundred such answers in a row \
                   end the connection with 1008.",
            set: |config, given| given.store(&mut config.clients.message_rate_limit),
            show: |config, unit| config.clients.message_rate_limit.show(unit),
        },
        Setting {
            env: "MAX_CONNECTIONS_PER_USER",
            flag: "max-connections-per-user",
            aliases: &[Alias::same("WS_MAX_CONNECTIONS_PER_USER")],
            unit: Unit::Number { min: 1, max: MAX_CONNECTIONS_MAX as u64 },
            zero: Zero::Off,
            preset: Preset::Fixed,
            help: "How many connections to this gateway a user may have at a time, where tokens say who users are. ON_USER_LIMIT \
                   says what becomes of one more.",
            set: |config, given| given.store(&mut config.clients.max_connections_per_user),
            show: |config, unit| config.clients.max_connections_per_user.show(unit),
        },
        Setting {
            env: "ON_USER_LIMIT",
            flag: "on-user-limit",
            aliases: &[],
            unit: Unit::Choice(&["refuse", "close_oldest"]),
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "What becomes of a connection beyond MAX_CONNECTIONS_PER_USER: refuse it (429, or TOO_MANY_CONNECTIONS and 1008), \
                   or close_oldest, which closes the user's oldest with 1008 \"replaced\", at most once in 5 s for a user.",
            set: |config, given| given.store(&mut config.clients.on_user_limit),
            show: |config, unit| config.clients.on_user_limit.show(unit),
        },
    ],
};

impl Value for OnUserLimit {
    fn read(given: &Given<'_>) -> Option<Self> {
        [Self::Refuse, Self::CloseOldest].into_iter().find(|choice| choice.word() == given.text)
    }

    fn show(&self, _: &Unit) -> String {
        self.word().to_owned()
    }
}

impl Value for Apis {
    fn read(given: &Given<'_>) -> Option<Self> {
        given.text.parse().ok()
    }

    fn show(&self, _: &Unit) -> String {
        self.to_string()
    }
}
