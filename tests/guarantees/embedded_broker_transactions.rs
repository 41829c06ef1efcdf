//! The commands that a worker queues at the embedded broker between `MULTI` and `EXEC` take effect whole at `EXEC`, without
//! other clients' events between them, or not at all; and their memory is bounded.

use ws_gateway::broker::EmbeddedConfig;

use crate::support::broker::{Broker, config};
use crate::support::resp::Client;

fn trades(count: usize, payload: &str) -> Vec<String> {
    (0..count).map(|i| format!("PUBLISH channel:trade:A {i}:{payload}")).collect()
}

#[tokio::test]
async fn no_other_clients_events_come_between() {
    let mut broker = Broker::start(config()).await;
    let mut subscriber = Client::connect(broker.addr).await;
    let mut worker = Client::connect(broker.addr).await;
    let mut other = Client::connect(broker.addr).await;
    subscriber.ask("PSUBSCRIBE channel:*").await;
    assert_eq!(worker.ask("MULTI").await, "+OK\r\n");
    for i in 0..50 {
        assert_eq!(worker.ask(&format!("PUBLISH channel:trade:A {i}")).await, "+QUEUED\r\n");
        assert_eq!(other.ask(&format!("PUBLISH channel:trade:B {i}")).await, ":2\r\n");
        assert!(subscriber.reply().await.expect("a message").contains("channel:trade:B"));
        assert_eq!(broker.events().await, [("channel:trade:B".to_owned(), i.to_string())]);
    }
    assert_eq!(worker.ask("EXEC").await, format!("*50\r\n{}", ":2\r\n".repeat(50)));
    other.ask("PUBLISH channel:trade:B last").await;
    for i in 0..50 {
        let message = subscriber.reply().await.expect("a message");
        assert!(
            message.contains("channel:trade:A") && message.ends_with(&format!("\r\n{i}\r\n")),
            "{message}"
        );
    }
    let events = broker.events().await;
    assert!(
        events.iter().map(|(_, payload)| payload.clone()).eq((0..50).map(|i| i.to_string())),
        "{events:?}"
    );
    broker.stop().await;
}

#[tokio::test]
async fn a_worker_that_disconnects_before_exec_has_published_nothing() {
    let mut broker = Broker::start(config()).await;
    let mut worker = Client::connect(broker.addr).await;
    let mut other = Client::connect(broker.addr).await;
    worker.ask("MULTI").await;
    worker.ask("PUBLISH channel:trade:A 1").await;
    drop(worker);
    while other.ask("INFO clients").await.contains("connected_clients:2") {}
    other.ask("PUBLISH channel:trade:B 2").await;
    assert_eq!(broker.events().await, [("channel:trade:B".to_owned(), "2".to_owned())]);
    broker.stop().await;
}

#[tokio::test]
async fn a_large_transaction_arrives_whole() {
    let mut broker = Broker::start(config()).await;
    let mut worker = Client::connect(broker.addr).await;
    // 6 MB, far more than the broker reads at a time.
    let commands = trades(6_000, &"x".repeat(1_000));
    let mut words = vec!["MULTI"];
    words.extend(commands.iter().map(String::as_str));
    words.push("EXEC");
    worker.send(&words).await;
    assert_eq!(worker.reply().await.as_deref(), Some("+OK\r\n"));
    for _ in 0..6_000 {
        assert_eq!(worker.reply().await.as_deref(), Some("+QUEUED\r\n"));
    }
    assert_eq!(worker.reply().await.expect("an answer").matches(":1\r\n").count(), 6_000);
    let events = broker.events().await;
    assert_eq!(events.len(), 6_000, "in one piece");
    assert!(events.iter().enumerate().all(|(i, (_, payload))| payload.starts_with(&format!("{i}:x"))));
    broker.stop().await;
}

#[tokio::test]
async fn a_transaction_that_is_too_large_is_refused_whole_and_costs_others_nothing() {
    let mut broker = Broker::start(EmbeddedConfig { clients_max: 3, ..config() }).await;
    let mut greedy = Client::connect(broker.addr).await;
    let mut other = Client::connect(broker.addr).await;
    greedy.ask("MULTI").await;
    let commands = trades(10, &"x".repeat(1_000_000));
    let mut answers = Vec::new();
    for command in &commands {
        answers.push(greedy.ask(command).await);
    }
    let refused: Vec<_> = answers.iter().filter(|answer| answer.starts_with("-OOM ")).collect();
    assert_eq!(refused.len(), 1, "what follows is not kept, and needs no room: {answers:?}");
    assert!(refused[0].contains("8388608 bytes"), "{refused:?}");
    other.send(&["MULTI", "PUBLISH channel:trade:B 1", "EXEC"]).await;
    for reply in ["+OK\r\n", "+QUEUED\r\n", "*1\r\n:1\r\n"] {
        assert_eq!(other.reply().await.as_deref(), Some(reply));
    }
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    assert_eq!(greedy.ask("EXEC").await, aborted);
    assert_eq!(greedy.ask("PUBLISH channel:trade:A 2").await, ":1\r\n");
    assert_eq!(broker.events().await, [("channel:trade:B".to_owned(), "1".to_owned())]);
    assert_eq!(broker.events().await, [("channel:trade:A".to_owned(), "2".to_owned())]);
    broker.stop().await;
}
