//! The embedded broker says what redis-server says, byte for byte: the same commands are sent to both.
//!
//! What must differ is left out: versions and ids (`HELLO`, `INFO`, `CLIENT ID`), the table of commands, what
//! newer servers added, and whatever lists a hash table in its own order.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use proptest::prelude::*;
use tempfile::TempDir;
use ws_gateway::broker::EmbeddedConfig;
use ws_gateway::resp::{Progress, Reply, ReplyLimits, parse_reply, write_command};

use crate::support::broker::{Broker, config};

/// A redis-server on a socket in a directory of its own.
struct Server {
    process: Child,
    directory: TempDir,
}

impl Server {
    fn start(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--databases", "1", "--unixsocket", "redis.sock"])
            .args(options)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let mut server = Self { process, directory };
        while UnixStream::connect(server.socket()).is_err() {
            assert_eq!(server.process.try_wait().expect("a child"), None, "redis-server has ended");
            std::thread::yield_now();
        }
        server
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Everything that the server says to these bytes until it closes.
    fn answer(&self, bytes: &[u8]) -> Vec<String> {
        converse(UnixStream::connect(self.socket()).expect("the server runs"), bytes)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill().and_then(|()| self.process.wait());
    }
}

fn broker_answer(addr: SocketAddr, bytes: &[u8]) -> Vec<String> {
    converse(TcpStream::connect(addr).expect("the broker runs"), bytes)
}

fn converse(stream: impl Read + Write, bytes: &[u8]) -> Vec<String> {
    replies(&exchange(stream, bytes))
}

/// Sends, and reads until the other side closes.
fn exchange(mut stream: impl Read + Write, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).expect("it reads");
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("it closes in peace");
    said
}

/// The replies as text, one by one; what is no reply is left whole.
fn replies(said: &[u8]) -> Vec<String> {
    let (mut replies, mut rest) = (Vec::new(), said);
    while let Ok(Progress::Done { used_bytes, .. }) = parse_reply(rest, &ReplyLimits::DEFAULT) {
        replies.push(rest[..used_bytes].escape_ascii().to_string());
        rest = &rest[used_bytes..];
    }
    if !rest.is_empty() {
        replies.push(rest.escape_ascii().to_string());
    }
    replies
}

/// Commands of words without spaces, and a `QUIT` so that the server closes.
fn commands<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines.into_iter().chain(["QUIT"]) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        write_command(&mut bytes, &words);
    }
    bytes
}

/// Sends the same to both and compares. A gateway without patterns is no subscriber.
async fn same(server_options: &[&str], setup: EmbeddedConfig, conversations: Vec<Vec<u8>>) {
    let broker = Broker::start(EmbeddedConfig { gateway_patterns: Vec::new(), ..setup }).await;
    let (server, addr) = (Server::start(server_options), broker.addr);
    tokio::task::spawn_blocking(move || {
        for bytes in conversations {
            let (expected, said) = (server.answer(&bytes), broker_answer(addr, &bytes));
            assert_eq!(said, expected, "to {}", bytes.escape_ascii());
            assert!(!expected.is_empty() || bytes.starts_with(b"POST"), "{}", bytes.escape_ascii());
        }
    })
    .await
    .expect("both say the same");
    broker.stop().await;
}

