//! The clients that workers and operators use can publish and subscribe at the embedded broker without a change: redis-cli
//! and redis-rs in both protocols, redis-py from 2.10.6 on, ioredis, node-redis.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use futures_util::StreamExt;
use redis::AsyncCommands;
use serde_json::{Value, json};
use ws_gateway::broker::EmbeddedConfig;

use crate::support::broker::{Broker, config};
use crate::support::program::support;

const TRADE: &str = r#"{"symbol":"AAPL","price":150.250}"#;
const PASSWORD: &str = "correct horse";

/// Runs a command to its end, beside the broker.
async fn output(mut command: Command) -> String {
    let described = format!("{command:?}");
    let Output { status, stdout, stderr } = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("no panic")
        .unwrap_or_else(|error| panic!("{described}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{described}: {status}\n{stdout}{stderr}");
    stdout.trim().to_owned()
}

fn redis_cli(broker: &Broker, args: &[&str]) -> Command {
    let mut command = Command::new("redis-cli");
    command.args(["-p", &broker.addr.port().to_string()]).args(args);
    command
}

async fn json_of(command: Command) -> Value {
    let text = output(command).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

async fn redis_cli_works(protocol: &'static str) {
    let mut broker = Broker::start(config()).await;
    let mut subscriber = redis_cli(&broker, &[protocol, "PSUBSCRIBE", "channel:*"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-cli is installed");
    let stdout = BufReader::new(subscriber.stdout.take().expect("piped"));
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    // Ends with redis-cli.
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut next = async |n: usize| {
        let mut read = Vec::new();
        while read.len() < n {
            read.push(lines.recv().await.expect("redis-cli runs"));
        }
        read
    };
    assert_eq!(next(3).await, ["psubscribe", "channel:*", "1"]);
    let publish = redis_cli(&broker, &[protocol, "PUBLISH", "channel:trade:AAPL", TRADE]);
    assert_eq!(output(publish).await, "2", "the subscriber and the gateway");
    assert_eq!(next(4).await, ["pmessage", "channel:*", "channel:trade:AAPL", TRADE]);
    assert_eq!(broker.events().await, [("channel:trade:AAPL".to_owned(), TRADE.to_owned())]);
    let unknown = output(redis_cli(&broker, &[protocol, "GET", "key"])).await;
    assert_eq!(unknown, "ERR unknown command 'GET', with args beginning with: 'key'");
    broker.stop().await;
    // It would try to connect again for ever.
    subscriber.kill().and_then(|()| subscriber.wait()).expect("it runs until now");
}

#[tokio::test]
async fn redis_cli_in_resp2() {
    redis_cli_works("-2").await;
}

#[tokio::test]
async fn redis_cli_in_resp3() {
    redis_cli_works("-3").await;
}

#[tokio::test]
async fn redis_cli_with_a_password() {
    let broker = Broker::start(config_with_password()).await;
    assert_eq!(output(redis_cli(&broker, &["PING"])).await, "NOAUTH Authentication required.");
    for protocol in ["-2", "-3"] {
        let ping = redis_cli(&broker, &[protocol, "--no-auth-warning", "-a", PASSWORD, "PING"]);
        assert_eq!(output(ping).await, "PONG");
    }
    broker.stop().await;
}

fn config_with_password() -> EmbeddedConfig {
    EmbeddedConfig { password: Some(PASSWORD.into()), ..config() }
}

#[tokio::test]
async fn redis_rs_in_resp2() {
    let mut broker = Broker::start(config()).await;
    let client = redis::Client::open(format!("redis://{}", broker.addr)).expect("a URL");
    let mut subscriber = client.get_async_pubsub().await.expect("a connection");
    subscriber.psubscribe("channel:trade:*").await.expect("subscribed");
    let mut publisher = client.get_multiplexed_async_connection().await.expect("a connection");
    let receivers: usize = publisher.publish("channel:trade:AAPL", TRADE).await.expect("published");
    assert_eq!(receivers, 2);
    let message = subscriber.on_message().next().await.expect("a message");
    assert_eq!(message.get_channel_name(), "channel:trade:AAPL");
    assert_eq!(message.get_payload_bytes(), TRADE.as_bytes());
    assert_eq!(broker.events().await.len(), 1);
    let both: (usize, usize) = (redis::pipe().atomic())
        .publish("channel:trade:AAPL", "1")
        .publish("channel:trade:AAPL", "2")
        .query_async(&mut publisher)
        .await
        .expect("published together");
    assert_eq!(both, (2, 2));
    assert_eq!(broker.events().await.len(), 2);
    broker.stop().await;
}

#[tokio::test]
async fn redis_rs_in_resp3() {
    let broker = Broker::start(config_with_password()).await;
    let url = format!("redis://:{}@{}/?protocol=resp3", PASSWORD.replace(' ', "%20"), broker.addr);
    let client = redis::Client::open(url).expect("a URL");
    let (sender, mut pushes) = tokio::sync::mpsc::unbounded_channel();
    let config = redis::AsyncConnectionConfig::new().set_push_sender(sender);
    let mut both = client.get_multiplexed_async_connection_with_config(&config).await.expect("a connection");
    both.psubscribe("channel:trade:*").await.expect("subscribed");
    // In RESP3 a subscriber can publish on the same connection.
    let receivers: usize = both.publish("channel:trade:AAPL", TRADE).await.expect("published");
    assert_eq!(receivers, 2);
    let kinds = [redis::PushKind::PSubscribe, redis::PushKind::PMessage];
    for kind in kinds {
        assert_eq!(pushes.recv().await.expect("a push").kind, kind);
    }
    // Its own message would break the reply if it came within.
    let replies: (usize, String) = (redis::pipe().atomic())
        .publish("channel:trade:AAPL", "1")
        .cmd("PING")
        .query_async(&mut both)
        .await
        .expect("published together");
    assert_eq!(replies, (2, "PONG".to_owned()));
    assert_eq!(pushes.recv().await.expect("a push").kind, redis::PushKind::PMessage);
    broker.stop().await;
}

async fn redis_py_works(version: &str) {
    let mut env = Command::new(support("py-env"));
    env.arg(format!("redis=={version}"));
    let python = output(env).await;
    for password in [None, Some(PASSWORD)] {
        let setup = EmbeddedConfig { password: password.map(Into::into), ..config() };
        let mut broker = Broker::start(setup).await;
        let mut script = Command::new(&python);
        script.args([&support("redis_py.py"), &broker.addr.port().to_string()]).args(password);
        let payload = "00ff0d0a";
        assert_eq!(
            json_of(script).await,
            json!({
                "said": [
                    ["subscribe", null, "channel:news:ALL", 1],
                    ["psubscribe", null, "channel:trade:*", 2],
                    ["pmessage", "channel:trade:*", "channel:trade:AAPL", TRADE],
                    ["message", null, "channel:news:ALL", payload],
                    ["pmessage", "channel:trade:*", "channel:trade:MSFT", "0"],
                    ["pmessage", "channel:trade:*", "channel:trade:MSFT", "1"],
                    ["pmessage", "channel:trade:*", "channel:trade:MSFT", "2"],
                    ["unsubscribe", null, "channel:news:ALL", 1],
                    ["punsubscribe", null, "channel:trade:*", 0],
                ],
                "receivers": [2, 1, 0],
                "together": [2, 2, 2, true],
                "channels": ["channel:news:ALL"],
                "numsub": [["channel:news:ALL", 1], ["nobody", 0]],
                "numpat": 1,
                "error": "unknown command 'GET', with args beginning with: 'key' ",
            })
        );
        assert_eq!(broker.events().await, [("channel:trade:AAPL".to_owned(), TRADE.to_owned())]);
        let together = ["0", "1", "2"].map(|payload| ("channel:trade:MSFT".to_owned(), payload.to_owned()));
        assert_eq!(broker.events().await, together);
        broker.stop().await;
    }
}

#[tokio::test]
async fn redis_py_2_10_6() {
    redis_py_works("2.10.6").await;
}

#[tokio::test]
async fn redis_py_3_5_3() {
    redis_py_works("3.5.3").await;
}

#[tokio::test]
async fn redis_py_8_1_0() {
    redis_py_works("8.1.0").await;
}

/// Runs a script for Node, with the clients that it needs.
async fn node(broker: &Broker, script: &str, args: &[&str]) -> Value {
    let packages = output(Command::new(support("npm-env"))).await;
    let mut node = Command::new("node");
    node.env("NODE_PATH", format!("{packages}/node_modules"));
    node.args([&support(script), &broker.addr.port().to_string()]).args(args);
    json_of(node).await
}

#[tokio::test]
async fn ioredis() {
    let mut broker = Broker::start(config_with_password()).await;
    assert_eq!(
        node(&broker, "ioredis.js", &[PASSWORD]).await,
        json!({
            "counts": [1, 2, 1, 0],
            "receivers": [2, 1, 0],
            "said": [
                ["pmessage", "channel:trade:*", "channel:trade:AAPL", TRADE],
                ["message", null, "channel:news:ALL", "extra"],
                ["pmessage", "channel:trade:*", "channel:trade:MSFT", "0"],
                ["pmessage", "channel:trade:*", "channel:trade:MSFT", "2"],
            ],
            "together": [[null, 2], [null, "PONG"], [null, 0], ["QUEUED", [[null, 2]]]],
            "name": "test",
            "error": "ERR unknown command 'get', with args beginning with: 'key' ",
        })
    );
    assert_eq!(broker.events().await, [("channel:trade:AAPL".to_owned(), TRADE.to_owned())]);
    broker.stop().await;
}

#[tokio::test]
async fn node_redis() {
    for (resp, password) in [("2", None), ("3", Some(PASSWORD))] {
        let setup = EmbeddedConfig { password: password.map(Into::into), ..config() };
        let broker = Broker::start(setup).await;
        let args: Vec<&str> = [resp].into_iter().chain(password).collect();
        assert_eq!(
            node(&broker, "node_redis.js", &args).await,
            json!({
                "receivers": [2, 1, 0],
                "said": [
                    ["channel:trade:AAPL", TRADE],
                    ["channel:news:ALL", "extra"],
                    ["channel:trade:MSFT", "0"],
                ],
                "together": [2, "PONG", 0],
                "clients": ["test", "test"],
                "left": 0,
                "name": "test",
                "error": "ERR unknown command 'GET', with args beginning with: 'key' ",
            })
        );
        broker.stop().await;
    }
}
