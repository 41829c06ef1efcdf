//! What the screen shows: the symbols, the tape, and how the connection and the feed stand. Pure: frames and time go in.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;

use super::link::Link;
use super::row::Row;
use super::text;
use crate::client::frame::{Frame, Held, Marks};
use crate::client::reconnect::Ended;
use crate::client::view::View;
use crate::event;
use crate::term::{Palette, clean};
use crate::trade::{Trade, VALUE_CHARS_MAX, time_of_day};

/// Of further symbols the screen says only that there are some.
pub const ROWS_MAX: usize = 2_000;

/// The tape and the notices go back so far.
const LINES_MAX: usize = 500;

/// After so many seconds in which nobody looked (the machine slept) the time between is not told second by second.
const SECONDS_MAX: u64 = 60;

/// Two clocks: one that never jumps, for how long things take, and the one on the wall.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since the screen was opened.
    pub us: u64,
    /// Unix milliseconds.
    pub unix_ms: u64,
}

impl Now {
    /// Milliseconds since the screen was opened.
    pub fn ms(self) -> u64 {
        self.us / 1000
    }
}

/// A line of the tape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Print {
    /// Of the event: `HH:MM:SS.mmm`, UTC; of another day `26 Nov 14:03`.
    pub time: String,
    /// Whose it is; `None` for news of the market.
    pub symbol: Option<String>,
    /// What happened.
    pub what: What,
    /// It was before: `snapshot`, `replay`, stands for several, or comes delayed.
    pub note: &'static str,
}

/// What a line of the tape tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A trade, its numbers as they were written, and its move: +1, 0 or −1.
    Trade {
        /// As written.
        price: String,
        /// As written.
        volume: String,
        /// Where.
        exchange: String,
        /// +1, 0 or −1.
        direction: i8,
    },
    /// An event of another type in words.
    Other(String),
}

/// Something that the gateway or the client had to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// When it was said.
    pub at: Now,
    /// Whether it needs attention.
    pub serious: bool,
    /// In words.
    pub text: String,
}

/// What pausing keeps still.
#[derive(Debug, Clone)]
pub struct Frozen {
    rows: Vec<Row>,
    tape: VecDeque<Print>,
    /// How many events had come.
    pub events: u64,
}

/// All of it.
#[derive(Debug)]
pub struct Model {
    /// Connection and feed.
    pub link: Link,
    /// What we hold of trades, names and patterns, as the gateway last said.
    pub held: Vec<String>,
    /// The newest first.
    pub notices: VecDeque<Notice>,
    /// Events so far.
    pub events: u64,
    /// Events of all symbols that were skipped, and that workers left out.
    pub skipped: u64,
    /// See `skipped`.
    pub missed: u64,
    /// Symbols for which there was no row left.
    pub untold: u64,
    /// Set while paused.
    pub frozen: Option<Frozen>,
    rows: Vec<Row>,
    index: HashMap<String, usize>,
    tape: VecDeque<Print>,
    view: View,
    counted: u64,
    counts: VecDeque<u64>,
    second: u64,
    changed: bool,
}

impl Model {
    /// Nothing has come; `symbols` are what will be asked for.
    pub fn new(url: &str, symbols: &[String]) -> Self {
        let mut model = Self {
            link: Link::new(url),
            held: symbols.to_vec(),
            notices: VecDeque::new(),
            events: 0,
            skipped: 0,
            missed: 0,
            untold: 0,
            frozen: None,
            rows: Vec::new(),
            index: HashMap::new(),
            tape: VecDeque::new(),
            view: View::new(Palette::PLAIN),
            counted: 0,
            counts: VecDeque::new(),
            second: 0,
            changed: true,
        };
        model.settle_rows();
        model
    }

    /// The symbols to show, in the order in which they came up.
    pub fn rows(&self) -> &[Row] {
        self.frozen.as_ref().map_or(&self.rows, |frozen| &frozen.rows)
    }

    /// The tape to show, the newest first.
    pub fn tape(&self) -> &VecDeque<Print> {
        self.frozen.as_ref().map_or(&self.tape, |frozen| &frozen.tape)
    }

    /// Keeps symbols and tape as they are, or lets them go on. The link and what was lost are told all the while.
    pub fn toggle_pause(&mut self) {
        self.frozen = match self.frozen.take() {
            Some(_) => None,
            None => Some(Frozen { rows: self.rows.clone(), tape: self.tape.clone(), events: self.events }),
        };
    }

    /// Events a second of all symbols, lately.
    pub fn rate(&self) -> f64 {
        self.counts.iter().sum::<u64>() as f64 / self.counts.len().max(1) as f64
    }

