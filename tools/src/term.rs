//! The terminal: lines out, colours, foreign text made harmless, and the signals that stop a tool.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Escape sequences, or nothing where colours are off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Palette {
    /// For a price that rose.
    pub up: &'static str,
    /// For a price that fell.
    pub down: &'static str,
    /// For what is there but not news.
    pub dim: &'static str,
    /// For what needs attention.
    pub warn: &'static str,
    /// Ends each of the above.
    pub reset: &'static str,
}

impl Palette {
    /// No colours at all.
    pub const PLAIN: Self = Self { up: "", down: "", dim: "", warn: "", reset: "" };

    /// Green, red, grey, yellow.
    pub const ANSI: Self =
        Self { up: "\x1b[32m", down: "\x1b[31m", dim: "\x1b[2m", warn: "\x1b[33m", reset: "\x1b[0m" };

    /// Colours only where standard output is a terminal that knows them and `NO_COLOR` is not set
    /// (<https://no-color.org>).
    pub fn for_stdout() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if io::stdout().is_terminal() && !set("NO_COLOR") && !dumb { Self::ANSI } else { Self::PLAIN }
    }
}

/// Writes one line to standard output at once.
///
/// # Errors
/// As the write fails; see [`reader_is_gone`] for the usual reason.
pub fn print(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Whether an error means that nobody reads standard output any more, as with `| head`: a reason to end, not to complain.
pub fn reader_is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Foreign text for the terminal: control characters escaped, so that it can't move the cursor or change the title,
/// and at most `chars_max` characters.
pub fn clean(text: &str, chars_max: usize) -> String {
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == chars_max {
            out.push('…');
            break;
        }
        if c.is_control() {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Ctrl-C and SIGTERM, once they have come.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens for both from now on.
    ///
    /// # Errors
    /// If the handlers can't be installed.
    pub fn on_signals() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (sender, stop) = Self::by_hand();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            sender.send_replace(true);
        });
        Ok(stop)
    }

    /// Does nothing by itself: whoever holds the sender stops the tool, by sending true or by dropping it.
    pub fn by_hand() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Returns when the tool shall stop, at once if it was told so before.
    pub async fn requested(&mut self) {
        // A sender that is gone means the same.
        let _ = self.0.wait_for(|&stop| stop).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(clean("a\x1b]0;x\x07b\n", 100), r"a\u{1b}]0;x\u{7}b\n");
        assert_eq!(clean("grüße", 100), "grüße");
        assert_eq!(clean("abcdef", 3), "abc…");
        assert_eq!(clean("abc", 3), "abc");
    }

    #[test]
    fn only_a_broken_pipe_means_that_the_reader_is_gone() {
        assert!(reader_is_gone(&io::Error::from(io::ErrorKind::BrokenPipe).into()));
        assert!(!reader_is_gone(&io::Error::from(io::ErrorKind::NotFound).into()));
        assert!(!reader_is_gone(&anyhow::anyhow!("broken pipe")));
    }
}
