//! Recorded trades: JSON lines from a file or a pipe, read on a thread of their own (a read of standard input can't be
//! cancelled) and handed over through a short queue.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};

use serde::Deserialize;
use tokio::sync::mpsc;
use ws_gateway::market::{Symbol, SymbolCase};

use crate::term::{clean, tell};

/// A longer line is skipped: four times what the gateway takes by default, so that its limit can be tested too.
pub const LINE_BYTES_MAX: usize = 256 * 1024;

/// Lines that may wait between reader and publisher: with the above, at most 16 MiB.
const QUEUE_LINES: usize = 64;

/// A line that names its symbol.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// The channel's symbol.
    pub symbol: Symbol,
    /// The line without its end (`\n` or `\r\n`), not one byte changed.
    pub payload: Vec<u8>,
}

/// Reads lines, tells on standard error of those that are no trades, and skips them.
#[derive(Debug)]
pub struct Lines {
    queue: mpsc::Receiver<io::Result<Vec<u8>>>,
    read: u64,
    skipped: u64,
}

impl Lines {
    /// Starts to read.
    pub fn read(input: impl Read + Send + 'static) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE_LINES);
        std::thread::spawn(move || {
            let mut input = BufReader::new(input);
            while let Some(line) = read_line(&mut input).transpose() {
                let failed = line.is_err();
                if sender.blocking_send(line).is_err() || failed {
                    break;
                }
            }
        });
        Self { queue, read: 0, skipped: 0 }
    }

    /// The next trade; `None` after the last one.
    ///
    /// # Errors
    /// If the input can't be read.
    pub async fn next(&mut self) -> anyhow::Result<Option<Line>> {
        while let Some(line) = self.queue.recv().await {
            if let Some(line) = self.check(line)? {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    /// The next trade if one has been read already.
    ///
    /// # Errors
    /// If the input can't be read.
    pub fn try_next(&mut self) -> anyhow::Result<Option<Line>> {
        while let Ok(line) = self.queue.try_recv() {
            if let Some(line) = self.check(line)? {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    /// Lines so far that could not be published.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn check(&mut self, line: io::Result<Vec<u8>>) -> anyhow::Result<Option<Line>> {
        self.read += 1;
        let payload = line.map_err(|error| anyhow::anyhow!("cannot read line {}: {error}", self.read))?;
        if payload.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        match symbol_of(&payload) {
            Ok(symbol) => Ok(Some(Line { symbol, payload })),
            Err(reason) => {
                self.skipped += 1;
                let text = clean(&String::from_utf8_lossy(&payload[..payload.len().min(400)]), 80);
                tell(format_args!("line {} skipped: {reason}: {text}", self.read));
                Ok(None)
            }
        }
    }
}

/// Reads one line without its end; of one that is too long only so much that this can be seen.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let limit = LINE_BYTES_MAX as u64 + 2;
    if input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else if line.len() as u64 == limit {
        input.skip_until(b'\n')?;
    }
    Ok(Some(line))
}

/// The symbol that a trade names. Nothing else of the trade is looked at: bad trades can be published on purpose.
fn symbol_of(payload: &[u8]) -> Result<Symbol, String> {
    #[derive(Deserialize)]
    struct Named<'l> {
        #[serde(borrow)]
        symbol: Cow<'l, str>,
    }
    if payload.len() > LINE_BYTES_MAX {
        return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
    }
    let named: Named<'_> = serde_json::from_slice(payload)
        .map_err(|error| format!("not a JSON object with a \"symbol\" ({error})"))?;
    Symbol::parse(named.symbol.as_bytes(), SymbolCase::Exact)
        .ok_or_else(|| format!("{:?} is no symbol", named.symbol))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(input: impl Into<Vec<u8>>) -> (Vec<String>, u64) {
        let mut lines = Lines::read(io::Cursor::new(input.into()));
        let mut payloads = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            payloads.push(String::from_utf8(line.payload).unwrap());
        }
        (payloads, lines.skipped())
    }

    #[tokio::test]
    async fn lines_keep_every_byte_but_their_end() {
        let odd = r#" {"price":150.250, "x":"é","symbol":"aapl"}  "#;
        let (payloads, skipped) = read(format!("{odd}\n\n{odd}\r\n{odd}")).await;
        assert_eq!((payloads, skipped), (vec![odd.to_owned(); 3], 0));
    }

    #[tokio::test]
    async fn what_names_no_symbol_is_skipped_and_counted() {
        let (payloads, skipped) =
            read("nonsense\n[1]\n{\"symbol\":7}\n{\"symbol\":\"A,B\"}\n{\"symbol\":\"A\"}\n").await;
        assert_eq!((payloads, skipped), (vec![r#"{"symbol":"A"}"#.to_owned()], 4));
    }

    #[tokio::test]
    async fn a_line_too_long_is_skipped_without_being_kept() {
        let exactly = |bytes: usize| format!(r#"{{"symbol":"A","x":"{}"}}"#, "y".repeat(bytes - 21));
        let fits = exactly(LINE_BYTES_MAX);
        assert_eq!(fits.len(), LINE_BYTES_MAX);
        for end in ["\n", "\r\n"] {
            let input = format!(
                "{fits}{end}{}{end}{}{end}{{\"symbol\":\"B\"}}",
                exactly(LINE_BYTES_MAX + 1),
                exactly(3 * LINE_BYTES_MAX)
            );
            let (payloads, skipped) = read(input).await;
            assert_eq!((payloads.len(), skipped), (2, 2));
            assert_eq!(payloads[0], fits);
        }
    }

    #[tokio::test]
    async fn an_input_that_fails_says_in_which_line() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("disk on fire"))
            }
        }
        let input = io::Cursor::new("{\"symbol\":\"A\"}\n").chain(Fails);
        let mut lines = Lines::read(input);
        assert!(lines.next().await.unwrap().is_some());
        let error = lines.next().await.unwrap_err().to_string();
        assert_eq!(error, "cannot read line 2: disk on fire");
    }
}
