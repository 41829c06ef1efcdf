//! Socket.IO over HTTP requests: sessions, packets in bodies, the change to a WebSocket, and what a session may not do.

use crate::support::http::{Reply, ask};
use crate::support::tokens::{SECRET, token};
use crate::support::{Client, Redis, TestGateway, trade, until};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use ws_gateway::config::Config;
use ws_gateway::protocol::api::Api;
use ws_gateway::rate::Rate;

fn with_socketio(config: &mut Config) {
    config.clients.dialects = [Api::SocketIo].into_iter().collect();
    config.clients.max_message_bytes = 4_096;
}

/// A session over HTTP requests.
struct Session {
    addr: SocketAddr,
    sid: String,
}

impl Session {
    async fn open(addr: SocketAddr) -> Self {
        let request = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n";
        let reply = ask(addr, request).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("Content-Type"), Some("text/plain; charset=UTF-8"));
        let terms: Value =
            serde_json::from_str(reply.body.strip_prefix('0').expect("the first packet")).unwrap();
        assert_eq!((&terms["upgrades"], &terms["maxPayload"]), (&json!(["websocket"]), &json!(4_096)));
        let sid = terms["sid"].as_str().expect("an id").to_owned();
        Self { addr, sid }
    }

    /// A session that is in the namespace `/`.
    async fn joined(addr: SocketAddr) -> Self {
        let session = Self::open(addr).await;
        let taken = session.post("40").await;
        assert_eq!((taken.header("Content-Type"), &*taken.body), (Some("text/html"), "ok"));
        let mut packets = Vec::new();
        while packets.len() < 2 {
            packets.extend(session.packets().await);
        }
        assert!(
            packets[0].starts_with("40{\"sid\":") && packets[1].starts_with("42[\"connected\","),
            "{packets:?}"
        );
        assert!(!packets.concat().contains(&session.sid), "what others see opens nothing");
        session
    }

    fn path(&self) -> String {
        format!("/socket.io/?EIO=4&transport=polling&sid={}", self.sid)
    }

    async fn post(&self, body: &str) -> Reply {
        let (path, length) = (self.path(), body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        Reply::parse(&crate::support::http::exchange(self.addr, &format!("{head}{body}")).await)
    }

    async fn poll(&self) -> Reply {
        ask(self.addr, &format!("GET {} HTTP/1.1\r\nHost: h\r\n", self.path())).await
    }

    /// The packets of the next answer that has any besides pings.
    async fn packets(&self) -> Vec<String> {
        loop {
            let reply = self.poll().await;
            assert_eq!(reply.status, 200, "{reply:?}");
            let packets = reply.body.split('\u{1e}').filter(|packet| *packet != "2");
            let packets: Vec<_> = packets.map(str::to_owned).collect();
            if !packets.is_empty() {
                return packets;
            }
        }
    }

    fn web_socket(&self) -> String {
        format!("ws://{}/socket.io/?EIO=4&transport=websocket&sid={}", self.addr, self.sid)
    }
}

