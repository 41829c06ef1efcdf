//! Alpaca's SDKs for Python and Node.js have a stream for each market: those of options, and all that `new Alpaca().marketData` makes.

use serde_json::json;

use crate::alpaca_sdks::{alpaca_py, with_alpaca};
use crate::support::program::{Program, node};
use crate::support::{Redis, TestGateway, trade};

const OPTION: &str = "AAPL240119C00190000";

#[tokio::test(flavor = "multi_thread")]
async fn alpaca_py_gets_options() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_alpaca).await;
    for feed in ["opra", "alpaca/v1beta1/indicative"] {
        let path = if feed.contains('/') { feed.to_owned() } else { format!("v1beta1/{feed}") };
        let url = format!("ws://{}/{path}", gateway.addr);
        let wanted = json!({"subscribe": "trades", "symbols": [OPTION]});
        let mut client = alpaca_py("OptionDataStream", &url, &wanted).await;
        client.logs(&format!("subscribed to trades: ['{OPTION}']")).await;
        client.say(&json!({"subscribe": "quotes", "symbols": [OPTION]}).to_string()).await;
        client.logs(&format!("quotes: ['{OPTION}']")).await;
        let quote = format!(r#"{{"symbol":"{OPTION}","bidPrice":1.5,"askPrice":2,"timestamp":5}}"#);
        let events =
            [(format!("trade:{OPTION}"), trade(OPTION, "2.5", 2)), (format!("quote:{OPTION}"), quote)];
        redis.publisher().await.events(events.iter().map(|(topic, event)| (&**topic, event.clone()))).await;
        let traded = client.line_with("channel").await;
        assert_eq!((&traded["channel"], &traded["event"]["price"]), (&json!("trades"), &json!(2.5)));
        let quoted = client.line_with("channel").await;
        assert_eq!((&quoted["channel"], &quoted["event"]["bid_price"]), (&json!("quotes"), &json!(1.5)));
        client.say(&json!({"unsubscribe": "trades", "symbols": [OPTION]}).to_string()).await;
        client.logs(&format!("subscribed to quotes: ['{OPTION}']")).await;
        drop(client);
        gateway.subscribed(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn node_makes_a_stream_for_each() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_alpaca).await;
    for (accessor, path, symbol) in [
        ("stockStream", "/v2/iex", "AAPL"),
        ("cryptoStream", "/v1beta3/crypto/us", "BTC/USD"),
        ("optionStream", "/v1beta1/indicative", OPTION),
        ("newsStream", "/v1beta1/news", "AAPL"),
    ] {
        let mut script = node("alpaca_node.js").await;
        script.args([&format!("ws://{}{path}", gateway.addr), "K", "S", accessor]);
        let mut client = Program::start(script);
        let (method, name) = match accessor {
            "newsStream" => ("subscribeForNews", "NEWS"),
            _ => ("subscribeForTrades", "TRADE"),
        };
        client.say(&json!({method: [symbol]}).to_string()).await;
        client.line_with("SUBSCRIPTION").await;
        let news = r#"{"headline":"h 2.5","timestamp":1000,"source":"x"}"#.to_owned();
        let events = [(format!("trade:{symbol}"), trade(symbol, "2.5", 2)), (format!("news:{symbol}"), news)];
        redis.publisher().await.events(events.iter().map(|(topic, event)| (&**topic, event.clone()))).await;
        let told = client.line_with(name).await;
        assert!(told.to_string().contains("2.5"), "{accessor}: {told}");
        drop(client);
        gateway.subscribed(0).await;
    }
}
