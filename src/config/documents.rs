//! Writes the settings' documents: the tables of `docs/configuration.md`, and `.env.example`.

use std::fmt::Write as _;

use super::setting::{Preset, Setting, Unit};
use super::{GROUPS, settings};

/// The tables of `docs/configuration.md` (GitHub Markdown): one for each group, under its heading.
pub fn settings_markdown() -> String {
    let mut out = String::new();
    for group in GROUPS {
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "## {}\n\n| Variable | Flag | Default | 0 means | Meaning |\n|---|---|---|---|---|\n",
            group.title
        );
        for setting in group.settings {
            out.push_str(&row(setting));
        }
        out.push('\n');
    }
    out
}

fn row(setting: &Setting) -> String {
    let default = match setting.preset {
        Preset::Computed(how) => how.to_owned(),
        Preset::Fixed => format!("`{}`", setting.default_text()),
    };
    let names: Vec<_> = setting.aliases.iter().map(|alias| format!("`{}`", alias.env)).collect();
    let aliases = if names.is_empty() { String::new() } else { format!(" Also: {}.", names.join(", ")) };
    let words = match setting.unit {
        Unit::Choice(words) => format!(" (`{}`)", words.join("`, `")),
        _ => String::new(),
    };
    format!(
        "| `{}` | `--{}` | {default} | {} | {}{words}{aliases} |\n",
        setting.env,
        setting.flag,
        setting.zero.word(),
        setting.help.replace('|', "\\|")
    )
}

/// `.env.example`: every variable, commented out, with its help and its default.
pub fn env_example() -> String {
    let mut out = String::from(
        "# Settings of ws-gateway: copy to .env and uncomment what you change. Generated; see `ws-gateway --help`.\n\
         # A time is in milliseconds (500) or has a unit (500ms, 30s, 5m, 1h); sizes are bytes or 64KiB, 4MiB;\n\
         # a rate is a number in a time (100/1m).\n\
         # The process' environment wins over .env, flags win over both.\n",
    );
    for setting in settings() {
        // Writing to a String cannot fail.
        let _ = write!(out, "\n# {}\n", setting.help);
        let _ = match setting.preset {
            Preset::Fixed => writeln!(out, "#{}={}", setting.env, setting.default_text()),
            Preset::Computed(how) => writeln!(out, "# Default: {how}.\n#{}=", setting.env),
        };
    }
    out
}
