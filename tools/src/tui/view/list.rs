//! The watchlist: columns where there is room, cards of two lines where there isn't.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::desk::Desk;
use super::super::model::{Model, Now};
use super::super::row::Row;
use super::super::text::{self, fit};

/// A price that has moved is emphasised for so long.
const FLASH_MS: u64 = 350;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Symbol,
    Last,
    Change,
    Percent,
    Volume,
    Trend,
    Rate,
    Delay,
    Lost,
}

use Column::{Change, Delay, Last, Lost, Percent, Rate, Symbol, Trend, Volume};

impl Column {
    fn heading(self) -> &'static str {
        match self {
            Symbol => "SYMBOL",
            Last => "LAST",
            Change => "CHANGE",
            Percent => "%",
            Volume => "VOLUME",
            Trend => "TREND",
            Rate => "RATE",
            Delay => "DELAY",
            Lost => "LOST",
        }
    }

    fn width(self) -> usize {
        match self {
            Symbol => 10,
            Last => 11,
            Change | Percent => 8,
            Volume | Rate => 7,
            Delay => 6,
            Lost => 5,
            // At least; it takes what is left.
            Trend => 8,
        }
    }
}

/// The columns that there is room for, and how wide the trend is. What can be told from others goes first.
fn columns(width: u16) -> (Vec<Column>, usize) {
    let mut columns = vec![Symbol, Last, Change, Percent, Volume, Trend, Rate, Delay, Lost];
    let needed = |columns: &[Column]| columns.iter().map(|column| column.width() + 1).sum::<usize>();
    for dispensable in [Change, Delay, Trend] {
        if needed(&columns) <= usize::from(width) {
            break;
        }
        columns.retain(|column| *column != dispensable);
    }
    let trend = (Trend.width() + usize::from(width).saturating_sub(needed(&columns))).min(60);
    (columns, trend)
}

/// The heading, and a line for each symbol.
pub(super) fn table(
    model: &Model,
    desk: &Desk,
    is_current: bool,
    now: Now,
    width: u16,
) -> Vec<Line<'static>> {
    let (columns, trend) = columns(width);
    let wide = |column: Column| if column == Trend { trend } else { column.width() };
    let mut heading = String::from(" ");
    for column in &columns {
        let (text, width) = (column.heading(), wide(*column));
        heading += &match column {
            Symbol => format!("{text:<width$} "),
            Trend => format!(" {text:<0$} ", width - 1),
            _ => format!("{text:>width$} "),
        };
    }
    let mut lines = vec![Line::styled(heading.trim_end().to_owned(), desk.theme.dim)];
    let order = desk.order(model);
    let cursor = desk.cursor(&order);
    for (at, row) in order.into_iter().enumerate() {
        let is_selected = at == cursor;
        let mut spans = vec![Span::styled(if is_selected { "▌" } else { " " }, desk.theme.accent)];
        for column in &columns {
            spans.push(cell(row, *column, wide(*column), desk, is_current, now));
            spans.push(Span::raw(" "));
        }
        let line = Line::from(spans);
        lines.push(if is_selected { line.style(desk.theme.selected) } else { line });
    }
    lines
}

fn cell(row: &Row, column: Column, width: usize, desk: &Desk, is_current: bool, now: Now) -> Span<'static> {
    let theme = desk.theme;
    // A price that may be old is not passed off as fresh.
    let if_current = |style: Style| if is_current && !row.is_stale { style } else { theme.dim };
    let none = || "–".to_owned();
    let (text, style) = match column {
        Symbol => {
            let style = if row.halted.is_some() { theme.warn } else { Style::new() };
            return Span::styled(fit(&name(row), width), if_current(style));
        }
        Trend => {
            let style = if_current(theme.moved(slope(row, width)));
            return Span::styled(text::bars(row.trend.iter().copied(), width), style);
        }
        Last => (price(row), if_current(price_style(row, desk, now))),
        Change => (row.change().unwrap_or_else(none), if_current(theme.moved(sign(row)))),
        Percent => {
            (row.change_percent().map_or_else(none, text::percent), if_current(theme.moved(sign(row))))
        }
        Volume => (text::quantity(row.volume), if_current(Style::new())),
        Rate => (text::rate(row.rate()), theme.dim),
        Delay => (row.delay_ms.map_or_else(none, |ms| text::time(ms as f64)), theme.dim),
        Lost if row.lost() == 0 => (none(), theme.dim),
        Lost => (text::quantity(row.lost() as f64), theme.warn),
    };
    let text = if text.chars().count() > width { fit(&text, width) } else { format!("{text:>width$}") };
    Span::styled(text, style)
}

