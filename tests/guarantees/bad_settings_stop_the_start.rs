//! A value that isn't allowed stops the start with one line that names the setting, the value and what is allowed. A value
//! that is only unusual gets a warning.

use std::path::PathBuf;
use std::time::Duration;

use crate::support::settings::{refusal, resolve};
use crate::support::tls::Identity;

#[test]
fn a_bad_value_is_one_line_with_name_value_and_what_is_allowed() {
    for (name, value, allowed) in [
        ("WS_PORT", "65536", "from 1 to 65535, or 0 (any free port)"),
        ("WS_PORT", "http", "a whole number"),
        ("WS_HOST", "example.com", "IPv4 or IPv6"),
        ("SERVER_ID", "a b", "1 to 64"),
        ("MAX_SYMBOLS_PER_CLIENT", "0", "from 1 to"),
        ("MAX_CONNECTIONS", "-1", "from 1 to"),
        ("MAX_MESSAGE_SIZE", "1g", "from 512 to 16MiB"),
        ("PING_INTERVAL", "soon", "30s"),
        ("DRAIN_TIMEOUT", "1h", "to 10m"),
        ("SLOW_CLIENT_POLICY", "drop", "skip or conflate or disconnect"),
        ("MAX_EVENT_BYTES", "2MiB", "to 1MiB"),
        ("CHANNEL_PREFIX", "chan*", "without *"),
        ("LOG_FORMAT", "xml", "text or json"),
        ("RUST_LOG", "ws=loud", "a level (error, warn, info, debug, trace, off)"),
        ("RUST_LOG", "infos", "a level (error, warn, info, debug, trace, off)"),
        ("ALLOWED_ORIGINS", "example.com", "https://app.example.com"),
        ("PUBLIC_HOSTS", "https://prices.example.com", "prices.example.com"),
        ("DEMO", "maybe", "true or false"),
        ("SHARDS", "2\n3", "from 1 to"),
        ("JWKS_URL", "http://id.example/keys", "with https, or with http on this machine"),
        ("JWKS_URL", "id.example/keys", "an address"),
        ("FEED_DELAYS", "1m,2m,3m,4m,5m", "1 to 4 times"),
        ("REDIS_URL", "http://h", "redis://"),
        ("REDIS_URL", "redis://h/notadb", "rediss://"),
    ] {
        let line = refusal(&[], &[(name, value)]);
        assert!(line.starts_with(&format!("{name}: {value:?} is not allowed")), "{line}");
        assert!(line.contains(allowed), "{line}");
    }
    let line = refusal(&["--shards", "many"], &[("SHARDS", "2")]);
    assert!(line.starts_with("--shards: \"many\""), "{line}");
}

#[test]
fn secrets_are_not_shown_where_they_are_refused() {
    for (name, value) in [
        ("JWT_SECRET_KEY", "thirty-one bytes are not enough"),
        ("OPS_TOKEN", "a token with blanks"),
        ("JWKS_URL", "https://user:s3cret@id.example/keys"),
        ("REDIS_URL", "redis://user:s3cret@h/notadb"),
    ] {
        let line = refusal(&[], &[(name, value)]);
        assert!(line.starts_with(&format!("{name}: ")) && line.lines().count() == 1, "{line}");
        assert!(!line.contains(value) && !line.contains("s3cret"), "{line}");
    }
}

