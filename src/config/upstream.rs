//! Settings of where events come from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult};

use super::setting::{Group, Preset, Setting, Unit, Value, Zero};
use super::sources::{Found, Sources};
use super::{ADDRESS, ConfigError, PEM_CHAIN, PEM_KEY, PORT, units, values};
use crate::limits::EMBEDDED_REDIS_PORT_DEFAULT;
use crate::tls::{PairFiles, Role};

/// The port of `REDIS_HOST` without `REDIS_PORT`.
const REDIS_PORT_DEFAULT: u16 = 6379;

/// Where events come from.
#[derive(Clone, Default)]
pub struct Upstream {
    /// `REDIS_URL`: a Redis or Valkey server; `None` for the embedded broker.
    pub redis: Option<ConnectionInfo>,
    /// `REDIS_CA_FILE`; `None` for the public authorities.
    pub redis_ca_file: Option<PathBuf>,
    /// `REDIS_CERT_FILE`.
    pub redis_cert_file: Option<PathBuf>,
    /// `REDIS_KEY_FILE`, set if `redis_cert_file` is.
    pub redis_key_file: Option<PathBuf>,
    /// The embedded broker, which is used if `redis` is `None`.
    pub embedded: Embedded,
}

/// The embedded broker: `EMBEDDED_REDIS_*`.
#[derive(Clone)]
pub struct Embedded {
    /// The address and port to listen on.
    pub listen: SocketAddr,
    /// The password that workers must give; `None` for none.
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
            aliases: &[],
            unit: Unit::Secret(
                "redis://[user:password@]host[:port][/db], rediss:// for TLS, or unix:///path (redis+unix://)",
            ),
            zero: Zero::Refused,
            preset: Preset::Computed("the embedded broker"),
            help: "Redis or Valkey that the workers publish to. Without it the gateway is its own broker: it listens on \
                   EMBEDDED_REDIS_PORT, and any Redis client can publish to it. REDIS_HOST, with REDIS_PORT and REDIS_PASSWORD, is \
                   used if this isn't set; REDIS_ENABLED=false asks for the embedded broker.",
            set: |config, given| {
                config.upstream.redis = Some(given.text.into_connection_info().ok()?);
                Some(())
            },
            show: |config, _| config.upstream.redis.as_ref().map_or_else(String::new, show_redis),
        },
        Setting {
            env: "REDIS_CA_FILE",
            flag: "redis-ca-file",
            aliases: &[],
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
            show: |config, _| values::show_path(config.upstream.redis_ca_file.as_ref()),
        },
        Setting {
            env: "REDIS_CERT_FILE",
            flag: "redis-cert-file",
            aliases: &[],
            unit: Unit::Text(PEM_CHAIN),
            zero: Zero::Refused,
            preset: Preset::Computed("none"),
            help: "Certificate that the gateway sends to a rediss:// server that asks for one (mutual TLS: Redis' \
                   `tls-auth-clients`, which is on by default). Needs REDIS_KEY_FILE.",
            set: |config, given| {
                config.upstream.redis_cert_file = Some(values::path(given.text)?);
                Some(())
            },
            show: |config, _| values::show_path(config.upstream.redis_cert_file.as_ref()),
        },
        Setting {
            env: "REDIS_KEY_FILE",
            flag: "redis-key-file",
            aliases: &[],
            unit: Unit::Text(PEM_KEY),
            zero: Zero::Refused,
            preset: Preset::Computed("none"),
            help: "Private key of the certificate in REDIS_CERT_FILE.",
            set: |config, given| {
                config.upstream.redis_key_file = Some(values::path(given.text)?);
                Some(())
            },
            show: |config, _| values::show_path(config.upstream.redis_key_file.as_ref()),
        },
        Setting {
            env: "EMBEDDED_REDIS_HOST",
            flag: "embedded-redis-host",
            aliases: &[],
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
            aliases: &[],
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
            aliases: &[],
            unit: Unit::Secret("any text"),
            zero: Zero::Text,
            preset: Preset::Computed("none"),
            help: "Password that workers must give to the embedded broker. Prefer the variable: every user of the machine can see \
                   flags.",
            set: |config, given| {
                config.upstream.embedded.password = Some(given.text.to_owned());
                Some(())
            },
            show: |config, _| config.upstream.embedded.password.as_ref().map_or("", |_| "***").to_owned(),
        },
    ],
};

