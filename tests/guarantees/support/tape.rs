//! Sessions of clients as a tape of every byte, compared with one that was recorded.
//!
//! A line that begins with `>` went to the gateway, one with `<` came from it: first the frame's header in hexadecimal, then its payload. Numbers that the clock
//! or the lot decides are replaced by zeros, one for each digit where their number of digits is always the same, and long runs of one letter by their length.
//! A 101 may tell the date or not (RFC 9110, section 6.6.1).

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::tokens::token;
use super::{PATIENCE, raw};

/// Compares the tape with the record of that name, and writes it beside the tests.
pub(crate) fn compare(name: &str, recorded: &str, tape: &str) {
    let tape: String = tape.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let path = format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&path, &tape).unwrap();
    for (number, (recorded, got)) in recorded.lines().zip(tape.lines()).enumerate() {
        assert_eq!(got, recorded, "line {} of {name}; all of it is in {path}", number + 1);
    }
    assert_eq!(tape.lines().count(), recorded.lines().count(), "lines; all of them are in {path}");
}

pub(crate) fn title(tape: &mut String, title: &str) {
    writeln!(tape, "{}# {title}", if tape.is_empty() { "" } else { "\n" }).unwrap();
}

/// A client that writes down every byte.
pub(crate) struct Taped {
    pub(crate) stream: TcpStream,
    /// What stands before its lines, if there are several clients.
    name: String,
}

impl Taped {
    pub(crate) async fn connect(addr: SocketAddr, target: &str, tape: &mut String) -> Self {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(raw::request(addr, target).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(soon(stream.read_u8()).await.unwrap());
        }
        writeln!(tape, "> GET {target} HTTP/1.1").unwrap();
        let answer = String::from_utf8(answer).unwrap();
        for line in answer.trim_end().lines().filter(|line| !line.starts_with("date: ")) {
            writeln!(tape, "< {}", normalized(line)).unwrap();
        }
        Self { stream, name: String::new() }
    }

    /// One of several, by its name. Its handshake is not written down.
    pub(crate) async fn named(addr: SocketAddr, name: &str) -> Self {
        let target = format!("/ws?token={}", token(json!({"sub": name})));
        Self { name: format!("{name} "), ..Self::connect(addr, &target, &mut String::new()).await }
    }

    /// The client's shard has it, so that it gets what is said to its user: a 101 alone doesn't say so.
    pub(crate) async fn is_there(&mut self) {
        self.ask(&mut String::new(), r#"{"action":"ping"}"#).await;
    }

    /// Sends a text message and writes it and the answer down.
    pub(crate) async fn ask(&mut self, tape: &mut String, text: &str) {
        self.say(tape, text).await;
        self.hear(tape).await;
    }

    /// Sends a text message and writes it down.
    pub(crate) async fn say(&mut self, tape: &mut String, text: &str) {
        writeln!(tape, "{}> {}", self.name, normalized(text)).unwrap();
        self.stream.write_all(&raw::text_frame(text)).await.unwrap();
    }

    /// Writes down two frames that have no order between them.
    pub(crate) async fn hear_both(&mut self, tape: &mut String) {
        let (mut one, mut other) = (String::new(), String::new());
        self.hear(&mut one).await;
        self.hear(&mut other).await;
        *tape += &if one < other { one + &other } else { other + &one };
    }

    /// Sends any frame.
    pub(crate) async fn frame(&mut self, tape: &mut String, first: u8, payload: &[u8]) {
        writeln!(tape, "{}> {first:02x} {}", self.name, normalized(&payload.escape_ascii().to_string()))
            .unwrap();
        self.stream.write_all(&raw::frame(first, payload)).await.unwrap();
    }

    /// Writes down the next frame.
    pub(crate) async fn hear(&mut self, tape: &mut String) {
        assert!(self.heard(tape).await, "the connection has ended; so far:\n{tape}");
    }

    /// Writes down what comes until the connection ends.
    pub(crate) async fn hear_end(mut self, tape: &mut String) {
        while self.heard(tape).await {}
        writeln!(tape, "{}< end", self.name).unwrap();
    }

    async fn heard(&mut self, tape: &mut String) -> bool {
        let mut header = vec![0; 2];
        let read = tokio::time::timeout(PATIENCE, self.stream.read_exact(&mut header)).await;
        if read.unwrap_or_else(|_| panic!("nothing comes in time; so far:\n{tape}")).is_err() {
            return false;
        }
        let further = match header[1] {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        header.resize(2 + further, 0);
        self.stream.read_exact(&mut header[2..]).await.unwrap();
        let length = match &header[2..] {
            [] => usize::from(header[1]),
            further => further.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)),
        };
        let mut payload = vec![0; length];
        soon(self.stream.read_exact(&mut payload)).await.unwrap();
        let text = match header[0] {
            0x81 => String::from_utf8(payload).unwrap(),
            _ => payload.escape_ascii().to_string(),
        };
        let header = header.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        // Where a number has any number of digits, the length says nothing.
        let header =
            if ANY_DIGITS.iter().any(|field| text.contains(field)) { &header[..2] } else { &header[..] };
        writeln!(tape, "{}< {header} {}", self.name, normalized(&text)).unwrap();
        true
    }
}

/// Times that may have any number of digits.
const ANY_DIGITS: [&str; 2] = [r#""gapMs":"#, r#""reconnectAfterMs":"#];

/// The text without what the clock and the lot decide, and without long runs of one letter.
pub(crate) fn normalized(text: &str) -> String {
    if text.starts_with("date: ") {
        return "date: ".to_owned();
    }
    let mut text = text.to_owned();
    for field in ANY_DIGITS.into_iter().chain([r#""timestamp":"#]) {
        let mut end = 0;
        while let Some(found) = text[end..].find(field) {
            let begin = end + found + field.len();
            let digits = text[begin..].bytes().take_while(u8::is_ascii_digit).count();
            let zeros = match field {
                r#""timestamp":"# => Some("0000000000000").filter(|zeros| zeros.len() == digits),
                _ => Some("0"),
            };
            end = begin;
            if let Some(zeros) = zeros {
                text.replace_range(begin..begin + digits, zeros);
            }
        }
    }
    // The name of an entry is a time, and a number within that.
    if let Some((before, after)) = text.split_once(r#""message_id":""#)
        && let Some((name, rest)) = after.split_once('"')
    {
        let zeros = name.replace(|c: char| c.is_ascii_digit(), "0");
        text = format!(r#"{before}"message_id":"{zeros}"{rest}"#);
    }
    let mut shown = String::new();
    for run in text.chars().collect::<Vec<_>>().chunk_by(|a, b| a == b) {
        match run {
            [letter, ..] if run.len() > 50 => write!(shown, "{letter}{{{}}}", run.len()).unwrap(),
            _ => shown.extend(run),
        }
    }
    shown
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("an answer in time")
}
