//! A log that isn't read or can't be written costs log lines, which are counted, and nothing else: events flow, `/ready` is
//! right, and the process ends as it should.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use ws_gateway::config::Config;
use ws_gateway::logging;

use crate::support::child::{ChildProcess, collect};
use crate::support::process::Process;
use crate::support::{Client, Redis, stats, trade, until};

/// A disk on which there is no room.
fn full_disk() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").expect("/dev/full").into()
}

/// A pipe that takes not one byte more until it is read.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[b'\n'; 4096]).is_ok() {}
    assert_eq!(writer.write(b"\n").unwrap_err().kind(), ErrorKind::WouldBlock);
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}

async fn lines_lost(gateway: &Process) -> u64 {
    stats::number(gateway.addr(), "log/linesLost").await
}

/// Starts a gateway that logs all it can to `stderr`, and holds it to all that the log must not touch.
async fn serves_with(redis: &Redis, stderr: Stdio) -> (Process, Client) {
    let gateway = Process::with_stderr(stderr, &["--redis-url", &redis.url(), "--log", "trace"]).await;
    until("the gateway to be ready", async || (gateway.get("/ready").await.status == 200).then_some(()))
        .await;
    let mut client = Client::connect(&gateway.url()).await;
    client.subscribe(&["AAPL"]).await;
    let mut worker = redis.publisher().await;
    let mut n = 0;
    while lines_lost(&gateway).await == 0 {
        // Shards log each connection at this level, ingest a bad event.
        Client::connect(&gateway.url()).await;
        worker.trade("AAPL", "no trade").await;
        worker.trade("AAPL", &trade("AAPL", "1", n)).await;
        client.gets("AAPL", n).await;
        n += 1;
    }
    for path in ["/ready", "/health"] {
        let reply = gateway.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    }
    assert!(stats::metric(gateway.addr(), "ws_log_lines_lost_total ").await > 0);
    (gateway, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_lines_only() {
    let redis = Redis::start().await;
    let (mut gateway, client) = serves_with(&redis, full_disk()).await;
    gateway.signal("TERM");
    drop(client);
    assert!(gateway.exit().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_gone_costs_lines_only() {
    let redis = Redis::start().await;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (mut gateway, client) = serves_with(&redis, writer.into()).await;
    gateway.signal("TERM");
    drop(client);
    assert!(gateway.exit().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_nobody_reads_costs_lines_only() {
    let redis = Redis::start().await;
    let (_reader, writer) = full_pipe();
    let (mut gateway, client) = serves_with(&redis, writer.into()).await;
    gateway.signal("TERM");
    drop(client);
    assert!(gateway.exit().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn once_the_log_is_read_it_says_what_is_missing_and_ends_with_the_last_line() {
    let redis = Redis::start().await;
    let (reader, writer) = full_pipe();
    let (mut gateway, client) = serves_with(&redis, writer.into()).await;
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    collect(reader, &log);
    let has = |part: &'static str| {
        let log = Arc::clone(&log);
        async move {
            until(part, async || log.lock().unwrap().iter().any(|line| line.contains(part)).then_some(()))
                .await;
        }
    };
    has("log lines were lost").await;
    gateway.signal("TERM");
    drop(client);
    assert!(gateway.exit().await.success());
    has("drained").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_does_so_with_its_own_exit_code() {
    let start = |args: &[&str], stderr| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ws-gateway"));
        command.args(args).env_clear().current_dir(std::env::temp_dir());
        ChildProcess::start_with_stderr(&mut command, "KILL", stderr)
    };
    let mut unusable = start(&["--ws-port", "no port"], full_disk());
    assert_eq!(unusable.exit().await.code(), Some(2));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (_reader, writer) = full_pipe();
    for stderr in [full_disk(), writer.into()] {
        let args = ["--ws-host", "127.0.0.1", "--ws-port", &port, "--embedded-redis-port", "0"];
        assert_eq!(start(&args, stderr).exit().await.code(), Some(1));
    }
}

/// Rust's own report of a panic writes to standard error and would wait for a reader, without end.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_logged_and_waits_for_no_reader() {
    let start = |stderr| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let test = concat!(module_path!(), "::a_thread_panics").split_once("::").unwrap().1;
        command.args(["--exact", test, "--ignored", "--nocapture"]);
        ChildProcess::start_with_stderr(&mut command, "KILL", stderr)
    };
    let mut read = start(Stdio::piped());
    assert_eq!(read.exit().await.code(), Some(42));
    until("the panic in the log", async || {
        (read.has_logged("thread shard-9 panicked at") && read.has_logged("a stone in the shoe"))
            .then_some(())
    })
    .await;
    let (_reader, writer) = full_pipe();
    for stderr in [full_disk(), writer.into()] {
        assert_eq!(start(stderr).exit().await.code(), Some(42));
    }
}

#[test]
#[ignore = "a program for the test above"]
fn a_thread_panics() {
    logging::start(&Config::for_tests()).unwrap();
    let thread = std::thread::Builder::new().name("shard-9".to_owned());
    let ended = thread.spawn(|| panic!("a stone in the shoe")).unwrap().join();
    assert!(ended.is_err());
    std::process::exit(42);
}
