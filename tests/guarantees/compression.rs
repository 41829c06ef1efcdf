//! permessage-deflate, with `COMPRESSION_ENABLED=true` and for clients that offer it.

use serde_json::{Value, json};
use tokio::process::Command;
use ws_gateway::config::Config;
use ws_gateway::http::Bounds;
use ws_gateway::ingest::publisher::EventBatch;
use ws_gateway::protocol::api::Api;

use crate::support::deflating::{ANSWER, Deflating, OFFER, Said, Text, compressed, shake_hands};
use crate::support::http_server::Server;
use crate::support::program::{Program, node, python};
use crate::support::{Client, Redis, TestGateway, raw, trade, until};

const SOCKETIO: &str = "/socket.io/?EIO=4&transport=websocket";

fn on(config: &mut Config) {
    config.delivery.compress = true;
}

#[tokio::test]
async fn it_is_agreed_on_where_it_is_turned_on_and_offered() {
    let mut config = Config::for_tests();
    let server = Server::with(&config, Bounds::default());
    let (_, reply) = shake_hands(server.address, "/ws", OFFER, None).await;
    assert_eq!((reply.status, reply.header("Sec-WebSocket-Extensions")), (101, None), "off by default");
    on(&mut config);
    let mut server = Server::with(&config, Bounds::default());
    // The last header makes hyper parse the request; the answer is the same.
    for more in ["", "\r\nContent-Length: 0"] {
        for (offer, is_met) in [
            (OFFER, true),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", true),
            ("permessage-deflate; client_max_window_bits=\"10\"", true),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", true),
            ("x\r\nSec-WebSocket-Extensions: permessage-deflate", true),
            ("permessage-deflate; server_max_window_bits=10", false),
            ("permessage-deflate; other", false),
            ("x-webkit-deflate-frame", false),
        ] {
            let offer = format!("{offer}{more}");
            let (_stream, reply) = shake_hands(server.address, "/ws", &offer, None).await;
            assert_eq!(reply.status, 101, "{offer}");
            assert_eq!(reply.header("Sec-WebSocket-Extensions"), is_met.then_some(ANSWER), "{offer}");
            assert_eq!(server.clients.recv().await.unwrap().client.deflate, is_met, "{offer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_requests_are_read() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, on).await;
    let mut client = Deflating::connect(gateway.addr, "/ws").await;
    let request = |id: &str| json!({"action": "ping", "id": id}).to_string();
    for level in [0, 1, 9] {
        client.write(&raw::frame(0xc1, &compressed(request("whole").as_bytes(), level))).await;
        assert_eq!(client.json().await["id"], "whole");
    }
    // In three frames with a ping between them, then one that is not compressed.
    let payload = compressed(request("in parts").as_bytes(), 6);
    let (first, rest) = payload.split_at(5);
    let (second, third) = rest.split_at(rest.len() / 2);
    client.write(&raw::frame(0x41, first)).await;
    client.write(&[raw::frame(0x89, b"x"), raw::frame(0x00, second), raw::frame(0x80, third)].concat()).await;
    assert_eq!(client.json().await["id"], "in parts");
    client.write(&raw::text_frame(&request("plain"))).await;
    let reply = client.text().await;
    assert!(reply.text.contains("plain") && !reply.is_compressed, "{reply:?}");
    assert!(gateway.get("/stats").await.body.contains(r#""messagesReceived":5"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_rules_is_closed() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        on(config);
        config.clients.max_message_bytes = 1_000;
    })
    .await;
    let zeros = |bytes: usize| compressed(&vec![b' '; bytes], 9);
    let bomb = zeros(64 << 20);
    assert!(bomb.len() < 66_000);
    for (frame, code) in [
        // A thousand bytes are a message, if no request; one more is too many, however short it is.
        (raw::frame(0xc1, &zeros(1_001)), 1009),
        (raw::frame(0xc1, &bomb[..1_100]), 1009),
        (raw::frame(0xc1, b"\xff\xff"), 1007),
        (raw::frame(0xc1, &compressed(b"\xff", 6)), 1007),
        (raw::frame(0xc9, b""), 1002),
        ([raw::frame(0x01, b"a"), raw::frame(0xc0, b"b")].concat(), 1002),
        (raw::frame(0xe1, b""), 1002),
    ] {
        let mut client = Deflating::connect(gateway.addr, "/ws").await;
        client.write(&raw::frame(0xc1, &zeros(1_000))).await;
        assert_eq!(client.json().await["code"], "INVALID_JSON");
        client.write(&frame).await;
        if code == 1009 {
            assert_eq!(client.json().await["code"], "MESSAGE_TOO_LARGE");
        }
        let Said::Close(closed, reason) = client.next().await else { panic!("not closed") };
        assert_eq!(closed, code, "{reason}");
        assert_eq!(client.next().await, Said::End);
    }
    // Nobody may compress without having offered it.
    let stream = raw::connect(gateway.addr, "/ws", None).await;
    let mut client = Deflating::on(stream);
    client.write(&raw::frame(0xc1, &zeros(10))).await;
    assert!(matches!(client.next().await, Said::Close(1002, _)));
}

/// A few bytes may stand for a thousand times as many: a client that sends many of them has no more of a turn than others.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_grow_when_read_are_read_to_the_last() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        on(config);
        config.process.shards = 1;
    })
    .await;
    let mut client = Deflating::connect(gateway.addr, "/ws").await;
    let padded = format!(r#"{{"action":"ping"{}}}"#, " ".repeat(60_000));
    let frame = raw::frame(0xc1, &compressed(padded.as_bytes(), 9));
    client.write(&frame.repeat(300)).await;
    for _ in 0..300 {
        assert_eq!(client.json().await["type"], "pong");
    }
}

/// A trade whose frame has more bytes than the threshold.
fn long_trade(symbol: &str, n: u64) -> String {
    trade(symbol, "1.50", n).replace("NASDAQ", &"N".repeat(2_000))
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_compressed_once_they_are_long() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, on).await;
    let mut worker = redis.publisher().await;
    worker.trade("AAPL", &long_trade("AAPL", 1)).await;
    gateway.taken(1).await;
    let request = json!({"action": "subscribe", "symbols": ["AAPL", "MSFT"], "snapshot": true, "resume": {}});
    let mut plain = gateway.client().await;
    plain.send(request.to_string()).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Deflating::connect(gateway.addr, "/ws").await;
        client.subscribe(&request).await;
        clients.push(client);
    }
    assert_eq!(plain.json().await["type"], "success");
    // The snapshot, and the status that ends it.
    for is_long in [true, false] {
        let expected = plain.text().await;
        for client in &mut clients {
            let Text { text, is_compressed, wire_bytes } = client.text().await;
            assert_eq!(is_compressed, is_long, "{text}");
            assert!(!is_long || (text == expected && wire_bytes < 300), "{wire_bytes} bytes for {text}");
        }
    }
    for n in 2..20 {
        let is_long = n % 3 == 0;
        let symbol = ["AAPL", "MSFT"][(n % 2) as usize];
        let payload = if is_long { long_trade(symbol, n) } else { trade(symbol, "1.50", n) };
        worker.trade(symbol, &payload).await;
        for client in &mut clients {
            let Text { text, is_compressed, .. } = client.text().await;
            assert!(is_compressed == is_long && text.contains(&payload), "{text}");
        }
        assert!(plain.text().await.contains(&payload));
    }
    // One snapshot and six trades, whoever wants them; what is left as it is counts for each.
    let metrics_agree = async |stats: &Value| {
        let metrics = gateway.get("/metrics").await.body;
        let is_told = |(name, in_stats): (&str, &str)| {
            metrics.contains(&format!("ws_compression_{name}_total {}\n", stats[in_stats]))
        };
        [
            ("messages_compressed", "messagesCompressed"),
            ("messages_uncompressed", "messagesUncompressed"),
            ("in_bytes", "compressionBytesIn"),
            ("out_bytes", "compressionBytesOut"),
        ]
        .into_iter()
        .all(is_told)
    };
    // A shard counts behind its writes, so both are asked until they tell the same.
    let stats = until("the counts", async || {
        let stats: Value = serde_json::from_str(&gateway.get("/stats").await.body).unwrap();
        (stats["messagesCompressed"] == 7 && metrics_agree(&stats).await).then_some(stats)
    })
    .await;
    let bytes = |name: &str| stats[name].as_u64().unwrap();
    assert!(bytes("compressionBytesIn") > 7 * 2_000 && bytes("compressionBytesOut") < 7 * 300, "{stats}");
    assert!(bytes("messagesUncompressed") >= 12, "{stats}");
}

