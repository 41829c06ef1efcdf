//! The terminal: taken at the start, given back however it ends; and the loop that draws and reads keys beside the session.

use std::cell::RefCell;
use std::fmt::Display;
use std::future::{Future, pending};
use std::io::{self, IsTerminal as _, Stdout, stdout};
use std::panic;
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Once;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use crossterm::cursor::Show;
use crossterm::event::{Event, EventStream};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use futures_util::StreamExt as _;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use ws_gateway::config::redact_url;

use super::desk::{Desk, Turn};
use super::keys::action;
use super::model::{Model, Now};
use super::theme::Theme;
use super::view::draw;
use crate::client::Options;
use crate::client::audience::{Ask, Audience};
use crate::client::frame::Frame;
use crate::client::reconnect::Ended;
use crate::client::session::run_for;
use crate::term::{Stop, tell};

/// Between two drawings at least, whatever comes.
const DRAW_EVERY: Duration = Duration::from_millis(80);

/// Between two drawings at most: ages and rates change by themselves.
const DRAW_AFTER: Duration = Duration::from_millis(240);

/// Subscribes, and shows what comes until the person leaves, `--count` or `--duration` is reached, or `stop` says so.
///
/// # Errors
/// If this is no terminal, the command line contradicts itself, or the gateway refuses us for good.
pub async fn run(options: &Options, mut stop: Stop) -> anyhow::Result<ExitCode> {
    if !stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!("--tui needs a terminal for input and output; without it the same comes as lines");
    }
    let options = options.for_screen()?;
    let (wanted, swap_after) = options.wanted()?;
    let clock = Clock(Instant::now());
    let model = Rc::new(RefCell::new(Model::new(&redact_url(&options.url), &wanted.symbols)));
    let (asks, asked) = mpsc::unbounded_channel();
    let audience = OnScreen { model: Rc::clone(&model), clock, asked };
    let (leave, left) = Stop::by_hand();
    let mut session = pin!(run_for(&options, wanted, swap_after, audience, left));

    let mut screen = Screen::take()?;
    let outcome = tokio::select! {
        outcome = &mut session => Some(outcome),
        shown = screen.show(&model, &theme(&options), clock, asks, &mut stop) => {
            // Nobody sees a screen that can't be drawn.
            shown.ok();
            None
        }
    };
    drop(screen);
    let outcome = match outcome {
        Some(outcome) => outcome,
        None => {
            leave.send_replace(true);
            session.await
        }
    };
    let Model { events, skipped, missed, .. } = &*model.borrow();
    tell(format_args!("received {events} events; {skipped} skipped, {missed} in gaps"));
    outcome
}

fn theme(options: &Options) -> Theme {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Theme::of(options.theme, set("NO_COLOR").is_some(), set("COLORFGBG").as_deref())
}

#[derive(Debug, Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> Now {
        let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let number = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
        Now { us: number(self.0.elapsed().as_micros()), unix_ms: number(unix.as_millis()) }
    }
}

/// Tells the model what the session hears.
struct OnScreen {
    model: Rc<RefCell<Model>>,
    clock: Clock,
    asked: mpsc::UnboundedReceiver<Ask>,
}

impl Audience for OnScreen {
    fn connecting(&mut self) {
        self.model.borrow_mut().link.connecting();
    }

    fn connected(&mut self, _: &str) {
        self.model.borrow_mut().connected(self.clock.now());
    }

    fn ended(&mut self, ended: &Ended, _: &str, again_in: Duration) {
        self.model.borrow_mut().ended(ended, again_in, self.clock.now());
    }

    fn heard(&mut self, _: &str, frame: Option<&Frame<'_>>) -> anyhow::Result<()> {
        if let Some(frame) = frame {
            self.model.borrow_mut().take(frame, self.clock.now());
        }
        Ok(())
    }

    fn remark(&mut self, remark: &dyn Display) {
        self.model.borrow_mut().notice(false, remark.to_string(), self.clock.now());
    }

    fn pinged(&mut self) {
        self.model.borrow_mut().link.pinged(self.clock.now());
    }

    async fn asked(&mut self) -> Ask {
        match self.asked.recv().await {
            Some(ask) => ask,
            None => pending().await,
        }
    }
}

/// The terminal while it is ours: raw, and on its other screen.
pub struct Screen(Terminal<CrosstermBackend<Stdout>>);

impl Screen {
    /// Takes the terminal. It is given back when this is dropped, and at a panic.
    ///
    /// # Errors
    /// If it can't be.
    pub fn take() -> anyhow::Result<Self> {
        static AT_A_PANIC: Once = Once::new();
        AT_A_PANIC.call_once(|| {
            let otherwise = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                // Before the message, which belongs on the screen that stays.
                give_back();
                otherwise(panic);
            }));
        });
        enable_raw_mode().context("the terminal doesn't give up its line mode")?;
        let taken = execute!(stdout(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        match taken {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                give_back();
                Err(error).context("the terminal can't be drawn on")
            }
        }
    }

    /// Draws and reads keys until the person leaves, `stop` says so or the terminal is gone.
    fn show<'s>(
        &'s mut self,
        model: &'s Rc<RefCell<Model>>,
        theme: &Theme,
        clock: Clock,
        asks: mpsc::UnboundedSender<Ask>,
        stop: &'s mut Stop,
    ) -> impl Future<Output = io::Result<()>> + 's {
        let mut desk = Desk::new(*theme);
        async move {
            let mut keys = EventStream::new();
            let (mut drawn, mut next) = (tokio::time::Instant::now(), tokio::time::Instant::now());
            let mut touched = true;
            loop {
                tokio::select! {
                    () = stop.requested() => return Ok(()),
                    event = keys.next() => match event {
                        Some(Ok(Event::Key(key))) => {
                            touched = true;
                            let Some(action) = action(key, desk.mode()) else { continue };
                            match desk.act(action, &mut model.borrow_mut(), clock.now()) {
                                Turn::Stay => {}
                                // The session lives as long as this loop.
                                Turn::Ask(ask) => drop(asks.send(ask)),
                                Turn::Quit => return Ok(()),
                            }
                        }
                        Some(Ok(_)) => touched = true,
                        Some(Err(error)) => return Err(error),
                        None => return Ok(()),
                    },
                    () = sleep_until(next) => {
                        let mut model = model.borrow_mut();
                        if touched || model.take_changed() || drawn.elapsed() >= DRAW_AFTER {
                            let now = clock.now();
                            model.tick(now);
                            self.0.draw(|frame| draw(frame, &model, &desk, now))?;
                            (touched, drawn) = (false, tokio::time::Instant::now());
                        }
                        next = tokio::time::Instant::now() + DRAW_EVERY;
                    }
                }
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// As it was. What fails here can't be told anywhere.
fn give_back() {
    let _ = disable_raw_mode();
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
}
