//! What the person at the screen has chosen: the selected symbol, the order, what is open. Pure: actions go in, and what the
//! session has to be asked for comes out.

use super::keys::{Action, Mode};
use super::model::{Model, Now, covers};
use super::row::Row;
use super::theme::Theme;
use crate::cli;
use crate::client::audience::Ask;

/// By what the watchlist is sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// As the symbols came up.
    #[default]
    Listed,
    /// By name.
    Symbol,
    /// The largest rise first.
    Change,
    /// The largest volume first.
    Volume,
    /// The busiest first.
    Rate,
    /// The one with the most losses first.
    Lost,
}

impl Sort {
    fn next(self) -> Self {
        match self {
            Self::Listed => Self::Symbol,
            Self::Symbol => Self::Change,
            Self::Change => Self::Volume,
            Self::Volume => Self::Rate,
            Self::Rate => Self::Lost,
            Self::Lost => Self::Listed,
        }
    }

    /// As the line of keys has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Symbol => "symbol",
            Self::Change => "change",
            Self::Volume => "volume",
            Self::Rate => "rate",
            Self::Lost => "lost",
        }
    }
}

/// What shows below the watchlist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pane {
    /// Events.
    #[default]
    Tape,
    /// What the gateway and the client had to say.
    Notices,
}

/// What becomes of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The screen may have changed.
    Stay,
    /// The session has to be asked for this.
    Ask(Ask),
    /// To leave.
    Quit,
}

/// The person's choices.
#[derive(Debug, Clone)]
pub struct Desk {
    /// By which symbols are sorted.
    pub sort: Sort,
    /// The other way round.
    pub reversed: bool,
    /// The symbol under the cursor.
    pub selected: Option<String>,
    /// Tape or notices.
    pub pane: Pane,
    /// The tape has the selected symbol's events only.
    pub follows: bool,
    /// What has been typed, while a symbol is asked for.
    pub prompt: Option<String>,
    /// What is wrong with it.
    pub complaint: Option<String>,
    /// The page of keys is open.
    pub help: bool,
    /// The colours.
    pub theme: Theme,
    /// The pattern that the next `d` will leave.
    doubtful: Option<String>,
}

impl Desk {
    /// Nothing chosen yet.
    pub fn new(theme: Theme) -> Self {
        Self {
            sort: Sort::default(),
            reversed: false,
            selected: None,
            pane: Pane::default(),
            follows: false,
            prompt: None,
            complaint: None,
            help: false,
            theme,
            doubtful: None,
        }
    }

    /// What is open.
    pub fn mode(&self) -> Mode {
        match (self.help, &self.prompt) {
            (true, _) => Mode::Help,
            (false, Some(_)) => Mode::Prompt,
            (false, None) => Mode::List,
        }
    }