/// A batch is compressed once for the clients for whom the same events wait.
#[tokio::test(flavor = "multi_thread")]
async fn batches_are_compressed_once_for_all_who_get_the_same() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        on(config);
        config.process.shards = 1;
    })
    .await;
    let mut plain = Client::connect(&format!("ws://{}/ws?batch=1", gateway.addr)).await;
    let mut clients = Vec::new();
    for n in 0..40 {
        // The half of them want one symbol, the others two.
        let symbols = if n % 2 == 0 { vec!["AAPL"] } else { vec!["AAPL", "MSFT"] };
        let mut client = Deflating::connect(gateway.addr, "/ws?batch=1").await;
        client.subscribe(&json!({"action": "subscribe", "symbols": symbols})).await;
        clients.push(client);
    }
    plain.send(r#"{"action":"subscribe","symbols":["AAPL","MSFT"]}"#).await;
    plain.text().await;
    let mut burst = EventBatch::default();
    for n in 0..100 {
        let symbol = ["AAPL", "MSFT"][(n % 2) as usize];
        burst.push(format!("channel:trade:{symbol}").as_bytes(), trade(symbol, "1.50", n).as_bytes());
    }
    gateway.gateway.publisher().publish_all(burst).await;
    let expected = plain.text().await;
    let mut messages = Vec::new();
    for (n, client) in clients.iter_mut().enumerate() {
        let message = client.text().await;
        assert!(message.is_compressed && message.wire_bytes * 5 < message.text.len(), "{message:?}");
        if n % 2 == 1 {
            assert_eq!(message.text, expected);
        }
        messages.push(message);
    }
    messages.sort_by(|one, other| one.text.cmp(&other.text));
    messages.dedup();
    assert_eq!(messages.len(), 2);
    assert_eq!(gateway.gateway.state().metrics.compression().compressed, 2, "once for each list");
    drop(clients);
}

