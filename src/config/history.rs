//! Settings of the history: the events that are kept for snapshots and resuming.

use std::num::NonZeroUsize;

use super::setting::{Group, Preset, Setting, Unit, Value, Zero};
use super::{CHANNEL_TEXT, values};
use crate::limits::{
    DELAY_MAX_DEFAULT_BYTES, DELAY_MAX_MAX_BYTES, DELAY_MAX_MIN_BYTES, LAST_VALUE_TOPICS_DEFAULT,
    LAST_VALUE_TOPICS_MAX, REPLAY_DEFAULT_BYTES, REPLAY_EVENTS_DEFAULT, REPLAY_EVENTS_MAX,
    REPLAY_MAX_MAX_BYTES,
};

/// The events that are kept for snapshots and resuming.
#[derive(Debug, Clone)]
pub struct History {
    /// `LAST_VALUE_MAX_TOPICS`; `None` if only topics with subscribers have a history.
    pub last_value_max_topics: Option<NonZeroUsize>,
    /// `LAST_VALUE_KEY`.
    pub last_value_key: Option<String>,
    /// `REPLAY_EVENTS_PER_TOPIC`; `None` if clients can't resume.
    pub replay_events_per_topic: Option<NonZeroUsize>,
    /// `REPLAY_MAX_BYTES`; `None` if clients can't resume.
    pub replay_max_bytes: Option<NonZeroUsize>,
    /// `DELAY_MAX_BYTES`.
    pub delay_max_bytes: usize,
}

impl Default for History {
    fn default() -> Self {
        Self {
            last_value_max_topics: NonZeroUsize::new(LAST_VALUE_TOPICS_DEFAULT as usize),
            last_value_key: None,
            replay_events_per_topic: NonZeroUsize::new(REPLAY_EVENTS_DEFAULT as usize),
            replay_max_bytes: NonZeroUsize::new(REPLAY_DEFAULT_BYTES),
            delay_max_bytes: DELAY_MAX_DEFAULT_BYTES,
        }
    }
}

pub(super) const GROUP: Group = Group {
    title: "Snapshots, resuming, delays",
    settings: &[
        Setting {
            env: "LAST_VALUE_MAX_TOPICS",
            flag: "last-value-max-topics",
            aliases: &[],
            unit: Unit::Number { min: 1, max: LAST_VALUE_TOPICS_MAX },
            zero: Zero::Off,
            preset: Preset::Fixed,
            help: "How many topics (a type and a symbol each) have their last and recent events kept for snapshots and resuming, \
                   whether clients want them or not.",
            set: |config, given| given.store(&mut config.history.last_value_max_topics),
            show: |config, unit| config.history.last_value_max_topics.show(unit),
        },
        Setting {
            env: "LAST_VALUE_KEY",
            flag: "last-value-key",
            aliases: &[],
            unit: CHANNEL_TEXT,
            zero: Zero::Refused,
            preset: Preset::Computed("none"),
            help: "The beginning of the Redis keys in which workers keep each symbol's last event, such as `last:trade:`. A key is \
                   looked up for the snapshot of a symbol of which no event has come yet. For trades only, unless it has `{type}` \
                   in it.",
            set: |config, given| {
                config.history.last_value_key = Some(values::channel_prefix(given.text)?);
                Some(())
            },
            show: |config, _| config.history.last_value_key.clone().unwrap_or_default(),
        },
        Setting {
            env: "REPLAY_EVENTS_PER_TOPIC",
            flag: "replay-events-per-topic",
            aliases: &[],
            unit: Unit::Number { min: 1, max: REPLAY_EVENTS_MAX },
            zero: Zero::Off,
            preset: Preset::Fixed,
            help: "How many events with a `seq` are kept of a topic, so that a client that missed no more can resume. Off, no client \
                   can resume.",
            set: |config, given| given.store(&mut config.history.replay_events_per_topic),
            show: |config, unit| config.history.replay_events_per_topic.show(unit),
        },
        Setting {
            env: "REPLAY_MAX_BYTES",
            flag: "replay-max-bytes",
            aliases: &[],
            unit: Unit::Bytes { min: 1, max: REPLAY_MAX_MAX_BYTES },
            zero: Zero::Off,
            preset: Preset::Fixed,
            help: "Memory of the events that are kept for resuming, for all topics together; it is allocated as it fills. Off, no \
                   client can resume.",
            set: |config, given| given.store(&mut config.history.replay_max_bytes),
            show: |config, unit| config.history.replay_max_bytes.show(unit),
        },
        Setting {
            env: "DELAY_MAX_BYTES",
            flag: "delay-max-bytes",
            aliases: &[],
            unit: Unit::Bytes { min: DELAY_MAX_MIN_BYTES, max: DELAY_MAX_MAX_BYTES },
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "Memory of the events that wait until they are due, for each of FEED_DELAYS; it is allocated as it fills. Events that find \
                   no room are lost to that feed, and its clients are told how many.",
            set: |config, given| given.store(&mut config.history.delay_max_bytes),
            show: |config, unit| config.history.delay_max_bytes.show(unit),
        },
    ],
};
