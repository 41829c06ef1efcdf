//! The fan-out: shards that own the connections and deliver events to them, and the handles by which the rest of the process reaches
//! the shards.
//!
//! | part | what it is |
//! |---|---|
//! | [`index`] | which clients are subscribed to which topics; pure |
//! | [`batch`] | frames that outboxes share, and the count of the bytes they keep alive |
//! | [`outbox`] | the queue of what waits to be written to one client; pure |
//! | [`slowness`] | whether a client is too slow, judged over time; pure |
//! | [`extras`] | the state of a client that uses one of the next two, or has lost an event; pure |
//! | [`narrowed`] | what a client wrote whose rights cover only some names; pure |
//! | [`conflation`] | fewer events for a client that asks for them, or is too slow for all; pure |
//! | [`backfill`] | snapshots on their way to one client; pure |
//! | [`wheel`] | the timers of a shard; pure |
//! | `shard` | the loop that puts them together around one `mio::Poll` |
//!
//! A shard does everything for its connections, on a thread of its own, without a lock. It reads and answers their messages, queues each
//! batch in the outboxes of the subscribers, and then writes once to each socket for which something waits. A shard never waits for a
//! client: what a socket doesn't take stays in the client's outbox, and what exceeds the outbox' limit is skipped and announced to that
//! client.

pub mod backfill;
pub mod batch;
pub mod conflation;
pub mod extras;
pub mod index;
pub mod narrowed;
pub mod outbox;
mod shard;
pub mod slowness;
pub mod wheel;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

pub use self::shard::{DeskConfig, ShardConfig, Workers};
pub(crate) use self::shard::{Shard, ShardHandles};
use crate::bus::inbox::Sender;
use crate::bus::{Adopt, Arrival, Denied, DeskNews, ShardPort, Ticket, ToShard, Verified};
use crate::desk::DeskId;
use crate::transport::Probe;

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

    /// Answers a question of shard `id`: who a client is, or why it is not let in.
    pub fn answer(&self, id: usize, ticket: Ticket, result: Result<Verified, Denied>) {
        if let Some(shard) = self.shards.get(id) {
            // A shard that has ended has no client left to answer.
            let _ = shard.inbox.send(ToShard::Verified { ticket, result }, 0);
        }
    }

    /// Tells shard `id` something of the desk.
    pub fn tell_desk(&self, id: usize, news: DeskNews) {
        if let Some(shard) = self.shards.get(id) {
            let news = ToShard::Desk(Box::new(news));
            let bytes = news.queued_bytes();
            // A shard that has ended has no client left to tell.
            let _ = shard.inbox.send(news, bytes);
        }
    }

    /// Tells every shard how many users are in a room.
    pub fn tell_count(&self, room: &DeskId, count: usize) {
        for id in 0..self.shards.len() {
            self.tell_desk(id, DeskNews::Count { room: room.clone(), count });
        }
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
    fn clean(&self) -> Vec<oneshot::Receiver<usize>> {
        let ask = |shard: &ShardHandle| {
            let (sender, told) = oneshot::channel();
            // A shard that has ended tells nothing.
            let _ = shard.inbox.send(ToShard::Clean(sender), 0);
            told
        };
        self.shards.iter().map(ask).collect()
    }

    fn adopt(&self, clients: Vec<Arrival>) {
        let mut parts: Vec<Vec<Arrival>> = self.shards.iter().map(|_| Vec::new()).collect();
        for arrival in clients {
            let loads = self.shards.iter().map(|shard| shard.load.load(Ordering::Relaxed)).enumerate();
            // What takes another one's place has to be where that is.
            let place = arrival.client.probe.as_ref().map(Probe::shard);
            let place = place.or_else(|| loads.min_by_key(|(_, load)| *load).map(|(place, _)| place));
            let Some((shard, part)) = place.and_then(|place| Some((place, parts.get_mut(place)?))) else {
                return;
            };
            if let Some(polling) = arrival.transport.polling() {
                let inbox = self.shards[shard].inbox.clone();
                // A shard that has ended has let go of the connection.
                let wake = move |token| drop(inbox.send(ToShard::Ready(token), 0));
                polling.attach(shard, Box::new(wake));
            }
            self.shards[shard].load.fetch_add(1, Ordering::Relaxed);
            part.push(arrival);
        }
        for (shard, part) in self.shards.iter().zip(parts) {
            if !part.is_empty() {
                // A shard that has ended drops the clients, which closes their sockets.
                let _ = shard.inbox.send(ToShard::Adopt(part), 0);
            }
        }
    }

    fn replace(&self, number: u64) {
        for shard in &self.shards {
            // Which of them has the connection is not known here; a shard that has ended has none.
            let _ = shard.inbox.send(ToShard::Replaced(number), 0);
        }
    }
}
