//! A simulated market, which `--demo` and the test publisher publish instead of a worker.
//!
//! | part | what it does |
//! |---|---|
//! | [`walk`] | makes a symbol's trades |
//! | [`pace`] | decides when symbols trade |
//! | [`Market`] | joins these two |
//! | [`events`] | turns some of the trades into quotes, candles, news and halts |
//! | [`feed`] | publishes them inside the process, for `--demo` |
//!
//! All but [`feed`] is pure. The caller brings the clock and the seed: the same clock and seed give the same trades, byte for
//! byte.

pub mod events;
pub mod feed;
pub mod pace;
pub mod walk;

use std::collections::HashSet;

use crate::market::Symbol;
use pace::Schedule;
use walk::{Trade, Walk};

/// The symbols that the test publisher trades by default.
pub const SYMBOLS: [&str; 5] = ["AAPL", "GOOGL", "MSFT", "TSLA", "AMZN"];

/// The symbols that trade with `--demo`. A first visit of the live page shows all of them, where a client may have twice as many.
pub const DEMO_SYMBOLS: [&str; 8] = ["AAPL", "GOOGL", "MSFT", "TSLA", "AMZN", "NVDA", "META", "NFLX"];

/// Symbols with their prices, and the times at which they trade.
#[derive(Debug, Clone)]
pub struct Market {
    walks: Vec<Walk>,
    schedule: Schedule,
}

impl Market {
    /// A market in which every symbol trades at random intervals of [`pace::INTERVAL_US`]. Without symbols it never trades.
    pub fn random(symbols: Vec<Symbol>, seed: u64) -> Self {
        let symbols = distinct(symbols);
        let schedule = Schedule::random(symbols.len(), seed);
        Self::new(symbols, schedule, seed)
    }

    /// A market that trades `per_second` times a second, evenly spaced, each time a symbol drawn at random.
    pub fn steady(symbols: Vec<Symbol>, per_second: f64, seed: u64) -> Self {
        let symbols = distinct(symbols);
        let schedule = Schedule::steady(symbols.len(), per_second, seed);
        Self::new(symbols, schedule, seed)
    }

    fn new(symbols: Vec<Symbol>, schedule: Schedule, seed: u64) -> Self {
        let walks = symbols.into_iter().map(|symbol| Walk::new(symbol, seed)).collect();
        Self { walks, schedule }
    }

    /// When the next trade is due, in µs since the start; `None` if there never is one.
    pub fn due_us(&self) -> Option<u64> {
        self.schedule.due_us()
    }

    /// The next trade if it is due `elapsed_us` after the start, stamped `now_ms` (Unix milliseconds).
    pub fn next(&mut self, elapsed_us: u64, now_ms: u64) -> Option<Trade<'_>> {
        let symbol = self.schedule.take(elapsed_us)?;
        Some(self.walks.get_mut(symbol)?.step(now_ms))
    }

    /// Postpones all trades that are due before `elapsed_us`, after a time in which none could be published. So they don't come
    /// in a burst.
    pub fn resume(&mut self, elapsed_us: u64) {
        self.schedule.resume(elapsed_us);
    }
}

/// Removes repeats: a symbol that is named twice would trade at two prices.
fn distinct(mut symbols: Vec<Symbol>) -> Vec<Symbol> {
    let mut seen = HashSet::new();
    symbols.retain(|symbol| seen.insert(symbol.clone()));
    symbols
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::SymbolCase;

    /// The JSON of every trade in the first `for_ms` milliseconds.
    fn tape(mut market: Market, for_ms: u64) -> Vec<String> {
        let mut trades = Vec::new();
        for ms in 0..for_ms {
            while let Some(trade) = market.next(ms * 1000, 1_700_000_000_000 + ms) {
                let mut json = Vec::new();
                trade.write_json(&mut json);
                trades.push(String::from_utf8(json).unwrap());
            }
        }
        trades
    }

    fn symbols() -> Vec<Symbol> {
        SYMBOLS.iter().filter_map(|name| Symbol::parse(name.as_bytes(), SymbolCase::Upper)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_tape() {
        let first = tape(Market::random(symbols(), 7), 30_000);
        assert_eq!(first, tape(Market::random(symbols(), 7), 30_000));
        assert_ne!(first, tape(Market::random(symbols(), 8), 30_000));
        for name in SYMBOLS {
            let trades = first.iter().filter(|json| json.contains(name)).count();
            assert!((10..=30).contains(&trades), "{name} traded {trades} times in 30 s");
        }
    }

    #[test]
    fn a_steady_market_trades_exactly_at_its_rate() {
        let trades = tape(Market::steady(symbols(), 2_000.0, 1), 1_000);
        // The last millisecond looked at is 999, and trades fall at 0, 0.5, 1.0 … 999.0 ms.
        assert_eq!(trades.len(), 1_999);
        for name in SYMBOLS {
            assert!(trades.iter().any(|json| json.contains(name)));
        }
    }

    #[test]
    fn a_symbol_named_twice_trades_once() {
        let twice = [symbols(), symbols()].concat();
        assert_eq!(tape(Market::random(twice, 7), 10_000), tape(Market::random(symbols(), 7), 10_000));
    }

    #[test]
    fn a_market_without_symbols_is_silent() {
        for mut market in [Market::random(Vec::new(), 1), Market::steady(Vec::new(), 10.0, 1)] {
            assert_eq!(market.due_us(), None);
            assert!(market.next(u64::MAX, 0).is_none());
        }
    }
}
