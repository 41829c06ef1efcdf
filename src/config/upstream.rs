//! Where events come from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult};

use super::setting::{Group, Preset, Setting, Unit, Value, Zero};
use super::{ADDRESS, PORT, values};
use crate::limits::EMBEDDED_REDIS_PORT_DEFAULT;

/// Where events come from.
#[derive(Clone, Default)]
pub struct Upstream {
    /// `REDIS_URL`: a Redis (or Valkey) server; `None` = the embedded broker.
    pub redis: Option<ConnectionInfo>,
    /// `REDIS_CA_FILE`; `None` = the public authorities.
    pub redis_ca_file: Option<PathBuf>,
    /// The gateway's own broker, for when there is no `redis`.
    pub embedded: Embedded,
}

/// The embedded broker: `EMBEDDED_REDIS_*`.
#[derive(Clone)]
pub struct Embedded {
    /// Address and port it listens on.
    pub listen: SocketAddr,
    /// Password asked of workers.
    pub password: Option<String>,
}

impl Default for Embedded {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, EMBEDDED_REDIS_PORT_DEFAULT).into(), password: None }
    }
}

pub(super) const GROUP: Group = Group {
    title: "Where events come from",
    settings: &[
        Setting {
            env: "REDIS_URL",
            flag: "redis-url",
            unit: Unit::Secret(
                "redis://[user:password@]host[:port][/db], rediss:// for TLS, or unix:///path (redis+unix://)",
            ),
            zero: Zero::Refused,
            preset: Preset::Computed("the embedded broker"),
            help: "Redis or Valkey that the workers publish to. Unset, the gateway is its own broker: it listens on \
                   EMBEDDED_REDIS_PORT and any Redis client can publish to it.",
            set: |config, given| {
                config.upstream.redis = Some(given.text.into_connection_info().ok()?);
                Some(())
            },
            show: |config, _| config.upstream.redis.as_ref().map_or_else(String::new, show_redis),
        },
        Setting {
            env: "REDIS_CA_FILE",
            flag: "redis-ca-file",
            unit: Unit::Text("the path of a PEM file with at least one certificate"),
            zero: Zero::Refused,
            preset: Preset::Computed("the public authorities"),
            help: "Certificate authorities that a rediss:// server's certificate is checked against, instead of the \
                   public ones; or that certificate itself, if it is \
                   self-signed.",
            set: |config, given| {
                config.upstream.redis_ca_file = Some(values::pem_file(given.text)?);
                Some(())
            },
            show: |config, _| {
                let file = config.upstream.redis_ca_file.as_ref();
                file.map_or_else(String::new, |path| path.display().to_string())
            },
        },
        Setting {
            env: "EMBEDDED_REDIS_HOST",
            flag: "embedded-redis-host",
            unit: ADDRESS,
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "Address of the embedded broker.",
            set: |config, given| {
                config.upstream.embedded.listen.set_ip(values::address(given.text)?);
                Some(())
            },
            show: |config, _| config.upstream.embedded.listen.ip().to_string(),
        },
        Setting {
            env: "EMBEDDED_REDIS_PORT",
            flag: "embedded-redis-port",
            unit: PORT,
            zero: Zero::AnyFreePort,
            preset: Preset::Fixed,
            help: "Port of the embedded broker.",
            set: |config, given| {
                config.upstream.embedded.listen.set_port(u16::read(given)?);
                Some(())
            },
            show: |config, _| config.upstream.embedded.listen.port().to_string(),
        },
        Setting {
            env: "EMBEDDED_REDIS_PASSWORD",
            flag: "embedded-redis-password",
            unit: Unit::Secret("any text"),
            zero: Zero::Text,
            preset: Preset::Computed("none"),
            help: "Password that the embedded broker asks of workers. Prefer the variable: flags are seen by everyone on \
                   the machine.",
            set: |config, given| {
                config.upstream.embedded.password = Some(given.text.to_owned());
                Some(())
            },
            show: |config, _| config.upstream.embedded.password.as_ref().map_or("", |_| "***").to_owned(),
        },
    ],
};

impl Upstream {
    /// The server of a Redis URL, as `REDIS_URL` takes it.
    ///
    /// # Errors
    /// What the redis crate says of the URL.
    pub fn from_url(url: &str) -> RedisResult<Self> {
        Ok(Self { redis: Some(url.into_connection_info()?), ..Self::default() })
    }

    /// Whether it is the gateway's own broker.
    pub const fn is_embedded(&self) -> bool {
        self.redis.is_none()
    }
}

/// The server as a URL without user and password.
fn show_redis(info: &ConnectionInfo) -> String {
    let db = info.redis_settings().db();
    let host = |host: &str| match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => format!("[{v6}]"),
        _ => host.to_owned(),
    };
    match info.addr() {
        ConnectionAddr::Tcp(name, port) => format!("redis://{}:{port}/{db}", host(name)),
        ConnectionAddr::TcpTls { host: name, port, .. } => format!("rediss://{}:{port}/{db}", host(name)),
        ConnectionAddr::Unix(path) => format!("unix://{}?db={db}", path.display()),
        other => other.to_string(),
    }
}

/// For people, without user and password.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.redis {
            Some(redis) => f.write_str(&show_redis(redis)),
            None => write!(f, "embedded broker on {}", self.embedded.listen),
        }
    }
}

/// A configuration that is logged shows no secret.
impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("redis", &self.redis.as_ref().map(show_redis))
            .field("redis_ca_file", &self.redis_ca_file)
            .field("embedded", &self.embedded)
            .finish()
    }
}

/// Without the password.
impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("listen", &self.listen).finish_non_exhaustive()
    }
}
