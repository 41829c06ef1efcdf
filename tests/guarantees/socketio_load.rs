//! Artillery with a load file and its own engine for Socket.IO: no virtual user fails.

use serde_json::Value;

use crate::support::process::Process;
use crate::support::program::{Program, node, support};

/// Runs the load file, so many times faster, and returns what the engine has counted and how many messages the gateway has got.
async fn run(faster: u32) -> (Value, u64) {
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
    let received = gateway.get("/stats").await.json()["messagesReceived"].as_u64().expect("a number");
    (counted, received)
}

fn check((counted, received): &(Value, u64), users: u64) {
    let count = |name: &str| counted["counters"][name].as_u64().unwrap_or_default();
    assert_eq!((count("vusers.created"), count("vusers.completed")), (users, users), "{counted:#}");
    assert_eq!((count("vusers.failed"), count("socketio.emit")), (0, 3 * users), "{counted:#}");
    let errors = counted["counters"].as_object().into_iter().flatten();
    assert_eq!(errors.filter(|(name, _)| name.starts_with("errors.")).count(), 0, "{counted:#}");
    // A connect, three emits and a disconnect of each.
    assert_eq!(*received, 5 * users);
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
    println!("{:#}", counted.0);
    check(&counted, 60 * 5 + 300 * 20);
}
