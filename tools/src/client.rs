//! The client for the command line: subscribes, prints what the gateway says, and comes back when the connection ends.
//!
//! [`frame`] understands the protocol, [`view`] makes lines of it, [`wanted`] knows what to subscribe to, [`reconnect`]
//! decides whether and when to come back, [`stream`] reads server-sent events, [`foreign`] knows other APIs, [`people`] is for rooms and chats;
//! all of these are pure, but for `people`, which reads standard input. [`session`] is the loop that does it,
//! over connections of `link`, which come in by [`entry`], and [`audience`] hears of it: lines, or the screen of [`crate::tui`].

pub mod audience;
pub mod entry;
pub mod foreign;
pub mod frame;
mod link;
pub mod people;
pub mod reconnect;
pub mod session;
pub mod stream;
pub mod view;
pub mod wanted;

use std::time::Duration;

use clap::Parser;
use clap::builder::FalseyValueParser;
use serde_json::{Number, Value};

use crate::cli::{self, LastSeen};
use crate::tui::theme::Choice;
use entry::EntryOptions;
use foreign::Api;
use people::People;
use wanted::{Seen, Terms, Wanted};

pub use session::run;

/// What is subscribed to when nobody names symbols, and what is swapped then.
const SYMBOLS: [&str; 3] = ["AAPL", "GOOGL", "MSFT"];
const SWAP: (&str, &str) = ("MSFT", "TSLA");
const SWAP_AFTER: Duration = Duration::from_secs(10);

/// What a screen shows when nobody names symbols: what the demo and test-publisher trade.
const SYMBOLS_ON_SCREEN: [&str; 5] = ["AAPL", "GOOGL", "MSFT", "TSLA", "AMZN"];

/// How often a screen asks how long the way to the gateway and back is.
const PING_EVERY: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  ws-client                                       three symbols; after 10 s TSLA instead of MSFT
  ws-client --symbols BTC-USD,ETH-USD        others, without a swap
  ws-client --tui                            a watchlist with prices, chart and tape; ? tells the keys
  ws-client --swap GOOGL:AMZN --swap-after 3s
  ws-client --json | jq .data.price          every frame as it came, one a line
  ws-client --count 100 --duration 30s       fails unless 100 events come within 30 s
  ws-client --symbols 'BTC-*' --types trade,quote --snapshot
  ws-client --symbols '*' --max-rate 2 --conflate aggregate --stats
  ws-client --form batch --json              several events a frame
  ws-client --form sse --snapshot            the same from http://127.0.0.1:8080/sse
  ws-client --dialect binance --symbols BTCUSDT --types trade,candle   as Binance's clients get it
  CLIENT_TOKEN=… ws-client --room lobby      comes with a token, talks in a room, line by line
  ws-client --url wss://localhost:8080/ws --tls-ca-file cert.pem   a gateway with a certificate of its own
  ws-client --symbols AAPL --resume AAPL=1041  what came after trade 1041, then live ones

Events and the gateway's messages go to standard output, what the client itself has to say to
standard error. Exit code: 0 when done or stopped, 1 when the gateway refuses us for good or
--duration ends before --count is reached, 2 for a wrong command line.";

