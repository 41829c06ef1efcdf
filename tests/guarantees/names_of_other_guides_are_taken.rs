//! Settings can be set by their names in guides to other gateways: each alias means its setting, and our own name wins.

use std::collections::HashSet;

use ws_gateway::config::{self, Config, ConfigError};

use crate::support::settings;

fn resolve(env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    settings::resolve(&["--server-id", "same"], env)
}

fn refusal(env: &[(&str, &str)]) -> String {
    settings::refusal(&[], env)
}

/// Alias, value; setting, value: the same, and another one.
const ALIASES: [(&str, &str, &str, &str, &str); 9] = [
    ("WEBSOCKET_PORT", "9000", "WS_PORT", "9000", "9001"),
    ("MAX_FRAME_SIZE", "128KiB", "MAX_MESSAGE_SIZE", "128KiB", "256KiB"),
    ("FRAME_WARN_THRESHOLD", "16KiB", "MESSAGE_WARN_SIZE", "16KiB", "0"),
    ("WS_MAX_GLOBAL_CONNECTIONS", "7", "MAX_CONNECTIONS", "7", "8"),
    ("WS_MAX_CONNECTIONS_PER_USER", "7", "MAX_CONNECTIONS_PER_USER", "7", "8"),
    ("WS_MAX_ROOMS_PER_USER", "7", "MAX_ROOMS_PER_USER", "7", "8"),
    (
        "REALTIME_CORS_ORIGIN",
        "http://localhost:3000",
        "ALLOWED_ORIGINS",
        "http://localhost:3000",
        "https://a.example",
    ),
    ("MAX_MESSAGES_PER_SECOND", "5", "MESSAGE_RATE_LIMIT", "5/1s", "100/1m"),
    ("WS_RATE_LIMIT_EVENTS_PER_MINUTE", "60", "MESSAGE_RATE_LIMIT", "60/1m", "0"),
];

#[test]
fn each_means_its_setting_and_our_own_name_wins() {
    for (alias, value, own, same, other) in ALIASES {
        let by_own_name = resolve(&[(own, same)]).unwrap().show();
        assert!(by_own_name.contains(&format!("{own}={same}\n")), "{by_own_name}");
        assert_eq!(resolve(&[(alias, value)]).unwrap().show(), by_own_name, "{alias}");
        let both = resolve(&[(alias, value), (own, other)]).unwrap().show();
        assert_eq!(both, resolve(&[(own, other)]).unwrap().show(), "{own} wins");
    }
    let known: Vec<_> =
        config::settings().flat_map(|setting| setting.aliases).map(|alias| alias.env).collect();
    let tried: HashSet<_> = ALIASES.into_iter().map(|(alias, ..)| alias).collect();
    assert_eq!(known.iter().copied().collect::<HashSet<_>>(), tried);
    assert_eq!(known.len(), tried.len(), "no name means two settings");
}

#[test]
fn an_error_names_the_variable_that_was_used() {
    let line = refusal(&[("WEBSOCKET_PORT", "http")]);
    assert!(line.starts_with("WEBSOCKET_PORT: \"http\" is not allowed; allowed: a whole number"), "{line}");
    for rate in ["100/1m", "many"] {
        let line = refusal(&[("MAX_MESSAGES_PER_SECOND", rate)]);
        let expected = format!("MAX_MESSAGES_PER_SECOND: {rate:?} is not allowed; allowed: a whole number");
        assert!(line.starts_with(&expected), "{line}");
    }
    assert!(resolve(&[("MAX_MESSAGES_PER_SECOND", "0")]).unwrap().show().contains("MESSAGE_RATE_LIMIT=0\n"));
}

#[test]
fn redis_by_host_port_and_password() {
    let upstream = |env: &[(&str, &str)]| resolve(env).unwrap().upstream;
    assert_eq!(upstream(&[("REDIS_HOST", "redis")]).to_string(), "redis://redis:6379/0");
    assert_eq!(
        upstream(&[("REDIS_HOST", "::1"), ("REDIS_PORT", "7000")]).to_string(),
        "redis://[::1]:7000/0"
    );

    let password = "p@ss/w:rd#$%";
    let redis = upstream(&[("REDIS_HOST", "redis"), ("REDIS_PASSWORD", password)]).redis.unwrap();
    assert_eq!(
        (redis.redis_settings().password(), redis.redis_settings().username()),
        (Some(password), None)
    );

    let url = ("REDIS_URL", "redis://other:1/2");
    let redis = upstream(&[url, ("REDIS_HOST", "redis"), ("REDIS_PORT", "9"), ("REDIS_PASSWORD", "x")])
        .redis
        .unwrap();
    assert_eq!(redis.addr().to_string(), "other:1");
    assert_eq!(
        redis.redis_settings().password(),
        None,
        "what belongs to REDIS_HOST isn't mixed with REDIS_URL"
    );
    assert!(
        upstream(&[("REDIS_PORT", "7000"), ("REDIS_PASSWORD", "x")]).is_embedded(),
        "without a host they say nothing"
    );

    for (host, port) in
        [("redis://redis", "1"), ("redis:6379", "1"), ("a b", "1"), ("redis", "0"), ("redis", "65536")]
    {
        let line = refusal(&[("REDIS_HOST", host), ("REDIS_PORT", port), ("REDIS_PASSWORD", "hunter2")]);
        assert!(line.starts_with("REDIS_HOST: ") || line.starts_with("REDIS_PORT: "), "{line}");
        assert_eq!((line.lines().count(), line.contains("hunter2")), (1, false), "{line}");
    }
}

#[test]
fn redis_switched_off_is_the_embedded_broker() {
    let url = ("REDIS_URL", "redis://redis:6379/0");
    for env in [&[("REDIS_ENABLED", "false"), url][..], &[("REDIS_ENABLED", "0"), ("REDIS_HOST", "redis")]] {
        assert!(resolve(env).unwrap().upstream.is_embedded(), "{env:?}");
    }
    let config = resolve(&[("REDIS_ENABLED", "false"), url]).unwrap();
    assert!(
        config.warnings[0].starts_with("REDIS_ENABLED=false: REDIS_URL is not used"),
        "{:?}",
        config.warnings
    );
    assert!(!resolve(&[("REDIS_ENABLED", "true"), url]).unwrap().upstream.is_embedded());
    let by_flag = settings::resolve(&["--redis-url", "redis://flag"], &[("REDIS_ENABLED", "false")]).unwrap();
    assert_eq!(by_flag.upstream.to_string(), "redis://flag:6379/0", "a flag wins over every variable");

    let config = resolve(&[("REDIS_ENABLED", "true")]).unwrap();
    assert!(config.upstream.is_embedded());
    assert!(config.warnings[0].starts_with("REDIS_ENABLED=true has no effect"), "{:?}", config.warnings);
    assert!(refusal(&[("REDIS_ENABLED", "maybe")]).contains("allowed: true or false"));
}
