//! The screen: a layout for wide, for usual and for narrow terminals. Pure: it draws what [`Model`] and [`Desk`] are into a buffer.

mod list;
mod side;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::desk::{Desk, Pane};
use super::keys::Mode;
use super::link::Standing;
use super::model::{Model, Now};
use super::text;

/// Below this the watchlist is one of cards, two lines a symbol.
const NARROW_BELOW: u16 = 60;

/// From this on chart and tape stand beside the watchlist.
const WIDE_FROM: u16 = 118;

/// Of a wide screen the tape takes so much.
const SIDE_COLUMNS: u16 = 38;

/// So long a notice stays above the keys; then it is among the notices only.
const NOTICE_MS: u64 = 10_000;

/// The same of one that needs attention.
const WARNING_MS: u64 = 60_000;

/// The chart takes so many lines above a tape.
const CHART_LINES: u16 = 9;

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, model: &Model, desk: &Desk, now: Now) {
    let area = frame.area();
    let standing = model.link.standing(now);
    let narrow = area.width < NARROW_BELOW;
    let head = head(model, desk, &standing, area.width);
    let [top, body, bottom] = Layout::vertical([
        Constraint::Length(u16::try_from(head.len()).unwrap_or(u16::MAX)),
        Constraint::Min(0),
        Constraint::Length(2),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head), top);
    let is_current = standing.is_current();
    if desk.help {
        frame.render_widget(Paragraph::new(side::help(desk, body.width)), body);
    } else if narrow {
        let lines = list::cards(model, desk, is_current, now, body.width);
        let (list, rest) = split(body, u16::try_from(lines.len()).unwrap_or(u16::MAX), 5);
        let cursor = desk.cursor(&desk.order(model));
        list::scrolled(frame, list, &lines, 0, 2, cursor);
        pane(frame, rest, model, desk, now);
    } else if area.width >= WIDE_FROM {
        let [left, _, side] =
            Layout::horizontal([Constraint::Min(0), Constraint::Length(2), Constraint::Length(SIDE_COLUMNS)])
                .areas(body);
        let (list, rest) = split(left, rows_and_heading(model), CHART_LINES);
        table(frame, list, model, desk, is_current, now);
        side::chart(frame, rest, model, desk, is_current);
        pane(frame, side, model, desk, now);
    } else {
        let (list, rest) = split(body, rows_and_heading(model), 7);
        table(frame, list, model, desk, is_current, now);
        let chart_lines = if rest.height >= CHART_LINES * 2 { CHART_LINES } else { 0 };
        let [chart, rest] =
            Layout::vertical([Constraint::Length(chart_lines), Constraint::Min(0)]).areas(rest);
        side::chart(frame, chart, model, desk, is_current);
        pane(frame, rest, model, desk, now);
    }
    frame.render_widget(Paragraph::new(foot(model, desk, &standing, now, bottom.width)), bottom);
}

/// The watchlist's part, which takes what it needs but leaves the other `rest_min` lines or two fifths.
fn split(body: Rect, needed: u16, rest_min: u16) -> (Rect, Rect) {
    let rest = rest_min.max(body.height * 2 / 5).min(body.height / 2);
    let list = needed.min(body.height.saturating_sub(rest));
    let [list, rest] = Layout::vertical([Constraint::Length(list), Constraint::Min(0)]).areas(body);
    (list, rest)
}

fn rows_and_heading(model: &Model) -> u16 {
    u16::try_from(model.rows().len() + 1).unwrap_or(u16::MAX)
}

fn table(frame: &mut Frame<'_>, area: Rect, model: &Model, desk: &Desk, is_current: bool, now: Now) {
    let lines = list::table(model, desk, is_current, now, area.width);
    list::scrolled(frame, area, &lines, 1, 1, desk.cursor(&desk.order(model)));
}

fn pane(frame: &mut Frame<'_>, area: Rect, model: &Model, desk: &Desk, now: Now) {
    let lines = match desk.pane {
        Pane::Tape => side::tape(model, desk, area),
        Pane::Notices => side::notices(model, desk, area, now),
    };
    frame.render_widget(Paragraph::new(lines), area);
}

