//! A setting's row: its names, its allowed values, and its field in the [`Config`].

use std::num::NonZeroUsize;
use std::time::Duration;

use super::units::{self, Period, show_rate, show_size, show_time};
use super::{Config, values};
use crate::limits::{RATE_COUNT_MAX, RATE_PER_MIN, TIME_MAX_MS};
use crate::rate::Rate;

/// One setting: an environment variable and a flag of the same meaning.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable.
    pub env: &'static str,
    /// The flag, without its dashes.
    pub flag: &'static str,
    /// The variable's names in guides to other gateways; `env` wins over them.
    pub aliases: &'static [Alias],
    /// The kind of its values, and which are allowed.
    pub unit: Unit,
    /// What a value of 0 means.
    pub zero: Zero,
    /// Its default.
    pub preset: Preset,
    /// What it does, in a sentence or two.
    pub help: &'static str,
    /// Writes a value into its field; `None` if it isn't allowed.
    pub(super) set: fn(&mut Config, &Given<'_>) -> Option<()>,
    /// The value in effect, as text that may be printed and, unless it is a secret, be read again.
    pub(super) show: fn(&Config, &Unit) -> String,
}

/// Another name of a variable.
#[derive(Debug)]
pub struct Alias {
    /// The environment variable.
    pub env: &'static str,
    /// For a rate whose period is part of the name: the period. The variable's values are whole numbers then.
    pub per: Option<&'static str>,
}

/// Settings that belong together: those of one field of [`Config`].
#[derive(Debug)]
pub struct Group {
    /// Their heading in the documents.
    pub title: &'static str,
    /// The settings, in the order of the documents.
    pub settings: &'static [Setting],
}

/// The kind of a setting's values, and which are allowed; [`Zero`] says whether 0 is.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// A whole number.
    Number {
        /// Least, but for 0.
        min: u64,
        /// Most.
        max: u64,
    },
    /// A size: `65536`, `64k`, `64KiB`, `4MiB`, `4mb`; k, M and G are powers of 1024.
    Bytes {
        /// Least, but for 0.
        min: usize,
        /// Most.
        max: usize,
    },
    /// A time: `500` (milliseconds), `500ms`, `30s`, `5m`, `1h`.
    Time {
        /// Least in milliseconds, but for 0.
        min_ms: u64,
        /// Most, in milliseconds.
        max_ms: u64,
    },
    /// A number of times in a period: `100/1m`.
    Rate {
        /// The period of a number alone.
        bare_per: Duration,
    },
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// Text, with a phrase that says what is allowed.
    Text(&'static str),
    /// Text that is never printed, with a phrase that says what is allowed.
    Secret(&'static str),
    /// On or off; as a flag it needs no value.
    Switch,
}

/// What a value of 0 means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zero {
    /// The setting's feature is off. Its field is an `Option` of a value above zero.
    Off,
    /// Zero: no time, no bytes.
    Zero,
    /// Any port that is free.
    AnyFreePort,
    /// The value isn't allowed.
    Refused,
    /// `false`.
    False,
    /// A text like any other.
    Text,
}

/// A setting's default.
#[derive(Debug, Clone, Copy)]
pub enum Preset {
    /// The value in `Config::default()`.
    Fixed,
    /// Determined at the start; the phrase says how.
    Computed(&'static str),
}

/// A setting's value as the operator wrote it.
#[derive(Debug)]
pub(super) struct Given<'a> {
    pub(super) setting: &'a Setting,
    pub(super) text: &'a str,
}

/// A type of settings' values.
pub(super) trait Value: Sized {
    /// Reads a value; `None` if it isn't allowed.
    fn read(given: &Given<'_>) -> Option<Self>;

    /// Writes the value so that it can be read again.
    fn show(&self, unit: &Unit) -> String;
}

impl Setting {
    /// The default as text: a value that can be read again, or the phrase of [`Preset::Computed`].
    pub fn default_text(&self) -> String {
        match self.preset {
            Preset::Fixed => (self.show)(&Config::default(), &self.unit),
            Preset::Computed(how) => how.to_owned(),
        }
    }

    /// What is allowed under the setting's own name or `alias`, as a phrase for error messages.
    pub(super) fn allowed_by(&self, alias: Option<&Alias>) -> String {
        match alias {
            Some(Alias { per: Some(_), .. }) => {
                format!("a whole number from 1 to {RATE_COUNT_MAX}, or 0 (off)")
            }
            _ => self.allowed(),
        }
    }

    /// What is allowed under the setting's own name, as a phrase for error messages.
    pub fn allowed(&self) -> String {
        match self.zero {
            Zero::Off => format!("{}, or 0 (off)", self.unit.allowed()),
            Zero::Zero => format!("{}, or 0", self.unit.allowed()),
            Zero::AnyFreePort => format!("{}, or 0 (any free port)", self.unit.allowed()),
            Zero::Refused | Zero::False | Zero::Text => self.unit.allowed(),
        }
    }
}

impl Alias {
    /// A name whose values are those of the setting.
    pub(super) const fn same(env: &'static str) -> Self {
        Self { env, per: None }
    }

    /// A name of a rate whose values are numbers of times in `per`.
    pub(super) const fn count_per(env: &'static str, per: &'static str) -> Self {
        Self { env, per: Some(per) }
    }