#[test]
fn settings_that_contradict_each_other_stop_the_start_or_warn() {
    let line = refusal(&[], &[("MAX_OUTBOX_BYTES", "64k")]);
    assert!(line.starts_with("MAX_OUTBOX_BYTES: 64KiB") && line.contains("MAX_EVENT_BYTES"), "{line}");
    let line = refusal(&[], &[("MAX_BACKLOG_BYTES", "1m")]);
    assert!(line.starts_with("MAX_BACKLOG_BYTES: 1MiB") && line.contains("MAX_OUTBOX_BYTES"), "{line}");

    let line = refusal(&[], &[("JWT_ISSUER", "https://id.example/?tenant=1")]);
    assert!(
        line.starts_with("JWT_ISSUER: \"https://id.example/?tenant=1\"") && line.contains("no query"),
        "{line}"
    );

    for (name, value) in [("JWKS_URL", "https://id.example/keys"), ("JWT_ISSUER", "https://id.example")] {
        let config = resolve(&[], &[(name, value)]).unwrap();
        assert!(config.warnings[0].contains("JWT_AUDIENCE isn't set"), "{:?}", config.warnings);
        assert!(resolve(&[], &[(name, value), ("JWT_AUDIENCE", "prices")]).unwrap().warnings.is_empty());
    }
    let config = resolve(&[], &[("JWT_ISSUER", "id.example")]).unwrap();
    assert!(config.warnings[0].contains("change nothing in an open gateway"), "{:?}", config.warnings);
    let config = resolve(&[], &[("PING_INTERVAL", "1000")]).unwrap();
    assert_eq!(config.delivery.pong_timeout, Duration::from_secs(1));
    assert!(config.warnings[0].contains("PONG_TIMEOUT"), "{:?}", config.warnings);
    let config = resolve(&[], &[("MAX_CONNECTIONS", "200000")]).unwrap();
    assert!(config.warnings[0].contains("open-file limit (100000)"), "{:?}", config.warnings);
    let config = resolve(&[], &[("EMBEDDED_REDIS_HOST", "0.0.0.0")]).unwrap();
    assert!(config.warnings[0].contains("EMBEDDED_REDIS_PASSWORD"), "{:?}", config.warnings);
}

#[test]
fn certificates_and_keys_that_are_of_no_use_stop_the_start() {
    let (identity, other) = (Identity::new(), Identity::new());
    let path = |path: PathBuf| path.display().to_string();
    let (certificate, key, other_key) =
        (path(identity.certificate()), path(identity.key()), path(other.key()));
    let judge = |certificate_setting: &str, key_setting: &str| {
        let line = refusal(&[], &[(certificate_setting, &certificate)]);
        assert_eq!(
            line,
            format!(
                "{certificate_setting}: {certificate:?} is not allowed; allowed: together with {key_setting}"
            )
        );
        let line = refusal(&[], &[(key_setting, &key)]);
        assert_eq!(
            line,
            format!("{key_setting}: {key:?} is not allowed; allowed: together with {certificate_setting}")
        );
        let line = refusal(&[], &[(certificate_setting, &certificate), (key_setting, &other_key)]);
        assert_eq!(
            line,
            format!(
                "{key_setting}: {other_key:?}: it is not the key of the certificate in {certificate_setting}, which is {certificate:?}"
            )
        );
        let line = refusal(&[], &[(certificate_setting, "/nowhere.pem"), (key_setting, &key)]);
        assert!(
            line.starts_with(&format!("{certificate_setting}: \"/nowhere.pem\": it can't be read")),
            "{line}"
        );
        // The health check needs neither.
        resolve(&["--healthcheck"], &[(certificate_setting, "/nowhere.pem"), (key_setting, &key)]).unwrap();
        resolve(&[], &[(certificate_setting, &certificate), (key_setting, &key)]).unwrap();
    };
    judge("TLS_CERT_FILE", "TLS_KEY_FILE");
    judge("REDIS_CERT_FILE", "REDIS_KEY_FILE");

    let redis = [("REDIS_CERT_FILE", &certificate[..]), ("REDIS_KEY_FILE", &key)];
    let unused = resolve(&[], &redis).unwrap();
    assert!(unused.warnings[0].contains("REDIS_CERT_FILE is not used"), "{:?}", unused.warnings);
    let used = resolve(&["--redis-url", "rediss://redis"], &redis).unwrap();
    assert!(used.warnings.is_empty(), "{:?}", used.warnings);
}
