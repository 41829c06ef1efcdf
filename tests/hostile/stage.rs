//! A gateway with two hundred honest clients, and what it takes to withstand an attack.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::process::Process;
use crate::support::redis::Publisher;
use crate::support::{Client, PATIENCE, Redis, trade, until};

pub(crate) const MIB: u64 = 1024 * 1024;

const HONEST: usize = 200;
/// How often an attack warms the gateway up. What the allocator keeps differs by some per cent from one time to the next.
const WARM_UPS: usize = 2;
/// How many further attacks it gets to be at that again. Were something left behind, each would leave more.
const REPEATS: usize = 3;
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

    /// Lets an attack loose, again and again: first to warm the gateway up, so that its tables and the allocator's have their size. Each
    /// time the attack has to end and the gateway to let go of it. Then the gateway's memory comes back to within a tenth of what it was,
    /// and no honest client has missed a trade.
    pub(crate) async fn withstands(self, attack: impl AsyncFn(&Self)) -> Cost {
        let before_bytes = self.gateway.rss_bytes();
        let mut warm_bytes = 0;
        for _ in 0..WARM_UPS {
            attack(&self).await;
            self.calms_down().await;
            warm_bytes = warm_bytes.max(self.gateway.rss_bytes());
        }
        let bound_bytes = warm_bytes + warm_bytes / 10;
        let mut after_bytes = u64::MAX;
        for _ in 0..REPEATS {
            attack(&self).await;
            self.calms_down().await;
            after_bytes = self.gateway.rss_bytes();
            if after_bytes <= bound_bytes {
                break;
            }
        }
        assert!(
            after_bytes <= bound_bytes,
            "{after_bytes} bytes, and {warm_bytes} before: the attack leaves something behind"
        );
        let peak_bytes = peak_bytes(&self.gateway).saturating_sub(before_bytes);
        let trades = self.crowd.ends().await;
        println!(
            "{before_bytes} bytes before, {warm_bytes} warm, {after_bytes} after, {peak_bytes} more at the peak; {trades} trades"
        );
        Cost { peak_bytes }
    }

    /// Waits until the gateway has let go of all connections but those of the honest clients.
    pub(crate) async fn calms_down(&self) {
        until("the attack's connections to be let go", async || {
            (self.gateway.descriptors() <= self.descriptors).then_some(())
        })
        .await;
    }
}

/// A gateway that reads from `redis`. Its allocator gives back at once what is freed, so that its memory is what the gateway itself holds.
pub(crate) async fn gateway_on(redis: &Redis, args: &[&str]) -> Process {
    let mut shell = Command::new("/bin/sh");
    let script = "MIMALLOC_PURGE_DELAY=0 exec \"$0\" \"$@\"";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_ws-gateway")]);
    Process::launch_ready(shell, &[&["--redis-url", &redis.url()], args].concat()).await
}

/// As many clients as a crowd has.
pub(crate) async fn connect<S>(one: impl AsyncFn() -> Client<S>) -> Vec<Client<S>> {
    let mut clients = Vec::with_capacity(HONEST);
    for _ in 0..HONEST / 20 {
        clients.extend(join_all((0..20).map(|_| one())).await);
    }
    clients
}

/// The most memory that the gateway has ever held.
fn peak_bytes(gateway: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.id())).expect("/proc");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
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