/// Subscribes to events and prints them.
#[derive(Debug, Clone, Parser)]
#[command(name = "ws-client", version, after_help = EXAMPLES)]
pub struct Options {
    /// Address of the gateway: ws:// or wss://
    #[arg(
        long,
        env = "WS_URL",
        value_name = "URL",
        default_value = "ws://127.0.0.1:8080/ws",
        hide_env_values = true,
        value_parser = cli::ws_url
    )]
    pub url: String,

    /// What the gateway is shown, and how it is known.
    #[command(flatten)]
    pub entry: EntryOptions,

    /// How events come: an object in each frame, arrays of what waits, or server-sent events over HTTP
    #[arg(long, env = "CLIENT_FORM", value_name = "FORM", value_enum, default_value = "json")]
    pub form: Form,

    /// Speak another API that the gateway serves (DIALECTS): every message is printed as it came
    #[arg(
        long,
        env = "CLIENT_DIALECT",
        value_name = "API",
        value_enum,
        conflicts_with_all = ["tui", "form", "swap", "swap_after", "heartbeat", "resume", "stats"]
    )]
    pub dialect: Option<Api>,

    /// Symbols to subscribe to, separated by commas; * is all, BTC-* all that begin so [default: AAPL,GOOGL,MSFT]
    #[arg(
        long,
        env = "CLIENT_SYMBOLS",
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = cli::symbol_or_pattern
    )]
    pub symbols: Vec<String>,

    /// Show a watchlist, a chart and a tape on the whole terminal, with keys
    #[arg(long, env = "CLIENT_TUI", value_parser = FalseyValueParser::new(), conflicts_with = "json")]
    pub tui: bool,

    /// The colours of --tui: by NO_COLOR and COLORFGBG, or for a dark or a light terminal, or none
    #[arg(long, env = "CLIENT_THEME", value_name = "THEME", value_enum, default_value = "auto")]
    pub theme: Choice,

    /// Print every frame as it came, byte for byte, one a line (a blank for each line break in it)
    #[arg(long, env = "CLIENT_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,

    /// Stop after so many events
    #[arg(long, env = "CLIENT_COUNT", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Stop after this time (30s, 5m; a plain number is milliseconds)
    #[arg(long, env = "CLIENT_DURATION", value_name = "TIME", value_parser = cli::duration)]
    pub duration: Option<Duration>,

    /// Drop one symbol for another after a while [default: MSFT:TSLA, with the default symbols only]
    #[arg(long, env = "CLIENT_SWAP", value_name = "OLD:NEW", value_parser = cli::swap, conflicts_with = "no_swap")]
    pub swap: Option<(String, String)>,

    /// When to swap, counted from the first subscription [default: 10s]
    #[arg(
        long,
        env = "CLIENT_SWAP_AFTER",
        value_name = "TIME",
        value_parser = cli::duration,
        conflicts_with = "no_swap"
    )]
    pub swap_after: Option<Duration>,

    /// Swap nothing
    #[arg(long, env = "CLIENT_NO_SWAP", value_parser = FalseyValueParser::new())]
    pub no_swap: bool,

    /// Types of events to subscribe to; the gateway has those of its CHANNEL_TYPES [default: trade]
    #[arg(
        long,
        env = "CLIENT_TYPES",
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = cli::type_name
    )]
    pub types: Vec<String>,

    /// Ask for the last known event of each symbol first
    #[arg(long, env = "CLIENT_SNAPSHOT", value_parser = FalseyValueParser::new())]
    pub snapshot: bool,

    /// Ask for at most so many updates a second of each symbol, 0.1 to 1000
    #[arg(long, env = "CLIENT_MAX_RATE", value_name = "RATE", value_parser = cli::max_rate)]
    pub max_rate: Option<Number>,

    /// Let a newer event replace one that waits; a trade can tell what it stands for (aggregate)
    #[arg(
        long,
        env = "CLIENT_CONFLATE",
        value_name = "HOW",
        num_args = 0..=1,
        default_missing_value = "latest",
        value_parser = ["latest", "aggregate"]
    )]
    pub conflate: Option<String>,

    /// What the gateway shall do when we are too slow [default: as it is configured]
    #[arg(
        long,
        env = "CLIENT_ON_SLOW",
        value_name = "POLICY",
        value_parser = ["skip", "conflate", "disconnect"]
    )]
    pub on_slow: Option<String>,

    /// Ask for a heartbeat each second: the feed's state and the age of its last event
    #[arg(long, env = "CLIENT_HEARTBEAT", value_parser = FalseyValueParser::new())]
    pub heartbeat: bool,

    /// Catch up after a lost connection, and first of all from AAPL=1041,MSFT=7; works for symbols asked for by name
    /// whose workers send a seq
    #[arg(
        long,
        env = "CLIENT_RESUME",
        value_name = "SYMBOL=SEQ",
        num_args = 0..=1,
        default_missing_value = "",
        value_parser = cli::last_seen
    )]
    pub resume: Option<LastSeen>,

    /// Be in a room of the gateway's desk: prints what is said there, and says there what comes on standard input
    #[arg(long, env = "CLIENT_ROOM", value_name = "ID", conflicts_with_all = ["tui", "chat", "dialect"])]
    pub room: Option<String>,

    /// Say to a user what comes on standard input, and print what is said to us
    #[arg(long, env = "CLIENT_CHAT", value_name = "USER", conflicts_with_all = ["tui", "dialect"])]
    pub chat: Option<String>,

    /// Print what workers tell our user and everyone
    #[arg(long, env = "CLIENT_NOTIFICATIONS", value_parser = FalseyValueParser::new(), conflicts_with_all = ["tui", "dialect"])]
    pub notifications: bool,

    /// Ask the gateway now and then how far behind we are [default: every 10s, if there is no time]
    #[arg(
        long,
        env = "CLIENT_STATS",
        value_name = "TIME",
        num_args = 0..=1,
        default_missing_value = "10s",
        value_parser = cli::period
    )]
    pub stats: Option<Duration>,
}

