//! Settings apply as documented: a flag before a variable, the default where nothing is set; and the printed values can be
//! set again.

use std::time::Duration;

use ws_gateway::config::{Action, LogFormat, Preset, SlowClientPolicy, settings};

use crate::support::settings::resolve;

#[test]
fn nothing_set_is_the_documented_default() {
    let config = resolve(&[], &[]).unwrap();
    assert_eq!(config.action, Action::Run);
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.upstream.to_string(), "embedded broker on 127.0.0.1:6379");
    assert_eq!(config.clients.max_symbols_per_client, 5);
    assert_eq!(config.delivery.ping_interval, Duration::from_secs(30));
    assert_eq!(config.delivery.pong_timeout, Duration::from_secs(5));
    assert_eq!(config.clients.max_message_bytes, 65_536);
    assert_eq!(config.delivery.slow_client_policy, SlowClientPolicy::Skip);
    assert_eq!(config.warnings, [""; 0]);
    let id = config.server.server_id.strip_prefix("ws-gateway-").unwrap();
    assert!(id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
}

/// The table's defaults, written back as values, change nothing: table, parser and `Config::default` agree.
#[test]
fn the_tables_defaults_are_the_configs() {
    let defaults: Vec<(&str, String)> = settings()
        .filter(|setting| !matches!(setting.preset, Preset::Computed(_)))
        .map(|setting| (setting.env, setting.default_text()))
        .collect();
    let env: Vec<(&str, &str)> = defaults.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let id = ("SERVER_ID", "same");
    let written = resolve(&[], &[env.as_slice(), &[id]].concat()).unwrap();
    let unset = resolve(&[], &[id]).unwrap();
    assert_eq!(written.show(), unset.show());
    assert_eq!(format!("{written:?}"), format!("{unset:?}"));
}

/// Every setting of the table is shown, and what is shown (but for secrets) is accepted and means the same.
#[test]
fn what_print_config_prints_is_a_configuration() {
    let config = resolve(
        &[],
        &[
            ("WS_HOST", "::"),
            ("MAX_OUTBOX_BYTES", "3m"),
            ("ALLOWED_ORIGINS", "https://A.example:443"),
            ("SHARDS", "3"),
        ],
    )
    .unwrap();
    let shown = config.show();
    let pairs: Vec<(&str, &str)> = shown.lines().map(|line| line.split_once('=').unwrap()).collect();
    assert_eq!(
        pairs.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        settings().map(|s| s.env).collect::<Vec<_>>()
    );
    let empty: Vec<&str> =
        pairs.iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| *name).collect();
    assert_eq!(
        empty,
        [
            "REDIS_URL",
            "REDIS_CA_FILE",
            "REDIS_CERT_FILE",
            "REDIS_KEY_FILE",
            "EMBEDDED_REDIS_PASSWORD",
            "PUBLIC_HOSTS",
            "TLS_CERT_FILE",
            "TLS_KEY_FILE",
            "TLS_CLIENT_CA_FILE",
            "TRUSTED_PROXIES",
            "OPS_PORT",
            "OPS_TOKEN",
            "JWT_SECRET_KEY",
            "JWT_PUBLIC_KEY_FILE",
            "JWKS_URL",
            "JWKS_CA_FILE",
            "API_KEYS_FILE",
            "JWT_AUDIENCE",
            "JWT_ISSUER",
            "JWT_CLAIMS",
            "FEED_DELAYS",
            "DIALECT_SYMBOL_MAP",
            "LAST_VALUE_KEY"
        ],
        "only what is unset is shown empty"
    );
    assert_eq!(resolve(&[], &pairs).unwrap().show(), shown);
    assert!(shown.contains("ALLOWED_ORIGINS=https://a.example\n"), "{shown}");
}

#[test]
fn a_flag_wins_over_the_environment_and_empty_is_unset() {
    let config = resolve(&["--ws-port", "9000", "--demo"], &[("WS_PORT", "9001"), ("SHARDS", "")]).unwrap();
    assert_eq!(config.server.listen.port(), 9000);
    assert!(config.process.demo);
    let config =
        resolve(&["--ws-port="], &[("WS_PORT", "9001"), ("DEMO", "1"), ("LOG_FORMAT", "json")]).unwrap();
    assert_eq!(config.server.listen.port(), 8080, "an empty flag asks for the default");
    assert!(config.process.demo);
    assert_eq!(config.process.log_format, LogFormat::Json);
    assert!(!resolve(&["--demo=false"], &[("DEMO", "true")]).unwrap().process.demo);
    let symbols = |set: &[(&str, &str)]| resolve(&["--demo"], set).unwrap().clients.max_symbols_per_client;
    assert_eq!(symbols(&[]), 100);
    assert_eq!(symbols(&[("MAX_SYMBOLS_PER_CLIENT", "5")]), 5, "what is set counts");
}

#[test]
fn every_kind_of_redis_url_is_taken() {
    for (url, shown) in [
        ("redis://localhost", "redis://localhost:6379/0"),
        ("redis://u:p@10.0.0.1:7000/2", "redis://10.0.0.1:7000/2"),
        ("rediss://[::1]:6380", "rediss://[::1]:6380/0"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("redis+unix:///run/redis.sock", "unix:///run/redis.sock?db=0"),
    ] {
        let config = resolve(&[], &[("REDIS_URL", url)]).unwrap();
        assert!(!config.upstream.is_embedded());
        assert_eq!(config.upstream.to_string(), shown);
    }
}
