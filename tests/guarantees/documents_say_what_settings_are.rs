//! The documents, `--help` and `.env.example` agree with the rows of the settings.

use ws_gateway::config::{Action, ConfigError, env_example, settings, settings_markdown};

use crate::support::settings::resolve;

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

/// The block of `docs/security.md` can be copied as it stands, but for files and the token, which are the place's own.
#[test]
fn the_settings_for_the_internet_are_settings() {
    let page = include_str!("../../docs/security.md");
    let section = page.split("## A gateway on the internet").nth(1).expect("the section");
    let block = section.lines().skip_while(|line| !line.starts_with("    "));
    let lines = block.take_while(|line| line.starts_with("    ")).map(str::trim);
    let pairs: Vec<_> = lines.map(|line| line.split_once('=').expect("NAME=value")).collect();
    for name in ["MESSAGE_RATE_LIMIT", "MAX_CONNECTIONS_PER_IP", "CONNECTION_RATE_LIMIT", "OPS_TOKEN"] {
        assert!(pairs.iter().any(|(found, _)| *found == name), "{name} in {pairs:?}");
    }
    assert!(pairs.contains(&("MESSAGE_RATE_LIMIT", "100/1m")));
    let own = pairs.iter().filter(|(name, _)| !name.starts_with("TLS_"));
    let env: Vec<_> =
        own.map(|(name, value)| (*name, if *name == "OPS_TOKEN" { "a-token" } else { *value })).collect();
    let config = resolve(&[], &env).expect("a configuration");
    assert_eq!(config.warnings, [""; 0]);
    for (name, value) in env.iter().filter(|(name, _)| *name != "OPS_TOKEN") {
        assert!(config.show().contains(&format!("{name}={value}\n")), "{name} is a setting");
    }
}
