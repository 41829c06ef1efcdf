//! If Redis refuses the gateway, the log quotes its error, also if Redis sends it and closes before it has been asked; and
//! if a permission is missing, the log names the command that gives it.

use std::fs;
use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::process::Process;
use crate::support::redis::Publisher;
use crate::support::{Client, Redis, TestGateway, trade, until};

/// What Redis 7 says in protected mode.
const DENIED: &str = "DENIED Redis is running in protected mode because protected mode is enabled and no password is set \
                      for the default user.";

/// The line about the first attempt to reach `url`.
async fn refusal(url: &str) -> String {
    Process::spawn(&["--redis-url", url]).logs("upstream could not be reached").await
}

#[tokio::test(flavor = "multi_thread")]
async fn at_maxclients() {
    let redis = Redis::start_with(&["--maxclients", "1"]).await;
    // The one that is let in. The connections that found out that the server is up may not have gone yet.
    let _let_in = until("a connection", async || Publisher::try_connect(&redis.url()).await.ok()).await;
    let with_password = format!("redis://:pw@127.0.0.1:{}", redis.port);
    for url in [redis.url(), with_password, redis.unix_url()] {
        let line = refusal(&url).await;
        assert!(line.contains("ERR max number of clients reached"), "{url}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_or_with_a_wrong_password() {
    let redis = Redis::start_with(&["--requirepass", "hunter2"]).await;
    let line = refusal(&redis.url()).await;
    assert!(line.contains("NOAUTH Authentication required. (REDIS_URL has no password)"), "{line}");
    let line = refusal(&format!("redis://:wrong@127.0.0.1:{}", redis.port)).await;
    assert!(line.contains("AUTH refused: WRONGPASS"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_permission_the_log_names_the_command_that_gives_it() {
    let redis = Redis::start().await;
    let mut admin = redis.publisher().await;
    let () = admin.command(&["ACL", "SETUSER", "gw", "on", ">pw", "-@all", "resetchannels"]).await;
    let url = format!("redis://gw:pw@127.0.0.1:{}", redis.port);
    let gateway = Process::spawn(&["--redis-url", &url, "--channel-types", "trade,quote"]);
    let line = gateway.logs("upstream could not be reached").await;
    assert!(line.contains("PSUBSCRIBE refused: NOPERM"), "{line}");
    let (_, rest) = line.split_once("(ACL ").unwrap_or_else(|| panic!("no command in {line}"));
    let (command, _) = rest.split_once(')').unwrap();
    let args: Vec<_> = std::iter::once("ACL").chain(command.split(' ')).collect();
    let () = admin.command(&args).await;
    gateway.logs("Subscribed to 2").await;
}

/// So `/ws/health` tells a Redis that is away or doesn't believe us from one that lets us in and refuses the subscription.
#[tokio::test(flavor = "multi_thread")]
async fn health_tells_who_was_let_in_without_a_subscription() {
    let mut redis = Redis::start().await;
    let mut admin = redis.publisher().await;
    let () = admin.command(&["ACL", "SETUSER", "gw", "on", ">pw", "-@all", "resetchannels"]).await;
    let health = async |gateway: &TestGateway, connected: bool, subscribed: bool| {
        let expected = json!({"connected": connected, "pubsub_connected": subscribed});
        until(&expected.to_string(), async || {
            (gateway.get("/ws/health").await.json()["redis"] == expected).then_some(())
        })
        .await;
    };
    let wrong = TestGateway::with_url(&format!("redis://gw:no@127.0.0.1:{}", redis.port), |_| {}).await;
    health(&wrong, false, false).await;
    let gateway = TestGateway::with_url(&format!("redis://gw:pw@127.0.0.1:{}", redis.port), |_| {}).await;
    health(&gateway, true, false).await;
    let () = admin.command(&["ACL", "SETUSER", "gw", "+psubscribe", "+ping", "&channel:trade:*"]).await;
    health(&gateway, true, true).await;
    redis.kill();
    health(&gateway, false, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn last_values_without_their_permission() {
    let redis = Redis::start().await;
    let mut admin = redis.publisher().await;
    let subscribes = ["+psubscribe", "+ping", "&channel:trade:*"];
    let user = ["ACL", "SETUSER", "gw", "on", ">pw", "-@all", "resetchannels"];
    let () = admin.command(&[&user[..], &subscribes].concat()).await;
    let url = format!("redis://gw:pw@127.0.0.1:{}", redis.port);
    let gateway = Process::start(&["--redis-url", &url, "--last-value-key", "last:trade:"]).await;
    let mut client = Client::connect(&gateway.url()).await;
    client.subscribe_with(json!({"symbols": ["AAPL"], "snapshot": true})).await;
    assert_eq!(client.json().await["event"], "snapshotEnd");
    let line = gateway.logs("last values could not be looked up").await;
    assert!(line.contains("key=\"last:trade:AAPL\"") && line.contains("NOPERM"), "{line}");
    assert!(line.contains("ACL SETUSER <user> +get"), "{line}");
}

/// The permissions in the docs are enough: nothing is refused.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_permissions_are_enough() {
    let redis = Redis::start().await;
    let mut admin = redis.publisher().await;
    let docs = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
    let pages = docs.map(|page| page.unwrap().path()).filter(|path| path.extension() == Some("md".as_ref()));
    let text: String = pages.map(|path| fs::read_to_string(path).unwrap()).collect();
    let commands: Vec<_> = text.lines().filter(|line| line.starts_with("    ACL SETUSER gateway ")).collect();
    assert_eq!(commands.len(), 2);
    for command in commands {
        let () = admin.command(&command.split_whitespace().collect::<Vec<_>>()).await;
    }
    let kept = trade("AAPL", "1", 1);
    let () = admin.command(&["SET", "last:trade:AAPL", &kept]).await;
    let url = format!("redis://gateway:secret@127.0.0.1:{}", redis.port);
    let gateway = Process::start(&["--redis-url", &url, "--last-value-key", "last:trade:"]).await;
    let mut client = Client::connect(&gateway.url()).await;
    client.subscribe_with(json!({"symbols": ["AAPL"], "snapshot": true})).await;
    assert!(client.text().await.contains(&kept));
    assert_eq!(client.json().await["event"], "snapshotEnd");
    let next = trade("AAPL", "2", 2);
    admin.trade("AAPL", &next).await;
    assert!(client.text().await.contains(&next));
    let refused: Vec<(String, String)> = admin.command(&["ACL", "LOG"]).await;
    assert_eq!(refused, []);
}

/// How a scripted server treats a connection.
#[derive(Clone, Copy)]
enum Script {
    /// Speaks and closes at once, whatever the gateway sends.
    SaysAndCloses(&'static str),
    /// Answers every read.
    Answers(&'static str),
}

/// A server that Redis can't be brought to be.
async fn scripted(script: Script) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            match script {
                Script::SaysAndCloses(words) => {
                    // What the gateway has sent or will send meets a closed socket: a reset.
                    let _ = stream.write_all(format!("-{words}\r\n").as_bytes()).await;
                }
                Script::Answers(words) => {
                    let mut buffer = [0; 1024];
                    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                        let _ = stream.write_all(format!("-{words}\r\n").as_bytes()).await;
                    }
                }
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_error_is_quoted() {
    for (script, words) in [
        (Script::SaysAndCloses(DENIED), DENIED),
        (Script::Answers("LOADING Redis is loading the dataset in memory"), "LOADING Redis is loading"),
        (Script::Answers("MASTERDOWN Link with MASTER is down"), "MASTERDOWN Link with MASTER is down"),
        (Script::Answers("ERR \u{1b}[2Jforged"), r"ERR \u{1b}[2Jforged"),
    ] {
        let address = scripted(script).await;
        for url in [format!("redis://{address}"), format!("redis://gw:pw@{address}/1")] {
            let line = refusal(&url).await;
            assert!(line.contains(words), "{url}: {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_speaks_another_protocol_is_named_so() {
    let redis = Redis::start().await;
    let line = refusal(&format!("rediss://127.0.0.1:{}", redis.port)).await;
    assert!(line.contains("TLS handshake") && line.contains("does this port speak TLS?"), "{line}");
}
