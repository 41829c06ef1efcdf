//! Alpaca's API as it is on the wire: paths, order of the first messages, keys, subscriptions, errors by its table, statuses, drain.

use crate::support::http::{HANDSHAKE, read_head};
use crate::support::tokens::{SECRET, endless, from_now, token};
use crate::support::{Client, PATIENCE, Redis, TestGateway, raw, trade, until};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::fmt::Write as _;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use ws_gateway::config::Config;
use ws_gateway::protocol::api::Api;

fn with_alpaca(config: &mut Config) {
    config.clients.dialects = [Api::Alpaca].into_iter().collect();
    config.events.channel_types = "trade,quote,candle,halt,news".parse().unwrap();
}

async fn connect(gateway: &TestGateway, path: &str) -> Client {
    let mut client = Client::connect(&format!("ws://{}{path}", gateway.addr)).await;
    assert_eq!(client.text().await, r#"[{"T":"success","msg":"connected"}]"#);
    client
}

async fn authenticated(gateway: &TestGateway, path: &str, key: &str) -> Client {
    let mut client = connect(gateway, path).await;
    client.send(json!({"action": "auth", "key": key, "secret": "S"}).to_string()).await;
    assert_eq!(client.text().await, r#"[{"T":"success","msg":"authenticated"}]"#);
    client
}

async fn ask(client: &mut Client, request: Value) -> Value {
    client.send(request.to_string()).await;
    alone(client).await
}

/// The only object of the next message.
async fn alone(client: &mut Client) -> Value {
    let objects = client.json().await;
    assert_eq!(objects.as_array().map(Vec::len), Some(1), "{objects}");
    objects[0].clone()
}

async fn code(client: &mut Client, request: Value) -> u64 {
    let answer = ask(client, request).await;
    assert_eq!(answer["T"], "error", "{answer}");
    answer["code"].as_u64().expect("a code")
}

#[tokio::test(flavor = "multi_thread")]
async fn its_paths_are_there_only_if_asked_for() {
    let redis = Redis::start().await;
    let off = TestGateway::on(&redis, |_| {}).await;
    let on = TestGateway::on(&redis, with_alpaca).await;
    let others = ["/v1beta3/crypto/us", "/v1beta2/crypto", "/v1beta1/opra", "/v1beta1/indicative"];
    for path in
        ["/v2/iex", "/v2/sip", "/v2/delayed_sip", "/v2/test", "/v1beta1/news"].into_iter().chain(others)
    {
        for path in [path.to_owned(), format!("/alpaca{path}")] {
            assert_eq!(off.get(&path).await.status, 404, "{path}");
            assert_eq!(on.get(&path).await.status, 426, "{path}");
            connect(&on, &path).await;
        }
    }
    for path in ["/v2/IEX", "/v2/iex/", "/alpaca", "/alpacav2/iex", "/massive/v2/iex"] {
        assert_eq!(on.get(path).await.status, 404, "{path}");
    }
    let options = crate::support::http::ask(on.addr, "OPTIONS /v2/iex HTTP/1.1\r\nHost: h\r\n").await;
    assert_eq!((options.status, options.header("Allow")), (204, Some("GET, OPTIONS")));
    let refused = HANDSHAKE.replace("/ws ", "/v2/iex?maxRate=0 ");
    let refused = crate::support::http::exchange(on.addr, &format!("{refused}\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 400 ") && refused.contains("maxRate"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_answered_with_the_whole_set() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_alpaca(config);
        config.clients.dialect_max_symbols = 4;
    })
    .await;
    let mut client = authenticated(&gateway, "/v2/iex", "K").await;
    client.send(r#"{"action":"subscribe","trades":["AAPL","*"],"bars":["aapl"]}"#).await;
    assert_eq!(
        client.text().await,
        concat!(
            r#"[{"T":"subscription","trades":["AAPL","*"],"quotes":[],"bars":["AAPL"],"updatedBars":[],"dailyBars":[],"#,
            r#""statuses":[],"lulds":[],"corrections":["AAPL","*"],"cancelErrors":["AAPL","*"],"news":[],"orderbooks":[],"imbalances":[]}]"#
        ),
        "in Alpaca's order"
    );
    let more = ask(&mut client, json!({"action": "subscribe", "updatedBars": ["AAPL"], "trades": []})).await;
    assert_eq!((&more["bars"], &more["updatedBars"]), (&json!(["AAPL"]), &json!(["AAPL"])));
    assert_eq!(code(&mut client, json!({"action": "subscribe", "quotes": ["A"]})).await, 405);
    let left = ask(&mut client, json!({"action": "unsubscribe", "trades": ["*"], "bars": ["AAPL"]})).await;
    assert_eq!((&left["trades"], &left["bars"]), (&json!(["AAPL"]), &json!([])), "a star is a name here");
    assert_eq!(left["updatedBars"], json!(["AAPL"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_channel_has_its_events() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_alpaca).await;
    let mut client = authenticated(&gateway, "/alpaca/v2/sip", "K").await;
    let everything: Value = [
        ("action", json!("subscribe")),
        ("trades", json!(["*"])),
        ("quotes", json!(["AAPL"])),
        ("bars", json!(["*"])),
        ("updatedBars", json!(["AAPL"])),
        ("dailyBars", json!(["*"])),
        ("statuses", json!(["*"])),
        ("news", json!(["AAPL"])),
    ]
    .into_iter()
    .collect();
    ask(&mut client, everything).await;
    let mut worker = redis.publisher().await;
    let candle = |interval: &str| {
        format!(
            r#"{{"symbol":"AAPL","open":1,"high":2,"low":1,"close":2,"volume":5,"timestamp":60000,"interval":"{interval}"}}"#
        )
    };
    let events = [
        ("candle:AAPL", candle("1m")),
        ("candle:AAPL", candle("5m")),
        ("candle:AAPL", candle("1d")),
        ("candle:MSFT", candle("1m").replace("AAPL", "MSFT")),
        ("quote:AAPL", r#"{"symbol":"AAPL","bidPrice":1,"askPrice":2,"timestamp":1}"#.to_owned()),
        ("quote:MSFT", r#"{"symbol":"MSFT","bidPrice":1,"askPrice":2,"timestamp":1}"#.to_owned()),
        ("halt:X", r#"{"symbol":"X","status":"halted","timestamp":1}"#.to_owned()),
        ("news:AAPL", r#"{"headline":"h","timestamp":1}"#.to_owned()),
        ("trade:AAPL", r#"{"symbol":"AAPL","price":1,"volume":1,"timestamp":1e300}"#.to_owned()),
        ("trade:AAPL", trade("AAPL", "150.250", 1)),
    ];
    worker.events(events).await;
    // Topics have an order each, and those of different intervals come in batches of their own.
    let mut seen = String::new();
    while seen.split_whitespace().count() < 8 {
        for event in client.json().await.as_array().expect("an array") {
            let symbol = event["S"].as_str().unwrap_or("-");
            let _ = write!(seen, "{}:{symbol} ", event["T"].as_str().expect("a type"));
        }
    }
    let mut seen: Vec<_> = seen.split_whitespace().collect();
    seen.sort_unstable();
    assert_eq!(seen, ["b:AAPL", "b:MSFT", "d:AAPL", "n:-", "q:AAPL", "s:X", "t:AAPL", "u:AAPL"]);
    let metrics = gateway.get("/metrics").await.body;
    assert!(metrics.contains("ws_events_unwritten_total 1"), "the trade of no year");
    let left = ask(&mut client, json!({"action": "unsubscribe", "trades": ["*"]})).await;
    assert_eq!(left["trades"], json!([]));
    worker.trade("AAPL", &trade("AAPL", "1", 2)).await;
    let next = ask(&mut client, json!({"action": "subscribe", "trades": ["MSFT"]})).await;
    assert_eq!(next["trades"], json!(["MSFT"]), "nothing has come meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_those_of_its_table() {
    let redis = Redis::start().await;
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(
        keys.path(),
        "plain\t{\"sub\":\"a\"}\npair:s3cret\t{\"sub\":\"b\",\"symbols\":[\"AAPL\"],\"maxSymbols\":1}\n",
    )
    .expect("written");
    let gateway = TestGateway::on(&redis, |config| {
        with_alpaca(config);
        config.access.api_keys_file = Some(keys.path().to_owned());
        config.access.secret_key = Some(SECRET.to_owned());
        config.access.timeout = std::time::Duration::from_millis(300);
        config.clients.max_connections_per_user = std::num::NonZeroUsize::new(1);
    })
    .await;
    let mut client = connect(&gateway, "/v2/iex").await;
    assert_eq!(code(&mut client, json!({"action": "subscribe", "trades": ["AAPL"]})).await, 401);
    client.send("{").await;
    assert_eq!(alone(&mut client).await["code"], 400);
    assert_eq!(code(&mut client, json!({"action": "auth", "key": "pair", "secret": "wrong"})).await, 402);
    assert_eq!(client.ending().await, Some((1008, "unauthorized".to_owned())));
    let mut late = connect(&gateway, "/v2/iex").await;
    assert_eq!(alone(&mut late).await["code"], 404);
    assert_eq!(late.ending().await, Some((1008, "unauthorized".to_owned())));

    let mut client = connect(&gateway, "/v2/iex").await;
    let paired = json!({"action": "auth", "key": "pair", "secret": "s3cret"});
    assert_eq!(ask(&mut client, paired.clone()).await["msg"], "authenticated");
    assert_eq!(code(&mut client, paired.clone()).await, 403);
    assert_eq!(code(&mut client, json!({"action": "subscribe", "trades": ["MSFT"]})).await, 409);
    assert_eq!(code(&mut client, json!({"action": "subscribe", "lulds": ["AAPL"]})).await, 410);
    ask(&mut client, json!({"action": "subscribe", "trades": ["AAPL"]})).await;
    assert_eq!(code(&mut client, json!({"action": "subscribe", "quotes": ["AAPL"]})).await, 405);

    let mut second = connect(&gateway, "/v2/iex").await;
    assert_eq!(code(&mut second, paired.clone()).await, 406, "and may try again");
    drop(client);
    until("the first one's place", async || {
        second.send(paired.to_string()).await;
        (alone(&mut second).await["msg"] == "authenticated").then_some(())
    })
    .await;

    // A token that ends may be renewed.
    let mut client = authenticated(&gateway, "/v2/iex", &token(json!({"sub": "c"}))).await;
    let renewal =
        json!({"action": "auth", "key": token(json!({"sub": "c", "exp": from_now(7_200)})), "secret": ""});
    assert_eq!(ask(&mut client, renewal).await["msg"], "authenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_come_in_headers() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_alpaca(config);
        config.access.secret_key = Some(SECRET.to_owned());
        config.access.require_exp = false;
    })
    .await;
    let handshake = |key: &str| {
        let request = HANDSHAKE.replace("/ws ", "/v2/iex ");
        format!("{request}APCA-API-KEY-ID: {key}\r\nAPCA-API-SECRET-KEY: s\r\n\r\n")
    };
    let mut stream = TcpStream::connect(gateway.addr).await.expect("the gateway listens");
    stream.write_all(handshake(&endless(&json!({"sub": "u"}))).as_bytes()).await.expect("taken");
    assert_eq!(read_head(&mut stream).await.status, 101);
    let mut client = Client::from_raw(stream).await;
    assert_eq!(client.text().await, r#"[{"T":"success","msg":"connected"}]"#);
    assert_eq!(client.text().await, r#"[{"T":"success","msg":"authenticated"}]"#);
    let answer = ask(&mut client, json!({"action": "subscribe", "trades": ["AAPL"]})).await;
    assert_eq!(answer["trades"], json!(["AAPL"]));
    let refused = crate::support::http::exchange(gateway.addr, &handshake("nobody")).await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_before_the_first_subscription() {
    let mut redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_alpaca).await;
    let mut waiting = authenticated(&gateway, "/v2/iex", "K").await;
    let mut told = authenticated(&gateway, "/v2/iex", "K").await;
    ask(&mut told, json!({"action": "subscribe", "trades": ["AAPL"]})).await;
    redis.kill();
    assert_eq!(alone(&mut told).await, json!({"T": "feed", "state": "down"}));
    let mut late = authenticated(&gateway, "/v2/iex", "K").await;
    for client in [&mut waiting, &mut late] {
        // The whole set is the answer also where nothing could be asked of Redis.
        let answer = ask(client, json!({"action": "subscribe", "trades": ["AAPL"]})).await;
        assert_eq!(answer["T"], "subscription");
        assert_eq!(alone(client).await, json!({"T": "feed", "state": "down"}));
    }
    redis.launch();
    redis.until_up().await;
    for client in [&mut told, &mut waiting, &mut late] {
        let up = alone(client).await;
        assert_eq!((&up["T"], &up["state"]), (&json!("feed"), &json!("up")));
    }
    let mut newcomer = authenticated(&gateway, "/v2/iex", "K").await;
    let draining = tokio::spawn(gateway.gateway.drain());
    assert_eq!(alone(&mut told).await["T"], "shutdown");
    assert_eq!(told.ending().await.map(|(code, _)| code), Some(1012));
    assert_eq!(newcomer.ending().await.map(|(code, _)| code), Some(1012), "and no word before");
    drop((told, newcomer, waiting, late));
    draining.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_are_parameters_of_the_url() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_alpaca).await;
    let mut worker = redis.publisher().await;
    let mut plain = authenticated(&gateway, "/v2/iex", "K").await;
    ask(&mut plain, json!({"action": "subscribe", "trades": ["AAPL"]})).await;
    worker.trade("AAPL", &trade("AAPL", "1", 1)).await;
    assert_eq!(alone(&mut plain).await["p"], 1);
    let mut client = authenticated(&gateway, "/v2/iex?snapshot=1&maxRate=1&onSlow=conflate", "K").await;
    ask(&mut client, json!({"action": "subscribe", "trades": ["AAPL"]})).await;
    let snapshot = alone(&mut client).await;
    assert_eq!((&snapshot["p"], &snapshot["snapshot"]), (&json!(1), &json!(true)));
    assert_eq!(alone(&mut client).await, json!({"T": "snapshotEnd", "type": "trade", "symbols": ["AAPL"]}));
    worker.trades((2..200).map(|n| ("AAPL".to_owned(), trade("AAPL", &n.to_string(), n)))).await;
    let mut events = 0;
    loop {
        let got = client.json().await;
        let got = got.as_array().expect("an array");
        events += got.len();
        if got.iter().any(|event| event["p"] == 199) {
            break;
        }
    }
    assert!(events <= 3, "{events} events at one a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn symbols_have_other_names_where_the_file_says_so() {
    let redis = Redis::start().await;
    let names = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(names.path(), "BTC-USD=BTC/USD\n").expect("written");
    let gateway = TestGateway::on(&redis, |config| {
        with_alpaca(config);
        config.clients.dialect_symbol_map = Some(names.path().to_owned());
    })
    .await;
    let mut client = authenticated(&gateway, "/v1beta3/crypto/us", "K").await;
    let answer = ask(&mut client, json!({"action": "subscribe", "trades": ["BTC/USD"]})).await;
    assert_eq!(answer["trades"], json!(["BTC/USD"]));
    let mut native = gateway.subscriber(&["BTC-USD"]).await;
    let payload = trade("BTC-USD", "1", 1);
    redis.publisher().await.trade("BTC-USD", &payload).await;
    assert_eq!(alone(&mut client).await["S"], "BTC/USD");
    assert_eq!(native.json().await["data"]["symbol"], "BTC-USD");
    let left = ask(&mut client, json!({"action": "unsubscribe", "trades": ["BTC/USD"]})).await;
    assert_eq!(left["trades"], json!([]));
}

/// What a client doesn't get for its slowness it is told of, to the event; and pongs come all the same.
#[tokio::test(flavor = "multi_thread")]
async fn delivered_and_announced_is_published() {
    const N: u64 = 30_000;
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_alpaca(config);
        config.events.max_event_bytes = 1_024;
        config.delivery.max_outbox_bytes = 64 * 1_024;
    })
    .await;
    let mut stream = raw::connect(gateway.addr, "/v2/iex", Some(4_096)).await;
    let auth = r#"{"action":"auth","key":"K","secret":"S"}"#;
    let subscribe = r#"{"action":"subscribe","trades":["*"]}"#;
    for text in [auth, subscribe] {
        stream.write_all(&raw::text_frame(text)).await.expect("taken");
    }
    until("the subscription", async || (gateway.stat("totalSymbolSubscriptions").await == 1).then_some(()))
        .await;
    let mut worker = redis.publisher().await;
    for part in 0..N / 1_000 {
        let numbers = part * 1_000..(part + 1) * 1_000;
        let trades = numbers.map(|n| (format!("S{}", n % 7), trade(&format!("S{}", n % 7), "1", n)));
        worker.trades(trades).await;
    }
    gateway.taken(N).await;
    until("skips", async || (gateway.stat("slowClients/skippedEvents").await > 0).then_some(())).await;
    // Its SDKs end a connection without a pong within 5 s.
    stream.write_all(&raw::frame(0x89, b"p")).await.expect("taken");
    let mut client = Client::from_raw(stream).await;
    for first in ["connected", "authenticated"] {
        assert_eq!(alone(&mut client).await["msg"], first);
    }
    assert_eq!(alone(&mut client).await["T"], "subscription");
    let (mut delivered, mut announced, mut before_pong) = (0, 0, None);
    while delivered + announced < N {
        let message = timeout(PATIENCE, client.ws.next()).await.expect("in time").expect("it stays open");
        let text = match message.expect("a message") {
            Message::Pong(_) => {
                before_pong = Some(delivered + announced);
                continue;
            }
            Message::Ping(_) => continue,
            message => message.into_text().expect("text"),
        };
        let events: Value = serde_json::from_str(&text).expect("JSON");
        for event in events.as_array().expect("an array") {
            match event["T"].as_str().expect("a type") {
                "t" => delivered += 1,
                "skipped" => announced += event["n"].as_u64().expect("a number"),
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!(delivered + announced, N);
    assert!(announced > 0);
    assert!(before_pong.is_some_and(|before| before < N), "it overtakes what waited: {before_pong:?}");
}
