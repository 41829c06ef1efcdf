//! The load generator finds nothing wrong with a gateway that does everything right, and everything with one that
//! doesn't. The real gateway runs in this process, on ports of its own; what is to be wrong is done by a relay in
//! between.

#[path = "../../tools/tests/programs/common.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod common;
#[path = "load/rooms.rs"]
mod rooms;

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{accept_async, connect_async};
use ws_gateway::config::Config;
use ws_gateway::gateway::Gateway;
use ws_gateway::protocol::api::Api;

use common::{Redis, ReservedPort, Tool, assert_documented, soon};

/// A gateway and where to publish to it.
struct Server {
    _gateway: Gateway,
    clients: SocketAddr,
    redis_url: String,
}

impl Server {
    /// With the embedded broker.
    async fn start() -> Self {
        Self::with(Config::for_tests()).await
    }

    /// The same, set otherwise.
    async fn with(config: Config) -> Self {
        let gateway = Gateway::build(config).await.unwrap();
        let redis_url = format!("redis://{}", gateway.broker_addr().unwrap());
        Self { clients: gateway.local_addr(), redis_url, _gateway: gateway }
    }

    /// Loads it, directly.
    async fn load(&self, arguments: &[&str]) -> Run {
        self.load_by(self.clients, arguments).await
    }

    /// Loads it by a detour.
    async fn load_by(&self, clients: SocketAddr, arguments: &[&str]) -> Run {
        let url = format!("ws://{clients}/ws");
        let mut all = vec!["--url", &url, "--redis", &self.redis_url, "--json"];
        all.extend(["--duration", "700ms", "--warmup", "300ms"]);
        all.extend(arguments);
        let (status, stdout, stderr) = Tool::start(env!("CARGO_BIN_EXE_ws-load"), &all).end().await;
        let [line] = &stdout[..] else { panic!("one line of JSON: {stdout:?} {stderr:?}") };
        Run { status, report: serde_json::from_str(line).unwrap(), stderr: stderr.join("\n") }
    }
}

/// What came of a run.
struct Run {
    status: ExitStatus,
    report: Value,
    stderr: String,
}

