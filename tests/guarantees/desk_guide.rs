//! Each snippet of the pages in docs/desk runs as it stands, but for addresses, and does what its page says. Each page begins with the smallest thing that works.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use ws_gateway::config::Config;
use ws_gateway::config::desk::OfflineQueue;
use ws_gateway::gateway::Gateway;
use ws_gateway::protocol::api::Api;

use crate::support::desk::user;
use crate::support::program::{Program, npm_packages, python};
use crate::support::redis::Publisher;
use crate::support::tokens::{SECRET, token};
use crate::support::{Client, until};

const QUEUE: OfflineQueue = OfflineQueue { entries: 100, keep: Duration::from_secs(7 * 24 * 3_600) };

const REDIS_PY: &str = "redis==8.1.0";

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/desk").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The snippets of a page in a language, in its order: as many as the test knows.
fn snippets<const COUNT: usize>(name: &str, language: &str) -> [String; COUNT] {
    let page = page(name);
    let blocks = page.split("\n```").filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'));
    let blocks: Vec<_> = blocks.map(str::to_owned).collect();
    blocks.try_into().unwrap_or_else(|blocks| panic!("{name}, {language}: {COUNT} are run of {blocks:?}"))
}

/// A gateway that is its own broker, as the pages have it.
struct Site {
    gateway: Gateway,
}

impl Site {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        // Their first installation takes longer than a client may leave pings unanswered.
        npm_packages().await;
        python(REDIS_PY, "redis_py.py").await;
        let mut config = Config::for_tests();
        config.access.secret_key = Some(SECRET.to_owned());
        config.desk.is_on = true;
        change(&mut config);
        Self { gateway: Gateway::build(config).await.expect("the gateway starts") }
    }

    fn addr(&self) -> SocketAddr {
        self.gateway.local_addr()
    }

    fn broker(&self) -> u16 {
        self.gateway.broker_addr().expect("a broker").port()
    }

    /// A snippet for this gateway's broker.
    fn at(&self, code: &str) -> String {
        let port = self.broker();
        code.replace("localhost:6379", &format!("127.0.0.1:{port}"))
            .replace("-h localhost -p 6379", &format!("-h 127.0.0.1 -p {port}"))
            .replace("host=\"localhost\", port=6379", &format!("host=\"127.0.0.1\", port={port}"))
    }

    async fn sh(&self, code: &str) {
        let mut sh = Command::new("sh");
        sh.arg("-ec").arg(self.at(code));
        succeeds(sh).await;
    }

    /// Python with redis-py, to run these lines.
    async fn python(&self, code: &str) -> Command {
        let mut script = python(REDIS_PY, "redis_py.py").await;
        let mut python = Command::new(script.as_std_mut().get_program());
        python.arg("-c").arg(self.at(code));
        python
    }

    async fn node(&self, code: &str) -> Command {
        let mut node = Command::new("node");
        node.env("NODE_PATH", npm_packages().await).arg("-e").arg(self.at(code));
        node
    }

    /// A snippet of a client, as this user.
    async fn client(&self, code: &str, name: &str) -> Program {
        let url = format!("ws://{}/ws?token={}", self.addr(), token(json!({"sub": name})));
        let code = code.replace("ws://localhost:8080/ws", &url);
        Program::start(self.node(&format!("const WebSocket = require('ws');\n{code}")).await)
    }
}

