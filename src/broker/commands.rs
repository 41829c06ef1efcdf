//! A client's session: one command in; reply bytes, and changes of the [`Hub`], out.
//!
//! Replies and errors are worded as redis-server 7 words them, because clients match on them. What is checked
//! before a command runs, and in which order, is `processCommand`'s: existence, number of arguments, the
//! password, and what RESP2 allows a subscriber. Then it runs, or is queued for `EXEC`.
//!
//! | file | what is in it |
//! |---|---|
//! | `table` | all of them by name: arguments, who may run them, and the function that does |
//! | `subscription` | `PUBLISH`, `SUBSCRIBE` and their like, `PUBSUB`, `PING` |
//! | `transaction` | `MULTI`, `EXEC`, `DISCARD`, `WATCH` |
//! | `connection` | `HELLO`, `AUTH`, `RESET` and what else is about the client's own connection |
//! | `clients` | `CLIENT` |
//! | `server` | `INFO`, `CONFIG`, `COMMAND`, `TIME` |

mod clients;
mod connection;
mod server;
mod subscription;
mod table;
mod transaction;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Instant;

use self::table::{Access, Spec, find, wrong_arity};
use self::transaction::Transaction;
use super::OutputLimits;
use super::hub::{Hub, Own, Publisher, Turn};
use super::peer::Peer;
use super::pubsub::{ClientId, Kind};
use crate::resp::{Protocol, write_error, write_integer};

/// The version that is told to clients: the first with everything that is supported here (`CLIENT SETINFO`).
const REDIS_VERSION: &str = "7.2.0";

/// How much of a foreign word an error repeats, in bytes.
const ERROR_WORD_BYTES_MAX: usize = 128;

/// What every session of a broker knows.
#[derive(Clone)]
pub(super) struct Settings {
    /// What `AUTH` must give; `None` lets everyone in.
    pub(super) password: Option<String>,
    /// Where the broker listens, for `INFO` and `CONFIG GET`.
    pub(super) host: IpAddr,
    /// See `host`.
    pub(super) port: u16,
    /// How many clients may be connected at once, for `CONFIG GET`.
    pub(super) clients_max: usize,
    /// How much output a client may leave unread. A transaction writes no more than that.
    pub(super) output: OutputLimits,
}

/// What is to happen after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// The next command.
    Continue,
    /// The replies so far must reach the outbox before anything is published: they say which messages may follow.
    Flush,
    /// The connection is closed once everything is written.
    Close,
}

/// One client's state besides its subscriptions and what others see of it ([`Peer`]).
#[derive(Debug)]
pub(super) struct Session {
    id: ClientId,
    protocol: Protocol,
    authenticated: bool,
    /// What has been queued since `MULTI`.
    transaction: Option<Transaction>,
    /// The name of the last command that exists.
    last_command: Option<&'static str>,
}

/// What a command works on.
struct Context<'a> {
    settings: &'a Settings,
    hub: &'a mut Hub,
    turn: &'a mut Turn,
    /// Where its reply goes.
    out: &'a mut Vec<u8>,
    /// While `EXEC` runs: the client's own messages, which go behind its reply.
    own_messages: Option<Vec<u8>>,
}

impl Context<'_> {
    fn ok(&mut self) -> Flow {
        self.out.extend_from_slice(b"+OK\r\n");
        Flow::Continue
    }

    fn integer(&mut self, value: usize) -> Flow {
        write_integer(self.out, i64::try_from(value).unwrap_or(i64::MAX));
        Flow::Continue
    }

    /// Answers with an error; `text` begins with its code.
    fn error(&mut self, text: impl AsRef<[u8]>) -> Flow {
        write_error(self.out, text.as_ref());
        Flow::Continue
    }

    /// Answers with an error that repeats a client's word between `before` and `after`.
    fn error_about(&mut self, before: &str, word: &[u8], after: &str) -> Flow {
        self.error(text_about(before, word, after))
    }

    /// Publishes in the name of a client: to a channel, or to a shard channel.
    fn publish(&mut self, id: ClientId, kind: Kind, args: &[&[u8]]) -> Flow {
        let own = match &mut self.own_messages {
            Some(messages) => Own::Aside(messages),
            None => Own::Behind(self.out),
        };
        let publisher = &mut Publisher { id, own };
        let receivers = match kind {
            Kind::ShardChannel => self.hub.publish_to_shard(publisher, args[1], args[2], self.turn),
            Kind::Channel | Kind::Pattern => self.hub.publish(publisher, args[1], args[2], self.turn),
        };
        self.integer(receivers)
    }
}

