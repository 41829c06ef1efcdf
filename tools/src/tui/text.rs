//! Numbers in few characters. Pure.

/// A quantity: `950`, `9,950`, `12.3k`, `1.25M`.
pub fn quantity(value: f64) -> String {
    let magnitude = value.abs();
    match magnitude {
        m if !m.is_finite() => "?".to_owned(),
        m if m >= 9.995e11 => format!("{:.2}T", value / 1e12),
        m if m >= 9.995e8 => format!("{:.2}B", value / 1e9),
        m if m >= 9.995e5 => format!("{:.2}M", value / 1e6),
        m if m >= 9_999.5 => format!("{:.1}k", value / 1e3),
        m if m >= 999.5 => {
            let whole = value.round();
            format!("{},{:03}", (whole / 1000.0).trunc(), (whole % 1000.0).abs())
        }
        m if m == m.trunc() => format!("{value}"),
        _ => format!("{value:.2}"),
    }
}

/// Events a second: `0.3/s`, `12/s`, `1.2k/s`; a point for none.
pub fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "·".to_owned(),
        r if r < 9.95 => format!("{r:.1}/s"),
        r if r < 9_999.5 => format!("{r:.0}/s"),
        r => format!("{}/s", quantity(r)),
    }
}

/// A time: `0.4 ms`, `12 ms`, `1.2 s`, `45 s`, `3 m`, `2 h`.
pub fn time(ms: f64) -> String {
    match ms {
        t if t < 9.95 && t != t.trunc() => format!("{t:.1} ms"),
        t if t < 999.5 => format!("{t:.0} ms"),
        t if t < 9_950.0 => format!("{:.1} s", t / 1e3),
        t if t < 120_000.0 => format!("{:.0} s", t / 1e3),
        t if t < 7_200_000.0 => format!("{:.0} m", (t / 6e4).floor()),
        t => format!("{:.0} h", (t / 3.6e6).floor()),
    }
}

/// A change in percent.
pub fn percent(percent: f64) -> String {
    match percent.abs() {
        p if p < 999.5 => format!("{percent:+.2}%"),
        _ => format!("{percent:+.0}%"),
    }
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last `width` values as bars between the lowest and the highest of them; on the right, where the newest is.
pub fn bars(values: impl DoubleEndedIterator<Item = f64>, width: usize) -> String {
    let mut values: Vec<_> = values.rev().take(width).collect();
    values.reverse();
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let span = values.iter().copied().fold(f64::NEG_INFINITY, f64::max) - lowest;
    let bar = |value: &f64| {
        // Where nothing has moved, a line in the middle.
        let height = if span > 0.0 { (value - lowest) / span * 7.0 } else { 2.0 };
        BARS[(height.round() as usize).min(7)]
    };
    format!("{:>width$}", values.iter().map(bar).collect::<String>())
}

/// The text in so many columns, cut with a mark if it is longer. All of ours are one column a character.
pub fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return format!("{text:<width$}");
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width == 0 { String::new() } else { format!("{kept}…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_few_characters() {
        for (value, text) in [
            (0.0, "0"),
            (950.0, "950"),
            (0.125, "0.12"),
            (999.6, "1,000"),
            (9_950.0, "9,950"),
            (12_345.0, "12.3k"),
            (999_960.0, "1.00M"),
            (1.254e9, "1.25B"),
            (3e12, "3.00T"),
            (f64::INFINITY, "?"),
        ] {
            assert_eq!(quantity(value), text);
        }
        assert_eq!([0.0, 0.34, 12.4, 12_345.0].map(rate), ["·", "0.3/s", "12/s", "12.3k/s"]);
        assert_eq!(
            [0.42, 3.0, 12.3, 1_234.0, 45_000.0, 180_000.0, 7_300_000.0].map(time),
            ["0.4 ms", "3 ms", "12 ms", "1.2 s", "45 s", "3 m", "2 h"]
        );
        assert_eq!([0.171, -12.0, 12_345.6].map(percent), ["+0.17%", "-12.00%", "+12346%"]);
    }

    #[test]
    fn bars_stand_between_the_lowest_and_the_highest() {
        assert_eq!(bars([9.0, 1.0, 2.0, 8.0].into_iter(), 3), "▁▂█");
        assert_eq!(bars([1.0, 8.0].into_iter(), 4), "  ▁█");
        assert_eq!(bars([5.0, 5.0].into_iter(), 2), "▃▃");
        assert_eq!(bars([].into_iter(), 2), "  ");
    }

    #[test]
    fn what_doesnt_fit_is_cut_visibly() {
        assert_eq!((fit("AAPL", 6), fit("AAPL", 3), fit("A", 0)), ("AAPL  ".into(), "AA…".into(), "".into()));
    }
}
