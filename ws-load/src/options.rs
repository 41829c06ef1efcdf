//! The command line, and the plan that comes of it: a preset, with what is said otherwise.

mod people;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use tokio_tungstenite::tungstenite::http::Uri;

use self::people::People;
use super::crowd::Crowd;
use super::dialect::{Dialect, resolve};
use super::feed::FeedConfig;
use super::forms::FormName;
use super::pace::Pace;
use super::preset::{Preset, Scenario};
use super::workers;
use tools::cli;
use tools::token::sign::KeySource;

const EXAMPLES: &str = "\
Examples:
  ws-load                                      1000 connections on one symbol, 100 trades/s
  ws-load --preset spread --duration 30s       another scenario, for longer
  ws-load --preset idle --connections 50000    another size
  ws-load --burst 500 --burst-every 1s         a scenario of one's own
  ws-load --preset burst --form batch          several events a message
  ws-load --preset rooms --rooms 100           people who talk in rooms (DESK=true)
  ws-load --preset ingest --json > result.json

Each connection takes a descriptor here and one in the server: raise both limits (ulimit -n) first.
The exit code is 1 if an event was lost in silence, repeated, out of order or uninvited, or a connection failed.";

/// What can't be exceeded, whatever is asked for.
const CONNECTIONS_MAX: u32 = 1_000_000;
const SYMBOLS_MAX: u32 = 100_000;
const BURST_MAX: u32 = 100_000;
const DURATION_MAX: Duration = Duration::from_secs(3600);
/// Load for a gateway: WebSocket subscribers on one side, a publisher on the other, and exact books in between.
#[derive(Debug, Clone, Parser)]
#[command(name = "ws-load", version, after_help = EXAMPLES)]
pub struct Options {
    /// Where the gateway takes WebSocket clients
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8080/ws", value_parser = cli::ws_url)]
    pub url: String,
    /// Redis (or the gateway's embedded broker) to publish to
    #[arg(long, value_name = "URL", default_value = "redis://127.0.0.1:6379")]
    pub redis: String,
    /// How events come: an object in each frame, arrays of what waits, server-sent events over HTTP, or as clients of Alpaca's, Binance's, Finnhub's or Massive's API
    /// or of Socket.IO get them (the gateway's DIALECTS); "-deflate" offers compression (the gateway's COMPRESSION_ENABLED)
    #[arg(long, value_name = "FORM", value_enum, default_value = "json")]
    pub form: FormName,
    /// Scenario; each of its figures can be set by the flags below
    #[arg(long, value_enum, default_value = "wide")]
    pub preset: Preset,
    /// Connections
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    pub connections: Option<u32>,
    /// Symbols that trade
    #[arg(long, value_name = "U", value_parser = clap::value_parser!(u32).range(1..=i64::from(SYMBOLS_MAX)))]
    pub symbols: Option<u32>,
    /// Symbols that each connection subscribes to, drawn by lot
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(0..=i64::from(SYMBOLS_MAX)))]
    pub subscribe: Option<u32>,
    /// Trades a second, evenly; "max" = as many as Redis takes, 0 = none. Of rooms: messages a second in each
    #[arg(long, value_name = "R", value_parser = rate, conflicts_with_all = ["burst", "burst_every"])]
    pub rate: Option<Rate>,
    /// Trades back to back
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(BURST_MAX)))]
    pub burst: Option<u32>,
    /// From one burst to the next
    #[arg(long, value_name = "TIME", value_parser = cli::duration)]
    pub burst_every: Option<Duration>,
    /// Subscribes and unsubscribes a second, of one more symbol of each connection
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub churn: Option<u32>,
    /// Handshakes in flight at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub connecting: Option<u32>,
    /// How long to measure
    #[arg(long, value_name = "TIME", value_parser = cli::duration)]
    pub duration: Option<Duration>,
    /// Trades that go before, and aren't measured (but must arrive)
    #[arg(long, value_name = "TIME", value_parser = cli::duration)]
    pub warmup: Option<Duration>,
    /// Processes that hold the connections; as many as descriptors call for
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: Option<u32>,
    /// Processes of the server, to measure; by default those that listen at the URL's port
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// What channels begin with, before "trade:S0000"
    #[arg(long, value_name = "PREFIX", default_value = "channel:")]
    pub channel_prefix: String,
    /// What all draws follow from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print the result as JSON; the table goes to standard error
    #[arg(long)]
    pub json: bool,
    /// Load other machines than this one. Only with their owner's consent
    #[arg(long)]
    pub allow_remote: bool,
    /// Rooms, and tokens.
    #[command(flatten)]
    pub people: People,
    /// Be a worker process of another ws-load
    #[arg(long, hide = true)]
    pub worker: bool,
}