/// How events come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// An object in each frame.
    #[default]
    Json,
    /// Arrays of what waits.
    Batch,
    /// Server-sent events over HTTP.
    Sse,
}

impl Options {
    /// Whether what is asked for can be asked for in that form.
    ///
    /// # Errors
    /// If a stream would have to be asked anything.
    fn check_form(&self) -> anyhow::Result<()> {
        if self.form != Form::Sse {
            return Ok(());
        }
        let asked = [
            ("--swap", self.swap.is_some() || self.swap_after.is_some()),
            ("--stats", self.stats.is_some()),
            ("--room", self.room.is_some()),
            ("--chat", self.chat.is_some()),
            ("--notifications", self.notifications),
            ("--resume", self.resume.as_ref().is_some_and(|LastSeen(seen)| !seen.is_empty())),
        ];
        if let Some((flag, _)) = asked.into_iter().find(|(_, is_asked)| *is_asked) {
            anyhow::bail!(
                "{flag} asks something of an open connection, which a stream (--form sse) has no way for"
            );
        }
        Ok(())
    }

    /// What to subscribe to, and what to swap when: what was asked for, or the default swap of the default symbols.
    ///
    /// # Errors
    /// If the swap drops a symbol that isn't subscribed to, or one is to be resumed that isn't.
    pub fn wanted(&self) -> anyhow::Result<(Wanted, Option<Duration>)> {
        self.check_form()?;
        if self.symbols.is_empty() && self.people().is_any() {
            return Ok((Wanted { terms: self.terms(), ..Wanted::default() }, None));
        }
        let default = self.symbols.is_empty();
        let symbols = if default { SYMBOLS.map(str::to_owned).to_vec() } else { self.symbols.clone() };
        let asked = self.swap.is_some() || self.swap_after.is_some();
        let is_fixed = self.form == Form::Sse || self.dialect.is_some();
        let swap = if self.no_swap || is_fixed || !(default || asked) {
            None
        } else {
            let usual = || (SWAP.0.to_owned(), SWAP.1.to_owned());
            Some(self.swap.clone().unwrap_or_else(usual))
        };
        if let Some((drop, take)) = &swap
            && !symbols.contains(drop)
        {
            anyhow::bail!(
                "--swap {drop}:{take} would drop {drop}, which is not among the symbols {}; \
                 name one of them in --swap, or add {drop} to --symbols",
                symbols.join(",")
            );
        }
        let after = swap.is_some().then(|| self.swap_after.unwrap_or(SWAP_AFTER));
        let resume = self.resume.as_ref().map(|seen| self.seen(seen, &symbols)).transpose()?;
        let types = self.types.clone();
        Ok((Wanted { symbols, swap, types, terms: self.terms(), resume, ..Wanted::default() }, after))
    }

    /// The same for a screen: it shows prices at once, knows the feed's state, and catches up.
    ///
    /// # Errors
    /// If what a screen does can't be done in the form that was asked for.
    pub fn for_screen(&self) -> anyhow::Result<Self> {
        if self.form == Form::Sse {
            anyhow::bail!("--tui asks for symbols while it runs, which a stream (--form sse) has no way for");
        }
        let mut options = self.clone();
        if options.symbols.is_empty() {
            options.symbols = SYMBOLS_ON_SCREEN.map(str::to_owned).to_vec();
        }
        options.snapshot = true;
        options.heartbeat = true;
        options.resume.get_or_insert_default();
        options.stats.get_or_insert(PING_EVERY);
        Ok(options)
    }

    /// Where to connect.
    fn address(&self) -> String {
        let in_dialect = |api: Api| api.url(&self.url, &self.terms(), self.entry.token.as_deref());
        self.dialect.map_or_else(|| self.people().address(&self.url), in_dialect)
    }

    /// What to say once connected, to be subscribed to all that is wanted, and to be in the room.
    fn opening(&self, wanted: &Wanted) -> anyhow::Result<Vec<String>> {
        let in_dialect = |api: Api| api.requests(&wanted.symbols, &wanted.types, self.entry.token.as_deref());
        self.dialect.map_or_else(|| Ok([wanted.subscribe(), self.people().requests()].concat()), in_dialect)
    }

    /// What of the desk is asked for.
    pub fn people(&self) -> People {
        let Self { room, chat, notifications, .. } = self.clone();
        People { room, chat, notifications }
    }

    fn terms(&self) -> Terms {
        let conflate = self.conflate.as_deref().map(|how| match how {
            "aggregate" => Value::from(how),
            _ => Value::from(true),
        });
        let Self { snapshot, heartbeat, max_rate, on_slow, .. } = self.clone();
        Terms { snapshot, heartbeat, conflate, max_rate, on_slow }
    }

