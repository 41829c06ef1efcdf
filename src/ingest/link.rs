//! Ingest's link to Redis: reads an established subscription, and notices when it is lost.
//!
//! A half-open link looks like a quiet market. So ingest sends `PING` on a link without a byte for [`limits::UPSTREAM_QUIET`],
//! and the link is lost if nothing comes within [`limits::UPSTREAM_PONG_TIMEOUT`]. Any answer will do: a Redis that refuses
//! `PING`, because the user lacks the permission or a script runs, is connected too.

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

    /// Whether it may hold bytes that it has read from the socket already.
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

/// Why a link was lost, as text for the log.
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

/// An event that came over the link.
#[derive(Debug)]
pub enum Message<'m> {
    /// An event that a worker has published.
    Event {
        /// The whole channel.
        channel: &'m [u8],
        /// The worker's bytes.
        payload: &'m [u8],
    },
    /// An event whose payload is longer than `MAX_EVENT_BYTES`, or whose channel is too long. Its bytes are discarded.
    TooLarge {
        /// The whole channel; empty if the channel is too long.
        channel: &'m [u8],
        /// The payload's length, or the channel's if the channel is too long.
        payload_bytes: usize,
        /// The beginning of the payload, one byte more than is logged; empty if the channel is too long.
        excerpt: &'m [u8],
    },
}

/// An established subscription.
#[derive(Debug)]
pub struct Link {
    stream: Stream,
    /// The server's address, for the log.
    address: String,
    parser: FeedParser,
    buffer: Vec<u8>,
    /// How many bytes at the front of the buffer are not parsed yet.
    filled: usize,
    /// The parser can't get further with fewer bytes.
    needed: usize,
    /// Whether there may be more to read.
    readable: bool,
    /// Redis has closed its side: the end of the stream can be read behind the data.
    ending: bool,
    /// When the last byte came.
    heard: Instant,
    /// When `PING` was sent, if no byte has come since.
    pinged: Option<Instant>,
    refusals: Refusals,
}

impl Link {
    /// A link whose subscription is confirmed. `early` are the bytes that came behind the confirmation; `address` is for the log.
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
            pinged: None,
            refusals: Refusals::default(),
        }
    }

    /// The server's address, for the log.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// When the last byte came. If the link is lost, events may be missing from then on.
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

    /// Notes that the poll has reported the socket as readable and, with `ending`, that Redis has closed its side.
    pub fn set_readable(&mut self, ending: bool) {
        self.readable = true;
        self.ending |= ending;
    }

    /// Reads once, as much as fits into the buffer, and calls `take` with every whole message. Returns the number of bytes read.
    ///
    /// # Errors
    /// The link is lost.
    pub fn read(&mut self, mut take: impl FnMut(Message<'_>)) -> Result<usize, Lost> {
        let room = &mut self.buffer[self.filled..];
        let room_bytes = room.len();
        let count = match self.stream.read(room) {
            Ok(0) => return Err(self.refusals.lost("closed by Redis", self.heard)),
            Ok(count) => {
                // After a short read epoll reports the next byte (epoll(7), Q9), so another read now isn't needed.
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
            self.pinged = None;
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

    /// Sends `PING` if the link has been silent for [`limits::UPSTREAM_QUIET`].
    ///
    /// # Errors
    /// Nothing came in time after the last `PING`, or it can't be written.
    pub fn watch(&mut self, now: Instant) -> Result<(), Lost> {
        if let Some(pinged) = self.pinged {
            if now.duration_since(pinged) < limits::UPSTREAM_PONG_TIMEOUT {
                return Ok(());
            }
            let waited_s = limits::UPSTREAM_PONG_TIMEOUT.as_secs();
            return Err(Lost::new(format!("no answer to PING within {waited_s} s")));
        }
        if now.duration_since(self.heard) >= limits::UPSTREAM_QUIET {
            self.pinged = Some(now);
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

/// Error replies on an established link. They answer `PING`, the only command that the link sends.
#[derive(Debug, Default)]
struct Refusals {
    /// The last one, and when it came.
    last: Option<(Words, Instant)>,
    /// The codes that have been logged.
    logged: Vec<String>,
}

impl Refusals {
    /// Notes an error reply, and logs the first of each code.
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
                "Redis refuses PING; as it answers, the quiet link is kept{advice}"
            );
        }
        self.last = Some((words, heard));
    }

    /// Why the link was lost, with Redis' last error reply if nothing has come since: Redis sends the reason before it closes a
    /// connection.
    fn lost(&self, how: &str, heard: Instant) -> Lost {
        match &self.last {
            Some((words, at)) if *at == heard => Lost::new(format!("{how}; before that Redis said: {words}")),
            _ => Lost::new(how),
        }
    }
}
