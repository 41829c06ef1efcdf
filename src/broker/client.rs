//! One client's task: reads and runs its commands, the commands of one read in a turn, and writes its outbox.
//!
//! Reading, handing over events and writing are separate futures of one task, each safe to cancel. So a client that
//! publishes and subscribes is still written to while the gateway makes it wait.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::commands::{Flow, Session};
use super::hub::Turn;
use super::outbox::{Cut, Outbox};
use super::peer::Endpoints;
use super::pubsub::ClientId;
use super::{COMMAND_LIMITS, Shared};
use crate::ingest::publisher::EventSink;
use crate::resp::{Command, CommandError, CommandLimits, Progress, parse_command, write_error};

/// The size of a client's first read. It doubles with each read that the client fills.
const READ_BYTES_MIN: usize = 4 * 1024;
/// The largest read. It bounds a turn too.
const READ_BYTES_MAX: usize = 64 * 1024;
/// An empty input buffer larger than this is freed.
const KEPT_BYTES_MAX: usize = 2 * READ_BYTES_MAX;
/// How long a closing connection waits for its last replies to be written.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client closed it, or it broke.
    Gone,
    /// The broker ends it.
    Cut(Cut),
}

/// Serves one client until its connection ends.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    sink: impl EventSink,
    shutdown: CancellationToken,
) {
    let outbox = Arc::new(Outbox::new(shared.settings.output));
    let Ok(local) = stream.local_addr() else { return };
    let endpoints = Endpoints { peer, local, descriptor: stream.as_raw_fd() };
    let id = shared.hub().attach(outbox.clone(), endpoints, Instant::now());
    // Its `drop` detaches the client even if the task panics.
    let attached = Attached { shared, id };
    let end = tokio::select! {
        () = shutdown.cancelled() => return,
        end = Client::new(&stream, &attached, &outbox).run(&sink) => end,
    };
    match end {
        End::Gone => debug!(%peer, "a client of the embedded broker disconnected"),
        End::Cut(Cut::TooSlow { queued_bytes }) => {
            warn!(%peer, queued_bytes, "the embedded broker disconnected a client that reads too slowly");
        }
        End::Cut(Cut::Killed) => info!(%peer, "a client of the embedded broker was killed by another"),
    }
    let mut stream = stream;
    // The connection ends here whether or not the peer takes the FIN.
    let _ = timeout(CLOSE_TIMEOUT, stream.shutdown()).await;
}

/// A client's entry in the hub.
struct Attached {
    shared: Arc<Shared>,
    id: ClientId,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.shared.hub().detach(self.id);
    }
}

struct Client<'a> {
    stream: &'a TcpStream,
    shared: &'a Shared,
    outbox: &'a Arc<Outbox>,
    session: Session,
    input: BytesMut,
    /// Less input than this holds no whole command.
    needed_bytes: usize,
    /// The size of the next read.
    read_bytes: usize,
    /// The turn's replies that are not in the outbox yet.
    replies: Vec<u8>,
    writer: Writer<'a>,
}

impl<'a> Client<'a> {
    fn new(stream: &'a TcpStream, attached: &'a Attached, outbox: &'a Arc<Outbox>) -> Self {
        let shared = &*attached.shared;
        Self {
            stream,
            shared,
            outbox,
            session: Session::new(attached.id, &shared.settings),
            input: BytesMut::new(),
            needed_bytes: 1,
            read_bytes: READ_BYTES_MIN,
            replies: Vec::new(),
            writer: Writer { stream, outbox, bytes: Vec::new(), written_bytes: 0 },
        }
    }

    async fn run(mut self, sink: &impl EventSink) -> End {
        loop {
            let read = tokio::select! {
                end = self.writer.run() => return end,
                read = read(self.stream, &mut self.input, self.read_bytes) => read,
            };
            match read {
                Ok(0) | Err(_) => return End::Gone,
                Ok(bytes) => self.adapt_read_size(bytes),
            }
            if self.input.len() < self.needed_bytes {
                continue;
            }
            let mut turn = Turn::new(Instant::now(), SystemTime::now());
            let flow = self.turn(&mut turn);
            for outbox in turn.wake.drain(..) {
                outbox.wake();
            }
            let executed_bytes = turn.executed_bytes;
            if !turn.events.is_empty()
                && let Some(end) = self.hand_over(sink, turn).await
            {
                return end;
            }
            if executed_bytes > 0 {
                self.shared.hub().release_queued(self.session.id(), executed_bytes);
            }
            self.flush();
            if flow == Flow::Close {
                return self.close().await;
            }
        }
    }

    /// Doubles the read size after a read of `bytes` that filled it.
    fn adapt_read_size(&mut self, bytes: usize) {
        if bytes >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
    }

