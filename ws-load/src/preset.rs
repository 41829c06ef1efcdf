//! The scenarios that have names: what each of them is made of. Every figure can be set otherwise.

use std::time::Duration;

use clap::ValueEnum;

use super::pace::Pace;

const MS_NS: u64 = 1_000_000;

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// 1000 connections on one symbol, 100 trades/s.
    Wide,
    /// 1000 connections on 5 of 100 symbols each, 2000 trades/s.
    Spread,
    /// 200 connections on one symbol, 100 trades back to back every 100 ms.
    Burst,
    /// The same every 800 ms.
    BurstSlow,
    /// 10,000 connections, nothing published: memory of each.
    Idle,
    /// One subscriber of one of 1000 symbols, as many trades as Redis takes.
    Ingest,
    /// One subscriber of all of 1000 symbols, as many trades as Redis takes: each is checked and framed, few are written.
    IngestFramed,
    /// 10 connections on one symbol, 100 trades/s.
    #[value(name = "latency-10")]
    Latency10,
    /// 100 connections on one symbol, 100 trades/s.
    #[value(name = "latency-100")]
    Latency100,
    /// 10,000 connections that open as fast as they can, and don't subscribe: processor time of a handshake.
    Storm,
    /// 1000 connections on 4 of 100 symbols and coming and going with a fifth, 5000 times a second, 100 trades/s.
    Churn,
    /// 1000 rooms of 10, 5 messages a second in each.
    Rooms,
    /// One room of 5000, 5 messages a second.
    Lobby,
}

/// Rooms that connections talk in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Talk {
    /// How many.
    pub rooms: u32,
    /// Connections in each.
    pub members: u32,
    /// How many of them talk, in turn.
    pub talkers: u32,
    /// Messages a second in each room.
    pub per_second: f64,
}

/// What a scenario is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scenario {
    /// Connections.
    pub connections: u32,
    /// Symbols that trade.
    pub symbols: u32,
    /// Symbols that each connection holds.
    pub subscribed: u32,
    /// How trades follow each other; none are published without.
    pub pace: Option<Pace>,
    /// Subscribes and unsubscribes a second.
    pub churn_per_second: u32,
    /// Handshakes in flight.
    pub connecting_max: u32,
    /// What is measured.
    pub duration: Duration,
    /// What goes before.
    pub warmup: Duration,
    /// Rooms in place of symbols and trades.
    pub talk: Option<Talk>,
}

impl Preset {
    /// The name, as on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What it is made of.
    pub const fn scenario(self) -> Scenario {
        let wide = Scenario {
            connections: 1000,
            symbols: 1,
            subscribed: 1,
            pace: Some(Pace::Steady { per_second: 100.0 }),
            churn_per_second: 0,
            connecting_max: 128,
            duration: Duration::from_secs(10),
            warmup: Duration::from_secs(2),
            talk: None,
        };
        let rooms = Talk { rooms: 1000, members: 10, talkers: 10, per_second: 5.0 };
        let talking = Scenario { pace: None, ..wide };
        match self {
            Self::Wide => wide,
            Self::Spread => Scenario {
                symbols: 100,
                subscribed: 5,
                pace: Some(Pace::Steady { per_second: 2000.0 }),
                ..wide
            },
            Self::Burst => Scenario {
                connections: 200,
                pace: Some(Pace::Bursts { trades: 100, every_ns: 100 * MS_NS }),
                ..wide
            },
            Self::BurstSlow => Scenario {
                connections: 200,
                pace: Some(Pace::Bursts { trades: 100, every_ns: 800 * MS_NS }),
                ..wide
            },
            Self::Idle => Scenario {
                connections: 10_000,
                pace: None,
                duration: Duration::from_secs(5),
                warmup: Duration::ZERO,
                ..wide
            },
            Self::Ingest => Scenario { connections: 1, symbols: 1000, pace: Some(Pace::Unbounded), ..wide },
            Self::IngestFramed => Scenario { subscribed: 1000, ..Self::Ingest.scenario() },
            Self::Latency10 => Scenario { connections: 10, ..wide },
            Self::Latency100 => Scenario { connections: 100, ..wide },
            Self::Storm => Scenario {
                connections: 10_000,
                subscribed: 0,
                pace: None,
                connecting_max: 512,
                duration: Duration::ZERO,
                warmup: Duration::ZERO,
                ..wide
            },
            Self::Churn => Scenario { symbols: 100, subscribed: 4, churn_per_second: 5000, ..wide },
            Self::Rooms => Scenario { talk: Some(rooms), ..talking },
            Self::Lobby => Scenario { talk: Some(Talk { rooms: 1, members: 5000, ..rooms }), ..talking },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_scenario_that_can_be_run() {
        for &preset in Preset::value_variants() {
            let scenario = preset.scenario();
            let held = scenario.subscribed + u32::from(scenario.churn_per_second > 0);
            assert!(held <= scenario.symbols, "{preset:?}");
            assert!(
                held <= 5 || preset == Preset::IngestFramed,
                "{preset:?}: the gateway's default allows 5"
            );
            assert!(scenario.connections > 0 && scenario.connecting_max > 0, "{preset:?}");
        }
    }

    #[test]
    fn names_are_as_people_say_them() {
        let names: Vec<_> = Preset::value_variants().iter().map(|preset| preset.name()).collect();
        assert!(
            names.contains(&"burst-slow".to_owned()) && names.contains(&"latency-10".to_owned()),
            "{names:?}"
        );
    }
}
