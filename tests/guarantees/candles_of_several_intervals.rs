//! A candle's topic is its type, its symbol and its interval: each interval has its own last value, is conflated by itself and has its
//! own sequence numbers. A subscribe to the symbol has all of them, and counts as one.

use crate::support::redis::Publisher;
use crate::support::{Client, Redis, TestGateway};
use serde_json::{Value, json};

async fn gateway(redis: &Redis, shards: usize) -> TestGateway {
    TestGateway::on(redis, |config| {
        config.process.shards = shards;
        config.events.channel_types = "trade,candle".parse().unwrap();
        config.clients.max_symbols_per_client = 2;
        config.history.last_value_key = Some("last:{type}:".to_owned());
    })
    .await
}

fn candle(symbol: &str, interval: &str, n: u64) -> String {
    format!(
        r#"{{"symbol":"{symbol}","interval":{interval},"open":1,"high":1,"low":1,"close":1,"volume":1,"timestamp":{n}}}"#
    )
}

async fn publish(worker: &mut Publisher, symbol: &str, interval: &str, n: u64) {
    worker.raw(&format!("channel:candle:{symbol}"), candle(symbol, interval, n).as_bytes()).await;
}

/// The interval and the number of the next frame, which is a candle.
async fn next(client: &mut Client) -> (String, u64) {
    let frame = client.json().await;
    assert_eq!(frame["type"], "candle", "{frame}");
    let interval = &frame["data"]["interval"];
    let interval = interval.as_str().map_or_else(|| interval.to_string(), str::to_owned);
    (interval, frame["data"]["timestamp"].as_u64().unwrap())
}

async fn gets(client: &mut Client, interval: &str, n: u64) {
    assert_eq!(next(client).await, (interval.to_owned(), n));
}

#[tokio::test(flavor = "multi_thread")]
async fn are_all_had_by_their_symbol_which_counts_as_one() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, 2).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.client().await;
    let reply = client.subscribe_with(json!({"symbols": ["aapl"], "types": ["candle", "trade"]})).await;
    assert_eq!(
        reply["data"],
        json!({"subscribed": ["AAPL"], "currentSubscriptions": ["AAPL"], "currentByType": {"candle": ["AAPL"]}})
    );
    for (interval, n) in [("\"1m\"", 1), ("\"1d\"", 2), ("60", 3), ("\"60\"", 4), ("\"1m\"", 5)] {
        publish(&mut worker, "AAPL", interval, n).await;
        gets(&mut client, interval.trim_matches('"'), n).await;
    }
    publish(&mut worker, "AAPLX", "\"1m\"", 6).await;
    client.send(json!({"action": "subscribe", "symbols": ["MSFT"], "types": ["candle"]}).to_string()).await;
    assert_eq!(client.json().await["code"], "SYMBOL_LIMIT_EXCEEDED");
    client
        .send(json!({"action": "unsubscribe", "symbols": ["AAPL"], "types": ["trade", "candle"]}).to_string())
        .await;
    let reply = client.json().await;
    assert_eq!(reply["data"], json!({"unsubscribed": ["AAPL"], "currentSubscriptions": []}));
    publish(&mut worker, "AAPL", "\"1m\"", 7).await;
    gateway.taken(7).await;
    client.send(json!({"action": "list"}).to_string()).await;
    assert_eq!(client.json().await["type"], "success", "nothing follows the reply");
}

#[tokio::test(flavor = "multi_thread")]
async fn have_a_last_value_each() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, 2).await;
    let mut worker = redis.publisher().await;
    for (symbol, interval, n) in
        [("AAPL", "\"1m\"", 1), ("AAPL", "\"1d\"", 2), ("AAPL", "\"1m\"", 3), ("AA", "5", 4)]
    {
        publish(&mut worker, symbol, interval, n).await;
    }
    gateway.taken(4).await;
    let mut client = gateway.client().await;
    client.subscribe_with(json!({"symbols": ["AAPL"], "types": ["candle"], "snapshot": true})).await;
    gets(&mut client, "1d", 2).await;
    gets(&mut client, "1m", 3).await;
    assert_eq!(client.json().await["data"], json!({"symbols": ["AAPL"], "type": "candle"}));
    publish(&mut worker, "AAPL", "\"1d\"", 5).await;
    gets(&mut client, "1d", 5).await;
    // By a pattern they are the same topics.
    let mut all = gateway.client().await;
    all.subscribe_with(json!({"symbols": ["AA*", "AAPL"], "types": ["candle"], "snapshot": true})).await;
    for (interval, n) in [("5", 4), ("1d", 5), ("1m", 3)] {
        gets(&mut all, interval, n).await;
    }
    assert_eq!(all.json().await["data"]["symbols"], json!(["AA*", "AAPL"]));
    publish(&mut worker, "AAPL", "\"1d\"", 6).await;
    gets(&mut all, "1d", 6).await;
    gets(&mut client, "1d", 6).await;
    publish(&mut worker, "AAPL", "\"1d\"", 7).await;
    gets(&mut all, "1d", 7).await;
}

