//! One symbol's price as a geometric random walk on a grid of one cent.
//!
//! The step grows with the square root of the time since the last trade, as it does in a market: a symbol that
//! trades ten thousand times a second is not more volatile than one that trades every other second. Only
//! operations that IEEE 754 rounds exactly are used, so a seed gives the same prices on every machine.

use std::fmt;
use std::io::Write as _;

use fastrand::Rng;

use crate::market::Symbol;

/// Standard deviation of the price after one second, as a fraction of it. An ordinary share has a third of that.
pub const VOLATILITY: f64 = 0.000_3;

/// A longer pause counts as this long, so that the first trade after a night doesn't leap.
pub const PAUSE_MS_MAX: u64 = 60_000;

/// No trade moves the unrounded price by more than this fraction: `VOLATILITY` × √60 s × `Z_MAX` = 0.0081.
pub const STEP_MAX: f64 = 0.008_1;

/// The largest value of [`normal`].
const Z_MAX: f64 = 3.464_101_615_137_754_6;

/// The range of the price in dollars: from one tick to a price that an `f64` still holds exactly in cents.
const PRICE_MIN: f64 = 0.01;
const PRICE_MAX: f64 = 1e9;

/// The exchanges of trades. Symbols are listed at one of the first two.
const EXCHANGES: [&str; 6] = ["NASDAQ", "NYSE", "ARCA", "BATS", "IEX", "EDGX"];

/// The first prices of well-known symbols, in dollars. All are listed at NASDAQ.
const KNOWN: [(&str, f64); 8] = [
    ("AAPL", 189.50),
    ("GOOGL", 141.80),
    ("MSFT", 378.90),
    ("TSLA", 242.60),
    ("AMZN", 153.40),
    ("NVDA", 487.20),
    ("META", 334.70),
    ("NFLX", 479.10),
];

/// A simulated trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trade<'w> {
    /// The symbol that was traded.
    pub symbol: &'w Symbol,
    /// The price in ticks of one cent, at least 1.
    pub price_cents: u64,
    /// The number of shares, at least 1.
    pub volume: u32,
    /// Unix milliseconds by the caller's clock.
    pub timestamp_ms: u64,
    /// The exchange that reports the trade.
    pub exchange: &'static str,
}

impl Trade<'_> {
    /// Appends the JSON object that a worker publishes: `symbol`, `price` (two decimals), `volume`, `timestamp`,
    /// `exchange`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let Trade { symbol, price_cents, volume, timestamp_ms, exchange } = self;
        let price = Dollars(*price_cents);
        // Writing to a Vec cannot fail; a symbol has no character that JSON escapes.
        let _ = write!(
            out,
            r#"{{"symbol":"{symbol}","price":{price},"volume":{volume},"timestamp":{timestamp_ms},"exchange":"{exchange}"}}"#
        );
    }
}

/// An amount in cents, written as dollars with two decimals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dollars(pub(super) u64);

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// A symbol and its current price.
#[derive(Debug, Clone)]
pub struct Walk {
    symbol: Symbol,
    listing: &'static str,
    /// In dollars, not rounded: at high rates a step is far below a tick and would be lost by rounding.
    price: f64,
    last_ms: Option<u64>,
    rng: Rng,
}

impl Walk {
    /// Begins near the symbol's usual price. Under the same seed the walks of different symbols are independent of each other.
    pub fn new(symbol: Symbol, seed: u64) -> Self {
        let hash = fnv1a(symbol.as_bytes());
        let known = KNOWN.iter().find(|(name, _)| *name == symbol.as_str());
        let (price, listing) = match known {
            Some(&(_, price)) => (price, EXCHANGES[0]),
            None => (10.0 + (hash % 49_000) as f64 / 100.0, EXCHANGES[usize::from(hash & 1 == 1)]),
        };
        Self { symbol, listing, price, last_ms: None, rng: Rng::with_seed(seed ^ hash) }
    }

    /// The next trade, at `now_ms` (Unix milliseconds). If the clock stands still or goes back, the price stays the same.
    pub fn step(&mut self, now_ms: u64) -> Trade<'_> {
        let pause_ms = match self.last_ms {
            Some(last_ms) => now_ms.saturating_sub(last_ms).min(PAUSE_MS_MAX),
            None => 1_000,
        };
        self.last_ms = Some(now_ms);
        let move_by = VOLATILITY * (pause_ms as f64 / 1e3).sqrt() * normal(&mut self.rng);
        self.price = (self.price * (1.0 + move_by)).clamp(PRICE_MIN, PRICE_MAX);
        let volume = volume(&mut self.rng);
        let exchange = self.exchange();
        let price_cents = (self.price * 100.0).round() as u64;
        Trade { symbol: &self.symbol, price_cents, volume, timestamp_ms: now_ms, exchange }
    }

    /// Draws the exchange that reports a trade: mostly the one where the symbol is listed.
    fn exchange(&mut self) -> &'static str {
        if self.rng.u32(0..10) < 6 { self.listing } else { EXCHANGES[self.rng.usize(0..EXCHANGES.len())] }
    }
}