/// How it stands: the state first, then figures, as far as they fit; where they don't, on a line of their own.
fn head(model: &Model, desk: &Desk, standing: &Standing, width: u16) -> Vec<Line<'static>> {
    let theme = desk.theme;
    let (style, state) = match standing {
        Standing::Connecting => (theme.warn, "○ connecting".to_owned()),
        Standing::Live => (theme.good, "● live".to_owned()),
        Standing::Quiet(ms) => (theme.warn, format!("● live, feed quiet for {}", text::time(*ms as f64))),
        Standing::Mute(ms) => (theme.bad, format!("● stale: nothing came for {}", text::time(*ms as f64))),
        Standing::FeedDown => (theme.bad, "● stale: the gateway has lost its feed".to_owned()),
        Standing::Down { for_ms: Some(ms), .. } => {
            (theme.bad, format!("○ down for {}", text::time(*ms as f64)))
        }
        Standing::Down { for_ms: None, .. } => (theme.bad, "○ down".to_owned()),
    };
    let mut first = vec![Span::styled(format!(" {state}"), style)];
    if let Some(frozen) = &model.frozen {
        let since = text::quantity(model.events.saturating_sub(frozen.events) as f64);
        first.push(Span::styled(format!("  ‖ paused, {since} events since"), theme.warn));
    }
    let figures = figures(model, desk, width >= NARROW_BELOW);
    let mut lines = vec![];
    let length = |spans: &[Span<'_>]| spans.iter().map(|span| span.content.chars().count()).sum::<usize>();
    let room = usize::from(width).saturating_sub(length(&first) + length(&figures) + 3);
    let url = text::fit(&model.link.url, model.link.url.len().min(room.saturating_sub(2)));
    if room > 0 {
        first.push(Span::raw("  "));
        first.extend(figures);
        if room > url.len() && room > 12 {
            let pad = usize::from(width).saturating_sub(length(&first) + url.chars().count() + 1);
            first.push(Span::raw(" ".repeat(pad)));
            first.push(Span::styled(url, theme.dim));
        }
        lines.push(Line::from(first));
    } else {
        lines.push(Line::from(first));
        lines.push(Line::from([vec![Span::raw(" ")], figures].concat()));
    }
    if let Standing::Down { why, again_in_ms, .. } = standing {
        let again = match again_in_ms {
            0 => "trying again".to_owned(),
            ms => format!("again in {}", text::time((*ms as f64 / 100.0).ceil() * 100.0)),
        };
        let width = usize::from(width);
        let room = width.saturating_sub(again.chars().count() + 3);
        let why =
            |room| Span::styled(format!(" {}", text::fit(why, why.chars().count().min(room))), theme.bad);
        if room >= 40 {
            lines.push(Line::from(vec![why(room), Span::raw(format!(", {again}"))]));
        } else {
            lines.push(Line::from(why(width.saturating_sub(1))));
            lines.push(Line::from(format!(" {again}")));
        }
    }
    lines
}

/// Rate, round trip, losses.
fn figures(model: &Model, desk: &Desk, in_full: bool) -> Vec<Span<'static>> {
    let theme = desk.theme;
    let mut spans = vec![Span::styled(text::rate(model.rate()), Style::new())];
    if let Some(ms) = model.link.round_trip_ms {
        spans.push(Span::styled("  rtt ", theme.dim));
        spans.push(Span::raw(text::time(ms)));
    }
    let lost = model.skipped.saturating_add(model.missed);
    let style = if lost == 0 { Style::new() } else { theme.warn };
    spans.push(Span::styled("  lost ", theme.dim));
    spans.push(Span::styled(text::quantity(lost as f64), style));
    if lost > 0 && in_full {
        let (skipped, missed) = (text::quantity(model.skipped as f64), text::quantity(model.missed as f64));
        spans.push(Span::styled(format!(" ({skipped} skipped, {missed} in gaps)"), theme.warn));
    }
    if model.link.losses > 0 {
        spans.push(Span::styled(format!("  link lost {}×", model.link.losses), theme.dim));
    }
    spans
}

/// The last notice, or the line in which a symbol is typed; and the keys.
fn foot(model: &Model, desk: &Desk, standing: &Standing, now: Now, width: u16) -> Vec<Line<'static>> {
    let theme = desk.theme;
    let width = usize::from(width);
    let said = match (&desk.prompt, &desk.complaint) {
        (Some(typed), complaint) => {
            let mut spans =
                vec![Span::styled(" add symbol: ", theme.accent), Span::raw(typed.clone()), Span::raw("▏")];
            if let Some(complaint) = complaint {
                spans.push(Span::styled(format!("  {complaint}"), theme.warn));
            }
            Line::from(spans)
        }
        // Why there is no connection stands above already.
        (None, _) => match model.notices.front().filter(|_| !matches!(standing, Standing::Down { .. })) {
            Some(notice)
                if now.ms() < notice.at.ms() + if notice.serious { WARNING_MS } else { NOTICE_MS } =>
            {
                let age = format!("  {}", side::ago(notice, now));
                let room = width.saturating_sub(age.chars().count() + 2);
                let said = text::fit(&notice.text, notice.text.chars().count().min(room));
                let style = if notice.serious { theme.warn } else { theme.dim };
                Line::from(vec![Span::styled(format!(" {said}"), style), Span::styled(age, theme.dim)])
            }
            _ => Line::default(),
        },
    };
    let keys: &[(&str, String)] = &match desk.mode() {
        Mode::Prompt => vec![("Enter", "add".to_owned()), ("Esc", "cancel".to_owned())],
        Mode::Help => vec![("any key", "back".to_owned()), ("q", "quit".to_owned())],
        Mode::List => {
            let order =
                if desk.reversed { format!("{} ↑", desk.sort.name()) } else { desk.sort.name().to_owned() };
            let pane = if desk.pane == Pane::Tape { "notices" } else { "tape" };
            let follow = if desk.follows { "all" } else { "only this" };
            vec![
                ("q", "quit".to_owned()),
                ("?", "help".to_owned()),
                ("a", "add".to_owned()),
                ("d", "remove".to_owned()),
                ("s", format!("sort: {order}")),
                ("p", if model.frozen.is_some() { "go on" } else { "pause" }.to_owned()),
                ("↑↓", "select".to_owned()),
                ("f", follow.to_owned()),
                ("n", pane.to_owned()),
                ("c", "colours".to_owned()),
            ]
        }
    };
    let mut spans = Vec::new();
    let mut used = 0;
    for (key, what) in keys {
        let length = key.chars().count() + what.chars().count() + 3;
        if used + length > width {
            break;
        }
        used += length;
        spans.push(Span::styled(format!(" {key}"), theme.accent));
        spans.push(Span::styled(format!(" {what} "), theme.dim));
    }
    vec![said, Line::from(spans)]
}

#[cfg(test)]
mod tests;
