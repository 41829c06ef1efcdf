//! A FastAPI hub's two examples, telling everyone and telling one user, publish through redis-py and reach whom they are for: in the words of this
//! file; and, where there are guides in `target/test-guides`, in the code of the hub among them, as it stands.

use serde_json::{Value, json};

use crate::support::Redis;
use crate::support::desk::gateway;
use crate::support::guides::{code_of, guide_with};
use crate::support::program::{Program, python};
use crate::support::tokens::{enter, token};

/// The code of endpoints: one tells everyone how a task goes, the other tells a user something.
struct Hub {
    broadcast: String,
    notify: String,
}

impl Hub {
    fn ours() -> Self {
        let broadcast = r#"
from app.websocket.redis_pubsub import redis_pubsub
from app.websocket.message_types import TaskStatusUpdate

@app.post("/tasks/{task_id}")
async def tell_everyone(task_id, status, progress):
    data = {"task_id": task_id, "status": status, "progress": progress}
    await redis_pubsub.publish_broadcast(TaskStatusUpdate(event_id="1", data=data))
    return {"status": "updated"}
"#;
        let notify = r#"
from app.websocket.redis_pubsub import redis_pubsub
from app.websocket.message_types import MessageType, WSMessage

@app.post("/users/{user_id}")
async def tell_one(user_id, text):
    told = WSMessage(type=MessageType.AGENT_ACTIVITY_UPDATE, event_id="2", data={"message": text})
    await redis_pubsub.publish_to_user(user_id, told)
    return {"status": "sent"}
"#;
        Self { broadcast: broadcast.to_owned(), notify: notify.to_owned() }
    }

    /// The hub among the guides, if they are here.
    fn theirs() -> Option<Self> {
        let hub = guide_with(&["redis_pubsub.publish_broadcast("])?;
        let code = |call: &str| {
            let blocks = code_of(&hub, "python");
            let of_call: Vec<_> = blocks.filter(|block| block.contains(call)).collect();
            let [code] = of_call[..] else { panic!("one example with {call}: {}", of_call.len()) };
            code.to_owned()
        };
        Some(Self {
            broadcast: code("redis_pubsub.publish_broadcast("),
            notify: code("redis_pubsub.publish_to_user("),
        })
    }
}

/// Calls the endpoint with these arguments, and returns what it answers.
async fn call(redis: &Redis, code: &str, arguments: &[&str]) -> Value {
    let mut python = python("redis==8.1.0", "hub.py").await;
    python.arg(redis.port.to_string()).arg(code).args(arguments);
    let mut endpoint = Program::start(python);
    let answer = endpoint.json().await;
    assert!(endpoint.exit().await.success());
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn reach_everyone_and_one_user() {
    for hub in [Some(Hub::ours()), Hub::theirs()].into_iter().flatten() {
        let redis = Redis::start().await;
        let gateways = [gateway(&redis, |_| {}).await, gateway(&redis, |_| {}).await];
        let mut clients = Vec::new();
        for (gateway, user) in gateways.iter().zip(["user-123", "user-456"]) {
            let bearer = format!("Authorization: Bearer {}", token(json!({"sub": user})));
            let mut client = enter(gateway.addr, "?desk=1", &[&bearer]).await;
            client.gets_nothing().await;
            clients.push(client);
        }
        assert_eq!(call(&redis, &hub.broadcast, &["7", "running", "50"]).await["status"], "updated");
        for client in &mut clients {
            let told = client.json().await;
            let data = json!({"task_id": "7", "status": "running", "progress": "50"});
            assert_eq!((&told["type"], &told["data"]), (&json!("task_status_update"), &data), "{told}");
            assert!(told["event_id"].is_string(), "{told}");
        }
        assert_eq!(call(&redis, &hub.notify, &["user-123", "your turn"]).await["status"], "sent");
        let told = clients[0].json().await;
        let expected = (&json!("agent_activity_update"), &json!({"message": "your turn"}));
        assert_eq!((&told["type"], &told["data"]), expected, "{told}");
        clients[1].gets_nothing().await;
    }
}
