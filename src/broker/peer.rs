//! A connected client's entry in the hub (all but its subscriptions), and its line in `CLIENT LIST`.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use super::outbox::Outbox;
use super::pubsub::{ClientId, Kind, Registry};
use crate::resp::Protocol;

/// The only user.
pub(super) const USER: &str = "default";

/// A client as other clients see it. Its own session writes it; theirs read it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) outbox: Arc<Outbox>,
    /// How its messages are written.
    pub(super) protocol: Protocol,
    pub(super) endpoints: Endpoints,
    /// The name from `CLIENT SETNAME`; empty for none.
    pub(super) name: Vec<u8>,
    /// The library from `CLIENT SETINFO`.
    pub(super) library: Library,
    /// The database that it selected. All of them are empty.
    pub(super) database: u32,
    /// How many commands it has queued since `MULTI`; `None` outside a transaction.
    pub(super) queued_commands: Option<usize>,
    /// Memory of its queued commands, and of executed ones until the gateway has taken their events.
    pub(super) queued_bytes: usize,
    /// The name of its last command; `None` before the first one.
    pub(super) last_command: Option<&'static str>,
    /// When its last command came; before the first one, when it connected.
    pub(super) active: Instant,
    /// Whether `CLIENT KILL` has ended it. Its task is still to notice.
    pub(super) killed: bool,
    connected: Instant,
}

/// The library that a client says it uses; both are empty until it says so.
#[derive(Debug, Default)]
pub(super) struct Library {
    pub(super) name: Vec<u8>,
    pub(super) version: Vec<u8>,
}

/// The two ends of a client's connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Endpoints {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) descriptor: RawFd,
}

/// The types of clients that Redis tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientType {
    Normal,
    /// Has a subscription.
    PubSub,
    /// No client of this broker is one.
    Master,
    /// No client of this broker is one.
    Replica,
}

impl ClientType {
    /// Reads the name of a type as in `CLIENT LIST TYPE` and `CLIENT KILL TYPE`.
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        let names = [
            ("normal", Self::Normal),
            ("slave", Self::Replica),
            ("replica", Self::Replica),
            ("pubsub", Self::PubSub),
            ("master", Self::Master),
        ];
        names.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())).map(|(_, kind)| *kind)
    }
}

impl Peer {
    pub(super) fn new(outbox: Arc<Outbox>, endpoints: Endpoints, now: Instant) -> Self {
        Self {
            outbox,
            protocol: Protocol::default(),
            endpoints,
            name: Vec::new(),
            library: Library::default(),
            database: 0,
            queued_commands: None,
            queued_bytes: 0,
            last_command: None,
            active: now,
            killed: false,
            connected: now,
        }
    }

    /// Appends the client's line of `CLIENT LIST`, as redis-server 7.2 writes it. Fields that the broker doesn't
    /// measure (buffers for input and replies) are 0.
    pub(super) fn write_line(&self, id: ClientId, registry: &Registry, now: Instant, out: &mut Vec<u8>) {
        let seconds = |since: Instant| now.saturating_duration_since(since).as_secs();
        let Endpoints { peer, local, descriptor } = self.endpoints;
        let (channels, patterns, shard_channels) = (
            registry.count(id, Kind::Channel),
            registry.count(id, Kind::Pattern),
            registry.count(id, Kind::ShardChannel),
        );
        let flags = match (registry.is_subscribed(id), self.queued_commands) {
            (false, None) => "N",
            (true, None) => "P",
            (false, Some(_)) => "x",
            (true, Some(_)) => "Px",
        };
        let multi = self.queued_commands.map_or_else(|| "-1".to_owned(), |commands| commands.to_string());
        let queued_bytes = self.queued_bytes;
        let output_bytes = self.outbox.queued_bytes();
        let total_bytes = queued_bytes + output_bytes + registry.bytes_of(id);
        out.extend_from_slice(
            format!("id={} addr={peer} laddr={local} fd={descriptor} name=", id.0).as_bytes(),
        );
        out.extend_from_slice(&self.name);
        out.extend_from_slice(
            format!(
                " age={} idle={} flags={flags} db={} sub={channels} psub={patterns} ssub={shard_channels} \
                 multi={multi} qbuf=0 qbuf-free=0 argv-mem=0 multi-mem={queued_bytes} rbs=0 rbp=0 obl=0 oll=0 \
                 omem={output_bytes} tot-mem={total_bytes} events=r cmd={} user={USER} redir=-1 resp={} \
                 lib-name=",
                seconds(self.connected),
                seconds(self.active),
                self.database,
                self.last_command.unwrap_or("NULL"),
                self.protocol.number(),
            )
            .as_bytes(),
        );
        out.extend_from_slice(&self.library.name);
        out.extend_from_slice(b" lib-ver=");
        out.extend_from_slice(&self.library.version);
        out.push(b'\n');
    }
}
