//! Finds the settings' values: on the command line, in the environment, in `.env`. Decides which of several names wins.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use super::cli::CommandLine;
use super::env_file::{EnvFile, Owner};
use super::setting::{Alias, Setting, Unit};
use super::upstream::{REDIS_ENABLED, REDIS_HOST, REDIS_PASSWORD, REDIS_PORT};
use super::{ConfigError, misspelt, settings};

/// Stands for a secret's value in messages.
pub(super) const NOT_SHOWN: &str = "the value (not shown)";

/// The sources of values.
pub(super) struct Sources<'e> {
    line: CommandLine,
    env: &'e dyn Fn(&str) -> Option<OsString>,
    file: EnvFile,
    /// A warning for each value or line that was ignored.
    pub(super) warnings: Vec<String>,
}

/// A value that was found.
#[derive(Debug)]
pub(super) struct Found {
    /// The flag or variable, and its line in `.env`.
    pub(super) source: String,
    pub(super) text: String,
    /// The alias under which it was found, if it was.
    pub(super) alias: Option<&'static Alias>,
}

impl<'e> Sources<'e> {
    pub(super) fn new(
        line: CommandLine,
        env: &'e dyn Fn(&str) -> Option<OsString>,
        names: &[OsString],
        file: Option<&Path>,
    ) -> Self {
        let owners = owners();
        let owner = |name: &str| owners.get(name).copied().unwrap_or(Owner::Other);
        let mut file = file.map(|path| EnvFile::read(path, owner)).unwrap_or_default();
        let mut warnings = std::mem::take(&mut file.warnings);
        warnings.extend(misspelt(&file, env, names, &owners));
        Self { line, env, file, warnings }
    }

    /// A setting's value, if it is set. A flag wins over every variable, and an empty flag asks for the default. The setting's
    /// own variable wins over its aliases.
    pub(super) fn setting(&mut self, setting: &'static Setting) -> Result<Option<Found>, ConfigError> {
        if let Some(flag) = self.line.flag(setting) {
            let source = format!("--{}", setting.flag);
            let text = flag.clone().into_string().map_err(|_| not_utf8(&source))?;
            return Ok(Some(Found { source, text, alias: None }).filter(|found| !found.text.is_empty()));
        }
        if let Some(own) = self.variable(setting.env)? {
            return Ok(Some(own));
        }
        for alias in setting.aliases {
            if let Some(found) = self.variable(alias.env)? {
                return Ok(Some(Found { alias: Some(alias), ..found }));
            }
        }
        Ok(None)
    }

    /// A variable's value, if it is set: from the environment, or else from the file.
    pub(super) fn variable(&mut self, name: &str) -> Result<Option<Found>, ConfigError> {
        if let Some(value) = (self.env)(name).filter(|value| !value.is_empty()) {
            let text = value.into_string().map_err(|_| not_utf8(name))?;
            let found = Found { source: name.to_owned(), text, alias: None };
            if !self.is_service_link(name, &found) {
                return Ok(Some(found));
            }
        }
        let Some(variable) = self.file.get(name) else { return Ok(None) };
        let source = format!("{name} (line {} of .env)", variable.line);
        let text = match &variable.value {
            Ok(text) => text.clone(),
            Err(reason) => return Err(ConfigError::unreadable(&source, reason)),
        };
        let found = Found { source, text, alias: None };
        Ok(Some(found).filter(|found| !self.is_service_link(name, found)))
    }

    /// Whether the setting's flag has a value.
    pub(super) fn has_flag(&self, setting: &Setting) -> bool {
        self.line.flag(setting).is_some_and(|flag| !flag.is_empty())
    }

    /// Whether Kubernetes has set the variable: for a service named `ws` it sets `WS_PORT=tcp://10.0.0.1:80` in every container.
    /// Adds a warning then.
    fn is_service_link(&mut self, name: &str, found: &Found) -> bool {
        let is_link = name.ends_with("_PORT") && is_address_with_protocol(&found.text);
        if is_link {
            let Found { source, text, .. } = found;
            self.warnings.push(format!(
                "{source}={text} is ignored: it is Kubernetes' link to a service, not a port (enableServiceLinks: false in the pod's spec removes such variables)"
            ));
        }
        is_link
    }
}

fn not_utf8(source: &str) -> ConfigError {
    ConfigError::unreadable(source, "it is not UTF-8")
}

/// Whether `text` is an address such as `tcp://10.0.0.1:80`, or one with `udp` or `sctp`.
fn is_address_with_protocol(text: &str) -> bool {
    let Some((protocol, address)) = text.split_once("://") else { return false };
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let is_host =
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    ["tcp", "udp", "sctp"].contains(&protocol) && is_host && port.parse::<u16>().is_ok()
}

/// A warning for each variable that is nearly one of the gateway's which is not set.
fn misspelt(
    file: &EnvFile,
    env: &dyn Fn(&str) -> Option<OsString>,
    names: &[OsString],
    owners: &HashMap<&'static str, Owner>,
) -> Vec<String> {
    let names = names.iter().filter_map(|name| name.to_str()).filter(|name| !owners.contains_key(name));
    // Of Kubernetes, for a service that is named nearly so.
    let is_link = |name: &str| {
        env(name)
            .and_then(|value| value.into_string().ok())
            .is_some_and(|text| is_address_with_protocol(&text))
    };
    let of_environment =
        names.filter(|name| !is_link(name)).map(|name| (name, "in the environment".to_owned()));
    let of_file = file.others.iter().map(|(name, line)| (name.as_str(), format!("line {line} of .env")));
    let is_set = |name: &str| env(name).is_some_and(|value| !value.is_empty()) || file.get(name).is_some();
    let warnings = of_environment.chain(of_file).filter_map(|(name, place)| {
        let meant = misspelt::meant(name, owners.keys().copied()).filter(|meant| !is_set(meant))?;
        Some(format!("{name} ({place}) is no setting, and is ignored: is {meant} meant?"))
    });
    warnings.collect()
}

/// The variables that the gateway reads.
fn owners() -> HashMap<&'static str, Owner> {
    let of_settings = settings().flat_map(|setting| {
        let owner = if matches!(setting.unit, Unit::Secret(_)) { Owner::Secret } else { Owner::Gateway };
        let aliases = setting.aliases.iter().map(|alias| alias.env);
        std::iter::once(setting.env).chain(aliases).map(move |name| (name, owner))
    });
    let of_redis = [REDIS_ENABLED, REDIS_HOST, REDIS_PORT].map(|name| (name, Owner::Gateway));
    of_settings.chain(of_redis).chain([(REDIS_PASSWORD, Owner::Secret)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_services_are_distinguished_from_ports_and_mistakes() {
        for link in
            ["tcp://10.0.0.1:80", "udp://10.0.0.1:53", "sctp://[fd00::1]:9", "tcp://redis.default:6379"]
        {
            assert!(is_address_with_protocol(link), "{link}");
        }
        for other in [
            "8080",
            "tcp://",
            "tcp://:80",
            "tcp://a:b",
            "tcp://a b:1",
            "http://h:80",
            "tcp:10.0.0.1:80",
            "tcp://h:99999",
        ] {
            assert!(!is_address_with_protocol(other), "{other}");
        }
    }
}