    /// Turns the alias' value into one of the setting.
    pub(super) fn value(&self, text: &str) -> String {
        self.per.map_or_else(|| text.to_owned(), |per| format!("{text}/{per}"))
    }
}

impl Unit {
    fn allowed(&self) -> String {
        match *self {
            Self::Number { min, max } => format!("a whole number from {min} to {max}"),
            Self::Bytes { min, max } => {
                let (min, max) = (show_size(min as u64), show_size(max as u64));
                format!("a size from {min} to {max}, such as 65536, 64KiB or 4MiB")
            }
            Self::Time { min_ms, max_ms } => {
                let [min, max] = [min_ms, max_ms].map(|ms| show_time(Duration::from_millis(ms)));
                format!("a time from {min} to {max}, such as 500 (milliseconds), 30s or 5m")
            }
            Self::Rate { bare_per } => {
                let [per, min, max] =
                    [bare_per, RATE_PER_MIN, Duration::from_millis(TIME_MAX_MS)].map(show_time);
                format!("1 to {RATE_COUNT_MAX} in {min} to {max}, such as 100/1m, 10/1h or 100 (in {per})")
            }
            Self::Choice(words) => words.join(" or "),
            Self::Text(what) | Self::Secret(what) => what.to_owned(),
            Self::Switch => "true or false".to_owned(),
        }
    }

    pub(super) fn show(&self, number: u64) -> String {
        match self {
            Self::Bytes { .. } => show_size(number),
            Self::Time { .. } => show_time(Duration::from_millis(number)),
            _ => number.to_string(),
        }
    }

    /// The word that stands for a value in `--help`.
    pub(super) fn placeholder(&self) -> &'static str {
        match self {
            Self::Number { .. } => "N",
            Self::Bytes { .. } => "SIZE",
            Self::Time { .. } => "TIME",
            Self::Rate { .. } => "RATE",
            Self::Choice(_) => "WORD",
            Self::Text(_) | Self::Secret(_) => "TEXT",
            Self::Switch => "BOOL",
        }
    }
}

impl Zero {
    /// The word in the documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Zero => "zero",
            Self::AnyFreePort => "any free port",
            Self::Refused => "refused",
            Self::False => "false",
            Self::Text => "text",
        }
    }
}

impl Given<'_> {
    /// Reads the value into its field.
    pub(super) fn store<V: Value>(&self, field: &mut V) -> Option<()> {
        *field = V::read(self)?;
        Some(())
    }

    /// A number within the bounds, in the setting's smallest unit, or 0 if that means zero or any port.
    fn number(&self) -> Option<u64> {
        self.bounded(|zero| matches!(zero, Zero::Zero | Zero::AnyFreePort))
    }

    /// A number within the bounds, in the setting's smallest unit, or 0 if that means off.
    fn number_or_off(&self) -> Option<u64> {
        self.bounded(|zero| zero == Zero::Off)
    }

    fn bounded(&self, may_be_zero: impl Fn(Zero) -> bool) -> Option<u64> {
        let (value, min, max) = match self.setting.unit {
            Unit::Number { min, max } => (units::number(self.text)?, min, max),
            Unit::Bytes { min, max } => (units::size(self.text)?, min as u64, max as u64),
            Unit::Time { min_ms, max_ms } => {
                (units::time(self.text)?.as_millis().try_into().ok()?, min_ms, max_ms)
            }
            Unit::Rate { .. } | Unit::Choice(_) | Unit::Text(_) | Unit::Secret(_) | Unit::Switch => {
                return None;
            }
        };
        let is_allowed =
            if value == 0 { may_be_zero(self.setting.zero) } else { (min..=max).contains(&value) };
        is_allowed.then_some(value)
    }
}

/// Implements [`Value`] for types of numbers.
macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Value for $number {
            fn read(given: &Given<'_>) -> Option<Self> {
                given.number()?.try_into().ok()
            }

            fn show(&self, unit: &Unit) -> String {
                unit.show(*self as u64)
            }
        }
    )*};
}
numbers!(u16, u32, usize);

impl Value for Duration {
    fn read(given: &Given<'_>) -> Option<Self> {
        given.number().map(Self::from_millis)
    }

    fn show(&self, unit: &Unit) -> String {
        unit.show(self.as_millis() as u64)
    }
}

/// `None` = off.
impl Value for Option<NonZeroUsize> {
    fn read(given: &Given<'_>) -> Option<Self> {
        Some(NonZeroUsize::new(given.number_or_off()?.try_into().ok()?))
    }

    fn show(&self, unit: &Unit) -> String {
        unit.show(self.map_or(0, NonZeroUsize::get) as u64)
    }
}

/// `None` = off.
impl Value for Option<Period> {
    fn read(given: &Given<'_>) -> Option<Self> {
        given.number_or_off().map(Period::from_ms)
    }

    fn show(&self, unit: &Unit) -> String {
        unit.show(self.map_or(0, |period| period.get().as_millis() as u64))
    }
}

/// `None` = off.
impl Value for Option<Rate> {
    fn read(given: &Given<'_>) -> Option<Self> {
        let Unit::Rate { bare_per } = given.setting.unit else { return None };
        let (count, per) = units::rate(given.text, bare_per)?;
        if count == 0 {
            return (given.setting.zero == Zero::Off).then_some(None);
        }
        let count = u32::try_from(count).ok().filter(|count| *count <= RATE_COUNT_MAX)?;
        let is_allowed = (RATE_PER_MIN..=Duration::from_millis(TIME_MAX_MS)).contains(&per);
        is_allowed.then(|| Rate::new(count, per))
    }

    fn show(&self, unit: &Unit) -> String {
        self.map_or_else(|| unit.show(0), show_rate)
    }
}

impl Value for bool {
    fn read(given: &Given<'_>) -> Option<Self> {
        values::switch(given.text)
    }

    fn show(&self, _: &Unit) -> String {
        self.to_string()
    }
}
