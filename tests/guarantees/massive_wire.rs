//! Massive's API as it is on the wire: paths, order of the first messages, keys, errors by their statuses, terms, names, statuses, drain.

use crate::support::tokens::{SECRET, token};
use crate::support::{Client, Redis, TestGateway, trade};
use serde_json::{Value, json};
use ws_gateway::config::Config;
use ws_gateway::protocol::api::Api;

fn with_massive(config: &mut Config) {
    config.clients.dialects = [Api::Massive].into_iter().collect();
    config.events.channel_types = "trade,quote".parse().unwrap();
}

async fn connect(gateway: &TestGateway, path: &str) -> Client {
    let mut client = Client::connect(&format!("ws://{}{path}", gateway.addr)).await;
    assert_eq!(
        client.text().await,
        r#"[{"ev":"status","status":"connected","message":"Connected Successfully"}]"#
    );
    client
}

async fn authenticated(gateway: &TestGateway, path: &str) -> Client {
    let mut client = connect(gateway, path).await;
    assert_eq!(
        ask(&mut client, "auth", "K").await,
        json!({"ev": "status", "status": "auth_success", "message": "authenticated"})
    );
    client
}

async fn subscribed(gateway: &TestGateway, path: &str, channel: &str) -> Client {
    let mut client = authenticated(gateway, path).await;
    assert_eq!(ask(&mut client, "subscribe", channel).await["message"], format!("subscribed to: {channel}"));
    client
}

async fn ask(client: &mut Client, action: &str, params: &str) -> Value {
    client.send(json!({"action": action, "params": params}).to_string()).await;
    alone(client).await
}

/// The only object of the next message.
async fn alone(client: &mut Client) -> Value {
    let objects = client.json().await;
    assert_eq!(objects.as_array().map(Vec::len), Some(1), "{objects}");
    objects[0].clone()
}

