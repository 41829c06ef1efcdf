//! The connection that publishes. Commands are pipelined; the upstream's replies come in their order, and each confirms its command.
//!
//! While there is no connection, whatever is to be published is refused at once. A reply that takes longer than [`limits::OUTGOING_TIMEOUT`] ends the
//! connection, with a reset: what the system has not sent yet is thrown away with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Purpose;
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

/// Something to publish.
#[derive(Debug)]
pub struct Job {
    /// The channel.
    pub channel: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// Repeated when it is done.
    pub purpose: Purpose,
    /// When it was asked.
    pub asked: Instant,
    /// Its place among what is on its way.
    pub held: Option<OutgoingHeld>,
}

/// What has become of a job.
#[derive(Debug)]
pub struct Done {
    /// That of the job.
    pub purpose: Purpose,
    /// The upstream has taken it.
    pub is_confirmed: bool,
    /// When it was asked.
    pub asked: Instant,
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

/// A command that is under way.
struct Sent {
    purpose: Purpose,
    asked: Instant,
    _held: Option<OutgoingHeld>,
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
            let mut events = EventBatch::default();
            events.push(job.channel.as_bytes(), &job.payload);
            publisher.publish_all(events).await;
            let _ = done.send(Done { purpose: job.purpose, is_confirmed: true, asked: job.asked });
        }
        return;
    };
    let mut dialer = server.dialer(server.address.clone());
    let mut backoff = Backoff::new(limits::UPSTREAM_BACKOFF_MIN, limits::UPSTREAM_BACKOFF_MAX);
    let mut rng = fastrand::Rng::new();
    loop {
        let opening = async {
            let session = Session::open_abortive(&mut dialer, &server.login, &server.client_name).await?;
            dialer.note_success();
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
                let Job { purpose, asked, .. } = job?;
                let _ = done.send(Done { purpose, is_confirmed: false, asked });
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
    let mut output = Vec::new();
    let mut has_jobs = true;
    let why = loop {
        if !has_jobs && under_way.is_empty() {
            return None;
        }
        let until = under_way.front().map(|sent| sent.asked + limits::OUTGOING_TIMEOUT);
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
            job = jobs.recv(), if has_jobs && under_way.len() < limits::OUTGOING_PIPELINE => {
                let Some(job) = job else {
                    has_jobs = false;
                    continue;
                };
                let mut next = Some(job);
                while let Some(job) = next {
                    write_command(&mut output, &[b"PUBLISH", job.channel.as_bytes(), &job.payload]);
                    under_way.push_back(Sent { purpose: job.purpose, asked: job.asked, _held: job.held });
                    let has_room = output.len() < WRITE_BYTES && under_way.len() < limits::OUTGOING_PIPELINE;
                    next = if has_room { jobs.try_recv().ok() } else { None };
                }
                let written = async {
                    writer.write_all(&output).await?;
                    writer.flush().await
                };
                match timeout(limits::OUTGOING_TIMEOUT, written).await {
                    Ok(Ok(())) => output.clear(),
                    Ok(Err(error)) => break error.to_string(),
                    Err(_) => break "Redis takes nothing".to_owned(),
                }
            }
            () = sleep_until(until), if until.is_some() => {
                break format!("no reply within {} ms", limits::OUTGOING_TIMEOUT.as_millis());
            }
        }
    };
    for Sent { purpose, asked, .. } in under_way {
        let _ = done.send(Done { purpose, is_confirmed: false, asked });
    }
    Some(why)
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
        match parse_reply(&input[used..], &ReplyLimits::DEFAULT) {
            Ok(Progress::Incomplete { .. }) => break,
            Err(error) => return Err(format!("not a Redis server: {error}")),
            Ok(Progress::Done { value, used_bytes }) => {
                let is_confirmed = match value {
                    Reply::Error(text) => {
                        let words = Words::new(text);
                        tracing::warn!(said = %words, "Redis refuses to publish what a client says");
                        false
                    }
                    _ => true,
                };
                used += used_bytes;
                let Some(Sent { purpose, asked, .. }) = under_way.pop_front() else {
                    return Err("a reply that nothing was asked for".to_owned());
                };
                let _ = done.send(Done { purpose, is_confirmed, asked });
            }
        }
    }
    input.drain(..used);
    Ok(())
}