#[tokio::test]
async fn commands_and_their_errors() {
    let single = "PING; ping hello; PING a b; ECHO; ECHO a; ECHO a b; SELECT 0; SELECT 1; SELECT a; SELECT; \
        SELECT -1; SELECT 99999999999999999999; QUIT; QUIT a; RESET; RESET a; FOO; FOO a b c; foo'bar; \
        AUTH; AUTH x; AUTH default x; AUTH other x; AUTH a b c; HELLO 4; HELLO abc; HELLO 2 FOO; \
        HELLO 2 SETNAME; HELLO 2 AUTH default; HELLO 2 AUTH other x; HELLO 3 AUTH; HELLO 1; HELLO -3; \
        CLIENT; CLIENT FOO; client foo a; CLIENT SETNAME; CLIENT SETNAME a b; CLIENT SETNAME a\tb; \
        CLIENT SETNAME a; CLIENT GETNAME; CLIENT GETNAME a; CLIENT ID a; CLIENT NO-EVICT on; \
        CLIENT NO-EVICT off; CLIENT NO-EVICT maybe; CLIENT NO-EVICT; PUBSUB; PUBSUB FOO; PUBSUB FOO a b; \
        PUBSUB CHANNELS; PUBSUB CHANNELS a; PUBSUB CHANNELS a b; PUBSUB NUMSUB; PUBSUB NUMSUB a b a; \
        PUBSUB NUMPAT; PUBSUB NUMPAT a; PUBLISH; PUBLISH a; PUBLISH a b; PUBLISH a b c; SUBSCRIBE; \
        PSUBSCRIBE; UNSUBSCRIBE; UNSUBSCRIBE a b; PUNSUBSCRIBE; PUNSUBSCRIBE a; COMMAND FOO; \
        COMMAND COUNT a; COMMAND INFO nothing; COMMAND DOCS nothing; INFO nothing; ";
    let mut conversations: Vec<_> = single.split("; ").map(|line| commands([line])).collect();
    conversations.extend([
        commands(["CLIENT SETNAME me", "CLIENT GETNAME", "CLIENT SETNAME ", "CLIENT GETNAME"]),
        commands(["CLIENT SETNAME me", "RESET", "CLIENT GETNAME"]),
        commands([&format!("FOO {} b c", "a".repeat(200))[..], &"B".repeat(200), "FOO a\r\nb", "FOO a\0b c"]),
        commands([&format!("CLIENT {}", "a".repeat(200))[..]]),
    ]);
    same(&[], config(), conversations).await;
}

#[tokio::test]
async fn subscriptions_in_resp2() {
    same(
        &[],
        config(),
        vec![
            commands([
                "SUBSCRIBE a b a",
                "PING",
                "PING x",
                "PING a b",
                "UNSUBSCRIBE b",
                "PUBSUB NUMPAT",
                "UNSUBSCRIBE",
                "PING",
            ]),
            commands([
                "PSUBSCRIBE a* a*",
                "ECHO x",
                "PUBLISH a b",
                "SELECT",
                "HELLO 3",
                "CLIENT ID",
                "PUBSUB CHANNELS",
                "AUTH x",
            ]),
            commands([
                "SUBSCRIBE a",
                "PSUBSCRIBE *",
                "PUNSUBSCRIBE",
                "PUNSUBSCRIBE",
                "UNSUBSCRIBE",
                "UNSUBSCRIBE",
                "PUBLISH a x",
            ]),
            commands(["SUBSCRIBE a", "RESET", "PUBLISH a x", "PING"]),
            commands(["SUBSCRIBE ", "UNSUBSCRIBE "]),
        ],
    )
    .await;
}

#[tokio::test]
async fn before_and_after_the_password() {
    let setup = EmbeddedConfig { password: Some("secret".into()), ..config() };
    let lines = "PING; PUBLISH a b; FOO; PUBLISH; HELLO; HELLO 3; HELLO 9; HELLO 3 SETNAME x; AUTH secret; \
        AUTH wrong; AUTH default secret; AUTH default wrong; AUTH other secret; HELLO 3 AUTH default wrong; \
        HELLO 3 AUTH other secret; RESET; CLIENT; CLIENT FOO; CLIENT ID; SUBSCRIBE a; INFO; COMMAND; \
        ECHO a b c d e f g h i; ECHO a b c d e f g h i j";
    let mut conversations: Vec<_> = lines.split("; ").map(|line| commands([line, "PING"])).collect();
    conversations.push(commands(["AUTH secret", "PING", "AUTH wrong", "PING", "RESET", "PING"]));
    conversations.push(b"*11\r\n".to_vec());
    conversations.push(b"*1\r\n$16385\r\n".to_vec());
    same(&["--requirepass", "secret"], setup, conversations).await;
}

