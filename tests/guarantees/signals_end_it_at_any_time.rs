//! SIGTERM, SIGINT and SIGQUIT drain the gateway at any time, also in the first process of a container that still waits for
//! its Redis. SIGHUP never ends it.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use crate::support::process::Process;
use crate::support::{Client, Redis, trade, until};

const SIGNALS: [&str; 3] = ["TERM", "INT", "QUIT"];

/// A Redis that is connected to and says nothing.
struct SilentRedis(TcpListener);

impl SilentRedis {
    fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn url(&self) -> String {
        format!("redis://{}", self.0.local_addr().unwrap())
    }

    /// Waits until somebody has connected.
    async fn is_tried(&self) {
        let listener = self.0.try_clone().unwrap();
        let stream = tokio::task::spawn_blocking(move || listener.accept()).await.unwrap();
        // Kept open for good: its end would end the attempt.
        std::mem::forget(stream.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_ends_while_it_tries_redis_for_the_first_time() {
    for signal in SIGNALS {
        let redis = SilentRedis::start();
        let mut gateway = Process::spawn(&["--redis-url", &redis.url()]);
        redis.is_tried().await;
        gateway.signal(signal);
        assert!(gateway.exit().await.success(), "{signal}: {:?}", gateway.log);
    }
}

/// The kernel doesn't deliver a signal to the first process of a PID namespace unless that catches it.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_ends_as_the_first_process_of_a_container() {
    let namespace = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child"];
    let allowed = Command::new("unshare").args(namespace).arg("true").status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("this machine allows no namespaces: the test above has to do");
        return;
    }
    for signal in SIGNALS {
        let redis = SilentRedis::start();
        let mut command = Command::new("unshare");
        command.args(namespace).arg(env!("CARGO_BIN_EXE_ws-gateway"));
        let mut unshare = Process::launch(command, &["--redis-url", &redis.url()]);
        redis.is_tried().await;
        let id = unshare.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let status = Command::new("kill").args(["-s", signal, children.trim()]).status().unwrap();
        assert!(status.success());
        assert!(unshare.exit().await.success(), "{signal}: {:?}", unshare.log);
    }
}

/// A FIFO: who reads it waits for its writer.
struct Fifo {
    directory: tempfile::TempDir,
    path: PathBuf,
}

impl Fifo {
    fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self { directory, path }
    }

    /// Waits until somebody reads it, and returns the writer, which writes nothing.
    async fn is_read(&self) -> File {
        let path = self.path.clone();
        let open = tokio::task::spawn_blocking(move || File::options().write(true).open(path));
        open.await.unwrap().expect("a writer")
    }
}

/// Signals are caught before any file is opened: a process without a handler would be killed, or in a container not end at all.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_ends_while_it_reads_its_settings() {
    for signal in SIGNALS {
        let fifo = Fifo::new(".env");
        let mut shell = Command::new("/bin/sh");
        let script = format!("cd {} && exec \"$0\" \"$@\"", fifo.directory.path().display());
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_ws-gateway")]);
        let mut gateway = Process::launch(shell, &[]);
        let _writer = fifo.is_read().await;
        gateway.signal(signal);
        assert_eq!(gateway.exit().await.code(), Some(1), "{signal}: {:?}", gateway.log);
        gateway.logs(&format!("ended by SIG{signal}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_them_drains() {
    let redis = Redis::start().await;
    for signal in SIGNALS {
        let mut gateway = Process::on(&redis, &[]).await;
        let mut client = Client::connect(&gateway.url()).await;
        gateway.signal(signal);
        assert_eq!(client.json().await["event"], "shutdown");
        assert_eq!(client.ending().await.expect("a close frame").0, 1012);
        drop(client);
        assert!(gateway.exit().await.success(), "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_up_never_ends_it() {
    let silent = SilentRedis::start();
    let mut starting = Process::spawn(&["--redis-url", &silent.url()]);
    silent.is_tried().await;
    starting.signal("HUP");
    until("the log to tell", async || starting.has_logged("SIGHUP: nothing is read again").then_some(()))
        .await;
    assert_eq!(starting.try_exit(), None);

    let redis = Redis::start().await;
    let mut gateway = Process::on(&redis, &["--drain-timeout", "10m"]).await;
    let mut client = Client::connect(&gateway.url()).await;
    client.subscribe(&["AAPL"]).await;
    gateway.signal("HUP");
    until("the log to tell", async || gateway.has_logged("SIGHUP: nothing is read again").then_some(()))
        .await;
    redis.publisher().await.trade("AAPL", &trade("AAPL", "1", 1)).await;
    client.gets("AAPL", 1).await;

    // Nor does it cut the drain short.
    gateway.signal("TERM");
    until("the drain to begin", async || gateway.has_logged("draining").then_some(())).await;
    gateway.signal("HUP");
    until("the log to tell again", async || (gateway.times_logged("SIGHUP") == 2).then_some(())).await;
    assert_eq!(client.json().await["event"], "shutdown");
    assert_eq!(client.ending().await.expect("a close frame").0, 1012);
    drop(client);
    assert!(gateway.exit().await.success());
}