impl Upstream {
    /// The server of a Redis URL, as in `REDIS_URL`.
    ///
    /// # Errors
    /// The redis crate's, if it can't read the URL.
    pub fn from_url(url: &str) -> RedisResult<Self> {
        Ok(Self { redis: Some(url.into_connection_info()?), ..Self::default() })
    }

    /// The files of the gateway's certificate for Redis; `None` if it has none.
    pub fn redis_pair(&self) -> Option<PairFiles> {
        let certificate = self.redis_cert_file.clone()?;
        Some(PairFiles { role: Role::RedisClient, certificate, key: self.redis_key_file.clone()? })
    }

    /// Whether the connection to Redis is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.redis.as_ref().is_some_and(|redis| matches!(redis.addr(), ConnectionAddr::TcpTls { .. }))
    }

    /// Whether events come from the embedded broker.
    pub const fn is_embedded(&self) -> bool {
        self.redis.is_none()
    }
}

/// Variables of other programs that describe a Redis server in parts.
pub(super) const REDIS_ENABLED: &str = "REDIS_ENABLED";
pub(super) const REDIS_HOST: &str = "REDIS_HOST";
pub(super) const REDIS_PORT: &str = "REDIS_PORT";
pub(super) const REDIS_PASSWORD: &str = "REDIS_PASSWORD";

/// Applies [`REDIS_ENABLED`] and [`REDIS_HOST`], after the settings.
pub(super) fn take_parts(upstream: &mut Upstream, sources: &mut Sources<'_>) -> Result<(), ConfigError> {
    let is_enabled = enabled(sources)?;
    // Always looked up, so that there is a warning if it is Kubernetes' link to a service.
    let port = sources.variable(REDIS_PORT)?;
    if is_enabled == Some(false) {
        let by_flag =
            GROUP.settings.iter().any(|setting| setting.env == "REDIS_URL" && sources.has_flag(setting));
        if !by_flag && upstream.redis.take().is_some() {
            let warning = "REDIS_ENABLED=false: REDIS_URL is not used, the gateway is its own broker";
            sources.warnings.push(warning.to_owned());
        }
        return Ok(());
    }
    if upstream.redis.is_none()
        && let Some(host) = sources.variable(REDIS_HOST)?
    {
        upstream.redis = Some(from_parts(&host, port.as_ref(), sources.variable(REDIS_PASSWORD)?)?);
    }
    if upstream.redis.is_none() && is_enabled == Some(true) {
        let warning =
            "REDIS_ENABLED=true has no effect: without REDIS_URL or REDIS_HOST the gateway is its own broker";
        sources.warnings.push(warning.to_owned());
    }
    Ok(())
}

fn enabled(sources: &mut Sources<'_>) -> Result<Option<bool>, ConfigError> {
    let Some(found) = sources.variable(REDIS_ENABLED)? else { return Ok(None) };
    let refused = || ConfigError::not_allowed(&found, "true or false");
    values::switch(&found.text).ok_or_else(refused).map(Some)
}

/// The Redis server at a host, on `port` or [`REDIS_PORT_DEFAULT`].
fn from_parts(
    host: &Found,
    port: Option<&Found>,
    password: Option<Found>,
) -> Result<ConnectionInfo, ConfigError> {
    let name = values::host(&host.text).ok_or_else(|| {
        ConfigError::not_allowed(host, "a host name or an IP address; a URL goes into REDIS_URL")
    })?;
    let port = port.map_or(Ok(REDIS_PORT_DEFAULT), |port| {
        let number = units::number(&port.text).and_then(|number| u16::try_from(number).ok());
        let refused = || ConfigError::not_allowed(port, "a whole number from 1 to 65535");
        number.filter(|number| *number != 0).ok_or_else(refused)
    })?;
    let address = (name, port).into_connection_info();
    let info = address.map_err(|_| ConfigError::not_allowed(host, "a host name or an IP address"))?;
    Ok(match password {
        Some(password) => {
            let settings = info.redis_settings().clone().set_password(password.text);
            info.set_redis_settings(settings)
        }
        None => info,
    })
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

/// Without user and password.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.redis {
            Some(redis) => f.write_str(&show_redis(redis)),
            None => write!(f, "embedded broker on {}", self.embedded.listen),
        }
    }
}

/// Without user and password.
impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("redis", &self.redis.as_ref().map(show_redis))
            .field("redis_ca_file", &self.redis_ca_file)
            .field("redis_cert_file", &self.redis_cert_file)
            .field("redis_key_file", &self.redis_key_file)
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
