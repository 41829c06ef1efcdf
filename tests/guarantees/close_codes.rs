//! Every way in which a connection ends has its close code and reason, and the close frame arrives: no reset overtakes it.

use crate::support::{Client, Redis, TestGateway};
use futures_util::SinkExt;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::Frame};
use ws_gateway::rate::Rate;

async fn ending_of(client: &mut Client) -> u16 {
    let (code, reason) = client.ending().await.expect("a close frame");
    assert!(!reason.is_empty() || code == 1000, "{code} without a reason");
    code
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_own_close_is_answered() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    let frame = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
    client.ws.close(Some(frame)).await.unwrap();
    assert_eq!(ending_of(&mut client).await, 1000);
    let metrics = &gateway.gateway.state().metrics;
    crate::support::until("the connection to go", async || (metrics.connections_open() == 0).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_a_message() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| config.clients.max_message_bytes = 1_000).await;
    let mut client = gateway.client().await;
    client.send(format!(r#"{{"action":"ping","pad":"{}"}}"#, "x".repeat(900))).await;
    assert_eq!(client.json().await["type"], "pong");
    // Far more than any socket buffer: the gateway has closed long before all of it is sent.
    let _ = client.ws.send(Message::text("x".repeat(20_000_000))).await;
    let reply = client.json().await;
    assert_eq!((reply["type"].as_str(), reply["code"].as_str()), (Some("error"), Some("MESSAGE_TOO_LARGE")));
    assert_eq!(ending_of(&mut client).await, 1009);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_frames_and_bad_text() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;

    let mut client = gateway.client().await;
    let mut frame = Frame::message(
        &b"\xff\xfe"[..],
        tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode::Data(
            tokio_tungstenite::tungstenite::protocol::frame::coding::Data::Text,
        ),
        true,
    );
    client.ws.send(Message::Frame(frame.clone())).await.unwrap();
    assert_eq!(ending_of(&mut client).await, 1007);

    let mut client = gateway.client().await;
    frame.header_mut().rsv2 = true;
    client.ws.send(Message::Frame(frame)).await.unwrap();
    assert_eq!(ending_of(&mut client).await, 1002);

    let mut other = gateway.subscriber(&["AAPL"]).await;
    other.send(r#"{"action":"ping"}"#).await;
    assert_eq!(other.json().await["type"], "pong", "nobody else is disturbed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_broken_again_and_again() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        config.clients.message_rate_limit = Rate::new(10, Duration::from_secs(3_600));
    })
    .await;
    let mut client = gateway.client().await;
    for n in 0..12 {
        client.send(format!(r#"{{"action":"ping","id":{n}}}"#)).await;
    }
    for n in 0..10 {
        let reply = client.json().await;
        assert_eq!((reply["type"].as_str(), reply["id"].as_u64()), (Some("pong"), Some(n)));
    }
    let reply = client.text().await;
    let tail = r#""code":"RATE_LIMIT_EXCEEDED","retryAfter":360,"timestamp":"#;
    assert!(reply.contains(tail), "{reply}");
    for _ in 0..1_000 {
        if client.ws.send(Message::text(r#"{"action":"ping"}"#)).await.is_err() {
            break;
        }
    }
    assert_eq!(ending_of(&mut client).await, 1008);
}
