//! Names of Binance's streams: `btcusdt@trade`, `btcusdt@kline_1m`. Pure.
//!
//! A symbol stands in a stream's name in lower case, and means the one in upper case, whatever `SYMBOL_CASE` is: so Binance has it.

use crate::market::{BinanceShape, BinanceStream, Encoding, Form, Kind, Name, Subject, Symbol, SymbolCase};
use crate::protocol::request::Grammar;

/// The stream of candles, before the interval.
const KLINE: &str = "kline_";

/// The intervals of candles, and how long one is in seconds. A month is as long as it is.
const INTERVALS: [(&str, Option<i64>); 16] = [
    ("1s", Some(1)),
    ("1m", Some(60)),
    ("3m", Some(180)),
    ("5m", Some(300)),
    ("15m", Some(900)),
    ("30m", Some(1_800)),
    ("1h", Some(3_600)),
    ("2h", Some(7_200)),
    ("4h", Some(14_400)),
    ("6h", Some(21_600)),
    ("8h", Some(28_800)),
    ("12h", Some(43_200)),
    ("1d", Some(86_400)),
    ("3d", Some(259_200)),
    ("1w", Some(604_800)),
    ("1M", None),
];

/// How long a candle is in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Always the same.
    Seconds(i64),
    /// That of its month.
    Month,
}

/// How long the candles of an interval are; `None` if Binance has none of that name.
pub fn length(interval: &str) -> Option<Length> {
    let (_, seconds) = INTERVALS.iter().find(|(name, _)| *name == interval)?;
    Some(seconds.map_or(Length::Month, Length::Seconds))
}

/// What the events of a stream are, and the form that they have on a connection of that shape; `None` if it is none that the gateway has events
/// for.
pub fn parse(name: &str, shape: BinanceShape, grammar: &Grammar) -> Option<(Kind, Form, Name)> {
    // A symbol may have a @ in it.
    let (symbol, stream) = name.rsplit_once('@')?;
    let symbol = Symbol::parse(symbol.as_bytes(), SymbolCase::Upper)?;
    let symbol = grammar.spelling.symbol(symbol);
    let (kind, of, symbol) = match stream {
        "trade" => (Kind::TRADE, BinanceStream::Trades, symbol),
        "aggTrade" => (Kind::TRADE, BinanceStream::AggTrades, symbol),
        "bookTicker" => (Kind::QUOTE, BinanceStream::Others, symbol),
        stream => {
            let interval = stream.strip_prefix(KLINE)?;
            length(interval)?;
            (Kind::CANDLE, BinanceStream::Others, symbol.with_interval(interval))
        }
    };
    grammar.kinds.carries(kind).then(|| (kind, Form::binance(shape, of), Name::Symbol(symbol)))
}

/// Appends the name of the stream that has events of that type and topic; `spelled` is the symbol as Binance spells it. `false`, and nothing is
/// appended: there is none.
pub fn write_name(out: &mut Vec<u8>, kind: Kind, of: BinanceStream, topic: &Symbol, spelled: &str) -> bool {
    let (stream, interval) = match (kind, of) {
        (Kind::TRADE, BinanceStream::Trades) => ("trade", ""),
        (Kind::TRADE, BinanceStream::AggTrades) => ("aggTrade", ""),
        (Kind::QUOTE, BinanceStream::Others) => ("bookTicker", ""),
        (Kind::CANDLE, BinanceStream::Others) => match topic.interval().filter(|name| length(name).is_some())
        {
            Some(interval) => (KLINE, interval),
            None => return false,
        },
        _ => return false,
    };
    out.extend(spelled.bytes().map(|byte| byte.to_ascii_lowercase()));
    out.push(b'@');
    out.extend_from_slice(stream.as_bytes());
    out.extend_from_slice(interval.as_bytes());
    true
}

/// The name of a subject's stream; empty if it has none.
pub fn written(subject: &Subject, grammar: &Grammar) -> String {
    let mut name = Vec::new();
    if let (Encoding::Binance(_, of), Some(symbol)) = (subject.form.encoding(), subject.name.symbol()) {
        write_name(&mut name, subject.kind, of, symbol, grammar.spelling.of(symbol));
    }
    // A symbol is ASCII.
    String::from_utf8(name).unwrap_or_default()
}