async fn succeeds(mut command: Command) {
    let output = command.output().await.expect("it is installed (see README: Tests)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn pages_begin_with_the_smallest_thing_that_works() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/desk");
    let index = std::fs::read_to_string(folder.with_extension("md")).expect("the index");
    let names =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    let known =
        ["broadcast", "chat", "inbox", "notify", "presence", "requests", "rooms", "socketio", "typing"];
    assert_eq!(names, known.map(|name| format!("{name}.md")), "each has a test here");
    for name in names {
        assert!(index.contains(&format!("](desk/{name})")), "{name} is in the index");
        let page = page(&name);
        let (before, _) = page.split_once("\n```").expect("a snippet");
        let purpose = before.lines().nth(2).unwrap_or_default();
        assert!(purpose.starts_with("For "), "{name} says what it is for: {purpose}");
        assert!(!before.contains("\n## ") && before.lines().count() <= 6, "{name}: {before}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notify() {
    let site = Site::start(|_| {}).await;
    let update = json!({"type": "task_status_update", "event_id": "7", "data": {"progress": 50}});
    let mut watcher = user(site.addr(), "user-123").await;
    let ([shell], [python], [js]) =
        (snippets("notify.md", "sh"), snippets("notify.md", "python"), snippets("notify.md", "js"));
    site.sh(&shell).await;
    assert_eq!(watcher.json().await, update, "redis-cli");
    succeeds(site.python(&python).await).await;
    assert_eq!(watcher.json().await, update, "Python");
    succeeds(site.node(&js).await).await;
    assert_eq!(watcher.json().await, update, "Node.js");
}

#[tokio::test(flavor = "multi_thread")]
async fn broadcast() {
    let site = Site::start(|_| {}).await;
    let mut watcher = user(site.addr(), "user-123").await;
    watcher.join("room-123").await;
    let ([shell], [python]) = (snippets("broadcast.md", "sh"), snippets("broadcast.md", "python"));
    site.sh(&shell).await;
    assert_eq!(watcher.json().await, json!({"type": "maintenance", "at": 1_234_567_890}));
    succeeds(site.python(&python).await).await;
    assert_eq!(watcher.json().await, json!({"type": "maintenance", "at": 1_234_567_890}));
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms() {
    let site = Site::start(|_| {}).await;
    let mut watcher = member(&site).await;
    let ([js], [shell]) = (snippets("rooms.md", "js"), snippets("rooms.md", "sh"));
    let mut program = site.client(&js, "user-456").await;
    assert_eq!((program.json().await, watcher.json().await), (joined(), joined()));
    let (said, heard): (Value, Value) = (program.json().await, watcher.json().await);
    assert_eq!(said, heard);
    assert_eq!((&said["from"], &said["message"]), (&json!("user-456"), &json!("Hello everyone!")));
    site.sh(&shell).await;
    let updated = json!({"type": "case_updated", "case": 7});
    assert_eq!((program.json().await, watcher.json().await), (updated.clone(), updated));
}

#[tokio::test(flavor = "multi_thread")]
async fn chat() {
    let site = Site::start(|_| {}).await;
    let mut other = user(site.addr(), "user-456").await;
    let [js] = snippets("chat.md", "js");
    let mut program = site.client(&js, "user-123").await;
    let (said, heard): (Value, Value) = (program.json().await, other.json().await);
    assert_eq!(said, heard);
    let at = &said["timestamp"];
    assert!(at.is_u64());
    let expected = json!({"type": "chat", "from": "user-123", "to": "user-456", "message": "Hi there!", "timestamp": at});
    assert_eq!(said, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn typing() {
    let site = Site::start(|_| {}).await;
    let mut watcher = member(&site).await;
    let [js] = snippets("typing.md", "js");
    let mut program = site.client(&js, "user-456").await;
    assert_eq!((program.json().await, watcher.json().await), (joined(), joined()));
    let typing = json!({"type": "typing", "user_id": "user-456", "room_id": "room-123"});
    assert_eq!(watcher.json().await, typing);
}

#[tokio::test(flavor = "multi_thread")]
async fn presence() {
    let site = Site::start(|_| {}).await;
    let mut watcher = member(&site).await;
    let [js] = snippets("presence.md", "js");
    let mut program = site.client(&js, "user-456").await;
    assert_eq!(watcher.json().await, joined());
    let here =
        json!({"type": "presence", "room_id": "room-123", "users": ["user-123", "user-456"], "count": 2});
    // The answer is the gateway's own, and the join comes by the broker.
    let told = [program.json().await, program.json().await];
    assert!(told.contains(&joined()) && told.contains(&here), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn inbox() {
    let site = Site::start(|config| config.desk.offline_queue = Some(QUEUE)).await;
    let mut watcher = user(site.addr(), "user-123").await;
    // Its answer shows that its inbox is there.
    let (reply, _) = watcher.ask_for("join_room", json!({"room_id": "room-123"})).await;
    assert_eq!(reply["type"], "success", "{reply}");
    let [shell] = snippets("inbox.md", "sh");
    site.sh(&shell).await;
    let task = watcher.next_of("task_done").await;
    assert!(task["message_id"].is_string() && task["queued"].is_null(), "{task}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests() {
    let site = Site::start(|config| config.desk.requests = true).await;
    let mut broker = Publisher::connect(&format!("redis://127.0.0.1:{}", site.broker())).await;
    let ([answers], [asks]) = (snippets("requests.md", "python"), snippets("requests.md", "js"));
    let _worker = Program::start(site.python(&answers).await);
    until("the worker to subscribe", async || {
        let (_, workers): (String, i64) = broker.command(&["PUBSUB", "NUMSUB", "channel:request"]).await;
        (workers == 1).then_some(())
    })
    .await;
    let mut client = site.client(&asks, "user-123").await;
    let response = json!({"type": "response", "requestId": "123", "payload": {"balance": 7}});
    assert_eq!(client.json().await, response);
}

#[tokio::test(flavor = "multi_thread")]
async fn socketio() {
    let site = Site::start(|config| {
        config.access.secret_key = None;
        config.clients.dialects = [Api::SocketIo].into_iter().collect();
    })
    .await;
    let mut watcher = Client::connect(&format!("ws://{}/ws", site.addr())).await;
    watcher.join("room-123").await;
    let [js] = snippets("socketio.md", "js");
    let code = js.replace("http://localhost:8080", &format!("http://{}", site.addr()));
    let mut program = Program::start(site.node(&code).await);
    assert_eq!(program.json().await[0], "connected");
    let (joined, said) = (program.json().await, program.json().await);
    assert_eq!((&joined[0], &joined[2]), (&json!("user_joined"), &json!("room-123")), "{joined}");
    assert_eq!((&said[0], &said[1]["message"]), (&json!("message"), &json!("Hello everyone!")), "{said}");
    assert_eq!(watcher.next_of("room_message").await["message"], "Hello everyone!");
}

/// A user who is in the room already.
async fn member(site: &Site) -> Client {
    let mut watcher = user(site.addr(), "user-123").await;
    watcher.join("room-123").await;
    watcher
}

fn joined() -> Value {
    json!({"type": "user_joined", "user_id": "user-456", "room_id": "room-123"})
}