#[tokio::test]
async fn lines_and_broken_commands() {
    let mut conversations: Vec<_> = [
        "PING",
        "  PING  ",
        "",
        "\r",
        "ECHO \"a b\\x41\\n\"",
        "ECHO 'a b\\n'",
        "ECHO a\"b c\"",
        "ECHO \"a",
        "ECHO \"a\"b",
        "POST / HTTP/1.1\r\nHost: x\r\n\r\nPUBLISH a b",
    ]
    .iter()
    .map(|line| format!("{line}\r\nQUIT\r\n").into_bytes())
    .collect();
    conversations.extend(
        [
            "*1\r\n+PING\r\n",
            "*1\r\n$x\r\n",
            "*1\r\n$-1\r\n",
            "*1\r\n$536870913\r\n",
            "*x\r\n",
            "*99999999999\r\n",
            "*0\r\n*-1\r\n*-5\r\nQUIT\r\n",
            "*1\r\n$4\r\nPINGxxQUIT\r\n",
        ]
        .map(|bytes| bytes.as_bytes().to_vec()),
    );
    conversations.push(vec![b'a'; 70_000]);
    same(&[], config(), conversations).await;
}

/// What `HELLO` answers, without the values that must differ.
fn introduction(replies: &[u8]) -> Vec<String> {
    let Ok(Progress::Done { value, .. }) = parse_reply(replies, &ReplyLimits::DEFAULT) else {
        panic!("no reply")
    };
    let (kind, elements) = match value {
        Reply::Array(elements) => ("array", elements),
        Reply::Map(elements) => ("map", elements),
        other => panic!("{other:?} is no introduction"),
    };
    let mut said = vec![kind.to_owned()];
    let mut varies = false;
    for element in elements {
        said.push(if varies { "(varies)".to_owned() } else { format!("{element:?}") });
        varies = matches!(element, Reply::Bulk(b"version" | b"id"));
    }
    said
}

#[tokio::test]
async fn the_introduction_has_the_same_shape() {
    let broker = Broker::start(config()).await;
    let (server, addr) = (Server::start(&[]), broker.addr);
    tokio::task::spawn_blocking(move || {
        for line in ["HELLO", "HELLO 2", "HELLO 3", "HELLO 3 SETNAME me AUTH default x"] {
            let bytes = commands([line, "UNSUBSCRIBE", "CLIENT GETNAME"]);
            let said = exchange(TcpStream::connect(addr).expect("the broker runs"), &bytes);
            let expected = exchange(UnixStream::connect(server.socket()).expect("the server runs"), &bytes);
            assert_eq!(introduction(&said), introduction(&expected), "to {line}");
            assert_eq!(replies(&said)[1..], replies(&expected)[1..], "after {line}");
        }
    })
    .await
    .expect("both say the same");
    broker.stop().await;
}

