//! The table of commands, and the errors for commands that it doesn't have.

use super::{Context, ERROR_WORD_BYTES_MAX, Flow, Session, quotable, text_about};

pub(super) type Run = fn(&mut Session, &mut Context<'_>, &[&[u8]]) -> Flow;

/// One command, or one subcommand (`client|id`).
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) arity: Arity,
    pub(super) access: Access,
    pub(super) run: Run,
}

const fn spec(name: &'static str, arity: Arity, access: Access, run: Run) -> Spec {
    Spec { name, arity, access, run }
}

/// Every command. The search is linear, so the frequent ones come first. A command whose first argument is a command's name of its own is also
/// in [`CONTAINERS`]; one that is not queued by `MULTI`, in `transaction::AT_ONCE`; one that a broker without streams doesn't know, in
/// `streams::NAMES`.
pub(super) const COMMANDS: &[Spec] = &{
    use Access::{Always, BeforeAuth, Normal, WhileSubscribed};
    use Arity::{AtLeast, Exactly};
    [
        spec("publish", Exactly(3), Normal, Session::publish),
        spec("multi", Exactly(1), Normal, Session::multi),
        spec("exec", Exactly(1), Normal, Session::exec),
        spec("ping", AtLeast(1), WhileSubscribed, Session::ping),
        spec("subscribe", AtLeast(2), WhileSubscribed, Session::subscribe),
        spec("psubscribe", AtLeast(2), WhileSubscribed, Session::psubscribe),
        spec("unsubscribe", AtLeast(1), WhileSubscribed, Session::unsubscribe),
        spec("punsubscribe", AtLeast(1), WhileSubscribed, Session::punsubscribe),
        spec("spublish", Exactly(3), Normal, Session::spublish),
        spec("ssubscribe", AtLeast(2), WhileSubscribed, Session::ssubscribe),
        spec("sunsubscribe", AtLeast(1), WhileSubscribed, Session::sunsubscribe),
        spec("discard", Exactly(1), Normal, Session::discard),
        spec("xadd", AtLeast(5), Normal, Session::xadd),
        spec("xlen", Exactly(2), Normal, Session::xlen),
        spec("xrange", AtLeast(4), Normal, Session::xrange),
        spec("xdel", AtLeast(3), Normal, Session::xdel),
        spec("xread", AtLeast(4), Normal, Session::xread),
        spec("xgroup|create", AtLeast(5), Normal, Session::xgroup_create),
        spec("pexpire", Exactly(3), Normal, Session::pexpire),
        spec("del", AtLeast(2), Normal, Session::del),
        spec("watch", AtLeast(2), Normal, Session::watch),
        spec("unwatch", Exactly(1), Normal, Session::unwatch),
        spec("auth", AtLeast(2), BeforeAuth, Session::auth),
        spec("hello", AtLeast(1), BeforeAuth, Session::hello),
        spec("quit", AtLeast(1), Always, Session::quit),
        spec("reset", Exactly(1), Always, Session::reset),
        spec("echo", Exactly(2), Normal, Session::echo),
        spec("select", Exactly(2), Normal, Session::select),
        spec("time", Exactly(1), Normal, Session::time),
        spec("dbsize", Exactly(1), Normal, Session::dbsize),
        spec("info", AtLeast(1), Normal, Session::info),
        spec("config|get", AtLeast(3), Normal, Session::config_get),
        spec("command", AtLeast(1), Normal, Session::command),
        spec("command|count", Exactly(2), Normal, Session::command_count),
        spec("command|docs", AtLeast(2), Normal, Session::command_docs),
        spec("command|info", AtLeast(2), Normal, Session::command_info),
        spec("client|id", Exactly(2), Normal, Session::client_id),
        spec("client|getname", Exactly(2), Normal, Session::client_getname),
        spec("client|setname", Exactly(3), Normal, Session::client_setname),
        spec("client|setinfo", Exactly(4), Normal, Session::client_setinfo),
        spec("client|list", AtLeast(2), Normal, Session::client_list),
        spec("client|info", Exactly(2), Normal, Session::client_info),
        spec("client|kill", AtLeast(3), Normal, Session::client_kill),
        spec("client|no-evict", Exactly(3), Normal, Session::client_switch),
        spec("client|no-touch", Exactly(3), Normal, Session::client_switch),
        spec("pubsub|channels", AtLeast(2), Normal, Session::pubsub_channels),
        spec("pubsub|numsub", AtLeast(2), Normal, Session::pubsub_numsub),
        spec("pubsub|numpat", Exactly(2), Normal, Session::pubsub_numpat),
        spec("pubsub|shardchannels", AtLeast(2), Normal, Session::pubsub_shardchannels),
        spec("pubsub|shardnumsub", AtLeast(2), Normal, Session::pubsub_shardnumsub),
        spec("pubsub|help", Exactly(2), Normal, Session::pubsub_help),
    ]
};

/// Commands that need a subcommand.
const CONTAINERS: [&str; 4] = ["client", "pubsub", "config", "xgroup"];

/// How many words a command takes, including its name and subcommand.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arity {
    Exactly(usize),
    AtLeast(usize),
}

impl Arity {
    pub(super) const fn allows(self, words: usize) -> bool {
        match self {
            Self::Exactly(n) => words == n,
            Self::AtLeast(n) => words >= n,
        }
    }
}

/// When a client may run a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Also before it has given the password.
    BeforeAuth,
    /// Also while it is a RESP2 subscriber.
    WhileSubscribed,
    /// In both cases.
    Always,
    /// In neither case.
    Normal,
}

/// The command that these words name. The error is the reply's text.
pub(super) fn find(args: &[&[u8]]) -> Result<&'static Spec, Vec<u8>> {
    let is = |word: &&str| args[0].eq_ignore_ascii_case(word.as_bytes());
    let found = match CONTAINERS.iter().find(|&word| is(word)) {
        Some(container) if args.len() == 1 => return Err(wrong_arity(container)),
        Some(container) => subcommand(container, args[1]),
        None => match COMMANDS.iter().find(|spec| is(&spec.name)) {
            Some(spec) if spec.name == "command" && args.len() > 1 => subcommand(spec.name, args[1]),
            found => found,
        },
    };
    found.ok_or_else(|| unknown(args))
}

fn subcommand(container: &str, word: &[u8]) -> Option<&'static Spec> {
    COMMANDS.iter().find(|spec| {
        let name = spec.name.strip_prefix(container).and_then(|rest| rest.strip_prefix('|'));
        name.is_some_and(|name| word.eq_ignore_ascii_case(name.as_bytes()))
    })
}

/// The error for a command, or a subcommand, that doesn't exist.
pub(super) fn unknown(args: &[&[u8]]) -> Vec<u8> {
    let name = args[0];
    let mut containers = CONTAINERS.iter().chain(&["command"]);
    if let Some(container) = containers.find(|word| name.eq_ignore_ascii_case(word.as_bytes()))
        && args.len() > 1
    {
        let help = format!("'. Try {} HELP.", container.to_uppercase());
        return text_about("ERR unknown subcommand '", args[1], &help);
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
    let mut text = text_about("ERR unknown command '", name, "', with args beginning with: ");
    text.extend_from_slice(&list);
    text
}

/// The error for too few or too many words.
pub(super) fn wrong_arity(name: &str) -> Vec<u8> {
    format!("ERR wrong number of arguments for '{name}' command").into_bytes()
}
