//! The data path behind ingest: shards that own their connections, and the only door to them.
//!
//! | part | what it is |
//! |---|---|
//! | [`backfill`] | what has been, on its way to one client; pure |
//! | [`batch`] | frames with a table of them, as ingest hands them over |
//! | [`conflation`] | at most one pending event for each topic, and rates; pure |
//! | [`extras`] | the terms of clients that asked for any; pure |
//! | [`inbox`] | how a thread of the data path is spoken to |
//! | [`index`] | who wants what; pure |
//! | [`outbox`] | what waits for one client, bounded; pure |
//! | [`slowness`] | who is too slow, judged over time; pure |
//! | [`wheel`] | all timers of a shard; pure |
//! | `shard` | the loop that puts them together around one `mio::Poll` |
//!
//! A shard does everything for its connections, on its own thread, with nothing shared: it reads and answers their messages,
//! applies each batch to the outboxes of the subscribers, and then writes each socket that has something waiting once.
//! Nothing in here waits for a client: what a socket doesn't take stays in its outbox, and what an outbox
//! doesn't take is that client's loss, announced to it.

pub mod backfill;
pub mod batch;
pub mod conflation;
pub mod extras;
pub mod inbox;
pub mod index;
pub mod outbox;
mod shard;
pub mod slowness;
pub mod wheel;

use std::io;
use std::net::TcpStream;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use self::batch::{Frames, News, Notice, TopicId};
use self::inbox::Sender;
pub use self::shard::ShardConfig;
use self::shard::{Links, Shard};
use crate::admission::Seat;
use crate::ingest;
use crate::market::Subject;
use crate::state::State;

/// A client whose handshake is done.
#[derive(Debug)]
pub struct NewClient {
    /// The socket, behind its 101 answer, with the options that it has from the listening one.
    pub stream: TcpStream,
    /// Bytes that came behind the upgrade request: the first of the client's frames.
    pub early: Bytes,
    /// `?symbols=` of the URL, as the client wrote them.
    pub symbols: Option<Vec<String>>,
    /// The client's place in `MAX_CONNECTIONS`.
    pub seat: Seat,
}

/// The only door into the data path for new clients.
pub trait Adopt: Send + Sync + 'static {
    /// Takes the clients over for life.
    fn adopt(&self, clients: Vec<NewClient>);
}

/// What shards are told.
#[derive(Debug)]
pub enum Command {
    /// Events. Bounded in bytes by ingest, see [`inbox`].
    Batch(Frames),
    /// The same with what happened to topics between the events, in order.
    BatchWithNews(Frames, Vec<Notice>),
    /// Last values that clients wait for ([`Past::awaited`]) have been looked up.
    LookedUp(Vec<LookedUp>),
    /// What happened to a topic between events that are among the [`Command::Lost`].
    News(TopicId, News),
    /// Events that ingest had to drop because this shard's inbox was full: counts by topic.
    Lost(Vec<(TopicId, u64)>),
    /// Topics that a pattern of this shard matches: their events come under these ids from now on, until released.
    Opened(Vec<(Subject, TopicId)>),
    /// The answer to [`ingest::Command::Retire`]: nothing comes under these ids any more, unless they are opened or granted anew.
    Closed(Vec<TopicId>),
    /// Ingest's answer to the oldest [`ingest::Command::Want`] of this shard.
    Granted(Vec<(Subject, TopicId)>, Option<Box<Past>>),
    /// The upstream was lost or is back.
    Feed(Feed),
    /// New clients.
    Adopt(Vec<NewClient>),
    /// Tell every client to go elsewhere, and end with the last of them, at the latest after the time given.
    Drain(Duration),
}

/// What a request has asked of the past: everything up to this place among the events, and nothing behind it.
#[derive(Debug, Default)]
pub struct Past {
    /// For each topic that was to be resumed, in the request's order, whether it is.
    pub recovered: Vec<bool>,
    /// Topics of which the client has seen more than this gateway: the last `seq` that it has seen.
    pub floors: Vec<(TopicId, u64)>,
    /// What the client has missed.
    pub replay: Frames,
    /// Last values, framed; shared with whoever else asks before the topic's next event.
    pub snapshots: Vec<(TopicId, Bytes)>,
    /// Topics whose last values are being looked up: a [`Command::LookedUp`] follows.
    pub awaited: Vec<TopicId>,
}