/// What is said at the desk is compressed once for all who get it, and by itself for who alone gets it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_at_the_desk_comes_compressed_once_it_is_long() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        on(config);
        config.desk.is_on = true;
        config.clients.dialects = [Api::SocketIo].into_iter().collect();
        config.process.shards = 1;
    })
    .await;
    let mut plain = Client::connect(&format!("ws://{}/ws?desk=1", gateway.addr)).await;
    plain.gets_nothing().await;
    let mut clients = Vec::new();
    for target in ["/ws?desk=1", "/ws?desk=1", "/ws?desk=1&batch=1", SOCKETIO, SOCKETIO] {
        let mut client = Deflating::connect(gateway.addr, target).await;
        if target == SOCKETIO {
            assert!(client.text().await.text.starts_with('0'));
            client.send("40").await;
            assert!(client.text().await.text.starts_with("40"));
            client.send(r#"420["leave_room",{"room":"r"}]"#).await;
            // It is greeted first.
            while !client.text().await.text.starts_with("430") {}
        } else {
            client.send(r#"{"action":"ping"}"#).await;
            client.text().await;
        }
        clients.push(client);
    }
    let mut worker = redis.publisher().await;
    for (bytes, is_long) in [(10, false), (2_000, true)] {
        let before = gateway.gateway.state().metrics.compression().compressed;
        let object = format!(r#"{{"type":"news_flash","x":"{}"}}"#, "x".repeat(bytes));
        worker.raw("channel:broadcast", object.as_bytes()).await;
        assert_eq!(plain.text().await, object);
        for client in &mut clients {
            let Text { text, is_compressed, wire_bytes } = client.text().await;
            assert!(text.contains(&object) && is_compressed == is_long, "{text}");
            assert!(!is_long || wire_bytes < 300, "{wire_bytes} bytes for {text}");
        }
        // One in each form.
        let compressed = gateway.gateway.state().metrics.compression().compressed - before;
        assert_eq!(compressed, if is_long { 3 } else { 0 });
    }
}

/// With compression as without: whole messages in order, and for a slow client what it is announced.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_told_exactly_what_it_missed() {
    for target in ["/ws?x=1", "/ws?batch=1", "/alpaca/v2/iex?x=1"] {
        for policy in ["skip", "conflate"] {
            slow_client(&format!("{target}&onSlow={policy}"), policy).await;
        }
    }
}

async fn slow_client(target: &str, policy: &str) {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |config| {
        on(config);
        config.clients.dialects = [Api::Alpaca].into_iter().collect();
        config.process.shards = 1;
        config.delivery.max_outbox_bytes = 100_000;
    })
    .await;
    let mut client = Deflating::with_buffer(gateway.addr, target, Some(4_096)).await;
    if target.starts_with("/alpaca") {
        for request in [
            json!({"action": "auth", "key": "K", "secret": "S"}),
            json!({"action": "subscribe", "trades": ["AAPL", "MSFT"]}),
        ] {
            client.send(&request.to_string()).await;
        }
        for said in ["connected", "authenticated", "subscription"] {
            assert!(client.text().await.text.contains(said));
        }
    } else {
        let request = json!({"action": "subscribe", "symbols": ["AAPL", "MSFT"], "onSlow": policy});
        client.subscribe(&request).await;
    }
    let mut worker = redis.publisher().await;
    let symbol = |n: u64| ["AAPL", "MSFT"][(n % 2) as usize];
    // What doesn't become much shorter.
    let mut random = fastrand::Rng::with_seed(7);
    let mut payload = |n: u64| {
        let note: String = (0..1_500).map(|_| random.alphanumeric()).collect();
        trade(symbol(n), &n.to_string(), n).replace("NASDAQ", &note)
    };
    let metrics = &gateway.gateway.state().metrics;
    let is_too_slow =
        || metrics.sum(|shard| &shard.events_skipped) + metrics.sum(|shard| &shard.slow_conflated) > 0;
    let mut published = 0;
    while !is_too_slow() {
        let trades: Vec<_> =
            (published..published + 200).map(|n| (symbol(n).to_owned(), payload(n))).collect();
        worker.trades(trades).await;
        published += 200;
        gateway.taken(published).await;
    }
    let (mut delivered, mut skipped, mut last, mut is_compressed) = (0, 0, None, false);
    while last != Some(published - 1) || delivered + skipped < published && policy == "skip" {
        let message = client.text().await;
        is_compressed |= message.is_compressed;
        let said: Value = serde_json::from_str(&message.text).unwrap();
        let alone = vec![said.clone()];
        for each in said.as_array().unwrap_or(&alone) {
            if each["type"] == "trade" || each["T"] == "t" {
                let price = if each["T"] == "t" { &each["p"] } else { &each["data"]["price"] };
                let n = price.as_u64().unwrap();
                assert!(last.is_none_or(|last| last < n) || policy == "conflate", "{last:?} before {n}");
                last = last.max(Some(n));
                delivered += 1;
            } else if each["event"] == "skipped" {
                skipped += each["data"]["count"].as_u64().unwrap();
            } else if each["T"] == "skipped" {
                skipped += each["n"].as_u64().unwrap();
            }
        }
    }
    assert!(is_compressed && delivered < published, "{target} {policy}");
    assert!(policy == "conflate" || delivered + skipped == published, "{target} {policy}");
}

