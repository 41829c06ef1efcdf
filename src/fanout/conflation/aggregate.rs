//! An aggregate: count, volume, high, low and average price of adjacent trades, exactly. Pure.
//!
//! The sums are of decimals as the workers wrote them, of up to [`DIGITS_MAX`] digits; only the average is rounded. High, low and the
//! first timestamp are carried byte for byte.

use std::rc::Rc;
use std::str::FromStr;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::{BigInt, Sign};

use crate::market::Form;
use crate::protocol::sums::{self, Totals};

/// Most digits of a price or volume, and most places that an exponent may shift them: far beyond any market, and small enough that a
/// hostile `1e999999999` costs nothing. A trade with more isn't added to others.
const DIGITS_MAX: usize = 40;

/// Decimals of the average price.
const VWAP_DECIMALS: i64 = 8;

/// A price, and how the worker wrote it.
#[derive(Debug)]
struct Price {
    value: BigDecimal,
    text: Box<str>,
}

/// One or more trades, added up.
#[derive(Debug, Clone)]
pub(super) struct Aggregate {
    count: u64,
    volume: BigDecimal,
    /// The sum of price times volume.
    turnover: BigDecimal,
    high: Rc<Price>,
    low: Rc<Price>,
    first_timestamp: Rc<str>,
    /// The number of the first trade, and whether the seller took in all of them, as far as the form has them.
    first_id: Option<Rc<str>>,
    taker_sells: Option<bool>,
}

impl Aggregate {
    /// The trade of an event in that form; `None` if it can't be added up exactly: the form has no words for totals, a number is too long, or the
    /// object has it twice.
    pub(super) fn of(form: Form, event: &[u8]) -> Option<Self> {
        sums::read(form, event, |trade| {
            let price = decimal(trade.price)?;
            let volume = decimal(trade.volume)?;
            let high = Rc::new(Price { value: price, text: trade.price.into() });
            Some(Self {
                count: 1,
                turnover: &high.value * &volume,
                volume,
                low: Rc::clone(&high),
                high,
                first_timestamp: trade.timestamp.into(),
                first_id: trade.first_id.map(Into::into),
                taker_sells: trade.taker_sells,
            })
        })
    }

    /// Adds trades that came later.
    pub(super) fn add(&mut self, later: &Self) {
        self.count += later.count;
        self.volume += &later.volume;
        self.turnover += &later.turnover;
        self.taker_sells = self.taker_sells.filter(|_| self.taker_sells == later.taker_sells);
        if later.high.value > self.high.value {
            self.high = Rc::clone(&later.high);
        }
        if later.low.value < self.low.value {
            self.low = Rc::clone(&later.low);
        }
    }

    /// Adds trades that came later and are older than some of these: the first timestamp may be theirs.
    pub(super) fn add_late(&mut self, late: &Self) {
        self.add(late);
        let timestamps = decimal(&late.first_timestamp).zip(decimal(&self.first_timestamp));
        if timestamps.is_some_and(|(late, first)| late < first) {
            self.first_timestamp = Rc::clone(&late.first_timestamp);
            self.first_id = late.first_id.clone();
        }
    }

    /// How many trades they are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The event of the newest of the trades, which is in that form, with the totals of all.
    pub(super) fn mark(&self, form: Form, newest: &[u8]) -> Option<Vec<u8>> {
        let vwap = quotient(&self.turnover, &self.volume);
        let totals = Totals {
            count: self.count,
            volume: &self.volume.to_plain_string(),
            high: &self.high.text,
            low: &self.low.text,
            vwap: &vwap.map_or_else(|| "null".to_owned(), |vwap| vwap.to_plain_string()),
            first_timestamp: &self.first_timestamp,
            first_id: self.first_id.as_deref(),
            taker_sells: self.taker_sells,
        };
        sums::with_totals(form, newest, &totals)
    }
}

/// A JSON number of bounded length.
fn decimal(text: &str) -> Option<BigDecimal> {
    let digits = text.split(['e', 'E']).next()?.bytes().filter(u8::is_ascii_digit).count();
    let value = BigDecimal::from_str(text).ok().filter(|_| digits <= DIGITS_MAX)?;
    let shift = value.fractional_digit_count().unsigned_abs();
    (shift <= DIGITS_MAX as u64).then_some(value)
}