    /// Whether anything has come since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// A connection is there. What was traded between two of them may be missing.
    pub fn connected(&mut self, now: Now) {
        self.changed = true;
        if let Some(away_ms) = self.link.connected(now) {
            let away = text::time(away_ms as f64);
            let text =
                format!("back after {away}: what was traded meanwhile comes only for symbols with a seq");
            self.notice(true, text, now);
        }
    }

    /// A connection or an attempt has ended.
    pub fn ended(&mut self, ended: &Ended, again_in: Duration, now: Now) {
        self.link.ended(ended, again_in, now);
        self.outdate();
        self.notice(true, ended.in_short(), now);
    }

    /// Says something to the person at the screen.
    pub fn notice(&mut self, serious: bool, text: String, now: Now) {
        self.changed = true;
        self.notices.push_front(Notice { at: now, serious, text });
        self.notices.truncate(LINES_MAX);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        let seconds = (now.ms() / 1000).saturating_sub(self.second);
        for _ in 0..seconds.min(SECONDS_MAX) {
            self.rows.iter_mut().for_each(Row::second);
            self.counts.push_back(std::mem::take(&mut self.counted));
            if self.counts.len() > 10 {
                self.counts.pop_front();
            }
        }
        self.second += seconds;
    }

    /// A frame has come.
    pub fn take(&mut self, frame: &Frame<'_>, now: Now) {
        self.link.heard(now);
        self.changed = true;
        match frame {
            Frame::Event { kind, data, trade, marks } => {
                self.events += 1;
                self.counted += 1;
                match trade {
                    Some(trade) => self.trade(trade, marks, now),
                    None => self.event(kind, data, marks, now),
                }
                return;
            }
            Frame::Success { held, .. } => {
                self.holds(held);
                for (symbol, is_recovered) in &held.recovered {
                    if let Some(at) = self.index_of(symbol) {
                        self.rows[at].is_recovered = *is_recovered;
                    }
                }
            }
            Frame::Pong { .. } => return self.link.pong(now),
            Frame::Status { event, data } => {
                let feed_was_down = self.link.is_feed_down();
                self.link.status(event, data, now);
                self.losses(event, data);
                if &**event == "feed" || self.link.is_feed_down() != feed_was_down {
                    self.outdate();
                } else if &**event == "replayEnd" {
                    self.caught_up(data);
                }
                if matches!(&**event, "heartbeat" | "snapshotEnd" | "replayEnd") {
                    return;
                }
            }
            Frame::Error { .. } | Frame::Desk { .. } => {}
        }
        let line = self.view.show(frame);
        let (serious, text) = match line.split_at_checked(3) {
            Some(("!! ", text)) => (true, text),
            Some(("-- ", text)) => (false, text),
            _ => (false, line.as_str()),
        };
        let way_out = match frame {
            Frame::Error { code, .. } if code == "SYMBOL_LIMIT_EXCEEDED" => " (d removes the selected one)",
            _ => "",
        };
        self.notice(serious, format!("{text}{way_out}"), now);
    }

    fn trade(&mut self, trade: &Trade<'_>, marks: &Marks<'_>, now: Now) {
        let mut direction = 0;
        if let Some(row) = self.row(&trade.symbol) {
            row.trade(trade, marks, now.ms(), now.unix_ms);
            direction = row.direction;
        }
        self.print(Print {
            time: moment(trade.timestamp.get(), now),
            symbol: Some(clean(&trade.symbol, 64)),
            what: What::Trade {
                price: clean(trade.price.get(), VALUE_CHARS_MAX),
                volume: clean(trade.volume.get(), VALUE_CHARS_MAX),
                exchange: clean(trade.exchange.as_deref().unwrap_or_default(), 16),
                direction,
            },
            note: note(marks),
        });
    }

    fn event(&mut self, kind: &str, data: &str, marks: &Marks<'_>, now: Now) {
        let fields: Value = serde_json::from_str(data).unwrap_or_default();
        let text = |field: &str| fields.get(field).and_then(Value::as_str);
        if let Some(row) = text("symbol").and_then(|symbol| self.row(symbol)) {
            row.other(now.ms());
            if kind == "halt" {
                let is_over = |status: &str| matches!(status, "resumed" | "trading" | "open");
                row.halted = text("status").filter(|status| !is_over(status)).map(|status| clean(status, 16));
            }
        }
        let line = event::row(kind, data, "");
        // Time and symbol have columns of their own.
        let words = line.split_once(kind).map_or(line.as_str(), |(_, words)| words.trim_start());
        self.print(Print {
            time: fields.get("timestamp").map_or_else(String::new, |at| moment(&at.to_string(), now)),
            symbol: text("symbol").map(|symbol| clean(symbol, 64)),
            // A headline is one without being called so.
            what: What::Other(if kind == "news" { words.to_owned() } else { format!("{kind}  {words}") }),
            note: note(marks),
        });
    }

