//! The tools as child processes, and a Redis of one's own.

#[path = "../../../tests/guarantees/support/port.rs"]
mod port;

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

pub(crate) use port::ReservedPort;

/// No test needs so long; a tool that hangs fails instead of hanging the tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Awaits what must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// A tool that runs.
pub(crate) struct Tool {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Lines<BufReader<ChildStdout>>,
    pub(crate) stderr: Lines<BufReader<ChildStderr>>,
}

impl Tool {
    /// Starts a binary with nothing of this process' environment that it would read.
    pub(crate) fn start(binary: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(binary)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().unwrap()).lines(),
            stderr: BufReader::new(child.stderr.take().unwrap()).lines(),
            child,
        }
    }

    /// Sends a signal by name, as `kill -INT`.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("the tool still runs").to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().await.unwrap().success());
    }

    /// Waits for the end: status, and what was still to be read of standard output and error.
    pub(crate) async fn end(mut self) -> (ExitStatus, Vec<String>, Vec<String>) {
        drop(self.stdin.take());
        let all = async { tokio::join!(rest(&mut self.stdout), rest(&mut self.stderr), self.child.wait()) };
        let (stdout, stderr, status) = soon("the end of the tool", all).await;
        (status.unwrap(), stdout, stderr)
    }
}

/// Reads lines up to the one that contains `text`, and returns that one.
pub(crate) async fn line_with<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>, text: &str) -> String {
    let search = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(text) {
                return line;
            }
        }
        panic!("the output ended before a line with {text:?}");
    };
    soon(text, search).await
}

async fn rest<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        all.push(line);
    }
    all
}

/// A redis-server on a Unix socket in a directory of its own; it ends with this value.
pub(crate) struct Redis {
    directory: TempDir,
    server: Option<Child>,
    arguments: Vec<String>,
}

impl Redis {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let mut redis = Self {
            directory: TempDir::new().unwrap(),
            server: None,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        };
        redis.restart().await;
        redis
    }

    /// Starts it again, at the same address.
    pub(crate) async fn restart(&mut self) {
        let mut server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(self.socket())
            .args(&self.arguments)
            .current_dir(self.directory.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server is installed: scripts/setup");
        let mut log = BufReader::new(server.stdout.take().unwrap()).lines();
        line_with(&mut log, "eady to accept connections").await;
        // The log goes on being read, or a full pipe would block the server.
        tokio::spawn(async move { rest(&mut log).await });
        self.server = Some(server);
    }

    pub(crate) async fn kill(&mut self) {
        self.server.take().unwrap().kill().await.unwrap();
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(crate) async fn subscriber(&self, pattern: &str) -> redis::aio::PubSub {
        let mut subscriber = redis::Client::open(self.url()).unwrap().get_async_pubsub().await.unwrap();
        subscriber.psubscribe(pattern).await.unwrap();
        subscriber
    }
}

/// The section of docs/tools.md on a program names all of its options, none that it hasn't, and its examples are taken.
pub(crate) fn assert_documented(command: &clap::Command) {
    let name = command.get_name();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tools.md")).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with(name)).expect("a section");
    let flags = || command.get_arguments().filter(|argument| !argument.is_hide_set());
    let flags: Vec<_> = flags().filter_map(|argument| Some(format!("--{}", argument.get_long()?))).collect();
    let words = |text: &str| -> Vec<String> {
        text.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect()
    };
    let flag =
        |word: &str| -> String { word.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect() };
    let told: Vec<_> =
        section.split(['`', ' ', '\n']).map(flag).filter(|flag| flag.starts_with("--")).collect();
    for flag in &flags {
        assert!(told.contains(flag), "{name} {flag} is not in docs/tools.md");
    }
    let mut examples = 0;
    for text in section.split('`').skip(1).step_by(2).filter(|text| text.starts_with("--")) {
        let words = words(text);
        let mut named = words.iter().filter(|word| word.len() > 2 && word.starts_with("--"));
        assert!(named.all(|word| flags.contains(&flag(word))), "{name} {text}");
        if words.len() > 1 {
            let taken = command.clone().try_get_matches_from([&[name.to_owned()], &words[..]].concat());
            taken.unwrap_or_else(|error| panic!("{name} {text}: {error}"));
            examples += 1;
        }
    }
    assert!(examples > 5, "{name}: {examples}");
}
