//! Settings of where clients connect, and of how many there may be.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::open_files::open_file_limit;
use super::setting::{Alias, Group, Preset, Setting, Unit, Value, Zero};
use super::{ADDRESS, PEM_CHAIN, PEM_KEY, PORT, values};
use crate::limits::{MAX_CONNECTIONS_MAX, PORT_DEFAULT, connections_for};
use crate::origin::Origins;
use crate::tls::{PairFiles, Role, ServerFiles};

/// Where clients connect, and how many.
#[derive(Debug, Clone)]
pub struct Server {
    /// `WS_HOST` and `WS_PORT`.
    pub listen: SocketAddr,
    /// `SERVER_ID`.
    pub server_id: String,
    /// `MAX_CONNECTIONS`.
    pub max_connections: usize,
    /// The open-file limit, which bounds all connections together.
    pub open_files: u64,
    /// `ALLOWED_ORIGINS` and `PUBLIC_HOSTS`.
    pub origins: Origins,
    /// `TLS_CERT_FILE`.
    pub tls_cert_file: Option<PathBuf>,
    /// `TLS_KEY_FILE`, set if `tls_cert_file` is.
    pub tls_key_file: Option<PathBuf>,
    /// `TLS_CLIENT_CA_FILE`.
    pub tls_client_ca_file: Option<PathBuf>,
}

impl Server {
    /// The files of the port's TLS; `None` if the port doesn't speak TLS.
    pub fn tls(&self) -> Option<ServerFiles> {
        let certificate = self.tls_cert_file.clone()?;
        let pair = PairFiles { role: Role::Port, certificate, key: self.tls_key_file.clone()? };
        Some(ServerFiles { pair, client_ca: self.tls_client_ca_file.clone() })
    }
}

impl Default for Server {
    /// `max_connections` follows the open-file limit as it is.
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::UNSPECIFIED, PORT_DEFAULT).into(),
            server_id: format!("ws-gateway-{:08x}", fastrand::u32(..)),
            max_connections: connections_for(open_file_limit()),
            open_files: open_file_limit(),
            origins: Origins::default(),
            tls_cert_file: None,
            tls_key_file: None,
            tls_client_ca_file: None,
        }
    }
}

