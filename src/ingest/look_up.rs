//! Looks up last values that workers keep in Redis (`LAST_VALUE_KEY`), for topics of which this gateway has seen no event yet.
//!
//! A task on the control side does this on connections of its own, so neither the feed nor a client's reply waits for it. If a
//! look-up fails, the topic has no value for now, and the next client that asks causes another look-up.
//!
//! Each key has its own `GET`, and these are pipelined: a Redis Cluster refuses an `MGET` whose keys belong to different nodes.
//! A node without a key names the node that has it (`MOVED`, `ASK`), and that one is asked.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::Command;
use super::redis::Server;
use super::redis::dial::{Address, Dialer};
use super::redis::error::{RedisError, Words};
use super::redis::session::Session;
use crate::bus::inbox::Sender;
use crate::limits;
use crate::market::{Kind, KindSet, Kinds, Subject};
use crate::resp::{Reply, ReplyLimits, RespError, write_command};

/// The placeholder for the type in `LAST_VALUE_KEY`.
const TYPE: &str = "{type}";

/// The types whose last values workers keep: all configured ones if `LAST_VALUE_KEY` has `{type}` in it, otherwise trades.
pub fn types_kept(prefix: &str, configured: &Kinds) -> KindSet {
    let kept = |kind: &Kind| prefix.contains(TYPE) || *kind == Kind::TRADE;
    configured.carried().filter(kept).collect()
}

/// The result of a look-up; `None` if there is no value.
pub type Found = (Subject, Option<Vec<u8>>);

/// The task's configuration.
#[derive(Debug, Clone)]
pub struct LastValueConfig {
    /// `REDIS_URL`.
    pub server: Server,
    /// `LAST_VALUE_KEY`.
    pub key_prefix: String,
    /// The names of the types.
    pub kinds: Kinds,
    /// `MAX_EVENT_BYTES`; a longer value counts as none.
    pub max_event_bytes: usize,
}

/// Looks up the topics that ingest asks for, until `shutdown`.
pub async fn run(
    config: LastValueConfig,
    mut asked: UnboundedReceiver<Vec<Subject>>,
    ingest: Sender<Command>,
    shutdown: CancellationToken,
) {
    let mut nodes = Nodes::new(config);
    while let Some(Some(mut subjects)) = shutdown.run_until_cancelled(asked.recv()).await {
        while subjects.len() < limits::LAST_VALUE_KEYS_MAX
            && let Ok(more) = asked.try_recv()
        {
            subjects.extend(more);
        }
        let mut subjects = subjects.into_iter().peekable();
        while subjects.peek().is_some() {
            let some: Vec<_> = subjects.by_ref().take(limits::LAST_VALUE_KEYS_MAX).collect();
            let answers = shutdown.run_until_cancelled(nodes.look_up(&some)).await;
            let Some(answers) = answers else { return };
            let (mut found, mut failed) = (Vec::new(), Vec::new());
            for (subject, answer) in some.into_iter().zip(answers) {
                match answer {
                    Ok(value) => found.push((subject, value)),
                    Err(Unanswered) => failed.push((subject, None)),
                }
            }
            for (found, failed) in [(found, false), (failed, true)] {
                if !found.is_empty() {
                    // The send fails only if ingest has ended.
                    let _ = ingest.send(Command::LookedUp { found, failed }, 0);
                }
            }
        }
    }
}

/// A key could not be looked up.
#[derive(Debug, Clone, Copy)]
struct Unanswered;

/// Connections to the server, or to the nodes of its cluster that have been asked so far.
#[derive(Debug)]
struct Nodes {
    config: LastValueConfig,
    limits: ReplyLimits,
    nodes: HashMap<Address, Node>,
    /// When a failure was last logged.
    logged: Option<Instant>,
}

#[derive(Debug)]
struct Node {
    dialer: Dialer,
    session: Option<Session>,
}

/// A node's answer about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// The bytes under the key; `None` if there are none, or none that could be an event.
    Value(Option<Vec<u8>>),
    /// Another node has the key. With `asking` this is true only for now (`ASK`): the key is being moved there.
    Elsewhere { address: Address, asking: bool },
    /// The key could not be looked up; the text says why.
    Failed(String),
}

impl Nodes {
    fn new(config: LastValueConfig) -> Self {
        let limits = ReplyLimits { bulk_bytes_max: config.max_event_bytes, ..ReplyLimits::DEFAULT };
        Self { config, limits, nodes: HashMap::new(), logged: None }
    }

