//! What the screen knows of one symbol. Pure: time comes in.

use std::collections::VecDeque;

use crate::client::frame::Marks;
use crate::term::clean;
use crate::trade::{Price, Trade, VALUE_CHARS_MAX};

/// The trend goes back so many seconds, a price for each.
pub const TREND_SECONDS: usize = 300;

/// The rate is the mean of so many seconds.
const RATE_SECONDS: usize = 10;

/// A delay beyond this is no delay: the worker's clock, or the event's, is of another time.
const DELAY_MS_MAX: i64 = 3_600_000;

/// Clocks of two machines differ by this much and still count as one.
const CLOCK_MS_TOLERATED: i64 = 1_000;

/// A symbol of the watchlist.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// As the gateway spells it.
    pub symbol: String,
    /// The last price as the worker wrote it.
    pub last: String,
    /// The same as a number.
    pub price: Option<Price>,
    /// The first price that this screen has seen.
    pub first: Option<Price>,
    /// The last move: +1 up, −1 down, 0 none.
    pub direction: i8,
    /// When the price last moved.
    pub moved_at_ms: Option<u64>,
    /// When the last event came.
    pub at_ms: Option<u64>,
    /// What was traded since this screen is open.
    pub volume: f64,
    /// From the worker's timestamp to here, if the two clocks agree.
    pub delay_ms: Option<u64>,
    /// Events that the gateway skipped because we were too slow.
    pub skipped: u64,
    /// Events that never reached the gateway: numbers that its workers left out.
    pub missed: u64,
    /// Connection or feed was lost since its last event: something newer may be missing.
    pub is_stale: bool,
    /// The gateway has promised all that was missed.
    pub is_recovered: bool,
    /// The market has halted it.
    pub halted: Option<String>,
    /// The price at the end of each second, the last one at the end.
    pub trend: VecDeque<f64>,
    /// Events of the present second, and of each of those before.
    counted: u64,
    counts: VecDeque<u64>,
}

impl Row {
    /// Nothing known yet.
    pub fn new(symbol: &str) -> Self {
        Self { symbol: symbol.to_owned(), ..Self::default() }
    }

    /// A trade has come.
    pub fn trade(&mut self, trade: &Trade<'_>, marks: &Marks<'_>, at_ms: u64, unix_ms: u64) {
        let conflated = marks.conflated.and_then(|json| serde_json::from_str::<serde_json::Value>(json).ok());
        let of_conflated = |field: &str| conflated.as_ref().and_then(|conflated| conflated.get(field));
        self.at_ms = Some(at_ms);
        self.is_stale = false;
        self.last = clean(trade.price.get(), VALUE_CHARS_MAX);
        if let Some(price) = Price::parse(trade.price.get()) {
            let before = self.price.replace(price).map_or(price.value, |before| before.value);
            self.first.get_or_insert(price);
            self.direction = (price.value > before).into();
            self.direction -= i8::from(price.value < before);
            if self.direction != 0 {
                self.moved_at_ms = Some(at_ms);
            }
            if self.trend.is_empty() {
                self.trend.push_back(price.value);
            }
        }
        // The last known trade was made before, perhaps before this screen was opened.
        if marks.snapshot {
            return;
        }
        let one = || trade.volume.get().parse().ok().filter(|volume: &f64| volume.is_finite());
        let all = of_conflated("volume").and_then(serde_json::Value::as_f64);
        self.volume += all.or_else(one).unwrap_or_default();
        self.counted += of_conflated("count").and_then(serde_json::Value::as_u64).unwrap_or(1);
        if !marks.replay {
            self.delay_ms = delay(trade.timestamp.get(), unix_ms);
        }
    }

    /// Another event of the symbol has come.
    pub fn other(&mut self, at_ms: u64) {
        self.at_ms = Some(at_ms);
        self.counted += 1;
    }

    /// A second is over.
    pub fn second(&mut self) {
        push(&mut self.counts, std::mem::take(&mut self.counted), RATE_SECONDS);
        if let Some(price) = self.price {
            push(&mut self.trend, price.value, TREND_SECONDS);
        }
    }

