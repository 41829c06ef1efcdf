//! Clients of the desk.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ws_gateway::config::Config;

use super::tokens::{SECRET, enter, token};
use super::{Client, Redis, TestGateway};

/// A gateway with a desk, where tokens of [`SECRET`] say who users are.
pub(crate) async fn gateway(redis: &Redis, change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::on(redis, |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.desk.is_on = true;
        change(config);
    })
    .await
}

/// A grace within which people come back.
#[derive(Clone, Copy)]
pub(crate) struct Grace {
    length: Duration,
}

impl Grace {
    /// A gateway that gives users this long.
    pub(crate) async fn gateway(self, redis: &Redis) -> TestGateway {
        gateway(redis, |config| config.desk.presence_grace = self.length).await
    }

    /// `None` if those who were cut off then may be gone, or soon: whatever is seen then shows nothing.
    pub(crate) fn goes_on_since(self, cut_off: Instant) -> Option<()> {
        (cut_off.elapsed() + Duration::from_secs(1) < self.length).then_some(())
    }
}

/// A scene in which people come back within the grace; on a machine that is too busy for one of `first_s` seconds, with a longer one.
pub(crate) async fn with_enough_grace(first_s: u64, scene: impl AsyncFn(Grace) -> Option<()>) {
    for seconds in [first_s, 15, 45] {
        if scene(Grace { length: Duration::from_secs(seconds) }).await.is_some() {
            return;
        }
        eprintln!("nobody was back within {seconds} s");
    }
    panic!("the machine is too busy to come back within a grace");
}

/// How many users are in a room, as a client is told.
pub(crate) async fn count(client: &mut Client, room: &str) -> u64 {
    let (reply, _) = client.ask_for("presence", json!({"room_id": room})).await;
    reply["count"].as_u64().unwrap_or_else(|| panic!("{reply}"))
}

/// A connection of a user.
pub(crate) async fn user(addr: SocketAddr, name: &str) -> Client {
    with_claims(addr, json!({"sub": name})).await
}

/// A connection with a token that has these claims.
pub(crate) async fn with_claims(addr: SocketAddr, claims: Value) -> Client {
    enter(addr, "", &[&format!("Authorization: Bearer {}", token(claims))]).await
}

impl Client {
    /// Asks something of the desk.
    pub(crate) async fn ask(&mut self, name: &str, payload: Value) {
        self.send(json!({"type": name, "payload": payload}).to_string()).await;
    }

    /// The same with an `id`; returns the frame that echoes it, and those before it.
    pub(crate) async fn ask_for(&mut self, name: &str, payload: Value) -> (Value, Vec<Value>) {
        self.send(json!({"type": name, "payload": payload, "id": "asked"}).to_string()).await;
        let mut before = Vec::new();
        loop {
            let frame = self.json().await;
            if frame["id"] == "asked" {
                return (frame, before);
            }
            before.push(frame);
        }
    }

    /// Joins a room, and has been told of it.
    pub(crate) async fn join(&mut self, room: &str) {
        self.ask("join_room", json!({"room_id": room})).await;
        loop {
            let frame = self.json().await;
            assert_ne!(frame["type"], "error", "{frame}");
            if frame["type"] == "user_joined" {
                return;
            }
        }
    }

    /// Writes into a room.
    pub(crate) async fn write(&mut self, room: &str, message: Value) {
        self.ask("room_message", json!({"room_id": room, "message": message})).await;
    }

    /// The next frame of that type.
    pub(crate) async fn next_of(&mut self, name: &str) -> Value {
        loop {
            let frame = self.json().await;
            if frame["type"] == name {
                return frame;
            }
        }
    }

    /// Nothing is there for the client: what it asks next is answered next.
    pub(crate) async fn gets_nothing(&mut self) {
        self.send(r#"{"action":"ping"}"#).await;
        let frame = self.json().await;
        assert_eq!(frame["type"], "pong", "{frame}");
    }

    /// The next frame, without its `timestamp`.
    pub(crate) async fn told(&mut self) -> Value {
        let mut frame = self.json().await;
        if let Some(frame) = frame.as_object_mut() {
            frame.remove("timestamp");
        }
        frame
    }
}
