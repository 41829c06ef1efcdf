//! Every path answers what the contract says, in its shape.

use std::collections::HashSet;

use crate::support::http::read_head;
use crate::support::http_server::Server;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use ws_gateway::config::Config;
use ws_gateway::http::Bounds;

#[tokio::test]
async fn health_has_the_contracts_shape() {
    let server = Server::start();
    server.state.set_redis_connected(true);
    server.state.metrics.shards[0].connections_opened.set(3);
    server.state.metrics.shards[1].connections_opened.set(2);
    server.state.metrics.shards[1].connections_closed.set(1);
    server.state.metrics.shards[1].connections_dead.set(1);
    for path in ["/health", "/ws/health"] {
        let reply = server.get(path).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("Content-Type"), Some("application/json"));
        assert_eq!(reply.header("X-Content-Type-Options"), Some("nosniff"));
        let uptime = reply.json()["uptimeSeconds"].as_u64().unwrap();
        let expected = format!(
            "{{\"status\":\"ok\",\"serverId\":\"{}\",\"uptimeSeconds\":{uptime},\
             \"connections\":{{\"total\":4,\"local\":4,\"alive\":3,\"dead\":1}},\
             \"redis\":{{\"connected\":true,\"pubsubConnected\":false}}}}",
            server.state.server_id
        );
        assert_eq!(reply.body, expected);
    }
}

#[tokio::test]
async fn ready_says_why_not() {
    let mut server = Server::with(&Config { max_connections: 1, ..Config::for_tests() }, Bounds::default());
    let not = |reason: &str| (503, json!({"status": "unavailable", "reason": reason}));
    let ready = async |server: &Server| {
        let reply = server.get("/ready").await;
        (reply.status, reply.json())
    };
    assert_eq!(ready(&server).await, not("upstream down"));
    server.state.set_feed_up(true);
    assert_eq!(ready(&server).await, (200, json!({"status": "ready"})));
    let (_stream, _) = server.handshake("").await;
    let client = server.clients.recv().await.unwrap();
    assert_eq!(ready(&server).await, not("full"));
    drop(client);
    assert_eq!(ready(&server).await, (200, json!({"status": "ready"})));
    server.state.start_draining();
    assert_eq!(ready(&server).await, not("draining"));
}

#[tokio::test]
async fn stats_begin_with_the_contracts_fields() {
    let server = Server::start();
    server.state.metrics.shards[0].messages_sent.set(1500);
    server.state.metrics.shards[1].messages_sent.set(23);
    server.state.metrics.shards[1].subscriptions.set(12);
    server.state.metrics.shards[1].messages_received.set(45);
    server.state.metrics.ingest.rejected[2].set(7);
    let reply = server.get("/stats").await;
    let stats = reply.json();
    let begin = format!(
        "{{\"activeConnections\":0,\"totalSymbolSubscriptions\":12,\"messagesSent\":1523,\"messagesReceived\":45,\
         \"uptimeSeconds\":{},\"serverId\":\"{}\",",
        stats["uptimeSeconds"], server.state.server_id
    );
    assert!(reply.body.starts_with(&begin), "{}", reply.body);
    assert_eq!(stats["events"]["rejected"]["not_json"], 7);
    assert_eq!(
        stats["upstream"],
        json!({"kind": "embedded", "connected": false, "feedUp": false, "losses": 0, "lastEventAgeMs": Value::Null})
    );
}