    /// Runs every whole command of the input under the lock.
    fn turn(&mut self, turn: &mut Turn) -> Flow {
        let mut hub = self.shared.hub();
        if hub.peer(self.session.id()).is_none() {
            // Another client killed this one; its outbox says so to the writer.
            return Flow::Close;
        }
        let mut used = 0;
        let flow = loop {
            let limits =
                if self.session.authenticated() { COMMAND_LIMITS } else { CommandLimits::UNAUTHENTICATED };
            let (command, used_bytes) = match parse_command(&self.input[used..], &limits) {
                Ok(Progress::Done { value, used_bytes }) => (value, used_bytes),
                Ok(Progress::Incomplete { needed_bytes }) => {
                    self.needed_bytes = needed_bytes;
                    break Flow::Continue;
                }
                Err(error) => {
                    refuse(&mut self.replies, error);
                    break Flow::Close;
                }
            };
            let settings = &self.shared.settings;
            let mut execute =
                |args: &[&[u8]]| self.session.execute(args, settings, &mut hub, turn, &mut self.replies);
            let flow = match &command {
                Command::Array(args) => execute(args),
                Command::Inline(_) => execute(&command.args()),
            };
            used += used_bytes;
            match flow {
                Flow::Continue if self.replies.len() <= self.shared.settings.output.hard_bytes => {}
                // The outbox will refuse these replies as too many, so more commands would run for nothing.
                Flow::Continue => break Flow::Close,
                Flow::Flush => drop(push(self.outbox, &mut self.replies, turn.now)),
                Flow::Close => break Flow::Close,
            }
        };
        self.session.note_activity(&mut hub, turn.now);
        drop(hub);
        self.input.advance(used);
        if self.input.is_empty() && self.input.capacity() > KEPT_BYTES_MAX {
            self.input = BytesMut::new();
        }
        flow
    }

    /// Hands the turn's events to the gateway, however long that takes, and writes to the client meanwhile.
    /// Returns the connection's end if it came meanwhile; the events are handed over even then.
    async fn hand_over(&mut self, sink: &impl EventSink, turn: Turn) -> Option<End> {
        let mut publish = pin!(sink.publish(turn.events));
        tokio::select! {
            biased;
            () = &mut publish => None,
            end = self.writer.run() => {
                publish.await;
                Some(end)
            }
        }
    }

    /// Moves the replies to the outbox. The writer runs next, so it needn't be woken.
    fn flush(&mut self) {
        if !self.replies.is_empty() {
            push(self.outbox, &mut self.replies, Instant::now());
        }
    }

    /// Writes the rest of the outbox, for at most [`CLOSE_TIMEOUT`].
    async fn close(mut self) -> End {
        let outbox = self.outbox;
        let emptied = async {
            while !outbox.is_empty() {
                if let Some(end) = self.writer.step().await {
                    return end;
                }
            }
            End::Gone
        };
        timeout(CLOSE_TIMEOUT, emptied).await.unwrap_or(End::Gone)
    }
}

fn push(outbox: &Outbox, replies: &mut Vec<u8>, now: Instant) -> bool {
    let wake = outbox.push(now, |out| {
        if out.is_empty() {
            std::mem::swap(out, replies);
        } else {
            out.extend_from_slice(replies);
        }
    });
    replies.clear();
    wake
}

/// Appends the error for bytes that are no command. Redis has no text for a command that is too long; ours says so.
fn refuse(replies: &mut Vec<u8>, error: CommandError) {
    write_error(replies, format!("ERR Protocol error: {error}").as_bytes());
}

/// Reads at most `bytes` once; 0 is the end of the stream. Safe to cancel.
async fn read(stream: &TcpStream, input: &mut BytesMut, bytes: usize) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        input.reserve(bytes);
        match stream.try_read_buf(input) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

/// Writes the outbox to the socket.
struct Writer<'a> {
    stream: &'a TcpStream,
    outbox: &'a Arc<Outbox>,
    /// Bytes taken from the outbox.
    bytes: Vec<u8>,
    /// How many of `bytes` the socket has taken.
    written_bytes: usize,
}

impl Writer<'_> {
    /// Writes all that enters the outbox until the connection must end. Safe to cancel.
    async fn run(&mut self) -> End {
        loop {
            if let Some(end) = self.step().await {
                return end;
            }
            // A socket that takes everything at once must not keep the task from reading.
            tokio::task::consume_budget().await;
        }
    }

    /// Writes once, as soon as there is something to write and the socket takes it. Safe to cancel.
    async fn step(&mut self) -> Option<End> {
        if self.written_bytes == self.bytes.len() {
            self.bytes.clear();
            self.written_bytes = 0;
            if let Err(cut) = self.outbox.take(&mut self.bytes).await {
                return Some(End::Cut(cut));
            }
        }
        let left = self.bytes.get(self.written_bytes..).unwrap_or_default();
        match self.stream.try_write(left) {
            Ok(0) => Some(End::Gone),
            Ok(bytes) => {
                self.written_bytes += bytes;
                self.outbox.note_written(bytes, Instant::now());
                None
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::select! {
                writable = self.stream.writable() => writable.err().map(|_| End::Gone),
                cut = self.outbox.wait_for_cut() => Some(End::Cut(cut)),
            },
            Err(_) => Some(End::Gone),
        }
    }
}