/// A rate as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// No trades.
    None,
    /// So many a second.
    PerSecond(f64),
    /// As many as possible.
    Unbounded,
}

fn rate(text: &str) -> Result<Rate, String> {
    match text.trim() {
        "max" => Ok(Rate::Unbounded),
        "0" => Ok(Rate::None),
        other => {
            cli::rate(other).map(Rate::PerSecond).map_err(|rule| format!("{rule}; or max, or 0 for none"))
        }
    }
}

/// A run, all figures decided.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the preset.
    pub preset: String,
    /// Who subscribes to what, where.
    pub crowd: Crowd,
    /// Who publishes what, if anybody.
    pub feed: Option<FeedConfig>,
    /// Where the upstream is, if anything goes through it.
    pub upstream: Option<SocketAddr>,
    /// What signs a token for each connection, if any shows one.
    pub signer: Option<KeySource>,
    /// What is measured.
    pub duration: Duration,
    /// What goes before.
    pub warmup: Duration,
    /// Processes that hold the connections.
    pub workers: u32,
    /// Processes of the server, if they were named.
    pub server_pids: Vec<u32>,
}

impl Options {
    /// Decides everything. `descriptors` is how many files a process may have open.
    ///
    /// # Errors
    /// What is wrong: an address that can't be resolved or isn't this machine, figures that don't go together.
    pub fn plan<D: Dialect>(&self, descriptors: u64) -> anyhow::Result<Plan> {
        let scenario = self.scenario::<D>()?;
        let (addr, host, path) = gateway(&self.url)?;
        let desk = self.desk::<D>(scenario.talk)?;
        let crowd = Crowd {
            addr,
            host,
            path,
            connections: desk.map_or(scenario.connections, |desk| desk.connections()),
            symbols: desk.map_or(scenario.symbols, |desk| desk.symbols()),
            subscribed: desk.map_or(scenario.subscribed, |desk| desk.talkers),
            churn_per_second: scenario.churn_per_second,
            connecting_max: scenario.connecting_max,
            seed: self.seed,
            desk,
        };
        let feed = scenario.pace.map(|pace| self.feed::<D>(pace, scenario.symbols)).transpose()?;
        // Talk is measured where its Redis is known; it is the gateway that publishes it.
        let measured = || D::upstream(&self.redis).ok().map(|(addr, _)| addr);
        let upstream = feed.as_ref().map(|feed| feed.addr).or_else(|| desk.and_then(|_| measured()));
        for addr in [Some(addr), feed.as_ref().map(|feed| feed.addr)].into_iter().flatten() {
            ensure!(
                addr.ip().is_loopback() || self.allow_remote,
                "{addr} is not this machine: --allow-remote if its owner agrees to be loaded"
            );
        }
        Ok(Plan {
            preset: self.preset.name(),
            workers: self.workers.unwrap_or_else(|| workers::needed(crowd.connections, descriptors)),
            crowd,
            feed,
            upstream,
            signer: self.people.key.source(),
            duration: scenario.duration,
            warmup: scenario.warmup,
            server_pids: self.server_pid.clone(),
        })
    }