/// The clients that people use, as they offer compression by default (aiohttp: as ccxt does).
#[tokio::test(flavor = "multi_thread")]
async fn real_clients_read_and_send_it() {
    for which in ["ws", "undici", "chromium"] {
        let mut script = node("deflating_client.js").await;
        if which == "undici" {
            // Node's own client; from Node 22 on it is there without this.
            script.env("NODE_OPTIONS", "--experimental-websocket");
        }
        real_client(which, script).await;
    }
    for (which, package) in [
        ("websockets", "websockets==17.4"),
        ("websockets_sync", "websockets==17.4"),
        ("aiohttp", "aiohttp==3.14.2"),
    ] {
        real_client(which, python(package, "deflating_client.py").await).await;
    }
}

async fn real_client(which: &str, script: Command) {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, on).await;
    let mut worker = redis.publisher().await;
    worker.trade("AAPL", &long_trade("AAPL", 0)).await;
    gateway.taken(1).await;
    let args: Vec<_> = script.as_std().get_args().map(ToOwned::to_owned).collect();
    for (target, is_batch) in [("/ws", false), ("/ws?batch=1", true)] {
        let mut command = Command::new(script.as_std().get_program());
        let envs = script.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.envs(envs).args(&args).args([which, &format!("ws://{}{target}", gateway.addr), "300"]);
        let mut client = Program::start(command);
        let agreed = client.json().await;
        assert!(agreed["extensions"].as_str().unwrap().contains("permessage-deflate"), "{which}: {agreed}");
        let payloads: Vec<_> = (0..300)
            .map(|n| match n % 4 == 0 && !is_batch {
                true => long_trade("AAPL", n),
                false => trade("AAPL", "1.50", n),
            })
            .collect();
        let mut burst = EventBatch::default();
        payloads.iter().for_each(|payload| burst.push(b"channel:trade:AAPL", payload.as_bytes()));
        gateway.gateway.publisher().publish_all(burst).await;
        let got = client.json().await;
        let expected: Vec<Value> =
            payloads.iter().map(|payload| serde_json::from_str(payload).unwrap()).collect();
        assert_eq!(got, Value::from(expected), "{which} {target}");
        assert!(client.exit().await.success());
    }
    let metrics = &gateway.gateway.state().metrics;
    assert!(metrics.compression().compressed > 75, "{which}: {:?}", metrics.compression());
    // The request of 3,000 bytes came compressed, but from Node's own client, which compresses nothing.
    let received = metrics.sum(|shard| &shard.bytes_received);
    assert!(received < 4_000 || which == "undici", "{which}: {received} bytes");
}
