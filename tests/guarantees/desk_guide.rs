//! Each snippet of docs/desk.md runs as it stands, but for addresses, and does what the page says.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use ws_gateway::config::Config;
use ws_gateway::config::desk::OfflineQueue;
use ws_gateway::gateway::Gateway;

use crate::support::desk::user;
use crate::support::program::{Program, npm_packages, python};
use crate::support::redis::Publisher;
use crate::support::tokens::{SECRET, token};
use crate::support::until;

const QUEUE: OfflineQueue = OfflineQueue { entries: 100, keep: Duration::from_secs(7 * 24 * 3_600) };

const GUIDE: &str = include_str!("../../docs/desk.md");

/// The snippets of a language, in the order of the page.
fn snippets(language: &str) -> Vec<&'static str> {
    let blocks = GUIDE.split("\n```").filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'));
    blocks.collect()
}

/// A snippet for the broker at this port.
fn at(code: &str, port: u16) -> String {
    code.replace("localhost:6379", &format!("127.0.0.1:{port}"))
        .replace("-h localhost -p 6379", &format!("-h 127.0.0.1 -p {port}"))
        .replace("host=\"localhost\", port=6379", &format!("host=\"127.0.0.1\", port={port}"))
}

/// Python with redis-py, to run these lines.
async fn with_redis_py(code: &str) -> Command {
    let mut script = python("redis==8.1.0", "redis_py.py").await;
    let mut python = Command::new(script.as_std_mut().get_program());
    python.arg("-c").arg(code);
    python
}

async fn node(code: &str) -> Command {
    let mut node = Command::new("node");
    node.env("NODE_PATH", npm_packages().await).arg("-e").arg(code);
    node
}

async fn succeeds(mut command: Command) {
    let output = command.output().await.expect("it is installed (see README: Tests)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn snippets_do_what_the_page_says() {
    let mut config = Config::for_tests();
    config.access.secret_key = Some(SECRET.to_owned());
    config.desk.is_on = true;
    config.desk.offline_queue = Some(QUEUE);
    let gateway = Gateway::build(config).await.expect("the gateway starts");
    let (addr, port) = (gateway.local_addr(), gateway.broker_addr().expect("a broker").port());
    let here = |code: &str| at(code, port);
    let update = json!({"type": "task_status_update", "event_id": "7", "data": {"progress": 50}});
    let mut watcher = user(addr, "user-123").await;

    let [shell, all, add] = snippets("sh")[..] else { panic!("three of the shell") };
    succeeds(sh(&here(shell))).await;
    assert_eq!(watcher.json().await, update, "redis-cli");

    let [notify, _] = snippets("python")[..] else { panic!("two of Python") };
    succeeds(with_redis_py(&here(notify)).await).await;
    assert_eq!(watcher.json().await, update, "Python");

    let [notify, room] = snippets("js")[..] else { panic!("two of JavaScript") };
    succeeds(node(&here(notify)).await).await;
    assert_eq!(watcher.json().await, update, "Node.js");

    watcher.join("room-123").await;
    succeeds(sh(&here(all))).await;
    assert_eq!(watcher.json().await, json!({"type": "maintenance", "at": 1_234_567_890}));
    assert_eq!(watcher.json().await, json!({"type": "case_updated", "case": 7}));

    succeeds(sh(&here(add))).await;
    let task = watcher.json().await;
    assert_eq!((&task["type"], task["message_id"].is_string()), (&json!("task_done"), true), "{task}");

    let url = format!("ws://{addr}/ws?token={}", token(json!({"sub": "user-456"})));
    let code = format!("const WebSocket = require('ws');\n{}", room.replace("ws://localhost:8080/ws", &url));
    let mut program = Program::start(node(&code).await);
    let joined = json!({"type": "user_joined", "user_id": "user-456", "room_id": "room-123"});
    assert_eq!((program.json().await, watcher.json().await), (joined.clone(), joined));
    let (said, heard): (Value, Value) = (program.json().await, watcher.json().await);
    assert_eq!(said, heard);
    assert_eq!((&said["from"], &said["message"]), (&json!("user-456"), &json!("Hello everyone!")));
}

/// The page's worker answers what a client asks.
#[tokio::test(flavor = "multi_thread")]
async fn the_worker_answers() {
    let mut config = Config::for_tests();
    config.access.secret_key = Some(SECRET.to_owned());
    config.desk.is_on = true;
    config.desk.requests = true;
    let gateway = Gateway::build(config).await.expect("the gateway starts");
    let port = gateway.broker_addr().expect("a broker").port();
    let mut broker = Publisher::connect(&format!("redis://127.0.0.1:{port}")).await;
    let [_, answers] = snippets("python")[..] else { panic!("two of Python") };
    let _worker = Program::start(with_redis_py(&at(answers, port)).await);
    until("the worker to subscribe", async || {
        let (_, workers): (String, i64) = broker.command(&["PUBSUB", "NUMSUB", "channel:request"]).await;
        (workers == 1).then_some(())
    })
    .await;
    let mut client = user(gateway.local_addr(), "user-123").await;
    client.send(r#"{"type":"request","requestId":"123","payload":{"q":"balance"}}"#).await;
    let response = json!({"type": "response", "requestId": "123", "payload": {"balance": 7}});
    assert_eq!(client.json().await, response);
}

fn sh(code: &str) -> Command {
    let mut sh = Command::new("sh");
    sh.arg("-ec").arg(code);
    sh
}
