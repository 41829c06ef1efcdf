//! A client's session: takes one command, appends the reply's bytes and changes the [`Hub`].
//!
//! Replies and errors have redis-server 7's words, because clients match on them. A command is checked as in its
//! `processCommand`, in the same order: existence, number of arguments, password, and what RESP2 allows a subscriber.
//! Then it runs, or is queued for `EXEC`.
//!
//! | file | content |
//! |---|---|
//! | `table` | each command's name, number of arguments, access and function |
//! | `subscription` | `PUBLISH`, `SUBSCRIBE` and their like, `PUBSUB`, `PING` |
//! | `transaction` | `MULTI`, `EXEC`, `DISCARD`, `WATCH` |
//! | `connection` | commands about the client's own connection: `HELLO`, `AUTH`, `RESET` and others |
//! | `clients` | `CLIENT` |
//! | `streams` | `XADD`, `XRANGE` and their like, where the gateway keeps inboxes |
//! | `server` | `INFO`, `CONFIG`, `COMMAND`, `TIME` |

mod clients;
mod connection;
mod server;
mod streams;
mod subscription;
mod table;
mod transaction;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Instant;

use self::table::{Access, Spec, find, unknown, wrong_arity};
use self::transaction::Transaction;
use super::OutputLimits;
use super::hub::{Hub, OwnMessages, Publisher, Turn};
use super::peer::Peer;
use super::pubsub::{ClientId, Kind};
use crate::resp::{Protocol, write_error, write_integer};

/// The version that clients are told: the first that has all commands of the broker (`CLIENT SETINFO` is the newest).
const REDIS_VERSION: &str = "7.2.0";

/// How many bytes of a client's word an error repeats.
const ERROR_WORD_BYTES_MAX: usize = 128;

/// The broker's settings, the same for every session.
#[derive(Clone)]
pub(super) struct Settings {
    /// The password that `AUTH` must give; `None` asks for none.
    pub(super) password: Option<String>,
    /// The address that the broker listens on, for `CONFIG GET`.
    pub(super) host: IpAddr,
    /// The port that the broker listens on, for `INFO` and `CONFIG GET`.
    pub(super) port: u16,
    /// How many clients may be connected at once, for `CONFIG GET`.
    pub(super) clients_max: usize,
    /// How many bytes may wait for a client. They bound the reply of a transaction too.
    pub(super) output: OutputLimits,
}

/// How the turn goes on after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Run the next command.
    Continue,
    /// Move the replies to the outbox before anything else is published: they decide which messages may follow.
    Flush,
    /// Close the connection once everything is written.
    Close,
}

/// One client's state. Its subscriptions and the part that other clients see ([`Peer`]) are in the hub.
#[derive(Debug)]
pub(super) struct Session {
    id: ClientId,
    protocol: Protocol,
    authenticated: bool,
    /// The commands queued since `MULTI`; `None` outside a transaction.
    transaction: Option<Transaction>,
    /// The name of the last command; `None` if the broker doesn't know it.
    last_command: Option<&'static str>,
}

/// The state that a command works on.
struct Context<'a> {
    settings: &'a Settings,
    hub: &'a mut Hub,
    turn: &'a mut Turn,
    /// Replies are appended here.
    out: &'a mut Vec<u8>,
    /// While `EXEC` runs: messages that the client publishes to itself. They go behind the reply to `EXEC`.
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

    /// Answers with an error; `text` begins with the error's code.
    fn error(&mut self, text: impl AsRef<[u8]>) -> Flow {
        write_error(self.out, text.as_ref());
        Flow::Continue
    }

    /// Answers with an error that repeats a client's word between `before` and `after`.
    fn error_about(&mut self, before: &str, word: &[u8], after: &str) -> Flow {
        self.error(text_about(before, word, after))
    }

    /// Publishes a message of client `id`; `args` are the words of `PUBLISH` or `SPUBLISH`.
    fn publish(&mut self, id: ClientId, kind: Kind, args: &[&[u8]]) -> Flow {
        let own = match &mut self.own_messages {
            Some(messages) => OwnMessages::AfterExec(messages),
            None => OwnMessages::AfterReplies(self.out),
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

/// The part of a word that an error may repeat: at most `bytes_max`, and up to the first NUL, as Redis prints it as a
/// C string.
fn quotable(word: &[u8], bytes_max: usize) -> &[u8] {
    let printed = &word[..word.len().min(bytes_max)];
    printed.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// First words by which an HTTP request shows itself.
const HTTP_WORDS: [&str; 2] = ["post", "host:"];

impl Session {
    /// The session of a client that has just connected.
    pub(super) fn new(id: ClientId, settings: &Settings) -> Self {
        Self {
            id,
            protocol: Protocol::default(),
            authenticated: settings.password.is_none(),
            transaction: None,
            last_command: None,
        }
    }

    /// The client's id in the hub.
    pub(super) const fn id(&self) -> ClientId {
        self.id
    }

    /// Whether the client has given the password, or the broker has none.
    pub(super) const fn authenticated(&self) -> bool {
        self.authenticated
    }

    /// Notes the client's last command and its time in the hub.
    pub(super) fn note_activity(&self, hub: &mut Hub, now: Instant) {
        if let Some(peer) = hub.peer_mut(self.id) {
            peer.last_command = self.last_command;
            peer.active = now;
        }
    }

    /// Runs one command, or queues it for `EXEC`; `args` begins with its name. Appends the reply, if any, to `out`.
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
            // A web page can make a browser send a POST request with commands in its body. None of them may run.
            return Flow::Close;
        }
        // Without streams the broker doesn't know their commands.
        let is_known = context.hub.streams.is_some()
            || !streams::NAMES.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes()));
        let found = if is_known { find(args) } else { Err(unknown(args)) };
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

    /// The command, if it may run now; otherwise the error's text.
    fn admit(&self, hub: &Hub, spec: &'static Spec, args: &[&[u8]]) -> Result<&'static Spec, Vec<u8>> {
        if !spec.arity.allows(args.len()) {
            return Err(wrong_arity(spec.name));
        }
        if !self.authenticated && !matches!(spec.access, Access::BeforeAuth | Access::Always) {
            return Err(b"NOAUTH Authentication required.".to_vec());
        }
        if !matches!(spec.access, Access::WhileSubscribed | Access::Always) && self.is_resp2_subscriber(hub) {
            let text = format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed \
                 in this context",
                spec.name
            );
            return Err(text.into_bytes());
        }
        Ok(spec)
    }

    /// Whether the client speaks RESP2 and has subscriptions. Such a client takes every array for a message.
    fn is_resp2_subscriber(&self, hub: &Hub) -> bool {
        self.protocol == Protocol::Resp2 && hub.registry.is_subscribed(self.id)
    }

    /// Changes the part of the client that others see. Does nothing if the client has just been killed.
    fn edit_peer(&self, context: &mut Context<'_>, edit: impl FnOnce(&mut Peer)) {
        if let Some(peer) = context.hub.peer_mut(self.id) {
            edit(peer);
        }
    }
}
