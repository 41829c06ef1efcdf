//! The one table of settings. The command line, the environment, the parser's bounds, `--help`, the README's table
//! and `.env.example` all come from it.

use std::fmt::Write as _;
use std::time::Duration;

use super::parse::{self, show_bytes, show_time_ms};

pub use self::table::SETTINGS;
pub(super) use self::table::name;

mod table;

/// One setting: an environment variable and a flag of the same meaning.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable.
    pub env: &'static str,
    /// The flag, without its dashes.
    pub flag: &'static str,
    /// What its values are.
    pub unit: Unit,
    /// What it is when it isn't set.
    pub preset: Preset,
    /// What it does, in a sentence or two.
    pub help: &'static str,
}

/// What the values of a setting are, and which are allowed.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// A whole number.
    Number {
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// A size: `65536`, `64k`, `64KiB`, `4MiB`, `4mb`; k, M and G are powers of 1024.
    Bytes {
        /// Least.
        min: usize,
        /// Most.
        max: usize,
    },
    /// A time: `500` (milliseconds), `500ms`, `30s`, `5m`, `1h`.
    Time {
        /// Least, in milliseconds.
        min_ms: u64,
        /// Most, in milliseconds.
        max_ms: u64,
    },
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// Text; says what is allowed.
    Text(&'static str),
    /// Text that is never printed.
    Secret(&'static str),
    /// On or off; as a flag it needs no value.
    Switch,
}

/// What a setting is when it isn't set.
#[derive(Debug, Clone, Copy)]
pub enum Preset {
    /// A number, in the setting's unit.
    Is(u64),
    /// A word or text.
    Word(&'static str),
    /// Found out at the start; says how.
    Computed(&'static str),
}

impl Unit {
    /// What is allowed, as a phrase for error messages.
    pub fn allowed(&self) -> String {
        match *self {
            Self::Number { min, max } => format!("a whole number from {min} to {max}"),
            Self::Bytes { min, max } => {
                format!(
                    "a size from {} to {}, such as 65536, 64KiB or 4MiB",
                    show_bytes(min),
                    show_bytes(max)
                )
            }
            Self::Time { min_ms, max_ms } => format!(
                "a time from {} to {}, such as 500 (milliseconds), 30s or 5m",
                show_time_ms(min_ms),
                show_time_ms(max_ms)
            ),
            Self::Choice(words) => words.join(" or "),
            Self::Text(what) | Self::Secret(what) => what.to_owned(),
            Self::Switch => "true or false".to_owned(),
        }
    }

    /// Shows a number that is in this unit.
    pub fn show(&self, value: u64) -> String {
        match self {
            Self::Bytes { .. } => show_bytes(value as usize),
            Self::Time { .. } => show_time_ms(value),
            _ => value.to_string(),
        }
    }

    /// The word that stands for a value in `--help`.
    pub(super) fn placeholder(&self) -> &'static str {
        match self {
            Self::Number { .. } => "N",
            Self::Bytes { .. } => "SIZE",
            Self::Time { .. } => "TIME",
            Self::Choice(_) => "WORD",
            Self::Text(_) | Self::Secret(_) => "TEXT",
            Self::Switch => "BOOL",
        }
    }
}

impl Setting {
    /// The default as text: a value that may be written back, or how it is found out.
    pub fn default_text(&self) -> String {
        match self.preset {
            Preset::Is(value) => self.unit.show(value),
            Preset::Word(text) | Preset::Computed(text) => text.to_owned(),
        }
    }

    /// A number in this setting's unit and bounds.
    pub(super) fn number<N: TryFrom<u64>>(&self, text: &str) -> Option<N> {
        let (value, min, max) = match self.unit {
            Unit::Number { min, max } => (parse::number(text)?, min, max),
            Unit::Bytes { min, max } => (parse::bytes(text)?, min as u64, max as u64),
            Unit::Time { min_ms, max_ms } => (parse::time_ms(text)?, min_ms, max_ms),
            Unit::Choice(_) | Unit::Text(_) | Unit::Secret(_) | Unit::Switch => return None,
        };
        if !(min..=max).contains(&value) {
            return None;
        }
        N::try_from(value).ok()
    }

    /// A time in this setting's bounds.
    pub(super) fn time(&self, text: &str) -> Option<Duration> {
        self.number(text).map(Duration::from_millis)
    }
}

/// The README's table of settings (GitHub Markdown), without a heading.
pub fn settings_markdown() -> String {
    let mut out = String::from("| Variable | Flag | Default | Meaning |\n|---|---|---|---|\n");
    for setting in SETTINGS {
        let default = match setting.preset {
            Preset::Computed(text) => text.to_owned(),
            Preset::Is(_) | Preset::Word(_) => format!("`{}`", setting.default_text()),
        };
        let allowed = match setting.unit {
            Unit::Choice(words) => format!(" (`{}`)", words.join("`, `")),
            _ => String::new(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| `{}` | `--{}` | {default} | {}{allowed} |",
            setting.env,
            setting.flag,
            setting.help.replace('|', "\\|")
        );
    }
    out
}

/// `.env.example`: every variable, commented out, with its default and what it does.
pub fn env_example() -> String {
    let mut out = String::from(
        "# Settings of ws-gateway: copy to .env and uncomment what you change. Generated; see `ws-gateway --help`.\n\
         # A time is in milliseconds (500) or has a unit (500ms, 30s, 5m, 1h); sizes are bytes or 64KiB, 4MiB.\n\
         # The process' environment wins over .env, flags win over both.\n",
    );
    for setting in SETTINGS {
        // Writing to a String cannot fail.
        let _ = write!(out, "\n# {}\n", setting.help);
        let _ = match setting.preset {
            Preset::Is(_) | Preset::Word(_) => writeln!(out, "#{}={}", setting.env, setting.default_text()),
            Preset::Computed(how) => writeln!(out, "# Default: {how}.\n#{}=", setting.env),
        };
    }
    out
}
