//! What Redis doesn't confirm is refused within a second, and nothing of it is sent later. Prices are not disturbed by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::desk::{gateway, user};
use crate::support::{Client, Redis, until};

/// A thread that does nothing but sleep, to know by how much this machine is late with what is due.
struct Machine(Arc<AtomicU64>);

impl Machine {
    fn watch() -> Self {
        let worst = Arc::new(AtomicU64::new(0));
        let watched = Arc::downgrade(&worst);
        std::thread::spawn(move || {
            while let Some(worst) = watched.upgrade() {
                let (started, pause) = (Instant::now(), Duration::from_millis(5));
                std::thread::sleep(pause);
                worst.fetch_max((started.elapsed() - pause).as_millis() as u64, Ordering::Relaxed);
            }
        });
        Self(worst)
    }

    /// What was asked at that time has been answered within a second, and what the machine has added.
    fn answered_in_time(&self, asked: Instant) {
        let (took, late) = (asked.elapsed(), Duration::from_millis(self.0.load(Ordering::Relaxed)));
        assert!(took <= Duration::from_secs(1) + 2 * late, "{took:?}, on a machine that is {late:?} late");
    }
}

async fn is_unavailable(machine: &Machine, client: &mut Client, name: &str, payload: serde_json::Value) {
    let asked = Instant::now();
    let (reply, _) = client.ask_for(name, payload).await;
    machine.answered_in_time(asked);
    assert_eq!(reply["code"], "UNAVAILABLE", "{name}: {reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_gone() {
    let (mut redis, machine) = (Redis::start().await, Machine::watch());
    let gateway = gateway(&redis, |_| {}).await;
    let mut alice = user(gateway.addr, "alice").await;
    alice.join("r").await;
    redis.kill();
    until("the loss to be noticed", async || {
        let (reply, _) = alice.ask_for("room_message", json!({"room_id": "r", "message": "lost"})).await;
        (reply["code"] == "UNAVAILABLE").then_some(())
    })
    .await;
    for n in 0..20 {
        is_unavailable(&machine, &mut alice, "room_message", json!({"room_id": "r", "message": n})).await;
    }
    is_unavailable(&machine, &mut alice, "chat", json!({"to": "bob", "message": 1})).await;
    is_unavailable(&machine, &mut alice, "typing", json!({"room_id": "r"})).await;
    is_unavailable(&machine, &mut alice, "join_room", json!({"room_id": "s"})).await;
    is_unavailable(&machine, &mut alice, "leave_room", json!({"room_id": "r"})).await;
    // It wasn't a member of the one, and is still one of the other.
    let (reply, _) = alice.ask_for("typing", json!({"room_id": "s"})).await;
    assert_eq!(reply["code"], "FORBIDDEN", "{reply}");
    redis.launch();
    redis.until_up().await;
    until("the gateway to come back", async || {
        let (reply, before) = alice.ask_for("room_message", json!({"room_id": "r", "message": "new"})).await;
        let said = before.iter().filter(|frame| frame["type"] == "room_message");
        said.for_each(|frame| assert_eq!(frame["message"], "new", "nothing is sent later"));
        (reply["type"] == "success" && gateway.gateway.state().feed_up()).then_some(())
    })
    .await;
    alice.join("s").await;
    let (reply, _) = alice.ask_for("leave_room", json!({"room_id": "r"})).await;
    assert_eq!(reply["type"], "success", "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_hangs() {
    let (redis, machine) = (Redis::start().await, Machine::watch());
    let gateway = gateway(&redis, |_| {}).await;
    let mut alice = user(gateway.addr, "alice").await;
    alice.join("r").await;
    redis.hang();
    // The first waits for its reply. From then on there is no connection.
    is_unavailable(&machine, &mut alice, "room_message", json!({"room_id": "r", "message": "late"})).await;
    for n in 0..5 {
        is_unavailable(&machine, &mut alice, "room_message", json!({"room_id": "r", "message": n})).await;
    }
    is_unavailable(&machine, &mut alice, "leave_room", json!({"room_id": "r"})).await;
    redis.go_on();
    until("the gateway to come back", async || {
        let (reply, before) = alice.ask_for("room_message", json!({"room_id": "r", "message": "new"})).await;
        // The one that Redis had taken already may have been delivered, as the refusal says.
        let is_expected = |frame: &serde_json::Value| frame["message"] == "new" || frame["message"] == "late";
        let said = before.iter().filter(|frame| frame["type"] == "room_message");
        said.for_each(|frame| assert!(is_expected(frame), "{frame}"));
        (reply["type"] == "success").then_some(())
    })
    .await;
}

/// What was asked first is not kept waiting by what is written behind it, of which Redis takes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn while_it_hangs_and_much_is_said() {
    let (redis, machine) = (Redis::start().await, Machine::watch());
    let gateway = gateway(&redis, |config| {
        config.clients.max_message_bytes = 1 << 20;
        config.events.max_event_bytes = 1 << 20;
    })
    .await;
    let mut alice = user(gateway.addr, "alice").await;
    alice.join("r").await;
    // Together more than the system takes for a peer that doesn't read.
    let long = json!("x".repeat(1_000_000));
    let mut others = Vec::new();
    for n in 0..10 {
        let mut other = user(gateway.addr, &format!("user-{n}")).await;
        other.join("r").await;
        others.push(other);
    }
    redis.hang();
    let asked = Instant::now();
    let payload = json!({"room_id": "r", "message": "first"});
    alice.send(json!({"type": "room_message", "payload": payload, "id": "asked"}).to_string()).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    for other in &mut others {
        other.write("r", long.clone()).await;
    }
    loop {
        let frame = alice.json().await;
        if frame["id"] == "asked" {
            machine.answered_in_time(asked);
            assert_eq!(frame["code"], "UNAVAILABLE", "{frame}");
            break;
        }
    }
    for other in &mut others {
        let reply = other.next_of("error").await;
        assert_eq!(reply["code"], "UNAVAILABLE", "{reply}");
    }
    redis.go_on();
    until("the gateway to come back", async || {
        let (reply, _) = alice.ask_for("room_message", json!({"room_id": "r", "message": "new"})).await;
        (reply["type"] == "success").then_some(())
    })
    .await;
}
