//! npm's `ws`, the usual WebSocket client of servers in JavaScript: the gateway declines the compression that it offers,
//! and it gets 1,000 trades complete and in order.

use crate::support::program::{Program, node};
use crate::support::{Redis, TestGateway, trade};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_trades_in_order() {
    const N: usize = 1_000;
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| ()).await;
    let mut script = node("ws_client.js").await;
    script.args([&format!("ws://{}/", gateway.addr), &N.to_string()]);
    let mut client = Program::start(script);
    assert_eq!(
        client.json().await,
        json!({"extensions": "", "protocol": "md.v1.json", "message": "Successfully subscribed to 2 symbol(s)"})
    );

    let published: Vec<(String, String)> = (0..N)
        .map(|n| {
            let symbol = ["MSFT", "AAPL"][n % 2];
            (symbol.to_owned(), trade(symbol, &format!("{n}.10"), n as u64))
        })
        .collect();
    redis.publisher().await.trades(published.clone()).await;
    let got = client.json().await;
    let got = got.as_array().expect("a list");
    assert_eq!(got.len(), N);
    for (frame, (_, payload)) in got.iter().zip(&published) {
        let frame = frame.as_str().expect("a text frame");
        assert!(frame.starts_with(&format!(r#"{{"type":"trade","data":{payload},"timestamp":"#)), "{frame}");
    }
    assert_eq!(client.json().await, json!({"code": 1000}));
    assert!(client.exit().await.success());
}
