//! No client can make the embedded broker wait or grow: a slow subscriber is disconnected, a full gateway delays only the
//! clients that publish to it, and clients, commands and answers are bounded. Published events arrive once, in order.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use ws_gateway::broker::{BULK_BYTES_MAX, EmbeddedBroker, EmbeddedConfig, OutputLimits};
use ws_gateway::ingest::publisher::{EventBatch, EventSink};
use ws_gateway::resp::write_command;

use crate::support::broker::{Broker, config};
use crate::support::resp::Client;

/// A gateway that takes a batch for each permit it is given.
#[derive(Clone)]
struct SlowSink {
    permits: Arc<Semaphore>,
    taken: mpsc::UnboundedSender<EventBatch>,
}

impl EventSink for SlowSink {
    async fn publish(&self, events: EventBatch) {
        self.permits.acquire().await.expect("never closed").forget();
        let _ = self.taken.send(events);
    }
}

/// Small limits, so that little has to be sent to exceed them.
fn tight(soft_for: Duration) -> EmbeddedConfig {
    let output = OutputLimits { hard_bytes: 256 * 1024, soft_bytes: 64 * 1024, soft_for };
    EmbeddedConfig { output, ..config() }
}

#[tokio::test]
async fn a_slow_subscriber_is_disconnected_and_delays_no_other() {
    let broker = Broker::start(tight(Duration::from_secs(3600))).await;
    let mut slow = Client::connect(broker.addr).await;
    let mut prompt = Client::connect(broker.addr).await;
    let mut publisher = Client::connect(broker.addr).await;
    slow.ask("SUBSCRIBE news").await;
    prompt.ask("SUBSCRIBE news").await;
    let payload = "x".repeat(50_000);
    let mut published = 0;
    // First both get it; the system's buffers take some of it; then only the prompt one does.
    while publisher.ask(&format!("PUBLISH news {published}:{payload}")).await == ":2\r\n" {
        let message = prompt.reply().await.expect("it is not cut");
        assert!(message.contains(&format!("\r\n{published}:x")));
        published += 1;
    }
    assert!(published > 0);
    assert!(prompt.reply().await.expect("it is not cut").contains(&format!("\r\n{published}:x")));
    assert_eq!(publisher.ask("PUBSUB NUMSUB news").await, "*2\r\n$4\r\nnews\r\n:1\r\n");
    while slow.reply().await.is_some() {}
    broker.stop().await;
}

#[tokio::test]
async fn a_subscriber_that_stays_behind_is_disconnected_without_another_message() {
    let output = OutputLimits {
        hard_bytes: 64 * 1024 * 1024,
        soft_bytes: 64 * 1024,
        soft_for: Duration::from_millis(500),
    };
    let broker = Broker::start(EmbeddedConfig { output, ..config() }).await;
    let mut slow = Client::connect(broker.addr).await;
    let mut publisher = Client::connect(broker.addr).await;
    slow.ask("SUBSCRIBE news").await;
    // 20 MB: more than the system's buffers hold, less than the hard limit.
    let payload = "x".repeat(100_000);
    for _ in 0..200 {
        publisher.ask(&format!("PUBLISH news {payload}")).await;
    }
    while publisher.ask("PUBSUB NUMSUB news").await != "*2\r\n$4\r\nnews\r\n:0\r\n" {}
    broker.stop().await;
}

#[tokio::test]
async fn replies_that_nobody_reads_are_bounded_too() {
    let broker = Broker::start(tight(Duration::from_secs(3600))).await;
    let mut greedy = Client::connect(broker.addr).await;
    let word = format!("ECHO {}", "x".repeat(10_000));
    let mut bytes = Vec::new();
    write_command(&mut bytes, &word.split(' ').map(str::as_bytes).collect::<Vec<_>>());
    // The broker closes: sooner or later writing fails.
    while greedy.stream.write_all(&bytes).await.is_ok() {}
    broker.stop().await;
}

#[tokio::test]
async fn a_full_gateway_delays_only_the_clients_that_publish_to_it() {
    let (taken, mut events) = mpsc::unbounded_channel();
    let sink = SlowSink { permits: Arc::new(Semaphore::new(0)), taken };
    let (addr, shutdown, task) = crate::support::broker::start(config(), sink.clone()).await;
    let mut publisher = Client::connect_3(addr).await;
    let mut subscriber = Client::connect(addr).await;
    let mut other = Client::connect(addr).await;
    publisher.ask("SUBSCRIBE news").await;
    subscriber.ask("PSUBSCRIBE channel:*").await;
    publisher.send(&["PUBLISH channel:trade:A 1", "PUBLISH channel:trade:B 2", "PING"]).await;
    // The broker's subscribers have the events, other publishers are served, and so is the waiting one as a
    // subscriber; only its answers wait.
    for payload in ["1", "2"] {
        assert!(
            subscriber
                .reply()
                .await
                .expect("a message")
                .ends_with(&format!("${}\r\n{payload}\r\n", payload.len()))
        );
    }
    assert_eq!(other.ask("PUBLISH news hello").await, ":1\r\n");
    assert_eq!(
        publisher.reply().await.as_deref(),
        Some(">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n")
    );
    assert!(events.try_recv().is_err());
    sink.permits.add_permits(1);
    for reply in [":2\r\n", ":2\r\n", "+PONG\r\n"] {
        assert_eq!(publisher.reply().await.as_deref(), Some(reply));
    }
    let batch = events.recv().await.expect("the gateway took it");
    let expected: [(&[u8], &[u8]); 2] = [(b"channel:trade:A", b"1"), (b"channel:trade:B", b"2")];
    assert!(batch.iter().eq(expected));
    // A broker that waits for the gateway stops all the same.
    publisher.send(&["PUBLISH channel:trade:A 3"]).await;
    subscriber.reply().await.expect("a message");
    shutdown.cancel();
    task.await.expect("no panic");
    assert_eq!(publisher.reply().await, None);
    assert_eq!(other.reply().await, None);
}

