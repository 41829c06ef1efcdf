//! ccxt, in JavaScript and in Python, on the gateway's streams of Binance: trades, candles and quotes, a restart, a cut, unsubscribe, compression.

use crate::binance_sdks::{call, event, events, in_node, in_python, publish, restart, with_pings};
use crate::support::detour::Detour;
use crate::support::program::Program;
use crate::support::{Redis, TestGateway};
use serde_json::{Value, json};

/// Its calls wait for updates of one kind each, over one connection.
async fn ccxt(mut client: Program, names: [&str; 4], redis: &Redis, first: TestGateway, way: &Detour) {
    let [trades, candles, quotes, no_trades] = names;
    let arguments = |named: Value, bare: Value| if trades == "watch_trades" { json!([named]) } else { bare };
    let with = |name: &str, arguments: &Value| {
        let all: Vec<_> =
            std::iter::once(json!(name)).chain(arguments.as_array().cloned().unwrap_or_default()).collect();
        Value::from(all)
    };
    let symbol = arguments(json!({"symbol": "BTC/USDT"}), json!(["BTC/USDT"]));
    let timeframe = arguments(json!({"symbol": "BTC/USDT", "timeframe": "1m"}), json!(["BTC/USDT", "1m"]));
    let symbols = arguments(json!({"symbols": ["BTC/USDT"]}), json!([["BTC/USDT"]]));
    call(&mut client, with(trades, &symbol)).await;
    call(&mut client, with(candles, &timeframe)).await;
    call(&mut client, with(quotes, &symbols)).await;
    first.subscribed(3).await;
    first.pongs(3).await;
    publish(redis, 7).await;
    let seen = events(&mut client, 3, |line| line["of"].clone()).await;
    let traded = &seen[trades][0];
    assert_eq!(
        (traded["price"].as_f64(), traded["amount"].as_f64(), &traded["side"], &traded["id"]),
        (Some(150.25), Some(7.0), &json!("sell"), &json!("7"))
    );
    let candle = &seen[candles][0];
    assert_eq!((candle[0].as_f64(), candle[4].as_f64()), (Some(60_000.0), Some(7.0)));
    assert_eq!(seen[quotes]["BTC/USDT"]["bid"].as_f64(), Some(7.0));

    let second = restart(redis, first, way).await;
    second.subscribed(3).await;
    publish(redis, 8).await;
    let seen = events(&mut client, 3, |line| line["of"].clone()).await;
    assert_eq!(seen[quotes]["BTC/USDT"]["bid"].as_f64(), Some(8.0));
    way.cut();
    second.subscribed(0).await;
    second.subscribed(3).await;
    publish(redis, 9).await;
    let seen = events(&mut client, 3, |line| line["of"].clone()).await;
    assert_eq!(seen[quotes]["BTC/USDT"]["bid"].as_f64(), Some(9.0));
    call(&mut client, with(no_trades, &symbol)).await;
    // The call that waits for trades ends with an error, and subscribes anew.
    assert_eq!(client.line_with("end").await["end"], "UnsubscribeError");
}

#[tokio::test(flavor = "multi_thread")]
async fn ccxt_for_python() {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, with_pings).await;
    let way = Detour::to(first.addr).await;
    let client = in_python("ccxt", "4.5.90", &format!("ws://{}/ws", way.addr)).await;
    ccxt(client, ["watch_trades", "watch_ohlcv", "watch_bids_asks", "un_watch_trades"], &redis, first, &way)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ccxt_for_node() {
    let redis = Redis::start().await;
    let first = TestGateway::on(&redis, with_pings).await;
    let way = Detour::to(first.addr).await;
    let client = in_node("ccxt", &format!("ws://{}/binance/ws", way.addr)).await;
    ccxt(client, ["watchTrades", "watchOHLCV", "watchBidsAsks", "unWatchTrades"], &redis, first, &way).await;
}

/// It agrees on the extension, and events are still read.
#[tokio::test(flavor = "multi_thread")]
async fn ccxt_agrees_on_compression() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_pings(config);
        config.delivery.compress = true;
        config.delivery.compression_threshold_bytes = 0;
    })
    .await;
    let url = format!("ws://{}/binance/ws", gateway.addr);
    for (mut client, watch, argument, agreed) in [
        (in_python("ccxt", "4.5.90", &url).await, "watch_trades", json!({"symbol": "BTC/USDT"}), json!([15])),
        (in_node("ccxt", &url).await, "watchTrades", json!("BTC/USDT"), json!(["permessage-deflate"])),
    ] {
        call(&mut client, json!([watch, argument])).await;
        gateway.subscribed(1).await;
        gateway.pongs(3).await;
        publish(&redis, 7).await;
        assert_eq!(event(&mut client).await["event"][0]["price"].as_f64(), Some(150.25));
        call(&mut client, json!(["compression"])).await;
        assert_eq!(client.line_with("agreed").await["agreed"], agreed);
        drop(client);
        gateway.subscribed(0).await;
    }
}
