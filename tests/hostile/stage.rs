//! A gateway with two hundred honest clients, and what it takes to withstand an attack.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::http::HANDSHAKE;
use crate::support::process::Process;
use crate::support::raw;
use crate::support::redis::Publisher;
use crate::support::{Client, PATIENCE, Redis, trade, until};

pub(crate) const MIB: u64 = 1024 * 1024;

const HONEST: usize = 200;
/// How often an attack is let loose. Were something left behind, each time would leave more.
const ROUNDS: usize = 3;
/// How many further times it gets to be back at what was before: what the allocator keeps differs by some per cent from one time to the next.
const REPEATS: usize = 3;
/// What the allocator may keep of an attack's pages where one object lives on in each. In a gateway that has little else that is more than a tenth.
const KEPT_PAGES_BYTES: u64 = 4 * MIB;
/// How often an attack warms the gateway up, if it does.
const WARM_UPS: usize = 2;
/// Honest visitors before an attack, and how often so many come.
const VISITORS: usize = 256;
const VISITS: usize = 4;
const SYMBOLS: [&str; 2] = ["AAPL", "MSFT"];
/// The price of the last trade of all.
const LAST_PRICE: &str = "999.25";

/// A gateway and its honest clients.
pub(crate) struct Stage {
    pub(crate) redis: Redis,
    pub(crate) gateway: Process,
    crowd: Crowd,
    /// The gateway's descriptors without an attack.
    descriptors: usize,
}

/// What an attack has cost.
#[derive(Debug)]
pub(crate) struct Cost {
    /// The most memory that the gateway held beyond what it held before.
    pub(crate) peak_bytes: u64,
    /// What of that it holds now that the attack has gone.
    pub(crate) kept_bytes: u64,
}

impl Stage {
    /// A gateway with these flags, and honest clients that connect to it as everyone does.
    pub(crate) async fn set(args: &[&str]) -> Self {
        let redis = Redis::start().await;
        let gateway = gateway_on(&redis, args).await;
        let clients = connect(async || Client::connect(&gateway.url()).await).await;
        Self::with(redis, gateway, clients).await
    }

    /// A gateway with its honest clients, who have subscribed to nothing yet.
    pub(crate) async fn with<S>(redis: Redis, gateway: Process, clients: Vec<Client<S>>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let crowd = Crowd::gather(clients, redis.publisher().await).await;
        let descriptors = gateway.descriptors();
        Self { redis, gateway, crowd, descriptors }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.gateway.addr()
    }

    /// Lets an attack loose, again and again. Each time the attack has to end and the gateway to let go of it. Then the gateway's memory
    /// comes back to within a tenth of what it was before the first, or to [`KEPT_PAGES_BYTES`] more, and no honest client has missed a trade.
    pub(crate) async fn withstands(self, attack: impl AsyncFn(&Self)) -> Cost {
        self.withstands_from(0, attack).await
    }

    /// The same of an attack with which tables and the allocator grow by at most `kept_bytes`, which they keep. Once they have done that,
    /// it leaves nothing more behind.
    pub(crate) async fn withstands_once_warm(self, kept_bytes: u64, attack: impl AsyncFn(&Self)) -> Cost {
        let cost = self.withstands_from(WARM_UPS, attack).await;
        assert!(cost.kept_bytes < kept_bytes, "{cost:?}");
        cost
    }

    /// What the attack is held to is the most memory that was there after so many warm-ups, or before all if there are none.
    async fn withstands_from(self, warm_ups: usize, attack: impl AsyncFn(&Self)) -> Cost {
        for _ in 0..VISITS {
            self.is_visited().await;
        }
        let before_bytes = self.gateway.rss_bytes();
        let mut warm_bytes = before_bytes;
        for _ in 0..warm_ups {
            warm_bytes = warm_bytes.max(self.withstands_a_round(&attack).await);
        }
        let bound_bytes = warm_bytes + KEPT_PAGES_BYTES.max(warm_bytes / 10);
        let mut after_bytes = Vec::new();
        for round in 1..=ROUNDS + REPEATS {
            after_bytes.push(self.withstands_a_round(&attack).await);
            if round >= ROUNDS && after_bytes[round - 1] <= bound_bytes {
                break;
            }
        }
        let peak_bytes = self.gateway.peak_rss_bytes().saturating_sub(before_bytes);
        let trades = self.crowd.ends().await;
        println!(
            "{before_bytes} bytes before, {warm_bytes} warm, {after_bytes:?} after, {peak_bytes} more at the peak; {trades} trades"
        );
        let last_bytes = after_bytes.last().copied().unwrap_or_default();
        assert!(
            last_bytes <= bound_bytes,
            "{last_bytes} bytes, and {warm_bytes} before: the attack leaves something behind"
        );
        Cost { peak_bytes, kept_bytes: last_bytes.saturating_sub(before_bytes) }
    }

    /// Lets an attack loose. Returns the gateway's memory once it has let go of it.
    async fn withstands_a_round(&self, attack: &impl AsyncFn(&Self)) -> u64 {
        attack(self).await;
        self.calms_down().await;
        self.gateway.rss_bytes()
    }

