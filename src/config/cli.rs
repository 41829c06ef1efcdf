//! The command line and `.env`, and how what is wrong with them is said.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};

use super::units::show_size;
use super::{GROUPS, Setting, Unit, redact_url};

/// What the process was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// Serve.
    #[default]
    Run,
    /// `--healthcheck`: ask the running gateway.
    Healthcheck,
    /// `--check-config`: stop after the configuration was found good.
    CheckConfig,
    /// `--print-config`: print the settings in effect.
    PrintConfig,
    /// `--print-settings-table`: print the tables of `docs/configuration.md`.
    PrintSettingsTable,
    /// `--print-env-example`: print `.env.example`.
    PrintEnvExample,
}

/// The flags that aren't settings: flag, action, help (`None` hides it).
const ACTIONS: [(&str, Action, Option<&str>); 5] = [
    (
        "healthcheck",
        Action::Healthcheck,
        Some("Ask the gateway that runs on WS_PORT for its health and exit 0 or 1"),
    ),
    ("check-config", Action::CheckConfig, Some("Check the configuration and exit")),
    ("print-config", Action::PrintConfig, Some("Print the settings in effect, secrets hidden, and exit")),
    ("print-settings-table", Action::PrintSettingsTable, None),
    ("print-env-example", Action::PrintEnvExample, None),
];

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line asked for help or the version, or isn't understood.
    #[error("{0}")]
    CommandLine(#[from] clap::Error),
    /// A value isn't allowed.
    #[error("{source_name}: {value} is not allowed; allowed: {allowed}")]
    BadValue {
        /// The flag or the variable.
        source_name: String,
        /// The value, quoted and without secrets.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// `.env` exists and can't be read.
    #[error("{path}: {problem}")]
    DotEnv {
        /// The file.
        path: String,
        /// What is wrong with it, without the line's value.
        problem: String,
    },
}

impl ConfigError {
    /// A value outside of what `setting` allows.
    pub(super) fn bad_value(source: &str, setting: &Setting, text: &str) -> Self {
        let value = match setting.unit {
            _ if setting.env == "REDIS_URL" => format!("{:?}", redact_url(text)),
            Unit::Secret(_) => "the value (not shown)".to_owned(),
            _ => format!("{text:?}"),
        };
        Self::BadValue { source_name: source.to_owned(), value, allowed: setting.allowed() }
    }

    /// A size that doesn't go together with another.
    pub(super) fn relation(name: &str, bytes: usize, allowed: String) -> Self {
        Self::BadValue { source_name: name.to_owned(), value: show_size(bytes as u64), allowed }
    }
}

/// The parsed command line.
pub(super) struct CommandLine(ArgMatches);

impl CommandLine {
    pub(super) fn parse<A>(args: impl IntoIterator<Item = A>) -> Result<Self, ConfigError>
    where
        A: Into<OsString> + Clone,
    {
        Ok(Self(command().try_get_matches_from(args)?))
    }

    pub(super) fn action(&self) -> Action {
        let asked = ACTIONS.iter().find(|(flag, ..)| self.0.get_flag(flag));
        asked.map_or(Action::Run, |(_, action, _)| *action)
    }

    /// A setting's text and where it comes from, if it is set. A flag that is given empty asks for the default.
    pub(super) fn value(
        &self,
        setting: &Setting,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Option<(String, String)>, ConfigError> {
        let (source, text) = match (self.0.get_one::<OsString>(setting.flag), env(setting.env)) {
            (Some(flag), _) => (format!("--{}", setting.flag), flag.clone()),
            (None, Some(variable)) => (setting.env.to_owned(), variable),
            (None, None) => return Ok(None),
        };
        match text.into_string() {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => Ok(Some((source, text))),
            Err(bytes) => Err(ConfigError::bad_value(&source, setting, &bytes.to_string_lossy())),
        }
    }
}

fn command() -> Command {
    let settings = GROUPS.into_iter().flat_map(|group| {
        group.settings.iter().map(move |setting| {
            let help =
                format!("{} [env: {}] [default: {}]", setting.help, setting.env, setting.default_text());
            let arg = Arg::new(setting.flag)
                .long(setting.flag)
                .value_name(setting.unit.placeholder())
                .value_parser(clap::value_parser!(OsString))
                .help_heading(group.title)
                .help(help);
            match setting.unit {
                Unit::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
                _ => arg,
            }
        })
    });
    let actions = ACTIONS.iter().map(|(flag, _, help)| {
        let arg = Arg::new(*flag).long(*flag).action(ArgAction::SetTrue).help_heading("Instead of serving");
        match help {
            Some(help) => arg.help(*help),
            None => arg.hide(true),
        }
    });
    Command::new("ws-gateway")
        .args_override_self(true)
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .after_help(
            "A time is in milliseconds (500) or has a unit (500ms, 30s, 5m, 1h); a size is in bytes or has a unit\n\
             (64KiB, 4MiB). Flags win over the environment, the environment over .env in the working directory.",
        )
        .next_line_help(true)
        .args(settings)
        .args(actions)
        .group(ArgGroup::new("action").args(ACTIONS.map(|(flag, ..)| flag)))
}

/// The variables of a `.env` file; none if there is no such file. Of a variable that stands twice the first counts, and
/// empty ones are left out.
pub(super) fn read_dotenv(path: &Path) -> Result<HashMap<String, String>, ConfigError> {
    let wrong = |problem: String| ConfigError::DotEnv { path: path.display().to_string(), problem };
    let entries = match dotenvy::from_path_iter(path) {
        Ok(entries) => entries,
        Err(error) if error.not_found() => return Ok(HashMap::new()),
        Err(error) => return Err(wrong(error.to_string())),
    };
    let mut variables = HashMap::new();
    for entry in entries {
        let (key, value) = entry.map_err(|error| match error {
            // The line may hold a secret: only what stands before `=` is shown.
            dotenvy::Error::LineParse(line, _) => {
                let key = line.split_once('=').map_or("", |(key, _)| key.trim());
                wrong(format!("the line of {key:?} is not NAME=value; quote values with spaces or #"))
            }
            other => wrong(other.to_string()),
        })?;
        if !value.is_empty() {
            variables.entry(key).or_insert(value);
        }
    }
    Ok(variables)
}