/// The exposition parses, every name is unique and helped, and the numbers are those of the counters.
#[tokio::test]
async fn metrics_are_openmetrics() {
    let server = Server::start();
    let metrics = &server.state.metrics;
    metrics.shards[1].messages_sent.set(41);
    metrics.ingest.rejected[2].set(7);
    metrics.shards[0].delivery.record(3, 10);
    metrics.shards[1].delivery.record(1_000_000_000, 1);
    let reply = server.get("/metrics").await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("Content-Type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(reply.body.ends_with("# EOF\n"));

    let mut helped = HashSet::new();
    let mut typed = Vec::new();
    let mut samples = HashSet::new();
    for line in reply.body.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.len() > 10 || name == "ws_connections_max", "{line}");
            assert!(name.starts_with("ws_") && !name.ends_with("_total"), "{line}");
            assert!(helped.insert(name), "twice: {name}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(helped.contains(name), "{line}");
            typed.push((name, kind));
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            assert!(samples.insert(series), "twice: {series}");
            let name = series.split('{').next().unwrap();
            let (family, kind) = *typed.last().unwrap();
            let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{name} stands under {family}"));
            let allowed: &[&str] = match kind {
                "counter" => &["_total"],
                "gauge" => &[""],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_sum", "_count"],
                other => panic!("type {other}"),
            };
            assert!(allowed.contains(&suffix), "{line}");
        }
    }
    assert_eq!(typed.len(), helped.len());
    for line in [
        "ws_messages_sent_total{shard=\"0\"} 0",
        "ws_messages_sent_total{shard=\"1\"} 41",
        "ws_events_rejected_total{reason=\"not_json\"} 7",
        "ws_delivery_seconds_count 11",
        "ws_delivery_seconds_bucket{le=\"0.000002\"} 0",
        "ws_delivery_seconds_bucket{le=\"0.000004\"} 10",
        "ws_delivery_seconds_bucket{le=\"+Inf\"} 11",
        "ws_upstream_up 0.0",
    ] {
        assert!(reply.body.lines().any(|found| found == line), "{line} is missing in\n{}", reply.body);
    }
    assert!(!reply.body.contains("\nws_last_event_age_seconds "), "no event yet");
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let server = Server::start();
    let page = server.get("/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(page.header("Content-Security-Policy").unwrap().starts_with("default-src 'none'"));
    assert_eq!(page.header("X-Content-Type-Options"), Some("nosniff"));
    assert!(page.body.contains("<title>"));
    assert!(!page.body.contains("http://") && !page.body.contains("https://"));
    assert!(!page.body.contains("innerHTML"), "foreign text is never markup");
    // curl --http2 asks for another upgrade, which is ignored.
    let h2c = server.ask("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n").await;
    assert_eq!(h2c.status, 200);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = Server::start();
    for path in ["/", "/health", "/ready", "/stats", "/metrics"] {
        let get = server.get(path).await;
        let head = server.ask(&format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n")).await;
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.header("Content-Type"), get.header("Content-Type"));
        assert_eq!(head.body, "");
        assert!(head.header("Content-Length").unwrap().parse::<u32>().unwrap() > 0);
    }
}

#[tokio::test]
async fn anything_else_is_404_or_405() {
    let server = Server::start();
    for path in ["/nothing", "/ws/", "/health/", "//", "/favicon.ico"] {
        let reply = server.get(path).await;
        assert_eq!((reply.status, reply.code().as_str()), (404, "INVALID_INPUT"), "{path}");
    }
    for (method, path, allowed) in [
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
        ("POST", "/ws", "GET"),
        ("OPTIONS", "/stats", "GET, HEAD"),
    ] {
        let reply = server.ask(&format!("{method} {path} HTTP/1.1\r\nHost: h\r\n")).await;
        assert_eq!((reply.status, reply.code().as_str()), (405, "INVALID_INPUT"), "{method} {path}");
        assert_eq!(reply.header("Allow"), Some(allowed));
    }
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = Server::start();
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(b"HEAD /stats?pretty=1 HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        assert_eq!(read_head(&mut stream).await.status, 200);
    }
    assert_eq!(server.state.metrics.control.accepted.get(), 1);
    assert_eq!(server.state.metrics.control.http_requests.get(), 3);
}

/// `--healthcheck` against the real thing.
#[tokio::test]
async fn the_healthcheck_asks_and_believes() {
    let server = Server::start();
    let ask = |address| tokio::task::spawn_blocking(move || ws_gateway::healthcheck::ask(address));
    let body = ask(server.address).await.unwrap().unwrap();
    assert!(body.starts_with("{\"status\":\"ok\""), "{body}");
    server.stop.cancel();
    server.served.await.unwrap();
    assert!(ask(server.address).await.unwrap().is_err());
}
