//! A trade as people read it: time, symbol, price with its direction and change, volume, exchange.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::term::{Palette, clean};

/// So many symbols' last prices are remembered; any further one is shown without a change (about 8 MB).
const SYMBOLS_MAX: usize = 65_536;

/// More of a value isn't shown.
pub const VALUE_CHARS_MAX: usize = 24;

/// More decimals than this are noise in a column.
const DECIMALS_MAX: usize = 8;

/// A worker's trade object, its numbers as they were written.
#[derive(Debug, Clone, Deserialize)]
pub struct Trade<'t> {
    /// What was traded.
    #[serde(borrow)]
    pub symbol: Cow<'t, str>,
    /// The price as written, `150.250` and all.
    #[serde(borrow)]
    pub price: &'t RawValue,
    /// The volume as written.
    #[serde(borrow)]
    pub volume: &'t RawValue,
    /// Unix milliseconds as written.
    #[serde(borrow)]
    pub timestamp: &'t RawValue,
    /// Where, if the worker says so.
    pub exchange: Option<Cow<'t, str>>,
}

/// The heading over the columns that [`Rows::row`] writes.
pub const HEADING: &str = "TIME (UTC)    SYMBOL             PRICE       CHANGE      VOLUME  EXCHANGE";

/// Writes trades in columns and remembers each symbol's last price, to tell the change.
#[derive(Debug)]
pub struct Rows {
    last: HashMap<String, Price>,
    palette: Palette,
}

impl Rows {
    /// No prices seen yet.
    pub fn new(palette: Palette) -> Self {
        Self { last: HashMap::new(), palette }
    }

    /// The trade in columns; `note` (how it differs from an ordinary one) stands at the end.
    pub fn row(&mut self, trade: &Trade<'_>, note: &str) -> String {
        let symbol = clean(&trade.symbol, 64);
        let price_text = trade.price.get();
        let (arrow, change) = self.change(&trade.symbol, price_text);
        let Palette { up, down, reset, .. } = self.palette;
        let (colour, reset) = match arrow {
            '▲' => (up, reset),
            '▼' => (down, reset),
            _ => ("", ""),
        };
        let time = time_of_day(trade.timestamp.get());
        let price = clean(price_text, VALUE_CHARS_MAX);
        let volume = clean(trade.volume.get(), VALUE_CHARS_MAX);
        let exchange = clean(trade.exchange.as_deref().unwrap_or("-"), 16);
        let mut row = format!(
            "{time:<12}  {symbol:<10} {price:>13} {colour}{arrow} {change:>10}{reset}  {volume:>10}  {exchange}"
        );
        if !note.is_empty() {
            row.push_str("  ");
            row.push_str(note);
        }
        row
    }

    /// Direction and signed difference to the symbol's previous price, which this one replaces.
    fn change(&mut self, symbol: &str, price_text: &str) -> (char, String) {
        let Some(price) = Price::parse(price_text) else { return (' ', String::new()) };
        let Some(last) = self.last.get_mut(symbol) else {
            if self.last.len() < SYMBOLS_MAX {
                self.last.insert(symbol.to_owned(), price);
            }
            return (' ', String::new());
        };
        let last = std::mem::replace(last, price);
        let decimals = last.decimals.max(price.decimals);
        match price.value.total_cmp(&last.value) {
            std::cmp::Ordering::Equal => ('=', String::new()),
            order => {
                let arrow = if order.is_gt() { '▲' } else { '▼' };
                (arrow, format!("{:+.decimals$}", price.value - last.value))
            }
        }
    }
}

/// A price to reckon with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// As near as it gets.
    pub value: f64,
    /// Digits after the point, as the worker wrote them.
    pub decimals: usize,
}

impl Price {
    /// What the worker wrote, if it is a number.
    pub fn parse(text: &str) -> Option<Self> {
        let value = text.parse().ok().filter(|value: &f64| value.is_finite())?;
        let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
        let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        Some(Self { value, decimals: decimals.min(DECIMALS_MAX) })
    }
}

