//! The state that the broker's clients share: subscriptions, outboxes, and the patterns of the gateway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::glob;
use super::outbox::Outbox;
use super::peer::{ClientType, Endpoints, Peer};
use super::pubsub::{ClientId, Registry};
use super::streams::Streams;
use crate::ingest::publisher::EventBatch;
use crate::resp::{Protocol, write_bulk, write_push_header};

/// The bound for all commands that clients have queued between `MULTI` and `EXEC`. They count until the gateway has
/// taken the events that they publish.
const QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The state behind the broker's one lock. A client's task holds the lock for a turn: the commands of one read.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) registry: Registry,
    /// The connected clients, the oldest first, as `CLIENT LIST` lists them.
    peers: BTreeMap<ClientId, Peer>,
    /// The sum of all [`Peer::queued_bytes`].
    queued_bytes: usize,
    /// The inboxes, if the gateway keeps some.
    pub(super) streams: Option<Streams>,
    /// The patterns that the gateway itself is subscribed to, each once.
    gateway_patterns: Vec<Box<[u8]>>,
    last_id: u64,
    started: Instant,
}

/// One turn of a client: its time, and the work that it leaves for after the lock.
#[derive(Debug)]
pub(super) struct Turn {
    /// When the turn began.
    pub(super) now: Instant,
    /// The same moment by the wall clock, for `TIME`.
    pub(super) wall: SystemTime,
    /// Events for the gateway.
    pub(super) events: EventBatch,
    /// Outboxes whose clients' tasks must be woken.
    pub(super) wake: Vec<Arc<Outbox>>,
    /// How much of the client's [`Peer::queued_bytes`] is released once the gateway has the events.
    pub(super) executed_bytes: usize,
}

impl Turn {
    pub(super) fn new(now: Instant, wall: SystemTime) -> Self {
        Self { now, wall, events: EventBatch::default(), wake: Vec::new(), executed_bytes: 0 }
    }
}

/// The client that publishes.
pub(super) struct Publisher<'a> {
    pub(super) id: ClientId,
    pub(super) own: OwnMessages<'a>,
}

