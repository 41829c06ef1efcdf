//! `GET /v1/last` answers with the last event of a symbol, or of several, under the rules that hold for a WebSocket client.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use ws_gateway::config::Config;
use ws_gateway::limits::LAST_QUESTIONS_MAX;
use ws_gateway::market::Kind;

use crate::support::http::{Reply, ask};
use crate::support::http_server::Server;
use crate::support::tokens::{SECRET, token};
use crate::support::{Redis, TestGateway, trade, until};

async fn get(gateway: &TestGateway, path: &str, lines: &str) -> Reply {
    ask(gateway.addr, &format!("GET {path} HTTP/1.1\r\nHost: h\r\n{lines}")).await
}

async fn gateway(redis: &Redis, change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::on(redis, |config| {
        config.events.channel_types = [Kind::TRADE, Kind::QUOTE, Kind::CANDLE].into_iter().collect();
        change(config);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_snapshot_would_bring() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    // One symbol has a subscriber, the other has none.
    let mut client = gateway.subscriber(&["AAPL"]).await;
    for n in 1..=5 {
        worker.trade("AAPL", &trade("AAPL", "1.50", n)).await;
        worker
            .trade(
                "A/B C",
                &format!(r#"{{"symbol":"A/B C","price":2,"volume":1,"timestamp":{n},"seq":{n}}}"#),
            )
            .await;
    }
    worker.trade("AAPL", r#"{"symbol":"WRONG"}"#).await;
    gateway.taken(11).await;
    client.gets("AAPL", 1).await;
    for n in 2..=5 {
        client.gets("AAPL", n).await;
    }
    client.send(r#"{"action":"subscribe","symbols":["AAPL","A/B C"],"snapshot":true}"#).await;
    client.json().await;
    let (aapl, other) = (client.text().await, client.text().await);
    let reply = gateway.get("/v1/last/aapl").await;
    assert_eq!((reply.status, &reply.body), (200, &aapl));
    assert_eq!((reply.header("Content-Type"), reply.header("ETag")), (Some("application/json"), None));
    let reply = gateway.get("/v1/last/A/B%20C?type=trade").await;
    assert_eq!((reply.status, &reply.body, reply.header("ETag")), (200, &other, Some("\"5\"")));

    let reply = gateway.get("/v1/last?symbols=aapl,NONE,A/B%20C,AAPL&type=trade").await;
    let expected = format!(r#"{{"type":"last","data":[{aapl},{other}],"missing":["NONE"],"timestamp":"#);
    assert!(reply.body.starts_with(&expected), "{}", reply.body);
    let reply = gateway.get("/v1/last?symbols=AAPL").await;
    assert_eq!(reply.json()["missing"], json!([]));

    let reply = gateway.get("/v1/last/AAPL?type=quote").await;
    assert_eq!((reply.status, reply.code().as_str()), (404, "NOT_FOUND"));
    for known in ["\"5\"", "W/\"5\", \"4\"", "*"] {
        let reply = get(&gateway, "/v1/last/A/B%20C", &format!("If-None-Match: {known}\r\n")).await;
        assert_eq!(
            (reply.status, reply.header("ETag"), reply.body.as_str()),
            (304, Some("\"5\""), ""),
            "{known}"
        );
    }
    let reply = get(&gateway, "/v1/last/A/B%20C", "If-None-Match: \"4\"\r\n").await;
    assert_eq!(reply.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_symbol_of_candles_the_one_that_came_last() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    // `1d` has a subscriber at the end, so that its candles go another way.
    let mut client = gateway.client().await;
    let mut taken = 0;
    let mut last_of = async |intervals: &[&str]| {
        let candle = |interval| json!({"symbol": "AAPL", "open": 1, "high": 1, "low": 1, "close": 1, "volume": 1, "timestamp": 1, "interval": interval});
        // They come in one read, so at one time of any clock.
        let candles =
            intervals.iter().map(|interval| ("channel:candle:AAPL".to_owned(), candle(interval).to_string()));
        worker.publish_all(candles.collect::<Vec<_>>()).await;
        taken += intervals.len() as u64;
        gateway.taken(taken).await;
        let reply = gateway.get("/v1/last/AAPL?type=candle").await.json();
        assert_eq!((&reply["type"], &reply["snapshot"]), (&json!("candle"), &json!(true)));
        reply["data"]["interval"].clone()
    };
    for intervals in [["1m", "1d"], ["1d", "1m"], ["1m", "1h"], ["1h", "1d"]] {
        assert_eq!(last_of(&intervals).await, intervals[1]);
    }
    assert_eq!(last_of(&["1d", "1m", "1h", "1d", "1h", "1m", "1d"]).await, "1d");
    client.subscribe_with(json!({"symbols": ["AAPL"], "types": ["candle"]})).await;
    for intervals in [["1m", "1d"], ["1d", "1m"], ["1m", "new"], ["1h", "1d"]] {
        assert_eq!(last_of(&intervals).await, intervals[1]);
    }
    assert_eq!(
        gateway.get("/v1/last?symbols=AAPL,MSFT&type=candle").await.json()["missing"],
        json!(["MSFT"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_makes_no_sense_is_refused() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let many: Vec<_> = (0..101).map(|n| format!("S{n}")).collect();
    let many = format!("/v1/last?symbols={}", many.join(","));
    for path in [
        "/v1/last",
        "/v1/last/",
        "/v1/last?symbols=",
        &many,
        "/v1/last/A*",
        "/v1/last?symbols=*",
        "/v1/last/A%22",
        "/v1/last/A?type=halt",
        "/v1/last?symbols=A++B",
    ] {
        let reply = gateway.get(path).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "INVALID_INPUT"), "{path}");
    }
    assert_eq!(gateway.get(&many.replace(",S100", "")).await.status, 200);
    let reply = ask(gateway.addr, "POST /v1/last/A HTTP/1.1\r\nHost: h\r\n").await;
    assert_eq!((reply.status, reply.header("Allow")), (405, Some("GET, HEAD, OPTIONS")));
    let reply = ask(gateway.addr, "OPTIONS /v1/last/A HTTP/1.1\r\nHost: h\r\n").await;
    assert_eq!(reply.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_and_origins_hold() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |config| {
        config.access.secret_key = Some(SECRET.to_owned());
        config.server.origins.allowed = Some(vec!["https://app.example".to_owned()]);
    })
    .await;
    let mut worker = redis.publisher().await;
    worker.trade("AAPL", &trade("AAPL", "1", 1)).await;
    gateway.taken(1).await;
    let bearer = format!(
        "Authorization: Bearer {}\r\n",
        token(json!({"sub": "u", "symbols": ["AAPL", "BTC-*"], "types": ["trade"], "maxSymbols": 1}))
    );
    for lines in ["", "Authorization: Bearer x\r\n"] {
        let reply = get(&gateway, "/v1/last/AAPL", lines).await;
        assert_eq!((reply.status, reply.code().as_str()), (401, "UNAUTHORIZED"), "{lines}");
        assert!(reply.header("WWW-Authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")));
    }
    assert_eq!(get(&gateway, "/v1/last/AAPL", &bearer).await.status, 200);
    assert_eq!(
        get(&gateway, "/v1/last?symbols=AAPL,BTC-USD", &bearer).await.status,
        200,
        "maxSymbols is for subscriptions"
    );
    let reply = get(&gateway, "/v1/last?symbols=AAPL,TSLA", &bearer).await;
    assert_eq!((reply.status, &reply.json()["data"]), (403, &json!({"symbols": ["TSLA"]})));
    let reply = get(&gateway, "/v1/last/AAPL?type=quote", &bearer).await;
    assert_eq!((reply.status, &reply.json()["data"]), (403, &json!({"types": ["quote"]})));
    let reply = get(&gateway, "/v1/last/AAPL", &format!("{bearer}Origin: https://evil.example\r\n")).await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "FORBIDDEN"));
    let reply = get(&gateway, "/v1/last/AAPL", &format!("{bearer}Origin: https://app.example\r\n")).await;
    assert_eq!(
        (reply.status, reply.header("Access-Control-Allow-Origin")),
        (200, Some("https://app.example"))
    );
}

#[tokio::test]
async fn few_questions_wait() {
    let server = Server::start();
    let mut waiting = Vec::new();
    for _ in 0..LAST_QUESTIONS_MAX {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /v1/last/A HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        waiting.push(stream);
    }
    let asked = || server.state.metrics.control.http_requests.get();
    until("all questions", async || (asked() == LAST_QUESTIONS_MAX as u64).then_some(())).await;
    let reply = server.get("/v1/last/A").await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "UNAVAILABLE"));
    assert!(reply.header("Retry-After").is_some());
}
