//! What people try first: a page connects with a token, joins a room, writes there and to one user, and asks how the gateway is. In Chromium and in
//! Node.js, in the words of this file; and, where there are guides in `target/test-guides`, in the code of the quick start among them, as it stands.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::browser::Browser;
use crate::support::desk::{gateway, user};
use crate::support::guides::{code_of, guide_with};
use crate::support::program::npm_packages;
use crate::support::tokens::token;
use crate::support::{Client, PATIENCE, Redis};

/// Code for a console, to be entered one part after the other.
struct Guide {
    connect: String,
    /// Once it is connected: a room, a chat, and that somebody is typing.
    talk: String,
    /// A client of its own, and how it is used: up to where it connects, and from there.
    class: Option<(String, String)>,
}

impl Guide {
    fn ours() -> Self {
        let connect = r#"
            const ws = new WebSocket("ws://localhost:8000/ws?token=your-jwt-token");
            const say = (type, payload) => ws.send(JSON.stringify({ type, payload }));
            ws.onopen = () => { console.log("Connected!"); say("ping"); };
            ws.onmessage = ({ data }) => console.log("Received:", JSON.parse(data));
            ws.onclose = () => console.log("Disconnected");
        "#;
        let talk = r#"
            say("join_room", { room_id: "room-123" });
            say("room_message", { room_id: "room-123", message: "Hello everyone!" });
            say("chat", { to: "user-456", message: "Hi there!" });
            say("typing", { room_id: "room-123" });
        "#;
        Self { connect: connect.to_owned(), talk: talk.to_owned(), class: None }
    }

    /// The quick start among the guides, if they are here.
    fn theirs() -> Option<Self> {
        let guide = guide_with(&["## Smoke Tests", "class WebSocketClient"])?;
        let blocks: Vec<&str> = code_of(&guide, "javascript").collect();
        let [connect, room, chat, typing, class] = blocks[..] else {
            panic!("five blocks: {}", blocks.len())
        };
        let (class, usage) = class.split_once("ws.connect();").expect("it connects");
        Some(Self {
            connect: connect.to_owned(),
            talk: [room, chat, typing].concat(),
            class: Some((format!("{class}ws.connect();"), usage.to_owned())),
        })
    }
}

/// An expression that says what the code has logged: it enters the first part, waits for a line that begins so, enters the second, and waits until
/// there are lines about all that is awaited.
fn entered(addr: SocketAddr, first: &str, line: &str, second: &str, awaited: &[&str]) -> String {
    let code = format!(
        r#"(async () => {{
            const lines = [], waiting = [];
            const look = () => waiting.forEach(([ask, resolve]) => ask() && resolve());
            const until = (ask) => new Promise((resolve) => {{ waiting.push([ask, resolve]); look(); }});
            const text = (what) => (typeof what === "string" ? what : JSON.stringify(what));
            const log = (...words) => {{ lines.push(words.map(text).join(" ")); look(); }};
            const console = {{ log, error: log }};
            {first}
            await until(() => lines.some((line) => line.startsWith("{line}")));
            {second}
            await until(() => {awaited}.every((word) => lines.some((line) => line.includes(word))));
            const get = (path) => fetch("http://localhost:8000" + path).then((answer) => answer.json());
            // Rooms are counted now and then.
            let stats;
            while ((stats = await get("/stats")).total_rooms === 0) await new Promise((done) => setTimeout(done, 50));
            return {{ lines, health: await get("/health"), stats }};
        }})()"#,
        awaited = json!(awaited)
    );
    let token = token(json!({"sub": "user-123"}));
    code.replace("localhost:8000", &addr.to_string())
        .replace("wss://api.example.com", &format!("ws://{addr}"))
        .replace("your-jwt-token", &token)
}

/// What an expression comes to in Node.js, with the npm package `ws` as `WebSocket`.
async fn in_node(expression: &str) -> Value {
    let said = "(said) => { console.log(JSON.stringify(said)); process.exit(); }";
    let code = format!("globalThis.WebSocket = require('ws'); {expression}.then({said});");
    let mut node = tokio::process::Command::new("node");
    node.env("NODE_PATH", npm_packages().await).arg("-e").arg(code).kill_on_drop(true);
    let output = timeout(PATIENCE, node.output()).await.expect("an end in time");
    let output = output.expect("Node.js is installed (see README: Tests)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The frames among the lines.
fn frames(said: &Value) -> Vec<Value> {
    let lines = said["lines"].as_array().expect("lines").iter().filter_map(Value::as_str);
    let objects = lines.filter_map(|line| serde_json::from_str(line.strip_prefix("Received: ")?).ok());
    let mut frames: Vec<Value> = objects.collect();
    for frame in &mut frames {
        let is_stamped = frame.as_object_mut().expect("an object").remove("timestamp").is_some();
        assert_eq!(is_stamped, frame["type"] != "user_joined", "{frame}");
    }
    frames
}

async fn next_of(client: &mut Client, kind: &str) -> Value {
    let mut frame = client.next_of(kind).await;
    frame.as_object_mut().expect("an object").remove("timestamp");
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn people_talk_from_a_browser() {
    for guide in [Some(Guide::ours()), Guide::theirs()].into_iter().flatten() {
        let redis = Redis::start().await;
        let gateway = gateway(&redis, |_| {}).await;
        // A page of the gateway that has no script.
        let mut browser = Browser::open_at(&format!("http://{}/health", gateway.addr)).await;
        talks(gateway.addr, &guide, async |expression| browser.evaluate(&expression).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_talk_from_node() {
    for guide in [Some(Guide::ours()), Guide::theirs()].into_iter().flatten() {
        let redis = Redis::start().await;
        let gateway = gateway(&redis, |_| {}).await;
        talks(gateway.addr, &guide, async |expression| in_node(&expression).await).await;
    }
}

async fn talks(addr: SocketAddr, guide: &Guide, mut evaluate: impl AsyncFnMut(String) -> Value) {
    let mut other = user(addr, "user-456").await;
    other.join("room-123").await;
    let awaited = ["Hello everyone!", "Hi there!"];
    let said = evaluate(entered(addr, &guide.connect, "Connected!", &guide.talk, &awaited)).await;

    let joined = json!({"type": "user_joined", "user_id": "user-123", "room_id": "room-123"});
    let message = json!({"type": "room_message", "from": "user-123", "room_id": "room-123", "message": "Hello everyone!"});
    let chat = json!({"type": "chat", "from": "user-123", "to": "user-456", "message": "Hi there!"});
    let typing = json!({"type": "typing", "user_id": "user-123", "room_id": "room-123"});
    assert_eq!(frames(&said), [json!({"type": "pong"}), joined.clone(), message.clone(), chat.clone()]);
    for expected in [joined, message, chat, typing] {
        let kind = expected["type"].as_str().expect("a type").to_owned();
        assert_eq!(next_of(&mut other, &kind).await, expected);
    }
    let (health, stats) = (&said["health"], &said["stats"]);
    assert_eq!((&health["status"], &health["redis"]), (&json!("ok"), &json!("ok")), "{health}");
    assert_eq!((&health["connections"], &health["online_users"]), (&json!(2), &json!(2)), "{health}");
    let counts = ["total_connections", "online_users", "total_rooms"].map(|name| stats[name].as_u64());
    assert_eq!(counts, [Some(2), Some(2), Some(1)], "{stats}");

    if let Some((class, usage)) = &guide.class {
        evaluate(entered(addr, class, "Connected", usage, &["user-123: Hello!"])).await;
        assert_eq!(next_of(&mut other, "room_message").await["message"], "Hello!");
    }
}
