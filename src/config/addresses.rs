//! Clients by their address: which proxies name it, and what one network may take.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::setting::{Group, Preset, Setting, Unit, Value, Zero};
use crate::address::Proxies;
use crate::admission::PerIpLimits;
use crate::limits::MAX_CONNECTIONS_MAX;
use crate::rate::Rate;

/// Clients by their address.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// `TRUSTED_PROXIES`.
    pub proxies: Proxies,
    /// `PROXY_PROTOCOL`.
    pub proxy_protocol: bool,
    /// `MAX_CONNECTIONS_PER_IP`; `None` = no limit.
    pub max_connections_per_ip: Option<NonZeroUsize>,
    /// `CONNECTION_RATE_LIMIT`; `None` = no limit.
    pub connection_rate_limit: Option<Rate>,
}

impl Addresses {
    /// What one network may take.
    pub fn per_ip(&self) -> PerIpLimits {
        PerIpLimits { connections: self.max_connections_per_ip, rate: self.connection_rate_limit }
    }
}

pub(super) const GROUP: Group = Group {
    title: "Clients by their address",
    settings: &[
        Setting {
            env: "TRUSTED_PROXIES",
            flag: "trusted-proxies",
            aliases: &[],
            unit: Unit::Text(
                "addresses and networks such as 10.0.0.5, 172.16.0.0/12 or fd00::/8, separated by commas",
            ),
            zero: Zero::Refused,
            preset: Preset::Computed("none"),
            help: "Proxies whose word for a client's address counts: the PROXY header with PROXY_PROTOCOL, the rightmost address \
                   of X-Forwarded-For that isn't a trusted proxy's, or else X-Real-IP.",
            set: |config, given| {
                config.addresses.proxies = Proxies::parse(given.text)?;
                Some(())
            },
            show: |config, _| config.addresses.proxies.to_string(),
        },
        Setting {
            env: "PROXY_PROTOCOL",
            flag: "proxy-protocol",
            aliases: &[],
            unit: Unit::Switch,
            zero: Zero::False,
            preset: Preset::Fixed,
            help: "Whether TRUSTED_PROXIES may introduce connections with a PROXY header (version 1 or 2). A connection of theirs \
                   without one counts as the proxy's own; a header from elsewhere is answered 400.",
            set: |config, given| given.store(&mut config.addresses.proxy_protocol),
            show: |config, unit| config.addresses.proxy_protocol.show(unit),
        },
        Setting {
            env: "MAX_CONNECTIONS_PER_IP",
            flag: "max-connections-per-ip",
            aliases: &[],
            unit: Unit::Number { min: 1, max: MAX_CONNECTIONS_MAX as u64 },
            zero: Zero::Off,
            preset: Preset::Fixed,
            help: "WebSocket clients at a time from one IPv4 address or one /64 of IPv6; one more is answered 429. Behind a proxy \
                   this needs TRUSTED_PROXIES.",
            set: |config, given| given.store(&mut config.addresses.max_connections_per_ip),
            show: |config, unit| config.addresses.max_connections_per_ip.show(unit),
        },
        Setting {
            env: "CONNECTION_RATE_LIMIT",
            flag: "connection-rate-limit",
            aliases: &[],
            unit: Unit::Rate { bare_per: Duration::from_secs(3_600) },
            zero: Zero::Off,
            preset: Preset::Fixed,
            help: "WebSocket connections from one IPv4 address or one /64 of IPv6, such as `100/15m` (a bare number is for an \
                   hour); all of them may come at once. More are answered 429, with Retry-After. Behind a proxy this needs \
                   TRUSTED_PROXIES.",
            set: |config, given| given.store(&mut config.addresses.connection_rate_limit),
            show: |config, unit| config.addresses.connection_rate_limit.show(unit),
        },
    ],
};
