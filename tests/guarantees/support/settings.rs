//! Configurations as the command line and the environment make them.

use std::ffi::OsString;

use ws_gateway::config::{Config, ConfigError};

/// The configuration of these flags and variables, and nothing else.
pub(crate) fn resolve(args: &[&str], env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    Config::resolve([&["ws-gateway"], args].concat(), env, None, 100_000)
}

/// Why there is none, which is one line.
pub(crate) fn refusal(args: &[&str], env: &[(&str, &str)]) -> String {
    let line = resolve(args, env).expect_err("a refusal").to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}