/// What workers keep of a symbol says itself which interval it is of. It is asked for while no interval is known.
#[tokio::test(flavor = "multi_thread")]
async fn are_looked_up_where_none_is_known() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, 1).await;
    let mut worker = redis.publisher().await;
    let () = worker.command(&["SET", "last:candle:AAPL", &candle("AAPL", "\"1d\"", 1)]).await;
    let () = worker.command(&["SET", "last:candle:BAD", "{}"]).await;
    let subscribe = async |client: &mut Client, symbol: &str| {
        client.subscribe_with(json!({"symbols": [symbol], "types": ["candle"], "snapshot": true})).await;
    };
    let (mut first, mut second) = (gateway.client().await, gateway.client().await);
    subscribe(&mut first, "AAPL").await;
    gets(&mut first, "1d", 1).await;
    assert_eq!(first.json().await["event"], "snapshotEnd");
    subscribe(&mut second, "AAPL").await;
    gets(&mut second, "1d", 1).await;
    assert_eq!(second.json().await["event"], "snapshotEnd");
    for client in [&mut first, &mut second] {
        subscribe(client, "BAD").await;
        assert_eq!(client.json().await["event"], "snapshotEnd");
    }
    publish(&mut worker, "AAPL", "\"1m\"", 2).await;
    publish(&mut worker, "AAPL", "\"1d\"", 3).await;
    for client in [&mut first, &mut second] {
        gets(client, "1m", 2).await;
        gets(client, "1d", 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn are_conflated_each_by_itself() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, 1).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.client().await;
    client.subscribe_with(json!({"symbols": ["AAPL"], "types": ["candle"], "maxRate": 0.5})).await;
    // The first is sent at once, and begins the time in which the others are held.
    publish(&mut worker, "AAPL", "\"1h\"", 1).await;
    gets(&mut client, "1h", 1).await;
    for n in 2..=10 {
        for interval in ["\"1m\"", "\"1d\""] {
            publish(&mut worker, "AAPL", interval, n).await;
        }
    }
    let mut last = vec![next(&mut client).await, next(&mut client).await];
    last.sort();
    assert_eq!(last, [("1d".to_owned(), 10), ("1m".to_owned(), 10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn are_numbered_each_by_itself_and_resumed_where_it_can_be_told_which() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, 1).await;
    let mut worker = redis.publisher().await;
    let mut send = async |symbol: &str, interval: &str, seq: u64| {
        let object = candle(symbol, interval, seq).replace("\"open\"", &format!("\"seq\":{seq},\"open\""));
        worker.raw(&format!("channel:candle:{symbol}"), object.as_bytes()).await;
    };
    let mut client = gateway.client().await;
    client.subscribe_with(json!({"symbols": ["ONE", "TWO"], "types": ["candle"]})).await;
    for (symbol, interval, seq) in
        [("ONE", "1", 1), ("ONE", "1", 2), ("TWO", "1", 1), ("TWO", "2", 7), ("TWO", "1", 2), ("TWO", "2", 8)]
    {
        send(symbol, interval, seq).await;
        gets(&mut client, interval, seq).await;
    }
    send("TWO", "1", 4).await;
    assert_eq!(client.json().await["data"], json!({"symbol": "TWO", "type": "candle", "from": 3, "to": 3}));
    gets(&mut client, "1", 4).await;

    let mut back = gateway.client().await;
    let resume = async |client: &mut Client, resume: Value| {
        let symbols: Vec<_> = resume.as_object().unwrap().keys().cloned().collect();
        client
            .subscribe_with(json!({"symbols": symbols, "types": ["candle"], "resume": resume}))
            .await["data"]["recovered"]
            .clone()
    };
    let recovered = resume(&mut back, json!({"ONE": 1, "TWO": 1})).await;
    assert_eq!(recovered, json!({"ONE": true, "TWO": false}));
    gets(&mut back, "1", 2).await;
    assert_eq!(back.json().await["event"], "replayEnd");
    // A number that this gateway has not seen may be that of an interval which it does not know.
    let mut ahead = gateway.client().await;
    assert_eq!(resume(&mut ahead, json!({"ONE": 9})).await, json!({"ONE": false}));
}
