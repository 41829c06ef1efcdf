//! Settings of the process: its threads, its end, its log.

use std::time::Duration;

use super::setting::{Given, Group, Preset, Setting, Unit, Value, Zero};
use super::units::Period;
use super::values;
use crate::limits::{
    DRAIN_TIMEOUT_DEFAULT_MS, DRAIN_TIMEOUT_MAX_MS, SHARDS_MAX, STATS_INTERVAL_DEFAULT_MS, TIME_MAX_MS,
};

/// The process: its threads, its end, its log.
#[derive(Debug, Clone)]
pub struct Process {
    /// `SHARDS`.
    pub shards: usize,
    /// `DRAIN_TIMEOUT`; with zero, clients get no time.
    pub drain_timeout: Duration,
    /// `DEMO`.
    pub demo: bool,
    /// `STATS_INTERVAL`; `None` if no statistics are logged.
    pub stats_interval: Option<Period>,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `RUST_LOG`.
    pub log_filter: String,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            shards: std::thread::available_parallelism().map_or(1, |cores| default_shards(cores.get())),
            drain_timeout: Duration::from_millis(DRAIN_TIMEOUT_DEFAULT_MS),
            demo: false,
            stats_interval: Period::from_ms(STATS_INTERVAL_DEFAULT_MS),
            log_format: LogFormat::Text,
            log_filter: "info".to_owned(),
        }
    }
}

/// One shard for each core but one, where ingest, the control side and the kernel's network work find room. Measured: see
/// docs/benchmarks.md, "How many shards".
fn default_shards(cores: usize) -> usize {
    cores.saturating_sub(1).clamp(1, SHARDS_MAX)
}

pub(super) const GROUP: Group = Group {
    title: "The process and its log",
    settings: &[
        Setting {
            env: "SHARDS",
            flag: "shards",
            aliases: &[],
            unit: Unit::Number { min: 1, max: SHARDS_MAX as u64 },
            zero: Zero::Refused,
            preset: Preset::Computed("one for each core but one, at least one"),
            help: "Threads that serve clients. The core that is left over reads Redis and carries the kernel's share. With 1, that thread reads Redis as well.",
            set: |config, given| given.store(&mut config.process.shards),
            show: |config, unit| config.process.shards.show(unit),
        },
        Setting {
            env: "DRAIN_TIMEOUT",
            flag: "drain-timeout",
            aliases: &[],
            unit: Unit::Time { min_ms: 1, max_ms: DRAIN_TIMEOUT_MAX_MS },
            zero: Zero::Zero,
            preset: Preset::Fixed,
            help: "How long clients may take to read their queued data when the gateway stops.",
            set: |config, given| given.store(&mut config.process.drain_timeout),
            show: |config, unit| config.process.drain_timeout.show(unit),
        },
        Setting {
            env: "DEMO",
            flag: "demo",
            aliases: &[],
            unit: Unit::Switch,
            zero: Zero::False,
            preset: Preset::Fixed,
            help: "Publish simulated events of the market types among CHANNEL_TYPES, to see the gateway work. The market has traded for 15 minutes when it starts, unless FEED_DELAYS is set.",
            set: |config, given| given.store(&mut config.process.demo),
            show: |config, unit| config.process.demo.show(unit),
        },
        Setting {
            env: "STATS_INTERVAL",
            flag: "stats-interval",
            aliases: &[],
            unit: Unit::Time { min_ms: 1, max_ms: TIME_MAX_MS },
            zero: Zero::Off,
            preset: Preset::Fixed,
            help: "Time between two lines of statistics in the log.",
            set: |config, given| given.store(&mut config.process.stats_interval),
            show: |config, unit| config.process.stats_interval.show(unit),
        },
        Setting {
            env: "LOG_FORMAT",
            flag: "log-format",
            aliases: &[],
            unit: Unit::Choice(&["text", "json"]),
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "The format of log lines: for people, or one JSON object a line.",
            set: |config, given| given.store(&mut config.process.log_format),
            show: |config, unit| config.process.log_format.show(unit),
        },
        Setting {
            env: "RUST_LOG",
            flag: "log",
            aliases: &[],
            unit: Unit::Text("a level (error, warn, info, debug, trace, off) or target=level,…"),
            zero: Zero::Refused,
            preset: Preset::Fixed,
            help: "Which lines are logged, by level and target.",
            set: |config, given| {
                config.process.log_filter = values::log_filter(given.text)?;
                Some(())
            },
            show: |config, _| config.process.log_filter.clone(),
        },
    ],
};

impl LogFormat {
    const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl Value for LogFormat {
    fn read(given: &Given<'_>) -> Option<Self> {
        [Self::Text, Self::Json].into_iter().find(|format| format.word() == given.text)
    }

    fn show(&self, _: &Unit) -> String {
        self.word().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_core_is_left_to_what_is_no_shard() {
        let cases = [(1, 1), (2, 1), (3, 2), (16, 15), (64, 63), (256, SHARDS_MAX)];
        for (cores, shards) in cases {
            assert_eq!(default_shards(cores), shards, "{cores} cores");
        }
    }
}
