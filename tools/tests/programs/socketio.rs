//! `ws-client --dialect socketio`: packets as they come, a token, pings of Socket.IO's own, and the way back after a restart.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use ws_gateway::config::{Config, Upstream};
use ws_gateway::gateway::Gateway;
use ws_gateway::protocol::api::Api;

use crate::client::StandIn;
use crate::common::{Redis, Tool, line_with};
use crate::end_to_end::{AAPL, publish};
use crate::entry::{SECRET, token};

async fn gateway(redis: &Redis) -> Gateway {
    let mut config = Config::for_tests();
    config.upstream = Upstream::from_url(&redis.url()).unwrap();
    config.clients.dialects = [Api::SocketIo].into_iter().collect();
    config.access.secret_key = Some(SECRET.to_owned());
    Gateway::build(config).await.unwrap()
}

fn client(gateway: &Gateway, arguments: &[&str]) -> Tool {
    let url = format!("ws://{}/ws", gateway.local_addr());
    let flags = ["--url", &url, "--dialect", "socketio", "--symbols", "AAPL"];
    Tool::start(env!("CARGO_BIN_EXE_ws-client"), &[&flags[..], arguments].concat())
}

#[tokio::test]
async fn packets_are_printed_as_they_come() {
    let redis = Redis::start(&[]).await;
    let gateway = gateway(&redis).await;
    let mut client =
        client(&gateway, &["--token", &token("alice").await, "--count", "1", "--on-slow", "skip"]);
    for part in [r#"0{"sid":""#, r#"40/events,{"sid":""#, r#"42/events,["connected",{"userId":"alice""#] {
        line_with(&mut client.stdout, part).await;
    }
    line_with(&mut client.stdout, r#"43/events,0[{"status":"subscribed","symbols":["AAPL"]}]"#).await;
    publish(&redis, &[AAPL]).await;
    let (status, printed, stderr) = client.end().await;
    assert!(status.success(), "{stderr:?}");
    let event = format!(r#"42/events,["trade",{{"type":"trade","data":{AAPL},"#);
    assert!(printed.len() == 1 && printed[0].starts_with(&event), "{printed:?}");
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_final() {
    let redis = Redis::start(&[]).await;
    let gateway = gateway(&redis).await;
    for arguments in [&["--token", "nobody"][..], &[]] {
        let (status, printed, stderr) = client(&gateway, arguments).end().await;
        assert_eq!(status.code(), Some(1), "{stderr:?}");
        let refusal = r#"44/events,{"message":"Unauthorized","data":{"code":"UNAUTHORIZED"}}"#;
        assert_eq!(printed.last().map(String::as_str), Some(refusal));
        assert!(stderr.last().unwrap().contains("Unauthorized"), "{stderr:?}");
    }
}

#[tokio::test]
async fn it_asks_once_it_is_in_answers_pings_and_comes_back() {
    let gateway = StandIn::start().await;
    let client =
        gateway.client(&["--dialect=socketio", "--symbols=A,B-*", "--types=trade,quote", "--count=1"]);
    let asked = json!(["subscribe", {"symbols": ["A", "B-*"], "types": ["trade", "quote"]}]);
    for turn in 0..2 {
        let mut connection = gateway.accept().await;
        connection.send(Message::text(r#"0{"sid":"s"}"#)).await;
        assert_eq!(connection.request().await, "40/events,{}");
        connection.send(Message::text("2")).await;
        assert_eq!(connection.request().await, "3");
        connection.send(Message::text(r#"40/events,{"sid":"x"}"#)).await;
        assert_eq!(connection.request().await, format!("42/events,0{asked}"));
        if turn == 0 {
            connection.close(1012, "restart").await;
        } else {
            connection.send(Message::text(r#"42/events,["quote",{}]"#)).await;
            connection.expect_farewell().await;
        }
    }
    let (status, _, stderr) = client.end().await;
    assert!(status.success(), "{stderr:?}");
}
