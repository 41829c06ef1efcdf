//! Alpaca's own SDKs on the gateway, with nothing changed but the URL: every type, the star, unsubscribe, errors, keys, a restart and
//! a cut.

use crate::support::detour::Detour;
use crate::support::program::{Program, node, python};
use crate::support::tokens::{SECRET, from_now, token};
use crate::support::{Redis, TestGateway, trade, until};
use serde_json::{Value, json};
use ws_gateway::config::Config;
use ws_gateway::protocol::api::Api;

const ALPACA_PY: &str = "alpaca-py==0.44.0";

pub(crate) fn with_alpaca(config: &mut Config) {
    config.clients.dialects = [Api::Alpaca].into_iter().collect();
    config.clients.dialect_max_symbols = 12;
    config.events.channel_types = "trade,quote,candle,halt,news".parse().unwrap();
}

fn candle(interval: &str) -> String {
    format!(
        r#"{{"symbol":"AAPL","open":1,"high":2,"low":1,"close":2,"volume":5,"timestamp":60000,"interval":"{interval}"}}"#
    )
}

pub(crate) fn events() -> Vec<(&'static str, String)> {
    vec![
        ("trade:AAPL", trade("AAPL", "150.25", 1_614_009_104_208).replace("NASDAQ", "D")),
        ("quote:AAPL", r#"{"symbol":"AAPL","bidPrice":1.5,"askPrice":2,"timestamp":5}"#.to_owned()),
        ("candle:AAPL", candle("1m")),
        ("candle:AAPL", candle("5m")),
        ("candle:AAPL", candle("1d")),
        ("halt:AAPL", r#"{"symbol":"AAPL","status":"halted","reason":"LULD","timestamp":7}"#.to_owned()),
    ]
}

/// The field of the next line that has one of this name; of an event the whole line.
async fn next(client: &mut Program, name: &str) -> Value {
    let line = client.line_with(name).await;
    if name == "channel" { line } else { line[name].clone() }
}

pub(crate) async fn alpaca_py(class: &str, url: &str, first: &Value) -> Program {
    alpaca_py_with(class, url, ["K", "S"], first).await
}

async fn alpaca_py_with(class: &str, url: &str, keys: [&str; 2], first: &Value) -> Program {
    let mut script = python(ALPACA_PY, "alpaca_py.py").await;
    script.args([class, url]).args(keys);
    let mut client = Program::start(script);
    client.say(&first.to_string()).await;
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn alpaca_py_gets_every_type() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_alpaca).await;
    let url = format!("ws://{}/v2/iex", gateway.addr);
    let mut client =
        alpaca_py("StockDataStream", &url, &json!({"subscribe": "trades", "symbols": ["AAPL", "*"]})).await;
    client.logs("subscribed to trades: ['AAPL', '*']").await;
    for channel in ["quotes", "bars", "updated_bars", "daily_bars", "trading_statuses"] {
        client.say(&json!({"subscribe": channel, "symbols": ["AAPL"]}).to_string()).await;
        client.logs("subscribed to").await;
    }
    redis.publisher().await.events(events()).await;
    let mut got = std::collections::BTreeMap::new();
    while got.len() < 6 {
        let line = next(&mut client, "channel").await;
        let channel = line["channel"].as_str().expect("a name").to_owned();
        assert!(got.insert(channel, line["event"].clone()).is_none(), "{line}");
    }
    let traded = &got["trades"];
    assert_eq!(
        (&traded["symbol"], &traded["price"], &traded["size"]),
        (&json!("AAPL"), &json!(150.25), &json!(100.0))
    );
    assert_eq!(
        (&traded["timestamp"], &traded["exchange"]),
        (&json!("2021-02-22 15:51:44.208000+00:00"), &json!("D"))
    );
    let quoted = &got["quotes"];
    assert_eq!((&quoted["bid_price"], &quoted["ask_size"]), (&json!(1.5), &json!(0.0)));
    for bars in ["bars", "updated_bars", "daily_bars"] {
        assert_eq!((&got[bars]["close"], &got[bars]["volume"]), (&json!(2.0), &json!(5.0)));
    }
    assert_eq!(got["trading_statuses"]["status_message"], "halted");

    client.say(&json!({"unsubscribe": "trades", "symbols": ["AAPL"]}).to_string()).await;
    client.logs("subscribed to trades: ['*']").await;
    redis.publisher().await.events([("trade:MSFT", trade("MSFT", "1", 2))]).await;
    let starred = next(&mut client, "channel").await;
    assert_eq!((&starred["channel"], &starred["event"]["symbol"]), (&json!("trades"), &json!("MSFT")));
    let many: Vec<_> = (0..20).map(|n| format!("S{n}")).collect();
    client.say(&json!({"subscribe": "quotes", "symbols": many}).to_string()).await;
    client.logs("symbol limit exceeded (405)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alpaca_py_gets_news() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_alpaca).await;
    let url = format!("ws://{}/v1beta1/news", gateway.addr);
    let mut client =
        alpaca_py("NewsDataStream", &url, &json!({"subscribe": "news", "symbols": ["AAPL"]})).await;
    client.logs("subscribed to news: ['AAPL']").await;
    redis
        .publisher()
        .await
        .events([("news:AAPL", r#"{"headline":"h","timestamp":1000,"source":"x"}"#.to_owned())])
        .await;
    let line = next(&mut client, "channel").await;
    assert_eq!((&line["event"]["headline"], &line["event"]["symbols"]), (&json!("h"), &json!(["AAPL"])));
    assert_eq!(line["event"]["created_at"], "1970-01-01 00:00:01+00:00");
}

#[tokio::test(flavor = "multi_thread")]
async fn alpaca_py_gets_crypto() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_alpaca).await;
    let url = format!("ws://{}/v1beta3/crypto/us", gateway.addr);
    let symbols = json!(["BTC/USD"]);
    let mut client =
        alpaca_py("CryptoDataStream", &url, &json!({"subscribe": "trades", "symbols": symbols})).await;
    client.logs("subscribed to trades: ['BTC/USD']").await;
    for channel in ["quotes", "bars", "updated_bars", "daily_bars"] {
        client.say(&json!({"subscribe": channel, "symbols": symbols}).to_string()).await;
        client.logs("subscribed to").await;
    }
    let of_pair = |payload: &str| payload.replace("AAPL", "BTC/USD");
    let sold = r#"{"symbol":"BTC/USD","price":1e-8,"volume":0.25,"timestamp":2,"side":"sell"}"#.to_owned();
    let quote = r#"{"symbol":"BTC/USD","bidPrice":1.5,"askPrice":2,"bidSize":0.5,"timestamp":5}"#.to_owned();
    let mut worker = redis.publisher().await;
    worker
        .events([
            ("trade:BTC/USD", sold),
            ("quote:BTC/USD", quote),
            ("candle:BTC/USD", of_pair(&candle("1m"))),
            ("candle:BTC/USD", of_pair(&candle("1d"))),
        ])
        .await;
    let mut got = std::collections::BTreeMap::new();
    while got.len() < 5 {
        let line = next(&mut client, "channel").await;
        let channel = line["channel"].as_str().expect("a name").to_owned();
        assert_eq!(line["event"]["symbol"], "BTC/USD");
        assert!(got.insert(channel, line["event"].clone()).is_none(), "{line}");
    }
    assert_eq!((&got["trades"]["price"], &got["trades"]["size"]), (&json!(1e-8), &json!(0.25)));
    assert_eq!((&got["quotes"]["bid_size"], &got["quotes"]["bid_price"]), (&json!(0.5), &json!(1.5)));
    assert_eq!((&got["bars"]["close"], &got["daily_bars"]["close"]), (&json!(2.0), &json!(2.0)));
    client.say(&json!({"unsubscribe": "trades", "symbols": symbols}).to_string()).await;
    client.logs("subscribed to quotes: ['BTC/USD']").await;
    worker.trade("BTC/USD", &trade("BTC/USD", "1", 3)).await;
    gateway.taken(5).await;
    let quote = r#"{"symbol":"BTC/USD","bidPrice":3,"askPrice":4,"timestamp":6}"#.to_owned();
    worker.events([("quote:BTC/USD", quote)]).await;
    let after = next(&mut client, "channel").await;
    assert_eq!(
        (&after["channel"], &after["event"]["bid_price"]),
        (&json!("quotes"), &json!(3.0)),
        "no trade before it"
    );
    client.say(&json!({"subscribe": "orderbooks", "symbols": symbols}).to_string()).await;
    client.logs("invalid subscribe action for this feed (410)").await;
}

/// A key that doesn't hold is told of, again and again as alpaca-py asks, and once to the one for Node.js, which ends then. Tokens and API keys are keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_key_is_told_and_a_good_one_opens() {
    let redis = Redis::start().await;
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(keys.path(), "pair:s3cret\t{\"sub\":\"b\",\"symbols\":[\"AAPL\"]}\n").expect("written");
    let gateway = TestGateway::on(&redis, |config| {
        with_alpaca(config);
        config.access.secret_key = Some(SECRET.to_owned());
        config.access.api_keys_file = Some(keys.path().to_owned());
    })
    .await;
    let url = format!("ws://{}/v2/iex", gateway.addr);
    let first = json!({"subscribe": "trades", "symbols": ["AAPL"]});
    let ended = token(json!({"sub": "u", "exp": from_now(-3_600)}));
    for bad in [["nobody", "S"], ["pair", "wrong"], [&ended, "S"]] {
        let mut client = alpaca_py_with("StockDataStream", &url, bad, &first).await;
        for _ in 0..2 {
            client.logs("error during websocket communication: auth failed").await;
        }
        drop(client);

        let mut script = node("alpaca_node.js").await;
        script.arg(&url).args(bad);
        let mut client = Program::start(script);
        client.say(r#"{"subscribeForTrades":["AAPL"]}"#).await;
        let error = next(&mut client, "CLIENT_ERROR").await;
        assert!(error.to_string().contains("auth failed"), "{error}");
        assert_eq!(client.exit().await.code(), Some(0), "nothing keeps it");
    }
    let good = token(json!({"sub": "u"}));
    for keys in [["pair", "s3cret"], [&good, "S"]] {
        let mut client = alpaca_py_with("StockDataStream", &url, keys, &first).await;
        client.logs("subscribed to trades: ['AAPL']").await;
        redis.publisher().await.trade("AAPL", &trade("AAPL", "1", 2)).await;
        assert_eq!(next(&mut client, "channel").await["event"]["symbol"], "AAPL");
        drop(client);
        gateway.subscribed(0).await;

        let mut script = node("alpaca_node.js").await;
        script.arg(&url).args(keys);
        let mut client = Program::start(script);
        client.say(r#"{"subscribeForTrades":["AAPL"]}"#).await;
        gateway.subscribed(1).await;
        redis.publisher().await.trade("AAPL", &trade("AAPL", "2", 2)).await;
        assert_eq!(next(&mut client, "TRADE").await["price"], 2);
    }
    // What a key's rights don't cover.
    let mut client = alpaca_py_with("StockDataStream", &url, ["pair", "s3cret"], &first).await;
    client.logs("subscribed to trades: ['AAPL']").await;
    client.say(&json!({"subscribe": "trades", "symbols": ["MSFT"]}).to_string()).await;
    client.logs("insufficient subscription (409)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alpaca_py_comes_back() {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, with_alpaca).await;
    let way = Detour::to(first.addr).await;
    let url = format!("ws://{}/v2/iex", way.addr);
    let mut client =
        alpaca_py("StockDataStream", &url, &json!({"subscribe": "trades", "symbols": ["AAPL"]})).await;
    client.logs("subscribed to trades").await;
    let second = TestGateway::on(&redis, with_alpaca).await;
    way.lead_to(second.addr);
    let draining = tokio::spawn(first.gateway.drain());
    client.logs("subscribed to trades").await;
    draining.await.expect("it ends");
    way.cut();
    client.logs("subscribed to trades").await;
    redis.publisher().await.events([("trade:AAPL", trade("AAPL", "2", 2))]).await;
    assert_eq!(next(&mut client, "channel").await["event"]["price"], 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn node_gets_every_type_and_comes_back() {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, with_alpaca).await;
    let way = Detour::to(first.addr).await;
    let mut script = node("alpaca_node.js").await;
    script.args([&format!("ws://{}/alpaca/v2/iex", way.addr), "K", "S"]);
    let mut client = Program::start(script);
    let wanted = json!({
        "subscribeForTrades": ["AAPL"], "subscribeForQuotes": ["AAPL"], "subscribeForBars": ["*"],
        "subscribeForUpdatedBars": ["AAPL"], "subscribeForDailyBars": ["AAPL"], "subscribeForStatuses": ["AAPL"],
    });
    client.say(&wanted.to_string()).await;
    let held = next(&mut client, "SUBSCRIPTION").await;
    assert_eq!(
        (&held["trades"], &held["bars"], &held["statuses"]),
        (&json!(["AAPL"]), &json!(["*"]), &json!(["AAPL"]))
    );
    redis.publisher().await.events(events()).await;
    let mut seen = std::collections::BTreeMap::new();
    while seen.len() < 6 {
        let line = client.json().await;
        let (name, event) = line.as_object().and_then(|line| line.iter().next()).expect("a field");
        if ["TRADE", "QUOTE", "BAR", "UPDATED_BAR", "DAILY_BAR", "STATUS"].contains(&name.as_str()) {
            assert!(seen.insert(name.clone(), event.clone()).is_none(), "{line}");
        }
        assert_ne!(name, "CLIENT_ERROR", "{line}");
    }
    assert!(seen["TRADE"].to_string().contains("150.25"), "{seen:?}");

    client.say(&json!({"unsubscribeFromBars": ["*"]}).to_string()).await;
    assert_eq!(next(&mut client, "SUBSCRIPTION").await["bars"], json!([]));
    client.say(&json!({"subscribeForLulds": ["AAPL"]}).to_string()).await;
    let error = next(&mut client, "CLIENT_ERROR").await;
    assert!(error.to_string().contains("invalid subscribe action"), "{error}");
    client.say(&json!({"unsubscribeFromLulds": ["AAPL"]}).to_string()).await;

    let second = TestGateway::on(&redis, with_alpaca).await;
    way.lead_to(second.addr);
    let draining = tokio::spawn(first.gateway.drain());
    next(&mut client, "AUTHORIZED").await;
    draining.await.expect("it ends");
    next(&mut client, "SUBSCRIPTION").await;
    way.cut();
    next(&mut client, "AUTHORIZED").await;
    next(&mut client, "SUBSCRIPTION").await;
    redis.publisher().await.events([("trade:AAPL", trade("AAPL", "2.5", 2))]).await;
    assert!(next(&mut client, "TRADE").await.to_string().contains("2.5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn alpaca_trade_api_gets_every_type_and_comes_back() {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, with_alpaca).await;
    let way = Detour::to(first.addr).await;
    let mut script = python("alpaca-trade-api==3.2.0", "alpaca_trade_api_py.py").await;
    script.args([&format!("http://{}", way.addr), "K", "S"]);
    let mut client = Program::start(script);
    client.say(&json!({"subscribe": "trades", "symbols": ["AAPL", "*"]}).to_string()).await;
    client.logs("trades: ['AAPL', '*']").await;
    for channel in ["quotes", "bars", "updated_bars", "daily_bars", "statuses"] {
        client.say(&json!({"subscribe": channel, "symbols": ["AAPL"]}).to_string()).await;
        client.logs("subscribed to").await;
    }
    redis.publisher().await.events(events()).await;
    let mut got = std::collections::BTreeMap::new();
    while got.len() < 6 {
        let line = next(&mut client, "channel").await;
        let channel = line["channel"].as_str().expect("a name").to_owned();
        assert!(got.insert(channel, line["event"].clone()).is_none(), "{line}");
    }
    assert_eq!((&got["trades"]["p"], &got["trades"]["s"]), (&json!(150.25), &json!(100)));
    assert_eq!((&got["daily_bars"]["c"], &got["statuses"]["sm"]), (&json!(2.0), &json!("halted")));
    client.say(&json!({"unsubscribe": "trades", "symbols": ["AAPL"]}).to_string()).await;
    client.logs("trades: ['*']").await;

    let second = TestGateway::on(&redis, with_alpaca).await;
    way.lead_to(second.addr);
    let draining = tokio::spawn(first.gateway.drain());
    client.logs("restarting connection").await;
    client.logs("trades: ['*']").await;
    draining.await.expect("it ends");
    way.cut();
    client.logs("restarting connection").await;
    client.logs("trades: ['*']").await;
    redis.publisher().await.events([("trade:AAPL", trade("AAPL", "2", 2))]).await;
    assert_eq!(next(&mut client, "channel").await["event"]["p"], 2.0);
}

/// A client that stands still loses events and not its connection; and silence, in which it answers pings, ends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn alpaca_py_may_be_slow_and_the_market_silent() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_alpaca(config);
        config.events.max_event_bytes = 1_024;
        config.delivery.max_outbox_bytes = 64 * 1_024;
        config.delivery.ping_interval = std::time::Duration::from_millis(500);
        config.delivery.pong_timeout = std::time::Duration::from_millis(500);
        config.delivery.max_missed_pongs = 1_000;
    })
    .await;
    let url = format!("ws://{}/v2/iex", gateway.addr);
    let mut client =
        alpaca_py("StockDataStream", &url, &json!({"subscribe": "trades", "symbols": ["*"]})).await;
    client.logs("subscribed to trades").await;
    let pongs = async || {
        let metrics = gateway.get("/metrics").await.body;
        let pongs = metrics.lines().filter(|line| line.starts_with("ws_pongs_total"));
        pongs.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    until("pongs", async || (pongs().await >= 3.0).then_some(())).await;
    client.pause();
    let mut worker = redis.publisher().await;
    for part in 0..60 {
        worker.trades((0..1_000).map(|n| ("A".to_owned(), trade("A", "1", part * 1_000 + n)))).await;
    }
    gateway.taken(60_000).await;
    until("skips", async || (gateway.stat("slowClients/skippedEvents").await > 0).then_some(())).await;
    client.go_on();
    worker.events([("trade:LAST", trade("LAST", "1", 1))]).await;
    let mut seen = 0;
    while next(&mut client, "channel").await["event"]["symbol"] != "LAST" {
        seen += 1;
    }
    let skipped = gateway.stat("slowClients/skippedEvents").await;
    assert_eq!((seen + skipped, gateway.stat("connections/opened").await), (60_000, 1));
}

/// Its WebSocket library offers compression, and reads what it is sent so.
#[tokio::test(flavor = "multi_thread")]
async fn alpaca_py_reads_compressed_messages() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_alpaca(config);
        config.delivery.compress = true;
        config.delivery.compression_threshold_bytes = 0;
    })
    .await;
    let url = format!("ws://{}/v2/iex", gateway.addr);
    let mut client =
        alpaca_py("StockDataStream", &url, &json!({"subscribe": "trades", "symbols": ["*"]})).await;
    client.logs("subscribed to trades: ['*']").await;
    let compressed = || gateway.gateway.state().metrics.compression().compressed;
    let before = compressed();
    let trades = (0..200).map(|n| (format!("S{}", n % 7), trade(&format!("S{}", n % 7), &n.to_string(), n)));
    redis.publisher().await.trades(trades).await;
    for n in 0..200 {
        assert_eq!(next(&mut client, "channel").await["event"]["price"], f64::from(n));
    }
    assert!(compressed() > before, "no message of trades was compressed");
}
