//! The data path behind ingest: shards that own their connections, and the only door to them.
//!
//! | part | what it is |
//! |---|---|
//! | [`backfill`] | what has been, on its way to one client; pure |
//! | [`batch`] | frames that outboxes keep alive, and what they take |
//! | [`conflation`] | at most one pending event for each topic, and rates; pure |
//! | [`extras`] | the terms of clients that asked for any; pure |
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
pub mod index;
pub mod outbox;
mod shard;
pub mod slowness;
pub mod wheel;

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use self::shard::Links;
pub use self::shard::ShardConfig;
use crate::bus::inbox::{self, Inbox, Sender};
use crate::bus::{Adopt, Arrival, ReplayBudget, ShardPort, ToShard, WishSender};
use crate::state::State;

/// The running shards.
#[derive(Debug)]
pub struct Fanout {
    shards: Vec<ShardHandle>,
}

#[derive(Debug)]
struct ShardHandle {
    inbox: Sender<ToShard>,
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
    inbox: Inbox<ToShard>,
    sender: Sender<ToShard>,
    replay_budget: Arc<ReplayBudget>,
}

impl Prepared {
    /// A poll and an inbox.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let (sender, inbox) = inbox::inbox(&poll)?;
        Ok(Self { poll, inbox, sender, replay_budget: Arc::default() })
    }

    /// What ingest holds of the shard.
    pub fn port(&self) -> ShardPort {
        ShardPort { inbox: self.sender.clone(), replay_budget: Arc::clone(&self.replay_budget) }
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
        wishes: &WishSender,
        state: &Arc<State>,
    ) -> io::Result<(Self, Threads)> {
        let start = |(id, prepared): (usize, Prepared)| {
            let load = Arc::new(AtomicUsize::new(0));
            let links = Links {
                id,
                wishes: wishes.clone(),
                replay_budget: prepared.replay_budget,
                state: Arc::clone(state),
                load: Arc::clone(&load),
            };
            let config = config.clone();
            let thread = std::thread::Builder::new()
                .name(format!("shard-{id}"))
                .spawn(move || shard::run(prepared.poll, &prepared.inbox, config, links))?;
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
            let _ = shard.inbox.send(ToShard::Drain(timeout), 0);
        }
    }
}

impl Adopt for Fanout {
    fn adopt(&self, clients: Vec<Arrival>) {
        let mut parts: Vec<Vec<Arrival>> = self.shards.iter().map(|_| Vec::new()).collect();
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
                let _ = shard.inbox.send(ToShard::Adopt(part), 0);
            }
        }
    }
}