impl Run {
    fn number(&self, pointer: &str) -> u64 {
        let value = self.report.pointer(pointer).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("{pointer} in {}", self.report))
    }

    fn event_counts(&self) -> [u64; 6] {
        ["delivered", "missing", "repeated", "outOfOrder", "announced", "uninvited"]
            .map(|name| self.number(&format!("/events/{name}")))
    }

    #[track_caller]
    fn assert_clean(&self) {
        assert!(self.status.success(), "{}\n{}", self.stderr, self.report);
        assert_eq!(self.report["ok"], true);
        let [delivered, wrong @ ..] = self.event_counts();
        assert_eq!((delivered > 0, wrong), (true, [0; 5]), "{}", self.report);
    }

    #[track_caller]
    fn assert_bad(&self) {
        assert_eq!(self.status.code(), Some(1), "{}", self.report);
        assert_eq!(self.report["ok"], false);
        assert!(self.stderr.contains("NOT what was promised"), "{}", self.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_and_is_counted() {
    let run = Server::start().await.load(&["--connections", "60", "--symbols", "1", "--rate", "300"]).await;
    run.assert_clean();
    // 300 a second for a second, to everyone; 210 of them in the window.
    assert_eq!((run.number("/published/total"), run.number("/published/inWindow")), (300, 210));
    assert_eq!((run.number("/events/expected"), run.number("/events/delivered")), (18_000, 18_000));
    assert_eq!(run.number("/latencyUs/count"), 60 * 210);
    assert_eq!((run.number("/connections/opened"), run.number("/handshakeUs/count")), (60, 60));
    assert!(run.number("/delivered/inWindow") <= 18_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_redis_and_several_worker_processes_make_no_difference() {
    let port = ReservedPort::new();
    let _redis = Redis::start(&["--port", &port.to_string(), "--bind", "127.0.0.1"]).await;
    let redis_url = format!("redis://{}", port.addr());
    let config = Config {
        upstream: ws_gateway::config::Upstream::from_url(&redis_url).unwrap(),
        ..Config::for_tests()
    };
    let gateway = Gateway::build(config).await.unwrap();
    let server = Server { clients: gateway.local_addr(), redis_url, _gateway: gateway };
    let arguments = ["--preset", "spread", "--connections", "50", "--workers", "3", "--rate", "1000"];
    let run = server.load(&arguments).await;
    run.assert_clean();
    assert_eq!((run.number("/connections/opened"), run.number("/client/workers")), (50, 3));
    assert_eq!((run.number("/published/total"), run.number("/published/unheard")), (1000, 0));
    assert_eq!(run.number("/events/delivered"), run.number("/events/expected"));
    let server = &run.report["server"];
    assert_eq!(server["pids"], serde_json::json!([std::process::id()]));
    for figure in ["cpuPercent", "cpuUsPerDelivered", "rssBeforeBytes", "redisCpuPercent"] {
        assert!(server[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure} in {server}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_is_checked_event_by_event() {
    let mut config = Config::for_tests();
    config.clients.dialects = Api::ALL.into_iter().collect();
    config.delivery.compress = true;
    let server = Server::with(config).await;
    for (form, dialect) in [
        ("batch", "gateway, batch"),
        ("batch-deflate", "gateway, batch, deflate"),
        ("sse", "gateway, sse"),
        ("alpaca", "Alpaca"),
        ("alpaca-msgpack", "Alpaca, MessagePack"),
        ("alpaca-msgpack-deflate", "Alpaca, MessagePack, deflate"),
        ("binance", "Binance"),
        ("finnhub", "Finnhub"),
        ("finnhub-deflate", "Finnhub, deflate"),
        ("massive", "Massive"),
        ("massive-deflate", "Massive, deflate"),
        ("socketio", "Socket.IO"),
        ("socketio-deflate", "Socket.IO, deflate"),
    ] {
        let arguments = ["--connections", "60", "--symbols", "3", "--subscribe", "2"];
        let bursts = ["--form", form, "--burst", "100", "--burst-every", "50ms"];
        let run = server.load(&[&bursts, &arguments[..]].concat()).await;
        run.assert_clean();
        assert_eq!(run.report["scenario"]["dialect"], dialect, "{}", run.report);
        assert_eq!(run.number("/events/delivered"), run.number("/events/expected"));
        assert!(run.number("/latencyUs/count") > 0, "{form}: {}", run.report);
    }
    for form in ["alpaca", "alpaca-msgpack", "binance", "massive", "socketio"] {
        let churn = ["--form", form, "--preset", "churn", "--connections", "20", "--symbols", "9"];
        let run = server.load(&[&churn[..], &["--churn", "200"]].concat()).await;
        run.assert_clean();
        assert!(run.number("/replyUs/count") > 0, "{form}: {}", run.report);
    }
    for form in ["sse", "finnhub"] {
        let churn = ["--form", form, "--preset", "churn"];
        let (status, _, stderr) = Tool::start(env!("CARGO_BIN_EXE_ws-load"), &churn).end().await;
        assert_eq!(status.code(), Some(1));
        assert!(stderr.join("\n").contains(&format!("--form {form}")), "{stderr:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_are_published_back_to_back() {
    let arguments = ["--preset", "burst", "--connections", "20", "--burst", "50", "--burst-every", "200ms"];
    let run = Server::start().await.load(&arguments).await;
    run.assert_clean();
    assert_eq!((run.number("/published/total"), run.number("/events/delivered")), (250, 5000));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_rate_the_broker_sets_the_pace() {
    let arguments = ["--preset", "ingest", "--symbols", "10", "--connections", "3"];
    let run = Server::start().await.load(&arguments).await;
    run.assert_clean();
    let (total, reached) = (run.number("/published/total"), run.number("/published/reached"));
    assert!(total > 100 && (1..=total).contains(&reached), "{}", run.report);
    assert_eq!(run.number("/events/delivered"), run.number("/events/expected"));
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribing_and_unsubscribing_disturbs_nothing() {
    let arguments = ["--preset", "churn", "--connections", "40", "--symbols", "10", "--churn", "400"];
    let run = Server::start().await.load(&arguments).await;
    run.assert_clean();
    assert!(run.number("/replyUs/count") > 0, "{}", run.report);
    assert!(run.number("/events/delivered") >= run.number("/events/expected"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_is_only_handshakes() {
    let run = Server::start().await.load(&["--preset", "storm", "--connections", "300"]).await;
    assert!(run.status.success(), "{}", run.stderr);
    assert_eq!((run.number("/connections/opened"), run.number("/handshakeUs/count")), (300, 300));
    assert_eq!((run.number("/published/total"), run.event_counts()), (0, [0; 6]));
    assert!(run.report["server"]["cpuUsPerHandshake"].as_f64().is_some_and(|us| us > 0.0), "{}", run.report);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_events_are_missed() {
    let (run, faults) = through(Fault::Drop).await;
    run.assert_bad();
    let [delivered, missing, rest @ ..] = run.event_counts();
    assert_eq!((missing, delivered, rest), (faults, run.number("/events/expected") - faults, [0; 4]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_end_is_missed() {
    let (run, faults) = through(Fault::DropFrom).await;
    run.assert_bad();
    let [delivered, missing, rest @ ..] = run.event_counts();
    assert_eq!((missing, delivered, rest), (faults, run.number("/events/expected") - faults, [0; 4]));
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_events_are_noticed() {
    let (run, faults) = through(Fault::Repeat).await;
    run.assert_bad();
    let expected = run.number("/events/expected");
    assert_eq!(run.event_counts(), [expected, 0, faults, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_order_is_noticed() {
    let (run, faults) = through(Fault::Swap).await;
    run.assert_bad();
    let expected = run.number("/events/expected");
    assert_eq!(run.event_counts(), [expected, 0, 0, faults, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_is_announced_is_none() {
    let (run, faults) = through(Fault::Announce).await;
    assert!(run.status.success(), "{}", run.report);
    let expected = run.number("/events/expected");
    assert_eq!(run.event_counts(), [expected - faults, 0, 0, 0, faults, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_is_told_with_its_reason() {
    let (run, _) = through(Fault::End).await;
    run.assert_bad();
    let lost = run.report["connections"]["lost"].as_object().unwrap();
    assert_eq!(lost.values().filter_map(Value::as_u64).sum::<u64>(), u64::from(CONNECTIONS));
    let [_, missing, ..] = run.event_counts();
    assert!(missing > 0, "{}", run.report);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_subscribe_is_told_as_the_gateway_told_it() {
    let arguments = ["--connections", "2", "--symbols", "10", "--subscribe", "6"];
    let run = Server::start().await.load(&arguments).await;
    run.assert_bad();
    assert_eq!(run.number("/connections/opened"), 0);
    assert!(
        run.report["connections"]["failed"].to_string().contains("SYMBOL_LIMIT_EXCEEDED"),
        "{}",
        run.report
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nothing_is_measured() {
    let server = Server::start().await;
    let nobody = ReservedPort::new();
    let redis_url = format!("redis://{}", nobody.addr());
    let url = format!("ws://{}/ws", server.clients);
    let arguments = ["--url", &url, "--redis", &redis_url, "--json"];
    let (status, stdout, stderr) = Tool::start(env!("CARGO_BIN_EXE_ws-load"), &arguments).end().await;
    assert_eq!((status.code(), stdout.len()), (Some(1), 0));
    assert!(stderr.iter().any(|line| line.contains("Redis at 127.0.0.1")), "{stderr:?}");
}

#[tokio::test]
async fn a_redis_that_hangs_up_is_a_failure() {
    let server = Server::start().await;
    let redis = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let redis_url = format!("redis://{}", redis.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = redis.accept().await.unwrap();
        stream.write_all(b"+PONG\r\n").await.unwrap();
        // Half a PUBLISH, and away: what is written next breaks the pipe.
        stream.read_exact(&mut [0; 64]).await.unwrap();
    });
    let url = format!("ws://{}/ws", server.clients);
    let arguments = ["--url", &url, "--redis", &redis_url, "--connections=1", "--rate=max"];
    let (status, stdout, stderr) = Tool::start(env!("CARGO_BIN_EXE_ws-load"), &arguments).end().await;
    assert_eq!((status.code(), stdout.len()), (Some(1), 0), "{stderr:?}");
    assert!(stderr.iter().any(|line| line.starts_with("ws-load: publishing: Redis")), "{stderr:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_is_the_verdict_whoever_reads_the_report() {
    let server = Server::start().await;
    let url = format!("ws://{}/ws", server.clients);
    for (subscribe, code) in [("1", 0), ("6", 1)] {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_ws-load"));
        command.args([
            "--url",
            &url,
            "--connections=2",
            "--symbols=10",
            "--rate=0",
            "--warmup=0",
            "--duration=1ms",
        ]);
        let unread = || std::io::pipe().unwrap().1;
        command.args(["--subscribe", subscribe]).stdout(unread()).stderr(unread()).kill_on_drop(true);
        let status = soon("the end", command.spawn().unwrap().wait()).await.unwrap();
        assert_eq!(status.code(), Some(code), "--subscribe {subscribe}");
    }
}

#[test]
fn the_documents_tell_every_option_and_every_example_is_taken() {
    assert_documented(&<ws_load::Options as clap::CommandFactory>::command());
}

/// Connections of the runs through a relay.
const CONNECTIONS: u32 = 8;

/// What a relay does to trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Leaves out every 100th.
    Drop,
    /// Leaves out all from the 200th on.
    DropFrom,
    /// Sends every 100th twice.
    Repeat,
    /// Sends every 100th after the next one.
    Swap,
    /// The same, once and on one connection.
    SwapOnce,
    /// Leaves out every 100th, and says so.
    Announce,
    /// Ends the connection at the 100th.
    End,
}

/// A run of 350 trades through a relay with a fault; and how often that happened.
async fn through(fault: Fault) -> (Run, u64) {
    let connections = CONNECTIONS.to_string();
    let arguments = ["--connections", &connections, "--symbols", "1", "--rate", "350"];
    let (run, faults) = loaded_through(&Server::start().await, fault, &arguments).await;
    assert!(faults >= u64::from(CONNECTIONS), "the relay was asked for faults and made {faults}");
    (run, faults)
}

/// A run through a relay with a fault; and how often that happened.
async fn loaded_through(server: &Server, fault: Fault, arguments: &[&str]) -> (Run, u64) {
    let faults = Arc::new(AtomicU64::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = listener.local_addr().unwrap();
    let (to, count) = (server.clients, Arc::clone(&faults));
    let accept = tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(relay_faultily(client, to, fault, Arc::clone(&count)));
        }
    });
    let run = server.load_by(relay, arguments).await;
    accept.abort();
    (run, faults.load(Ordering::Relaxed))
}

/// Passes messages on in both directions, but for some trades.
async fn relay_faultily(client: TcpStream, gateway: SocketAddr, fault: Fault, faults: Arc<AtomicU64>) {
    let mut client = accept_async(client).await.unwrap();
    let (mut gateway, _) = connect_async(format!("ws://{gateway}/ws")).await.unwrap();
    let mut trades = 0;
    let mut held: Option<Utf8Bytes> = None;
    loop {
        let text = tokio::select! {
            message = client.next() => {
                let Some(Ok(message)) = message else { return };
                gateway.send(message).await.unwrap();
                continue;
            }
            message = gateway.next() => match message {
                Some(Ok(Message::Text(text))) => text,
                // The gateway's pings are answered by the WebSocket library itself.
                Some(Ok(_)) => continue,
                None | Some(Err(_)) => return,
            },
        };
        let mut out = vec![text.clone()];
        if text.starts_with(r#"{"type":"trade""#) || text.starts_with(r#"{"type":"room_message""#) {
            trades += 1;
            if let Some(held) = held.take() {
                out.push(held);
            }
            let is_its_turn = match fault {
                Fault::DropFrom => trades >= 200,
                // Every connection has a relay of its own: the first there swaps.
                Fault::SwapOnce => {
                    trades == 100
                        && faults.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                }
                _ => trades % 100 == 0,
            };
            if is_its_turn {
                if !matches!(fault, Fault::SwapOnce) {
                    faults.fetch_add(1, Ordering::Relaxed);
                }
                match fault {
                    Fault::Drop | Fault::DropFrom => out.clear(),
                    Fault::Repeat => out.push(text),
                    Fault::Swap | Fault::SwapOnce => {
                        out.clear();
                        held = Some(text);
                    }
                    Fault::Announce => out = vec![SKIPPED.into()],
                    Fault::End => return,
                }
            }
        }
        for text in out {
            if client.send(Message::Text(text)).await.is_err() {
                return;
            }
        }
    }
}

const SKIPPED: &str =
    r#"{"type":"status","event":"skipped","data":{"symbol":"S0000","type":"trade","count":1},"timestamp":1}"#;
