//! Binance's API as it is on the wire: paths, raw and combined framing, requests and their errors, streams, limits, statuses, drain.

use crate::support::http::{HANDSHAKE, exchange, read_head};
use crate::support::tokens::{SECRET, token};
use crate::support::{Client, Redis, TestGateway, trade, until};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use ws_gateway::config::Config;
use ws_gateway::protocol::api::Api;

/// A time in milliseconds is less until the year 33658, one in microseconds more since 2001.
const MICROSECONDS_MIN: u64 = 1_000_000_000_000_000;

fn with_binance(config: &mut Config) {
    config.clients.dialects = [Api::Binance].into_iter().collect();
    config.events.channel_types = "trade,quote,candle".parse().unwrap();
}

async fn connect(gateway: &TestGateway, path: &str) -> Client {
    Client::connect(&format!("ws://{}{path}", gateway.addr)).await
}

async fn ask(client: &mut Client, request: &str) -> String {
    client.send(request).await;
    client.text().await
}

/// The number of subscriptions of a gateway: what a URL names is not answered.
async fn subscribed(gateway: &TestGateway, count: u64) {
    until("the subscriptions", async || {
        (gateway.stat("totalSymbolSubscriptions").await == count).then_some(())
    })
    .await;
}

fn without_clock(mut event: Value) -> Value {
    let object = match event.get("stream") {
        Some(_) => &mut event["data"],
        None => &mut event,
    };
    let at = object.as_object_mut().expect("an object").remove("E");
    assert!(at.is_none_or(|at| at.is_u64()));
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn its_paths_are_there_only_if_asked_for() {
    let redis = Redis::start().await;
    let off = TestGateway::on(&redis, |_| {}).await;
    let on = TestGateway::on(&redis, with_binance).await;
    for path in [
        "/stream",
        "/stream?streams=",
        "/binance/stream",
        "/binance/stream?streams=btcusdt@trade/ethusdt@bookTicker",
        "/binance/ws",
        "/binance/ws/btcusdt@trade",
        "/binance/ws/0",
        "/ws/btcusdt@kline_1m",
        "/ws/0",
    ] {
        assert_eq!(off.get(path).await.status, 404, "{path}");
        assert_eq!(on.get(path).await.status, 426, "{path}");
        let mut client = connect(&on, path).await;
        let combined = path.contains("/stream");
        assert_eq!(
            ask(&mut client, r#"{"method":"GET_PROPERTY","params":["combined"],"id":2}"#).await,
            format!(r#"{{"result":{combined},"id":2}}"#)
        );
    }
    for path in ["/streams", "/binance", "/binancestream", "/stream/btcusdt@trade"] {
        assert_eq!(on.get(path).await.status, 404, "{path}");
    }
    // These are the gateway's own.
    for path in ["/ws", "/ws/"] {
        let mut client = connect(&on, path).await;
        client.send(r#"{"action":"ping"}"#).await;
        assert_eq!(client.json().await["type"], "pong", "{path}");
    }
    assert_eq!(on.get("/ws/health").await.json()["status"], "healthy");
    for query in ["timeUnit=DAY", "maxRate=0", "onSlow=x"] {
        let request = HANDSHAKE.replace("/ws ", &format!("/stream?{query} "));
        let refused = exchange(on.addr, &format!("{request}\r\n")).await;
        assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stream_has_its_events() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_binance).await;
    let names = ["trade", "aggTrade", "bookTicker", "kline_1m", "kline_1d"];
    let streams = names.map(|name| format!("btcusdt@{name}")).join("/");
    let mut client = connect(&gateway, &format!("/stream?streams={streams}&timeUnit=MICROSECOND")).await;
    let mut raw = connect(&gateway, "/ws/btcusdt@trade").await;
    subscribed(&gateway, 6).await;
    let candle = |interval: &str| {
        format!(
            r#"{{"symbol":"BTCUSDT","open":1.0,"high":2,"low":1,"close":2,"volume":5,"timestamp":60000,"interval":"{interval}"}}"#
        )
    };
    redis
        .publisher()
        .await
        .events([
            ("candle:BTCUSDT", candle("1m")),
            ("candle:BTCUSDT", candle("5m")),
            ("candle:BTCUSDT", candle("1d")),
            ("quote:BTCUSDT", r#"{"symbol":"BTCUSDT","bidPrice":1.50,"askPrice":2,"timestamp":1}"#.to_owned()),
            (
                "trade:BTCUSDT",
                r#"{"symbol":"BTCUSDT","price":150.250,"volume":1e-8,"timestamp":1672515782136,"id":9,"side":"buy"}"#
                    .to_owned(),
            ),
        ])
        .await;
    let mut seen = std::collections::BTreeMap::new();
    while seen.len() < 5 {
        let event = client.json().await;
        let at = event["data"].get("E").map(|at| at.as_u64().expect("a number"));
        assert!(at.is_none_or(|at| at > MICROSECONDS_MIN), "{event}");
        let event = without_clock(event);
        let stream = event["stream"].as_str().expect("a name").to_owned();
        assert!(seen.insert(stream, event["data"].clone()).is_none(), "{event}");
    }
    let mut agg = json!({"e": "aggTrade", "s": "BTCUSDT", "a": 9, "p": "150.250", "q": "1e-8", "f": 9, "l": 9, "T": 1_672_515_782_136_000_u64, "m": false});
    assert_eq!(seen["btcusdt@aggTrade"], agg);
    for name in ["a", "f", "l"] {
        agg.as_object_mut().expect("an object").remove(name);
    }
    (agg["e"], agg["t"]) = (json!("trade"), json!(9));
    assert_eq!(seen["btcusdt@trade"], agg);
    assert_eq!(seen["btcusdt@bookTicker"], json!({"s": "BTCUSDT", "b": "1.50", "a": "2"}));
    for (interval, end) in [("1m", 119_999_999_u64), ("1d", 86_459_999_999)] {
        let kline = &seen[&format!("btcusdt@kline_{interval}")];
        let k = json!({"t": 60_000_000, "T": end, "s": "BTCUSDT", "i": interval, "o": "1.0", "c": "2", "h": "2", "l": "1", "v": "5", "x": false});
        assert_eq!(*kline, json!({"e": "kline", "s": "BTCUSDT", "k": k}));
    }
    agg["T"] = json!(1_672_515_782_136_u64);
    let event = raw.json().await;
    assert!(event["E"].as_u64().is_some_and(|at| at < MICROSECONDS_MIN), "{event}");
    assert_eq!(without_clock(event), agg, "the object alone, in milliseconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_under_their_id() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_binance).await;
    let mut worker = redis.publisher().await;
    let mut client = connect(&gateway, "/binance/ws").await;
    let done = |id: &str| format!(r#"{{"result":null,"id":{id}}}"#);
    for (id, combined) in [("5", true), ("\"a-b\"", false), ("null", true)] {
        let set = format!(r#"{{"method":"SET_PROPERTY","params":["combined",{combined}],"id":{id}}}"#);
        assert_eq!(ask(&mut client, &set).await, done(id));
    }
    let subscribe = r#"{"method":"SUBSCRIBE","params":["BTCUSDT@trade","btcusdt@aggTrade"],"id":-7}"#;
    assert_eq!(ask(&mut client, subscribe).await, done("-7"));
    let list = r#"{"id":3,"method":"LIST_SUBSCRIPTIONS"}"#;
    assert_eq!(ask(&mut client, list).await, r#"{"result":["btcusdt@trade","btcusdt@aggTrade"],"id":3}"#);
    assert_eq!(
        ask(&mut client, r#"{"method":"SET_PROPERTY","params":["combined",false],"id":6}"#).await,
        r#"{"code":2,"msg":"Invalid request: combined can be set before the first SUBSCRIBE only","id":6}"#
    );
    assert_eq!(
        ask(&mut client, r#"{"method":"SET_PROPERTY","params":["combined",true],"id":6}"#).await,
        done("6"),
        "as it is"
    );
    for stream in ["!miniTicker@arr", "btcusdt@miniTicker", "btcusdt@depth20", "btcusdt@kline_2m", "*@trade"]
    {
        let subscribe = format!(r#"{{"method":"SUBSCRIBE","params":["ethusdt@trade","{stream}"],"id":1}}"#);
        assert_eq!(
            ask(&mut client, &subscribe).await,
            format!(r#"{{"code":2,"msg":"Invalid request: this gateway has no stream {stream}","id":1}}"#)
        );
    }
    assert_eq!(
        ask(&mut client, "{\"method\":").await,
        r#"{"code":3,"msg":"Invalid JSON: EOF while parsing a value at line 1 column 10"}"#
    );
    client.ws_binary(b"\x01").await;
    assert_eq!(client.json().await["code"], 2);
    let unsubscribe = r#"{"method":"UNSUBSCRIBE","params":["btcusdt@trade","ethusdt@depth"],"id":"u"}"#;
    assert_eq!(ask(&mut client, unsubscribe).await, done("\"u\""));
    worker.trade("BTCUSDT", &trade("BTCUSDT", "1.5", 1)).await;
    assert_eq!(client.json().await["stream"], "btcusdt@aggTrade", "and no trade");
    assert_eq!(ask(&mut client, list).await, r#"{"result":["btcusdt@aggTrade"],"id":3}"#);
    let unsubscribe = r#"{"method":"UNSUBSCRIBE","params":["btcusdt@aggTrade"],"id":4}"#;
    assert_eq!(ask(&mut client, unsubscribe).await, done("4"));
    let set = r#"{"method":"SET_PROPERTY","params":["combined",false],"id":6}"#;
    let refused = ask(&mut client, set).await;
    assert!(refused.contains("before the first SUBSCRIBE only"), "also when nothing is left: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_streams_than_allowed_are_refused() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_binance(config);
        config.clients.dialect_max_symbols = 2;
    })
    .await;
    let refusal = r#"{"code":2,"msg":"Invalid request: too many streams, the limit is 2""#;
    let mut client = connect(&gateway, "/stream?streams=a@trade/b@aggTrade/c@trade").await;
    assert_eq!(client.text().await, format!("{refusal}}}"));
    let list = r#"{"method":"LIST_SUBSCRIPTIONS","id":1}"#;
    assert_eq!(ask(&mut client, list).await, r#"{"result":["a@trade","b@aggTrade"],"id":1}"#);
    let subscribe = r#"{"method":"SUBSCRIBE","params":["c@trade"],"id":9}"#;
    assert_eq!(ask(&mut client, subscribe).await, format!("{refusal},\"id\":9}}"));
    // Clients that come back name in the URL what was refused before.
    let mut partly = connect(&gateway, "/ws/a@depth/a@trade").await;
    assert_eq!(
        partly.text().await,
        r#"{"code":2,"msg":"Invalid request: this gateway has no stream a@depth"}"#
    );
    assert_eq!(ask(&mut partly, list).await, r#"{"result":["a@trade"],"id":1}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_in_the_url_or_a_header() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_binance(config);
        // The key's own number counts.
        config.clients.dialect_max_symbols = 1;
        config.access.secret_key = Some(SECRET.to_owned());
    })
    .await;
    let key = token(json!({"sub": "u", "symbols": ["BTC*"], "types": ["trade", "candle"], "maxSymbols": 2}));
    let handshake = |path: &str, key: &str| {
        let header = if key.is_empty() { String::new() } else { format!("X-MBX-APIKEY: {key}\r\n") };
        format!("{}{header}\r\n", HANDSHAKE.replace("/ws ", &format!("{path} ")))
    };
    for (path, key) in [("/stream", ""), ("/stream?token=nobody", ""), ("/ws/btcusdt@trade", "nobody")] {
        let refused = exchange(gateway.addr, &handshake(path, key)).await;
        assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    }
    let mut stream = TcpStream::connect(gateway.addr).await.expect("the gateway listens");
    stream.write_all(handshake("/binance/stream", &key).as_bytes()).await.expect("taken");
    assert_eq!(read_head(&mut stream).await.status, 101);
    let mut by_header = Client::from_raw(stream).await;
    let mut by_query = connect(&gateway, &format!("/stream?token={key}")).await;
    // As clients make it of an address that has the key, behind which they put their own path and query.
    let combined = format!("/stream?token={key}&/stream?streams=btcusdt@trade/btcusdt@kline_1m");
    let mut by_address = connect(&gateway, &combined).await;
    let list = r#"{"method":"LIST_SUBSCRIPTIONS","id":1}"#;
    assert_eq!(ask(&mut by_address, list).await, r#"{"result":["btcusdt@trade","btcusdt@kline_1m"],"id":1}"#);
    for client in [&mut by_header, &mut by_query] {
        let subscribe = r#"{"method":"SUBSCRIBE","params":["btcusdt@kline_1m","btcusdt@trade"],"id":1}"#;
        assert_eq!(ask(client, subscribe).await, r#"{"result":null,"id":1}"#);
        for forbidden in ["ethusdt@trade", "ethusdt@kline_1m", "btcusdt@bookTicker"] {
            let subscribe = format!(r#"{{"method":"SUBSCRIBE","params":["{forbidden}"],"id":2}}"#);
            let refused: Value = serde_json::from_str(&ask(client, &subscribe).await).expect("JSON");
            assert_eq!((&refused["code"], &refused["id"]), (&json!(2), &json!(2)));
            assert!(refused["msg"].as_str().is_some_and(|text| text.contains("rights")), "{refused}");
        }
        let more = ask(client, r#"{"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":4}"#).await;
        assert!(more.contains("too many streams, the limit is 2"), "{more}");
        let list = r#"{"method":"LIST_SUBSCRIPTIONS","id":3}"#;
        assert_eq!(ask(client, list).await, r#"{"result":["btcusdt@kline_1m","btcusdt@trade"],"id":3}"#);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_have_a_stream_and_a_restart_is_announced() {
    let mut redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_binance).await;
    let mut combined = connect(&gateway, "/stream").await;
    let mut raw = connect(&gateway, "/binance/ws").await;
    for client in [&mut combined, &mut raw] {
        ask(client, r#"{"method":"SUBSCRIBE","params":["a@trade"],"id":1}"#).await;
    }
    redis.kill();
    let down = without_clock(combined.json().await);
    assert_eq!(down, json!({"stream": "!gateway", "data": {"e": "feed", "state": "down"}}));
    redis.launch();
    redis.until_up().await;
    let up = combined.json().await;
    assert_eq!((&up["data"]["state"], up["data"]["gapMs"].is_u64()), (&json!("up"), true));
    let draining = tokio::spawn(gateway.gateway.drain());
    let told = without_clock(combined.json().await);
    assert_eq!(told, json!({"stream": "!serverShutdown", "data": {"e": "serverShutdown"}}));
    assert_eq!(without_clock(raw.json().await), json!({"e": "serverShutdown"}), "and nothing before");
    for client in [&mut combined, &mut raw] {
        assert_eq!(client.ending().await.map(|(code, _)| code), Some(1012));
    }
    draining.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_stand_for_all_their_trades() {
    const N: u64 = 200;
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_binance).await;
    let mut worker = redis.publisher().await;
    let mut client = connect(&gateway, "/stream?streams=a@aggTrade/a@trade&maxRate=2&snapshot=1").await;
    subscribed(&gateway, 2).await;
    let sent = |n: u64| {
        let side = if n < N / 2 { "sell" } else { "buy" };
        format!(r#"{{"symbol":"A","price":{n}.5,"volume":0.25,"timestamp":{n},"seq":{n},"side":"{side}"}}"#)
    };
    worker.trades((1..=N).map(|n| ("A".to_owned(), sent(n)))).await;
    let (mut next, mut quantity, mut events, mut trades) = (1, 0.0, 0, 0);
    while next <= N {
        let event = client.json().await;
        let data = &event["data"];
        match event["stream"].as_str().expect("a name") {
            "a@aggTrade" => {
                let number = |name: &str| data[name].as_u64().expect("a number");
                let (first, last) = (number("f"), number("l"));
                assert_eq!((first, data["p"].as_str()), (next, Some(&*format!("{last}.5"))));
                let count = last - first + 1;
                let part: f64 = data["q"].as_str().expect("a text").parse().expect("a number");
                assert!((part - 0.25 * count as f64).abs() < 1e-9, "{event}");
                assert_eq!(
                    data.get("conflated").map_or(1, |all| all["count"].as_u64().expect("a count")),
                    count
                );
                let is_one_sided = last < N / 2 || first >= N / 2;
                assert_eq!(data.get("m"), is_one_sided.then(|| json!(last < N / 2)).as_ref(), "{event}");
                quantity += part;
                events += 1;
                next = last + 1;
            }
            "a@trade" => trades += 1,
            stream => assert_eq!((stream, &data["e"]), ("!gateway", &json!("snapshotEnd"))),
        }
    }
    assert!((quantity - 0.25 * N as f64).abs() < 1e-9);
    assert!(events <= 4 && trades <= 4, "{events} and {trades} at two a second");
    let mut late = connect(&gateway, "/stream?streams=a@trade&snapshot=1").await;
    let snapshot = late.json().await;
    assert_eq!((&snapshot["data"]["t"], &snapshot["data"]["snapshot"]), (&json!(N), &json!(true)));
    let end = without_clock(late.json().await)["data"].clone();
    assert_eq!(end, json!({"e": "snapshotEnd", "symbols": ["A"], "type": "trade"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn symbols_have_other_names_where_the_file_says_so() {
    let redis = Redis::start().await;
    let names = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(names.path(), "btc-usd=BTCUSDT\n").expect("written");
    let gateway = TestGateway::on(&redis, |config| {
        with_binance(config);
        config.events.symbol_case = ws_gateway::market::SymbolCase::Exact;
        config.clients.dialect_symbol_map = Some(names.path().to_owned());
    })
    .await;
    let mut client = connect(&gateway, "/stream").await;
    ask(&mut client, r#"{"method":"SUBSCRIBE","params":["btcusdt@trade","eth@trade"],"id":1}"#).await;
    let mut worker = redis.publisher().await;
    for symbol in ["btc-usd", "eth", "ETH"] {
        worker.trade(symbol, &trade(symbol, "1", 1)).await;
    }
    let first = client.json().await;
    assert_eq!((&first["stream"], &first["data"]["s"]), (&json!("btcusdt@trade"), &json!("BTCUSDT")));
    let second = client.json().await;
    assert_eq!((&second["stream"], &second["data"]["s"]), (&json!("eth@trade"), &json!("ETH")));
}
