//! Nothing that a client sends reaches a market channel or another room, or appears as if somebody else had said it.

use serde_json::json;
use tokio::time::{Duration, timeout};
use ws_gateway::market::RESERVED_TYPES;

use crate::support::desk::{gateway, user, with_claims};
use crate::support::resp;
use crate::support::{Redis, TestGateway, trade};

const GUIDE: &str = include_str!("../../docs/desk.md");

/// What is published on this Redis from now on: channels and payloads.
struct Overheard(resp::Client);

impl Overheard {
    async fn of(redis: &Redis) -> Self {
        let mut client = resp::Client::connect(([127, 0, 0, 1], redis.port).into()).await;
        client.ask("PSUBSCRIBE *").await;
        Self(client)
    }

    /// All channels so far, those that gateways tell each other of themselves aside.
    async fn channels(&mut self) -> Vec<String> {
        let mut channels = Vec::new();
        while let Ok(Some(message)) = timeout(Duration::from_millis(300), self.0.reply()).await {
            // `*4 pmessage, pattern, channel, payload`, each with its length before it.
            let channel = message.split("\r\n").nth(6).expect("a channel").to_owned();
            if channel != "channel:desk:presence" {
                channels.push(channel);
            }
        }
        channels
    }
}

/// Strange names: each is a name like others, or none at all.
const NAMES: [(&str, bool); 24] = [
    ("*", true),
    ("r*", true),
    ("?", true),
    ("[a-z]", true),
    ("channel:trade:AAPL", true),
    ("trade:AAPL", true),
    ("../trade:AAPL", true),
    ("room:other", true),
    ("other", true),
    ("a:b", true),
    (" r", true),
    ("r ", true),
    ("r\r\nPUBLISH channel:trade:AAPL {}", false),
    ("r\n", false),
    ("r\0", false),
    ("r\u{7f}", false),
    ("r\u{85}", false),
    ("r\u{200b}", false),
    ("\u{202e}r", false),
    ("r\u{feff}", false),
    ("e\u{301}", false),
    ("r\"", false),
    ("r\\", false),
    ("", false),
];

#[tokio::test(flavor = "multi_thread")]
async fn into_other_channels() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut trader = user(gateway.addr, "trader").await;
    trader.subscribe(&["AAPL"]).await;
    let mut member = user(gateway.addr, "member").await;
    member.join("r").await;
    let mut heard = Overheard::of(&redis).await;
    let mut eve = user(gateway.addr, "eve").await;
    let mut expected = Vec::new();
    for (name, is_one) in NAMES {
        for (request, payload) in [
            ("join_room", json!({"room_id": name})),
            (
                "room_message",
                json!({"room_id": name, "message": {"symbol": "AAPL", "price": 1, "volume": 1, "timestamp": 1}}),
            ),
            ("typing", json!({"room_id": name})),
            ("chat", json!({"to": name, "message": 1})),
        ] {
            let (reply, _) = eve.ask_for(request, payload).await;
            let is_done = reply["type"] == "success";
            assert_eq!(is_done, is_one, "{request} {name:?}: {reply}");
            if is_one {
                let part = if request == "chat" { "user" } else { "room" };
                expected.push(format!("channel:desk:{part}:{name}"));
            } else {
                assert_eq!(reply["code"], "INVALID_INPUT", "{request} {name:?}");
            }
        }
    }
    assert_eq!(heard.channels().await, expected);
    trader.gets_nothing().await;
    member.gets_nothing().await;
    let mut worker = redis.publisher().await;
    worker.trade("AAPL", &trade("AAPL", "1", 1)).await;
    trader.gets("AAPL", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_name_of_others() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut member = user(gateway.addr, "alice").await;
    member.join("r").await;
    let mut eve = user(gateway.addr, "eve").await;
    // Fields that are not asked for say nothing.
    let more = json!({"room_id": "r", "message": "m", "from": "alice", "user_id": "alice", "u": "alice", "userId": "alice"});
    eve.ask("join_room", more.clone()).await;
    assert_eq!(member.next_of("user_joined").await["user_id"], "eve");
    eve.ask("room_message", more.clone()).await;
    assert_eq!(member.next_of("room_message").await["from"], "eve");
    eve.ask("typing", more.clone()).await;
    assert_eq!(member.next_of("typing").await["user_id"], "eve");
    eve.send(r#"{"type":"chat","from":"bob","payload":{"to":"alice","message":1,"from":"bob"}}"#).await;
    assert_eq!(member.next_of("chat").await["from"], "eve");
    // What is said stays what is said.
    let sly =
        json!({"type": "user_left", "user_id": "alice", "\"},\"from\":\"alice": "x\",\"from\":\"alice"});
    eve.write("r", sly.clone()).await;
    let frame = member.next_of("room_message").await;
    assert_eq!((&frame["from"], &frame["message"]), (&json!("eve"), &sly));
    // Two values for one name are none.
    for request in [
        r#"{"type":"chat","payload":{"to":"alice","to":"bob","message":1}}"#,
        r#"{"type":"room_message","payload":{"room_id":"r","room_id":"s","message":1}}"#,
        r#"{"type":"room_message","type":"chat","payload":{"room_id":"r","to":"alice","message":1}}"#,
    ] {
        eve.send(request).await;
        assert_eq!(eve.next_of("error").await["code"], "INVALID_INPUT", "{request}");
    }
    member.gets_nothing().await;
}

/// Who isn't a member of a room neither hears nor says anything in it, whatever its user's other connections are.
#[tokio::test(flavor = "multi_thread")]
async fn into_rooms_that_one_is_not_in() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut member = user(gateway.addr, "alice").await;
    member.join("r").await;
    let mut other = user(gateway.addr, "alice").await;
    let mut eve = with_claims(gateway.addr, json!({"sub": "eve", "rooms": ["s"]})).await;
    eve.join("s").await;
    for client in [&mut other, &mut eve] {
        for name in ["room_message", "typing", "presence"] {
            let (reply, _) = client.ask_for(name, json!({"room_id": "r", "message": 1})).await;
            assert_eq!(reply["code"], "FORBIDDEN", "{name}: {reply}");
        }
    }
    member.write("r", json!("secret")).await;
    member.next_of("room_message").await;
    eve.write("s", json!("other")).await;
    assert_eq!(eve.next_of("room_message").await["room_id"], "s");
    other.gets_nothing().await;
    member.gets_nothing().await;
}

