//! The port of those who operate the gateway.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::setting::{Group, Preset, Setting, Unit, Value, Zero};
use super::{ADDRESS, PORT, values};

/// The port of those who operate the gateway.
#[derive(Clone)]
pub struct Operator {
    /// `OPS_PORT`; `None` = what is meant for operators is on `WS_PORT`.
    pub port: Option<u16>,
    /// `OPS_HOST`.
    pub host: IpAddr,
    /// `OPS_TOKEN`; `None` = nobody is asked for one.
    pub token: Option<String>,
}

impl Default for Operator {
    fn default() -> Self {
        Self { port: None, host: Ipv4Addr::LOCALHOST.into(), token: None }
    }
}

/// Without the token.
impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").field("port", &self.port).field("host", &self.host).finish_non_exhaustive()
    }
}

impl Operator {
    /// Where the operator's port listens, if there is one.
    pub fn listen(&self) -> Option<SocketAddr> {
        self.port.map(|port| (self.host, port).into())
    }
}

pub(super) const GROUP: Group = Group {
    title: "The operator's port",
    settings: &[
        Setting {
            env: "OPS_PORT",
            flag: "ops-port",
            aliases: &[],
            unit: PORT,
            zero: Zero::AnyFreePort,
            preset: Preset::Computed("none: /stats and /metrics are on WS_PORT"),
            help: "Port for operators: /stats and /metrics are there and no longer on WS_PORT; /health and /ready are on both.",
            set: |config, given| {
                config.operator.port = Some(u16::read(given)?);
                Some(())
            },
            show: |config, _| config.operator.port.map_or_else(String::new, |port| port.to_string()),
        },
        Setting {
            env: "OPS_HOST",
            flag: "ops-host",
            aliases: &[],
            unit: ADDRESS,
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "Address of the operator's port.",
            set: |config, given| {
                config.operator.host = values::address(given.text)?;
                Some(())
            },
            show: |config, _| config.operator.host.to_string(),
        },
        Setting {
            env: "OPS_TOKEN",
            flag: "ops-token",
            aliases: &[],
            unit: Unit::Secret("1 to 256 visible ASCII characters"),
            zero: Zero::Text,
            preset: Preset::Computed("none"),
            help: "Token that the operator's port asks for (`Authorization: Bearer …`) but at /health and /ready. Prefer the \
                   variable: flags are seen by everyone on the machine.",
            set: |config, given| {
                config.operator.token = Some(values::token(given.text)?);
                Some(())
            },
            show: |config, _| config.operator.token.as_ref().map_or_else(String::new, |_| "***".to_owned()),
        },
    ],
};
