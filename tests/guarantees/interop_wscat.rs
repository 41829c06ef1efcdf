//! wscat, the client that people use to try a WebSocket server: all requests can be typed at a terminal.

use crate::support::process::Process;
use crate::support::program::{Program, npm_packages};
use crate::support::{Redis, trade};
use serde_json::Value;
use tokio::process::Command;

/// wscat on a terminal; without one it doesn't print how a connection ended.
struct Wscat(Program);

impl Wscat {
    async fn start(args: &str) -> Self {
        let wscat = npm_packages().await.join("wscat/bin/wscat");
        // script(1) gives it the terminal.
        let mut terminal = Command::new("script");
        let command = format!("node '{}' --no-color {args}", wscat.display());
        terminal.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
        Self(Program::start(terminal))
    }

    async fn enter(&mut self, line: &str) {
        self.0.say(line).await;
    }

    /// The next line that wscat itself prints (the echo of what was typed passed over) and that begins with `begin`,
    /// less that.
    async fn printed(&mut self, begin: &str) -> String {
        loop {
            let line = visible(&self.0.line().await);
            if let Some(rest) = line.strip_prefix(begin) {
                return rest.to_owned();
            }
        }
    }

    /// The next frame. The gateway's own pings, which `-P` prints too, may come anywhere between.
    async fn frame(&mut self) -> String {
        loop {
            let frame = self.printed("< ").await;
            if !frame.starts_with("Received ping ") {
                return frame;
            }
        }
    }

    async fn json(&mut self) -> Value {
        let frame = self.frame().await;
        serde_json::from_str(&frame).unwrap_or_else(|error| panic!("{error} in {frame:?}"))
    }
}

/// What remains to be seen of a terminal's line: without escape sequences, and overwritten from its last return on.
fn visible(line: &str) -> String {
    let mut seen = String::new();
    let mut chars = line.trim_end_matches('\r').chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\r' => seen.clear(),
            '\u{1b}' if chars.next_if_eq(&'[').is_some() => {
                chars.by_ref().find(char::is_ascii_alphabetic);
            }
            char => seen.push(char),
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_by_typing() {
    let redis = Redis::start().await;
    let mut worker = redis.publisher().await;
    let mut gateway = Process::on(&redis, &[]).await;
    let mut wscat = Wscat::start(&format!("--slash -P -c {}", gateway.url())).await;
    wscat.printed("Connected").await;

    wscat.enter(r#"{"action":"subscribe","symbols":["AAPL","msft"]}"#).await;
    let reply = wscat.json().await;
    assert_eq!(reply["message"], "Successfully subscribed to 2 symbol(s)", "{reply}");
    assert_eq!(reply["data"]["currentSubscriptions"], serde_json::json!(["AAPL", "MSFT"]));

    let (apple, microsoft) = (trade("AAPL", "150.250", 1), trade("MSFT", "1e2", 2));
    worker.trade("AAPL", &apple).await;
    worker.trade("MSFT", &microsoft).await;
    for payload in [&apple, &microsoft] {
        let frame = wscat.frame().await;
        assert!(frame.starts_with(&format!(r#"{{"type":"trade","data":{payload},"timestamp":"#)), "{frame}");
    }

    wscat.enter(r#"{"action":"ping"}"#).await;
    assert_eq!(wscat.json().await["type"], "pong");
    wscat.enter("/ping hello").await;
    assert_eq!(wscat.frame().await, r#"Received pong (data: "hello")"#);

    wscat.enter(r#"{"action":"unsubscribe","symbols":["AAPL"]}"#).await;
    assert_eq!(wscat.json().await["data"]["unsubscribed"], serde_json::json!(["AAPL"]));
    worker.trade("AAPL", &apple).await;
    worker.trade("MSFT", &microsoft).await;
    assert!(wscat.frame().await.contains(&microsoft), "AAPL goes on after the reply to its unsubscribe");

    wscat.enter("nonsense").await;
    assert_eq!(wscat.json().await["code"], "INVALID_JSON");

    gateway.signal("TERM");
    assert_eq!(wscat.json().await["event"], "shutdown");
    let ending = wscat.printed("Disconnected").await;
    assert!(ending.starts_with(r#" (code: 1012, reason: ""#) && !ending.contains(r#""""#), "{ending}");
    assert!(wscat.0.exit().await.success());
    assert!(gateway.exit().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subprotocol_is_agreed_upon() {
    let gateway = Process::start(&["--embedded-redis-port", "0"]).await;
    // A client that asked for a subprotocol gives up if the server answers with none or another.
    let mut wscat = Wscat::start(&format!("-s other.v9 -s md.v1.json --slash -c {}", gateway.url())).await;
    wscat.printed("Connected").await;
    wscat.enter(r#"{"action":"ping","id":7}"#).await;
    assert_eq!(wscat.json().await["id"], 7);
    wscat.enter("/close 1000 bye").await;
    assert!(wscat.printed("Disconnected").await.starts_with(" (code: 1000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_works_in_a_pipe() {
    let gateway = Process::start(&["--embedded-redis-port", "0", "--demo"]).await;
    let wscat = npm_packages().await.join("wscat/bin/wscat");
    let mut node = Command::new("node");
    node.arg(wscat).args([
        "-c",
        &gateway.url(),
        "-x",
        r#"{"action":"subscribe","symbols":["AAPL"]}"#,
        "-w",
        "-1",
    ]);
    let mut wscat = Program::start(node);
    assert_eq!(wscat.json().await["type"], "success");
    assert_eq!(wscat.json().await["data"]["symbol"], "AAPL");
}
