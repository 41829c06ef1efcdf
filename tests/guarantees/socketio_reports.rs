//! The reports and the order that systems with Socket.IO have: figures under `/websocket`, also behind `/api`, and connections that don't answer closed by
//! an order on the operator's port.

use crate::support::http::{ask, get};
use crate::support::socketio::with_socketio;
use crate::support::{Client, Redis, TestGateway, until};
use serde_json::json;
use std::time::Duration;

const TOKEN: &str = "0123456789abcdef";

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_where_its_operators_look() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_socketio).await;
    for prefix in ["", "/api"] {
        let metrics = gateway.get(&format!("{prefix}/websocket/metrics")).await;
        assert_eq!((metrics.status, metrics.json()["total_connections"].as_u64()), (200, Some(0)));
        let health = gateway.get(&format!("{prefix}/websocket/health")).await;
        assert_eq!((health.status, &health.json()["status"]), (200, &json!("healthy")));
        let cleanup = format!("POST {prefix}/websocket/cleanup HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n");
        assert_eq!(ask(gateway.addr, &cleanup).await.status, 404, "orders are for the operator's port");
    }
    let plain = TestGateway::on(&redis, |_| {}).await;
    assert_eq!(plain.get("/websocket/health").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_do_not_answer_are_closed_by_order() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_socketio(config);
        config.operator.port = Some(0);
        config.operator.token = Some(TOKEN.to_owned());
        config.delivery.ping_interval = Duration::from_millis(200);
        config.delivery.pong_timeout = Duration::from_millis(50);
        config.delivery.max_missed_pongs = 1_000;
    })
    .await;
    let operator = gateway.gateway.operator_addr().expect("its port");
    for path in ["/websocket/metrics", "/api/websocket/metrics"] {
        assert_eq!(gateway.get(path).await.status, 404, "figures are where /stats is");
        assert_eq!(get(operator, path).await.status, 401);
        let head = format!("GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n");
        assert_eq!(ask(operator, &head).await.status, 200);
    }
    // It reads nothing, so it answers no ping.
    let _silent = Client::connect(&format!("ws://{}/ws", gateway.addr)).await;
    let dead = || async {
        let health = get(gateway.addr, "/ws/health").await.json();
        health["connections"]["dead"].as_u64()
    };
    until("a missed pong", async || (dead().await == Some(1)).then_some(())).await;
    let order =
        |path: &str, lines: &str| format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n{lines}");
    assert_eq!(ask(operator, &order("/websocket/cleanup", "")).await.status, 401);
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let reply = ask(operator, &order("/api/websocket/cleanup", &token)).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"cleaned": 1})));
    assert_eq!(ask(operator, &order("/websocket/cleanup", &token)).await.json(), json!({"cleaned": 0}));
    let get_it = format!("GET /websocket/cleanup HTTP/1.1\r\nHost: h\r\n{token}");
    assert_eq!(ask(operator, &get_it).await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn but_no_order_is_taken_where_no_token_is_set() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_socketio(config);
        config.operator.port = Some(0);
    })
    .await;
    let operator = gateway.gateway.operator_addr().expect("its port");
    for prefix in ["", "/api"] {
        for lines in [String::new(), format!("Authorization: Bearer {TOKEN}\r\n")] {
            let order = format!(
                "POST {prefix}/websocket/cleanup HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n{lines}"
            );
            let reply = ask(operator, &order).await;
            assert_eq!((reply.status, reply.code().as_str()), (403, "FORBIDDEN"));
            assert_eq!(reply.json()["message"], "Orders need OPS_TOKEN, which is not set");
        }
    }
    assert_eq!(get(operator, "/websocket/metrics").await.status, 200, "reports need none");
}
