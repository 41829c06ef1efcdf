//! The configuration as text that may be printed: no secret leaves through here.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::settings::name;
use super::{Config, Embedded, SETTINGS, Setting, Upstream};

impl Config {
    /// One `NAME=value` line a setting, as they are in effect, secrets hidden.
    pub fn show(&self) -> String {
        let lines = SETTINGS.iter().map(|setting| {
            let value = self.value_of(setting).unwrap_or_default();
            format!("{}={value}\n", setting.env)
        });
        lines.collect()
    }

    /// A setting's value in effect, as text that may be printed; `None` if the table has a setting that this doesn't know.
    fn value_of(&self, setting: &Setting) -> Option<String> {
        let embedded = match &self.upstream {
            Upstream::Embedded(embedded) => embedded.clone(),
            Upstream::Redis(_) => Embedded::default(),
        };
        let time = |time: Duration| setting.unit.show(time.as_millis() as u64);
        let count = |count: usize| setting.unit.show(count as u64);
        Some(match setting.env {
            name::REDIS_URL => match &self.upstream {
                Upstream::Redis(_) => self.upstream.to_string(),
                Upstream::Embedded(_) => String::new(),
            },
            name::REDIS_CA_FILE => {
                self.redis_ca_file.as_ref().map_or_else(String::new, |path| path.display().to_string())
            }
            name::EMBEDDED_REDIS_HOST => embedded.listen.ip().to_string(),
            name::EMBEDDED_REDIS_PORT => embedded.listen.port().to_string(),
            name::EMBEDDED_REDIS_PASSWORD => embedded.password.map_or("", |_| "***").to_owned(),
            name::WS_HOST => self.listen.ip().to_string(),
            name::WS_PORT => self.listen.port().to_string(),
            name::SERVER_ID => self.server_id.clone(),
            name::MAX_SYMBOLS_PER_CLIENT => count(self.max_symbols_per_client),
            name::MAX_CONNECTIONS => count(self.max_connections),
            name::MAX_MESSAGE_SIZE => count(self.max_message_bytes),
            name::MAX_MESSAGES_PER_SECOND => self.max_messages_per_second.to_string(),
            name::ALLOWED_ORIGINS => {
                self.allowed_origins.as_ref().map_or_else(|| "*".to_owned(), |list| list.join(","))
            }
            name::PING_INTERVAL => time(self.ping_interval),
            name::PONG_TIMEOUT => time(self.pong_timeout),
            name::MAX_MISSED_PONGS => self.max_missed_pongs.to_string(),
            name::SLOW_CLIENT_POLICY => self.slow_client_policy.word().to_owned(),
            name::MAX_OUTBOX_BYTES => count(self.max_outbox_bytes),
            name::MAX_BACKLOG_BYTES => count(self.max_backlog_bytes),
            name::STALL_TIMEOUT => time(self.stall_timeout),
            name::DRAIN_TIMEOUT => time(self.drain_timeout),
            name::SHARDS => count(self.shards),
            name::FLUSH_INTERVAL => time(self.flush_interval),
            name::MAX_EVENT_BYTES => count(self.max_event_bytes),
            name::CHANNEL_TYPES => self.channel_types.to_string(),
            name::ALLOW_WILDCARD => self.allow_wildcard.to_string(),
            name::DEDUPLICATE => self.deduplicate.to_string(),
            name::LAST_VALUE_MAX_TOPICS => count(self.last_value_max_topics),
            name::LAST_VALUE_KEY => self.last_value_key.clone().unwrap_or_default(),
            name::REPLAY_EVENTS_PER_TOPIC => count(self.replay_events_per_topic),
            name::REPLAY_MAX_BYTES => count(self.replay_max_bytes),
            name::STALE_AFTER => time(self.stale_after),
            name::CHANNEL_PREFIX => self.channel_prefix.clone(),
            name::DEMO => self.demo.to_string(),
            name::STATS_INTERVAL => time(self.stats_interval),
            name::LOG_FORMAT => self.log_format.word().to_owned(),
            name::RUST_LOG => self.log_filter.clone(),
            _ => return None,
        })
    }
}

/// The upstream for people, without user and password.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(info) => {
                use redis::ConnectionAddr::{Tcp, TcpTls, Unix};
                let db = info.redis_settings().db();
                let host = |host: &str| match host.parse::<IpAddr>() {
                    Ok(IpAddr::V6(v6)) => format!("[{v6}]"),
                    _ => host.to_owned(),
                };
                match info.addr() {
                    Tcp(name, port) => write!(f, "redis://{}:{port}/{db}", host(name)),
                    TcpTls { host: name, port, .. } => write!(f, "rediss://{}:{port}/{db}", host(name)),
                    Unix(path) => write!(f, "unix://{}?db={db}", path.display()),
                    other => write!(f, "{other}"),
                }
            }
            Self::Embedded(embedded) => write!(f, "embedded broker on {}", embedded.listen),
        }
    }
}

/// As [`Upstream`]'s `Display`: a configuration that is logged shows no secret.
impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Without the password.
impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("listen", &self.listen).finish_non_exhaustive()
    }
}