    fn scenario<D: Dialect>(&self) -> anyhow::Result<Scenario> {
        let preset = self.preset.scenario();
        let scenario = Scenario {
            connections: self.connections.unwrap_or(preset.connections),
            symbols: self.symbols.unwrap_or(preset.symbols),
            subscribed: self.subscribe.unwrap_or(preset.subscribed),
            // Where people talk nobody trades; the rate is theirs.
            pace: if preset.talk.is_some() { None } else { self.pace(preset.pace) },
            churn_per_second: self.churn.unwrap_or(preset.churn_per_second),
            connecting_max: self.connecting.unwrap_or(preset.connecting_max),
            duration: self.duration.unwrap_or(preset.duration),
            warmup: self.warmup.unwrap_or(preset.warmup),
            talk: preset.talk,
        };
        let held = scenario.subscribed + u32::from(scenario.churn_per_second > 0);
        ensure!(
            held <= scenario.symbols,
            "each connection is to have {held} symbols, but there are only {}: raise --symbols or lower --subscribe",
            scenario.symbols
        );
        let held_max = D::SUBSCRIBED_MAX;
        ensure!(
            scenario.subscribed <= held_max,
            "--subscribe {}: at most {held_max}, as many as one request has room for",
            scenario.subscribed
        );
        ensure!(
            !D::ASKS_BY_URL || (scenario.subscribed > 0 && scenario.churn_per_second == 0),
            "--form {} has to ask for its symbols at once: --subscribe 1 or more, and --churn 0",
            D::FORM.word()
        );
        ensure!(
            D::HAS_REPLIES || scenario.churn_per_second == 0,
            "--form {} has no answers, so none says which event of a symbol may be the last: --churn 0",
            D::FORM.word()
        );
        for (flag, time) in [("--duration", scenario.duration), ("--warmup", scenario.warmup)] {
            ensure!(time <= DURATION_MAX, "{flag} is {time:?}; at most {DURATION_MAX:?}");
        }
        if let Some(Pace::Bursts { every_ns: 0, .. }) = scenario.pace {
            bail!("--burst-every must be longer than nothing");
        }
        Ok(scenario)
    }

    fn pace(&self, preset: Option<Pace>) -> Option<Pace> {
        match (self.rate, self.burst, self.burst_every) {
            (Some(Rate::None), ..) => None,
            (Some(Rate::PerSecond(per_second)), ..) => Some(Pace::Steady { per_second }),
            (Some(Rate::Unbounded), ..) => Some(Pace::Unbounded),
            (None, None, None) => preset,
            (None, burst, every) => {
                let (trades, every_ns) = match preset {
                    Some(Pace::Bursts { trades, every_ns }) => (trades, every_ns),
                    _ => (100, 100_000_000),
                };
                let every_ns = every.map_or(every_ns, |every| every.as_nanos() as u64);
                Some(Pace::Bursts { trades: burst.unwrap_or(trades), every_ns })
            }
        }
    }

    fn feed<D: Dialect>(&self, pace: Pace, symbols: u32) -> anyhow::Result<FeedConfig> {
        let (addr, login) = D::upstream(&self.redis)?;
        Ok(FeedConfig {
            addr,
            login,
            channel_prefix: self.channel_prefix.clone(),
            symbols,
            seed: self.seed,
            pace,
        })
    }
}

impl Plan {
    /// How trades, or messages, follow each other.
    pub fn pace(&self) -> Option<Pace> {
        let talk = self.crowd.desk.map(|desk| Pace::Steady { per_second: desk.per_second() });
        self.feed.as_ref().map(|feed| feed.pace).or(talk)
    }
}

