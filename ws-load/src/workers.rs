//! The coordinator's hold on its worker processes: starts them, tells them what to do, hears what they report.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command as Process, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::crowd::Crowd;
use super::dialect::Dialect;
use super::wire::{Command, Outcome, Progress, Report};

/// The flag that makes the binary a worker.
pub const WORKER_FLAG: &str = "--worker";

/// Descriptors of a worker that are no connections: standard streams, epoll, commands, and some to spare.
const DESCRIPTORS_SPARED: u64 = 64;

/// How many processes so many connections take.
pub fn needed(connections: u32, descriptors: u64) -> u32 {
    let each = u32::try_from(descriptors.saturating_sub(DESCRIPTORS_SPARED)).unwrap_or(u32::MAX).max(1);
    connections.div_ceil(each).max(1)
}

/// The part of a crowd that is the n-th worker's: the first connection and how many.
fn part(connections: u32, workers: u32, n: u32) -> (u32, u32) {
    let begin = |n: u32| (u64::from(connections) * u64::from(n) / u64::from(workers)) as u32;
    (begin(n), begin(n + 1) - begin(n))
}

/// The worker processes of a run. They end with this value.
#[derive(Debug)]
pub struct Workers {
    all: Vec<Worker>,
    reports: Receiver<(usize, io::Result<String>)>,
}

#[derive(Debug)]
struct Worker {
    process: Child,
    commands: UnixStream,
    progress: Progress,
    is_opened: bool,
    said: Option<Vec<u64>>,
    outcome: Option<Outcome>,
}

impl Workers {
    /// Starts processes and has them open the crowd; `tokens` has one for each connection, or none at all.
    ///
    /// # Errors
    /// If a process can't be started.
    pub fn start<D: Dialect>(crowd: &Crowd, tokens: &[String], workers: u32) -> anyhow::Result<Self> {
        let (sender, reports) = mpsc::channel();
        let all = (0..workers)
            .map(|n| Worker::start(n as usize, &D::FORM.word(), sender.clone()))
            .collect::<anyhow::Result<Vec<_>>>()
            .context("a worker process could not be started")?;
        let mut this = Self { all, reports };
        for (n, worker) in this.all.iter_mut().enumerate() {
            let (first, count) = part(crowd.connections, workers, n as u32);
            let (begin, end) = (first as usize, (first + count) as usize);
            let tokens = tokens.get(begin..end).unwrap_or_default().to_vec();
            worker.tell(&Command::Open { crowd: crowd.clone(), first, count, tokens })?;
        }
        Ok(this)
    }

    /// Process ids.
    pub fn pids(&self) -> Vec<u32> {
        self.all.iter().map(|worker| worker.process.id()).collect()
    }

    /// Tells all of them.
    ///
    /// # Errors
    /// If one has gone.
    pub fn tell(&mut self, command: &Command) -> anyhow::Result<()> {
        self.all.iter_mut().try_for_each(|worker| worker.tell(command))
    }

    /// Waits for a report, at most so long, and takes it in. True if one came.
    ///
    /// # Errors
    /// If a worker ended before it was done.
    pub fn hear(&mut self, timeout: Duration) -> anyhow::Result<bool> {
        let (n, line) = match self.reports.recv_timeout(timeout) {
            Ok(heard) => heard,
            Err(RecvTimeoutError::Timeout) => return Ok(false),
            Err(RecvTimeoutError::Disconnected) => bail!("every worker process has ended"),
        };
        let worker = &mut self.all[n];
        match serde_json::from_str(&line.context("a worker process")?).context("a worker's report")? {
            Report::Progress(progress) => worker.progress = progress,
            Report::Opened(progress) => {
                worker.progress = progress;
                worker.is_opened = true;
            }
            Report::Said(said) => worker.said = Some(said),
            Report::Done(outcome) => worker.outcome = Some(*outcome),
        }
        Ok(true)
    }

    /// Whether every connection is in, or has failed.
    pub fn are_opened(&self) -> bool {
        self.all.iter().all(|worker| worker.is_opened)
    }

    /// How often each talker has talked, once all have said all.
    pub fn said(&self) -> Option<Vec<u64>> {
        let mut sum = Vec::new();
        for worker in &self.all {
            let said = worker.said.as_ref()?;
            sum.resize(said.len().max(sum.len()), 0);
            sum.iter_mut().zip(said).for_each(|(sum, said)| *sum += said);
        }
        Some(sum)
    }

    /// Whether all have reported what they found.
    pub fn are_done(&self) -> bool {
        self.all.iter().all(|worker| worker.outcome.is_some())
    }

    /// How things stand in all of them together, by their last reports.
    pub fn progress(&self) -> Progress {
        let mut sum = Progress::default();
        for Worker { progress, .. } in &self.all {
            sum.open += progress.open;
            sum.failed += progress.failed;
            sum.counts += progress.counts;
        }
        sum
    }

    /// What they found, all together.
    pub fn outcome(self) -> Outcome {
        let mut sum = Outcome::default();
        self.all.iter().filter_map(|worker| worker.outcome.as_ref()).for_each(|outcome| sum += outcome);
        sum
    }
}

impl Worker {
    fn start(n: usize, form: &str, reports: Sender<(usize, io::Result<String>)>) -> anyhow::Result<Self> {
        let (commands, stdin) = UnixStream::pair()?;
        let mut process = Process::new(std::env::current_exe()?)
            .args([WORKER_FLAG, "--form", form])
            .stdin(OwnedFd::from(stdin))
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().context("a pipe was asked for")?;
        let listen = move || {
            let mut is_done = false;
            for line in BufReader::new(stdout).lines() {
                is_done = matches!(&line, Ok(line) if line.starts_with(r#"{"Done""#));
                if reports.send((n, line)).is_err() {
                    return;
                }
            }
            if !is_done {
                let _ = reports.send((n, Err(io::Error::other("it ended before it was done"))));
            }
        };
        std::thread::Builder::new().name(format!("worker-{n}")).spawn(listen)?;
        let progress = Progress::default();
        Ok(Self { process, commands, progress, is_opened: false, said: None, outcome: None })
    }

    fn tell(&mut self, command: &Command) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        self.commands.write_all(&line).context("a worker process has gone")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It ends by itself when its commands do, but not before its next turn; nobody waits for that.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_decide_how_many_processes() {
        assert_eq!([0, 1, 19_936, 19_937, 60_000].map(|n| needed(n, 20_000)), [1, 1, 1, 2, 4]);
        assert_eq!(needed(10, 0), 10);
    }

    #[test]
    fn parts_are_even_and_make_up_the_whole() {
        for (connections, workers) in [(10, 3), (1, 4), (20_000, 2), (0, 1)] {
            let mut next = 0;
            for n in 0..workers {
                let (first, count) = part(connections, workers, n);
                assert_eq!(first, next);
                assert!(count.abs_diff(connections / workers) <= 1);
                next = first + count;
            }
            assert_eq!(next, connections);
        }
    }
}
