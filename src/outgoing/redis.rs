//! The connection that publishes. Commands are pipelined; the upstream's replies come in their order, and each confirms its command.
//!
//! While there is no connection, whatever is to be published is refused at once. A reply that takes longer than [`limits::OUTGOING_TIMEOUT`] ends the
//! connection, with a reset: what the system has not sent yet is thrown away with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::{Purpose, cluster};
use crate::backoff::Backoff;
use crate::bus::OutgoingHeld;
use crate::ingest::publisher::{EventBatch, Publisher};
use crate::ingest::redis::Server;
use crate::ingest::redis::error::Words;
use crate::ingest::redis::session::Session;
use crate::limits;
use crate::resp::{Progress, Reply, ReplyLimits, parse_reply, write_command};

/// Bytes of commands that are written at once, at most, unless one alone is larger.
const WRITE_BYTES: usize = 256 * 1024;

/// The longest replies are those about inboxes.
const LIMITS: ReplyLimits = ReplyLimits {
    total_bytes_max: limits::INBOX_REPLY_BYTES,
    bulk_bytes_max: 2 * limits::MIB,
    ..ReplyLimits::DEFAULT
};

/// Something to publish, or commands about inboxes.
#[derive(Debug)]
pub struct Job {
    /// What is to be done.
    pub work: Work,
    /// Repeated when it is done.
    pub purpose: Purpose,
    /// When it was asked.
    pub asked: Instant,
    /// Its place among what is on its way.
    pub held: Option<OutgoingHeld>,
}

/// What a job is.
#[derive(Debug)]
pub enum Work {
    /// A `PUBLISH`.
    Publish {
        /// The channel.
        channel: String,
        /// The payload.
        payload: Vec<u8>,
    },
    /// Other commands.
    Commands(Commands),
}

/// Commands as bytes, one behind the other.
#[derive(Debug, Default)]
pub struct Commands {
    bytes: Vec<u8>,
    count: usize,
}

impl Commands {
    /// Adds one.
    pub fn add(&mut self, args: &[&[u8]]) {
        write_command(&mut self.bytes, args);
        self.count += 1;
    }
}

/// A reply to one of a job's [`Commands`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// An error.
    Error(String),
    /// Nothing.
    Null,
    /// A number.
    Number(i64),
    /// A text.
    Text(Vec<u8>),
    /// Several.
    Array(Vec<Self>),
}

impl Said {
    fn of(reply: &Reply<'_>) -> Self {
        match *reply {
            Reply::Error(text) => Self::Error(Words::new(text).to_string()),
            Reply::Integer(number) => Self::Number(number),
            Reply::Simple(text) | Reply::Bulk(text) | Reply::Verbatim { text, .. } => {
                Self::Text(text.to_vec())
            }
            Reply::Array(elements) | Reply::Set(elements) | Reply::Map(elements) | Reply::Push(elements) => {
                Self::Array(elements.map(|element| Self::of(&element)).collect())
            }
            Reply::Null | Reply::Boolean(_) | Reply::Double(_) | Reply::BigNumber(_) => Self::Null,
        }
    }
}

/// What has become of a job.
#[derive(Debug)]
pub struct Done {
    /// That of the job.
    pub purpose: Purpose,
    /// The upstream has taken it, or answered all its commands.
    pub is_confirmed: bool,
    /// What it has answered to other commands than `PUBLISH`.
    pub said: Vec<Said>,
    /// When it was asked.
    pub asked: Instant,
    /// That of the job.
    pub held: Option<OutgoingHeld>,
}

impl Done {
    fn refused(purpose: Purpose, asked: Instant, held: Option<OutgoingHeld>) -> Self {
        Self { purpose, is_confirmed: false, said: Vec::new(), asked, held }
    }
}

/// Whether there is a connection.
#[derive(Debug, Clone, Default)]
pub struct Connected(Arc<AtomicBool>);

