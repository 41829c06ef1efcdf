//! Version 3 of Alpaca's library for Node.js, which speaks TLS whatever its URL says: every type, a restart and a cut, and what it can't do.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use ws_gateway::config::Config;

use crate::alpaca_sdks::{events, with_alpaca};
use crate::support::detour::Detour;
use crate::support::process::Process;
use crate::support::program::{Program, node};
use crate::support::tls::{self, Identity};
use crate::support::tokens::{SECRET, token};
use crate::support::{Redis, TestGateway, trade, until};

pub(crate) async fn started(way: &Detour, identity: &Identity, stream: &str, first: &Value) -> Program {
    started_with("K", way, identity, stream, first).await
}

async fn started_with(key: &str, way: &Detour, identity: &Identity, stream: &str, first: &Value) -> Program {
    let mut script = node("alpaca_node_3.js").await;
    script.env("NODE_EXTRA_CA_CERTS", identity.certificate());
    script.args([&format!("https://localhost:{}", way.addr.port()), key, "S", stream]);
    let mut client = Program::start(script);
    client.say(&first.to_string()).await;
    client
}

pub(crate) async fn gateway(
    redis: &Redis,
    identity: &Identity,
    more: impl FnOnce(&mut Config),
) -> TestGateway {
    TestGateway::on(redis, |config| {
        with_alpaca(config);
        identity.configure(config);
        more(config);
    })
    .await
}

/// Waits until a gateway's clients hold so many subscriptions.
pub(crate) async fn subscribed(gateway: SocketAddr, count: u64) {
    until("the subscriptions", async || {
        let stats = tls::get(gateway, "/stats", "").await.json();
        (stats["totalSymbolSubscriptions"] == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gets_every_type_and_comes_back() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let first = gateway(&redis, &identity, |_| {}).await;
    let way = Detour::to(first.addr).await;
    let wanted = json!({
        "subscribeForTrades": ["AAPL"], "subscribeForQuotes": ["AAPL"], "subscribeForBars": ["*"],
        "subscribeForUpdatedBars": ["AAPL"], "subscribeForDailyBars": ["AAPL"], "subscribeForStatuses": ["AAPL"],
    });
    let mut client = started(&way, &identity, "data_stream_v2", &wanted).await;
    subscribed(first.addr, 6).await;
    redis.publisher().await.events(events()).await;
    let mut seen = BTreeMap::new();
    while seen.len() < 6 {
        let line = client.json().await;
        let (name, event) = line.as_object().and_then(|line| line.iter().next()).expect("a field");
        assert_ne!(name, "CLIENT_ERROR", "{line}");
        if ["TRADES", "QUOTES", "BARS", "UPDATED_BARS", "DAILY_BARS", "TRADING_STATUSES"]
            .contains(&name.as_str())
        {
            assert!(seen.insert(name.clone(), event.clone()).is_none(), "{line}");
        }
    }
    let traded = &seen["TRADES"];
    assert_eq!(
        (&traded["Price"], &traded["Size"], &traded["Timestamp"]),
        (&json!(150.25), &json!(100), &json!("2021-02-22T15:51:44.208Z"))
    );
    client.say(&json!({"unsubscribeFromBars": ["*"]}).to_string()).await;
    subscribed(first.addr, 5).await;
    client.say(&json!({"subscribeForLulds": ["AAPL"]}).to_string()).await;
    client.line_with("CLIENT_ERROR").await;
    client.say(&json!({"unsubscribeFromLulds": ["AAPL"]}).to_string()).await;

    let second = gateway(&redis, &identity, |_| {}).await;
    way.lead_to(second.addr);
    let draining = tokio::spawn(first.gateway.drain());
    subscribed(second.addr, 5).await;
    draining.await.expect("it ends");
    way.cut();
    subscribed(second.addr, 0).await;
    subscribed(second.addr, 5).await;
    redis.publisher().await.events([("trade:AAPL", trade("AAPL", "2.5", 2))]).await;
    assert_eq!(client.line_with("TRADES").await["TRADES"]["Price"], 2.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_back_when_its_gateway_is_killed() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let flags = identity.flags();
    let flags: Vec<_> =
        ["--dialects", "alpaca"].into_iter().chain(flags.iter().map(String::as_str)).collect();
    let mut gateway = Process::on(&redis, &flags).await;
    let way = Detour::to(gateway.addr()).await;
    let wanted = json!({"subscribeForTrades": ["AAPL"]});
    let mut client = started(&way, &identity, "data_stream_v2", &wanted).await;
    for price in 1..=3 {
        if price > 1 {
            let next = Process::on(&redis, &flags).await;
            let killed = std::mem::replace(&mut gateway, next);
            way.outlive(killed, &gateway).await;
        }
        subscribed(gateway.addr(), 1).await;
        redis.publisher().await.trade("AAPL", &trade("AAPL", &price.to_string(), price)).await;
        assert_eq!(client.line_with("TRADES").await["TRADES"]["Price"], price);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_streams_of_crypto_options_and_news_have_their_paths() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway = gateway(&redis, &identity, |_| {}).await;
    let way = Detour::to(gateway.addr).await;
    for (stream, symbol) in [("crypto_stream_v1beta3", "BTC/USD"), ("option_stream", "AAPL240119C00190000")] {
        let wanted = json!({"subscribeForTrades": [symbol]});
        let mut client = started(&way, &identity, stream, &wanted).await;
        subscribed(gateway.addr, 1).await;
        redis.publisher().await.trade(symbol, &trade(symbol, "2.5", 2)).await;
        assert_eq!(client.line_with("TRADES").await["TRADES"]["Price"], 2.5, "{stream}");
        drop(client);
        subscribed(gateway.addr, 0).await;
    }
    let mut client = started(&way, &identity, "news_stream", &json!({"subscribeForNews": ["AAPL"]})).await;
    subscribed(gateway.addr, 1).await;
    let news = r#"{"headline":"h","timestamp":1000,"source":"x"}"#.to_owned();
    redis.publisher().await.events([("news:AAPL", news)]).await;
    assert_eq!(client.line_with("NEWS").await["NEWS"]["Headline"], "h");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_key_is_told_and_a_good_one_opens() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway =
        gateway(&redis, &identity, |config| config.access.secret_key = Some(SECRET.to_owned())).await;
    let way = Detour::to(gateway.addr).await;
    let mut client = started(&way, &identity, "data_stream_v2", &json!({})).await;
    assert_eq!(client.line_with("CLIENT_ERROR").await["CLIENT_ERROR"], "auth failed");
    let (key, wanted) = (token(json!({"sub": "u"})), json!({"subscribeForTrades": ["AAPL"]}));
    let mut client = started_with(&key, &way, &identity, "data_stream_v2", &wanted).await;
    subscribed(gateway.addr, 1).await;
    redis.publisher().await.trade("AAPL", &trade("AAPL", "1", 2)).await;
    assert_eq!(client.line_with("TRADES").await["TRADES"]["Price"], 1);
}

/// It offers compression, and its WebSocket library refuses the one answer that the gateway gives.
#[tokio::test(flavor = "multi_thread")]
async fn it_can_not_connect_where_compression_is_on() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway = gateway(&redis, &identity, |config| config.delivery.compress = true).await;
    let way = Detour::to(gateway.addr).await;
    let mut client = started(&way, &identity, "data_stream_v2", &json!({})).await;
    let error = client.line_with("CLIENT_ERROR").await["CLIENT_ERROR"].clone();
    assert_eq!(error, "Invalid Sec-WebSocket-Extensions header");
}