    /// What `--resume` says was seen: of the one type that is subscribed to.
    fn seen(&self, LastSeen(seen): &LastSeen, symbols: &[String]) -> anyhow::Result<Seen> {
        let mut known = Seen::new();
        for (symbol, seq) in seen {
            let type_name = match &self.types[..] {
                [] => "trade",
                [type_name] => type_name,
                _ => anyhow::bail!("--resume {symbol}={seq} would mean each of --types; name one type"),
            };
            if !symbols.iter().any(|name| name == symbol.as_str()) {
                anyhow::bail!(
                    "--resume {symbol}={seq} resumes what is not among the symbols {}; add it to --symbols",
                    symbols.join(",")
                );
            }
            known.insert((type_name.to_owned(), symbol.to_string()), *seq);
        }
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn swap_of(arguments: &[&str]) -> anyhow::Result<(String, Option<Duration>)> {
        let options = Options::try_parse_from([&["ws-client"], arguments].concat())?;
        let (mut wanted, after) = options.wanted()?;
        Ok((wanted.swap().join(" "), after))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn the_default_symbols_are_swapped_after_ten_seconds() {
        let (requests, after) = swap_of(&[]).unwrap();
        assert!(requests.contains(r#"["MSFT"]"#) && requests.contains(r#"["TSLA"]"#), "{requests}");
        assert_eq!(after, Some(Duration::from_secs(10)));
    }

    #[test]
    fn other_symbols_are_swapped_only_when_asked() {
        assert_eq!(swap_of(&["--symbols", "AAPL,AMZN"]).unwrap(), (String::new(), None));
        assert_eq!(swap_of(&["--no-swap"]).unwrap(), (String::new(), None));
        let (requests, after) =
            swap_of(&["--symbols=AAPL,AMZN", "--swap=AMZN:NVDA", "--swap-after=2s"]).unwrap();
        assert!(requests.contains(r#"["NVDA"]"#), "{requests}");
        assert_eq!(after, Some(Duration::from_secs(2)));
        let (requests, _) = swap_of(&["--symbols", "MSFT", "--swap-after", "1s"]).unwrap();
        assert!(requests.contains(r#"["TSLA"]"#), "{requests}");
    }

    #[test]
    fn terms_are_those_of_the_flags() {
        let subscribe = |arguments: &[&str]| -> anyhow::Result<String> {
            let options = Options::try_parse_from([&["ws-client"], arguments].concat())?;
            Ok(options.wanted()?.0.subscribe().join("\n"))
        };
        let all = subscribe(&[
            "--symbols=AMpB,BTC-*",
            "--types=trade,quote",
            "--snapshot",
            "--heartbeat",
            "--conflate",
            "--max-rate=0.5",
            "--on-slow=conflate",
            "--resume",
            "--stats",
        ]);
        assert_eq!(
            all.unwrap(),
            r#"{"action":"subscribe","symbols":["AMpB","BTC-*"],"types":["trade","quote"],"snapshot":true,"heartbeat":true,"conflate":true,"maxRate":0.5,"onSlow":"conflate"}"#
        );
        let one = subscribe(&["--symbols", "X", "--conflate", "aggregate", "--types=quote", "--resume=X=7"]);
        assert_eq!(
            one.unwrap(),
            r#"{"action":"subscribe","symbols":["X"],"types":["quote"],"resume":{"X":7},"conflate":"aggregate"}"#
        );
        for (bad, part) in [
            (&["--conflate=sum"][..], "aggregate"),
            (&["--max-rate=0"], "0.1 to 1000"),
            (&["--on-slow=wait"], "disconnect"),
            (&["--types=Tick"], "is no type"),
            (&["--form=xml"], "batch"),
            (&["--form=sse", "--stats"], "--stats"),
            (&["--form=sse", "--room=r"], "--room"),
            (&["--room=r", "--chat=u"], "--chat"),
            (&["--resume=TSLA=1"], "--symbols"),
            (&["--resume=AAPL=1", "--types=trade,quote"], "one type"),
        ] {
            let error = subscribe(bad).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_swap_of_what_is_not_held_is_refused() {
        let error = swap_of(&["--symbols", "AAPL", "--swap-after", "1s"]).unwrap_err().to_string();
        assert!(error.contains("MSFT") && error.contains("AAPL") && error.contains("--symbols"), "{error}");
        assert!(swap_of(&["--no-swap", "--swap", "MSFT:TSLA"]).is_err());
    }
}