/// Two lines for each symbol: price and change, then the trend and what belongs to it.
pub(super) fn cards(
    model: &Model,
    desk: &Desk,
    is_current: bool,
    now: Now,
    width: u16,
) -> Vec<Line<'static>> {
    let theme = desk.theme;
    let width = usize::from(width);
    let order = desk.order(model);
    let cursor = desk.cursor(&order);
    let mut lines = Vec::with_capacity(order.len() * 2);
    for (at, row) in order.into_iter().enumerate() {
        let mark = Span::styled(if at == cursor { "▌" } else { " " }, theme.accent);
        let if_current = |style: Style| if is_current && !row.is_stale { style } else { theme.dim };
        let change = row.change_percent().map_or_else(|| "–".to_owned(), text::percent);
        let first = vec![
            mark.clone(),
            Span::styled(
                fit(&name(row), width.saturating_sub(25)),
                if_current(Style::new().add_modifier(Modifier::BOLD)),
            ),
            Span::styled(format!("{:>13}", price(row)), if_current(price_style(row, desk, now))),
            Span::styled(format!("{change:>10} "), if_current(theme.moved(sign(row)))),
        ];
        let lost = if row.lost() > 0 {
            format!(" lost {}", text::quantity(row.lost() as f64))
        } else {
            String::new()
        };
        let rest = format!(" vol {:>6} {:>6}", text::quantity(row.volume), text::rate(row.rate()));
        let trend = width.saturating_sub(rest.chars().count() + lost.chars().count() + 2);
        let second = vec![
            mark,
            Span::styled(
                text::bars(row.trend.iter().copied(), trend),
                if_current(theme.moved(slope(row, trend))),
            ),
            Span::styled(rest, theme.dim),
            Span::styled(lost, theme.warn),
        ];
        for line in [first, second] {
            let line = Line::from(line);
            lines.push(if at == cursor { line.style(theme.selected) } else { line });
        }
    }
    lines
}

/// As many of the lines as there is room for, with the selected symbol's among them; the first `fixed` stay on top.
pub(super) fn scrolled(
    frame: &mut Frame<'_>,
    area: Rect,
    lines: &[Line<'static>],
    fixed: usize,
    each: usize,
    cursor: usize,
) {
    let room = (usize::from(area.height).saturating_sub(fixed) / each).max(1);
    let first = cursor.saturating_sub(room - 1);
    let (top, rest) = lines.split_at(fixed.min(lines.len()));
    let shown: Vec<_> = top.iter().chain(rest.iter().skip(first * each)).cloned().collect();
    frame.render_widget(Paragraph::new(shown), area);
}

fn name(row: &Row) -> String {
    row.halted.as_ref().map_or_else(|| row.symbol.clone(), |status| format!("{} {status}", row.symbol))
}

fn price(row: &Row) -> String {
    let arrow = match row.direction {
        1.. => '▲',
        0 => ' ',
        ..0 => '▼',
    };
    if row.last.is_empty() { "– ".to_owned() } else { format!("{} {arrow}", row.last) }
}

fn price_style(row: &Row, desk: &Desk, now: Now) -> Style {
    let moved_just_now = row.moved_at_ms.is_some_and(|at| now.ms().saturating_sub(at) < FLASH_MS);
    let style = desk.theme.moved(row.direction);
    if moved_just_now { style.add_modifier(Modifier::BOLD | Modifier::REVERSED) } else { style }
}

fn sign(row: &Row) -> i8 {
    let change = row.change_percent().unwrap_or_default();
    i8::from(change > 0.0) - i8::from(change < 0.0)
}

/// Whether what the bars show rises or falls.
fn slope(row: &Row, width: usize) -> i8 {
    let first = row.trend.iter().rev().take(width.max(1)).next_back();
    let (Some(first), Some(last)) = (first, row.trend.back()) else { return 0 };
    i8::from(last > first) - i8::from(last < first)
}
