//! The log: on standard error, as text for people or as one JSON object a line.
//!
//! No thread waits for the log. A thread that logs leaves its line in a bounded queue, and one thread, `log`, writes the
//! lines. A line that the queue has no room for (nobody reads standard error) or that can't be written (the disk is full,
//! the reader has gone) is lost and counted ([`lines_lost`]); nothing else happens because of it.
//!
//! The queue is ours rather than `tracing-appender`'s: that one doesn't count failed writes, is bounded in lines and not in
//! bytes, and where nobody reads, it prints to standard output at the end, which then blocks or panics.

mod queue;
mod stderr;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use std::thread;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::fmt::{FormatFields, MakeWriter};

use self::queue::Queue;
use self::stderr::StandardError;
use crate::config::{Config, LogFormat};
use crate::escape::OneLine;
use crate::limits::LOG_END_TIMEOUT;

/// The process' one log.
static QUEUE: Queue = Queue::new();

/// The log of this process, once [`start`] has set it up.
#[derive(Debug, Clone, Copy)]
pub struct Log(());

/// Starts logging as configured, and reports panics in the log. Call once; where an embedding program has set up its own
/// log already, that one stays and nothing is changed.
///
/// # Errors
/// When the log's thread can't be started.
pub fn start(config: &Config) -> io::Result<Log> {
    let filter = EnvFilter::new(&config.process.log_filter);
    // What can't be formatted would be told on standard error directly, where a thread would wait.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines).log_internal_errors(false);
    let started = match config.process.log_format {
        LogFormat::Text => builder
            .with_target(false)
            .with_ansi(io::stderr().is_terminal())
            .fmt_fields(one_line_fields())
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_ok() {
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(|| QUEUE.write_lines(StandardError::default(), report_lost))?;
        std::panic::set_hook(Box::new(|panic| {
            Log(()).tell(&describe(panic));
            // An optimised build aborts right behind this.
            Log(()).finish();
        }));
    }
    Ok(Log(()))
}

/// Lines that were lost so far, because there was no room for them or they could not be written.
pub fn lines_lost() -> u64 {
    QUEUE.lost()
}

impl Log {
    /// Logs why the process ends, a line of the log for each of `text`; also where the filter lets no errors through.
    pub fn tell(self, text: &str) {
        for line in text.lines() {
            if tracing::enabled!(Level::ERROR) {
                tracing::error!("{line}");
            } else {
                QUEUE.push(format!("ws-gateway: {line}\n").as_bytes());
            }
        }
    }

    /// Waits until everything that was logged is written, at most [`LOG_END_TIMEOUT`]. For the end of the process.
    pub fn finish(self) {
        QUEUE.wait_until_written(LOG_END_TIMEOUT);
    }
}

/// Tells the log's reader what is missing in it.
fn report_lost(lines: u64) {
    tracing::warn!(lines, "log lines were lost: standard error was not read, or could not be written");
}

/// A panic as the log has it; with `RUST_BACKTRACE=1` it says where it came from.
fn describe(panic: &PanicHookInfo<'_>) -> String {
    let current = thread::current();
    let name = current.name().unwrap_or("unnamed");
    let place = panic.location().map(|location| format!(" at {location}")).unwrap_or_default();
    let reason = panic.payload_as_str().unwrap_or("no reason given");
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => format!("thread {name} panicked{place}: {reason}\n{backtrace}"),
        _ => format!("thread {name} panicked{place}: {reason}"),
    }
}

/// Where `tracing` writes each line.
struct Lines;

impl io::Write for Lines {
    /// Takes one line, whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        QUEUE.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

/// The message and `name=value` for each field, on one line whatever they contain: no text from outside can look like
/// a line of the gateway's own. (JSON escapes by itself.)
fn one_line_fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    let fields = debug_fn(|writer, field, value| match field.name() {
        "message" => write!(OneLine(writer), "{value:?}"),
        name => write!(OneLine(writer), "{name}={value:?}"),
    });
    fields.delimited(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Collect(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Collect {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_its_fields_contain() {
        let lines = Collect::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .fmt_fields(one_line_fields())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let foreign = "a\nWARN forged\u{1b}[2J\u{9b}2J\u{2028}";
            tracing::warn!(%foreign, text = foreign, number = 7, "said {foreign}");
        });
        let escaped = r"a\nWARN forged\u{1b}[2J\u{9b}2J\u{2028}";
        let expected = format!(" WARN said {escaped} foreign={escaped} text=\"{escaped}\" number=7\n");
        assert_eq!(String::from_utf8(lines.0.lock().unwrap().clone()).unwrap(), expected);
    }
}
