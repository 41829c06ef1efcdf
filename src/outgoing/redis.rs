//! The connection that publishes. Commands are pipelined; the upstream's replies come in their order, and each confirms its command.
//!
//! While there is no connection, whatever is to be published is refused at once. A reply that takes longer than [`limits::OUTGOING_TIMEOUT`] ends the
//! connection, with a reset: what the system has not sent yet is thrown away with it.

mod output;
mod publishing;
mod sieve;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use self::publishing::{End, Publishing};
use super::Purpose;
use super::cluster::Way;
use crate::backoff::Backoff;
use crate::bus::OutgoingHeld;
use crate::ingest::publisher::{EventBatch, Publisher};
use crate::ingest::redis::Server;
use crate::ingest::redis::error::Words;
use crate::limits;
use crate::resp::{Reply, write_command};

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
    /// It has not said whether it has.
    pub may_have_come: bool,
    /// What it has answered to other commands than `PUBLISH`.
    pub said: Vec<Said>,
    /// When it was asked.
    pub asked: Instant,
    /// That of the job.
    pub held: Option<OutgoingHeld>,
}

impl Done {
    fn refused(purpose: Purpose, asked: Instant, held: Option<OutgoingHeld>) -> Self {
        Self { purpose, is_confirmed: false, may_have_come: false, said: Vec::new(), asked, held }
    }
}

/// Whether there is a connection.
#[derive(Debug, Clone, Default)]
pub struct Connected(Arc<AtomicU64>);

impl Connected {
    /// The number of the connection that there is now: another is another.
    pub fn number(&self) -> Option<u64> {
        let changes = self.0.load(Ordering::Relaxed);
        (!changes.is_multiple_of(2)).then_some(changes)
    }

    /// There is one now that there was none, or the other way round.
    fn changes(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
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
        connected.changes();
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
    let mut way = Way::new(&server);
    let mut backoff = Backoff::new(limits::UPSTREAM_BACKOFF_MIN, limits::UPSTREAM_BACKOFF_MAX);
    let mut rng = fastrand::Rng::new();
    loop {
        let Some(outcome) = refusing(&mut jobs, &done, way.open()).await else { return };
        match outcome {
            Ok(opened) => {
                let since = Instant::now();
                connected.changes();
                drop(attempted.take());
                let (stream, input) = opened.session.into_parts();
                let publishing = Publishing::new(input, opened.node, &done);
                let end = publishing.run(stream.into_io(), &mut jobs).await;
                connected.changes();
                match end {
                    End::NoJobs => return,
                    End::Moved => {
                        tracing::info!(
                            "another node of the cluster has slot 0 now: publishing what clients say over that one"
                        );
                        continue;
                    }
                    End::Lost(why) => {
                        tracing::warn!(%why, "the connection that publishes what clients say was lost: connecting again");
                    }
                }
                backoff.worked_for(since.elapsed());
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
