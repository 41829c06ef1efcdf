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

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub use self::shard::ShardConfig;
pub(crate) use self::shard::{Links, Shard};
use crate::bus::inbox::Sender;
use crate::bus::{Adopt, Arrival, ShardPort, ToShard};

/// The running shards, as the control side reaches them.
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

impl Fanout {
    /// The shards behind these ports.
    pub fn new(ports: &[ShardPort]) -> Self {
        let handle = |port: &ShardPort| ShardHandle { inbox: port.inbox.clone(), load: Arc::default() };
        Self { shards: ports.iter().map(handle).collect() }
    }

    /// Connections handed over to shard `id` and not gone yet.
    pub(crate) fn load(&self, id: usize) -> Arc<AtomicUsize> {
        Arc::clone(&self.shards[id].load)
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
