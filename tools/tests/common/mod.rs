//! The tools as child processes, and a Redis of one's own.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// No test needs so long; a tool that hangs fails instead of hanging the tests.
const PATIENCE: Duration = Duration::from_secs(60);

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
            .expect("redis-server is installed (see README: Tests)");
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