/// A topic whose last value was looked up.
#[derive(Debug, Clone)]
pub struct LookedUp {
    /// The topic.
    pub topic: TopicId,
    /// The value as a snapshot; `None` if there is none.
    pub frame: Option<Bytes>,
    /// Its `seq`: the events up to it may still come live, and whoever has the snapshot has seen them.
    pub seq: Option<u64>,
}

/// The upstream as clients are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// Lost, or not reached yet.
    Down,
    /// There.
    Up {
        /// For how long it was not, in milliseconds.
        gap_ms: u64,
    },
}

/// The running shards.
#[derive(Debug)]
pub struct Fanout {
    shards: Vec<ShardHandle>,
}

#[derive(Debug)]
struct ShardHandle {
    inbox: Sender<Command>,
    /// Connections handed over and not gone yet.
    load: Arc<AtomicUsize>,
}

/// The threads of the shards.
#[derive(Debug)]
pub struct Threads(Vec<JoinHandle<usize>>);

impl Threads {
    /// Waits for the shards to end; returns how many clients had to be cut off. Blocks.
    pub fn join(self) -> usize {
        let end = |thread: JoinHandle<usize>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        self.0.into_iter().map(end).sum()
    }
}

/// A shard that has a poll and an inbox, but no thread yet: ingest must know the inboxes of all shards, and shards
/// the inbox of ingest.
#[derive(Debug)]
pub struct Prepared {
    poll: mio::Poll,
    inbox: inbox::Inbox<Command>,
    sender: Sender<Command>,
}

impl Prepared {
    /// A poll and an inbox.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let (sender, inbox) = inbox::inbox(&poll)?;
        Ok(Self { poll, inbox, sender })
    }

    /// Where the shard is spoken to.
    pub fn sender(&self) -> Sender<Command> {
        self.sender.clone()
    }
}

impl Fanout {
    /// Starts one thread for each prepared shard.
    ///
    /// # Errors
    /// When a thread can't be started.
    pub fn start(
        prepared: Vec<Prepared>,
        config: &ShardConfig,
        ingest: &Sender<ingest::Command>,
        state: &Arc<State>,
    ) -> io::Result<(Self, Threads)> {
        let start = |(id, prepared): (usize, Prepared)| {
            let load = Arc::new(AtomicUsize::new(0));
            let links =
                Links { id, ingest: ingest.clone(), state: Arc::clone(state), load: Arc::clone(&load) };
            let config = config.clone();
            let thread = std::thread::Builder::new()
                .name(format!("shard-{id}"))
                .spawn(move || Shard::new(prepared.poll, prepared.inbox, config, links).run())?;
            Ok((ShardHandle { inbox: prepared.sender, load }, thread))
        };
        let started: Vec<_> = prepared.into_iter().enumerate().map(start).collect::<io::Result<_>>()?;
        let (shards, threads) = started.into_iter().unzip();
        Ok((Self { shards }, Threads(threads)))
    }

    /// Tells every client to go elsewhere and asks the shards to end once they are gone or `timeout` has passed.
    pub fn drain(&self, timeout: Duration) {
        for shard in &self.shards {
            // A shard that has ended has nobody left to tell.
            let _ = shard.inbox.send(Command::Drain(timeout), 0);
        }
    }
}

impl Adopt for Fanout {
    fn adopt(&self, clients: Vec<NewClient>) {
        let mut parts: Vec<Vec<NewClient>> = self.shards.iter().map(|_| Vec::new()).collect();
        for client in clients {
            let loads = self.shards.iter().map(|shard| &shard.load).zip(&mut parts);
            let Some((load, part)) = loads.min_by_key(|(load, _)| load.load(Ordering::Relaxed)) else {
                return;
            };
            load.fetch_add(1, Ordering::Relaxed);
            part.push(client);
        }
        for (shard, part) in self.shards.iter().zip(parts) {
            if !part.is_empty() {
                // A shard that has ended drops the clients, which closes their sockets.
                let _ = shard.inbox.send(Command::Adopt(part), 0);
            }
        }
    }
}
