//! Symbols of all markets work: with ampersands, dollars, and the spaces in options' symbols. Case doesn't matter, or does
//! with `SYMBOL_CASE=exact`.

use serde_json::{Value, json};

use crate::support::{Client, Redis, TestGateway, trade};
use ws_gateway::market::SymbolCase;

const SYMBOLS: [&str; 5] = ["M&M.NS", "$SPX", "ES1!", "AAPL  240119C00190000", "<A'B%>"];

#[tokio::test(flavor = "multi_thread")]
async fn are_delivered_by_name_by_pattern_and_by_query() {
    let redis = Redis::start().await;
    let gateway =
        TestGateway::on(&redis, |config| config.history.last_value_key = Some("last:".to_owned())).await;
    let mut worker = redis.publisher().await;
    let mut named = gateway.client().await;
    let reply = named.subscribe(&SYMBOLS.map(str::to_lowercase).each_ref().map(String::as_str)).await;
    assert_eq!(reply["data"], json!({"subscribed": SYMBOLS, "currentSubscriptions": SYMBOLS}));
    let mut options = gateway.subscriber(&["AAPL  *"]).await;
    let query = "symbols=M%26M.NS,$SPX,ES1!,AAPL%20%20240119C00190000,%3CA'B%25%3E";
    let mut asked_by_query = Client::connect(&format!("ws://{}/ws?{query}", gateway.addr)).await;
    assert_eq!(asked_by_query.json().await["data"]["subscribed"], json!(SYMBOLS));
    for symbol in SYMBOLS {
        worker.trade(symbol, &trade(symbol, "1", 7)).await;
    }
    for client in [&mut named, &mut asked_by_query] {
        for symbol in SYMBOLS {
            client.gets(symbol, 7).await;
        }
    }
    options.gets(SYMBOLS[3], 7).await;

    let () = worker.command(&["SET", "last:BRK A", &trade("BRK A", "1", 8)]).await;
    named.unsubscribe(&["M&M.NS"]).await;
    named.send(json!({"action": "subscribe", "symbols": ["brk a"], "snapshot": true}).to_string()).await;
    assert_eq!(named.json().await["data"]["subscribed"], json!(["BRK A"]));
    named.gets("BRK A", 8).await;
    assert_eq!(named.json().await["data"]["symbols"], json!(["BRK A"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plus_in_a_query_is_no_space() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let query = "symbols=AAPL++240119C00190000";
    let mut client = Client::connect(&format!("ws://{}/ws?{query}", gateway.addr)).await;
    let refusal = client.json().await;
    assert_eq!((refusal["type"].as_str(), refusal["code"].as_str()), (Some("error"), Some("INVALID_INPUT")));
    assert!(refusal["message"].as_str().unwrap().contains("%20"), "{refusal}");
    client.send(r#"{"action":"list"}"#).await;
    assert_eq!(client.json().await["data"]["currentSubscriptions"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn differ_by_case_with_symbol_case_exact() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.events.symbol_case = SymbolCase::Exact).await;
    let mut worker = redis.publisher().await;
    worker.trade("AMPB", &trade("AMPB", "2", 1)).await;
    gateway.taken(1).await;
    let mut preferred = gateway.client().await;
    preferred
        .send(json!({"action": "subscribe", "symbols": ["AMpB", "AMpB"], "snapshot": true}).to_string())
        .await;
    assert_eq!(preferred.json().await["data"]["subscribed"], json!(["AMpB"]));
    assert_eq!(preferred.json().await["event"], "snapshotEnd", "there is no value of this one yet");
    let mut both = gateway.client().await;
    assert_eq!(both.subscribe(&["AMpB", "AMPB"]).await["data"]["subscribed"], json!(["AMpB", "AMPB"]));
    let mut pattern = gateway.subscriber(&["AMp*"]).await;
    // Another symbol than the channel's, by its case.
    worker.trade("AMpB", &trade("AMPB", "3", 2)).await;
    for (symbol, n) in [("AMPB", 3), ("AMpB", 4)] {
        worker.trade(symbol, &trade(symbol, "4", n)).await;
    }
    preferred.gets("AMpB", 4).await;
    pattern.gets("AMpB", 4).await;
    both.gets("AMPB", 3).await;
    both.gets("AMpB", 4).await;
    let rejected: Value = serde_json::from_str(&gateway.get("/stats").await.body).unwrap();
    assert_eq!(rejected["events"]["rejected"]["wrong_symbol"], 1, "{rejected}");
}
