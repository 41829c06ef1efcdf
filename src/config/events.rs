//! Settings of the events that workers publish.

use super::setting::{Given, Group, Preset, Setting, Unit, Value, Zero};
use super::units::Period;
use super::{CHANNEL_TEXT, values};
use crate::limits::{
    CHANNEL_PREFIX_DEFAULT, MAX_EVENT_DEFAULT_BYTES, MAX_EVENT_MAX_BYTES, MAX_EVENT_MIN_BYTES,
    STALE_AFTER_DEFAULT_MS, TIME_MAX_MS,
};
use crate::market::{Kinds, Numbering, SymbolCase};

/// The events that workers publish.
#[derive(Debug, Clone)]
pub struct Events {
    /// `CHANNEL_PREFIX`.
    pub channel_prefix: String,
    /// `CHANNEL_TYPES`; at least one.
    pub channel_types: Kinds,
    /// `SYMBOL_CASE`.
    pub symbol_case: SymbolCase,
    /// `MAX_EVENT_BYTES`.
    pub max_event_bytes: usize,
    /// `SEQ`.
    pub numbering: Numbering,
    /// `DEDUPLICATE`.
    pub deduplicate: bool,
    /// `STALE_AFTER`; `None` if no topic is ever stale.
    pub stale_after: Option<Period>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            channel_prefix: CHANNEL_PREFIX_DEFAULT.to_owned(),
            channel_types: Kinds::default(),
            symbol_case: SymbolCase::Upper,
            max_event_bytes: MAX_EVENT_DEFAULT_BYTES,
            numbering: Numbering::Contiguous,
            deduplicate: true,
            stale_after: Period::from_ms(STALE_AFTER_DEFAULT_MS),
        }
    }
}

pub(super) const GROUP: Group = Group {
    title: "What workers publish",
    settings: &[
        Setting {
            env: "CHANNEL_PREFIX",
            flag: "channel-prefix",
            aliases: &[],
            unit: CHANNEL_TEXT,
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "The beginning of the workers' channels, before `trade:AAPL`.",
            set: |config, given| {
                config.events.channel_prefix = values::channel_prefix(given.text)?;
                Some(())
            },
            show: |config, _| config.events.channel_prefix.clone(),
        },
        Setting {
            env: "CHANNEL_TYPES",
            flag: "channel-types",
            aliases: &[],
            unit: Unit::Text(
                "a comma-separated list of at most 32 types: trade, quote, candle, news, halt, or names of your own of a-z, 0-9 and _, \
                 at most 32 characters, a letter first, and none of success, refused, error, pong, status, snapshot, last, room, user, \
                 broadcast, desk, request, response, reply, presence, room_message, chat, typing, user_joined, user_left",
            ),
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "Types of events: the gateway subscribes to one pattern for each, and clients may ask for them. A name other than \
                   trade, quote, candle, news and halt is a type of your own, whose events may be any JSON objects. \
                   With DEMO the default is trade,quote,candle,news,halt.",
            set: |config, given| given.store(&mut config.events.channel_types),
            show: |config, unit| config.events.channel_types.show(unit),
        },
        Setting {
            env: "SYMBOL_CASE",
            aliases: &[],
            flag: "symbol-case",
            unit: Unit::Choice(&["upper", "exact"]),
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "Whether the symbols of channels and clients are upper-cased, so that `aapl` is `AAPL`, or stay as they are, \
                   because `AMpB` and `AMPB` are different shares.",
            set: |config, given| given.store(&mut config.events.symbol_case),
            show: |config, unit| config.events.symbol_case.show(unit),
        },
        Setting {
            env: "MAX_EVENT_BYTES",
            flag: "max-event-bytes",
            aliases: &[],
            unit: Unit::Bytes { min: MAX_EVENT_MIN_BYTES, max: MAX_EVENT_MAX_BYTES },
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "Largest event that a worker may publish; a larger one is dropped and counted.",
            set: |config, given| given.store(&mut config.events.max_event_bytes),
            show: |config, unit| config.events.max_event_bytes.show(unit),
        },
        Setting {
            env: "SEQ",
            flag: "seq",
            aliases: &[],
            unit: Unit::Choice(&["contiguous", "monotonic"]),
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "How workers number events in `seq`: contiguous rises by one a topic, so a jump is a gap; monotonic only rises, \
                   as nanoseconds or one counter for a whole exchange do, so there are no gaps.",
            set: |config, given| given.store(&mut config.events.numbering),
            show: |config, unit| config.events.numbering.show(unit),
        },
        Setting {
            env: "DEDUPLICATE",
            flag: "deduplicate",
            aliases: &[],
            unit: Unit::Switch,
            zero: Zero::False,
            preset: Preset::Fixed,
            help: "Whether an event whose `seq` has come before is dropped as a repeat. One with a newer `timestamp` never is: its \
                   worker has restarted its numbers.",
            set: |config, given| given.store(&mut config.events.deduplicate),
            show: |config, unit| config.events.deduplicate.show(unit),
        },
        Setting {
            env: "STALE_AFTER",
            flag: "stale-after",
            aliases: &[],
            unit: Unit::Time { min_ms: 1, max_ms: TIME_MAX_MS },
            zero: Zero::Off,
            preset: Preset::Fixed,
            help: "The time without an event after which a topic with subscribers counts as stale in /stats and metrics.",
            set: |config, given| given.store(&mut config.events.stale_after),
            show: |config, unit| config.events.stale_after.show(unit),
        },
    ],
};

impl Value for Kinds {
    fn read(given: &Given<'_>) -> Option<Self> {
        given.text.parse().ok()
    }

    fn show(&self, _: &Unit) -> String {
        self.to_string()
    }
}

impl Value for SymbolCase {
    fn read(given: &Given<'_>) -> Option<Self> {
        [Self::Upper, Self::Exact].into_iter().find(|case| case.word() == given.text)
    }

    fn show(&self, _: &Unit) -> String {
        self.word().to_owned()
    }
}

impl Value for Numbering {
    fn read(given: &Given<'_>) -> Option<Self> {
        [Self::Contiguous, Self::Monotonic].into_iter().find(|numbering| numbering.word() == given.text)
    }

    fn show(&self, _: &Unit) -> String {
        self.word().to_owned()
    }
}
