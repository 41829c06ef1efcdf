//! Configuration: flags and environment in, one validated [`Config`] out.
//!
//! A flag wins over the environment, the process' environment over `.env`, and an empty variable is no variable. The
//! settings themselves are one table, [`SETTINGS`]; the defaults and bounds are in [`crate::limits`].

mod cli;
mod open_files;
mod parse;
mod settings;
mod show;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo};

pub use self::cli::{Action, ConfigError};
pub use self::open_files::{Descriptors, raise_open_file_limit};
pub use self::parse::{origin, redact_url};
use self::settings::name;
pub use self::settings::{Preset, SETTINGS, Setting, Unit, env_example, settings_markdown};
use crate::limits::*;
use crate::market::EventTypes;
pub use crate::protocol::terms::SlowClientPolicy;

/// Everything that can be set, checked and in its own type.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the process was asked to do.
    pub action: Action,
    /// Where events come from.
    pub upstream: Upstream,
    /// `REDIS_CA_FILE`; `None` = the public authorities.
    pub redis_ca_file: Option<PathBuf>,
    /// `WS_HOST` and `WS_PORT`.
    pub listen: SocketAddr,
    /// `SERVER_ID`.
    pub server_id: String,
    /// `MAX_SYMBOLS_PER_CLIENT`.
    pub max_symbols_per_client: usize,
    /// `MAX_CONNECTIONS`.
    pub max_connections: usize,
    /// The open-file limit, which bounds all connections together.
    pub open_files: u64,
    /// `MAX_MESSAGE_SIZE`.
    pub max_message_bytes: usize,
    /// `MAX_MESSAGES_PER_SECOND`; 0 = no limit.
    pub max_messages_per_second: u32,
    /// `ALLOWED_ORIGINS`, each as [`origin`] normalises it; `None` = any.
    pub allowed_origins: Option<Vec<String>>,
    /// `PING_INTERVAL`.
    pub ping_interval: Duration,
    /// `PONG_TIMEOUT`, at most `ping_interval`.
    pub pong_timeout: Duration,
    /// `MAX_MISSED_PONGS`.
    pub max_missed_pongs: u32,
    /// `SLOW_CLIENT_POLICY`.
    pub slow_client_policy: SlowClientPolicy,
    /// `MAX_OUTBOX_BYTES`.
    pub max_outbox_bytes: usize,
    /// `MAX_BACKLOG_BYTES`.
    pub max_backlog_bytes: usize,
    /// `STALL_TIMEOUT`.
    pub stall_timeout: Duration,
    /// `DRAIN_TIMEOUT`.
    pub drain_timeout: Duration,
    /// `SHARDS`.
    pub shards: usize,
    /// `FLUSH_INTERVAL`; zero = off.
    pub flush_interval: Duration,
    /// `MAX_EVENT_BYTES`.
    pub max_event_bytes: usize,
    /// `CHANNEL_PREFIX`.
    pub channel_prefix: String,
    /// `CHANNEL_TYPES`; at least one.
    pub channel_types: EventTypes,
    /// `ALLOW_WILDCARD`.
    pub allow_wildcard: bool,
    /// `DEDUPLICATE`.
    pub deduplicate: bool,
    /// `LAST_VALUE_MAX_TOPICS`; 0 = off.
    pub last_value_max_topics: usize,
    /// `LAST_VALUE_KEY`.
    pub last_value_key: Option<String>,
    /// `REPLAY_EVENTS_PER_TOPIC`; 0 = off.
    pub replay_events_per_topic: usize,
    /// `REPLAY_MAX_BYTES`; 0 = off.
    pub replay_max_bytes: usize,
    /// `STALE_AFTER`; zero = never.
    pub stale_after: Duration,
    /// `DEMO`.
    pub demo: bool,
    /// `STATS_INTERVAL`; zero = no lines.
    pub stats_interval: Duration,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `RUST_LOG`.
    pub log_filter: String,
    /// What was accepted but is probably not meant; a line each, for the log.
    pub warnings: Vec<String>,
}

