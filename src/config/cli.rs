//! The command line, and the errors of configuration.

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};

use super::sources::{Found, NOT_SHOWN};
use super::units::show_size;
use super::{GROUPS, Setting, Unit, redact_url};
use crate::tls::FileError;

/// What the process has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// Serve.
    #[default]
    Run,
    /// `--healthcheck`: ask the running gateway.
    Healthcheck,
    /// `--check-config`: check the configuration and end.
    CheckConfig,
    /// `--print-config`: print the settings in effect.
    PrintConfig,
    /// `--print-settings-table`: print the tables of `docs/configuration.md`.
    PrintSettingsTable,
    /// `--print-env-example`: print `.env.example`.
    PrintEnvExample,
}

/// The flags that aren't settings: flag, action, help (`None` hides the flag).
const ACTIONS: [(&str, Action, Option<&str>); 5] = [
    (
        "healthcheck",
        Action::Healthcheck,
        Some(
            "Ask the gateway that runs on OPS_PORT, if that is set, or else on WS_PORT for its health and exit 0 or 1",
        ),
    ),
    ("check-config", Action::CheckConfig, Some("Check the configuration and exit")),
    ("print-config", Action::PrintConfig, Some("Print the settings in effect, secrets hidden, and exit")),
    ("print-settings-table", Action::PrintSettingsTable, None),
    ("print-env-example", Action::PrintEnvExample, None),
];

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line asks for help or the version, or has an error.
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
    /// A value can't be read at all.
    #[error("{source_name}: the value can't be read: {reason}")]
    Unreadable {
        /// The flag or the variable.
        source_name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file that a setting names can't be used.
    #[error("{0}")]
    File(#[from] FileError),
}

impl ConfigError {
    /// A value that `setting` doesn't allow.
    pub(super) fn bad_value(found: &Found, setting: &Setting) -> Self {
        let value = match setting.unit {
            _ if ["REDIS_URL", "JWKS_URL"].contains(&setting.env) => format!("{:?}", redact_url(&found.text)),
            Unit::Secret(_) => NOT_SHOWN.to_owned(),
            _ => format!("{:?}", found.text),
        };
        let allowed = setting.allowed_by(found.alias);
        Self::BadValue { source_name: found.source.clone(), value, allowed }
    }

    /// A value that isn't allowed, of a variable that is no setting.
    pub(super) fn not_allowed(found: &Found, allowed: &str) -> Self {
        let value = format!("{:?}", found.text);
        Self::BadValue { source_name: found.source.clone(), value, allowed: allowed.to_owned() }
    }

    /// A value that is no text, or whose quote is not closed.
    pub(super) fn unreadable(source: &str, reason: &'static str) -> Self {
        Self::Unreadable { source_name: source.to_owned(), reason }
    }

    /// A file that is of no use without another one.
    pub(super) fn alone(name: &str, path: &Path, other: &str) -> Self {
        let allowed = format!("together with {other}");
        Self::BadValue { source_name: name.to_owned(), value: format!("{path:?}"), allowed }
    }

    /// A text that doesn't fit the other settings.
    pub(super) fn unfit(name: &str, value: &str, allowed: &str) -> Self {
        Self::BadValue {
            source_name: name.to_owned(),
            value: format!("{value:?}"),
            allowed: allowed.to_owned(),
        }
    }

    /// A size that doesn't fit that of another setting.
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

    /// A setting's flag, if it is given.
    pub(super) fn flag(&self, setting: &Setting) -> Option<&OsString> {
        self.0.get_one(setting.flag)
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
             (64KiB, 4MiB); a rate is a number in a time (100/1m). Flags win over the environment, the environment over .env in the working directory.",
        )
        .next_line_help(true)
        .args(settings)
        .args(actions)
        .group(ArgGroup::new("action").args(ACTIONS.map(|(flag, ..)| flag)))
}
