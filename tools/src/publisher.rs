//! The test publisher: takes events from a [`source`], sends them to Redis over a [`link`], and says in a
//! [`report`] what became of them.
//!
//! One loop, no queue between the parts: a batch is whatever is due, and it is acknowledged by Redis before the next
//! one is taken. At low rates a batch is one trade; when time presses it grows by itself, up to [`source::BATCH_MAX`]
//! trades in one pipeline.

pub mod lines;
pub mod link;
pub mod report;
pub mod source;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser;
use clap::builder::FalseyValueParser;
use ws_gateway::demo::Market;
use ws_gateway::demo::events::Events;
use ws_gateway::market::event::SEQ_END;
use ws_gateway::market::{Kind, KindSet, Symbol};

use crate::cli;
use crate::term::{Stop, tell};
use link::Link;
use report::Report;
use source::{Batch, Source};

const EXAMPLES: &str = "\
Examples:
  test-publisher                                   five symbols, each every 1 to 3 s
  test-publisher --symbols BTC-USD --rate 10       ten trades a second of one symbol
  test-publisher --rate 50000 --count 500000       as a load
  test-publisher --file trades.jsonl --rate 100    recorded trades, byte for byte
  tail -F trades.jsonl | test-publisher --stdin    live trades, as they come
  test-publisher --types trade,quote,candle,news,halt --seq

An event of SYMBOL goes to the channel <prefix><type>:<SYMBOL>. What Redis has not acknowledged
when it is lost is sent again once it is back: an event can arrive twice, none is left out.";

/// Publishes events to Redis, made up or recorded, as workers do.
#[derive(Debug, Clone, Parser)]
#[command(name = "test-publisher", version, after_help = EXAMPLES)]
pub struct Options {
    /// Redis to publish to: redis://, rediss:// (TLS) or unix://
    #[arg(
        long,
        env = "REDIS_URL",
        value_name = "URL",
        default_value = "redis://127.0.0.1:6379",
        hide_env_values = true
    )]
    pub redis_url: String,

    /// Symbols to make events of, separated by commas
    #[arg(
        long,
        env = "PUBLISH_SYMBOLS",
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "AAPL,GOOGL,MSFT,TSLA,AMZN",
        value_parser = cli::symbol
    )]
    pub symbols: Vec<Symbol>,

    /// Events per second in all, evenly spaced [default: each symbol every 1 to 3 s; recorded ones as they come]
    #[arg(long, env = "PUBLISH_RATE", value_name = "RATE", value_parser = cli::rate)]
    pub rate: Option<f64>,

    /// Stop after so many events
    #[arg(long, env = "PUBLISH_COUNT", value_name = "N")]
    pub count: Option<u64>,

    /// What channels begin with; the gateway's CHANNEL_PREFIX
    #[arg(long, env = "CHANNEL_PREFIX", value_name = "PREFIX", default_value = "channel:")]
    pub channel_prefix: String,

    /// Seed of the made-up market: the same seed, the same walks [default: another each time]
    #[arg(long, env = "PUBLISH_SEED", value_name = "N")]
    pub seed: Option<u64>,

    /// Publish recorded events from a file of JSON lines, each unchanged, to the channel of its "symbol"
    #[arg(long, env = "PUBLISH_FILE", value_name = "PATH", conflicts_with_all = ["stdin", "seed"])]
    pub file: Option<PathBuf>,

    /// Publish events from standard input, JSON lines as with --file
    #[arg(long, env = "PUBLISH_STDIN", value_parser = FalseyValueParser::new(), conflicts_with = "seed")]
    pub stdin: bool,

    /// Types of events to publish; recorded ones are all of one type
    #[arg(
        long,
        env = "PUBLISH_TYPES",
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "trade",
        value_parser = cli::type_name
    )]
    pub types: Vec<String>,

    /// Number the made-up events of each type and symbol in a field "seq", from 1
    #[arg(long, env = "PUBLISH_SEQ", value_parser = FalseyValueParser::new(), conflicts_with_all = ["file", "stdin"])]
    pub seq: bool,

    /// Number them from here instead
    #[arg(
        long,
        env = "PUBLISH_SEQ_START",
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(..SEQ_END),
        conflicts_with_all = ["file", "stdin"]
    )]
    pub seq_start: Option<u64>,

    /// Keep each symbol's last trade under this key as well, to which the symbol is added; with {type} in it, of each type
    /// its last event. The gateway's LAST_VALUE_KEY
    #[arg(long, env = "LAST_VALUE_KEY", value_name = "KEY")]
    pub last_value_key: Option<String>,
}

