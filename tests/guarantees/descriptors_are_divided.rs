//! Each kind of connection keeps to its share of the open-file limit, however many clients, refused clients, silent peers
//! and workers there are: `MAX_CONNECTIONS` clients can connect, `/health` is answered, workers publish, and `accept` never
//! fails.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use ws_gateway::config::raise_open_file_limit;

use crate::support::http::{HANDSHAKE, read_head};
use crate::support::process::Process;
use crate::support::redis::Publisher;
use crate::support::{Client, trade, until};

#[tokio::test(flavor = "multi_thread")]
async fn with_1024_all_kinds_are_served_at_their_bounds() {
    raise_open_file_limit();
    let gateway = Process::limited(1_024, &["--embedded-redis-port", "0"]).await;
    let broker = gateway.broker_addr();
    let mut worker = Publisher::connect(&format!("redis://{broker}")).await;
    let clients_max = gateway.get("/stats").await.json()["maxConnections"].as_u64().expect("a number");
    assert!(clients_max >= 700, "{clients_max}");

    // More of each than there is room for.
    let mut clients = Vec::new();
    for _ in 0..clients_max {
        clients.push(Client::connect(&gateway.url()).await);
    }
    let mut refused = Vec::new();
    for _ in 0..400 {
        let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
        stream.write_all(format!("{HANDSHAKE}\r\n").as_bytes()).await.unwrap();
        assert_eq!(read_head(&mut stream).await.status, 503);
        refused.push(stream);
    }
    // These come while the gateway stands still: it finds them all at once.
    gateway.signal("STOP");
    let mut others = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
        stream.write_all(b"GET ").await.unwrap();
        others.push(stream);
    }
    gateway.signal("CONT");
    for _ in 0..300 {
        others.push(TcpStream::connect(broker).await.unwrap());
    }

    let health = gateway.get("/health").await;
    assert_eq!(health.status, 200, "{}", health.body);
    assert_eq!(gateway.get("/ready").await.json(), json!({"status": "unavailable", "reason": "full"}));
    clients[0].subscribe(&["AAPL"]).await;
    worker.trade("AAPL", &trade("AAPL", "1", 1)).await;
    clients[0].gets("AAPL", 1).await;
    let metrics = gateway.get("/metrics").await.body;
    let never = "ws_accept_errors_total{cause=\"exhausted\"} 0";
    assert!(metrics.lines().any(|line| line == never), "{metrics}");
    assert!(gateway.descriptors() <= 1_024);

    // A client that goes makes room for the next.
    clients.pop();
    until("a seat", async || (gateway.get("/ready").await.status == 200).then_some(())).await;
    Client::connect(&gateway.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn max_connections_is_lowered_to_what_fits() {
    let gateway = Process::limited(256, &["--embedded-redis-port", "0", "--max-connections", "1000"]).await;
    let warning = "MAX_CONNECTIONS (1000) is more than the open-file limit (256) allows; ";
    until("the warning", async || gateway.has_logged(warning).then_some(())).await;
    let clients_max = gateway.get("/stats").await.json()["maxConnections"].as_u64().expect("a number");
    assert!((100..256).contains(&clients_max), "{clients_max}");
}
