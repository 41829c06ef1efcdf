//! Variables that Kubernetes sets for its services, such as `WS_PORT=tcp://10.0.0.1:80` for one named `ws`, are no
//! settings: they are ignored with a warning, and the setting's value from elsewhere counts.

use std::ffi::OsString;
use std::path::Path;

use ws_gateway::config::{Config, settings};

const LINK: &str = "tcp://10.96.0.1:80";

fn resolve(env: &[(&str, &str)], file: Option<&Path>) -> Config {
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    Config::resolve(["ws-gateway"], env, file, 100_000).expect("a configuration")
}

#[test]
fn every_variable_of_a_port_can_be_one() {
    let default = resolve(&[("SERVER_ID", "same")], None).show();
    let own = settings().map(|setting| setting.env);
    let aliases = settings().flat_map(|setting| setting.aliases).map(|alias| alias.env);
    let ports: Vec<_> =
        own.chain(aliases).chain(["REDIS_PORT"]).filter(|name| name.ends_with("_PORT")).collect();
    assert_eq!(ports.len(), 5, "{ports:?}");
    for port in ports {
        let config = resolve(&[(port, LINK), ("SERVER_ID", "same")], None);
        assert_eq!(config.show(), default, "{port}");
        let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
        assert!(
            warning.starts_with(&format!("{port}={LINK} is ignored: it is Kubernetes' link")),
            "{warning}"
        );
    }
}

#[test]
fn links_hide_neither_the_file_nor_another_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(".env");
    std::fs::write(&path, "WS_PORT=9000\n").expect("a file");
    assert_eq!(resolve(&[("WS_PORT", LINK)], Some(&path)).server.listen.port(), 9000);
    let config = resolve(&[("WS_PORT", LINK), ("WEBSOCKET_PORT", "9001")], None);
    assert_eq!(config.server.listen.port(), 9001);
    let config = resolve(&[("REDIS_PORT", LINK), ("REDIS_HOST", "redis")], None);
    assert_eq!(config.upstream.to_string(), "redis://redis:6379/0");
}
