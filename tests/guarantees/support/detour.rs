//! A way to a gateway that can be cut and led to another one, as a restarted gateway has the old one's name.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::process::Process;

/// An address that leads to a gateway.
pub(crate) struct Detour {
    pub(crate) addr: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Detour {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        Self::with_rate(target, None).await
    }

    /// On the way back each connection gets so many bytes in a millisecond, on the average.
    pub(crate) async fn slow(target: SocketAddr, bytes_per_ms: u64) -> Self {
        Self::with_rate(target, Some(bytes_per_ms)).await
    }

    async fn with_rate(target: SocketAddr, bytes_per_ms: Option<u64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let target = Arc::new(Mutex::new(target));
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let (towards, all) = (Arc::clone(&target), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let target = *towards.lock().unwrap();
                all.lock().unwrap().spawn(async move {
                    let Ok(mut gateway) = TcpStream::connect(target).await else { return };
                    let _ = match bytes_per_ms {
                        None => tokio::io::copy_bidirectional(&mut client, &mut gateway).await.map(drop),
                        Some(bytes) => copy_slowly(client, gateway, bytes).await,
                    };
                });
            }
        });
        Self { addr, target, connections }
    }

    /// From now on it leads elsewhere.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
    }

    /// Kills the gateway that it leads to, which so says nothing to its clients, and leads to the next one.
    pub(crate) async fn outlive(&self, mut killed: Process, next: &Process) {
        self.lead_to(next.addr());
        killed.signal("KILL");
        killed.exit().await;
    }

    /// Ends every connection without a word.
    pub(crate) fn cut(&self) {
        self.connections.lock().unwrap().abort_all();
    }
}

async fn copy_slowly(client: TcpStream, gateway: TcpStream, bytes_per_ms: u64) -> std::io::Result<()> {
    let ((mut from_client, mut to_client), (mut from_gateway, mut to_gateway)) =
        (client.into_split(), gateway.into_split());
    let back = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from_gateway.read(&mut buffer).await?;
            if read == 0 {
                return to_client.shutdown().await;
            }
            to_client.write_all(&buffer[..read]).await?;
            if read as u64 > bytes_per_ms {
                tokio::time::sleep(Duration::from_millis(read as u64 / bytes_per_ms)).await;
            }
        }
    };
    tokio::try_join!(tokio::io::copy(&mut from_client, &mut to_gateway), back).map(drop)
}
