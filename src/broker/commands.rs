//! A client's session: one command in; reply bytes, and changes of the [`Hub`], out.
//!
//! Replies and errors are worded as redis-server 7 words them, because clients match on them. What is checked
//! before a command runs, and in which order, is `processCommand`'s: existence, number of arguments, the
//! password, and what RESP2 allows a subscriber.

mod connection;
mod subscription;

#[cfg(test)]
mod tests;

use super::hub::{Hub, Turn};
use super::pubsub::ClientId;
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
    /// The port, for `INFO`.
    pub(super) port: u16,
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

/// One client's state besides its subscriptions.
#[derive(Debug)]
pub(super) struct Session {
    id: ClientId,
    protocol: Protocol,
    authenticated: bool,
    /// As `CLIENT SETNAME` set it; empty for none.
    name: Vec<u8>,
}

/// What a command works on.
struct Context<'a> {
    settings: &'a Settings,
    hub: &'a mut Hub,
    turn: &'a mut Turn,
    /// Where its reply goes.
    out: &'a mut Vec<u8>,
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

    fn wrong_arity(&mut self, name: &str) -> Flow {
        self.error(format!("ERR wrong number of arguments for '{name}' command"))
    }

    /// Answers with an error that repeats a client's word between `before` and `after`.
    fn error_about(&mut self, before: &str, word: &[u8], after: &str) -> Flow {
        let mut text = before.as_bytes().to_vec();
        text.extend_from_slice(quotable(word, ERROR_WORD_BYTES_MAX));
        text.extend_from_slice(after.as_bytes());
        self.error(text)
    }
}

/// As much of a word as an error may repeat: Redis prints it as a C string.
fn quotable(word: &[u8], bytes_max: usize) -> &[u8] {
    let printed = &word[..word.len().min(bytes_max)];
    printed.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// How many words a command takes, its name and subcommand among them.
#[derive(Clone, Copy)]
enum Arity {
    Exactly(usize),
    AtLeast(usize),
}

impl Arity {
    const fn allows(self, words: usize) -> bool {
        match self {
            Self::Exactly(n) => words == n,
            Self::AtLeast(n) => words >= n,
        }
    }
}

/// Who may run a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Also who has yet to give the password.
    Everyone,
    /// Also a RESP2 subscriber.
    Subscribers,
    /// Both.
    Always,
    /// Neither.
    Normal,
}

