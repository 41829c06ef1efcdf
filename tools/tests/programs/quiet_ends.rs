//! Where nobody reads what a tool prints, it ends quietly or goes on, and its exit code says how it went. It never panics.

use std::fs::File;
use std::process::{Output, Stdio};

use futures_util::SinkExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_tungstenite::tungstenite::Message;

use crate::common::{Redis, soon};

const TRADE: &str =
    r#"{"type":"trade","data":{"symbol":"AAPL","price":1,"volume":1,"timestamp":1},"timestamp":1}"#;
const CLIENT: &str = env!("CARGO_BIN_EXE_ws-client");
const PUBLISHER: &str = env!("CARGO_BIN_EXE_test-publisher");

/// The writing end of a pipe whose reader has gone.
fn unread() -> Stdio {
    std::io::pipe().unwrap().1.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

async fn run(binary: &str, arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Output {
    let mut command = Command::new(binary);
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(stdout).stderr(stderr).kill_on_drop(true);
    soon("the end of the tool", command.spawn().unwrap().wait_with_output()).await.unwrap()
}

/// A client that is sent a binary frame, which it remarks upon, and then trades for as long as it listens.
async fn client(stdout: Stdio, stderr: Stdio) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let mut next = Message::binary("strange");
        while socket.send(std::mem::replace(&mut next, Message::text(TRADE))).await.is_ok() {}
    });
    let output = run(CLIENT, &["--url", &url, "--json", "--count", "3"], stdout, stderr).await;
    server.abort();
    output
}

#[tokio::test]
async fn a_client_goes_on_when_only_its_remarks_are_not_read() {
    let output = client(Stdio::piped(), unread()).await;
    assert_eq!((output.status.code(), output.stdout), (Some(0), format!("{TRADE}\n").repeat(3).into_bytes()));
}

#[tokio::test]
async fn a_client_ends_when_its_events_are_not_read() {
    let output = client(unread(), Stdio::piped()).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!said.contains("panicked") && !said.contains("standard output"), "{said}");
    assert_eq!(client(unread(), unread()).await.status.code(), Some(0));
}

#[tokio::test]
async fn a_full_disk_is_a_failure_that_is_told() {
    let output = client(full(), Stdio::piped()).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("ws-client: standard output: No space left"), "{said}");
    assert_eq!(client(full(), full()).await.status.code(), Some(1));
}

#[tokio::test]
async fn a_publisher_publishes_whoever_reads_along() {
    let redis = Redis::start(&[]).await;
    let arguments = ["--redis-url", &redis.url(), "--rate=1000", "--count=10"];
    let output = run(PUBLISHER, &arguments, unread(), unread()).await;
    assert_eq!(output.status.code(), Some(0));
    // Its lines of single trades are what it is for at this rate.
    let arguments = ["--redis-url", &redis.url(), "--symbols=AAPL", "--rate=20"];
    assert_eq!(run(PUBLISHER, &arguments, unread(), Stdio::null()).await.status.code(), Some(0));
}

#[tokio::test]
async fn a_failure_is_one_whether_it_is_read_or_not() {
    for (binary, arguments) in
        [(CLIENT, ["--swap", "X:Y"]), (PUBLISHER, ["--file", "/nowhere"]), (PUBLISHER, ["--redis-url", "x"])]
    {
        assert_eq!(run(binary, &arguments, Stdio::null(), unread()).await.status.code(), Some(1));
    }
    assert_eq!(run(CLIENT, &["--count=x"], Stdio::null(), unread()).await.status.code(), Some(2));
    assert_eq!(run(CLIENT, &["--help"], unread(), unread()).await.status.code(), Some(0));
}