fn text_about(before: &str, word: &[u8], after: &str) -> Vec<u8> {
    let mut text = before.as_bytes().to_vec();
    text.extend_from_slice(quotable(word, ERROR_WORD_BYTES_MAX));
    text.extend_from_slice(after.as_bytes());
    text
}

/// As much of a word as an error may repeat: Redis prints it as a C string.
fn quotable(word: &[u8], bytes_max: usize) -> &[u8] {
    let printed = &word[..word.len().min(bytes_max)];
    printed.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// What a browser's request to this port begins with.
const HTTP_WORDS: [&str; 2] = ["post", "host:"];

impl Session {
    /// A client's session as it begins.
    pub(super) fn new(id: ClientId, settings: &Settings) -> Self {
        Self {
            id,
            protocol: Protocol::default(),
            authenticated: settings.password.is_none(),
            transaction: None,
            last_command: None,
        }
    }

    /// What the hub knows the client by.
    pub(super) const fn id(&self) -> ClientId {
        self.id
    }

    /// Whether the client has given the password, or none is asked for.
    pub(super) const fn authenticated(&self) -> bool {
        self.authenticated
    }

    /// Notes for others what the client did last, and that it did so at `now`.
    pub(super) fn was_active(&self, hub: &mut Hub, now: Instant) {
        if let Some(peer) = hub.peer_mut(self.id) {
            peer.last_command = self.last_command;
            peer.active = now;
        }
    }

    /// Runs one command, or queues it for `EXEC`; `args` begins with its name. The reply, if any, is appended to
    /// `out`.
    pub(super) fn execute(
        &mut self,
        args: &[&[u8]],
        settings: &Settings,
        hub: &mut Hub,
        turn: &mut Turn,
        out: &mut Vec<u8>,
    ) -> Flow {
        let Some(&name) = args.first() else { return Flow::Continue };
        let mut context = Context { settings, hub, turn, out, own_messages: None };
        if HTTP_WORDS.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes())) {
            // A page can make a browser send POST requests whose body is commands: nothing of it may run.
            return Flow::Close;
        }
        let found = find(args);
        self.last_command = found.as_ref().ok().map(|spec| spec.name);
        let spec = match found.and_then(|spec| self.admit(context.hub, spec, args)) {
            Ok(spec) => spec,
            Err(refusal) => return self.refuse(&mut context, &refusal),
        };
        if self.transaction.is_some() && !transaction::AT_ONCE.contains(&spec.name) {
            return self.queue(&mut context, spec, args);
        }
        (spec.run)(self, &mut context, args)
    }

    /// Whether a command that exists may run now; otherwise the error's text.
    fn admit(&self, hub: &Hub, spec: &'static Spec, args: &[&[u8]]) -> Result<&'static Spec, Vec<u8>> {
        if !spec.arity.allows(args.len()) {
            return Err(wrong_arity(spec.name));
        }
        if !self.authenticated && !matches!(spec.access, Access::Everyone | Access::Always) {
            return Err(b"NOAUTH Authentication required.".to_vec());
        }
        if !matches!(spec.access, Access::Subscribers | Access::Always) && self.is_bound(hub) {
            let text = format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed \
                 in this context",
                spec.name
            );
            return Err(text.into_bytes());
        }
        Ok(spec)
    }

    /// Whether the client is a RESP2 subscriber, for whom every array is a message.
    fn is_bound(&self, hub: &Hub) -> bool {
        self.protocol == Protocol::Resp2 && hub.registry.is_subscribed(self.id)
    }

    /// What others know of the client. Without an effect on a client that has just been killed.
    fn edit_peer(&self, context: &mut Context<'_>, edit: impl FnOnce(&mut Peer)) {
        if let Some(peer) = context.hub.peer_mut(self.id) {
            edit(peer);
        }
    }
}