type Run = fn(&mut Session, &mut Context<'_>, &[&[u8]]) -> Flow;

/// One command, or one subcommand (`client|id`).
struct Spec {
    name: &'static str,
    arity: Arity,
    access: Access,
    run: Run,
}

const fn spec(name: &'static str, arity: Arity, access: Access, run: Run) -> Spec {
    Spec { name, arity, access, run }
}

/// Every command; the hot one first, since they are looked up in turn.
const COMMANDS: &[Spec] = &{
    use Access::{Always, Everyone, Normal, Subscribers};
    use Arity::{AtLeast, Exactly};
    [
        spec("publish", Exactly(3), Normal, Session::publish),
        spec("ping", AtLeast(1), Subscribers, Session::ping),
        spec("subscribe", AtLeast(2), Subscribers, Session::subscribe),
        spec("psubscribe", AtLeast(2), Subscribers, Session::psubscribe),
        spec("unsubscribe", AtLeast(1), Subscribers, Session::unsubscribe),
        spec("punsubscribe", AtLeast(1), Subscribers, Session::punsubscribe),
        spec("auth", AtLeast(2), Everyone, Session::auth),
        spec("hello", AtLeast(1), Everyone, Session::hello),
        spec("quit", AtLeast(1), Always, Session::quit),
        spec("reset", Exactly(1), Always, Session::reset),
        spec("echo", Exactly(2), Normal, Session::echo),
        spec("select", Exactly(2), Normal, Session::select),
        spec("info", AtLeast(1), Normal, Session::info),
        spec("command", AtLeast(1), Normal, Session::command),
        spec("command|count", Exactly(2), Normal, Session::command_count),
        spec("command|docs", AtLeast(2), Normal, Session::command_docs),
        spec("command|info", AtLeast(2), Normal, Session::command_info),
        spec("client|id", Exactly(2), Normal, Session::client_id),
        spec("client|getname", Exactly(2), Normal, Session::client_getname),
        spec("client|setname", Exactly(3), Normal, Session::client_setname),
        spec("client|setinfo", Exactly(4), Normal, Session::client_setinfo),
        spec("client|no-evict", Exactly(3), Normal, Session::client_switch),
        spec("client|no-touch", Exactly(3), Normal, Session::client_switch),
        spec("pubsub|channels", AtLeast(2), Normal, Session::pubsub_channels),
        spec("pubsub|numsub", AtLeast(2), Normal, Session::pubsub_numsub),
        spec("pubsub|numpat", Exactly(2), Normal, Session::pubsub_numpat),
    ]
};

/// Commands that do nothing without a subcommand.
const CONTAINERS: [&str; 2] = ["client", "pubsub"];

/// What a browser's request to this port begins with.
const HTTP_WORDS: [&str; 2] = ["post", "host:"];

impl Session {
    /// A client's session as it begins.
    pub(super) fn new(id: ClientId, settings: &Settings) -> Self {
        Self {
            id,
            protocol: Protocol::default(),
            authenticated: settings.password.is_none(),
            name: Vec::new(),
        }
    }

    /// Whether the client has given the password, or none is asked for.
    pub(super) const fn authenticated(&self) -> bool {
        self.authenticated
    }

    /// Runs one command; `args` begins with its name. The reply, if any, is appended to `out`.
    pub(super) fn execute(
        &mut self,
        args: &[&[u8]],
        settings: &Settings,
        hub: &mut Hub,
        turn: &mut Turn,
        out: &mut Vec<u8>,
    ) -> Flow {
        let Some(&name) = args.first() else { return Flow::Continue };
        let mut context = Context { settings, hub, turn, out };
        let is = |word: &&str| name.eq_ignore_ascii_case(word.as_bytes());
        if HTTP_WORDS.iter().any(is) {
            // A page can make a browser send POST requests whose body is commands: nothing of it may run.
            return Flow::Close;
        }
        let found = match CONTAINERS.iter().find(|&word| is(word)) {
            Some(container) if args.len() == 1 => return context.wrong_arity(container),
            Some(container) => subcommand(container, args[1]),
            None => match COMMANDS.iter().find(|spec| is(&spec.name)) {
                Some(spec) if spec.name == "command" && args.len() > 1 => subcommand(spec.name, args[1]),
                found => found,
            },
        };
        let Some(spec) = found else { return unknown(&mut context, args) };
        if !spec.arity.allows(args.len()) {
            return context.wrong_arity(spec.name);
        }
        if !self.authenticated && !matches!(spec.access, Access::Everyone | Access::Always) {
            return context.error("NOAUTH Authentication required.");
        }
        if !matches!(spec.access, Access::Subscribers | Access::Always) && self.is_bound(context.hub) {
            return context.error(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed \
                 in this context",
                spec.name
            ));
        }
        (spec.run)(self, &mut context, args)
    }

    /// Whether the client is a RESP2 subscriber, for whom every array is a message.
    fn is_bound(&self, hub: &Hub) -> bool {
        self.protocol == Protocol::Resp2 && hub.registry.count(self.id) > 0
    }
}

fn subcommand(container: &str, word: &[u8]) -> Option<&'static Spec> {
    COMMANDS.iter().find(|spec| {
        let name = spec.name.strip_prefix(container).and_then(|rest| rest.strip_prefix('|'));
        name.is_some_and(|name| word.eq_ignore_ascii_case(name.as_bytes()))
    })
}

/// The error for a command, or a subcommand, that doesn't exist.
fn unknown(context: &mut Context<'_>, args: &[&[u8]]) -> Flow {
    let name = args[0];
    let container =
        ["command", "client", "pubsub"].iter().find(|word| name.eq_ignore_ascii_case(word.as_bytes()));
    if let Some(container) = container {
        let help = format!("'. Try {} HELP.", container.to_uppercase());
        return context.error_about("ERR unknown subcommand '", args[1], &help);
    }
    let mut list = Vec::new();
    for arg in &args[1..] {
        if list.len() >= ERROR_WORD_BYTES_MAX {
            break;
        }
        let room = ERROR_WORD_BYTES_MAX - list.len();
        list.push(b'\'');
        list.extend_from_slice(quotable(arg, room));
        list.extend_from_slice(b"' ");
    }
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(quotable(name, ERROR_WORD_BYTES_MAX));
    text.extend_from_slice(b"', with args beginning with: ");
    text.extend_from_slice(&list);
    context.error(text)
}