    fn print(&mut self, print: Print) {
        self.tape.push_front(print);
        self.tape.truncate(LINES_MAX);
    }

    /// What a status says is missing here.
    fn losses(&mut self, event: &str, data: &Value) {
        let number = |field: &str| data.get(field).and_then(Value::as_u64);
        let (skipped, missed) = match event {
            "skipped" => (number("count").unwrap_or_default(), 0),
            "gap" => {
                let (from, to) = (number("from").unwrap_or_default(), number("to").unwrap_or_default());
                (0, to.saturating_sub(from).saturating_add(1))
            }
            _ => return,
        };
        self.skipped = self.skipped.saturating_add(skipped);
        self.missed = self.missed.saturating_add(missed);
        if let Some(row) = data.get("symbol").and_then(Value::as_str).and_then(|symbol| self.row(symbol)) {
            row.skipped = row.skipped.saturating_add(skipped);
            row.missed = row.missed.saturating_add(missed);
        }
    }

    /// Connection or feed is lost, or back: each price may be old until its symbol's next event.
    fn outdate(&mut self) {
        let frozen = self.frozen.iter_mut().flat_map(|frozen| &mut frozen.rows);
        for row in self.rows.iter_mut().chain(frozen) {
            row.is_stale = true;
            row.is_recovered = false;
        }
    }

    /// A replay is over: where it brought all that was missed, the last price is current.
    fn caught_up(&mut self, data: &Value) {
        if data.get("type").and_then(Value::as_str) != Some("trade") {
            return;
        }
        for symbol in data.get("symbols").and_then(Value::as_array).into_iter().flatten() {
            if let Some(at) = symbol.as_str().and_then(|symbol| self.index_of(symbol)) {
                let row = &mut self.rows[at];
                row.is_stale &= !row.is_recovered;
            }
        }
    }

    fn holds(&mut self, held: &Held) {
        let others = held.current_by_type.values().flatten();
        let mut names: Vec<_> = held.current_subscriptions.iter().chain(others).cloned().collect();
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        self.held = names;
        self.settle_rows();
    }

    /// There is a row for each name that we hold, and for what has come by a pattern that we hold.
    fn settle_rows(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.rows.retain(|row| held.iter().any(|name| covers(name, &row.symbol)));
        self.index = self.rows.iter().enumerate().map(|(at, row)| (row.symbol.clone(), at)).collect();
        for name in held.iter().filter(|name| !name.ends_with('*')) {
            self.row(name);
        }
        self.held = held;
    }

    /// The row of a symbol; a new one if there is room.
    fn row(&mut self, symbol: &str) -> Option<&mut Row> {
        let at = match self.index_of(symbol) {
            Some(at) => at,
            None if self.rows.len() < ROWS_MAX => {
                self.rows.push(Row::new(symbol));
                self.index.insert(symbol.to_owned(), self.rows.len() - 1);
                self.rows.len() - 1
            }
            None => {
                self.untold += 1;
                return None;
            }
        };
        self.rows.get_mut(at)
    }

    fn index_of(&self, symbol: &str) -> Option<usize> {
        self.index.get(symbol).copied().or_else(|| {
            // A worker's spelling may differ where the gateway folds symbols.
            let is_held = |symbol: &str| self.held.iter().any(|name| covers(name, symbol));
            let upper = symbol.to_ascii_uppercase();
            (!is_held(symbol)).then(|| self.index.get(&upper).copied()).flatten()
        })
    }
}

/// Whether a name or pattern that we hold stands for a symbol.
pub fn covers(name: &str, symbol: &str) -> bool {
    name.strip_suffix('*').map_or(name == symbol, |start| symbol.starts_with(start))
}

/// When an event was: the time of day, or the date and the minute if that was another day than it is now, both in UTC.
fn moment(unix_ms: &str, now: Now) -> String {
    let day = |unix_ms: u64| unix_ms / 86_400_000;
    let of_another_day = unix_ms.parse().ok().filter(|at| day(*at) != day(now.unix_ms));
    let date = of_another_day.and_then(|at| OffsetDateTime::from_unix_timestamp((at / 1000) as i64).ok());
    date.map_or_else(
        || time_of_day(unix_ms),
        |at| {
            let month = &at.month().to_string()[..3];
            format!("{:2} {month} {:02}:{:02}", at.day(), at.hour(), at.minute())
        },
    )
}

fn note(marks: &Marks<'_>) -> &'static str {
    match marks {
        Marks { snapshot: true, .. } => "last known",
        Marks { replay: true, .. } => "replay",
        Marks { conflated: Some(_), .. } => "conflated",
        Marks { delayed_ms: Some(_), .. } => "delayed",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
