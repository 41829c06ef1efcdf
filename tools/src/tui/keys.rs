//! What keys mean. Pure: a key and what is open go in, what to do comes out.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What the person at the screen wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To leave.
    Quit,
    /// The selection goes so many symbols down, or up if below zero.
    Move(i32),
    /// The selection goes to the first symbol.
    First,
    /// The selection goes to the last symbol.
    Last,
    /// By another column.
    Sort,
    /// The other way round.
    Reverse,
    /// Symbols and tape stand still, or go on.
    Pause,
    /// Tape or notices.
    Pane,
    /// The tape of the selected symbol only, or of all.
    Follow,
    /// To be asked for a symbol.
    Add,
    /// To leave the selected symbol.
    Remove,
    /// The colours for a dark or a light terminal, or none.
    Theme,
    /// What keys there are.
    Help,
    /// A character of the symbol that is asked for.
    Type(char),
    /// To take the last one back.
    Erase,
    /// The symbol is complete.
    Submit,
    /// What is open shall be closed.
    Close,
}

/// What is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The watchlist.
    List,
    /// The line in which a symbol is typed.
    Prompt,
    /// The page of keys.
    Help,
}

/// A page of the watchlist.
const PAGE: i32 = 10;

/// What a key means.
pub fn action(key: KeyEvent, mode: Mode) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c' | 'd') => Some(Action::Quit),
            KeyCode::Char('u') if mode == Mode::Prompt => Some(Action::Close),
            _ => None,
        };
    }
    match mode {
        Mode::List => in_list(key.code),
        Mode::Prompt => match key.code {
            KeyCode::Char(letter) => Some(Action::Type(letter)),
            KeyCode::Backspace => Some(Action::Erase),
            KeyCode::Enter => Some(Action::Submit),
            KeyCode::Esc => Some(Action::Close),
            _ => None,
        },
        Mode::Help => match key.code {
            KeyCode::Char('q') => Some(Action::Quit),
            _ => Some(Action::Close),
        },
    }
}

fn in_list(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Down | KeyCode::Char('j') => Action::Move(1),
        KeyCode::Up | KeyCode::Char('k') => Action::Move(-1),
        KeyCode::PageDown => Action::Move(PAGE),
        KeyCode::PageUp => Action::Move(-PAGE),
        KeyCode::Home | KeyCode::Char('g') => Action::First,
        KeyCode::End | KeyCode::Char('G') => Action::Last,
        KeyCode::Char('a' | '+' | '/') => Action::Add,
        KeyCode::Char('d' | '-') | KeyCode::Delete => Action::Remove,
        KeyCode::Char('s') => Action::Sort,
        KeyCode::Char('r') => Action::Reverse,
        KeyCode::Char('p' | ' ') => Action::Pause,
        KeyCode::Char('n') | KeyCode::Tab => Action::Pane,
        KeyCode::Char('f') | KeyCode::Enter => Action::Follow,
        KeyCode::Char('c') => Action::Theme,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => Action::Help,
        KeyCode::Esc => Action::Close,
        _ => return None,
    })
}

/// The page of keys.
pub const HELP: [(&str, &str); 13] = [
    ("a", "add a symbol, or all that begin so: BTC-*"),
    ("d", "remove the selected one"),
    ("↑ ↓ j k", "select; PgUp PgDn Home End"),
    ("s r", "sort by the next column; reverse"),
    ("p", "pause symbols and tape"),
    ("f", "tape of the selected symbol, or of all"),
    ("n", "what the gateway said, instead of the tape"),
    ("c", "colours: dark, light, none"),
    ("q", "quit"),
    ("CHANGE %", "since the first price on this screen"),
    ("VOLUME", "traded since this screen is open"),
    ("DELAY", "worker's clock to here; RTT: to the gateway and back"),
    ("LOST", "skipped as we were too slow + left out by workers"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers, mode: Mode) -> Option<Action> {
        action(KeyEvent::new(code, modifiers), mode)
    }

    #[test]
    fn letters_are_commands_in_the_list_and_letters_in_the_prompt() {
        let press = |code, mode| press(code, KeyModifiers::NONE, mode);
        for (code, in_list, in_prompt) in [
            (KeyCode::Char('q'), Some(Action::Quit), Some(Action::Type('q'))),
            (KeyCode::Char('a'), Some(Action::Add), Some(Action::Type('a'))),
            (KeyCode::Enter, Some(Action::Follow), Some(Action::Submit)),
            (KeyCode::Esc, Some(Action::Close), Some(Action::Close)),
            (KeyCode::Down, Some(Action::Move(1)), None),
            (KeyCode::Backspace, None, Some(Action::Erase)),
            (KeyCode::F(12), None, None),
        ] {
            assert_eq!(
                (press(code, Mode::List), press(code, Mode::Prompt)),
                (in_list, in_prompt),
                "{code:?}"
            );
        }
        assert_eq!(press(KeyCode::Char('x'), Mode::Help), Some(Action::Close));
        assert_eq!(press(KeyCode::Char('q'), Mode::Help), Some(Action::Quit));
    }

    #[test]
    fn control_c_leaves_from_everywhere_and_a_release_does_nothing() {
        for mode in [Mode::List, Mode::Prompt, Mode::Help] {
            assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL, mode), Some(Action::Quit));
        }
        assert_eq!(press(KeyCode::Char('s'), KeyModifiers::CONTROL, Mode::List), None);
        let release = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(action(release, Mode::List), None);
    }
}