    /// Honest visitors come and go, as they do at every gateway: what code and allocator take for the first of them isn't the attack's.
    async fn is_visited(&self) {
        swarm(VISITORS, async |n| {
            let mut visitor = open(self.addr()).await;
            let path = ["/metrics", "/health", "/ws", "/ws?symbols=VISITED"][n % 4];
            // The longer ones are read by hyper.
            let lines =
                format!("X-Visitor: {}\r\nOrigin: http://{}\r\n", "v".repeat(n % 5 * 3_000), self.addr());
            let request = HANDSHAKE.replace("/ws", path) + &lines + "\r\n";
            let ping = format!(r#"{{"action":"ping","visitor":"{}"}}"#, "v".repeat(n % 7 * 8_000));
            let messages = [raw::text_frame(&ping), raw::frame(0x88, &[])].concat();
            pour(&mut visitor, &[request.as_bytes(), &messages].concat()).await;
            let _ = visitor.shutdown().await;
            rest(&mut visitor).await;
        })
        .await;
        self.calms_down().await;
    }

    /// Waits until the gateway has let go of all connections but those of the honest clients.
    pub(crate) async fn calms_down(&self) {
        until("the attack's connections to be let go", async || {
            (self.gateway.descriptors() <= self.descriptors).then_some(())
        })
        .await;
    }
}

/// A gateway that reads from `redis`. Its memory is what the gateway itself holds.
pub(crate) async fn gateway_on(redis: &Redis, args: &[&str]) -> Process {
    Process::frugal(&[&["--redis-url", &redis.url()], args].concat()).await
}

/// As many clients as a crowd has.
pub(crate) async fn connect<S>(one: impl AsyncFn() -> Client<S>) -> Vec<Client<S>> {
    let mut clients = Vec::with_capacity(HONEST);
    for _ in 0..HONEST / 20 {
        clients.extend(join_all((0..20).map(|_| one())).await);
    }
    clients
}

/// Honest clients and their worker, who publishes as long as the attack lasts.
struct Crowd {
    over: Arc<AtomicBool>,
    worker: JoinHandle<u64>,
    clients: Vec<JoinHandle<u64>>,
}

impl Crowd {
    async fn gather<S>(mut clients: Vec<Client<S>>, worker: Publisher) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        for client in &mut clients {
            client.subscribe(&SYMBOLS).await;
        }
        let over = Arc::new(AtomicBool::new(false));
        let clients = clients.into_iter().map(|client| tokio::spawn(read_all(client))).collect();
        Self { worker: tokio::spawn(publish(worker, Arc::clone(&over))), over, clients }
    }

    /// No more trades come. Returns how many each client has got: all.
    async fn ends(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        let published = self.worker.await.expect("the worker published");
        for client in self.clients {
            let got = client.await.expect("a complete, ordered feed");
            assert_eq!(got, published);
        }
        published
    }
}

fn numbered(n: u64, price: &str) -> (String, String) {
    let symbol = SYMBOLS[n as usize % SYMBOLS.len()];
    (symbol.to_owned(), trade(symbol, price, n))
}

/// Publishes trades until the attack is over, and one more. Returns how many.
async fn publish(mut worker: Publisher, over: Arc<AtomicBool>) -> u64 {
    let mut published = 0;
    while !over.load(Ordering::Relaxed) {
        worker.trades((published..published + 5).map(|n| numbered(n, "10.50"))).await;
        published += 5;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    worker.trades([numbered(published, LAST_PRICE)]).await;
    published + 1
}

/// Reads trades, each in its place, up to the last one. Returns how many.
async fn read_all<S: AsyncRead + AsyncWrite + Unpin>(mut client: Client<S>) -> u64 {
    for n in 0.. {
        let text = client.text().await;
        if text.contains(&numbered(n, LAST_PRICE).1) {
            return n + 1;
        }
        assert!(text.contains(&numbered(n, "10.50").1), "expected trade {n}, got {text}");
    }
    unreachable!("the last one comes before")
}

/// Writes as much as the peer takes, until it has closed or takes nothing for a second. It may have closed before the end.
pub(crate) async fn pour(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        match timeout(Duration::from_secs(1), stream.write(rest)).await {
            Ok(Ok(count @ 1..)) => rest = &rest[count..],
            _ => return,
        }
    }
}

/// What comes until the peer closes or resets.
pub(crate) async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            all.extend_from_slice(&buffer[..read]);
        }
    };
    timeout(PATIENCE, reading).await.expect("an end in time");
    all
}

/// A connection on which nothing was said yet.
pub(crate) async fn open(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).await.expect("the gateway listens")
}

/// Does the same `count` times, sixty-four at a time.
pub(crate) async fn swarm<T>(count: usize, one: impl AsyncFn(usize) -> T) -> Vec<T> {
    let mut all = Vec::with_capacity(count);
    for begin in (0..count).step_by(64) {
        all.extend(join_all((begin..count.min(begin + 64)).map(|n| one(n))).await);
    }
    all
}
