//! Artillery's runner with a load file and its own engine for Socket.IO: no virtual user fails. Where there are guides in `target/test-guides`, also with
//! the load file of the one among them that has such, at arrival rates for two cores.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::guides::{code_with, guide_with};
use crate::support::process::Process;
use crate::support::program::{Program, node, support};
use crate::support::until;

/// Runs a load file, faster by that factor, until the gateway has got all of it. Returns what the engine has counted.
async fn run(file: &Path, faster: u32) -> Value {
    let args =
        ["--embedded-redis-port", "0", "--desk", "--dialects", "socketio", "--channel-types", "trade,case"];
    let gateway = Process::start(&args).await;
    let mut script = node("socketio_load.js").await;
    let target = format!("http://{}", gateway.addr());
    script.arg(file).args([&target, &faster.to_string()]);
    let mut program = Program::start(script);
    let counted = loop {
        // It takes as long as the load file says.
        if let Ok(Some(line)) =
            tokio::time::timeout(std::time::Duration::from_secs(900), program.read()).await
        {
            if let Ok(counted) = serde_json::from_str::<Value>(&line) {
                break counted;
            }
        } else {
            panic!("the engine ended without a word");
        }
    };
    // A connect, three emits and a disconnect of each; the last ones may be on their way.
    let users = counted["counters"]["vusers.created"].as_u64().unwrap_or_default();
    until("what every user has sent", async || {
        let received = gateway.get("/stats").await.json()["messagesReceived"].as_u64();
        (received == Some(5 * users)).then_some(())
    })
    .await;
    counted
}

fn check(counted: &Value, users: u64) {
    let count = |name: &str| counted["counters"][name].as_u64().unwrap_or_default();
    assert_eq!((count("vusers.created"), count("vusers.completed")), (users, users), "{counted:#}");
    assert_eq!((count("vusers.failed"), count("socketio.emit")), (0, 3 * users), "{counted:#}");
    let errors = counted["counters"].as_object().into_iter().flatten();
    assert_eq!(errors.filter(|(name, _)| name.starts_with("errors.")).count(), 0, "{counted:#}");
}

fn ours() -> PathBuf {
    support("socketio_load.yml").into()
}

/// The load file among the guides, if it is here.
fn theirs(dir: &Path) -> Option<PathBuf> {
    let guide = guide_with(&["arrivalRate: 500"])?;
    let load = code_with(&guide, "yaml", "arrivalRate: 500");
    let load =
        load.replace("arrivalRate: 100", "arrivalRate: 5").replace("arrivalRate: 500", "arrivalRate: 20");
    let file = dir.join("load.yml");
    std::fs::write(&file, load).expect("a file");
    Some(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_virtual_user_fails() {
    let dir = TempDir::new().expect("a temporary directory");
    for file in [Some(ours()), theirs(dir.path())].into_iter().flatten() {
        check(&run(&file, 60).await, 5 + 20 * 5);
    }
}

/// As long as the file says, six minutes: `cargo test --test guarantees the_load_file_at_full_length -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes more than six minutes"]
async fn the_load_file_at_full_length() {
    let dir = TempDir::new().expect("a temporary directory");
    let counted = run(&theirs(dir.path()).unwrap_or_else(ours), 1).await;
    println!("{counted:#}");
    check(&counted, 60 * 5 + 300 * 20);
}