/// Draws a bounded and nearly standard normal number: the sum of four uniform ones, scaled to a variance of 1.
fn normal(rng: &mut Rng) -> f64 {
    let sum: f64 = (0..4).map(|_| rng.f64() - 0.5).sum();
    sum * Z_MAX / 2.0
}

/// Draws a number of shares: an odd lot, some round lots (each further one half as likely), or sometimes a block.
fn volume(rng: &mut Rng) -> u32 {
    match rng.u32(0..400) {
        0 => 100 * rng.u32(50..=500),
        1..=160 => rng.u32(1..100),
        _ => 100 * (1 + rng.u32(..).trailing_zeros()),
    }
}

/// The hash FNV-1a, which gives the same values on every machine and in every version.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::event::Checker;
    use crate::market::{Kind, SymbolCase};

    const START_MS: u64 = 1_700_000_000_000;

    fn symbol(name: &str) -> Symbol {
        Symbol::parse(name.as_bytes(), SymbolCase::Upper).unwrap()
    }

    fn prices(name: &str, seed: u64, pause_ms: u64, n: u64) -> Vec<u64> {
        let mut walk = Walk::new(symbol(name), seed);
        (0..n).map(|i| walk.step(START_MS + i * pause_ms).price_cents).collect()
    }

    #[test]
    fn prices_stay_positive_and_steps_bounded() {
        for (name, seed) in [("AAPL", 1), ("TSLA", 2), ("X", 3), ("BTC-USD", 4)] {
            for pause_ms in [0, 1, 2_000, 10_000_000] {
                let prices = prices(name, seed, pause_ms, 20_000);
                for pair in prices.windows(2) {
                    assert!(pair[1] >= 1);
                    // Either price is rounded by up to half a tick.
                    let bound = (pair[0] as f64 + 0.5) * STEP_MAX + 1.0;
                    assert!(pair[0].abs_diff(pair[1]) as f64 <= bound, "{name}: {pair:?}");
                }
            }
        }
    }

    #[test]
    fn a_price_at_its_least_stays_positive() {
        let mut walk = Walk::new(symbol("PENNY"), 5);
        walk.price = PRICE_MIN;
        assert!((0..10_000).all(|i| walk.step(START_MS + i * PAUSE_MS_MAX).price_cents >= 1));
    }

    #[test]
    fn the_seed_decides_the_walk_and_other_symbols_do_not() {
        assert_eq!(prices("AAPL", 9, 2_000, 500), prices("AAPL", 9, 2_000, 500));
        assert_ne!(prices("AAPL", 9, 2_000, 500), prices("AAPL", 10, 2_000, 500));
        assert_ne!(prices("ABCD", 9, 2_000, 500), prices("ABCE", 9, 2_000, 500));
    }

    #[test]
    fn volatility_does_not_depend_on_how_often_a_symbol_trades() {
        // 100 s of the market, seen at 1 and at 1000 trades a second, over several seeds.
        let spread = |pause_ms: u64| {
            let square = |seed| {
                let prices = prices("AAPL", seed, pause_ms, 100_000 / pause_ms);
                let (first, last) = (prices[0] as f64, prices[prices.len() - 1] as f64);
                ((last - first) / first).powi(2)
            };
            ((0..40).map(square).sum::<f64>() / 40.0).sqrt()
        };
        let expected = VOLATILITY * 10.0;
        for pause_ms in [1_000, 1] {
            let ratio = spread(pause_ms) / expected;
            assert!((0.6..1.5).contains(&ratio), "{pause_ms} ms: {ratio}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_changes_no_price() {
        let mut walk = Walk::new(symbol("MSFT"), 1);
        let before = walk.step(START_MS).price_cents;
        assert_eq!(walk.step(START_MS - 5_000).price_cents, before);
        assert_eq!(walk.step(START_MS - 5_000).timestamp_ms, START_MS - 5_000);
    }

    #[test]
    fn the_json_is_what_the_protocol_shows() {
        let aapl = symbol("AAPL");
        let mut trade = Trade {
            symbol: &aapl,
            price_cents: 15_025,
            volume: 100,
            timestamp_ms: 1_234_567_890,
            exchange: "NASDAQ",
        };
        let mut json = Vec::new();
        trade.write_json(&mut json);
        assert_eq!(
            String::from_utf8(json).unwrap(),
            r#"{"symbol":"AAPL","price":150.25,"volume":100,"timestamp":1234567890,"exchange":"NASDAQ"}"#
        );
        trade.price_cents = 7;
        let mut json = Vec::new();
        trade.write_json(&mut json);
        assert!(String::from_utf8(json).unwrap().contains(r#""price":0.07,"#));
    }

    #[test]
    fn the_gateway_accepts_every_trade() {
        let mut walk = Walk::new(symbol("A/B:C=^+@#._-9"), 3);
        for i in 0..1_000 {
            let mut json = Vec::new();
            let trade = walk.step(START_MS + i);
            assert!(trade.volume >= 1);
            trade.write_json(&mut json);
            assert!(Checker::with_max_bytes(65_536).check(Kind::TRADE, &json, b"A/B:C=^+@#._-9").is_ok());
        }
    }
}
