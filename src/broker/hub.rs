//! What the clients of the broker share: the registry, everyone's outbox, and what goes to the gateway.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::glob;
use super::outbox::Outbox;
use super::pubsub::{ClientId, Registry};
use crate::ingest::publisher::EventBatch;
use crate::resp::{Protocol, write_bulk, write_push_header};

/// Everything that is behind the broker's one lock, which is held for a turn: the commands of one read.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) registry: Registry,
    clients: HashMap<ClientId, Attached>,
    /// What the gateway itself is subscribed to, without repeats.
    gateway_patterns: Vec<Box<[u8]>>,
    last_id: u64,
    started: Instant,
}

#[derive(Debug)]
struct Attached {
    outbox: Arc<Outbox>,
    protocol: Protocol,
}

/// What a turn leaves to be done once the lock is released.
#[derive(Debug)]
pub(super) struct Turn {
    /// When the turn began.
    pub(super) now: Instant,
    /// Events for the gateway.
    pub(super) events: EventBatch,
    /// Clients that got something while their task may be asleep.
    pub(super) wake: Vec<Arc<Outbox>>,
}

impl Turn {
    pub(super) fn new(now: Instant) -> Self {
        Self { now, events: EventBatch::default(), wake: Vec::new() }
    }
}

impl Hub {
    pub(super) fn new(gateway_patterns: &[String], started: Instant) -> Self {
        let mut patterns: Vec<Box<[u8]>> =
            gateway_patterns.iter().map(|name| name.as_bytes().into()).collect();
        patterns.sort_unstable();
        patterns.dedup();
        Self {
            registry: Registry::default(),
            clients: HashMap::new(),
            gateway_patterns: patterns,
            last_id: 0,
            started,
        }
    }

    /// Lets a client in, who speaks RESP2 to begin with.
    pub(super) fn attach(&mut self, outbox: Arc<Outbox>) -> ClientId {
        self.last_id += 1;
        let id = ClientId(self.last_id);
        self.clients.insert(id, Attached { outbox, protocol: Protocol::Resp2 });
        id
    }

    /// Forgets a client.
    pub(super) fn detach(&mut self, client: ClientId) {
        self.registry.remove(client);
        self.clients.remove(&client);
    }

    /// From now on a client's messages are written as `protocol` has them.
    pub(super) fn set_protocol(&mut self, client: ClientId, protocol: Protocol) {
        if let Some(attached) = self.clients.get_mut(&client) {
            attached.protocol = protocol;
        }
    }

    /// How many clients are attached.
    pub(super) fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// How long the broker had been running at `now`, in seconds.
    pub(super) fn uptime_s(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs()
    }

    /// How many different patterns there are, the gateway's among them.
    pub(super) fn pattern_count(&self) -> usize {
        let only_gateway =
            self.gateway_patterns.iter().filter(|name| !self.registry.has_pattern(name)).count();
        self.registry.pattern_count() + only_gateway
    }

    /// Publishes: to the outbox of every subscriber and, if the gateway wants it, to the turn's events. Returns
    /// how many subscriptions matched, the gateway's among them. `replies` are those that the publisher has yet to
    /// get: if it is a subscriber itself, they go before its message.
    pub(super) fn publish(
        &self,
        publisher: ClientId,
        replies: &mut Vec<u8>,
        channel: &[u8],
        payload: &[u8],
        turn: &mut Turn,
    ) -> usize {
        let wanted = self.gateway_patterns.iter().filter(|name| glob::matches(name, channel)).count();
        if wanted > 0 {
            turn.events.push(channel, payload);
        }
        let mut receivers = wanted;
        let Turn { now, wake, .. } = turn;
        self.registry.receivers(channel, |client, pattern| {
            receivers += 1;
            let Some(Attached { outbox, protocol }) = self.clients.get(&client) else { return };
            let must_wake = outbox.push(*now, |out| {
                if client == publisher {
                    out.append(replies);
                }
                write_message(out, *protocol, pattern, channel, payload);
            });
            if must_wake {
                wake.push(outbox.clone());
            }
        });
        receivers
    }
}

/// Appends a published message as a subscriber gets it.
fn write_message(
    out: &mut Vec<u8>,
    protocol: Protocol,
    pattern: Option<&[u8]>,
    channel: &[u8],
    payload: &[u8],
) {
    match pattern {
        None => {
            write_push_header(out, protocol, 3);
            write_bulk(out, b"message");
        }
        Some(pattern) => {
            write_push_header(out, protocol, 4);
            write_bulk(out, b"pmessage");
            write_bulk(out, pattern);
        }
    }
    write_bulk(out, channel);
    write_bulk(out, payload);
}
