//! A React component with socket.io-client, as it stands in such applications: it follows a case while it is shown, comes back after a loss, and lets go.
//! Where there are guides in `target/test-guides`, also the service and the component of the one among them that has such, as they stand.

use serde_json::json;
use tempfile::TempDir;

use crate::support::guides::{code_with, guide_with};
use crate::support::process::Process;
use crate::support::program::{Program, node, support};
use crate::support::tokens::{SECRET, token};
use crate::support::{Redis, until};

/// Waits until the page has logged the one and shows the other, in whatever order. Returns all that it has logged meanwhile.
async fn logs_and_shows(page: &mut Program, log: &str, text: &str) -> Vec<String> {
    let (mut logged, mut is_shown) = (Vec::new(), false);
    while !is_shown || !logged.iter().any(|line| line == log) {
        let line = page.json().await;
        if let Some(shows) = line["shows"].as_str() {
            is_shown = shows == text;
        }
        logged.extend(line["log"].as_str().map(str::to_owned));
    }
    logged
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_follows_what_it_shows() {
    let redis = Redis::start().await;
    let args =
        ["--desk", "--dialects", "socketio", "--channel-types", "trade,case", "--jwt-secret-key", SECRET];
    let gateway = Process::on(&redis, &args).await;
    let dir = TempDir::new().expect("a temporary directory");
    let mut script = node("socketio_react.js").await;
    script.arg(dir.path().join("profile")).env("TMPDIR", dir.path()).arg(gateway.addr().to_string());
    script.arg(token(json!({"sub": "ann"}))).arg(support("socketio_react.tsx"));
    let mut page = Program::start(script);
    page.logs("connected").await;
    let acknowledged = page.logs("acknowledged").await;
    assert!(acknowledged.starts_with(r#"acknowledged {"userId":"ann","serverId":""#), "{acknowledged}");
    page.logs("follows case-1").await;
    let mut worker = redis.publisher().await;
    worker.events([("case:case-1", r#"{"state":"open"}"#.to_owned())]).await;
    logs_and_shows(&mut page, r#"updated {"state":"open"}"#, "case-1 is open").await;

    // Another case is another connection; the first one has been let go.
    page.say(r#"{"case":"case-2"}"#).await;
    page.logs("disconnected io client disconnect").await;
    page.logs("follows case-2").await;
    worker.events([("case:case-1", r#"{"state":"closed"}"#.to_owned())]).await;
    worker.events([("case:case-2", r#"{"state":"new"}"#.to_owned())]).await;
    let logged = logs_and_shows(&mut page, r#"updated {"state":"new"}"#, "case-2 is new").await;
    assert_eq!(logged, [r#"updated {"state":"new"}"#], "nothing of the first one comes between");
    page.say(r#"{"case":null}"#).await;
    page.logs("disconnected io client disconnect").await;
    until("nobody to be there", async || {
        (gateway.get("/stats").await.json()["activeConnections"] == 0).then_some(())
    })
    .await;
}

/// The service and the component of the guide that has them, if it is here.
fn theirs() -> Option<(String, String)> {
    let guide = guide_with(&["new WebSocketService()"])?;
    let code = |part: &str| code_with(&guide, "typescript", part).to_owned();
    Some((code("new WebSocketService()"), code("function CaseDetail(")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_the_guide_runs_as_it_stands() {
    let Some((service, component)) = theirs() else { return };
    let redis = Redis::start().await;
    let args =
        ["--desk", "--dialects", "socketio", "--channel-types", "trade,case", "--jwt-secret-key", SECRET];
    let gateway = Process::on(&redis, &args).await;
    let dir = TempDir::new().expect("a temporary directory");
    let file = dir.path().join("CaseDetail.tsx");
    std::fs::create_dir(dir.path().join("services")).expect("a directory");
    std::fs::write(dir.path().join("services/websocket.ts"), service).expect("a file");
    std::fs::write(&file, component).expect("a file");
    let mut script = node("socketio_react.js").await;
    script.arg(dir.path().join("profile")).env("TMPDIR", dir.path()).arg(gateway.addr().to_string());
    script.arg(token(json!({"sub": "ann"}))).arg(file);
    let mut page = Program::start(script);
    page.logs("Server acknowledged").await;
    page.logs("Subscribed to case: case-1").await;
    let mut worker = redis.publisher().await;
    worker.events([("case:case-1", r#"{"state":"open"}"#.to_owned())]).await;
    assert_eq!(page.logs("Case updated").await, r#"Case updated: {"state":"open"}"#);
    page.say(r#"{"case":null}"#).await;
    page.logs("Disconnected: io client disconnect").await;
}
