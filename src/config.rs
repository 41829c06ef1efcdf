//! Configuration: reads flags, environment and `.env` into one validated [`Config`].
//!
//! A flag wins over the process' environment, and that over `.env`. An empty variable counts as not set.
//!
//! To add a setting, add a row to its group ([`upstream`], [`server`], [`addresses`], [`operator`], [`access`], [`clients`], [`delivery`], [`events`], [`history`],
//! [`desk`], [`process`]) and the field that the row writes and shows. `gateway/wiring.rs` hands its value to the data path, `gateway.rs` to
//! control. A count of which 0 means off is an `Option`, a time of that kind an `Option<Period>` as `STALE_AFTER`, and its row says `Zero::Off`.
//! The command line and `--print-config` come from the rows, `docs/configuration.md` and `.env.example` too: `scripts/refresh-settings`
//! writes them. The defaults and bounds are in [`crate::limits`].

pub mod access;
pub mod addresses;
pub mod clients;
pub mod delivery;
pub mod desk;
pub mod events;
pub mod history;
pub mod key_server;
pub mod operator;
pub mod process;
pub mod server;
pub mod units;
pub mod upstream;

mod cli;
mod documents;
mod env_file;
mod misspelt;
mod open_files;
mod redact;
mod setting;
mod sources;
mod values;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use self::access::Access;
use self::addresses::Addresses;
pub use self::cli::{Action, ConfigError};
use self::clients::Clients;
use self::delivery::Delivery;
use self::desk::Desk;
pub use self::documents::{env_example, settings_markdown};
use self::events::Events;
use self::history::History;
pub use self::open_files::{Descriptors, raise_open_file_limit};
use self::operator::Operator;
pub use self::process::LogFormat;
use self::process::Process;
pub use self::redact::redact_url;
use self::server::Server;
use self::setting::Given;
pub use self::setting::{Alias, Group, Preset, Setting, Unit, Zero};
use self::sources::Sources;
pub use self::upstream::{Embedded, Upstream};
use crate::limits::{FD_OPS, FRAME_OVERHEAD_MAX_BYTES, OPS_IN_FLIGHT_MAX, connections_for};
pub use crate::protocol::terms::SlowClientPolicy;
use crate::tls::{self, PairFiles, Role};

/// All settings, checked.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// What the process has to do.
    pub action: Action,
    /// Where events come from.
    pub upstream: Upstream,
    /// Where clients connect, and how many.
    pub server: Server,
    /// Clients by their address.
    pub addresses: Addresses,
    /// The port of those who operate the gateway.
    pub operator: Operator,
    /// Who may come in, and how they show who they are.
    pub access: Access,
    /// What one client may do.
    pub clients: Clients,
    /// How events reach clients, and what happens to clients that are slow or dead.
    pub delivery: Delivery,
    /// What workers publish.
    pub events: Events,
    /// The events that are kept for snapshots and resuming.
    pub history: History,
    /// Rooms, people, notifications.
    pub desk: Desk,
    /// The process: its threads, its end, its log.
    pub process: Process,
    /// Values that were ignored, or that probably have another effect than intended: a line each, for the log.
    pub warnings: Vec<String>,
}

/// All settings, in the order of the documents.
pub const GROUPS: [Group; 11] = [
    upstream::GROUP,
    server::GROUP,
    addresses::GROUP,
    operator::GROUP,
    access::GROUP,
    clients::GROUP,
    delivery::GROUP,
    events::GROUP,
    history::GROUP,
    desk::GROUP,
    process::GROUP,
];

/// All settings, group by group.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    GROUPS.into_iter().flat_map(|group| group.settings)
}

/// Defaults that differ with `DEMO`, by environment variable: the demo shows all types of a market, of twenty symbols.
const DEMO_DEFAULTS: [(&str, &str); 2] =
    [("CHANNEL_TYPES", "trade,quote,candle,news,halt"), ("MAX_SYMBOLS_PER_CLIENT", "100")];

const PORT: Unit = Unit::Number { min: 1, max: u16::MAX as u64 };
const ADDRESS: Unit = Unit::Text("an IPv4 or IPv6 address, or localhost");
const PEM_CHAIN: &str =
    "the path of a PEM file with the certificate and, behind it, those that lead to its authority";
const PEM_KEY: &str = "the path of a PEM file with the certificate's private key, which is not encrypted";
const CHANNEL_TEXT: Unit = Unit::Text("1 to 128 visible ASCII characters without * ? [ ] and \\, but not 0");

