//! Every path has the documented answer.

use std::time::{Duration, Instant};

use crate::support::http::read_head;
use crate::support::http_server::Server;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use ws_gateway::config::Config;
use ws_gateway::http::Bounds;
use ws_gateway::state::State;

/// A gateway with four open connections, one of which has missed a pong.
fn with_connections(state: &State) {
    state.metrics.shards[0].connections_opened.set(3);
    state.metrics.shards[1].connections_opened.set(2);
    state.metrics.shards[1].connections_closed.set(1);
    state.metrics.shards[1].connections_dead.set(1);
}

#[tokio::test]
async fn health_is_flat_and_never_fails_because_of_redis() {
    let server = Server::start();
    with_connections(&server.state);
    for (up, redis) in [(false, "down"), (true, "ok")] {
        server.state.set_feed_up(up);
        let reply = server.get("/health").await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("Content-Type"), Some("application/json"));
        assert_eq!(reply.header("X-Content-Type-Options"), Some("nosniff"));
        let uptime = reply.json()["uptimeSeconds"].as_u64().unwrap();
        let expected = format!(
            "{{\"status\":\"ok\",\"connections\":4,\"online_users\":0,\"redis\":\"{redis}\",\"serverId\":\"{}\",\
             \"uptimeSeconds\":{uptime}}}",
            server.state.server_id
        );
        assert_eq!(reply.body, expected);
    }
}

#[tokio::test]
async fn health_of_connections_has_three_grades() {
    let server = Server::start();
    with_connections(&server.state);
    server.state.set_redis_connected(true);
    for (up, status) in [(false, "degraded"), (true, "healthy")] {
        server.state.set_feed_up(up);
        let reply = server.get("/ws/health").await;
        assert_eq!(reply.status, 200);
        let expected = format!(
            "{{\"status\":\"{status}\",\"connections\":{{\"total\":4,\"local\":4,\"alive\":3,\"dead\":1}},\
             \"redis\":{{\"connected\":true,\"pubsub_connected\":{up}}}}}"
        );
        assert_eq!(reply.body, expected);
    }
}

/// A thread of the data path whose loop hasn't turned for five seconds is named, and a restart is asked for.
#[tokio::test]
async fn a_stuck_thread_is_named() {
    let mut state = State::new("gw".to_owned(), 2);
    state.metrics.started = Instant::now().checked_sub(Duration::from_secs(6)).expect("up for six seconds");
    state.set_feed_up(true);
    for turned in [&state.metrics.ingest.tick_ms, &state.metrics.shards[0].tick_ms] {
        turned.set(6_000);
    }
    let server = Server::of(&Config::for_tests(), Bounds::default(), state);
    let reply = server.get("/health").await;
    assert_eq!(reply.status, 503);
    assert!(
        reply.body.starts_with("{\"status\":\"stuck\",\"thread\":\"shard-1\",\"connections\":0,"),
        "{}",
        reply.body
    );
    let reply = server.get("/ws/health").await;
    assert_eq!((reply.status, &reply.json()["status"]), (503, &json!("unhealthy")));
    let address = server.address;
    let asked = tokio::task::spawn_blocking(move || ws_gateway::healthcheck::ask(address, false));
    let problem = asked.await.unwrap().unwrap_err();
    assert!(problem.contains("503") && problem.contains("shard-1"), "{problem}");
}

