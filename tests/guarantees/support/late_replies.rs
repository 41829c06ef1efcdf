//! A way to Redis on which the replies to whoever publishes can be held back, while all that is published comes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An address that leads to Redis.
pub(crate) struct LateReplies {
    addr: SocketAddr,
    are_held: Arc<AtomicBool>,
    given_up: Arc<AtomicUsize>,
}

impl LateReplies {
    pub(crate) async fn of(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (are_held, given_up) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let of_all = (Arc::clone(&are_held), Arc::clone(&given_up));
        tokio::spawn(async move {
            while let Ok((gateway, _)) = listener.accept().await {
                let (are_held, given_up) = of_all.clone();
                tokio::spawn(async move {
                    let redis = TcpStream::connect(("127.0.0.1", port)).await.expect("Redis listens");
                    if relay(gateway, redis, &are_held).await {
                        given_up.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        Self { addr, are_held, given_up }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// From now on the replies to `PUBLISH` don't come.
    pub(crate) fn hold(&self) {
        self.are_held.store(true, Ordering::SeqCst);
    }

    /// New connections get theirs again.
    pub(crate) fn let_go(&self) {
        self.are_held.store(false, Ordering::SeqCst);
    }

    /// How many connections have been given up that waited for replies.
    pub(crate) fn given_up(&self) -> usize {
        self.given_up.load(Ordering::SeqCst)
    }
}

/// Whether the gateway has given it up while it waited for replies.
async fn relay(mut gateway: TcpStream, mut redis: TcpStream, are_held: &AtomicBool) -> bool {
    let (mut from_gateway, mut from_redis) = ([0; 16 * 1024], [0; 16 * 1024]);
    let (mut publishes, mut has_held) = (false, false);
    loop {
        tokio::select! {
            read = gateway.read(&mut from_gateway) => {
                let Ok(read @ 1..) = read else { return has_held };
                let said = &from_gateway[..read];
                publishes |= said.windows(11).any(|part| part == b"$7\r\nPUBLISH");
                if redis.write_all(said).await.is_err() {
                    return has_held;
                }
            }
            read = redis.read(&mut from_redis) => {
                let Ok(read @ 1..) = read else { return has_held };
                if publishes && (has_held || are_held.load(Ordering::SeqCst)) {
                    has_held = true;
                } else if gateway.write_all(&from_redis[..read]).await.is_err() {
                    return has_held;
                }
            }
        }
    }
}
