//! Clients can connect at `/ws`, `/ws/` and `/`, over IPv4 and IPv6, with and without `?symbols=`; and frames that they
//! send early are not lost.

use crate::support::http::read_head;
use crate::support::{Client, Redis, TestGateway, raw, trade};
use serde_json::json;
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread")]
async fn both_paths_over_both_families() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.server.listen = ([0; 16], 0).into()).await;
    let port = gateway.addr.port();
    let mut worker = redis.publisher().await;
    for (n, url) in ["ws://127.0.0.1", "ws://[::1]"].into_iter().enumerate() {
        for path in ["/ws", "/ws/", "/", ""] {
            let mut client = Client::connect(&format!("{url}:{port}{path}")).await;
            client.subscribe(&["AAPL"]).await;
            let payload = trade("AAPL", "1", n as u64);
            worker.trade("AAPL", &payload).await;
            assert!(client.text().await.contains(&payload), "{url}{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn symbols_in_the_url_subscribe_at_once() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut client = Client::connect(&format!("ws://{}/ws?symbols=aapl,BTC%2FUSD", gateway.addr)).await;
    let reply = client.json().await;
    assert_eq!(reply["data"]["currentSubscriptions"], json!(["AAPL", "BTC/USD"]), "{reply}");
    let payload = trade("BTC/USD", "1", 1);
    redis.publisher().await.trade("BTC/USD", &payload).await;
    assert!(client.text().await.contains(&payload));

    let mut client = Client::connect(&format!("ws://{}/?symbols=A,B,C,D,E,F", gateway.addr)).await;
    assert_eq!(client.json().await["code"], "SYMBOL_LIMIT_EXCEEDED");
    let mut client = Client::connect(&format!("ws://{}/?symbols=no%22symbol", gateway.addr)).await;
    assert_eq!(client.json().await["code"], "INVALID_INPUT");
    client.subscribe(&["AAPL"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_behind_the_upgrade_request_are_not_lost() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut stream = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    let mut bytes = raw::request(gateway.addr, "/ws").into_bytes();
    bytes.extend(raw::text_frame(r#"{"action":"subscribe","symbols":["AAPL"]}"#));
    bytes.extend(raw::text_frame(r#"{"action":"ping","id":1}"#));
    // The last frame is cut in two: the rest comes when the connection has long been handed over.
    let ping = raw::text_frame(r#"{"action":"ping","id":2}"#);
    bytes.extend(&ping[..9]);
    stream.write_all(&bytes).await.unwrap();
    assert_eq!(read_head(&mut stream).await.status, 101);
    let mut client = Client::from_raw(stream).await;
    assert_eq!(client.json().await["data"]["subscribed"], json!(["AAPL"]));
    assert_eq!(client.json().await["id"], 1);
    let tokio_tungstenite::MaybeTlsStream::Plain(stream) = client.ws.get_mut() else { unreachable!() };
    stream.write_all(&ping[9..]).await.unwrap();
    assert_eq!(client.json().await["id"], 2);
}
