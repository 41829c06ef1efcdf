//! An established subscription, as the ingest thread has it: a socket, a buffer, and a watch over its silence.
//!
//! A half-open link looks like a quiet market. So a link that has said nothing for [`limits::UPSTREAM_QUIET`] is
//! asked (`PING`), and one that doesn't answer within [`limits::UPSTREAM_PONG_TIMEOUT`] is lost. Any answer will do: a Redis
//! that refuses `PING`, because the user may not send it or a script runs, is there.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustls::{ClientConnection, StreamOwned};

use super::redis::error::Words;
use crate::limits;
use crate::resp::{Feed, FeedLimits, FeedParser, Step, write_command};

/// A non-blocking upstream connection, after its handshakes.
#[derive(Debug)]
pub enum Stream {
    /// `redis://`
    Tcp(mio::net::TcpStream),
    /// `rediss://`
    Tls(Box<StreamOwned<ClientConnection, mio::net::TcpStream>>),
    /// `unix://`
    Unix(mio::net::UnixStream),
}

impl Stream {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(stream) => &mut stream.sock,
            Self::Unix(socket) => socket,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }

    /// Whether it may hold bytes that were read from the socket before.
    fn buffers(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }
}

/// Why a link ended, in words for the log.
#[derive(Debug)]
pub struct Lost(String);

impl Lost {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What came over the link.
#[derive(Debug)]
pub enum Message<'m> {
    /// An event that a worker has published.
    Event {
        /// The whole channel.
        channel: &'m [u8],
        /// The worker's bytes.
        payload: &'m [u8],
    },
    /// An event whose payload is beyond `MAX_EVENT_BYTES`, or whose channel is too long. Its bytes are discarded.
    TooLarge {
        /// The whole channel; empty if it was what is too long.
        channel: &'m [u8],
        /// The payload's length; the channel's if that is what is too long.
        payload_bytes: usize,
        /// The payload's beginning, more of it than is logged; empty if the channel is what is too long.
        excerpt: &'m [u8],
    },
}

/// A subscription that stands.
#[derive(Debug)]
pub struct Link {
    stream: Stream,
    /// Where the server listens, for the log.
    address: String,
    parser: FeedParser,
    buffer: Vec<u8>,
    /// How many bytes at the front of the buffer are not parsed yet.
    filled: usize,
    /// The parser can't get further with fewer bytes.
    needed: usize,
    readable: bool,
    /// Redis has closed its side: behind the data the end of the stream can be read.
    ending: bool,
    /// When the last byte came.
    heard: Instant,
    /// When the link was asked whether it is still there, if no byte has come since.
    asked: Option<Instant>,
    refusals: Refusals,
}

impl Link {
    /// A link whose subscription is confirmed; `early` are the bytes that came behind the confirmation. `address` is for
    /// the log.
    pub fn new(stream: Stream, early: Vec<u8>, max_event_bytes: usize, address: String) -> Self {
        let feed_limits = FeedLimits {
            name_bytes_max: limits::CHANNEL_BYTES_MAX,
            payload_bytes_max: max_event_bytes,
            // One byte more than is logged, so that the log shows that it is cut off.
            excerpt_bytes: limits::LOGGED_PAYLOAD_BYTES + 1,
        };
        let size = feed_limits.input_bytes_max().max(limits::INGEST_READ_BUDGET_BYTES) + early.len();
        let filled = early.len();
        let mut buffer = early;
        buffer.resize(size, 0);
        Self {
            stream,
            address,
            parser: FeedParser::new(feed_limits),
            buffer,
            filled,
            needed: 1,
            readable: true,
            ending: false,
            heard: Instant::now(),
            asked: None,
            refusals: Refusals::default(),
        }
    }

