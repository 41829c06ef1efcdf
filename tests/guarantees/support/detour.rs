//! A way to a gateway that can be cut and led to another one, as a restarted gateway has the old one's name.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::process::Process;

/// The buffers of a narrow way, on the way back of each of its connections.
const NARROW_BYTES: u32 = 16 * 1024;

/// An Ethernet's segment. The kernel gives a sender room for twenty, and those of the loopback have 64 KiB.
const NARROW_SEGMENT_BYTES: u32 = 1_460;

/// An address that leads to a gateway.
pub(crate) struct Detour {
    pub(crate) addr: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Detour {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        Self::with(target, None, None).await
    }

    /// With room for little that is under way, so that a client which stands still is soon a slow one.
    pub(crate) async fn narrow(target: SocketAddr) -> Self {
        Self::with(target, None, Some(NARROW_BYTES)).await
    }

    /// On the way back each connection gets so many bytes in a millisecond, on the average.
    pub(crate) async fn slow(target: SocketAddr, bytes_per_ms: u64) -> Self {
        Self::with(target, Some(bytes_per_ms), None).await
    }

    async fn with(target: SocketAddr, bytes_per_ms: Option<u64>, buffer_bytes: Option<u32>) -> Self {
        let listener = TcpSocket::new_v4().expect("a socket");
        if let Some(bytes) = buffer_bytes {
            // Accepted connections inherit it.
            listener.set_send_buffer_size(bytes).expect("a send buffer");
        }
        listener.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let addr = listener.local_addr().expect("an address");
        let listener = listener.listen(1_024).expect("it listens");
        let target = Arc::new(Mutex::new(target));
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let (towards, all) = (Arc::clone(&target), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let target = *towards.lock().unwrap();
                all.lock().unwrap().spawn(async move {
                    let Ok(mut gateway) = connect(target, buffer_bytes).await else { return };
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

async fn connect(target: SocketAddr, receive_buffer_bytes: Option<u32>) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
        SockRef::from(&socket).set_tcp_mss(NARROW_SEGMENT_BYTES)?;
    }
    socket.connect(target).await
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
