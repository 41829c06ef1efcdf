//! Artillery with a load file and its own engine for Socket.IO: no virtual user fails.

use serde_json::Value;

use crate::support::process::Process;
use crate::support::program::{Program, node, support};
use crate::support::until;

/// Runs the load file, faster by that factor, until the gateway has got all of it. Returns what the engine has counted.
async fn run(faster: u32) -> Value {
    let args =
        ["--embedded-redis-port", "0", "--desk", "--dialects", "socketio", "--channel-types", "trade,case"];
    let gateway = Process::start(&args).await;
    let mut script = node("socketio_load.js").await;
    let target = format!("http://{}", gateway.addr());
    script.args([&support("socketio_load.yml"), &target, &faster.to_string()]);
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

#[tokio::test(flavor = "multi_thread")]
async fn no_virtual_user_fails() {
    check(&run(60).await, 5 + 20 * 5);
}

/// The file as it is, for six minutes: `cargo test --test guarantees the_load_file_at_full_length -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes more than six minutes"]
async fn the_load_file_at_full_length() {
    let counted = run(1).await;
    println!("{:#}", counted);
    check(&counted, 60 * 5 + 300 * 20);
}
