//! A program that runs in the background and logs.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::until;

/// A running program, ended when dropped.
pub(crate) struct ChildProcess {
    child: Child,
    /// How it is ended.
    end_signal: &'static str,
    /// What it has logged so far, on either output, line by line.
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    /// The threads that read it.
    reading: Vec<JoinHandle<()>>,
}

impl ChildProcess {
    /// Starts it; `end_signal` is what ends it, with all that it has started.
    pub(crate) fn start(command: &mut Command, end_signal: &'static str) -> Self {
        Self::start_with_stderr(command, end_signal, Stdio::piped())
    }

    /// The same with another standard error; of that, only a pipe made for it is read.
    pub(crate) fn start_with_stderr(command: &mut Command, end_signal: &'static str, stderr: Stdio) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(stderr).spawn();
        let mut child = child
            .unwrap_or_else(|error| panic!("{command:?}: {error}; is it installed (see README: Tests)?"));
        let log = Arc::default();
        let mut reading = vec![collect(child.stdout.take().expect("piped"), &log)];
        if let Some(stderr) = child.stderr.take() {
            reading.push(collect(stderr, &log));
        }
        Self { child, end_signal, log, reading }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether a line of the log contains `part`.
    pub(crate) fn has_logged(&self, part: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains(part))
    }

    /// How many lines of the log contain `part`.
    pub(crate) fn times_logged(&self, part: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(part)).count()
    }

    /// Waits for a line of the log that contains `part`, and returns it.
    pub(crate) async fn logs(&self, part: &str) -> String {
        let find = || self.log.lock().unwrap().iter().find(|line| line.contains(part)).cloned();
        until(&format!("the line {part:?}"), async || find()).await
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.id().to_string()]).status();
        assert!(status.expect("kill(1)").success());
    }

    /// How it has ended, if it has.
    pub(crate) fn try_exit(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Waits for the end, and for the last line of the log.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let status = until("the program to end", async || self.try_exit()).await;
        let is_read = || self.reading.iter().all(JoinHandle::is_finished);
        until("the end of its log", async || is_read().then_some(())).await;
        status
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        if self.try_exit().is_none() {
            self.signal(self.end_signal);
            let _ = self.child.wait();
        }
    }
}

/// Adds each line that comes out of `pipe` to `log`, in a thread of its own.
pub(crate) fn collect(pipe: impl Read + Send + 'static, log: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            log.lock().unwrap().push(line);
        }
    })
}
