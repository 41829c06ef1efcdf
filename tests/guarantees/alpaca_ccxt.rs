//! ccxt's client of Alpaca's API, in JavaScript and in Python, which speaks JSON and connects to an older path: trades, quotes and bars, a restart, a bad key.

use crate::support::detour::Detour;
use crate::support::program::{Program, node, python};
use crate::support::tokens::SECRET;
use crate::support::{Redis, TestGateway, trade};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::process::Command;
use ws_gateway::config::Config;
use ws_gateway::protocol::api::Api;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    JavaScript,
    Python,
}

impl Language {
    /// The methods for trades, quotes and bars.
    pub(crate) const fn methods(self) -> [&'static str; 3] {
        match self {
            Self::JavaScript => ["watchTrades", "watchTicker", "watchOHLCV"],
            Self::Python => ["watch_trades", "watch_ticker", "watch_ohlcv"],
        }
    }
}

fn with_alpaca(config: &mut Config) {
    config.clients.dialects = [Api::Alpaca].into_iter().collect();
    config.events.channel_types = "trade,quote,candle".parse().unwrap();
}

pub(crate) async fn started(way: &Detour, language: Language, methods: &[&str]) -> Program {
    Program::start(script(way.addr, language, ["K", "S"], methods).await)
}

pub(crate) async fn script(
    addr: SocketAddr,
    language: Language,
    keys: [&str; 2],
    methods: &[&str],
) -> Command {
    let mut script = match language {
        Language::JavaScript => node("alpaca_ccxt.js").await,
        Language::Python => python("ccxt==4.5.90", "alpaca_ccxt.py").await,
    };
    script.arg(format!("ws://{addr}/v1beta2/crypto")).args(keys).args(methods);
    script
}

/// Publishes one event of each type, and returns what the client makes of them.
async fn exchanged(redis: &Redis, client: &mut Program, price: u64) -> BTreeMap<String, Value> {
    let quote = format!(r#"{{"symbol":"BTC/USD","bidPrice":{price},"askPrice":9,"timestamp":{price}}}"#);
    let candle = format!(
        r#"{{"symbol":"BTC/USD","open":1,"high":9,"low":1,"close":{price},"volume":5,"timestamp":60000,"interval":"1m"}}"#
    );
    let sold =
        trade("BTC/USD", &price.to_string(), price).replace("\"exchange\":\"NASDAQ\"", "\"side\":\"sell\"");
    let events = [("trade:BTC/USD", sold), ("quote:BTC/USD", quote), ("candle:BTC/USD", candle)];
    redis.publisher().await.events(events).await;
    let mut seen = BTreeMap::new();
    while seen.len() < 3 {
        let line = client.line_with("event").await;
        seen.insert(line["of"].as_str().expect("a method").to_owned(), line["event"].clone());
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn it_watches_and_comes_back_in_javascript() {
    watches_and_comes_back(Language::JavaScript).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_watches_and_comes_back_in_python() {
    watches_and_comes_back(Language::Python).await;
}

async fn watches_and_comes_back(language: Language) {
    let [trades, ticker, bars] = language.methods();
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, with_alpaca).await;
    let way = Detour::to(first.addr).await;
    let mut client = started(&way, language, &language.methods()).await;
    first.subscribed(3).await;
    let seen = exchanged(&redis, &mut client, 7).await;
    let traded = &seen[trades][0];
    assert_eq!(
        (traded["price"].as_f64(), traded["amount"].as_f64(), traded["timestamp"].as_u64()),
        (Some(7.0), Some(100.0), Some(7))
    );
    assert_eq!(traded["side"], "sell");
    assert_eq!(seen[ticker]["bid"].as_f64(), Some(7.0));
    let candle = &seen[bars][0];
    assert_eq!((candle[0].as_f64(), candle[4].as_f64()), (Some(60_000.0), Some(7.0)));

    let second = TestGateway::on(&redis, with_alpaca).await;
    way.lead_to(second.addr);
    let draining = tokio::spawn(first.gateway.drain());
    second.subscribed(3).await;
    draining.await.expect("it ends");
    let seen = exchanged(&redis, &mut client, 8).await;
    assert_eq!(seen[ticker]["bid"].as_f64(), Some(8.0));
}

/// Not in Python: there the error ends what reads the connection, and no call ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_key_is_told_in_javascript() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_alpaca(config);
        config.access.secret_key = Some(SECRET.to_owned());
    })
    .await;
    let way = Detour::to(gateway.addr).await;
    let language = Language::JavaScript;
    let mut client = started(&way, language, &language.methods()[..1]).await;
    let end = client.line_with("end").await;
    assert!(end["why"].as_str().is_some_and(|why| why.contains("402")), "{end}");
}
