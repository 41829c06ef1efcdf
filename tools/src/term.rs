//! The terminal: lines out, colours, foreign text made harmless, and the signals that stop a tool.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use ws_gateway::escape::{Escaped, OneLine};

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

/// Standard output can't be written.
#[derive(Debug)]
pub struct Unprinted(io::Error);

impl Unprinted {
    /// Whether nobody reads standard output any more, as with `| head`: a reason to end, not to complain.
    pub fn reader_is_gone(&self) -> bool {
        self.0.kind() == ErrorKind::BrokenPipe
    }
}

impl Display for Unprinted {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "standard output: {}", self.0)
    }
}

impl std::error::Error for Unprinted {}

/// Writes one line to standard output at once.
///
/// # Errors
/// If it can't be written, for instance because its reader has gone.
pub fn print(line: &str) -> Result<(), Unprinted> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(line.as_bytes()).and_then(|()| stdout.write_all(b"\n"));
    written.and_then(|()| stdout.flush()).map_err(Unprinted)
}

/// Writes one line to standard error. Where nobody reads it, the line is lost and nothing else.
pub fn tell(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// How a tool ends: with its exit code, quietly where nobody reads its output any more, or with one line that says what went
/// wrong.
pub fn end(name: &str, outcome: anyhow::Result<ExitCode>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) if error.downcast_ref().is_some_and(Unprinted::reader_is_gone) => ExitCode::SUCCESS,
        Err(error) => {
            let mut line = String::new();
            // What a server said may be a part of it. Writing into a string can't fail.
            let _ = fmt::Write::write_fmt(&mut OneLine(&mut line), format_args!("{name}: {error:#}"));
            tell(line);
            ExitCode::FAILURE
        }
    }
}

/// Foreign text for the terminal: control characters escaped, so that it can't move the cursor or begin a line, and at most
/// `bytes_max` bytes of it.
pub fn clean(text: &str, bytes_max: usize) -> String {
    Escaped::new(text, bytes_max).to_string()
}

/// JSON text as one line, otherwise byte for byte. Between its values JSON may have line breaks, which mean no more than a
/// blank there; inside a string it has none.
pub fn on_one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ").into() } else { json.into() }
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
    fn only_a_reader_that_has_gone_is_no_failure() {
        let broken = || io::Error::from(ErrorKind::BrokenPipe);
        let full = io::Error::from(ErrorKind::StorageFull);
        let succeeds = |error: anyhow::Error| end("test", Err(error)) == ExitCode::SUCCESS;
        assert!(succeeds(Unprinted(broken()).into()));
        assert!(!succeeds(Unprinted(full).into()));
        assert!(!succeeds(broken().into()), "a pipe to somebody else");
    }

    #[test]
    fn json_on_one_line_means_the_same() {
        let pretty = "{\r\n  \"a\": [1,\n 2],\n\t\"b\": \"x\\ny\"\n}\n";
        let line = on_one_line(pretty);
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert!(!line.contains(['\n', '\r']) && value(&line) == value(pretty), "{line}");
        assert!(matches!(on_one_line("{\"a\" :\t1.50}"), Cow::Borrowed("{\"a\" :\t1.50}")));
    }
}
