//! The log: on standard error, as text for people or as one JSON object a line.
//!
//! No thread waits for the log. A thread that logs puts its line into a bounded queue, and one thread, `log`, writes the
//! lines. A line is lost and counted ([`lines_lost`]) if the queue has no room (standard error isn't read) or the write
//! fails (the disk is full, the reader has ended). Losing it has no other effect.
//!
//! The queue is our own. That of `tracing-appender` doesn't count failed writes, is bounded in lines instead of bytes, and
//! prints to standard output at the end if the log isn't read, which then blocks or panics.

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

/// The queue of the process' only log.
static QUEUE: Queue = Queue::new();

/// The log of this process, once [`start`] has set it up.
#[derive(Debug, Clone, Copy)]
pub struct Log(());

/// Starts logging as configured, and logs panics. Call it once. If an embedding program has set up a log already, that one
/// stays and nothing changes.
///
/// # Errors
/// When the log's thread can't be started.
pub fn start(config: &Config) -> io::Result<Log> {
    let filter = EnvFilter::new(&config.process.log_filter);
    // tracing would report a line that it can't format on standard error directly, and the thread would wait for that.
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
            // An optimised build aborts after this hook.
            Log(()).finish();
        }));
    }
    Ok(Log(()))
}

/// How many lines have been lost, for lack of room or because they could not be written.
pub fn lines_lost() -> u64 {
    QUEUE.lost()
}

impl Log {
    /// Logs why the process ends: a log line for each line of `text`, even if the filter suppresses errors.
    pub fn tell(self, text: &str) {
        for line in text.lines() {
            if tracing::enabled!(Level::ERROR) {
                tracing::error!("{line}");
            } else {
                QUEUE.push(format!("ws-gateway: {line}\n").as_bytes());
            }
        }
    }

    /// Waits until all lines are written, at most [`LOG_END_TIMEOUT`]. Call it at the end of the process.
    pub fn finish(self) {
        QUEUE.wait_until_written(LOG_END_TIMEOUT);
    }
}

/// Logs how many lines are missing.
fn report_lost(lines: u64) {
    tracing::warn!(lines, "log lines were lost: standard error was not read, or could not be written");
}

/// A panic as text for the log, with a backtrace if `RUST_BACKTRACE=1`.
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

/// The writer that `tracing` writes each line to.
struct Lines;

impl io::Write for Lines {
    /// Takes one whole line.
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

/// Formats the message and `name=value` for each field on one line, whatever they contain. So text from outside can't look
/// like a log line of the gateway. (The JSON format escapes by itself.)
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
