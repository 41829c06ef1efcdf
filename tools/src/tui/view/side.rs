//! What stands beside or below the watchlist: the selected symbol's chart, the tape, the notices, the page of keys.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Paragraph};

use super::super::desk::Desk;
use super::super::keys::HELP;
use super::super::model::{Model, Notice, Now, Print, What};
use super::super::row::TREND_SECONDS;
use super::super::text::{self, fit};

/// The chart's width is at least so many seconds.
const SECONDS_MIN: usize = 30;

/// A heading with a rule behind it, as wide as the area.
fn rule(title: &str, desk: &Desk, width: u16) -> Line<'static> {
    let rest = usize::from(width).saturating_sub(title.chars().count() + 5);
    Line::from(vec![
        Span::styled("── ", desk.theme.dim),
        Span::styled(title.to_owned(), desk.theme.accent),
        Span::styled(format!(" {}", "─".repeat(rest)), desk.theme.dim),
    ])
}

/// The price of the selected symbol over the last minutes.
pub(super) fn chart(frame: &mut Frame<'_>, area: Rect, model: &Model, desk: &Desk, is_current: bool) {
    let order = desk.order(model);
    let Some(row) = order.get(desk.cursor(&order)) else { return };
    if area.height < 4 {
        return;
    }
    let change = row.change_percent().map(text::percent).unwrap_or_default();
    let title = format!("{}  {}  {change}", row.symbol, row.last);
    frame.render_widget(Paragraph::new(rule(title.trim_end(), desk, area.width)), Rect { height: 1, ..area });
    let area = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let Some(price) = row.price.filter(|_| row.trend.len() > 1) else {
        let wait = Line::styled(" a price each second, from here on", desk.theme.dim);
        return frame.render_widget(Paragraph::new(wait), area);
    };
    // Two dots a column; the scale's labels take some. What fills the width is shown.
    let shown = usize::from(area.width.saturating_sub(11)) * 2;
    let values: Vec<f64> = row.trend.iter().rev().take(shown.min(TREND_SECONDS)).rev().copied().collect();
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let margin = if highest > lowest { (highest - lowest) * 0.05 } else { lowest.abs().max(1.0) * 0.001 };
    let points: Vec<_> = values.iter().enumerate().map(|(at, value)| (at as f64, *value)).collect();
    let label = |value: f64| Span::styled(format!("{value:.0$}", price.decimals), desk.theme.dim);
    let middle = label(f64::midpoint(lowest, highest));
    let labels = if highest > lowest {
        [label(lowest), middle, label(highest)]
    } else {
        [Span::raw(""), middle, Span::raw("")]
    };
    let last = values.last().copied().unwrap_or_default();
    let direction = i8::from(last > values[0]) - i8::from(last < values[0]);
    let style = if is_current && !row.is_stale { desk.theme.moved(direction) } else { desk.theme.dim };
    let dataset =
        Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).style(style).data(&points);
    let chart = Chart::new(vec![dataset])
        .x_axis(
            Axis::default().bounds([0.0, (values.len() - 1).max(SECONDS_MIN) as f64]).style(desk.theme.dim),
        )
        .y_axis(
            Axis::default().bounds([lowest - margin, highest + margin]).labels(labels).style(desk.theme.dim),
        );
    frame.render_widget(chart, area);
}

/// Events, the newest first.
pub(super) fn tape(model: &Model, desk: &Desk, area: Rect) -> Vec<Line<'static>> {
    let order = desk.order(model);
    let selected = order.get(desk.cursor(&order)).map(|row| row.symbol.as_str()).filter(|_| desk.follows);
    let title = selected.map_or_else(|| "tape".to_owned(), |symbol| format!("tape of {symbol}"));
    let prints =
        model.tape().iter().filter(|print| selected.is_none() || print.symbol.as_deref() == selected);
    let lines = prints.take(usize::from(area.height)).map(|print| line(print, desk, area.width));
    std::iter::once(rule(&title, desk, area.width)).chain(lines).collect()
}

fn line(print: &Print, desk: &Desk, width: u16) -> Line<'static> {
    let theme = desk.theme;
    let width = usize::from(width);
    // A narrow tape has no milliseconds, and the day alone of what isn't of today.
    let time = match print.time.as_str() {
        time if width >= 50 => time.to_owned(),
        time if time.contains('.') => time.chars().take(8).collect(),
        time => format!("{:8}", time.chars().take(6).collect::<String>()),
    };
    let symbol = fit(print.symbol.as_deref().unwrap_or_default(), 8);
    let mut spans = vec![Span::styled(format!(" {time} "), theme.dim), Span::raw(format!("{symbol} "))];
    let used = time.chars().count() + 11;
    match &print.what {
        What::Trade { price, volume, exchange, direction } => {
            let arrow = match direction {
                1.. => "▲",
                0 => " ",
                ..0 => "▼",
            };
            spans.push(Span::styled(format!("{price:>10} {arrow}"), theme.moved(*direction)));
            spans.push(Span::raw(format!("{volume:>6} ")));
            let rest = if print.note.is_empty() { exchange.as_str() } else { print.note };
            if used + 19 + rest.chars().count() <= width {
                spans.push(Span::styled(rest.to_owned(), theme.dim));
            }
        }
        What::Other(words) => {
            let note = if print.note.is_empty() { String::new() } else { format!("  {}", print.note) };
            spans.push(Span::styled(
                fit(&format!("{words}{note}"), width.saturating_sub(used)).trim_end().to_owned(),
                theme.accent,
            ));
        }
    }
    Line::from(spans)
}

/// What the gateway and the client had to say, the newest first.
pub(super) fn notices(model: &Model, desk: &Desk, area: Rect, now: Now) -> Vec<Line<'static>> {
    let theme = desk.theme;
    let mut lines = vec![rule("notices", desk, area.width)];
    for notice in model.notices.iter().take(usize::from(area.height)) {
        let age = ago(notice, now);
        let style = if notice.serious { theme.warn } else { Style::new() };
        let room = usize::from(area.width).saturating_sub(11);
        lines.push(Line::from(vec![
            Span::styled(format!(" {age:>8} "), theme.dim),
            Span::styled(fit(&notice.text, room).trim_end().to_owned(), style),
        ]));
    }
    lines
}

/// When a notice was given.
pub(super) fn ago(notice: &Notice, now: Now) -> String {
    match now.ms().saturating_sub(notice.at.ms()) / 1000 {
        0 => "just now".to_owned(),
        seconds @ ..120 => format!("{seconds} s ago"),
        seconds => format!("{} ago", text::time(seconds as f64 * 1000.0)),
    }
}

/// What keys there are, and what the columns mean.
pub(super) fn help(desk: &Desk, width: u16) -> Vec<Line<'static>> {
    let mut lines = vec![rule("keys and columns", desk, width), Line::default()];
    for (key, what) in HELP {
        let room = usize::from(width).saturating_sub(12);
        lines.push(Line::from(vec![
            Span::styled(format!(" {key:<10}"), desk.theme.accent),
            Span::raw(fit(what, room).trim_end().to_owned()),
        ]));
    }
    lines.push(Line::default());
    lines.push(Line::styled(format!(" colours: {}", desk.theme.name), desk.theme.dim));
    lines
}