#[tokio::test]
async fn ready_says_why_not() {
    let mut config = Config::for_tests();
    config.server.max_connections = 1;
    let mut server = Server::with(&config, Bounds::default());
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
    assert!(
        reply.body.ends_with(",\"total_connections\":0,\"online_users\":0,\"total_rooms\":0}"),
        "{}",
        reply.body
    );
    assert_eq!(stats["averageLatencyMs"], Value::Null);
    server.state.metrics.shards[0].pongs.set(3);
    server.state.metrics.shards[0].pong_rtt_us_sum.set(3_000);
    server.state.metrics.shards[1].pongs.set(1);
    server.state.metrics.shards[1].pong_rtt_us_sum.set(3_000);
    assert_eq!(server.get("/stats").await.json()["averageLatencyMs"], 1.5);
    assert_eq!(stats["events"]["rejected"]["not_json"], 7);
    assert_eq!(
        stats["upstream"],
        json!({"kind": "embedded", "connected": false, "feedUp": false, "losses": 0, "lastEventAgeMs": Value::Null})
    );
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let server = Server::start();
    let page = server.get("/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(page.body.contains("<title>") && !page.body.contains("<style") && !page.body.contains("style="));
    assert!(
        page.body.contains(r#"href="live.css""#) && page.body.contains(r#"<script src="live.js"></script>"#)
    );
    let style = server.get("/live.css").await;
    assert_eq!(style.header("Content-Type"), Some("text/css; charset=utf-8"));
    let script = server.get("/live.js").await;
    assert_eq!(script.header("Content-Type"), Some("text/javascript; charset=utf-8"));
    assert!(!script.body.contains("innerHTML"), "foreign text is never markup");
    // The one link away is that to the makers of the chart, whose licence asks for it.
    let thanks = r#"href="https://www.tradingview.com/" target="_blank" rel="noopener noreferrer""#;
    assert_eq!(page.body.matches(thanks).count(), 1);
    let chart = server.get("/chart.js").await;
    assert_eq!(chart.header("Content-Type"), Some("text/javascript; charset=utf-8"));
    assert!(chart.body.contains("TradingView, Inc."), "its copyright goes with it");
    for part in [&page, &style, &script] {
        let own = part.body.replace(thanks, "");
        assert!(!own.contains("http://") && !own.contains("https://"));
    }
    for part in [page, style, script, chart] {
        assert_eq!(
            part.header("Content-Security-Policy"),
            Some(
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                 connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            )
        );
        assert_eq!(part.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(part.header("Referrer-Policy"), Some("no-referrer"));
    }
    // A browser fetches them once for each version.
    for path in ["/live.css", "/live.js", "/chart.js"] {
        let tag = server.get(path).await.header("ETag").expect("a tag").to_owned();
        let again = server.ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\nIf-None-Match: {tag}\r\n")).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
    }
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
    for path in ["/nothing", "/ws//", "/health/", "//", "/favicon.ico"] {
        let reply = server.get(path).await;
        assert_eq!((reply.status, reply.code().as_str()), (404, "INVALID_INPUT"), "{path}");
    }
    for (method, path, allowed) in [
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("DELETE", "/", "GET, HEAD, OPTIONS"),
        ("POST", "/ws", "GET, OPTIONS"),
    ] {
        let reply = server.ask(&format!("{method} {path} HTTP/1.1\r\nHost: h\r\n")).await;
        assert_eq!((reply.status, reply.code().as_str()), (405, "INVALID_INPUT"), "{method} {path}");
        assert_eq!(reply.header("Allow"), Some(allowed));
    }
}

#[tokio::test]
async fn options_tell_the_methods_of_every_path() {
    let server = Server::start();
    let paths = [
        "/",
        "/live.css",
        "/live.js",
        "/chart.js",
        "/ws",
        "/ws/",
        "/health",
        "/ws/health",
        "/ready",
        "/stats",
        "/metrics",
    ];
    for path in paths {
        let reply = server.ask(&format!("OPTIONS {path} HTTP/1.1\r\nHost: h\r\n")).await;
        assert_eq!((reply.status, reply.body.as_str()), (204, ""), "{path}");
        let expected =
            if path.trim_end_matches('/') == "/ws" { "GET, OPTIONS" } else { "GET, HEAD, OPTIONS" };
        assert_eq!(reply.header("Allow"), Some(expected), "{path}");
        assert_eq!(reply.header("Access-Control-Allow-Origin"), None, "nobody asked");
    }
    let reply = server.ask("OPTIONS /nothing HTTP/1.1\r\nHost: h\r\n").await;
    assert_eq!(reply.status, 404);
}

#[tokio::test]
async fn options_tell_a_browser_whether_its_page_may() {
    let mut config = Config::for_tests();
    config.server.origins.allowed = Some(vec!["https://app.example.com".to_owned()]);
    let server = Server::with(&config, Bounds::default());
    let ask = async |host: &str, origin: &str| {
        let head = format!(
            "OPTIONS /health HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: GET\r\n\
             Access-Control-Request-Headers: authorization, x-trace\r\n"
        );
        server.ask(&head).await
    };
    for (host, origin) in [("h", "https://app.example.com"), ("127.0.0.1:8080", "http://127.0.0.1:8080")] {
        let reply = ask(host, origin).await;
        assert_eq!(reply.status, 204);
        assert_eq!(reply.header("Access-Control-Allow-Origin"), Some(origin));
        assert_eq!(reply.header("Access-Control-Allow-Methods"), Some("GET, HEAD, OPTIONS"));
        assert_eq!(reply.header("Access-Control-Allow-Headers"), Some("authorization, x-trace"));
        assert_eq!(reply.header("Access-Control-Allow-Credentials"), None);
        assert_eq!(reply.header("Vary"), Some("Origin"));
    }
    let reply = ask("h", "https://evil.example").await;
    assert_eq!((reply.status, reply.header("Allow")), (204, Some("GET, HEAD, OPTIONS")));
    assert_eq!(reply.header("Access-Control-Allow-Origin"), None);
    assert_eq!(reply.header("Vary"), Some("Origin"));
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
async fn the_healthcheck_reports_the_answer_of_health() {
    let server = Server::start();
    let ask = |address| tokio::task::spawn_blocking(move || ws_gateway::healthcheck::ask(address, false));
    let body = ask(server.address).await.unwrap().unwrap();
    assert!(body.starts_with("{\"status\":\"ok\""), "{body}");
    server.stop.cancel();
    server.served.await.unwrap();
    assert!(ask(server.address).await.unwrap().is_err());
}
