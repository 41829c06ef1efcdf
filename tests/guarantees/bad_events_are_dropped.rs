//! A bad upstream event is counted by its reason and dropped. It reaches no client, and the next event arrives.

use crate::support::process::Process;
use crate::support::{Client, Redis, TestGateway, trade, until};

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_is_counted_and_the_next_event_arrives() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    let good = trade("AAPL", "1", 1);
    let huge = good.replace("NASDAQ", &"x".repeat(65_536));
    let gigantic = good.replace("NASDAQ", &"x".repeat(5_000_000));
    let too_deep = good.replace("\"NASDAQ\"", &format!("{}{}", "[".repeat(20_000), "]".repeat(20_000)));
    let lone_surrogate = good.replace("NASDAQ", r"\ud83d");
    let twice = good.replacen('{', r#"{"price":1,"#, 1);
    let cases: [(&str, &[u8], &str); 20] = [
        ("not_json", b"", "AAPL"),
        ("not_json", b"hello", "AAPL"),
        ("not_json", b"{\"symbol\":\"AAPL\"", "AAPL"),
        ("not_json", b"{\"symbol\":\"AAPL\",\"price\":01,\"volume\":1,\"timestamp\":1}", "AAPL"),
        ("not_json", b"{\"symbol\":\"AAPL\xff\",\"price\":1,\"volume\":1,\"timestamp\":1}", "AAPL"),
        ("not_json", b"{\"symbol\":\"AAPL\",\"price\":1,\"volume\":1,\"timestamp\":1}{}", "AAPL"),
        ("not_object", b"[1,2]", "AAPL"),
        ("not_object", b"\"AAPL\"", "AAPL"),
        ("not_object", b"null", "AAPL"),
        ("bad_field", b"{\"symbol\":\"AAPL\",\"volume\":1,\"timestamp\":1}", "AAPL"),
        ("bad_field", b"{\"symbol\":\"AAPL\",\"price\":\"1\",\"volume\":1,\"timestamp\":1}", "AAPL"),
        ("bad_field", b"{\"price\":1,\"volume\":1,\"timestamp\":1}", "AAPL"),
        ("bad_field", twice.as_bytes(), "AAPL"),
        (
            "bad_field",
            b"{\"symbol\":\"AAPL\",\"price\":1,\"volume\":1,\"timestamp\":1,\"seq\":1,\"seq\":1}",
            "AAPL",
        ),
        ("lone_surrogate", lone_surrogate.as_bytes(), "AAPL"),
        ("too_deep", too_deep.as_bytes(), "AAPL"),
        ("wrong_symbol", b"{\"symbol\":\"MSFT\",\"price\":1,\"volume\":1,\"timestamp\":1}", "AAPL"),
        ("too_large", huge.as_bytes(), "AAPL"),
        ("too_large", gigantic.as_bytes(), "AAPL"),
        ("bad_symbol", good.as_bytes(), "AA,PL"),
    ];
    let mut expected = std::collections::BTreeMap::new();
    for (n, (reason, payload, symbol)) in cases.into_iter().enumerate() {
        worker.raw(&format!("channel:trade:{symbol}"), payload).await;
        let next = trade("AAPL", "2", n as u64);
        worker.trade("AAPL", &next).await;
        assert!(client.text().await.contains(&next), "the event behind {reason}");
        *expected.entry(reason).or_insert(0) += 1;
    }
    let metrics = gateway.get("/metrics").await.body;
    for (reason, count) in expected {
        let line = metrics.lines().find(|line| line.contains(&format!("reason=\"{reason}\""))).unwrap();
        assert!(line.ends_with(&format!(" {count}")), "{line}, expected {count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_no_client_wants_are_not_checked() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    worker.trade("MSFT", "no JSON at all").await;
    worker.trade("AAPL", &trade("AAPL", "1", 1)).await;
    client.text().await;
    let metrics = &gateway.gateway.state().metrics.ingest;
    assert_eq!((metrics.events.get(), metrics.events_unwanted.get(), metrics.events_framed.get()), (2, 1, 1));
    assert_eq!(metrics.rejected.iter().map(ws_gateway::metrics::Counter::get).sum::<u64>(), 0);
}

/// However many there are, and of whatever other reason.
#[tokio::test(flavor = "multi_thread")]
async fn each_reason_has_a_line_of_the_log_a_second_at_most() {
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &[]).await;
    let mut client = Client::connect(&gateway.url()).await;
    client.subscribe(&["AAPL"]).await;
    let begun = std::time::Instant::now();
    let bad = (0..1_000).map(|n| if n == 500 { "nonsense" } else { "{}" });
    redis.publisher().await.trades(bad.map(|payload| ("AAPL".to_owned(), payload.to_owned()))).await;
    gateway.taken(1_000).await;
    gateway.logs("reason=\"not_json\"").await;
    let lines = |reason: &str| gateway.times_logged(&format!("reason={reason:?}")) as u64;
    assert_eq!(lines("not_json"), 1);
    assert!((1..=1 + begun.elapsed().as_secs()).contains(&lines("bad_field")), "{}", lines("bad_field"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_field() {
    let redis = Redis::start().await;
    let gateway = Process::on(&redis, &[]).await;
    let mut client = Client::connect(&gateway.url()).await;
    client.subscribe(&["AAPL"]).await;
    redis.publisher().await.trade("AAPL", r#"{"symbol":"AAPL","price":"1","volume":1,"timestamp":1}"#).await;
    let find =
        || gateway.log.lock().unwrap().iter().find(|line| line.contains("bad upstream event")).cloned();
    let line = until("the line about the event", async || find()).await;
    assert!(
        line.contains(r#"reason="bad_field" symbol=AAPL fault=field price must be a number payload="#),
        "{line}"
    );
}