    /// The value of each subject, in order.
    async fn look_up(&mut self, subjects: &[Subject]) -> Vec<Result<Option<Vec<u8>>, Unanswered>> {
        let keys = keys(&self.config.key_prefix, &self.config.kinds, subjects);
        let home = Answer::Elsewhere { address: self.config.server.address.clone(), asking: false };
        let mut answers = vec![home; keys.len()];
        for _ in 0..=limits::LAST_VALUE_REDIRECTIONS_MAX {
            for ((address, asking), places) in by_node(&answers) {
                let of_node: Vec<_> = places.iter().map(|place| keys[*place].as_str()).collect();
                let of_node = self.ask(&address, asking, &of_node).await;
                for (place, answer) in places.into_iter().zip(of_node) {
                    answers[place] = answer;
                }
            }
        }
        self.log_failures(&keys, &answers);
        let value = |answer| match answer {
            Answer::Value(value) => Ok(value),
            Answer::Elsewhere { .. } | Answer::Failed(_) => Err(Unanswered),
        };
        answers.into_iter().map(value).collect()
    }

    /// One node's answer about each key.
    async fn ask(&mut self, address: &Address, asking: bool, keys: &[&str]) -> Vec<Answer> {
        let node = node(&mut self.nodes, &self.config.server, address);
        let mut answers = Vec::with_capacity(keys.len());
        // The server may have closed an idle connection meanwhile. So a failure on one is followed by a second try.
        let mut may_be_closed = node.session.is_some();
        while answers.len() < keys.len() {
            let before = answers.len();
            let rest = &keys[before..];
            let outcome = match node.open(&self.config.server).await {
                Ok(session) => get(session, address, asking, rest, &self.limits, &mut answers).await,
                Err(error) => Err(error),
            };
            let Err(error) = outcome else { break };
            node.session = None;
            match error {
                RedisError::NotRedis(RespError::BulkTooLong { .. }) => answers.push(Answer::Value(None)),
                _ if may_be_closed && answers.len() == before => {}
                error => answers.resize_with(keys.len(), || Answer::Failed(format!("{address}: {error}"))),
            }
            may_be_closed = false;
        }
        answers
    }

    /// Logs one line for all failed look-ups, at most once in [`limits::LAST_VALUE_LOG_INTERVAL`].
    fn log_failures(&mut self, keys: &[String], answers: &[Answer]) {
        let failures = answers.iter().zip(keys).filter_map(|(answer, key)| match answer {
            Answer::Value(_) => None,
            Answer::Elsewhere { address, .. } => {
                Some((key, format!("the nodes redirect to each other, last to {address}")))
            }
            Answer::Failed(reason) => Some((key, reason.clone())),
        });
        let mut failures = failures.peekable();
        let Some((key, reason)) = failures.peek().cloned() else { return };
        if self.logged.is_none_or(|at| at.elapsed() >= limits::LAST_VALUE_LOG_INTERVAL) {
            self.logged = Some(Instant::now());
            tracing::warn!(key, reason, failed = failures.count(), "last values could not be looked up");
        }
    }
}

/// The indices in `answers` of the keys that another node has, by that node.
fn by_node(answers: &[Answer]) -> BTreeMap<(Address, bool), Vec<usize>> {
    let mut by_node: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (place, answer) in answers.iter().enumerate() {
        if let Answer::Elsewhere { address, asking } = answer {
            by_node.entry((address.clone(), *asking)).or_default().push(place);
        }
    }
    by_node
}

/// The node at an address. Drops all others if there are [`limits::LAST_VALUE_NODES_MAX`] already.
fn node<'n>(nodes: &'n mut HashMap<Address, Node>, server: &Server, address: &Address) -> &'n mut Node {
    if nodes.len() >= limits::LAST_VALUE_NODES_MAX && !nodes.contains_key(address) {
        nodes.clear();
    }
    let new = || Node { dialer: server.dialer(address.clone()), session: None };
    nodes.entry(address.clone()).or_insert_with(new)
}

impl Node {
    /// The open connection to the node, or a new one.
    async fn open(&mut self, server: &Server) -> Result<&mut Session, RedisError> {
        match &mut self.session {
            Some(session) => Ok(session),
            none => {
                let session = Session::open(&mut self.dialer, &server.login, &server.client_name).await?;
                self.dialer.note_success();
                Ok(none.insert(session))
            }
        }
    }
}

