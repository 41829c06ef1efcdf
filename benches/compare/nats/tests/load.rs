//! The load generator keeps the same books with a real nats-server: it speaks its protocol on both sides.

#[path = "../../../../tools/tests/programs/common.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod common;

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use common::{ReservedPort, Tool, line_with};

/// A nats-server with a WebSocket listener; it ends with this value.
struct Nats {
    _server: Child,
    _directory: TempDir,
    _ports: [ReservedPort; 2],
    url: String,
    ws_url: String,
}

impl Nats {
    async fn start() -> Self {
        let [port, ws_port] = [ReservedPort::new(), ReservedPort::new()];
        let directory = TempDir::new().unwrap();
        let config = directory.path().join("nats.conf");
        let text = format!(
            "listen: 127.0.0.1:{port}\nwebsocket {{ listen: 127.0.0.1:{ws_port}, no_tls: true }}\nmax_payload: 64KB\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut server = Command::new("nats-server")
            .arg("-c")
            .arg(&config)
            // Debian has it where not every path looks.
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("nats-server is installed: scripts/setup");
        let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
        line_with(&mut log, "Server is ready").await;
        // The log goes on being read, or a full pipe would block the server.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self {
            _server: server,
            _directory: directory,
            url: format!("nats://{}", port.addr()),
            ws_url: format!("ws://{}/ws", ws_port.addr()),
            _ports: [port, ws_port],
        }
    }

    /// Loads it; the report, if nothing was wrong.
    async fn load(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--url", &self.ws_url, "--redis", &self.url, "--json"];
        all.extend(["--duration", "700ms", "--warmup", "300ms"]);
        all.extend(arguments);
        let (status, stdout, stderr) = Tool::start(env!("CARGO_BIN_EXE_nats-load"), &all).end().await;
        assert!(status.success(), "{stdout:?} {stderr:?}");
        serde_json::from_str(&stdout[0]).unwrap()
    }
}

fn number(report: &Value, pointer: &str) -> u64 {
    report.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer} in {report}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_and_is_counted() {
    let arguments = ["--preset", "spread", "--connections", "50", "--workers", "2", "--rate", "1000"];
    let report = Nats::start().await.load(&arguments).await;
    assert_eq!((number(&report, "/connections/opened"), number(&report, "/published/total")), (50, 1000));
    assert_eq!(number(&report, "/events/delivered"), number(&report, "/events/expected"));
    assert!(number(&report, "/events/delivered") > 1000, "{report}");
    for figure in ["/server/cpuUsPerDelivered", "/latencyUs/p50", "/delivered/bytesPerSecond"] {
        assert!(
            report.pointer(figure).and_then(Value::as_f64).is_some_and(|figure| figure > 0.0),
            "{figure}: {report}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribing_and_unsubscribing_is_followed() {
    let arguments = ["--preset", "churn", "--connections", "40", "--symbols", "10", "--churn", "400"];
    let report = Nats::start().await.load(&arguments).await;
    assert!(number(&report, "/replyUs/count") > 0, "{report}");
    assert!(number(&report, "/events/delivered") > number(&report, "/events/expected"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_rate_the_server_sets_the_pace() {
    // Frames come in pieces and bring many messages at once.
    let arguments = ["--preset", "ingest", "--symbols", "10", "--subscribe", "10", "--connections", "2"];
    let report = Nats::start().await.load(&arguments).await;
    let (total, reached) = (number(&report, "/published/total"), number(&report, "/published/reached"));
    assert!(total > 1000 && (1..=total).contains(&reached), "{report}");
    assert_eq!(number(&report, "/events/delivered"), 2 * total);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_nats_server_is_not_published_to() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let greeter =
        std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"220 mail\r\n").unwrap());
    let url = format!("nats://{addr}");
    let arguments = ["--redis", &url, "--json"];
    let (status, stdout, stderr) = Tool::start(env!("CARGO_BIN_EXE_nats-load"), &arguments).end().await;
    greeter.join().unwrap();
    assert_eq!((status.code(), stdout.len()), (Some(1), 0));
    let told = stderr.join("\n");
    assert!(told.contains(&format!("nats-server at {addr}")) && told.contains("220 mail"), "{told}");
}
