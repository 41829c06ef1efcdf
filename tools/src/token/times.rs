//! Points in time, for people. Pure.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time in seconds since 1970, as `2026-01-02T03:04:05Z, in 5 minutes`.
pub fn in_words(seconds: f64, now: Duration) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(seconds.floor() as i64).ok();
    let moment = moment.and_then(|moment| moment.format(&Rfc3339).ok());
    let moment = moment.unwrap_or_else(|| "beyond the calendar".to_owned());
    let distance = seconds - now.as_secs_f64();
    let words = length(distance.abs());
    match distance {
        distance if distance.abs() < 1.0 => format!("{moment}, now"),
        distance if distance > 0.0 => format!("{moment}, in {words}"),
        _ => format!("{moment}, {words} ago"),
    }
}

/// A length of time in its two largest units.
pub fn length(seconds: f64) -> String {
    const UNITS: [(&str, u64); 5] =
        [("year", 31_557_600), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];
    // Of what is as far as that nobody wants to know more.
    let whole = seconds.min(1e15) as u64;
    let Some(largest) = UNITS.iter().position(|(_, unit)| whole >= *unit) else {
        return "less than a second".to_owned();
    };
    let (name, unit) = UNITS[largest];
    let mut words = counted(whole / unit, name);
    if let Some((name, smaller)) = UNITS.get(largest + 1)
        && whole % unit >= *smaller
    {
        words.push_str(&format!(" {}", counted(whole % unit / smaller, name)));
    }
    words
}

fn counted(count: u64, name: &str) -> String {
    if count == 1 { format!("1 {name}") } else { format!("{count} {name}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_where_it_is_and_how_far() {
        let now = Duration::from_secs(1_700_000_000);
        for (seconds, words) in [
            (1_700_000_000.0, "2023-11-14T22:13:20Z, now"),
            (1_700_000_000.9, "2023-11-14T22:13:20Z, now"),
            (1_700_003_660.0, "2023-11-14T23:14:20Z, in 1 hour 1 minute"),
            (1_699_999_999.0, "2023-11-14T22:13:19Z, 1 second ago"),
            (0.0, "1970-01-01T00:00:00Z, 53 years 317 days ago"),
            (-1.0, "1969-12-31T23:59:59Z, 53 years 317 days ago"),
            (1e300, "beyond the calendar, in 31688087 years 297 days"),
            (f64::MAX, "beyond the calendar, in 31688087 years 297 days"),
        ] {
            assert_eq!(in_words(seconds, now), words);
        }
        assert_eq!(length(0.5), "less than a second");
        assert_eq!(length(86_400.0), "1 day");
        assert_eq!(length(90_000.0), "1 day 1 hour");
    }
}
