//! A server that answers garbage where Redis should be costs an attempt and a bounded buffer: nothing of it reaches a client, clients are
//! told that the feed is down, and with the real Redis back they get every trade again, in order. A worker that publishes garbage disturbs
//! nobody's trades either.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{MIB, Stage};
use crate::support::process::Process;
use crate::support::redis::Publisher;
use crate::support::{Client, Redis, trade, until};

/// What a connection is answered, from its first byte on.
fn lies() -> Vec<Vec<u8>> {
    let long = |begin: &str, byte: u8, bytes: usize| [begin.as_bytes(), &vec![byte; bytes]].concat();
    let confirmed = "+OK\r\n*3\r\n$10\r\npsubscribe\r\n$15\r\nchannel:trade:*\r\n:1\r\n";
    let mut lies: Vec<Vec<u8>> = [
        "",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "\r\n\r\n\r\n",
        "-ERR no\r\n-ERR no\r\n",
        "+OK\r\n-NOPERM no\r\n",
        "$-2\r\n",
        "$99999999999999999999\r\n",
        "*99999999999999999999\r\n",
        "*2147483647\r\n$3\r\n",
        ":1e999\r\n",
        "%1000000000\r\n",
        "$1073741824\r\nabc",
        "+OK\r\n*3\r\n$10\r\npsubscribe\r\n$1\r\nx\r\n:-1\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    lies.extend([
        long("", 0, 100_000),
        long("+", b'a', 4_000_000),
        long("", b'*', 1_000_000),
        b"*1\r\n".repeat(200_000),
        b"+OK\r\n".repeat(200_000),
        // Behind a confirmed subscription: no message, half of one, a giant, deeply nested.
        [confirmed.as_bytes(), b"garbage\r\n"].concat(),
        [confirmed.as_bytes(), b"*4\r\n$8\r\npmessage\r\n$1\r\n"].concat(),
        [
            confirmed.as_bytes(),
            b"*4\r\n$8\r\npmessage\r\n$15\r\nchannel:trade:*\r\n$18\r\nchannel:trade:AAPL\r\n$999999999\r\n",
        ]
        .concat(),
        long(&format!("{confirmed}*4\r\n$8\r\npmessage\r\n$999999\r\n"), b'x', 2_000_000),
        [confirmed.as_bytes(), &b"*1\r\n".repeat(100_000)].concat(),
        [confirmed.as_bytes(), b"*4\r\n+pmessage\r\n:1\r\n$-1\r\n*-1\r\n"].concat(),
        [confirmed.as_bytes(), b"*3\r\n$12\r\npunsubscribe\r\n$15\r\nchannel:trade:*\r\n:0\r\n"].concat(),
    ]);
    lies
}

/// Stands between the gateway and Redis; connections are answered the lies one after the other, and then are Redis'.
struct Liar {
    address: SocketAddr,
    told: Arc<AtomicUsize>,
}

impl Liar {
    async fn before(redis: &Redis, lies: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, redis) = (listener.local_addr().expect("an address"), redis.port);
        let told = Arc::new(AtomicUsize::new(usize::MAX));
        let telling = Arc::clone(&told);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let n = telling.load(Ordering::Relaxed);
                match lies.get(n) {
                    Some(lie) => {
                        telling.store(n + 1, Ordering::Relaxed);
                        tokio::spawn(tell(stream, lie.clone()));
                    }
                    None => drop(tokio::spawn(pass(stream, redis))),
                }
            }
        });
        Self { address, told }
    }
}

/// Answers as soon as it is asked, and closes once the gateway has had enough or after a while of reading.
async fn tell(mut stream: TcpStream, lie: Vec<u8>) {
    let mut asked = [0; 4096];
    let _ = stream.read(&mut asked).await;
    let _ = stream.write_all(&lie).await;
    let _ = stream.shutdown().await;
    while let Ok(1..) = stream.read(&mut asked).await {}
}

async fn pass(mut stream: TcpStream, port: u16) {
    let mut redis = TcpStream::connect(("127.0.0.1", port)).await.expect("Redis listens");
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut redis).await;
}

/// The pause between two attempts to connect grows, so each lie of a gateway takes longer: several gateways share them.
#[tokio::test(flavor = "multi_thread")]
async fn is_no_redis() {
    let redis = Redis::start().await;
    join_all(lies().chunks(5).map(|lies| hears(&redis, lies.to_vec()))).await;
}