/// Commands that take one name or several.
const VERBS: [&str; 7] =
    ["SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "PUBSUB NUMSUB", "ECHO", "FOO"];

fn command() -> impl Strategy<Value = String> {
    let name = "[abc]|a\\*|\\?|\\[ab\\]|\\*";
    prop_oneof![
        6 => (proptest::sample::select(&VERBS[..]), name, name).prop_map(|(verb, a, b)| format!("{verb} {a} {b}")),
        6 => (proptest::sample::select(&VERBS[..]), name).prop_map(|(verb, a)| format!("{verb} {a}")),
        6 => ("[abc]", "[a-z]{0,3}").prop_map(|(channel, payload)| format!("PUBLISH {channel} {payload}")),
        3 => Just("PING".to_owned()),
        2 => Just("PUBSUB NUMPAT".to_owned()),
        1 => Just("RESET".to_owned()),
    ]
}

/// Any conversation, in either protocol; in RESP3 the client hears its own messages between the replies.
#[tokio::test]
async fn any_conversation() {
    let broker = Broker::start(EmbeddedConfig { gateway_patterns: Vec::new(), ..config() }).await;
    let (server, addr) = (Server::start(&[]), broker.addr);
    tokio::task::spawn_blocking(move || {
        let strategy = (any::<bool>(), proptest::collection::vec(command(), 0..20));
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 300,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let outcome = runner.run(&strategy, |(resp3, lines)| {
            // The answer to `HELLO` differs: it is left out below.
            let hello = if resp3 { "HELLO 3" } else { "HELLO 2" };
            let bytes = commands([hello].into_iter().chain(lines.iter().map(String::as_str)));
            let sorted = |replies: Vec<String>| {
                let mut replies = replies[1..].to_vec();
                replies.chunk_by_mut(|a, b| is_pmessage(a) && is_pmessage(b)).for_each(<[String]>::sort);
                replies
            };
            prop_assert_eq!(sorted(broker_answer(addr, &bytes)), sorted(server.answer(&bytes)));
            Ok(())
        });
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
    })
    .await
    .expect("both say the same");
    broker.stop().await;
}

/// Messages of several patterns come in the order of Redis' hash table: their order says nothing.
fn is_pmessage(reply: &str) -> bool {
    reply.contains("pmessage")
}

#[tokio::test]
async fn patterns() {
    let names = "; a; ab; abc; a*b; a]; a[; a-; a^; a\\; aab; channel:trade:AAPL; channel:trade:; channel:trade; b; -; \
        ^; ]; a-b-c; \u{e9}";
    let patterns = "; *; **; a*; *b; a?; a??; ?; a[b]; a[^b]; a[a-c]; a[c-a]; a[; a[^; a[]]; a[\\]]; a[\\; a[a-; a\\*b; \
        a\\; a\\\\; channel:trade:*; *:*:*; [a-b]*; [^a]; []; [^]; a*b*c; *a*b*; \\a; a**b; [\\a-z]; \
        [a\\-z]; *\\; [a-\u{e9}]*";
    let conversations = names
        .split("; ")
        .map(|name| {
            // One channel at a time: a list's order is the hash table's.
            let lines = patterns.split("; ").map(|pattern| format!("PUBSUB CHANNELS {pattern}"));
            let lines: Vec<_> = lines.collect();
            let mut subscribe = Vec::new();
            write_command(&mut subscribe, &[b"SUBSCRIBE", name.as_bytes()]);
            (subscribe, commands(lines.iter().map(String::as_str)))
        })
        .collect::<Vec<_>>();
    let broker = Broker::start(EmbeddedConfig { gateway_patterns: Vec::new(), ..config() }).await;
    let (server, addr) = (Server::start(&[]), broker.addr);
    tokio::task::spawn_blocking(move || {
        for (subscribe, ask) in conversations {
            // The subscribers stay until the questions are answered.
            let mut at_server = UnixStream::connect(server.socket()).expect("the server runs");
            let mut at_broker = TcpStream::connect(addr).expect("the broker runs");
            confirmed(&mut at_server, &subscribe);
            confirmed(&mut at_broker, &subscribe);
            assert_eq!(broker_answer(addr, &ask), server.answer(&ask), "{}", subscribe.escape_ascii());
            // Gone for certain before the next one comes.
            for stream in [&mut at_server as &mut dyn ReadWrite, &mut at_broker] {
                stream.write_all(&commands([])).expect("it reads");
                stream.read_to_end(&mut Vec::new()).expect("it closes");
            }
        }
    })
    .await
    .expect("both say the same");
    broker.stop().await;
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// Subscribes and waits for the confirmation.
fn confirmed(stream: &mut (impl Read + Write), bytes: &[u8]) {
    stream.write_all(bytes).expect("it reads");
    let mut said = Vec::new();
    while !said.windows(4).any(|end| end == b":1\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it answers");
        said.push(byte[0]);
    }
}
