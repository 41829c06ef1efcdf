//! Under TLS every client gets every event of its symbols, once and in order, however fast Redis hands them out, and beside
//! clients that read slowly or not at all.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::support::tls::{self, Identity};
use crate::support::{PATIENCE, Redis, TestGateway, http, trade, until};

const TRADES: u64 = 20_000;

async fn twenty_thousand_trades(shards: usize) {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway = TestGateway::on(&redis, |config| {
        identity.configure(config);
        config.process.shards = shards;
    })
    .await;
    let clients = join_all((0..50).map(|_| tls::subscriber(gateway.addr, &["AAPL", "MSFT"]))).await;
    let silent = join_all((0..10).map(|_| silent(gateway.addr))).await;
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| tokio::spawn(async move { client.gets_exactly((0..TRADES).map(payload)).await }))
        .collect();
    let mut worker = redis.publisher().await;
    for chunk in (0..TRADES).collect::<Vec<_>>().chunks(1_000) {
        worker.trades(chunk.iter().map(|n| (symbol(*n).to_owned(), payload(*n)))).await;
    }
    for reader in readers {
        reader.await.expect("a complete, ordered feed");
    }
    drop(silent);
    until("the silent clients to be let go", async || {
        (gateway.gateway.state().metrics.connections_open() == 0).then_some(())
    })
    .await;
}

/// A client with a small socket that has subscribed, and reads nothing behind the reply.
async fn silent(addr: std::net::SocketAddr) -> TlsStream<tokio::net::TcpStream> {
    let config = ws_gateway::tls::unchecked_client().unwrap();
    let mut stream = tls::shake_hands(config, addr, Some(4_096)).await;
    let request = http::HANDSHAKE.replace("/ws", "/ws?symbols=AAPL,MSFT");
    stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
    assert_eq!(http::read_head(&mut stream).await.status, 101);
    // Until then it has subscribed to nothing.
    let mut reply = Vec::new();
    while frame(&reply).is_none() {
        reply.push(stream.read_u8().await.expect("the reply"));
    }
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn by_two_shards() {
    twenty_thousand_trades(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_thread_that_reads_redis() {
    twenty_thousand_trades(1).await;
}

/// What a slow client misses is announced: delivered and announced is published, as without TLS.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_told_what_it_missed() {
    let (redis, identity) = (Redis::start().await, Identity::new());
    let gateway = TestGateway::on(&redis, |config| {
        identity.configure(config);
        config.delivery.max_outbox_bytes = 256 * 1024;
        // What is left of a write leaves because the socket has room, and not with the next ping.
        config.delivery.ping_interval = Duration::from_secs(3_600);
    })
    .await;
    let mut slow = silent(gateway.addr).await;
    let skipped = || gateway.gateway.state().metrics.sum(|shard| &shard.events_skipped);
    let mut worker = redis.publisher().await;
    let mut published = 0;
    until("the policy to fire", async || {
        let trades = published..published + 1_000;
        published = trades.end;
        worker.trades(trades.map(|n| (symbol(n).to_owned(), payload(n)))).await;
        (skipped() > 0).then_some(())
    })
    .await;
    // One more of each, in front of which the announcements stand.
    worker.numbered("AAPL", 1 << 40).await;
    worker.numbered("MSFT", 1 << 40).await;
    let (mut text, mut seen, mut last) = (Vec::new(), 0, 0);
    let (mut delivered, mut announced) = (0, 0);
    while last < 2 {
        let mut buffer = [0; 16 * 1024];
        let read = timeout(PATIENCE, slow.read(&mut buffer)).await.expect("more in time");
        let read = read.expect("the gateway does not close");
        assert!(read > 0, "the gateway has closed");
        text.extend_from_slice(&buffer[..read]);
        while let Some((frame, used)) = frame(&text[seen..]) {
            let is_ping = text[seen] == 0x89;
            seen += used;
            if is_ping {
                continue;
            }
            let frame: serde_json::Value = serde_json::from_slice(frame).expect("a whole frame");
            match frame["type"].as_str() {
                Some("trade") if frame["data"]["timestamp"] == 1_u64 << 40 => last += 1,
                Some("trade") => delivered += 1,
                Some("status") => announced += frame["data"]["count"].as_u64().expect("a count"),
                _ => {}
            }
        }
    }
    assert_eq!(delivered + announced, published);
    assert_eq!(announced, skipped());
}

/// The payload of the first of a server's frames, and the frame's length.
fn frame(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (header, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        length => (2, usize::from(length)),
    };
    Some((bytes.get(header..header + length)?, header + length))
}

fn symbol(n: u64) -> &'static str {
    ["AAPL", "MSFT"][(n % 2) as usize]
}

fn payload(n: u64) -> String {
    trade(symbol(n), "10.50", n)
}
