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