    /// The watchlist in its order.
    pub fn order<'m>(&self, model: &'m Model) -> Vec<&'m Row> {
        let mut rows: Vec<_> = model.rows().iter().collect();
        let largest_first = |a: Option<f64>, b: Option<f64>| {
            let rank = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
            rank(b).total_cmp(&rank(a))
        };
        match self.sort {
            Sort::Listed => {}
            Sort::Symbol => rows.sort_by(|a, b| a.symbol.cmp(&b.symbol)),
            Sort::Change => rows.sort_by(|a, b| largest_first(a.change_percent(), b.change_percent())),
            Sort::Volume => rows.sort_by(|a, b| largest_first(Some(a.volume), Some(b.volume))),
            Sort::Rate => rows.sort_by(|a, b| largest_first(Some(a.rate()), Some(b.rate()))),
            Sort::Lost => rows.sort_by_key(|row| std::cmp::Reverse(row.lost())),
        }
        if self.reversed {
            rows.reverse();
        }
        rows
    }

    /// Where the selected symbol stands in that order; the first if it is gone or none is selected.
    pub fn cursor(&self, order: &[&Row]) -> usize {
        let selected = self.selected.as_deref();
        order.iter().position(|row| Some(row.symbol.as_str()) == selected).unwrap_or_default()
    }

    /// Does what a key said.
    pub fn act(&mut self, action: Action, model: &mut Model, now: Now) -> Turn {
        let doubtful = self.doubtful.take();
        match action {
            Action::Quit => return Turn::Quit,
            Action::Move(by) => self.select(model, |at| at.saturating_add_signed(by as isize)),
            Action::First => self.select(model, |_| 0),
            Action::Last => self.select(model, |_| usize::MAX),
            Action::Sort => self.sort = self.sort.next(),
            Action::Reverse => self.reversed = !self.reversed,
            Action::Pause => model.toggle_pause(),
            Action::Pane => {
                self.pane = if self.pane == Pane::Tape { Pane::Notices } else { Pane::Tape };
            }
            Action::Follow => self.follows = !self.follows,
            Action::Theme => self.theme = self.theme.next(),
            Action::Help => self.help = true,
            Action::Add => self.prompt = Some(String::new()),
            Action::Remove => return self.remove(doubtful.as_deref(), model, now),
            Action::Type(letter) => {
                self.complaint = None;
                if let Some(prompt) = &mut self.prompt {
                    prompt.push(letter);
                }
            }
            Action::Erase => {
                self.complaint = None;
                if let Some(prompt) = &mut self.prompt {
                    prompt.pop();
                }
            }
            Action::Submit => return self.submit(),
            Action::Close if self.help => self.help = false,
            Action::Close => (self.prompt, self.complaint) = (None, None),
        }
        Turn::Stay
    }

    fn select(&mut self, model: &Model, to: impl Fn(usize) -> usize) {
        let order = self.order(model);
        let at = to(self.cursor(&order)).min(order.len().saturating_sub(1));
        self.selected = order.get(at).map(|row| row.symbol.clone());
    }

    fn submit(&mut self) -> Turn {
        let Some(typed) = &self.prompt else { return Turn::Stay };
        if typed.trim().is_empty() {
            self.prompt = None;
            return Turn::Stay;
        }
        match cli::symbol_or_pattern(typed) {
            Ok(symbol) => {
                self.prompt = None;
                self.selected = Some(symbol.to_ascii_uppercase()).filter(|symbol| !symbol.ends_with('*'));
                Turn::Ask(Ask::Add(symbol))
            }
            Err(complaint) => {
                self.complaint = Some(complaint);
                Turn::Stay
            }
        }
    }

    /// Leaves the selected symbol. One that comes by a pattern can't be left alone: the pattern is, if that is confirmed.
    fn remove(&mut self, doubtful: Option<&str>, model: &mut Model, now: Now) -> Turn {
        let order = self.order(model);
        let cursor = self.cursor(&order);
        let Some(symbol) = order.get(cursor).map(|row| row.symbol.clone()) else { return Turn::Stay };
        if model.held.contains(&symbol) {
            let next = order.get(cursor + 1).or_else(|| order.get(cursor.checked_sub(1)?));
            self.selected = next.map(|row| row.symbol.clone());
            return Turn::Ask(Ask::Remove(symbol));
        }
        let Some(pattern) = model.held.iter().find(|name| covers(name, &symbol)).cloned() else {
            return Turn::Stay;
        };
        if doubtful == Some(pattern.as_str()) {
            return Turn::Ask(Ask::Remove(pattern));
        }
        let text = format!("{symbol} comes by {pattern}: d again leaves {pattern} and all that it brings");
        model.notice(true, text, now);
        self.doubtful = Some(pattern);
        Turn::Stay
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::frame::Frame;

    fn desk() -> Desk {
        Desk::new(Theme::DARK)
    }

    fn model(frames: &[&str]) -> Model {
        let mut model = Model::new("ws://gateway", &["AAPL", "MSFT", "B-*"].map(str::to_owned));
        for frame in frames {
            model.take(&Frame::parse(frame).unwrap(), Now::default());
        }
        model
    }

    fn trade(symbol: &str, price: &str) -> String {
        format!(
            r#"{{"type":"trade","data":{{"symbol":"{symbol}","price":{price},"volume":1,"timestamp":1}},"timestamp":1}}"#
        )
    }

    fn order(desk: &Desk, model: &Model) -> Vec<String> {
        desk.order(model).iter().map(|row| row.symbol.clone()).collect()
    }

    #[test]
    fn a_symbol_is_typed_checked_and_asked_for() {
        let (mut desk, mut model) = (desk(), model(&[]));
        let mut act = |desk: &mut Desk, action| desk.act(action, &mut model, Now::default());
        act(&mut desk, Action::Add);
        assert_eq!(desk.mode(), Mode::Prompt);
        for letter in "b*cx".chars() {
            act(&mut desk, Action::Type(letter));
        }
        assert_eq!(act(&mut desk, Action::Submit), Turn::Stay);
        assert!(desk.complaint.as_deref().is_some_and(|rule| rule.contains("a symbol is")));
        (0..3).for_each(|_| drop(act(&mut desk, Action::Erase)));
        act(&mut desk, Action::Type('x'));
        assert_eq!(
            (act(&mut desk, Action::Submit), desk.mode()),
            (Turn::Ask(Ask::Add("bx".to_owned())), Mode::List)
        );
        assert_eq!(desk.selected.as_deref(), Some("BX"));
        act(&mut desk, Action::Add);
        assert_eq!((act(&mut desk, Action::Submit), desk.mode()), (Turn::Stay, Mode::List));
        assert_eq!(act(&mut desk, Action::Quit), Turn::Quit);
    }

    #[test]
    fn the_selection_stays_with_its_symbol() {
        let frames = [trade("AAPL", "1"), trade("MSFT", "1"), trade("B-1", "1"), trade("MSFT", "2")];
        let (mut desk, mut model) = (desk(), model(&frames.each_ref().map(String::as_str)));
        desk.act(Action::Move(1), &mut model, Now::default());
        assert_eq!(desk.selected.as_deref(), Some("MSFT"));
        desk.act(Action::Sort, &mut model, Now::default());
        desk.act(Action::Sort, &mut model, Now::default());
        assert_eq!(
            (desk.sort.name(), order(&desk, &model)),
            ("change", ["MSFT", "AAPL", "B-1"].map(str::to_owned).to_vec())
        );
        assert_eq!(desk.cursor(&desk.order(&model)), 0);
        desk.act(Action::Last, &mut model, Now::default());
        desk.act(Action::Move(10), &mut model, Now::default());
        assert_eq!(desk.selected.as_deref(), Some("B-1"));
        desk.act(Action::Reverse, &mut model, Now::default());
        assert_eq!(order(&desk, &model)[0], "B-1");
    }

    #[test]
    fn a_pattern_is_left_only_when_confirmed() {
        let (mut desk, mut model) = (desk(), model(&[&trade("B-1", "1")]));
        desk.act(Action::Last, &mut model, Now::default());
        assert_eq!(desk.act(Action::Remove, &mut model, Now::default()), Turn::Stay);
        assert!(model.notices[0].text.contains("d again"));
        desk.act(Action::Sort, &mut model, Now::default());
        assert_eq!(desk.act(Action::Remove, &mut model, Now::default()), Turn::Stay);
        let left = desk.act(Action::Remove, &mut model, Now::default());
        assert_eq!(left, Turn::Ask(Ask::Remove("B-*".to_owned())));
        desk.act(Action::First, &mut model, Now::default());
        let left = desk.act(Action::Remove, &mut model, Now::default());
        assert_eq!(
            (left, desk.selected.as_deref()),
            (Turn::Ask(Ask::Remove("AAPL".to_owned())), Some("B-1"))
        );
    }
}