/// Sends pipelined GETs for `keys` and appends the answers. If the connection breaks, those before that have been appended.
async fn get(
    session: &mut Session,
    node: &Address,
    asking: bool,
    keys: &[&str],
    limits: &ReplyLimits,
    answers: &mut Vec<Answer>,
) -> Result<(), RedisError> {
    let mut request = Vec::new();
    for key in keys {
        if asking {
            write_command(&mut request, &[b"ASKING"]);
        }
        write_command(&mut request, &[b"GET", key.as_bytes()]);
    }
    session.send("GET", &request).await?;
    for _ in keys {
        if asking {
            session.reply("ASKING", limits, |_| ()).await?;
        }
        let answer = session.reply("GET", limits, |reply| answer(reply, node)).await?;
        answers.push(answer);
    }
    Ok(())
}

fn answer(reply: Reply<'_>, node: &Address) -> Answer {
    match reply {
        Reply::Bulk(value) => Answer::Value(Some(value.to_vec())),
        Reply::Error(text) => refusal(&Words::new(text), node),
        _ => Answer::Value(None),
    }
}

/// The answer that an error reply to `GET` amounts to.
fn refusal(words: &Words, node: &Address) -> Answer {
    match words.code() {
        // The key holds a list or a hash, which is no last value.
        "WRONGTYPE" => Answer::Value(None),
        code @ ("MOVED" | "ASK") => match redirection(words.rest(), node) {
            Some(address) => Answer::Elsewhere { address, asking: code == "ASK" },
            None => Answer::Failed(format!("{node} redirects to an address that can't be read: {words}")),
        },
        "NOPERM" => Answer::Failed(format!(
            "{words} (LAST_VALUE_KEY needs ACL SETUSER <user> +get and ~ with its keys)"
        )),
        _ => Answer::Failed(words.to_string()),
    }
}

/// The address in `3999 10.0.0.2:6381`, the text behind `MOVED` or `ASK`.
fn redirection(rest: &str, node: &Address) -> Option<Address> {
    let (_slot, place) = rest.split_once(' ')?;
    node.other_node(place)
}

fn keys(prefix: &str, kinds: &Kinds, subjects: &[Subject]) -> Vec<String> {
    let key =
        |subject: &Subject| format!("{}{}", prefix.replace(TYPE, kinds.name(subject.kind)), subject.name);
    subjects.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::SymbolCase;

    #[test]
    fn a_key_is_the_prefix_and_the_symbol() {
        let all: Kinds = "trade,quote,mine".parse().unwrap();
        assert_eq!(types_kept("last:trade:", &all), [Kind::TRADE].into_iter().collect());
        assert_eq!(types_kept("last:{type}:", &all), all.carried().collect());
        let subject = |kind| Subject::parse(kind, b"btc-usd", SymbolCase::Upper).unwrap();
        let subjects: Vec<_> = all.carried().map(subject).collect();
        assert_eq!(
            keys("last:{type}:", &all, &subjects),
            ["last:trade:BTC-USD", "last:quote:BTC-USD", "last:mine:btc-usd"]
        );
        assert_eq!(keys("x", &all, &subjects[..1]), ["xBTC-USD"]);
    }

    #[test]
    fn a_redirection_names_a_node() {
        let tcp = |host: &str, port, tls| Address::Tcp { host: host.to_owned(), port, tls };
        let node = tcp("redis.test", 6379, true);
        let unix = Address::Unix("/redis.sock".into());
        let elsewhere = |address, asking| Answer::Elsewhere { address, asking };
        for (said, by, expected) in [
            ("MOVED 3999 10.0.0.2:6381", &node, elsewhere(tcp("10.0.0.2", 6381, true), false)),
            ("ASK 3999 node-2.test:6381", &node, elsewhere(tcp("node-2.test", 6381, true), true)),
            ("MOVED 3999 fd00::2:6381", &node, elsewhere(tcp("fd00::2", 6381, true), false)),
            ("MOVED 3999 :6381", &node, elsewhere(tcp("redis.test", 6381, true), false)),
            ("MOVED 3999 10.0.0.2:6381", &unix, elsewhere(tcp("10.0.0.2", 6381, false), false)),
            ("WRONGTYPE Operation against a key", &node, Answer::Value(None)),
        ] {
            assert_eq!(refusal(&Words::new(said.as_bytes()), by), expected, "{said}");
        }
        for (said, by) in [
            ("MOVED", &node),
            ("MOVED 3999", &node),
            ("MOVED 3999 host", &node),
            ("MOVED 3999 host:port", &node),
            ("MOVED 3999 host:0", &node),
            ("MOVED 3999 ?:6381", &node),
            ("MOVED 3999 :6381", &unix),
            ("LOADING Redis is loading the dataset in memory", &node),
        ] {
            let Answer::Failed(reason) = refusal(&Words::new(said.as_bytes()), by) else { panic!("{said}") };
            assert!(reason.contains(said), "{reason}");
        }
    }
}