/// Where to connect, the `Host` header, path and query.
fn gateway(url: &str) -> anyhow::Result<(SocketAddr, String, String)> {
    let uri: Uri = url.parse().with_context(|| format!("--url {url}"))?;
    ensure!(
        uri.scheme_str() == Some("ws"),
        "--url {url}: only ws:// is loaded; TLS would measure the client's"
    );
    let authority = uri.authority().with_context(|| format!("--url {url}: no host in it"))?;
    let addr = resolve(authority.host(), authority.port_u16().unwrap_or(80)).context("--url")?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok((addr, authority.as_str().to_owned(), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::dialect::Gateway;
    use super::*;

    pub(super) fn plan(arguments: &[&str]) -> anyhow::Result<Plan> {
        let arguments = ["ws-load"].iter().chain(arguments);
        Options::try_parse_from(arguments)?.plan::<Gateway>(20_000)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn a_preset_stands_where_nothing_else_is_said() {
        let plan = plan(&["--preset", "spread", "--connections", "30000", "--duration", "1500"]).unwrap();
        assert_eq!((plan.crowd.connections, plan.crowd.symbols, plan.crowd.subscribed), (30_000, 100, 5));
        assert_eq!(plan.feed.unwrap().pace, Pace::Steady { per_second: 2000.0 });
        assert_eq!((plan.workers, plan.duration), (2, Duration::from_millis(1500)));
    }

    #[test]
    fn rates_and_bursts_replace_each_other() {
        let pace = |arguments: &[&str]| plan(arguments).unwrap().feed.map(|feed| feed.pace);
        assert_eq!(pace(&["--preset", "burst", "--rate", "5"]), Some(Pace::Steady { per_second: 5.0 }));
        assert_eq!(pace(&["--rate", "max"]), Some(Pace::Unbounded));
        assert_eq!(pace(&["--rate", "0"]), None);
        let bursts = |trades, every_ns| Some(Pace::Bursts { trades, every_ns });
        assert_eq!(pace(&["--burst", "7"]), bursts(7, 100_000_000));
        assert_eq!(pace(&["--preset", "burst-slow", "--burst", "7"]), bursts(7, 800_000_000));
        assert!(plan(&["--rate", "1", "--burst", "2"]).is_err());
    }

    #[test]
    fn only_this_machine_is_loaded_unless_said_otherwise() {
        let error = plan(&["--url", "ws://192.0.2.1:80/ws"]).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1") && error.contains("--allow-remote"), "{error}");
        assert!(plan(&["--redis", "redis://192.0.2.1"]).is_err());
        assert!(plan(&["--url", "ws://192.0.2.1:80/ws", "--allow-remote"]).is_ok());
        assert!(plan(&["--url", "ws://192.0.2.1:80/ws", "--allow-remote", "--rate", "0"]).is_ok());
        assert!(plan(&["--url", "ws://[::1]:8080/ws"]).is_ok());
    }

    #[test]
    fn addresses_are_taken_apart() {
        let plan =
            plan(&["--url", "ws://127.0.0.1:9/x?y=1", "--redis", "redis://me:pw@127.0.0.1:7"]).unwrap();
        assert_eq!((plan.crowd.addr, &*plan.crowd.host), ("127.0.0.1:9".parse().unwrap(), "127.0.0.1:9"));
        assert_eq!(plan.crowd.path, "/x?y=1");
        let feed = plan.feed.unwrap();
        assert_eq!(feed.addr, "127.0.0.1:7".parse().unwrap());
        assert_eq!(feed.login, Some((Some("me".to_owned()), "pw".to_owned())));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (arguments, word) in [
            (&["--subscribe", "5"][..], "--symbols"),
            (&["--url", "wss://127.0.0.1/"], "ws://"),
            (&["--redis", "rediss://127.0.0.1"], "TCP"),
            (&["--redis", "nats://127.0.0.1:4222"], "redis://"),
            (&["--symbols", "9000", "--subscribe", "5001"], "at most 5000"),
            (&["--duration", "2h"], "--duration"),
            (&["--burst-every", "0"], "--burst-every"),
            (&["--connections", "0"], "--connections"),
            (&["--rate", "fast"], "max"),
        ] {
            let error = format!("{:#}", plan(arguments).unwrap_err());
            assert!(error.contains(word), "{arguments:?}: {error}");
        }
        let error = plan(&["--redis", "redis://:secret@:x"]).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