pub(super) const GROUP: Group = Group {
    title: "Where clients connect",
    settings: &[
        Setting {
            env: "WS_PORT",
            flag: "ws-port",
            aliases: &[Alias::same("WEBSOCKET_PORT")],
            unit: PORT,
            zero: Zero::AnyFreePort,
            preset: Preset::Fixed,
            help: "Port for WebSocket and HTTP.",
            set: |config, given| {
                config.server.listen.set_port(u16::read(given)?);
                Some(())
            },
            show: |config, _| config.server.listen.port().to_string(),
        },
        Setting {
            env: "WS_HOST",
            flag: "ws-host",
            aliases: &[],
            unit: ADDRESS,
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "Address to listen on; `::` accepts IPv6 and IPv4.",
            set: |config, given| {
                config.server.listen.set_ip(values::address(given.text)?);
                Some(())
            },
            show: |config, _| config.server.listen.ip().to_string(),
        },
        Setting {
            env: "SERVER_ID",
            flag: "server-id",
            aliases: &[],
            unit: Unit::Text("1 to 64 of A-Z a-z 0-9 . _ : -"),
            zero: Zero::Text,
            preset: Preset::Computed("ws-gateway- and 8 random hex digits"),
            help: "Name of this process in health, logs and the X-Server-Id header.",
            set: |config, given| {
                config.server.server_id = values::server_id(given.text)?;
                Some(())
            },
            show: |config, _| config.server.server_id.clone(),
        },
        Setting {
            env: "MAX_CONNECTIONS",
            flag: "max-connections",
            aliases: &[Alias::same("WS_MAX_GLOBAL_CONNECTIONS")],
            unit: Unit::Number { min: 1, max: MAX_CONNECTIONS_MAX as u64 },
            zero: Zero::Refused,
            preset: Preset::Computed("the open-file limit less a reserve"),
            help: "How many WebSocket clients may be connected at a time; a further one is answered 503. The soft open-file limit \
                   is raised to the hard one at the start.",
            set: |config, given| given.store(&mut config.server.max_connections),
            show: |config, unit| config.server.max_connections.show(unit),
        },
        Setting {
            env: "ALLOWED_ORIGINS",
            flag: "allowed-origins",
            aliases: &[Alias::same("REALTIME_CORS_ORIGIN")],
            unit: Unit::Text(
                "origins such as https://app.example.com, https://*.example.com, file:// or null, separated by commas, or *",
            ),
            zero: Zero::Refused,
            preset: Preset::Computed("any"),
            help: "Web pages that may connect, by their Origin; others are answered 403. Clients that send no Origin aren't \
                   browsers and may connect.",
            set: |config, given| {
                config.server.origins.allowed = values::origins(given.text)?;
                Some(())
            },
            show: |config, _| {
                let list = config.server.origins.allowed.as_ref();
                list.map_or_else(|| "*".to_owned(), |list| list.join(","))
            },
        },
        Setting {
            env: "PUBLIC_HOSTS",
            flag: "public-hosts",
            aliases: &[],
            unit: Unit::Text("names such as prices.example.com, separated by commas, without a port"),
            zero: Zero::Refused,
            preset: Preset::Computed("none"),
            help: "Host names under which browsers reach this gateway. Its own page may connect to these names, and to addresses \
                   and localhost, whatever ALLOWED_ORIGINS says.",
            set: |config, given| {
                config.server.origins.public_hosts = values::host_names(given.text)?;
                Some(())
            },
            show: |config, _| config.server.origins.public_hosts.join(","),
        },
        Setting {
            env: "TLS_CERT_FILE",
            flag: "tls-cert-file",
            aliases: &[],
            unit: Unit::Text(PEM_CHAIN),
            zero: Zero::Refused,
            preset: Preset::Computed("none: the port speaks no TLS"),
            help: "Certificate with which WS_PORT speaks TLS 1.2 and 1.3 (`wss://`, `https://`), and nothing else. Needs \
                   TLS_KEY_FILE. Both files are read again when they change and on SIGHUP; a pair that can't be used is \
                   refused, and the one in use stays.",
            set: |config, given| {
                config.server.tls_cert_file = Some(values::path(given.text)?);
                Some(())
            },
            show: |config, _| values::show_path(config.server.tls_cert_file.as_ref()),
        },
        Setting {
            env: "TLS_KEY_FILE",
            flag: "tls-key-file",
            aliases: &[],
            unit: Unit::Text(PEM_KEY),
            zero: Zero::Refused,
            preset: Preset::Computed("none: the port speaks no TLS"),
            help: "Private key of the certificate in TLS_CERT_FILE.",
            set: |config, given| {
                config.server.tls_key_file = Some(values::path(given.text)?);
                Some(())
            },
            show: |config, _| values::show_path(config.server.tls_key_file.as_ref()),
        },
        Setting {
            env: "TLS_CLIENT_CA_FILE",
            flag: "tls-client-ca-file",
            aliases: &[],
            unit: Unit::Text("the path of a PEM file with at least one certificate"),
            zero: Zero::Refused,
            preset: Preset::Computed("none: clients are asked for no certificate"),
            help: "Authorities, one of which has to have signed a client's certificate: without one nobody gets further than \
                   the TLS handshake. A certificate is no identity. Needs TLS_CERT_FILE, OPS_PORT and ALLOWED_ORIGINS; read \
                   again as these are.",
            set: |config, given| {
                config.server.tls_client_ca_file = Some(values::path(given.text)?);
                Some(())
            },
            show: |config, _| values::show_path(config.server.tls_client_ca_file.as_ref()),
        },
    ],
};