/// `HH:MM:SS.mmm` in UTC of a Unix time in milliseconds; what isn't one is shown as it is.
pub fn time_of_day(text: &str) -> String {
    let Ok(unix_ms) = text.parse::<u64>() else { return clean(text, 12) };
    let (ms, s, m, h) =
        (unix_ms % 1000, unix_ms / 1000 % 60, unix_ms / 60_000 % 60, unix_ms / 3_600_000 % 24);
    format!("{h:02}:{m:02}:{s:02}.{ms:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rows: &mut Rows, json: &str) -> String {
        rows.row(&serde_json::from_str(json).unwrap(), "")
    }

    fn trade(symbol: &str, price: &str) -> String {
        format!(
            r#"{{"symbol":"{symbol}","price":{price},"volume":100,"timestamp":1700000000123,"exchange":"NYSE"}}"#
        )
    }

    #[test]
    fn columns_are_aligned_under_the_heading() {
        let mut rows = Rows::new(Palette::PLAIN);
        row(&mut rows, &trade("AAPL", "150.25"));
        let second = row(&mut rows, &trade("AAPL", "150.35"));
        assert_eq!(second, "22:13:20.123  AAPL              150.35 ▲      +0.10         100  NYSE");
        let column = |line: &str, word: &str| line[..line.find(word).unwrap() + word.len()].chars().count();
        for (heading, word) in [("PRICE", "150.35"), ("CHANGE", "+0.10"), ("VOLUME", " 100")] {
            assert_eq!(column(HEADING, heading), column(&second, word), "{heading}");
        }
        let begin = |line: &str, word: &str| line[..line.find(word).unwrap()].chars().count();
        assert_eq!(begin(HEADING, "EXCHANGE"), begin(&second, "NYSE"));
        assert_eq!(begin(HEADING, "SYMBOL"), begin(&second, "AAPL"));
    }

    #[test]
    fn each_symbol_is_compared_with_itself() {
        let mut rows = Rows::new(Palette::PLAIN);
        let arrows: Vec<_> =
            [("A", "1.0"), ("B", "2.0"), ("A", "1.05"), ("B", "1.9"), ("A", "1.050"), ("A", "0.3")]
                .iter()
                .map(|(symbol, price)| rows.change(symbol, price))
                .collect();
        let expected = [(' ', ""), (' ', ""), ('▲', "+0.05"), ('▼', "-0.1"), ('=', ""), ('▼', "-0.750")];
        assert_eq!(arrows, expected.map(|(arrow, change)| (arrow, change.to_owned())));
    }

    #[test]
    fn numbers_are_shown_as_they_were_written() {
        let mut rows = Rows::new(Palette::PLAIN);
        let line =
            row(&mut rows, r#"{"symbol":"X","price":150.250,"volume":9007199254740993,"timestamp":0}"#);
        assert!(line.contains(" 150.250 ") && line.contains("9007199254740993"), "{line}");
        assert!(line.starts_with("00:00:00.000") && line.ends_with("  -"), "{line}");
    }

    #[test]
    fn odd_numbers_disturb_nothing() {
        let mut rows = Rows::new(Palette::PLAIN);
        for price in ["1e400", "\"n/a\"", "null", "-1", "1e2", "1e-3"] {
            row(&mut rows, &trade("A", price));
        }
        assert_eq!(time_of_day("-5"), "-5");
        assert_eq!(time_of_day("18446744073709551616"), "184467440737…");
    }

    #[test]
    fn colours_follow_the_direction_only_when_on() {
        for (palette, up, down) in [(Palette::ANSI, "\x1b[32m▲", "\x1b[31m▼"), (Palette::PLAIN, " ▲", " ▼")]
        {
            let mut rows = Rows::new(palette);
            assert!(!row(&mut rows, &trade("A", "1")).contains('\x1b'));
            assert!(row(&mut rows, &trade("A", "2")).contains(up));
            assert!(row(&mut rows, &trade("A", "1")).contains(down));
        }
    }

    #[test]
    fn the_memory_of_prices_is_bounded() {
        let mut rows = Rows::new(Palette::PLAIN);
        for n in 0..SYMBOLS_MAX + 10 {
            rows.change(&n.to_string(), "1");
        }
        assert_eq!(rows.last.len(), SYMBOLS_MAX);
    }
}