/// Where the messages of a publisher go that is subscribed to its own channel.
pub(super) enum OwnMessages<'a> {
    /// To its outbox, behind these replies of the same turn.
    AfterReplies(&'a mut Vec<u8>),
    /// Into this buffer, to be sent after the reply to `EXEC`: a message in the middle of that reply would break it.
    AfterExec(&'a mut Vec<u8>),
}

impl Hub {
    pub(super) fn new(gateway_patterns: &[String], streams: Option<Streams>, started: Instant) -> Self {
        let mut patterns: Vec<Box<[u8]>> =
            gateway_patterns.iter().map(|name| name.as_bytes().into()).collect();
        patterns.sort_unstable();
        patterns.dedup();
        Self {
            registry: Registry::default(),
            peers: BTreeMap::new(),
            queued_bytes: 0,
            streams,
            gateway_patterns: patterns,
            last_id: 0,
            started,
        }
    }

    /// Adds a client that has connected. It speaks RESP2 at first.
    pub(super) fn attach(&mut self, outbox: Arc<Outbox>, endpoints: Endpoints, now: Instant) -> ClientId {
        self.last_id += 1;
        let id = ClientId(self.last_id);
        self.peers.insert(id, Peer::new(outbox, endpoints, now));
        id
    }

    /// Removes a client whose connection has ended.
    pub(super) fn detach(&mut self, client: ClientId) {
        self.registry.remove(client);
        if let Some(peer) = self.peers.remove(&client) {
            self.queued_bytes -= peer.queued_bytes;
        }
    }

    /// Ends a client's connection: nothing more is sent to it, and no further command of it runs. Its task detaches it
    /// once it wakes.
    pub(super) fn kill(&mut self, client: ClientId, turn: &mut Turn) {
        self.registry.remove(client);
        if let Some(peer) = self.peers.get_mut(&client) {
            peer.killed = true;
            peer.outbox.kill();
            turn.wake.push(peer.outbox.clone());
        }
    }

    /// A client's entry; `None` once it has been killed.
    pub(super) fn peer(&self, client: ClientId) -> Option<&Peer> {
        self.peers.get(&client).filter(|peer| !peer.killed)
    }

    /// As [`Self::peer`], for changing it.
    pub(super) fn peer_mut(&mut self, client: ClientId) -> Option<&mut Peer> {
        self.peers.get_mut(&client).filter(|peer| !peer.killed)
    }

    /// The connected clients, the oldest first.
    pub(super) fn peers(&self) -> impl Iterator<Item = (ClientId, &Peer)> {
        self.peers.iter().filter(|(_, peer)| !peer.killed).map(|(id, peer)| (*id, peer))
    }

    /// The client's type in `CLIENT LIST TYPE` and `CLIENT KILL TYPE`.
    pub(super) fn type_of(&self, client: ClientId) -> ClientType {
        if self.registry.is_subscribed(client) { ClientType::PubSub } else { ClientType::Normal }
    }

    /// Counts `bytes` for a command to be queued. `false` if all clients together would exceed the bound.
    pub(super) fn reserve_queued(&mut self, client: ClientId, bytes: usize) -> bool {
        if self.queued_bytes + bytes > QUEUED_BYTES_MAX {
            return false;
        }
        if let Some(peer) = self.peers.get_mut(&client) {
            peer.queued_bytes += bytes;
            self.queued_bytes += bytes;
        }
        true
    }

    /// The bytes that all clients together have reserved.
    #[cfg(test)]
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Gives back bytes that [`Self::reserve_queued`] counted.
    pub(super) fn release_queued(&mut self, client: ClientId, bytes: usize) {
        if let Some(peer) = self.peers.get_mut(&client) {
            peer.queued_bytes -= bytes;
            self.queued_bytes -= bytes;
        }
    }

    /// How long the broker had been running at `now`, in seconds.
    pub(super) fn uptime_s(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs()
    }

    /// How many different patterns there are, including the gateway's.
    pub(super) fn pattern_count(&self) -> usize {
        let only_gateway =
            self.gateway_patterns.iter().filter(|name| !self.registry.has_pattern(name)).count();
        self.registry.pattern_count() + only_gateway
    }

    /// Publishes to the outbox of every subscriber and, if a gateway pattern matches, to the turn's events. Returns
    /// how many subscriptions matched, including the gateway's.
    pub(super) fn publish(
        &self,
        publisher: &mut Publisher<'_>,
        channel: &[u8],
        payload: &[u8],
        turn: &mut Turn,
    ) -> usize {
        let wanted = self.gateway_patterns.iter().filter(|name| glob::matches(name, channel)).count();
        if wanted > 0 {
            turn.events.push(channel, payload);
        }
        let mut receivers = wanted;
        self.registry.receivers(channel, |client, pattern| {
            receivers += 1;
            self.send(client, publisher, turn, |out, protocol| match pattern {
                None => write_message(out, protocol, &[b"message", channel, payload]),
                Some(pattern) => write_message(out, protocol, &[b"pmessage", pattern, channel, payload]),
            });
        });
        receivers
    }

    /// Publishes to a shard channel. Only clients that used `SSUBSCRIBE` receive it; the gateway doesn't.
    pub(super) fn publish_to_shard(
        &self,
        publisher: &mut Publisher<'_>,
        channel: &[u8],
        payload: &[u8],
        turn: &mut Turn,
    ) -> usize {
        let receivers = self.registry.shard_receivers(channel);
        for &client in receivers {
            self.send(client, publisher, turn, |out, protocol| {
                write_message(out, protocol, &[b"smessage", channel, payload]);
            });
        }
        receivers.len()
    }

    /// Appends a message to a subscriber's outbox, or to the publisher's own buffer (see [`OwnMessages`]).
    fn send(
        &self,
        client: ClientId,
        publisher: &mut Publisher<'_>,
        turn: &mut Turn,
        write: impl FnOnce(&mut Vec<u8>, Protocol),
    ) {
        let Some(Peer { outbox, protocol, .. }) = self.peers.get(&client) else { return };
        let replies = match &mut publisher.own {
            _ if client != publisher.id => None,
            OwnMessages::AfterExec(messages) => return write(messages, *protocol),
            OwnMessages::AfterReplies(replies) => Some(replies),
        };
        let must_wake = outbox.push(turn.now, |out| {
            if let Some(replies) = replies {
                out.append(replies);
            }
            write(out, *protocol);
        });
        if must_wake {
            turn.wake.push(outbox.clone());
        }
    }
}

/// Appends a published message in a subscriber's protocol.
fn write_message(out: &mut Vec<u8>, protocol: Protocol, words: &[&[u8]]) {
    write_push_header(out, protocol, words.len());
    words.iter().for_each(|word| write_bulk(out, word));
}