/// Where events come from.
#[derive(Clone)]
pub enum Upstream {
    /// A Redis (or Valkey) server: `REDIS_URL`.
    Redis(ConnectionInfo),
    /// The gateway's own broker.
    Embedded(Embedded),
}

/// The embedded broker: `EMBEDDED_REDIS_*`.
#[derive(Clone)]
pub struct Embedded {
    /// Address and port it listens on.
    pub listen: SocketAddr,
    /// Password asked of workers.
    pub password: Option<String>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Embedded {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, EMBEDDED_REDIS_PORT_DEFAULT).into(), password: None }
    }
}

impl Default for Config {
    /// The defaults, read from neither flags nor environment. `max_connections` follows the open-file limit as it is.
    fn default() -> Self {
        Self {
            action: Action::Run,
            upstream: Upstream::Embedded(Embedded::default()),
            redis_ca_file: None,
            listen: (Ipv4Addr::UNSPECIFIED, PORT_DEFAULT).into(),
            server_id: format!("ws-gateway-{:08x}", fastrand::u32(..)),
            max_symbols_per_client: MAX_SYMBOLS_DEFAULT as usize,
            max_connections: connections_for(open_files::open_file_limit()),
            open_files: open_files::open_file_limit(),
            max_message_bytes: MAX_MESSAGE_DEFAULT_BYTES,
            max_messages_per_second: 0,
            allowed_origins: None,
            ping_interval: Duration::from_millis(PING_INTERVAL_DEFAULT_MS),
            pong_timeout: Duration::from_millis(PONG_TIMEOUT_DEFAULT_MS),
            max_missed_pongs: MAX_MISSED_PONGS_DEFAULT as u32,
            slow_client_policy: SlowClientPolicy::Skip,
            max_outbox_bytes: MAX_OUTBOX_DEFAULT_BYTES,
            max_backlog_bytes: MAX_BACKLOG_DEFAULT_BYTES,
            stall_timeout: Duration::from_millis(STALL_TIMEOUT_DEFAULT_MS),
            drain_timeout: Duration::from_millis(DRAIN_TIMEOUT_DEFAULT_MS),
            shards: std::thread::available_parallelism().map_or(1, |cores| cores.get().min(SHARDS_MAX)),
            flush_interval: Duration::ZERO,
            max_event_bytes: MAX_EVENT_DEFAULT_BYTES,
            channel_prefix: CHANNEL_PREFIX_DEFAULT.to_owned(),
            channel_types: EventTypes::TRADE,
            allow_wildcard: true,
            deduplicate: true,
            last_value_max_topics: LAST_VALUE_TOPICS_DEFAULT as usize,
            last_value_key: None,
            replay_events_per_topic: REPLAY_EVENTS_DEFAULT as usize,
            replay_max_bytes: REPLAY_DEFAULT_BYTES,
            stale_after: Duration::from_millis(STALE_AFTER_DEFAULT_MS),
            demo: false,
            stats_interval: Duration::from_millis(STATS_INTERVAL_DEFAULT_MS),
            log_format: LogFormat::Text,
            log_filter: "info".to_owned(),
            warnings: Vec::new(),
        }
    }
}

