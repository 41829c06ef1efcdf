//! Reads and writes numbers, sizes, times and rates with units. Pure; the tools use it too.
//!
//! A number may have a fraction if the result is whole: `1.5m` is 90 seconds, but `1.5ms` isn't allowed. Blanks around number
//! and unit are ignored, and so is the case of a unit.

use std::time::Duration;

use crate::limits::{KIB, MIB};
use crate::rate::Rate;

/// The units of a size, each in bytes; powers of 1024.
const SIZES: [(&str, u64); 11] = [
    ("", 1),
    ("b", 1),
    ("k", KIB as u64),
    ("kb", KIB as u64),
    ("kib", KIB as u64),
    ("m", MIB as u64),
    ("mb", MIB as u64),
    ("mib", MIB as u64),
    ("g", 1024 * MIB as u64),
    ("gb", 1024 * MIB as u64),
    ("gib", 1024 * MIB as u64),
];

/// The units of a time, each in milliseconds.
const TIMES: [(&str, u64); 6] =
    [("", 1), ("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", DAY_MS)];

/// A day, in milliseconds.
const DAY_MS: u64 = 24 * 3_600_000;

/// A whole number; anything but digits is refused, signs too.
pub fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok())?
}

/// A size in bytes: a number alone, or with a unit (`k`, `KB`, `KiB`, `m`, …, `GiB`; powers of 1024).
pub fn size(text: &str) -> Option<u64> {
    quantity(text, &SIZES)
}

/// A time in whole milliseconds: a number alone is in milliseconds; the units are `ms`, `s`, `m`, `h` and `d`.
pub fn time(text: &str) -> Option<Duration> {
    quantity(text, &TIMES).map(Duration::from_millis)
}

/// A rate as a number of times and a period: `100/1m`. A number alone is for `bare_per`.
pub fn rate(text: &str, bare_per: Duration) -> Option<(u64, Duration)> {
    match text.split_once('/') {
        Some((count, per)) => Some((number(count)?, time(per)?)),
        None => Some((number(text)?, bare_per)),
    }
}

/// Writes a size in the largest unit that leaves a whole number, as [`size`] reads it.
pub fn show_size(bytes: u64) -> String {
    let units = [("GiB", 1024 * MIB as u64), ("MiB", MIB as u64), ("KiB", KIB as u64)];
    show(bytes, &units, "")
}

/// Writes a time in the largest unit that leaves a whole number, as [`time`] reads it. A minute stays `60s`, which is easier to
/// compare with other times.
pub fn show_time(time: Duration) -> String {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    show(ms, if ms == 60_000 { &units[2..] } else { &units }, "ms")
}

/// Writes a rate as [`rate`] reads it.
pub fn show_rate(rate: Rate) -> String {
    let per = match rate.per().as_millis() {
        60_000 => "1m".to_owned(),
        ms if ms.is_multiple_of(u128::from(DAY_MS)) => format!("{}d", ms / u128::from(DAY_MS)),
        _ => show_time(rate.per()),
    };
    format!("{}/{per}", rate.count())
}

fn show(number: u64, units: &[(&str, u64)], smallest: &str) -> String {
    match units.iter().find(|(_, factor)| number.is_multiple_of(*factor)) {
        _ if number == 0 => "0".to_owned(),
        Some((unit, factor)) => format!("{}{unit}", number / factor),
        None => format!("{number}{smallest}"),
    }
}

/// A number and one of the units; `None` if the result isn't whole or doesn't fit.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start();
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let Some((whole, fraction)) = number.split_once('.') else {
        return number.parse::<u64>().ok()?.checked_mul(*factor);
    };
    // `.5s` and `5.s` are refused as mistakes.
    let parts_of_one = 10u64.checked_pow(fraction.len().try_into().ok()?)?;
    let (whole, fraction): (u64, u64) = (whole.parse().ok()?, fraction.parse().ok()?);
    let parts = fraction.checked_mul(*factor)?;
    let rest = parts.is_multiple_of(parts_of_one).then(|| parts / parts_of_one)?;
    whole.checked_mul(*factor)?.checked_add(rest)
}

/// A time above zero, in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

impl Period {
    /// The time in whole milliseconds; `None` if it is shorter than one.
    pub const fn new(time: Duration) -> Option<Self> {
        Self::from_ms(time.as_millis() as u64)
    }

    /// `ms` milliseconds; `None` if it is 0.
    pub const fn from_ms(ms: u64) -> Option<Self> {
        if ms == 0 { None } else { Some(Self(Duration::from_millis(ms))) }
    }

