//! The colours: for dark terminals, for light ones, and none. The background is the terminal's own.

use clap::ValueEnum;
use ratatui::style::{Color, Modifier, Style};

/// Which colours to take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// By `NO_COLOR` and `COLORFGBG`; without them for a dark terminal.
    #[default]
    Auto,
    /// For a dark terminal.
    Dark,
    /// For a light terminal.
    Light,
    /// None.
    Mono,
}

/// Styles by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// For the line of keys.
    pub name: &'static str,
    /// Titles, headings, what is not news.
    pub dim: Style,
    /// What rose.
    pub up: Style,
    /// What fell.
    pub down: Style,
    /// What is well.
    pub good: Style,
    /// What needs attention.
    pub warn: Style,
    /// What is broken.
    pub bad: Style,
    /// Keys, names.
    pub accent: Style,
    /// The symbol under the cursor.
    pub selected: Style,
}

const fn colour(index: u8) -> Style {
    Style::new().fg(Color::Indexed(index))
}

impl Theme {
    /// For dark terminals.
    pub const DARK: Self = Self {
        name: "dark",
        dim: colour(245),
        up: colour(78),
        down: colour(204),
        good: colour(78),
        warn: colour(221),
        bad: Style::new().fg(Color::Indexed(204)).add_modifier(Modifier::BOLD),
        accent: colour(75),
        selected: Style::new().bg(Color::Indexed(237)).add_modifier(Modifier::BOLD),
    };

    /// For light terminals.
    pub const LIGHT: Self = Self {
        name: "light",
        dim: colour(242),
        up: colour(28),
        down: colour(161),
        good: colour(28),
        warn: colour(130),
        bad: Style::new().fg(Color::Indexed(161)).add_modifier(Modifier::BOLD),
        accent: colour(25),
        selected: Style::new().bg(Color::Indexed(254)).add_modifier(Modifier::BOLD),
    };

    /// Without colours; words and arrows say all of it anyway.
    pub const MONO: Self = Self {
        name: "none",
        dim: Style::new().add_modifier(Modifier::DIM),
        up: Style::new(),
        down: Style::new(),
        good: Style::new(),
        warn: Style::new().add_modifier(Modifier::BOLD),
        bad: Style::new().add_modifier(Modifier::BOLD),
        accent: Style::new().add_modifier(Modifier::BOLD),
        selected: Style::new().add_modifier(Modifier::REVERSED),
    };

    /// What was chosen, or what the environment says: `no_color` as <https://no-color.org> has it, `colorfgbg` as some terminals set
    /// it, `15;0` for white on black.
    pub fn of(choice: Choice, no_color: bool, colorfgbg: Option<&str>) -> Self {
        let background = || colorfgbg?.rsplit(';').next()?.parse::<u8>().ok();
        match choice {
            Choice::Dark => Self::DARK,
            Choice::Light => Self::LIGHT,
            Choice::Mono => Self::MONO,
            Choice::Auto if no_color => Self::MONO,
            Choice::Auto if matches!(background(), Some(7 | 9..=15)) => Self::LIGHT,
            Choice::Auto => Self::DARK,
        }
    }

    /// The next of the three.
    pub fn next(self) -> Self {
        match self.name {
            "dark" => Self::LIGHT,
            "light" => Self::MONO,
            _ => Self::DARK,
        }
    }

    /// For a move.
    pub fn moved(&self, direction: i8) -> Style {
        match direction {
            1.. => self.up,
            0 => Style::new(),
            ..0 => self.down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_unless_the_person_does() {
        let auto = |no_color, colorfgbg| Theme::of(Choice::Auto, no_color, colorfgbg).name;
        assert_eq!((auto(false, None), auto(true, Some("0;15"))), ("dark", "none"));
        assert_eq!((auto(false, Some("0;15")), auto(false, Some("0;default;15"))), ("light", "light"));
        assert_eq!((auto(false, Some("15;0")), auto(false, Some("x"))), ("dark", "dark"));
        assert_eq!(Theme::of(Choice::Light, true, None), Theme::LIGHT);
        assert_eq!(Theme::DARK.next().next().next(), Theme::DARK);
    }
}