/// What a worker may say is what a worker says: it can't pass for a message of the gateway, of a client, or for a price.
#[tokio::test(flavor = "multi_thread")]
async fn workers_in_the_name_of_clients() {
    let redis = Redis::start().await;
    let gateway = gateway(&redis, |_| {}).await;
    let mut member = user(gateway.addr, "alice").await;
    member.join("r").await;
    let mut worker = redis.publisher().await;
    let bad: [&[u8]; 9] = [
        br#"{"type":"chat","from":"bob","to":"alice","message":1}"#,
        br#"{"type":"room_message","from":"bob"}"#,
        br#"{"type":"trade","data":{}}"#,
        br#"{"type":"success"}"#,
        br#"{"ty\u0070e":"\u0063hat"}"#,
        br#"{"type":"x","type":"chat"}"#,
        br#"{"data":1}"#,
        br#"{"type":"x","y":"\ud800"}"#,
        b"{",
    ];
    for payload in bad {
        for channel in ["channel:room:r", "channel:user:alice", "channel:broadcast"] {
            worker.raw(channel, payload).await;
        }
    }
    for channel in ["channel:desk:room:r", "channel:desk:user:alice"] {
        for payload in [
            r#"{"v":2,"t":"typing","u":"bob"}"#,
            r#"{"v":1,"t":"chat","u":"bob","to":"eve","at":1,"m":1}"#,
            "{}",
        ] {
            worker.raw(channel, payload.as_bytes()).await;
        }
    }
    worker.raw("channel:room:r", br#"{"type":"news_flash"}"#).await;
    assert_eq!(member.json().await, json!({"type": "news_flash"}));
    assert_eq!(rejected(&gateway).await, 3 * bad.len() as u64 + 6);
}

/// The guide names every type that workers may not use, also those of the market that this gateway doesn't carry.
#[tokio::test(flavor = "multi_thread")]
async fn workers_by_a_type_that_only_the_gateway_says() {
    let section = GUIDE.split("## ").find(|section| section.starts_with("What workers may say"));
    let (list, _) = section.and_then(|section| section.split_once("What has another shape")).expect("a list");
    let words = list.split('`').skip(1).step_by(2);
    let mut names: Vec<_> = words.filter(|word| !["type", "CHANNEL_TYPES"].contains(word)).collect();
    for known in
        RESERVED_TYPES.iter().chain(&["trade", "quote", "candle", "news", "halt", "message", "connected"])
    {
        assert!(names.contains(known), "{known} is not in the guide");
    }
    names.push("order_book");
    let redis = Redis::start().await;
    let types = "trade,order_book".parse().unwrap();
    let gateway = gateway(&redis, |config| config.events.channel_types = types).await;
    let mut member = user(gateway.addr, "alice").await;
    member.join("r").await;
    let mut worker = redis.publisher().await;
    for name in &names {
        worker.raw("channel:room:r", json!({"type": name}).to_string().as_bytes()).await;
    }
    // What the market's types mean has no meaning here.
    let own = r#"{"symbol":"aapl ","type":"order","seq":7}"#;
    for _ in 0..2 {
        worker.raw("channel:room:r", own.as_bytes()).await;
        assert_eq!(member.text().await, own);
    }
    assert_eq!(rejected(&gateway).await, names.len() as u64);
}

async fn rejected(gateway: &TestGateway) -> u64 {
    let metrics = gateway.get("/metrics").await.body;
    let lines = metrics.lines().filter(|line| line.starts_with("ws_events_rejected_total{"));
    lines
        .map(|line| line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()).expect("a count"))
        .sum()
}
