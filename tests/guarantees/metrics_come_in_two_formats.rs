//! `/metrics` is OpenMetrics, or Prometheus' text format 0.0.4 for a client that asks for it. Both follow their format's
//! rules, are read by existing parsers, and have the same numbers. Each name in docs/operations.md is among them.

use std::collections::HashSet;

use serde_json::json;
use ws_gateway::state::State;

use crate::support::http::Reply;
use crate::support::http_server::Server;
use crate::support::program::{Program, python};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPERATIONS: &str = include_str!("../../docs/operations.md");

/// A gateway that has counted something of each kind.
fn counting(state: &State) {
    let metrics = &state.metrics;
    metrics.shards[1].messages_sent.set(41);
    metrics.ingest.rejected[2].set(7);
    metrics.shards[0].pong_rtt_us_sum.set(1_500_000);
    metrics.shards[0].delivery.record(3, 10);
    metrics.shards[1].delivery.record(1_000_000_000, 1);
}

async fn scrape(server: &Server, accept: &str) -> Reply {
    let reply = server.ask(&format!("GET /metrics HTTP/1.1\r\nHost: h\r\nAccept: {accept}\r\n")).await;
    assert_eq!(reply.status, 200);
    reply
}

/// Which suffixes the names of a family's samples have.
fn suffixes(kind: &str, of_counters: &'static str) -> Vec<&'static str> {
    match kind {
        "counter" => vec![of_counters],
        "gauge" => vec![""],
        "info" => vec!["_info"],
        "histogram" => vec!["_bucket", "_sum", "_count"],
        other => panic!("type {other}"),
    }
}

/// Every family is helped, then typed, then sampled, and none stands twice.
fn check(exposition: &str, of_counters: &'static str) {
    let mut helped = HashSet::new();
    let mut typed = Vec::new();
    let mut samples = HashSet::new();
    for line in exposition.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.len() > 10 || name == "ws_connections_max", "{line}");
            assert!(name.starts_with("ws_"), "{line}");
            assert!(helped.insert(name), "twice: {name}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(helped.contains(name), "{line}");
            let is_counter = name.ends_with("_total");
            assert_eq!(is_counter, kind == "counter" && of_counters.is_empty(), "{line}");
            typed.push((name, kind));
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            assert!(samples.insert(series), "twice: {series}");
            let name = series.split('{').next().unwrap();
            let (family, kind) = *typed.last().unwrap();
            let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{name} stands under {family}"));
            assert!(suffixes(kind, of_counters).contains(&suffix), "{line}");
        }
    }
    assert_eq!(typed.len(), helped.len());
}

#[tokio::test]
async fn each_keeps_the_rules_of_its_format() {
    let server = Server::start();
    counting(&server.state);
    let openmetrics = server.get("/metrics").await;
    assert_eq!(openmetrics.header("Content-Type"), Some(OPENMETRICS));
    assert!(openmetrics.body.ends_with("\n# EOF\n"));
    check(&openmetrics.body, "_total");

    let text = scrape(&server, "text/plain;version=0.0.4").await;
    assert_eq!(text.header("Content-Type"), Some(TEXT));
    assert!(!text.body.contains("# EOF"));
    check(&text.body, "");
    assert!(text.body.contains("# TYPE ws_build_info gauge\n"));

    for line in [
        "ws_messages_sent_total{shard=\"0\"} 0",
        "ws_messages_sent_total{shard=\"1\"} 41",
        "ws_events_rejected_total{reason=\"not_json\"} 7",
        "ws_pong_seconds_total{shard=\"0\"} 1.5",
        "ws_delivery_seconds_count 11",
        "ws_delivery_seconds_bucket{le=\"0.000002\"} 0",
        "ws_delivery_seconds_bucket{le=\"0.000004\"} 10",
        "ws_delivery_seconds_bucket{le=\"+Inf\"} 11",
        "ws_upstream_up 0.0",
    ] {
        for body in [&openmetrics.body, &text.body] {
            assert!(body.lines().any(|found| found == line), "{line} is missing in\n{body}");
        }
    }
    assert!(!openmetrics.body.contains("\nws_last_event_age_seconds "), "no event yet");
}

#[tokio::test]
async fn documented_names_are_there() {
    let server = Server::start();
    let told = server.get("/metrics").await.body;
    let words = OPERATIONS.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    // The crate's name stands on the page as the target of a log.
    let names: HashSet<&str> =
        words.filter(|word| word.starts_with("ws_") && *word != "ws_gateway").collect();
    assert!(names.len() > 40, "{}", names.len());
    for name in names {
        let typed = match name.strip_suffix("_total") {
            Some(family) => format!("# TYPE {family} counter\n"),
            None => format!("# TYPE {name} gauge\n"),
        };
        assert!(told.contains(&typed), "no {name} in /metrics");
    }
}

#[tokio::test]
async fn the_client_chooses_the_format() {
    let server = Server::start();
    for (accept, content_type) in [
        ("*/*", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", OPENMETRICS),
        ("text/plain;version=0.0.4;q=0.9,application/openmetrics-text;q=0.5", TEXT),
        ("text/*", TEXT),
    ] {
        assert_eq!(scrape(&server, accept).await.header("Content-Type"), Some(content_type), "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_are_read_by_the_parsers_of_the_python_client() {
    let server = Server::start();
    counting(&server.state);
    let mut command = python("prometheus-client==0.23.1", "metrics_parsers.py").await;
    command.arg(server.address.to_string());
    let mut parsed = Program::start(command);
    for format in ["openmetrics", "text"] {
        let seen = parsed.json().await;
        assert_eq!(seen["format"], format);
        assert!(seen["families"].as_u64() >= Some(40), "{seen}");
        assert_eq!(seen["sent"], json!({"type": "counter", "shards": {"0": 0.0, "1": 41.0}}), "{seen}");
        assert_eq!(seen["delivered"], 11.0, "{seen}");
    }
    assert!(parsed.exit().await.success());
}