    /// Events a second, lately.
    pub fn rate(&self) -> f64 {
        self.counts.iter().sum::<u64>() as f64 / self.counts.len().max(1) as f64
    }

    /// The change since the first price seen, with the digits that the worker writes.
    pub fn change(&self) -> Option<String> {
        let (first, price) = (self.first?, self.price?);
        let decimals = first.decimals.max(price.decimals);
        Some(format!("{:+.decimals$}", price.value - first.value))
    }

    /// The same in percent, if there is something to divide by.
    pub fn change_percent(&self) -> Option<f64> {
        let (first, price) = (self.first?.value, self.price?.value);
        (first.abs() > f64::EPSILON).then(|| (price - first) / first.abs() * 100.0)
    }

    /// Events that are missing here, whoever lost them.
    pub fn lost(&self) -> u64 {
        self.skipped.saturating_add(self.missed)
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T, max: usize) {
    if queue.len() == max {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// From the worker's timestamp to now, if they can be of the same time.
fn delay(timestamp: &str, unix_ms: u64) -> Option<u64> {
    let then = timestamp.parse::<i64>().ok()?;
    let delay = i64::try_from(unix_ms).ok()?.checked_sub(then)?;
    ((-CLOCK_MS_TOLERATED..=DELAY_MS_MAX).contains(&delay)).then(|| delay.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_500;

    fn trade(row: &mut Row, price: &str, marks: Marks<'_>) {
        let json = format!(r#"{{"symbol":"A","price":{price},"volume":100,"timestamp":1700000000123}}"#);
        row.trade(&serde_json::from_str(&json).unwrap(), &marks, 7, NOW);
    }

    #[test]
    fn the_change_is_since_the_first_price_and_has_the_workers_digits() {
        let mut row = Row::new("A");
        trade(&mut row, "200.50", Marks { snapshot: true, ..Marks::default() });
        assert_eq!((row.volume, row.delay_ms, row.direction), (0.0, None, 0), "it was traded before");
        trade(&mut row, "201.502", Marks::default());
        assert_eq!((row.last.as_str(), row.change().as_deref()), ("201.502", Some("+1.002")));
        assert_eq!(
            (row.volume, row.delay_ms, row.direction, row.moved_at_ms),
            (100.0, Some(377), 1, Some(7))
        );
        trade(&mut row, "198.495", Marks::default());
        assert_eq!((row.direction, row.change_percent().map(|p| (p * 100.0).round())), (-1, Some(-100.0)));
        trade(&mut row, "\"n/a\"", Marks::default());
        assert_eq!((row.last.as_str(), row.price.map(|price| price.value)), ("\"n/a\"", Some(198.495)));
    }

    #[test]
    fn a_conflated_trade_counts_for_all_that_it_stands_for() {
        let mut row = Row::new("A");
        let conflated = Some(r#"{"count":9,"volume":950.5}"#);
        trade(&mut row, "1", Marks { conflated, ..Marks::default() });
        trade(&mut row, "1", Marks { conflated: Some(r#"{"count":3}"#), ..Marks::default() });
        row.second();
        assert_eq!((row.volume, row.rate()), (1050.5, 12.0));
        row.second();
        row.other(8);
        assert_eq!(row.rate(), 6.0, "the present second isn't over");
        (0..20).for_each(|_| row.second());
        assert_eq!((row.rate(), row.trend.len()), (0.0, 23));
    }

    #[test]
    fn a_delay_needs_clocks_that_agree() {
        for (timestamp, expected) in [
            ("1700000000499", Some(1)),
            ("1700000001400", Some(0)),
            ("1700000009999", None),
            ("1234567890", None),
            ("9223372036854775808", None),
            ("-9223372036854775808", None),
            ("null", None),
        ] {
            assert_eq!(delay(timestamp, NOW), expected, "{timestamp}");
        }
    }
}
