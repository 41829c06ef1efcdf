//! Programs of others that the gateway is tried with: clients from npm and PyPI, a browser. They are spoken to in lines.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::PATIENCE;

/// A running program, killed when dropped. What it writes to standard error is seen in the test's output.
pub(crate) struct Program {
    name: String,
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub(crate) fn start(mut command: Command) -> Self {
        let name = command.as_std().get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}; is it installed (see README: Tests)?"));
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { name, child, stdin, stdout }
    }

    /// Writes a line to its standard input.
    pub(crate) async fn say(&mut self, line: &str) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.expect("the program reads");
    }

    /// The next line that is an object with such a field.
    pub(crate) async fn line_with(&mut self, field: &str) -> Value {
        loop {
            let line = self.json().await;
            if line.get(field).is_some() {
                return line;
            }
        }
    }

    /// Waits for a line whose field `log` has that part, and returns the field.
    pub(crate) async fn logs(&mut self, part: &str) -> String {
        loop {
            let line = self.line_with("log").await;
            let text = line["log"].as_str().expect("text");
            if text.contains(part) {
                return text.to_owned();
            }
        }
    }

    /// Waits for a line that has that part, whatever else it is.
    pub(crate) async fn says(&mut self, part: &str) {
        let name = self.name.clone();
        let heard = async { while !self.line().await.contains(part) {} };
        timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("{name} does not say {part}"));
    }

    /// The next line of its standard output, `None` at the end, however long it takes.
    pub(crate) async fn read(&mut self) -> Option<String> {
        self.stdout.next_line().await.expect("UTF-8")
    }

    /// The next line of its standard output, `None` at the end.
    pub(crate) async fn try_line(&mut self) -> Option<String> {
        let next = timeout(PATIENCE, self.stdout.next_line()).await;
        next.unwrap_or_else(|_| panic!("{}: no line in time", self.name)).expect("UTF-8")
    }

    /// The next line of its standard output.
    pub(crate) async fn line(&mut self) -> String {
        self.try_line().await.unwrap_or_else(|| panic!("{} ended", self.name))
    }

    /// The next line as JSON.
    pub(crate) async fn json(&mut self) -> Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
    }

    /// SIGSTOP: its sockets stay open, but nothing is read.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = std::process::Command::new("kill").args(["-s", signal, &pid]).status().expect("kill(1)");
        assert!(status.success());
    }

    /// Waits for the end.
    pub(crate) async fn exit(mut self) -> ExitStatus {
        drop(self.stdin);
        let status = timeout(PATIENCE, self.child.wait()).await;
        status.unwrap_or_else(|_| panic!("{} does not end", self.name)).expect("a child")
    }
}

/// A file beside this one.
pub(crate) fn support(name: &str) -> String {
    format!("{}/tests/guarantees/support/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The directory in which `npm-env` keeps the packages.
pub(crate) async fn npm_packages() -> PathBuf {
    PathBuf::from(env("npm-env", &[]).await).join("node_modules")
}

/// `node` with a script beside this file, and the packages that it may want.
pub(crate) async fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.env("NODE_PATH", npm_packages().await).arg(support(script));
    command
}

/// Python with a script beside this file, and one package, as `websockets==17.4`.
pub(crate) async fn python(requirement: &str, script: &str) -> Command {
    let mut command = Command::new(env("py-env", &[requirement]).await);
    command.arg("-u").arg(support(script));
    // What is imported is compiled once, not by every test.
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-venvs/pycache");
    command.env_remove("PYTHONDONTWRITEBYTECODE").env("PYTHONPYCACHEPREFIX", compiled);
    command
}

/// What one of the helpers that install packages prints.
async fn env(helper: &str, args: &[&str]) -> String {
    let output = Command::new(support(helper)).args(args).output().await.expect("the helper runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{helper} {args:?}: {}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