/// The next message, which is a status. Its clients end at one without words.
async fn status(client: &mut Client) -> String {
    let object = alone(client).await;
    assert_eq!(object["ev"], "status", "{object}");
    assert!(object["message"].as_str().is_some_and(|message| !message.is_empty()), "{object}");
    object["status"].as_str().expect("a status").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn its_paths_are_there_only_if_asked_for() {
    let redis = Redis::start().await;
    let (off, on) = (TestGateway::on(&redis, |_| {}).await, TestGateway::on(&redis, with_massive).await);
    for path in ["/stocks", "/crypto", "/forex"] {
        for path in [path.to_owned(), format!("/massive{path}")] {
            assert_eq!((off.get(&path).await.status, on.get(&path).await.status), (404, 426), "{path}");
            connect(&on, &path).await;
        }
    }
    for path in ["/Stocks", "/stocks/", "/massive", "/options", "/indices", "/alpaca/stocks"] {
        assert_eq!(on.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_before_the_first_subscription() {
    let mut redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_massive).await;
    let mut waiting = authenticated(&gateway, "/stocks").await;
    let mut told = subscribed(&gateway, "/stocks", "T.AAPL").await;
    redis.kill();
    assert_eq!(status(&mut told).await, "feed_down");
    let mut late = authenticated(&gateway, "/stocks").await;
    for client in [&mut waiting, &mut late] {
        assert_eq!(ask(client, "subscribe", "T.AAPL").await["message"], "subscribed to: T.AAPL");
        assert_eq!(status(client).await, "feed_down");
    }
    redis.launch();
    redis.until_up().await;
    for client in [&mut told, &mut waiting, &mut late] {
        assert_eq!(status(client).await, "feed_up");
    }
    let mut newcomer = authenticated(&gateway, "/stocks").await;
    let draining = tokio::spawn(gateway.gateway.drain());
    assert_eq!(status(&mut told).await, "force_disconnect");
    assert_eq!(told.ending().await.map(|(code, _)| code), Some(1012));
    assert_eq!(newcomer.ending().await.map(|(code, _)| code), Some(1012), "and no word before");
    drop((told, newcomer, waiting, late));
    draining.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_statuses() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_massive(config);
        config.access.secret_key = Some(SECRET.to_owned());
        config.access.timeout = std::time::Duration::from_millis(300);
        config.clients.max_connections_per_user = std::num::NonZeroUsize::new(1);
        config.clients.dialect_max_symbols = 2;
    })
    .await;
    let mut client = connect(&gateway, "/stocks").await;
    assert_eq!(ask(&mut client, "subscribe", "T.AAPL").await["status"], "auth_required");
    assert_eq!(ask(&mut client, "auth", "nobody").await["status"], "auth_failed");
    assert_eq!(client.ending().await.map(|(code, _)| code), Some(1008));
    let mut late = connect(&gateway, "/stocks").await;
    assert_eq!(status(&mut late).await, "auth_timeout");
    assert_eq!(late.ending().await.map(|(code, _)| code), Some(1008));

    let key = token(json!({"sub": "u"}));
    let mut client = connect(&gateway, "/stocks").await;
    assert_eq!(ask(&mut client, "auth", &key).await["status"], "auth_success");
    let mut second = connect(&gateway, "/stocks").await;
    assert_eq!(ask(&mut second, "auth", &key).await["status"], "max_connections");
    assert_eq!(second.ending().await.map(|(code, _)| code), Some(1008));

    // A limit refuses all that a message names.
    assert_eq!(ask(&mut client, "subscribe", "T.A,T.B,T.C").await["status"], "error");
    for params in ["T", "T.", "LULD.A", ","] {
        assert_eq!(ask(&mut client, "subscribe", params).await["status"], "error", "{params}");
    }
    client.send("{").await;
    assert_eq!(status(&mut client).await, "error");
    client.send("{}").await;
    assert_eq!(status(&mut client).await, "error");
    client.send(json!({"action": "subscribe", "params": "T.A, Q.A"}).to_string()).await;
    let both = client.json().await;
    assert_eq!(
        (&both[0]["message"], &both[1]["message"]),
        (&json!("subscribed to: T.A"), &json!("subscribed to: Q.A")),
        "nothing was held of the refused ones"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_are_parameters_of_the_url() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_massive).await;
    let mut worker = redis.publisher().await;
    let mut plain = subscribed(&gateway, "/stocks", "T.AAPL").await;
    worker.trade("AAPL", &trade("AAPL", "1.50", 1)).await;
    assert_eq!(plain.text().await, r#"[{"ev":"T","sym":"AAPL","p":1.50,"s":100,"t":1}]"#);
    let mut client = subscribed(&gateway, "/stocks?snapshot=1&maxRate=1&onSlow=conflate", "T.AAPL").await;
    let snapshot = alone(&mut client).await;
    assert_eq!((&snapshot["p"], &snapshot["snapshot"]), (&json!(1.5), &json!(true)));
    assert_eq!(status(&mut client).await, "snapshot_end");
    worker.trades((2..200).map(|n| ("AAPL".to_owned(), trade("AAPL", &n.to_string(), n)))).await;
    let (mut all, mut conflated) = (0, 0);
    for (client, events) in [(&mut plain, &mut all), (&mut client, &mut conflated)] {
        let mut last = Value::Null;
        while last != 199 {
            let got = client.json().await;
            let got = got.as_array().expect("an array");
            *events += got.len();
            last = got.last().expect("an event")["t"].clone();
        }
    }
    assert_eq!(all, 198);
    assert!(conflated <= 3, "{conflated} events at one a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn symbols_have_other_names_where_the_file_says_so() {
    let redis = Redis::start().await;
    let names = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(names.path(), "BTCUSD=BTC-USD\n").expect("written");
    let gateway = TestGateway::on(&redis, |config| {
        with_massive(config);
        config.clients.dialect_symbol_map = Some(names.path().to_owned());
    })
    .await;
    let mut client = subscribed(&gateway, "/crypto", "XT.BTC-USD").await;
    redis.publisher().await.trade("BTCUSD", &trade("BTCUSD", "1", 1)).await;
    let event = alone(&mut client).await;
    assert_eq!((&event["ev"], &event["pair"]), (&json!("XT"), &json!("BTC-USD")));
    let left = ask(&mut client, "unsubscribe", "XT.BTC-USD").await;
    assert_eq!(left["message"], "unsubscribed to: XT.BTC-USD");
}
