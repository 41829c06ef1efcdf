//! Moments as other systems write them. Pure.

use std::io::Write as _;

use super::worker::is_number;

/// The first second of the year 1 and that of the year 10,000: RFC 3339 has four digits for a year.
const SECONDS: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;

/// A moment between the years 1 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    seconds: i64,
    nanos: u32,
}

impl Moment {
    /// A worker's `timestamp`, in Unix milliseconds; `None` if it is none of a year that can be written.
    pub fn parse(raw: &str) -> Option<Self> {
        if let Ok(ms) = raw.parse::<i64>() {
            return Self::new(ms.div_euclid(1_000), ms.rem_euclid(1_000) as u32 * 1_000_000);
        }
        let ms: f64 = raw.parse().ok().filter(|_| is_number(raw))?;
        let whole_ms = ms.floor();
        if !(-1e15..1e15).contains(&whole_ms) {
            return None;
        }
        let below_ms = ((ms - whole_ms) * 1e6) as u32;
        let ms = whole_ms as i64;
        Self::new(ms.div_euclid(1_000), ms.rem_euclid(1_000) as u32 * 1_000_000 + below_ms)
    }

    fn new(seconds: i64, nanos: u32) -> Option<Self> {
        SECONDS.contains(&seconds).then_some(Self { seconds, nanos })
    }

    /// Unix milliseconds, cut off below.
    pub const fn ms(self) -> i64 {
        self.seconds * 1_000 + (self.nanos / 1_000_000) as i64
    }

    /// Unix microseconds, cut off below.
    pub const fn us(self) -> i64 {
        self.seconds * 1_000_000 + (self.nanos / 1_000) as i64
    }

    /// So many seconds later; `None` if that is in no year that can be written.
    pub fn later(self, seconds: i64) -> Option<Self> {
        Self::new(self.seconds.checked_add(seconds)?, self.nanos)
    }

    /// As many days later as its month has.
    pub fn a_month_later(self) -> Option<Self> {
        let day = self.seconds.div_euclid(86_400);
        let (_, month, of_month) = civil(day);
        let first = day - of_month + 1;
        // The first day of the next month is 28 to 31 days behind that of this one.
        let days = (28..=31).find(|days| civil(first + days).1 != month)?;
        self.later(days * 86_400)
    }

    /// Appends it as RFC 3339 has it, in UTC, with as many decimals as it needs: none, 3 or 9.
    pub fn write_rfc3339(self, out: &mut Vec<u8>) {
        let (year, month, day) = civil(self.seconds.div_euclid(86_400));
        let of_day = self.seconds.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        let _ = match self.nanos {
            0 => Ok(()),
            nanos if nanos % 1_000_000 == 0 => write!(out, ".{:03}", nanos / 1_000_000),
            nanos => write!(out, ".{nanos:09}"),
        };
        out.push(b'Z');
    }

    /// Appends it as JavaScript's `Date` is in JSON: always with three decimals.
    pub fn write_iso_8601(self, out: &mut Vec<u8>) {
        let whole = Self { seconds: self.seconds, nanos: 0 };
        whole.write_rfc3339(out);
        out.pop();
        // Writing to a Vec cannot fail.
        let _ = write!(out, ".{:03}Z", self.nanos / 1_000_000);
    }

    /// Appends it as MessagePack's extension type −1: 8 bytes where they suffice, else 12.
    pub fn write_msgpack(self, out: &mut Vec<u8>) {
        let Self { seconds, nanos } = self;
        if (0..1 << 34).contains(&seconds) {
            out.extend_from_slice(&[0xd7, 0xff]);
            out.extend_from_slice(&(u64::from(nanos) << 34 | seconds as u64).to_be_bytes());
            return;
        }
        out.extend_from_slice(&[0xc7, 12, 0xff]);
        out.extend_from_slice(&nanos.to_be_bytes());
        out.extend_from_slice(&seconds.to_be_bytes());
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. The year of the count begins in March, so that a leap day
/// is its last; 400 years have 146,097 days.
const fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(raw: &str) -> Option<String> {
        let mut out = Vec::new();
        Moment::parse(raw)?.write_rfc3339(&mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_moment_as_text() {
        assert_eq!(text("1614009104208").as_deref(), Some("2021-02-22T15:51:44.208Z"));
        assert_eq!(text("0").as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(text("951782400000").as_deref(), Some("2000-02-29T00:00:00Z"));
        assert_eq!(text("-1").as_deref(), Some("1969-12-31T23:59:59.999Z"));
        assert_eq!(text("1.5").as_deref(), Some("1970-01-01T00:00:00.001500000Z"));
        assert_eq!(text("1.7e12").as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!(text("253402300799999").as_deref(), Some("9999-12-31T23:59:59.999Z"));
        for none in ["253402300800000", "1e300", "-1e300", "-62135596800001", "\"1\"", "nan", ""] {
            assert_eq!(text(none), None, "{none}");
        }
    }

    #[test]
    fn a_moment_as_javascript_has_it() {
        for (ms, expected) in
            [("1614009104208", "2021-02-22T15:51:44.208Z"), ("0", "1970-01-01T00:00:00.000Z")]
        {
            let mut out = Vec::new();
            Moment::parse(ms).unwrap().write_iso_8601(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_moment_in_messagepack() {
        let bytes = |raw: &str| {
            let mut out = Vec::new();
            Moment::parse(raw).unwrap().write_msgpack(&mut out);
            out
        };
        let expected = (208_000_000_u64 << 34 | 1_614_009_104).to_be_bytes();
        assert_eq!(bytes("1614009104208"), [&[0xd7, 0xff][..], &expected].concat());
        let expected = [&[0xc7, 12, 0xff][..], &999_000_000_u32.to_be_bytes(), &(-1_i64).to_be_bytes()];
        assert_eq!(bytes("-1"), expected.concat());
        let expected = [&[0xc7, 12, 0xff, 0, 0, 0, 0][..], &(1_i64 << 34).to_be_bytes()];
        assert_eq!(bytes(&((1_i64 << 34) * 1_000).to_string()), expected.concat());
    }

    #[test]
    fn a_month_is_as_long_as_it_is() {
        for (begin, end) in [
            ("1704067200000", "2024-02-01T00:00:00Z"),
            ("1706745600000", "2024-03-01T00:00:00Z"),
            ("1675209600000", "2023-03-01T00:00:00Z"),
            ("1733011200000", "2025-01-01T00:00:00Z"),
            ("-1", "1970-01-31T23:59:59.999Z"),
        ] {
            let mut out = Vec::new();
            Moment::parse(begin).unwrap().a_month_later().unwrap().write_rfc3339(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), end, "{begin}");
        }
        assert_eq!(Moment::parse("253402300799999").unwrap().later(1), None);
        assert_eq!(Moment::parse("1.5").unwrap().us(), 1_500);
    }

    proptest! {
        /// Against a calendar of another hand; HTTP dates reach from 1970 to 9999.
        #[test]
        fn days_are_those_of_the_calendar(seconds in 0..253_402_300_800_i64) {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds as u64);
            let http = httpdate::fmt_http_date(time);
            let moment = text(&(seconds * 1_000).to_string()).unwrap();
            prop_assert_eq!(&moment[..4], &http[12..16]);
            prop_assert_eq!(&moment[8..10], &http[5..7]);
            prop_assert_eq!(&moment[11..19], &http[17..25]);
            let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let month: usize = moment[5..7].parse().unwrap();
            prop_assert_eq!(months[month - 1], &http[8..11]);
        }
    }
}