impl Connected {
    /// Whether there is one now.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A job that is under way.
struct Sent {
    purpose: Purpose,
    asked: Instant,
    held: Option<OutgoingHeld>,
    /// Replies that have yet to come; `None` for a `PUBLISH`.
    commands: Option<usize>,
    said: Vec<Said>,
}

impl Sent {
    /// Writes the job's commands.
    fn write(job: Job, output: &mut Vec<u8>) -> Self {
        let Job { work, purpose, asked, held } = job;
        let commands = match work {
            Work::Publish { channel, payload } => {
                write_command(output, &[b"PUBLISH", channel.as_bytes(), &payload]);
                None
            }
            Work::Commands(commands) => {
                output.extend_from_slice(&commands.bytes);
                Some(commands.count)
            }
        };
        Self { purpose, asked, held, commands, said: Vec::new() }
    }
}

/// Publishes jobs until nobody has any more.
pub async fn run(
    server: Option<Server>,
    publisher: Publisher,
    mut jobs: UnboundedReceiver<Job>,
    done: UnboundedSender<Done>,
    connected: Connected,
    attempted: oneshot::Sender<()>,
) {
    let mut attempted = Some(attempted);
    let Some(server) = server else {
        connected.0.store(true, Ordering::Relaxed);
        drop(attempted.take());
        while let Some(job) = jobs.recv().await {
            let Job { work, purpose, asked, held } = job;
            // There are no inboxes without a server.
            let is_confirmed = matches!(work, Work::Publish { .. });
            if let Work::Publish { channel, payload } = work {
                let mut events = EventBatch::default();
                events.push(channel.as_bytes(), &payload);
                publisher.publish_all(events).await;
            }
            let _ = done.send(Done { is_confirmed, ..Done::refused(purpose, asked, held) });
        }
        return;
    };
    let mut dialer = server.dialer(server.address.clone());
    let mut backoff = Backoff::new(limits::UPSTREAM_BACKOFF_MIN, limits::UPSTREAM_BACKOFF_MAX);
    let mut rng = fastrand::Rng::new();
    loop {
        let opening = async {
            let mut session = Session::open_abortive(&mut dialer, &server.login, &server.client_name).await?;
            dialer.note_success();
            if let Some(node) = cluster::node_to_publish(&mut session, dialer.address()).await? {
                let mut there = server.dialer(node);
                session = Session::open_abortive(&mut there, &server.login, &server.client_name).await?;
            }
            Ok::<_, crate::ingest::redis::error::RedisError>(session)
        };
        let Some(outcome) = refusing(&mut jobs, &done, opening).await else { return };
        match outcome {
            Ok(session) => {
                let since = Instant::now();
                connected.0.store(true, Ordering::Relaxed);
                drop(attempted.take());
                let end = publish(session, &mut jobs, &done).await;
                connected.0.store(false, Ordering::Relaxed);
                let Some(why) = end else { return };
                backoff.worked_for(since.elapsed());
                tracing::warn!(%why, "the connection that publishes what clients say was lost: connecting again");
            }
            Err(error) => {
                drop(attempted.take());
                tracing::warn!(%error, "what clients say can't be published: Redis could not be reached");
            }
        }
        let pause = tokio::time::sleep(backoff.next_pause_between(0.5, &mut rng));
        if refusing(&mut jobs, &done, pause).await.is_none() {
            return;
        }
    }
}

/// Waits for something while there is no connection, and refuses what is to be published meanwhile. `None` if nobody has jobs any more.
async fn refusing<T>(
    jobs: &mut UnboundedReceiver<Job>,
    done: &UnboundedSender<Done>,
    awaited: impl Future<Output = T>,
) -> Option<T> {
    tokio::pin!(awaited);
    loop {
        tokio::select! {
            outcome = &mut awaited => return Some(outcome),
            job = jobs.recv() => {
                let Job { purpose, asked, held, .. } = job?;
                let _ = done.send(Done::refused(purpose, asked, held));
            }
        }
    }
}

/// Publishes over a connection until it is lost, and returns why; `None` if nobody has jobs any more and all are done.
async fn publish(
    session: Session,
    jobs: &mut UnboundedReceiver<Job>,
    done: &UnboundedSender<Done>,
) -> Option<String> {
    let (stream, mut input) = session.into_parts();
    let (mut reader, mut writer) = tokio::io::split(stream.into_io());
    let mut under_way: VecDeque<Sent> = VecDeque::new();
    let mut output = Output::default();
    let mut has_jobs = true;
    let why = loop {
        if !has_jobs && under_way.is_empty() {
            return None;
        }
        // What is published behind an inbox' commands was asked before others that are under way.
        let until =
            under_way.iter().map(|sent| sent.asked).min().map(|asked| asked + limits::OUTGOING_TIMEOUT);
        tokio::select! {
            biased;
            read = reader.read_buf(&mut input) => match read {
                Ok(0) => break "closed by Redis".to_owned(),
                Ok(_) => {
                    if let Err(why) = take_replies(&mut input, &mut under_way, done) {
                        break why;
                    }
                }
                Err(error) => break error.to_string(),
            },
            // Before anything else is written: Redis may take nothing for as long as what was asked first may wait.
            () = sleep_until(until), if until.is_some() => {
                break format!("no reply within {} ms", limits::OUTGOING_TIMEOUT.as_millis());
            }
            written = output.write(&mut writer), if !output.is_sent => {
                if let Err(error) = written {
                    break error.to_string();
                }
            }
            job = jobs.recv(), if has_jobs && output.is_sent && under_way.len() < limits::OUTGOING_PIPELINE => {
                let Some(job) = job else {
                    has_jobs = false;
                    continue;
                };
                let mut next = Some(job);
                while let Some(job) = next {
                    under_way.push_back(Sent::write(job, output.start()));
                    let has_room = output.len() < WRITE_BYTES && under_way.len() < limits::OUTGOING_PIPELINE;
                    next = if has_room { jobs.try_recv().ok() } else { None };
                }
            }
        }
    };
    for Sent { purpose, asked, held, .. } in under_way {
        let _ = done.send(Done::refused(purpose, asked, held));
    }
    Some(why)
}

/// Commands on their way to Redis. They are written in parts, so that replies are read and times are kept meanwhile.
struct Output {
    bytes: Vec<u8>,
    written: usize,
    /// Everything is with the system.
    is_sent: bool,
}

impl Default for Output {
    fn default() -> Self {
        Self { bytes: Vec::new(), written: 0, is_sent: true }
    }
}

impl Output {
    /// To add commands to, once everything before them is sent.
    fn start(&mut self) -> &mut Vec<u8> {
        self.is_sent = false;
        &mut self.bytes
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Goes on writing. What is interrupted has written nothing.
    async fn write(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        if self.written < self.bytes.len() {
            self.written += writer.write(&self.bytes[self.written..]).await?;
        } else {
            // TLS keeps a part of what was written.
            writer.flush().await?;
            self.bytes.clear();
            self.written = 0;
            self.is_sent = true;
        }
        Ok(())
    }
}

async fn sleep_until(until: Option<Instant>) {
    if let Some(until) = until {
        tokio::time::sleep_until(until.into()).await;
    }
}

/// Pairs replies with the commands that are under way.
fn take_replies(
    input: &mut Vec<u8>,
    under_way: &mut VecDeque<Sent>,
    done: &UnboundedSender<Done>,
) -> Result<(), String> {
    let mut used = 0;
    loop {
        match parse_reply(&input[used..], &LIMITS) {
            Ok(Progress::Incomplete { .. }) => break,
            Err(error) => return Err(format!("not a Redis server: {error}")),
            Ok(Progress::Done { value, used_bytes }) => {
                used += used_bytes;
                let Some(sent) = under_way.front_mut() else {
                    return Err("a reply that nothing was asked for".to_owned());
                };
                let is_confirmed = match &mut sent.commands {
                    None => is_taken(&value),
                    Some(left) => {
                        sent.said.push(Said::of(&value));
                        *left -= 1;
                        if *left > 0 {
                            continue;
                        }
                        true
                    }
                };
                let Some(Sent { purpose, asked, held, said, .. }) = under_way.pop_front() else { break };
                let _ = done.send(Done { purpose, is_confirmed, said, asked, held });
            }
        }
    }
    input.drain(..used);
    Ok(())
}

/// Whether a `PUBLISH` was.
fn is_taken(reply: &Reply<'_>) -> bool {
    if let Reply::Error(text) = *reply {
        let words = Words::new(text);
        tracing::warn!(said = %words, "Redis refuses to publish what a client says");
        return false;
    }
    true
}