    /// The time, above zero.
    pub const fn get(self) -> Duration {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(text: &str) -> Option<u64> {
        time(text).map(|time| time.as_millis() as u64)
    }

    #[test]
    fn times_and_sizes_take_units() {
        let times = [
            ("500", 500),
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1.5m", 90_000),
            ("0.25s", 250),
            ("1.0ms", 1),
            (" 2 S ", 2_000),
        ];
        for (text, expected) in times {
            assert_eq!(ms(text), Some(expected), "{text}");
        }
        let sizes = [
            ("65536", 65_536),
            ("64k", 65_536),
            ("64KiB", 65_536),
            ("4MiB", 4 << 20),
            ("4 mb", 4 << 20),
            ("1.5G", 3 << 29),
        ];
        for (text, expected) in sizes {
            assert_eq!(size(text), Some(expected), "{text}");
        }
        assert_eq!(number("12"), Some(12));
    }

    #[test]
    fn ambiguous_values_are_refused() {
        let neither = ["", " ", "s", "k", "-1", "+1", "1_000", "0x10", "5w", "1t", "1e3", "inf", "nan", "５"];
        let not_whole = ["1.5", "1.5ms", "0.0001s", "0.3333333m", "1.5b", "0.0001k"];
        let half_written = ["1.", ".5s", "1..2s", "1.2.3s", ".", "1s2", "1 000"];
        let too_much =
            ["99999999999999999999", "9999999999999999h", "1.00000000000000000000s", "20000000000g"];
        for text in [&neither[..], &not_whole, &half_written, &too_much].concat() {
            assert_eq!(ms(text), None, "{text}");
            assert_eq!(size(text), None, "{text}");
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(number("12k"), None);
        assert_eq!(number("1.0"), None);
    }

    #[test]
    fn values_are_written_in_the_largest_unit_that_fits() {
        let times = [0, 999, 1_000, 60_000, 90_000, 120_000, 3_600_000, 86_400_000];
        let shown = times.map(|ms| show_time(Duration::from_millis(ms)));
        assert_eq!(shown, ["0", "999ms", "1s", "60s", "90s", "2m", "1h", "24h"]);
        let sizes = [0, 1, 1_000, 1_024, 65_536, 4 << 20, (4 << 20) + 1, 3 << 30];
        assert_eq!(sizes.map(show_size), ["0", "1", "1000", "1KiB", "64KiB", "4MiB", "4194305", "3GiB"]);
    }

    #[test]
    fn rates_are_a_number_in_a_period() {
        let minute = Duration::from_secs(60);
        let read = |text| rate(text, minute).map(|(count, per)| (count, per.as_secs()));
        for (text, expected) in [
            ("100/1m", (100, 60)),
            ("10/1h", (10, 3_600)),
            ("100/7d", (100, 604_800)),
            ("7 / 15 m", (7, 900)),
            ("100", (100, 60)),
            ("0", (0, 60)),
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
        }
        for bad in
            ["", "/", "100/", "/1m", "100/m", "1.5/1m", "-1/1m", "100/1m/1s", "100 per minute", "100/1w"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        for text in ["100/1m", "10/1h", "100/15m", "3/1s", "5/90s", "1/1500ms", "100/7d"] {
            let (count, per) = rate(text, minute).unwrap();
            assert_eq!(show_rate(Rate::new(count as u32, per).unwrap()), text);
        }
    }

    proptest! {
        #[test]
        fn a_written_value_is_read_as_the_same(number in 0u64..1 << 50) {
            prop_assert_eq!(size(&show_size(number)), Some(number));
            prop_assert_eq!(ms(&show_time(Duration::from_millis(number))), Some(number));
        }

        #[test]
        fn a_fraction_is_exact_or_refused(whole in 0u64..1_000_000, digits in "[0-9]{1,9}", unit in 0..TIMES.len()) {
            let (name, factor) = TIMES[unit];
            let parts_of_one = 10u128.pow(digits.len() as u32);
            let parts = (u128::from(whole) * parts_of_one + digits.parse::<u128>().unwrap()) * u128::from(factor);
            let expected = parts.is_multiple_of(parts_of_one).then(|| (parts / parts_of_one) as u64);
            prop_assert_eq!(ms(&format!("{whole}.{digits}{name}")), expected);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = (number(&text), size(&text), time(&text), rate(&text, Duration::ZERO));
        }
    }
}
