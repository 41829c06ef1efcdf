//! A worker process: one thread, one epoll, a swarm of connections. It is told what to do on its standard input (a
//! socket) and reports on its standard output (a pipe); see [`super::wire`].

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use anyhow::Context as _;
use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};

use super::clock::monotonic_ns;
use super::dialect::Dialect;
use super::swarm::Swarm;
use super::wire::{Command, Report};

/// Commands; connections are numbered from 0.
const COMMANDS: Token = Token(usize::MAX);
/// Between two reports.
const PROGRESS_NS: u64 = 500_000_000;
/// Between two looks through all books.
const CHECK_NS: u64 = 10_000_000;
/// The longest sleep: how soon the end of the wait for stragglers is noticed.
const SLEEP: Duration = Duration::from_millis(20);
/// What is waited in all for events that are still on their way, even if some come all the time.
const FINISH_NS: u64 = 30_000_000_000;

/// Runs until the coordinator has what it wants, or has gone.
///
/// # Errors
/// If it can't be talked with, or the system gives no epoll.
pub fn run<D: Dialect>() -> anyhow::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX).context("the open-file limit can't be raised")?;
    let mut poll = Poll::new().context("epoll")?;
    let mut events = Events::with_capacity(1024);
    let mut commands = Commands::new(poll.registry())?;
    let (crowd, part, tokens) = loop {
        match commands.next()? {
            Next::Command(Command::Open { crowd, first, count, tokens }) => {
                break (crowd, first..first + count, tokens);
            }
            Next::Command(other) => anyhow::bail!("{other:?} came before there was anything open"),
            Next::None => poll_events(&mut poll, &mut events, None)?,
            Next::End => return Ok(()),
        }
    };
    let registry = poll.registry().try_clone().context("epoll")?;
    let mut worker = Worker {
        swarm: Swarm::<D>::new(crowd, part, tokens, registry),
        finish: None,
        reported_ns: 0,
        is_opened: false,
        is_said: false,
    };
    // More may have come with the first one.
    let mut is_told = true;
    loop {
        while std::mem::take(&mut is_told) {
            match commands.next()? {
                Next::Command(command) => {
                    worker.obey(command)?;
                    is_told = true;
                }
                Next::None => {}
                Next::End => return Ok(()),
            }
        }
        worker.swarm.open_some();
        worker.swarm.churn_some();
        worker.swarm.talk_some();
        let sleep = if worker.swarm.is_restless() { Duration::from_millis(1) } else { SLEEP };
        poll_events(&mut poll, &mut events, Some(sleep))?;
        for event in &events {
            match event.token() {
                COMMANDS => is_told = true,
                _ => worker.swarm.ready(event),
            }
        }
        worker.report()?;
        if worker.is_finished() {
            let last = worker.finish.map(|finish| finish.last).unwrap_or_default();
            return report(&Report::Done(Box::new(worker.swarm.outcome(&last))));
        }
    }
}

struct Worker<D: Dialect> {
    swarm: Swarm<D>,
    finish: Option<Finish>,
    reported_ns: u64,
    is_opened: bool,
    /// Whether it was reported what was said.
    is_said: bool,
}

/// The wait for stragglers.
struct Finish {
    last: Vec<u64>,
    patience_ns: u64,
    since_ns: u64,
    checked_ns: u64,
}

impl<D: Dialect> Worker<D> {
    fn obey(&mut self, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Open { .. } => anyhow::bail!("a worker opens its connections once"),
            Command::Measure { start_ns, window } => self.swarm.measure(start_ns, window),
            Command::Finish { last, patience_ns } => {
                self.finish = Some(Finish { last, patience_ns, since_ns: monotonic_ns(), checked_ns: 0 });
            }
        }
        Ok(())
    }

    fn report(&mut self) -> anyhow::Result<()> {
        if !self.is_opened && self.swarm.is_opened() {
            self.is_opened = true;
            report(&Report::Opened(self.swarm.progress()))?;
        }
        if !self.is_said
            && let Some(said) = self.swarm.said()
        {
            self.is_said = true;
            report(&Report::Said(said.to_vec()))?;
        }
        let now_ns = monotonic_ns();
        if now_ns >= self.reported_ns + PROGRESS_NS {
            self.reported_ns = now_ns;
            self.swarm.give_up_late_ones();
            report(&Report::Progress(self.swarm.progress()))?;
        }
        Ok(())
    }

    fn is_finished(&mut self) -> bool {
        let Some(finish) = &mut self.finish else { return false };
        let now_ns = monotonic_ns();
        if now_ns < finish.checked_ns + CHECK_NS {
            return false;
        }
        finish.checked_ns = now_ns;
        let quiet_since_ns = self.swarm.last_read_ns().max(finish.since_ns);
        self.swarm.is_complete(&finish.last)
            || now_ns > quiet_since_ns + finish.patience_ns
            || now_ns > finish.since_ns + FINISH_NS
    }
}

fn poll_events(poll: &mut Poll, events: &mut Events, timeout: Option<Duration>) -> anyhow::Result<()> {
    match poll.poll(events, timeout) {
        Err(error) if error.kind() != ErrorKind::Interrupted => Err(error).context("epoll"),
        _ => Ok(()),
    }
}

/// A whole line at once: the coordinator's thread only reads, so the pipe never stays full.
fn report(report: &Report) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line).and_then(|()| stdout.flush()).context("the coordinator has gone")
}

/// Standard input, line by line, without ever waiting for it.
struct Commands {
    socket: UnixStream,
    bytes: Vec<u8>,
}

enum Next {
    Command(Command),
    None,
    End,
}

impl Commands {
    fn new(registry: &mio::Registry) -> anyhow::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned().context("standard input")?;
        let stdin = StdUnixStream::from(stdin);
        stdin.set_nonblocking(true).context("standard input is not a coordinator's socket")?;
        let mut socket = UnixStream::from_std(stdin);
        registry.register(&mut socket, COMMANDS, Interest::READABLE).context("standard input")?;
        Ok(Self { socket, bytes: Vec::new() })
    }

    fn next(&mut self) -> anyhow::Result<Next> {
        loop {
            if let Some(end) = self.bytes.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                return Ok(Next::Command(serde_json::from_slice(&line).context("a command")?));
            }
            let mut piece = [0; 16 * 1024];
            match self.socket.read(&mut piece) {
                Ok(0) => return Ok(Next::End),
                Ok(read) => self.bytes.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("standard input"),
            }
        }
    }
}