impl Config {
    /// The defaults, but on loopback and any free ports: for tests and for a gateway inside another program.
    pub fn for_tests() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            upstream: Upstream::Embedded(Embedded { listen: any_port, password: None }),
            listen: any_port,
            ..Self::default()
        }
    }

    /// Reads the command line, the environment and `.env` of the working directory, and raises the open-file limit.
    ///
    /// # Errors
    /// One line that names the flag or variable, its value and what is allowed; or clap's answer to `--help`,
    /// `--version` and a command line that it doesn't understand.
    pub fn from_args_and_env<A>(args: impl IntoIterator<Item = A>) -> Result<Self, ConfigError>
    where
        A: Into<OsString> + Clone,
    {
        let file = cli::read_dotenv(".env".as_ref())?;
        let env = |name: &str| {
            let own = std::env::var_os(name).filter(|value| !value.is_empty());
            own.or_else(|| file.get(name).map(OsString::from))
        };
        Self::resolve(args, env, raise_open_file_limit())
    }

    /// As [`Config::from_args_and_env`], with the environment and the open-file limit given.
    ///
    /// # Errors
    /// The same.
    pub fn resolve<A>(
        args: impl IntoIterator<Item = A>,
        env: impl Fn(&str) -> Option<OsString>,
        open_files: u64,
    ) -> Result<Self, ConfigError>
    where
        A: Into<OsString> + Clone,
    {
        let line = cli::CommandLine::parse(args)?;
        let mut config = Self {
            action: line.action(),
            max_connections: connections_for(open_files),
            open_files,
            ..Self::default()
        };
        let mut draft = Draft::default();
        for setting in SETTINGS {
            let Some((source, text)) = line.value(setting, &env)? else { continue };
            if config.apply(&mut draft, setting, &text).is_none() {
                return Err(ConfigError::bad_value(&source, setting, &text));
            }
        }
        config.upstream = match draft.redis {
            Some(redis) => Upstream::Redis(redis),
            None => Upstream::Embedded(draft.embedded),
        };
        config.relate()?;
        Ok(config)
    }

    /// Takes one value over; `None` if it isn't allowed.
    fn apply(&mut self, draft: &mut Draft, setting: &Setting, text: &str) -> Option<()> {
        match setting.env {
            name::REDIS_URL => draft.redis = Some(text.into_connection_info().ok()?),
            name::REDIS_CA_FILE => self.redis_ca_file = Some(parse::pem_file(text)?),
            name::EMBEDDED_REDIS_HOST => draft.embedded.listen.set_ip(parse::address(text)?),
            name::EMBEDDED_REDIS_PORT => draft.embedded.listen.set_port(setting.number(text)?),
            name::EMBEDDED_REDIS_PASSWORD => draft.embedded.password = Some(text.to_owned()),
            name::WS_HOST => self.listen.set_ip(parse::address(text)?),
            name::WS_PORT => self.listen.set_port(setting.number(text)?),
            name::SERVER_ID => self.server_id = parse::server_id(text)?,
            name::MAX_SYMBOLS_PER_CLIENT => self.max_symbols_per_client = setting.number(text)?,
            name::MAX_CONNECTIONS => self.max_connections = setting.number(text)?,
            name::MAX_MESSAGE_SIZE => self.max_message_bytes = setting.number(text)?,
            name::MAX_MESSAGES_PER_SECOND => self.max_messages_per_second = setting.number(text)?,
            name::ALLOWED_ORIGINS => self.allowed_origins = parse::origins(text)?,
            name::PING_INTERVAL => self.ping_interval = setting.time(text)?,
            name::PONG_TIMEOUT => self.pong_timeout = setting.time(text)?,
            name::MAX_MISSED_PONGS => self.max_missed_pongs = setting.number(text)?,
            name::SLOW_CLIENT_POLICY => self.slow_client_policy = SlowClientPolicy::parse(text)?,
            name::MAX_OUTBOX_BYTES => self.max_outbox_bytes = setting.number(text)?,
            name::MAX_BACKLOG_BYTES => self.max_backlog_bytes = setting.number(text)?,
            name::STALL_TIMEOUT => self.stall_timeout = setting.time(text)?,
            name::DRAIN_TIMEOUT => self.drain_timeout = setting.time(text)?,
            name::SHARDS => self.shards = setting.number(text)?,
            name::FLUSH_INTERVAL => self.flush_interval = setting.time(text)?,
            name::MAX_EVENT_BYTES => self.max_event_bytes = setting.number(text)?,
            name::CHANNEL_TYPES => self.channel_types = parse::channel_types(text)?,
            name::ALLOW_WILDCARD => self.allow_wildcard = parse::switch(text)?,
            name::DEDUPLICATE => self.deduplicate = parse::switch(text)?,
            name::LAST_VALUE_MAX_TOPICS => self.last_value_max_topics = setting.number(text)?,
            name::LAST_VALUE_KEY => self.last_value_key = Some(parse::channel_prefix(text)?),
            name::REPLAY_EVENTS_PER_TOPIC => self.replay_events_per_topic = setting.number(text)?,
            name::REPLAY_MAX_BYTES => self.replay_max_bytes = setting.number(text)?,
            name::STALE_AFTER => self.stale_after = setting.time(text)?,
            name::CHANNEL_PREFIX => self.channel_prefix = parse::channel_prefix(text)?,
            name::DEMO => self.demo = parse::switch(text)?,
            name::STATS_INTERVAL => self.stats_interval = setting.time(text)?,
            name::LOG_FORMAT => self.log_format = LogFormat::parse(text)?,
            name::RUST_LOG => self.log_filter = parse::log_filter(text)?,
            _ => return None,
        }
        Some(())
    }

    /// How the open-file limit is divided.
    pub fn descriptors(&self) -> Descriptors {
        let has_broker = self.upstream.is_embedded();
        Descriptors::divide(self.open_files, self.shards, self.max_connections, has_broker)
    }

    /// Checks what settings say together.
    fn relate(&mut self) -> Result<(), ConfigError> {
        let outbox_min_bytes = 2 * (self.max_event_bytes + FRAME_OVERHEAD_MAX_BYTES);
        if self.max_outbox_bytes < outbox_min_bytes {
            let why = format!("at least {outbox_min_bytes}: two events of MAX_EVENT_BYTES, framed");
            return Err(ConfigError::relation(name::MAX_OUTBOX_BYTES, self.max_outbox_bytes, why));
        }
        if self.max_backlog_bytes < self.max_outbox_bytes {
            let why =
                format!("at least MAX_OUTBOX_BYTES, which is {}", parse::show_bytes(self.max_outbox_bytes));
            return Err(ConfigError::relation(name::MAX_BACKLOG_BYTES, self.max_backlog_bytes, why));
        }
        if self.pong_timeout > self.ping_interval {
            self.warnings.push(format!(
                "PONG_TIMEOUT ({} ms) is longer than PING_INTERVAL ({} ms) and is taken as that",
                self.pong_timeout.as_millis(),
                self.ping_interval.as_millis()
            ));
            self.pong_timeout = self.ping_interval;
        }
        let fitting = self.descriptors().clients;
        if self.max_connections > fitting {
            // The default is no promise that somebody relies on.
            if self.max_connections != connections_for(self.open_files) {
                self.warnings.push(format!(
                    "MAX_CONNECTIONS ({}) is more than the open-file limit ({}) allows and is taken as {fitting}: raise that (ulimit -n)",
                    self.max_connections, self.open_files
                ));
            }
            self.max_connections = fitting;
        }
        if self.upstream.is_embedded() && self.last_value_key.is_some() {
            self.warnings
                .push("LAST_VALUE_KEY needs REDIS_URL: the embedded broker keeps no keys".to_owned());
        }
        if let Upstream::Embedded(Embedded { listen, password: None }) = &self.upstream
            && !listen.ip().is_loopback()
        {
            self.warnings.push(format!(
                "the embedded broker listens on {listen} and lets everyone publish: set EMBEDDED_REDIS_PASSWORD"
            ));
        }
        Ok(())
    }
}

/// What two settings decide together, while they come in one by one.
#[derive(Default)]
struct Draft {
    redis: Option<ConnectionInfo>,
    embedded: Embedded,
}

impl LogFormat {
    fn parse(word: &str) -> Option<Self> {
        [Self::Text, Self::Json].into_iter().find(|format| format.word() == word)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl Upstream {
    /// The server of a Redis URL, as `REDIS_URL` takes it.
    ///
    /// # Errors
    /// What the redis crate says of the URL.
    pub fn from_url(url: &str) -> redis::RedisResult<Self> {
        url.into_connection_info().map(Self::Redis)
    }

    /// Whether it is the gateway's own broker.
    pub const fn is_embedded(&self) -> bool {
        matches!(self, Self::Embedded(_))
    }
}
