//! The log: on standard error, as text for people or one JSON object a line.

use std::fmt::Write;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::debug_fn;

use crate::config::{Config, LogFormat};
use crate::escape::OneLine;

/// Starts logging as configured. Call once; a second call changes nothing.
pub fn start(config: &Config) {
    let filter = EnvFilter::new(&config.log_filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An embedding program may have set up its own log already; that one stays.
    let _ = match config.log_format {
        LogFormat::Text => builder
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .fmt_fields(one_line_fields())
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
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
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
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
        let lines = Lines::default();
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