#[tokio::test]
async fn an_event_of_a_publisher_that_has_disconnected_still_arrives() {
    let (taken, mut events) = mpsc::unbounded_channel();
    let sink = SlowSink { permits: Arc::new(Semaphore::new(0)), taken };
    let (addr, shutdown, task) = crate::support::broker::start(config(), sink.clone()).await;
    let mut publisher = Client::connect(addr).await;
    let mut watcher = Client::connect(addr).await;
    watcher.ask("SUBSCRIBE channel:trade:A").await;
    publisher.send(&["PUBLISH channel:trade:A 1"]).await;
    watcher.reply().await.expect("a message");
    drop(publisher);
    sink.permits.add_permits(1);
    assert_eq!(events.recv().await.expect("it is handed over").len(), 1);
    shutdown.cancel();
    task.await.expect("no panic");
}

#[tokio::test]
async fn a_pipeline_arrives_whole_and_in_order() {
    const EVENTS: usize = 20_000;
    let mut broker = Broker::start(config()).await;
    let Client { stream, .. } = Client::connect(broker.addr).await;
    let (mut read, mut write) = stream.into_split();
    let writer = tokio::spawn(async move {
        let mut bytes = Vec::new();
        for i in 0..EVENTS {
            write_command(&mut bytes, &[b"PUBLISH", b"channel:trade:A", i.to_string().as_bytes()]);
        }
        write.write_all(&bytes).await.expect("the broker reads");
        write
    });
    let mut replies = vec![0; EVENTS * b":1\r\n".len()];
    read.read_exact(&mut replies).await.expect("every publish is answered");
    assert!(replies.chunks(4).all(|reply| reply == b":1\r\n"));
    let mut next = 0;
    while next < EVENTS {
        for (channel, payload) in broker.events().await {
            assert_eq!((channel.as_str(), payload), ("channel:trade:A", next.to_string()));
            next += 1;
        }
    }
    drop(writer.await.expect("no panic"));
    broker.stop().await;
}

#[tokio::test]
async fn more_clients_than_allowed_are_refused() {
    let broker = Broker::start(EmbeddedConfig { clients_max: 2, ..config() }).await;
    let mut first = Client::connect(broker.addr).await;
    let mut second = Client::connect(broker.addr).await;
    assert_eq!(first.ask("PING").await, "+PONG\r\n");
    assert_eq!(second.ask("PING").await, "+PONG\r\n");
    let mut third = Client::connect(broker.addr).await;
    assert_eq!(third.reply().await.as_deref(), Some("-ERR max number of clients reached\r\n"));
    assert_eq!(third.reply().await, None);
    assert_eq!(second.ask("QUIT").await, "+OK\r\n");
    assert_eq!(second.reply().await, None);
    // There is room as soon as its task has ended.
    loop {
        let mut next = Client::connect(broker.addr).await;
        // A refused client may find its connection reset.
        let _ = next.stream.write_all(b"PING\r\n").await;
        if next.reply().await.is_some_and(|reply| reply == "+PONG\r\n") {
            break;
        }
    }
    assert_eq!(first.ask("PING").await, "+PONG\r\n");
    broker.stop().await;
}

#[tokio::test]
async fn an_oversized_command_costs_only_its_sender() {
    let mut broker = Broker::start(config()).await;
    let mut good = Client::connect(broker.addr).await;
    let mut bad = Client::connect(broker.addr).await;
    let fitting = "x".repeat(BULK_BYTES_MAX);
    assert_eq!(good.ask(&format!("PUBLISH channel:trade:A {fitting}")).await, ":1\r\n");
    assert_eq!(broker.events().await, [("channel:trade:A".to_owned(), fitting)]);
    let header = format!("*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n${}\r\n", BULK_BYTES_MAX + 1);
    bad.stream.write_all(header.as_bytes()).await.expect("the broker reads");
    assert_eq!(bad.reply().await.as_deref(), Some("-ERR Protocol error: invalid bulk length\r\n"));
    assert_eq!(bad.reply().await, None);
    assert_eq!(good.ask("PING").await, "+PONG\r\n");
    broker.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_way_out() {
    let broker = Broker::start(config()).await;
    let port = broker.addr.port();
    let error =
        EmbeddedBroker::bind(EmbeddedConfig { port, ..config() }).await.expect_err("the port is taken");
    let text = error.to_string();
    for part in [&port.to_string()[..], "REDIS_URL", "EMBEDDED_REDIS_PORT"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    broker.stop().await;
}

#[tokio::test]
async fn the_password_is_not_shown() {
    let shown = format!("{:?}", EmbeddedConfig { password: Some("hunter2".into()), ..config() });
    assert!(!shown.contains("hunter2") && shown.contains("(secret)"), "{shown}");
}