    /// Where the server listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// When the last byte came: from then on events may be missing if the link turns out to be lost.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// Makes `registry` report when there is something to read.
    ///
    /// # Errors
    /// As `epoll_ctl`.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.stream.source().register(registry, token, Interest::READABLE)
    }

    /// Undoes [`Link::register`].
    pub fn deregister(&mut self, registry: &Registry) {
        // The socket is about to be closed, which does the same.
        let _ = self.stream.source().deregister(registry);
    }

    /// Whether there may be more to read.
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// The poll has reported the socket; with `ending`, that Redis has closed its side as well.
    pub fn set_readable(&mut self, ending: bool) {
        self.readable = true;
        self.ending |= ending;
    }

    /// Reads once, as much as the buffer holds, and hands out every whole message; returns how many bytes came in.
    ///
    /// # Errors
    /// The link is lost.
    pub fn read(&mut self, mut take: impl FnMut(Message<'_>)) -> Result<usize, Lost> {
        let room = &mut self.buffer[self.filled..];
        let room_bytes = room.len();
        let count = match self.stream.read(room) {
            Ok(0) => return Err(self.refusals.lost("closed by Redis", self.heard)),
            Ok(count) => {
                // After a short read epoll reports the next byte (epoll(7), Q9): another read now would find nothing.
                self.readable = count == room_bytes || self.ending || self.stream.buffers();
                count
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                0
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            Err(error) => return Err(self.refusals.lost(&format!("read failed: {error}"), self.heard)),
        };
        if count > 0 {
            self.heard = Instant::now();
            self.asked = None;
        }
        self.filled += count;
        self.parse(&mut take)?;
        Ok(count)
    }

    fn parse(&mut self, take: &mut impl FnMut(Message<'_>)) -> Result<(), Lost> {
        let mut at = 0;
        while self.filled - at >= self.needed {
            let step = self.parser.next(&self.buffer[at..self.filled]);
            match step.map_err(|error| Lost::new(format!("not understood: {error}")))? {
                Step::Said { feed, used_bytes } => {
                    at += used_bytes;
                    self.needed = 1;
                    match feed {
                        Feed::Message(message) => {
                            take(Message::Event { channel: message.channel, payload: message.payload });
                        }
                        Feed::TooLarge { channel, bytes, excerpt } => {
                            let channel = channel.unwrap_or_default();
                            take(Message::TooLarge { channel, payload_bytes: bytes, excerpt });
                        }
                        Feed::Unsubscribed(_) => return Err(Lost::new("unsubscribed by Redis")),
                        Feed::Error(text) => {
                            self.refusals.take(Words::new(text), self.heard, &self.address);
                        }
                        Feed::Subscribed(_) | Feed::Pong | Feed::Other(_) => {}
                    }
                }
                Step::Discarded { used_bytes } => {
                    at += used_bytes;
                    self.needed = 1;
                }
                Step::Incomplete { needed_bytes } => self.needed = needed_bytes,
            }
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }

    /// Asks a link that has been silent for [`limits::UPSTREAM_QUIET`] whether it is still there.
    ///
    /// # Errors
    /// The link has not answered in time, or can't be asked.
    pub fn watch(&mut self, now: Instant) -> Result<(), Lost> {
        if let Some(asked) = self.asked {
            if now.duration_since(asked) < limits::UPSTREAM_PONG_TIMEOUT {
                return Ok(());
            }
            let waited_s = limits::UPSTREAM_PONG_TIMEOUT.as_secs();
            return Err(Lost::new(format!("no answer to PING within {waited_s} s")));
        }
        if now.duration_since(self.heard) >= limits::UPSTREAM_QUIET {
            self.asked = Some(now);
            let mut ping = Vec::new();
            write_command(&mut ping, &[b"PING"]);
            let written = self.stream.write(&ping);
            if !written.is_ok_and(|count| count == ping.len()) {
                return Err(Lost::new("PING could not be written"));
            }
        }
        Ok(())
    }
}

/// What Redis has refused on an established link: `PING`, the only command that the link sends.
#[derive(Debug, Default)]
struct Refusals {
    /// The last one, and when it came.
    last: Option<(Words, Instant)>,
    /// The codes that are in the log already.
    logged: Vec<String>,
}

impl Refusals {
    /// Notes a refusal, and logs the first of each kind.
    #[cold]
    fn take(&mut self, words: Words, heard: Instant, address: &str) {
        let is_new = !self.logged.iter().any(|code| code == words.code());
        if is_new && self.logged.len() < limits::LOGGED_REFUSALS {
            self.logged.push(words.code().to_owned());
            let advice = match words.code() {
                "NOPERM" => ": give the user of REDIS_URL +ping (ACL SETUSER <user> +ping)",
                _ => "",
            };
            tracing::warn!(
                address,
                said = %words,
                "Redis refuses PING, and thereby shows that the quiet link lives{advice}"
            );
        }
        self.last = Some((words, heard));
    }

    /// Why the link ended, with what Redis said if nothing has come since: it says why it closes a connection before it
    /// does.
    fn lost(&self, how: &str, heard: Instant) -> Lost {
        match &self.last {
            Some((words, at)) if *at == heard => Lost::new(format!("{how}; before that Redis said: {words}")),
            _ => Lost::new(how),
        }
    }
}
