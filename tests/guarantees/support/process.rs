//! The gateway as users run it: the binary, as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::child::ChildProcess;
use super::{Redis, ReservedPort, http, stats, until};

/// A running `ws-gateway`, killed when dropped.
pub(crate) struct Process {
    child: ChildProcess,
    pub(crate) port: u16,
    /// Its port, until this value goes: who has ended it may start another there, or ask there in vain.
    _reserved: ReservedPort,
}

impl Process {
    /// Starts the binary on a port of its own and waits until it is ready.
    pub(crate) async fn start(args: &[&str]) -> Self {
        Self::ready(Self::spawn(args)).await
    }

    async fn ready(mut process: Self) -> Self {
        let log = Arc::clone(&process.log);
        let line = |part: &'static str| {
            let log = Arc::clone(&log);
            async move {
                until(part, async || log.lock().unwrap().iter().find(|line| line.contains(part)).cloned())
                    .await
            }
        };
        let listening = line("WebSocket server listening on port").await;
        line("WebSocket Gateway initialized and ready").await;
        process.port = listening.rsplit(' ').next().and_then(|port| port.parse().ok()).expect("a port");
        process
    }

    /// Starts the binary against `redis`.
    pub(crate) async fn on(redis: &Redis, args: &[&str]) -> Self {
        let url = redis.url();
        let mut all = vec!["--redis-url", &url];
        all.extend_from_slice(args);
        Self::start(&all).await
    }

    /// Starts the binary with at most `open_files` descriptors, and waits until it is ready.
    pub(crate) async fn limited(open_files: u32, args: &[&str]) -> Self {
        let mut shell = Command::new("/bin/sh");
        let script = format!("ulimit -n {open_files} && exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_ws-gateway")]);
        Self::ready(Self::launch(shell, args)).await
    }

    /// Starts the binary with an allocator that gives back at once what is freed, so that the memory which it takes is what the gateway
    /// itself holds, and waits until it is ready.
    pub(crate) async fn frugal(args: &[&str]) -> Self {
        let mut shell = Command::new("/bin/sh");
        let script = "MIMALLOC_PURGE_DELAY=0 exec \"$0\" \"$@\"";
        shell.args(["-c", script, env!("CARGO_BIN_EXE_ws-gateway")]);
        Self::launch_ready(shell, args).await
    }

    /// Starts the binary and does not wait.
    pub(crate) fn spawn(args: &[&str]) -> Self {
        Self::launch(Command::new(env!("CARGO_BIN_EXE_ws-gateway")), args)
    }

    /// Starts the binary with that standard error, and waits until it listens.
    pub(crate) async fn with_stderr(stderr: Stdio, args: &[&str]) -> Self {
        let (mut command, reserved) = (Command::new(env!("CARGO_BIN_EXE_ws-gateway")), ReservedPort::new());
        let child = ChildProcess::start_with_stderr(prepare(&mut command, &reserved, args), "KILL", stderr);
        let port = until("the gateway to listen", async || listening_port(child.id())).await;
        Self { child, port, _reserved: reserved }
    }

    /// Starts a command that ends in the binary's path, and does not wait.
    pub(crate) fn launch(mut command: Command, args: &[&str]) -> Self {
        let reserved = ReservedPort::new();
        let child = ChildProcess::start(prepare(&mut command, &reserved, args), "KILL");
        Self { child, port: 0, _reserved: reserved }
    }

    /// As [`Process::launch`], and waits until it is ready.
    pub(crate) async fn launch_ready(command: Command, args: &[&str]) -> Self {
        Self::ready(Self::launch(command, args)).await
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Where its embedded broker listens.
    pub(crate) fn broker_addr(&self) -> SocketAddr {
        let log = self.log.lock().unwrap();
        let address = log.iter().find_map(|line| line.split("embedded on ").nth(1));
        let address = address.and_then(|rest| rest.split(['"', ' ']).next()).expect("the banner names it");
        address.parse().expect("an address")
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.addr())
    }

    /// `GET path`.
    pub(crate) async fn get(&self, path: &str) -> http::Reply {
        http::get(self.addr(), path).await
    }

    /// Waits until the gateway has taken `events` events.
    pub(crate) async fn taken(&self, events: u64) {
        stats::taken(self.addr(), events).await;
    }

    /// Processor time that all its threads have taken so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("/proc");
        // Behind the name, which may contain spaces: proc(5) counts utime as field 14, stime as 15, in hundredths of a second.
        let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(10 * ticks)
    }

    /// How many descriptors it has.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).expect("/proc").count()
    }

    /// Resident memory in bytes.
    pub(crate) fn rss_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// Resident memory that is its own, in bytes: without the pages of its program, which come as code runs for the first time.
    pub(crate) fn own_rss_bytes(&self) -> u64 {
        self.status_bytes("RssAnon:")
    }

    /// The most resident memory that it has ever had, in bytes.
    pub(crate) fn peak_rss_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("/proc");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a line of that name");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
    }
}

/// What every gateway of a test is started with.
fn prepare<'c>(command: &'c mut Command, port: &ReservedPort, args: &[&str]) -> &'c mut Command {
    command
        .args(["--ws-host", "127.0.0.1", "--ws-port", &port.to_string()])
        .args(args)
        .env_clear()
        .env("RUST_LOG", "info")
        .current_dir(std::env::temp_dir())
}

/// The port of the first socket on which a process listens, as the kernel has it.
fn listening_port(process: u32) -> Option<u16> {
    const LISTEN: &str = "0A";
    let sockets = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).ok()?;
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?;
    let owned: Vec<_> =
        descriptors.flatten().filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok()).collect();
    sockets.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let inode = PathBuf::from(format!("socket:[{}]", fields[9]));
        let (_, port) = fields[1].split_once(':')?;
        (fields[3] == LISTEN && owned.contains(&inode)).then(|| u16::from_str_radix(port, 16).ok())?
    })
}

impl std::ops::Deref for Process {
    type Target = ChildProcess;

    fn deref(&self) -> &ChildProcess {
        &self.child
    }
}

impl std::ops::DerefMut for Process {
    fn deref_mut(&mut self) -> &mut ChildProcess {
        &mut self.child
    }
}
