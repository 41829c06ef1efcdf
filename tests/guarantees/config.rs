//! Configuration: what is set where counts as documented, a bad value stops the start with one line that names it, no
//! secret is ever printed, and the documents say what the table says.

use std::ffi::OsString;
use std::time::Duration;

use ws_gateway::config::{
    Action, Config, ConfigError, LogFormat, SlowClientPolicy, env_example, settings, settings_markdown,
};

const OPEN_FILES: u64 = 100_000;

fn resolve(args: &[&str], env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let args = std::iter::once("ws-gateway").chain(args.iter().copied());
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    Config::resolve(args, env, None, OPEN_FILES)
}

fn refusal(args: &[&str], env: &[(&str, &str)]) -> String {
    let line = resolve(args, env).expect_err("a refusal").to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

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
        .filter(|setting| !matches!(setting.preset, ws_gateway::config::Preset::Computed(_)))
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
        ["REDIS_URL", "REDIS_CA_FILE", "EMBEDDED_REDIS_PASSWORD", "PUBLIC_HOSTS", "LAST_VALUE_KEY"],
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
}

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
fn settings_that_contradict_each_other_stop_the_start_or_warn() {
    let line = refusal(&[], &[("MAX_OUTBOX_BYTES", "64k")]);
    assert!(line.starts_with("MAX_OUTBOX_BYTES: 64KiB") && line.contains("MAX_EVENT_BYTES"), "{line}");
    let line = refusal(&[], &[("MAX_BACKLOG_BYTES", "1m")]);
    assert!(line.starts_with("MAX_BACKLOG_BYTES: 1MiB") && line.contains("MAX_OUTBOX_BYTES"), "{line}");

    let config = resolve(&[], &[("PING_INTERVAL", "1000")]).unwrap();
    assert_eq!(config.delivery.pong_timeout, Duration::from_secs(1));
    assert!(config.warnings[0].contains("PONG_TIMEOUT"), "{:?}", config.warnings);
    let config = resolve(&[], &[("MAX_CONNECTIONS", "200000")]).unwrap();
    assert!(config.warnings[0].contains("open-file limit (100000)"), "{:?}", config.warnings);
    let config = resolve(&[], &[("EMBEDDED_REDIS_HOST", "0.0.0.0")]).unwrap();
    assert!(config.warnings[0].contains("EMBEDDED_REDIS_PASSWORD"), "{:?}", config.warnings);
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

#[test]
fn secrets_are_never_printed() {
    const SECRET: &str = "hunter2";
    let url = format!("redis://{SECRET}:{SECRET}@localhost/1");
    let config = resolve(&[], &[("REDIS_URL", &url)]).unwrap();
    let embedded = resolve(&[], &[("EMBEDDED_REDIS_PASSWORD", SECRET)]).unwrap();
    for text in [config.show(), format!("{config:?}"), embedded.show(), format!("{embedded:?}")] {
        assert!(!text.contains(SECRET), "{text}");
    }
    assert!(embedded.show().contains("EMBEDDED_REDIS_PASSWORD=***"));
    for bad in [
        format!("redis://:{SECRET}@host:port"),
        format!("{SECRET}@h"),
        format!("unix:///s?pass={SECRET}&db=x"),
    ] {
        let line = refusal(&[], &[("REDIS_URL", &bad)]);
        assert!(line.contains("REDIS_URL") && !line.contains(SECRET), "{line}");
    }
}

#[test]
fn actions_help_and_version() {
    for (flag, action) in [
        ("--healthcheck", Action::Healthcheck),
        ("--check-config", Action::CheckConfig),
        ("--print-config", Action::PrintConfig),
        ("--print-settings-table", Action::PrintSettingsTable),
        ("--print-env-example", Action::PrintEnvExample),
    ] {
        assert_eq!(resolve(&[flag], &[]).unwrap().action, action);
    }
    let help = resolve(&["--help"], &[]).unwrap_err().to_string();
    for setting in settings() {
        assert!(
            help.contains(&format!("--{}", setting.flag)) && help.contains(setting.env),
            "{}",
            setting.env
        );
    }
    let version = resolve(&["--version"], &[]).unwrap_err().to_string();
    assert_eq!(version.trim(), format!("ws-gateway {}", env!("CARGO_PKG_VERSION")));
    assert!(matches!(resolve(&["--nonsense"], &[]), Err(ConfigError::CommandLine(_))));
}

#[test]
fn the_documents_say_what_the_table_says() {
    let root = env!("CARGO_MANIFEST_DIR");
    let read = |file: &str| std::fs::read_to_string(format!("{root}/{file}")).unwrap();
    let page = read("docs/configuration.md");
    let (_, rest) = page.split_once("<!-- settings -->\n").expect("the first marker");
    let (tables, _) = rest.split_once("<!-- /settings -->").expect("the second marker");
    assert_eq!(tables.trim(), settings_markdown().trim(), "run scripts/refresh-settings");
    assert_eq!(read(".env.example"), env_example(), "run scripts/refresh-settings");
}