impl Options {
    /// Where the events come from, and what that is called.
    fn source(&self) -> anyhow::Result<(Source, String)> {
        if (self.file.is_some() || self.stdin) && self.types.len() > 1 {
            let types = self.types.join(",");
            bail!("--types {types}: recorded events are all of one type; name that one");
        }
        let type_name = self.types.first().map_or("trade", String::as_str);
        if let Some(path) = &self.file {
            let file = std::fs::File::open(path).with_context(|| {
                format!("cannot open --file {}; name a file of JSON lines", path.display())
            })?;
            return Ok((
                Source::lines(file, type_name, self.rate),
                format!("recorded {type_name} events from {}", path.display()),
            ));
        }
        if self.stdin {
            return Ok((
                Source::lines(std::io::stdin(), type_name, self.rate),
                format!("recorded {type_name} events from standard input"),
            ));
        }
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..=u64::from(u32::MAX)));
        let symbols = self.symbols.clone();
        let names = symbols.iter().map(Symbol::as_str).collect::<Vec<_>>().join(", ");
        let market = match self.rate {
            Some(rate) => Market::steady(symbols, rate, seed),
            None => Market::random(symbols, seed),
        };
        let seq_first = self.seq_start.or_else(|| self.seq.then_some(1));
        let types: KindSet = self.types.iter().map(|name| made_up(name)).collect::<anyhow::Result<_>>()?;
        let events = Events::new(types, seq_first, seed);
        Ok((Source::market(market, events), format!("a market of {names} (seed {seed})")))
    }

    /// Events per second to expect, if that is known.
    fn expected_rate(&self) -> Option<f64> {
        let recorded = self.file.is_some() || self.stdin;
        self.rate.or_else(|| (!recorded).then_some(self.symbols.len() as f64 / 2.0))
    }
}

/// The type of events that the market is made up of.
fn made_up(name: &str) -> anyhow::Result<Kind> {
    let named = Kind::MARKET.into_iter().find(|kind| kind.market_name() == Some(name));
    named.with_context(|| {
        let all = Kind::MARKET.iter().filter_map(|kind| kind.market_name()).collect::<Vec<_>>().join(",");
        format!(
            "--types {name}: made-up events are of the types {all}; {name} events are published from a --file"
        )
    })
}

/// Publishes until the events end, `--count` is reached, or `stop` says so. Fails (exit code 1) if lines of a file had
/// to be left out.
///
/// # Errors
/// If Redis refuses us for good, the file can't be read, or standard output is closed.
pub async fn run(options: &Options, mut stop: Stop) -> anyhow::Result<ExitCode> {
    let mut link = Link::open(&options.redis_url)?;
    let (mut source, what) = options.source()?;
    let mut report = Report::new(options.expected_rate());
    let channels = options.types.iter().map(|name| format!("{}{name}:*", options.channel_prefix));
    let channels = channels.collect::<Vec<_>>().join(", ");
    tell(format_args!("publishing {what} to {}, channels {channels}", link.address()));

    let mut batch =
        Batch::new(&options.channel_prefix, options.last_value_key.clone().filter(|key| !key.is_empty()));
    let mut left = options.count.unwrap_or(u64::MAX);
    let outcome = loop {
        if left == 0 {
            break Ok(());
        }
        let turn = async {
            if !source.fill(&mut batch, left).await? {
                return Ok(None);
            }
            link.publish(&batch).await.map(Some)
        };
        let published = tokio::select! {
            published = turn => published,
            () = stop.requested() => break Ok(()),
        };
        match published {
            Ok(Some(published)) => {
                left -= published.receivers.len() as u64;
                if published.outage {
                    source.resume();
                }
                if let Err(error) = report.published(&batch, &published.receivers, source.behind()) {
                    break Err(error.into());
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    report.total(source.skipped());
    outcome?;
    Ok(if source.skipped() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn defaults_are_the_five_symbols_at_random_intervals() {
        let options = Options::try_parse_from(["test-publisher"]).unwrap();
        assert_eq!(options.symbols.iter().map(Symbol::as_str).collect::<Vec<_>>(), ws_gateway::demo::SYMBOLS);
        assert_eq!(options.expected_rate(), Some(2.5));
    }

    #[test]
    fn bad_values_are_named() {
        for (flag, value) in
            [("--rate", "0"), ("--symbols", "A\u{e4}B"), ("--count", "-1"), ("--types", "Tick")]
        {
            let error = Options::try_parse_from(["test-publisher", &format!("{flag}={value}")]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(flag) && text.contains(value), "{text}");
        }
        for wrong in [&["--file", "x", "--stdin"][..], &["--stdin", "--seq"]] {
            assert!(Options::try_parse_from([&["test-publisher"], wrong].concat()).is_err(), "{wrong:?}");
        }
        let custom = Options::try_parse_from(["test-publisher", "--types=trade,order_book"]).unwrap();
        let error = format!("{:#}", custom.source().unwrap_err());
        assert!(error.contains("--types order_book") && error.contains("trade,quote,candle"), "{error}");
        let two = Options::try_parse_from(["test-publisher", "--stdin", "--types=trade,quote"]).unwrap();
        assert!(two.source().unwrap_err().to_string().contains("trade,quote"));
    }
}