impl Config {
    /// The defaults, but with loopback addresses, any free ports and two shards on every machine: for tests and for a gateway
    /// inside another program.
    pub fn for_tests() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut config = Self::default();
        config.upstream.embedded.listen = any_port;
        config.server.listen = any_port;
        config.process.shards = 2;
        config
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
        let file = Some(Path::new(".env"));
        let names: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
        Self::read(args, &|name| std::env::var_os(name), &names, file, raise_open_file_limit())
    }

    /// As [`Config::from_args_and_env`], with a given environment, file and open-file limit.
    ///
    /// # Errors
    /// As [`Config::from_args_and_env`].
    pub fn resolve<A>(
        args: impl IntoIterator<Item = A>,
        env: impl Fn(&str) -> Option<OsString>,
        file: Option<&Path>,
        open_files: u64,
    ) -> Result<Self, ConfigError>
    where
        A: Into<OsString> + Clone,
    {
        Self::read(args, &env, &[], file, open_files)
    }

    /// The same; `names` are those of all variables of the environment.
    fn read<A>(
        args: impl IntoIterator<Item = A>,
        env: &dyn Fn(&str) -> Option<OsString>,
        names: &[OsString],
        file: Option<&Path>,
        open_files: u64,
    ) -> Result<Self, ConfigError>
    where
        A: Into<OsString> + Clone,
    {
        let line = cli::CommandLine::parse(args)?;
        let mut config = Self { action: line.action(), ..Self::default() };
        config.server.max_connections = connections_for(open_files);
        config.server.open_files = open_files;
        let mut sources = Sources::new(line, env, names, file);
        let mut not_given = Vec::new();
        for setting in settings() {
            let Some(found) = sources.setting(setting)? else {
                not_given.push(setting);
                continue;
            };
            let text = found.alias.map_or_else(|| found.text.clone(), |alias| alias.value(&found.text));
            let given = Given { setting, text: &text };
            if (setting.set)(&mut config, &given).is_none() {
                return Err(ConfigError::bad_value(&found, setting));
            }
        }
        upstream::take_parts(&mut config.upstream, &mut sources)?;
        config.warnings = sources.warnings;
        if config.process.demo {
            config.set_for_demo(&not_given);
        }
        config.relate()?;
        config.relate_certificates()?;
        Ok(config)
    }

    /// Gives settings without a value the defaults that they have in the demo.
    fn set_for_demo(&mut self, not_given: &[&Setting]) {
        for setting in not_given {
            if let Some((_, text)) = DEMO_DEFAULTS.iter().find(|(env, _)| *env == setting.env) {
                let is_set = (setting.set)(self, &Given { setting, text }).is_some();
                debug_assert!(is_set, "{}={text} is allowed", setting.env);
            }
        }
    }

    /// One line `NAME=value` for each setting, with the value in effect. Secrets are hidden.
    pub fn show(&self) -> String {
        let lines =
            settings().map(|setting| format!("{}={}\n", setting.env, (setting.show)(self, &setting.unit)));
        lines.collect()
    }

    /// How the open-file limit is divided.
    pub fn descriptors(&self) -> Descriptors {
        let Server { open_files, max_connections, .. } = self.server;
        Descriptors::divide(open_files, self.process.shards, max_connections, self.upstream.is_embedded())
    }

    /// Checks that each certificate has a key and each key a certificate. Reads the files only to run or to check the configuration:
    /// a health check must not fail because of files that the running gateway doesn't use yet.
    fn relate_certificates(&mut self) -> Result<(), ConfigError> {
        let Self { upstream, server, .. } = &self;
        let pairs = [
            (Role::Port, &server.tls_cert_file, &server.tls_key_file),
            (Role::RedisClient, &upstream.redis_cert_file, &upstream.redis_key_file),
        ];
        for (role, certificate, key) in pairs {
            let (certificate_setting, key_setting) = (role.certificate_setting(), role.key_setting());
            match (certificate, key) {
                (Some(path), None) => return Err(ConfigError::alone(certificate_setting, path, key_setting)),
                (None, Some(path)) => return Err(ConfigError::alone(key_setting, path, certificate_setting)),
                _ => {}
            }
        }
        if let Some(path) = &server.tls_client_ca_file {
            let missing = [
                (server.tls_cert_file.is_none(), "TLS_CERT_FILE and TLS_KEY_FILE"),
                // Probes and scrapers have no certificate.
                (self.operator.port.is_none(), "OPS_PORT, where /health and /metrics need no certificate"),
                // A browser shows its user's certificate whatever page has the connection opened.
                (server.origins.allowed.is_none(), "ALLOWED_ORIGINS, a list of the pages that may connect"),
            ];
            if let Some((_, other)) = missing.iter().find(|(is_missing, _)| *is_missing) {
                return Err(ConfigError::alone("TLS_CLIENT_CA_FILE", path, other));
            }
        }
        let redis_pair = upstream.redis_pair();
        let is_unused = redis_pair.is_some() && !upstream.is_encrypted();
        if matches!(self.action, Action::Run | Action::CheckConfig) {
            server.tls().as_ref().map(tls::Server::read).transpose()?;
            redis_pair.as_ref().map(PairFiles::read).transpose()?;
        }
        if is_unused {
            let warning =
                "REDIS_CERT_FILE is not used: the gateway sends a certificate only to a rediss:// server";
            self.warnings.push(warning.to_owned());
        }
        Ok(())
    }

    /// Connections that aren't upgraded (yet) on the public port and on the operator's, which have their share of the descriptors
    /// together.
    pub fn http_in_flight(&self) -> (usize, usize) {
        let http = self.descriptors().http;
        if self.operator.port.is_none() {
            return (http, 0);
        }
        let operators = (http / 8).clamp(1, OPS_IN_FLIGHT_MAX);
        (http.saturating_sub(operators + FD_OPS).max(1), operators)
    }

    /// Checks settings that depend on each other.
    fn relate(&mut self) -> Result<(), ConfigError> {
        let fitting = self.descriptors().clients;
        let Self {
            upstream,
            server,
            addresses,
            operator,
            access,
            delivery,
            events,
            history,
            desk,
            warnings,
            ..
        } = self;
        let outbox_min_bytes = 2 * (events.max_event_bytes + FRAME_OVERHEAD_MAX_BYTES);
        if delivery.max_outbox_bytes < outbox_min_bytes {
            let why = format!("at least {outbox_min_bytes}: two events of MAX_EVENT_BYTES, framed");
            return Err(ConfigError::relation("MAX_OUTBOX_BYTES", delivery.max_outbox_bytes, why));
        }
        if delivery.max_backlog_bytes < delivery.max_outbox_bytes {
            let outbox = units::show_size(delivery.max_outbox_bytes as u64);
            let why = format!("at least MAX_OUTBOX_BYTES, which is {outbox}");
            return Err(ConfigError::relation("MAX_BACKLOG_BYTES", delivery.max_backlog_bytes, why));
        }
        if delivery.pong_timeout > delivery.ping_interval {
            warnings.push(format!(
                "PONG_TIMEOUT ({} ms) is longer than PING_INTERVAL ({} ms), which is used instead",
                delivery.pong_timeout.as_millis(),
                delivery.ping_interval.as_millis()
            ));
            delivery.pong_timeout = delivery.ping_interval;
        }
        if server.max_connections > fitting {
            // Nobody has asked for the default, so it can be lowered without a warning.
            if server.max_connections != connections_for(server.open_files) {
                warnings.push(format!(
                    "MAX_CONNECTIONS ({}) is more than the open-file limit ({}) allows; {fitting} is used: raise the limit (ulimit -n)",
                    server.max_connections, server.open_files
                ));
            }
            server.max_connections = fitting;
        }
        let is_restricted =
            access.anonymous.is_some() || access.issuer.is_some() || !access.audiences.is_empty();
        if access.is_open() && is_restricted {
            let warning = "ANONYMOUS, JWT_AUDIENCE and JWT_ISSUER change nothing in an open gateway: set JWT_SECRET_KEY, \
                           JWT_PUBLIC_KEY_FILE, JWKS_URL or API_KEYS_FILE";
            warnings.push(warning.to_owned());
        }
        if access.is_open() && !access.feed_delays.is_empty() {
            let warning = "FEED_DELAYS changes nothing in an open gateway: delays come with tokens, and with ANONYMOUS beside them";
            warnings.push(warning.to_owned());
        }
        let key_server = access.key_server().map_err(|allowed| {
            ConfigError::unfit("JWT_ISSUER", access.issuer.as_deref().unwrap_or_default(), allowed)
        })?;
        if key_server.is_some() && access.audiences.is_empty() {
            let warning =
                "JWT_AUDIENCE isn't set: a token of the key server counts, whatever service it was made for";
            warnings.push(warning.to_owned());
        }
        if key_server.is_none() && access.jwks_ca_file.is_some() {
            warnings.push("JWKS_CA_FILE is not used: no keys are fetched".to_owned());
        }
        if desk.offline_queue.is_some() && !desk.is_on {
            warnings.push("OFFLINE_QUEUE changes nothing without DESK=true".to_owned());
        }
        if upstream.is_embedded() && history.last_value_key.is_some() {
            warnings.push("LAST_VALUE_KEY needs REDIS_URL: the embedded broker keeps no keys".to_owned());
        }
        let Embedded { listen, password } = &upstream.embedded;
        if upstream.is_embedded() && password.is_none() && !listen.ip().is_loopback() {
            warnings.push(format!(
                "the embedded broker listens on {listen} without a password: set EMBEDDED_REDIS_PASSWORD"
            ));
        }
        if addresses.proxy_protocol && addresses.proxies.is_empty() {
            let warning =
                "PROXY_PROTOCOL needs TRUSTED_PROXIES: without it every PROXY header is answered 400";
            warnings.push(warning.to_owned());
        }
        match (operator.listen(), &operator.token) {
            (None, Some(_)) => warnings.push("OPS_TOKEN is not used: there is no OPS_PORT".to_owned()),
            (Some(listen), None) if !listen.ip().is_loopback() => {
                warnings.push(format!("whoever reaches {listen} reads /stats and /metrics: set OPS_TOKEN"));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_of_the_demo_are_allowed_and_told() {
        for (env, text) in DEMO_DEFAULTS {
            let setting = settings().find(|setting| setting.env == env).expect("a setting");
            assert!((setting.set)(&mut Config::default(), &Given { setting, text }).is_some(), "{env}");
            assert!(setting.help.contains(&format!("With DEMO the default is {text}.")), "{env}");
        }
    }
}