/// `dividend / divisor`, rounded half-even to [`VWAP_DECIMALS`] and without trailing zeros; `None` if the divisor is 0.
fn quotient(dividend: &BigDecimal, divisor: &BigDecimal) -> Option<BigDecimal> {
    let (dividend, dividend_scale) = dividend.as_bigint_and_exponent();
    let (divisor, divisor_scale) = divisor.as_bigint_and_exponent();
    let shift = VWAP_DECIMALS + divisor_scale - dividend_scale;
    let power = BigInt::from(10).pow(shift.unsigned_abs().try_into().ok()?);
    let (dividend, divisor) =
        if shift >= 0 { (dividend * power, divisor) } else { (dividend, divisor * power) };
    if divisor.sign() == Sign::NoSign {
        return None;
    }
    let whole = dividend.magnitude() / divisor.magnitude();
    let rest_twice = (dividend.magnitude() % divisor.magnitude()) * 2_u8;
    let up = match rest_twice.cmp(divisor.magnitude()) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => whole.bit(0),
        std::cmp::Ordering::Greater => true,
    };
    let rounded = BigInt::from_biguint(dividend.sign() * divisor.sign(), whole + u8::from(up));
    Some(BigDecimal::new(rounded, VWAP_DECIMALS).normalized())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::native::event::{self, Marker};
    use crate::websocket::header;

    const JSON: Form = Form::JSON;

    fn frame_of(price: &str, volume: &str, timestamp: u64) -> Vec<u8> {
        let object =
            format!(r#"{{"symbol":"A","price":{price},"volume":{volume},"timestamp":{timestamp},"x":[1]}}"#);
        let mut out = Vec::new();
        event::write_event(&mut out, event::TRADE_OPENING, &object, 1_000 + timestamp, Marker::NONE);
        out
    }

    fn sum(trades: impl IntoIterator<Item = Aggregate>) -> Option<Aggregate> {
        trades.into_iter().reduce(|mut sum, trade| {
            sum.add(&trade);
            sum
        })
    }

    /// The totals of some trades (price, volume), as JSON.
    fn totals(trades: &[(&str, &str)]) -> Option<String> {
        let frames: Vec<_> =
            trades.iter().zip(0..).map(|((price, volume), n)| frame_of(price, volume, n)).collect();
        let aggregates = frames.iter().map(|frame| Aggregate::of(JSON, frame)).collect::<Option<Vec<_>>>()?;
        let marked = sum(aggregates)?.mark(JSON, frames.last()?)?;
        let text = std::str::from_utf8(header::payload(&marked)).unwrap().to_owned();
        Some(text.split_once(r#","conflated":"#)?.1.trim_end_matches('}').to_owned() + "}")
    }

    #[test]
    fn the_newest_trade_is_sent_with_the_totals_of_all() {
        let frames = [frame_of("150.250", "100", 1), frame_of("150.5", "50.50", 2)];
        let both = sum(frames.iter().map(|frame| Aggregate::of(JSON, frame).unwrap())).unwrap();
        let marked = both.mark(JSON, &frames[1]).unwrap();
        assert_eq!(
            std::str::from_utf8(header::payload(&marked)).unwrap(),
            r#"{"type":"trade","data":{"symbol":"A","price":150.5,"volume":50.50,"timestamp":2,"x":[1]},"timestamp":1002,"conflated":{"count":2,"volume":150.50,"high":150.5,"low":150.250,"vwap":150.33388704,"firstTimestamp":1}}"#
        );
    }

    #[test]
    fn averages_are_rounded_half_even_and_exactly() {
        let vwap = |trades: &[_]| {
            totals(trades).unwrap().split(r#""vwap":"#).nth(1).unwrap().split(',').next().unwrap().to_owned()
        };
        assert_eq!(vwap(&[("0.00000001", "1"), ("0.00000002", "1")]), "0.00000002");
        assert_eq!(vwap(&[("0.00000002", "1"), ("0.00000003", "1")]), "0.00000002");
        assert_eq!(vwap(&[("-0.00000001", "1"), ("-0.00000002", "1")]), "-0.00000002");
        assert_eq!(
            vwap(&[("0.00000001", "1"), ("0.00000002000000000000000000000000001", "1")]),
            "0.00000002"
        );
        assert_eq!(
            vwap(&[("0.00000002", "1"), ("0.00000003000000000000000000000000001", "1")]),
            "0.00000003"
        );
        assert_eq!(vwap(&[("1e3", "2E0"), ("2e+3", "2")]), "1500");
        assert_eq!(vwap(&[("1", "5"), ("3", "-5")]), "null", "nothing to divide by");
        assert_eq!(vwap(&[("1", "0"), ("3", "0.00")]), "null");
        assert_eq!(vwap(&[("5e-38", "1e-38"), ("1e38", "1e38")]), format!("1{}", "0".repeat(38)));
    }

    #[test]
    fn sums_are_written_plainly() {
        let start = |trades: &[_]| totals(trades).unwrap().split(r#","vwap""#).next().unwrap().to_owned();
        assert_eq!(
            start(&[("1.10", "1e3"), ("1.1", "0.1"), ("1.100", "1E1")]),
            r#"{"count":3,"volume":1010.1,"high":1.10,"low":1.10"#,
            "of equal prices the first, as it was written"
        );
        assert_eq!(
            start(&[("0.1", "9007199254740993"), ("0.2", "9007199254740993")]),
            r#"{"count":2,"volume":18014398509481986,"high":0.2,"low":0.1"#
        );
    }

    #[test]
    fn what_cannot_be_added_exactly_is_not() {
        for bad in ["1e41", "1e-41", "1e999999999", "1e99999999999999999999", &"9".repeat(41)] {
            assert!(Aggregate::of(JSON, &frame_of(bad, "1", 1)).is_none(), "{bad}");
            assert!(Aggregate::of(JSON, &frame_of("1", bad, 1)).is_none(), "{bad}");
        }
        assert!(Aggregate::of(JSON, &frame_of(r#"1,"price":1"#, "1", 1)).is_none());
        assert!(Aggregate::of(JSON, &frame_of(&"9".repeat(40), "1e40", 1)).is_some());
    }

    proptest! {
        /// Against integers: prices in hundredths, volumes in tenths.
        #[test]
        fn sums_are_those_of_integers(
            trades in prop::collection::vec((-100_000i64..100_000, 1i64..10_000), 2..40),
            split in 1usize..40,
        ) {
            let fixed = |n: i64, decimals: usize| {
                let sign = if n < 0 { "-" } else { "" };
                let unit = 10_i64.pow(decimals as u32);
                format!("{sign}{}.{:0decimals$}", n.abs() / unit, n.abs() % unit)
            };
            let frames: Vec<_> = trades
                .iter()
                .zip(0..)
                .map(|((price, volume), n)| frame_of(&fixed(*price, 2), &fixed(*volume, 1), n))
                .collect();
            let part = |frames: &[Vec<u8>]| sum(frames.iter().map(|frame| Aggregate::of(JSON, frame).unwrap()));
            let (first, second) = frames.split_at(split.min(frames.len()));
            let whole = sum([part(first), part(second)].into_iter().flatten()).unwrap();
            let marked = whole.mark(JSON, frames.last().unwrap()).unwrap();
            let value: serde_json::Value = serde_json::from_slice(header::payload(&marked)).unwrap();
            let conflated = &value["conflated"];
            let volume: i64 = trades.iter().map(|trade| trade.1).sum();
            let turnover: i128 = trades.iter().map(|trade| i128::from(trade.0) * i128::from(trade.1)).sum();
            prop_assert_eq!(conflated["count"].as_u64(), Some(trades.len() as u64));
            let text = std::str::from_utf8(header::payload(&marked)).unwrap();
            let has = |field: &str, number: String| text.contains(&format!("\"{field}\":{number},"));
            prop_assert!(has("volume", fixed(volume, 1)), "{}", text);
            prop_assert!(has("high", fixed(trades.iter().map(|trade| trade.0).max().unwrap(), 2)), "{}", text);
            prop_assert!(has("low", fixed(trades.iter().map(|trade| trade.0).min().unwrap(), 2)), "{}", text);
            // |vwap * volume - turnover| is at most half a unit of the eighth decimal times the volume.
            let vwap = decimal(&conflated["vwap"].to_string()).unwrap();
            let vwap_units = (vwap * BigDecimal::new(1.into(), -8)).as_bigint_and_exponent();
            let vwap_units: i128 = format!("{}", BigDecimal::new(vwap_units.0, vwap_units.1).with_scale(0)).parse().unwrap();
            let error = vwap_units * i128::from(volume) - turnover * 1_000_000;
            prop_assert!(2 * error.abs() <= i128::from(volume), "{} {}", vwap_units, error);
        }
    }
}