/// A gateway that is told these lies, and then has its Redis again.
async fn hears(redis: &Redis, lies: Vec<Vec<u8>>) {
    let count = lies.len();
    let liar = Liar::before(redis, lies).await;
    let url = format!("redis://{}", liar.address);
    let name = format!("GATEWAY-{}", liar.address.port());
    let gateway = Process::start(&["--redis-url", &url, "--server-id", &name]).await;
    let before_bytes = gateway.rss_bytes();
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = Client::connect(&gateway.url()).await;
        client.subscribe(&[&name]).await;
        clients.push(client);
    }
    let mut worker = redis.publisher().await;
    liar.told.store(0, Ordering::Relaxed);
    let link = subscriber(&mut worker, &name).await.expect("a link");
    let killed: u64 = worker.command(&["CLIENT", "KILL", "ID", &link]).await;
    assert_eq!(killed, 1);
    until("all lies to be told", async || (liar.told.load(Ordering::Relaxed) >= count).then_some(())).await;
    until("the gateway to have Redis back", async || {
        let is_ready = gateway.get("/ready").await.status == 200;
        subscriber(&mut worker, &name).await.filter(|_| is_ready)
    })
    .await;
    for n in 0..50 {
        worker.numbered(&name, n).await;
    }
    for client in &mut clients {
        // They are told of each loss, and of nothing that the liar said.
        let mut first = client.json().await;
        while first["event"] == "feed" {
            first = client.json().await;
        }
        assert_eq!(first["data"]["timestamp"], 0, "{first}");
        for n in 1..50 {
            client.gets(&name, n).await;
        }
    }
    let grown_bytes = gateway.rss_bytes().saturating_sub(before_bytes);
    assert!(grown_bytes < 16 * MIB, "{grown_bytes} bytes");
}

/// The id of a gateway's subscription at Redis.
async fn subscriber(worker: &mut Publisher, name: &str) -> Option<String> {
    let clients: String = worker.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
    let line = clients.lines().find(|line| line.contains(&format!(" name={name} ")))?;
    line.split(' ').find_map(|word| word.strip_prefix("id=")).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn and_workers_that_publish_garbage_disturb_no_trade() {
    let stage = Stage::set(&["--channel-types", "trade,quote,mine"]).await;
    let cost = stage.withstands(async |stage| {
        let good = trade("AAPL", "1", 1);
        let huge = good.replace("NASDAQ", &"x".repeat(200_000));
        let deep = good.replace(r#""NASDAQ""#, &format!("{}{}", "[".repeat(30_000), "]".repeat(30_000)));
        let numbers = good.replace("\"price\":1", &format!("\"price\":{}", "9".repeat(60_000)));
        let payloads = [
            "",
            "{",
            "null",
            "[]",
            "\0",
            r#"{"symbol":"AAPL"}"#,
            r#"{"symbol":"AAPL","symbol":"AAPL","price":1}"#,
            &good.replace("AAPL", "MSFT"),
            &good.replace("\"price\":1", "\"price\":NaN"),
            &good[..40],
            &huge,
            &deep,
            &numbers.replace("\"price\"", "\"symbol\""),
        ];
        let channels = [
            "channel:trade:AAPL",
            "channel:quote:MSFT",
            "channel:mine:AAPL",
            "channel:trade:",
            "channel:trade:*",
        ];
        let mut worker = stage.redis.publisher().await;
        let mut last = Client::connect(&stage.gateway.url()).await;
        last.subscribe_with(json!({"symbols": ["last"], "types": ["mine"]})).await;
        for _ in 0..10 {
            let events = channels.iter().flat_map(|channel| {
                payloads.iter().map(|payload| ((*channel).to_owned(), (*payload).to_owned()))
            });
            worker.publish_all(events.collect::<Vec<_>>()).await;
            worker.raw("channel:trade:AAPL", &[0xff; 1_000]).await;
            worker.raw(&format!("channel:trade:{}", "x".repeat(100_000)), good.as_bytes()).await;
        }
        // Redis would cut off a gateway that it is too far ahead of.
        worker.raw("channel:mine:last", b"{}").await;
        assert_eq!(last.json().await["type"], "mine");
    });
    let cost = cost.await;
    assert!(cost.peak_bytes < 16 * MIB, "{cost:?}");
}