/// Waits until there is no connection any more.
async fn until_none(gateway: &TestGateway) {
    until("the session to end", async || (gateway.stat("total_connections").await == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_a_client_like_others() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_socketio).await;
    let session = Session::joined(gateway.addr).await;
    // Several packets in one body.
    let body = "421[\"subscribe\",{\"symbols\":[\"A\"]}]\u{1e}422[\"ping\"]";
    assert_eq!(session.post(body).await.body, "ok");
    let mut packets = Vec::new();
    while packets.len() < 2 {
        packets.extend(session.packets().await);
    }
    assert_eq!(packets[0], r#"431[{"status":"subscribed","symbols":["A"]}]"#);
    assert!(packets[1].starts_with(r#"432[{"status":"pong""#), "{packets:?}");
    // A request waits for the next event.
    let (event, ()) = tokio::join!(session.packets(), async {
        redis.publisher().await.trade("A", &trade("A", "150.250", 1)).await;
    });
    assert!(event.len() == 1 && event[0].starts_with(r#"42["trade",{"#) && event[0].contains("150.250"));
    // The client leaves.
    assert_eq!(session.post("1").await.status, 200);
    until_none(&gateway).await;
    let reply = session.poll().await;
    assert_eq!((reply.status, &reply.json()["code"]), (400, &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_takes_its_place() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_socketio).await;
    let session = Session::joined(gateway.addr).await;
    assert_eq!(session.post(r#"421["subscribe",{"symbols":["A"]}]"#).await.body, "ok");
    assert_eq!(session.packets().await.len(), 1);
    let mut client = Client::connect(&session.web_socket()).await;
    // The request that waits is answered when the WebSocket has been tried.
    let (noop, probed) = tokio::join!(session.packets(), async {
        client.send("2probe").await;
        client.packet().await
    });
    assert_eq!((noop, probed.as_str()), (vec!["6".to_owned()], "3probe"));
    let mut worker = redis.publisher().await;
    worker.trade("A", &trade("A", "1", 1)).await;
    gateway.taken(1).await;
    client.send("5").await;
    client.send(r#"422["ping"]"#).await;
    let texts = [client.packet().await, client.packet().await];
    assert!(
        texts[0].starts_with(r#"42["trade""#) && texts[1].starts_with(r#"432[{"status":"pong""#),
        "{texts:?}"
    );
    worker.trade("A", &trade("A", "2", 2)).await;
    assert!(client.packet().await.contains(r#""price":2"#));
    assert_eq!(gateway.stat("total_connections").await, 1, "it is one connection");
    assert_eq!(session.poll().await.json()["message"], "Session ID unknown");
    drop(client);
    until_none(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_session() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, with_socketio).await;
    let unknown = Session { addr: gateway.addr, sid: "0".repeat(32) };
    for reply in [unknown.poll().await, unknown.post("40").await] {
        assert_eq!((reply.status, reply.json()), (400, json!({"code": 1, "message": "Session ID unknown"})));
    }
    for (body, status) in [("x", 400), ("", 400), ("40\u{1e}", 400), (&*"4".repeat(5_000), 413)] {
        let session = Session::joined(gateway.addr).await;
        assert_eq!(session.post(body).await.status, status, "{}", body.len());
        until_none(&gateway).await;
    }
    // Two requests for packets at a time.
    let session = Session::joined(gateway.addr).await;
    let (first, second) = tokio::join!(session.poll(), session.poll());
    assert!([first.status, second.status].contains(&400));
    until_none(&gateway).await;
    // What is wrong with a packet ends it as a WebSocket.
    let session = Session::joined(gateway.addr).await;
    assert_eq!(session.post("49").await.status, 200);
    assert_eq!(session.packets().await, ["1"]);
    until_none(&gateway).await;
}

/// Whoever doesn't ask for what waits is a slow client: what is skipped is announced, and delivered + announced is published.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_does_not_ask_is_slow() {
    const N: u64 = 4_000;
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_socketio(config);
        config.delivery.max_outbox_bytes = 64 * 1024;
    })
    .await;
    let session = Session::joined(gateway.addr).await;
    assert_eq!(session.post(r#"42["subscribe",{"symbols":["A"]}]"#).await.body, "ok");
    until("the subscription", async || (gateway.stat("totalSymbolSubscriptions").await == 1).then_some(()))
        .await;
    redis.publisher().await.trades((0..N).map(|n| ("A".to_owned(), trade("A", "1", n)))).await;
    gateway.taken(N).await;
    until("events are skipped", async || (gateway.stat("slowClients/skippedEvents").await > 0).then_some(()))
        .await;
    let (mut delivered, mut announced) = (0, 0);
    while delivered + announced < N {
        for packet in session.packets().await {
            if let Some(status) =
                packet.strip_prefix(r#"42["status","#).and_then(|rest| rest.strip_suffix(']'))
            {
                let status: Value = serde_json::from_str(status).expect("a status");
                assert_eq!(status["event"], "skipped");
                announced += status["data"]["count"].as_u64().expect("a number");
            } else if packet.starts_with(r#"42["trade""#) {
                delivered += 1;
            }
        }
    }
    assert_eq!(delivered + announced, N);
    assert!(announced > 0);
}

/// Its token's rights and `MESSAGE_RATE_LIMIT` hold for a session as for a WebSocket.
#[tokio::test(flavor = "multi_thread")]
async fn rights_and_rates_hold() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        with_socketio(config);
        config.access.secret_key = Some(SECRET.to_owned());
        config.clients.message_rate_limit = Rate::new(10, Duration::from_secs(36_000));
    })
    .await;
    let session = Session::open(gateway.addr).await;
    let token = token(json!({"sub": "u", "symbols": ["A"]}));
    assert_eq!(session.post(&format!("40{}", json!({"token": token}))).await.body, "ok");
    let mut packets = Vec::new();
    let body = "421[\"subscribe\",{\"symbols\":[\"B\"]}]\u{1e}422[\"subscribe\",{\"symbols\":[\"A\"]}]";
    assert_eq!(session.post(body).await.body, "ok");
    while packets.len() < 4 {
        packets.extend(session.packets().await);
    }
    assert!(packets[2].starts_with("431[") && packets[2].contains("FORBIDDEN"), "{packets:?}");
    assert_eq!(packets[3], r#"432[{"status":"subscribed","symbols":["A"]}]"#);

    // Eight of ten are left at most. The hundredth refusal in a row is answered, and then the session ends.
    let pings: Vec<_> = (100..220).map(|n| format!("42{n}[\"ping\"]")).collect();
    assert_eq!(session.post(&pings.join("\u{1e}")).await.body, "ok");
    let mut answers = Vec::new();
    while answers.last().is_none_or(|packet| packet != "1") {
        answers.extend(session.packets().await);
    }
    let refused = answers.iter().filter(|packet| packet.contains("RATE_LIMIT_EXCEEDED")).count();
    let answered = answers.iter().filter(|packet| packet.contains("pong")).count();
    assert!(refused == 100 && (1..=8).contains(&answered), "{refused} {answered} {answers:?}");
    until_none(&gateway).await;
}
